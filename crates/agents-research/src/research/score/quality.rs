//! Whether a sentence is worth quoting at all.
//!
//! For: fragments, questions, pointers to elsewhere, boilerplate, change logs, guesses. Not for: what the question asks.
//! Invariant: a factor from 0 to 1000 that only ever takes away.

use super::fit::{View, has};
use crate::research::model::{Intent, SegmentKind};

/// How much of a sentence's worth remains.
pub(super) fn quality(intent: Intent, view: &View<'_>) -> i64 {
    let text = view.segment.text.as_str();
    let lower = format!(" {} ", text.to_lowercase());
    [
        length(view),
        shape(intent, view, text),
        begins(&lower, view),
        pointer(&lower),
        boilerplate(&lower, view),
        source(view),
        guess(&lower),
        script(view),
    ]
    .into_iter()
    .fold(1_000, |left, factor| left * factor / 1_000)
}

/// A sentence in a script that the question does not use will hardly answer it.
fn script(view: &View<'_>) -> i64 {
    let foreign = |text: &str| {
        text.chars().filter(|c| c.is_alphabetic() && !c.is_ascii()).count() * 3
            > text.chars().filter(|c| c.is_alphabetic()).count()
    };
    if foreign(&view.segment.text) && !foreign(view.question) { 400 } else { 1_000 }
}

/// How far a poor sentence can be trusted as an answer.
pub(super) fn trust(quality: i64) -> i64 {
    if quality >= 500 { 1_000 } else { 600 + quality * 8 / 10 }
}

fn length(view: &View<'_>) -> i64 {
    let words = view.segment.text.split_whitespace().count();
    match (view.segment.kind, words) {
        (SegmentKind::Code, _) => 1_000,
        // "Clear the cache": below a term a few words say it all.
        (SegmentKind::Sentence, 2..=5) if view.hit.term => 930,
        (SegmentKind::Row, 0..=2) | (_, 0..=3) => 350,
        (SegmentKind::Row, _) => 1_000,
        (SegmentKind::Item, 4..=5) | (_, 46..=70) => 850,
        // Reference pages open with a short phrase.
        (_, 4..=5) if view.opens => 900,
        (_, 4..=5) => 700,
        (_, 71..) => 600,
        _ => 1_000,
    }
}

/// Questions, lead-ins, headings and code where prose is wanted.
fn shape(intent: Intent, view: &View<'_>, text: &str) -> i64 {
    let values = matches!(
        intent,
        Intent::Quantity | Intent::Duration | Intent::Time | Intent::General | Intent::Location | Intent::Person
    );
    let kind = match view.segment.kind {
        SegmentKind::Code if intent == Intent::Procedure => 500,
        SegmentKind::Code => 350,
        SegmentKind::Row if values || intent == Intent::Procedure => 950,
        SegmentKind::Row => 750,
        SegmentKind::Item => 970,
        SegmentKind::Sentence => 1_000,
    };
    let trimmed = text.trim_end_matches(['"', '”', ')', '*', '`', ' ']);
    let end = match trimmed.chars().last() {
        Some('?') => 150,
        Some(':') if intent == Intent::List || intent == Intent::Procedure => 1_000,
        Some(':') if text.split_whitespace().count() >= 8 => 850,
        Some(':') => 600,
        Some('.' | '!' | ';') => 1_000,
        _ if view.segment.kind == SegmentKind::Sentence => 750,
        _ => 950,
    };
    let letters = text.chars().filter(|c| c.is_alphabetic()).count() * 100 / text.chars().count().max(1);
    let noise = if letters < 55 && view.segment.kind != SegmentKind::Code && view.segment.kind != SegmentKind::Row {
        500
    } else {
        1_000
    };
    let dots = if text.contains(". . .") || text.contains(".....") { 150 } else { 1_000 };
    kind * end / 1_000 * noise / 1_000 * dots / 1_000
}

/// Sentences that lean on the one before.
fn begins(lower: &str, view: &View<'_>) -> i64 {
    let first = lower.split_whitespace().next().unwrap_or_default().trim_matches(|c: char| !c.is_alphanumeric());
    let leaning =
        matches!(first, "this" | "these" | "it" | "they" | "that" | "such" | "he" | "she" | "its" | "their" | "those");
    let joining = matches!(
        first,
        "however"
            | "therefore"
            | "also"
            | "thus"
            | "but"
            | "and"
            | "so"
            | "then"
            | "moreover"
            | "furthermore"
            | "similarly"
            | "or"
            | "otherwise"
            | "instead"
            | "likewise"
            | "finally"
            | "yet"
            | "hence"
            | "notably"
    );
    let fragment = view.segment.kind == SegmentKind::Sentence && view.segment.text.starts_with(char::is_lowercase);
    match () {
        // The sentence before comes with it.
        () if leaning && view.at > 0 => 930,
        () if leaning => 800,
        () if joining => 900,
        () if lower.starts_with(" for example") => 900,
        () if lower.starts_with(" on the other hand") => 850,
        () if fragment => 750,
        () if lower.trim_start().starts_with('(') => 850,
        () => 1_000,
    }
}

