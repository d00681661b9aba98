//! The evaluation of answers: does the report contain the answer, and does it cite the right place?
//!
//! For: `evaluation/questions.jsonl` over `evaluation/corpus`. Not for: judging style.
//! Invariant: an answer counts only where a reader looks first, in the section Answer, and a citation only if the
//! claim that holds the answer cites a place that the question names.

pub mod documentation;

use std::fmt;
use std::path::Path;

use consort_types::{Code, Error, Result};
use serde::{Deserialize, Serialize};

use super::model::PlaceUnit;
use super::text::markup::{squeeze, unescape};
use super::{Library, Outcome, ResearchConfig, Silent, run};

/// Which part of the set a question belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Set {
    /// Looked at while the rules were made.
    Tune,
    /// Held out until the rules were nearly done, and looked at then.
    Held,
    /// Written after the last change of the rules, and never used to change them.
    Fresh,
}

/// The file and the lines that hold an answer.
#[derive(Clone, Debug, Deserialize)]
struct Expected {
    file: String,
    first: u32,
    last: u32,
}

#[derive(Clone, Debug, Deserialize)]
struct Question {
    id: String,
    set: Set,
    #[serde(rename = "question")]
    text: String,
    answer_any: Vec<String>,
    cite: Vec<Expected>,
}

/// How one question went.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent verdict")]
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    /// Its name in the set.
    pub id: String,
    /// Its part of the set.
    pub set: Set,
    /// The question.
    pub question: String,
    /// Whether the sources hold an answer.
    pub answerable: bool,
    /// Whether the section Answer has the answer; for an unanswerable one, whether it says that there is none.
    pub right: bool,
    /// Whether the claim with the answer cites the right place.
    pub cited: bool,
    /// Whether every citation of the report was verified.
    pub verified: bool,
    /// The section Answer.
    pub answer: String,
}

impl Judged {
    /// Whether nothing is to be said against it.
    pub fn passed(&self) -> bool {
        self.right && self.verified && (self.cited || !self.answerable)
    }

    /// What is to be said against it.
    pub fn why(&self) -> String {
        let what = match (self.right, self.cited, self.verified) {
            (false, ..) if self.answerable => "the answer is missing",
            (false, ..) => "an answer is given where there is none",
            (_, false, _) if self.answerable => "another place is cited",
            _ => "a citation does not hold",
        };
        format!("{what}: {}", squeeze(&self.answer))
    }
}

/// The figures of one part of the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Questions that have an answer.
    pub answerable: usize,
    /// Of these, answered.
    pub answered: usize,
    /// Of these, cited at the right place.
    pub cited: usize,
    /// Questions that have none.
    pub unanswerable: usize,
    /// Of these, said to have none.
    pub honest: usize,
    /// Reports in which every citation was verified.
    pub verified: usize,
}

/// All results.
#[derive(Clone, Debug, Serialize)]
pub struct Scores {
    /// Question by question.
    pub results: Vec<Judged>,
}

/// The figures of each part and of all.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Summary {
    /// Of what was looked at.
    pub tune: Figures,
    /// Of what was held out at first.
    pub held: Figures,
    /// Of what was never used.
    pub fresh: Figures,
    /// Of all.
    pub all: Figures,
}

impl Scores {
    /// The figures.
    pub fn summary(&self) -> Summary {
        let of = |set: Option<Set>| {
            let chosen: Vec<&Judged> = self.results.iter().filter(|r| set.is_none_or(|s| r.set == s)).collect();
            let count = |p: &dyn Fn(&Judged) -> bool| chosen.iter().filter(|r| p(r)).count();
            Figures {
                answerable: count(&|r| r.answerable),
                answered: count(&|r| r.answerable && r.right),
                cited: count(&|r| r.answerable && r.right && r.cited),
                unanswerable: count(&|r| !r.answerable),
                honest: count(&|r| !r.answerable && r.right),
                verified: count(&|r| r.verified),
            }
        };
        Summary { tune: of(Some(Set::Tune)), held: of(Some(Set::Held)), fresh: of(Some(Set::Fresh)), all: of(None) }
    }
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.summary();
        for (name, s) in
            [("tuned on", summary.tune), ("held out", summary.held), ("fresh", summary.fresh), ("all", summary.all)]
        {
            let percent = |n: usize, of: usize| format!("{n}/{of} ({} %)", (n * 1_000 / of.max(1) + 5) / 10);
            writeln!(
                f,
                "{name:>8}: {:>2} questions, answered {}, cited right place {}, honest on unanswerable {}, all citations verified {}",
                s.answerable + s.unanswerable,
                percent(s.answered, s.answerable),
                percent(s.cited, s.answerable),
                percent(s.honest, s.unanswerable),
                percent(s.verified, s.answerable + s.unanswerable),
            )?;
        }
        Ok(())
    }
}

/// Answers every question of `root/questions.jsonl` from `root/corpus`.
pub fn evaluate(root: &Path) -> Result<Scores> {
    let path = root.join("questions.jsonl");
    let bad = |e: &dyn fmt::Display| Error::new(Code::BadInput, format!("`{}` cannot be used: {e}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|e| bad(&e))?;
    let corpus = root.join("corpus");
    let library = Library::new(ResearchConfig::default());
    let mut results = Vec::new();
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let question: Question = serde_json::from_str(line).map_err(|e| bad(&e))?;
        let outcome = run(&library, &question.text, &corpus.to_string_lossy(), &Silent)?;
        results.push(judge(question, &outcome));
    }
    Ok(Scores { results })
}

fn judge(question: Question, outcome: &Outcome) -> Judged {
    let answer = section(&outcome.report.markdown, "Answer");
    let plain = normal(&unescape(&answer));
    let holds = |text: &str| question.answer_any.iter().any(|a| normal(text).contains(&normal(a)));
    let answerable = !question.answer_any.is_empty();
    let right = if answerable { holds(&plain) } else { outcome.report.ledger.is_empty() || !answer.contains('[') };
    let cited = outcome.report.ledger.iter().any(|entry| {
        let at = |e: &Expected| {
            entry.file.ends_with(&e.file)
                && entry.place.first <= e.last
                && e.first <= entry.place.last
                && (entry.place.unit == PlaceUnit::Page) == Path::new(&e.file).extension().is_some_and(|x| x == "pdf")
        };
        holds(&entry.claim) && plain.contains(&normal(&entry.claim)) && question.cite.iter().any(at)
    });
    let verified = outcome.review.checked == outcome.review.verified;
    Judged { id: question.id, set: question.set, question: question.text, answerable, right, cited, verified, answer }
}

/// Text for comparison: without case, markup and line breaks.
fn normal(text: &str) -> String {
    squeeze(&text.replace(['`', '*'], "")).to_lowercase()
}

fn section(markdown: &str, name: &str) -> String {
    let from = markdown.find(&format!("## {name}\n")).map_or(markdown.len(), |i| i + name.len() + 4);
    let rest = &markdown[from..];
    rest[..rest.find("\n## ").unwrap_or(rest.len())].to_owned()
}
