//! The steps of a run: as a tree of where they stand, and as a flat list with their outputs.
//!
//! For: `runs show` and the live view. Not for: history.
//! Invariant: the size of a tree is bounded: wide fan-outs and long loops are shown by counts and by the
//! instances that matter (at work, or failed).

use consort_types::{Error, Payload, Result, RunId, TaskId, Time, WorkerInstance, worker::JournalRequest};
use serde::Serialize;

use super::{Page, bad_cursor, bounded};
use crate::{
    Machine,
    fold::Fold,
    keys::ScopeKey,
    rows::{Scope, ScopeKind, Step, StepState},
    run::Role,
};

/// Instances of a fan-out or loop that a tree shows.
const SHOWN_OF_MANY_MAX: usize = 12;
/// Instances of a fan-out that are looked at to find those that matter.
const LOOKED_AT_MAX: u32 = 2_000;

/// How a fan-out or loop stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Instances in all (for a loop: its limit).
    pub total: u32,
    /// Instances that were started.
    pub started: u32,
    /// Instances that have ended.
    pub ended: u32,
    /// Instances that failed.
    pub failed: u32,
}

/// A step instance in the tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepNode {
    /// Its id.
    pub task: TaskId,
    /// Its name, or its place among its siblings (`[3]`, `#2`).
    pub name: String,
    /// `call`, `group`, `workflow`, `wait`, `approve`, `for_each` or `repeat`.
    pub kind: &'static str,
    /// The capability or agent that is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Where it stands.
    pub state: StepState,
    /// The current attempt; 0 where there was none.
    pub attempt: u32,
    /// The instance that holds, or last held, the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<WorkerInstance>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// When a wait or back-off is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wakes: Option<Time>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// The run that it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child_run: Option<RunId>,
    /// Whether its outcome was taken over from another run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub copied: bool,
    /// How its fan-out or loop stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// What is below it (of many, those that matter).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<StepNode>,
}

/// A step instance with its documents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepView {
    /// Its id.
    pub task: TaskId,
    /// Its path.
    pub path: String,
    /// Where it stands.
    pub state: StepState,
    /// Attempts made.
    pub attempt: u32,
    /// The instance that last held the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<WorkerInstance>,
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
}

impl Machine {
    /// The steps of a run as a tree.
    pub fn run_tree(&mut self, namespace: &str, id: RunId) -> Result<Vec<StepNode>> {
        let mut reader = self.reader();
        let scopes = reader.run_in(namespace, id)?.next_scope;
        if scopes == 0 {
            return Ok(Vec::new());
        }
        let mut nodes = reader.nodes(ScopeKey { run: id, scope: 0 })?;
        // Compensations hang on no step; there is at most one such scope, and it is the last that was opened.
        let last = ScopeKey { run: id, scope: scopes - 1 };
        if reader.scope(last)?.kind == ScopeKind::Compensations {
            nodes.extend(reader.nodes(last)?);
        }
        Ok(nodes)
    }

    /// The steps of a run in the order in which their scopes were opened, with their outputs.
    pub fn steps(&mut self, namespace: &str, id: RunId, cursor: Option<&str>, limit: usize) -> Result<Page<StepView>> {
        self.reader().run_in(namespace, id)?;
        let from = match cursor {
            Some(cursor) => cursor.parse::<TaskId>().map_err(|_| bad_cursor(cursor))?,
            None => TaskId { run: id, scope: 0, index: 0 },
        };
        if from.run != id {
            return Err(bad_cursor(cursor.unwrap_or_default()));
        }
        let past = TaskId { run: id, scope: u32::MAX, index: u32::MAX };
        let limit = bounded(limit);
        let mut rows = self.tables.steps.range(&from, &past, limit + 1)?;
        let next = if rows.len() > limit { rows.pop().map(|(task, _)| task.to_string()) } else { None };
        let mut items = Vec::with_capacity(rows.len());
        for (task, step) in rows {
            let path = self.reader().path(task)?;
            items.push(StepView {
                task,
                path,
                state: step.state,
                attempt: step.attempt,
                instance: step.instance,
                began: step.began,
                taken: step.taken,
                ended: step.ended,
                output: step.output,
                error: step.error,
                copied: step.copied,
            });
        }
        Ok(Page { items, next })
    }
}

impl Fold<'_> {
    fn nodes(&mut self, key: ScopeKey) -> Result<Vec<StepNode>> {
        let scope = self.scope(key)?;
        let mut nodes = Vec::new();
        for index in self.shown(key, &scope)? {
            let task = TaskId { run: key.run, scope: key.scope, index };
            let step = self.known_step(task)?;
            nodes.push(self.node(task, step)?);
        }
        Ok(nodes)
    }

    /// Which instances of a scope a tree shows.
    fn shown(&mut self, key: ScopeKey, scope: &Scope) -> Result<Vec<u32>> {
        let task = |index| TaskId { run: key.run, scope: key.scope, index };
        if let ScopeKind::Steps { .. } = scope.kind {
            return Ok((0..scope.total).collect());
        }
        let from = if scope.kind == ScopeKind::Iterations { scope.started.saturating_sub(3) } else { 0 };
        let rows = self.machine.tables.steps.range(&task(from), &task(u32::MAX), LOOKED_AT_MAX as usize)?;
        let few = rows.len() <= SHOWN_OF_MANY_MAX;
        let matters = |step: &Step| few || !step.state.is_terminal() || step.state == StepState::Failed;
        let shown = rows.into_iter().filter(|(_, step)| matters(step)).map(|(task, _)| task.index);
        Ok(shown.take(SHOWN_OF_MANY_MAX).collect())
    }

    fn node(&mut self, task: TaskId, step: Step) -> Result<StepNode> {
        let place = self.place(task)?;
        let definition = place.step();
        let path = self.path(task)?;
        let name = match place.role {
            Role::Body(_) => path.rsplit_once('/').map_or(path.as_str(), |(_, name)| name).to_owned(),
            _ => path,
        };
        let mut node = StepNode {
            task,
            name,
            kind: definition.action.kind(),
            target: None,
            state: step.state,
            attempt: step.attempt,
            instance: step.instance,
            began: step.began,
            ended: step.ended,
            wakes: step.wake_at,
            error: step.error,
            child_run: step.child_run,
            copied: step.copied,
            counts: None,
            below: Vec::new(),
        };
        if let Some(row) = self.entry_of(&place)? {
            let asks = matches!(row.request, JournalRequest::Approval { .. });
            node.kind = if asks { "approve" } else { "call" };
        }
        let (capability, agent) = self.target(&place)?;
        node.target = capability.or(agent);
        if let Some(child) = step.child {
            let key = ScopeKey { run: task.run, scope: child };
            let scope = self.scope(key)?;
            let many = match scope.kind {
                ScopeKind::Items => Some("for_each"),
                ScopeKind::Iterations => Some("repeat"),
                _ => None,
            };
            if let Some(kind) = many {
                let Scope { total, started, ended, failed, .. } = scope;
                node.kind = kind;
                node.counts = Some(Counts { total, started, ended, failed });
            }
            node.below = self.nodes(key)?;
        }
        Ok(node)
    }
}
