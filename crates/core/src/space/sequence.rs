//! Sequences that several writers edit: where each element is, also beside what others write.
//!
//! For: the policies `text` and `list`: weaving the edits of a write into what others have written since the version that
//! its writer saw. Not for: what an element is, values (see `weave`), or finding edits (see `difference`).
//! Invariant: the order of elements is a function of the writes and of what each of them saw, not of their arrival. An
//! element belongs to the one before or behind it that its writer saw (the tree of Weidner and Kleppmann, "The Art of the
//! Fugue", 2023), and insertions in one place are ordered by their stamp and content; so what one write inserts in one
//! place stays together. The same insertion in the same place, made twice, is one.

use std::{collections::BTreeMap, ops::Range};

use consort_types::Seq;

use crate::space::{
    difference::Edit,
    rows::{Anchor, Element, ElementRun, Insertion, InsertionOrder, Sequence},
};

/// Bytes of an insertion in a row, about, without what it is ordered by.
const INSERTION_BYTES: usize = 32;
/// Bytes of a run.
const RUN_BYTES: usize = 16;

/// Where a part of the value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// These elements of the value that was there.
    Current(Range<usize>),
    /// These elements of the value that was written.
    Incoming(Range<usize>),
}

/// Edits that are woven in.
pub(crate) struct Edits<'a> {
    /// Their writer saw what was written up to here.
    pub(crate) saw: Seq,
    /// The record that writes them.
    pub(crate) seq: Seq,
    pub(crate) all: &'a [Edit],
}

/// A run with what it shows.
#[derive(Clone)]
struct Shown {
    run: ElementRun,
    /// What its first element is, where it is not removed.
    from: Option<(Origin, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Current,
    Incoming,
}

impl Shown {
    fn first(&self) -> Element {
        Element { insertion: self.run.insertion, offset: self.run.from }
    }

    fn last(&self) -> Element {
        Element { insertion: self.run.insertion, offset: self.run.from + self.run.len - 1 }
    }

    /// Cuts the run behind so many elements, and answers the rest.
    fn cut(&mut self, len: usize) -> Self {
        let len = len as u32;
        let rest = ElementRun { from: self.run.from + len, len: self.run.len - len, ..self.run };
        self.run.len = len;
        Self { run: rest, from: self.from.map(|(origin, at)| (origin, at + len as usize)) }
    }

    fn remove(&mut self, seq: Seq) {
        if self.run.gone == Seq::ZERO {
            (self.run.gone, self.from) = (seq, None);
        }
    }

    fn continues(&self, last: &Self) -> bool {
        let (run, last) = (&self.run, &last.run);
        (run.insertion, run.from, run.gone) == (last.insertion, last.from + last.len, last.gone)
    }
}

impl Sequence {
    /// That of a key that has no value.
    pub(crate) fn empty() -> Self {
        Self { floor: Seq::ZERO, insertions: Vec::new(), runs: Vec::new() }
    }

    /// That of a value of which nothing is known but its elements.
    pub(crate) fn settled(version: Seq, len: usize) -> Self {
        let base =
            Insertion { born: version, saw: version, anchor: Anchor::default(), order: InsertionOrder::default() };
        let run = ElementRun { insertion: 0, from: 0, len: len as u32, gone: Seq::ZERO };
        let runs = if len == 0 { Vec::new() } else { vec![run] };
        Self { floor: version, insertions: vec![base], runs }
    }

    /// Elements that a reader of the version saw.
    pub(crate) fn len_at(&self, version: Seq) -> usize {
        self.runs.iter().filter(|run| self.shows(run, version)).map(|run| run.len as usize).sum()
    }

    /// The bytes that it takes, about.
    pub(crate) fn weight(&self) -> usize {
        let content: usize = self.insertions.iter().map(|insertion| insertion.order.content.len()).sum();
        content + self.insertions.len() * INSERTION_BYTES + self.runs.len() * RUN_BYTES
    }

