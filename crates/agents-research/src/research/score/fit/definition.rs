//! Definitions: a term with the text below it, and sentences that say what something is.
//!
//! For: telling the definition of the focus from a sentence that only mentions it. Not for: other kinds of statements.
//! Invariant: a heading counts as the focus only where it says little else.

use std::collections::BTreeSet;

use super::{View, denies, has, plain};
use crate::research::score::normalise;
use crate::research::text::words::Term;

/// Verbs that may say what something is.
const VERBS: &[&str] = &[
    " is ",
    " are ",
    " means ",
    " refers to ",
    " stands for ",
    " denotes ",
    " describes ",
    " provides ",
    " represents ",
    " consists of ",
    " was ",
    " defines ",
    " allow ",
    " allows ",
];
/// Beginnings of what is said of it in a definition.
const SAYS: &[&str] = &[
    " is a ",
    " is an ",
    " is the ",
    " are ",
    " means ",
    " refers to ",
    " stands for ",
    " was a ",
    " allow",
    " represents ",
    " consists of ",
    " denotes ",
    " is used ",
    " describes ",
    " is when ",
    " is one ",
    " is any ",
    " is simply ",
];

pub(super) fn definition(view: &View<'_>, lower: &str) -> i64 {
    let head = is_about(&view.around.inner, Some(&view.around.head), view.focus)
        || (view.hit.lead && is_about(&view.around.parent, None, view.focus));
    let verb = VERBS.iter().filter_map(|v| lower.find(v)).min();
    let other = verb.and_then(|at| other_words(view, lower, at));
    let article = verb.is_some_and(|at| SAYS.iter().any(|s| lower[at..].starts_with(s)));
    let second = view.at > 0 && view.hit.segments[view.at - 1].block == view.segment.block;
    // Reference pages open with a phrase: "A growable array".
    let phrase = has(lower, &[" is ", " are ", " provides ", " allows "])
        || [" a ", " an ", " the "].iter().any(|m| lower.starts_with(m))
        || lower.split_whitespace().next().is_some_and(|w| w.len() > 3 && w.ends_with('s'));
    let title = is_about(&view.around.title, None, view.focus) && view.segment.block <= LEAD_BLOCKS;
    let condition = [" if ", " when ", " for ", " in order ", " to "].iter().any(|m| lower.starts_with(m));
    let score = match (other, head) {
        (_, true) if view.hit.term && view.opens => 1_000,
        (Some(0), _) if article => 960,
        (_, true) if view.opens && phrase => 880,
        (_, true) if view.opens && condition => 600,
        (_, true) if view.opens => 800,
        _ if title && view.opens => 880,
        (Some(0), _) => 800,
        (Some(1..=3), _) if article => 700,
        (Some(1..=6), _) => 550,
        (_, true) if second && view.at <= 2 => 600,
        (_, true) => 400,
        _ => 200,
    };
    // What something is not, is no definition, and nor is what it may be used for in one place.
    let denied = denies(&view.segment.text) && !view.hit.term;
    let glossary = view.hit.title.to_lowercase().contains("glossary")
        || view.hit.headings.iter().any(|h| h.to_lowercase().contains("glossary"));
    let score = if denied { score * 7 / 10 } else { score };
    let score = if names_object(view) { score } else { score * 8 / 10 };
    if glossary && head { (score + 150).min(1_150) } else { score }
}

/// Whether what the question asks about is here word for word: "the stage of a file" is not "git stage".
fn names_object(view: &View<'_>) -> bool {
    let Some(object) = view.object.filter(|object| object.contains(' ')) else {
        return true;
    };
    let named = |text: &str| plain(text).contains(object);
    // A heading may have the parts of a name in their own places.
    named(&view.segment.text) || view.hit.headings.iter().any(|h| named(h)) || view.hit.term
}

/// How many words but the focus and articles are before the verb, where the focus is there too and early: "The `str`
/// type, also called a slice, is".
fn other_words(view: &View<'_>, lower: &str, verb: usize) -> Option<usize> {
    // The lower text has a space before it.
    let before: Vec<&Term> = view.words.iter().filter(|w| w.start + 1 < verb && !w.piece).collect();
    // A part of a longer name is another thing: `tablespace_name` is no tablespace.
    let alone =
        |w: &Term| before.iter().filter(|o| o.position == w.position).all(|o| view.focus.contains(normalise(&o.text)));
    let named: Vec<&&Term> = before.iter().filter(|w| view.focus.contains(normalise(&w.text)) && alone(w)).collect();
    let has = |focus: &String| named.iter().any(|w| normalise(&w.text) == focus);
    let early = named.first().is_some_and(|w| w.position <= 2);
    let positions: BTreeSet<usize> = named.iter().map(|w| w.position).collect();
    let words = lower[..verb].split_whitespace().filter(|w| !matches!(*w, "a" | "an" | "the" | "in" | "to")).count();
    (!view.focus.is_empty() && view.focus.iter().all(has) && early).then(|| words.saturating_sub(positions.len()))
}

/// Blocks at the beginning of a file that may introduce it.
const LEAD_BLOCKS: u32 = 6;

/// Stems of words that only say what kind of thing a heading names.
const KINDS: &[&str] = &[
    "struct",
    "enum",
    "trait",
    "modul",
    "function",
    "macro",
    "keyword",
    "type",
    "overview",
    "introduct",
    "crate",
    "command",
    "integ",
    "string",
    "boolean",
    "relat",
    "server",
    "process",
    "option",
    "object",
];

/// Whether a term of a heading is only its number or its kind.
pub(in crate::research::score) fn is_label(term: &str) -> bool {
    KINDS.contains(&term) || term.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Whether a term is only a part of a longer one: `e` of `-e`.
pub(in crate::research::score) fn is_part(term: &str, whole: &str) -> bool {
    term.len() < whole.len()
        && whole.split(['-', '_', '.', ':']).any(|p| p == term || (term.len() > 2 && p.starts_with(term)))
}

/// Whether a heading is about the focus and little else. What qualifies the focus may stand above: "-x" under the
/// title "git-cherry-pick".
fn is_about(heading: &BTreeSet<String>, above: Option<&BTreeSet<String>>, focus: &BTreeSet<String>) -> bool {
    let words = || heading.iter().filter(|t| !is_label(t));
    let part = |t: &String| focus.iter().any(|f| is_part(t, f));
    let others = words().filter(|t| !focus.contains(*t) && !part(t)).count();
    let held = focus.iter().all(|f| heading.contains(f) || above.is_some_and(|a| a.contains(f)));
    let named = words().count() > others || focus.iter().any(|f| heading.contains(f));
    !focus.is_empty() && named && held && others * 2 < focus.len().max(1)
}
