//! The journal of one attempt: the code's requests, their results, and when the code got them.
//!
//! For: replay and recording, as plain state without async or clocks. Not for: polling code or sending messages.
//! Invariant: code is given results one at a time, each only when it is quiescent; the order is recorded with the next
//! entry ([`JournalEntry::after`]) and repeated on replay. So the n-th thing that the code asks is the same in each
//! attempt, even where several branches run side by side, as long as the code itself is deterministic.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    task::Waker,
};

use consort_types::{
    Code, Error, Payload, limits, replay,
    worker::{JournalEntry, JournalRequest},
};

use crate::TaskError;

/// What the names of markers begin with; see [`Journal::patch`].
pub(crate) const PATCH: &str = "patch:";

/// Where code differs from the journal that it replays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The entry's position, from 0.
    pub entry: u32,
    /// What is recorded there.
    pub recorded: String,
    /// What the code did in place of it.
    pub found: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} is recorded as {}, but found {}", self.entry, self.recorded, self.found)
    }
}

/// How far an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// A local effect that has not ended: it holds back the entries after it, so that the journal has no gaps.
    Running,
    /// A local effect that the code dropped: recorded as cancelled, if the code continues.
    Dropped,
    /// To be sent.
    Ready,
    /// Sent, and not known to be durable.
    Sent,
    /// In the engine's journal.
    Durable,
}

#[derive(Debug)]
struct Slot {
    entry: JournalEntry,
    stage: Stage,
    /// Set when the code may see the result: how many results it was given before.
    released: Option<u32>,
    /// The wakers of the code that waits for the result: one, unless it is a marker.
    wakers: Vec<Waker>,
    /// Whether it is the marker of a patch, which several places of the code may wait for.
    marker: bool,
    /// Whether a `forget` entry closes it: its result has no receiver.
    forgotten: bool,
}

impl Slot {
    fn new(entry: JournalEntry, stage: Stage) -> Self {
        Self { entry, stage, released: None, wakers: Vec::new(), marker: false, forgotten: false }
    }

    fn is_answered(&self) -> bool {
        self.stage == Stage::Durable && self.entry.result.is_some()
    }

    /// Whether there is a result that the code may be given.
    fn is_due(&self) -> bool {
        let forgets = matches!(self.entry.request, JournalRequest::Forget { .. });
        self.is_answered() && self.released.is_none() && !self.forgotten && !forgets
    }

    /// Whether it waits for something outside that is to be withdrawn when the code drops the wait.
    fn is_wait(&self) -> bool {
        use JournalRequest::{Approval, Signal, Sleep, Update};
        matches!(self.entry.request, Sleep { .. } | Signal { .. } | Approval { .. } | Update { .. })
    }
}

/// What an attempt gets for asking.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The entry's position.
    pub(crate) index: u32,
    /// Whether it was recorded by an earlier attempt: then nothing is done again.
    pub(crate) recorded: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Journal {
    slots: Vec<Slot>,
    /// How many entries came with the offer.
    recorded: usize,
    /// How many the code has requested.
    asked: usize,
    /// Positions whose results are to be released next, in order.
    due: VecDeque<u32>,
    /// Positions released since the last entry was asked.
    released: Vec<u32>,
    /// How many results were released.
    releases: u32,
    /// Whether replay still keeps to the recorded order.
    strict: bool,
    /// The first position that was not sent.
    unsent: usize,
    /// How many entries are not known to be durable.
    open: usize,
    /// Positions to be sent again after a reconnect.
    again: VecDeque<u32>,
    /// Entries that the code waits for.
    waiting: BTreeSet<u32>,
    /// Waits that the code has dropped, and that no `forget` entry closes yet.
    left: BTreeSet<u32>,
    /// What was said of each patch: the entry of its marker, or `None`.
    patches: BTreeMap<String, Option<u32>>,
    /// Why nothing more can be asked.
    closed: Option<TaskError>,
    /// Where the code took another path than the recorded one.
    divergence: Option<Divergence>,
    /// Whether this is a test that only replays what is recorded.
    recorded_only: bool,
}

