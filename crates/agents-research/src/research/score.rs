//! How well a sentence answers a sub-question.
//!
//! For: one score that search, validation and writing share. Not for: choosing among sentences or checking them.
//! Invariant: whole numbers only; the same sentence in the same surroundings scores the same everywhere.

mod around;
mod concept;
mod fit;
mod quality;
mod synonyms;

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::model::{Hit, Intent, Segment, SegmentKind, SubQuestion, TermWeight};
use super::text::fold::fold;
use super::text::words::{Term, Terms};
use around::{Credits, Surroundings};
use concept::{Concept, concepts, focus, names_code};

pub(crate) use fit::code_behind;
pub(crate) use synonyms::normalise;

/// Strength from which an answer is given without a mark.
pub(crate) const CONFIDENT: i64 = 900;
/// Strength from which a sentence comes before those that are only relevant.
pub(crate) const ANSWERED: i64 = 830;
/// Strength from which a sentence is shown as an answer that may be none.
pub(crate) const WEAK: i64 = 700;
/// Strength from which a sentence is near enough to be shown as such.
pub(crate) const NEAR: i64 = 420;

/// What a term is worth for the order of sentences.
const RANK: Credits = Credits { own: 1_000, inner: 850, lead: 850, before: 650, beside: 450, outer: 650, passage: 200 };
/// What a term is worth for honesty: a sentence may leave to its surroundings what they are about.
const TRUST: Credits =
    Credits { own: 1_000, inner: 950, lead: 950, before: 850, beside: 650, outer: 850, passage: 300 };
/// What a term of the subject is worth.
const SUBJECT: Credits =
    Credits { own: 950, inner: 1_000, lead: 950, before: 800, beside: 500, outer: 850, passage: 250 };
/// What the key word of the question is worth.
const KEY: Credits = Credits { own: 1_000, inner: 750, lead: 900, before: 500, beside: 400, outer: 500, passage: 0 };

/// Characters of which an operator has at least one; others are punctuation of the question.
const OPERATOR: [char; 12] = ['<', '>', '=', '|', '&', '@', '~', '+', '*', '%', '^', '#'];

/// Words between two that still stand together.
const NEAR_WORDS: usize = 2;

/// A sub-question, ready to score sentences.
pub(crate) struct Scorer {
    intent: Intent,
    question: String,
    asks_code: bool,
    concepts: Vec<Concept>,
    total: i64,
    focus: BTreeSet<String>,
    /// Ordinal of the concept of the question's key word.
    key: Option<usize>,
    /// Options of one letter, as they are written.
    options: Vec<String>,
    /// Operators of the question, such as `<=>`: they have no letters, so that no term is made of them.
    symbols: Vec<String>,
    /// What the question asks about, word for word, where it asks about one thing.
    object: Option<String>,
    terms: Terms,
}

/// The score of one sentence.
#[derive(Clone, Debug)]
pub(crate) struct Scored {
    /// Ordinal of the segment in its hit.
    pub(crate) segment: usize,
    /// For ordering, in thousandths and more.
    pub(crate) relevance: i64,
    /// Whether the innermost heading names nearly all that is asked.
    pub(crate) named: bool,
    /// For honesty: how much of the question the sentence and its surroundings cover, 0 to 1000.
    pub(crate) strength: i64,
    /// How well the sentence has the form that the question requires, 0 to 1000.
    pub(crate) form: i64,
    /// The question's terms that the sentence itself has.
    pub(crate) covered: BTreeSet<String>,
}

/// The terms of a text with synonyms folded together.
pub(crate) fn term_set(terms: &mut Terms, text: &str) -> BTreeSet<String> {
    terms.list(text).into_iter().map(|t| normalise(&t.text).to_owned()).collect()
}

