//! Pending work: does everything that follows from a record, or leaves it to a later one.
//!
//! For: the one loop that takes work from the context's queue, and the rule for each kind. Not for: the rules.
//! Invariant: ends go first; what can wait is left once the record is long.

use consort_types::Result;

use super::{advance, cancel, close, defer, finish, pause, resume, step};
use crate::{
    bus::{hand, publish},
    context::{ApplyContext, PendingWork},
    key::NamedKey,
    schedule::due,
};

/// Does everything that follows from the record, or leaves it to a later one.
pub(crate) fn drain_pending(ctx: &mut ApplyContext<'_>) -> Result<()> {
    finish::drain_ends(ctx)?;
    while let Some(work) = ctx.next_pending() {
        if defer::must_wait(ctx, &work)? {
            defer::defer(ctx, &work)?;
            continue;
        }
        match work {
            PendingWork::Consider(task) => step::consider(ctx, task)?,
            PendingWork::Begin(task) => step::begin(ctx, task)?,
            PendingWork::Finish(task, outcome) => finish::finish(ctx, task, outcome)?,
            PendingWork::Close(root) => close::root_closed(ctx, root)?,
            PendingWork::Advance(scope) => advance::advance(ctx, scope)?,
            PendingWork::Cancel { run, reason, force } => cancel::cancel_child(ctx, run, &reason, force)?,
            PendingWork::Pause { run, paused } => pause::pause_run(ctx, run, paused)?,
            PendingWork::ScheduledEnded { run, namespace, schedule } => {
                due::run_ended(ctx, run, &NamedKey::of(&namespace, &schedule))?;
            }
            PendingWork::Resume(run) => resume::resume(ctx, run)?,
            PendingWork::HandOut(key) => hand::hand_out(ctx, &key.namespace, &key.name)?,
            PendingWork::DeliveryEnded(run) => hand::run_ended(ctx, run)?,
            PendingWork::Publish { namespace, event } => drop(publish::publish_made(ctx, &namespace, &event)?),
        }
        finish::drain_ends(ctx)?;
    }
    Ok(())
}
