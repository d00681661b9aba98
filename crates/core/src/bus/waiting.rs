//! Who waits for events: the rows of steps that wait, by topic and by step.
//!
//! For: beginning and ending to wait. Not for: showing events to steps (see `waiters`).
//! Invariant: a step that waits has one row of each kind, and is counted in the stream of its namespace.

use consort_types::{Result, StepInstanceId};

use crate::{
    bus::{
        keys::EventWaiterKey,
        rows::{EventStream, EventWait, WaitsSince},
        stream,
    },
    context::ApplyContext,
};

/// A step waits for the next event of a topic, or of a pattern of topics.
pub(crate) fn wait(ctx: &mut ApplyContext<'_>, namespace: &str, topic: String, task: StepInstanceId) -> Result<()> {
    let mut stream = stream::stream(ctx.state, namespace)?;
    if stream.waiters == 0 {
        (stream.told, stream.telling) = (stream.last, None);
    }
    stream.waiters += 1;
    let key = EventWaiterKey::of(namespace, &topic, task);
    ctx.state.tables.event_waiters.insert_new(key, WaitsSince { position: stream.last });
    ctx.state.tables.event_waits.insert_new(task, EventWait { namespace: namespace.to_owned(), topic });
    stream::put_stream(ctx, namespace, stream);
    Ok(())
}

/// A step waits no more, if it did.
pub(crate) fn leave(ctx: &mut ApplyContext<'_>, task: StepInstanceId) -> Result<()> {
    let Some(EventWait { namespace, topic }) = ctx.state.tables.event_waits.get(&task)? else { return Ok(()) };
    let mut stream = stream::stream(ctx.state, &namespace)?;
    remove(ctx, &mut stream, &EventWaiterKey::of(&namespace, &topic, task));
    stream::put_stream(ctx, &namespace, stream);
    Ok(())
}

/// Forgets a step that waits.
pub(crate) fn remove(ctx: &mut ApplyContext<'_>, stream: &mut EventStream, key: &EventWaiterKey) {
    assert!(stream.waiters > 0, "more steps leave than wait for events of `{}`", key.namespace);
    stream.waiters -= 1;
    ctx.state.tables.event_waiters.delete(key);
    ctx.state.tables.event_waits.delete(&key.task);
}
