//! Decisions of people: approvals and unknown outcomes.
//!
//! For: what `inbox` and `runs approve` share. Not for: finding the item.
//! Invariant: every decision names who made it.

use consort_types::Result;
use serde_json::{Value, json};

use crate::{
    app::{App, Session},
    args::DecisionArgs,
    client::{calls::Decision, model::Item},
};

/// Sends a decision and says so.
pub(crate) async fn send(
    app: &App,
    session: &Session,
    item: &Item,
    verb: &'static str,
    args: &DecisionArgs,
    output: Option<Value>,
) -> Result<()> {
    let by = args.by.clone().unwrap_or_else(user);
    let decision = Decision { verb, by, comment: args.comment.clone(), output };
    session.client.decide(&item.task, &decision).await?;
    if app.json {
        app.print_json(&json!({ "task": item.task, "decision": decision.verb, "by": decision.by }));
    } else {
        app.tell(&format!("{}: {} of run {}", past(decision.verb), item.step, item.run));
    }
    hint_idle(app, session);
    Ok(())
}

/// Says how the run goes on, where nothing works on the folder.
pub(crate) fn hint_idle(app: &App, session: &Session) {
    if session.server().is_some() && !app.json {
        app.tell("no server works on this folder: the run goes on at the next `consort up` or `consort runs watch`");
    }
}

fn past(decision: &str) -> &'static str {
    match decision {
        "approve" => "approved",
        "reject" => "rejected",
        "done" => "counted as done",
        "retry" => "tried again",
        _ => "counted as failed",
    }
}

/// The name of the person at the keyboard, as far as the environment tells.
fn user() -> String {
    let name = ["USER", "LOGNAME"].into_iter().find_map(|variable| std::env::var(variable).ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "operator".to_owned())
}
