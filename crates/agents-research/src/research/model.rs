//! What travels between the steps of a research run.
//!
//! For: inputs and outputs of the `research.*` capabilities, with their JSON Schemas. Not for: how they are computed.
//! Invariant: scores and weights are whole numbers (thousandths), so that equal inputs give equal bytes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A position in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// What is counted.
    pub unit: PlaceUnit,
    /// First line or page, from 1.
    pub first: u32,
    /// Last line or page.
    pub last: u32,
}

/// What a place counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlaceUnit {
    /// Lines of the original file.
    Line,
    /// Pages of a PDF.
    Page,
}

impl Place {
    /// A range of lines.
    pub fn lines(first: u32, last: u32) -> Self {
        Self { unit: PlaceUnit::Line, first, last }
    }

    /// A range of pages.
    pub fn pages(first: u32, last: u32) -> Self {
        Self { unit: PlaceUnit::Page, first, last }
    }

    /// Whether the two have a line or page in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.unit == other.unit && self.first <= other.last && other.first <= self.last
    }

    /// The smallest place that holds both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { unit: self.unit, first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            PlaceUnit::Line => "line",
            PlaceUnit::Page => "page",
        };
        if self.first == self.last {
            write!(f, "{unit} {}", self.first)
        } else {
            write!(f, "{unit}s {}–{}", self.first, self.last)
        }
    }
}

/// Input of `research.plan`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct PlanInput {
    /// The question, at least 3 letters.
    pub question: String,
}

/// What kind of answer a question requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// What something is.
    Definition,
    /// How to do something.
    Procedure,
    /// A number of things, a size, a price.
    Quantity,
    /// A length of time.
    Duration,
    /// A point in time.
    Time,
    /// A reason.
    Reason,
    /// A person or organisation.
    Person,
    /// A place, path or setting's home.
    Location,
    /// Yes or no.
    YesNo,
    /// How two things differ.
    Comparison,
    /// The members of something.
    List,
    /// Anything else.
    General,
}

/// One part of the question.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SubQuestion {
    /// `s1`, `s2`, …
    pub id: String,
    /// The part as a question.
    pub text: String,
    /// What kind of answer it requires.
    pub intent: Intent,
    /// What it is about, in the words of the question.
    pub focus: String,
}

/// One search to make.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Query {
    /// `s1.1`, `s1.2`, …
    pub id: String,
    /// The sub-question that it serves.
    pub sub_question: SubQuestion,
    /// What to look for.
    pub text: String,
}

/// Output of `research.plan`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// The question.
    pub question: String,
    /// Its parts, at least one.
    pub sub_questions: Vec<SubQuestion>,
    /// The searches to make, at least one for each part.
    pub queries: Vec<Query>,
}

/// A query, or only its text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum QueryInput {
    /// As `research.plan` makes it.
    Full(Box<Query>),
    /// A text to look for.
    Text(String),
}

/// Files and folders to search.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Sources {
    /// Several paths.
    Many(Vec<String>),
    /// One path, or several with commas between.
    One(String),
}

/// Input of `research.search`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SearchInput {
    /// What to look for.
    pub query: QueryInput,
    /// Where to look.
    pub sources: Sources,
}

/// A term of the query with its weight in this corpus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TermWeight {
    /// The stem.
    pub term: String,
    /// How much it tells, in thousandths; rare terms tell more.
    pub weight: i64,
    /// Passages that have it.
    pub passages: u64,
}

/// One sentence, item, row or code block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Segment {
    /// What it is.
    pub kind: SegmentKind,
    /// Its text as extracted: single spaces, code in backticks.
    pub text: String,
    /// Where in the file it is.
    pub place: Place,
    /// Ordinal of its block in the file; sentences of one paragraph share it.
    pub block: u32,
}

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SegmentKind {
    /// A sentence of running text.
    Sentence,
    /// A sentence of a list item.
    Item,
    /// A row of a table.
    Row,
    /// Code with its lines.
    Code,
}

/// A passage that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hit {
    /// The file, as a path from the working folder or absolute.
    pub path: String,
    /// BLAKE3 of the file's bytes, hexadecimal.
    pub hash: String,
    /// Title of the document.
    pub title: String,
    /// Headings above the passage, outermost first.
    pub headings: Vec<String>,
    /// Whether the last heading is a term that the passage defines: an option, a setting, an entry of a glossary.
    #[serde(default)]
    pub term: bool,
    /// Whether the passage is the first below its headings.
    #[serde(default)]
    pub lead: bool,
    /// Where in the file the passage is.
    pub place: Place,
    /// The passage's text.
    pub quote: String,
    /// The same, sentence by sentence.
    pub segments: Vec<Segment>,
    /// The date that the document states about itself, ISO 8601.
    #[serde(default)]
    pub date: Option<String>,
    /// Whether the document says of itself that it is out of date.
    #[serde(default)]
    pub outdated: bool,
    /// How well it fits: in thousandths, or by its places in two orders where there is one by meaning as well.
    pub score: i64,
    /// How near each segment is to the question by meaning, in thousandths; empty without a model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub similar: Vec<i64>,
}

