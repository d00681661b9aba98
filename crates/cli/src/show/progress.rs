//! Live progress of an attempt, as far as a line can show it.
//!
//! For: the live view of a run. Not for: keeping it: partial output is shown and forgotten.
//! Invariant: at most [`KEPT_CHARS_MAX`] characters are kept of a step, however much it sends.

use consort_api::watch::Progress;

use super::style::clean;

/// Characters of partial text that are kept: more than any line shows.
const KEPT_CHARS_MAX: usize = 1_000;

/// What the current attempt of a step progress last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AttemptProgress {
    attempt: u32,
    message: String,
    /// Its partial output; empty where there is none.
    partial: String,
    /// Whether the partial output is a text to which more is appended.
    text: bool,
}

impl AttemptProgress {
    /// Adds a message. Progress of an earlier attempt is dropped.
    pub(crate) fn update(&mut self, progress: Progress) {
        if progress.attempt != self.attempt {
            *self = Self { attempt: progress.attempt, ..Self::default() };
        }
        if let Some(message) = progress.message {
            self.message = clean(&message);
        }
        if let Some(text) = progress.text {
            if !self.text {
                self.partial.clear();
            }
            self.text = true;
            self.append(&text);
        }
        if let Some(document) = progress.json {
            self.text = false;
            self.partial.clear();
            self.partial.extend(clean(&document.to_string()).chars().take(KEPT_CHARS_MAX));
        }
    }

    /// Puts text behind what is there; blanks and line ends in a row become one blank, for there is one line.
    fn append(&mut self, text: &str) {
        for c in text.chars() {
            let blank = c.is_whitespace() || c.is_control();
            if !blank {
                self.partial.push(c);
            } else if !self.partial.ends_with(' ') {
                self.partial.push(' ');
            }
        }
        let spare = self.partial.chars().count().saturating_sub(KEPT_CHARS_MAX);
        if let Some((at, _)) = self.partial.char_indices().nth(spare).filter(|_| spare > 0) {
            self.partial.drain(..at);
        }
    }

    /// Its progress message; none once there is partial output, which shows more.
    pub(crate) fn message(&self) -> Option<&str> {
        (self.partial.is_empty() && !self.message.is_empty()).then_some(&self.message)
    }

    /// Its partial output, of which the end matters most where it is a text.
    pub(crate) fn partial(&self) -> Option<(&str, bool)> {
        (!self.partial.is_empty()).then_some((self.partial.trim_end(), self.text))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A message of one kind.
    pub(crate) fn says(attempt: u32, kind: &str, what: impl Into<Value>) -> Progress {
        let mut progress = json!({"run": "01J8Z3K4M5N6P7Q8R9S0T1V2W3", "step": "a", "attempt": attempt, "kind": kind});
        progress[kind] = what.into();
        serde_json::from_value(progress).unwrap()
    }

    #[test]
    fn partial_text_stands_before_messages_and_another_attempt_begins_anew() {
        let mut progress = AttemptProgress::default();
        progress.update(says(1, "message", "reads\u{1b}[2J"));
        assert_eq!((progress.message(), progress.partial()), (Some("reads [2J"), None));
        progress.update(says(1, "text", "The log\n\n"));
        progress.update(says(1, "text", " keeps "));
        assert_eq!((progress.message(), progress.partial()), (None, Some(("The log keeps", true))));
        progress.update(says(1, "json", json!({"score": 2})));
        assert_eq!(progress.partial(), Some(("{\"score\":2}", false)));
        progress.update(says(1, "text", "Anew"));
        assert_eq!(progress.partial(), Some(("Anew", true)));
        progress.update(says(2, "message", "again"));
        assert_eq!((progress.message(), progress.partial()), (Some("again"), None));
    }

    #[test]
    fn little_is_kept_of_much() {
        let mut progress = AttemptProgress::default();
        for _ in 0..100 {
            progress.update(says(1, "text", "ä".repeat(500)));
        }
        progress.update(says(1, "text", "end"));
        let (kept, _) = progress.partial().unwrap();
        assert_eq!(kept.chars().count(), KEPT_CHARS_MAX);
        assert!(kept.ends_with("äend"));
        progress.update(says(1, "json", "x".repeat(5_000)));
        assert_eq!(progress.partial().unwrap().0.chars().count(), KEPT_CHARS_MAX);
    }
}
