//! The world: one queue of events on virtual time.
//!
//! For: the clock, the queue, and the process with its crashes. Not for: what agents and clients do (see there).
//! Invariant: events happen in the order of their time, then of their making; nothing else decides an order.

use std::collections::BTreeMap;

use consort_engine::{ClockReading, InstanceId, Outputs};
use consort_journal::Record;
use consort_types::{
    Code, Error, Result, Span, TaskId, Time, Token,
    worker::{FromWorker, ToWorker},
};

use crate::{
    agents::Instance,
    clients::Clients,
    flows::{self, Flow},
    handouts::Handouts,
    host::{End, Host},
    liars,
    oracle::{Fold, Reference},
    plan::{Checked, Faults, Figures, Law, Plan, Planted, Violation},
    random::Random,
    service::Service,
    trace::Trace,
};

/// A second, in microseconds.
pub(crate) const SECOND: u64 = 1_000_000;
/// How long, on virtual time, runs may take to end once all is calm.
const PATIENCE: u64 = 100 * 3_600 * SECOND;
/// Of a thousand looks in the calm, those at which the wall clock jumps: timers need no clock that is right.
const CALM_JUMPS: u64 = 30;
/// The wall clock when the world begins.
const WALL: u64 = 1_790_000_000 * SECOND;

/// What happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// The engine's loop goes round.
    Loop,
    /// What a group gave is carried out.
    Deliver(Box<Outputs>),
    /// Changed rows are taken.
    Flush,
    /// Rows that were taken are in the store.
    Write,
    /// The store is synced.
    Sync,
    /// A process starts.
    Open,
    /// A report reaches the engine.
    Report { session: u64, report: FromWorker },
    /// Messages reach an instance.
    Tell { session: u64, messages: Vec<ToWorker> },
    /// An instance connects.
    Connect { instance: usize },
    /// The engine notices that a connection is gone.
    Detach { session: u64 },
    /// The worker notices that a connection is gone.
    Broken { session: u64 },
    /// An agent goes on with a task.
    Work { instance: usize, task: TaskId, token: Token },
    /// An agent that was told to stop reports all the same.
    Zombie { instance: usize, report: FromWorker },
    /// An instance says that it lives.
    Beat { instance: usize },
    /// A client does something.
    Client,
    /// A client's request reaches the engine.
    Request(Box<crate::clients::Request>),
    /// An operator looks into the inbox.
    Operator,
    /// A worker reports on a task that it does not hold.
    Lie,
    /// Something breaks.
    Fault,
    /// From here on nothing breaks any more.
    Calm,
}

/// A connection between an instance and a process.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) instance: usize,
    /// The process that it leads to.
    pub(crate) incarnation: u64,
    pub(crate) remote: InstanceId,
    /// Whether the worker still uses it.
    pub(crate) open: bool,
    /// When the last message of each direction arrives: a connection keeps their order.
    pub(crate) to_host: u64,
    pub(crate) to_worker: u64,
}

