//! Spaces of shared state, and their conflicts.
//!
//! For: what is set for spaces and what they hold, and the writes that had not seen the latest value. Not for: keys (see
//! `state`).
//! Invariant: what is set for a space binds the writes that come after it.

use consort_types::{
    Code, Time, limits,
    state::{MergePolicy, Position, PrefixPolicy, SpaceSettings},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Accepts, Document, Method, Operation, Page, PageParams, Returns, Spec, is_default, schema,
    state::{StateCandidate, StateWriter, given},
};

/// The policy of the keys with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatePolicy {
    /// The prefix; the empty one is that of every key. Of several that fit, the longest counts.
    pub prefix: String,
    /// The outcome of a write that has not seen the latest value.
    #[schemars(with = "schema::MergePolicyWord")]
    pub policy: MergePolicy,
    /// Of the policy `expression`: CEL over `write.current`, `write.incoming` and `write.base` (what the writer saw, or null).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<String>,
}

impl From<StatePolicy> for PrefixPolicy {
    fn from(StatePolicy { prefix, policy, .. }: StatePolicy) -> Self {
        Self { prefix, policy }
    }
}

/// Sets what a space merges, keeps and may hold, in place of what was set before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceRequest {
    /// The policies, by prefix; keys of no prefix have `reject`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<StatePolicy>,
    /// How many changes are kept, for watches and for the history of keys: from 100 to 1,000,000; without it, 10,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_changes: Option<u32>,
    /// How many keys the space may have; without it, 10,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_keys: Option<u64>,
    /// How many bytes its keys and values may have; without it, 64 GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Whether its changes and conflicts are events on the bus, under the topics `state.SPACE.changed`, `state.SPACE.conflict`
    /// and `state.SPACE.decided`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub events: bool,
}

impl SpaceRequest {
    /// The expressions of the policies that have one, by prefix.
    #[must_use]
    pub fn merges(&self) -> Vec<(String, String)> {
        self.policies.iter().filter_map(|one| Some((one.prefix.clone(), one.merge.clone()?))).collect()
    }
}

impl From<SpaceRequest> for SpaceSettings {
    fn from(request: SpaceRequest) -> Self {
        let SpaceRequest { policies, keep_changes, max_keys, max_bytes, events } = request;
        let keep_changes = keep_changes.unwrap_or(limits::STATE_CHANGES_DEFAULT);
        Self { policies: policies.into_iter().map(Into::into).collect(), keep_changes, max_keys, max_bytes, events }
    }
}

/// A space, with what it holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Space {
    /// Its name.
    pub name: String,
    /// The policies, by prefix.
    pub policies: Vec<StatePolicy>,
    /// How many changes are kept at most.
    pub keep_changes: u32,
    /// How many keys it may have, where that is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_keys: Option<u64>,
    /// How many bytes its keys and values may have, where that is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Whether its changes and conflicts are events on the bus.
    #[serde(default, skip_serializing_if = "is_default")]
    pub events: bool,
    /// Keys that have a value.
    pub keys: u64,
    /// Bytes of those keys and their values.
    pub bytes: u64,
    /// Changes that are kept.
    pub changes: u64,
    /// Conflicts that are kept.
    pub conflicts: u32,
    /// Of these: those that wait for a decision.
    pub undecided: u32,
    /// All conflicts that there were.
    pub conflicts_total: u64,
    /// The last change.
    #[schemars(with = "schema::Position")]
    pub position: Position,
    /// When it was made.
    #[schemars(with = "schema::Instant")]
    pub created_at: Time,
}

/// Lists spaces.
pub struct ListSpaces;

impl Operation for ListSpaces {
    type Params = PageParams;
    type Body = ();
    type Reply = Page<Space>;
    const SPEC: Spec = Spec {
        id: "listSpaces",
        group: "state",
        path: "/v1/spaces",
        doc: "Lists the spaces of the namespace by name, with what they hold and what is set for them.",
        words: &["state spaces"],
        answers: &[(200, "A page.")],
        ..Spec::READ
    };
}

/// The name of a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceParams {
    /// The space.
    pub space: String,
}

/// Shows a space.
pub struct ShowSpace;

impl Operation for ShowSpace {
    type Params = SpaceParams;
    type Body = ();
    type Reply = Space;
    const SPEC: Spec = Spec {
        id: "showSpace",
        group: "state",
        path: "/v1/spaces/{space}",
        doc: "Shows a space: what is set for it, and what it holds.",
        words: &["state spaces"],
        answers: &[(200, "The space.")],
        errors: &[Code::SpaceNotFound],
        ..Spec::READ
    };
}

/// Sets what a space is to do.
pub struct SetSpace;

