//! What two servers have agreed upon about a key, and what is to be done next.
//!
//! For: the decision, from both sides and their marks, where the other side is a server of Consort too. Not for: doing it
//! (see `carry`).
//! Invariant: a mark tells exactly which version of the other side a side's value includes. So that it does, a value that
//! went one way is answered the other way before another one goes that way again: else what it already has would be counted
//! a second time.

use std::cmp::Ordering;

use consort_peering::Direction;
use consort_types::{Code, Error, Result};
use serde::{Deserialize, Serialize};

/// One of two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The one that the mirror runs beside.
    Near,
    /// The one of its address.
    Far,
}

impl End {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Near => Self::Far,
            Self::Far => Self::Near,
        }
    }
}

/// What is noted at one side about a key, each time that something of the other side has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Which of the turns of both sides it was, counted from 1.
    pub(crate) turn: u64,
    /// The version of the other side that this side's value includes since; 0 where the other side had none.
    pub(crate) peer: u64,
    /// Whether both sides were equal, so that nothing was written but the mark.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) equal: bool,
    /// The value that the other side had, as JSON: what a later write to it is based on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
}

/// A mark, and the version of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) version: u64,
    pub(crate) mark: Mark,
}

/// A key at one side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Half {
    /// Its version; 0 where it has no value.
    pub(crate) version: u64,
    /// Its value as JSON.
    pub(crate) text: Option<String>,
    /// When it was written, and when it expires, in microseconds since 1970.
    pub(crate) written: u64,
    pub(crate) expires: Option<u64>,
    /// Whether a conflict about it waits for a decision.
    pub(crate) undecided: bool,
    pub(crate) kept: Option<Kept>,
}

/// A key at both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Halves {
    pub(crate) near: Half,
    pub(crate) far: Half,
    /// Whether two writers that write the same have made two changes, as where each of them counts.
    pub(crate) adds: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: both are equal, or what is there waits for a decision.
    Nothing,
    /// Neither side has a value: the marks go.
    Forget,
    /// The mark of this side is written alone. Where it is not `settled` that its value includes the other one, the mark
    /// is written only while the value is what was read.
    Note { into: End, settled: bool },
    /// The value of the other side is written into this one, by one that has seen what it includes.
    Carry { into: End },
    /// The value of the other side replaces that of this one.
    Replace { into: End },
}

impl Halves {
    pub(crate) fn of(&self, end: End) -> &Half {
        match end {
            End::Near => &self.near,
            End::Far => &self.far,
        }
    }

    pub(crate) fn of_mut(&mut self, end: End) -> &mut Half {
        match end {
            End::Near => &mut self.near,
            End::Far => &mut self.far,
        }
    }

    /// Whether each side's mark tells of the version that the other one has.
    pub(crate) fn are_settled(&self) -> bool {
        !self.has_changed(End::Near) && !self.has_changed(End::Far)
    }

    fn are_equal(&self) -> bool {
        self.near.text == self.far.text
    }

    /// Whether both sides have the same, so that nothing needs to be written. Where both have changed what they had in
    /// common, equal values may be two changes.
    fn need_no_write(&self) -> bool {
        let both_changed = self.has_changed(End::Near) && self.has_changed(End::Far);
        self.are_equal() && !self.expire() && !(self.adds && both_changed)
    }

    fn expire(&self) -> bool {
        self.near.expires.is_some() || self.far.expires.is_some()
    }

    /// The mark of a side, where it counts. One whose other side has none tells of another life of the key: that side was
    /// emptied, or the marks were removed; unless it is the first of all.
    pub(crate) fn mark(&self, end: End) -> Option<&Mark> {
        let (here, there) = (self.of(end), self.of(end.other()));
        let mark = here.kept.as_ref().map(|kept| &kept.mark)?;
        let first = mark.turn == 1 && there.version > 0 && there.version >= mark.peer;
        (there.kept.is_some() || first).then_some(mark)
    }

    /// Whether a side has something that the other one does not include.
    fn has_changed(&self, end: End) -> bool {
        self.mark(end.other()).map_or(0, |mark| mark.peer) != self.of(end).version
    }

