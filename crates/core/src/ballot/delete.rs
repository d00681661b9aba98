//! `DeleteBallot`, and the end of the time that a ballot is kept.
//!
//! For: removing the rows of ended ballots, a bounded number in each record. Not for: ending ballots.
//! Invariant: the name of a deleted ballot is free at once; its votes go before the ballot's own row does, so that what
//! is left of it can be found until nothing is.

use consort_types::{Code, Error, Name, Result, Seq};
use minicbor::{Decode, Encode};

use super::{
    keys::{VoteKey, timer_task},
    rounds,
    rows::{Ballot, BallotStatus},
};
use crate::{
    context::ApplyContext,
    effect::Effect,
    key::NamedKey,
    quota::namespace,
    run::keys::{TimerKey, TimerKind, position_of},
};

/// Deletes an ended ballot with its votes.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct DeleteBallot {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The ballot.
    #[n(1)]
    pub ballot: String,
}

impl DeleteBallot {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check("ballot", &self.ballot)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let (progress, ballot) = rounds::find(ctx.state, &self.namespace, &self.ballot)?;
        if progress.status == BallotStatus::Open {
            let message = format!("ballot `{}` has not ended", self.ballot);
            return Err(Error::new(Code::BallotOpen, message).hint("close or cancel it first"));
        }
        let due = progress.ended.map(|ended| ended.after(ballot.spec.keep));
        ctx.disarm(due, timer_task(progress.ballot), TimerKind::BallotReap);
        free_name(ctx, progress.ballot, &ballot)?;
        remove_rows(ctx, progress.ballot)
    }
}

/// The time that the ballot is kept is over, or rows of it were left.
pub(crate) fn reap(ctx: &mut ApplyContext<'_>, timer: TimerKey) -> Result<()> {
    let number = position_of(timer.task).seq;
    let Some(ballot) = ctx.state.tables.ballots.get(&number)? else { return Ok(()) };
    let named = ctx.state.tables.ballot_names.get(&NamedKey::of(&ballot.namespace, &ballot.name))?;
    if named.is_some_and(|named| named.ballot == number) {
        free_name(ctx, number, &ballot)?;
    }
    remove_rows(ctx, number)
}

fn free_name(ctx: &mut ApplyContext<'_>, number: Seq, ballot: &Ballot) -> Result<()> {
    ctx.state.tables.ballot_names.delete(&NamedKey::of(&ballot.namespace, &ballot.name));
    namespace::count(ctx, &ballot.namespace, |counts| counts.ballots -= 1)?;
    let seq = ctx.seq;
    ctx.effect(Effect::BallotChanged { ballot: number, seq });
    Ok(())
}

/// Removes a page of votes; the rest, and then the ballot, is left to a timer.
fn remove_rows(ctx: &mut ApplyContext<'_>, ballot: Seq) -> Result<()> {
    let page = ctx.page();
    let rows = ctx.state.tables.votes.range(&VoteKey::first(ballot, 0), &VoteKey::first(ballot.next(), 0), page)?;
    ctx.charge(rows.len());
    for (key, _) in &rows {
        ctx.state.tables.votes.delete(key);
    }
    if rows.len() == page {
        ctx.arm(ctx.now, timer_task(ballot), TimerKind::BallotReap, 0);
    } else {
        ctx.state.tables.ballots.delete(&ballot);
    }
    Ok(())
}
