//! Live progress: what attempts report while they run.
//!
//! For: the label of live messages, and a bounded tail of partial output for subscribers that join late. Not for:
//! keeping anything beyond the end of the attempt, or for matching (the crate `dispatch`).
//! Invariant: a tail holds at most `limits::STREAM_TAIL_BYTES_MAX` bytes, all tails together at most
//! `limits::STREAM_TAILS_BYTES_MAX`, and a tail is always the end of what was reported.

use std::collections::{BTreeMap, VecDeque};

use consort_types::{
    RunId, StepInstanceId, Token, limits,
    worker::{Live, Progress},
};

/// Bytes up to which one piece of text takes on the next.
const PIECE_BYTES: usize = 4 * 1024;

/// What one attempt has reported.
#[derive(Debug)]
struct Tail {
    token: Token,
    step: Box<str>,
    attempt: u32,
    /// The latest message; earlier ones are of no use.
    message: Option<String>,
    pieces: VecDeque<(Live, usize)>,
    bytes: usize,
}

impl Tail {
    fn new(token: Token, step: &str, attempt: u32) -> Self {
        Self { token, step: Box::from(step), attempt, message: None, pieces: VecDeque::new(), bytes: 0 }
    }

    /// Labels a live message.
    fn label(&self, run: RunId, live: Live) -> Progress {
        Progress { run, step: self.step.to_string(), attempt: self.attempt, live }
    }

    /// Appends a message and drops the oldest output, so that at most `room` bytes are kept.
    fn append(&mut self, live: &Live, room: usize) {
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
    fn all(&self, run: RunId) -> Vec<Progress> {
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

/// The tails of all attempts that workers run.
#[derive(Debug, Default)]
pub(super) struct LiveProgress {
    tails: BTreeMap<StepInstanceId, Tail>,
    /// Bytes of all tails together.
    bytes: usize,
}

impl LiveProgress {
    /// An attempt was sent to a worker: notes how its live messages are labelled.
    pub(super) fn begin(&mut self, task: StepInstanceId, token: Token, step: &str, attempt: u32) {
        self.forget(task);
        self.tails.insert(task, Tail::new(token, step, attempt));
    }

    /// A live message of an attempt: kept for late subscribers, and returned with its label. `None` where the attempt
    /// is over. At the limit of all tails together, the attempt's own output makes room.
    pub(super) fn publish(&mut self, task: StepInstanceId, token: Token, live: Live) -> Option<Progress> {
        let tail = self.tails.get_mut(&task).filter(|tail| tail.token == token)?;
        let others = self.bytes - tail.bytes;
        tail.append(&live, limits::STREAM_TAILS_BYTES_MAX.saturating_sub(others));
        self.bytes = others + tail.bytes;
        Some(tail.label(task.run, live))
    }

    /// The end of what the attempts of a run have reported.
    pub(super) fn tail(&self, run: RunId) -> Vec<Progress> {
        let of_run =
            StepInstanceId { run, scope: 0, index: 0 }..=StepInstanceId { run, scope: u32::MAX, index: u32::MAX };
        self.tails.range(of_run).flat_map(|(_, tail)| tail.all(run)).collect()
    }

    /// An attempt has ended; a newer one of the same task is kept.
    pub(super) fn end(&mut self, task: StepInstanceId, token: Token) {
        if self.tails.get(&task).is_some_and(|tail| tail.token == token) {
            self.forget(task);
        }
    }

    /// No attempt of the task runs any more.
    pub(super) fn forget(&mut self, task: StepInstanceId) {
        if let Some(tail) = self.tails.remove(&task) {
            self.bytes -= tail.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token(1);

    fn task(index: u32) -> StepInstanceId {
        StepInstanceId { run: RunId([1; 16]), scope: 0, index }
    }

    fn begin(live: &mut LiveProgress, index: u32) {
        live.begin(task(index), TOKEN, "a", 1);
    }

    fn texts(live: &LiveProgress) -> String {
        let text = |progress: Progress| if let Live::Text { text } = progress.live { text } else { String::new() };
        live.tail(RunId([1; 16])).into_iter().map(text).collect()
    }

    #[test]
    fn a_tail_is_the_end_of_what_was_reported() {
        let mut live = LiveProgress::default();
        begin(&mut live, 1);
        let mut all = String::new();
        for n in 0..20_000 {
            let text = format!("{n}é ");
            all.push_str(&text);
            assert!(live.publish(task(1), TOKEN, Live::Text { text }).is_some());
        }
        let kept = texts(&live);
        assert!(all.ends_with(&kept) && kept.len() <= limits::STREAM_TAIL_BYTES_MAX);
        assert!(kept.len() > limits::STREAM_TAIL_BYTES_MAX - 2 * PIECE_BYTES, "{}", kept.len());
        live.publish(task(1), TOKEN, Live::Text { text: "é".repeat(limits::STREAM_TAIL_BYTES_MAX) });
        assert_eq!(live.bytes, limits::STREAM_TAIL_BYTES_MAX);
        live.end(task(1), TOKEN);
        assert_eq!((live.bytes, live.tails.len()), (0, 0));
    }

    #[test]
    fn only_the_latest_message_is_kept_and_all_tails_are_bounded() {
        let mut live = LiveProgress::default();
        begin(&mut live, 0);
        for message in ["one", "two"] {
            live.publish(task(0), TOKEN, Live::Message { message: message.into() });
        }
        let tail = live.tail(RunId([1; 16]));
        assert_eq!(tail.len(), 1);
        assert_eq!(tail[0].live, Live::Message { message: "two".into() });
        let text = "x".repeat(limits::STREAM_TAIL_BYTES_MAX);
        for n in 0..2_000 {
            begin(&mut live, n);
            live.publish(task(n), TOKEN, Live::Text { text: text.clone() });
        }
        let kept: usize = live.tails.values().map(|tail| tail.bytes).sum();
        assert_eq!((kept, live.bytes), (limits::STREAM_TAILS_BYTES_MAX, limits::STREAM_TAILS_BYTES_MAX));
    }

    #[test]
    fn an_attempt_that_is_over_reports_nothing() {
        let mut live = LiveProgress::default();
        let message = Live::Message { message: "late".into() };
        assert_eq!(live.publish(task(1), TOKEN, message.clone()), None);
        begin(&mut live, 1);
        live.begin(task(1), Token(2), "a", 2);
        assert_eq!(live.publish(task(1), TOKEN, message.clone()), None, "an earlier attempt");
        live.end(task(1), TOKEN);
        assert!(live.publish(task(1), Token(2), message).is_some(), "the newer attempt continues");
    }
}