    /// Weaves edits in; answers the parts of the value that comes of it. `order` is that of an insertion of these elements.
    pub(crate) fn weave(&mut self, edits: &Edits<'_>, order: impl Fn(Range<usize>) -> InsertionOrder) -> Vec<Source> {
        let mut shown = self.shown();
        // From the last to the first: what is before an edit stays where it is.
        for edit in edits.all.iter().rev() {
            let at = self.behind(&mut shown, edit.at, edits.saw);
            self.remove(&mut shown, at, edit.removed, edits);
            if !edit.added.is_empty() {
                let before = if edit.at == 0 { None } else { at.checked_sub(1).map(|i| shown[i].last()) };
                self.insert(&mut shown, (at, before), edits, (edit.added.clone(), order(edit.added.clone())));
            }
        }
        self.take(shown)
    }

    fn born(&self, run: &ElementRun) -> Seq {
        self.insertions[run.insertion as usize].born
    }

    fn shows(&self, run: &ElementRun, version: Seq) -> bool {
        self.born(run) <= version && (run.gone == Seq::ZERO || run.gone > version)
    }

    fn shown(&self) -> Vec<Shown> {
        let mut at = 0;
        let of = |run: &ElementRun| {
            let from = (run.gone == Seq::ZERO).then_some((Origin::Current, at));
            at += from.map_or(0, |_| run.len as usize);
            Shown { run: *run, from }
        };
        self.runs.iter().map(of).collect()
    }

    /// The run that begins behind so many elements of what the writer saw.
    fn behind(&self, shown: &mut Vec<Shown>, count: usize, saw: Seq) -> usize {
        let mut left = count;
        for i in 0..shown.len() {
            if left == 0 {
                return if count == 0 { 0 } else { i };
            }
            let len = shown[i].run.len as usize;
            if !self.shows(&shown[i].run, saw) {
                continue;
            }
            if left < len {
                let rest = shown[i].cut(left);
                shown.insert(i + 1, rest);
                return i + 1;
            }
            left -= len;
        }
        shown.len()
    }

    /// Removes so many elements of what the writer saw, from the run `at` on.
    fn remove(&self, shown: &mut Vec<Shown>, at: usize, count: usize, edits: &Edits<'_>) {
        let (mut left, mut i) = (count, at);
        while left > 0 && i < shown.len() {
            if self.shows(&shown[i].run, edits.saw) {
                let len = shown[i].run.len as usize;
                if left < len {
                    let rest = shown[i].cut(left);
                    shown.insert(i + 1, rest);
                }
                shown[i].remove(edits.seq);
                left = left.saturating_sub(len);
            }
            i += 1;
        }
    }

    /// Inserts elements behind `before`, where the run `at` begins.
    fn insert(
        &mut self,
        shown: &mut Vec<Shown>,
        (at, before): (usize, Option<Element>),
        edits: &Edits<'_>,
        (added, order): (Range<usize>, InsertionOrder),
    ) {
        let seen = shown[at..].iter().position(|one| self.born(&one.run) <= edits.saw);
        let end = seen.map_or(shown.len(), |seen| at + seen);
        let next = shown.get(end).map(Shown::first);
        let anchor = match next {
            Some(next) if self.is_below(next, before) => Anchor { element: Some(next), before: true },
            _ => Anchor { element: before, before: false },
        };
        let Some(place) = self.place(&shown[at..end], anchor, &order) else { return };
        let insertion = self.insertions.len() as u32;
        self.insertions.push(Insertion { born: edits.seq, saw: edits.saw, anchor, order });
        let run = ElementRun { insertion, from: 0, len: added.len() as u32, gone: Seq::ZERO };
        shown.insert(at + place, Shown { run, from: Some((Origin::Incoming, added.start)) });
    }

    /// The place of an insertion among runs that its writer has not seen; `None` where the same one is there.
    fn place(&self, unseen: &[Shown], anchor: Anchor, order: &InsertionOrder) -> Option<usize> {
        for (i, one) in unseen.iter().enumerate() {
            match self.beside(one.run.insertion, anchor) {
                Some(other) if self.insertions[other].order == *order => return None,
                Some(other) if self.insertions[other].order > *order => return Some(i),
                // What belongs to the element before it comes first, and what belongs to the one behind it last.
                None if !anchor.before => return Some(i),
                _ => {}
            }
        }
        Some(unseen.len())
    }

