//! What is to be done about a key.
//!
//! For: the decision, from both sides and what they last agreed upon. Not for: doing it.
//! Invariant: a key that is equal on both sides is never written, except for the time that a value stays; so nothing is
//! sent back to where it came from.

use consort_peering::Direction;

use crate::{
    peer::{Content, Entry},
    values::{Digest, Mark},
};

/// A key of the state store.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Ours {
    /// Its version; 0 where it has no value.
    pub(crate) version: u64,
    /// Its value as JSON.
    pub(crate) text: Option<String>,
    /// When it expires, in microseconds since 1970.
    pub(crate) expires: Option<u64>,
}

/// A change of the other side that the state store has answered, and that is not yet part of the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Carried {
    /// What the other side had.
    pub(crate) digest: Option<Digest>,
    /// The version of the transaction that took it; 0 where none did.
    pub(crate) version: u64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing.
    Nothing,
    /// Both are equal: only the mark is written.
    Note,
    /// The value of the state store goes out.
    Out,
    /// The value of the other side comes in, written by one that has seen this version.
    In {
        /// The version that the other side had seen; 0 where it had seen no value.
        seen: u64,
        /// Whether the state store has changed since then.
        contended: bool,
    },
}

/// Decides. `carried` is what the state store has answered already.
pub(crate) fn decide(direction: Direction, ours: &Ours, theirs: &Entry, carried: Option<Carried>) -> Action {
    if matches!(theirs.content, Content::Foreign(_)) {
        return Action::Nothing;
    }
    let (here, there) = (ours.text.as_deref().map(Digest::of), theirs.content.digest());
    let base = theirs.mark;
    let seen = base.map_or(0, |mark| mark.version);
    let ours_changed = ours.version != seen;
    let theirs_changed = base.and_then(|mark| mark.digest) != there;
    if here == there {
        return equal(direction, ours, theirs, base);
    }
    let answered = carried.is_some_and(|carried| carried.digest == there);
    match (ours_changed, theirs_changed && !answered) {
        (_, true) if direction.is_in() => Action::In { seen, contended: ours_changed },
        (true, _) | (_, true) if direction.is_out() => Action::Out,
        // A mirror that only takes leaves what the policy of the space has decided here.
        _ => Action::Nothing,
    }
}

fn equal(direction: Direction, ours: &Ours, theirs: &Entry, base: Option<Mark>) -> Action {
    let digest = theirs.content.digest();
    let agreed = digest.map(|digest| Mark { version: ours.version, digest: Some(digest) });
    if base == agreed {
        return Action::Nothing;
    }
    let newer = base.is_some_and(|mark| mark.version < ours.version);
    // The same value written again: the time that it stays may be another one.
    if newer && direction.is_out() && (ours.expires.is_some() || theirs.expires) { Action::Out } else { Action::Note }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(version: u64, text: &str) -> Ours {
        Ours { version, text: (version > 0).then(|| text.to_owned()), expires: None }
    }

    fn theirs(raw: Option<&str>, mark: Option<(u64, Option<&str>)>) -> Entry {
        Entry {
            content: raw.map_or(Content::Absent, |raw| Content::of(raw.into())),
            revision: 0,
            expires: false,
            mark: mark.map(|(version, text)| Mark { version, digest: text.map(Digest::of) }),
        }
    }

    fn both(ours: &Ours, theirs: &Entry) -> Action {
        decide(Direction::Both, ours, theirs, None)
    }

    #[test]
    fn what_came_from_one_side_is_not_sent_back() {
        let settled = theirs(Some("1"), Some((5, Some("1"))));
        assert_eq!(both(&ours(5, "1"), &settled), Action::Nothing);
        // The echo of a write of either side: the value is there, only the mark is old.
        assert_eq!(both(&ours(6, "2"), &theirs(Some("2"), Some((5, Some("1"))))), Action::Note);
        assert_eq!(both(&ours(6, r#""a""#), &theirs(Some("a"), None)), Action::Note);
        assert_eq!(both(&ours(0, ""), &theirs(None, Some((5, Some("1"))))), Action::Note);
        assert_eq!(both(&ours(0, ""), &theirs(None, None)), Action::Nothing);
    }

    #[test]
    fn the_side_that_changed_is_carried_to_the_other_also_where_it_removed_the_key() {
        let base = Some((5, Some("1")));
        assert_eq!(both(&ours(6, "2"), &theirs(Some("1"), base)), Action::Out);
        assert_eq!(both(&ours(0, ""), &theirs(Some("1"), base)), Action::Out);
        assert_eq!(both(&ours(5, "1"), &theirs(Some("2"), base)), Action::In { seen: 5, contended: false });
        assert_eq!(both(&ours(5, "1"), &theirs(None, base)), Action::In { seen: 5, contended: false });
        assert_eq!(both(&ours(5, "1"), &theirs(None, None)), Action::Out, "an emptied side is filled, not followed");
        assert_eq!(both(&ours(0, ""), &theirs(Some("1"), None)), Action::In { seen: 0, contended: false });
    }

    #[test]
    fn where_both_changed_the_state_store_is_asked_once_and_its_answer_goes_out() {
        let (here, there) = (ours(7, "3"), theirs(Some("2"), Some((5, Some("1")))));
        assert_eq!(both(&here, &there), Action::In { seen: 5, contended: true });
        let carried = Carried { digest: Some(Digest::of("2")), version: 0 };
        assert_eq!(decide(Direction::Both, &here, &there, Some(carried)), Action::Out);
        assert_eq!(decide(Direction::In, &here, &there, Some(carried)), Action::Nothing);
        let later = theirs(Some("4"), Some((5, Some("1"))));
        assert_eq!(decide(Direction::Both, &here, &later, Some(carried)), Action::In { seen: 5, contended: true });
    }

    #[test]
    fn a_direction_binds() {
        let base = Some((5, Some("1")));
        assert_eq!(decide(Direction::Out, &ours(5, "1"), &theirs(Some("2"), base), None), Action::Out);
        assert_eq!(decide(Direction::In, &ours(6, "2"), &theirs(Some("1"), base), None), Action::Nothing);
        let foreign = Entry { content: Content::Foreign("a list".to_owned()), ..theirs(None, base) };
        assert_eq!(both(&ours(6, "2"), &foreign), Action::Nothing);
    }

    #[test]
    fn the_same_value_goes_out_again_where_it_has_a_time() {
        let again = Ours { expires: Some(1), ..ours(6, "1") };
        let there = theirs(Some("1"), Some((5, Some("1"))));
        assert_eq!(both(&again, &there), Action::Out);
        assert_eq!(both(&ours(6, "1"), &Entry { expires: true, ..there.clone() }), Action::Out);
        assert_eq!(both(&ours(6, "1"), &there), Action::Note);
    }
}
