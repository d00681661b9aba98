//! The steps of a run as a flat list with their outputs.
//!
//! For: pages of step instances. Not for: how they hang together (see `tree`).
//! Invariant: steps come in the order in which their scopes were opened.

use consort_types::{Error, Payload, Result, RunId, StepInstanceId, Time, WorkerInstance};
use serde::Serialize;

use crate::{
    machine::Machine,
    page::{Page, bad_cursor, bounded},
    run::{
        locate,
        rows::step::{Step, StepState},
    },
};

/// A step instance with its documents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepView {
    /// Its id.
    pub task: StepInstanceId,
    /// Its path.
    pub path: String,
    /// Its state.
    pub state: StepState,
    /// Attempts made.
    pub attempt: u32,
    /// The instance that last held the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<WorkerInstance>,
    /// The version of its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began: Option<Time>,
    /// When the last attempt was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// What it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// Whether its outcome was taken over from another run.
    pub copied: bool,
    /// Entries of its task's journal.
    #[serde(skip_serializing_if = "is_zero")]
    pub entries: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl StepView {
    pub(crate) fn new(task: StepInstanceId, path: String, step: Step) -> Self {
        Self {
            task,
            path,
            state: step.state,
            attempt: step.attempt,
            instance: step.instance,
            version: step.version,
            began: step.began,
            taken: step.taken,
            ended: step.ended,
            output: step.output,
            error: step.error,
            copied: step.copied,
            entries: step.entries,
        }
    }
}

impl Machine {
    /// The steps of a run in the order in which their scopes were opened, with their outputs.
    pub fn steps(&mut self, namespace: &str, id: RunId, cursor: Option<&str>, limit: usize) -> Result<Page<StepView>> {
        self.state.run_in(namespace, id)?;
        let from = match cursor {
            Some(cursor) => cursor.parse::<StepInstanceId>().map_err(|_| bad_cursor(cursor))?,
            None => StepInstanceId { run: id, scope: 0, index: 0 },
        };
        if from.run != id {
            return Err(bad_cursor(cursor.unwrap_or_default()));
        }
        let past = StepInstanceId { run: id, scope: u32::MAX, index: u32::MAX };
        let limit = bounded(limit);
        let mut rows = self.state.tables.steps.range(&from, &past, limit + 1)?;
        let next = if rows.len() > limit { rows.pop().map(|(task, _)| task.to_string()) } else { None };
        let mut items = Vec::with_capacity(rows.len());
        for (task, step) in rows {
            let path = locate::path(&mut self.state, task)?;
            items.push(StepView::new(task, path, step));
        }
        Ok(Page { items, next })
    }
}
