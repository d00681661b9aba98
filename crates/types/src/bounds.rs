//! Sizes of texts, checked.
//!
//! For: the refusal of a text or of labels over a limit, in the same words everywhere. Not for: which limit a text has
//! (each command and each message of a worker defines that in its own `check`).
//! Invariant: a refusal shows sizes, never the text that was too long.

use std::collections::BTreeMap;

use crate::{Code, Error, Name, Result, limits};

/// Refuses a text over its limit; `what` names it in the error.
pub fn check_text(what: &str, text: &str, max: usize) -> Result<()> {
    let bytes = text.len();
    if bytes <= max {
        return Ok(());
    }
    Err(Error::new(Code::LimitReached, format!("the {what} has `{bytes}` bytes, the limit is {max}"))
        .hint("shorten it; what is long belongs into a document"))
}

/// As [`check_text`], where there is a text.
pub fn check_optional_text(what: &str, text: Option<&str>, max: usize) -> Result<()> {
    check_text(what, text.unwrap_or(""), max)
}

/// Refuses more of something than its limit.
pub fn check_count(what: &str, count: usize, max: usize) -> Result<()> {
    if count <= max {
        return Ok(());
    }
    Err(Error::new(Code::LimitReached, format!("there are `{count}` {what}, the limit is {max}")).hint("send fewer"))
}

/// Refuses labels that are too many or too long, or whose names are no names; `what` names their owner in the error.
pub fn check_labels(what: &str, labels: &BTreeMap<String, String>) -> Result<()> {
    check_label_sizes(what, labels)?;
    labels.keys().try_for_each(|label| Name::check("label", label))
}

/// Refuses labels that are too many or too long; `what` names their owner in the error.
pub fn check_label_sizes(what: &str, labels: &BTreeMap<String, String>) -> Result<()> {
    let (count, max) = (labels.len(), limits::LABELS_MAX);
    if count > max {
        let message = format!("the {what} has `{count}` labels, the limit is {max}");
        return Err(Error::new(Code::LimitReached, message).hint("keep those by which it is chosen"));
    }
    for (label, value) in labels {
        Name::check_size("label", label)?;
        let (bytes, max) = (value.len(), limits::NAME_BYTES_MAX);
        if bytes > max {
            let message = format!("label `{label}` of the {what} has `{bytes}` bytes, the limit is {max}");
            return Err(Error::new(Code::LimitReached, message).hint("labels are short words by which it is chosen"));
        }
    }
    Ok(())
}

/// Refuses an error whose texts are over [`limits::ERROR_MESSAGE_BYTES_MAX`].
pub fn check_error(error: &Error) -> Result<()> {
    check_text("message of the error", &error.message, limits::ERROR_MESSAGE_BYTES_MAX)?;
    check_optional_text("hint of the error", error.hint.as_deref(), limits::ERROR_MESSAGE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_named_with_its_size_and_not_shown() {
        check_text("reason", "four", 4).unwrap();
        let error = check_text("reason", "fives", 4).unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (Code::LimitReached, "the reason has `5` bytes, the limit is 4")
        );
        check_count("entries", 2, 2).unwrap();
        assert_eq!(check_count("entries", 3, 2).unwrap_err().code, Code::LimitReached);
        let of = |label: String, value: String| check_labels("run", &[(label, value)].into());
        let long = "x".repeat(limits::NAME_BYTES_MAX + 1);
        of("a".into(), long[1..].into()).unwrap();
        assert_eq!(of("a".into(), long.clone()).unwrap_err().code, Code::LimitReached);
        assert_eq!(of(long, String::new()).unwrap_err().code, Code::BadName);
        assert_eq!(of("a b".into(), String::new()).unwrap_err().code, Code::BadName);
    }
}
