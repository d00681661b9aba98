//! Questions in the inbox: put before a person, and withdrawn.
//!
//! For: the one place that writes the rows of the inbox. Not for: what is asked (the rules say so), or listing it (see
//! `inbox`).
//! Invariant: a task has at most one question.

use consort_types::{Payload, Result, StepInstanceId};

use crate::{
    context::ApplyContext,
    task::{
        keys::InboxKey,
        rows::{Ask, InboxItem},
    },
};

/// Puts a question about a task before a person.
pub(crate) fn put(
    ctx: &mut ApplyContext<'_>,
    task: StepInstanceId,
    ask: Ask,
    title: String,
    details: Option<Payload>,
) -> Result<()> {
    let key = key_of(ctx, task)?;
    ctx.state.tables.inbox.put(key, InboxItem { since: ctx.now, ask, title, details });
    Ok(())
}

/// Nothing is to be decided about a task any more.
pub(crate) fn withdraw(ctx: &mut ApplyContext<'_>, task: StepInstanceId) -> Result<()> {
    let key = key_of(ctx, task)?;
    ctx.state.tables.inbox.delete(&key);
    Ok(())
}

fn key_of(ctx: &mut ApplyContext<'_>, task: StepInstanceId) -> Result<InboxKey> {
    Ok(InboxKey { namespace: ctx.state.run(task.run)?.namespace, task })
}
