//! What steps do outside of their runs: events, shared state and locks.
//!
//! For: that each is there exactly where its step has completed (law 2), and that what a step holds or waits for goes with
//! it (law 7). Not for: the bus, the state store and locks themselves (`bus`, `space` and `locks`).
//! Invariant: it knows the steps of the pool of workflows by what their outputs say, and asks the rows for the rest.

use std::collections::BTreeMap;

use consort_core::{
    Command, TABLES,
    keys::{EventKey, EventWaiterKey, MemberKey, NamedKey},
    rows::{Change as StateChange, Claim, EventStream, Step, StepState, StoredEvent, WaitsSince},
};
use consort_types::{Payload, RunId, Seq, StepInstanceId, event::Position, event::topic_matches};
use serde_json::Value;

use super::rows::{Change, Context, Rows, decode, key_bytes, key_of, table};
use crate::plan::{Checked, Violation};

/// In the place of an output that is a blob.
const LARGE: &str = "large";

/// Steps that completed in a record, with their outputs.
type Completed = BTreeMap<StepInstanceId, Value>;

/// Looks at what a record has changed; `rows` are those after it.
pub(crate) fn check(context: &Context<'_>, changes: &[Change], rows: &Rows) -> Checked {
    let completed = completed(changes);
    check_events(context.seq, changes, rows, &completed)?;
    check_writes(context.seq, changes, &completed)?;
    check_heard(context.seq, changes, rows, &completed)?;
    check_locks(context, changes, rows)
}

fn completed(changes: &[Change]) -> Completed {
    let mut completed = Completed::new();
    for change in changes.iter().filter(|change| TABLES.steps.has(&change.key)) {
        let ended = change.old.as_deref().and_then(decode::<Step>).is_some_and(|step| step.state.is_terminal());
        let step = change.new.as_deref().and_then(decode::<Step>).filter(|step| !ended && !step.copied);
        if let Some((task, step)) = key_of::<StepInstanceId>(&change.key).zip(step)
            && step.state == StepState::Completed
        {
            let output = match step.output.as_ref().map(Payload::bytes) {
                Some(Some(bytes)) => serde_json::from_slice(bytes).unwrap_or_default(),
                Some(None) => Value::from(LARGE),
                None => Value::Null,
            };
            completed.insert(task, output);
        }
    }
    completed
}

/// There is one event for each step that has completed by publishing, and none for another.
fn check_events(seq: Seq, changes: &[Change], rows: &Rows, completed: &Completed) -> Checked {
    for change in changes.iter().filter(|change| TABLES.events.has(&change.key)) {
        let Some(event) = change.new.as_deref().and_then(decode::<StoredEvent>) else { continue };
        let (id, source) = (event.attributes.id, event.attributes.source);
        let by = id.parse::<StepInstanceId>().ok().filter(|_| source.starts_with("/runs/"));
        if by.is_some_and(|by| !completed.contains_key(&by)) {
            return Err(Violation::of(2, format!("record {seq}: event `{id}` is there, its step has not completed")));
        }
    }
    let streams = || table(rows, TABLES.event_streams).filter_map(|(_, row)| decode::<EventStream>(row));
    for (task, output) in completed.iter().filter(|(_, output)| output["type"] == "sim.step") {
        // The output of a step that waits for an event has its data; that of one that publishes has not.
        let Some(at) = output["position"].as_str().filter(|_| output.get("deduplicated").is_some()) else { continue };
        let Ok(at) = at.parse::<Position>() else {
            return Err(Violation::of(2, format!("record {seq}: step {task} tells of event `{at}`")));
        };
        let is_there = table(rows, TABLES.events).any(|(key, row)| {
            let here = key_of::<EventKey>(key).is_some_and(|key| key.position == at);
            here && decode::<StoredEvent>(row).is_some_and(|event| event.attributes.id == task.to_string())
        });
        let is_trimmed = streams().any(|stream| stream.trimmed >= at);
        if at.seq != seq || output["deduplicated"] != false || !(is_there || is_trimmed) {
            let what = format!("record {seq}: step {task} has completed, and its event is not there: {output}");
            return Err(Violation::of(2, what));
        }
    }
    Ok(())
}

/// There is one change for each step that has completed by writing, and none for another.
fn check_writes(seq: Seq, changes: &[Change], completed: &Completed) -> Checked {
    let mut told = BTreeMap::<(RunId, String), usize>::new();
    for (task, output) in completed.iter().filter(|(_, output)| output["outcome"] == "written") {
        let key = output["key"].as_str().unwrap_or_default().to_owned();
        *told.entry((task.run, key)).or_default() += 1;
        if output["version"] != seq.0 {
            return Err(Violation::of(2, format!("record {seq}: step {task} has written {output}")));
        }
    }
    let mut found = BTreeMap::<(RunId, String), usize>::new();
    for change in changes.iter().filter(|change| TABLES.changes.has(&change.key) && change.old.is_none()) {
        let row = change.new.as_deref().and_then(decode::<StateChange>).filter(|row| row.key.starts_with("run/"));
        if let Some((key, run)) = row.and_then(|row| Some((row.key, row.by.run?))) {
            *found.entry((run, key)).or_default() += 1;
        }
    }
    if told == found {
        return Ok(());
    }
    Err(Violation::of(2, format!("record {seq}: steps have written {told:?}, the changes are {found:?}")))
}

