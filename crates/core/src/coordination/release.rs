//! `ReleaseLock`: a holder gives its permit back, or a waiter leaves the queue.
//!
//! For: the command and its rule. Not for: what an operator does (see `break_lock`).
//! Invariant: the next waiter has the permit in the same record.

use consort_types::{Result, StepInstanceId, Token};
use minicbor::{Decode, Encode};

use super::{
    check_names, check_program,
    keys::MemberKey,
    lock::{self, End},
    step_claim,
};
use crate::{context::ApplyContext, key::NamedKey};

/// Gives up what a holder has of a lock.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ReleaseLock {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The lock.
    #[n(1)]
    pub name: String,
    /// The holder, or waiter.
    #[n(2)]
    pub holder: String,
    /// The token of its grant; `None` gives up whatever it has, a place in the queue too.
    #[n(3)]
    pub token: Option<Token>,
}

impl ReleaseLock {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, "lock", &self.name)?;
        check_program(&self.holder)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let (mut lock, claim) = lock::current(ctx.state, &key, &self.holder, self.token)?;
        lock::end(ctx, &key, &mut lock, &self.holder, claim, End::Released);
        lock::settle(ctx, &key, lock)
    }
}

/// The step has ended: the next in the queue has its permit.
pub(crate) fn give_up(ctx: &mut ApplyContext<'_>, namespace: &str, name: &str, task: StepInstanceId) -> Result<()> {
    let (key, holder) = (NamedKey::of(namespace, name), step_claim::holder_of(task));
    let claim = ctx.state.tables.lock_claims.get(&MemberKey::of(&key, &holder))?;
    let found = claim.zip(ctx.state.tables.locks.get(&key)?);
    // An operator may have broken it.
    let Some((claim, mut lock)) = found else { return Ok(()) };
    lock::end(ctx, &key, &mut lock, &holder, claim, End::Released);
    lock::settle(ctx, &key, lock)
}
