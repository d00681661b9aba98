//! The rows of the state store.
//!
//! For: spaces, the values of keys, their changes, and conflicts. Not for: the rules that write them.
//! Invariant: each row that has a payload retains it: the value of a key and the change that made it, one each.

use consort_types::{
    Payload, Seq, Time,
    state::{MergePolicy, Position, SpaceId, SpaceSettings, Stamp, Writer},
};
use consort_workflow::Expression;
use minicbor::{Decode, Encode};

use crate::tables::Row;

/// A space.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Space {
    /// Its id.
    #[n(0)]
    pub id: SpaceId,
    /// What is set for it.
    #[n(1)]
    pub settings: SpaceSettings,
    /// When it was made.
    #[n(2)]
    pub created: Time,
    /// Keys that have a value.
    #[n(3)]
    pub keys: u64,
    /// Bytes of those keys and their values.
    #[n(4)]
    pub bytes: u64,
    /// Changes that are kept.
    #[n(5)]
    pub changes: u64,
    /// The last change that is no longer kept: all later ones are.
    #[n(6)]
    pub trimmed: Position,
    /// The last change.
    #[n(7)]
    pub last: Position,
    /// Conflicts that are kept.
    #[n(8)]
    pub conflicts: u32,
    /// Of these: those that wait for a decision.
    #[n(9)]
    pub undecided: u32,
    /// All conflicts that there were.
    #[n(10)]
    pub conflicts_total: u64,
    /// Every conflict that is settled comes behind it.
    #[n(11)]
    pub settled_from: Position,
    /// The expressions of the policies that have one.
    #[n(12)]
    #[cbor(default)]
    pub merges: Vec<PrefixMerge>,
    /// Its names, where its changes and conflicts are events on the bus.
    #[n(13)]
    pub announced: Option<Names>,
}

impl Row for Space {}

/// The names of a space.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Names {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The space.
    #[n(1)]
    pub space: String,
}

/// The expression of a policy: what it makes of two values of a key with the prefix.
#[derive(Clone, Debug, Encode, Decode)]
pub struct PrefixMerge {
    /// The prefix, which has the policy [`MergePolicy::Expression`].
    #[n(0)]
    pub prefix: String,
    /// The expression.
    #[n(1)]
    pub expression: Expression,
}

impl PartialEq for PrefixMerge {
    fn eq(&self, other: &Self) -> bool {
        self.prefix == other.prefix && self.expression.source() == other.expression.source()
    }
}

impl Space {
    /// The expression of the longest prefix that fits a key.
    pub(crate) fn merge_of(&self, key: &str) -> Option<&Expression> {
        let fitting = self.merges.iter().filter(|merge| key.starts_with(&merge.prefix));
        fitting.max_by_key(|merge| merge.prefix.len()).map(|merge| &merge.expression)
    }
}

/// When an element of a set or a member of a map was last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Mark {
    /// The version that changed it.
    #[n(0)]
    pub version: Seq,
    /// The stamp of that write.
    #[n(1)]
    pub stamp: Stamp,
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct StateEntry {
    /// The value.
    #[n(0)]
    pub value: Payload,
    /// The record that wrote it.
    #[n(1)]
    pub version: Seq,
    /// The record that gave the key a value after it had none.
    #[n(2)]
    pub created: Seq,
    /// Writes since then, that one counted.
    #[n(3)]
    pub writes: u64,
    /// Who wrote it.
    #[n(4)]
    pub by: Writer,
    /// When, in log time.
    #[n(5)]
    pub time: Time,
    /// When, by the writer's clock where it has one.
    #[n(6)]
    pub stamp: Stamp,
    /// When it expires, and the key of its timer.
    #[n(7)]
    pub expires: Option<Expiry>,
    /// Of a set or a map: when each part was last changed, in their order; `None` where all came with the version.
    #[n(8)]
    pub marks: Option<Vec<Mark>>,
    /// The conflict that waits for a decision.
    #[n(9)]
    pub undecided: Option<Position>,
    /// Of a text or a list: where its elements come from; `None` where all came with the version.
    #[n(10)]
    pub sequence: Option<Sequence>,
}

impl Row for StateEntry {}

/// Where the elements of a text or a list come from, as far back as a write may have seen.
///
/// The elements that are there are those of the value, in its order; of those that were removed only the number is kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sequence {
    /// A write that saw less than this version cannot be merged any more; zero where all is kept since the key has a value.
    #[n(0)]
    pub floor: Seq,
    /// What was inserted. Where the floor is a version, the first one is all that was there then.
    #[n(1)]
    pub insertions: Vec<Insertion>,
    /// Every element, in order.
    #[n(2)]
    pub runs: Vec<ElementRun>,
}

