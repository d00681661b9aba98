//! A record, and a place within it.
//!
//! For: naming what one record makes several of: changes, conflicts, events. Not for: records themselves (see [`Seq`]).
//! Invariant: a position is unique in a partition, and positions are ordered as things happened.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Code, Error, Result, Seq};

/// A record, and a number within it. The text form is `SEQ-N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Position {
    /// The record.
    #[n(0)]
    pub seq: Seq,
    /// The order within the record.
    #[n(1)]
    pub n: u32,
}

impl Position {
    /// Before everything.
    pub const ZERO: Self = Self { seq: Seq::ZERO, n: 0 };
    /// Behind everything.
    pub const MAX: Self = Self { seq: Seq(u64::MAX), n: u32::MAX };

    /// Behind every other position of the record `seq`.
    pub fn end_of(seq: Seq) -> Self {
        Self { seq, n: u32::MAX }
    }

    /// The least position behind this one; the last one stays.
    #[must_use]
    pub fn next(self) -> Self {
        match (self.n.checked_add(1), self.seq.0.checked_add(1)) {
            (Some(n), _) => Self { n, ..self },
            (None, Some(seq)) => Self { seq: Seq(seq), n: 0 },
            (None, None) => self,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.seq, self.n)
    }
}

impl FromStr for Position {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('-').and_then(|(seq, n)| Some((number(seq)?, number(n)?)));
        let found = parts.and_then(|(seq, n)| Some(Self { seq: Seq(seq), n: u32::try_from(n).ok()? }));
        found.ok_or_else(|| {
            Error::new(Code::BadCursor, format!("`{text}` is not a position"))
                .hint("a position is two numbers, such as `1042-0`; listings and watches show them")
        })
    }
}

/// A number in the one form that it is written in.
pub(crate) fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_their_text_form_and_have_no_other() {
        let position = Position { seq: Seq(1042), n: 7 };
        assert_eq!(position.to_string().parse::<Position>().unwrap(), position);
        for bad in ["", "7", "1-", "a-1", "01-0", "1-+2", "1-4294967296", "1-2-3"] {
            assert_eq!(bad.parse::<Position>().unwrap_err().code, Code::BadCursor, "{bad}");
        }
        assert_eq!(Position::end_of(Seq(7)).next(), Position { seq: Seq(8), n: 0 });
        assert_eq!(Position::MAX.next(), Position::MAX);
    }
}