    /// The insertion with this anchor to which another one belongs, or that it is.
    fn beside(&self, insertion: u32, anchor: Anchor) -> Option<usize> {
        let mut at = insertion as usize;
        while self.insertions[at].anchor != anchor {
            at = self.insertions[at].anchor.element?.insertion as usize;
        }
        Some(at)
    }

    /// Whether an element belongs to another one, which is before it.
    fn is_below(&self, element: Element, other: Option<Element>) -> bool {
        let Some(other) = other else { return true };
        if element.insertion == other.insertion {
            return other.offset < element.offset;
        }
        let mut at = element.insertion;
        while let Some(parent) = self.insertions[at as usize].anchor.element {
            if parent.insertion == other.insertion {
                return other.offset <= parent.offset;
            }
            at = parent.insertion;
        }
        false
    }

    /// Keeps the runs, and answers what they show.
    fn take(&mut self, shown: Vec<Shown>) -> Vec<Source> {
        self.runs.clear();
        let mut sources = Vec::new();
        let mut last: Option<Shown> = None;
        for one in shown {
            if let Some((origin, from)) = one.from {
                let range = from..from + one.run.len as usize;
                sources.push(if origin == Origin::Current { Source::Current(range) } else { Source::Incoming(range) });
            }
            match (&last, self.runs.last_mut()) {
                (Some(before), Some(run)) if one.continues(before) => run.len += one.run.len,
                _ => self.runs.push(one.run),
            }
            last = Some(one);
        }
        sources
    }

    /// Forgets the older half of what is known, so that a write which saw less cannot be woven in any more: at the first
    /// version behind the middle that every later insertion had seen, or else at the version `now`, which is the last.
    pub(crate) fn forget(&mut self, weight_max: usize, now: Seq) {
        if self.weight() <= weight_max {
            return;
        }
        self.settle(self.middle().unwrap_or(now));
        if self.weight() > weight_max {
            self.settle(now);
        }
    }

    /// The first version behind the middle that every later insertion had seen.
    fn middle(&self) -> Option<Seq> {
        let gone = self.runs.iter().map(|run| run.gone).filter(|gone| *gone > Seq::ZERO);
        let mut versions: Vec<Seq> = self.insertions.iter().map(|one| one.born).chain(gone).collect();
        versions.sort_unstable();
        let mut later: Vec<(Seq, Seq)> = self.insertions.iter().map(|one| (one.born, one.saw)).collect();
        later.sort_unstable();
        let mut least = Seq(u64::MAX);
        let mut found = None;
        // From the last on: the least version that the insertions behind have seen.
        for version in versions.split_off(versions.len() / 2).into_iter().rev() {
            while let Some((_, saw)) = later.pop_if(|(born, _)| *born > version) {
                least = least.min(saw);
            }
            if least >= version {
                found = Some(version);
            }
        }
        found
    }

    /// Forgets how the elements that a reader of this version sees came to be there. Every later insertion has seen it.
    fn settle(&mut self, version: Seq) {
        let mut settled = Self::settled(version, 0);
        let mut numbers = vec![0_u32; self.insertions.len()];
        for (number, insertion) in numbers.iter_mut().zip(&self.insertions) {
            if insertion.born > version {
                *number = settled.insertions.len() as u32;
                settled.insertions.push(insertion.clone());
            }
        }
        let mut moved = Moved { places: BTreeMap::new(), len: 0 };
        for run in &self.runs {
            if self.born(run) > version {
                settled.runs.push(ElementRun { insertion: numbers[run.insertion as usize], ..*run });
                continue;
            }
            let stays = self.shows(run, version);
            moved.places.insert((run.insertion, run.from), (moved.len, stays));
            if stays {
                settled.runs.push(ElementRun { insertion: 0, from: moved.len, ..*run });
                moved.len += run.len;
            }
        }
        for Insertion { anchor, .. } in settled.insertions.iter_mut().skip(1) {
            let Some(element) = &mut anchor.element else { continue };
            if self.insertions[element.insertion as usize].born > version {
                element.insertion = numbers[element.insertion as usize];
            } else {
                *anchor = moved.anchor(*element, anchor.before);
            }
        }
        *self = settled;
        self.join();
    }

