//! `BreakLock`: an operator ends leases whose holders do not.
//!
//! For: the command and its rule. Not for: holders (see `release`).
//! Invariant: who has broken a lock, and why, is kept with its last changes.

use consort_types::{Code, Error, Result, bounds::check_text, limits};
use minicbor::{Decode, Encode};

use super::{
    check_holder, check_names,
    keys::{PlaceKey, PlaceKind},
    lock::{self, End},
};
use crate::{context::ApplyContext, key::NamedKey, state::missing};

/// Ends the leases of a lock, or that of one holder.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct BreakLock {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The lock.
    #[n(1)]
    pub name: String,
    /// The holder; `None`: every holder.
    #[n(2)]
    pub holder: Option<String>,
    /// Who breaks it.
    #[n(3)]
    pub by: String,
    /// Why.
    #[n(4)]
    pub reason: String,
}

impl BreakLock {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, "lock", &self.name)?;
        self.holder.as_deref().map_or(Ok(()), |holder| check_holder("holder", holder))?;
        if self.by.trim().is_empty() || self.reason.trim().is_empty() {
            return Err(Error::new(Code::BadRequest, "`by` or `reason` is empty")
                .hint("say who breaks the lock, and why: both are shown with it"));
        }
        check_text("name of who breaks the lock", &self.by, limits::NAME_BYTES_MAX)?;
        check_text("reason", &self.reason, limits::ERROR_MESSAGE_BYTES_MAX)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let mut lock = ctx.state.tables.locks.get(&key)?.ok_or_else(|| not_found(&self.name))?;
        let why = End::Broken { by: &self.by, reason: &self.reason };
        if let Some(holder) = &self.holder {
            let (_, claim) = lock::current(ctx.state, &key, holder, None)?;
            lock::end(ctx, &key, &mut lock, holder, claim, why);
            return lock::settle(ctx, &key, lock);
        }
        let (from, to) = (PlaceKey::holder(&key, consort_types::Token(0)), PlaceKey::last(&key, PlaceKind::Holder));
        for (_, place) in ctx.state.tables.lock_places.range(&from, &to, lock.held as usize)? {
            let member = super::keys::MemberKey::of(&key, &place.holder);
            let claim = ctx.state.tables.lock_claims.get(&member)?.ok_or_else(|| missing("claim", &place.holder))?;
            lock::end(ctx, &key, &mut lock, &place.holder, claim, why);
        }
        lock::settle(ctx, &key, lock)
    }
}

pub(super) fn not_found(name: &str) -> Error {
    Error::new(Code::LockNotFound, format!("there is no lock `{name}`"))
        .hint("`consort locks list` shows those that are known")
}
