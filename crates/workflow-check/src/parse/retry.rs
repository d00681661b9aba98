//! How failed attempts are repeated.
//!
//! For: reading `retry`, of a step, of a compensation and of the whole workflow. Not for: doing it.
//! Invariant: what is read has an end: a number of attempts, or a time.

use consort_types::{Code, limits};
use consort_workflow::Retry;

use serde_json::Value;

use super::Reader;
use crate::yaml::{Entry, NodeKind};

impl Reader<'_> {
    pub(super) fn retry(&mut self, entry: &Entry) -> Option<Retry> {
        const KEYS: [&str; 5] = ["attempts", "backoff", "max_elapsed", "losses", "on"];
        let fields = self.plain().map(&entry.value, "`retry`", &KEYS)?;
        let mut retry = Retry::default();
        let max_elapsed = fields.get("max_elapsed");
        retry.max_elapsed = max_elapsed.and_then(|entry| self.plain().span(entry));
        if let Some(entry) = fields.get("attempts") {
            let attempts = 1..=i64::from(limits::ATTEMPTS_MAX);
            retry.attempts = self.plain().integer(entry, attempts).unwrap_or(retry.attempts);
        } else if max_elapsed.is_some() {
            retry.attempts = u32::MAX;
        } else if fields.get("losses").is_none() {
            let hint = "say how many attempts there are at most, the first included, or for how long: `max_elapsed`";
            self.plain().required(&fields, "attempts", hint);
        }
        if let Some(entry) = fields.get("losses") {
            retry.losses = self.plain().integer(entry, 1..=i64::from(limits::LOSSES_MAX));
        }
        retry.on = fields.get("on").map(|entry| self.codes(entry));
        let Some(entry) = fields.get("backoff") else { return Some(retry) };
        let backoff = self.plain().map(&entry.value, "`backoff`", &["initial", "factor", "max"])?;
        if let Some(span) = backoff.get("initial").and_then(|entry| self.plain().span(entry)) {
            retry.initial = span;
            retry.max = retry.max.max(span);
        }
        if let Some(factor) = backoff.get("factor").and_then(|entry| self.factor(entry)) {
            retry.factor_milli = factor;
        }
        if let Some(entry) = backoff.get("max")
            && let Some(max) = self.plain().span(entry)
        {
            retry.max = max;
            if max < retry.initial {
                let message = format!("`max` is {max}, less than `initial`, which is {}", retry.initial);
                self.report().error("contradiction", entry.value.span.clone(), message);
            }
        }
        Some(retry)
    }

    /// The failures that are tried again: words, or codes such as `C0304`.
    fn codes(&mut self, entry: &Entry) -> Vec<u16> {
        let items = match &entry.value.kind {
            NodeKind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&entry.value),
        };
        if items.is_empty() {
            let message = "`on` is empty: nothing would be tried again";
            self.report().error("bad-value", entry.value.span.clone(), message).hint("leave it out to try everything");
        }
        let mut codes = Vec::new();
        for item in items {
            let Some(word) = item.as_str() else {
                let message = format!("a failure must be a text, found {}", item.kind_name());
                self.report().error("bad-type", item.span.clone(), message);
                continue;
            };
            let number = match word {
                "failure" => Some(Code::AgentFailed.number()),
                "timeout" => Some(Code::TimedOut.number()),
                "output" => Some(Code::BadOutput.number()),
                word => word.strip_prefix('C').and_then(|number| number.parse().ok()),
            };
            if let Some(number) = number.filter(|number| Code::from_number(*number).is_some()) {
                codes.push(number);
                continue;
            }
            let message = format!("`{word}` is no failure of an attempt");
            let hint = "write `failure`, `timeout`, `output`, or a code such as `C0304`";
            self.report().error("bad-value", item.span.clone(), message).hint(hint);
        }
        codes
    }

    /// A number from 1 to 100, kept in thousandths.
    fn factor(&mut self, entry: &Entry) -> Option<u32> {
        let milli = match &entry.value.kind {
            // Its digits are moved, not multiplied: the result is the same on every machine.
            NodeKind::Scalar(Value::Number(number)) => thousandths(&number.to_string()),
            _ => None,
        };
        let factor = milli.filter(|milli| (1_000..=100_000).contains(milli));
        if factor.is_none() {
            self.report().error("out-of-range", entry.value.span.clone(), "`factor` must be a number from 1 to 100");
        }
        factor
    }
}

/// A plain decimal number in thousandths, further digits cut.
fn thousandths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    let milli = format!("{fraction:0<3}");
    (digits && whole.len() <= 3).then(|| format!("{whole}{}", &milli[..3]).parse().ok())?
}
