//! Times and durations as people read them.
//!
//! For: elapsed times and ages. Not for: documents, which carry whole microseconds or RFC 3339.
//! Invariant: at most two units, the larger first.

use consort_types::{Span, Time};

/// The wall clock, for elapsed times on a screen.
pub(crate) fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// A duration in a few characters: `12ms`, `3.4s`, `2m05s`, `1h02m`, `3d04h`.
pub(crate) fn took(span: Span) -> String {
    let millis = span.as_millis();
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{seconds}.{}s", millis % 1000 / 100),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// How long ago: `12s ago`.
pub(crate) fn ago(time: Time, now: Time) -> String {
    let span = now.since(time);
    if span < Span::from_secs(1) { "now".to_owned() } else { format!("{} ago", took(span)) }
}

/// The clock of a day: `10:02:33.120`.
pub(crate) fn clock(time: Time) -> String {
    let text = time.to_string();
    text.get(11..23).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (millis, text) in [
            (0, "0ms"),
            (12, "12ms"),
            (3_400, "3.4s"),
            (125_000, "2m05s"),
            (3_720_000, "1h02m"),
            (273_600_000, "3d04h"),
        ] {
            assert_eq!(took(Span::from_millis(millis)), text);
        }
        let time = Time::parse_rfc3339("2026-11-22T10:02:33.120Z").unwrap();
        assert_eq!(clock(time), "10:02:33.120");
        assert_eq!(ago(time, time), "now");
        assert_eq!(ago(time, time.after(Span::from_secs(90))), "1m30s ago");
    }
}
