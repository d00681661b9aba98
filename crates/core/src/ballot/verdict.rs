//! From the rounds of a ballot to its decision: pure, so that it can be made again from the record.
//!
//! For: ties, further rounds, and the decision of a whole ballot. Not for: counting a round (see `tally`), or for time.
//! Invariant: the verdict depends on what was asked, on the votes of each round, and on what closed each round.

use std::collections::BTreeMap;

use consort_types::ballot::{Answer, BallotSpec, Choice, Tie};
use minicbor::{Decode, Encode};

use super::tally::{Cast, Outcome, Tally, Undecided, tally};

/// What closed a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ClosedBy {
    /// Its votes: no further one could change the outcome.
    #[n(0)]
    Votes,
    /// Its deadline.
    #[n(1)]
    Deadline,
    /// An operator, who closed the ballot with it.
    #[n(2)]
    Operator,
}

/// What a ballot came to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Verdict {
    /// A decision.
    #[n(0)]
    Decided {
        /// It.
        #[n(0)]
        answer: Answer,
        /// Whether the rule for ties has made it.
        #[n(1)]
        by_tie: bool,
    },
    /// None.
    #[n(1)]
    Undecided(#[n(0)] Undecided),
}

/// The votes of one round, by voter.
pub type RoundVotes<'a> = BTreeMap<&'a str, &'a Choice>;

/// Counts the votes of a round.
pub fn tally_round(spec: &BallotSpec, votes: &RoundVotes<'_>) -> Tally {
    tally(spec, &casts(spec, votes))
}

/// The votes as they are counted; votes of those who may not vote are left out.
pub fn casts<'a>(spec: &BallotSpec, votes: &RoundVotes<'a>) -> Vec<Cast<'a>> {
    let cast = |voter: &consort_types::ballot::Voter| {
        Some(Cast { weight: voter.weight, choice: votes.get(voter.name.as_str()).copied()? })
    };
    spec.voters.iter().filter_map(cast).collect()
}

/// What follows from the end of the round `round`; `None` where another round does. `before` are the votes of the round
/// before it.
pub fn verdict(
    spec: &BallotSpec,
    round: u32,
    votes: &RoundVotes<'_>,
    before: Option<&RoundVotes<'_>>,
    by: ClosedBy,
) -> Option<Verdict> {
    // Where no one has changed a vote, talking has ended: another round would bring the same.
    let is_last = round >= spec.rounds || by == ClosedBy::Operator || before == Some(votes);
    let counted = tally_round(spec, votes);
    let by_tie = |answer: &Answer| Some(Verdict::Decided { answer: answer.clone(), by_tie: true });
    let why = match (&counted.outcome, &spec.tie) {
        (Outcome::Decided(answer), _) => return Some(Verdict::Decided { answer: answer.clone(), by_tie: false }),
        (Outcome::Tied(answers), Tie::FirstListed) => return answers.first().and_then(by_tie),
        (Outcome::Tied(answers), Tie::Lowest) => return answers.iter().min().and_then(by_tie),
        (Outcome::Tied(_), Tie::Fail) => return Some(Verdict::Undecided(Undecided::Tie)),
        (Outcome::Tied(_), Tie::StatusQuo(_) | Tie::Revote) => Undecided::Tie,
        (Outcome::Undecided(why), _) => *why,
    };
    if !is_last {
        return None;
    }
    match &spec.tie {
        Tie::StatusQuo(option) if counted.is_quorate => by_tie(&Answer::Option(option.clone())),
        _ => Some(Verdict::Undecided(why)),
    }
}

/// The verdict of a whole ballot, made again from its closed rounds; `None` where another round follows.
pub fn recompute(spec: &BallotSpec, rounds: &[(RoundVotes<'_>, ClosedBy)]) -> Option<Verdict> {
    let (at, (votes, by)) = rounds.iter().enumerate().next_back()?;
    let before = at.checked_sub(1).map(|before| &rounds[before].0);
    verdict(spec, u32::try_from(at + 1).unwrap_or(u32::MAX), votes, before, *by)
}
