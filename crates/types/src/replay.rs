//! The replay rule: whether a request matches the entry of a journal.
//!
//! For: the machine and the worker SDKs; the SDKs in other languages follow the same vectors
//! (`sdks/conformance/replay-vectors.json`). Not for: what a difference leads to (the caller decides), nor for finding
//! documents that are kept by their hash (the caller reads them).
//! Invariant: two requests are the same if they request the same work; their formatting and their options do not count.
//!
//! Inputs are compared by value, as JSON Schema compares instances (2020-12, core, section 4.2.2), because SDKs write
//! the same value in different ways and an author may reorder the members of an object. Numbers are compared by their
//! exact mathematical value and not as doubles: an id that does not fit into a double is common, and a wrong "same"
//! would give the code the answer to another question.

use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{BlobHash, Payload, Result, worker::JournalRequest};

/// Whether `asked` is the request that was recorded.
///
/// A `run` and a `signal` are compared by their name, a `sleep` by its span, a `call` by its capability and its input,
/// an `approval` by its prompt, a `forget` by its entries, a `state` by its transaction, an `expose` and an `update` by
/// their name, an `answer` by the position of its update, `labels` by nothing. The options of a call, the detail of an
/// approval, the schema of a signal or update, and what others are shown or answered do not count.
///
/// `read` gives the bytes of a blob, or `None` where they cannot be had; it is called only
/// where the hashes do not decide. A document that cannot be had is the same as one with its hash, and no other.
///
/// # Errors
/// Those of `read`.
pub fn is_same(
    recorded: &JournalRequest,
    asked: &JournalRequest,
    read: impl FnMut(&BlobHash) -> Result<Option<Arc<[u8]>>>,
) -> Result<bool> {
    use JournalRequest::{Answer, Approval, Call, Expose, Forget, Labels, Run, Signal, Sleep, State, Update};
    match (recorded, asked) {
        (Run { name: a }, Run { name: b })
        | (Signal { name: a, schema: _ }, Signal { name: b, schema: _ })
        | (Update { name: a, schema: _ }, Update { name: b, schema: _ })
        | (Expose { name: a, value: _ }, Expose { name: b, value: _ })
        | (Approval { prompt: a, detail: _ }, Approval { prompt: b, detail: _ }) => Ok(a == b),
        (Sleep { span: a }, Sleep { span: b }) => Ok(a == b),
        (Forget { entries: a }, Forget { entries: b }) => Ok(a == b),
        (Answer { update: a, .. }, Answer { update: b, .. }) => Ok(a == b),
        (Labels { labels: _ }, Labels { labels: _ }) => Ok(true),
        (Call { capability: a, input: recorded, options: _ }, Call { capability: b, input: asked, options: _ }) => {
            if a == b { is_same_payload(recorded, asked, read) } else { Ok(false) }
        }
        (State { transaction: recorded }, State { transaction: asked }) => is_same_payload(recorded, asked, read),
        (
            Run { .. }
            | Call { .. }
            | Sleep { .. }
            | Signal { .. }
            | Approval { .. }
            | Forget { .. }
            | State { .. }
            | Expose { .. }
            | Labels { .. }
            | Update { .. }
            | Answer { .. },
            _,
        ) => Ok(false),
    }
}

fn is_same_payload(
    recorded: &Payload,
    asked: &Payload,
    mut read: impl FnMut(&BlobHash) -> Result<Option<Arc<[u8]>>>,
) -> Result<bool> {
    // Nearly always the bytes are equal, and then their hash is as good as they are.
    let equal = match (recorded, asked) {
        (Payload::Blob { hash, len }, Payload::Inline(bytes))
        | (Payload::Inline(bytes), Payload::Blob { hash, len }) => {
            *len == bytes.len() as u64 && *hash == BlobHash::of(bytes)
        }
        _ => recorded == asked,
    };
    if equal {
        return Ok(true);
    }
    let mut bytes_of = |payload: &Payload| match payload {
        Payload::Inline(bytes) => Ok(Some(Arc::clone(bytes))),
        Payload::Blob { hash, .. } => read(hash),
    };
    let Some(recorded) = bytes_of(recorded)? else { return Ok(false) };
    let Some(asked) = bytes_of(asked)? else { return Ok(false) };
    Ok(is_same_document(&recorded, &asked))
}

