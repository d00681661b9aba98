//! Ballots as documents.
//!
//! For: one function for each document of ballots. Not for: what is secret (the view leaves that out).
//! Invariant: as in `convert`.

use consort_api::{
    Document,
    ballots::{
        Ballot, BallotResult, BallotRound, BallotScore, BallotStatus, BallotSummary, BallotTally, BallotVote, ClosedBy,
        Undecided,
    },
};
use consort_engine::view;
use consort_types::ballot::{Answer, BallotSpec, Choice};

pub(crate) fn ballot_summary(found: view::BallotSummary) -> BallotSummary {
    BallotSummary {
        ballot: found.name,
        question: found.question,
        status: status(found.status),
        round: found.round,
        voted: found.voted,
        voters: found.voters,
        opened_at: found.opened,
        closes_at: found.closes,
        ended_at: found.ended,
        result: found.verdict.as_ref().map(result),
    }
}

pub(crate) fn ballot(found: view::BallotView) -> Ballot {
    let recount_agrees = found.verdict == found.recounted;
    let (ended_by, end_reason) = found.by_hand.map_or((None, None), |by_hand| (Some(by_hand.by), by_hand.reason));
    let rounds = found.rounds.into_iter().map(|found_round| round(&found.spec, found_round)).collect();
    Ballot {
        ballot: found.name,
        asked: found.spec.into(),
        status: status(found.status),
        opened_at: found.opened,
        closes_at: found.closes,
        ended_at: found.ended,
        ended_by,
        end_reason,
        result: found.verdict.as_ref().map(result),
        recount_agrees,
        rounds,
    }
}

fn status(status: view::BallotStatus) -> BallotStatus {
    match status {
        view::BallotStatus::Open => BallotStatus::Open,
        view::BallotStatus::Decided => BallotStatus::Decided,
        view::BallotStatus::Undecided => BallotStatus::Undecided,
        view::BallotStatus::Cancelled => BallotStatus::Cancelled,
    }
}

/// The status of a client's filter.
pub(crate) fn ballot_status(asked: BallotStatus) -> view::BallotStatus {
    match asked {
        BallotStatus::Open => view::BallotStatus::Open,
        BallotStatus::Decided => view::BallotStatus::Decided,
        BallotStatus::Undecided => view::BallotStatus::Undecided,
        BallotStatus::Cancelled => view::BallotStatus::Cancelled,
    }
}

fn answer(answer: &Answer) -> Document {
    answer.to_value().into()
}

fn result(verdict: &view::Verdict) -> BallotResult {
    match verdict {
        view::Verdict::Decided { answer: decided, by_tie } => {
            BallotResult { decision: Some(answer(decided)), by_tie: *by_tie, undecided: None }
        }
        view::Verdict::Undecided(why) => {
            BallotResult { decision: None, by_tie: false, undecided: Some(undecided(*why)) }
        }
    }
}

fn undecided(why: view::Undecided) -> Undecided {
    match why {
        view::Undecided::NoQuorum => Undecided::NoQuorum,
        view::Undecided::NoVotes => Undecided::NoVotes,
        view::Undecided::NoMajority => Undecided::NoMajority,
        view::Undecided::NotUnanimous => Undecided::NotUnanimous,
        view::Undecided::TooFewEqual => Undecided::TooFewEqual,
        view::Undecided::TooFewNumbers => Undecided::TooFewNumbers,
        view::Undecided::Tie => Undecided::Tie,
    }
}

fn round(spec: &BallotSpec, found: view::RoundView) -> BallotRound {
    let closed_by = found.closed.map(|(_, by)| match by {
        view::ClosedBy::Votes => ClosedBy::Votes,
        view::ClosedBy::Deadline => ClosedBy::Deadline,
        view::ClosedBy::Operator => ClosedBy::Operator,
    });
    BallotRound {
        round: found.round,
        opened_at: found.opened,
        closed_at: found.closed.map(|(time, _)| time),
        closed_by,
        voted: found.voted,
        silent: found.silent,
        tally: found.tally.map(|counted| tally(spec, counted)),
        votes: found.votes.into_iter().map(vote).collect(),
    }
}

fn tally(spec: &BallotSpec, counted: view::Tally) -> BallotTally {
    let score =
        |score: view::Score| BallotScore { answer: answer(&score.answer), voters: score.voters, score: score.score };
    let tied = match &counted.outcome {
        view::Outcome::Tied(answers) => answers.iter().map(answer).collect(),
        _ => Vec::new(),
    };
    BallotTally {
        voted: counted.voted,
        abstained: counted.abstained,
        weight: counted.weight,
        quorum_met: counted.is_quorate,
        equal_answers_needed: spec.equal_answers_needed(),
        scores: counted.scores.into_iter().map(score).collect(),
        tied,
    }
}

fn vote(found: view::VoteView) -> BallotVote {
    let mut vote = BallotVote {
        voter: found.voter,
        reason: found.reason,
        voted_at: found.time,
        changes: found.changes,
        dissents: found.dissents,
        ..BallotVote::default()
    };
    match found.choice {
        Choice::Abstain => vote.abstain = true,
        Choice::Option(option) => vote.choice = Some(option),
        Choice::Approve(options) => vote.approve = Some(options),
        Choice::Ranking(options) => vote.ranking = Some(options),
        Choice::Value(text) => vote.value = Some(answer(&Answer::Value(text))),
    }
    vote
}
