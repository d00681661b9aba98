//! What an operation on a key comes to, before anything is changed.
//!
//! For: the rules of writes: what a write saw, policies, conflicts, and what a space may hold. Not for: changing rows (see
//! `execute`).
//! Invariant: planning changes nothing, so a transaction that is refused or rejected changes nothing but the list of
//! conflicts.

use std::collections::BTreeMap;

use consort_types::{
    Code, Error, Payload, Result, Seq, Span, Time, limits,
    state::{Action, MergePolicy, Operation, SpaceId, Stamp, WriteOutcome},
};
use consort_workflow::Expression;
use serde_json::Value;

use crate::{
    encode::{content_hash, encode},
    space::{
        changes,
        conflicts::{self, PlannedConflict},
        expression,
        merge::{Current, Incoming, Winner, merge},
        rows::{Mark, Sequence, Space, StateEntry},
        spaces,
        weave::{self, Present, Written},
    },
    state::State,
};

/// Steps of comparing two texts that cost as much as a unit of an expression.
const STEPS_PER_COST: u64 = 16;

/// The spaces of a transaction, as they will be after it.
#[derive(Default)]
pub(crate) struct Drafts {
    pub(crate) spaces: BTreeMap<String, Space>,
    made: u32,
    /// The number of the first space that is made in the record: those of other transactions are below.
    first: u32,
}

/// A value that a key is to have.
pub(crate) enum NewValue {
    /// As it was written.
    Given(Payload),
    /// As it was made.
    Made(Vec<u8>),
}

/// What is known of the parts of a value.
pub(crate) enum Parts {
    /// That all came with its version.
    None,
    /// When each element or member was last changed.
    Marks(Vec<Mark>),
    /// Where each element comes from.
    Sequence(Sequence),
}

/// What is done to the rows of a key.
pub(crate) enum Change {
    /// Nothing.
    None,
    /// It gets a value.
    Put { value: NewValue, parts: Parts, stamp: Stamp, expires: Option<Time> },
    /// Its value is removed.
    Delete,
    /// Its value gets another one beside it.
    AddSibling,
}

/// What an operation comes to.
pub(crate) struct Planned {
    pub(crate) space: String,
    pub(crate) key: String,
    pub(crate) old: Option<StateEntry>,
    pub(crate) change: Change,
    pub(crate) outcome: WriteOutcome,
    pub(crate) conflict: Option<PlannedConflict>,
}

/// A write as it is planned.
struct Write<'a> {
    space: &'a Space,
    key: &'a str,
    policy: MergePolicy,
    old: Option<&'a StateEntry>,
    saw: Option<Seq>,
    /// What the writer says that it saw.
    told: Option<&'a Payload>,
    now: Time,
    seq: Seq,
}

/// What a write comes to: the change, its outcome, and the conflict where it is one.
type Verdict = (Change, WriteOutcome, Option<PlannedConflict>);

impl Drafts {
    /// Those of a transaction of a record that has given out so many numbers. Each space that is made gets a change, so
    /// the next transaction begins behind it.
    pub(crate) fn behind(first: u32) -> Self {
        Self { first, ..Self::default() }
    }

    /// The space as the transaction has left it so far; one that is not there is made where `make`.
    fn space(
        &mut self,
        state: &mut State,
        name: (&str, &str),
        at: (Seq, Time),
        make: bool,
    ) -> Result<Option<&mut Space>> {
        let (namespace, space) = name;
        if !self.spaces.contains_key(space) {
            let found = match spaces::find(state, namespace, space)? {
                None if make => {
                    let id = SpaceId { seq: at.0, n: self.first + self.made };
                    let new = spaces::new(state, namespace, id, at.1, self.made)?;
                    self.made += 1;
                    Some(new)
                }
                found => found,
            };
            let Some(found) = found else { return Ok(None) };
            self.spaces.insert(space.to_owned(), found);
        }
        Ok(self.spaces.get_mut(space))
    }
}