/// Whether two JSON documents have the same value.
///
/// The order of members and white space between tokens do not count; of members with one name the last counts. Texts
/// are compared by their characters, however those are escaped. Numbers are compared by their exact value: `1`, `1.0`
/// and `1e0` are one number, `-0` is `0`, and no digit is lost. A number other than zero whose exponent has more than
/// nine digits is compared as it is written. Bytes that are no JSON, or nest deeper than a reader goes, are the same as
/// equal bytes only.
pub fn is_same_document(a: &[u8], b: &[u8]) -> bool {
    a == b || matches!((value(a), value(b)), (Some(a), Some(b)) if a == b)
}

/// The document with the normal form of each number in its place.
fn value(document: &[u8]) -> Option<Value> {
    serde_json::from_slice::<IgnoredAny>(document).ok()?;
    serde_json::from_slice(&with_tagged_scalars(document)).ok()
}

/// Writes the numbers of a well-formed document as texts that begin with `n`, and lets all other texts begin with `s`:
/// a parsed number has lost what a double cannot hold.
fn with_tagged_scalars(document: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(document.len() + document.len() / 8);
    let mut at = 0;
    while let Some(byte) = document.get(at) {
        let rest = &document[at..];
        let taken = match byte {
            b'"' => {
                let text = &rest[..text_len(rest)];
                out.extend(b"\"s");
                out.extend(&text[1..]);
                text.len()
            }
            b'-' | b'0'..=b'9' => {
                let is_number = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let number = &rest[..rest.iter().take_while(is_number).count()];
                out.extend(b"\"n");
                out.extend(normal_number(number));
                out.push(b'"');
                number.len()
            }
            other => {
                out.push(*other);
                1
            }
        };
        at += taken;
    }
    out
}

/// Bytes of the text that begins here, its quotes included.
fn text_len(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Digits of an exponent that is calculated with; beyond, a number is compared as it is written.
const EXPONENT_DIGITS_MAX: usize = 9;

/// One form for all ways to write a number: its sign, its digits without zeros at either end, and its exponent.
fn normal_number(number: &[u8]) -> Vec<u8> {
    let (sign, unsigned) = match number.split_first() {
        Some((b'-', rest)) => (&b"-"[..], rest),
        _ => (&b""[..], number),
    };
    let mantissa_len = unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(unsigned.len());
    let mantissa = &unsigned[..mantissa_len];
    let fraction_len = mantissa.iter().position(|byte| *byte == b'.').map_or(0, |point| mantissa.len() - point - 1);
    let mut digits: Vec<u8> = mantissa.iter().copied().filter(u8::is_ascii_digit).skip_while(|d| *d == b'0').collect();
    if digits.is_empty() {
        return b"0".to_vec();
    }
    let Some(exponent) = exponent(&unsigned[mantissa_len..]) else { return number.to_vec() };
    let significant = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    let zeros = digits.len() - significant;
    digits.truncate(significant);
    let exponent = exponent + zeros as i128 - fraction_len as i128;
    [sign, &digits, b"e", exponent.to_string().as_bytes()].concat()
}

/// The exponent of a number, from its `e` on; `None` where it has too many digits.
fn exponent(text: &[u8]) -> Option<i128> {
    let text = text.get(1..).unwrap_or_default();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let significant = digits.iter().position(|digit| *digit != b'0').unwrap_or(digits.len());
    let digits = &digits[significant..];
    if digits.len() > EXPONENT_DIGITS_MAX {
        return None;
    }
    let size = digits.iter().fold(0, |size, digit| size * 10 + i128::from(digit - b'0'));
    Some(if negative { -size } else { size })
}
