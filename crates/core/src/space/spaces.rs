//! Spaces by name.
//!
//! For: finding a space, and making one. Not for: what is in it.
//! Invariant: a namespace has at most [`limits::STATE_SPACES_MAX`] spaces.

use consort_types::{
    Code, Error, Result, Time, limits,
    state::{Position, SpaceId, SpaceSettings, Writer},
};

use crate::{
    key::NamedKey,
    registry::agents::PAST,
    space::{
        keys::StateKey,
        rows::{Space, StateEntry},
    },
    state::State,
};

/// The space, where there is one.
pub(crate) fn find(state: &mut State, namespace: &str, name: &str) -> Result<Option<Space>> {
    state.tables.spaces.get(&NamedKey::of(namespace, name))
}

/// The space.
///
/// # Errors
/// [`Code::SpaceNotFound`] where there is none.
pub(crate) fn known(state: &mut State, namespace: &str, name: &str) -> Result<Space> {
    find(state, namespace, name)?.ok_or_else(|| {
        Error::new(Code::SpaceNotFound, format!("namespace `{namespace}` has no space `{name}`"))
            .hint("`consort state spaces` shows those that are there; the first write into one makes it")
    })
}

/// The value of a key, where it has one.
pub(crate) fn entry(state: &mut State, space: SpaceId, key: &str) -> Result<Option<StateEntry>> {
    state.tables.state.get(&StateKey { space, key: key.to_owned() })
}

/// A new space, with the id `at` and made beside `made` others.
///
/// # Errors
/// [`Code::LimitReached`] where the namespace has as many as it may have.
pub(crate) fn new(state: &mut State, namespace: &str, id: SpaceId, created: Time, made: u32) -> Result<Space> {
    let max = limits::STATE_SPACES_MAX;
    let known = state.tables.spaces.count(&NamedKey::of(namespace, ""), &NamedKey::of(namespace, PAST), max)?;
    if known + made as usize >= max {
        let message = format!("namespace `{namespace}` has `{known}` spaces, the limit is {max}");
        return Err(Error::new(Code::LimitReached, message).hint("use keys with a prefix instead of more spaces"));
    }
    Ok(Space {
        id,
        settings: SpaceSettings::default(),
        created,
        keys: 0,
        bytes: 0,
        changes: 0,
        trimmed: id,
        last: id,
        conflicts: 0,
        undecided: 0,
        conflicts_total: 0,
        settled_from: Position::default(),
        merges: Vec::new(),
        announced: None,
    })
}

/// The keys of one space that are written, and the writer.
pub(crate) struct Target<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) space: &'a mut Space,
    pub(crate) by: &'a Writer,
}
