//! The report: answer first, every fact with its citation, and what was not found.
//!
//! For: choosing sentences and laying them out. Not for: finding or checking them.
//! Invariant: every sentence of fact in the report is a quote (or a faithful trim of one) and is in the ledger;
//! everything else is in italics or in the section on limits.

mod choose;
mod render;

use consort_types::Result;

use super::model::{Coverage, Report, Support, WriteInput};
use choose::{Chosen, Part};

/// Writes the report.
pub fn write(input: &WriteInput) -> Result<Report> {
    let parts = choose::parts(input);
    let coverage = parts.iter().map(coverage).collect();
    let (markdown, ledger) = render::render(input, &parts);
    let unused = parts.iter().map(|p| p.unused as u64).sum();
    Ok(Report { markdown, ledger, coverage, unused })
}

fn coverage(part: &Part<'_>) -> Coverage {
    let missing = if part.support == Support::Answered { Vec::new() } else { part.missing.clone() };
    Coverage {
        sub_question: part.sub.id.clone(),
        support: part.support,
        strength: part.strength.clamp(0, 1_000),
        missing,
    }
}

/// A claim freed of what only joined it to the sentence before.
fn trim_claim(quote: &str) -> String {
    const JOINTS: &[&str] = &[
        "However, ",
        "Therefore, ",
        "Thus, ",
        "Moreover, ",
        "Furthermore, ",
        "In addition, ",
        "For example, ",
        "Additionally, ",
        "Also, ",
        "So, ",
        "Finally, ",
        "In other words, ",
        "Of course, ",
        "Note that ",
        "And ",
        "But ",
        "Hence, ",
        "Consequently, ",
    ];
    let mut claim = quote.trim();
    for joint in JOINTS {
        if let Some(rest) = claim.strip_prefix(joint).filter(|r| r.split_whitespace().count() >= 5) {
            claim = rest;
            break;
        }
    }
    let mut chars = claim.chars();
    match chars.next() {
        Some(first) if claim.len() < quote.trim().len() => first.to_uppercase().chain(chars).collect(),
        _ => claim.to_owned(),
    }
}
