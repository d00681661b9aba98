//! Listings: runs, the inbox, workflows.
//!
//! For: pages of summaries. Not for: what is inside a run (`tree`, `journal`).
//! Invariant: a namespace sees only its own rows (law 12).

use std::{collections::BTreeMap, sync::Arc};

use consort_types::{BlobHash, Error, Payload, Result, RunId, Seq, TaskId, Time};
use consort_workflow::Definition;
use serde::Serialize;

use super::{Page, bad_cursor, bounded};
use crate::{
    Machine,
    fold::Fold,
    keys::{InboxKey, ListKey, NamedKey},
    rows::{Ask, Origin, Run, RunStatus, TaskCounts},
};

/// A run in a few words.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunSummary {
    /// The run.
    pub run: RunId,
    /// Its workflow.
    pub workflow: String,
    /// Where it stands.
    pub status: RunStatus,
    /// Whether hand-out of its tasks is held back.
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
    pub parent: Option<TaskId>,
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

/// Something that waits for a person.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InboxView {
    /// What to name in the decision.
    pub task: TaskId,
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

/// A deployed workflow whole.
#[derive(Clone, Debug)]
pub struct DeployedWorkflow {
    /// Its content hash.
    pub hash: BlobHash,
    /// What it says, read from its normal form.
    pub definition: Arc<Definition>,
    /// The author's text, to be shown.
    pub source: String,
}

/// A deployed workflow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkflowView {
    /// Its name.
    pub name: String,
    /// Its newest revision.
    pub revision: u32,
    /// The version that its author wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it does.
    pub description: String,
    /// Its content hash.
    pub hash: BlobHash,
    /// When it was deployed.
    pub deployed: Time,
}

impl Machine {
    /// A run with its documents.
    pub fn run_view(&mut self, namespace: &str, id: RunId) -> Result<RunView> {
        let run = self.reader().run_in(namespace, id)?;
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

    /// A fold that only reads.
    pub(crate) fn reader(&mut self) -> Fold<'_> {
        let (seq, now) = (self.applied(), self.now());
        Fold::new(self, seq, now)
    }

    /// Runs, newest first. A page looks at a bounded number of runs, so it may be short of its limit, or even
    /// empty, and still have a next one.
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
        let keys = self.tables.listing.range(&from, &to, LOOKED_AT_MAX + 1)?;
        let mut items = Vec::new();
        for (looked_at, (key, _)) in keys.into_iter().enumerate() {
            let id = key.run();
            if items.len() == limit || looked_at == LOOKED_AT_MAX {
                return Ok(Page { items, next: Some(id.to_string()) });
            }
            let run = self.tables.runs.peek(&id)?;
            items.extend(run.filter(|run| filter.fits(run)).map(|run| RunSummary::of(id, &run)));
        }
        Ok(Page { items, next: None })
    }

    /// What waits for a person, by run and step.
    pub fn inbox(&mut self, namespace: &str, cursor: Option<&str>, limit: usize) -> Result<Page<InboxView>> {
        let zero = TaskId { run: RunId([0; 16]), scope: 0, index: 0 };
        let task = match cursor {
            Some(cursor) => cursor.parse().map_err(|_| bad_cursor(cursor))?,
            None => zero,
        };
        let from = InboxKey { namespace: namespace.to_owned(), task };
        let past = TaskId { run: RunId([0xff; 16]), scope: u32::MAX, index: u32::MAX };
        let to = InboxKey { namespace: namespace.to_owned(), task: past };
        let limit = bounded(limit);
        let mut rows = self.tables.inbox.range(&from, &to, limit + 1)?;
        let next = if rows.len() > limit { rows.pop().map(|(key, _)| key.task.to_string()) } else { None };
        let mut items = Vec::new();
        for (InboxKey { task, .. }, item) in rows {
            let mut reader = self.reader();
            let (workflow, step) = (reader.run(task.run)?.workflow, reader.path(task)?);
            let (since, ask, title, details) = (item.since, item.ask, item.title, item.details);
            items.push(InboxView { task, run: task.run, workflow, step, since, ask, title, details });
        }
        Ok(Page { items, next })
    }

    /// Deployed workflows, by name.
    pub fn workflows(&mut self, namespace: &str, cursor: Option<&str>, limit: usize) -> Result<Page<WorkflowView>> {
        let key = |name: &str| NamedKey { namespace: namespace.to_owned(), name: name.to_owned(), number: 0 };
        let (mut from, limit) = (key(cursor.unwrap_or("")), bounded(limit));
        let mut items: Vec<WorkflowView> = Vec::new();
        // Heads have number 0 and stand before their revisions: jump from head to head.
        while let Some((found, row)) = self.tables.deployed.range(&from, &key("\u{7f}"), 1)?.pop() {
            if items.len() == limit {
                return Ok(Page { items, next: Some(found.name) });
            }
            from = NamedKey { number: u32::MAX, ..found.clone() };
            items.push(WorkflowView {
                name: found.name,
                revision: row.revision,
                version: row.version,
                description: row.description,
                hash: row.hash,
                deployed: row.at,
            });
        }
        Ok(Page { items, next: None })
    }

    /// The source of a deployed workflow, by revision number or author's version.
    pub fn workflow_source(&mut self, namespace: &str, name: &str, version: Option<&str>) -> Result<String> {
        let hash = self.reader().resolve_workflow(namespace, name, version)?;
        Ok(self.compiled(hash)?.source)
    }

    /// A deployed workflow, by revision number or author's version.
    pub fn workflow(&mut self, namespace: &str, name: &str, version: Option<&str>) -> Result<DeployedWorkflow> {
        let hash = self.reader().resolve_workflow(namespace, name, version)?;
        Ok(DeployedWorkflow { hash, definition: self.definition(hash)?, source: self.compiled(hash)?.source })
    }

    /// The source that a run is pinned to.
    pub fn run_source(&mut self, namespace: &str, id: RunId) -> Result<String> {
        let hash = self.reader().run_in(namespace, id)?.hash;
        Ok(self.compiled(hash)?.source)
    }

    /// Tasks by state.
    pub fn task_counts(&self) -> TaskCounts {
        self.meta.tasks
    }

    /// Runs that have not ended, and runs ever started.
    pub fn run_counts(&self) -> (u64, u64) {
        (self.meta.runs_active, self.meta.runs_made)
    }
}
