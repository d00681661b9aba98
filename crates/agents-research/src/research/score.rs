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

pub(crate) use synonyms::normalise;

/// Strength from which a sentence counts as an answer.
pub(crate) const ANSWERED: i64 = 640;
/// Strength from which a sentence is near enough to be shown as such.
pub(crate) const NEAR: i64 = 420;

/// A sub-question, ready to score sentences.
pub(crate) struct Scorer {
    intent: Intent,
    question: String,
    asks_code: bool,
    concepts: Vec<Concept>,
    total: i64,
    focus: BTreeSet<String>,
    /// Ordinal of the concept that is asked for.
    key: Option<usize>,
    terms: Terms,
}

/// One word of the question: a stem, or a compound with its parts, either of which will do.
struct Concept {
    whole: String,
    parts: Vec<String>,
    weight: i64,
}

impl Concept {
    /// The credit of the whole, or nearly that of its last part, which names the thing, with the weakest of the others.
    fn credit(&self, of: impl Fn(&String) -> i64) -> i64 {
        let last = self.parts.last().map(&of).unwrap_or_default();
        let path = self.whole.contains("::");
        let weakest = self.parts.iter().map(&of).min().unwrap_or_default();
        let parts = if path { (4 * last + weakest) / 5 } else { weakest };
        of(&self.whole).max(parts * 95 / 100)
    }
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
    /// How well it has the form that is asked for, 0 to 1000.
    pub(crate) form: i64,
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
        let concepts = concepts(&mut terms, &sub.text, weights);
        let total = concepts.iter().map(|c| c.weight).sum::<i64>().max(1);
        let focus = focus(&mut terms, &sub.focus);
        let question = format!(" {} ", sub.text.to_lowercase());
        // A definition is asked of the focus itself, which is weighed already.
        let word = if sub.intent == Intent::Definition { None } else { super::plan::key(&sub.text) };
        let key =
            word.map(|w| term_set(&mut terms, &w)).and_then(|k| concepts.iter().position(|c| k.contains(&c.whole)));
        Self { intent: sub.intent, question, asks_code: names_code(&sub.text), concepts, total, focus, key, terms }
    }

    /// The terms of the question: compounds whole.
    pub(crate) fn question_terms(&self) -> impl Iterator<Item = &String> {
        self.concepts.iter().map(|c| &c.whole)
    }

    /// Share of the question's weight that a set of terms has, 0 to 1000.
    pub(crate) fn share(&self, set: &BTreeSet<String>) -> i64 {
        self.weigh(|term| if set.contains(term) { 1_000 } else { 0 })
    }

    fn weigh(&self, credit: impl Fn(&String) -> i64) -> i64 {
        self.concepts.iter().map(|c| c.weight * c.credit(&credit)).sum::<i64>() / self.total
    }

    /// Scores every segment of a hit.
    pub(crate) fn hit(&mut self, hit: &Hit) -> Vec<Scored> {
        let around = Surroundings::new(&mut self.terms, hit);
        (0..hit.segments.len()).map(|i| self.segment(hit, &around, i)).collect()
    }

    fn segment(&mut self, hit: &Hit, around: &Surroundings, at: usize) -> Scored {
        let segment = &hit.segments[at];
        let own = &around.sets[at];
        let share = self.share(own);
        let opens = around.opens[at];
        let view = fit::View {
            hit,
            segment,
            at,
            opens,
            words: &around.lists[at],
            terms: own,
            last: &around.last,
            focus: &self.focus,
            asks_code: self.asks_code,
            question: &self.question,
        };
        let fit = fit::fit(self.intent, &view);
        let near = self.proximity(&around.lists[at]);
        let quality = quality::quality(self.intent, &view);
        // A sentence that has nothing of the question itself answers only as the first of its section.
        let own_part = if share >= 120 || (opens && self.share(&around.head) >= 500) { 1_000 } else { 350 + share * 3 };
        let (about, form) = if self.intent == Intent::Definition { (45, 45) } else { (60, 30) };
        let covers = self.coverage(hit, around, at, [1_000, 700, 450, 200]);
        let denied =
            [" not ", " no ", " never "].iter().any(|m| self.question.contains(m)) && fit::denies(&segment.text);
        let key = self.key_credit(hit, around, at);
        let extra = if opens { 4_000 } else { 0 } + if denied { 6_000 } else { 0 } + 18 * key;
        let base = about * covers + form * fit.score + 10 * near + 10 * around.density(self) + extra;
        let relevance = base / 100 * quality / 1_000 * own_part / 1_000;
        let covers = self.coverage(hit, around, at, [1_000, 850, 650, 300]);
        let strength = if key == 0 { covers * 65 / 100 } else { covers };
        let strength = strength * fit.support / 1_000 * own_part.max(600) / 1_000 * quality::trust(quality) / 1_000;
        let covered = self.question_terms().filter(|t| own.contains(*t)).cloned().collect();
        Scored { segment: at, relevance, strength, form: fit.score, covered }
    }

    /// Share of the question that a sentence covers: credit for what it says itself, and what its headings,
    /// its neighbours and its passage say.
    fn coverage(&self, hit: &Hit, around: &Surroundings, at: usize, credits: [i64; 4]) -> i64 {
        self.weigh(|term| around.credit(hit, at, term, credits))
    }

    /// How well the word that is asked for is there, 0 to 1000; 1000 if the question has none.
    fn key_credit(&self, hit: &Hit, around: &Surroundings, at: usize) -> i64 {
        let credit = |term: &String| around.credit(hit, at, term, [1_000, 600, 500, 0]);
        self.key.map_or(1_000, |key| self.concepts[key].credit(credit))
    }

    /// How close the question's terms stand together, 0 to 1000.
    fn proximity(&self, words: &[Term]) -> i64 {
        let hits: Vec<(usize, &str)> = words
            .iter()
            .map(|w| (w.position, normalise(&w.text)))
            .filter(|(_, t)| self.concepts.iter().any(|c| c.whole == *t))
            .collect();
        let pairs = self.concepts.len().saturating_sub(1).max(1);
        let close = hits.windows(2).filter(|w| w[0].1 != w[1].1 && w[1].0 - w[0].0 <= 5).count();
        i64::try_from(close * 1_000 / pairs).unwrap_or(1_000).min(1_000)
    }
}

