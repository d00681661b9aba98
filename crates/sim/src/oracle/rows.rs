//! What one record may do to the rows.
//!
//! For: laws 2, 3, 6, 7 and 13, row by row. Not for: folding (see `fold`).
//! Invariant: every check here reads only rows, and decodes them itself.

use std::collections::{BTreeMap, BTreeSet};

use consort_core::{
    Command, TABLES, TableSpec, Until,
    keys::{
        AgentKey, BesideKey, BesideKind, DefinitionKey, DivergedKey, EntryKey, HistoryKey, InboxKey, NamedKey,
        TimerKey, TimerKind,
    },
    rows::{
        Beside, DefinitionUse, HistoryEntry, HistoryEvent, Meta, Namespace, NamespaceCounts, PinnedTasks, Run,
        RunStatus, Step, StepState, TaskCounts, TaskEntry, Waiter, WorkflowRevision,
    },
    tables::{Key, Row},
};
use consort_types::{
    BlobHash, Code, EffectClass, Error, RunId, Seq, StepInstanceId, Time, Token, limits, worker::JournalRequest,
};

use crate::plan::{Checked, Violation};

pub(crate) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// What a row was before a record, and is after it.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) key: Vec<u8>,
    pub(crate) old: Option<Vec<u8>>,
    pub(crate) new: Option<Vec<u8>>,
}

/// The record whose changes are looked at.
pub(crate) struct Context<'a> {
    pub(crate) seq: Seq,
    pub(crate) now: Time,
    pub(crate) command: &'a Command,
    /// The report is about an attempt that is not the current one.
    pub(crate) stale: bool,
    /// The report is about an attempt that has recorded its outcome.
    pub(crate) second: bool,
    /// The machine has refused the command.
    pub(crate) refused: bool,
}

pub(crate) fn decode<R: Row>(bytes: &[u8]) -> Option<R> {
    minicbor::decode(bytes).ok()
}

pub(crate) fn key_of<K: Key>(bytes: &[u8]) -> Option<K> {
    K::decode(bytes.get(1..)?)
}

pub(crate) fn key_bytes<K: Key>(table: TableSpec, key: &K) -> Vec<u8> {
    let mut bytes = vec![table.prefix];
    key.encode(&mut bytes);
    bytes
}

/// The step's row.
pub(crate) fn step(rows: &Rows, task: StepInstanceId) -> Option<Step> {
    decode(rows.get(&key_bytes(TABLES.steps, &task))?)
}

/// The step instances of a run.
pub(crate) fn steps_of(rows: &Rows, run: RunId) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
    let mut from = vec![TABLES.steps.prefix];
    from.extend(run.0);
    let start = from.clone();
    rows.range(from..).take_while(move |(key, _)| key.starts_with(&start))
}

/// A table that has a row of the ended run, though its rows go with the end.
fn leftover(rows: &Rows, run: RunId) -> Option<TableSpec> {
    let due = |table: &TableSpec| table.until() == Some(Until::Ended);
    let has_one = |spec: &TableSpec| table(rows, *spec).any(|(key, _)| spec.run_of(key) == Some(run));
    TABLES.all().filter(due).find(has_one)
}

/// The attempt that a report names.
pub(crate) fn reported(command: &Command) -> Option<(StepInstanceId, Token)> {
    match command {
        Command::TaskComplete(report) => Some((report.task, report.token)),
        Command::TaskFail(report) => Some((report.task, report.token)),
        Command::TaskRecord(report) => Some((report.task, report.token)),
        Command::TaskPark(report) => Some((report.task, report.token)),
        _ => None,
    }
}

/// Whether a report is about another attempt than the current one.
pub(crate) fn is_stale(rows: &Rows, command: &Command) -> bool {
    let Some((task, token)) = reported(command) else { return false };
    let open = |step: &Step| matches!(step.state, StepState::Ready | StepState::Taken | StepState::Unknown);
    !step(rows, task).is_some_and(|step| step.token == token && step.attempt > 0 && open(&step))
}

/// Whether the attempt that a report names has recorded its outcome before.
pub(crate) fn is_second(rows: &Rows, command: &Command) -> bool {
    let named = reported(command);
    named.is_some_and(|(task, token)| {
        step(rows, task).is_some_and(|step| step.token == token && step.state.is_terminal())
    })
}

