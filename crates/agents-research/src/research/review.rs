//! The machine check of a report against the files that it cites.
//!
//! For: does each quote stand in that file at that place, with that hash; is every sentence of fact cited; is every
//! part of the question covered. Not for: style.
//! Invariant: the check reads the files again and trusts nothing that the report says about them.

use std::collections::BTreeMap;

use consort_types::{Code, Error, Result};

use super::config::Observer;
use super::corpus::path_of;
use super::extract::{self, Read};
use super::index::Library;
use super::model::{LedgerEntry, PlaceUnit, Problem, Report, Review, ReviewInput, Support};
use super::text::markup::{squeeze, unescape};

/// Checks a report. An index with a file that has changed is given up, so that the next search reads it again.
pub fn review(library: &Library, input: &ReviewInput, observer: &dyn Observer) -> Result<Review> {
    let report = &input.report;
    let mut files: BTreeMap<&str, Result<Read>> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut verified = 0;
    for entry in &report.ledger {
        let now = files.entry(entry.file.as_str()).or_insert_with(|| read(library, &entry.file, observer));
        if observer.cancelled() {
            return Err(Error::new(Code::Cancelled, "the review was cancelled"));
        }
        if now.as_ref().is_ok_and(|now| now.hash != entry.hash) {
            library.forget(&entry.file, &entry.hash);
            let why = format!("`{}` has changed since it was read", entry.file);
            let file = Some(entry.file.clone());
            problems.push(Problem { file, ..problem("changed", why, Some(entry), None) });
            continue;
        }
        match check(entry, now) {
            None => verified += 1,
            Some(why) => problems.push(problem("citation", why, Some(entry), None)),
        }
    }
    problems.extend(form(report));
    problems.extend(uncovered(input));
    let checked = report.ledger.len() as u64;
    Ok(Review { score: score(input, checked, verified, &problems), checked, verified, problems })
}

fn problem(kind: &str, message: String, entry: Option<&LedgerEntry>, sub: Option<&str>) -> Problem {
    Problem {
        kind: kind.to_owned(),
        message,
        claim: entry.map(|e| e.claim.clone()),
        sub_question: sub.map(str::to_owned),
        file: None,
    }
}

/// A file as it is now.
fn read(library: &Library, file: &str, observer: &dyn Observer) -> Result<Read> {
    let path = path_of(file);
    extract::read(&path, library.pdf(), &|| observer.cancelled()).map_err(|why| why.error(&path))
}

/// Why an entry for a file that has not changed does not hold, or nothing.
fn check(entry: &LedgerEntry, now: &Result<Read>) -> Option<String> {
    let now = match now {
        Ok(now) => now,
        Err(error) => return Some(error.message.clone()),
    };
    let unit = if now.document.paged { PlaceUnit::Page } else { PlaceUnit::Line };
    let found = entry.place.unit == unit
        && now.document.blocks.iter().any(|block| {
            block
                .text
                .match_indices(&entry.quote)
                .any(|(at, quote)| now.document.place(block, at, at + quote.len()) == entry.place)
        });
    if !found {
        return Some(format!("the quote is not in `{}` at {}", entry.file, entry.place));
    }
    (!is_trim(&entry.claim, &entry.quote)).then(|| "the claim is not a part of its quote".to_owned())
}

/// Whether a claim is its quote without a few words at its start; the first letter may be a capital.
fn is_trim(claim: &str, quote: &str) -> bool {
    let (claim, quote) = (claim.trim(), quote.trim());
    if quote.ends_with(claim) {
        return true;
    }
    let mut chars = claim.chars();
    chars.next().is_some_and(|first| {
        let rest = chars.as_str();
        quote
            .strip_suffix(rest)
            .is_some_and(|before| before.chars().next_back().is_some_and(|c| c.to_uppercase().eq(first.to_uppercase())))
    })
}

/// Sentences without a citation, citations without a source, and gaps in the numbers.
fn form(report: &Report) -> Vec<Problem> {
    let mut out = Vec::new();
    let mut section = String::new();
    let mut fence: Option<(String, String)> = None;
    let mut sources = Vec::new();
    for line in report.markdown.lines() {
        if let Some((mark, code)) = &mut fence {
            if line == mark {
                let known = report.ledger.iter().any(|e| squeeze(&e.claim) == squeeze(code));
                if !known {
                    out.push(problem("uncited", "code in the report is not in the ledger".to_owned(), None, None));
                }
                fence = None;
            } else {
                code.push_str(line);
                code.push('\n');
            }
        } else if line.starts_with("```") {
            fence = Some((line.to_owned(), String::new()));
        } else if let Some(name) = line.strip_prefix("## ") {
            name.clone_into(&mut section);
        } else if section == "Sources" {
            sources.extend(line.split_once(". ").and_then(|(n, _)| n.parse::<u32>().ok()));
        } else if matches!(section.as_str(), "Answer" | "Findings" | "Contradictions") {
            out.extend(statement(report, line));
        }
    }
    let expected: Vec<u32> = (1..=sources.len() as u32).collect();
    let used: std::collections::BTreeSet<u32> = report.ledger.iter().map(|e| e.citation).collect();
    if sources != expected || used.into_iter().collect::<Vec<_>>() != expected {
        out.push(problem("form", "the sources are not numbered as they are cited".to_owned(), None, None));
    }
    out
}

