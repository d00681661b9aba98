//! How well a sentence answers a sub-question.
//!
//! For: one score that search, validation and writing share. Not for: choosing among sentences or checking them.
//! Invariant: whole numbers only; the same sentence in the same surroundings scores the same everywhere.

mod fit;
mod quality;
mod synonyms;

use std::collections::{BTreeMap, BTreeSet};

use super::model::{Hit, Intent, Segment, SegmentKind, SubQuestion, TermWeight};
use super::text::words::{Term, Terms};

pub(crate) use fit::has_unit_number;
pub(crate) use synonyms::normalise;

/// Strength from which a sentence counts as an answer.
pub(crate) const ANSWERED: i64 = 640;
/// Strength from which a sentence is near enough to be shown as such.
pub(crate) const NEAR: i64 = 420;

/// A sub-question, ready to score sentences.
pub(crate) struct Scorer {
    intent: Intent,
    question: String,
    weights: BTreeMap<String, i64>,
    total: i64,
    focus: BTreeSet<String>,
    terms: Terms,
}

/// The score of one sentence.
#[derive(Clone, Debug)]
pub(crate) struct Scored {
    /// Ordinal of the segment in its hit.
    pub(crate) segment: usize,
    /// For ordering, in thousandths and more.
    pub(crate) relevance: i64,
    /// For honesty: how much of the question the sentence and its surroundings cover, 0 to 1000.
    pub(crate) strength: i64,
    /// The question's terms that the sentence itself has.
    pub(crate) covered: BTreeSet<String>,
}

/// The terms of a text with synonyms folded together.
pub(crate) fn term_set(terms: &mut Terms, text: &str) -> BTreeSet<String> {
    terms.list(text).into_iter().map(|t| normalise(&t.text).to_owned()).collect()
}

impl Scorer {
    /// A scorer for a sub-question with its terms' weights.
    pub(crate) fn new(sub: &SubQuestion, weights: &[TermWeight]) -> Self {
        let mut terms = Terms::default();
        let focus = term_set(&mut terms, &sub.focus);
        let mut map: BTreeMap<String, i64> = BTreeMap::new();
        for weight in weights {
            let known = map.entry(normalise(&weight.term).to_owned()).or_insert(weight.weight);
            *known = (*known).min(weight.weight);
        }
        let total = map.values().sum::<i64>().max(1);
        Self { intent: sub.intent, question: sub.text.to_lowercase(), weights: map, total, focus, terms }
    }

    /// The terms of the question.
    pub(crate) fn question_terms(&self) -> impl Iterator<Item = &String> {
        self.weights.keys()
    }

    /// Share of the question's weight that a set of terms has, 0 to 1000.
    pub(crate) fn share(&self, set: &BTreeSet<String>) -> i64 {
        self.weights.iter().filter(|(t, _)| set.contains(*t)).map(|(_, w)| *w).sum::<i64>() * 1_000 / self.total
    }

    /// Scores every segment of a hit.
    pub(crate) fn hit(&mut self, hit: &Hit) -> Vec<Scored> {
        let around = Surroundings::new(&mut self.terms, hit);
        (0..hit.segments.len()).map(|i| self.segment(hit, &around, i)).collect()
    }

    fn segment(&mut self, hit: &Hit, around: &Surroundings, at: usize) -> Scored {
        let segment = &hit.segments[at];
        let own = &around.sets[at];
        let coverage = self.coverage(hit, around, at);
        let share = self.share(own);
        let view = fit::View {
            hit,
            segment,
            at,
            words: &around.lists[at],
            terms: own,
            head: &around.head,
            focus: &self.focus,
            question: &self.question,
        };
        let fit = fit::fit(self.intent, &view);
        let near = self.proximity(&around.lists[at]);
        let quality = quality::quality(self.intent, &view);
        // A sentence that has nothing of the question itself answers only as the first of its section.
        let opens = around.opens[at];
        let own_part = if share >= 200 || (opens && self.share(&around.head) >= 500) { 1_000 } else { 350 + share * 3 };
        let base = 60 * coverage + 30 * fit.score + 10 * near + if opens { 4_000 } else { 0 };
        let relevance = base / 100 * quality / 1_000 * own_part / 1_000;
        let strength = coverage * fit.support / 1_000 * own_part.max(600) / 1_000 * quality::trust(quality) / 1_000;
        let covered = self.weights.keys().filter(|t| own.contains(*t)).cloned().collect();
        Scored { segment: at, relevance, strength, covered }
    }

    /// Share of the question that the sentence covers, with part credit for what stands around it.
    fn coverage(&self, hit: &Hit, around: &Surroundings, at: usize) -> i64 {
        let block = hit.segments[at].block;
        let beside = |term: &String| {
            let near = [at.checked_sub(1), at.checked_add(1)];
            near.into_iter().flatten().any(|i| {
                around.sets.get(i).is_some_and(|s| s.contains(term)) && hit.segments[i].block.abs_diff(block) <= 1
            })
        };
        let credit = |term: &String| match () {
            () if around.sets[at].contains(term) => 1_000,
            () if around.head.contains(term) => 850,
            () if beside(term) => 600,
            () if around.all.contains(term) => 300,
            () => 0,
        };
        self.weights.iter().map(|(term, weight)| weight * credit(term)).sum::<i64>() / self.total
    }

    /// How close the question's terms stand together, 0 to 1000.
    fn proximity(&self, words: &[Term]) -> i64 {
        let hits: Vec<(usize, &str)> = words
            .iter()
            .map(|w| (w.position, normalise(&w.text)))
            .filter(|(_, t)| self.weights.contains_key(*t))
            .collect();
        let pairs = self.weights.len().saturating_sub(1).max(1) as i64;
        let close = hits.windows(2).filter(|w| w[0].1 != w[1].1 && w[1].0 - w[0].0 <= 3).count() as i64;
        (close * 1_000 / pairs).min(1_000)
    }
}

/// What stands around the segments of a hit.
struct Surroundings {
    /// Terms of title and headings.
    head: BTreeSet<String>,
    /// Terms of each segment, and the same in order.
    sets: Vec<BTreeSet<String>>,
    lists: Vec<Vec<Term>>,
    /// Terms of the whole passage.
    all: BTreeSet<String>,
    /// Whether a segment is the first prose of the passage.
    opens: Vec<bool>,
}

impl Surroundings {
    fn new(terms: &mut Terms, hit: &Hit) -> Self {
        let head = term_set(terms, &format!("{} {}", hit.title, hit.headings.join(" ")));
        let lists: Vec<Vec<Term>> = hit.segments.iter().map(|s| terms.list(&s.text)).collect();
        let sets: Vec<BTreeSet<String>> =
            lists.iter().map(|l| l.iter().map(|t| normalise(&t.text).to_owned()).collect()).collect();
        let all = sets.iter().flatten().cloned().collect();
        let first = hit.segments.iter().position(is_prose);
        let opens = (0..hit.segments.len()).map(|i| Some(i) == first).collect();
        Self { head, sets, lists, all, opens }
    }
}

fn is_prose(segment: &Segment) -> bool {
    matches!(segment.kind, SegmentKind::Sentence | SegmentKind::Item)
}