/// Looks at everything that a record changed. `terminal` counts the outcomes of each step, as journals tell them.
pub(crate) fn check(context: &Context<'_>, changes: &[Change], rows: &Rows) -> Checked {
    let touched = changes.iter().find(|change| !TABLES.meta.has(&change.key));
    if let Some(change) = touched.filter(|_| context.stale || context.refused) {
        let (law, why) = match (context.stale, context.second) {
            (true, true) => (2, "a second report"),
            (true, false) => (3, "a report of an attempt that is over"),
            (false, _) => (2, "a refused command"),
        };
        let what = format!("record {}: {why} has changed row {:02x?}: {:?}", context.seq, change.key, context.command);
        return Err(Violation::of(law, what));
    }
    check_forgotten(context, rows)?;
    check_told(context, changes, rows)?;
    for change in changes {
        check_size(change)?;
        if TABLES.steps.has(&change.key) {
            check_step(context, change, rows)?;
        } else if TABLES.runs.has(&change.key) {
            check_run(context, change, rows)?;
        } else if TABLES.beside.has(&change.key) {
            check_beside(context, change)?;
        } else if TABLES.history.has(&change.key) && change.old.is_some() && change.new.is_some() {
            return Err(Violation::of(2, format!("record {}: history was rewritten", context.seq)));
        }
    }
    Ok(())
}

/// The value of a name is that of the last entry that exposed it, and an update has the answer that code gave it.
fn check_told(context: &Context<'_>, changes: &[Change], rows: &Rows) -> Checked {
    let Command::TaskRecord(record) = context.command else { return Ok(()) };
    let (task, seq) = (record.task, context.seq);
    let key = key_bytes(TABLES.entries, &EntryKey { task, entry: record.index });
    // The same entry again exposes nothing again.
    let new = changes.iter().find(|change| change.key == key && change.old.is_none());
    let row = new.and_then(|change| change.new.as_deref()).and_then(decode::<TaskEntry>);
    let Some(row) = row.filter(|row| row.error.is_none()) else { return Ok(()) };
    let JournalRequest::Expose { name, value } = &row.request else { return Ok(()) };
    let key = BesideKey { run: task.run, kind: BesideKind::Value, name: name.clone() };
    let exposed = rows.get(&key_bytes(TABLES.beside, &key)).and_then(|row| decode::<Beside>(row));
    match exposed {
        Some(Beside::Value(exposed)) if exposed.value == *value => Ok(()),
        other => Err(Violation::of(9, format!("record {seq}: `{name}` of task {task} is {other:?}, not {value:?}"))),
    }
}

/// An update is what it was, and keeps its first answer.
fn check_beside(context: &Context<'_>, change: &Change) -> Checked {
    let update = |row: &Option<Vec<u8>>| match row.as_deref().and_then(decode::<Beside>) {
        Some(Beside::Update(update)) => Some(update),
        _ => None,
    };
    let (Some(old), Some(new)) = (update(&change.old), update(&change.new)) else { return Ok(()) };
    let kept = old.outcome.is_none() || old.outcome == new.outcome;
    if kept && (&old.name, &old.input, old.at) == (&new.name, &new.input, new.at) {
        return Ok(());
    }
    Err(Violation::of(2, format!("record {}: an update was {old:?}, and is {new:?}", context.seq)))
}