/// Output of `research.search`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SearchOutput {
    /// The query.
    pub query: Query,
    /// The terms looked for.
    pub terms: Vec<TermWeight>,
    /// Passages, best first.
    pub hits: Vec<Hit>,
    /// What was searched.
    pub corpus: CorpusInfo,
}

/// What a search looked through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CorpusInfo {
    /// Name of the index: changes when a file does.
    pub fingerprint: String,
    /// Where it looked.
    pub sources: Vec<String>,
    /// Files that were read.
    pub files: u64,
    /// Passages in the index.
    pub passages: u64,
    /// Files that were left out, by reason.
    pub skipped: Vec<Skipped>,
}

/// Files that were left out for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// Why.
    pub reason: String,
    /// How many.
    pub files: u64,
    /// The first of them.
    pub example: String,
}

/// Input of `research.validate`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ValidateInput {
    /// The plan.
    pub plan: Plan,
    /// What the searches found.
    pub results: Vec<SearchOutput>,
}

/// A passage that is kept for a sub-question.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The sub-questions that it serves.
    pub sub_questions: Vec<String>,
    /// The passage.
    pub hit: Hit,
}

/// A passage that is left out, and why.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Dropped {
    /// The file.
    pub path: String,
    /// Where in it.
    pub place: Place,
    /// Why.
    pub reason: String,
}

/// The terms of one sub-question.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SubTerms {
    /// The sub-question.
    pub id: String,
    /// Its terms with their weights.
    pub terms: Vec<TermWeight>,
}

/// Output of `research.validate`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Validated {
    /// Passages worth reading, best first.
    pub kept: Vec<Evidence>,
    /// Passages left out.
    pub dropped: Vec<Dropped>,
    /// Terms by sub-question.
    pub terms: Vec<SubTerms>,
    /// What was searched.
    pub corpus: CorpusInfo,
}

/// Input of `research.analyze`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct AnalyzeInput {
    /// The plan.
    pub plan: Plan,
    /// The evidence.
    pub evidence: Validated,
}

/// A sentence that states something that can be checked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Fact {
    /// The sentence.
    pub quote: String,
    /// The file.
    pub path: String,
    /// Where in it.
    pub place: Place,
    /// Hash of the file.
    pub hash: String,
    /// Numbers with their units, as they stand.
    pub numbers: Vec<String>,
    /// Dates, ISO 8601.
    pub dates: Vec<String>,
    /// Names and identifiers.
    pub entities: Vec<String>,
}

/// Two sentences that cannot both hold.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Contradiction {
    /// What they disagree about.
    pub about: String,
    /// One.
    pub a: Fact,
    /// The other.
    pub b: Fact,
    /// Which is newer by the documents' own dates, `a` or `b`.
    #[serde(default)]
    pub newer: Option<String>,
}

/// Output of `research.analyze`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Analysis {
    /// Facts, best first.
    pub facts: Vec<Fact>,
    /// Where the sources disagree.
    pub contradictions: Vec<Contradiction>,
}

/// Input of `research.write`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WriteInput {
    /// The plan.
    pub plan: Plan,
    /// The evidence.
    pub evidence: Validated,
    /// The analysis.
    pub analysis: Analysis,
    /// The review of an earlier draft.
    #[serde(default)]
    pub feedback: Option<Review>,
}

/// One claim of the report and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerEntry {
    /// The sentence in the report.
    pub claim: String,
    /// The text in the source.
    pub quote: String,
    /// The file.
    pub file: String,
    /// Where in it.
    pub place: Place,
    /// BLAKE3 of the file's bytes, hexadecimal.
    pub hash: String,
    /// The number of the source in the report.
    pub citation: u32,
    /// The sub-question that it serves.
    pub sub_question: String,
}

/// How well a sub-question is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    /// A sentence answers it.
    Answered,
    /// Something near was found.
    Partial,
    /// Nothing was found.
    None,
}

/// Coverage of one sub-question.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// The sub-question.
    pub sub_question: String,
    /// How well it is answered.
    pub support: Support,
    /// The strength of the best sentence, 0 to 1000.
    pub strength: i64,
    /// Terms of the sub-question that no chosen sentence has.
    pub missing: Vec<String>,
}

/// Output of `research.write`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The report.
    pub markdown: String,
    /// What each claim rests on.
    pub ledger: Vec<LedgerEntry>,
    /// How well each part of the question is answered.
    pub coverage: Vec<Coverage>,
    /// Passages that could still be used if the review requires more.
    pub unused: u64,
}

/// Input of `research.review`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ReviewInput {
    /// The plan.
    pub plan: Plan,
    /// The report.
    pub report: Report,
}

/// One thing that is wrong with a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `citation`, `changed`, `uncited`, `coverage` or `form`.
    pub kind: String,
    /// What is wrong.
    pub message: String,
    /// The claim it is about.
    #[serde(default)]
    pub claim: Option<String>,
    /// The sub-question it is about.
    #[serde(default)]
    pub sub_question: Option<String>,
    /// The file that has changed since it was read.
    #[serde(default)]
    pub file: Option<String>,
}

/// Output of `research.review`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Review {
    /// From 0 to 1 in hundredths; a `repeat` stops at 0.8.
    pub score: f64,
    /// Citations checked.
    pub checked: u64,
    /// Citations that hold.
    pub verified: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}