/// Elements that one write has inserted in one place.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Insertion {
    /// The record that inserted them.
    #[n(0)]
    pub born: Seq,
    /// Its writer saw what was written up to here.
    #[n(1)]
    pub saw: Seq,
    /// What they belong to.
    #[n(2)]
    pub anchor: Anchor,
    /// Where they are beside others that belong to the same.
    #[n(3)]
    pub order: InsertionOrder,
}

/// What an insertion belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Anchor {
    /// An element that the writer saw; `None` for the beginning.
    #[n(0)]
    pub element: Option<Element>,
    /// Whether the insertion comes before that element.
    #[n(1)]
    pub before: bool,
}

/// An element of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Element {
    /// The place of the insertion in the list of them.
    #[n(0)]
    pub insertion: u32,
    /// Elements of the insertion that are before it.
    #[n(1)]
    pub offset: u32,
}

/// The order of insertions in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct InsertionOrder {
    /// The stamp that the writer gave; zero where it gave none.
    #[n(0)]
    pub stamp: Stamp,
    /// What was inserted; of something long, its beginning and its hash.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub content: Vec<u8>,
}

/// Elements of an insertion that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ElementRun {
    /// The place of the insertion in the list of them.
    #[n(0)]
    pub insertion: u32,
    /// Elements of the insertion that are before these.
    #[n(1)]
    pub from: u32,
    /// How many they are.
    #[n(2)]
    pub len: u32,
    /// The record that removed them; zero where they are there.
    #[n(3)]
    pub gone: Seq,
}

/// The end of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Expiry {
    /// When, in log time.
    #[n(0)]
    pub at: Time,
    /// Where the row is that names the key.
    #[n(1)]
    pub id: Position,
}

/// The key that a timer is about.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Expiring {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The space's name.
    #[n(1)]
    pub space: String,
    /// Its id.
    #[n(2)]
    pub id: SpaceId,
    /// The key.
    #[n(3)]
    pub key: String,
}

impl Row for Expiring {}

/// Why a key has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ChangeKind {
    /// It was written.
    #[n(0)]
    Put,
    /// A write was merged with others.
    #[n(1)]
    Merged,
    /// Its value was removed.
    #[n(2)]
    Deleted,
    /// Its time was over.
    #[n(3)]
    Expired,
    /// A conflict was decided.
    #[n(4)]
    Decided,
    /// Another value is kept beside it until it is decided.
    #[n(5)]
    Undecided,
}

/// A change of a key.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Change {
    /// The key.
    #[n(0)]
    pub key: String,
    /// Its value from then on; `None` where it had none.
    #[n(1)]
    pub value: Option<Payload>,
    /// Why.
    #[n(2)]
    pub kind: ChangeKind,
    /// Who wrote it.
    #[n(3)]
    pub by: Writer,
    /// When, in log time.
    #[n(4)]
    pub time: Time,
}

impl Row for Change {}

/// A value in a conflict.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Candidate {
    /// The value; `None` where the key had none, or was to have none.
    #[n(0)]
    pub value: Option<Payload>,
    /// The version, where it had been written; the version that the write saw, where it came now.
    #[n(1)]
    pub version: Seq,
    /// Who wrote it.
    #[n(2)]
    pub by: Writer,
    /// When, in log time.
    #[n(3)]
    pub time: Time,
}

/// What was done about a conflict.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Settlement {
    /// The write was rejected.
    #[n(0)]
    Rejected,
    /// The value that was there has stayed.
    #[n(1)]
    KeptCurrent,
    /// The value that came is the value now.
    #[n(2)]
    TookIncoming,
    /// A value made of both is the value now.
    #[n(3)]
    Merged(#[n(0)] Payload),
    /// Nothing yet.
    #[n(4)]
    Undecided,
    /// It was decided.
    #[n(5)]
    Decided(#[n(0)] Decided),
}

/// A decision about a conflict.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Decided {
    /// The value; `None` where the key has none then.
    #[n(0)]
    pub value: Option<Payload>,
    /// Who decided.
    #[n(1)]
    pub by: Writer,
    /// Why, in their words.
    #[n(2)]
    pub comment: Option<String>,
    /// When, in log time.
    #[n(3)]
    pub time: Time,
}

/// A write that did not see the latest value.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Conflict {
    /// The key.
    #[n(0)]
    pub key: String,
    /// The policy of the key then.
    #[n(1)]
    pub policy: MergePolicy,
    /// The value that was there, and then those that came.
    #[n(2)]
    pub candidates: Vec<Candidate>,
    /// What was done about it.
    #[n(3)]
    pub settled: Settlement,
    /// When it began, in log time.
    #[n(4)]
    pub time: Time,
}

impl Row for Conflict {}

/// A space whose rows are being removed.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Purge {
    /// Its values are next, from this key on.
    #[n(0)]
    Entries(#[n(0)] String),
    /// Then its changes, from this one on.
    #[n(1)]
    Changes(#[n(0)] Position),
    /// Then its conflicts, from this one on.
    #[n(2)]
    Conflicts(#[n(0)] Position),
}

impl Row for Purge {}
