//! What a writer has changed: the edits between two sequences.
//!
//! For: finding few and readable edits between the value that a writer saw and the one that it writes, within a bound.
//! Not for: keeping or merging edits (see `sequence`).
//! Invariant: the result is a function of the two sequences, the same on every machine and in every version: a record of
//! the log means what this makes of it. The edits, done to the first, give the second.

use std::{
    cmp::{max, min},
    collections::BTreeMap,
    ops::Range,
};

use consort_types::limits;

/// Some elements in a place are replaced by others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    /// Elements of the first sequence that are before it.
    pub(crate) at: usize,
    /// Elements of the first sequence that are removed.
    pub(crate) removed: usize,
    /// Elements of the second sequence that come into their place.
    pub(crate) added: Range<usize>,
}

/// The edits between two sequences, in order; between two of them is at least one element that stays.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) edits: Vec<Edit>,
    /// Comparisons that finding them took.
    pub(crate) steps: u64,
}

/// Edits that one step of the search may hold: its trace has their square.
const DISTANCE_MAX: usize = 1_024;

/// What is left of the bound.
struct Meter {
    left: u64,
}

impl Meter {
    fn take(&mut self, steps: u64) -> bool {
        let enough = self.left >= steps;
        self.left = self.left.saturating_sub(steps);
        enough
    }
}

/// The edits between two texts: lines are compared, then words of lines that differ, then their scalar values from both
/// ends.
pub(crate) fn of_text(old: &[char], new: &[char]) -> Difference {
    within(|meter| {
        let mut found = Vec::new();
        for lines in aligned(&whole(old, new), (old, new), line_end, meter) {
            let words = aligned(&lines, (old, new), word_end, meter);
            let edits = words.iter().filter_map(|edit| trimmed(edit, old, new)).collect();
            found.extend(clean(edits));
        }
        found
    })
}

/// The edits between two lists of elements.
pub(crate) fn of_list(old: &[Vec<u8>], new: &[Vec<u8>]) -> Difference {
    within(|meter| aligned(&whole(old, new), (old, new), |_| 1, meter))
}

fn within(search: impl FnOnce(&mut Meter) -> Vec<Edit>) -> Difference {
    let bound = limits::STATE_DIFFERENCE_STEPS_MAX;
    let mut meter = Meter { left: bound };
    let edits = few(search(&mut meter));
    Difference { edits, steps: bound - meter.left }
}

/// One edit for all of them, where there are more than are kept apart.
fn few(edits: Vec<Edit>) -> Vec<Edit> {
    match (edits.first(), edits.last()) {
        (Some(first), Some(last)) if edits.len() > limits::STATE_EDITS_MAX => vec![joined(first, last)],
        _ => edits,
    }
}

/// The edit that replaces what two edits change and all between them.
fn joined(first: &Edit, last: &Edit) -> Edit {
    let removed = last.at + last.removed - first.at;
    Edit { at: first.at, removed, added: first.added.start..last.added.end }
}

fn whole<T>(old: &[T], new: &[T]) -> Edit {
    Edit { at: 0, removed: old.len(), added: 0..new.len() }
}

/// The edit without what is equal at its ends; `None` where nothing is left.
fn trimmed<T: PartialEq>(edit: &Edit, old: &[T], new: &[T]) -> Option<Edit> {
    let (old, added) = (&old[edit.at..edit.at + edit.removed], &new[edit.added.clone()]);
    let before = equal(old.iter().zip(added));
    let after = equal(old[before..].iter().rev().zip(added[before..].iter().rev()));
    let removed = old.len() - before - after;
    let added = edit.added.start + before..edit.added.end - after;
    (removed > 0 || !added.is_empty()).then_some(Edit { at: edit.at + before, removed, added })
}

fn equal<'a, T: PartialEq + 'a>(pairs: impl Iterator<Item = (&'a T, &'a T)>) -> usize {
    pairs.take_while(|(a, b)| a == b).count()
}

/// The end of the first line.
fn line_end(text: &[char]) -> usize {
    text.iter().position(|c| *c == '\n').map_or(text.len(), |at| at + 1)
}

