//! `AcquireLock`: a permit of a lock, or a place in its queue.
//!
//! For: the command and its rule. Not for: waiting for the grant (the engine does).
//! Invariant: a holder has one claim on a lock; asking again joins it, with the same token or the same place.

use consort_types::{
    Code, Error, Position, Result, Span, StepInstanceId, Time, Token,
    bounds::{check_count, check_optional_text},
    limits,
};
use minicbor::{Decode, Encode};

use super::{
    check_names, check_program, check_ttl,
    keys::MemberKey,
    lock,
    rows::{Claim, Lock, LockChangeKind, Ticket},
    ticket,
};
use crate::{context::ApplyContext, key::NamedKey};

/// Acquires a permit of a lock, or joins its queue; by a holder that has one, renews it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct AcquireLock {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The lock.
    #[n(1)]
    pub name: String,
    /// The id that the holder has given itself.
    #[n(2)]
    pub holder: String,
    /// How many may hold the lock at once.
    #[n(3)]
    pub permits: u32,
    /// How long the lease lasts from the grant on.
    #[n(4)]
    pub ttl: Span,
    /// How long to wait; zero does not.
    #[n(5)]
    pub wait: Span,
    /// What observers see.
    #[n(6)]
    pub value: Option<String>,
}

/// What a holder has of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockClaim {
    /// A permit.
    Held {
        /// Its fencing token.
        token: Token,
        /// Since when.
        since: Time,
        /// Until when, unless it is renewed.
        until: Time,
    },
    /// A place in the queue.
    Waiting {
        /// Since when.
        since: Time,
        /// Until when it waits.
        until: Time,
    },
}

impl From<&Claim> for LockClaim {
    fn from(claim: &Claim) -> Self {
        let (since, until) = (claim.since, claim.due);
        match claim.token {
            Some(token) => Self::Held { token, since, until },
            None => Self::Waiting { since, until },
        }
    }
}

impl AcquireLock {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, "lock", &self.name)?;
        check_program(&self.holder)?;
        check_ttl(self.ttl)?;
        check_optional_text("value", self.value.as_deref(), limits::LOCK_VALUE_BYTES_MAX)?;
        if self.permits == 0 {
            return Err(Error::new(Code::BadRequest, "a lock of `0` permits has no holder")
                .hint("use 1 for a mutex or an election, more for a semaphore"));
        }
        check_count("permits", self.permits as usize, limits::LOCK_PERMITS_MAX as usize)?;
        let max = Span::from_secs(limits::LOCK_WAIT_SECONDS_MAX);
        if self.wait > max {
            let message = format!("`wait` is `{}`, the limit is `{max}`", self.wait);
            return Err(
                Error::new(Code::LimitReached, message).hint("ask again with the same holder to continue waiting")
            );
        }
        Ok(())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<LockClaim> {
        let Self { namespace, name, holder, permits, ttl, wait, value } = self;
        let (permits, ttl, wait, value) = (*permits, *ttl, *wait, value.clone());
        acquire(ctx, Asked { namespace, name, holder, permits, ttl, wait, value, step: None })
    }
}

/// What is asked of a lock, and the holder that asks; the fields are those of [`AcquireLock`].
pub(crate) struct Asked<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) holder: &'a str,
    pub(crate) permits: u32,
    pub(crate) ttl: Span,
    pub(crate) wait: Span,
    pub(crate) value: Option<String>,
    /// The step that the holder is, where it is one.
    pub(crate) step: Option<StepInstanceId>,
}

/// A permit of a lock, or a place in its queue. An error has changed nothing.
pub(crate) fn acquire(ctx: &mut ApplyContext<'_>, asked: Asked<'_>) -> Result<LockClaim> {
    let key = NamedKey::of(asked.namespace, asked.name);
    let Some(known) = ctx.state.tables.locks.get(&key)? else {
        ticket::check_count(ctx, asked.namespace, "locks", |counts| counts.locks)?;
        ticket::count(ctx, asked.namespace, |counts| counts.locks += 1)?;
        let lock = asked.new_lock(ctx);
        return asked.claim(ctx, &key, lock);
    };
    let in_use = known.held > 0 || known.waiting > 0;
    if in_use && known.permits != asked.permits {
        return Err(other_permits(asked.name, known.permits, asked.permits));
    }
    if let Some(claim) = ctx.state.tables.lock_claims.get(&MemberKey::of(&key, asked.holder))? {
        return asked.join(ctx, &key, known, claim);
    }
    let lock = Lock { permits: asked.permits, ..known };
    asked.claim(ctx, &key, lock)
}

