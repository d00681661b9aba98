//! What an attempt says while it works, as far as a line can show it.
//!
//! For: the live view of a run. Not for: keeping it: partial output is shown and forgotten.
//! Invariant: at most [`KEPT_CHARS_MAX`] characters are kept of a step, however much it says.

use super::style::clean;
use crate::client::model::Live;

/// Characters of partial text that are kept: more than any line shows.
const KEPT_CHARS_MAX: usize = 1_000;

/// What the current attempt of a step said last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    attempt: u32,
    message: String,
    /// Its partial output; empty where there is none.
    partial: String,
    /// Whether the partial output is a text that goes on.
    text: bool,
}

impl Said {
    /// Takes note of something that was said. What an earlier attempt said is forgotten.
    pub(crate) fn take(&mut self, attempt: u32, live: Live) {
        if attempt != self.attempt {
            *self = Self { attempt, ..Self::default() };
        }
        match live {
            Live::Message { message } => self.message = clean(&message),
            Live::Text { text } => {
                if !self.text {
                    self.partial.clear();
                }
                self.text = true;
                self.append(&text);
            }
            Live::Json { value } => {
                self.text = false;
                self.partial.clear();
                self.partial.extend(clean(&value.to_string()).chars().take(KEPT_CHARS_MAX));
            }
            Live::Other => {}
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

    /// What it says that it is doing; nothing once there is partial output, which says more.
    pub(crate) fn message(&self) -> Option<&str> {
        (self.partial.is_empty() && !self.message.is_empty()).then_some(&self.message)
    }

    /// Its partial output, of which the end matters most where it is a text.
    pub(crate) fn partial(&self) -> Option<(&str, bool)> {
        (!self.partial.is_empty()).then_some((self.partial.trim_end(), self.text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> Live {
        Live::Text { text: text.to_owned() }
    }

    #[test]
    fn partial_text_stands_before_messages_and_another_attempt_begins_anew() {
        let mut said = Said::default();
        said.take(1, Live::Message { message: "reads\u{1b}[2J".to_owned() });
        assert_eq!((said.message(), said.partial()), (Some("reads [2J"), None));
        said.take(1, text("The log\n\n"));
        said.take(1, text(" keeps "));
        assert_eq!((said.message(), said.partial()), (None, Some(("The log keeps", true))));
        said.take(1, Live::Json { value: json!({"score": 2}) });
        assert_eq!(said.partial(), Some(("{\"score\":2}", false)));
        said.take(1, text("Anew"));
        assert_eq!(said.partial(), Some(("Anew", true)));
        said.take(2, Live::Message { message: "again".to_owned() });
        assert_eq!((said.message(), said.partial()), (Some("again"), None));
    }

    #[test]
    fn little_is_kept_of_much() {
        let mut said = Said::default();
        for _ in 0..100 {
            said.take(1, text(&"ä".repeat(500)));
        }
        said.take(1, text("end"));
        let (kept, _) = said.partial().unwrap();
        assert_eq!(kept.chars().count(), KEPT_CHARS_MAX);
        assert!(kept.ends_with("äend"));
        said.take(1, Live::Json { value: json!("x".repeat(5_000)) });
        assert_eq!(said.partial().unwrap().0.chars().count(), KEPT_CHARS_MAX);
    }
}
