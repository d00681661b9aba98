//! `RetryDiverged`: an instance of an agent has come, whose code may fit the journals that other code could not follow.
//!
//! For: tasks whose code differs from their journal, from the report to the next attempt. Not for: comparing code and
//! journal (the SDKs do, by the rule in `types::replay`), or decisions (see `unknown_outcome`).
//! Invariant: a divergence never ends a task: its journal stays, and so does everything that was done for it.

use consort_types::{Error, Result, RunId, StepInstanceId, limits, text::truncate};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    effect::Effect,
    registry::agents::check_agent,
    run::{
        locate,
        rows::{
            history::HistoryEvent,
            step::{Pin, Step, StepState},
        },
    },
    state::{State, rows::Marker},
    task::{attempt, keys::DivergedKey, pin, question, rows::Ask},
};

/// How many tasks one record offers again.
const TASKS_PER_RECORD: usize = 128;

/// Offers the tasks of an agent whose code has diverged from their journals to a version of it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RetryDiverged {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The agent.
    #[n(1)]
    pub agent: String,
    /// The version that is to try.
    #[n(2)]
    pub version: String,
    /// The task behind which to continue, where an earlier record has done a part.
    #[n(3)]
    pub after: Option<StepInstanceId>,
}

impl RetryDiverged {
    pub(crate) fn check(&self) -> Result<()> {
        check_agent(&self.namespace, &self.agent, Some(&self.version))
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let page = diverged(ctx.state, &self.namespace, &self.agent, self.after, TASKS_PER_RECORD)?;
        for key in &page {
            let Some(step) = ctx.state.step(key.task)?.filter(|step| step.state == StepState::Diverged) else {
                continue;
            };
            ctx.charge(1);
            retry(ctx, key.task, step, Some(Pin { agent: self.agent.clone(), version: self.version.clone() }))?;
        }
        if let Some(last) = page.last().filter(|_| page.len() == TASKS_PER_RECORD) {
            let Self { namespace, agent, version, .. } = self.clone();
            ctx.effect(Effect::DivergedLeft { namespace, agent, version, after: last.task });
        }
        Ok(())
    }
}

/// The code differs from the journal: the task waits for code that fits, or for a decision.
pub(crate) fn suspend(ctx: &mut ApplyContext<'_>, task: StepInstanceId, mut step: Step, error: Error) -> Result<()> {
    attempt::leave_instance(ctx, task, &mut step);
    let holder = step.instance.clone();
    let namespace = ctx.state.run(task.run)?.namespace;
    if let Some(agent) = pin::writer_of(&step) {
        ctx.state.tables.diverged.put(DivergedKey { namespace, agent, task }, Marker);
    }
    let path = locate::path(ctx.state, task)?;
    let code = holder.map_or_else(|| "the code".to_owned(), |holder| format!("the code of agent `{}`", holder.agent));
    let mut title = format!("`{path}` waits for code that fits its journal: {code} has diverged: {}", error.message);
    truncate(&mut title, limits::ERROR_MESSAGE_BYTES_MAX);
    question::put(ctx, task, Ask::Diverged, title, None)?;
    step.error = Some(error.clone());
    ctx.set_state(task, &mut step, StepState::Diverged);
    ctx.record_history(task.run, Some(task), HistoryEvent::TaskDiverged { attempt: step.attempt, error });
    ctx.put_step(task, step);
    Ok(())
}

/// The next attempt, at the version that is named, or at any.
pub(crate) fn retry(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    mut step: Step,
    version: Option<Pin>,
) -> Result<()> {
    pin::leave_diverged(ctx, task, &step)?;
    pin::set(ctx, task, &mut step, version)?;
    step.instance = None;
    step.effect = None;
    attempt::next_attempt(ctx, task, step, None)
}

/// Tasks of an agent that wait for code that fits their journals, behind one of them.
pub(crate) fn diverged(
    state: &State,
    namespace: &str,
    agent: &str,
    after: Option<StepInstanceId>,
    limit: usize,
) -> Result<Vec<DivergedKey>> {
    let key = |agent: &str, task| DivergedKey { namespace: namespace.to_owned(), agent: agent.to_owned(), task };
    let first = StepInstanceId { run: RunId([0; 16]), scope: 0, index: 0 };
    let past = StepInstanceId { run: RunId([0xff; 16]), scope: u32::MAX, index: u32::MAX };
    let from = after.map_or(first, |after| StepInstanceId { index: after.index.saturating_add(1), ..after });
    let rows = state.tables.diverged.range(&key(agent, from), &key(agent, past), limit)?;
    Ok(rows.into_iter().map(|(key, _)| key).collect())
}
