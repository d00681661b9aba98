//! Candidates: holders of locks that acquire, renew, release, are broken, or die; and members of barriers.
//!
//! For: contention for few locks, with tokens of now and of before. Not for: what must hold (see `oracle`).
//! Invariant: once faults have ended, no candidate does anything more: every lease and every wait ends by its time.

use consort_core::{
    Command,
    command::{AcquireLock, ArriveBarrier, BreakLock, ReleaseLock, RenewLock},
};
use consort_types::{Span, Token};

use crate::{clock::SECOND, context::Context, event::Event, plan::Checked, requests::Purpose, roster::NAMESPACES};

/// The locks, with their permits.
const LOCKS: [(&str, u32); 3] = [("leader", 1), ("mutex", 1), ("pool", 3)];
/// Candidates in each namespace.
const CANDIDATES: u64 = 6;
/// The longest lease and the longest wait.
const TTL_MAX: u64 = 40 * SECOND;
const WAIT_MAX: u64 = 120 * SECOND;

/// One candidate does one thing.
pub(crate) fn step(ctx: &mut Context) -> Checked {
    if ctx.is_quiescent() {
        return Ok(());
    }
    let pause = ctx.random.span(SECOND / 5, 4 * SECOND);
    ctx.at(pause, Event::Campaign);
    let namespace = NAMESPACES[ctx.random.below(2) as usize].to_owned();
    let (name, permits) = *ctx.random.pick(&LOCKS);
    let (name, holder) = (name.to_owned(), format!("h{}", ctx.random.below(CANDIDATES)));
    let command = match ctx.random.below(20) {
        0..=9 => acquire(ctx, namespace, name, holder, permits),
        10..=13 => {
            let Some((holder, token)) = some_token(ctx, &namespace, &name) else { return Ok(()) };
            let ttl = ctx.random.chance(500).then(|| Span(ctx.random.span(SECOND, TTL_MAX)));
            Command::RenewLock(RenewLock { namespace, name, holder, token, ttl, value: None })
        }
        14 | 15 => {
            let Some((holder, token)) = some_token(ctx, &namespace, &name) else { return Ok(()) };
            Command::ReleaseLock(ReleaseLock { namespace, name, holder, token: Some(token) })
        }
        16 => Command::ReleaseLock(ReleaseLock { namespace, name, holder, token: None }),
        17 => {
            let holder = ctx.random.chance(500).then_some(holder);
            let (by, reason) = ("operator".to_owned(), "it hangs".to_owned());
            Command::BreakLock(BreakLock { namespace, name, holder, by, reason })
        }
        _ => {
            let ttl = Span(ctx.random.span(SECOND, TTL_MAX));
            let (name, member) = ("meeting".to_owned(), holder);
            Command::ArriveBarrier(ArriveBarrier { namespace, name, parties: 3, member, generation: None, ttl })
        }
    };
    ctx.figures.fault("acts on locks and barriers");
    ctx.request(command, Purpose::Any);
    Ok(())
}

fn acquire(ctx: &mut Context, namespace: String, name: String, holder: String, permits: u32) -> Command {
    let ttl = Span(ctx.random.span(SECOND, TTL_MAX));
    let wait = if ctx.random.chance(200) { Span(0) } else { Span(ctx.random.span(SECOND, WAIT_MAX)) };
    let value = ctx.random.chance(300).then(|| format!("value {}", ctx.requests.count()));
    Command::AcquireLock(AcquireLock { namespace, name, holder, permits, ttl, wait, value })
}

/// A grant of the lock that is current, or was.
fn some_token(ctx: &mut Context, namespace: &str, name: &str) -> Option<(String, Token)> {
    let grants = ctx.fold.grants(namespace, name);
    if grants.is_empty() { None } else { Some(ctx.random.pick(&grants).clone()) }
}
