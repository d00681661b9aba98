//! `Approve`: a person's yes or no to an `approve` step, or to a question of a task's code.
//!
//! For: the command, and the steps and journal entries that wait for it. Not for: unknown outcomes (see
//! `task::unknown_outcome`).
//! Invariant: a question is in the inbox for exactly as long as its instance waits for the answer.

use consort_types::{
    Code, Error, Name, Payload, Result, StepInstanceId,
    bounds::{check_optional_text, check_text},
    limits,
};
use consort_workflow::Approve as ApproveStep;
use minicbor::{Decode, Encode};
use serde_json::json;

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    encode::encode,
    run::{
        environment::{self, in_expression},
        locate::{InstanceKind, StepRef, locate},
        rows::{
            history::HistoryEvent,
            step::{Step, StepState},
        },
        wait,
    },
    task::{
        forget,
        keys::InboxKey,
        rows::{Ask, InboxItem},
    },
};

/// Decides an approval.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Approve {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The step instance, as the inbox names it.
    #[n(1)]
    pub task: StepInstanceId,
    /// Yes or no.
    #[n(2)]
    pub approved: bool,
    /// The name of the person who decides.
    #[n(3)]
    pub by: String,
    /// In their words.
    #[n(4)]
    pub comment: Option<String>,
    /// What is approved: what was asked about, or what the person made of it. `None` in logs of before.
    #[n(5)]
    pub value: Option<Payload>,
}

impl Approve {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_decision(&self.namespace, &self.by, self.comment.as_deref())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        ctx.state.run_in(&self.namespace, self.task.run)?;
        approve(ctx, self)
    }
}

pub(crate) fn begin_approve(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    mut step: Step,
    approve: &ApproveStep,
) -> Result<()> {
    let title = environment::evaluate(ctx.state, step_ref, task, &approve.title)
        .map_err(|error| in_expression("title", error))?;
    let details = match &approve.details {
        Some(template) => {
            let value = environment::evaluate(ctx.state, step_ref, task, template)
                .map_err(|error| in_expression("details", error))?;
            Some(Payload::from_value(&value))
        }
        None => None,
    };
    let title = title.as_str().map_or_else(|| title.to_string(), str::to_owned);
    check_text("title", &title, limits::PROMPT_BYTES_MAX).map_err(|error| in_expression("title", error))?;
    wait::limit_wait(ctx, step_ref, task, &mut step, approve.timeout);
    ask_approval(ctx, step_ref, task, step, title, details);
    Ok(())
}

/// Puts a question into the inbox; the instance waits for the answer.
pub(crate) fn ask_approval(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    mut step: Step,
    title: String,
    details: Option<Payload>,
) {
    let item = InboxItem { since: ctx.now, ask: Ask::Approval, title, details };
    let namespace = step_ref.run.namespace.clone();
    ctx.state.tables.inbox.put(InboxKey { namespace, task }, item);
    step.began = Some(ctx.now);
    ctx.set_state(task, &mut step, StepState::Approval);
    ctx.record_history(task.run, Some(task), HistoryEvent::StepBegan);
    ctx.put_step(task, step);
}

fn approve(ctx: &mut ApplyContext<'_>, decided: &Approve) -> Result<()> {
    let Approve { task, approved, ref by, ref comment, ref value, .. } = *decided;
    let state = ctx.state.step(task)?.map(|step| step.state);
    if state != Some(StepState::Approval) {
        let past = state == Some(StepState::Cancelled) && forget::is_forgotten(ctx.state, task)?;
        let why = if past { ": the code that asked went past it" } else { "" };
        return Err(Error::new(Code::StepState, format!("`{task}` does not wait for an approval{why}"))
            .hint("`consort inbox` shows what waits for a decision"));
    }
    let decision = if approved { "approved" } else { "rejected" };
    let event = HistoryEvent::Decided { decision: decision.to_owned(), by: by.clone(), comment: comment.clone() };
    ctx.record_history(task.run, Some(task), event);
    // Code that requested the approval gets the rejection as an answer; a step fails by it, unless it declares
    // otherwise.
    let asked_by_code = matches!(locate(ctx.state, task)?.kind, InstanceKind::Call { .. });
    let outcome = if approved || asked_by_code {
        let mut output = json!({ "approved": approved, "by": by, "comment": comment });
        if let Some(value) = value {
            let bytes = ctx.state.payload_bytes(value)?;
            output["value"] = serde_json::from_slice(&bytes).unwrap_or_default();
        }
        Outcome::Completed(ctx.store_payload("approval", encode(&output))?)
    } else {
        let words = comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
        Outcome::Failed(Error::new(Code::NotApproved, format!("`{by}` said no{words}")))
    };
    ctx.enqueue(PendingWork::Finish(task, outcome));
    Ok(())
}

/// Checks the name of the person who decides, and the comment.
pub(crate) fn check_decision(namespace: &str, by: &str, comment: Option<&str>) -> Result<()> {
    Name::check("namespace", namespace)?;
    if by.trim().is_empty() {
        return Err(Error::new(Code::BadRequest, "`by` is empty").hint("say who decides"));
    }
    check_text("name of who decides", by, limits::NAME_BYTES_MAX)?;
    check_optional_text("comment", comment, limits::ERROR_MESSAGE_BYTES_MAX)
}
