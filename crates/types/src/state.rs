//! Shared state as clients, records and rows name it.
//!
//! For: the words of the state store: policies, writes, conditions, and the outcome of them. Not for: merging values, or
//! keeping them (the core does).
//! Invariant: a version is the sequence number of the record that wrote it, so versions only grow.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use crate::position::Position;
use crate::{Code, Error, Name, Payload, Result, RunId, Seq, Span, Time, Token, bounds, limits};

/// The outcome of a write that did not see the latest value of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum MergePolicy {
    /// It is rejected, where it names the version that it saw; one that names none overwrites.
    #[default]
    #[n(0)]
    Reject,
    /// The write with the later stamp stays: a hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014).
    #[n(1)]
    LastWriterWins,
    /// The larger number stays.
    #[n(2)]
    Max,
    /// The smaller number stays.
    #[n(3)]
    Min,
    /// Whole numbers: the difference that each write made is added.
    #[n(4)]
    Counter,
    /// Lists without order and without doubles: what any write added stays, unless it was removed by a write that saw it.
    #[n(5)]
    Set,
    /// Objects: each member is merged by itself. A change wins over a removal that did not see it, and of two changes the
    /// one with the later stamp.
    #[n(6)]
    Map,
    /// Both values are kept, as siblings, until it is decided.
    #[n(7)]
    Agent,
    /// An expression makes a value of what is there and what is written.
    #[n(8)]
    Expression,
    /// Texts: what each write inserted and removed of the version that its writer saw is done to the text that is there.
    #[n(9)]
    Text,
    /// Lists with an order, in the same way.
    #[n(10)]
    List,
}

impl MergePolicy {
    /// Every policy, in the order of the documents.
    pub const ALL: [Self; 11] = [
        Self::Reject,
        Self::LastWriterWins,
        Self::Max,
        Self::Min,
        Self::Counter,
        Self::Set,
        Self::Map,
        Self::Text,
        Self::List,
        Self::Agent,
        Self::Expression,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::LastWriterWins => "last_writer_wins",
            Self::Max => "max",
            Self::Min => "min",
            Self::Counter => "counter",
            Self::Set => "set",
            Self::Map => "map",
            Self::Text => "text",
            Self::List => "list",
            Self::Agent => "agent",
            Self::Expression => "expression",
        }
    }

    /// Whether a write is merged with what it did not see, also where it names no version: it has seen nothing then.
    pub fn merges(self) -> bool {
        self != Self::Reject
    }
}

/// When a value was written, in hybrid logical time: the time, and a number that orders writes of the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Stamp {
    /// The time; at most [`limits::STATE_STAMP_AHEAD_SECONDS_MAX`] ahead of log time.
    #[n(0)]
    pub time: Time,
    /// The order within it.
    #[n(1)]
    pub count: u32,
}

/// Who wrote a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct Writer {
    /// The name that a client gives itself, or the agent of a task.
    #[n(0)]
    pub by: Option<String>,
    /// The run, where a task wrote it.
    #[n(1)]
    pub run: Option<RunId>,
    /// The path of the task's step.
    #[n(2)]
    pub step: Option<String>,
}

impl Writer {
    /// A client that calls itself so.
    pub fn client(by: Option<&str>) -> Self {
        Self { by: by.map(str::to_owned), ..Self::default() }
    }

    /// Refuses a name over [`limits::NAME_BYTES_MAX`].
    pub fn check(&self) -> Result<()> {
        bounds::check_optional_text("name of the writer", self.by.as_deref(), limits::NAME_BYTES_MAX)
    }
}

/// What a condition asks of a key.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Check {
    /// It has this version.
    #[n(0)]
    Version(#[n(0)] Seq),
    /// It has a value.
    #[n(1)]
    Exists,
    /// It has none.
    #[n(2)]
    Absent,
    /// It has this value: the same JSON document, whatever the order of members and the spaces.
    #[n(3)]
    Equals(#[n(0)] Payload),
}

/// A condition of a transaction.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Condition {
    /// The space.
    #[n(0)]
    pub space: String,
    /// The key.
    #[n(1)]
    pub key: String,
    /// What is asked.
    #[n(2)]
    pub check: Check,
}