/// A hit as it is compared: a number in full-width digits is a number.
fn folded(hit: &Hit) -> Cow<'_, Hit> {
    let same = |text: &str| matches!(fold(text), Cow::Borrowed(_));
    if same(&hit.title) && hit.headings.iter().all(|h| same(h)) && hit.segments.iter().all(|s| same(&s.text)) {
        return Cow::Borrowed(hit);
    }
    let mut hit = hit.clone();
    hit.title = fold(&hit.title).into_owned();
    hit.headings.iter_mut().for_each(|heading| *heading = fold(heading).into_owned());
    hit.segments.iter_mut().for_each(|segment| segment.text = fold(&segment.text).into_owned());
    Cow::Owned(hit)
}

impl Scorer {
    /// A scorer for a sub-question with its terms' weights.
    pub(crate) fn new(sub: &SubQuestion, weights: &[TermWeight]) -> Self {
        let mut terms = Terms::default();
        let concepts = concepts(&mut terms, &sub.text, weights);
        let total = concepts.iter().map(|c| c.weight).sum::<i64>().max(1);
        let focus = focus(&mut terms, &sub.focus);
        let question = format!(" {} ", sub.text.to_lowercase());
        // Of a definition the focus itself is asked, and what is asked yes or no may be answered by its opposite.
        let whole = matches!(sub.intent, Intent::Definition | Intent::YesNo);
        let word = if whole { None } else { super::plan::key(&sub.text) };
        let key =
            word.map(|w| term_set(&mut terms, &w)).and_then(|k| concepts.iter().position(|c| k.contains(&c.whole)));
        let option = |w: &&str| w.len() == 2 && w.starts_with('-');
        let options =
            sub.text.split_whitespace().map(|w| w.trim_matches('`')).filter(option).map(str::to_owned).collect();
        let asks_code = names_code(&sub.text);
        let operator = |w: &&str| w.len() >= 2 && w.chars().all(|c| c.is_ascii_punctuation()) && w.contains(OPERATOR);
        let symbols = sub.text.split([' ', '`']).filter(operator).map(str::to_owned).collect();
        let object = super::plan::object(&sub.text);
        Self { intent: sub.intent, question, asks_code, concepts, total, focus, key, options, symbols, object, terms }
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
        let hit = folded(hit);
        let around = Surroundings::new(&mut self.terms, &hit);
        (0..hit.segments.len()).map(|i| self.segment(&hit, &around, i)).collect()
    }

    fn segment(&self, hit: &Hit, around: &Surroundings, at: usize) -> Scored {
        let segment = &hit.segments[at];
        let own = &around.sets[at];
        let asked: Vec<&str> =
            self.concepts.iter().flat_map(|c| c.parts.iter().chain([&c.whole])).map(String::as_str).collect();
        let view = fit::View {
            asked: &asked,
            named: self.share(&around.inner) >= 900,
            verb: self.key.map(|key| self.concepts[key].whole.as_str()),
            hit,
            segment,
            at,
            opens: around.opens(at),
            words: &around.lists[at],
            terms: own,
            around,
            focus: &self.focus,
            asks_code: self.asks_code,
            object: self.object.as_deref().filter(|object| around.name != *object && around.page_name != *object),
            question: &self.question,
        };
        let fit = fit::fit(self.intent, &view);
        let quality = quality::quality(self.intent, &view);
        let relevance = self.relevance(around, &view, &fit) * quality / 1_000;
        let strength = self.strength(around, &view, &fit) * quality::trust(quality) / 1_000;
        let covered = self.question_terms().filter(|t| own.contains(*t)).cloned().collect();
        Scored { segment: at, relevance, named: view.named, strength, form: fit.score, covered }
    }

