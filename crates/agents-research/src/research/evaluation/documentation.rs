//! The evaluation on real documentation: Debian's documentation packages, which are fetched and not kept here.
//!
//! For: `evaluation/debian/questions.jsonl` over the folders that `evaluation/debian/fetch` makes. Not for: the
//! small corpus of our own, which `super` scores.
//! Invariant: an answer counts only as the first finding of the section Answer and only with the right page; which
//! half a question belongs to depends on its name alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use consort_types::{Code, Error, Result};
use serde::Deserialize;

use super::{normal, section};
use crate::research::model::{LedgerEntry, Support};
use crate::research::text::markup::{squeeze, unescape};
use crate::research::{Library, Outcome, ResearchConfig, Silent, run};

/// Folders of the packages, by the name that questions use.
const FOLDERS: &[(&str, &str)] = &[
    ("bash", "usr/share/doc/bash"),
    ("git", "usr/share/doc/git-doc"),
    ("policy", "usr/share/doc/debian-policy"),
    ("postgresql", "usr/share/doc/postgresql-doc-15/html"),
    ("python", "usr/share/doc/python3.11/html"),
    ("sqlite", "usr/share/doc/sqlite3"),
];

/// Which half of the questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Half {
    /// May be looked at while the rules are made.
    Work,
    /// Is only ever counted.
    Scored,
}

impl Half {
    /// The half of a question: the parity of the first byte of its name's BLAKE3 hash; `pr-…` is practice.
    pub fn of(id: &str) -> Self {
        if id.starts_with("pr-") || blake3::hash(id.as_bytes()).as_bytes()[0].is_multiple_of(2) {
            Self::Work
        } else {
            Self::Scored
        }
    }
}

/// Texts that a right answer holds: one, or several together.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Pattern {
    One(String),
    All(Vec<String>),
}

/// What answers one part of a question.
#[derive(Clone, Debug, Deserialize)]
struct Expected {
    any: Vec<Pattern>,
    /// Pages without their endings.
    pages: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Question {
    id: String,
    docs: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "question")]
    text: String,
    /// One for each part; none for a question that the documents do not answer.
    expect: Vec<Expected>,
}

/// How one question went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The first finding answers and cites a right page.
    Right,
    /// The same, and marked as weak.
    RightButWeak,
    /// "Not found", though there is an answer; or one of several parts is missing.
    Missed,
    /// Another sentence, marked as weak.
    WrongButWeak,
    /// Another sentence, without a mark.
    WrongAndConfident,
    /// "Not found", and there is no answer.
    Honest,
}

/// One question with its verdict.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Its name.
    pub id: String,
    /// Its half.
    pub half: Half,
    /// What kind of question it is; `unanswerable` where there is no answer.
    pub kind: String,
    /// The question.
    pub question: String,
    /// How it went.
    pub verdict: Verdict,
    /// The strength of the first part, 0 to 1000.
    pub strength: i64,
    /// Whether every citation of the report was verified.
    pub verified: bool,
    /// The section Answer on one line.
    pub answer: String,
}

/// Answers the questions of one half, or of both, from the folders below `packages`.
pub fn evaluate(questions: &Path, packages: &Path, half: Option<Half>, config: &ResearchConfig) -> Result<Table> {
    let bad = |e: &dyn fmt::Display| Error::new(Code::BadInput, format!("`{}`: {e}", questions.display()));
    let text = std::fs::read_to_string(questions).map_err(|e| bad(&e))?;
    let mut by_folder: BTreeMap<String, Vec<Question>> = BTreeMap::new();
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let question: Question = serde_json::from_str(line).map_err(|e| bad(&e))?;
        if half.is_none_or(|h| h == Half::of(&question.id)) {
            by_folder.entry(question.docs.clone()).or_default().push(question);
        }
    }
    let mut results = Vec::new();
    for (docs, questions) in by_folder {
        let folder = FOLDERS.iter().find(|(name, _)| *name == docs).map(|(_, folder)| packages.join(folder));
        let folder = folder.ok_or_else(|| bad(&format!("`{docs}` names no package")))?;
        // One library for each package, so that only one index is in memory.
        let library = Library::new(config.clone());
        for question in questions {
            let outcome = run(&library, &question.text, &folder.to_string_lossy(), &Silent)?;
            results.push(judge(&question, &outcome));
        }
    }
    Ok(Table { results })
}

fn judge(question: &Question, outcome: &Outcome) -> Judged {
    let answer = section(&outcome.report.markdown, "Answer");
    let plain = normal(&unescape(&answer));
    let shown: Vec<&LedgerEntry> = outcome.report.ledger.iter().filter(|e| plain.contains(&normal(&e.claim))).collect();
    let firsts = firsts(&shown);
    let labels = labels(&answer, &firsts);
    let confident = firsts.iter().any(|first| {
        let sub = first.first().map(|e| e.sub_question.as_str());
        outcome.report.coverage.iter().any(|c| Some(c.sub_question.as_str()) == sub && c.support == Support::Answered)
    });
    let verdict = match (question.expect.as_slice(), firsts.is_empty()) {
        ([], true) => Verdict::Honest,
        (_, true) => Verdict::Missed,
        ([], false) if confident => Verdict::WrongAndConfident,
        ([], false) => Verdict::WrongButWeak,
        (parts, false) => answered(parts, &firsts, &labels, confident),
    };
    Judged {
        id: question.id.clone(),
        half: Half::of(&question.id),
        kind: if question.expect.is_empty() { "unanswerable".to_owned() } else { question.kind.clone() },
        question: question.text.clone(),
        verdict,
        strength: outcome.report.coverage.first().map_or(0, |c| c.strength),
        verified: outcome.review.checked == outcome.review.verified,
        answer: squeeze(&answer),
    }
}

