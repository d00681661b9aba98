//! The loop thread.
//!
//! For: taking messages, driving the partition, writing rows back, sleeping. Not for: decisions.
//! Invariant: the thread sleeps only when there is nothing to append, and wakes for the next message or timer.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use consort_store::Store;
use consort_types::{Code, Error, Result, Seq, Span, Time, limits};
use tokio::sync::oneshot;

use super::{
    Message, Shared, StateQuery,
    completion::CompletionWaiters,
    pending::PendingReplies,
    read_clocks,
    sweep::Sweep,
    writer::{Done, Writer},
};
use crate::{
    BlobGc, Clock, ClockNotice, Config, Observer, Partition, Parts,
    blob_gc::Pin,
    freeze::{Frozen, Hold, Holds},
    linger::Committing,
    partition::broken,
    status::Status,
    topic::Topic,
};

/// Batches of rows that are with the writer at once.
const ROWS_IN_FLIGHT_MAX: usize = 2;
/// How many times the usual batch of rows may pile up before the loop waits for the writer.
const ROWS_BEHIND_MAX: usize = 16;

/// How long a timer sleeps at most without looking at the wall clock.
const CLOCK_CHECK: Duration = Duration::from_secs(5);
/// How often a loop that sleeps looks whether the rows that a caller waits for are there.
const FREEZE_CHECK: Duration = Duration::from_millis(2);

/// Starts the loop thread; `ready` gets the outcome of recovery.
pub(crate) fn start(
    parts: Parts,
    config: Config,
    observer: Option<Arc<dyn Observer>>,
    ready: oneshot::Sender<Result<()>>,
) -> Result<Arc<Shared>> {
    let shared = Shared::new(BlobGc::new(Arc::clone(&parts.blobs)));
    let of_thread = Arc::clone(&shared);
    let body = move || {
        let end = End(Arc::clone(&of_thread));
        // A defect in recovery is told with its text: there is no engine yet that could halt.
        let opened = catch_unwind(AssertUnwindSafe(|| Loop::open(parts, config, observer, Arc::clone(&of_thread))));
        match opened.unwrap_or_else(|panic| Err(broken(panic.as_ref()))) {
            Ok(mut running) => {
                // The receiver may have been dropped; the last handle was dropped with it, and stops the loop.
                let _ = ready.send(Ok(()));
                running.run();
            }
            Err(error) => drop(ready.send(Err(error))),
        }
        // The loop, and with it the log, is closed by now: a process that waits for the end may open the log again.
        drop(end);
    };
    std::thread::Builder::new().name("consort-loop".to_owned()).spawn(body).map_err(|error| {
        Error::new(Code::Internal, format!("the loop thread cannot be started: {error}"))
            .hint("raise the limit on threads of the process")
    })?;
    Ok(shared)
}

/// Tells all waiters that the loop has ended, also where it ended by a panic.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        drop(self.0.mailbox.close());
        self.0.stopped.send_replace(true);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Going {
    On,
    Stop { graceful: bool },
}

struct Loop {
    shared: Arc<Shared>,
    config: Config,
    partition: Partition,
    clock: Clock,
    writer: Writer,
    pending: PendingReplies,
    sweep: Sweep,
    /// Reads that wait for a record.
    reads: BTreeMap<(Seq, u64), StateQuery>,
    reads_made: u64,
    completions: CompletionWaiters,
    drains: Vec<oneshot::Sender<()>>,
    /// Requests for the rows that the writer has, in the order of their submission.
    freezing: VecDeque<(Hold, oneshot::Sender<Result<Frozen>>)>,
    holds: Holds,
    /// Blobs that commands in the open group name.
    pins: Vec<Pin>,
    messages: Vec<Message>,
    taken_at: Instant,
    synced_at: Instant,
    syncing: bool,
    listed: bool,
    written: Seq,
    synced: Seq,
    store_bytes: u64,
    /// The last record that was applied, and since when it is the last.
    quiet: (Seq, Instant),
    /// Whether caches were forgotten since.
    forgotten: bool,
    /// Why the partition has halted, as it was told.
    halt_told: Option<Error>,
}