impl Journal {
    /// A journal that replays `entries`.
    pub(crate) fn new(entries: Vec<JournalEntry>) -> Self {
        let recorded = entries.len();
        let mut journal = Self {
            slots: entries.into_iter().map(|entry| Slot::new(entry, Stage::Durable)).collect(),
            recorded,
            asked: 0,
            due: VecDeque::new(),
            released: Vec::new(),
            releases: 0,
            strict: true,
            unsent: recorded,
            open: 0,
            again: VecDeque::new(),
            waiting: BTreeSet::new(),
            left: BTreeSet::new(),
            patches: BTreeMap::new(),
            closed: None,
            divergence: None,
            recorded_only: false,
        };
        journal.plan_releases();
        journal
    }

    /// Records nothing: what the code requests behind the recorded entries is never sent and never answered.
    pub(crate) fn replay_only(&mut self) {
        self.recorded_only = true;
    }

    /// Whether the code of a replay that records nothing has requested what is not recorded.
    pub(crate) fn is_beyond(&self) -> bool {
        self.recorded_only && self.asked > self.recorded
    }

    fn is_replaying(&self) -> bool {
        self.asked < self.recorded
    }

    /// Takes the code's next request, with what the code calls it; on replay it must be the recorded one.
    pub(crate) fn ask(&mut self, request: JournalRequest, title: Option<String>) -> Result<Asked, TaskError> {
        if let Some(error) = &self.closed {
            return Err(error.clone());
        }
        self.pass_forgets(true);
        let index = self.asked;
        if self.is_replaying() {
            if !self.is_next(&request) {
                return Err(self.diverge(&describe(&request)));
            }
            self.take_recorded();
            return Ok(Asked { index: index as u32, recorded: true });
        }
        if matches!(request, JournalRequest::Run { .. }) && !self.left.is_empty() {
            // Behind the effect it would wait for its end.
            self.record_left();
        }
        let index = self.asked;
        if index >= limits::TASK_JOURNAL_ENTRIES_MAX as usize {
            let max = limits::TASK_JOURNAL_ENTRIES_MAX;
            let error =
                Error::new(Code::LimitReached, format!("the task requested entry {}, the limit is {max}", index + 1))
                    .hint("let the workflow fan out, or move parts into tasks of their own by `call`");
            return Err(self.close(TaskError::from_parts(error, false)));
        }
        let stage = if matches!(request, JournalRequest::Run { .. }) { Stage::Running } else { Stage::Ready };
        let stage = if self.recorded_only { Stage::Running } else { stage };
        let entry = JournalEntry { title, request, after: std::mem::take(&mut self.released), result: None };
        self.slots.push(Slot::new(entry, stage));
        self.asked += 1;
        self.open += 1;
        // A replay that records nothing does nothing either: the code waits until it is dropped.
        Ok(Asked { index: index as u32, recorded: self.recorded_only })
    }

    /// The next recorded entry is behind the code.
    fn take_recorded(&mut self) {
        self.asked += 1;
        self.released.clear();
        if self.strict {
            self.plan_releases();
        }
    }

    /// Passes over `forget` entries that are recorded next, and returns whether there were any. Code that is quiescent
    /// has dropped what they name, or will not: only then are they passed over unless it requests something (`asks`).
    fn pass_forgets(&mut self, asks: bool) -> bool {
        let mut passed = false;
        while self.is_replaying() {
            let JournalRequest::Forget { entries } = &self.slots[self.asked].entry.request else { break };
            if !asks && self.strict && !entries.iter().all(|entry| self.left.contains(entry)) {
                break;
            }
            for entry in entries.clone() {
                self.left.remove(&entry);
                if let Some(slot) = self.slots.get_mut(entry as usize) {
                    slot.forgotten = true;
                }
            }
            self.take_recorded();
            passed = true;
        }
        passed
    }

