//! Facts in the evidence, and where the sources disagree.
//!
//! For: sentences with numbers, dates and names, and pairs of them that cannot both hold. Not for: judging who is right.
//! Invariant: a contradiction names two sentences of different files that speak of the same thing; doubtful pairs are left out.

use std::collections::BTreeSet;

use consort_types::Result;

use super::model::{Analysis, AnalyzeInput, Contradiction, Fact, Hit, Segment, SegmentKind};
use super::score::{NEAR, Scorer, term_set};
use super::text::dates::dates;
use super::text::fold::fold;
use super::text::words::{Terms, is_stop};

/// Facts that an analysis lists.
const FACTS_MAX: usize = 60;
/// Contradictions that an analysis lists.
const CONTRADICTIONS_MAX: usize = 8;
/// Share of common subject terms, in hundredths, from which two sentences speak of the same thing.
const SAME_SUBJECT: usize = 60;

/// A sentence with what is needed to compare it.
struct Statement<'a> {
    hit: &'a Hit,
    segment: &'a Segment,
    fact: Fact,
    subject: BTreeSet<String>,
    /// Terms of the headings above: two sentences may share their subject there.
    head: BTreeSet<String>,
    values: Vec<(String, String)>,
    negated: bool,
    relevance: i64,
}

/// Lists facts and contradictions.
pub fn analyze(input: &AnalyzeInput) -> Result<Analysis> {
    let mut statements: Vec<Statement<'_>> = Vec::new();
    let mut terms = Terms::default();
    for sub in &input.plan.sub_questions {
        let weights =
            input.evidence.terms.iter().find(|t| t.id == sub.id).map(|t| t.terms.as_slice()).unwrap_or_default();
        let mut scorer = Scorer::new(sub, weights);
        for evidence in input.evidence.kept.iter().filter(|e| e.sub_questions.contains(&sub.id)) {
            for scored in scorer.hit(&evidence.hit) {
                let segment = &evidence.hit.segments[scored.segment];
                if scored.strength >= NEAR && segment.kind != SegmentKind::Code && !segment.text.ends_with('?') {
                    statements.push(statement(&mut terms, &evidence.hit, segment, scored.relevance));
                }
            }
        }
    }
    statements.sort_by(|a, b| {
        b.relevance
            .cmp(&a.relevance)
            .then_with(|| (&a.fact.path, a.fact.place, &a.fact.quote).cmp(&(&b.fact.path, b.fact.place, &b.fact.quote)))
    });
    let mut seen = BTreeSet::new();
    statements.retain(|s| seen.insert(s.fact.quote.clone()));
    let checkable =
        |s: &&Statement<'_>| !(s.fact.numbers.is_empty() && s.fact.dates.is_empty() && s.fact.entities.is_empty());
    let facts = statements.iter().filter(checkable).take(FACTS_MAX).map(|s| s.fact.clone()).collect();
    Ok(Analysis { facts, contradictions: contradictions(&statements) })
}

fn statement<'a>(terms: &mut Terms, hit: &'a Hit, segment: &'a Segment, relevance: i64) -> Statement<'a> {
    let values = values(&fold(&segment.text));
    let fact = Fact {
        quote: segment.text.clone(),
        path: hit.path.clone(),
        place: segment.place,
        hash: hit.hash.clone(),
        numbers: values.iter().map(|(n, unit)| format!("{n} {unit}").trim().to_owned()).collect(),
        dates: dates(&segment.text),
        entities: entities(&segment.text),
    };
    let mut subject = term_set(terms, &segment.text);
    subject.retain(|t| !t.starts_with(|c: char| c.is_ascii_digit()));
    let head = term_set(terms, &format!("{} {}", hit.title, hit.headings.join(" ")));
    let lower = format!(" {} ", segment.text.to_lowercase());
    let negated =
        [" not ", " cannot ", " never ", " no longer ", "n't ", "n’t ", " without "].iter().any(|m| lower.contains(m));
    Statement { hit, segment, fact, subject, head, values, negated, relevance }
}

/// Numbers with the unit behind them (or before, for currency), in lower case.
fn values(text: &str) -> Vec<(String, String)> {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || c == '|').filter(|w| !w.is_empty()).collect();
    let mut out = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '%' && c != '€' && c != '$' && c != '£');
        let currency = bare.starts_with(['€', '$', '£']);
        let body = bare.trim_start_matches(['€', '$', '£']);
        let digits = body.len() - body.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ',').len();
        let (number, own) =
            if digits > 0 { (body[..digits].replace(',', ""), &body[digits..]) } else { (number_word(body), "") };
        if number.is_empty() || own.starts_with('-') || own.contains("::") {
            continue;
        }
        let unit = match own {
            _ if currency => bare[..bare.len() - body.len()].to_owned(),
            "" => words
                .get(i + 1)
                .map(|w| w.trim_matches(|c: char| !c.is_alphanumeric() && c != '%').to_lowercase())
                .unwrap_or_default(),
            own => own.to_lowercase(),
        };
        let unit = if is_stop(&unit) || unit.starts_with(|c: char| c.is_ascii_digit()) { String::new() } else { unit };
        out.push((number.trim_end_matches('.').to_owned(), unit.trim_end_matches('s').to_owned()));
    }
    out
}

