//! What an attempt says while it is under way.
//!
//! For: the label of its live messages, and a bounded tail of its partial output for those who begin to watch late.
//! Not for: keeping anything beyond the attempt's end.
//! Invariant: a tail holds at most `limits::STREAM_TAIL_BYTES_MAX` bytes, and always the end of what was said.

use std::collections::VecDeque;

use consort_types::{
    RunId, limits,
    worker::{Live, Progress},
};

/// Bytes up to which one piece of text takes on the next.
const PIECE_BYTES: usize = 4 * 1024;

/// The live side of an attempt.
#[derive(Debug)]
pub(super) struct Shown {
    step: Box<str>,
    attempt: u32,
    /// The latest message; earlier ones are of no use.
    message: Option<String>,
    pieces: VecDeque<(Live, usize)>,
    bytes: usize,
}

impl Shown {
    pub(super) fn new(step: &str, attempt: u32) -> Self {
        Self { step: Box::from(step), attempt, message: None, pieces: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Labels a live message.
    pub(super) fn label(&self, run: RunId, live: Live) -> Progress {
        Progress { run, step: self.step.to_string(), attempt: self.attempt, live }
    }

    /// Keeps the end of what was said, in at most `room` bytes.
    pub(super) fn keep(&mut self, live: &Live, room: usize) {
        let max = room.min(limits::STREAM_TAIL_BYTES_MAX);
        match live {
            Live::Message { message } => self.message = Some(message.clone()),
            Live::Text { text } => self.keep_text(end_of(text, max)),
            Live::Json { value } => {
                let size = serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len());
                if size <= max {
                    self.push(live.clone(), size);
                }
            }
        }
        while self.bytes > max {
            let Some((_, size)) = self.pieces.pop_front() else { break };
            self.bytes -= size;
        }
    }

    fn keep_text(&mut self, more: &str) {
        if let Some((Live::Text { text }, size)) = self.pieces.back_mut()
            && text.len() + more.len() <= PIECE_BYTES
        {
            text.push_str(more);
            *size += more.len();
            self.bytes += more.len();
        } else {
            self.push(Live::Text { text: more.to_owned() }, more.len());
        }
    }

    fn push(&mut self, live: Live, size: usize) {
        self.pieces.push_back((live, size));
        self.bytes += size;
    }

    /// Everything that is kept, in order; the latest message first.
    pub(super) fn tail(&self, run: RunId) -> Vec<Progress> {
        let message = self.message.clone().map(|message| Live::Message { message });
        let all = message.into_iter().chain(self.pieces.iter().map(|(live, _)| live.clone()));
        all.map(|live| self.label(run, live)).collect()
    }
}

/// The last bytes of a text, from the beginning of a character on.
fn end_of(text: &str, max: usize) -> &str {
    let from = text.len().saturating_sub(max);
    let from = (from..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text.get(from..).unwrap_or_default()
}

/// Bytes of all tails together.
#[derive(Debug, Default)]
pub(super) struct Tails {
    bytes: usize,
}

impl Tails {
    /// Keeps what was said. Where all tails together are at their limit, the attempt's own makes room.
    pub(super) fn keep(&mut self, shown: &mut Shown, live: &Live) {
        let others = self.bytes - shown.bytes;
        shown.keep(live, limits::STREAM_TAILS_BYTES_MAX.saturating_sub(others));
        self.bytes = others + shown.bytes;
    }

    /// An attempt has ended.
    pub(super) fn end(&mut self, shown: Option<Box<Shown>>) {
        self.bytes -= shown.map_or(0, |shown| shown.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(shown: &Shown) -> String {
        let text = |progress: Progress| if let Live::Text { text } = progress.live { text } else { String::new() };
        shown.tail(RunId([1; 16])).into_iter().map(text).collect()
    }

    #[test]
    fn a_tail_is_the_end_of_what_was_said() {
        let (mut tails, mut shown) = (Tails::default(), Shown::new("a", 1));
        let mut all = String::new();
        for n in 0..20_000 {
            let text = format!("{n}é ");
            all.push_str(&text);
            tails.keep(&mut shown, &Live::Text { text });
        }
        let kept = texts(&shown);
        assert!(all.ends_with(&kept) && kept.len() <= limits::STREAM_TAIL_BYTES_MAX);
        assert!(kept.len() > limits::STREAM_TAIL_BYTES_MAX - 2 * PIECE_BYTES, "{}", kept.len());
        tails.keep(&mut shown, &Live::Text { text: "é".repeat(limits::STREAM_TAIL_BYTES_MAX) });
        assert_eq!(shown.bytes(), limits::STREAM_TAIL_BYTES_MAX);
        tails.end(Some(Box::new(shown)));
        assert_eq!(tails.bytes, 0);
    }

    #[test]
    fn only_the_latest_message_is_kept_and_all_tails_are_bounded() {
        let (mut tails, mut shown) = (Tails::default(), Shown::new("a", 1));
        for message in ["one", "two"] {
            tails.keep(&mut shown, &Live::Message { message: message.into() });
        }
        let tail = shown.tail(RunId([1; 16]));
        assert_eq!(tail.len(), 1);
        assert_eq!(tail[0].live, Live::Message { message: "two".into() });
        let mut all: Vec<Shown> = (0..2_000).map(|n| Shown::new("a", n)).collect();
        let text = "x".repeat(limits::STREAM_TAIL_BYTES_MAX);
        for shown in &mut all {
            tails.keep(shown, &Live::Text { text: text.clone() });
        }
        let kept: usize = all.iter().map(Shown::bytes).sum();
        assert_eq!((kept, tails.bytes), (limits::STREAM_TAILS_BYTES_MAX, limits::STREAM_TAILS_BYTES_MAX));
    }
}