    /// Joins runs that continue each other.
    fn join(&mut self) {
        let shown = self.shown();
        self.take(shown);
    }
}

/// Where elements are once they are settled: by the beginning of their run, the new place, and whether they stay.
struct Moved {
    places: BTreeMap<(u32, u32), (u32, bool)>,
    len: u32,
}

impl Moved {
    /// The anchor of what belonged to an element: it is in the same gap between elements that stay, and all that is in one
    /// gap belongs to the element behind it.
    fn anchor(&self, element: Element, before: bool) -> Anchor {
        let run = self.places.range(..=(element.insertion, element.offset)).next_back();
        let at = match run {
            Some(((_, from), (to, true))) => to + (element.offset - from) + u32::from(!before),
            Some((_, (to, false))) => *to,
            None => self.len,
        };
        let settled = |offset| Some(Element { insertion: 0, offset });
        if at < self.len {
            Anchor { element: settled(at), before: true }
        } else {
            Anchor { element: self.len.checked_sub(1).and_then(settled), before: false }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::space::difference;

    /// A text, and what every version of it was.
    struct Document {
        sequence: Sequence,
        versions: Vec<Vec<char>>,
        forgets_beyond: usize,
    }

    impl Document {
        fn new(forgets_beyond: usize) -> Self {
            Self { sequence: Sequence::empty(), versions: vec![Vec::new()], forgets_beyond }
        }

        fn write(&mut self, saw: usize, new: &[char]) {
            let edits = difference::of_text(&self.versions[saw], new).edits;
            let seq = Seq(self.versions.len() as u64);
            let order = |range: Range<usize>| {
                let content = new[range].iter().collect::<String>().into_bytes();
                InsertionOrder { content, ..InsertionOrder::default() }
            };
            assert_eq!(self.sequence.len_at(Seq(saw as u64)), self.versions[saw].len());
            let sources = self.sequence.weave(&Edits { saw: Seq(saw as u64), seq, all: &edits }, order);
            let current = self.latest().clone();
            let parts = sources.into_iter().flat_map(|source| match source {
                Source::Current(range) => current[range].to_vec(),
                Source::Incoming(range) => new[range].to_vec(),
            });
            self.versions.push(parts.collect());
            self.sequence.forget(self.forgets_beyond, seq);
            assert_eq!(self.sequence.len_at(seq), self.latest().len());
        }

        fn latest(&self) -> &Vec<char> {
            self.versions.last().expect("there is an empty one")
        }
    }

    /// What is written after some versions: a piece of that text is replaced.
    fn edited(text: &[char], (at, removed, added): (usize, usize, &str)) -> Vec<char> {
        let at = at % (text.len() + 1);
        let end = (at + removed).min(text.len());
        [&text[..at], &added.chars().collect::<Vec<_>>()[..], &text[end..]].concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        /// Forgetting refuses writes that saw too little, and changes nothing for the others.
        #[test]
        fn what_is_forgotten_makes_no_difference(
            writes in vec((0_usize..6, 0_usize..60, 0_usize..5, "[a-c \n]{0,4}"), 1..80),
            limit in 64_usize..1_500,
        ) {
            let (mut all, mut some) = (Document::new(usize::MAX), Document::new(limit));
            for (lag, at, removed, added) in writes {
                let floor = some.sequence.floor.0 as usize;
                let saw = (all.versions.len() - 1).saturating_sub(lag).max(floor);
                let new = edited(&all.versions[saw], (at, removed, &added));
                all.write(saw, &new);
                some.write(saw, &new);
                prop_assert_eq!(all.latest(), some.latest());
                prop_assert!(some.sequence.weight() <= limit);
            }
        }
    }

    #[test]
    fn forgetting_keeps_the_later_half_where_writers_are_up_to_date() {
        let mut document = Document::new(4_096);
        for i in 0..400 {
            let saw = document.versions.len() - 1;
            let new = edited(document.latest(), (i * 7, 0, "x"));
            document.write(saw, &new);
            let known = document.versions.len() - 1 - document.sequence.floor.0 as usize;
            assert!(i < 30 || known >= 8, "`{known}` versions are known after `{i}` writes");
        }
    }
}
