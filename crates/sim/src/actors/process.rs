//! The process: what the engine's thread does, and its starts and ends.
//!
//! For: rounds of the partition's loop, write-back, halts and crashes, and for judging a start. Not for: what a start
//! finds on disk (see `host`), or deciding when something fails (see `chaos`).
//! Invariant: what happens inside a process dies with it, and the log never loses what it acknowledged.

use consort_engine::{InstanceId, Outputs, Partition};
use consort_log::Record;
use consort_types::{BlobHash, Code, Error, Seq, Time};

use crate::{
    clock::SECOND,
    context::Context,
    event::{DiskFault, Event},
    far::Arrival,
    forgery,
    host::End,
    plan::{Checked, InjectedBug, Law, Violation},
};

/// What is known of the process besides its host.
#[derive(Debug)]
pub(crate) struct Process {
    flushing: bool,
    /// Whether a halt is to be expected.
    halt_expected: bool,
    /// Where the log was damaged on purpose.
    flipped: Option<String>,
    /// The first record of the last group.
    last_group: u64,
    slow_until: u64,
}

impl Process {
    pub(crate) fn new() -> Self {
        Self { flushing: false, halt_expected: false, flipped: None, last_group: 1, slow_until: 0 }
    }

    // Starting.

    pub(crate) fn open(&mut self, ctx: &mut Context) -> Checked {
        if ctx.host.partition.is_some() {
            return Ok(());
        }
        let reading = ctx.clock.read(ctx.now);
        self.flushing = false;
        (ctx.round.busy, ctx.round.next) = (false, None);
        match ctx.host.open(reading) {
            Ok((first, records)) => self.opened(ctx, first.0, &records),
            Err(error) => self.judge_refusal(ctx, &error),
        }
    }

    /// The product refuses to start: right where the files are damaged, and only there.
    fn judge_refusal(&self, ctx: &mut Context, error: &Error) -> Checked {
        let named = matches!(error.code, Code::Damaged | Code::BadFormat);
        match &self.flipped {
            _ if self.halt_expected && matches!(error.code, Code::Disk | Code::Halted) => {
                // The planned failure has hit the start, which is tried again.
                ctx.figures.fault("failed starts");
                ctx.host.store.memory.fail(None);
                let pause = ctx.random.span(1_000, 20 * SECOND);
                ctx.at(pause, Event::Open);
                Ok(())
            }
            Some(_) if named => {
                ctx.figures.fault("damage refused");
                ctx.over = true;
                Ok(())
            }
            Some(place) => Err(Violation::of(11, format!("a flipped bit in {place} is answered with: {error}"))),
            None => {
                let lost = ctx.plan.injected.is_some() && error.message.contains("the log ends at");
                let law = if lost { 1 } else { 11 };
                Err(Violation::of(law, format!("start {} is refused: {error}", ctx.host.incarnation)))
            }
        }
    }

    fn opened(&self, ctx: &mut Context, first: u64, records: &[Record]) -> Checked {
        let known = ctx.fold.history.len() as u64;
        let skip_check = ctx.has_bug(InjectedBug::ReplaySwapsRecords);
        let last = if skip_check { known } else { first + records.len() as u64 - 1 };
        if last < known {
            return self.judge_loss(ctx, last, known);
        }
        for (seq, record) in (first..).zip(records) {
            match ctx.fold.history.get(seq as usize - 1) {
                Some(kept) if kept == record => {}
                Some(_) => return Err(Violation::of(1, format!("record {seq} is another one after a restart"))),
                None => {
                    // It was written, but the process died before it heard of it.
                    ctx.fold.apply(record, ctx.clock.latest())?;
                }
            }
        }
        ctx.fold.compare(&ctx.host.store.memory, "after recovery")?;
        ctx.requests.check_acknowledged(&ctx.fold)?;
        ctx.host.control.take_appended();
        ctx.trace.note(ctx.now, format_args!("start {} at record {last}", ctx.host.incarnation));
        ctx.wake(10);
        Ok(())
    }

    fn judge_loss(&self, ctx: &mut Context, last: u64, known: u64) -> Checked {
        // A flipped bit in the last group looks like a group that was torn and never acknowledged.
        if self.flipped.is_some() && last + 1 >= self.last_group && ctx.plan.injected.is_none() {
            ctx.figures.fault("last group cut");
            ctx.over = true;
            return Ok(());
        }
        let law = if self.flipped.is_some() { 11 } else { 1 };
        Err(Violation::of(law, format!("the log ends at record {last}, but record {known} was acknowledged")))
    }

    // Rounds.