/// What the code of a task has passed has no timer, no waiter and no question.
fn check_forgotten(context: &Context<'_>, rows: &Rows) -> Checked {
    let Command::TaskRecord(record) = context.command else { return Ok(()) };
    let JournalRequest::Forget { entries } = &record.entry.request else { return Ok(()) };
    let (task, seq) = (record.task, context.seq);
    let key = EntryKey { task, entry: record.index };
    let row = rows.get(&key_bytes(TABLES.entries, &key)).and_then(|row| decode::<TaskEntry>(row));
    if context.refused || row.is_none_or(|row| row.error.is_some()) {
        return Ok(());
    }
    let is_of = |of: StepInstanceId, entry: Option<u32>| of == task && entry.is_some_and(|n| entries.contains(&n));
    let mut waiters = table(rows, TABLES.waiters).filter_map(|(_, row)| decode::<Waiter>(row));
    let mut timers = table(rows, TABLES.timers).filter_map(|(key, _)| key_of::<TimerKey>(key));
    let calls = step(rows, task).and_then(|step| step.child);
    let mut questions = table(rows, TABLES.inbox).filter_map(|(key, _)| key_of::<InboxKey>(key));
    let left = [
        ("a waiter", waiters.any(|waiter| is_of(waiter.task, waiter.entry))),
        ("a timer", timers.any(|timer| timer.kind == TimerKind::Sleep && is_of(timer.task, Some(timer.entry)))),
        (
            "a question",
            questions.any(|key| {
                key.task.run == task.run && calls == Some(key.task.scope) && entries.contains(&key.task.index)
            }),
        ),
    ];
    match left.iter().find(|(_, is_there)| *is_there) {
        Some((what, _)) => {
            let what = format!("record {seq}: task {task} has passed entries {entries:?}, and one has {what}");
            Err(Violation::of(7, what))
        }
        None => Ok(()),
    }
}

fn check_size(change: &Change) -> Checked {
    let (size, max) = (change.new.as_ref().map_or(0, Vec::len), 2 * limits::INLINE_BYTES_MAX + 8_192);
    let source = TABLES.workflows.has(&change.key);
    if size > max && !source {
        return Err(Violation::of(13, format!("row {:02x?} has {size} bytes, the bound is {max}", change.key)));
    }
    Ok(())
}

fn check_step(context: &Context<'_>, change: &Change, rows: &Rows) -> Checked {
    let (Some(new), Some(task)) = (&change.new, key_of::<StepInstanceId>(&change.key)) else { return Ok(()) };
    let new: Step = decode(new).ok_or_else(|| Violation::of(4, format!("the row of step {task} cannot be read")))?;
    let seq = context.seq;
    let Some(old) = change.old.as_deref().and_then(decode::<Step>) else { return Ok(()) };
    if old.state.is_terminal() {
        if old == new {
            return Ok(());
        }
        let what = format!("record {seq}: step {task} had ended as {old:?}, and now is {new:?}");
        return Err(Violation::of(2, what));
    }
    if new.token < old.token {
        return Err(Violation::of(3, format!("record {seq}: the token of step {task} went from {} back", old.token)));
    }
    if new.state == StepState::Ready && new.token != old.token && new.token.0 != seq.0 {
        return Err(Violation::of(3, format!("record {seq}: step {task} got token {}", new.token)));
    }
    check_effect(context, task, (&old, &new))?;
    check_times(context, task, (&old, &new), rows)
}

/// The effect of a running `write` attempt is not forgotten: its step ends by the report, or by a decision.
fn check_effect(context: &Context<'_>, task: StepInstanceId, (old, new): (&Step, &Step)) -> Checked {
    let is_open = old.effect == Some(EffectClass::Write) && matches!(old.state, StepState::Taken | StepState::Unknown);
    let by_others = matches!(context.command, Command::CancelRun(_) | Command::Tick(_));
    // The author's `on_unknown` decides too: `fail` at once, `retry` until the limit of lost attempts is reached.
    let by_rule = |error: &Error| matches!(error.code, Code::OutcomeUnknown | Code::InstanceLost);
    let decided = new.error.as_ref().is_some_and(by_rule);
    if is_open && by_others && !decided && matches!(new.state, StepState::Cancelled | StepState::Failed) {
        let what = format!("record {}: step {task} ended while its effect was under way: {new:?}", context.seq);
        return Err(Violation::of(7, what));
    }
    Ok(())
}

/// Whether the instance has its error from one below it, whose time was over: its own may not be.
fn is_from_below(rows: &Rows, task: StepInstanceId, step: &Step) -> bool {
    let Some(scope) = step.child.filter(|_| step.error.is_some()) else { return false };
    let below =
        steps_of(rows, task.run).filter(|(key, _)| key_of::<StepInstanceId>(key).is_some_and(|at| at.scope == scope));
    below.filter_map(|(_, row)| decode::<Step>(row)).any(|below| below.error == step.error)
}

