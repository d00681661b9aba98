//! Those who set and operate schedules.
//!
//! For: setting, pausing, changing, deleting, acting now and filling in, through crashes and jumps of the clock. Not for:
//! judging (see `oracle::schedules`).
//! Invariant: once faults have ended, every schedule is paused, so that its runs come to their end.

use consort_core::{
    Command,
    command::{BackfillSchedule, DeleteSchedule, Deploy, PauseSchedule, SetSchedule, TriggerSchedule},
    rows::{Overlap, ScheduleAction, ScheduleSettings, Times},
    view::{ScheduleView, Schedules},
};
use consort_types::{Payload, Span, Time};

use crate::{
    clock::SECOND, context::Context, event::Event, plan::Checked, random::Random, requests::Purpose, roster::NAMESPACES,
};

/// The schedules of each namespace.
const NAMES: [&str; 2] = ["pace", "beat"];
/// What they start: some instants come while it is active.
const PACED: &str = "workflow: paced\nsteps:\n  a: { wait: 9s }\n";
const OVERLAPS: [Overlap; 5] =
    [Overlap::Skip, Overlap::BufferOne, Overlap::BufferAll, Overlap::Allow, Overlap::CancelOther];

/// The distances of the schedules, in seconds, by name: they stay, so that every instant can be counted.
#[derive(Debug)]
pub(crate) struct Scheduler {
    distances: [u64; NAMES.len()],
}

impl Scheduler {
    pub(crate) fn new(random: &mut Random) -> Self {
        Self { distances: [random.between(4, 12), random.between(10, 40)] }
    }

    /// Whether every schedule is paused.
    pub(crate) fn is_settled(ctx: &mut Context) -> bool {
        let all = NAMESPACES.iter().flat_map(|namespace| NAMES.map(|name| (*namespace, name)));
        let mut settled = true;
        for (namespace, name) in all {
            let found = found(ctx, namespace, name);
            if found.is_none_or(|found| !found.paused) {
                pause(ctx, namespace, name, true);
                settled = false;
            }
        }
        settled
    }

    pub(crate) fn step(&mut self, ctx: &mut Context) -> Checked {
        let pause = if ctx.is_quiescent() { 4 * SECOND } else { ctx.random.span(10_000, 9 * SECOND) };
        ctx.at(pause, Event::Schedule);
        if ctx.host.partition.is_none() {
            return Ok(());
        }
        for namespace in NAMESPACES {
            if self.set_up(ctx, namespace) {
                return Ok(());
            }
        }
        if !ctx.is_quiescent() && ctx.random.chance(ctx.faults.disturb) {
            self.disturb(ctx);
        }
        Ok(())
    }

    /// Makes what a namespace has not yet; returns whether something was missing.
    fn set_up(&self, ctx: &mut Context, namespace: &str) -> bool {
        if ctx.fold.machine.pin_start(namespace, "paced", None).is_err() {
            let workflow = consort_workflow_check::check(PACED).expect("the workflow is right").compiled;
            ctx.request(Command::Deploy(Deploy { namespace: namespace.to_owned(), workflow }), Purpose::Any);
            return true;
        }
        for (at, name) in NAMES.iter().enumerate() {
            if found(ctx, namespace, name).is_none() {
                self.set(ctx, namespace, at);
                return true;
            }
        }
        false
    }

    fn set(&self, ctx: &mut Context, namespace: &str, at: usize) {
        let every = Span(self.distances[at] * SECOND);
        let action = if ctx.random.chance(200) {
            let (kind, topic) = ("sim.beat".to_owned(), "beats".to_owned());
            ScheduleAction::Publish { kind, topic, subject: None, data: None }
        } else {
            ScheduleAction::Start { workflow: "paced".to_owned(), version: None, input: Payload::inline(*b"{}") }
        };
        let jitter = if ctx.random.chance(300) { Span(3 * SECOND) } else { Span::ZERO };
        let settings = ScheduleSettings {
            overlap: *ctx.random.pick(&OVERLAPS),
            catch_up: Span(ctx.random.between(2, 90) * SECOND),
            jitter,
            ..ScheduleSettings::new(Times::Every { every, phase: Span::ZERO }, action)
        };
        let (namespace, name, paused) = (namespace.to_owned(), NAMES[at].to_owned(), ctx.is_quiescent());
        ctx.request(Command::SetSchedule(SetSchedule { namespace, name, settings, paused }), Purpose::Any);
    }

    fn disturb(&self, ctx: &mut Context) {
        let (namespace, at) = (*ctx.random.pick(&NAMESPACES), ctx.random.below(NAMES.len() as u64) as usize);
        let name = NAMES[at];
        ctx.figures.fault("changes of schedules");
        match ctx.random.below(8) {
            0 => self.set(ctx, namespace, at),
            1 => {
                let command = DeleteSchedule { namespace: namespace.to_owned(), name: name.to_owned() };
                ctx.request(Command::DeleteSchedule(command), Purpose::Any);
            }
            2 | 3 => {
                let (namespace, name) = (namespace.to_owned(), name.to_owned());
                ctx.request(Command::TriggerSchedule(TriggerSchedule { namespace, name, overlap: None }), Purpose::Any);
            }
            4 => self.backfill(ctx, namespace, at),
            _ => {
                let paused = ctx.random.chance(400);
                pause(ctx, namespace, name, paused);
            }
        }
    }

    fn backfill(&self, ctx: &mut Context, namespace: &str, at: usize) {
        let Some(found) = found(ctx, namespace, NAMES[at]) else { return };
        let every = self.distances[at] * SECOND;
        let last = ctx.fold.machine.now().0 / every;
        let instants = (last.saturating_sub(ctx.random.below(4))..=last).map(|n| Time(n * every)).collect();
        let command = BackfillSchedule {
            namespace: namespace.to_owned(),
            name: NAMES[at].to_owned(),
            revision: found.revision,
            instants,
            overlap: Overlap::BufferAll,
        };
        ctx.request(Command::BackfillSchedule(command), Purpose::Any);
    }
}

fn found(ctx: &mut Context, namespace: &str, name: &str) -> Option<ScheduleView> {
    Schedules::of(&mut ctx.fold.machine).show(namespace, name).ok()
}

fn pause(ctx: &mut Context, namespace: &str, name: &str, paused: bool) {
    let command = PauseSchedule { namespace: namespace.to_owned(), name: name.to_owned(), paused };
    ctx.request(Command::PauseSchedule(command), Purpose::Any);
}
