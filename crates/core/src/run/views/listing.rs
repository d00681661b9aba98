//! Listings of runs.
//!
//! For: pages of summaries, and one run with its documents. Not for: what is inside a run (see `tree` and `history`).
//! Invariant: a namespace sees only its own rows (law 12).

use std::collections::BTreeMap;

use consort_types::{BlobHash, Error, Payload, Result, RunId, Seq, StepInstanceId, Time};
use serde::Serialize;

use crate::{
    machine::Machine,
    page::{Page, bad_cursor, bounded},
    run::{
        keys::{ListKey, OfRun},
        rows::run::{Origin, Run, RunStatus},
    },
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

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFilter {
    /// Only in one of these states; where there is none, in any.
    pub statuses: Vec<RunStatus>,
    /// Only of this workflow.
    pub workflow: Option<String>,
    /// Only with all these labels.
    pub labels: BTreeMap<String, String>,
    /// Whether runs that a run started are listed too.
    pub children: bool,
}

impl RunFilter {
    fn fits(&self, run: &Run) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&run.status))
            && self.workflow.as_ref().is_none_or(|workflow| *workflow == run.workflow)
            && self.labels.iter().all(|(key, value)| run.labels.get(key) == Some(value))
            && (self.children || run.parent.is_none())
    }
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
        const LOOKED_AT_MAX: usize = 2_000;
        let mut from = ListKey { namespace: namespace.to_owned(), turned: RunId([0; 16]) };
        if let Some(cursor) = cursor {
            from.turned = ListKey::of(namespace, cursor.parse().map_err(|_| bad_cursor(cursor))?).turned;
        }
        let to = ListKey { namespace: namespace.to_owned(), turned: RunId([0xff; 16]) };
        let limit = bounded(limit);
        let keys = self.state.tables.listing.range(&from, &to, LOOKED_AT_MAX + 1)?;
        let mut items = Vec::new();
        for (looked_at, (key, _)) in keys.into_iter().enumerate() {
            let id = key.run();
            if items.len() == limit || looked_at == LOOKED_AT_MAX {
                return Ok(Page { items, next: Some(id.to_string()) });
            }
            let run = self.state.tables.runs.read_uncached(&id)?;
            items.extend(run.filter(|run| filter.fits(run)).map(|run| RunSummary::of(id, &run)));
        }
        Ok(Page { items, next: None })
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