/// What a timer does happens when it is due, not before.
fn check_times(context: &Context<'_>, task: StepInstanceId, (old, new): (&Step, &Step), rows: &Rows) -> Checked {
    let failed_by = |code| new.state != old.state && new.error.as_ref().is_some_and(|error| error.code == code);
    let due = match (old.state, new.state) {
        (StepState::Waiting, StepState::Completed) | (StepState::Backoff, StepState::Ready) => old.wake_at,
        _ if failed_by(Code::TimedOut) && matches!(context.command, Command::Tick(_)) => old.timeout_at,
        _ if failed_by(Code::DeadlinePassed) && matches!(context.command, Command::Tick(_)) => old.deadline_at,
        _ => None,
    };
    if due.is_some_and(|due| context.now < due) && !is_from_below(rows, task, new) {
        let what = format!("record {}: step {task} became {:?} before its time", context.seq, new.state);
        return Err(Violation::of(6, what));
    }
    Ok(())
}

fn check_run(context: &Context<'_>, change: &Change, rows: &Rows) -> Checked {
    let (Some(new), Some(run)) = (&change.new, key_of::<RunId>(&change.key)) else { return Ok(()) };
    let new: Run = decode(new).ok_or_else(|| Violation::of(4, format!("the row of run {run} cannot be read")))?;
    let old = change.old.as_deref().and_then(decode::<Run>);
    if let Some(old) = old.filter(|old| old.status.is_terminal()) {
        let same = (old.status, &old.output, &old.error) == (new.status, &new.output, &new.error);
        if same || new.status == RunStatus::Deleted {
            return Ok(());
        }
        let (was, is) = (old.status, new.status);
        return Err(Violation::of(7, format!("record {}: run {run} had ended as {was:?}, and is {is:?}", context.seq)));
    }
    if new.status.is_terminal() { check_ended(context.seq, run, rows) } else { Ok(()) }
}

/// Nothing outlives its run.
fn check_ended(seq: Seq, run: RunId, rows: &Rows) -> Checked {
    let left = |what: String| Err(Violation::of(7, format!("record {seq}: run {run} has ended, but {what}")));
    if let Some(table) = leftover(rows, run) {
        return left(format!("table `{}` still has a row of it", table.name));
    }
    for (key, row) in steps_of(rows, run) {
        let Some(step) = decode::<Step>(row) else { continue };
        if !step.state.is_terminal() && step.state != StepState::Pending {
            return left(format!("its step {:?} is {:?}", key_of::<StepInstanceId>(key), step.state));
        }
        let below = step.child_run.and_then(|child| decode::<Run>(rows.get(&key_bytes(TABLES.runs, &child))?));
        // A child that was stopped may still take back what it did.
        if below.is_some_and(|child| !child.status.is_terminal()) {
            return left(format!("its child {:?} has not ended", step.child_run));
        }
    }
    for (key, _) in table(rows, TABLES.timers) {
        let Some(timer) = key_of::<TimerKey>(key) else { continue };
        // A journal's `sleep` whose task has ended fires into the void; what a run has left of its work is dropped by
        // the timer that would have gone on with it.
        let own = matches!(timer.kind, TimerKind::Retention | TimerKind::Reap | TimerKind::Sleep | TimerKind::Continue);
        if timer.task.run == run && !own {
            return left(format!("its timer {timer:?} is armed"));
        }
    }
    Ok(())
}

/// All rows of a table.
pub(crate) fn table(rows: &Rows, table: TableSpec) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
    rows.range(vec![table.prefix]..vec![table.prefix + 1])
}

/// The steps whose journals tell an outcome in these changes.
pub(crate) fn outcomes(changes: &[Change]) -> Vec<StepInstanceId> {
    let told = |change: &Change| {
        let key: HistoryKey =
            key_of(&change.key).filter(|_| TABLES.history.has(&change.key) && change.old.is_none())?;
        let entry: HistoryEntry = decode(change.new.as_deref()?)?;
        let (scope, index) = entry.step?;
        let ends = matches!(
            entry.event,
            HistoryEvent::StepCompleted { .. }
                | HistoryEvent::StepFailed { .. }
                | HistoryEvent::StepSkipped { .. }
                | HistoryEvent::StepCancelled { .. }
                | HistoryEvent::StepCopied
        );
        ends.then_some(StepInstanceId { run: key.run, scope, index })
    };
    changes.iter().filter_map(told).collect()
}

