//! Chaos: everything that fails from outside.
//!
//! For: choosing crashes, faults of disk and store, clock leaps, and instances that misbehave as a whole. Not for:
//! lost or late messages (the network's delays), or what one attempt does wrong (see `worker`).
//! Invariant: once faults have ended, only the wall clock still leaps.

use crate::{
    clock::SECOND,
    context::Context,
    event::{DiskFault, Event, Misbehaviour},
    host::End,
    plan::{Checked, InjectedBug},
};

/// Something fails, and later something else.
pub(crate) fn step(ctx: &mut Context) -> Checked {
    if ctx.is_quiescent() {
        return Ok(());
    }
    let pause = ctx.random.span(SECOND / 4, ctx.faults.pause);
    ctx.at(pause, Event::Fault);
    match ctx.random.below(12) {
        0 | 1 if ctx.faults.crashes => ctx.post(Event::Crash { end: End::PowerCut, why: "power cuts" }),
        2 if ctx.faults.crashes => ctx.post(Event::Crash { end: End::Killed, why: "kills" }),
        3 | 4 if ctx.faults.crashes && !ctx.faults.far_log => {
            let n = ctx.random.between(1, 3);
            ctx.host.control.cut_at(n);
        }
        5 if ctx.faults.crashes => ctx.post(Event::Crash { end: End::Stopped, why: "stops" }),
        6 if ctx.faults.sync_errors => {
            ctx.figures.fault("failed syncs");
            let n = ctx.random.between(1, 3);
            ctx.post(Event::DiskFault(DiskFault::FailSync(n)));
        }
        7 if ctx.faults.store_errors => {
            ctx.figures.fault("store errors");
            ctx.post(Event::DiskFault(DiskFault::FailStore));
        }
        8 | 9 if ctx.faults.clock_jumps => ctx.post(Event::ClockLeap),
        10 if ctx.faults.slow_disk => {
            ctx.figures.fault("slow disk");
            let span = ctx.random.span(SECOND, 30 * SECOND);
            ctx.post(Event::DiskFault(DiskFault::Slow(span)));
        }
        _ => misbehave(ctx),
    }
    Ok(())
}

/// The wall clock leaps.
pub(crate) fn leap(ctx: &mut Context) -> Checked {
    let by = ctx.random.span(1_000, 7_200 * SECOND) as i64;
    let forward = ctx.random.chance(500);
    ctx.clock.leap(if forward { by } else { -by });
    ctx.figures.fault(if forward { "clock leaps" } else { "clock goes back" });
    ctx.wake(10);
    if forward && ctx.has_bug(InjectedBug::LeaseByClock) {
        ctx.post(Event::LeasesExpire);
    }
    Ok(())
}

/// One of the instances misbehaves as a whole.
fn misbehave(ctx: &mut Context) {
    let instance = ctx.random.below(ctx.roster.0.len() as u64) as usize;
    let how = match ctx.random.below(3) {
        0 => Misbehaviour::Dies,
        1 => Misbehaviour::LosesConnection,
        _ => Misbehaviour::FallsSilent,
    };
    ctx.post(Event::Misbehave { instance, how });
}