impl Loop {
    fn open(parts: Parts, config: Config, observer: Option<Arc<dyn Observer>>, shared: Arc<Shared>) -> Result<Self> {
        let store: Arc<dyn Store> = Arc::clone(&parts.store);
        let reading = config.skipped.seen(read_clocks());
        // The clock in microseconds differs between any two starts.
        let (stored, began) = (store.applied()?, Instant::now());
        let mut partition = Partition::open(parts, config.clone(), reading.wall.0, reading.wall)?;
        let replayed = partition.applied().0 - stored.0;
        let runs = partition.machine()?.run_counts().0;
        tracing::info!(
            "recovered the partition up to record {} in {} ms: {replayed} records were applied again, {runs} runs are active",
            partition.applied(),
            began.elapsed().as_millis()
        );
        if let Some(observer) = observer {
            partition.set_observer(observer);
        }
        let woken = Arc::clone(&shared);
        partition.set_log_waker(Arc::new(move || woken.mailbox.nudge()));
        let clock = Clock::new(partition.clock(), reading);
        let written = partition.applied();
        Ok(Self {
            writer: Writer::start(store, shared.blob_gc.clone())?,
            pending: PendingReplies::new(Arc::clone(&shared)),
            shared,
            config,
            partition,
            clock,
            sweep: Sweep::default(),
            reads: BTreeMap::new(),
            reads_made: 0,
            completions: CompletionWaiters::default(),
            drains: Vec::new(),
            freezing: VecDeque::new(),
            holds: Holds::default(),
            pins: Vec::new(),
            messages: Vec::new(),
            taken_at: Instant::now(),
            synced_at: Instant::now(),
            syncing: false,
            listed: false,
            written,
            synced: Seq::ZERO,
            store_bytes: 0,
            quiet: (written, Instant::now()),
            forgotten: false,
            halt_told: None,
        })
    }

    fn run(&mut self) {
        loop {
            // A broken law panics: the partition halts, and every waiting caller gets the error.
            let going = catch_unwind(AssertUnwindSafe(|| self.turn())).unwrap_or_else(|panic| {
                self.partition.halt_broken(broken(panic.as_ref()));
                Going::On
            });
            if let Some(error) = self.partition.halted().cloned() {
                self.tell_halt(&error);
                self.pending.answer_all(&error);
                self.pending.disconnect_all();
                self.completions = CompletionWaiters::default();
                for (_, reply) in self.freezing.drain(..) {
                    // As above.
                    let _ = reply.send(Err(error.clone()));
                }
            }
            match going {
                Going::On => {}
                Going::Stop { graceful: true } => return self.finish(),
                Going::Stop { graceful: false } => return,
            }
        }
    }

    fn tell_halt(&mut self, error: &Error) {
        if self.halt_told.as_ref() != Some(error) {
            self.halt_told = Some(error.clone());
            let applied = self.partition.applied();
            let hint = error.hint.as_deref().unwrap_or_default();
            tracing::error!("{} (after record {applied}; {}); {hint}", error.message, error.code);
        }
    }

    fn turn(&mut self) -> Going {
        let now = self.now();
        if !self.partition.is_due(now) {
            self.sleep(now);
        }
        let mut messages = mem::take(&mut self.messages);
        self.shared.mailbox.drain(&mut messages);
        let mut going = Going::On;
        // All of them have come by now: looking at the clocks for each would cost as much as a read of the state.
        let now = self.now();
        for message in messages.drain(..) {
            if let Some(stop) = self.handle(message, now) {
                going = stop;
            }
        }
        self.messages = messages;
        let now = self.now();
        self.partition.poll(now);
        let committing = Committing::begin();
        // With nothing else to do meanwhile, the log's work is done here: no thread has to be woken for it.
        let outputs = if self.shared.mailbox.is_filled() {
            self.partition.commit(now)
        } else {
            self.partition.commit_and_wait(now)
        };
        self.deliver(outputs);
        drop(committing);
        if self.shared.subscriptions.any() {
            self.shared.subscriptions.changed(Topic::Agents, self.partition.views().agents_revision());
        }
        self.serve();
        self.write_back();
        self.forget_caches();
        going
    }

