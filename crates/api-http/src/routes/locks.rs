//! Locks and barriers.
//!
//! For: acquiring, renewing, releasing, breaking, following and showing locks, and coming to barriers. Not for: rules (the
//! machine has them).
//! Invariant: a request waits no longer than [`WAIT_MAX`]; a caller that waits longer asks again and keeps its place.

use std::time::Duration;

use consort_api::locks::{
    AcquireLock, AcquireLockRequest, ArriveBarrier, ArriveBarrierRequest, BreakLock, BreakLockRequest, ListBarriers,
    ListLocks, LockEvent, ReleaseLock, RenewLock, RenewLockRequest, ShowBarrier, ShowLock, UnknownLock, WatchLock,
};
use consort_engine::{self as engine, Coordination};
use consort_types::{Position, Result, Span, Token, limits};
use futures::StreamExt as _;

use super::events;
use crate::{
    answer::ResponseBody,
    convert,
    problem::Problem,
    request::RequestContext,
    route::{Handled, Route, route},
};

/// How long a request waits for a grant, or for the members of a barrier.
const WAIT_MAX: Duration = Duration::from_mins(1);
/// How long a lease lasts where the request says nothing.
const TTL_DEFAULT: Span = Span::from_secs(limits::LOCK_TTL_DEFAULT_SECONDS);
/// How long a generation of a barrier may take to fill where the request says nothing.
const BARRIER_TTL_DEFAULT: Span = Span::from_secs(600);

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<ListLocks, _>(list),
        route::<ShowLock, _>(show),
        route::<AcquireLock, _>(acquire),
        route::<RenewLock, _>(renew),
        route::<ReleaseLock, _>(release),
        route::<BreakLock, _>(break_lock),
        route::<WatchLock, _>(watch),
        route::<ListBarriers, _>(barriers),
        route::<ShowBarrier, _>(barrier),
        route::<ArriveBarrier, _>(arrive),
    ]
}

async fn list(request: RequestContext<ListLocks>) -> Handled<ListLocks> {
    let params = request.params.clone();
    let prefix = params.prefix.unwrap_or_default();
    let page =
        Coordination::of(request.engine()).locks(&request.namespace, &prefix, params.cursor, params.limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, convert::lock)))
}

async fn show(request: RequestContext<ShowLock>) -> Handled<ShowLock> {
    let lock = Coordination::of(request.engine()).lock(&request.namespace, &request.params.name).await?;
    Ok(ResponseBody::Reply(convert::lock(lock)))
}

async fn acquire(request: RequestContext<AcquireLock>) -> Handled<AcquireLock> {
    let AcquireLockRequest { holder, permits, ttl, wait, value } = request.body.clone();
    let (namespace, name) = (request.namespace.clone(), request.params.name.clone());
    let (ttl, wait) = (ttl.unwrap_or(TTL_DEFAULT), wait.unwrap_or_default());
    let command = engine::AcquireLock { namespace, name, holder, permits, ttl, wait, value };
    // The machine ends the wait, in log time; this only bounds the request.
    let bound = if wait == Span::ZERO { Duration::ZERO } else { WAIT_MAX };
    let claim = Coordination::of(request.engine()).acquire_lock(command, bound).await?;
    Ok(ResponseBody::Reply(convert::grant(&request.params.name, &request.body.holder, claim)))
}

async fn renew(request: RequestContext<RenewLock>) -> Handled<RenewLock> {
    let RenewLockRequest { holder, token, ttl, value } = request.body.clone();
    let (namespace, name) = (request.namespace.clone(), request.params.name.clone());
    let command = engine::RenewLock { namespace, name, holder, token: Token(token), ttl, value };
    let claim = Coordination::of(request.engine()).renew_lock(command).await?;
    Ok(ResponseBody::Reply(convert::grant(&request.params.name, &request.body.holder, claim)))
}

async fn release(request: RequestContext<ReleaseLock>) -> Handled<ReleaseLock> {
    let (namespace, name) = (request.namespace.clone(), request.params.name.clone());
    let (holder, token) = (request.body.holder.clone(), request.body.token.map(Token));
    Coordination::of(request.engine()).release_lock(engine::ReleaseLock { namespace, name, holder, token }).await?;
    Ok(ResponseBody::Reply(()))
}

async fn break_lock(request: RequestContext<BreakLock>) -> Handled<BreakLock> {
    let BreakLockRequest { holder, by, reason } = request.body.clone();
    let (namespace, name) = (request.namespace.clone(), request.params.name.clone());
    Coordination::of(request.engine()).break_lock(engine::BreakLock { namespace, name, holder, by, reason }).await?;
    Ok(ResponseBody::Reply(()))
}

async fn watch(request: RequestContext<WatchLock>) -> Handled<WatchLock> {
    let name = request.params.name.clone();
    let last = request.params.last_event_id.as_deref().filter(|last| !last.is_empty());
    let cursor = last.or(request.params.after.as_deref()).map(str::parse::<Position>).transpose()?;
    let watch = Coordination::of(request.engine()).watch_lock(&request.namespace, &name, cursor).await?;
    let events = watch.into_stream().map(move |found| event(&name, found));
    Ok(ResponseBody::Raw(events::stream(events, request.closing)))
}

/// An event with its id.
fn event(name: &str, found: Result<(Position, engine::LockEvent)>) -> (LockEvent, Option<String>) {
    match found {
        Ok((cursor, event)) => {
            let event = match event {
                engine::LockEvent::Lock(lock) => LockEvent::Lock(Box::new(convert::lock(*lock))),
                engine::LockEvent::Unknown => {
                    LockEvent::Unknown(UnknownLock { lock: name.to_owned(), cursor: cursor.to_string() })
                }
                engine::LockEvent::Change(change) => LockEvent::Change(Box::new(convert::lock_change(cursor, *change))),
            };
            (event, Some(cursor.to_string()))
        }
        Err(error) => (LockEvent::Error(Problem::from(error).document()), None),
    }
}

async fn barriers(request: RequestContext<ListBarriers>) -> Handled<ListBarriers> {
    let params = request.params.clone();
    let prefix = params.prefix.unwrap_or_default();
    let page =
        Coordination::of(request.engine()).barriers(&request.namespace, &prefix, params.cursor, params.limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, convert::barrier)))
}

async fn barrier(request: RequestContext<ShowBarrier>) -> Handled<ShowBarrier> {
    let barrier = Coordination::of(request.engine()).barrier(&request.namespace, &request.params.name).await?;
    Ok(ResponseBody::Reply(convert::barrier(barrier)))
}

async fn arrive(request: RequestContext<ArriveBarrier>) -> Handled<ArriveBarrier> {
    let ArriveBarrierRequest { member, parties, generation, wait, ttl } = request.body.clone();
    let (namespace, name) = (request.namespace.clone(), request.params.name.clone());
    let ttl = ttl.unwrap_or(BARRIER_TTL_DEFAULT);
    let bound = Duration::from_micros(wait.unwrap_or_default().0).min(WAIT_MAX);
    let command = engine::ArriveBarrier { namespace, name, parties, member, generation, ttl };
    let state = Coordination::of(request.engine()).arrive(command, bound).await?;
    Ok(ResponseBody::Reply(convert::arrival(&request.params.name, state)))
}
