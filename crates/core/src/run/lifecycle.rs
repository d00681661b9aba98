//! The life of a run as a whole: created and ended.
//!
//! For: the row of a run, its counts and what ends with it. Not for: its steps.
//! Invariant: a run ends once, and when it has ended nothing of it is active.

use std::{collections::BTreeMap, sync::Arc};

use consort_types::{BlobHash, Code, Error, Payload, Result, RunId, Seq, Span, StepInstanceId, limits};
use consort_workflow::Definition;
use serde_json::Value;

use crate::{
    context::{ApplyContext, Outcome, PendingWork},
    effect::Effect,
    encode::encode,
    quota::namespace,
    registry::uses,
    run::{
        defer,
        keys::{ListKey, ScopeKey, SignalKey, TimerKind, root_task},
        rows::{
            history::HistoryEvent,
            run::{Delivers, Origin, Run, RunStatus},
        },
    },
    state::rows::Marker,
};

/// What a new run is made of.
pub(crate) struct NewRun {
    pub(crate) id: RunId,
    pub(crate) namespace: String,
    pub(crate) hash: BlobHash,
    pub(crate) definition: Arc<Definition>,
    pub(crate) input: Payload,
    pub(crate) parent: Option<StepInstanceId>,
    pub(crate) depth: u32,
    pub(crate) paused: bool,
    pub(crate) origin: Option<Origin>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) priority: i32,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) timeout: Option<Span>,
    pub(crate) traceparent: Option<String>,
    /// The run at the top of the tree, for a run that a step starts.
    pub(crate) root: Option<RunId>,
    /// What the effects of the run are named after, where it is not the run itself.
    pub(crate) lineage: Option<RunId>,
    /// The contents for workflows that the run calls by name, where they are not those that are deployed.
    pub(crate) pins: BTreeMap<String, BlobHash>,
    /// The delivery of an event that the end of the run settles.
    pub(crate) delivers: Option<Delivers>,
}

impl NewRun {
    /// A run that no step starts, and for which nothing else is chosen.
    pub(crate) fn of(id: RunId, namespace: &str, hash: BlobHash, definition: Arc<Definition>, input: Payload) -> Self {
        Self {
            id,
            namespace: namespace.to_owned(),
            hash,
            definition,
            input,
            parent: None,
            depth: 0,
            paused: false,
            origin: None,
            labels: BTreeMap::new(),
            priority: 0,
            idempotency_key: None,
            timeout: None,
            traceparent: None,
            root: None,
            lineage: None,
            pins: BTreeMap::new(),
            delivers: None,
        }
    }
}

/// The input of a run that the machine starts, with its defaults filled in.
///
/// # Errors
/// Those of `InputSpec::accept_counted`, whose work is charged either way.
pub(crate) fn accept_input(ctx: &mut ApplyContext<'_>, definition: &Definition, given: &Value) -> Result<Vec<u8>> {
    let mut cost = 0;
    let accepted = definition.input.accept_counted(given, &mut cost);
    ctx.state.charge_cost(cost);
    accepted.map(|input| encode(&input))
}

pub(crate) fn create_run(ctx: &mut ApplyContext<'_>, new: NewRun) -> Result<()> {
    let mut of_namespace = namespace::namespace(ctx.state, &new.namespace)?;
    of_namespace.runs_active += 1;
    of_namespace.counts.runs += 1;
    of_namespace.counts.bytes += new.input.len();
    namespace::put_namespace(ctx, &new.namespace, of_namespace);
    let deadline = new.timeout.or(new.definition.timeout).map(|span| ctx.now.after(span));
    let run = Run {
        namespace: new.namespace,
        workflow: new.definition.name.clone(),
        hash: new.hash,
        input: new.input,
        status: RunStatus::Running,
        paused: new.paused,
        created: ctx.now,
        ended: None,
        output: None,
        error: None,
        parent: new.parent,
        depth: new.depth,
        next_scope: 0,
        steps_made: 0,
        origin: new.origin,
        labels: new.labels,
        priority: new.priority,
        idempotency_key: new.idempotency_key,
        deadline,
        ending: None,
        forced: false,
        signals_waiting: 0,
        changed: Seq::ZERO,
        children: 0,
        drained: false,
        traceparent: new.traceparent,
        root: new.root,
        descendants: 0,
        cancelling: None,
        stopping: 0,
        pausing: None,
        continues: false,
        compensations: None,
        lineage: new.lineage,
        detached: 0,
        pins: new.pins,
        delivers: new.delivers,
    };
    uses::run_created(ctx, &run)?;
    if let Some(due) = deadline {
        ctx.arm(due, root_task(new.id), TimerKind::RunTimeout, 0);
    }
    if run.paused {
        ctx.effect(Effect::Hold { run: new.id, held: true });
    }
    ctx.state.tables.listing.insert_new(ListKey::of(&run.namespace, new.id), Marker);
    ctx.state.meta.runs_active += 1;
    ctx.state.meta.runs_made += 1;
    ctx.record_history(new.id, None, HistoryEvent::RunStarted);
    ctx.put_run(new.id, run);
    Ok(())
}

