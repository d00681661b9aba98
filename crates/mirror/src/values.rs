//! Values as texts of the other side, and as JSON documents of the state store.
//!
//! For: the rule by which one is made from the other, and the digests by which they are compared. Not for: deciding.
//! Invariant: a text that is JSON is the same document on both sides; any other text is a JSON string in the state store.

use std::{fmt, str::FromStr};

use consort_api::Document;
use consort_types::{Payload, Result};
use serde_json::value::RawValue;

/// The JSON document that a text of the other side is; `None` where the bytes are no text.
pub(crate) fn document_of(raw: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(raw).ok()?;
    Some(match serde_json::from_str::<&RawValue>(text) {
        // What surrounds the document is not kept in the state store either.
        Ok(document) if is_document(document.get()) => document.get().to_owned(),
        _ => serde_json::Value::from(text).to_string(),
    })
}

/// Whether the state store takes it: raw JSON may have numbers and depths that a document may not have.
fn is_document(text: &str) -> bool {
    Payload::checked("value", text.as_bytes()).is_ok()
}

/// The text of a document of the state store, whole.
pub(crate) fn text_of(document: &Document) -> Result<String> {
    document.read::<Box<RawValue>>("value").map(|raw| raw.get().to_owned())
}

/// What a value is compared by: the hash of its JSON document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest([u8; Digest::BYTES]);

impl Digest {
    const BYTES: usize = 16;

    /// The digest of a JSON document.
    pub(crate) fn of(document: &str) -> Self {
        let hash = blake3::hash(document.as_bytes());
        let mut bytes = [0; Self::BYTES];
        bytes.copy_from_slice(&hash.as_bytes()[..Self::BYTES]);
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let mut bytes = [0; Self::BYTES];
        if text.len() != 2 * Self::BYTES || !text.is_ascii() {
            return Err(());
        }
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).map_err(|_| ())?;
        }
        Ok(Self(bytes))
    }
}

/// What both sides last agreed upon: the version of the state store, and the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The version of the key in the state store.
    pub(crate) version: u64,
    /// The value; `None` where the other side had none.
    pub(crate) digest: Option<Digest>,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.digest {
            Some(digest) => write!(f, "{} {digest}", self.version),
            None => write!(f, "{} -", self.version),
        }
    }
}

impl FromStr for Mark {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (version, digest) = text.split_once(' ').ok_or(())?;
        let digest = if digest == "-" { None } else { Some(digest.parse()?) };
        Ok(Self { version: version.parse().map_err(|_| ())?, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_what_it_is_and_any_other_text_is_a_string() {
        for (raw, document) in [
            (r#" {"b": 1, "a": [2.50]} "#, r#"{"b": 1, "a": [2.50]}"#),
            ("12345678901234567890123", "12345678901234567890123"),
            ("true", "true"),
            ("hello", r#""hello""#),
            (r#""hello""#, r#""hello""#),
            ("{\"open\": ", r#""{\"open\": ""#),
            ("1 2", r#""1 2""#),
            ("", r#""""#),
        ] {
            assert_eq!(document_of(raw.as_bytes()).as_deref(), Some(document), "{raw}");
        }
        assert_eq!(document_of(&[0xff, 0xfe]), None);
    }

    #[test]
    fn marks_are_read_as_they_are_written() {
        for mark in [Mark { version: 7, digest: Some(Digest::of("1")) }, Mark { version: u64::MAX, digest: None }] {
            assert_eq!(mark.to_string().parse(), Ok(mark));
        }
        for text in ["", "7", "x -", "7 abc", "7 zz345678901234567890123456789012", "7 é"] {
            assert_eq!(text.parse::<Mark>(), Err(()), "{text}");
        }
    }
}
