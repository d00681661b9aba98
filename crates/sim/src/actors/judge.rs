//! The judge: the end of faults, and waiting for the end of all runs.
//!
//! For: entering quiescence, liveness and late timers. Not for: what must hold at the end (see `verdict`), or with
//! each record (see `oracle`).
//! Invariant: a simulation ends only when all has been quiet for a while, or a law is broken.

use consort_types::Time;

use crate::{
    clock::SECOND,
    context::{Context, Quiescence},
    event::Event,
    plan::{Checked, InjectedBug, Law, Violation},
    roster::NAMESPACES,
};

/// How long, on virtual time, runs may take to end once faults have ended.
const PATIENCE: u64 = 100 * 3_600 * SECOND;
/// Of a thousand looks in quiescence, those at which the wall clock leaps: timers need no clock that is right.
const LEAPS: u64 = 30;
/// How long all must have been quiet.
const QUIET: u64 = 100 * SECOND;
/// How late a timer may be in quiescence.
const LATE: u64 = 600 * SECOND;

/// The judge.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    settled_since: Option<u64>,
}

impl Judge {
    /// Looks whether all runs have ended; `started` says whether all that are wanted were started.
    pub(crate) fn step(&mut self, ctx: &mut Context, started: bool) -> Checked {
        let quiescent = enter_quiescence(ctx);
        let idle = ctx.fold.active().is_empty() && ctx.fold.locks_are_idle() && ctx.fold.open_ballots() == 0;
        let settled = started && ctx.host.partition.is_some() && idle;
        if self.is_quiet(ctx.now, settled) {
            ctx.post(Event::Finish);
            return Ok(());
        }
        check_timers(ctx, quiescent)?;
        if ctx.faults.clock_jumps && ctx.random.chance(LEAPS) {
            ctx.post(Event::ClockLeap);
        }
        if ctx.now > quiescent.since + PATIENCE {
            return Err(stuck(ctx));
        }
        ctx.at(20 * SECOND, Event::Quiesce);
        Ok(())
    }

    fn is_quiet(&mut self, now: u64, settled: bool) -> bool {
        if !settled {
            self.settled_since = None;
            return false;
        }
        let since = *self.settled_since.get_or_insert(now);
        now > since + QUIET
    }
}

/// Nothing fails any more, agents answer, and every run is to end.
fn enter_quiescence(ctx: &mut Context) -> Quiescence {
    if let Some(quiescent) = ctx.quiescent {
        return quiescent;
    }
    ctx.trace.note(ctx.now, format_args!("quiescence"));
    let quiescent = Quiescence { since: ctx.now, log_time: ctx.fold.machine.now() };
    ctx.quiescent = Some(quiescent);
    ctx.clock.correct();
    ctx.host.disk.fail_sync(u64::MAX);
    ctx.host.store.memory.fail(None);
    ctx.post(Event::Heal);
    ctx.wake(10);
    quiescent
}

/// Timers that are due fire, when nothing is in their way (law 6): a span ends when it is over, whatever the wall
/// clock does. Log time may be slower by a hundredth.
fn check_timers(ctx: &Context, quiescent: Quiescence) -> Checked {
    let quiet_for = ctx.now - quiescent.since;
    if quiet_for < 2 * LATE || ctx.host.partition.is_none() {
        return Ok(());
    }
    let passed = quiescent.log_time.0 + quiet_for / 100 * 99;
    match ctx.fold.overdue(Time(passed.saturating_sub(LATE))) {
        Some(timer) => Err(Violation::of(6, format!("timer {timer:?} was due long ago"))),
        None => Ok(()),
    }
}

/// Runs do not end: which, and what is open of them.
fn stuck(ctx: &mut Context) -> Violation {
    let active = ctx.fold.active();
    let (mut shown, pending) = (String::new(), ctx.requests.pending() + ctx.results.unstarted());
    for run in active.iter().take(2) {
        for namespace in NAMESPACES {
            if let Ok(steps) = ctx.fold.machine.steps(namespace, *run, None, 100) {
                let open = steps.items.iter().filter(|step| !step.state.is_terminal());
                let open: Vec<_> = open.map(|step| (&step.path, step.state.as_str(), step.attempt)).collect();
                shown = format!("{shown} run {run}: {open:?}");
            }
        }
    }
    let law = if ctx.has_bug(InjectedBug::TaskLost) { Law::Number(8) } else { Law::Liveness };
    let locks = if ctx.fold.locks_are_idle() { "" } else { "; leases or waits do not end" };
    let (runs, ballots) = (active.len(), ctx.fold.open_ballots());
    let what = format!("{runs} runs and {ballots} ballots do not end{locks}; {pending} requests are pending;{shown}");
    Violation { law, what }
}