/// Everything that there is.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    pub(crate) trace: Trace,
    pub(crate) figures: Figures,
    pub(crate) host: Host,
    pub(crate) fold: Fold,
    pub(crate) reference: Reference,
    pub(crate) flows: Vec<Flow>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) sessions: BTreeMap<u64, Session>,
    pub(crate) clients: Clients,
    pub(crate) service: Service,
    pub(crate) handouts: Handouts,
    pub(crate) now: u64,
    pub(crate) calm: bool,
    queue: BTreeMap<(u64, u64), (u64, Event)>,
    events: u64,
    sessions_made: u64,
    offset: i64,
    /// The time of the last record when the calm began.
    pub(crate) calm_log: Time,
    /// The latest time that any clock has shown.
    latest: Time,
    /// Whether outputs wait to be carried out.
    busy: bool,
    next_loop: Option<u64>,
    flushing: bool,
    /// Whether a halt is to be expected.
    halt_expected: bool,
    /// Where the log was damaged on purpose.
    flipped: Option<String>,
    last_group: u64,
    /// Ends the simulation without a finding: the product refused damaged files, as it should.
    refused: bool,
    slow_until: u64,
    pub(crate) done: bool,
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Result<Self> {
        let mut random = Random::new(plan.seed);
        let faults = Faults::draw(&mut random, plan.planted);
        let count = random.between(3, 6) as usize;
        let mut flows = flows::pool(&mut random, count);
        flows.push(flows::long());
        let host = Host::new(&mut random, plan.planted);
        let clients = Clients::new(&mut random, &flows);
        let instances = crate::agents::staff(&mut random);
        let mut world = Self {
            trace: Trace::new(plan.verbose),
            figures: Figures::default(),
            fold: Fold::new(plan.planted)?,
            reference: Reference::new(flows.iter().map(|flow| flow.source.clone()))?,
            sessions: BTreeMap::new(),
            service: Service::default(),
            handouts: Handouts::default(),
            now: 0,
            calm: false,
            queue: BTreeMap::new(),
            events: 0,
            sessions_made: 0,
            offset: 0,
            calm_log: Time(0),
            latest: Time(WALL),
            busy: false,
            next_loop: None,
            flushing: false,
            halt_expected: false,
            flipped: None,
            last_group: 1,
            refused: false,
            slow_until: 0,
            done: false,
            plan: plan.clone(),
            random,
            faults,
            host,
            flows,
            instances,
            clients,
        };
        world.begin();
        Ok(world)
    }

    fn begin(&mut self) {
        self.at(0, Event::Open);
        for instance in 0..self.instances.len() {
            let pause = self.random.span(1_000, 5 * SECOND);
            self.at(pause, Event::Connect { instance });
            self.at(pause + 10 * SECOND, Event::Beat { instance });
        }
        self.at(10, Event::Client);
        self.at(5 * SECOND, Event::Operator);
        self.at(3 * SECOND, Event::Lie);
        let fault = self.random.span(SECOND, self.faults.pause);
        self.at(fault, Event::Fault);
        let calm = self.random.between(60, 400) * SECOND;
        self.at(calm, Event::Calm);
    }

    // Time.

    /// Something happens `after` microseconds from now.
    pub(crate) fn at(&mut self, after: u64, event: Event) {
        self.events += 1;
        self.queue.insert((self.now + after, self.events), (self.host.incarnation, event));
    }

    /// What the wall clock shows.
    pub(crate) fn wall(&mut self) -> Time {
        let wall = Time((WALL + self.now).saturating_add_signed(self.offset));
        self.latest = self.latest.max(wall);
        wall
    }

    fn reading(&mut self) -> ClockReading {
        ClockReading { wall: self.wall(), steady: Span(self.now) }
    }

    /// Log time, as the process keeps it.
    pub(crate) fn log_time(&mut self) -> Time {
        let reading = self.reading();
        if self.plan.planted == Some(Planted::WallClockTrusted) {
            return reading.wall;
        }
        let now = self.host.log_time(reading);
        self.latest = self.latest.max(now);
        now
    }

    /// How long a message is on its way.
    pub(crate) fn delay(&mut self) -> u64 {
        if !self.calm && self.random.chance(self.faults.late) {
            self.random.span(50_000, 40 * SECOND)
        } else {
            self.random.span(50, 20_000)
        }
    }

    pub(crate) fn run(&mut self) -> Checked {
        while let Some(((at, _), (incarnation, event))) = self.queue.pop_first() {
            self.now = at;
            self.happen(incarnation, event)?;
            if self.done || self.refused {
                break;
            }
        }
        self.figures.micros = self.now;
        self.figures.records = self.fold.history.len() as u64;
        self.figures.steps = self.fold.steps;
        Ok(())
    }

    fn happen(&mut self, incarnation: u64, event: Event) -> Checked {
        // What was under way inside of a process dies with it.
        let of_process = matches!(event, Event::Loop | Event::Deliver(_) | Event::Flush | Event::Write | Event::Sync);
        if of_process && incarnation != self.host.incarnation {
            return Ok(());
        }
        if let Event::Loop = event {
            if self.next_loop != Some(self.now) || self.busy {
                return Ok(());
            }
            self.next_loop = None;
            return self.run_loop();
        }
        self.trace.note(self.now, format_args!("{event:?}"));
        match event {
            Event::Loop => Ok(()),
            Event::Deliver(outputs) => self.deliver(*outputs),
            Event::Flush => self.flush(),
            Event::Write => self.write(),
            Event::Sync => self.sync(),
            Event::Open => self.open(),
            Event::Report { session, report } => self.reported(session, report),
            Event::Tell { session, messages } => self.told(session, messages),
            Event::Connect { instance } => self.connect(instance),
            Event::Detach { session } => self.detach(session),
            Event::Broken { session } => self.broken(session),
            Event::Work { instance, task, token } => self.work(instance, task, token),
            Event::Zombie { instance, report } => self.zombie(instance, report),
            Event::Beat { instance } => self.beat(instance),
            Event::Client => self.act(),
            Event::Request(request) => self.request(*request),
            Event::Operator => self.operate(),
            Event::Lie => self.lie(),
            Event::Fault => self.break_something(),
            Event::Calm => self.enter_quiescence(),
        }
    }

    // The process.

    /// Lets the loop go round soon.
    pub(crate) fn wake(&mut self, after: u64) {
        let at = self.now + after;
        if self.busy || self.host.partition.is_none() || self.next_loop.is_some_and(|next| next <= at) {
            return;
        }
        self.next_loop = Some(at);
        self.at(after, Event::Loop);
    }

    fn open(&mut self) -> Checked {
        if self.host.partition.is_some() {
            return Ok(());
        }
        let reading = self.reading();
        (self.busy, self.next_loop, self.flushing) = (false, None, false);
        match self.host.open(reading) {
            Ok((first, records)) => self.opened(first.0, &records),
            Err(error) => self.judge_refusal(&error),
        }
    }

    /// The product refuses to start: right where the files are damaged, and only there.
    fn judge_refusal(&mut self, error: &Error) -> Checked {
        let named = matches!(error.code, Code::Damaged | Code::BadFormat);
        match &self.flipped {
            _ if self.halt_expected && matches!(error.code, Code::Disk | Code::Halted) => {
                // The planned failure has hit the start; it is tried again.
                self.figures.fault("failed starts");
                self.host.store.memory.fail(None);
                let pause = self.random.span(1_000, 20 * SECOND);
                self.at(pause, Event::Open);
                Ok(())
            }
            Some(_) if named => {
                self.figures.fault("damage refused");
                self.refused = true;
                Ok(())
            }
            Some(place) => Err(Violation::of(11, format!("a flipped bit in {place} is answered with: {error}"))),
            None => {
                let lost = self.plan.planted.is_some() && error.message.contains("the log ends at");
                let law = if lost { 1 } else { 11 };
                Err(Violation::of(law, format!("start {} is refused: {error}", self.host.incarnation)))
            }
        }
    }

    fn opened(&mut self, first: u64, records: &[Record]) -> Checked {
        let known = self.fold.history.len() as u64;
        let skip_check = self.plan.planted == Some(Planted::ReplaySwapsRecords);
        let last = if skip_check { known } else { first + records.len() as u64 - 1 };
        if last < known {
            return self.judge_loss(last, known);
        }
        for (seq, record) in (first..).zip(records) {
            match self.fold.history.get(seq as usize - 1) {
                Some(kept) if kept == record => {}
                Some(_) => return Err(Violation::of(1, format!("record {seq} is another one after a restart"))),
                None => {
                    // It was written, but the process died before it heard of it.
                    self.fold.apply(record, self.latest)?;
                }
            }
        }
        self.fold.compare(&self.host.store.memory, "after recovery")?;
        self.check_acknowledged()?;
        self.host.control.take_appended();
        self.trace.note(self.now, format_args!("start {} at record {last}", self.host.incarnation));
        self.wake(10);
        Ok(())
    }

    fn judge_loss(&mut self, last: u64, known: u64) -> Checked {
        // A flipped bit in the last group looks like a group that was torn and never acknowledged.
        if self.flipped.is_some() && last + 1 >= self.last_group && self.plan.planted.is_none() {
            self.figures.fault("last group cut");
            self.refused = true;
            return Ok(());
        }
        let law = if self.flipped.is_some() { 11 } else { 1 };
        Err(Violation::of(law, format!("the log ends at record {last}, but record {known} was acknowledged")))
    }

    fn run_loop(&mut self) -> Checked {
        let mut now = self.log_time();
        let planted = self.plan.planted;
        if planted == Some(Planted::TickFromTheFuture) && self.random.chance(20) {
            now = Time(now.0 + 3_600 * SECOND);
        }
        let Some(partition) = &mut self.host.partition else { return Ok(()) };
        if planted != Some(Planted::TimersForgotten) {
            partition.poll(now);
        }
        let outputs = partition.commit(now);
        self.folded()?;
        if self.host.control.is_cut() {
            return self.crash(End::PowerCut, "power cut in a write");
        }
        self.check_halt()?;
        self.busy = true;
        let slow = self.now < self.slow_until;
        let latency = if slow { self.random.span(10_000, 3 * SECOND) } else { self.random.span(30, 5_000) };
        self.at(latency, Event::Deliver(Box::new(outputs)));
        self.flush_soon();
        Ok(())
    }

    /// Folds what was appended.
    fn folded(&mut self) -> Checked {
        let appended = self.host.control.take_appended();
        if let Some(seqs) = Some(appended.len() as u64).filter(|count| *count > 0) {
            self.last_group = self.fold.history.len() as u64 + 1;
            self.trace.note(self.now, format_args!("{seqs} records from {}", self.last_group));
        }
        for record in appended {
            self.trace.bytes(&record.time.0.to_le_bytes());
            self.trace.bytes(&record.body);
            liars::check_record(&record.body)?;
            self.fold.apply(&record, self.latest)?;
        }
        self.compare_ended()?;
        if self.host.control.sync_error_passed() {
            return Err(Violation::of(11, "a group was acknowledged although its sync had failed"));
        }
        Ok(())
    }

    fn check_halt(&mut self) -> Checked {
        let Some(halted) = self.host.partition.as_ref().and_then(|partition| partition.halted()) else { return Ok(()) };
        if self.halt_expected {
            return Ok(());
        }
        Err(Violation { law: Law::Assertion, what: format!("the partition halts without a fault: {halted}") })
    }

    fn deliver(&mut self, outputs: Outputs) -> Checked {
        self.busy = false;
        liars::check_live(&outputs.progress)?;
        let count = outputs.replies.len() + outputs.to_workers.len();
        let cut = !self.calm && self.random.chance(self.faults.cut_outputs);
        let mut left = if cut { self.random.below(count as u64 + 1) as usize } else { usize::MAX };
        for (ticket, reply) in outputs.replies {
            if left == 0 {
                break;
            }
            left -= 1;
            self.replied(ticket, reply)?;
        }
        for (instance, messages) in outputs.to_workers {
            if left == 0 {
                break;
            }
            left -= 1;
            self.tell(instance, messages)?;
        }
        if cut {
            let end = if self.random.chance(500) { End::PowerCut } else { End::Killed };
            return self.crash(end, "crash among effects");
        }
        self.host.unused(outputs.unused);
        for instance in outputs.dropped {
            self.dropped(instance);
        }
        self.after_round()
    }

    fn after_round(&mut self) -> Checked {
        let now = self.log_time();
        let Some(partition) = &mut self.host.partition else { return Ok(()) };
        if partition.halted().is_some() {
            self.figures.fault("halts");
            return self.crash(End::Halted, "restart after a halt");
        }
        if partition.is_due(now) {
            self.wake(10);
        } else if self.plan.planted != Some(Planted::TimersForgotten)
            && let Some(wake) = partition.next_wake()
        {
            self.wake(wake.since(now).0.clamp(10, 3_600 * SECOND));
        }
        Ok(())
    }

    fn flush_soon(&mut self) {
        let waits = self.host.partition.as_ref().is_some_and(consort_engine::Partition::has_unwritten);
        if waits && !self.flushing {
            self.flushing = true;
            // Where the store is ahead of a log that was cut, the start is refused; a store that lags lets the cut pass.
            let slower = if self.plan.planted == Some(Planted::DamageCut) { 60 } else { 1 };
            let pause = self.random.span(1_000, 2 * SECOND) * slower;
            self.at(pause, Event::Flush);
        }
    }

    fn flush(&mut self) -> Checked {
        self.flushing = false;
        if self.plan.planted == Some(Planted::StoreLosesBatch) && self.random.chance(100) {
            self.host.lose_batch();
        }
        self.host.take_rows();
        let pause = self.random.span(100, SECOND);
        self.at(pause, Event::Write);
        Ok(())
    }

    fn write(&mut self) -> Checked {
        if let Err(error) = self.host.write_rows() {
            return self.store_failed(error);
        }
        self.flush_soon();
        let pause = self.random.span(1_000, 8 * SECOND);
        if self.random.chance(300) {
            self.at(pause, Event::Sync);
        }
        Ok(())
    }

    fn sync(&mut self) -> Checked {
        if let Err(error) = self.host.sync() {
            return self.store_failed(error);
        }
        if self.host.control.is_cut() {
            return self.crash(End::PowerCut, "power cut in a trim");
        }
        self.check_halt()
    }

    fn store_failed(&mut self, error: Error) -> Checked {
        if !self.halt_expected {
            return Err(Violation::of(4, format!("the store fails without a fault: {error}")));
        }
        if let Some(partition) = &mut self.host.partition {
            partition.halt(error);
        }
        self.wake(10);
        Ok(())
    }

    /// The process ends, and a new one starts after a while.
    pub(crate) fn crash(&mut self, end: End, why: &'static str) -> Checked {
        if self.host.partition.is_none() {
            return Ok(());
        }
        self.figures.fault(why);
        self.trace.note(self.now, format_args!("{why}: {end:?}"));
        if end == End::Stopped
            && let Err(error) = self.host.stop()
            && !self.halt_expected
        {
            return Err(Violation::of(4, format!("the process cannot stop: {error}")));
        }
        self.host.end(end, &mut self.random);
        // A process that ends by itself leaves a failing disk to the next one.
        self.halt_expected &= matches!(end, End::Stopped | End::Halted);
        if end == End::PowerCut && self.faults.bit_flips && !self.calm && self.random.chance(300) {
            self.flipped = self.host.flip_bit(&mut self.random);
            self.figures.fault("bit flips");
        }
        // The incarnation moves on at once, so that nothing of the dead process happens any more.
        self.host.incarnation += 1;
        (self.busy, self.next_loop) = (false, None);
        self.hang_up();
        self.clients.forget_pending();
        let pause = self.random.span(1_000, 20 * SECOND);
        self.at(pause, Event::Open);
        Ok(())
    }

    /// Every connection to the dead process is gone; workers notice sooner or later.
    fn hang_up(&mut self) {
        let open: Vec<u64> = self.sessions.keys().copied().collect();
        for session in open {
            let pause = self.random.span(100, 5 * SECOND);
            self.at(pause, Event::Broken { session });
        }
    }

    /// A number for a new session.
    pub(crate) fn new_session(&mut self) -> u64 {
        self.sessions_made += 1;
        self.sessions_made
    }

    // Faults.

    fn break_something(&mut self) -> Checked {
        if self.calm {
            return Ok(());
        }
        let pause = self.random.span(SECOND / 4, self.faults.pause);
        self.at(pause, Event::Fault);
        match self.random.below(12) {
            0 | 1 if self.faults.crashes => self.crash(End::PowerCut, "power cuts"),
            2 if self.faults.crashes => self.crash(End::Killed, "kills"),
            3 | 4 if self.faults.crashes => {
                let n = self.random.between(1, 3);
                self.host.control.cut_at(n);
                Ok(())
            }
            5 if self.faults.crashes => self.crash(End::Stopped, "stops"),
            6 if self.faults.sync_errors => {
                self.halt_expected = true;
                self.figures.fault("failed syncs");
                let n = self.random.between(1, 3);
                self.host.disk.fail_sync(n);
                Ok(())
            }
            7 if self.faults.store_errors => {
                self.halt_expected = true;
                self.figures.fault("store errors");
                self.host.store.memory.fail(Some("a planned failure"));
                Ok(())
            }
            8 | 9 if self.faults.clock_jumps => self.jump(),
            10 if self.faults.slow_disk => {
                self.figures.fault("slow disk");
                self.slow_until = self.now + self.random.span(SECOND, 30 * SECOND);
                Ok(())
            }
            _ => self.misbehave(),
        }
    }

    fn jump(&mut self) -> Checked {
        let by = self.random.span(1_000, 7_200 * SECOND) as i64;
        let forward = self.random.chance(500);
        self.offset += if forward { by } else { -by };
        self.figures.fault(if forward { "clock leaps" } else { "clock goes back" });
        self.wake(10);
        if forward && self.plan.planted == Some(Planted::LeaseByClock) {
            return self.take_leases_for_run_out();
        }
        Ok(())
    }

    /// Nothing breaks any more, agents answer, and every run is to end.
    fn enter_quiescence(&mut self) -> Checked {
        if !self.calm {
            self.trace.note(self.now, format_args!("calm"));
            self.calm = true;
            // The clock is right again, which may be hours before what it has shown.
            self.offset = 0;
            self.calm_log = self.fold.machine.now();
            self.host.disk.fail_sync(u64::MAX);
            self.host.store.memory.fail(None);
            self.heal()?;
            self.wake(10);
        }
        let settled = self.is_settled();
        if self.is_quiet(settled) {
            return self.finish();
        }
        self.check_timers()?;
        if self.faults.clock_jumps && self.random.chance(CALM_JUMPS) {
            self.jump()?;
        }
        let began = *self.clients.calm_since.get_or_insert(self.now);
        if self.now > began + PATIENCE {
            return Err(self.stuck());
        }
        self.at(20 * SECOND, Event::Calm);
        Ok(())
    }

    fn stuck(&mut self) -> Violation {
        let active = self.fold.active();
        let (mut shown, clients) = (String::new(), self.clients.unsettled());
        for run in active.iter().take(2) {
            for namespace in crate::clients::NAMESPACES {
                if let Ok(steps) = self.fold.machine.steps(namespace, *run, None, 100) {
                    let open = steps.items.iter().filter(|step| !step.state.is_terminal());
                    let open: Vec<_> = open.map(|step| (&step.path, step.state.as_str(), step.attempt)).collect();
                    shown = format!("{shown} run {run}: {open:?}");
                }
            }
        }
        let law = if self.plan.planted == Some(Planted::TaskLost) { Law::Number(8) } else { Law::Liveness };
        Violation { law, what: format!("{} runs do not end; {clients} commands are open;{shown}", active.len()) }
    }

    fn is_settled(&mut self) -> bool {
        let quiet = self.host.partition.is_some() && self.clients.is_settled();
        quiet && self.fold.active().is_empty()
    }
}
