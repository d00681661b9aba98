//! The steps of a run as a tree.
//!
//! For: `runs show` and the live view. Not for: history, or documents (see `steps`).
//! Invariant: the size of a tree is bounded: wide fan-outs and long loops are shown by counts and by the
//! instances that matter (active, or failed).

use consort_types::{Error, Result, RunId, StepInstanceId, Time, WorkerInstance, worker::JournalRequest};
use consort_workflow::{Action, Step as Definition, Wait as WaitFor};
use serde::Serialize;

use crate::{
    auction::{self, views::BidView},
    machine::Machine,
    run::{
        keys::ScopeKey,
        locate::{self, InstanceKind},
        locked,
        rows::step::{Scope, ScopeKind, Step, StepState},
    },
    state::State,
    task::{keys::EntryKey, rows::TaskEntry, task_spec},
};

/// Instances of a fan-out or loop that a tree shows.
const SHOWN_OF_MANY_MAX: usize = 12;

/// Instances of a fan-out that are read to find those that matter.
const LOOKED_AT_MAX: usize = 2_000;

/// How far a fan-out or loop has come.
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

/// Something that an instance waits for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wait {
    /// `signal`, `event`, `lock`, `time`, `approval` or `call`.
    pub kind: &'static str,
    /// The signal, the topic, the lock, the question or the capability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the code calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// When it is over at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// A step instance in the tree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepNode {
    /// Its id.
    pub task: StepInstanceId,
    /// Its name, or its place among its siblings (`[3]`, `#2`).
    pub name: String,
    /// `for_each`, `repeat`, `auction`, or what the step does, as [`Action::kind`] says.
    pub kind: &'static str,
    /// The capability or agent that is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What the code that calls it, or asks, calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its state.
    pub state: StepState,
    /// The current attempt; 0 where there was none.
    pub attempt: u32,
    /// The instance that holds, or last held, the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<WorkerInstance>,
    /// The version of its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// When a wait or back-off is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wakes: Option<Time>,
    /// What it waits for, where it is a wait, or a task whose code only waits (of many, the first).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<Wait>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// The run that it started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub child_run: Option<RunId>,
    /// Whether its outcome was taken over from another run.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub copied: bool,
    /// How far its fan-out or loop has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    /// The bids of its auction, the best first; none while they are awaited.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bids: Vec<BidView>,
    /// What is below it (of many, those that matter).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<StepNode>,
}

/// The nodes of a scope, whose opener has the path `above`.
fn nodes(state: &mut State, key: ScopeKey, above: &str) -> Result<Vec<StepNode>> {
    let scope = state.scope(key)?;
    let mut nodes = Vec::new();
    for (task, step) in shown(state, key, &scope)? {
        let path = locate::path_below(state, task, scope.kind, above)?;
        nodes.push(node(state, task, step, &path)?);
    }
    Ok(nodes)
}

/// The instances of a scope that a tree shows.
fn shown(state: &State, key: ScopeKey, scope: &Scope) -> Result<Vec<(StepInstanceId, Step)>> {
    let task = |index| StepInstanceId { run: key.run, scope: key.scope, index };
    if let ScopeKind::Steps { .. } = scope.kind {
        return state.tables.steps.range(&task(0), &task(scope.total), scope.total as usize);
    }
    let from = if scope.kind == ScopeKind::Iterations { scope.started.saturating_sub(3) } else { 0 };
    let rows = state.tables.steps.range(&task(from), &task(u32::MAX), LOOKED_AT_MAX)?;
    let few = rows.len() <= SHOWN_OF_MANY_MAX;
    let matters = |step: &Step| few || !step.state.is_terminal() || step.state == StepState::Failed;
    Ok(rows.into_iter().filter(|(_, step)| matters(step)).take(SHOWN_OF_MANY_MAX).collect())
}

