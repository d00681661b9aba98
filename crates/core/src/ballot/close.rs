//! `CloseBallot` and `CancelBallot`: an operator ends a ballot.
//!
//! For: the commands and their rules. Not for: rounds that end by themselves (see `rounds`).
//! Invariant: a closed ballot has the decision that its votes give, or none; a cancelled one has none.

use consort_types::{
    Name, Result,
    bounds::{check_optional_text, check_text},
    limits,
};
use minicbor::{Decode, Encode};

use super::{
    rounds,
    rows::{BallotStatus, ByHand},
    verdict::ClosedBy,
};
use crate::context::ApplyContext;

/// Closes the open round now, and the ballot with it: the votes that are there decide, or do not.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct CloseBallot {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The ballot.
    #[n(1)]
    pub ballot: String,
    /// Who closes it.
    #[n(2)]
    pub by: String,
    /// Why.
    #[n(3)]
    pub reason: Option<String>,
}

/// Ends a ballot without a decision; its votes are kept with it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct CancelBallot {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The ballot.
    #[n(1)]
    pub ballot: String,
    /// Who cancels it.
    #[n(2)]
    pub by: String,
    /// Why.
    #[n(3)]
    pub reason: Option<String>,
}

fn check(namespace: &str, ballot: &str, by: &str, reason: Option<&str>) -> Result<()> {
    Name::check("namespace", namespace)?;
    Name::check("ballot", ballot)?;
    check_text("name of who ends it", by, limits::NAME_BYTES_MAX)?;
    check_optional_text("reason", reason, limits::ERROR_MESSAGE_BYTES_MAX)
}

impl CloseBallot {
    pub(crate) fn check(&self) -> Result<()> {
        check(&self.namespace, &self.ballot, &self.by, self.reason.as_deref())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let (mut progress, ballot) = rounds::find(ctx.state, &self.namespace, &self.ballot)?;
        rounds::check_open(&progress, &self.ballot)?;
        progress.by_hand = Some(ByHand { by: self.by.clone(), reason: self.reason.clone() });
        rounds::close(ctx, &ballot, &mut progress, ClosedBy::Operator)?;
        rounds::put(ctx, &ballot, progress);
        Ok(())
    }
}

impl CancelBallot {
    pub(crate) fn check(&self) -> Result<()> {
        check(&self.namespace, &self.ballot, &self.by, self.reason.as_deref())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let (mut progress, ballot) = rounds::find(ctx.state, &self.namespace, &self.ballot)?;
        rounds::check_open(&progress, &self.ballot)?;
        progress.by_hand = Some(ByHand { by: self.by.clone(), reason: self.reason.clone() });
        rounds::end(ctx, &ballot, &mut progress, BallotStatus::Cancelled);
        rounds::put(ctx, &ballot, progress);
        Ok(())
    }
}
