//! What a vote says, and what is decided on.
//!
//! For: choices and answers. Not for: which of them a ballot takes (see [`super::BallotSpec::check_choice`]).
//! Invariant: equal choices are equal values: rankings and approvals name an option once, free answers are in their
//! canonical form.

use minicbor::{Decode, Encode};
use serde_json::Value;

use super::bad;
use crate::{Result, bounds::check_text, canonical_json, check_canonical, limits};

/// What a vote says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Choice {
    /// Nothing: it counts for the quorum only.
    #[n(0)]
    Abstain,
    /// One option.
    #[n(1)]
    Option(#[n(0)] String),
    /// Every option that is good enough, in any order; none, where no option is.
    #[n(2)]
    Approve(#[n(0)] Vec<String>),
    /// Options, the best first; those that are not named are behind all others, and equal among themselves.
    #[n(3)]
    Ranking(#[n(0)] Vec<String>),
    /// A free answer, in the canonical form of RFC 8785.
    #[n(4)]
    Value(#[n(0)] String),
}

impl Choice {
    /// A free answer.
    ///
    /// # Errors
    /// [`crate::Code::BadJson`] where the value has no canonical form, [`crate::Code::LimitReached`] where it is too long.
    pub fn value(value: &Value) -> Result<Self> {
        let text = canonical_json("answer", value)?;
        check_text("answer", &text, limits::BALLOT_ANSWER_BYTES_MAX)?;
        Ok(Self::Value(text))
    }

    /// The word for what it has.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Abstain => "abstain",
            Self::Option(_) => "choice",
            Self::Approve(_) => "approve",
            Self::Ranking(_) => "ranking",
            Self::Value(_) => "value",
        }
    }

    /// Refuses texts and lists over their limits, options that are named twice, and forms that are not canonical.
    ///
    /// # Errors
    /// [`crate::Code::LimitReached`], [`crate::Code::BadJson`] or [`crate::Code::BadRequest`].
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Abstain => Ok(()),
            Self::Option(option) => check_text("option", option, limits::NAME_BYTES_MAX),
            Self::Approve(options) | Self::Ranking(options) => check_list(options),
            Self::Value(text) => {
                check_text("answer", text, limits::BALLOT_ANSWER_BYTES_MAX)?;
                check_canonical("answer", text)
            }
        }
    }
}

fn check_list(options: &[String]) -> Result<()> {
    crate::bounds::check_count("options in the vote", options.len(), limits::BALLOT_OPTIONS_MAX)?;
    for (at, option) in options.iter().enumerate() {
        check_text("option", option, limits::NAME_BYTES_MAX)?;
        if options[..at].contains(option) {
            return Err(bad(format!("the vote names `{option}` more than once"), "name each option once"));
        }
    }
    Ok(())
}

/// What can be decided on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Answer {
    /// An option.
    #[n(0)]
    Option(#[n(0)] String),
    /// A free answer, or a number that was calculated, in its canonical form.
    #[n(1)]
    Value(#[n(0)] String),
}

impl Answer {
    /// The number as an answer; `None` where it is not finite.
    pub fn number(number: f64) -> Option<Self> {
        let value = serde_json::Number::from_f64(number)?;
        canonical_json("result", &value.into()).ok().map(Self::Value)
    }

    /// The answer as JSON: an option is a text.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Option(option) => Value::from(option.as_str()),
            // The text is a canonical form, so it can be read.
            Self::Value(text) => serde_json::from_str(text).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Code;

    #[test]
    fn equal_answers_are_equal_choices() {
        let of = |text: &str| Choice::value(&serde_json::from_str(text).unwrap()).unwrap();
        assert_eq!(of(r#"{"b":1,"a":2.0}"#), of(r#"{"a":2,"b":1.0}"#));
        assert_ne!(of("1"), of("\"1\""));
        assert_eq!(Answer::number(2.0), Some(Answer::Value("2".to_owned())));
        assert_eq!(Answer::number(f64::NAN), None);
        assert_eq!(Answer::Value("[1.5]".to_owned()).to_value(), json!([1.5]));
    }

    #[test]
    fn lists_name_an_option_once_and_texts_have_limits() {
        let list = |count: usize| (0..count).map(|at| format!("o{at}")).collect::<Vec<_>>();
        Choice::Ranking(list(limits::BALLOT_OPTIONS_MAX)).check().unwrap();
        let long = Choice::Ranking(list(limits::BALLOT_OPTIONS_MAX + 1));
        assert_eq!(long.check().unwrap_err().code, Code::LimitReached);
        let twice = Choice::Approve(vec!["a".to_owned(), "a".to_owned()]);
        assert_eq!(twice.check().unwrap_err().code, Code::BadRequest);
        assert_eq!(Choice::Value("1.0".to_owned()).check().unwrap_err().code, Code::BadJson);
        let text = |bytes: usize| json!("x".repeat(bytes));
        Choice::value(&text(limits::BALLOT_ANSWER_BYTES_MAX - 2)).unwrap();
        assert_eq!(Choice::value(&text(limits::BALLOT_ANSWER_BYTES_MAX - 1)).unwrap_err().code, Code::LimitReached);
    }
}
