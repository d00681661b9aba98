//! Payloads: JSON kept as bytes, small ones in place, large ones by hash.
//!
//! For: inputs, outputs, signals, errors' details. Not for: looking inside (expressions do that).
//! Invariant: a blob is named by the BLAKE3 hash of its bytes, so equal bytes are stored once.

use std::{fmt, sync::Arc};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Code, Error, Result, limits};

/// The BLAKE3 hash that names a blob; shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct BlobHash(
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub [u8; 32],
);

impl BlobHash {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The hash that a text shows: 64 hexadecimal digits, none of them in upper case.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        let mut hash = [0; 32];
        if digits.len() != 64 || digits.iter().any(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobHash({self})")
    }
}

impl Serialize for BlobHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a hash")))
    }
}

/// A JSON document as it travels and rests.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Payload {
    /// The document itself; UTF-8 JSON of at most [`limits::INLINE_BYTES_MAX`] bytes.
    #[n(0)]
    Inline(
        #[n(0)]
        #[cbor(with = "inline_bytes")]
        Arc<[u8]>,
    ),
    /// The document is in the blob store.
    #[n(1)]
    Blob {
        /// Its name there.
        #[n(0)]
        hash: BlobHash,
        /// Its length in bytes.
        #[n(1)]
        len: u64,
    },
}

/// CBOR byte strings for shared bytes.
mod inline_bytes {
    use std::sync::Arc;

    use minicbor::{Decoder, Encoder};

    pub(super) fn encode<C, W: minicbor::encode::Write>(
        bytes: &Arc<[u8]>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(bytes).map(|_| ())
    }

    pub(super) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Arc<[u8]>, minicbor::decode::Error> {
        d.bytes().map(Arc::from)
    }
}

impl Payload {
    /// The JSON `null`.
    pub fn null() -> Self {
        Self::Inline(Arc::from(&b"null"[..]))
    }

    /// Wraps bytes that are already known to be JSON and short enough to be inline.
    pub fn inline(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self::Inline(bytes.into())
    }

    /// Encodes a value; the result is inline whatever its size (see [`Payload::is_large`]).
    pub fn from_value(value: &serde_json::Value) -> Self {
        Self::Inline(Arc::from(serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec())))
    }

    /// Checks that bytes are one JSON document within [`limits::PAYLOAD_BYTES_MAX`]; `what` names it in the error.
    pub fn checked(what: &str, bytes: &[u8]) -> Result<Self> {
        if bytes.len() > limits::PAYLOAD_BYTES_MAX {
            return Err(Error::new(
                Code::PayloadTooLarge,
                format!("the {what} has {} bytes, the limit is {}", bytes.len(), limits::PAYLOAD_BYTES_MAX),
            )
            .hint("store the document elsewhere and pass a reference to it"));
        }
        match serde_json::from_slice::<serde::de::IgnoredAny>(bytes) {
            Ok(_) => Ok(Self::inline(bytes)),
            Err(error) => Err(Error::new(Code::BadJson, format!("the {what} is not JSON: {error}"))),
        }
    }

    /// Whether the document is inline but belongs in the blob store.
    pub fn is_large(&self) -> bool {
        matches!(self, Self::Inline(bytes) if bytes.len() > limits::INLINE_BYTES_MAX)
    }

    /// Length of the document in bytes, wherever it is.
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Blob { len, .. } => *len,
        }
    }

    /// Whether the document has no bytes (it then is not JSON; only a default-built value has none).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, where they are inline.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Inline(bytes) => Some(bytes),
            Self::Blob { .. } => None,
        }
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::null()
    }
}

/// In JSON an inline payload is the document itself; a blob is `{"$blob": HASH, "bytes": LEN}`.
impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        use serde::ser::{Error as _, SerializeMap};
        match self {
            Self::Inline(bytes) => {
                let raw: &serde_json::value::RawValue =
                    serde_json::from_slice(bytes).map_err(|e| S::Error::custom(format!("payload: {e}")))?;
                raw.serialize(serializer)
            }
            Self::Blob { hash, len } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("$blob", hash)?;
                map.serialize_entry("bytes", len)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        Ok(Self::from_value(&value))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn decimals_are_read_as_they_were_written_in_every_build() {
        // In this workspace another crate has the feature too; the program of a user has only what our manifest names.
        let manifest = include_str!("../../../Cargo.toml");
        let wanted = manifest.lines().find(|line| line.starts_with("serde_json ")).unwrap_or_default();
        assert!(wanted.contains("float_roundtrip"), "{wanted}");
        for text in ["1.5777777777770001", "0.1", "5e-324", "1.7976931348623157e308"] {
            let value: serde_json::Value = serde_json::from_str(text).unwrap();
            assert_eq!(value.as_f64(), text.parse().ok(), "{text}");
        }
    }
}