    /// The code has dropped the answer to an entry unread: a wait is to be closed, if the code continues.
    pub(crate) fn leave(&mut self, index: u32) {
        let slot = &self.slots[index as usize];
        if slot.is_wait() && !slot.forgotten && self.closed.is_none() {
            self.left.insert(index);
        }
    }

    /// The code continues without what it has dropped: records that, so that nothing outside waits.
    fn record_left(&mut self) {
        let full = self.asked >= limits::TASK_JOURNAL_ENTRIES_MAX as usize;
        if self.left.is_empty() || self.is_replaying() || self.recorded_only || full {
            return;
        }
        let entries: Vec<u32> = std::mem::take(&mut self.left).into_iter().collect();
        for entry in &entries {
            self.slots[*entry as usize].forgotten = true;
        }
        let request = JournalRequest::Forget { entries };
        let entry = JournalEntry { title: None, request, after: std::mem::take(&mut self.released), result: None };
        self.slots.push(Slot::new(entry, Stage::Ready));
        self.asked += 1;
        self.open += 1;
    }

    /// Whether the next recorded entry, which there is, has this request.
    fn is_next(&self, request: &JournalRequest) -> bool {
        let recorded = &self.slots[self.asked].entry.request;
        // Entries come with their documents; where one could not be had, its hash has to do.
        matches!(replay::is_same(recorded, request, |_| Ok(None)), Ok(true))
    }

    /// The entry of the marker of a patch; `None` where the journal has something else here, which is left alone: the
    /// task was begun by code of before the patch.
    ///
    /// Past the end of the journal the marker is recorded, if `record` says so. What was said of a name holds for the
    /// whole attempt.
    pub(crate) fn patch(&mut self, name: &str, record: bool) -> Result<Option<u32>, TaskError> {
        if let Some(error) = &self.closed {
            return Err(error.clone());
        }
        if let Some(known) = self.patches.get(name) {
            return Ok(*known);
        }
        self.pass_forgets(true);
        let marker = JournalRequest::Run { name: format!("{PATCH}{name}") };
        let mut found = None;
        if if self.is_replaying() { self.is_next(&marker) } else { record } {
            let Asked { index, recorded } = self.ask(marker, None)?;
            self.slots[index as usize].marker = true;
            if !recorded {
                self.finish_run(index, Ok(Payload::inline(&b"true"[..])));
            }
            found = Some(index);
        }
        self.patches.insert(name.to_owned(), found);
        Ok(found)
    }

    /// What is released next: what was released before the next recorded entry, or (when all were asked) whatever
    /// else is answered.
    fn plan_releases(&mut self) {
        if self.strict && self.asked < self.recorded {
            self.due.extend(&self.slots[self.asked].entry.after);
        } else {
            let due = &self.due;
            let open = |(index, slot): (usize, &Slot)| {
                let index = index as u32;
                (slot.is_due() && !due.contains(&index)).then_some(index)
            };
            let rest: Vec<u32> = self.slots.iter().enumerate().filter_map(open).collect();
            self.due.extend(rest);
        }
    }

    /// Whether results wait because the recorded order does not have them yet.
    pub(crate) fn holds_back(&self) -> bool {
        self.strict && self.asked < self.recorded && self.slots.iter().any(Slot::is_due)
    }

    /// Gives up the recorded order: the code is quiescent, and the result that it waits for comes later in the record.
    /// What it asks is compared all the same.
    pub(crate) fn stop_holding_back(&mut self) {
        self.strict = false;
        self.plan_releases();
    }

