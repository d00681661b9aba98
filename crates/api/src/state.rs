//! Shared state: keys of spaces, transactions and watches.
//!
//! For: the keys of a namespace, as clients read, write and follow them. Not for: spaces and conflicts (see `spaces`).
//! Invariant: a version is the number of the record that wrote a value, so versions only grow; an answer to a write is sent
//! after its record is durable.

use consort_types::{
    Code, RunId, Span, Time, Token, limits,
    state::{Fence, Position, Stamp, WriteOutcome},
};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Accepts, Document, Method, Operation, Page, Problem, Returns, Spec, is_default, schema};

/// What refuses a write, alone or in a transaction.
const WRITE_ERRORS: &[Code] = &[
    Code::StateConflict,
    Code::LeaseLost,
    Code::VersionGone,
    Code::SpaceFull,
    Code::NotMergeable,
    Code::LimitReached,
    Code::PayloadTooLarge,
    Code::BadJson,
];

/// A document that is there, also where it is `null`.
pub(crate) fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Document>, D::Error> {
    Document::deserialize(deserializer).map(Some)
}

/// Who wrote a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateWriter {
    /// The name that a client gave itself, or the agent of a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The run, where a task wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Run>")]
    pub run: Option<RunId>,
    /// The path of the task's step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
}

/// A value in a conflict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateCandidate {
    /// The value; absent where the key had none, or was to have none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub value: Option<Document>,
    /// Of the value that was there: its version. Of one that came: the version that its writer saw. 0 means none.
    pub version: u64,
    /// Who wrote it.
    pub writer: StateWriter,
    /// When.
    #[schemars(with = "schema::Instant")]
    pub written_at: Time,
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateValue {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Document,
    /// Its version.
    pub version: u64,
    /// The version that gave the key a value after it had none; absent for earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_version: Option<u64>,
    /// Writes since then, that one counted; absent for earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes: Option<u64>,
    /// Who wrote it.
    pub writer: StateWriter,
    /// When.
    #[schemars(with = "schema::Instant")]
    pub written_at: Time,
    /// When it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub expires_at: Option<Time>,
    /// The conflict that waits for a decision about the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Position>")]
    pub conflict: Option<Position>,
    /// The values that are kept beside it until then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<StateCandidate>,
}

/// A key of a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateKeyParams {
    /// The space.
    pub space: String,
    /// The key: 1 to 512 bytes, without control characters.
    pub key: String,
}

/// A key of a space, and which of its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GetStateParams {
    /// The space.
    pub space: String,
    /// The key.
    pub key: String,
    /// The value that it had then; without it, the one that it has now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub version: Option<u64>,
}

/// Reads a key.
pub struct GetState;

impl Operation for GetState {
    type Params = GetStateParams;
    type Body = ();
    type Reply = StateValue;
    const SPEC: Spec = Spec {
        id: "getState",
        group: "state",
        path: "/v1/spaces/{space}/keys/{key}",
        doc: "Reads a key: its value whole, its version, who wrote it, and the values beside it that wait for a decision.",
        words: &["state get"],
        answers: &[(200, "The value.")],
        errors: &[Code::SpaceNotFound, Code::KeyNotFound, Code::VersionGone],
        ..Spec::READ
    };
}

/// When a writer with a clock of its own wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateStamp {
    /// The time; at most a minute ahead of the server.
    #[schemars(with = "schema::Instant")]
    pub time: Time,
    /// The order of writes of that time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub count: u32,
}

impl From<StateStamp> for Stamp {
    fn from(StateStamp { time, count }: StateStamp) -> Self {
        Self { time, count }
    }
}

/// A grant of a lock that a write depends on: where it is not current, the write is refused (`C0723`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateFence {
    /// The lock.
    pub lock: String,
    /// The fencing token of the grant.
    pub token: u64,
}

impl From<StateFence> for Fence {
    fn from(StateFence { lock, token }: StateFence) -> Self {
        Self { lock, token: Token(token) }
    }
}

/// Gives a key a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PutStateRequest {
    /// The value: any JSON document.
    pub value: Document,
    /// The version that the writer has seen; 0 where it has seen that there is no value. Without it, the writer has seen
    /// nothing: by the policy `reject` it overwrites what is there, by the others it is merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// How long the value stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub ttl: Option<Span>,
    /// When it was written; without it, when it arrives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<StateStamp>,
    /// The value that the writer saw at `version`, by a writer that was away for long: it is what the write is compared
    /// with where the space does not keep that version any more, instead of a refusal (`C0704`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Document>,
    /// The grants of locks that the write depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fence: Vec<StateFence>,
    /// The name of the writer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The outcome of a write or a read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateResult {
    /// The space.
    pub space: String,
    /// The key.
    pub key: String,
    /// What was done.
    #[schemars(with = "schema::WriteOutcome")]
    pub outcome: WriteOutcome,
    /// The version that the key has now; 0 where it has no value.
    pub version: u64,
    /// Of a read: the value. Of a write: the value that the key has now, where that is another one than was written.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub value: Option<Document>,
    /// The conflict, where the write had not seen the latest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Position>")]
    pub conflict: Option<Position>,
}

