//! What is checked before a command goes to the log.
//!
//! For: refusing documents that the core could not read back. Not for: names and texts (each command checks its own),
//! or rules that need the state (the machine checks those when it applies the record).
//! Invariant: a document that passes here parses wherever it is read later.

use std::fmt;

use consort_types::{Code, Error, Payload, Result, limits, text};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Checks that bytes are one JSON document within the limits of size and nesting; `what` names it in the error.
pub fn check_document(what: &str, bytes: &[u8]) -> Result<()> {
    let (size, max) = (bytes.len(), limits::PAYLOAD_BYTES_MAX);
    if size > max {
        return Err(Error::new(Code::PayloadTooLarge, format!("the {what} has {size} bytes, the limit is {max}"))
            .hint("store the document elsewhere and pass a reference to it"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let walked = Probe { depth: 0 }.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    walked.map_err(|error| refusal(what, &error))
}

/// Refuses a document with a whole number that is read as a decimal, with other digits, because it has more than 64 bits.
/// The bytes are one JSON document. Where a document is only kept, as that of an event or a key, every digit stays.
pub fn check_whole_numbers(what: &str, bytes: &[u8]) -> Result<()> {
    /// Every whole number with fewer digits fits.
    const DIGITS_SAFE: usize = 18;
    let (mut at, mut in_text) = (0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b'-' | b'0'..=b'9' if !in_text => {
                let rest = &bytes[at..];
                let of_number = |byte: &&u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let number = &rest[..rest.iter().take_while(of_number).count()];
                if number.len() > DIGITS_SAFE && !fits(number) {
                    let shown = text::shortened(std::str::from_utf8(number).unwrap_or_default(), SHOWN_BYTES);
                    return Err(Error::new(Code::BadJson, format!("`{shown}` in the {what} has more than 64 bits"))
                        .hint("send it as text: whole numbers are from −2⁶³ to 2⁶⁴ − 1"));
                }
                at += number.len();
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    Ok(())
}

/// Bytes of a number that an error shows.
const SHOWN_BYTES: usize = 40;

/// Whether a number keeps its digits: it is a decimal, whose writer knows that, or has 64 bits.
fn fits(number: &[u8]) -> bool {
    let text = std::str::from_utf8(number).unwrap_or_default();
    text.contains(['.', 'e', 'E']) || text.parse::<u64>().is_ok() || text.parse::<i64>().is_ok()
}

fn refusal(what: &str, error: &serde_json::Error) -> Error {
    let text = error.to_string();
    if text.starts_with(TOO_DEEP) || text.contains("recursion limit") {
        let max = limits::NESTING_DEPTH_MAX;
        return Error::new(
            Code::LimitReached,
            format!("the {what} nests more than {max} levels deep, the limit is {max}"),
        )
        .hint("flatten the document");
    }
    Error::new(Code::BadJson, format!("the {what} is not JSON: {text}")).hint("send one JSON document in UTF-8")
}

/// Checks an inline payload; a reference to a blob needs no check, since the blob's bytes were checked when stored.
pub(crate) fn check_payload(what: &str, payload: &Payload) -> Result<()> {
    payload.bytes().map_or(Ok(()), |bytes| check_document(what, bytes))
}

const TOO_DEEP: &str = "nested too deep";

/// Walks a document without building it: every number and string is read as it will be read later.
#[derive(Clone, Copy)]
struct Probe {
    depth: usize,
}

impl Probe {
    fn deeper<E: de::Error>(self) -> std::result::Result<Self, E> {
        let depth = self.depth + 1;
        if depth > limits::NESTING_DEPTH_MAX { Err(E::custom(TOO_DEEP)) } else { Ok(Self { depth }) }
    }
}

impl<'de> DeserializeSeed<'de> for Probe {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Probe {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> std::result::Result<(), A::Error> {
        let inner = self.deeper()?;
        while fields.next_key_seed(inner)?.is_some() {
            fields.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_can_be_read_later() {
        for good in ["null", "[1,2.5,-3]", r#"{"a":{"b":["c"]}}"#, "\"\\u00e9\"", " 1 "] {
            check_document("input", good.as_bytes()).unwrap();
            serde_json::from_str::<serde_json::Value>(good).unwrap();
        }
        for bad in ["", "1 2", "{", r#""\ud800""#, "1e999", "{1:2}", "nul"] {
            assert_eq!(check_document("input", bad.as_bytes()).unwrap_err().code, Code::BadJson, "{bad}");
        }
        assert_eq!(check_document("input", b"\"\xff\"").unwrap_err().code, Code::BadJson);
    }

    #[test]
    fn whole_numbers_keep_their_digits_or_are_refused() {
        for good in [
            "18446744073709551615",
            "-9223372036854775808",
            "1e30",
            "1.2345678901234567890123",
            "[\"99999999999999999999\\\"9\"]",
        ] {
            check_whole_numbers("input", good.as_bytes()).unwrap();
        }
        for bad in ["18446744073709551616", "-9223372036854775809", r#"{"a\"":[1, 123456789012345678901234567890]}"#] {
            let error = check_whole_numbers("input", bad.as_bytes()).unwrap_err();
            assert!(error.code == Code::BadJson && error.message.contains("64 bits"), "{bad}: {error}");
        }
    }

    #[test]
    fn depth_and_size_are_limited_with_their_values() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        check_document("input", nested(limits::NESTING_DEPTH_MAX).as_bytes()).unwrap();
        for depth in [limits::NESTING_DEPTH_MAX + 1, 100_000] {
            let error = check_document("input", nested(depth).as_bytes()).unwrap_err();
            assert!(error.code == Code::LimitReached && error.message.contains("64"), "{error}");
        }
        let large = vec![b' '; limits::PAYLOAD_BYTES_MAX + 1];
        assert_eq!(check_document("input", &large).unwrap_err().code, Code::PayloadTooLarge);
    }
}