fn node(state: &mut State, task: StepInstanceId, step: Step, path: &str) -> Result<StepNode> {
    let step_ref = locate::locate(state, task)?;
    let definition = step_ref.step();
    let name = match step_ref.kind {
        InstanceKind::Bid | InstanceKind::Body(_) => path.rsplit_once('/').map_or(path, |(_, name)| name).to_owned(),
        _ => path.to_owned(),
    };
    let waits_for = waits_for(state, task, &step, definition)?;
    let mut node = StepNode {
        task,
        name,
        kind: definition.action.kind(),
        target: None,
        title: None,
        state: step.state,
        attempt: step.attempt,
        instance: step.instance,
        version: step.version,
        began: step.began,
        ended: step.ended,
        wakes: step.wake_at,
        waits_for,
        error: step.error,
        child_run: step.child_run,
        copied: step.copied,
        counts: None,
        bids: Vec::new(),
        below: Vec::new(),
    };
    if let Some(row) = task_spec::entry_of(state, &step_ref)? {
        let asks = matches!(row.request, JournalRequest::Approval { .. });
        node.kind = if asks { "approve" } else { "call" };
        node.title.clone_from(&row.title);
    }
    let (capability, agent) = task_spec::target(state, &step_ref, task)?;
    node.target = capability.or(agent);
    if let Some(child) = step.child {
        let key = ScopeKey { run: task.run, scope: child };
        let scope = state.scope(key)?;
        let many = match scope.kind {
            ScopeKind::Items => Some("for_each"),
            ScopeKind::Iterations => Some("repeat"),
            _ => None,
        };
        if let Some(row) = state.tables.auctions.get_shared(&key)? {
            node.kind = "auction";
            node.bids = auction::views::bids(&row);
        }
        if let Some(kind) = many {
            let Scope { total, started, ended, failed, .. } = scope;
            node.kind = kind;
            node.counts = Some(Counts { total, started, ended, failed });
        }
        node.below = nodes(state, key, path)?;
    }
    Ok(node)
}

/// What an instance waits for.
fn waits_for(state: &mut State, task: StepInstanceId, step: &Step, definition: &Definition) -> Result<Vec<Wait>> {
    let until = [step.wake_at, step.timeout_at].into_iter().flatten().min();
    let of = |kind, name| Wait { kind, name, title: None, until };
    if let Some(name) = locked::awaited(step) {
        return Ok(vec![of("lock", Some(name.to_owned()))]);
    }
    match (step.state, &definition.action) {
        (StepState::Waiting, Action::Wait(WaitFor::Signal { name, .. })) => Ok(vec![of("signal", Some(name.clone()))]),
        (StepState::Waiting, Action::Wait(WaitFor::Event { .. })) => {
            let wait = state.tables.event_waits.get_shared(&task)?;
            Ok(vec![of("event", wait.map(|wait| wait.topic.clone()))])
        }
        (StepState::Waiting, _) => Ok(vec![of("time", None)]),
        (StepState::Parked, _) => {
            let shown = step.parked_on.iter().take(SHOWN_OF_MANY_MAX);
            let mut waits = Vec::new();
            for entry in shown {
                let row = state.tables.entries.get_shared(&EntryKey { task, entry: *entry })?;
                waits.extend(row.as_deref().and_then(wait_of));
            }
            Ok(waits)
        }
        _ => Ok(Vec::new()),
    }
}

/// What an entry of a journal waits for.
fn wait_of(row: &TaskEntry) -> Option<Wait> {
    let (kind, name) = match &row.request {
        JournalRequest::Signal { name, .. } => ("signal", Some(name.clone())),
        JournalRequest::Update { name, .. } => ("update", Some(name.clone())),
        JournalRequest::Sleep { .. } => ("time", None),
        JournalRequest::Approval { prompt, .. } => ("approval", Some(prompt.clone())),
        JournalRequest::Call { capability, .. } => ("call", Some(capability.clone())),
        // Answered in the record that asks.
        JournalRequest::Run { .. }
        | JournalRequest::Forget { .. }
        | JournalRequest::State { .. }
        | JournalRequest::Expose { .. }
        | JournalRequest::Labels { .. }
        | JournalRequest::Answer { .. } => return None,
    };
    Some(Wait { kind, name, title: row.title.clone(), until: row.due })
}

impl Machine {
    /// The steps of a run as a tree.
    pub fn run_tree(&mut self, namespace: &str, id: RunId) -> Result<Vec<StepNode>> {
        let state = &mut self.state;
        let scopes = state.run_in(namespace, id)?.next_scope;
        if scopes == 0 {
            return Ok(Vec::new());
        }
        let mut tree = nodes(state, ScopeKey { run: id, scope: 0 }, "")?;
        // Compensations hang on no step; there is at most one such scope, and it is the last that was opened.
        let last = ScopeKey { run: id, scope: scopes - 1 };
        if state.scope(last)?.kind == ScopeKind::Compensations {
            tree.extend(nodes(state, last, "")?);
        }
        Ok(tree)
    }
}
