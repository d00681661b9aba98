//! The retention of a namespace, applied to runs that had ended before it was set.
//!
//! For: going through the runs of a namespace, a bounded number in each record, and arming the timers of those that have
//! ended. Not for: deleting (the timers do), nor for runs that end later (see `run::lifecycle`).
//! Invariant: while the table `retaining` has a row, one timer is armed that continues it.

use consort_types::{Result, RunId, Span};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    quota::{
        namespace::{self, namespace_key},
        rows::Retaining,
    },
    registry::agents::PAST,
    run::keys::{ListKey, NO_RUN, OfRun as _, TimerKind, root_task},
};

/// Begins to go through the runs of a namespace, from the newest on.
pub(crate) fn begin(ctx: &mut ApplyContext<'_>, name: &str) -> Result<()> {
    let idle = first(ctx)?.is_none();
    ctx.state.tables.retaining.put(namespace_key(name), Retaining::default());
    if idle {
        arm(ctx);
    }
    Ok(())
}

/// Ends it: ended runs of the namespace are kept.
pub(crate) fn end(ctx: &mut ApplyContext<'_>, name: &str) {
    ctx.state.tables.retaining.delete(&namespace_key(name));
}

/// The timer has fired: looks at a page of runs.
pub(crate) fn go_on(ctx: &mut ApplyContext<'_>) -> Result<()> {
    let Some((key, row)) = first(ctx)? else { return Ok(()) };
    let keep = namespace::namespace(ctx.state, &key.namespace)?.retention;
    let after = match keep {
        Some(keep) => page(ctx, &key.namespace, row, keep)?,
        None => None,
    };
    match after {
        Some(after) => ctx.state.tables.retaining.put(key, Retaining { after: Some(after) }),
        None => ctx.state.tables.retaining.delete(&key),
    }
    if first(ctx)?.is_some() {
        arm(ctx);
    }
    Ok(())
}

fn first(ctx: &mut ApplyContext<'_>) -> Result<Option<(NamedKey, Retaining)>> {
    Ok(ctx.state.tables.retaining.range(&namespace_key(""), &namespace_key(PAST), 1)?.pop())
}

fn arm(ctx: &mut ApplyContext<'_>) {
    ctx.arm(ctx.now, root_task(NO_RUN), TimerKind::Retain, 0);
}

/// Arms the timers of a page of runs; returns the last of them, where there may be more.
fn page(ctx: &mut ApplyContext<'_>, name: &str, row: Retaining, keep: Span) -> Result<Option<RunId>> {
    let mut from = ListKey { namespace: name.to_owned(), turned: RunId([0; 16]) };
    let to = ListKey { namespace: name.to_owned(), turned: RunId([0xff; 16]) };
    // The run itself comes first, where it still is there, and is passed over.
    let limit = ctx.page() + usize::from(row.after.is_some());
    if let Some(after) = row.after {
        from = ListKey::of(name, after);
    }
    let keys = ctx.state.tables.listing.range(&from, &to, limit)?;
    let more = keys.len() == limit;
    let mut last = None;
    for (key, _) in keys {
        let id = key.run();
        last = Some(id);
        if Some(id) == row.after {
            continue;
        }
        ctx.charge(1);
        let Some(run) = ctx.state.tables.runs.get_shared(&id)? else { continue };
        if let (Some(ended), None) = (run.ended, run.parent) {
            let due = ended.after(keep).max(ctx.now);
            ctx.arm(due, root_task(id), TimerKind::Retention, 0);
        }
    }
    Ok(last.filter(|_| more))
}