impl Asked<'_> {
    fn new_lock(&self, ctx: &mut ApplyContext<'_>) -> Lock {
        let what = Ticket::Lock { namespace: self.namespace.to_owned(), name: self.name.to_owned() };
        let beginning = lock::beginning(ctx.seq);
        Lock {
            permits: self.permits,
            held: 0,
            waiting: 0,
            last_token: Token(0),
            ticket: ticket::issue(ctx, what),
            idle_at: None,
            queue_from: Position::ZERO,
            changes: 0,
            trimmed: beginning,
            changed: beginning,
        }
    }

    /// A holder that has no claim yet.
    fn claim(self, ctx: &mut ApplyContext<'_>, key: &NamedKey, mut lock: Lock) -> Result<LockClaim> {
        let free = lock.held < lock.permits;
        if !free && self.wait == Span(0) {
            return Err(held(self.name, &lock));
        }
        if !free && lock.waiting >= limits::LOCK_WAITERS_MAX {
            let (waiting, max) = (lock.waiting, limits::LOCK_WAITERS_MAX);
            let message = format!("`{waiting}` holders wait for lock `{}`, the limit is {max}", self.name);
            return Err(Error::new(Code::LimitReached, message).hint("try again later"));
        }
        let claim = lock::new_claim(ctx, key, self.holder, self.ttl, self.value);
        let claim = Claim { step: self.step, ..claim };
        let claim = if free {
            lock::grant(ctx, key, &mut lock, self.holder, claim)
        } else {
            let claim = Claim { due: ctx.now.after(self.wait), ..claim };
            lock::enqueue(ctx, key, &mut lock, self.holder, claim.clone());
            claim
        };
        lock::settle(ctx, key, lock)?;
        Ok(LockClaim::from(&claim))
    }

    /// A holder that asks again.
    fn join(self, ctx: &mut ApplyContext<'_>, key: &NamedKey, mut lock: Lock, mut claim: Claim) -> Result<LockClaim> {
        claim.ttl = self.ttl;
        if let Some(token) = claim.token {
            let due = ctx.now.after(self.ttl);
            lock::postpone(ctx, &mut claim, due);
            show(ctx, key, &mut lock, (self.holder, token), &mut claim, self.value);
        } else {
            let due = ctx.now.after(self.wait);
            lock::postpone(ctx, &mut claim, due);
            claim.value = self.value.or(claim.value);
        }
        ctx.state.tables.lock_claims.put(MemberKey::of(key, self.holder), claim.clone());
        lock::settle(ctx, key, lock)?;
        Ok(LockClaim::from(&claim))
    }
}

/// A holder shows another value, where it gives one.
pub(super) fn show(
    ctx: &mut ApplyContext<'_>,
    key: &NamedKey,
    lock: &mut Lock,
    (holder, token): (&str, Token),
    claim: &mut Claim,
    value: Option<String>,
) {
    if value.is_some() && value != claim.value {
        claim.value = value;
        let change = lock::change(ctx.now, LockChangeKind::ValueSet, holder, token, claim.value.clone());
        lock::note(ctx, key, lock, change);
    }
}

fn held(name: &str, lock: &Lock) -> Error {
    let message = if lock.permits == 1 {
        format!("lock `{name}` is held")
    } else {
        format!("all `{}` permits of lock `{name}` are held", lock.permits)
    };
    Error::new(Code::LockHeld, message).hint(format!("wait for it, or see `consort locks show {name}`"))
}

fn other_permits(name: &str, known: u32, asked: u32) -> Error {
    Error::new(Code::LockPermits, format!("lock `{name}` has `{known}` permits, not `{asked}`")).hint(
        "all holders of a lock must name the same number; it can change once the lock has neither holder nor waiter",
    )
}
