//! The words of a question as concepts with weights.
//!
//! For: compounds with their parts, and which of them name the subject. Not for: sentences.
//! Invariant: a concept's weight is that of its rarest spelling in the corpus.

use std::collections::{BTreeMap, BTreeSet};

use super::{normalise, term_set};
use crate::research::model::TermWeight;
use crate::research::text::words::Terms;

/// One word of the question: a stem, or a compound with its parts, either of which will do.
pub(super) struct Concept {
    pub(super) whole: String,
    pub(super) parts: Vec<String>,
    pub(super) weight: i64,
    /// Whether it names what the answer must speak of.
    pub(super) subject: bool,
}

impl Concept {
    /// Whether a term is the concept or a part of it.
    pub(super) fn has(&self, term: &str) -> bool {
        self.whole == term || self.parts.iter().any(|p| p == term)
    }

    /// The credit of the whole, or nearly that of its last part, which names the thing, with the weakest of the others.
    pub(super) fn credit(&self, of: impl Fn(&String) -> i64) -> i64 {
        let last = self.parts.last().map(&of).unwrap_or_default();
        let path = self.whole.contains("::");
        let weakest = self.parts.iter().map(&of).min().unwrap_or_default();
        let parts = if path { (4 * last + weakest) / 5 } else { weakest };
        // The parts of `work_mem` name something else when they stand alone.
        let worth = if self.whole.contains('_') { 60 } else { 95 };
        of(&self.whole).max(parts * worth / 100)
    }
}

/// Whether a text names code: a path, an option, a call or a word with humps.
pub(super) fn names_code(text: &str) -> bool {
    let humps = |w: &str| w.chars().zip(w.chars().skip(1)).any(|(a, b)| a.is_lowercase() && b.is_uppercase());
    text.contains(['`', '_', '(', '<'])
        || text.contains("::")
        || text.contains(" --")
        || text.split_whitespace().any(humps)
}

/// Whether a term is a whole that has parts.
fn is_compound(term: &str) -> bool {
    term.contains(['_', ':', '.', '-'])
}

/// Whether a group of terms is an identifier with its parts, such as `work_mem`.
fn is_name(group: &[String]) -> bool {
    group.first().is_some_and(|whole| whole.contains(['_', ':']) && group.len() > 1)
}

/// Weight from which a name is rare enough to be a subject.
const NAME_WEIGHT_MIN: i64 = 2_300;

/// Stems of words that say what kind of thing is asked of, and are often left out where it is answered.
const GENERIC: &[&str] = &[
    "mode", "option", "set", "paramet", "command", "function", "method", "modul", "variabl", "system", "program",
    "data", "name", "type", "most", "enabl", "allow", "possibl", "larg", "rang", "support", "provid", "differ", "case",
    "tool",
];

/// The words of the question that have a weight, each with its parts.
pub(super) fn concepts(terms: &mut Terms, text: &str, weights: &[TermWeight]) -> Vec<Concept> {
    let known: BTreeMap<&str, i64> = weights.iter().map(|w| (w.term.as_str(), w.weight)).collect();
    let mut groups: BTreeMap<(usize, usize), Vec<String>> = BTreeMap::new();
    let mut plain = 0;
    for term in terms.list(text) {
        // Words that only a hyphen joins are words of their own: "crash-safe".
        let joined = groups.get(&(term.position, plain)).is_none_or(|g| is_compound(&g[0]) || term.piece);
        plain = if joined { plain } else { plain + 1 };
        groups.entry((term.position, plain)).or_default().push(term.text);
    }
    // A group without a weight is the frame of the question; a part of a name is none, even where it could be.
    groups.retain(|_, group| group.iter().any(|t| known.contains_key(t.as_str())));
    for group in groups.values_mut().filter(|g| !is_name(g)) {
        group.retain(|t| known.contains_key(t.as_str()));
    }
    let names = term_set(terms, &crate::research::plan::names(text));
    let subject = term_set(terms, &crate::research::plan::subject(text));
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
            // A name of a thing in lower and upper case is a subject only where it is rare: not the product itself.
            let subject = subject.contains(&whole) || (names.contains(&whole) && weight >= NAME_WEIGHT_MIN);
            let weight = if GENERIC.contains(&whole.as_str()) && !subject { weight / 2 } else { weight };
            out.push(Concept { whole, parts: group, weight, subject });
        }
    }
    out
}

/// The focus as terms: of a path its last part, of other compounds the whole.
pub(super) fn focus(terms: &mut Terms, text: &str) -> BTreeSet<String> {
    let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for term in terms.list(text).into_iter().filter(|t| !t.piece) {
        groups.entry(term.position).or_default().push(term.text);
    }
    let pick = |mut group: Vec<String>| {
        let path = group.first().is_some_and(|g| g.contains("::"));
        let whole = group.first().is_some_and(|g| is_compound(g));
        match (path, whole) {
            (true, _) => group.split_off(group.len() - 1),
            (_, true) => group.into_iter().take(1).collect(),
            // Words that only a hyphen joins count each.
            _ => group,
        }
    };
    groups.into_values().flat_map(pick).map(|t| normalise(&t).to_owned()).collect()
}
