//! Identities: runs, tasks, names, positions in the log.
//!
//! For: naming things. Not for: making ids (the engine does, at its edge, and logs them).
//! Invariant: text form and byte form of an id have the same order.

use std::{cmp::Ordering, fmt, str::FromStr};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Code, Error, Result, limits};

/// A position in a partition's log; the first record has 1, and 0 means "before everything".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Seq(#[n(0)] pub u64);

impl Seq {
    /// Before the first record.
    pub const ZERO: Self = Self(0);

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A fencing token: the sequence number of the record that made an attempt ready. It only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Token(#[n(0)] pub u64);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One durable execution of a workflow. 128 bits, time-ordered; the text form is a ULID (26 characters).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct RunId(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub [u8; 16],
);

// Most look-ups of the state compare run ids: as one number they are compared without a call to `memcmp`.
impl PartialOrd for RunId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RunId {
    fn cmp(&self, other: &Self) -> Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&ulid::Ulid::from_bytes(self.0).to_string())
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        ulid::Ulid::from_string(text).map(|id| Self(id.to_bytes())).map_err(|_| {
            Error::new(Code::BadRequest, format!("`{text}` is not a run id")).hint(
                "a run id has 26 characters, such as `01J8Z3K4M5N6P7Q8R9S0T1V2W3`; `consort runs list` shows them",
            )
        })
    }
}

impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One task: the step instance `index` of scope `scope` in a run.
///
/// A scope is a list of step instances inside a run (scope 0 is the workflow itself; groups, fan-outs,
/// iterations and the calls of a task open further ones). The text form is `RUN.SCOPE.INDEX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct StepInstanceId {
    /// The run that the task belongs to.
    #[n(0)]
    pub run: RunId,
    /// The scope within the run.
    #[n(1)]
    pub scope: u32,
    /// The position within the scope.
    #[n(2)]
    pub index: u32,
}

impl fmt::Display for StepInstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.run, self.scope, self.index)
    }
}

impl FromStr for StepInstanceId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            Error::new(Code::BadRequest, format!("`{text}` is not a task id")).hint(
                "a task id is `RUN.SCOPE.INDEX`, such as `01J8Z3K4M5N6P7Q8R9S0T1V2W3.0.2`; `consort inbox` shows them",
            )
        };
        let mut parts = text.split('.');
        let (Some(run), Some(scope), Some(index), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        Ok(Self {
            run: run.parse().map_err(|_| bad())?,
            scope: scope.parse().map_err(|_| bad())?,
            index: index.parse().map_err(|_| bad())?,
        })
    }
}

impl Serialize for StepInstanceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StepInstanceId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A checked name of a workflow, namespace, capability, agent, step or signal.
///
/// 1 to 128 bytes: letters, digits, `_`, `-` and `.`, starting with a letter or digit.
pub struct Name;

impl Name {
    /// Refuses a text that is not a name; `what` names it in the error.
    pub fn check(what: &str, text: &str) -> Result<()> {
        if text.is_empty() {
            return Err(bad_size(what, text));
        }
        Self::check_size(what, text)?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text.chars().all(fits) && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Ok(());
        }
        Err(Error::new(Code::BadName, format!("`{text}` cannot be a {what}"))
            .hint("use letters, digits, `_`, `-` and `.`, and start with a letter or digit"))
    }

    /// Refuses a text that is too long for a name, whatever its characters: for lookups, where a text that is no name
    /// only finds nothing.
    pub fn check_size(what: &str, text: &str) -> Result<()> {
        if text.len() <= limits::NAME_BYTES_MAX { Ok(()) } else { Err(bad_size(what, text)) }
    }
}

fn bad_size(what: &str, text: &str) -> Error {
    let (bytes, max) = (text.len(), limits::NAME_BYTES_MAX);
    Error::new(Code::BadName, format!("the {what} has {bytes} bytes, but must have 1 to {max}"))
        .hint("choose a short name; what is long belongs into a document")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text_form() {
        let run = RunId([7; 16]);
        assert_eq!(run.to_string().parse::<RunId>().unwrap(), run);
        let task = StepInstanceId { run, scope: 3, index: 14 };
        assert_eq!(task.to_string().parse::<StepInstanceId>().unwrap(), task);
        assert!("01J.1".parse::<StepInstanceId>().is_err());
    }

    #[test]
    fn names_are_checked() {
        assert!(Name::check("step", "gather-2.a_b").is_ok());
        for bad in ["", "-a", "a b", "é", &"x".repeat(129)] {
            assert!(Name::check("step", bad).is_err(), "{bad}");
        }
        Name::check_size("step", "no name").unwrap();
        assert_eq!(Name::check_size("step", &"x".repeat(129)).unwrap_err().code, Code::BadName);
    }
}
