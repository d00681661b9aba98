//! Expressions outside of workflows: CEL over `event` in triggers, and over `write` in merges of shared state.
//!
//! For: turning the text of a filter, an input or a merge into an expression, or saying what is wrong with it. Not for: the
//! expressions of workflows (see `parse`).
//! Invariant: an expression that passes refers to the one variable of its place alone.

use consort_types::{Code, Error, Result};
use consort_workflow::{
    Expression, Reference,
    cel::{self, Kind, Problem, Root, Use},
};

/// The place of an expression: what it may refer to, and how its errors are told.
struct Place<'a> {
    what: &'a str,
    root: Root,
    reference: Reference,
    code: Code,
    knows: &'static str,
    example: &'static str,
}

/// Compiles an expression over `event`; `what` names it in the error, and `wanted` is what it must give, where that
/// matters. The text is by itself, or between `${{` and `}}` as in a workflow.
///
/// # Errors
/// [`Code::BadTrigger`] with the first thing that is wrong.
pub fn event_expression(what: &str, text: &str, wanted: Option<Kind>) -> Result<Expression> {
    let place = Place {
        what,
        root: Root::Event,
        reference: Reference::Event,
        code: Code::BadTrigger,
        knows: "a trigger knows the event alone: its attributes, such as `event.subject`, and `event.data`",
        example: "write an expression over `event`, such as `event.data.amount > 100`",
    };
    let (expression, kind) = place.compile(text)?;
    match wanted.filter(|wanted| kind != Kind::Any && kind != *wanted) {
        Some(wanted) => {
            let (text, gives, must) = (expression.source(), kind.name(), wanted.name());
            let message = format!("the {what} `{text}` gives {gives}, and must give {must}");
            Err(Error::new(Code::BadTrigger, message).hint("compare it, such as `event.data.amount > 100`"))
        }
        None => Ok(expression),
    }
}

/// Compiles the merge of two values of a key: an expression over `write`, with `write.current`, `write.incoming` and
/// `write.base`, as [`event_expression`].
///
/// # Errors
/// [`Code::BadRequest`] with the first thing that is wrong.
pub fn merge_expression(text: &str) -> Result<Expression> {
    let place = Place {
        what: "merge",
        root: Root::Write,
        reference: Reference::Write,
        code: Code::BadRequest,
        knows: "a merge knows `write.current`, `write.incoming` and `write.base` alone",
        example: "write an expression such as \
                  `write.incoming.score > write.current.score ? write.incoming : write.current`",
    };
    place.compile(text).map(|(expression, _)| expression)
}

impl Place<'_> {
    fn compile(self, text: &str) -> Result<(Expression, Kind)> {
        let text = text.trim();
        let inner = text.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).map_or(text, str::trim);
        let what = self.what;
        let program = cel::parse(inner).map_err(|problems| self.refusal(inner, problems.into_iter().next()))?;
        if !program.uses.iter().all(|used| matches!(used, Use::Root(root, _) if *root == self.root)) {
            let message = format!("the {what} `{inner}` uses something else than `{}`", self.root.name());
            return Err(Error::new(self.code, message).hint(self.knows));
        }
        if program.uses_status {
            return Err(Error::new(self.code, format!("the {what} `{inner}` asks for the status of a step"))
                .hint("`success` and its kin are for the conditions of workflows"));
        }
        let (kind, problems) = cel::infer(&program, inner, None);
        if let Some(problem) = problems.into_iter().next() {
            return Err(self.refusal(inner, Some(problem)));
        }
        let references = if program.uses.is_empty() { Vec::new() } else { vec![self.reference] };
        Ok((Expression::new(inner, program, references), kind))
    }

    fn refusal(&self, text: &str, problem: Option<Problem>) -> Error {
        let what = self.what;
        let Some(problem) = problem else {
            return Error::new(self.code, format!("the {what} `{text}` cannot be read"));
        };
        let error = Error::new(self.code, format!("the {what} `{text}` is wrong: {}", problem.message));
        error.hint(problem.hint.unwrap_or_else(|| self.example.to_owned()))
    }
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

    #[test]
    fn merges_see_the_values_of_a_write_alone() {
        let write = json!({ "current": { "score": 2 }, "incoming": { "score": 3 }, "base": null });
        let environment = Environment { write: Some(write.into()), ..Environment::default() };
        let best = "write.incoming.score > write.current.score ? write.incoming : write.current";
        let merged = merge_expression(best).unwrap().evaluate(&environment).unwrap();
        assert_eq!(merged, json!({ "score": 3 }));
        for (text, said) in [("write.current >", "is wrong"), ("event.data", "else than `write`"), ("", "is empty")] {
            let error = merge_expression(text).unwrap_err();
            assert!(error.code == Code::BadRequest && error.message.contains(said), "{text}: {error:?}");
        }
    }
}
