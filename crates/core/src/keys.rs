//! The keys of the tables.
//!
//! For: one place that says how each key turns into bytes. Not for: what stands at a key (see `rows`).
//! Invariant: the bytes of a key sort as the key does, so a range of keys is a range of bytes.

use consort_types::{BlobHash, RunId, Seq, TaskId, Time};

use crate::tables::Key;

/// Reads fixed-size parts off the front of a key.
struct Parts<'a>(&'a [u8]);

impl Parts<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_at_checked(N)?;
        self.0 = rest;
        head.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn run(&mut self) -> Option<RunId> {
        self.take().map(RunId)
    }

    /// What [`put_text`] wrote.
    fn text(&mut self) -> Option<String> {
        let mut text = Vec::new();
        loop {
            text.push(match self.u8()? {
                0 => return String::from_utf8(text).ok(),
                ESCAPE => self.u8()?.checked_sub(1).filter(|byte| *byte <= ESCAPE)?,
                byte => byte,
            });
        }
    }

    fn end<T>(&self, value: T) -> Option<T> {
        self.0.is_empty().then_some(value)
    }
}

/// Stands in front of a byte that would end a text too soon (or would pose as this one), which is raised by one.
const ESCAPE: u8 = 1;

/// Writes a text of any bytes, so that it sorts as it does alone. Stored names hold no zero bytes, but a name that a
/// client asks for may, and must not be taken for another.
fn put_text(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            0..=ESCAPE => out.extend([ESCAPE, byte + 1]),
            _ => out.push(byte),
        }
    }
    out.push(0);
}

impl Key for () {
    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(bytes: &[u8]) -> Option<Self> {
        bytes.is_empty().then_some(())
    }
}

impl Key for RunId {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.0);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let run = parts.run()?;
        parts.end(run)
    }
}

impl Key for BlobHash {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.0);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let hash = parts.take().map(BlobHash)?;
        parts.end(hash)
    }
}

impl Key for TaskId {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.run.0);
        out.extend(self.scope.to_be_bytes());
        out.extend(self.index.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let task = Self { run: parts.run()?, scope: parts.u32()?, index: parts.u32()? };
        parts.end(task)
    }
}

/// A scope of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ScopeKey {
    /// The run.
    pub run: RunId,
    /// The scope's number in the run; 0 is the workflow itself.
    pub scope: u32,
}

impl Key for ScopeKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.run.0);
        out.extend(self.scope.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { run: parts.run()?, scope: parts.u32()? };
        parts.end(key)
    }
}

/// The order in which a run goes on with what was left to a later record; part of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum LaterRank {
    /// What is to stop comes before anything else.
    Stop = 0,
    /// Then what has been stopped ends.
    Finish = 1,
    /// Then instances are considered or begun.
    Instance = 2,
    /// Then scopes go on.
    Scope = 3,
}

impl LaterRank {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Stop, Self::Finish, Self::Instance, Self::Scope].get(usize::from(byte)).copied()
    }
}

/// Work of a run that was left to a later record; the same work is there once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaterKey {
    /// The run.
    pub run: RunId,
    /// When its turn comes.
    pub rank: LaterRank,
    /// The scope.
    pub scope: u32,
    /// The instance in it; 0 where it is about the scope as a whole.
    pub index: u32,
}

impl LaterKey {
    /// The least key of the run.
    pub fn first(run: RunId) -> Self {
        Self { run, rank: LaterRank::Stop, scope: 0, index: 0 }
    }

    /// The greatest key of the run (no scope has this number).
    pub fn last(run: RunId) -> Self {
        Self { run, rank: LaterRank::Scope, scope: u32::MAX, index: u32::MAX }
    }

    /// The instance.
    pub fn task(&self) -> TaskId {
        TaskId { run: self.run, scope: self.scope, index: self.index }
    }
}

impl Key for LaterKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.run.0);
        out.push(self.rank as u8);
        out.extend(self.scope.to_be_bytes());
        out.extend(self.index.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let run = parts.run()?;
        let rank = LaterRank::from_byte(parts.u8()?)?;
        let key = Self { run, rank, scope: parts.u32()?, index: parts.u32()? };
        parts.end(key)
    }
}