/// Checks that a line is made of claims with their citations.
fn statement(report: &Report, line: &str) -> Vec<Problem> {
    let text = line.trim_start().trim_start_matches("- ").trim();
    let own_words = text.starts_with('_') && text.ends_with('_');
    if text.is_empty() || own_words || text.starts_with('#') {
        return Vec::new();
    }
    let mut rest = text.strip_prefix("**").and_then(|t| t.split_once(":** ")).map_or(text, |(_, body)| body);
    let mut out = Vec::new();
    while !rest.is_empty() {
        let Some((claim, number, after)) = next_claim(rest) else {
            out.push(problem("uncited", format!("a sentence has no citation: `{}`", cut(rest)), None, None));
            break;
        };
        let plain = unescape(claim);
        if !report.ledger.iter().any(|e| e.citation == number && e.claim == plain) {
            out.push(problem(
                "uncited",
                format!("the ledger has no claim for [{number}]: `{}`", cut(&plain)),
                None,
                None,
            ));
        }
        rest = after.trim_start();
    }
    out
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The text up to the next citation, its number, and what follows. Brackets of quotes are escaped or in code.
fn next_claim(text: &str) -> Option<(&str, u32, &str)> {
    let mut in_code = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\\' if !in_code => {
                escaped = !escaped;
                continue;
            }
            '`' if !escaped => in_code = !in_code,
            '[' if !escaped && !in_code => {
                let (number, after) = text[at + 1..].split_once(']')?;
                return Some((text[..at].trim_end(), number.parse().ok()?, after));
            }
            _ => {}
        }
        escaped = false;
    }
    None
}

fn uncovered(input: &ReviewInput) -> Vec<Problem> {
    let mut out = Vec::new();
    for sub in &input.plan.sub_questions {
        let coverage = input.report.coverage.iter().find(|c| c.sub_question == sub.id);
        let message = match coverage.map(|c| c.support) {
            Some(Support::Answered) => continue,
            Some(Support::Partial) => format!("`{}` is answered only in part", sub.text),
            Some(Support::None) | None => format!("`{}` is not answered", sub.text),
        };
        out.push(problem("coverage", message, None, Some(&sub.id)));
    }
    out
}

/// Half for citations, half for coverage, in hundredths. What the sources do not hold is honestly missing and costs little;
/// what is held back costs more, so that another round is worth its while.
fn score(input: &ReviewInput, checked: u64, verified: u64, problems: &[Problem]) -> f64 {
    let citations = (verified * 1_000).checked_div(checked).unwrap_or(1_000);
    let worth = |sub: &str| match input.report.coverage.iter().find(|c| c.sub_question == sub).map(|c| c.support) {
        Some(Support::Answered) => 1_000,
        Some(Support::Partial) => {
            if input.report.unused == 0 {
                800
            } else {
                600
            }
        }
        Some(Support::None) => {
            if input.report.unused == 0 {
                600
            } else {
                300
            }
        }
        None => 0,
    };
    let parts = input.plan.sub_questions.len().max(1) as u64;
    let coverage = input.plan.sub_questions.iter().map(|s| worth(&s.id)).sum::<u64>() / parts;
    let broken = problems.iter().filter(|p| p.kind == "uncited" || p.kind == "form").count() as u64;
    let milli = u64::midpoint(citations, coverage);
    let milli = milli.saturating_sub(200 * broken.min(5));
    // Exactly two decimals, so that the JSON is the same everywhere.
    (milli / 10) as f64 / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trim_may_drop_the_start_and_nothing_else() {
        assert!(is_trim("The pump runs.", "However, the pump runs."));
        assert!(is_trim("Same.", "Same."));
        assert!(!is_trim("The pump stops.", "However, the pump runs."));
        assert!(!is_trim("The pump", "The pump runs not."));
    }

    #[test]
    fn claims_end_at_their_citation() {
        assert_eq!(next_claim("A \\[x\\] `b[0]` c. [12] Next. [3]"), Some(("A \\[x\\] `b[0]` c.", 12, " Next. [3]")));
        assert_eq!(next_claim("no citation"), None);
    }
}
