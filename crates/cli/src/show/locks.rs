//! Locks and barriers as tables and lines.
//!
//! For: `locks` and `barriers`. Not for: deciding who holds what.
//! Invariant: a token is shown wherever a grant is.

use std::fmt::Write as _;

use consort_api::locks::{Barrier, BarrierArrival, Lock, LockChange, LockChangeKind, LockEvent, LockHolder};
use consort_types::Time;

use super::{
    style::{Paint, Style, clean},
    table::Table,
    when::{ago, clock, took},
};

/// A line for each lock, with its first holder.
pub(crate) fn list(locks: &[Lock], now: Time, style: Style) -> String {
    let mut table = Table::new(&["LOCK", "HELD", "WAITING", "TOKEN", "SINCE", "LEFT", "HOLDER", "VALUE"])
        .spare(&["SINCE", "LEFT", "VALUE"]);
    for lock in locks {
        let first = lock.holders.first();
        let of = |shown: fn(&LockHolder) -> String| (first.map(shown).unwrap_or_default(), None);
        table.row(vec![
            (lock.name.clone(), Some(Paint::Cyan)),
            (format!("{}/{}", lock.held, lock.permits), Some(if lock.held == 0 { Paint::Dim } else { Paint::Green })),
            (lock.waiting.to_string(), Some(if lock.waiting == 0 { Paint::Dim } else { Paint::Yellow })),
            of(|holder| holder.token.to_string()),
            (first.map(|holder| ago(holder.since, now)).unwrap_or_default(), None),
            (first.map(|holder| took(holder.until.since(now))).unwrap_or_default(), None),
            of(|holder| holder.holder.clone()),
            of(|holder| holder.value.clone().unwrap_or_default()),
        ]);
    }
    table.render(style)
}

/// A lock with everything that is known of it.
pub(crate) fn detail(lock: &Lock, now: Time, style: Style) -> String {
    let mut text = format!(
        "{}  {} of {} permits held, {} waiting\n",
        style.paint(Paint::Bold, &clean(&lock.name)),
        lock.held,
        lock.permits,
        lock.waiting
    );
    for holder in &lock.holders {
        let value = holder.value.as_ref().map(|value| format!("  {value}")).unwrap_or_default();
        let LockHolder { holder, token, since, until, .. } = holder;
        let line = format!(
            "holder  {holder}  token {token}  since {}  {} left{value}",
            ago(*since, now),
            took(until.since(now))
        );
        let _ = writeln!(text, "{}", clean(&line));
    }
    for (at, waiter) in lock.waiters.iter().enumerate() {
        let line = format!(
            "next {}  {}  since {}  {} left",
            at + 1,
            waiter.holder,
            ago(waiter.since, now),
            took(waiter.until.since(now))
        );
        let _ = writeln!(text, "{}", clean(&line));
    }
    if let Some(last) = &lock.last_change {
        let _ = writeln!(text, "last    {}  {}", ago(last.time, now), clean(&change(last)));
    }
    text
}

/// A change in a few words.
fn change(change: &LockChange) -> String {
    let LockChange { change: kind, holder, token, value, by, reason, .. } = change;
    let did = match kind {
        LockChangeKind::Granted => "granted to",
        LockChangeKind::ValueSet => "value set by",
        LockChangeKind::Released => "released by",
        LockChangeKind::Expired => "expired for",
        LockChangeKind::Broken => "broken for",
        LockChangeKind::Other(other) => other,
    };
    let mut text = format!("{did} {holder}  token {token}");
    text.extend(value.iter().map(|value| format!("  {value}")));
    text.extend(by.iter().map(|by| format!("  by {by}")));
    text.extend(reason.iter().map(|reason| format!(": {reason}")));
    text
}

/// A line for an event of a watch.
pub(crate) fn event(event: &LockEvent) -> String {
    match event {
        LockEvent::Change(happened) => format!("{}  {}\n", clock(happened.time), clean(&change(happened))),
        LockEvent::Lock(lock) if lock.holders.is_empty() => format!("{}  has no holder\n", clean(&lock.name)),
        LockEvent::Lock(lock) => lock.holders.iter().fold(String::new(), |text, holder| {
            let value = holder.value.as_ref().map(|value| format!("  {value}")).unwrap_or_default();
            text + &clean(&format!("{}  held by {}  token {}{value}", lock.name, holder.holder, holder.token)) + "\n"
        }),
        LockEvent::Unknown(unknown) => format!("{}  has no holder\n", clean(&unknown.lock)),
        LockEvent::Error(problem) => format!("{}\n", clean(&problem.detail)),
    }
}

/// A line for each barrier.
pub(crate) fn barriers(barriers: &[Barrier], style: Style) -> String {
    let mut table = Table::new(&["BARRIER", "GENERATION", "ARRIVED", "EXPIRES"]);
    for barrier in barriers {
        table.row(vec![
            (barrier.name.clone(), Some(Paint::Cyan)),
            (barrier.generation.to_string(), None),
            (format!("{}/{}", barrier.arrived, barrier.parties), None),
            (barrier.expires_at.map(|time| time.to_string()).unwrap_or_default(), None),
        ]);
    }
    table.render(style)
}

/// A barrier with everything that is known of it.
pub(crate) fn barrier(barrier: &Barrier, now: Time) -> String {
    let Barrier { name, generation, arrived, parties, .. } = barrier;
    let mut text = format!("{name}  generation {generation}  {arrived} of {parties} have come\n");
    for member in &barrier.members {
        let _ = writeln!(text, "member  {}  {}", clean(&member.member), ago(member.time, now));
    }
    for over in &barrier.over {
        let how = if over.released { "released" } else { "expired" };
        let _ = writeln!(text, "over    generation {}  {how}  {}", over.generation, ago(over.time, now));
    }
    text
}

/// The state of a barrier, for a member.
pub(crate) fn arrival(arrival: &BarrierArrival) -> String {
    let BarrierArrival { generation, released, arrived, parties, .. } = arrival;
    let state = if *released { "released".to_owned() } else { format!("{arrived} of {parties} have come") };
    format!("generation {generation}  {state}\n")
}