/// An entry of a run's journal: `n` counts the entries that one record made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalKey {
    /// The run.
    pub run: RunId,
    /// The record.
    pub seq: Seq,
    /// The entry within the record.
    pub n: u32,
}

impl Key for JournalKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.run.0);
        out.extend(self.seq.0.to_be_bytes());
        out.extend(self.n.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { run: parts.run()?, seq: Seq(parts.u64()?), n: parts.u32()? };
        parts.end(key)
    }
}

/// An entry of a task's own journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryKey {
    /// The task.
    pub task: TaskId,
    /// The entry's position, from 0.
    pub entry: u32,
}

impl Key for EntryKey {
    fn encode(&self, out: &mut Vec<u8>) {
        Key::encode(&self.task, out);
        out.extend(self.entry.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (task, entry) = bytes.split_at_checked(24)?;
        Some(Self { task: Key::decode(task)?, entry: u32::from_be_bytes(entry.try_into().ok()?) })
    }
}

/// What a timer is for; part of its key, so that one task can have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum TimerKind {
    /// The attempt's `timeout`.
    Timeout = 0,
    /// The step's `deadline`.
    Deadline = 1,
    /// The back-off before the next attempt.
    Backoff = 2,
    /// A `wait` of a step, or the pause before the next iteration.
    Wake = 3,
    /// A `sleep` in a task's journal.
    Sleep = 4,
    /// The run's own timeout.
    RunTimeout = 5,
    /// The run's retention is over.
    Retention = 6,
    /// Work that was too much for one record goes on.
    Continue = 7,
    /// Rows of a deleted run are removed.
    Reap = 8,
}

impl TimerKind {
    fn from_byte(byte: u8) -> Option<Self> {
        use TimerKind::{Backoff, Continue, Deadline, Reap, Retention, RunTimeout, Sleep, Timeout, Wake};
        [Timeout, Deadline, Backoff, Wake, Sleep, RunTimeout, Retention, Continue, Reap].get(usize::from(byte)).copied()
    }
}

/// A timer: when it is due, whose it is, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey {
    /// When it is due, in log time.
    pub due: Time,
    /// The task (for a run's own timers: scope 0, index 0).
    pub task: TaskId,
    /// What it is for.
    pub kind: TimerKind,
    /// The journal entry that sleeps; 0 for the other kinds.
    pub entry: u32,
}

impl TimerKey {
    /// The least key that is due at `due`.
    pub fn at(due: Time) -> Self {
        let task = TaskId { run: RunId([0; 16]), scope: 0, index: 0 };
        Self { due, task, kind: TimerKind::Timeout, entry: 0 }
    }
}

impl Key for TimerKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.due.0.to_be_bytes());
        Key::encode(&self.task, out);
        out.push(self.kind as u8);
        out.extend(self.entry.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let due = Time(parts.u64()?);
        let task = Key::decode(&parts.take::<24>()?)?;
        let key = Self { due, task, kind: TimerKind::from_byte(parts.u8()?)?, entry: parts.u32()? };
        parts.end(key)
    }
}

/// A name in a namespace, and a number: a workflow's revision, or 0 for its head.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedKey {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The revision, or 0.
    pub number: u32,
}

impl Key for NamedKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        put_text(out, &self.name);
        out.extend(self.number.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { namespace: parts.text()?, name: parts.text()?, number: parts.u32()? };
        parts.end(key)
    }
}

/// A version of an agent in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AgentKey {
    /// The namespace.
    pub namespace: String,
    /// The agent.
    pub name: String,
    /// Its version, as the author wrote it.
    pub version: String,
}

impl AgentKey {
    /// The least key behind this one.
    #[must_use]
    pub fn next(&self) -> Self {
        Self { version: format!("{}\0", self.version), ..self.clone() }
    }
}

impl Key for AgentKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        put_text(out, &self.name);
        put_text(out, &self.version);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { namespace: parts.text()?, name: parts.text()?, version: parts.text()? };
        parts.end(key)
    }
}

/// A run in the listing of its namespace, newest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListKey {
    /// The namespace.
    pub namespace: String,
    /// The run's id with every bit turned, so that newer runs sort first.
    pub turned: RunId,
}

impl ListKey {
    /// The place of a run in the listing.
    pub fn of(namespace: &str, run: RunId) -> Self {
        Self { namespace: namespace.to_owned(), turned: RunId(run.0.map(|byte| !byte)) }
    }

