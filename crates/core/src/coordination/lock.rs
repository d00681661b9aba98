//! What all commands on a lock have in common.
//!
//! For: granting, ending claims, serving the queue, changes, and forgetting a lock that is not used. Not for: the
//! commands (each has a file of its own).
//! Invariant: whatever frees a permit serves the queue in the same record, first come, first served.

use consort_types::{Code, Error, Position, Result, Seq, Span, Time, Token, limits};

use super::{
    keys::{ChangeKey, MemberKey, PlaceKey, PlaceKind},
    rows::{Claim, Lock, LockChange, LockChangeKind, Place, Ticket},
    step_claim, ticket,
};
use crate::{
    context::ApplyContext,
    effect::{Coordinated, Effect},
    key::NamedKey,
    run::granted,
    state::{State, missing},
};

/// Why a claim ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum End<'a> {
    /// Its holder wishes so.
    Released,
    /// Its time is over.
    Expired,
    /// An operator has broken the lock.
    Broken {
        /// Who.
        by: &'a str,
        /// Why.
        reason: &'a str,
    },
}

/// A new claim that has no place yet.
pub(super) fn new_claim(
    ctx: &mut ApplyContext<'_>,
    key: &NamedKey,
    holder: &str,
    ttl: Span,
    value: Option<String>,
) -> Claim {
    let (namespace, name) = (key.namespace.clone(), key.name.clone());
    let ticket = ticket::issue(ctx, Ticket::Claim { namespace, name, holder: holder.to_owned() });
    Claim { ticket, token: None, since: ctx.now, ttl, due: ctx.now, value, step: None }
}

/// Gives a claim a permit. Tokens are the numbers of the records that grant them; where one record grants several permits
/// of a lock, each further one has the next number, and later records begin behind it.
pub(super) fn grant(
    ctx: &mut ApplyContext<'_>,
    key: &NamedKey,
    lock: &mut Lock,
    holder: &str,
    mut claim: Claim,
) -> Claim {
    let token = Token(ctx.seq.0.max(lock.last_token.0 + 1));
    lock.last_token = token;
    lock.held += 1;
    (claim.token, claim.since, claim.due) = (Some(token), ctx.now, ctx.now.after(claim.ttl));
    ticket::arm(ctx, claim.ticket, claim.due);
    ctx.state.tables.lock_places.put(PlaceKey::holder(key, token), Place { holder: holder.to_owned() });
    ctx.state.tables.lock_claims.put(MemberKey::of(key, holder), claim.clone());
    note(ctx, key, lock, change(ctx.now, LockChangeKind::Granted, holder, token, claim.value.clone()));
    ctx.charge(1);
    claim
}

/// Puts a claim at the end of the queue.
pub(super) fn enqueue(ctx: &mut ApplyContext<'_>, key: &NamedKey, lock: &mut Lock, holder: &str, claim: Claim) {
    lock.waiting += 1;
    ticket::arm(ctx, claim.ticket, claim.due);
    ctx.state.tables.lock_places.put(PlaceKey::waiter(key, claim.ticket), Place { holder: holder.to_owned() });
    ctx.state.tables.lock_claims.put(MemberKey::of(key, holder), claim);
}

/// Moves the end of a lease or of a wait.
pub(super) fn postpone(ctx: &mut ApplyContext<'_>, claim: &mut Claim, due: Time) {
    // A repeat that arrives late takes nothing back.
    if due > claim.due {
        ticket::disarm(ctx, claim.ticket, claim.due);
        claim.due = due;
        ticket::arm(ctx, claim.ticket, due);
    }
}

