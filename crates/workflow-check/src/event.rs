//! Expressions of triggers: CEL over `event`.
//!
//! For: turning the text of a filter or an input into an expression, or saying what is wrong with it. Not for: the
//! expressions of workflows (see `parse`).
//! Invariant: an expression that passes refers to `event` alone.

use consort_types::{Code, Error, Result};
use consort_workflow::{
    Expression, Reference,
    cel::{self, Kind, Problem, Root, Use},
};

/// Compiles an expression over `event`; `what` names it in the error, and `wanted` is what it must give, where that
/// matters. The text is by itself, or between `${{` and `}}` as in a workflow.
///
/// # Errors
/// [`Code::BadTrigger`] with the first thing that is wrong.
pub fn event_expression(what: &str, text: &str, wanted: Option<Kind>) -> Result<Expression> {
    let text = text.trim();
    let inner = text.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).map_or(text, str::trim);
    let program = cel::parse(inner).map_err(|problems| refusal(what, inner, problems.into_iter().next()))?;
    for used in &program.uses {
        if !matches!(used, Use::Root(Root::Event, _)) {
            return Err(Error::new(Code::BadTrigger, format!("the {what} `{inner}` uses something else than `event`"))
                .hint("a trigger knows the event alone: its attributes, such as `event.subject`, and `event.data`"));
        }
    }
    if program.uses_status {
        return Err(Error::new(Code::BadTrigger, format!("the {what} `{inner}` asks for the status of a step"))
            .hint("`success` and its kin are for the conditions of workflows"));
    }
    let references = if program.uses.is_empty() { Vec::new() } else { vec![Reference::Event] };
    let (kind, problems) = cel::infer(&program, inner, None);
    if let Some(problem) = problems.into_iter().next() {
        return Err(refusal(what, inner, Some(problem)));
    }
    match wanted.filter(|wanted| kind != Kind::Any && kind != *wanted) {
        Some(wanted) => {
            let message = format!("the {what} `{inner}` gives {}, and must give {}", kind.name(), wanted.name());
            Err(Error::new(Code::BadTrigger, message).hint("compare it, such as `event.data.amount > 100`"))
        }
        None => Ok(Expression::new(inner, program, references)),
    }
}

fn refusal(what: &str, text: &str, problem: Option<Problem>) -> Error {
    let Some(problem) = problem else {
        return Error::new(Code::BadTrigger, format!("the {what} `{text}` cannot be read"));
    };
    let error = Error::new(Code::BadTrigger, format!("the {what} `{text}` is wrong: {}", problem.message));
    error.hint(
        problem
            .hint
            .unwrap_or_else(|| "write an expression over `event`, such as `event.data.amount > 100`".to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use consort_workflow::Environment;
    use serde_json::json;

    use super::*;

    #[test]
    fn expressions_see_the_event_alone() {
        let event = json!({ "type": "orders.created", "data": { "amount": 120 } });
        let environment = Environment { event: Some(event.into()), ..Environment::default() };
        for text in ["event.data.amount > 100", "${{ event.type == 'orders.created' }}", "true", "has(event.data)"] {
            let expression = event_expression("filter", text, Some(Kind::Bool)).unwrap();
            assert!(expression.evaluate_bool(&environment).unwrap(), "{text}");
        }
        for (text, said) in [
            ("", "is empty"),
            ("event.data.amount >", "is wrong"),
            ("input.x == 1", "something else than `event`"),
            ("steps.a.output == 1", "something else than `event`"),
            ("success()", "status of a step"),
            ("'text'", "must give"),
            ("evnt.data", "no variable"),
        ] {
            let error = event_expression("filter", text, Some(Kind::Bool)).unwrap_err();
            assert!(error.code == Code::BadTrigger && error.message.contains(said), "{text}: {error:?}");
        }
    }
}
