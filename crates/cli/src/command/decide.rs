//! Decisions of people: approvals and unknown outcomes.
//!
//! For: what `inbox` and `runs approve` share. Not for: finding the item.
//! Invariant: every decision names the person who made it.

use consort_api::inbox::{Decide, DecideRequest, Decision, InboxItem, ItemParams};
use consort_types::Result;
use serde_json::{Value, json};

use crate::{
    app::{App, Session},
    args::DecisionArgs,
};

/// Sends a decision and reports it.
pub(crate) async fn send(
    app: &App,
    session: &Session,
    item: &InboxItem,
    decision: Decision,
    args: &DecisionArgs,
    output: Option<Value>,
) -> Result<()> {
    let by = args.by.clone().unwrap_or_else(user);
    let request = DecideRequest { decision, by, comment: args.comment.clone(), output: output.map(Into::into) };
    session.client.call::<Decide>(&ItemParams { task: item.task }, &request).await?;
    if app.json {
        app.print_json(&json!({ "task": item.task, "decision": decision, "by": request.by }));
    } else {
        app.eprint(&format!("{}: {} of run {}", past(decision), item.step, item.run));
    }
    hint_idle(app, session);
    Ok(())
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
fn user() -> String {
    let name = ["USER", "LOGNAME"].into_iter().find_map(|variable| std::env::var(variable).ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "operator".to_owned())
}