/// Ends a claim; the queue is served by [`settle`].
pub(super) fn end(
    ctx: &mut ApplyContext<'_>,
    key: &NamedKey,
    lock: &mut Lock,
    holder: &str,
    claim: Claim,
    why: End<'_>,
) {
    ticket::disarm(ctx, claim.ticket, claim.due);
    ctx.state.tables.tickets.delete(&claim.ticket);
    ctx.state.tables.lock_claims.delete(&MemberKey::of(key, holder));
    ctx.charge(1);
    let Some(token) = claim.token else {
        if let (Some(task), End::Broken { .. }) = (claim.step, why) {
            step_claim::broken(ctx, key, task);
        }
        lock.waiting -= 1;
        ctx.state.tables.lock_places.delete(&PlaceKey::waiter(key, claim.ticket));
        return;
    };
    lock.held -= 1;
    ctx.state.tables.lock_places.delete(&PlaceKey::holder(key, token));
    let made = match why {
        End::Released => change(ctx.now, LockChangeKind::Released, holder, token, claim.value),
        End::Expired => change(ctx.now, LockChangeKind::Expired, holder, token, claim.value),
        End::Broken { by, reason } => LockChange {
            by: Some(by.to_owned()),
            reason: Some(reason.to_owned()),
            ..change(ctx.now, LockChangeKind::Broken, holder, token, claim.value)
        },
    };
    note(ctx, key, lock, made);
}

pub(super) fn change(at: Time, kind: LockChangeKind, holder: &str, token: Token, value: Option<String>) -> LockChange {
    LockChange { at, kind, holder: holder.to_owned(), token, value, by: None, reason: None }
}

/// Keeps a change for those who watch, and lets the oldest go where there are too many.
pub(super) fn note(ctx: &mut ApplyContext<'_>, key: &NamedKey, lock: &mut Lock, change: LockChange) {
    let at = ctx.next_position();
    ctx.state.tables.lock_changes.insert_new(ChangeKey::of(key, at), change);
    lock.changed = at;
    lock.changes += 1;
}

/// Serves the queue, lets old changes go, and keeps the lock: the last act of every command that has changed one.
pub(super) fn settle(ctx: &mut ApplyContext<'_>, key: &NamedKey, mut lock: Lock) -> Result<()> {
    while lock.held < lock.permits && lock.waiting > 0 {
        let (place, holder) = next_waiter(ctx.state, key, &lock)?;
        let member = MemberKey::of(key, &holder);
        let claim = ctx.state.tables.lock_claims.get(&member)?.ok_or_else(|| missing("claim", &holder))?;
        ctx.state.tables.lock_places.delete(&place);
        ticket::disarm(ctx, claim.ticket, claim.due);
        lock.queue_from = place.at;
        lock.waiting -= 1;
        let granted = grant(ctx, key, &mut lock, &holder, claim);
        if let Some((task, token)) = granted.step.zip(granted.token) {
            granted::granted(ctx, task, token)?;
        }
    }
    trim(ctx, key, &mut lock)?;
    let idle = lock.held == 0 && lock.waiting == 0;
    match lock.idle_at {
        None if idle => sleep(ctx, &mut lock),
        Some(due) if !idle => {
            ticket::disarm(ctx, lock.ticket, due);
            lock.idle_at = None;
        }
        _ => {}
    }
    ctx.state.tables.locks.put(key.clone(), lock);
    let of = Coordinated::Lock { namespace: key.namespace.clone(), name: key.name.clone() };
    ctx.effect(Effect::Coordinated { of, seq: ctx.seq });
    Ok(())
}

fn sleep(ctx: &mut ApplyContext<'_>, lock: &mut Lock) {
    let due = ctx.now.after(Span::from_secs(limits::LOCK_IDLE_SECONDS));
    lock.idle_at = Some(due);
    ticket::arm(ctx, lock.ticket, due);
}

/// The waiter that is served next.
fn next_waiter(state: &mut State, key: &NamedKey, lock: &Lock) -> Result<(PlaceKey, String)> {
    let (from, to) = (PlaceKey::waiter(key, lock.queue_from), PlaceKey::last(key, PlaceKind::Waiter));
    let found = state.tables.lock_places.range(&from, &to, 1)?.pop();
    found.map(|(place, row)| (place, row.holder)).ok_or_else(|| missing("waiter", &key.name))
}

/// Lets the oldest changes go, where more are kept than may be.
fn trim(ctx: &mut ApplyContext<'_>, key: &NamedKey, lock: &mut Lock) -> Result<()> {
    let surplus = lock.changes.saturating_sub(limits::LOCK_CHANGES_KEPT_MAX);
    if surplus > 0 {
        let removed = remove_changes(ctx, key, lock.trimmed, surplus as usize)?;
        lock.trimmed = removed.unwrap_or(lock.trimmed);
        lock.changes -= surplus;
    }
    Ok(())
}