/// Whether a text names code: a path, an option, a call or a word with humps.
fn names_code(text: &str) -> bool {
    let humps = |w: &str| w.chars().zip(w.chars().skip(1)).any(|(a, b)| a.is_lowercase() && b.is_uppercase());
    text.contains(['`', '_', '(', '<'])
        || text.contains("::")
        || text.contains(" --")
        || text.split_whitespace().any(humps)
}

/// The words of the question that have a weight, each with its parts.
fn concepts(terms: &mut Terms, text: &str, weights: &[TermWeight]) -> Vec<Concept> {
    let known: BTreeMap<&str, i64> = weights.iter().map(|w| (w.term.as_str(), w.weight)).collect();
    let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for term in terms.list(text).into_iter().filter(|t| known.contains_key(t.text.as_str())) {
        groups.entry(term.position).or_default().push(term.text);
    }
    let mut out: Vec<Concept> = Vec::new();
    for group in groups.into_values() {
        let weight = group.iter().filter_map(|t| known.get(t.as_str())).max().copied().unwrap_or_default();
        let mut group: Vec<String> = group.iter().map(|t| normalise(t).to_owned()).collect();
        let whole = group.remove(0);
        group.dedup();
        if group.is_empty() {
            group.push(whole.clone());
        }
        if !out.iter().any(|c| c.whole == whole) {
            out.push(Concept { whole, parts: group, weight });
        }
    }
    out
}

/// The focus as terms: of a path its last part, of other compounds the whole.
fn focus(terms: &mut Terms, text: &str) -> BTreeSet<String> {
    let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for term in terms.list(text) {
        groups.entry(term.position).or_default().push(term.text);
    }
    let pick = |group: Vec<String>| {
        let path = group.first().is_some_and(|g| g.contains("::"));
        if path { group.into_iter().next_back() } else { group.into_iter().next() }
    };
    groups.into_values().filter_map(pick).map(|t| normalise(&t).to_owned()).collect()
}

/// What stands around the segments of a hit.
struct Surroundings {
    /// Terms of title and headings.
    head: BTreeSet<String>,
    /// Terms of the last heading, or of the title where there is none.
    last: BTreeSet<String>,
    /// Terms that are only pieces of words of each segment.
    pieces: Vec<BTreeSet<String>>,
    /// Whole terms of each segment, and all terms in order.
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
        let last = term_set(terms, hit.headings.last().unwrap_or(&hit.title));
        let pick = |piece: bool| {
            let one =
                |l: &Vec<Term>| l.iter().filter(|t| t.piece == piece).map(|t| normalise(&t.text).to_owned()).collect();
            lists.iter().map(one).collect::<Vec<BTreeSet<String>>>()
        };
        let (sets, pieces) = (pick(false), pick(true));
        let all = sets.iter().flatten().cloned().collect();
        let first = hit.segments.iter().position(is_prose);
        let opens = (0..hit.segments.len()).map(|i| Some(i) == first).collect();
        Self { head, last, pieces, sets, lists, all, opens }
    }
}

impl Surroundings {
    /// Credit for a term in the sentence, its headings, its neighbours, its passage.
    fn credit(&self, hit: &Hit, at: usize, term: &str, credits: [i64; 4]) -> i64 {
        let block = hit.segments[at].block;
        let beside = || {
            [at.checked_sub(1), at.checked_add(1)].into_iter().flatten().any(|i| {
                self.sets.get(i).is_some_and(|s| s.contains(term)) && hit.segments[i].block.abs_diff(block) <= 1
            })
        };
        match () {
            () if self.sets[at].contains(term) => credits[0],
            () if self.head.contains(term) || self.pieces[at].contains(term) => credits[1],
            () if beside() => credits[2],
            () if self.all.contains(term) => credits[3],
            () => 0,
        }
    }

    /// How much the passage as a whole is about the question: the mean share of its sentences, 0 to 1000.
    fn density(&self, scorer: &Scorer) -> i64 {
        let sum: i64 = self.sets.iter().map(|s| scorer.share(s)).sum();
        sum / i64::try_from(self.sets.len().max(3)).unwrap_or(i64::MAX)
    }
}

fn is_prose(segment: &Segment) -> bool {
    matches!(segment.kind, SegmentKind::Sentence | SegmentKind::Item)
}