impl Operation for SetSpace {
    type Params = SpaceParams;
    type Body = SpaceRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "setSpace",
        group: "state",
        method: Method::Put,
        path: "/v1/spaces/{space}",
        doc: "Sets how a space merges writes, how many changes it keeps and how much it may hold, in place of what was set \
              before; makes the space where it is not there. What it holds stays as it is.",
        words: &["state set"],
        errors: &[Code::LimitReached],
        ..Spec::CHANGE
    };
}

/// Forgets a space.
pub struct DeleteSpace;

impl Operation for DeleteSpace {
    type Params = SpaceParams;
    type Body = ();
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "deleteSpace",
        group: "state",
        method: Method::Delete,
        path: "/v1/spaces/{space}",
        doc: "Forgets a space with everything in it: keys, changes and conflicts.",
        words: &["state drop"],
        accepts: Accepts::Nothing,
        errors: &[Code::SpaceNotFound],
        ..Spec::CHANGE
    };
}

/// What was done about a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// The write was rejected.
    Rejected,
    /// The value that was there has stayed.
    KeptCurrent,
    /// The value that came is the value now.
    TookIncoming,
    /// A value made of both is the value now.
    Merged,
    /// Nothing yet: both are kept.
    Undecided,
    /// It was decided.
    Decided,
    /// Something that this version does not know.
    #[schemars(skip)]
    #[serde(untagged)]
    Other(String),
}

/// A write that had not seen the latest value of its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateConflict {
    /// Its id.
    #[schemars(with = "schema::Position")]
    pub conflict: Position,
    /// The key.
    pub key: String,
    /// The policy of the key then.
    #[schemars(with = "schema::MergePolicyWord")]
    pub policy: MergePolicy,
    /// The value that was there, and then those that came.
    pub candidates: Vec<StateCandidate>,
    /// What was done about it.
    pub settled: Settlement,
    /// The value that was made or decided.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub value: Option<Document>,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<StateWriter>,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// When they decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub decided_at: Option<Time>,
    /// When it began.
    #[schemars(with = "schema::Instant")]
    pub at: Time,
}

/// Which conflicts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListConflictsParams {
    /// The space.
    pub space: String,
    /// Only those that wait for a decision.
    #[serde(default, skip_serializing_if = "is_default")]
    pub undecided: bool,
    /// Where the page begins: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many items at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ITEMS_MAX))]
    pub limit: Option<usize>,
}

/// Lists conflicts.
pub struct ListConflicts;

impl Operation for ListConflicts {
    type Params = ListConflictsParams;
    type Body = ();
    type Reply = Page<StateConflict>;
    const SPEC: Spec = Spec {
        id: "listConflicts",
        group: "state",
        path: "/v1/spaces/{space}/conflicts",
        doc: "Lists the conflicts of a space that are kept, the oldest first: both values, who wrote them, and what was \
              done about it.",
        words: &["state conflicts"],
        answers: &[(200, "A page, which may be empty and still have a next one.")],
        errors: &[Code::SpaceNotFound, Code::BadCursor],
        ..Spec::READ
    };
}

/// A conflict of a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConflictParams {
    /// The space.
    pub space: String,
    /// The conflict.
    #[schemars(with = "schema::Position")]
    pub conflict: Position,
}

/// Shows a conflict.
pub struct ShowConflict;

impl Operation for ShowConflict {
    type Params = ConflictParams;
    type Body = ();
    type Reply = StateConflict;
    const SPEC: Spec = Spec {
        id: "showConflict",
        group: "state",
        path: "/v1/spaces/{space}/conflicts/{conflict}",
        doc: "Shows a conflict.",
        words: &["state conflicts"],
        answers: &[(200, "The conflict.")],
        errors: &[Code::SpaceNotFound, Code::ConflictNotFound, Code::BadCursor],
        ..Spec::READ
    };
}

/// Decides a conflict: by one of its values, or by another one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideConflictRequest {
    /// The place of one of its values, counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<u32>,
    /// Another value.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub value: Option<Document>,
    /// Who decides.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// The version that a key has after a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DecidedVersion {
    /// The version.
    pub version: u64,
}

/// Decides a conflict.
pub struct DecideConflict;

impl Operation for DecideConflict {
    type Params = ConflictParams;
    type Body = DecideConflictRequest;
    type Reply = DecidedVersion;
    const SPEC: Spec = Spec {
        id: "decideConflict",
        group: "state",
        path: "/v1/spaces/{space}/conflicts/{conflict}/decide",
        doc: "Decides a conflict, also one that a policy has settled: its key has the chosen value from then on.",
        words: &["state decide"],
        accepts: Accepts::Json { max_bytes: limits::HTTP_BODY_BYTES_MAX, optional: false },
        returns: Returns::Json,
        answers: &[(200, "The version of the key, which is durable.")],
        errors: &[Code::SpaceNotFound, Code::ConflictNotFound, Code::BadCursor, Code::PayloadTooLarge, Code::BadJson],
        ..Spec::CHANGE
    };
}
