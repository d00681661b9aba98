//! Bugs put in where the machine's changes come out.
//!
//! For: breaking laws that no wrapper around log, store or network can break. Not for: the others.
//! Invariant: a change is tampered with before any oracle sees it, as if the machine had made it so.

use consort_core::{
    Command, TABLES, TableSpec,
    keys::{MemberKey, StateKey, TimerKey, TimerKind, VoteKey},
    rows::{
        AuctionRow, BallotProgress, BallotStatus, Claim, Delivery, DeliveryState, Meta, Run, Schedule, StateEntry,
        Step, StepState, StoredEvent, Verdict, Vote,
    },
    tables::Row,
};
use consort_types::{
    Locality, RunId, StepInstanceId, Time, WorkerInstance,
    ballot::{Answer, Choice},
    worker::JournalRequest,
};

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
        InjectedBug::ValueForgotten => forget_value(changes),
        InjectedBug::DivergedForgotten => forget(changes, TABLES.diverged),
        InjectedBug::ChangeForgotten => forget(changes, TABLES.changes),
        InjectedBug::UpdateLost => lose_update(command, changes, "n/").is_some(),
        InjectedBug::EditLost => lose_update(command, changes, "t/").is_some(),
        InjectedBug::LeaseOutlived => outlive(command, changes),
        InjectedBug::LeaseCutShort => cut_short(command, changes).is_some(),
        InjectedBug::WaiterForgotten => forget_waiter(changes),
        InjectedBug::VoteCountedTwice => count_twice(command, changes).is_some(),
        InjectedBug::DecisionForged => forge_decision(changes).is_some(),
        InjectedBug::LateVoteKept => keep_late_vote(changes).is_some(),
        InjectedBug::DeliveryForgotten => forget(changes, TABLES.deliveries),
        InjectedBug::EventIdForgotten => forget(changes, TABLES.event_ids),
        InjectedBug::StepEventForgotten => forget_event(changes),
        InjectedBug::StepLockLeft => leave_lock(changes),
        InjectedBug::InstantPlannedAgain => plan_again(changes).is_some(),
        InjectedBug::ScheduledRunForgotten => forget_scheduled(changes).is_some(),
        InjectedBug::BidsReordered => reorder_bids(changes).is_some(),
        InjectedBug::TaskOfAnotherRun => hand_to_another(changes).is_some(),
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