/// Removes the oldest changes, and returns the last one that was.
fn remove_changes(
    ctx: &mut ApplyContext<'_>,
    key: &NamedKey,
    from: Position,
    count: usize,
) -> Result<Option<Position>> {
    let rows = ctx.state.tables.lock_changes.range(&ChangeKey::of(key, from), &ChangeKey::last(key), count)?;
    let last = rows.last().map(|(change, _)| change.at);
    for (change, _) in rows {
        ctx.state.tables.lock_changes.delete(&change);
    }
    Ok(last)
}

/// The lease or the wait of a claim is over.
pub(super) fn claim_due(ctx: &mut ApplyContext<'_>, key: &NamedKey, holder: &str, due: Time) -> Result<()> {
    let mut lock = known(ctx.state, key)?;
    let claim = ctx.state.tables.lock_claims.get(&MemberKey::of(key, holder))?;
    let claim = claim.ok_or_else(|| missing("claim", &holder))?;
    if claim.due != due {
        return Ok(());
    }
    if claim.step.is_some() {
        renew_step(ctx, key, holder, claim);
        return Ok(());
    }
    end(ctx, key, &mut lock, holder, claim, End::Expired);
    settle(ctx, key, lock)
}

/// The lock was not used for a while.
pub(super) fn forget(ctx: &mut ApplyContext<'_>, key: &NamedKey, due: Time) -> Result<()> {
    let mut lock = known(ctx.state, key)?;
    if lock.idle_at != Some(due) {
        return Ok(());
    }
    // One record may have granted more permits than records have followed: the tokens of the next lock of this name,
    // which are numbers of records, must be greater.
    if lock.last_token.0 > ctx.seq.0 {
        sleep(ctx, &mut lock);
        ctx.state.tables.locks.put(key.clone(), lock);
        return Ok(());
    }
    remove_changes(ctx, key, Position::ZERO, lock.changes as usize)?;
    ctx.state.tables.tickets.delete(&lock.ticket);
    ctx.state.tables.locks.delete(key);
    ticket::count(ctx, &key.namespace, |counts| counts.locks -= 1)
}

/// A lock that has claims or a timer.
fn known(state: &mut State, key: &NamedKey) -> Result<Lock> {
    state.tables.locks.get(key)?.ok_or_else(|| missing("lock", &key.name))
}

/// The claim of a holder that must have this token.
pub(super) fn current(state: &mut State, key: &NamedKey, holder: &str, token: Option<Token>) -> Result<(Lock, Claim)> {
    let lock = state.tables.locks.get(key)?;
    let claim = state.tables.lock_claims.get(&MemberKey::of(key, holder))?;
    match lock.zip(claim) {
        Some((lock, claim)) if token.is_none() || claim.token == token => Ok((lock, claim)),
        Some(_) => {
            Err(lost(key, format!("holder `{holder}` does not hold lock `{}` by token `{}`", key.name, shown(token))))
        }
        None => Err(lost(key, format!("holder `{holder}` neither holds lock `{}` nor waits for it", key.name))),
    }
}

fn shown(token: Option<Token>) -> String {
    token.map_or_else(String::new, |token| token.to_string())
}

pub(super) fn lost(key: &NamedKey, message: String) -> Error {
    Error::new(Code::LeaseLost, message)
        .hint(format!("stop what the lock protects; `consort locks show {}` tells who holds it", key.name))
}

/// The place of a lock before anything has happened to it.
pub(super) fn beginning(seq: Seq) -> Position {
    Position { seq, n: 0 }
}

/// The time of a step's claim is over: it continues, because the step is active.
fn renew_step(ctx: &mut ApplyContext<'_>, key: &NamedKey, holder: &str, mut claim: Claim) {
    let due = ctx.now.after(claim.ttl);
    postpone(ctx, &mut claim, due);
    ctx.state.tables.lock_claims.put(MemberKey::of(key, holder), claim);
}