pub(crate) fn end_run(
    ctx: &mut ApplyContext<'_>,
    id: RunId,
    status: RunStatus,
    output: Option<Payload>,
    error: Option<Error>,
) -> Result<()> {
    let mut run = ctx.state.run(id)?;
    assert!(!run.status.is_terminal() && status.is_terminal(), "run {id} ends once (law 7)");
    let first = StepInstanceId { run: id, scope: 0, index: 0 };
    let past = StepInstanceId { run: id, scope: u32::MAX, index: u32::MAX };
    let left = ctx.state.tables.live.range(&first, &past, 1)?;
    assert!(left.is_empty(), "run {id} ended while {} is active (law 7)", left[0].0);
    ctx.disarm(run.deadline, root_task(id), TimerKind::RunTimeout);
    drop_signals(ctx, id)?;
    if run.paused {
        ctx.effect(Effect::Hold { run: id, held: false });
    }
    run.set_status(status);
    run.paused = false;
    run.ended = Some(ctx.now);
    run.output.clone_from(&output);
    run.error.clone_from(&error);
    ctx.state.meta.runs_active -= 1;
    let mut of_namespace = namespace::namespace(ctx.state, &run.namespace)?;
    assert!(of_namespace.runs_active > 0, "namespace {} has fewer runs than have ended", run.namespace);
    of_namespace.runs_active -= 1;
    of_namespace.counts.bytes += run.output.as_ref().map_or(0, Payload::len);
    namespace::put_namespace(ctx, &run.namespace, of_namespace);
    uses::run_ended(ctx, &run)?;
    ctx.state.documents.run_ended(id);
    ctx.record_history(id, None, HistoryEvent::RunEnded { status });
    if let Some(schedule) = run.labels.get("schedule").filter(|_| run.parent.is_none()) {
        let (namespace, schedule) = (run.namespace.clone(), schedule.clone());
        ctx.enqueue(PendingWork::ScheduledEnded { run: id, namespace, schedule });
    }
    match run.parent {
        Some(parent) => notify_parent(ctx, id, parent, status, output, error)?,
        // How long it is kept follows from its delivery.
        None if run.delivers.is_some() => ctx.enqueue(PendingWork::DeliveryEnded(id)),
        None => arm_retention(ctx, id, &run.namespace)?,
    }
    ctx.put_run(id, run);
    Ok(())
}

fn notify_parent(
    ctx: &mut ApplyContext<'_>,
    id: RunId,
    parent: StepInstanceId,
    status: RunStatus,
    output: Option<Payload>,
    error: Option<Error>,
) -> Result<()> {
    let message = || error.map_or_else(|| status.as_str().to_owned(), |error| error.message);
    let outcome = match (status, output) {
        (RunStatus::Completed, Some(output)) => {
            ctx.retain(&output)?;
            Outcome::Completed(output)
        }
        (RunStatus::Cancelled, _) => Outcome::Cancelled(Error::new(Code::Cancelled, message())),
        _ => Outcome::Failed(
            Error::new(Code::ChildFailed, format!("child run `{id}` failed: {}", message()))
                .hint(format!("look at it with `consort runs show {id}`")),
        ),
    };
    let mut above = ctx.state.run(parent.run)?;
    assert!(above.children > 0, "run {} has fewer children than have ended", parent.run);
    above.children -= 1;
    let last = above.drained && above.awaits_nothing();
    ctx.put_run(parent.run, above);
    ctx.enqueue(PendingWork::Finish(parent, outcome));
    if last {
        ctx.enqueue(PendingWork::Close(ScopeKey { run: parent.run, scope: 0 }));
    }
    Ok(())
}

fn arm_retention(ctx: &mut ApplyContext<'_>, id: RunId, namespace: &str) -> Result<()> {
    if let Some(keep) = namespace::namespace(ctx.state, namespace)?.retention {
        ctx.arm(ctx.now.after(keep), root_task(id), TimerKind::Retention, 0);
    }
    Ok(())
}

/// Signals and waiters go with the run.
fn drop_signals(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    let (from, to) = signals_of(id);
    for (key, signal) in ctx.state.tables.signals.range(&from, &to, limits::SIGNALS_WAITING_MAX as usize)? {
        ctx.charge(1);
        ctx.state.tables.signals.delete(&key);
        ctx.release(&signal.payload)?;
    }
    drop_waiters(ctx, id)
}

/// Removes what had waited for signals of an ended run; many rows go in several records.
pub(crate) fn drop_waiters(ctx: &mut ApplyContext<'_>, id: RunId) -> Result<()> {
    let (from, to) = signals_of(id);
    let waiters = ctx.state.tables.waiters.range(&from, &to, limits::PAGE_ITEMS_MAX)?;
    ctx.charge(waiters.len());
    for (key, _) in &waiters {
        ctx.state.tables.waiters.delete(key);
    }
    if waiters.len() == limits::PAGE_ITEMS_MAX { defer::arm_continuation(ctx, id) } else { Ok(()) }
}

/// Lets the tasks of a run go again that were held back while it was being cancelled.
pub(crate) fn end_cancelling(ctx: &mut ApplyContext<'_>, id: RunId, run: &mut Run) -> bool {
    let was = run.cancelling.take().is_some();
    if was && !run.paused {
        ctx.effect(Effect::Hold { run: id, held: false });
    }
    was
}

/// Refuses what needs an active run.
pub(crate) fn refuse_ended(id: RunId, run: &Run) -> Result<()> {
    if !run.status.is_terminal() {
        return Ok(());
    }
    Err(Error::new(Code::RunEnded, format!("run `{id}` has ended: it is {}", run.status.as_str()))
        .hint("terminal states are final; `consort runs retry` and `consort runs fork` make a new run from it"))
}

/// The range of a run's signals, and of what waits for them.
fn signals_of(run: RunId) -> (SignalKey, SignalKey) {
    let key = |name: &str| SignalKey { run, name: name.to_owned(), seq: Seq::ZERO, n: 0 };
    (key(""), key("\u{7f}"))
}
