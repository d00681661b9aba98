//! Decisions of people: approvals and unknown outcomes.
//!
//! For: what `inbox` and `runs approve` share. Not for: finding the item.
//! Invariant: every decision names the person who made it.

use consort_api::inbox::{Decide, DecideRequest, Decision, InboxItem, InboxKind, ItemParams};
use consort_types::{Code, Error, Result};
use serde_json::{Value, json};

use crate::{
    app::{App, Session},
    args::DecisionArgs,
};

/// Sends a decision and reports it; `document` is what is approved, or the output of what was done.
pub(crate) async fn send(
    app: &App,
    session: &Session,
    item: &InboxItem,
    decision: Decision,
    args: &DecisionArgs,
    document: Option<Value>,
) -> Result<()> {
    fits(item, decision)?;
    let document = document.map(Into::into);
    let (output, value) = if decision == Decision::Approve { (None, document) } else { (document, None) };
    let by = args.by.clone().unwrap_or_else(user);
    let request = DecideRequest { decision, by, comment: args.comment.clone(), output, value };
    session.client.call::<Decide>(&ItemParams { task: item.task }, &request).await?;
    if app.json {
        app.print_json(&json!({ "task": item.task, "decision": decision, "by": request.by }));
    } else {
        app.eprint(&format!("{}: {} of run {}", past(decision), item.step, item.run));
    }
    hint_idle(app, session);
    Ok(())
}

/// Refuses a decision of the other kind with the commands for this one.
fn fits(item: &InboxItem, decision: Decision) -> Result<()> {
    let approves = matches!(decision, Decision::Approve | Decision::Reject);
    let is = match item.kind {
        InboxKind::Approval if !approves => "asks for an approval",
        InboxKind::UnknownOutcome if approves => "has an unknown outcome: it asks for no approval",
        InboxKind::Diverged if approves => "waits for code that fits its journal: it asks for no approval",
        InboxKind::GaveUp if approves => "is a compensation that gave up: it asks for no approval",
        _ => return Ok(()),
    };
    Err(Error::new(Code::StepState, format!("`{}` {is}", item.task)).hint(format!(
        "decide it with `consort inbox {} {}`",
        commands(&item.kind),
        item.task
    )))
}

/// The commands that decide an item.
pub(super) fn commands(kind: &InboxKind) -> &'static str {
    match kind {
        InboxKind::Approval => "approve|reject",
        _ => "done|retry|fail",
    }
}

/// Reports how the run will continue, where no process has the folder open.
pub(crate) fn hint_idle(app: &App, session: &Session) {
    if session.server().is_some() && !app.json {
        app.eprint(
            "no server has this folder open: the run continues at the next `consort up` or `consort runs watch`",
        );
    }
}

fn past(decision: Decision) -> &'static str {
    match decision {
        Decision::Approve => "approved",
        Decision::Reject => "rejected",
        Decision::Done => "counted as done",
        Decision::Retry => "tried again",
        Decision::Fail => "counted as failed",
    }
}

/// The name of the user, if the environment has one.
pub(super) fn user() -> String {
    let name = ["USER", "LOGNAME"].into_iter().find_map(|variable| std::env::var(variable).ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "operator".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_fits_its_item_or_is_told_what_does() {
        let item = |kind: &str| -> InboxItem {
            serde_json::from_value(
                json!({ "task": "01J8Z3K4M5N6P7Q8R9S0T1V2W3.0.1", "run": "01J8Z3K4M5N6P7Q8R9S0T1V2W3",
                "workflow": "w", "step": "pay", "since": "1970-01-01T00:15:00Z", "kind": kind, "title": "?" }),
            )
            .unwrap()
        };
        let decisions = [Decision::Approve, Decision::Reject, Decision::Done, Decision::Retry, Decision::Fail];
        for (kind, allowed, hint) in [
            ("approval", [true, true, false, false, false], "approve|reject"),
            ("unknown_outcome", [false, false, true, true, true], "done|retry|fail"),
            ("diverged", [false, false, true, true, true], "done|retry|fail"),
            ("gave_up", [false, false, true, true, true], "done|retry|fail"),
        ] {
            for (decision, allowed) in decisions.into_iter().zip(allowed) {
                match fits(&item(kind), decision) {
                    Ok(()) => assert!(allowed, "{kind} {decision:?}"),
                    Err(error) => assert!(!allowed && error.hint.unwrap().contains(hint), "{kind} {decision:?}"),
                }
            }
        }
        assert!(fits(&item("something new"), Decision::Done).is_ok(), "what is not known is for the server to judge");
    }
}
