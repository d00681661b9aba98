//! What an attempt shows to watchers while it works, until it is sent.
//!
//! For: progress and partial output, bounded and never in the way of the code. Not for: anything that must arrive.
//! Invariant: what waits never has more than [`limits::STREAM_WAITING_BYTES_MAX`] bytes; the oldest goes first, and
//! what is left keeps its order.

use std::{collections::VecDeque, mem};

use consort_types::{limits, worker::Delta};
use serde_json::Value;

/// Pieces that wait, however small they are.
const DELTAS_MAX: usize = 4_096;

/// What one attempt has to show.
#[derive(Debug, Default)]
pub(crate) struct Live {
    progress: Option<String>,
    deltas: VecDeque<(usize, Delta)>,
    bytes: usize,
}

/// The next thing to show.
#[derive(Debug, PartialEq)]
pub(crate) enum Shown {
    Progress(String),
    Delta(Delta),
}

impl Live {
    /// Replaces the message that waits.
    pub(crate) fn progress(&mut self, message: String) {
        self.progress = Some(message);
    }

    /// More text: it joins the text that waits, in pieces of at most [`limits::STREAM_DELTA_BYTES_MAX`] bytes.
    pub(crate) fn text(&mut self, text: &str) {
        let mut joined = 0;
        if let Some((size, Delta::Text { text: waiting })) = self.deltas.back_mut() {
            joined = text.floor_char_boundary(limits::STREAM_DELTA_BYTES_MAX - *size);
            waiting.push_str(&text[..joined]);
            *size += joined;
            self.bytes += joined;
        }
        let mut rest = &text[joined..];
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(limits::STREAM_DELTA_BYTES_MAX));
            self.push(piece.len(), Delta::Text { text: piece.to_owned() });
            rest = after;
        }
        self.bound();
    }

    /// A document of `bytes` bytes, within [`limits::STREAM_DELTA_BYTES_MAX`].
    pub(crate) fn json(&mut self, value: Value, bytes: usize) {
        self.push(bytes, Delta::Json { value });
    }

    /// Takes the next thing to show.
    pub(crate) fn next(&mut self) -> Option<Shown> {
        if let Some(message) = mem::take(&mut self.progress) {
            return Some(Shown::Progress(message));
        }
        let (bytes, delta) = self.deltas.pop_front()?;
        self.bytes -= bytes;
        Some(Shown::Delta(delta))
    }

    /// Whether there is nothing to show.
    pub(crate) fn is_empty(&self) -> bool {
        self.progress.is_none() && self.deltas.is_empty()
    }

    fn push(&mut self, bytes: usize, delta: Delta) {
        self.deltas.push_back((bytes, delta));
        self.bytes += bytes;
        self.bound();
    }

    fn bound(&mut self) {
        while self.bytes > limits::STREAM_WAITING_BYTES_MAX || self.deltas.len() > DELTAS_MAX {
            let Some((bytes, _)) = self.deltas.pop_front() else { return };
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> Shown {
        Shown::Delta(Delta::Text { text: text.into() })
    }

    #[test]
    fn text_that_waits_is_joined_and_documents_stand_alone() {
        let mut live = Live::default();
        live.text("one ");
        live.text("two");
        live.json(json!(3), 1);
        live.text("four");
        live.progress("late".into());
        live.progress("latest".into());
        assert_eq!(live.next(), Some(Shown::Progress("latest".into())));
        assert_eq!(live.next(), Some(text("one two")));
        assert_eq!(live.next(), Some(Shown::Delta(Delta::Json { value: json!(3) })));
        assert_eq!(live.next(), Some(text("four")));
        assert!(live.is_empty() && live.next().is_none());
    }

    #[test]
    fn long_text_is_cut_into_pieces_between_characters() {
        let long = "é".repeat(limits::STREAM_DELTA_BYTES_MAX);
        let mut live = Live::default();
        live.text("x");
        live.text(&long);
        let mut whole = String::new();
        while let Some(shown) = live.next() {
            let Shown::Delta(Delta::Text { text }) = shown else { panic!("text was written") };
            assert!(text.len() <= limits::STREAM_DELTA_BYTES_MAX);
            whole.push_str(&text);
        }
        assert_eq!(whole, format!("x{long}"));
    }

    #[test]
    fn what_is_too_much_drops_the_oldest() {
        let mut live = Live::default();
        for number in 0..1_000 {
            live.json(json!(number), limits::STREAM_DELTA_BYTES_MAX);
        }
        let fit = limits::STREAM_WAITING_BYTES_MAX / limits::STREAM_DELTA_BYTES_MAX;
        for number in 1_000 - fit..1_000 {
            assert_eq!(live.next(), Some(Shown::Delta(Delta::Json { value: json!(number) })));
        }
        assert!(live.is_empty());
    }
}
