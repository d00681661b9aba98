//! `DecideConflict`: the value of a key is decided.
//!
//! For: conflicts that wait for a decision, and deciding others again. Not for: the rules of policies.
//! Invariant: the decision and the value are one record.

use consort_types::{
    Code, Error, Name, Payload, Result, Seq, bounds, limits,
    state::{Position, Stamp, Writer},
};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    space::{
        conflicts,
        execute::{self, NewEntry},
        plan::Parts,
        rows::{ChangeKind, Space, StateEntry},
        spaces::{self, Target},
    },
};

/// What is decided.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Choice {
    /// One of the values of the conflict, counted from 0: the one that was there, and then those that came.
    #[n(0)]
    Candidate(#[n(0)] u32),
    /// Another value.
    #[n(1)]
    Value(#[n(0)] Payload),
}

/// Decides a conflict: the key has the chosen value from then on.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct DecideConflict {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The space.
    #[n(1)]
    pub space: String,
    /// The conflict.
    #[n(2)]
    pub conflict: Position,
    /// What is decided.
    #[n(3)]
    pub choice: Choice,
    /// Who decides.
    #[n(4)]
    pub by: Writer,
    /// Why.
    #[n(5)]
    pub comment: Option<String>,
}

impl DecideConflict {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check("space", &self.space)?;
        bounds::check_optional_text("comment", self.comment.as_deref(), limits::ERROR_MESSAGE_BYTES_MAX)?;
        self.by.check()
    }

    /// Answers the version of the key.
    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<Seq> {
        let mut space = spaces::known(ctx.state, &self.namespace, &self.space)?;
        let conflict = conflicts::known(ctx.state, space.id, self.conflict)?;
        let value = match &self.choice {
            Choice::Value(value) => Some(value.clone()),
            Choice::Candidate(place) => match conflict.candidates.get(*place as usize) {
                Some(candidate) => candidate.value.clone(),
                None => return Err(no_candidate(*place, conflict.candidates.len())),
            },
        };
        let old = spaces::entry(ctx.state, space.id, &conflict.key)?;
        conflicts::decided(ctx, &mut space, self.conflict, value.as_ref(), &self.by, self.comment.as_deref())?;
        self.write(ctx, &mut space, &conflict.key, old, value)?;
        ctx.state.tables.spaces.put(NamedKey::of(&self.namespace, &self.space), space);
        Ok(ctx.seq)
    }

    fn write(
        &self,
        ctx: &mut ApplyContext<'_>,
        space: &mut Space,
        key: &str,
        old: Option<StateEntry>,
        value: Option<Payload>,
    ) -> Result<()> {
        // Another conflict of the key that waits is decided with it.
        if let Some(at) = old.as_ref().and_then(|old| old.undecided).filter(|at| *at != self.conflict) {
            conflicts::decided(ctx, space, at, value.as_ref(), &self.by, self.comment.as_deref())?;
        }
        let had = old.as_ref().map_or(0, |old| key.len() as u64 + old.value.len());
        space.keys = space.keys + u64::from(value.is_some()) - u64::from(old.is_some());
        space.bytes = space.bytes + value.as_ref().map_or(0, |value| key.len() as u64 + value.len()) - had;
        match (old, value) {
            (old, Some(value)) => {
                ctx.retain(&value)?;
                let expires = old.as_ref().and_then(|old| old.expires).map(|expiry| expiry.at);
                let stamp = Stamp { time: ctx.now, count: 0 };
                let mut target = Target { namespace: &self.namespace, name: &self.space, space, by: &self.by };
                let new = NewEntry { value, parts: Parts::None, stamp, expires, kind: ChangeKind::Decided };
                execute::put(ctx, &mut target, key, old, new)
            }
            (Some(old), None) => execute::remove(ctx, space, key, &old, (ChangeKind::Decided, &self.by)),
            (None, None) => Ok(()),
        }
    }
}

fn no_candidate(place: u32, count: usize) -> Error {
    Error::new(Code::BadRequest, format!("the conflict has no value `{place}`; it has {count}, counted from 0"))
        .hint("`consort state conflicts` shows them")
}
