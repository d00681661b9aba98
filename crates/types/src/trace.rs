//! Trace context, as callers bring it along.
//!
//! For: reading a W3C `traceparent`. Not for: recording spans.
//! Invariant: what is accepted can be handed on as it is.

use crate::{Code, Error, Result};

/// Bytes of a `traceparent`: version, trace, span and flags in hexadecimal, with dashes between them.
const LENGTH: usize = 55;

/// A caller's W3C `traceparent` as it is kept. Later versions of the format begin like this one, and are cut to it.
///
/// # Errors
/// Where the text is none.
pub fn accept_traceparent(text: &str) -> Result<String> {
    let bad = || {
        let shown: String = text.chars().take(80).collect();
        Error::new(Code::BadRequest, format!("`{shown}` is not a W3C `traceparent`")).hint(
            "it looks like `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`; leave it out to start a trace",
        )
    };
    let head = text.get(..LENGTH).ok_or_else(bad)?;
    let rest = &text[LENGTH..];
    let parts: Vec<&str> = head.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { return Err(bad()) };
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let known = rest.is_empty() || (version != "00" && rest.starts_with('-'));
    let shaped = hex(version, 2) && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    if !known || !shaped || version == "ff" || zero(trace) || zero(span) {
        return Err(bad());
    }
    Ok(format!("00-{trace}-{span}-{flags}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_traceparents_are_taken() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(accept_traceparent(good).unwrap(), good);
        let later = format!("7f{}-more", &good[2..]);
        assert_eq!(accept_traceparent(&later).unwrap(), good);
        let zeros = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for bad in
            ["", "00", &good[1..], &format!("{good}-more"), &good.to_uppercase(), zeros, &format!("ff{}", &good[2..])]
        {
            assert_eq!(accept_traceparent(bad).unwrap_err().code, Code::BadRequest, "{bad}");
        }
        assert!(accept_traceparent(&"ä".repeat(55)).is_err());
    }
}