/// Sentences that say where something is said.
fn pointer(lower: &str) -> i64 {
    let meta = has(
        lower,
        &[
            " in this chapter",
            " in this section",
            " in this example",
            " in this guide",
            " in this tutorial",
            " in this document",
            " this chapter ",
            " this section ",
            " we'll ",
            " we’ll ",
            " we will ",
            " let's ",
            " let’s ",
            "see the ",
            "see also ",
            " listing ",
            " figure ",
            " as shown ",
            " next chapter",
            " previous paragraph",
            " preceding example",
            " following example",
            " described above",
            " previous chapter",
            " next section",
            " previous section",
            " later in ",
            " is described in ",
            " refer to the ",
            " for more information",
            " for details",
            " for more details",
            " see section",
            " see chapter",
            " click here",
            " read more",
            " table of contents",
            " you'll learn",
            " you’ll learn",
            " we’ve ",
            " we've ",
            " in chapter ",
            " remember ",
        ],
    );
    // A pointer behind the statement, often in brackets, takes little from it.
    let behind = ["(see ", "; see ", "; for ", ", see ", "(for more ", "(refer "]
        .iter()
        .any(|m| lower.find(m).is_some_and(|at| at > 40));
    match (meta, behind) {
        (true, true) => 950,
        (true, false) => 600,
        _ => 1_000,
    }
}

fn boilerplate(lower: &str, view: &View<'_>) -> i64 {
    let legal = has(
        lower,
        &[
            " copyright",
            " all rights reserved",
            " warranty",
            " warranties",
            " redistribut",
            " sublicense",
            " merchantability",
            " noninfringement",
            " licensed under",
            "©",
        ],
    );
    let asked = has(view.question, &["licen", "copyright", "warrant", "distribut"]);
    if legal && !asked { 300 } else { 1_000 }
}

/// Change logs, licences and documents that call themselves outdated.
fn source(view: &View<'_>) -> i64 {
    let name = view.hit.path.rsplit('/').next().unwrap_or_default().to_lowercase();
    let title = view.hit.title.to_lowercase().replace('’', "'");
    let log = has(&name, &["changelog", "changes", "news", "history", "release"])
        || has(&title, &["what's new", "release notes", "release history", "changelog"])
        || title.contains(" release ");
    let asks_history = has(
        view.question,
        &["version", "release", "change", " new ", "when", "history", "add", "introduc", "fixed", "stabil"],
    );
    let legal =
        has(&name, &["copyright", "license", "licence", "copying"]) && !has(view.question, &["licen", "copyright"]);
    let log = if log && !asks_history { 600 } else { 1_000 };
    let legal = if legal { 400 } else { 1_000 };
    let outdated = view.hit.outdated
        || view
            .hit
            .headings
            .iter()
            .any(|h| has(&h.to_lowercase(), &["deprecated", "obsolete", "archived", "superseded", "old version"]));
    // An entry of a reference answers questions about its own name; others are answered better by prose.
    let signature = |h: &String| {
        h.char_indices().any(|(i, c)| c == '(' && h[..i].ends_with(|p: char| p.is_alphanumeric() || p == '_'))
    };
    let entry = view.hit.headings.last().is_some_and(|h| signature(h) || h.contains(['<', '{']) || h.contains("::"));
    let entry = if entry && !view.asks_code { 850 } else { 1_000 };
    log * legal / 1_000 * if outdated { 700 } else { 1_000 } / 1_000 * entry / 1_000
}

/// Guesses and plans are weaker than statements.
fn guess(lower: &str) -> i64 {
    let open = has(
        lower,
        &[
            " rumour",
            " rumor",
            " reportedly",
            " some say",
            " some people say",
            " it is said",
            " unconfirmed",
            " proposal",
            " proposed ",
            " draft ",
            " under discussion",
            " was considered",
            " were considered",
            " i think ",
            " maybe ",
            " perhaps ",
            " allegedly",
            " legend ",
        ],
    );
    // What has been so until now is often followed by what is so today.
    let past = has(lower, &[" has been ", " had been ", " used to be ", " traditionally ", " formerly ", " prior to "]);
    if open {
        800
    } else if past {
        880
    } else {
        1_000
    }
}
