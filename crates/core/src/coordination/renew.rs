//! `RenewLock`: a holder continues to hold.
//!
//! For: the command and its rule. Not for: the first grant (see `acquire`).
//! Invariant: a renewal never shortens a lease, and never brings back one that has ended.

use consort_types::{Result, Span, Token, bounds::check_optional_text, limits};
use minicbor::{Decode, Encode};

use super::{acquire, acquire::LockClaim, check_names, check_program, check_ttl, keys::MemberKey, lock};
use crate::{context::ApplyContext, key::NamedKey};

/// Renews a lease.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RenewLock {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The lock.
    #[n(1)]
    pub name: String,
    /// The holder.
    #[n(2)]
    pub holder: String,
    /// The token of its grant.
    #[n(3)]
    pub token: Token,
    /// How long the lease lasts from now on; `None` as long as the last time.
    #[n(4)]
    pub ttl: Option<Span>,
    /// What observers see from now on; `None` as before.
    #[n(5)]
    pub value: Option<String>,
}

impl RenewLock {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, "lock", &self.name)?;
        check_program(&self.holder)?;
        check_optional_text("value", self.value.as_deref(), limits::LOCK_VALUE_BYTES_MAX)?;
        self.ttl.map_or(Ok(()), check_ttl)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<LockClaim> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let (mut lock, mut claim) = lock::current(ctx.state, &key, &self.holder, Some(self.token))?;
        claim.ttl = self.ttl.unwrap_or(claim.ttl);
        let due = ctx.now.after(claim.ttl);
        lock::postpone(ctx, &mut claim, due);
        acquire::show(ctx, &key, &mut lock, (&self.holder, self.token), &mut claim, self.value.clone());
        ctx.state.tables.lock_claims.put(MemberKey::of(&key, &self.holder), claim.clone());
        lock::settle(ctx, &key, lock)?;
        Ok(LockClaim::from(&claim))
    }
}
