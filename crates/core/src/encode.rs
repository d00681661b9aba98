//! JSON documents as bytes.
//!
//! For: the one place that writes them, and documents why that cannot fail. Not for: reading documents (see `state`),
//! or rows (they are CBOR).
//! Invariant: equal documents give equal bytes.

use consort_types::{BlobHash, Payload};
use serde::Serialize;
use serde_json::Value;

/// The bytes of a JSON document.
pub(crate) fn encode(document: &(impl Serialize + ?Sized)) -> Vec<u8> {
    // Documents are JSON values, and lists and texts of them: every key is a text and every number is finite.
    serde_json::to_vec(document).expect("a JSON document can be written")
}

/// The value of a JSON document, whose members are in the order of their names.
pub(crate) fn to_value(document: &impl Serialize) -> Value {
    // As above: every key is a text, and a number that is not finite becomes `null`.
    serde_json::to_value(document).expect("a JSON document has a value")
}

/// The bytes of a document without its spaces, and with its members in the order of their names; what is no JSON stays as
/// it is.
pub(crate) fn canonical(bytes: &[u8]) -> Vec<u8> {
    serde_json::from_slice::<Value>(bytes).map_or_else(|_| bytes.to_vec(), |value| encode(&value))
}

/// The hash of a document, whatever the order of its members and its spaces; of a large one, that of its bytes.
pub(crate) fn content_hash(input: &Payload) -> BlobHash {
    match input {
        Payload::Inline(bytes) if !input.is_large() => BlobHash::of(&canonical(bytes)),
        Payload::Inline(bytes) => BlobHash::of(bytes),
        Payload::Blob { hash, .. } => *hash,
    }
}