/// What a transaction does with a key.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Action {
    /// Reads it, as it was before the transaction.
    #[n(0)]
    Get,
    /// Gives it a value.
    #[n(1)]
    Put {
        /// The value.
        #[n(0)]
        value: Payload,
        /// The version that the write saw: `None` where it names none, zero where it saw that there was no value.
        #[n(1)]
        saw: Option<Seq>,
        /// How long the value stays.
        #[n(2)]
        ttl: Option<Span>,
        /// When it was written, where the writer has a clock of its own.
        #[n(3)]
        stamp: Option<Stamp>,
        /// What the write saw, for the case that `saw` is not kept any more.
        #[n(4)]
        base: Option<Payload>,
    },
    /// Removes its value.
    #[n(2)]
    Delete {
        /// As for [`Action::Put`].
        #[n(0)]
        saw: Option<Seq>,
    },
}

/// An operation of a transaction.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Operation {
    /// The space.
    #[n(0)]
    pub space: String,
    /// The key.
    #[n(1)]
    pub key: String,
    /// What is done.
    #[n(2)]
    pub action: Action,
}

/// Keys that are read and written together: one list of operations where all conditions hold, and another one where they
/// do not.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Transaction {
    /// The conditions; without one, they hold.
    #[n(0)]
    pub conditions: Vec<Condition>,
    /// What is done where they hold.
    #[n(1)]
    pub then: Vec<Operation>,
    /// What is done where they do not.
    #[n(2)]
    pub otherwise: Vec<Operation>,
    /// Grants of locks that it depends on: where one is not current, it is refused and nothing is done.
    #[n(3)]
    #[cbor(default)]
    pub fences: Vec<Fence>,
}

/// A grant of a lock that a transaction depends on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Fence {
    /// The lock.
    #[n(0)]
    pub lock: String,
    /// The fencing token of the grant.
    #[n(1)]
    pub token: Token,
}

impl Fence {
    /// Refuses a lock that has no name.
    pub fn check(&self) -> Result<()> {
        Name::check("lock", &self.lock)
    }
}

impl Transaction {
    /// A transaction of one operation.
    pub fn single(operation: Operation) -> Self {
        Self { then: vec![operation], ..Self::default() }
    }

    /// Reads a transaction as clients and tasks write it:
    /// `{"if": [{"space", "key", "version" | "exists" | "equals"}], "do": [{"op", "space", "key", …}], "else": […], "fence": [{"lock", "token"}]}`.
    ///
    /// # Errors
    /// [`Code::BadRequest`] where it has another form.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let read: ReadTransaction = serde_json::from_slice(bytes).map_err(|error| {
            Error::new(Code::BadRequest, format!("the transaction cannot be read: {error}"))
                .hint(r#"such as {"if": [{"space": "s", "key": "k", "exists": false}], "do": [{"op": "put", "space": "s", "key": "k", "value": 1}]}"#)
        })?;
        let operations =
            |list: Vec<ReadOperation>| list.into_iter().map(ReadOperation::checked).collect::<Result<Vec<_>>>();
        Ok(Self {
            conditions: read.conditions.into_iter().map(ReadCondition::checked).collect::<Result<_>>()?,
            then: operations(read.then)?,
            otherwise: operations(read.otherwise)?,
            fences: read
                .fences
                .into_iter()
                .map(|ReadFence { lock, token }| Fence { lock, token: Token(token) })
                .collect(),
        })
    }

    /// Refuses what no state would make acceptable: names that are none, more than
    /// [`limits::STATE_OPERATIONS_MAX`] conditions and operations, and a key that is written twice.
    pub fn check(&self) -> Result<()> {
        let count = self.conditions.len() + self.then.len() + self.otherwise.len() + self.fences.len();
        self.fences.iter().try_for_each(Fence::check)?;
        bounds::check_count("conditions, operations and fences", count, limits::STATE_OPERATIONS_MAX)?;
        self.conditions.iter().try_for_each(Condition::check)?;
        self.then.iter().chain(&self.otherwise).try_for_each(Operation::check)?;
        check_once(&self.then)?;
        check_once(&self.otherwise)
    }
}