/// A step that has heard an event has heard the first one that it waited for.
fn check_heard(seq: Seq, changes: &[Change], rows: &Rows, completed: &Completed) -> Checked {
    for change in changes.iter().filter(|change| TABLES.event_waiters.has(&change.key) && change.new.is_none()) {
        let since = change.old.as_deref().and_then(decode::<WaitsSince>);
        let Some((key, since)) = key_of::<EventWaiterKey>(&change.key).zip(since) else { continue };
        let Some(output) = completed.get(&key.task).filter(|output| **output != LARGE) else { continue };
        let heard = output["position"].as_str().and_then(|at| at.parse::<Position>().ok());
        let topic = output["topic"].as_str().unwrap_or_default();
        let fits = heard.is_some_and(|at| at > since.position) && topic_matches(&key.topic, topic);
        let before = first_behind(rows, &key, since.position).filter(|at| Some(*at) < heard);
        if !fits || before.is_some() {
            let what = format!("record {seq}: step {} waited for {key:?} and got {output}, after {before:?}", key.task);
            return Err(Violation::of(2, what));
        }
    }
    Ok(())
}

/// The first event that is kept and that a step waits for.
fn first_behind(rows: &Rows, key: &EventWaiterKey, since: Position) -> Option<Position> {
    let mut events = table(rows, TABLES.events)
        .filter_map(|(key, row)| key_of::<EventKey>(key).zip(decode::<StoredEvent>(row)))
        .filter(|(event, _)| event.namespace == key.namespace && event.position > since);
    events.find(|(_, event)| topic_matches(&key.topic, &event.attributes.topic)).map(|(event, _)| event.position)
}

/// No step waits on though its event was shown, and those that wait are counted.
pub(crate) fn check_waits(rows: &Rows) -> Checked {
    let mut waiting = BTreeMap::<String, u64>::new();
    let stream = |namespace: &str| -> EventStream {
        let row = rows.get(&key_bytes(TABLES.event_streams, &NamedKey::of(namespace, "")));
        row.and_then(|row| decode(row)).unwrap_or_default()
    };
    for (key, row) in table(rows, TABLES.event_waiters) {
        let Some((key, since)) = key_of::<EventWaiterKey>(key).zip(decode::<WaitsSince>(row)) else { continue };
        *waiting.entry(key.namespace.clone()).or_default() += 1;
        let missed = first_behind(rows, &key, since.position).filter(|at| *at <= stream(&key.namespace).told);
        if let Some(missed) = missed {
            return Err(Violation::of(8, format!("step {} waits for `{}`, and missed {missed}", key.task, key.topic)));
        }
    }
    for (key, row) in table(rows, TABLES.event_streams) {
        let Some((key, told)) = key_of::<NamedKey>(key).zip(decode::<EventStream>(row)) else { continue };
        let found = waiting.remove(&key.namespace).unwrap_or_default();
        if found != told.waiters {
            let what = format!("`{}` counts `{}` waiting steps, there are `{found}`", key.namespace, told.waiters);
            return Err(Violation::of(8, what));
        }
    }
    Ok(())
}

/// A step has its claim exactly while it is active, unless an operator has ended the claim.
fn check_locks(context: &Context<'_>, changes: &[Change], rows: &Rows) -> Checked {
    if matches!(context.command, Command::BreakLock(_)) {
        return Ok(());
    }
    let claims: BTreeMap<StepInstanceId, Claim> = table(rows, TABLES.lock_claims)
        .filter_map(|(key, row)| {
            let claim = decode::<Claim>(row)?;
            let task = claim.step?;
            let holder = key_of::<MemberKey>(key)?.member;
            (holder == format!("step:{task}")).then_some((task, claim))
        })
        .collect();
    for change in changes.iter().filter(|change| TABLES.steps.has(&change.key)) {
        let step = change.new.as_deref().and_then(decode::<Step>);
        let Some((task, step)) = key_of::<StepInstanceId>(&change.key).zip(step) else { continue };
        let claim = claims.get(&task);
        let Some(lock) = &step.lock else { continue };
        let right = match claim {
            _ if step.state.is_terminal() => claim.is_none(),
            Some(claim) => claim.token == lock.token,
            None => false,
        };
        if !right {
            let what = format!("record {}: step {task} is {:?} with {lock:?} and {claim:?}", context.seq, step.state);
            return Err(Violation::of(7, what));
        }
    }
    Ok(())
}