fn number_word(word: &str) -> String {
    const WORDS: &[&str] =
        &["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    match word.to_lowercase().as_str() {
        // "one" is mostly a pronoun.
        "one" => String::new(),
        lower => WORDS.iter().position(|w| *w == lower).map(|n| n.to_string()).unwrap_or_default(),
    }
}

/// Names inside the sentence and identifiers anywhere.
fn entities(text: &str) -> Vec<String> {
    let mut out: Vec<String> =
        text.split('`').skip(1).step_by(2).filter(|c| !c.trim().is_empty()).map(str::to_owned).collect();
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut name: Vec<&str> = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        let capital = bare.chars().next().is_some_and(char::is_uppercase) && bare.len() > 1 && !word.starts_with('`');
        if capital && (i > 0 || !is_stop(&bare.to_lowercase())) {
            name.push(bare);
        }
        let last = !capital || word.ends_with([',', '.', ';', ':']) || i + 1 == words.len();
        if last && !name.is_empty() {
            // One capitalised word at the start of a sentence is no name.
            if !(name.len() == 1 && words.first().is_some_and(|w| w.contains(name[0]))) {
                out.push(name.join(" "));
            }
            name.clear();
        }
    }
    out.dedup();
    out.truncate(8);
    out
}

fn contradictions(statements: &[Statement<'_>]) -> Vec<Contradiction> {
    let mut out: Vec<Contradiction> = Vec::new();
    for (i, a) in statements.iter().enumerate() {
        for b in &statements[i + 1..] {
            if out.len() >= CONTRADICTIONS_MAX {
                return out;
            }
            let Some(about) = clash(a, b) else { continue };
            let known =
                out.iter().any(|c| c.a.quote == a.fact.quote || c.b.quote == b.fact.quote || c.b.quote == a.fact.quote);
            if known {
                continue;
            }
            let newer = match (&a.hit.date, &b.hit.date) {
                _ if a.hit.outdated != b.hit.outdated => Some(if a.hit.outdated { "b" } else { "a" }),
                (Some(x), Some(y)) if x != y => Some(if x > y { "a" } else { "b" }),
                _ => None,
            };
            out.push(Contradiction { about, a: a.fact.clone(), b: b.fact.clone(), newer: newer.map(str::to_owned) });
        }
    }
    out
}

/// What two statements disagree about, if they speak of the same thing and do.
fn clash(a: &Statement<'_>, b: &Statement<'_>) -> Option<String> {
    if a.fact.path == b.fact.path || a.segment.kind != b.segment.kind {
        return None;
    }
    let common: BTreeSet<&String> = a.subject.intersection(&b.subject).collect();
    let smaller = a.subject.len().min(b.subject.len());
    let all = a.subject.union(&b.subject).count();
    if common.len() < 3 || common.len() * 100 < all * SAME_SUBJECT || smaller == 0 {
        return None;
    }
    // What one sentence names and the other does not may be another subject: names must agree in text or headings.
    let foreign = |s: &Statement<'_>, o: &Statement<'_>| {
        s.fact.entities.iter().any(|e| {
            let named = Terms::default().set(e);
            !named.is_subset(&o.subject)
                && !named.is_subset(&o.head)
                && !named.iter().all(|t| t.starts_with(|c: char| c.is_ascii_digit()))
        })
    };
    if foreign(a, b) || foreign(b, a) {
        return None;
    }
    (different_value(a, b) || (a.negated != b.negated && common.len() * 100 >= all * 80)).then(|| about(a, &common))
}

/// Whether the one number with the same unit differs.
fn different_value(a: &Statement<'_>, b: &Statement<'_>) -> bool {
    let comparable = !a.values.is_empty() && a.values.len() == b.values.len() && a.values.len() <= 3;
    let same_units = a.values.iter().zip(&b.values).all(|(x, y)| x.1 == y.1);
    let differs = a.values.iter().zip(&b.values).filter(|(x, y)| x.0 != y.0).count();
    comparable && same_units && (1..=2).contains(&differs)
}

/// The common words, as they stand in the first sentence.
fn about(a: &Statement<'_>, common: &BTreeSet<&String>) -> String {
    let mut out: Vec<&str> = Vec::new();
    for term in Terms::default().list(&a.fact.quote) {
        let word = &a.fact.quote[term.start..term.end];
        let known = common.iter().any(|c| **c == super::score::normalise(&term.text));
        if known && !out.contains(&word) && out.len() < 5 {
            out.push(word);
        }
    }
    out.join(" ").replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_units() {
        let seen = values("The lease lasts 30 seconds, costs $5 or 1,200 EUR, five pumps, 4mm and 50%.");
        let seen: Vec<String> = seen.into_iter().map(|(n, u)| format!("{n}/{u}")).collect();
        assert_eq!(seen, ["30/second", "5/$", "1200/eur", "5/pump", "4/mm", "50/%"]);
    }

    #[test]
    fn names_and_identifiers_are_entities() {
        assert_eq!(entities("The mill was designed by Jane Doe in Ulm with `Arc`."), ["Arc", "Jane Doe", "Ulm"]);
    }
}