    /// Releases results until one has wakers; empty where nothing is due.
    pub(crate) fn release(&mut self) -> Vec<Waker> {
        loop {
            while let Some(index) = self.due.pop_front() {
                let Some(slot) = self.slots.get_mut(index as usize).filter(|slot| slot.is_due()) else { continue };
                slot.released = Some(self.releases);
                self.releases += 1;
                self.released.push(index);
                if !slot.wakers.is_empty() {
                    self.waiting.remove(&index);
                    return std::mem::take(&mut slot.wakers);
                }
            }
            if !self.pass_forgets(false) {
                return Vec::new();
            }
        }
    }

    /// The result of an entry if the code may see it; else `waker` is called when it may.
    pub(crate) fn poll(&mut self, index: u32, waker: &Waker) -> Option<Result<Payload, TaskError>> {
        let slot = &mut self.slots[index as usize];
        if slot.released.is_some() {
            self.waiting.remove(&index);
            let result = slot.entry.result.clone().expect("only an answered entry is released");
            // A replay gives the same failure again: another attempt cannot help.
            return Some(result.map_err(|error| TaskError::from_parts(error, false)));
        }
        if let Some(error) = &self.closed {
            return Some(Err(error.clone()));
        }
        self.waiting.insert(index);
        if !slot.wakers.iter().any(|known| known.will_wake(waker)) {
            if !slot.marker {
                slot.wakers.clear();
            }
            slot.wakers.push(waker.clone());
        }
        None
    }

    /// How many results the code was given before this one; `None` while it may not see it.
    pub(crate) fn turn(&self, index: u32) -> Option<u32> {
        self.slots[index as usize].released
    }

    /// The code no longer waits for the entry; of a marker, one place does not.
    pub(crate) fn forget(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if !slot.marker {
            self.waiting.remove(&index);
            slot.wakers.clear();
        }
    }

    /// A local effect has ended with a result that is to be recorded.
    pub(crate) fn finish_run(&mut self, index: u32, result: Result<Payload, Error>) {
        let slot = &mut self.slots[index as usize];
        if slot.stage == Stage::Running {
            slot.entry.result = Some(result);
            slot.stage = Stage::Ready;
        }
    }

    /// The code dropped a local effect before it ended.
    pub(crate) fn drop_run(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        if slot.stage == Stage::Running && self.closed.is_none() {
            slot.stage = Stage::Dropped;
        }
    }

    /// The next entry to send, with its position; none while a local effect before it runs.
    pub(crate) fn next_to_send(&mut self) -> Option<(u32, JournalEntry)> {
        if let Some(index) = self.again.pop_front() {
            return Some((index, self.slots[index as usize].entry.clone()));
        }
        if self.closed.is_some() {
            return None;
        }
        self.record_left();
        let slot = self.slots.get_mut(self.unsent)?;
        match slot.stage {
            Stage::Running => return None,
            Stage::Dropped => {
                let error = Error::new(Code::Cancelled, "the code dropped this effect before it ended");
                slot.entry.result = Some(Err(error));
            }
            Stage::Ready => {}
            Stage::Sent | Stage::Durable => unreachable!("entries are sent once, in order"),
        }
        slot.stage = Stage::Sent;
        self.unsent += 1;
        Some((self.unsent as u32 - 1, slot.entry.clone()))
    }

    /// Sends again what the engine has not answered: after a reconnect, as messages may have been lost.
    pub(crate) fn send_again(&mut self) {
        let settled = |slot: &Slot| slot.is_answered() || (slot.forgotten && slot.stage == Stage::Durable);
        let open = |(index, slot): (usize, &Slot)| (!settled(slot)).then_some(index as u32);
        self.again = self.slots[..self.unsent].iter().enumerate().filter_map(open).collect();
    }

    /// The engine has recorded (or answered) the entry; what it has recorded is the truth.
    pub(crate) fn record(&mut self, index: u32, entry: JournalEntry) {
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        // Entries that were not sent are not in the engine's journal, and the first answer stays.
        if !matches!(slot.stage, Stage::Sent | Stage::Durable) || slot.is_answered() {
            return;
        }
        if slot.stage == Stage::Sent {
            slot.stage = Stage::Durable;
            self.open -= 1;
        }
        slot.entry.result = entry.result;
        if slot.is_due() && !(self.strict && self.asked < self.recorded) {
            self.due.push_back(index);
        }
    }

