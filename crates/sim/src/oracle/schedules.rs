//! What must hold of schedules, by the records alone.
//!
//! For: a second count of the instants of each schedule, held against its row; and of its active runs. Not for: setting
//! schedules (see `actors::scheduler`).
//! Invariant: it never asks the machine what it has done: it sees commands and rows. It counts equal distances itself.

use std::collections::{BTreeMap, BTreeSet};

use consort_core::{
    Command, TABLES,
    keys::NamedKey,
    rows::{Overlap, Run, RunStatus, Schedule, Times},
};
use consort_types::{Position, RunId, Seq, Time};

use super::rows::{self, Change};
use crate::plan::{Checked, Violation};

/// A schedule, as its rows have told.
#[derive(Debug)]
struct Known {
    /// Which one of that name it is.
    timer: Position,
    revision: Seq,
    overlap: Overlap,
    /// What its row accounted for when its times were set.
    base: i128,
    active: BTreeSet<RunId>,
}

/// The account.
#[derive(Debug, Default)]
pub(crate) struct ScheduleOracle {
    known: BTreeMap<(String, String), Known>,
    /// Runs that schedules have started, by namespace and key.
    runs: BTreeSet<(String, String)>,
}

/// The instants that a row accounts for, but for those that were requested by hand.
fn accounted(row: &Schedule) -> i128 {
    let counts = &row.counts;
    let decided = counts.done + counts.skipped + counts.missed + counts.failed;
    let open = row.planned.len() + row.waiting.len() + row.backfill.len();
    i128::from(decided) + open as i128 - i128::from(counts.by_hand)
}

/// The instants that a schedule has had since its times were set, as far as they are planned.
fn expected(row: &Schedule) -> Option<i128> {
    let Times::Every { every, phase } = &row.settings.times else { return None };
    let upto = |time: Time| i128::from(time.0.saturating_sub(phase.0) / every.0);
    Some(upto(row.planned_through) - upto(row.since))
}

impl ScheduleOracle {
    /// A record was folded.
    pub(crate) fn observe(&mut self, at: (Seq, Time), command: &Command, changes: &[Change]) -> Checked {
        self.note_identities(changes);
        self.note_runs(at, command, changes)?;
        let schedules = changes.iter().filter(|change| TABLES.schedules.has(&change.key));
        for change in schedules {
            let Some(key) = rows::key_of::<NamedKey>(&change.key) else { continue };
            let name = (key.namespace, key.name);
            match change.new.as_deref().and_then(rows::decode::<Schedule>) {
                Some(row) => self.check_row(at.0, &name, &row)?,
                None => drop(self.known.remove(&name)),
            }
        }
        Ok(())
    }

    /// Schedules that are new, or have other times, begin to be counted here.
    fn note_identities(&mut self, changes: &[Change]) {
        for change in changes.iter().filter(|change| TABLES.schedules.has(&change.key)) {
            let row = change.new.as_deref().and_then(rows::decode::<Schedule>);
            let (Some(key), Some(row)) = (rows::key_of::<NamedKey>(&change.key), row) else { continue };
            let known = self.known.entry((key.namespace, key.name)).or_insert_with(|| Known {
                timer: row.timer,
                revision: Seq::ZERO,
                overlap: row.settings.overlap,
                base: 0,
                active: BTreeSet::new(),
            });
            // A changed policy holds for what the same record starts.
            known.overlap = row.settings.overlap;
            if known.timer != row.timer {
                (known.timer, known.revision) = (row.timer, Seq::ZERO);
                known.active.clear();
            }
            if known.revision != row.revision {
                known.revision = row.revision;
                known.base = accounted(&row) - expected(&row).unwrap_or_default();
            }
        }
    }

    /// A run of a schedule comes once for each instant, not before it, and beside another one only where that is allowed.
    fn note_runs(&mut self, (seq, now): (Seq, Time), command: &Command, changes: &[Change]) -> Checked {
        let wrong = |law, what: String| Err(Violation::of(law, format!("record {seq}: {what}")));
        // A run may begin in the record in which the one before it ends: ends come first here.
        let (new, known): (Vec<_>, Vec<_>) =
            changes.iter().filter(|change| TABLES.runs.has(&change.key)).partition(|change| change.old.is_none());
        for change in known.into_iter().chain(new) {
            let row = change.new.as_deref().and_then(rows::decode::<Run>);
            let (Some(id), Some(run)) = (rows::key_of::<RunId>(&change.key), row) else { continue };
            let Some(key) = run.idempotency_key.filter(|key| key.starts_with("schedule:")) else { continue };
            let Some(name) = run.labels.get("schedule") else { return wrong(8, format!("`{key}` has no label")) };
            let of = (run.namespace.clone(), name.clone());
            let known = self.known.get_mut(&of);
            if run.status == RunStatus::Deleted {
                // Its key is free again: a backfill may act on the instant once more.
                self.runs.remove(&(run.namespace, key));
                continue;
            }
            if run.status.is_terminal() {
                if let Some(known) = known {
                    known.active.remove(&id);
                }
                continue;
            }
            if change.old.is_some() {
                continue;
            }
            let instant = run.labels.get("scheduled_at").and_then(|text| Time::parse_rfc3339(text).ok());
            let by_hand = matches!(command, Command::TriggerSchedule(_));
            if instant.is_none_or(|instant| instant > now && !by_hand) {
                return wrong(6, format!("`{key}` has started its run at {now}"));
            }
            if !self.runs.insert((run.namespace, key.clone())) {
                return wrong(2, format!("`{key}` has started a second run"));
            }
            let Some(known) = known else { return wrong(8, format!("`{key}` is of no schedule")) };
            if !known.active.is_empty() && known.overlap != Overlap::Allow {
                let what = format!("`{key}` starts beside {:?}, its schedule says {:?}", known.active, known.overlap);
                return wrong(3, what);
            }
            known.active.insert(id);
        }
        Ok(())
    }

    /// Each instant is accounted for once, and the active runs are those that there are.
    fn check_row(&mut self, seq: Seq, name: &(String, String), row: &Schedule) -> Checked {
        let Some(known) = self.known.get_mut(name) else { return Ok(()) };
        known.overlap = row.settings.overlap;
        let (accounted, expected) = (accounted(row) - known.base, expected(row).unwrap_or_default());
        if accounted != expected {
            let what =
                format!("record {seq}: {name:?} accounts for {accounted} instants, there were {expected}: {row:?}");
            return Err(Violation::of(2, what));
        }
        let running: BTreeSet<RunId> = row.running.iter().copied().collect();
        if running != known.active {
            let what = format!("record {seq}: {name:?} has {running:?} as active, there are {:?}", known.active);
            return Err(Violation::of(8, what));
        }
        Ok(())
    }
}