/// Refuses a key that is written more than once.
fn check_once(operations: &[Operation]) -> Result<()> {
    let mut written = BTreeSet::new();
    for operation in operations.iter().filter(|operation| operation.action != Action::Get) {
        if !written.insert((&operation.space, &operation.key)) {
            let message = format!("key `{}` of space `{}` is written twice", operation.key, operation.space);
            return Err(Error::new(Code::BadRequest, message).hint("write each key once in a transaction"));
        }
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadTransaction {
    #[serde(rename = "if", default)]
    conditions: Vec<ReadCondition>,
    #[serde(rename = "do", default)]
    then: Vec<ReadOperation>,
    #[serde(rename = "else", default)]
    otherwise: Vec<ReadOperation>,
    #[serde(rename = "fence", default)]
    fences: Vec<ReadFence>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadFence {
    lock: String,
    token: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadCondition {
    space: String,
    key: String,
    version: Option<u64>,
    exists: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    equals: Option<Payload>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum ReadAction {
    Get,
    Put,
    Delete,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadOperation {
    op: ReadAction,
    space: String,
    key: String,
    #[serde(default, deserialize_with = "given")]
    value: Option<Payload>,
    version: Option<u64>,
    ttl: Option<Span>,
    stamp: Option<ReadStamp>,
    base: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadStamp {
    time: Time,
    #[serde(default)]
    count: u32,
}

/// A document that is there, also where it is `null`; its bytes are kept.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Payload>, D::Error> {
    let raw = Box::<RawValue>::deserialize(deserializer)?;
    Ok(Some(Payload::inline(raw.get().as_bytes())))
}

impl ReadCondition {
    fn checked(self) -> Result<Condition> {
        let Self { space, key, version, exists, equals } = self;
        // Clients with typed models send `null` for what is not given.
        let alone = version.is_none() && exists.is_none();
        let equals = equals.filter(|value| alone || *value != Payload::null());
        let check = match (version, exists, equals) {
            (Some(version), None, None) => Check::Version(Seq(version)),
            (None, Some(true), None) => Check::Exists,
            (None, Some(false), None) => Check::Absent,
            (None, None, Some(value)) => Check::Equals(value),
            _ => {
                let message =
                    format!("the condition of key `{key}` requests none or several of `version`, `exists`, `equals`");
                return Err(
                    Error::new(Code::BadRequest, message).hint("give exactly one; several conditions may name a key")
                );
            }
        };
        Ok(Condition { space, key, check })
    }
}

impl ReadOperation {
    fn checked(self) -> Result<Operation> {
        let Self { op, space, key, value, version, ttl, stamp, base } = self;
        let value = value.filter(|value| matches!(op, ReadAction::Put) || *value != Payload::null());
        let saw = version.map(Seq);
        let extra = |what: &str| {
            Err(Error::new(Code::BadRequest, format!("the operation on key `{key}` does not take `{what}`"))
                .hint("`value`, `ttl`, `stamp` and `base` belong to `put`, `version` to `put` and `delete`"))
        };
        let action = match (op, value) {
            (ReadAction::Put, Some(value)) => {
                let stamp = stamp.map(|ReadStamp { time, count }| Stamp { time, count });
                let base = base.map(|base| Payload::inline(base.get().as_bytes()));
                Action::Put { value, saw, ttl, stamp, base }
            }
            (ReadAction::Put, None) => {
                return Err(Error::new(Code::BadRequest, format!("the `put` of key `{key}` has no `value`"))
                    .hint("`null` is a value; `delete` removes one"));
            }
            (_, Some(_)) => return extra("value"),
            _ if ttl.is_some() => return extra("ttl"),
            _ if stamp.is_some() => return extra("stamp"),
            _ if base.is_some() => return extra("base"),
            (ReadAction::Delete, None) => Action::Delete { saw },
            (ReadAction::Get, None) if saw.is_some() => return extra("version"),
            (ReadAction::Get, None) => Action::Get,
        };
        Ok(Operation { space, key, action })
    }
}

/// The outcome of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteOutcome {
    /// It was read.
    Read,
    /// The key has the value that was written.
    Written,
    /// The key has no value now.
    Deleted,
    /// The key had no value to remove.
    Absent,
    /// The key has a value merged of this write and others.
    Merged,
    /// Another write stays in its place.
    Superseded,
    /// Both values are kept, until it is decided.
    Undecided,
    /// It was rejected, because it had not seen the latest value; nothing of its transaction was done.
    Rejected,
}

/// The id of a space: no other space has it, also not one of the same name that is made after it was deleted.
pub type SpaceId = Position;

/// The policy of the keys with a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(deny_unknown_fields)]
pub struct PrefixPolicy {
    /// The prefix; the empty one is that of every key. Of several that fit, the longest counts.
    #[n(0)]
    pub prefix: String,
    /// The policy.
    #[n(1)]
    pub policy: MergePolicy,
}

/// What is set for a space.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SpaceSettings {
    /// How writes are merged, by prefixes of keys; others are rejected.
    #[n(0)]
    pub policies: Vec<PrefixPolicy>,
    /// How many changes are kept.
    #[n(1)]
    pub keep_changes: u32,
    /// How many keys it may have; `None`: [`limits::STATE_KEYS_MAX`].
    #[n(2)]
    pub max_keys: Option<u64>,
    /// How many bytes its keys and values may have; `None`: [`limits::STATE_BYTES_MAX`].
    #[n(3)]
    pub max_bytes: Option<u64>,
    /// Whether its changes and conflicts are events on the bus.
    #[n(4)]
    #[cbor(default)]
    pub events: bool,
}

impl Default for SpaceSettings {
    fn default() -> Self {
        Self {
            policies: Vec::new(),
            keep_changes: limits::STATE_CHANGES_DEFAULT,
            max_keys: None,
            max_bytes: None,
            events: false,
        }
    }
}

impl SpaceSettings {
    /// The policy of a key.
    pub fn policy_of(&self, key: &str) -> MergePolicy {
        let fitting = self.policies.iter().filter(|policy| key.starts_with(&policy.prefix));
        fitting.max_by_key(|policy| policy.prefix.len()).map(|policy| policy.policy).unwrap_or_default()
    }

    /// Refuses numbers that are out of range, and prefixes that are too many, are none, or come twice.
    pub fn check(&self) -> Result<()> {
        bounds::check_count("policies", self.policies.len(), limits::STATE_POLICIES_MAX)?;
        for (i, policy) in self.policies.iter().enumerate() {
            check_prefix(&policy.prefix)?;
            if self.policies[..i].iter().any(|other| other.prefix == policy.prefix) {
                let message = format!("the prefix `{}` has two policies", policy.prefix);
                return Err(Error::new(Code::BadRequest, message).hint("give each prefix one policy"));
            }
        }
        let (min, max) = (u64::from(limits::STATE_CHANGES_MIN), u64::from(limits::STATE_CHANGES_MAX));
        check_between("kept changes", u64::from(self.keep_changes), min, max)?;
        check_between("keys at most", self.max_keys.unwrap_or(1), 1, limits::STATE_KEYS_MAX)?;
        check_between("bytes at most", self.max_bytes.unwrap_or(1), 1, limits::STATE_BYTES_MAX)
    }
}

fn check_between(what: &str, value: u64, min: u64, max: u64) -> Result<()> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::new(Code::LimitReached, format!("`{value}` {what}: a space has from {min} to {max}"))
        .hint("leave it out for the default"))
}

/// Refuses a text that cannot be a key: empty, longer than [`limits::STATE_KEY_BYTES_MAX`], or with control characters.
pub fn check_key(key: &str) -> Result<()> {
    let (bytes, max) = (key.len(), limits::STATE_KEY_BYTES_MAX);
    if bytes == 0 || bytes > max {
        return Err(Error::new(Code::BadName, format!("the key has {bytes} bytes, but must have 1 to {max}"))
            .hint("choose a short key; what is long belongs into the value"));
    }
    if key.chars().any(char::is_control) {
        return Err(Error::new(Code::BadName, "the key has control characters")
            .hint("use printable characters, such as `agents/alice`"));
    }
    Ok(())
}

/// Refuses a prefix of keys that no key can have.
pub fn check_prefix(prefix: &str) -> Result<()> {
    if prefix.is_empty() { Ok(()) } else { check_key(prefix) }
}

impl Condition {
    /// Refuses a space that has no name, and a key that is none.
    pub fn check(&self) -> Result<()> {
        Name::check("space", &self.space)?;
        check_key(&self.key)
    }
}

impl Operation {
    /// As [`Condition::check`]; and a time to live that is zero or longer than
    /// [`limits::STATE_TTL_SECONDS_MAX`], and a base without the version that it was.
    pub fn check(&self) -> Result<()> {
        Name::check("space", &self.space)?;
        check_key(&self.key)?;
        let Action::Put { saw, ttl, base, .. } = &self.action else { return Ok(()) };
        if base.is_some() && saw.is_none_or(|saw| saw == Seq::ZERO) {
            let message = format!("the `base` of key `{}` comes without the `version` that it was", self.key);
            return Err(Error::new(Code::BadRequest, message)
                .hint("name the version that the writer saw, or leave `base` out where it saw no value"));
        }
        ttl.map_or(Ok(()), check_ttl)
    }
}

fn check_ttl(ttl: Span) -> Result<()> {
    let max = Span::from_secs(limits::STATE_TTL_SECONDS_MAX);
    if ttl.0 > 0 && ttl <= max {
        return Ok(());
    }
    Err(Error::new(Code::BadRequest, format!("a time to live of `{ttl}` is not between `1us` and `{max}`"))
        .hint("leave it out for a value that stays"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_bounded_and_printable() {
        check_key("agents/älice 1").unwrap();
        check_key(&"k".repeat(limits::STATE_KEY_BYTES_MAX)).unwrap();
        for bad in ["", "a\nb", &"k".repeat(limits::STATE_KEY_BYTES_MAX + 1)] {
            assert_eq!(check_key(bad).unwrap_err().code, Code::BadName);
        }
        check_prefix("").unwrap();
        assert!(check_prefix("a\0").is_err());
    }

    #[test]
    fn a_value_lives_for_some_time() {
        let put = |ttl| Operation {
            space: "s".to_owned(),
            key: "k".to_owned(),
            action: Action::Put { value: Payload::null(), saw: None, ttl, stamp: None, base: None },
        };
        let longest = Span::from_secs(limits::STATE_TTL_SECONDS_MAX);
        for good in [None, Some(Span(1)), Some(longest)] {
            put(good).check().unwrap();
        }
        for bad in [Span(0), Span(longest.0 + 1)] {
            assert_eq!(put(Some(bad)).check().unwrap_err().code, Code::BadRequest);
        }
    }

    #[test]
    fn a_transaction_is_read_and_what_does_not_fit_is_named() {
        let read = Transaction::read(
            br#"{"if": [{"space": "s", "key": "k", "exists": false}, {"space": "s", "key": "k", "equals": null}],
                 "do": [{"op": "put", "space": "s", "key": "k", "value": {"b": 1.50}, "version": 0, "ttl": "5s"}],
                 "else": [{"op": "get", "space": "s", "key": "k"}, {"op": "delete", "space": "s", "key": "k", "version": 7}]}"#,
        )
        .unwrap();
        read.check().unwrap();
        assert_eq!(
            read.conditions.iter().map(|one| &one.check).collect::<Vec<_>>(),
            [&Check::Absent, &Check::Equals(Payload::null())]
        );
        let Action::Put { value, saw, ttl, .. } = &read.then[0].action else { panic!("{read:?}") };
        assert_eq!(
            (value.bytes(), *saw, *ttl),
            (Some(&br#"{"b": 1.50}"#[..]), Some(Seq::ZERO), Some(Span::from_secs(5)))
        );
        assert_eq!(read.otherwise[1].action, Action::Delete { saw: Some(Seq(7)) });
        let based = |version: u64| {
            let put =
                format!(r#"{{"op": "put", "space": "s", "key": "k", "value": 1, "version": {version}, "base": 2}}"#);
            let read = Transaction::read(format!(r#"{{"do": [{put}]}}"#).as_bytes()).unwrap();
            let Action::Put { base, .. } = &read.then[0].action else { panic!("{read:?}") };
            assert_eq!(base.as_ref().and_then(Payload::bytes), Some(&b"2"[..]));
            read.check()
        };
        based(7).unwrap();
        assert_eq!(based(0).unwrap_err().code, Code::BadRequest, "who saw no value saw no base");
        for bad in [
            r#"{"do": [{"op": "put", "space": "s", "key": "k"}]}"#,
            r#"{"do": [{"op": "get", "space": "s", "key": "k", "version": 1}]}"#,
            r#"{"do": [{"op": "delete", "space": "s", "key": "k", "ttl": "1s"}]}"#,
            r#"{"do": [{"op": "delete", "space": "s", "key": "k", "base": 1}]}"#,
            r#"{"if": [{"space": "s", "key": "k"}]}"#,
            r#"{"if": [{"space": "s", "key": "k", "exists": true, "version": 1}]}"#,
            r#"{"when": []}"#,
        ] {
            assert_eq!(Transaction::read(bad.as_bytes()).unwrap_err().code, Code::BadRequest, "{bad}");
        }
    }

    #[test]
    fn the_longest_prefix_counts() {
        let of = |prefix: &str, policy| PrefixPolicy { prefix: prefix.to_owned(), policy };
        let policies = vec![of("", MergePolicy::Map), of("n/", MergePolicy::Counter), of("n/x", MergePolicy::Max)];
        let settings = SpaceSettings { policies, ..SpaceSettings::default() };
        settings.check().unwrap();
        let policies = ["m", "n/", "n/xy"].map(|key| settings.policy_of(key));
        assert_eq!(policies, [MergePolicy::Map, MergePolicy::Counter, MergePolicy::Max]);
        assert_eq!(SpaceSettings::default().policy_of("k"), MergePolicy::Reject);
        let twice = vec![of("n/", MergePolicy::Map), of("n/", MergePolicy::Set)];
        assert!(SpaceSettings { policies: twice, ..settings.clone() }.check().is_err());
        for keep_changes in [limits::STATE_CHANGES_MIN - 1, limits::STATE_CHANGES_MAX + 1] {
            assert!(SpaceSettings { keep_changes, ..settings.clone() }.check().is_err());
        }
        assert!(SpaceSettings { max_keys: Some(0), ..settings }.check().is_err());
    }

    #[test]
    fn policies_are_written_as_they_are_called() {
        for policy in MergePolicy::ALL {
            assert_eq!(serde_json::to_value(policy).unwrap(), policy.as_str());
        }
    }
}
