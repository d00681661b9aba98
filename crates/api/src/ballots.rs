//! Ballots: agreement among agents about an opinion.
//!
//! For: opening, voting, looking, following and ending. Not for: workflows that ask agents by themselves (a `consensus`
//! step does).
//! Invariant: an answer to a change is sent after its command is durable; what a ballot keeps secret is in no document.

mod documents;
mod operations;

pub use documents::{
    AgainstFaults, Ballot, BallotEvent, BallotResult, BallotRound, BallotRule, BallotScore, BallotSecrecy,
    BallotStatus, BallotSummary, BallotTally, BallotTie, BallotVote, BallotVoter, ClosedBy, OpenBallotRequest,
    Undecided, VoteRequest,
};
pub use operations::{
    BallotParams, CancelBallot, CastVote, CloseBallot, DeleteBallot, EndBallotRequest, ListBallots, ListBallotsParams,
    OpenBallot, ShowBallot, WatchBallot,
};