/// An exposed value stays as it was.
fn forget_value(changes: &mut Vec<Change>) -> bool {
    let before = changes.len();
    changes.retain(|change| !TABLES.beside.has(&change.key) || change.old.is_none());
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

/// A key of this kind has the value that it had, under the version of the write.
fn lose_update(command: &Command, changes: &mut [Change], kind: &str) -> Option<()> {
    let Command::Transact(_) = command else { return None };
    let change = changes.iter_mut().find(|change| {
        let fits = rows::key_of::<StateKey>(&change.key).is_some_and(|key| key.key.starts_with(kind));
        fits && TABLES.state.has(&change.key) && change.old.is_some() && change.new.is_some()
    })?;
    let (old, new): (StateEntry, StateEntry) =
        (rows::decode(change.old.as_deref()?)?, rows::decode(change.new.as_deref()?)?);
    if old.value == new.value {
        return None;
    }
    change.new = encode(&StateEntry { value: old.value, ..new });
    Some(())
}

/// A lease whose time is over is not taken from its holder when the next one is granted.
fn outlive(command: &Command, changes: &mut Vec<Change>) -> bool {
    let held = |row: &Option<Vec<u8>>| {
        row.as_deref().and_then(rows::decode::<Claim>).is_some_and(|claim| claim.token.is_some())
    };
    let of = |change: &Change| {
        rows::key_of::<MemberKey>(&change.key)
            .filter(|_| TABLES.lock_claims.has(&change.key))
            .map(|key| (key.namespace, key.name))
    };
    let next = changes.iter().find(|change| of(change).is_some() && !held(&change.old) && held(&change.new));
    let Some(lock) = next.and_then(of).filter(|_| matches!(command, Command::Tick(_))) else { return false };
    let before = changes.len();
    changes.retain(|change| of(change).as_ref() != Some(&lock) || !held(&change.old) || change.new.is_some());
    changes.len() < before
}

/// A renewal moves the end of the lease forward.
fn cut_short(command: &Command, changes: &mut [Change]) -> Option<()> {
    let Command::RenewLock(_) = command else { return None };
    let change = changes.iter_mut().find(|change| TABLES.lock_claims.has(&change.key))?;
    let (old, new): (Claim, Claim) = (rows::decode(change.old.as_deref()?)?, rows::decode(change.new.as_deref()?)?);
    change.new = encode(&Claim { due: old.since, ..new });
    Some(())
}

/// A waiter that is served continues to wait, and its place in the queue is lost.
fn forget_waiter(changes: &mut Vec<Change>) -> bool {
    let waits =
        |row: &Option<Vec<u8>>| row.as_deref().and_then(rows::decode::<Claim>).map(|claim| claim.token.is_none());
    let before = changes.len();
    changes.retain(|change| {
        let served = waits(&change.old) == Some(true) && waits(&change.new) == Some(false);
        !(TABLES.lock_claims.has(&change.key) && served)
    });
    changes.len() < before
}

/// The event that a step has published is forgotten.
fn forget_event(changes: &mut Vec<Change>) -> bool {
    let of_step = |row: &Option<Vec<u8>>| {
        let event = row.as_deref().and_then(rows::decode::<StoredEvent>);
        event.is_some_and(|event| event.attributes.source.starts_with("/runs/"))
    };
    let before = changes.len();
    changes.retain(|change| !(TABLES.events.has(&change.key) && change.old.is_none() && of_step(&change.new)));
    changes.len() < before
}

/// The claim of a step that ends stays.
fn leave_lock(changes: &mut Vec<Change>) -> bool {
    let of_step = |row: &Option<Vec<u8>>| {
        row.as_deref().and_then(rows::decode::<Claim>).is_some_and(|claim| claim.step.is_some())
    };
    let before = changes.len();
    changes.retain(|change| !(TABLES.lock_claims.has(&change.key) && change.new.is_none() && of_step(&change.old)));
    changes.len() < before
}

/// Rows of a table that are added are forgotten.
fn forget(changes: &mut Vec<Change>, table: TableSpec) -> bool {
    let before = changes.len();
    changes.retain(|change| !table.has(&change.key) || change.old.is_some());
    changes.len() < before
}

/// An event that is handed to an agent is noted as the task of a run that does not deliver it.
fn hand_to_another(changes: &mut [Change]) -> Option<()> {
    let mut deliveries = changes.iter_mut().filter(|change| TABLES.deliveries.has(&change.key));
    let (change, delivery) = deliveries.find_map(|change| {
        let row: Delivery = rows::decode(change.new.as_deref()?)?;
        matches!(row.state, DeliveryState::Task(_)).then_some((change, row))
    })?;
    let run = RunId([7; 16]);
    change.new = encode(&Delivery { state: DeliveryState::Task(run), run: Some(run), ..delivery });
    Some(())
}

/// The change of how far a ballot is, where it fits.
fn progress(changes: &mut [Change], fits: impl Fn(&BallotProgress) -> bool) -> Option<(&mut Change, BallotProgress)> {
    let mut of_ballots = changes.iter_mut().filter(|change| TABLES.ballot_names.has(&change.key));
    let change = of_ballots.next()?;
    let progress = rows::decode::<BallotProgress>(change.new.as_deref()?).filter(fits)?;
    Some((change, progress))
}

fn count_twice(command: &Command, changes: &mut [Change]) -> Option<()> {
    let Command::CastVote(_) = command else { return None };
    let (change, known) = progress(changes, |known| known.status == BallotStatus::Open && known.voted > 0)?;
    change.new = encode(&BallotProgress { voted: known.voted + 1, ..known });
    Some(())
}

fn forge_decision(changes: &mut [Change]) -> Option<()> {
    let (change, known) = progress(changes, |known| known.status == BallotStatus::Decided)?;
    let verdict = Some(Verdict::Decided { answer: Answer::Option("mine".to_owned()), by_tie: false });
    change.new = encode(&BallotProgress { verdict, ..known });
    Some(())
}

/// The record that ends a ballot takes in one more vote of a round that was closed before.
fn keep_late_vote(changes: &mut Vec<Change>) -> Option<()> {
    let (_, known) = progress(changes, |known| known.status == BallotStatus::Open && known.round > 1)?;
    let key = VoteKey { ballot: known.ballot, round: known.round - 1, voter: "voter-0".to_owned() };
    let vote = Vote { choice: Choice::Abstain, reason: None, time: Time(0), changes: 0 };
    changes.push(Change { key: rows::key_bytes(TABLES.votes, &key), old: None, new: encode(&vote) });
    Some(())
}

/// The rows of a schedule before and after.
fn schedule(changes: &mut [Change]) -> Option<(&mut Change, Schedule, Schedule)> {
    let both = |change: &&mut Change| TABLES.schedules.has(&change.key) && change.old.is_some() && change.new.is_some();
    let change = changes.iter_mut().find(both)?;
    let (old, new) = (rows::decode(change.old.as_deref()?)?, rows::decode(change.new.as_deref()?)?);
    Some((change, old, new))
}

fn plan_again(changes: &mut [Change]) -> Option<()> {
    let (change, old, mut new) = schedule(changes)?;
    let acted = *old.planned.first()?;
    if new.counts.done == old.counts.done || new.planned.first().is_none_or(|next| *next <= acted) {
        return None;
    }
    new.planned.insert(0, acted);
    change.new = encode(&new);
    Some(())
}

fn forget_scheduled(changes: &mut [Change]) -> Option<()> {
    let (change, old, mut new) = schedule(changes)?;
    if new.running.len() <= old.running.len() {
        return None;
    }
    new.running.pop();
    change.new = encode(&new);
    Some(())
}

fn reorder_bids(changes: &mut [Change]) -> Option<()> {
    let ranked = |change: &&mut Change| TABLES.auctions.has(&change.key) && change.old.is_some();
    let change = changes.iter_mut().find(ranked)?;
    let mut row: AuctionRow = rows::decode(change.new.as_deref()?)?;
    row.ranked.as_mut().filter(|ranked| ranked.len() > 1)?.reverse();
    change.new = encode(&row);
    Some(())
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
