//! The operations on ballots.
//!
//! For: their paths, words and errors. Not for: the documents (see `documents`).
//! Invariant: a ballot is named by its path, so that opening it again is the same request.

use consort_types::{Code, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Ballot, BallotEvent, BallotStatus, BallotSummary, OpenBallotRequest, VoteRequest};
use crate::{Accepts, Method, Operation, Page, Returns, Spec};

/// A ballot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BallotParams {
    /// The name of the ballot.
    pub ballot: String,
}

/// Opens a ballot.
pub struct OpenBallot;

impl Operation for OpenBallot {
    type Params = BallotParams;
    type Body = OpenBallotRequest;
    type Reply = Ballot;
    const SPEC: Spec = Spec {
        id: "openBallot",
        group: "ballots",
        method: Method::Put,
        path: "/v1/ballots/{ballot}",
        doc: "Opens a ballot: asks voters a question. The same content under the same name again is accepted.",
        words: &["ballots open"],
        accepts: Accepts::SMALL,
        returns: Returns::Json,
        answers: &[(200, "The ballot.")],
        errors: &[Code::BallotExists, Code::FaultsNotTolerated, Code::LimitReached, Code::BallotNotFound],
        ..Spec::CHANGE
    };
}

/// Votes.
pub struct CastVote;

impl Operation for CastVote {
    type Params = BallotParams;
    type Body = VoteRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "castVote",
        group: "ballots",
        path: "/v1/ballots/{ballot}/votes",
        doc: "Votes, or changes a vote where the ballot lets it be changed. The same vote again is accepted.",
        words: &["ballots vote"],
        accepts: Accepts::SMALL,
        errors: &[
            Code::BallotNotFound,
            Code::NotEligible,
            Code::BallotClosed,
            Code::WrongRound,
            Code::UnknownOption,
            Code::BadVote,
            Code::AlreadyVoted,
            Code::LimitReached,
            Code::BadJson,
        ],
        ..Spec::CHANGE
    };
}

/// Which ballots, and which page of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListBallotsParams {
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<BallotStatus>,
    /// Where the page begins: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many items at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ITEMS_MAX))]
    pub limit: Option<usize>,
}

/// Lists ballots.
pub struct ListBallots;

impl Operation for ListBallots {
    type Params = ListBallotsParams;
    type Body = ();
    type Reply = Page<BallotSummary>;
    const SPEC: Spec = Spec {
        id: "listBallots",
        group: "ballots",
        path: "/v1/ballots",
        doc: "Lists ballots by name.",
        words: &["ballots list"],
        answers: &[(200, "A page.")],
        ..Spec::READ
    };
}

/// Shows a ballot.
pub struct ShowBallot;

impl Operation for ShowBallot {
    type Params = BallotParams;
    type Body = ();
    type Reply = Ballot;
    const SPEC: Spec = Spec {
        id: "showBallot",
        group: "ballots",
        path: "/v1/ballots/{ballot}",
        doc: "Shows a ballot with its rounds: the count, who voted what and why, who abstained, who was silent, and the result.",
        words: &["ballots show"],
        answers: &[(200, "The ballot, as its secrecy lets it be seen.")],
        errors: &[Code::BallotNotFound],
        ..Spec::READ
    };
}

/// Follows a ballot.
pub struct WatchBallot;

impl Operation for WatchBallot {
    type Params = BallotParams;
    type Body = ();
    type Reply = BallotEvent;
    const SPEC: Spec = Spec {
        id: "watchBallot",
        group: "ballots",
        path: "/v1/ballots/{ballot}/watch",
        doc: "Follows a ballot: the event `ballot` has it at once and again at each change, `end` when it has ended.",
        words: &["ballots watch"],
        returns: Returns::Events,
        answers: &[(200, "Server-sent events until the ballot has ended.")],
        errors: &[Code::BallotNotFound],
        ..Spec::READ
    };
}

/// Who ends a ballot by hand, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndBallotRequest {
    /// The name of who ends it.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

const END: Spec = Spec {
    group: "ballots",
    accepts: Accepts::SMALL,
    errors: &[Code::BallotNotFound, Code::BallotClosed, Code::LimitReached],
    ..Spec::CHANGE
};

/// Closes a ballot.
pub struct CloseBallot;

impl Operation for CloseBallot {
    type Params = BallotParams;
    type Body = EndBallotRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "closeBallot",
        path: "/v1/ballots/{ballot}/close",
        doc: "Closes a ballot now: the votes that are there decide, or do not; no further round follows.",
        words: &["ballots close"],
        ..END
    };
}

/// Cancels a ballot.
pub struct CancelBallot;

impl Operation for CancelBallot {
    type Params = BallotParams;
    type Body = EndBallotRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "cancelBallot",
        path: "/v1/ballots/{ballot}/cancel",
        doc: "Ends a ballot without a decision; its votes are kept with it.",
        words: &["ballots cancel"],
        ..END
    };
}

/// Deletes a ballot.
pub struct DeleteBallot;

impl Operation for DeleteBallot {
    type Params = BallotParams;
    type Body = ();
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "deleteBallot",
        group: "ballots",
        method: Method::Delete,
        path: "/v1/ballots/{ballot}",
        doc: "Deletes an ended ballot with its votes, before its time to be kept is over.",
        words: &["ballots delete"],
        accepts: Accepts::Nothing,
        errors: &[Code::BallotNotFound, Code::BallotOpen],
        ..Spec::CHANGE
    };
}