/// Writes a key.
pub struct PutState;

impl Operation for PutState {
    type Params = StateKeyParams;
    type Body = PutStateRequest;
    type Reply = StateResult;
    const SPEC: Spec = Spec {
        id: "putState",
        group: "state",
        method: Method::Put,
        path: "/v1/spaces/{space}/keys/{key}",
        doc: "Gives a key a value. The outcome of a write that has not seen the latest value is the policy of the key; the \
              first write into a space makes it.",
        words: &["state put"],
        accepts: Accepts::Json { max_bytes: limits::HTTP_BODY_BYTES_MAX, optional: false },
        returns: Returns::Json,
        answers: &[(200, "The outcome of the write, which is durable.")],
        errors: WRITE_ERRORS,
        ..Spec::CHANGE
    };
}

/// Which value of a key is to be removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteStateParams {
    /// The space.
    pub space: String,
    /// The key.
    pub key: String,
    /// The version that the writer has seen; without it, whatever is there is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub version: Option<u64>,
    /// The name of the writer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Removes the value of a key.
pub struct DeleteState;

impl Operation for DeleteState {
    type Params = DeleteStateParams;
    type Body = ();
    type Reply = StateResult;
    const SPEC: Spec = Spec {
        id: "deleteState",
        group: "state",
        method: Method::Delete,
        path: "/v1/spaces/{space}/keys/{key}",
        doc: "Removes the value of a key. Where it names a version that is not the latest, it is rejected, or by the merging \
              policies superseded.",
        words: &["state delete"],
        accepts: Accepts::Nothing,
        returns: Returns::Json,
        answers: &[(200, "Its outcome, which is durable.")],
        errors: &[Code::StateConflict],
        ..Spec::CHANGE
    };
}

/// Keys with a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListStateParams {
    /// The space.
    pub space: String,
    /// Only keys that begin with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Where the page begins: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many items at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ITEMS_MAX))]
    pub limit: Option<usize>,
}

/// A page of keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateList {
    /// The keys, in the order of their bytes. A value of more than 32 KiB is a reference; reading the key gives it whole.
    pub items: Vec<StateValue>,
    /// The `cursor` of the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The last change that the page knows of: a watch `after` it misses nothing.
    #[schemars(with = "schema::Position")]
    pub position: Position,
}

/// Lists keys.
pub struct ListState;

impl Operation for ListState {
    type Params = ListStateParams;
    type Body = ();
    type Reply = StateList;
    const SPEC: Spec = Spec {
        id: "listState",
        group: "state",
        path: "/v1/spaces/{space}/keys",
        doc: "Lists the keys of a space by prefix, with their values, and the position to watch from.",
        words: &["state list"],
        answers: &[(200, "A page.")],
        errors: &[Code::SpaceNotFound],
        ..Spec::READ
    };
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateChange {
    /// Its position in the space.
    #[schemars(with = "schema::Position")]
    pub position: Position,
    /// The version that it gave the key.
    pub version: u64,
    /// The key.
    pub key: String,
    /// Why it changed.
    pub change: StateChangeKind,
    /// Its value from then on; absent where it had none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub value: Option<Document>,
    /// Who wrote it.
    pub writer: StateWriter,
    /// When.
    #[schemars(with = "schema::Instant")]
    pub at: Time,
}

/// Why a key has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateChangeKind {
    /// It was written.
    Put,
    /// A write was merged with others.
    Merged,
    /// Its value was removed.
    Deleted,
    /// Its time was over.
    Expired,
    /// A conflict was decided.
    Decided,
    /// Another value is kept beside it until it is decided.
    Undecided,
    /// Something that this version does not know.
    #[schemars(skip)]
    #[serde(untagged)]
    Other(String),
}

/// A key, and a page of its history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateHistoryParams {
    /// The space.
    pub space: String,
    /// The key.
    pub key: String,
    /// Where the page begins: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many items at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ITEMS_MAX))]
    pub limit: Option<usize>,
}

/// Shows the history of a key.
pub struct StateHistory;

impl Operation for StateHistory {
    type Params = StateHistoryParams;
    type Body = ();
    type Reply = Page<StateChange>;
    const SPEC: Spec = Spec {
        id: "stateHistory",
        group: "state",
        path: "/v1/spaces/{space}/keys/{key}/history",
        doc: "Shows the changes of a key that are kept, the newest first.",
        words: &["state history"],
        answers: &[(200, "A page.")],
        errors: &[Code::SpaceNotFound, Code::BadCursor],
        ..Spec::READ
    };
}

/// What a condition asks of a key: exactly one of `version`, `exists` and `equals`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateCondition {
    /// The space.
    pub space: String,
    /// The key.
    pub key: String,
    /// It has this version; 0: it has no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// It has a value, or it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// It has this value: the same JSON document; of more than 32 KiB, the same bytes.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub equals: Option<Document>,
}

