//! Bugs put in where the machine's changes come out.
//!
//! For: breaking laws that no wrapper around log, store or network can break. Not for: the others.
//! Invariant: a change is tampered with before any oracle sees it, as if the machine had made it so.

use consort_core::{
    Command, TABLES, TableSpec,
    keys::{TimerKey, TimerKind},
    rows::{Meta, Run, Step, StepState},
    tables::Row,
};
use consort_types::{Locality, RunId, StepInstanceId, WorkerInstance, worker::JournalRequest};

use super::rows::{self, Change, Rows};
use crate::plan::InjectedBug;

fn encode<R: Row>(row: &R) -> Option<Vec<u8>> {
    minicbor::to_vec(row).ok()
}

/// Tampers with the changes of a record; returns whether it did.
pub(crate) fn tamper(injected: InjectedBug, command: &Command, changes: &mut Vec<Change>, before: &Rows) -> bool {
    match injected {
        InjectedBug::OutcomeOverwritten => overwrite(command, changes, before).is_some(),
        InjectedBug::TimerFiresTwice => keep_timer(command, changes),
        InjectedBug::RunLeavesWork => leave_work(changes).is_some(),
        InjectedBug::WaitLeftOpen => leave_wait(command, changes),
        InjectedBug::EffectForgotten => forget_effect(command, changes).is_some(),
        InjectedBug::Miscount => miscount(command, changes).is_some(),
        InjectedBug::PinMiscounted => forget(changes, TABLES.pinned),
        InjectedBug::DivergedForgotten => forget(changes, TABLES.diverged),
        InjectedBug::DeliveryForgotten => forget(changes, TABLES.deliveries),
        InjectedBug::EventIdForgotten => forget(changes, TABLES.event_ids),
        InjectedBug::GrowingRow => grow(command, changes, before).is_some(),
        _ => false,
    }
}

fn overwrite(command: &Command, changes: &mut Vec<Change>, before: &Rows) -> Option<()> {
    let Command::TaskComplete(report) = command else { return None };
    let old = rows::step(before, report.task)?;
    if old.state != StepState::Completed || old.token != report.token || old.output.as_ref() == Some(&report.output) {
        return None;
    }
    let new = encode(&Step { output: Some(report.output.clone()), ..old.clone() });
    changes.push(Change { key: rows::key_bytes(TABLES.steps, &report.task), old: encode(&old), new });
    Some(())
}

fn keep_timer(command: &Command, changes: &mut Vec<Change>) -> bool {
    if !matches!(command, Command::Tick(_)) {
        return false;
    }
    let is_wake = |change: &Change| {
        let timer =
            rows::key_of::<TimerKey>(&change.key).filter(|_| TABLES.timers.has(&change.key) && change.new.is_none());
        // The oracle of law 7 leaves these alone, so it is law 6 that must find them.
        timer.is_some_and(|timer| timer.kind == TimerKind::Sleep)
    };
    let at = changes.iter().position(is_wake);
    at.map(|at| changes.remove(at)).is_some()
}

fn leave_work(changes: &mut Vec<Change>) -> Option<()> {
    let ended = changes.iter().find_map(|change| {
        let run = rows::key_of::<RunId>(&change.key).filter(|_| TABLES.runs.has(&change.key))?;
        let row: Run = rows::decode(change.new.as_deref()?)?;
        row.status.is_terminal().then_some(run)
    })?;
    let of_run = |change: &Change| {
        let task = rows::key_of::<StepInstanceId>(&change.key)
            .filter(|_| TABLES.live.has(&change.key) && change.new.is_none());
        task.is_some_and(|task| task.run == ended)
    };
    let at = changes.iter().position(of_run)?;
    changes.remove(at);
    Some(())
}

/// The waiters of what the code goes past stay.
fn leave_wait(command: &Command, changes: &mut Vec<Change>) -> bool {
    let Command::TaskRecord(record) = command else { return false };
    if !matches!(record.entry.request, JournalRequest::Forget { .. }) {
        return false;
    }
    let before = changes.len();
    changes.retain(|change| !TABLES.waiters.has(&change.key) || change.new.is_some());
    changes.len() < before
}

/// A cancellation ends the step whose effect is under way.
fn forget_effect(command: &Command, changes: &mut [Change]) -> Option<()> {
    let Command::CancelRun(_) = command else { return None };
    let change = changes.iter_mut().find(|change| {
        let row = change.new.as_deref().filter(|_| TABLES.steps.has(&change.key)).and_then(rows::decode::<Step>);
        row.is_some_and(|step| step.ends_as.is_some() && step.state == StepState::Taken)
    })?;
    let step: Step = rows::decode(change.new.as_deref()?)?;
    change.new = encode(&Step { state: StepState::Cancelled, ..step });
    Some(())
}

fn miscount(command: &Command, changes: &mut [Change]) -> Option<()> {
    let Command::TaskComplete(_) = command else { return None };
    let change = changes.iter_mut().find(|change| TABLES.meta.has(&change.key))?;
    let mut meta: Meta = rows::decode(change.new.as_deref()?)?;
    meta.tasks.waiting += 1;
    meta.tasks.made += 1;
    change.new = encode(&meta);
    Some(())
}

/// Rows of a table that are added are forgotten.
fn forget(changes: &mut Vec<Change>, table: TableSpec) -> bool {
    let before = changes.len();
    changes.retain(|change| !table.has(&change.key) || change.old.is_some());
    changes.len() < before
}

/// The row of each step that completes holds the length of what was before it.
fn grow(command: &Command, changes: &mut [Change], before: &Rows) -> Option<()> {
    let Command::TaskComplete(report) = command else { return None };
    let length = rows::steps_of(before, report.task.run).count();
    let key = rows::key_bytes(TABLES.steps, &report.task);
    let change = changes.iter_mut().find(|change| change.key == key)?;
    let mut step: Step = rows::decode(change.new.as_deref()?)?;
    let agent = "x".repeat(16 * length);
    step.instance = Some(WorkerInstance { locality: Locality::Remote, start: 1, number: 1, agent });
    change.new = encode(&step);
    Some(())
}