    /// A product, not a sum: a sentence about another subject is not saved by its form, nor one without the form by its words.
    fn relevance(&self, around: &Surroundings, view: &fit::View<'_>, fit: &fit::Fit) -> i64 {
        let at = view.at;
        let about = self.about(around);
        let covers = self.weigh(|term| around.credit(at, term, &RANK, about));
        let subject = self.subject(around, at);
        let key = self.key_credit(around, at);
        let denied =
            [" not ", " no ", " never "].iter().any(|m| self.question.contains(m)) && fit::denies(&view.segment.text);
        let mut bonus = 1_000 + 3 * self.proximity(around, &around.lists[at]) / 10 + around.density(self) / 10;
        bonus += self.named(around, about);
        bonus += if view.opens { 60 } else { 0 } + if denied { 60 } else { 0 };
        let sharp = matches!(self.intent, Intent::Definition | Intent::Person);
        let product = [
            covers,
            250 + 750 * subject / 1_000,
            if sharp { 250 + 750 * fit.score / 1_000 } else { 450 + 550 * fit.score / 1_000 },
            fit.support,
            if self.intent == Intent::Person { 400 + 600 * key / 1_000 } else { 600 + 400 * key / 1_000 },
            self.own_part(around, view),
            self.foreign(around, view),
            self.operators(view),
            bonus,
        ];
        product.into_iter().fold(covers * 100, |left, factor| left * factor / 1_000)
    }

    /// How far a sentence can be trusted to answer, 0 to 1000, before its quality.
    fn strength(&self, around: &Surroundings, view: &fit::View<'_>, fit: &fit::Fit) -> i64 {
        let at = view.at;
        let about = self.about(around);
        let covers = self.weigh(|term| around.credit(at, term, &TRUST, about));
        let key = match self.key_credit(around, at) {
            0 => 650,
            1..=300 if self.intent == Intent::Person => 700,
            _ => 1_000,
        };
        let product = [
            400 + 600 * self.subject(around, at) / 1_000,
            key,
            fit.support,
            self.own_part(around, view).max(600),
            self.foreign(around, view),
            self.operators(view),
        ];
        product.into_iter().fold(covers, |left, factor| left * factor / 1_000).min(1_000)
    }

    /// How far the innermost heading is about the question and little else, 0 to 1000.
    fn about(&self, around: &Surroundings) -> i64 {
        let part = |t: &String| self.concepts.iter().any(|c| c.whole != *t && fit::is_part(t, &c.whole));
        let words: Vec<&String> = around.inner.iter().filter(|t| !fit::is_label(t) && !part(t)).collect();
        let asked = words.iter().filter(|t| self.concepts.iter().any(|c| c.has(t))).count();
        i64::try_from(asked * 1_000 / words.len().max(1)).unwrap_or(1_000)
    }

    /// What it is worth that the innermost heading is the question, or nearly.
    fn named(&self, around: &Surroundings, about: i64) -> i64 {
        let share = self.share(&around.inner);
        let heading = match share {
            900.. => 600 * (500 + about / 2) / 1_000,
            450.. => share * share / 1_000 * (500 + about / 2) / 1_000 * 4 / 10,
            _ => 0,
        };
        // A page whose title is nothing but words of the question is about its subject.
        let words = || around.page.iter().filter(|t| !fit::is_label(t));
        let whole = words().count() > 0 && words().all(|t| self.concepts.iter().any(|c| c.has(t)));
        let heading = heading * (250 + 3 * self.in_order(around) / 4) / 1_000;
        heading + if whole { self.share(&around.page) / 4 } else { 0 }
    }

    /// How far the innermost heading names the question's words in their order, 0 to 1000: turning a string into a number is
    /// not turning a number into a string.
    fn in_order(&self, around: &Surroundings) -> i64 {
        let place = |c: &Concept| around.order.iter().position(|t| c.has(t));
        let places: Vec<usize> = self.concepts.iter().filter_map(place).collect();
        let pairs = places.len().saturating_sub(1);
        let ordered = places.windows(2).filter(|w| w[0] <= w[1]).count();
        i64::try_from((ordered * 1_000).checked_div(pairs).unwrap_or(1_000)).unwrap_or(1_000)
    }

    /// A sentence that has nothing of the question itself answers only as the first of its section.
    fn own_part(&self, around: &Surroundings, view: &fit::View<'_>) -> i64 {
        let share = self.share(&around.sets[view.at]);
        let inner = self.share(&around.inner);
        match () {
            () if share >= 120 || (view.opens && inner >= 450) => 1_000,
            () if (view.hit.term && inner >= 300) || inner >= 900 => 900,
            () if around.lead(view.at).is_some_and(|lead| self.share(&around.sets[lead]) >= 300) => 900,
            () => 350 + share * 3,
        }
    }

