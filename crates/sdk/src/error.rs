//! How an attempt fails: what went wrong, and whether trying again may help.
//!
//! For: handlers, which use `?` on any standard error. Not for: failures of the worker itself.
//! Invariant: nothing that a replay would only repeat (a recorded failure, a divergence) is retryable.

use std::{any::Any, fmt};

use consort_types::{Code, Error, ErrorKind, Span, limits, text};

/// The failure of an attempt.
///
/// It is made by `?` from any standard error (retryable, as most such failures are of the moment) and from
/// [`consort_types::Error`] (retryable only where its kind is `unavailable`), or by one of the constructors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError {
    error: Error,
    retryable: bool,
    retry_after: Option<Span>,
}

impl TaskError {
    /// A failure that another attempt may not meet.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::from_parts(Error::new(Code::AgentFailed, message), true)
    }

    /// A failure that every attempt would meet: it ends the step.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::from_parts(Error::new(Code::AgentFailed, message), false)
    }

    pub(crate) fn from_parts(mut error: Error, retryable: bool) -> Self {
        text::truncate(&mut error.message, limits::ERROR_MESSAGE_BYTES_MAX);
        Self { error, retryable, retry_after: None }
    }

    /// Adds a hint that says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.error.hint = Some(hint.into());
        self
    }

    /// Gives the failure another code than `C0304`.
    #[must_use]
    pub fn code(mut self, code: Code) -> Self {
        self.error.code = code;
        self
    }

    /// Sets when to try again; it makes the failure retryable.
    #[must_use]
    pub fn retry_after(mut self, span: Span) -> Self {
        self.retryable = true;
        self.retry_after = Some(span);
        self
    }

    /// Makes the failure one that every attempt would meet, for errors that came by `?`.
    #[must_use]
    pub fn into_permanent(mut self) -> Self {
        self.retryable = false;
        self.retry_after = None;
        self
    }

    /// Code, message and hint.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Whether another attempt may help.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// Code, message and hint; whether another attempt may help; and when.
    pub(crate) fn into_parts(self) -> (Error, bool, Option<Span>) {
        (self.error, self.retryable, self.retry_after)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for TaskError {
    fn from(error: E) -> Self {
        if let Some(error) = (&error as &dyn Any).downcast_ref::<Error>() {
            return Self::from_parts(error.clone(), error.kind() == ErrorKind::Unavailable);
        }
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message = format!("{message}: {cause}");
            source = cause.source();
        }
        Self::retryable(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads() -> Result<u32, TaskError> {
        Ok("seven".parse::<u32>()?)
    }

    fn asks(code: Code) -> Result<(), TaskError> {
        Err(Error::new(code, "no"))?
    }

    #[test]
    fn standard_errors_are_retryable_and_keep_their_message() {
        let error = reads().unwrap_err();
        assert!(error.is_retryable());
        assert_eq!(error.error().code, Code::AgentFailed);
        assert_eq!(error.error().message, "invalid digit found in string");
        assert!(!error.into_permanent().is_retryable());
    }

    #[test]
    fn consort_errors_keep_their_code_and_are_retryable_only_when_unavailable() {
        let failed = asks(Code::ChildFailed).unwrap_err();
        assert_eq!((failed.error().code, failed.is_retryable()), (Code::ChildFailed, false));
        assert!(asks(Code::Overloaded).unwrap_err().is_retryable());
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let error = TaskError::permanent("é".repeat(limits::ERROR_MESSAGE_BYTES_MAX));
        assert_eq!(error.error().message.len(), limits::ERROR_MESSAGE_BYTES_MAX);
        let odd = TaskError::permanent(format!("x{}", "é".repeat(limits::ERROR_MESSAGE_BYTES_MAX)));
        assert_eq!(odd.error().message.len(), limits::ERROR_MESSAGE_BYTES_MAX - 1);
    }
}
