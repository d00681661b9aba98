//! The inbox: what waits for a person's decision.
//!
//! For: listing it. Not for: the decisions (see `run::approval` and `unknown_outcome`).
//! Invariant: a namespace sees only its own items (law 12).

use consort_types::{Payload, Result, RunId, StepInstanceId, Time};
use serde::Serialize;

use crate::run::locate;
use crate::{
    page::{Page, bad_cursor, bounded},
    registry::views::RegistryRows,
    run::rows::step::StepState,
    task::{detail::Tasks, keys::InboxKey, rows::Ask, task_spec},
};

/// Something that waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InboxView {
    /// What to name in the decision.
    pub task: StepInstanceId,
    /// Its run.
    pub run: RunId,
    /// Its workflow.
    pub workflow: String,
    /// The step's path.
    pub step: String,
    /// Since when.
    pub since: Time,
    /// What is asked.
    pub ask: Ask,
    /// The question.
    pub title: String,
    /// What to decide upon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Payload>,
}

impl Tasks<'_> {
    /// What waits for a person, by run and step.
    pub fn inbox(&mut self, namespace: &str, cursor: Option<&str>, limit: usize) -> Result<Page<InboxView>> {
        let zero = StepInstanceId { run: RunId([0; 16]), scope: 0, index: 0 };
        let task = match cursor {
            Some(cursor) => cursor.parse().map_err(|_| bad_cursor(cursor))?,
            None => zero,
        };
        let from = InboxKey { namespace: namespace.to_owned(), task };
        let past = StepInstanceId { run: RunId([0xff; 16]), scope: u32::MAX, index: u32::MAX };
        let to = InboxKey { namespace: namespace.to_owned(), task: past };
        let limit = bounded(limit);
        let mut rows = self.state.tables.inbox.range(&from, &to, limit + 1)?;
        let next = if rows.len() > limit { rows.pop().map(|(key, _)| key.task.to_string()) } else { None };
        let mut items = Vec::new();
        for (InboxKey { task, .. }, item) in rows {
            let (workflow, step) = (self.state.run(task.run)?.workflow, locate::path(self.state, task)?);
            let (since, ask, title, details) = (item.since, item.ask, item.title, item.details);
            items.push(InboxView { task, run: task.run, workflow, step, since, ask, title, details });
        }
        Ok(Page { items, next })
    }

    /// The schemas of which the output of a task must fit one, where a person decides that it is done: what the agent
    /// that had the task declares for its capability, in each of its versions. None where the output is used by nothing.
    pub fn schemas_of_output(&mut self, namespace: &str, task: StepInstanceId) -> Result<Vec<serde_json::Value>> {
        let Some(step) = self.state.step(task)?.filter(|step| step.state != StepState::GaveUp) else {
            return Ok(Vec::new());
        };
        let step_ref = locate::locate(self.state, task)?;
        let (Some(capability), _) = task_spec::target(self.state, &step_ref, task)? else { return Ok(Vec::new()) };
        let Some(holder) = step.instance else { return Ok(Vec::new()) };
        let versions = RegistryRows { state: self.state }.versions(namespace, &holder.agent)?;
        let declared = versions.into_iter().flat_map(|agent| agent.capabilities);
        Ok(declared.filter(|of| of.name == capability).map(|of| of.output_schema).collect())
    }
}