    fn handle(&mut self, message: Message, now: Time) -> Option<Going> {
        match message {
            Message::Submit { command, reply, pins } => {
                self.pins.extend(pins);
                let ticket = self.pending.ticket(reply);
                self.partition.submit(*command, Some(ticket));
            }
            Message::Report { instance, report, pin, place } => {
                drop(place);
                self.pins.extend(pin);
                self.partition.report(instance, *report, now);
            }
            Message::Read { at_least, read } => self.read(at_least, read),
            Message::Look(look) => {
                self.partition.advance(now);
                // As for reads: a question that panics has changed nothing.
                let _ = catch_unwind(AssertUnwindSafe(|| look(&mut self.partition)));
            }
            Message::Subscribe { subscribing, reply } => {
                // Progress until now is in the tail: the subscriber must not get it twice.
                self.partition.take_live().into_iter().for_each(|live| self.shared.subscriptions.live(live));
                let tail = match subscribing.topic() {
                    Topic::Run(run) => self.partition.views().tail(run),
                    Topic::Agents
                    | Topic::Space(_)
                    | Topic::Coordination(_)
                    | Topic::Ballot(_)
                    | Topic::Events(_)
                    | Topic::Pushes => Vec::new(),
                };
                // The receiver may have been dropped.
                let _ = reply.send(subscribing.begin(tail));
            }
            Message::WaitEnd(waiter) => self.completions.add(waiter, self.partition.machine()),
            Message::Attach { hello, locality, unread_max, outbox, reply } => {
                let attached = self.partition.attach(&hello, locality, now);
                if let Ok(attached) = &attached {
                    self.partition.set_unread_max(attached.instance, unread_max);
                    self.pending.connect(attached.instance, outbox);
                }
                if let Err(Ok(attached)) = reply.send(attached) {
                    // The caller was dropped before it was told of its session.
                    self.detach(attached.instance);
                }
            }
            Message::HasRead { instance, bytes } => self.partition.has_read(instance, bytes),
            Message::Detach(instance) => self.detach(instance),
            Message::Status { namespace, reply } => drop(reply.send(self.status(namespace.as_deref()))),
            Message::Freeze(reply) => self.freeze(reply),
            Message::KeepFrom(record) => {
                self.config.keep_from = Some(record);
                self.release();
            }
            Message::Drain(done) => {
                self.partition.drain();
                self.drains.push(done);
            }
            Message::Stop { graceful } => return Some(Going::Stop { graceful }),
        }
        None
    }

    /// Log time. What an operator should know of the clocks is said on the way.
    fn now(&mut self) -> Time {
        let now = self.clock.advance(self.config.skipped.seen(read_clocks()));
        self.clock.take_notices().into_iter().for_each(announce);
        self.partition.set_lead(self.clock.lead());
        now
    }

    fn detach(&mut self, instance: crate::InstanceId) {
        let now = self.now();
        self.partition.detach(instance, now);
        self.pending.disconnect(instance);
    }

    fn read(&mut self, at_least: Seq, read: StateQuery) {
        if at_least <= self.partition.applied() || self.partition.halted().is_some() {
            return self.look(read);
        }
        let max = limits::READS_WAITING_MAX;
        if self.reads.len() >= max {
            let message = format!("`{max}` reads wait for records that are not applied yet, the limit is {max}");
            return read(Err(Error::new(Code::Overloaded, message).hint("try again after `100ms`")));
        }
        self.reads_made += 1;
        self.reads.insert((at_least, self.reads_made), read);
    }

    /// A question that panics is a bug, but it has changed nothing: only its caller gets no answer.
    fn look(&mut self, read: StateQuery) {
        let machine = self.partition.machine();
        let _ = catch_unwind(AssertUnwindSafe(|| read(machine)));
    }

    fn status(&self, namespace: Option<&str>) -> Status {
        let mut status = self.partition.status(namespace);
        status.store_written = self.written;
        status.store_synced = self.synced;
        status.store_bytes = self.store_bytes;
        (status.clock_lead, status.clock_leap) = (self.clock.lead(), self.clock.leap());
        status.commands_waiting = self.shared.waiting.load(std::sync::atomic::Ordering::Acquire);
        status
    }