/// The end of the first word, with all that is between it and the next one. Of scripts without spaces, each character is
/// a word. (What a word is must never change, so no table of Unicode is asked.)
fn word_end(text: &[char]) -> usize {
    let letter = |c: char| c.is_ascii_alphanumeric() || ('\u{c0}'..'\u{2000}').contains(&c);
    let alone = |c: char| c >= '\u{2e80}';
    let word = text.iter().take_while(|c| letter(**c)).count().max(1);
    word + text[word..].iter().take_while(|c| !letter(**c) && !alone(**c)).count()
}

/// Finer edits of an edit, by tokens of which `end` finds the first.
fn aligned<T: Ord>(edit: &Edit, sides: (&[T], &[T]), end: fn(&[T]) -> usize, meter: &mut Meter) -> Vec<Edit> {
    let Some(edit) = trimmed(edit, sides.0, sides.1) else { return Vec::new() };
    if edit.removed == 0 || edit.added.is_empty() {
        return vec![edit];
    }
    let mut numbers = BTreeMap::new();
    let old = tokens(&sides.0[edit.at..edit.at + edit.removed], end, &mut numbers);
    let new = tokens(&sides.1[edit.added.clone()], end, &mut numbers);
    let found = compare(&old.0, &new.0, numbers.len(), meter);
    let place = |found: Edit| Edit {
        at: edit.at + old.1[found.at],
        removed: old.1[found.at + found.removed] - old.1[found.at],
        added: edit.added.start + new.1[found.added.start]..edit.added.start + new.1[found.added.end],
    };
    found.into_iter().map(place).collect()
}

/// The tokens of a sequence, equal ones with equal numbers, and where each begins (and the last one ends).
fn tokens<'a, T: Ord>(
    mut rest: &'a [T],
    end: fn(&[T]) -> usize,
    numbers: &mut BTreeMap<&'a [T], usize>,
) -> (Vec<usize>, Vec<usize>) {
    let (mut found, mut starts, mut at) = (Vec::new(), vec![0], 0);
    while !rest.is_empty() {
        let (token, behind) = rest.split_at(end(rest));
        let next = numbers.len();
        found.push(*numbers.entry(token).or_insert(next));
        at += token.len();
        starts.push(at);
        rest = behind;
    }
    (found, starts)
}

/// The edits between two sequences of tokens: what is between tokens that both have once is compared by itself.
fn compare(old: &[usize], new: &[usize], kinds: usize, meter: &mut Meter) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut from = (0, 0);
    let mut anchors = anchors(old, new, kinds);
    anchors.push((old.len(), new.len()));
    for to in anchors {
        let gap = Edit { at: from.0, removed: to.0 - from.0, added: from.1..to.1 };
        if let Some(gap) = trimmed(&gap, old, new) {
            edits.extend(between(&gap, old, new, meter));
        }
        from = (to.0 + 1, to.1 + 1);
    }
    edits
}

/// Tokens that both sequences have once, in an order that both share: as many as possible.
fn anchors(old: &[usize], new: &[usize], kinds: usize) -> Vec<(usize, usize)> {
    let mut places: Vec<(usize, usize, usize, usize)> = vec![(0, 0, 0, 0); kinds];
    for (at, token) in old.iter().enumerate() {
        (places[*token].0, places[*token].1) = (places[*token].0 + 1, at);
    }
    for (at, token) in new.iter().enumerate() {
        (places[*token].2, places[*token].3) = (places[*token].2 + 1, at);
    }
    let once = old.iter().map(|token| places[*token]).filter(|place| place.0 == 1 && place.2 == 1);
    let pairs: Vec<(usize, usize)> = once.map(|place| (place.1, place.3)).collect();
    // The longest rising sequence: `piles` has the pair with which the best one of each length ends.
    let mut piles: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(pairs.len());
    for (i, pair) in pairs.iter().enumerate() {
        let pile = piles.partition_point(|top| pairs[*top].1 < pair.1);
        before.push(pile.checked_sub(1).map(|last| piles[last]));
        piles.truncate(max(pile, piles.len()));
        match piles.get_mut(pile) {
            Some(top) => *top = i,
            None => piles.push(i),
        }
    }
    let mut chain = Vec::new();
    let mut next = piles.last().copied();
    while let Some(i) = next {
        chain.push(pairs[i]);
        next = before[i];
    }
    chain.reverse();
    chain
}