    /// The loop makes a round, where it is still due.
    pub(crate) fn run_loop(&mut self, ctx: &mut Context) -> Checked {
        if ctx.round.next != Some(ctx.now) || ctx.round.busy {
            return Ok(());
        }
        ctx.round.next = None;
        let mut now = ctx.log_time();
        if ctx.has_bug(InjectedBug::TickFromTheFuture) && ctx.random.chance(20) {
            now = Time(now.0 + 3_600 * SECOND);
        }
        let forgets_timers = ctx.has_bug(InjectedBug::TimersForgotten);
        let Some(partition) = &mut ctx.host.partition else { return Ok(()) };
        if !forgets_timers {
            partition.poll(now);
        }
        let outputs = partition.commit(now);
        self.send_groups(ctx);
        self.fold_appended(ctx)?;
        if ctx.host.control.is_cut() {
            return self.crash(ctx, End::PowerCut, "power cut in a write");
        }
        self.check_halt(ctx)?;
        ctx.round.busy = true;
        let slow = ctx.now < self.slow_until;
        let latency = if slow { ctx.random.span(10_000, 3 * SECOND) } else { ctx.random.span(30, 5_000) };
        ctx.at(latency, Event::Deliver(Box::new(outputs)));
        self.flush_soon(ctx);
        Ok(())
    }

    /// Groups leave for a log that is far.
    fn send_groups(&self, ctx: &mut Context) {
        let sent = ctx.host.far.as_ref().map_or(0, |far| far.service().take_sent());
        for _ in 0..sent {
            let late = ctx.now < self.slow_until || (!ctx.is_quiescent() && ctx.random.chance(ctx.faults.late));
            let latency = if late { ctx.random.span(10_000, 30 * SECOND) } else { ctx.random.span(100, 20_000) };
            ctx.at(latency, Event::LogArrival);
        }
    }

    /// Folds what was appended.
    fn fold_appended(&mut self, ctx: &mut Context) -> Checked {
        let appended = ctx.host.control.take_appended();
        if let Some(seqs) = Some(appended.len() as u64).filter(|count| *count > 0) {
            self.last_group = ctx.fold.history.len() as u64 + 1;
            ctx.trace.note(ctx.now, format_args!("{seqs} records from {}", self.last_group));
        }
        for record in appended {
            ctx.trace.bytes(&record.time.0.to_le_bytes());
            ctx.trace.bytes(&record.body);
            forgery::check_record(&record.body)?;
            ctx.fold.apply(&record, ctx.clock.latest())?;
        }
        ctx.results.compare_ended(&mut ctx.fold, &mut ctx.figures)?;
        if ctx.host.control.sync_error_passed() {
            return Err(Violation::of(11, "a group was acknowledged although its sync had failed"));
        }
        Ok(())
    }

    fn check_halt(&self, ctx: &Context) -> Checked {
        let Some(halted) = ctx.host.partition.as_ref().and_then(|partition| partition.halted()) else { return Ok(()) };
        if self.halt_expected {
            return Ok(());
        }
        Err(Violation { law: Law::Assertion, what: format!("the partition halts without a fault: {halted}") })
    }

    /// The process dies between two outputs of a group.
    pub(crate) fn cut_off(&mut self, ctx: &mut Context) -> Checked {
        let end = if ctx.random.chance(500) { End::PowerCut } else { End::Killed };
        self.crash(ctx, end, "crash among effects")
    }

    /// A round is complete.
    pub(crate) fn delivered(
        &mut self,
        ctx: &mut Context,
        unused: Vec<(Seq, BlobHash)>,
        dropped: Vec<InstanceId>,
    ) -> Checked {
        ctx.host.unused(unused);
        for remote in dropped {
            // The engine has dropped an instance that was silent for too long.
            if let Some(session) = ctx.network.session_of(remote, ctx.host.incarnation) {
                ctx.figures.fault("silent instances");
                let pause = ctx.random.span(SECOND / 100, SECOND);
                ctx.at(pause, Event::Broken { session });
            }
        }
        let now = ctx.log_time();
        let forgets_timers = ctx.has_bug(InjectedBug::TimersForgotten);
        let Some(partition) = &mut ctx.host.partition else { return Ok(()) };
        if partition.halted().is_some() {
            ctx.figures.fault("halts");
            return self.crash(ctx, End::Halted, "restart after a halt");
        }
        if partition.is_due(now) {
            ctx.wake(10);
        } else if !forgets_timers && let Some(wake) = partition.next_wake() {
            ctx.wake(wake.since(now).0.clamp(10, 3_600 * SECOND));
        }
        Ok(())
    }

    // Write-back.

    fn flush_soon(&mut self, ctx: &mut Context) {
        let waits = ctx.host.partition.as_ref().is_some_and(Partition::has_unwritten);
        if waits && !self.flushing {
            self.flushing = true;
            // Where the store is ahead of a log that was cut, the start is refused; a store that lags lets the cut
            // pass.
            let slower = if ctx.has_bug(InjectedBug::DamageCut) { 60 } else { 1 };
            let pause = ctx.random.span(1_000, 2 * SECOND) * slower;
            ctx.at(pause, Event::Flush);
        }
    }

    pub(crate) fn flush(&mut self, ctx: &mut Context) -> Checked {
        self.flushing = false;
        if ctx.has_bug(InjectedBug::StoreLosesBatch) && ctx.random.chance(100) {
            ctx.host.lose_batch();
        }
        ctx.host.take_rows();
        if ctx.random.chance(100)
            && let Some(Ok(machine)) = ctx.host.partition.as_mut().map(Partition::machine)
        {
            machine.forget_caches();
        }
        let pause = ctx.random.span(100, SECOND);
        ctx.at(pause, Event::Write);
        Ok(())
    }