    fn deliver(&mut self, mut outputs: crate::Outputs) {
        if let (false, Ok(machine)) = (self.completions.is_empty(), self.partition.machine()) {
            for (topic, _) in &outputs.changed {
                if let Topic::Run(run) = topic {
                    self.completions.changed(*run, machine);
                }
            }
        }
        for instance in self.pending.deliver(&mut outputs) {
            // Messages that it did not get would be lost: it has to reconnect, or its tasks go to other instances.
            self.detach(instance);
        }
        outputs.unused.into_iter().for_each(|(since, hash)| self.sweep.add(since, hash));
    }

    /// Answers the callers that wait for more than the answer to a command.
    fn serve(&mut self) {
        if self.partition.is_settled() {
            self.pins.clear();
        }
        let applied = self.partition.applied();
        while let Some(entry) = self.reads.first_entry() {
            if entry.key().0 > applied && self.partition.halted().is_none() {
                break;
            }
            let read = entry.remove();
            self.look(read);
        }
        let quiet = self.partition.halted().is_some() || (self.partition.held() == 0 && self.partition.is_settled());
        if quiet {
            for done in self.drains.drain(..) {
                // The receiver may have been dropped: its caller has stopped waiting.
                let _ = done.send(());
            }
        }
    }

    /// Hands rows to the writer, and takes in what it reports as done.
    fn write_back(&mut self) {
        while let Some(done) = self.writer.poll() {
            self.hear(done);
        }
        let changed = self.partition.rows_changed();
        let due = changed >= self.config.flush_rows
            || (self.partition.has_unwritten() && self.taken_at.elapsed() >= self.config.flush_interval.to_std());
        while changed >= self.config.flush_rows * ROWS_BEHIND_MAX && self.writer.rows_in_flight() >= ROWS_IN_FLIGHT_MAX
        {
            let Some(done) = self.writer.wait() else { break };
            self.hear(done);
        }
        if due && self.writer.rows_in_flight() < ROWS_IN_FLIGHT_MAX {
            self.hand_rows();
        }
        if self.is_unsynced() && !self.syncing && self.synced_at.elapsed() >= self.config.sync_interval.to_std() {
            self.syncing = true;
            self.writer.sync();
            if !mem::replace(&mut self.listed, true) {
                self.writer.list();
            }
        }
        if self.sweep.is_due() {
            self.sweep();
        }
    }

    /// Gives back the memory of caches where nothing was applied for a while, and every row is in the store.
    fn forget_caches(&mut self) {
        let applied = self.partition.applied();
        if self.quiet.0 != applied {
            self.quiet = (applied, Instant::now());
            self.forgotten = false;
        }
        if self.forgets_in().is_some_and(|left| left.is_zero()) {
            if let Ok(machine) = self.partition.machine() {
                machine.forget_caches();
            }
            self.forgotten = true;
        }
    }

    /// How long until caches are forgotten, where nothing happens meanwhile.
    fn forgets_in(&self) -> Option<Duration> {
        let waits = !self.forgotten && self.written == self.partition.applied();
        waits.then(|| self.config.forget_after.to_std().saturating_sub(self.quiet.1.elapsed()))
    }

    fn is_unsynced(&self) -> bool {
        !self.listed || self.synced < self.written
    }

    fn hand_rows(&mut self) {
        self.taken_at = Instant::now();
        if let Some(taken) = self.partition.take() {
            self.writer.rows(taken);
        }
    }

    fn freeze(&mut self, reply: oneshot::Sender<Result<Frozen>>) {
        if let Some(error) = self.partition.halted() {
            // The caller may have been dropped.
            let _ = reply.send(Err(error.clone()));
            return;
        }
        // From here on nothing is swept or trimmed: the rows are at a record that is not known yet.
        self.freezing.push_back((self.holds.hold(), reply));
        self.hand_rows();
        self.writer.freeze();
    }

    /// Lets log and blobs go that neither the store needs, nor what is kept or held.
    fn release(&mut self) {
        let synced = self.synced;
        let unneeded = self.holds.lowest(self.config.keep_from.map_or(synced, |kept| kept.min(synced)));
        self.partition.trim(unneeded);
        self.sweep.synced(unneeded);
    }