    /// The run at this place.
    pub fn run(&self) -> RunId {
        RunId(self.turned.0.map(|byte| !byte))
    }
}

impl Key for ListKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        out.extend(self.turned.0);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { namespace: parts.text()?, turned: parts.run()? };
        parts.end(key)
    }
}

/// Something in the operators' inbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InboxKey {
    /// The namespace.
    pub namespace: String,
    /// The task that waits for a decision.
    pub task: TaskId,
}

impl Key for InboxKey {
    fn encode(&self, out: &mut Vec<u8>) {
        put_text(out, &self.namespace);
        Key::encode(&self.task, out);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let namespace = parts.text()?;
        let task = Key::decode(&parts.take::<24>()?)?;
        parts.end(Self { namespace, task })
    }
}

/// A signal that waits to be read (`number` counts arrivals), or a task that waits for one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignalKey {
    /// The run.
    pub run: RunId,
    /// The signal's name.
    pub name: String,
    /// The record that brought it, or that began the wait: first come, first served.
    pub seq: Seq,
    /// The order within the record.
    pub n: u32,
}

impl Key for SignalKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.run.0);
        put_text(out, &self.name);
        out.extend(self.seq.0.to_be_bytes());
        out.extend(self.n.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut parts = Parts(bytes);
        let key = Self { run: parts.run()?, name: parts.text()?, seq: Seq(parts.u64()?), n: parts.u32()? };
        parts.end(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<K: Key + std::fmt::Debug>(smaller: &K, larger: &K) {
        let bytes = |key: &K| {
            let mut out = Vec::new();
            key.encode(&mut out);
            out
        };
        assert!(smaller < larger && bytes(smaller) < bytes(larger), "{smaller:?} {larger:?}");
        assert_eq!(K::decode(&bytes(larger)).as_ref(), Some(larger));
        assert!(K::decode(&[bytes(larger), vec![1]].concat()).is_none());
    }

    #[test]
    fn bytes_sort_as_keys_do() {
        let run = RunId([1; 16]);
        let task = |scope, index| TaskId { run, scope, index };
        check(&task(0, 300), &task(1, 2));
        check(&ScopeKey { run, scope: 255 }, &ScopeKey { run, scope: 256 });
        let later = |rank, scope| LaterKey { run, rank, scope, index: 7 };
        check(&later(LaterRank::Stop, 300), &later(LaterRank::Finish, 2));
        check(&later(LaterRank::Scope, 2), &later(LaterRank::Scope, 300));
        check(&EntryKey { task: task(1, 1), entry: 1 }, &EntryKey { task: task(1, 2), entry: 0 });
        let timer = |due, kind| TimerKey { due: Time(due), task: task(0, 0), kind, entry: 0 };
        check(&timer(1, TimerKind::Reap), &timer(2, TimerKind::Timeout));
        check(&timer(2, TimerKind::Timeout), &timer(2, TimerKind::Wake));
        let named = |name: &str, number| NamedKey { namespace: "n".into(), name: name.into(), number };
        check(&named("a", 9), &named("ab", 1));
        check(&named("a", 9), &named("a\0", 1));
        check(&named("a\0b", 9), &named("a\u{1}", 1));
        check(&named("\u{1}", 9), &named("\u{2}", 1));
        let agent =
            |name: &str, version: &str| AgentKey { namespace: "n".into(), name: name.into(), version: version.into() };
        check(&agent("a", "2"), &agent("ab", "1"));
        check(&agent("a", "1"), &agent("a", "1").next());
        check(&agent("a", "1").next(), &agent("a", "1.0"));
        check(&ListKey::of("n", RunId([2; 16])), &ListKey::of("n", RunId([1; 16])));
        let signal = |name: &str, seq| SignalKey { run, name: name.into(), seq: Seq(seq), n: 0 };
        check(&signal("a", 7), &signal("a-b", 1));
        let journal = |seq, n| JournalKey { run, seq: Seq(seq), n };
        check(&journal(1, 70_000), &journal(2, 0));
        let inbox = |namespace: &str| InboxKey { namespace: namespace.into(), task: task(0, 0) };
        check(&inbox("a"), &inbox("b"));
    }
}