/// What an operation of a transaction does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateAction {
    /// Reads the key, as it was before the transaction.
    Get,
    /// Gives it the `value`.
    Put,
    /// Removes its value.
    Delete,
}

/// An operation of a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateOperation {
    /// What is done.
    pub op: StateAction,
    /// The space.
    pub space: String,
    /// The key.
    pub key: String,
    /// The value, of `put`.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub value: Option<Document>,
    /// The version that the writer has seen, of `put` and `delete`; as for single writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// How long the value stays, of `put`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub ttl: Option<Span>,
    /// When it was written, of `put`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<StateStamp>,
    /// The value that the writer saw at `version`, of `put`; as for single writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Document>,
}

/// A transaction: conditions, and what is done where all of them hold, or where one does not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TransactStateRequest {
    /// The conditions; without one, they hold.
    #[serde(rename = "if", default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<StateCondition>,
    /// What is done where they hold.
    #[serde(rename = "do", default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<StateOperation>,
    /// What is done where they do not.
    #[serde(rename = "else", default, skip_serializing_if = "Vec::is_empty")]
    pub otherwise: Vec<StateOperation>,
    /// The grants of locks that all of it depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fence: Vec<StateFence>,
    /// The name of the writer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// The outcome of a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StateTransaction {
    /// Its version: that of every key that it wrote.
    pub version: u64,
    /// Whether the conditions held.
    pub succeeded: bool,
    /// The outcome of each operation, in order.
    pub results: Vec<StateResult>,
}

/// Reads and writes keys together.
pub struct TransactState;

impl Operation for TransactState {
    type Params = crate::NoParams;
    type Body = TransactStateRequest;
    type Reply = StateTransaction;
    const SPEC: Spec = Spec {
        id: "transactState",
        group: "state",
        path: "/v1/state/transact",
        doc: "Reads and writes keys of any spaces together: all of it is done, or nothing. `do` is done where every \
              condition of `if` holds, else `else`.",
        words: &["state transact"],
        accepts: Accepts::Json { max_bytes: limits::HTTP_BODY_BYTES_MAX, optional: false },
        returns: Returns::Json,
        answers: &[(200, "Its outcome, which is durable.")],
        errors: WRITE_ERRORS,
        ..Spec::CHANGE
    };
}

/// An event of a watch of a space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateEvent {
    /// A key has changed; the position is the id of the event.
    Change(Box<StateChange>),
    /// Why the watch ends; nothing follows.
    Error(Problem),
}

/// A space, and from where to follow it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchStateParams {
    /// The space.
    pub space: String,
    /// Only keys that begin with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Only changes after this position; without it, what changes from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The id of the last event that was seen; goes before `after`. Browsers send it by themselves.
    #[serde(rename = "Last-Event-ID", default, skip_serializing_if = "Option::is_none")]
    pub last_event_id: Option<String>,
}

/// Follows a space.
pub struct WatchState;

impl Operation for WatchState {
    type Params = WatchStateParams;
    type Body = ();
    type Reply = StateEvent;
    const SPEC: Spec = Spec {
        id: "watchState",
        group: "state",
        path: "/v1/spaces/{space}/watch",
        doc: "Follows the keys of a space: events `change` (its position is the id) in order, each once, and `error`.",
        words: &["state watch"],
        headers: &["Last-Event-ID"],
        returns: Returns::Events,
        answers: &[(200, "Server-sent events.")],
        errors: &[Code::SpaceNotFound, Code::VersionGone, Code::BadCursor],
        ..Spec::READ
    };
}

#[cfg(test)]
mod tests {
    use consort_types::state::MergePolicy;

    use super::*;

    #[test]
    fn a_value_may_be_null_and_is_there_then() {
        let operation: StateOperation =
            serde_json::from_str(r#"{"op": "put", "space": "s", "key": "k", "value": null}"#).unwrap();
        assert_eq!(operation.value, Some(Document::from(serde_json::Value::Null)));
        let none: StateOperation = serde_json::from_str(r#"{"op": "get", "space": "s", "key": "k"}"#).unwrap();
        assert_eq!(none.value, None);
        assert!(serde_json::to_string(&operation).unwrap().contains(r#""value":null"#));
    }

    #[test]
    fn the_words_of_policies_and_outcomes_are_those_of_their_types() {
        let words = |schema: schemars::Schema| schema.as_value()["enum"].clone();
        let generator = &mut schemars::SchemaGenerator::default();
        let policies: Vec<_> = MergePolicy::ALL.iter().map(|policy| policy.as_str()).collect();
        assert_eq!(words(schema::MergePolicyWord::json_schema(generator)), serde_json::json!(policies));
        let outcomes = words(schema::WriteOutcome::json_schema(generator));
        for word in outcomes.as_array().unwrap() {
            serde_json::from_value::<WriteOutcome>(word.clone()).unwrap();
        }
    }
}