    fn sweep(&mut self) {
        let marked = match self.partition.machine() {
            Ok(machine) => self.sweep.marked(machine, &self.shared.blob_gc),
            Err(_) => return,
        };
        match marked {
            Ok(marked) if marked.is_empty() => {}
            Ok(marked) => self.writer.delete(marked),
            Err(error) => self.partition.halt(error),
        }
    }

    fn hear(&mut self, done: Done) {
        match done {
            Done::Rows { generation, applied, bytes } => {
                self.partition.written(generation);
                self.written = applied;
                self.store_bytes += bytes;
            }
            Done::Synced(seq) => {
                self.syncing = false;
                self.synced_at = Instant::now();
                self.synced = seq;
                self.release();
            }
            Done::Frozen(rows) => {
                if let Some((hold, reply)) = self.freezing.pop_front() {
                    // Where the caller was dropped, the hold ends here.
                    let _ = reply.send(Ok(Frozen::new(rows, hold)));
                }
            }
            Done::Listed(blobs) => {
                let applied = self.partition.applied();
                for hash in blobs {
                    self.sweep.add(applied, hash);
                }
            }
            Done::Failed(error) => self.partition.halt(error),
        }
    }

    fn sleep(&mut self, now: Time) {
        let until = |from: Instant, span: Span| span.to_std().saturating_sub(from.elapsed());
        // The wall clock may be set meanwhile, which no sleep notices: look at it now and then.
        let timer = self.partition.next_wake().map(|wake| wake.since(now).to_std().min(CLOCK_CHECK));
        let healthy = self.partition.halted().is_none();
        let flush =
            (healthy && self.partition.has_unwritten()).then(|| until(self.taken_at, self.config.flush_interval));
        let sync = (healthy && self.is_unsynced()).then(|| {
            // A sync that is under way reports without a wake-up: look again soon.
            let wait = until(self.synced_at, self.config.sync_interval);
            if self.syncing { wait.max(self.config.flush_interval.to_std()) } else { wait }
        });
        // The writer reports without a wake-up, and a caller waits for these rows.
        let frozen = (healthy && !self.freezing.is_empty()).then_some(FREEZE_CHECK);
        let sweep = self.sweep.is_due().then_some(Duration::ZERO);
        let forget = self.forgets_in().filter(|_| healthy);
        self.shared.mailbox.wait([timer, flush, sync, frozen, sweep, forget].into_iter().flatten().min());
    }

    /// Writes and syncs everything, so that the next start replays nothing.
    fn finish(&mut self) {
        let now = self.now();
        while self.partition.is_due(now) || self.partition.is_appending() {
            let outputs = self.partition.commit_and_wait(now);
            self.deliver(outputs);
        }
        self.hand_rows();
        self.writer.sync();
        let mut syncs = 1 + usize::from(self.syncing);
        while syncs > 0 {
            let Some(done) = self.writer.wait() else { return };
            syncs -= usize::from(matches!(done, Done::Synced(_)));
            self.hear(done);
        }
    }
}

/// Says what an operator should know of the clocks.
fn announce(notice: ClockNotice) {
    let confirm = Span::from_secs(limits::CLOCK_UNCONFIRMED_SECONDS_MAX);
    match notice {
        ClockNotice::Leapt(by) => {
            tracing::warn!(
                "the wall clock has leapt forward by {by}; timers follow it if it stays there for {confirm}"
            );
        }
        ClockNotice::Followed(by) => {
            tracing::warn!("log time has followed the wall clock by {by}; timers that are due meanwhile fire now");
        }
        ClockNotice::Returned => tracing::warn!("the wall clock has been set back; its leap was not followed"),
        ClockNotice::Leads(by) => {
            tracing::warn!(
                "log time is {by} ahead of the wall clock; spans are measured as ever, but waits until an instant end \
                 that much too early; check the clock of this machine"
            );
        }
        ClockNotice::CaughtUp => tracing::info!("the wall clock has caught up with log time"),
    }
}