/// Plans an operation.
pub(crate) fn plan(
    state: &mut State,
    drafts: &mut Drafts,
    namespace: &str,
    operation: &Operation,
    at: (Seq, Time),
) -> Result<Planned> {
    let Operation { space, key, action } = operation;
    let makes = matches!(action, Action::Put { .. });
    let found = drafts.space(state, (namespace, space), at, makes)?;
    let mut planned = Planned {
        space: space.clone(),
        key: key.clone(),
        old: None,
        change: Change::None,
        outcome: if matches!(action, Action::Get) { WriteOutcome::Read } else { WriteOutcome::Absent },
        conflict: None,
    };
    let Some(found) = found else { return Ok(planned) };
    planned.old = spaces::entry(state, found.id, key)?;
    let policy = found.settings.policy_of(key);
    let old = planned.old.as_ref();
    let write = |saw, told| Write { space: found, key, policy, old, saw, told, now: at.1, seq: at.0 };
    let verdict = match action {
        Action::Get => return Ok(planned),
        Action::Delete { saw } => write(*saw, None).delete(),
        Action::Put { value, saw, ttl, stamp, base } => write(*saw, base.as_ref()).put(state, value, *ttl, *stamp)?,
    };
    (planned.change, planned.outcome, planned.conflict) = verdict;
    count(found, &planned)?;
    Ok(planned)
}

/// Counts what the change of a key does to its space.
///
/// # Errors
/// [`Code::SpaceFull`] where the space may not have so much.
fn count(space: &mut Space, planned: &Planned) -> Result<()> {
    let key = planned.key.len() as u64;
    let old = planned.old.as_ref().map_or(0, |old| key + old.value.len());
    let (keys, bytes) = match &planned.change {
        Change::None | Change::AddSibling => return Ok(()),
        Change::Delete => (0, 0),
        Change::Put { value: NewValue::Given(value), .. } => (1, key + value.len()),
        Change::Put { value: NewValue::Made(value), .. } => (1, key + value.len() as u64),
    };
    space.keys = space.keys + keys - u64::from(planned.old.is_some());
    space.bytes = space.bytes + bytes - old;
    let max = (
        space.settings.max_keys.unwrap_or(limits::STATE_KEYS_MAX),
        space.settings.max_bytes.unwrap_or(limits::STATE_BYTES_MAX),
    );
    let grows = bytes > old || (keys > 0 && planned.old.is_none());
    if !grows || (space.keys <= max.0 && space.bytes <= max.1) {
        return Ok(());
    }
    let message = format!(
        "space `{}` would have `{}` keys and `{}` bytes, the limits are {} and {}",
        planned.space, space.keys, space.bytes, max.0, max.1
    );
    Err(Error::new(Code::SpaceFull, message).hint("delete keys, let values expire, or set higher limits for the space"))
}