    /// The turn of a mark that is written now: the next one; one that only repeats that both are equal is of the same turn.
    pub(crate) fn turn(&self, into: End, equal: bool) -> u64 {
        if let Some((end, kept)) = self.latest()
            && (equal, kept.mark.equal, end) == (true, true, into)
        {
            return kept.mark.turn;
        }
        let turn = |end| self.of(end).kept.as_ref().map_or(0, |kept| kept.mark.turn);
        if self.of(into.other()).kept.is_none() && self.mark(into).is_none() {
            return 1;
        }
        1 + turn(End::Near).max(turn(End::Far))
    }

    /// The side that something came into last.
    fn latest(&self) -> Option<(End, &Kept)> {
        let turn = |end| self.mark(end).map_or(0, |mark| mark.turn);
        let end = match turn(End::Near).cmp(&turn(End::Far)) {
            Ordering::Greater => End::Near,
            _ => End::Far,
        };
        self.mark(end)?;
        self.of(end).kept.as_ref().map(|kept| (end, kept))
    }

    /// Refuses marks that one side cannot have made from what the other one has now.
    fn check(&self) -> Result<()> {
        let (Some(near), Some(far)) = (self.mark(End::Near), self.mark(End::Far)) else { return Ok(()) };
        let (mark, other) = if near.turn > far.turn { (near, &self.far) } else { (far, &self.near) };
        let goes_back = other.version > 0 && other.version < mark.peer;
        if near.turn.abs_diff(far.turn) <= TURNS_APART && !goes_back {
            return Ok(());
        }
        let message = format!(
            "one side was taken back to an earlier state: it has version `{}` and turn `{}`, where the other one has seen \
             version `{}` and turn `{}`",
            other.version,
            near.turn.min(far.turn),
            mark.peer,
            mark.turn
        );
        Err(Error::new(Code::MirrorTakenBack, message)
            .hint("docs/mirror.md says under \"Two servers\" how both sides are compared anew"))
    }
}

/// Turns that the marks of both sides can be apart: that both are equal, and then a value, may come into one side.
const TURNS_APART: u64 = 2;

/// Decides.
///
/// # Errors
/// [`Code::MirrorTakenBack`] where one side was taken back to an earlier state.
pub(crate) fn decide(direction: Direction, both: &Halves) -> Result<Step> {
    if both.near.text.is_none() && both.far.text.is_none() {
        let none = both.near.kept.is_none() && both.far.kept.is_none();
        return Ok(if none { Step::Nothing } else { Step::Forget });
    }
    if both.near.undecided || both.far.undecided {
        return Ok(Step::Nothing);
    }
    match direction {
        Direction::Both => {}
        Direction::Out => return Ok(out(both)),
        Direction::In => return Ok(take(both)),
    }
    both.check()?;
    Ok(match both.latest() {
        Some((into, kept)) if !kept.mark.equal => answer(both, into, kept),
        _ => next(both),
    })
}

/// What answers a value that came into a side.
fn answer(both: &Halves, into: End, kept: &Kept) -> Step {
    let (there, back) = (both.of(into), into.other());
    let as_it_came = there.text == kept.mark.value && (there.text.is_none() || there.version == kept.version);
    if as_it_came {
        return Step::Note { into: back, settled: true };
    }
    if both.need_no_write() { Step::Note { into: back, settled: false } } else { Step::Carry { into: back } }
}

/// What comes next, where each mark tells exactly what its side includes.
fn next(both: &Halves) -> Step {
    let (near, far) = (both.has_changed(End::Near), both.has_changed(End::Far));
    match (near, far) {
        (false, false) => Step::Nothing,
        (_, true) if both.need_no_write() => Step::Note { into: End::Near, settled: false },
        (true, false) if both.need_no_write() => Step::Note { into: End::Far, settled: false },
        (true, _) => Step::Carry { into: End::Far },
        (false, true) => Step::Carry { into: End::Near },
    }
}

/// To the other side only: what is written there is replaced.
fn out(both: &Halves) -> Step {
    let kept = both.far.kept.as_ref().filter(|kept| kept.mark.peer == both.near.version);
    // What the policy there has made of it stays.
    let stays = kept.is_some_and(|kept| kept.version == both.far.version);
    let same = both.are_equal() && (kept.is_some() || !both.expire());
    if stays || same { Step::Nothing } else { Step::Replace { into: End::Far } }
}

