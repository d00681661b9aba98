//! What is wrong with a source text, and where.
//!
//! For: people who write workflows. Not for: failures of a run.
//! Invariant: diagnostics are ordered by position, and the same text gives the same diagnostics.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use consort_types::{Code, Error, limits};
use serde::Serialize;

/// Whether a diagnostic refuses the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The source is refused.
    Error,
    /// Allowed, but probably a mistake.
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
    /// The place: bytes from the start of the source, half open, within one line.
    pub span: Range<usize>,
    /// The line of the start, from 1.
    pub line: usize,
    /// The column of the start, from 1, in characters.
    pub column: usize,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Sets what would be right.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) {
        self.hint = Some(hint.into());
    }

    fn render(&self, source_name: &str, source: &str, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let snippet =
            Snippet::source(source).path(source_name).annotation(AnnotationKind::Primary.span(self.span.clone()));
        let mut group = level.primary_title(self.message.as_str()).id(self.code).element(snippet);
        if let Some(hint) = &self.hint {
            group = group.element(Level::HELP.message(hint.as_str()));
        }
        renderer.render(&[group])
    }
}

/// All findings about one source, in order of their places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// For a terminal: each finding with its line of source, in the manner of rustc, and an empty line between two.
    pub fn render(&self, source_name: &str, source: &str, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let parts: Vec<String> = self.0.iter().map(|found| found.render(source_name, source, &renderer)).collect();
        parts.join("\n\n")
    }
}

impl From<Diagnostics> for Error {
    /// All errors in one message, a line each; a lone hint stays a hint.
    fn from(diagnostics: Diagnostics) -> Self {
        let mut errors: Vec<Diagnostic> =
            diagnostics.0.into_iter().filter(|found| found.severity == Severity::Error).collect();
        if let [one] = &mut errors[..] {
            let message = format!("line {}, column {}: {}", one.line, one.column, one.message);
            return Self { code: Code::BadWorkflow, message, hint: one.hint.take() };
        }
        let line = |found: &Diagnostic| {
            let hint = found.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("line {}, column {}: {}{hint}", found.line, found.column, found.message)
        };
        let lines: Vec<String> = errors.iter().map(line).collect();
        Self::new(Code::BadWorkflow, format!("{} errors:\n{}", lines.len(), lines.join("\n")))
    }
}

/// Findings while a source is being read.
pub(crate) struct Report<'s> {
    source: &'s str,
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    /// What is found beyond the limit goes here and is forgotten.
    beyond: Diagnostic,
}

impl<'s> Report<'s> {
    pub(crate) fn new(source: &'s str) -> Self {
        let beyond = Diagnostic {
            severity: Severity::Error,
            code: "",
            message: String::new(),
            span: 0..0,
            line: 0,
            column: 0,
            hint: None,
        };
        Self { source, errors: Vec::new(), warnings: Vec::new(), beyond }
    }

    /// Adds an error.
    pub(crate) fn error(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Severity::Error, code, span, message.into())
    }

    /// Adds a warning.
    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Severity::Warning, code, span, message.into())
    }

    fn add(&mut self, severity: Severity, code: &'static str, span: Range<usize>, message: String) -> &mut Diagnostic {
        let of_kind = if severity == Severity::Error { &self.errors } else { &self.warnings };
        let at = of_kind.len();
        if at >= limits::DIAGNOSTICS_MAX {
            return &mut self.beyond;
        }
        let span = self.within_line(span);
        let list = if severity == Severity::Error { &mut self.errors } else { &mut self.warnings };
        list.push(Diagnostic { severity, code, message, span, line: 0, column: 0, hint: None });
        &mut list[at]
    }

    /// Whether so many errors were found that parsing stops. Warnings do not count: what has only those is read to its
    /// end.
    pub(crate) fn is_full(&self) -> bool {
        self.errors.len() >= limits::DIAGNOSTICS_MAX
    }

    /// Cuts a span at the end of its first line, and puts it on character boundaries.
    fn within_line(&self, span: Range<usize>) -> Range<usize> {
        let start = self.source.floor_char_boundary(span.start.min(self.source.len()));
        let end = self.source.ceil_char_boundary(span.end.clamp(start, self.source.len()));
        let line = self.source[start..end].find(['\n', '\r']).map_or(end, |length| start + length);
        start..line
    }

    /// The findings in order of their places. The first list refuses the source, and then has the warnings too; the
    /// second has the warnings of a source that is accepted.
    pub(crate) fn finish(self) -> (Diagnostics, Diagnostics) {
        let refused = !self.errors.is_empty();
        let mut all = self.errors;
        all.extend(self.warnings);
        all.sort_by(|a, b| (a.span.start, a.span.end, a.code).cmp(&(b.span.start, b.span.end, b.code)));
        all.dedup_by(|a, b| a.span == b.span && a.code == b.code && a.message == b.message);
        place(self.source, &mut all);
        let all = Diagnostics(all);
        if refused { (all, Diagnostics::default()) } else { (Diagnostics::default(), all) }
    }
}

/// Fills in lines and columns, in one pass over the source.
fn place(source: &str, all: &mut [Diagnostic]) {
    let (mut line, mut line_start, mut at) = (1, 0, 0);
    for found in all {
        for (offset, _) in source[at..found.span.start].match_indices('\n') {
            line += 1;
            line_start = at + offset + 1;
        }
        at = found.span.start;
        found.line = line;
        found.column = 1 + source[line_start..at].chars().count();
    }
}
