//! Locks and barriers, for clients.
//!
//! For: acquiring with a wait, arriving with a wait, and what is seen of both. Not for: following a lock (see
//! `lock_watch`), or any rule (the machine has them).
//! Invariant: who waits is recorded before the caller waits; a caller that is disconnected loses its answer, not its place.

use std::time::Duration;

use consort_core::{
    Command, Coordinated, Reply,
    command::{AcquireLock, ArriveBarrier, BarrierState, BreakLock, LockClaim, ReleaseLock, RenewLock},
    view::{BarrierView, Coordination as Rows, LockView, Page},
};
use consort_types::{Code, Error, Position, Result, limits};
use tokio::time::{Instant, timeout_at};

use super::{Handle, lock_watch::LockWatch, operations::unexpected, page_items, reads::named};
use crate::topic::Topic;

/// The locks and barriers of an engine.
#[derive(Clone, Copy)]
pub struct Coordination<'a> {
    handle: &'a Handle,
}

impl<'a> Coordination<'a> {
    /// Those of an engine.
    pub fn of(handle: &'a Handle) -> Self {
        Self { handle }
    }

    /// Acquires a permit of a lock, or waits in its queue: in the answer, at most for `bound`. After that, or where the
    /// command does not wait, the answer may be that the holder still waits; asking again continues the wait.
    ///
    /// # Errors
    /// [`Code::LockHeld`] where every permit is held and the command does not wait, or has waited in vain;
    /// [`Code::LockPermits`] where the lock is in use with another number of permits; [`Code::LimitReached`] where too
    /// many wait already, or the namespace has too many locks.
    pub async fn acquire_lock(&self, command: AcquireLock, bound: Duration) -> Result<LockClaim> {
        let until = Instant::now() + bound;
        let claim =
            claim(self.handle.of(&command.namespace).submit(Command::AcquireLock(command.clone()), None).await?)?;
        if matches!(claim, LockClaim::Held { .. }) || bound.is_zero() {
            return Ok(claim);
        }
        self.await_grant(&command, until).await
    }

    async fn await_grant(&self, command: &AcquireLock, until: Instant) -> Result<LockClaim> {
        let AcquireLock { namespace, name, holder, .. } = command;
        let topic = Topic::coordinated(&Coordinated::Lock { namespace: namespace.clone(), name: name.clone() });
        let mut subscription = self.handle.of(namespace).subscribe(topic).await?;
        loop {
            subscription.mark_seen();
            let claim = match self.lock_claim(namespace, name, holder).await? {
                Some(LockClaim::Held { token, since, until }) => return Ok(LockClaim::Held { token, since, until }),
                Some(waiting) => waiting,
                None => return Err(in_vain(name, holder)),
            };
            match timeout_at(until, subscription.next()).await {
                Ok(woken) => drop(woken?),
                Err(_) => return Ok(claim),
            }
        }
    }

    /// Continues to hold a lock.
    ///
    /// # Errors
    /// [`Code::LeaseLost`] where the token is not that of the holder's grant.
    pub async fn renew_lock(&self, command: RenewLock) -> Result<LockClaim> {
        claim(self.handle.of(&command.namespace.clone()).submit(Command::RenewLock(command), None).await?)
    }

    /// Gives a permit back, or leaves the queue.
    ///
    /// # Errors
    /// [`Code::LeaseLost`] where the token is not that of the holder's grant, or the holder has nothing.
    pub async fn release_lock(&self, command: ReleaseLock) -> Result<()> {
        self.handle.of(&command.namespace.clone()).done(Command::ReleaseLock(command), None).await
    }

    /// Ends the leases of a lock, or of one holder, whatever they want.
    ///
    /// # Errors
    /// [`Code::LockNotFound`] where the lock is not known, [`Code::LeaseLost`] where the holder has nothing.
    pub async fn break_lock(&self, command: BreakLock) -> Result<()> {
        self.handle.of(&command.namespace.clone()).done(Command::BreakLock(command), None).await
    }

    /// A lock, with its holders and those who are served next.
    ///
    /// # Errors
    /// [`Code::LockNotFound`] where it is not known.
    pub async fn lock(&self, namespace: &str, name: &str) -> Result<LockView> {
        let (namespace, name) = (named("namespace", namespace)?, named("lock", name)?);
        self.handle.of(&namespace).read(move |machine| Rows::of(machine).lock(&namespace, &name)).await?
    }