impl Write<'_> {
    /// The version that the key has; zero where it has no value.
    fn version(&self) -> Seq {
        self.old.map_or(Seq::ZERO, |old| old.version)
    }

    /// Whether the writer saw what is there.
    fn saw_latest(&self) -> bool {
        self.saw == Some(self.version())
    }

    /// Whether the writer saw something else than what is there.
    fn saw_other(&self) -> bool {
        self.saw.is_some_and(|saw| saw != self.version())
    }

    fn conflict(&self, incoming: Option<&Payload>, winner: Option<Winner>) -> PlannedConflict {
        let saw = self.saw.unwrap_or(Seq::ZERO);
        PlannedConflict { policy: self.policy, incoming: incoming.cloned(), saw, winner }
    }

    fn delete(&self) -> Verdict {
        match (self.old, self.policy) {
            (None, _) => (Change::None, WriteOutcome::Absent, None),
            (Some(_), MergePolicy::Reject) if self.saw_other() => {
                (Change::None, WriteOutcome::Rejected, Some(self.conflict(None, None)))
            }
            // A change wins over a removal that did not see it.
            (Some(_), _) if self.saw_other() => {
                (Change::None, WriteOutcome::Superseded, Some(self.conflict(None, Some(Winner::Current))))
            }
            (Some(_), _) => (Change::Delete, WriteOutcome::Deleted, None),
        }
    }

    fn put(&self, state: &mut State, value: &Payload, ttl: Option<Span>, stamp: Option<Stamp>) -> Result<Verdict> {
        let given = self.stamp(stamp)?;
        let expires = ttl.map(|ttl| self.now.after(ttl));
        let put = |value, parts| Change::Put { value, parts, stamp: given, expires };
        let as_given = || put(NewValue::Given(value.clone()), Parts::None);
        match self.policy {
            MergePolicy::Reject if self.saw_other() => {
                Ok((Change::None, WriteOutcome::Rejected, Some(self.conflict(Some(value), None))))
            }
            MergePolicy::Reject => Ok((as_given(), WriteOutcome::Written, None)),
            MergePolicy::Agent => match self.old {
                Some(old) if !self.saw_latest() && content_hash(&old.value) != content_hash(value) => {
                    conflicts::check_sibling(state, self.space, self.key, old)?;
                    Ok((Change::AddSibling, WriteOutcome::Undecided, Some(self.conflict(Some(value), None))))
                }
                _ => Ok((as_given(), WriteOutcome::Written, None)),
            },
            _ => {
                let (winner, made, parts) = match self.policy {
                    MergePolicy::Text | MergePolicy::List => self.weave(state, value, stamp)?,
                    _ => self.merge(state, value, given)?,
                };
                let conflicts = self.saw_other() || (stamp.is_some() && self.old.is_some() && !self.saw_latest());
                let conflict = conflicts.then(|| self.conflict(Some(value), Some(winner)));
                Ok(match winner {
                    Winner::Current => (Change::None, WriteOutcome::Superseded, conflict),
                    Winner::Incoming => (put(made, parts), WriteOutcome::Written, conflict),
                    Winner::Both => (put(made, parts), WriteOutcome::Merged, conflict),
                })
            }
        }
    }

    /// The stamp of the write: its own, or the next of the key's clock.
    fn stamp(&self, stamp: Option<Stamp>) -> Result<Stamp> {
        let last = self.old.map(|old| old.stamp).unwrap_or_default();
        let after_last = Stamp { time: last.time, count: last.count.saturating_add(1) };
        let Some(stamp) = stamp else {
            let now = Stamp { time: self.now, count: 0 };
            return Ok(if self.old.is_none() { now } else { now.max(after_last) });
        };
        let latest = self.now.after(Span::from_secs(limits::STATE_STAMP_AHEAD_SECONDS_MAX));
        if stamp.time > latest {
            let message = format!("the stamp of the write, `{}`, is later than `{latest}`", stamp.time);
            return Err(Error::new(Code::BadRequest, message)
                .hint("set the writer's clock: it may be a minute ahead of the server's, and no more"));
        }
        // What a writer has seen comes before what it writes.
        Ok(if self.old.is_some() && self.saw_latest() { stamp.max(after_last) } else { stamp })
    }

    /// Merges the value with the one that is there: whose is kept, the value, and the marks of its parts.
    fn merge(&self, state: &mut State, value: &Payload, stamp: Stamp) -> Result<(Winner, NewValue, Parts)> {
        let incoming = self.read(state, value)?;
        let current = self.old.map(|old| self.read(state, &old.value)).transpose()?;
        let base = self.base(state)?;
        if let (Some(expression), Some(current)) = (self.expression(), &current) {
            let merged = expression::merge(state, expression, (current, &incoming), base.as_ref())?;
            let value = match merged.winner {
                Winner::Incoming => NewValue::Given(value.clone()),
                _ => NewValue::Made(encode(&merged.value)),
            };
            return Ok((merged.winner, value, Parts::None));
        }
        let merged = merge(
            self.policy,
            current.as_ref().zip(self.old).map(|(value, old)| Current {
                value,
                version: old.version,
                stamp: old.stamp,
                marks: old.marks.as_deref(),
            }),
            Incoming {
                value: &incoming,
                saw: self.saw.unwrap_or(Seq::ZERO),
                base: base.as_ref(),
                stamp,
                seq: self.seq,
            },
        )?;
        let as_written = merged.value == incoming && merged.marks.is_none();
        let value = if as_written { NewValue::Given(value.clone()) } else { NewValue::Made(encode(&merged.value)) };
        Ok((merged.winner, value, merged.marks.map_or(Parts::None, Parts::Marks)))
    }

    /// Weaves the value into the one that is there: whose is kept, the value, and where its elements come from.
    fn weave(&self, state: &mut State, value: &Payload, stamp: Option<Stamp>) -> Result<(Winner, NewValue, Parts)> {
        let known = weave::check_seen(self.key, self.old, self.saw);
        let known = if self.told.is_none() { known.map(|()| true)? } else { known.is_ok() };
        let incoming = self.read(state, value)?;
        let current = self.old.map(|old| self.read(state, &old.value)).transpose()?;
        let seen = if known { self.kept(state).map(Some) } else { Ok(None) };
        let present = current.as_ref().zip(self.old).map(|(value, entry)| Present { value, entry });
        let written = Written { value: &incoming, saw: self.saw, base: None, stamp, seq: self.seq };
        let woven = match (seen, self.told) {
            (Ok(Some(base)), _) => weave::weave(self.policy, present, Written { base: base.as_ref(), ..written })?,
            (Err(error), told) if told.is_none() || error.code != Code::VersionGone => return Err(error),
            (_, told) => {
                let base = told.map(|told| self.read(state, told)).transpose()?;
                weave::weave_apart(self.policy, present, Written { base: base.as_ref(), ..written })?
            }
        };
        state.charge_cost(woven.steps / STEPS_PER_COST);
        Ok((woven.winner, NewValue::Made(woven.value), Parts::Sequence(woven.sequence)))
    }

    /// The expression that merges the write with what it had not seen.
    fn expression(&self) -> Option<&Expression> {
        let applies = self.policy == MergePolicy::Expression && !self.saw_latest();
        if applies { self.space.merge_of(self.key) } else { None }
    }

    /// What the writer saw, where the policy depends on it: that version, or what the writer says where it is not kept.
    fn base(&self, state: &mut State) -> Result<Option<Value>> {
        match (self.kept(state), self.told) {
            (Err(error), Some(told)) if error.code == Code::VersionGone => self.read(state, told).map(Some),
            (kept, _) => kept,
        }
    }

    /// What the space keeps of the version that the writer saw, where the policy depends on it.
    fn kept(&self, state: &mut State) -> Result<Option<Value>> {
        let depends = matches!(
            self.policy,
            MergePolicy::Counter
                | MergePolicy::Set
                | MergePolicy::Map
                | MergePolicy::Expression
                | MergePolicy::Text
                | MergePolicy::List
        );
        let Some(saw) = self.saw.filter(|saw| depends && *saw > Seq::ZERO) else { return Ok(None) };
        let seen = match self.old {
            Some(old) if old.version == saw => Some(old.value.clone()),
            _ => changes::seen(state, self.space, self.key, saw)?,
        };
        seen.map(|seen| self.read(state, &seen)).transpose()
    }

    /// Reads a value that is to be merged.
    fn read(&self, state: &mut State, value: &Payload) -> Result<Value> {
        let (bytes, max) = (value.len(), limits::STATE_MERGE_BYTES_MAX);
        if bytes > max {
            let message =
                format!("a value of key `{}` has `{bytes}` bytes, the limit of what is merged is {max}", self.key);
            return Err(Error::new(Code::PayloadTooLarge, message).hint("use several keys, or the policy `reject`"));
        }
        state.value_of("a stored value", value)
    }
}