/// The fewest edits of a gap; all of it is replaced where finding them would take too long.
fn between(gap: &Edit, old: &[usize], new: &[usize], meter: &mut Meter) -> Vec<Edit> {
    if gap.removed == 0 || gap.added.is_empty() {
        return vec![gap.clone()];
    }
    let (a, b) = (&old[gap.at..gap.at + gap.removed], &new[gap.added.clone()]);
    let Some(kept) = shortest(a, b, meter) else { return vec![gap.clone()] };
    let mut edits = Vec::new();
    let mut from = (0, 0);
    for to in kept.into_iter().chain([(a.len(), b.len())]) {
        if from != to {
            let added = gap.added.start + from.1..gap.added.start + to.1;
            edits.push(Edit { at: gap.at + from.0, removed: to.0 - from.0, added });
        }
        from = (to.0 + 1, to.1 + 1);
    }
    edits
}

/// The furthest places on the diagonals that a number of edits reaches: in `a`, by the place in `a` less that in `b`.
struct Reach {
    /// What is at this place is of the diagonal 0.
    middle: usize,
    places: Vec<usize>,
}

/// Where a way comes from: an element of `a` is removed (`true`), or one of `b` is added.
fn removes(reach: &Reach, edits: usize, step: usize) -> bool {
    let diagonal = reach.middle + 2 * step - edits;
    step == edits || (step > 0 && reach.places[diagonal - 1] >= reach.places[diagonal + 1])
}

/// The tokens that stay in the shortest way from `a` to `b` (Myers, "An O(ND) Difference Algorithm", 1986); `None` where
/// finding it would take too long.
fn shortest(a: &[usize], b: &[usize], meter: &mut Meter) -> Option<Vec<(usize, usize)>> {
    let bound = min(a.len() + b.len(), DISTANCE_MAX);
    let mut reach = Reach { middle: bound + 1, places: vec![0; 2 * bound + 3] };
    let mut trace = Vec::new();
    for edits in 0..=bound {
        let around = reach.middle - edits - 1..=reach.middle + edits + 1;
        trace.push(Reach { middle: edits + 1, places: reach.places[around].to_vec() });
        for step in 0..=edits {
            let diagonal = reach.middle + 2 * step - edits;
            let from = if edits == 0 {
                0
            } else if removes(&reach, edits, step) {
                reach.places[diagonal - 1] + 1
            } else {
                reach.places[diagonal + 1]
            };
            let other = from + reach.middle - diagonal;
            let inside = from <= a.len() && other <= b.len();
            let same = if inside { equal(a[from..].iter().zip(&b[other..])) } else { 0 };
            reach.places[diagonal] = from + same;
            if !meter.take(1 + same as u64) {
                return None;
            }
            if (from + same, other + same) == (a.len(), b.len()) {
                return Some(walked(&trace, (a.len(), b.len()), step));
            }
        }
    }
    None
}

/// The tokens that stay in the way that has come to the end: it is walked back.
fn walked(trace: &[Reach], end: (usize, usize), mut step: usize) -> Vec<(usize, usize)> {
    let (mut kept, mut at) = (Vec::new(), end);
    for (edits, reach) in trace.iter().enumerate().skip(1).rev() {
        let removes = removes(reach, edits, step);
        let diagonal = reach.middle + 2 * step - edits;
        let before = if removes { diagonal - 1 } else { diagonal + 1 };
        let from = reach.places[before];
        let from = (from, from + reach.middle - before);
        let start = if removes { (from.0 + 1, from.1) } else { (from.0, from.1 + 1) };
        while at != start {
            at = (at.0 - 1, at.1 - 1);
            kept.push(at);
        }
        at = from;
        step -= usize::from(removes);
    }
    while at != (0, 0) {
        at = (at.0 - 1, at.1 - 1);
        kept.push(at);
    }
    kept.reverse();
    kept
}

