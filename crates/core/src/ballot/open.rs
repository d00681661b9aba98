//! `OpenBallot`: asks a question.
//!
//! For: the command and its rule. Not for: telling the voters (they list or watch ballots, or a workflow asks them).
//! Invariant: a name has one ballot; opening it again with the same content changes nothing.

use consort_types::{Code, Error, Name, Result, ballot::BallotSpec, limits};
use minicbor::{Decode, Encode};

use super::{
    rounds,
    rows::{Ballot, BallotProgress, BallotStatus},
};
use crate::{context::ApplyContext, key::NamedKey, quota::namespace};

/// Opens a ballot. The same content under the same name again is accepted, also after its end.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct OpenBallot {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The name, unique in the namespace while the ballot is kept.
    #[n(1)]
    pub name: String,
    /// What is asked, and how it is decided.
    #[n(2)]
    pub spec: BallotSpec,
}

impl OpenBallot {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check("ballot", &self.name)?;
        self.spec.check()
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        if let Some(known) = ctx.state.tables.ballot_names.get(&key)? {
            let known = ctx.state.tables.ballots.get_shared(&known.ballot)?;
            return if known.is_some_and(|known| known.spec == self.spec) { Ok(()) } else { Err(self.exists()) };
        }
        let count = namespace::namespace(ctx.state, &self.namespace)?.counts.ballots;
        if count >= limits::BALLOTS_MAX {
            let (name, max) = (&self.namespace, limits::BALLOTS_MAX);
            let message = format!("namespace `{name}` has `{count}` ballots, the limit is {max}");
            return Err(
                Error::new(Code::LimitReached, message).hint("delete ended ones, or keep them for a shorter time")
            );
        }
        namespace::count(ctx, &self.namespace, |counts| counts.ballots += 1)?;
        let (namespace, name, spec) = (self.namespace.clone(), self.name.clone(), self.spec.clone());
        let ballot = Ballot { namespace, name, spec, opened: ctx.now };
        let mut progress = BallotProgress {
            ballot: ctx.seq,
            status: BallotStatus::Open,
            round: 0,
            round_opened: ctx.now,
            closes: None,
            voted: 0,
            rounds: Vec::new(),
            verdict: None,
            ended: None,
            by_hand: None,
        };
        rounds::open_next(ctx, &ballot, &mut progress);
        ctx.state.tables.ballots.insert_new(ctx.seq, ballot);
        ctx.state.tables.ballot_names.put(key, progress);
        Ok(())
    }

    fn exists(&self) -> Error {
        let message = format!("ballot `{}` was opened before with other content", self.name);
        Error::new(Code::BallotExists, message).hint("choose another name, or delete the ended ballot first")
    }
}