/// Timers that a record took out although, or because, they were due.
pub(crate) fn fired(context: &Context<'_>, changes: &[Change]) -> Vec<TimerKey> {
    if !matches!(context.command, Command::Tick(_)) {
        return Vec::new();
    }
    let is_gone = |change: &&Change| TABLES.timers.has(&change.key) && change.old.is_some() && change.new.is_none();
    let gone = changes.iter().filter(is_gone);
    let due = gone.filter_map(|change| key_of::<TimerKey>(&change.key)).filter(|timer| timer.due <= context.now);
    let goes_on = |kind| {
        matches!(
            kind,
            TimerKind::Continue
                | TimerKind::Reap
                | TimerKind::Retain
                | TimerKind::StatePurge
                | TimerKind::EventsContinue
                | TimerKind::ScheduleContinue
                | TimerKind::BallotReap
        )
    };
    due.filter(|timer| !goes_on(timer.kind)).collect()
}

/// Counts the tasks that are not over, from the rows of steps; `done` and `dead` stay 0.
pub(crate) fn recount(rows: &Rows) -> TaskCounts {
    let mut counts = TaskCounts::default();
    for (_, row) in table(rows, TABLES.steps) {
        let Some(step) = decode::<Step>(row).filter(|step| step.attempt > 0 && !step.state.is_terminal()) else {
            continue;
        };
        match step.state {
            StepState::Taken => counts.taken += 1,
            StepState::Pending => {}
            _ => counts.waiting += 1,
        }
    }
    counts
}

/// Tasks are conserved.
pub(crate) fn check_counts(rows: &Rows) -> Checked {
    let Some(meta) = rows.get(&key_bytes(TABLES.meta, &())).and_then(|row| decode::<Meta>(row)) else { return Ok(()) };
    let (told, found) = (meta.tasks, recount(rows));
    let sums = told.made == told.waiting + told.taken + told.done + told.dead;
    if !sums || (told.waiting, told.taken) != (found.waiting, found.taken) {
        let what = format!("the machine counts {told:?}, the rows say waiting {} taken {}", found.waiting, found.taken);
        return Err(Violation::of(8, what));
    }
    let (active, namespaces) = recount_namespaces(rows);
    if active != meta.runs_active {
        let what = format!("the machine counts {} active runs, the rows say {active}", meta.runs_active);
        return Err(Violation::of(8, what));
    }
    check_namespaces(rows, namespaces)?;
    check_definitions(rows)?;
    check_pins(rows)
}

/// Each version's count is that of the tasks that are pinned to it, and every task that waits for code can be found.
fn check_pins(rows: &Rows) -> Checked {
    let (mut pinned, mut diverged) = (BTreeMap::<AgentKey, u64>::new(), BTreeSet::new());
    for (key, row) in table(rows, TABLES.steps) {
        let Some((task, step)) = key_of::<StepInstanceId>(key).zip(decode::<Step>(row)) else { continue };
        if step.state.is_terminal() {
            continue;
        }
        if step.state == StepState::Diverged {
            diverged.insert(task);
        }
        let run = rows.get(&key_bytes(TABLES.runs, &task.run)).and_then(|row| decode::<Run>(row));
        if let Some((pin, run)) = step.pinned.zip(run) {
            let key = AgentKey { namespace: run.namespace, name: pin.agent, version: pin.version };
            *pinned.entry(key).or_default() += 1;
        }
    }
    let told =
        table(rows, TABLES.pinned).filter_map(|(key, row)| Some((key_of(key)?, decode::<PinnedTasks>(row)?.tasks)));
    let told: BTreeMap<AgentKey, u64> = told.collect();
    if told != pinned {
        return Err(Violation::of(8, format!("pinned tasks are counted as {told:?}, the rows say {pinned:?}")));
    }
    let told = table(rows, TABLES.diverged).filter_map(|(key, _)| Some(key_of::<DivergedKey>(key)?.task));
    let told: BTreeSet<StepInstanceId> = told.collect();
    if told != diverged {
        let what = format!("{told:?} wait for code that fits, by the rows of steps {diverged:?}");
        return Err(Violation::of(8, what));
    }
    Ok(())
}

