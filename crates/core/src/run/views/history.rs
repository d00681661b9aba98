//! The history of a run, entry by entry.
//!
//! For: reading, watching (a cursor resumes it), replay. Not for: the state as it is now (see `tree`).
//! Invariant: entries come in the order of the log, each once.

use consort_types::{Code, Error, Result, RunId, Seq, StepInstanceId, Time};
use serde::Serialize;

use crate::{
    machine::Machine,
    page::bounded,
    run::{keys::HistoryKey, locate, rows::history::HistoryEvent},
};

/// A place in a run's journal: the entry at it was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalCursor {
    /// The record.
    pub seq: Seq,
    /// The entry within the record.
    pub n: u32,
}

impl std::fmt::Display for JournalCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.seq, self.n)
    }
}

impl std::str::FromStr for JournalCursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = text.split_once('-').and_then(|(seq, n)| Some((seq.parse().ok()?, n.parse().ok()?)));
        let (seq, n) = parts.ok_or_else(|| {
            Error::new(Code::BadCursor, format!("`{text}` is not a journal cursor"))
                .hint("use the cursor of the last entry that you have seen, such as `1042-0`")
        })?;
        Ok(Self { seq: Seq(seq), n })
    }
}

impl Serialize for JournalCursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An entry of a run's journal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournalView {
    /// Its place.
    pub cursor: JournalCursor,
    /// When, in log time.
    pub time: Time,
    /// The step instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<StepInstanceId>,
    /// The step's path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub event: HistoryEvent,
}

impl Machine {
    /// At most `limit` entries after a cursor.
    pub fn journal(
        &mut self,
        namespace: &str,
        id: RunId,
        after: Option<JournalCursor>,
        limit: usize,
    ) -> Result<Vec<JournalView>> {
        self.state.run_in(namespace, id)?;
        let after = after.unwrap_or_default();
        let from = HistoryKey { run: id, seq: after.seq, n: after.n.saturating_add(1) };
        let from = if after.seq == Seq::ZERO { HistoryKey { run: id, seq: Seq::ZERO, n: 0 } } else { from };
        let to = HistoryKey { run: id, seq: Seq(u64::MAX), n: 0 };
        let rows = self.state.tables.history.range(&from, &to, bounded(limit))?;
        let mut entries = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            let task = row.step.map(|(scope, index)| StepInstanceId { run: id, scope, index });
            let step = match task {
                Some(task) => Some(locate::path(&mut self.state, task)?),
                None => None,
            };
            let cursor = JournalCursor { seq: key.seq, n: key.n };
            entries.push(JournalView { cursor, time: row.time, task, step, event: row.event });
        }
        Ok(entries)
    }
}