    /// Whether a term is an option in the other case than the question's: `-E` is not `-e`.
    fn other_case(&self, hit: &Hit) -> bool {
        let Some(heading) = hit.headings.last().filter(|_| hit.term) else { return false };
        let has = |option: &str| heading.split([' ', ',', '=', '[']).any(|w| w.trim_matches('`') == option);
        self.options.iter().any(|option| !has(option) && has(&swap_case(option)))
    }

    /// An operator that the question names must be there: `<=>` is not `<->`.
    fn operators(&self, view: &fit::View<'_>) -> i64 {
        let text = &view.segment.text;
        let named = |symbol: &String| {
            text.contains(symbol.as_str()) || view.hit.headings.iter().any(|h| h.contains(symbol.as_str()))
        };
        if self.symbols.iter().all(named) { 1_000 } else { 500 }
    }

    /// A passage below a term speaks of that term; below a term that the question does not name it answers little.
    fn foreign(&self, around: &Surroundings, view: &fit::View<'_>) -> i64 {
        let names = matches!(self.intent, Intent::Procedure | Intent::List | Intent::Person | Intent::Location);
        let which = self.question.starts_with(" which ");
        let above = |t: &String| i64::from(around.inner.contains(t) || around.head.contains(t)) * 1_000;
        let of_subject = self.concepts.iter().filter(|c| c.subject).map(|c| c.credit(above)).max();
        let foreign = self.share(&around.inner) == 0 || of_subject.is_some_and(|credit| credit < 500);
        if self.other_case(view.hit) {
            300
        } else if view.hit.term && !names && !which && foreign {
            600
        } else {
            1_000
        }
    }

    /// How far a sentence is about the subject of the question, 0 to 1000; 1000 if the question names none.
    fn subject(&self, around: &Surroundings, at: usize) -> i64 {
        let subject = || self.concepts.iter().filter(|c| c.subject);
        let all: i64 = subject().map(|c| c.weight).sum();
        let held: i64 = subject().map(|c| c.weight * c.credit(|term| around.credit(at, term, &SUBJECT, 0))).sum();
        if all == 0 { 1_000 } else { held / all }
    }

    /// How well a sentence and its surroundings have the question's key word, 0 to 1000; 1000 if there is no such word.
    fn key_credit(&self, around: &Surroundings, at: usize) -> i64 {
        // Who did something is said where it is said that it was done.
        let credits = if self.intent == Intent::Person { Credits { inner: 300, outer: 300, ..KEY } } else { KEY };
        self.key.map_or(1_000, |key| self.concepts[key].credit(|term| around.credit(at, term, &credits, 0)))
    }

    /// How many of the question's neighbouring words stand as near in the sentence or in its heading, 0 to 1000.
    fn proximity(&self, around: &Surroundings, words: &[Term]) -> i64 {
        let place = |c: &Concept| -> Vec<usize> {
            words.iter().filter(|w| c.whole == normalise(&w.text)).map(|w| w.position).collect()
        };
        let named = |c: &Concept| c.credit(|t| i64::from(around.inner.contains(t)) * 1_000) >= 900;
        let near = |a: &Concept, b: &Concept| {
            let (x, y) = (place(a), place(b));
            (named(a) && named(b)) || x.iter().any(|x| y.iter().any(|y| x.abs_diff(*y) <= NEAR_WORDS))
        };
        let pairs = self.concepts.len().saturating_sub(1);
        if pairs == 0 {
            return if self.concepts.first().is_some_and(|c| named(c) || !place(c).is_empty()) { 1_000 } else { 0 };
        }
        let close = self.concepts.windows(2).filter(|w| near(&w[0], &w[1])).count();
        i64::try_from(close * 1_000 / pairs).unwrap_or(1_000)
    }
}

fn swap_case(text: &str) -> String {
    text.chars().map(|c| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }).collect()
}

fn is_prose(segment: &Segment) -> bool {
    matches!(segment.kind, SegmentKind::Sentence | SegmentKind::Item)
}
