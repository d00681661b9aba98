//! What every actor is given: the host, time, chance, the queue of events, and the oracles.
//!
//! For: the state that actors share, and the few ways to act on it. Not for: deciding what happens (see `actors`), or
//! in which order events are delivered (see `world`).
//! Invariant: an actor reaches another one only through an event.

use std::collections::BTreeMap;

use consort_core::Command;
use consort_types::{Payload, Result, RunId, StepInstanceId, Time, Token};

use crate::{
    assignments::{AssignmentOracle, Scene},
    clock::{SECOND, WallClock},
    event::Event,
    host::Host,
    network::Network,
    oracle::{Fold, Reference},
    plan::{Faults, Figures, InjectedBug, Plan},
    random::Random,
    requests::{Purpose, Request, Requests},
    results::{self, ResultOracle},
    roster::Roster,
    service::Service,
    trace::Trace,
    workflows::Workflow,
};

/// Since when nothing fails any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quiescence {
    pub(crate) since: u64,
    /// The time of the last record at that moment.
    pub(crate) log_time: Time,
}

/// When the partition's loop makes its next round.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Whether outputs of the last one are still to be delivered.
    pub(crate) busy: bool,
    pub(crate) next: Option<u64>,
}

/// The queue: by time, then by the order of insertion.
#[derive(Debug, Default)]
struct Queue {
    events: BTreeMap<(u64, u64), (u64, Event)>,
    inserted: u64,
}

/// What actors share.
pub(crate) struct Context {
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    pub(crate) trace: Trace,
    pub(crate) figures: Figures,
    pub(crate) host: Host,
    pub(crate) fold: Fold,
    pub(crate) results: ResultOracle,
    pub(crate) assignments: AssignmentOracle,
    pub(crate) requests: Requests,
    pub(crate) network: Network,
    pub(crate) roster: Roster,
    pub(crate) service: Service,
    pub(crate) clock: WallClock,
    pub(crate) round: Round,
    pub(crate) now: u64,
    pub(crate) quiescent: Option<Quiescence>,
    /// Whether the simulation is at its end.
    pub(crate) over: bool,
    queue: Queue,
    posted: Vec<Event>,
}

impl Context {
    /// The shared state of a world with these workflows; the roster is still empty.
    pub(crate) fn new(plan: &Plan, mut random: Random, faults: Faults, workflows: &[Workflow]) -> Result<Self> {
        let host = Host::new(&mut random, plan.injected, faults.far_log);
        let wanted = results::draw_wanted(&mut random, workflows);
        let reference = Reference::new(workflows.iter().map(|workflow| workflow.compiled.clone()))?;
        Ok(Self {
            trace: Trace::new(plan.verbose),
            figures: Figures::default(),
            fold: Fold::new(plan.injected)?,
            results: ResultOracle::new(wanted, reference),
            assignments: AssignmentOracle::default(),
            requests: Requests::default(),
            network: Network::default(),
            roster: Roster::default(),
            service: Service::default(),
            clock: WallClock::new(),
            round: Round::default(),
            now: 0,
            quiescent: None,
            over: false,
            queue: Queue::default(),
            posted: Vec::new(),
            plan: plan.clone(),
            random,
            faults,
            host,
        })
    }

    // Events.

    /// Something happens `after` microseconds from now.
    pub(crate) fn at(&mut self, after: u64, event: Event) {
        self.queue.inserted += 1;
        self.queue.events.insert((self.now + after, self.queue.inserted), (self.host.incarnation, event));
    }

    /// Posts an event that happens as soon as the running actor returns, before any queued event.
    pub(crate) fn post(&mut self, event: Event) {
        self.posted.push(event);
    }

    /// What was posted, in order.
    pub(crate) fn take_posted(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.posted)
    }

    /// Moves time to the next event. Events inside a process that is dead are passed over.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        loop {
            let ((at, _), (incarnation, event)) = self.queue.events.pop_first()?;
            self.now = at;
            if !event.is_of_process() || incarnation == self.host.incarnation {
                return Some(event);
            }
        }
    }

    /// Lets the partition's loop make a round soon.
    pub(crate) fn wake(&mut self, after: u64) {
        let at = self.now + after;
        let early_enough = self.round.next.is_some_and(|next| next <= at);
        if self.round.busy || self.host.partition.is_none() || early_enough {
            return;
        }
        self.round.next = Some(at);
        self.at(after, Event::Loop);
    }

    /// Sends a command to the engine.
    pub(crate) fn request(&mut self, command: Command, purpose: Purpose) {
        let ticket = self.requests.send(purpose, self.now, self.host.incarnation);
        let delay = self.delay();
        self.at(delay, Event::Request(Box::new(Request { ticket, command })));
    }

    // Time and chance.

    /// Log time, as the process keeps it.
    pub(crate) fn log_time(&mut self) -> Time {
        let reading = self.clock.read(self.now);
        if self.has_bug(InjectedBug::WallClockTrusted) {
            return reading.wall;
        }
        let now = self.host.log_time(reading);
        self.clock.note(now);
        now
    }

    /// How long a message is on its way.
    pub(crate) fn delay(&mut self) -> u64 {
        if self.quiescent.is_none() && self.random.chance(self.faults.late) {
            self.random.span(50_000, 40 * SECOND)
        } else {
            self.random.span(50, 20_000)
        }
    }

    /// A run id as the engine's door makes it: time in front, then chance.
    pub(crate) fn new_run(&mut self) -> RunId {
        let millis = (self.clock.read(self.now).wall.0 / 1_000).to_be_bytes();
        let mut id = [0; 16];
        id[..6].copy_from_slice(&millis[2..]);
        id[6..14].copy_from_slice(&self.random.bits().to_be_bytes());
        id[14..].copy_from_slice(&(self.requests.count() as u16).to_be_bytes());
        RunId(id)
    }

    // Looking.

    /// Whether this bug is injected.
    pub(crate) fn has_bug(&self, bug: InjectedBug) -> bool {
        self.plan.injected == Some(bug)
    }

    /// Whether nothing fails any more.
    pub(crate) fn is_quiescent(&self) -> bool {
        self.quiescent.is_some()
    }

    /// The oracle of assignments, and what it sees now.
    pub(crate) fn assignments(&mut self) -> (&mut AssignmentOracle, Scene<'_>) {
        let scene = Scene {
            fold: &self.fold,
            network: &self.network,
            roster: &self.roster,
            incarnation: self.host.incarnation,
            now: self.now,
        };
        (&mut self.assignments, scene)
    }

    /// Puts a large document into the blob store, as the engine's door does; nothing where the store fails.
    pub(crate) fn admit(&mut self, payload: Payload) -> Option<Payload> {
        if let Some(bytes) = payload.bytes().filter(|_| payload.is_large()) {
            self.fold.put_blob(consort_types::BlobHash::of(bytes), bytes);
        }
        self.host.admit(payload).ok()
    }

    /// The output of a task's effect where it has happened; else its current attempt is fenced off.
    pub(crate) fn settle_effect(&mut self, task: StepInstanceId) -> Option<serde_json::Value> {
        let token: Option<Token> = self.fold.token(task);
        self.service.settle(task, token?)
    }
}