    pub(crate) fn write(&mut self, ctx: &mut Context) -> Checked {
        if let Err(error) = ctx.host.write_rows() {
            return self.store_failed(ctx, error);
        }
        self.flush_soon(ctx);
        let pause = ctx.random.span(1_000, 8 * SECOND);
        if ctx.random.chance(300) {
            ctx.at(pause, Event::Sync);
        }
        Ok(())
    }

    pub(crate) fn sync(&mut self, ctx: &mut Context) -> Checked {
        if let Err(error) = ctx.host.sync() {
            return self.store_failed(ctx, error);
        }
        if ctx.host.control.is_cut() {
            return self.crash(ctx, End::PowerCut, "power cut in a trim");
        }
        self.check_halt(ctx)
    }

    fn store_failed(&self, ctx: &mut Context, error: Error) -> Checked {
        if !self.halt_expected {
            return Err(Violation::of(4, format!("the store fails without a fault: {error}")));
        }
        if let Some(partition) = &mut ctx.host.partition {
            partition.halt(error);
        }
        ctx.wake(10);
        Ok(())
    }

    // Failing.

    /// Disk or store fail from here on.
    pub(crate) fn disk_fault(&mut self, ctx: &mut Context, fault: DiskFault) -> Checked {
        match fault {
            DiskFault::FailSync(n) => {
                self.halt_expected = true;
                ctx.host.disk.fail_sync(n);
            }
            DiskFault::FailStore => {
                self.halt_expected = true;
                ctx.host.store.memory.fail(Some("a planned failure"));
            }
            DiskFault::Slow(span) => self.slow_until = ctx.now + span,
        }
        Ok(())
    }

    /// The process ends, and a new one starts after a while.
    pub(crate) fn crash(&mut self, ctx: &mut Context, end: End, why: &'static str) -> Checked {
        if ctx.host.partition.is_none() {
            return Ok(());
        }
        ctx.figures.fault(why);
        ctx.trace.note(ctx.now, format_args!("{why}: {end:?}"));
        if end == End::Stopped
            && let Err(error) = ctx.host.stop()
            && !self.halt_expected
        {
            return Err(Violation::of(4, format!("the process cannot stop: {error}")));
        }
        ctx.host.end(end, &mut ctx.random);
        // A process that ends by itself leaves a failing disk to the next one.
        self.halt_expected &= matches!(end, End::Stopped | End::Halted);
        if end == End::PowerCut && ctx.faults.bit_flips && !ctx.is_quiescent() && ctx.random.chance(300) {
            self.flipped = ctx.host.flip_bit(&mut ctx.random);
            ctx.figures.fault("bit flips");
        }
        // The incarnation moves on at once, so that nothing of the dead process happens any more.
        ctx.host.incarnation += 1;
        (ctx.round.busy, ctx.round.next) = (false, None);
        // Every connection to the dead process is disconnected; each worker notices after a delay.
        let open: Vec<u64> = ctx.network.sessions.keys().copied().collect();
        for session in open {
            let pause = ctx.random.span(100, 5 * SECOND);
            ctx.at(pause, Event::Broken { session });
        }
        ctx.requests.forget_pending();
        let pause = ctx.random.span(1_000, 20 * SECOND);
        ctx.at(pause, Event::Open);
        Ok(())
    }
}

/// A group arrives at a log that is far, whether its process still lives or not.
pub(crate) fn log_arrival(ctx: &mut Context) -> Checked {
    let arrival = ctx.host.far.as_ref().and_then(|far| far.service().arrive());
    match arrival {
        Some(Arrival::Appended) => {
            let latency = ctx.random.span(100, 20_000);
            ctx.at(latency, Event::LogAnswer);
        }
        Some(Arrival::Fenced) => ctx.figures.fault("fenced groups"),
        None => {}
    }
    Ok(())
}

/// The answer of a log that is far arrives.
pub(crate) fn log_answer(ctx: &mut Context) -> Checked {
    if let Some(far) = &ctx.host.far {
        far.service().answer();
    }
    ctx.wake(10);
    Ok(())
}

/// The outputs of a group leave the engine: all of them, or some before the process dies.
pub(crate) fn deliver(ctx: &mut Context, outputs: Outputs) -> Checked {
    ctx.round.busy = false;
    forgery::check_live(&outputs.progress)?;
    let count = outputs.replies.len() + outputs.to_workers.len();
    let cut = !ctx.is_quiescent() && ctx.random.chance(ctx.faults.cut_outputs);
    let leave = if cut { ctx.random.below(count as u64 + 1) as usize } else { count };
    let replies = outputs.replies.into_iter();
    let replies = replies.map(|(ticket, reply)| Event::Reply { ticket, reply: Box::new(reply) });
    let messages = outputs.to_workers.into_iter().map(|(remote, messages)| Event::Send { remote, messages });
    for event in replies.chain(messages).take(leave) {
        ctx.post(event);
    }
    ctx.post(if cut { Event::CutOff } else { Event::Delivered { unused: outputs.unused, dropped: outputs.dropped } });
    Ok(())
}