/// Contents of workflows are kept exactly as long as something needs them, and their uses are counted.
fn check_definitions(rows: &Rows) -> Checked {
    let mut uses = BTreeMap::<DefinitionKey, DefinitionUse>::new();
    for run in table(rows, TABLES.runs).filter_map(|(_, row)| decode::<Run>(row)) {
        let key = |hash| DefinitionKey { hash, namespace: run.namespace.clone() };
        run.contents().for_each(|hash| uses.entry(key(hash)).or_default().runs += 1);
        uses.entry(key(run.hash)).or_default().active += u64::from(!run.status.is_terminal());
    }
    for (key, row) in table(rows, TABLES.deployed) {
        let Some((key, row)) = key_of::<NamedKey>(key).zip(decode::<WorkflowRevision>(row)) else { continue };
        if key.number > 0 {
            uses.entry(DefinitionKey { hash: row.hash, namespace: key.namespace }).or_default().revisions += 1;
        }
    }
    let told = table(rows, TABLES.definitions).filter_map(|(key, row)| Some((key_of(key)?, decode(row)?)));
    let told: BTreeMap<DefinitionKey, DefinitionUse> = told.collect();
    if told != uses {
        return Err(Violation::of(8, format!("uses of contents are counted as {told:?}, the rows say {uses:?}")));
    }
    let kept: BTreeSet<BlobHash> = table(rows, TABLES.workflows).filter_map(|(key, _)| key_of(key)).collect();
    let needed: BTreeSet<BlobHash> = uses.into_keys().map(|key| key.hash).collect();
    if kept != needed {
        return Err(Violation::of(8, format!("the contents {kept:?} are kept, and {needed:?} are needed")));
    }
    Ok(())
}

/// What each namespace holds, by its other rows, with its active runs; and the active runs of all.
fn recount_namespaces(rows: &Rows) -> (u64, BTreeMap<String, (u64, NamespaceCounts)>) {
    let mut namespaces: BTreeMap<String, (u64, NamespaceCounts)> = BTreeMap::new();
    let mut all_active = 0;
    for run in table(rows, TABLES.runs).filter_map(|(_, row)| decode::<Run>(row)) {
        if run.status == RunStatus::Deleted {
            continue;
        }
        let (active, counts) = namespaces.entry(run.namespace.clone()).or_default();
        let is_active = u64::from(!run.status.is_terminal());
        *active += is_active;
        all_active += is_active;
        counts.runs += 1;
        counts.bytes += run.document_bytes();
    }
    for key in table(rows, TABLES.ballot_names).filter_map(|(key, _)| key_of::<NamedKey>(key)) {
        namespaces.entry(key.namespace).or_default().1.ballots += 1;
    }
    for key in table(rows, TABLES.agents).filter_map(|(key, _)| key_of::<AgentKey>(key)) {
        namespaces.entry(key.namespace).or_default().1.agents += 1;
    }
    let workflows = table(rows, TABLES.deployed).filter_map(|(key, _)| key_of::<NamedKey>(key));
    for key in workflows.filter(|key| key.number == 0) {
        namespaces.entry(key.namespace).or_default().1.workflows += 1;
    }
    (all_active, namespaces)
}

fn check_namespaces(rows: &Rows, mut found: BTreeMap<String, (u64, NamespaceCounts)>) -> Checked {
    for (key, row) in table(rows, TABLES.namespaces) {
        let Some((key, row)) = key_of::<NamedKey>(key).zip(decode::<Namespace>(row)) else { continue };
        let (name, told) = (key.namespace, (row.runs_active, row.counts));
        let found = found.remove(&name).unwrap_or_default();
        if found != told {
            return Err(Violation::of(8, format!("namespace {name} counts {told:?}, its rows say {found:?}")));
        }
    }
    if let Some((name, found)) = found.first_key_value() {
        return Err(Violation::of(8, format!("namespace {name} counts nothing, its rows say {found:?}")));
    }
    Ok(())
}