    /// The entries that the code waits for, if waiting is all that it does as far as the journal knows:
    /// every request is durable and no local effect runs.
    pub(crate) fn parkable(&self) -> Option<Vec<u32>> {
        let rests = self.open == 0 && self.closed.is_none() && self.again.is_empty() && self.due.is_empty();
        (rests && !self.waiting.is_empty()).then(|| self.waiting.iter().copied().collect())
    }

    /// Takes nothing more: every wait ends with `error`. Returns it.
    pub(crate) fn close(&mut self, error: TaskError) -> TaskError {
        self.closed.get_or_insert(error).clone()
    }

    /// The wakers of all pending results, after [`Journal::close`].
    pub(crate) fn take_wakers(&mut self) -> Vec<Waker> {
        self.slots.iter_mut().flat_map(|slot| std::mem::take(&mut slot.wakers)).collect()
    }

    /// What the code's end means: code that succeeds must have requested all that was recorded.
    pub(crate) fn end<T>(&mut self, result: Result<T, TaskError>) -> Result<T, TaskError> {
        if let Some(error) = &self.closed
            && error.error().code == Code::JournalDiverged
        {
            return Err(error.clone());
        }
        self.pass_forgets(true);
        if result.is_ok() && self.asked < self.slots.len() {
            return Err(self.diverge("the end of the code"));
        }
        result
    }

    /// Where the code took another path than the recorded one; where it only left entries over, `did` is what it did
    /// in their place.
    pub(crate) fn divergence(&self, did: &str) -> Option<Divergence> {
        let left = || self.is_replaying().then(|| self.differs(did));
        self.divergence.clone().or_else(left)
    }

    /// The next recorded entry, and what the code did in place of requesting it.
    fn differs(&self, found: &str) -> Divergence {
        let recorded = describe(&self.slots[self.asked].entry.request);
        Divergence { entry: self.asked as u32, recorded, found: found.to_owned() }
    }

    fn diverge(&mut self, found: &str) -> TaskError {
        let divergence = self.differs(found);
        let error = Error::new(Code::JournalDiverged, divergence.to_string())
            .hint("code that records must make the same requests in the same order each time; put what may differ (clock, chance, outside reads) into `run`, and changes while tasks are in flight behind `patched`");
        self.divergence.get_or_insert(divergence);
        self.close(TaskError::from_parts(error, false))
    }
}

fn describe(request: &JournalRequest) -> String {
    match request {
        JournalRequest::Run { name } => format!("run `{name}`"),
        JournalRequest::Call { capability, input, .. } => {
            let text = input.bytes().map_or_else(|| "…".into(), String::from_utf8_lossy);
            let short: String = text.chars().take(80).collect();
            format!("call `{capability}` with `{short}`")
        }
        JournalRequest::Sleep { span } => format!("sleep `{span}`"),
        JournalRequest::Signal { name, .. } => format!("signal `{name}`"),
        JournalRequest::Approval { prompt, .. } => format!("approval `{prompt}`"),
        JournalRequest::Forget { entries } => {
            let list: Vec<String> = entries.iter().map(u32::to_string).collect();
            format!("forget `{}`", list.join(", "))
        }
        JournalRequest::State { transaction } => {
            let text = transaction.bytes().map_or_else(|| "…".into(), String::from_utf8_lossy);
            format!("state `{}`", text.chars().take(80).collect::<String>())
        }
        JournalRequest::Expose { name, .. } => format!("expose `{name}`"),
        JournalRequest::Labels { .. } => "labels".to_owned(),
        JournalRequest::Update { name, .. } => format!("update `{name}`"),
        JournalRequest::Answer { update, .. } => format!("answer to the update of entry {update}"),
    }
}