    /// Locks of a namespace whose names begin with `prefix`, by name.
    pub async fn locks(
        &self,
        namespace: &str,
        prefix: &str,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
    ) -> Result<Page<LockView>> {
        let (namespace, prefix) = (named("namespace", namespace)?, named("prefix", prefix)?);
        let limit = page_items(limit.into(), limits::PAGE_ITEMS_MAX)?;
        self.handle
            .of(&namespace)
            .read(move |machine| Rows::of(machine).locks(&namespace, &prefix, cursor.as_deref(), limit))
            .await?
    }

    /// Follows a lock from after `cursor` on (`None`: from how it is now). One that is not known may come to be.
    ///
    /// # Errors
    /// [`Code::Overloaded`] where too many follow already.
    pub async fn watch_lock(&self, namespace: &str, name: &str, cursor: Option<Position>) -> Result<LockWatch> {
        LockWatch::open(self.handle, named("namespace", namespace)?, named("lock", name)?, cursor).await
    }

    /// What a holder has of a lock.
    async fn lock_claim(&self, namespace: &str, name: &str, holder: &str) -> Result<Option<LockClaim>> {
        let (namespace, name, holder) = (namespace.to_owned(), name.to_owned(), holder.to_owned());
        self.handle.of(&namespace).read(move |machine| Rows::of(machine).lock_claim(&namespace, &name, &holder)).await?
    }

    /// Comes to a barrier, and waits for the others: in the answer, at most for `bound`. After that the answer says how
    /// many have come; asking again with its generation continues the wait.
    ///
    /// # Errors
    /// [`Code::BarrierMismatch`] where the generation waits for another number of parties, or is not known;
    /// [`Code::BarrierExpired`] where it did not fill in time.
    pub async fn arrive(&self, command: ArriveBarrier, bound: Duration) -> Result<BarrierState> {
        let until = Instant::now() + bound;
        let (namespace, name) = (command.namespace.clone(), command.name.clone());
        let partition = self.handle.of(&namespace);
        let state = match partition.submit(Command::ArriveBarrier(command), None).await? {
            Reply::Barrier(state) => state,
            other => return Err(unexpected(&other)),
        };
        if state.released || bound.is_zero() {
            return Ok(state);
        }
        let topic = Topic::coordinated(&Coordinated::Barrier { namespace: namespace.clone(), name: name.clone() });
        let mut subscription = partition.subscribe(topic).await?;
        loop {
            subscription.mark_seen();
            let (of, barrier) = (namespace.clone(), name.clone());
            let state = partition
                .read(move |machine| Rows::of(machine).barrier_state(&of, &barrier, state.generation))
                .await??;
            if state.released {
                return Ok(state);
            }
            match timeout_at(until, subscription.next()).await {
                Ok(woken) => drop(woken?),
                Err(_) => return Ok(state),
            }
        }
    }

    /// A barrier, with those who have come.
    ///
    /// # Errors
    /// [`Code::BarrierNotFound`] where it is not known.
    pub async fn barrier(&self, namespace: &str, name: &str) -> Result<BarrierView> {
        let (namespace, name) = (named("namespace", namespace)?, named("barrier", name)?);
        self.handle.of(&namespace).read(move |machine| Rows::of(machine).barrier(&namespace, &name)).await?
    }

    /// Barriers of a namespace whose names begin with `prefix`, by name.
    pub async fn barriers(
        &self,
        namespace: &str,
        prefix: &str,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
    ) -> Result<Page<BarrierView>> {
        let (namespace, prefix) = (named("namespace", namespace)?, named("prefix", prefix)?);
        let limit = page_items(limit.into(), limits::PAGE_ITEMS_MAX)?;
        self.handle
            .of(&namespace)
            .read(move |machine| Rows::of(machine).barriers(&namespace, &prefix, cursor.as_deref(), limit))
            .await?
    }
}

fn claim(reply: Reply) -> Result<LockClaim> {
    match reply {
        Reply::Lock(claim) => Ok(claim),
        other => Err(unexpected(&other)),
    }
}

fn in_vain(name: &str, holder: &str) -> Error {
    Error::new(Code::LockHeld, format!("holder `{holder}` no longer waits for lock `{name}`: it was not free in time"))
        .hint(format!("ask again, with a longer wait; `consort locks show {name}` tells who holds it"))
}