/// From the other side only: what is changed there replaces what is here.
fn take(both: &Halves) -> Step {
    let seen = both.near.kept.as_ref().map_or(0, |kept| kept.mark.peer);
    if seen == both.far.version {
        Step::Nothing
    } else if both.are_equal() && !both.expire() {
        Step::Note { into: End::Near, settled: false }
    } else {
        Step::Replace { into: End::Near }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn half(version: u64, text: &str, kept: Option<(u64, Mark)>) -> Half {
        Half {
            version,
            text: (version > 0).then(|| text.to_owned()),
            kept: kept.map(|(version, mark)| Kept { version, mark }),
            ..Half::default()
        }
    }

    fn mark(turn: u64, peer: u64, value: &str) -> Mark {
        Mark { turn, peer, equal: false, value: Some(value.to_owned()) }
    }

    fn equal(turn: u64, peer: u64, value: &str) -> Mark {
        Mark { equal: true, ..mark(turn, peer, value) }
    }

    fn both(near: Half, far: Half) -> Step {
        decide(Direction::Both, &Halves { near, far, adds: false }).unwrap()
    }

    #[test]
    fn a_key_of_one_side_is_carried_and_noted_and_then_both_rest() {
        assert_eq!(both(half(3, "1", None), Half::default()), Step::Carry { into: End::Far });
        let came = half(9, "1", Some((9, mark(1, 3, "1"))));
        assert_eq!(both(half(3, "1", None), came.clone()), Step::Note { into: End::Near, settled: true });
        // It has changed here meanwhile: what came there is included all the same.
        assert_eq!(both(half(4, "2", None), came.clone()), Step::Note { into: End::Near, settled: true });
        let noted = Some((5, equal(2, 9, "1")));
        assert_eq!(both(half(3, "1", noted.clone()), came.clone()), Step::Nothing);
        assert_eq!(both(half(4, "2", noted.clone()), came.clone()), Step::Carry { into: End::Far });
        let changed = half(12, "3", Some((9, mark(1, 3, "1"))));
        assert_eq!(both(half(3, "1", noted.clone()), changed.clone()), Step::Carry { into: End::Near });
        assert_eq!(both(half(4, "2", noted), changed), Step::Carry { into: End::Far });
    }

    #[test]
    fn a_value_that_was_merged_goes_back_before_another_one_comes() {
        let merged = half(14, "18", Some((14, mark(3, 6, "15"))));
        let near = |version, text| half(version, text, Some((5, equal(2, 9, "10"))));
        assert_eq!(both(near(6, "15"), merged.clone()), Step::Carry { into: End::Near });
        assert_eq!(both(near(7, "16"), merged.clone()), Step::Carry { into: End::Near });
        let back = half(8, "18", Some((8, mark(4, 14, "18"))));
        assert_eq!(both(back, merged), Step::Note { into: End::Far, settled: true });
    }

    #[test]
    fn equal_values_are_noted_and_removals_are_carried() {
        assert_eq!(both(half(3, "1", None), half(4, "1", None)), Step::Note { into: End::Near, settled: false });
        let near = half(3, "1", Some((9, equal(1, 4, "1"))));
        assert_eq!(both(near, half(4, "1", None)), Step::Note { into: End::Far, settled: false });
        let (here, there) = (Some((9, equal(2, 4, "1"))), Some((8, mark(1, 3, "1"))));
        assert_eq!(both(half(0, "", here.clone()), half(4, "1", there.clone())), Step::Carry { into: End::Far });
        assert_eq!(both(half(3, "1", here.clone()), half(0, "", there.clone())), Step::Carry { into: End::Near });
        assert_eq!(both(half(0, "", here), half(0, "", there)), Step::Forget);
    }

    #[test]
    fn an_emptied_side_is_filled_and_one_that_was_taken_back_is_told() {
        let near = half(30, "7", Some((31, equal(9, 400, "7"))));
        assert_eq!(both(near.clone(), Half::default()), Step::Carry { into: End::Far });
        let filled = half(5, "7", Some((5, mark(10, 30, "7"))));
        assert_eq!(both(near.clone(), filled), Step::Note { into: End::Near, settled: true });
        for back in [half(380, "6", Some((381, mark(8, 29, "6")))), half(500, "6", Some((381, mark(3, 29, "6"))))] {
            let error = decide(Direction::Both, &Halves { near: near.clone(), far: back, adds: false }).unwrap_err();
            assert_eq!(error.code, Code::MirrorTakenBack);
        }
    }

    #[test]
    fn what_waits_for_a_decision_is_left_alone_and_a_direction_binds() {
        let waits = Half { undecided: true, ..half(7, "1", None) };
        assert_eq!(both(waits, half(4, "2", None)), Step::Nothing);
        let one = |direction, near, far| decide(direction, &Halves { near, far, adds: false }).unwrap();
        let (near, far) = (half(7, "1", None), half(4, "2", None));
        assert_eq!(one(Direction::Out, near.clone(), far.clone()), Step::Replace { into: End::Far });
        assert_eq!(one(Direction::In, near.clone(), far), Step::Replace { into: End::Near });
        let sorted = half(9, "[1,2]", Some((9, mark(1, 7, "[2,1]"))));
        assert_eq!(
            one(Direction::Out, near.clone(), sorted),
            Step::Nothing,
            "what the policy there has made of it stays"
        );
        assert_eq!(one(Direction::In, near, Half::default()), Step::Nothing, "it has never come from there");
    }

    /// A server that has one counter.
    #[derive(Default)]
    struct Counter {
        now: u64,
        half: Half,
        history: BTreeMap<u64, i64>,
    }

    impl Counter {
        fn value(&self) -> i64 {
            self.half.text.as_ref().map_or(0, |text| text.parse().unwrap())
        }

        fn set(&mut self, value: i64) {
            self.now += 1;
            (self.half.version, self.half.text) = (self.now, Some(value.to_string()));
            self.history.insert(self.now, value);
        }

        /// Writes a value that includes this version, and the mark that tells of it.
        fn take(&mut self, value: i64, seen: u64, mark: Mark) {
            let base = self.history.get(&seen).copied().unwrap_or(0);
            self.set(self.value() + value - base);
            self.half.kept = Some(Kept { version: self.now, mark });
        }
    }

    /// Does what was decided from what was read, where that is still so.
    fn act(sides: &mut [Counter; 2], both: &Halves, step: Step) {
        let (into, writes, settled) = match step {
            Step::Note { into, settled } => (into, false, settled),
            Step::Carry { into } => (into, true, true),
            step => panic!("{step:?}"),
        };
        let from = both.of(into.other());
        let mark =
            Mark { turn: both.turn(into, !writes), peer: from.version, equal: !writes, value: from.text.clone() };
        let side = &mut sides[usize::from(into == End::Far)];
        if side.half.kept != both.of(into).kept || !(settled || side.half.version == both.of(into).version) {
            return;
        }
        if writes {
            let value = from.text.as_ref().map_or(0, |text| text.parse().unwrap());
            side.take(value, both.mark(into.other()).map_or(0, |mark| mark.peer), mark);
        } else {
            side.now += 1;
            side.half.kept = Some(Kept { version: side.now, mark });
        }
    }

    fn settle(sides: &mut [Counter; 2]) {
        for steps in 0.. {
            let both = Halves { near: sides[0].half.clone(), far: sides[1].half.clone(), adds: true };
            match decide(Direction::Both, &both).unwrap() {
                Step::Nothing => break,
                step => act(sides, &both, step),
            }
            assert!(steps < 8, "it ends");
        }
    }

    #[test]
    fn sums_are_exact_however_writes_and_steps_are_mixed() {
        let mut chance = 1_u64;
        let mut below = |bound: u64| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % bound
        };
        for _ in 0..2_000 {
            let mut sides = [Counter::default(), Counter::default()];
            let mut sum = 0;
            let mut add = |sides: &mut [Counter; 2], side: u64, number: u64| {
                let side = &mut sides[usize::try_from(side).unwrap()];
                side.set(side.value() + i64::try_from(number).unwrap());
                sum += i64::try_from(number).unwrap();
            };
            for _ in 0..below(30) {
                if below(2) == 0 {
                    add(&mut sides, below(2), below(3));
                }
                let both = Halves { near: sides[0].half.clone(), far: sides[1].half.clone(), adds: true };
                let step = decide(Direction::Both, &both).unwrap();
                // What was read may be old when it is written, and a process may end before it writes.
                if below(3) == 0 {
                    add(&mut sides, below(2), below(3));
                }
                if step != Step::Nothing && below(4) > 0 {
                    act(&mut sides, &both, step);
                }
            }
            settle(&mut sides);
            assert_eq!((sides[0].value(), sides[1].value()), (sum, sum));
        }
    }
}
