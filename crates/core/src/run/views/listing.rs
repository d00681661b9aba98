//! Listings of runs.
//!
//! For: pages of summaries, and one run with its documents. Not for: what is inside a run (see `tree` and `history`).
//! Invariant: a namespace sees only its own rows (law 12).

use std::collections::BTreeMap;

use consort_types::{BlobHash, Error, Payload, Result, RunId, Seq, StepInstanceId, Time};
use serde::Serialize;

use super::{
    filter::{Place, RunFilter},
    search::{self, Budget, Found, Needle},
};
use crate::{
    machine::Machine,
    page::{Page, bounded},
    run::rows::run::{Origin, Run, RunStatus},
    state::rows::TaskCounts,
};

/// A run in a few words.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// Its workflow.
    pub workflow: String,
    /// Its status.
    pub status: RunStatus,
    /// Whether the assignment of its tasks is paused.
    pub paused: bool,
    /// Its priority.
    pub priority: i32,
    /// When it was started.
    pub created: Time,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The task of the run above that started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<StepInstanceId>,
    /// Where it was forked from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Why it failed or was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
}

impl RunSummary {
    fn of(id: RunId, run: &Run) -> Self {
        Self {
            run: id,
            workflow: run.workflow.clone(),
            status: run.status,
            paused: run.paused,
            priority: run.priority,
            created: run.created,
            ended: run.ended,
            labels: run.labels.clone(),
            parent: run.parent,
            origin: run.origin.clone(),
            error: run.error.clone(),
        }
    }
}

/// A run with its documents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunView {
    /// In a few words.
    #[serde(flatten)]
    pub summary: RunSummary,
    /// Its namespace.
    pub namespace: String,
    /// The content hash of the definition that it is pinned to.
    pub hash: BlobHash,
    /// Its input.
    pub input: Payload,
    /// What it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
    /// When it times out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// Step instances made so far.
    pub steps: u32,
    /// The record that changed it last.
    pub changed: Seq,
}

impl Machine {
    /// A run with its documents.
    pub fn run_view(&mut self, namespace: &str, id: RunId) -> Result<RunView> {
        let run = self.state.run_in(namespace, id)?;
        Ok(RunView {
            summary: RunSummary::of(id, &run),
            namespace: run.namespace,
            hash: run.hash,
            input: run.input,
            output: run.output,
            deadline: run.deadline,
            steps: run.steps_made,
            changed: run.changed,
        })
    }

    /// Runs, newest first. A page reads a bounded number of runs, so it may be short of its limit, or even empty, and
    /// still have a next one.
    pub fn list_runs(
        &mut self,
        namespace: &str,
        filter: &RunFilter,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<RunSummary>> {
        let place = Place::read(namespace, cursor)?;
        let (limit, mut budget, mut within) = (bounded(limit), Budget::of_a_page(), place.within);
        let (needle, mut items) = (Needle::of(filter), Vec::new());
        let (ids, next) = place.runs(&self.state)?;
        for id in ids {
            if items.len() == limit || budget.is_spent() {
                return Ok(Page { items, next: Some(id.to_string()) });
            }
            let Some(run) = self.state.tables.runs.read_uncached(&id)?.filter(|run| filter.fits(run)) else { continue };
            let from = within.take().filter(|task| task.run == id);
            match search::find(&self.state, (filter, needle.as_ref()), (id, &run), from, &mut budget)? {
                Found::Yes => items.push(RunSummary::of(id, &run)),
                Found::No => {}
                Found::Later(task) => return Ok(Page { items, next: Some(task.to_string()) }),
            }
        }
        Ok(Page { items, next: next.map(|id| id.to_string()) })
    }

    /// Tasks by state.
    pub fn task_counts(&self) -> TaskCounts {
        self.state.meta.tasks
    }

    /// Runs that have not ended, and runs ever started.
    pub fn run_counts(&self) -> (u64, u64) {
        (self.state.meta.runs_active, self.state.meta.runs_made)
    }
}
