//! What is wrong with an expression.
//!
//! For: telling an author the place and the way out. Not for: faults of an evaluation (see `value`).
//! Invariant: a place lies within the text.

use std::ops::Range;

/// What is wrong with an expression, at bytes of its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// A stable short slug, such as `unknown-function`.
    pub code: &'static str,
    /// What is wrong.
    pub message: String,
    /// Where, as bytes of the text.
    pub span: Range<usize>,
    /// What would be right.
    pub hint: Option<String>,
}

impl Problem {
    pub(super) fn new(code: &'static str, message: impl Into<String>, span: Range<usize>) -> Self {
        Self { code, message: message.into(), span, hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
