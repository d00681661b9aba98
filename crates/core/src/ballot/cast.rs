//! `CastVote`: a voter answers.
//!
//! For: the command and its rule. Not for: what its votes come to (see `rounds`).
//! Invariant: a voter has one vote in a round; the same vote again changes nothing, even after the round has closed.

use consort_types::{Code, Error, Name, Result, ballot::Choice, bounds::check_optional_text, limits};
use minicbor::{Decode, Encode};

use super::{
    keys::VoteKey,
    rounds,
    rows::{Ballot, BallotProgress, Vote},
};
use crate::context::ApplyContext;

/// Votes, or changes a vote where the ballot lets it be changed.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct CastVote {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The ballot.
    #[n(1)]
    pub ballot: String,
    /// Who votes.
    #[n(2)]
    pub voter: String,
    /// The round that the voter means; without it, the open one.
    #[n(3)]
    pub round: Option<u32>,
    /// What the vote says.
    #[n(4)]
    pub choice: Choice,
    /// Why.
    #[n(5)]
    pub reason: Option<String>,
}

impl CastVote {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check("ballot", &self.ballot)?;
        Name::check("voter", &self.voter)?;
        check_optional_text("reason", self.reason.as_deref(), limits::ERROR_MESSAGE_BYTES_MAX)?;
        self.choice.check()
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let (mut progress, ballot) = rounds::find(ctx.state, &self.namespace, &self.ballot)?;
        if ballot.spec.voter(&self.voter).is_none() {
            let message = format!("`{}` is not a voter of ballot `{}`", self.voter, self.ballot);
            return Err(Error::new(Code::NotEligible, message).hint("who may vote was fixed when it was opened"));
        }
        let round = self.round.unwrap_or(progress.round);
        let key = VoteKey { ballot: progress.ballot, round, voter: self.voter.clone() };
        let known = ctx.state.tables.votes.get(&key)?;
        if known.as_ref().is_some_and(|known| known.choice == self.choice && known.reason == self.reason) {
            return Ok(());
        }
        rounds::check_open(&progress, &self.ballot)?;
        self.check_round(&progress, round)?;
        ballot.spec.check_choice(&self.choice)?;
        let changes = match known {
            None => 0,
            Some(known) => self.change_of(&ballot, &known)?,
        };
        let vote = Vote { choice: self.choice.clone(), reason: self.reason.clone(), time: ctx.now, changes };
        ctx.state.tables.votes.put(key, vote);
        if changes == 0 {
            progress.voted += 1;
        }
        rounds::close_if_settled(ctx, &ballot, &mut progress)?;
        rounds::put(ctx, &ballot, progress);
        Ok(())
    }

    fn check_round(&self, progress: &BallotProgress, round: u32) -> Result<()> {
        if round == progress.round {
            return Ok(());
        }
        let message =
            format!("the vote is for round `{round}` of ballot `{}`, round `{}` is open", self.ballot, progress.round);
        Err(Error::new(Code::WrongRound, message).hint("look at the votes of the last round, and vote again"))
    }

    /// How often the vote was changed with this one.
    fn change_of(&self, ballot: &Ballot, known: &Vote) -> Result<u32> {
        if ballot.spec.may_change {
            return Ok(known.changes.saturating_add(1));
        }
        let message = format!("`{}` has voted in this round of ballot `{}`", self.voter, self.ballot);
        Err(Error::new(Code::AlreadyVoted, message).hint("open a ballot with `may_change` where votes may be changed"))
    }
}