/// Edits of words, without the few words that happen to be equal between two larger edits: of two writers who write
/// the same sentence again, one comes behind the other.
fn clean(edits: Vec<Edit>) -> Vec<Edit> {
    let weight = |edit: &Edit| max(edit.removed, edit.added.len());
    let mut cleaned: Vec<Edit> = Vec::new();
    for mut edit in edits {
        while let Some(last) = cleaned.last() {
            if edit.at - (last.at + last.removed) > min(weight(last), weight(&edit)) {
                break;
            }
            edit = joined(last, &edit);
            cleaned.pop();
        }
        cleaned.push(edit);
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn text(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    fn done<T: Clone>(edits: &[Edit], old: &[T], new: &[T]) -> Vec<T> {
        let (mut made, mut from) = (Vec::new(), 0);
        for edit in edits {
            assert!(edit.at >= from && (from == 0 || edit.at > from), "edits are in order and apart: {edits:?}");
            made.extend_from_slice(&old[from..edit.at]);
            made.extend_from_slice(&new[edit.added.clone()]);
            from = edit.at + edit.removed;
        }
        made.extend_from_slice(&old[from..]);
        made
    }

    /// The edits as a reader marks them: `[-removed+added]`.
    fn marked(old: &str, new: &str) -> String {
        let (a, b) = (text(old), text(new));
        let (mut shown, mut from) = (String::new(), 0);
        for edit in of_text(&a, &b).edits {
            shown.extend(&a[from..edit.at]);
            from = edit.at + edit.removed;
            shown.push_str("[-");
            shown.extend(&a[edit.at..from]);
            shown.push('+');
            shown.extend(&b[edit.added]);
            shown.push(']');
        }
        shown.extend(&a[from..]);
        shown
    }

    #[test]
    fn edits_are_those_that_a_reader_would_mark() {
        for (old, new, expected) in [
            ("", "", ""),
            ("same", "same", "same"),
            ("", "all", "[-+all]"),
            ("all", "", "[-all+]"),
            ("the cat", "then cat", "the[-+n] cat"),
            ("color of cat", "colour of cats", "colo[-+u]r of cat[-+s]"),
            ("one two three four", "one 2 three four five", "one [-two+2] three four[-+ five]"),
            ("the quick brown fox", "a lazy old dog", "[-the quick brown fox+a lazy old dog]"),
            ("a\nb\nc\n", "a\nx\nb\nc\nd\n", "a\n[-+x\n]b\nc[-+\nd]\n"),
            ("東京は晴れ", "東京は雨", "東京は[-晴れ+雨]"),
        ] {
            assert_eq!(marked(old, new), expected);
        }
        let list = |text: &str| text.split(' ').map(|one| one.as_bytes().to_vec()).collect::<Vec<_>>();
        let found = of_list(&list("a b c d e f"), &list("a c d x e f g")).edits;
        let expected = [(1, 1, 1..1), (4, 0, 3..4), (6, 0, 6..7)];
        assert_eq!(found, expected.map(|(at, removed, added)| Edit { at, removed, added }));
    }

    fn some_text() -> impl Strategy<Value = Vec<char>> {
        vec(select(vec!['a', 'b', 'c', ' ', '\n', 'é', '東', '🦀']), 0..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn edits_done_to_the_first_give_the_second(old in some_text(), new in some_text()) {
            prop_assert_eq!(&done(&of_text(&old, &new).edits, &old, &new), &new);
            let bytes = |text: &[char]| text.iter().map(|c| c.to_string().into_bytes()).collect::<Vec<_>>();
            let (old, new) = (bytes(&old), bytes(&new));
            prop_assert_eq!(done(&of_list(&old, &new).edits, &old, &new), new);
        }
    }

    /// Numbers without a pattern.
    fn noise(seed: u64, count: usize, kinds: u64) -> Vec<u64> {
        let mut x = seed;
        let next = |_| {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (x >> 33) % kinds
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn a_search_that_takes_too_long_ends_and_is_right() {
        for kinds in [2, 30, 1_000_000] {
            let [old, new] = [1, 2].map(|seed| {
                let words: Vec<String> = noise(seed, 40_000, kinds).iter().map(u64::to_string).collect();
                text(&words.join(" "))
            });
            let found = of_text(&old, &new);
            assert!(found.steps <= limits::STATE_DIFFERENCE_STEPS_MAX && found.edits.len() <= limits::STATE_EDITS_MAX);
            assert_eq!(done(&found.edits, &old, &new), new);
        }
        // So many edits are not kept apart.
        let lines =
            |shift: usize| (0..4_000).map(|n| (n * 2 + (n % 2) * shift).to_string()).collect::<Vec<_>>().join("\n");
        let (old, new) = (text(&lines(0)), text(&lines(1)));
        let found = of_text(&old, &new);
        assert_eq!(found.edits.len(), 1);
        assert_eq!(done(&found.edits, &old, &new), new);
    }
}