/// The bold labels of lines that hold a claim of a first finding.
fn labels(answer: &str, firsts: &[Vec<&LedgerEntry>]) -> String {
    let lines = answer.lines().map(unescape);
    let claims: Vec<String> = firsts.iter().flatten().map(|e| normal(&e.claim)).collect();
    let of_first = |line: &String| claims.iter().any(|c| normal(line).contains(c));
    let label =
        |line: String| line.strip_prefix("**").and_then(|l| l.split_once(":**")).map(|(label, _)| normal(label));
    lines.filter(of_first).filter_map(label).collect::<Vec<_>>().join("\n")
}

/// The first finding of each part of the report: its first claim with those that cite the same section.
fn firsts<'a>(shown: &[&'a LedgerEntry]) -> Vec<Vec<&'a LedgerEntry>> {
    let mut out: Vec<Vec<&LedgerEntry>> = Vec::new();
    for entry in shown {
        match out.iter_mut().find(|f| f[0].sub_question == entry.sub_question) {
            Some(first) if first[0].citation == entry.citation => first.push(entry),
            Some(_) => {}
            None => out.push(vec![entry]),
        }
    }
    out
}

fn answered(parts: &[Expected], firsts: &[Vec<&LedgerEntry>], labels: &str, confident: bool) -> Verdict {
    // A question of one part is answered by the first finding of all, one of several parts by that of any.
    let looked = if parts.len() == 1 { &firsts[..1] } else { firsts };
    let held = parts.iter().filter(|p| looked.iter().any(|first| p.is_held(first, labels))).count();
    match (held == parts.len(), confident) {
        (true, true) => Verdict::Right,
        (true, false) => Verdict::RightButWeak,
        (false, _) if held > 0 => Verdict::Missed,
        (false, true) => Verdict::WrongAndConfident,
        (false, false) => Verdict::WrongButWeak,
    }
}

impl Expected {
    fn is_held(&self, first: &[&LedgerEntry], labels: &str) -> bool {
        let claims = first.iter().map(|e| normal(&e.claim)).collect::<Vec<_>>().join("\n");
        let text = format!("{labels}\n{claims}");
        let has = |p: &String| text.contains(&normal(p));
        let fits = self.any.iter().any(|pattern| match pattern {
            Pattern::One(one) => has(one),
            Pattern::All(all) => all.iter().all(has),
        });
        fits && first.iter().all(|e| self.pages.iter().any(|page| is_page(&e.file, page)))
    }
}

/// Whether a file is the page, whatever its format.
fn is_page(file: &str, page: &str) -> bool {
    let bare = [".html", ".rst.txt", ".txt", ".pdf"].iter().find_map(|end| file.strip_suffix(end)).unwrap_or(file);
    bare.strip_suffix(page).is_some_and(|before| before.ends_with('/'))
}

/// All verdicts.
#[derive(Clone, Debug)]
pub struct Table {
    /// Question by question.
    pub results: Vec<Judged>,
}

/// Verdicts counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions.
    pub questions: usize,
    /// Answered first and cited right, weak or not; or honestly not found.
    pub right: usize,
    /// Of these, marked as weak.
    pub weak: usize,
    /// Wrong and not marked as weak.
    pub confident: usize,
}

impl Table {
    /// The counts of those for which `chosen` holds.
    pub fn counts(&self, chosen: impl Fn(&Judged) -> bool) -> Counts {
        let mut out = Counts::default();
        for result in self.results.iter().filter(|r| chosen(r)) {
            out.questions += 1;
            out.right +=
                usize::from(matches!(result.verdict, Verdict::Right | Verdict::RightButWeak | Verdict::Honest));
            out.weak += usize::from(result.verdict == Verdict::RightButWeak);
            out.confident += usize::from(result.verdict == Verdict::WrongAndConfident);
        }
        out
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let halves: BTreeSet<Half> = self.results.iter().map(|r| r.half).collect();
        let mut kinds: BTreeSet<&str> = self.results.iter().map(|r| r.kind.as_str()).collect();
        kinds.remove("unanswerable");
        writeln!(f, "| half | type | questions | right | of these weak | wrong and confident |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for half in halves {
            let name = format!("{half:?}").to_lowercase();
            let mut row = |kind: &str, c: Counts| {
                let percent = (c.right * 1_000 / c.questions.max(1) + 5) / 10;
                writeln!(
                    f,
                    "| {name} | {kind} | {} | {} ({percent} %) | {} | {} |",
                    c.questions, c.right, c.weak, c.confident
                )
            };
            for kind in &kinds {
                row(kind, self.counts(|r| r.half == half && r.kind == *kind))?;
            }
            row("all answerable", self.counts(|r| r.half == half && r.kind != "unanswerable"))?;
            row("unanswerable", self.counts(|r| r.half == half && r.kind == "unanswerable"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_known_in_every_format() {
        for file in ["x/library/json.html", "x/_sources/library/json.rst.txt", "library/json"] {
            assert!(is_page(&format!("/{file}"), "library/json"), "{file}");
        }
        assert!(!is_page("/x/ijson.html", "json"));
    }

    #[test]
    fn the_halves_are_of_about_the_same_size() {
        let ids = (0..200).map(|i| format!("q-{i}"));
        let work = ids.filter(|id| Half::of(id) == Half::Work).count();
        assert!((70..=130).contains(&work), "{work}");
    }
}
