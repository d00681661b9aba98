//! `SetEventRetention`, and the removal of old events, some in each record.
//!
//! For: the command, and keeping a namespace within its bounds of age, bytes and count. Not for: runs (see `quota`).
//! Invariant: the oldest events go first, and the id of an event goes with it; while a namespace keeps more than it
//! may, a timer is armed that removes more.

use consort_types::{Code, Error, Name, Result, Span, Time};
use minicbor::{Decode, Encode};

use crate::{
    bus::{
        keys::{EventIdKey, EventKey, EventList, EventListKey},
        rows::{EventRetention, EventStream, StoredEvent},
        schedule, stream,
    },
    context::ApplyContext,
};

/// Sets how long and how many events a namespace keeps.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SetEventRetention {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// What it keeps.
    #[n(1)]
    pub keep: EventRetention,
}

impl SetEventRetention {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        let EventRetention { age, bytes, count } = self.keep;
        if age == Some(Span::ZERO) || bytes == Some(0) || count == Some(0) {
            return Err(Error::new(Code::BadRequest, "a retention of nothing would keep no event")
                .hint("give numbers above zero; leave a bound out to keep events whatever it would say"));
        }
        Ok(())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let mut stream = stream::stream(ctx.state, &self.namespace)?;
        if stream.retention == Some(self.keep) {
            return Ok(());
        }
        stream.retention = Some(self.keep);
        if let Some(due) = stream.age_due.take() {
            schedule::unschedule(ctx, &EventListKey::due(EventList::Age, due, &self.namespace, ""))?;
        }
        let page = ctx.page();
        trim(ctx, &self.namespace, &mut stream, page)?;
        stream::put_stream(ctx, &self.namespace, stream);
        Ok(())
    }
}

/// Events were added: as many of the oldest go as came, and one more each, so that an excess shrinks.
pub(crate) fn published(
    ctx: &mut ApplyContext<'_>,
    namespace: &str,
    stream: &mut EventStream,
    added: usize,
) -> Result<()> {
    trim(ctx, namespace, stream, 2 * added)
}

/// The oldest event may have reached its age.
pub(crate) fn aged(ctx: &mut ApplyContext<'_>, namespace: &str) -> Result<()> {
    let mut stream = stream::stream(ctx.state, namespace)?;
    stream.age_due = None;
    trim_page(ctx, namespace, stream)
}

/// More is to be removed.
pub(crate) fn go_on(ctx: &mut ApplyContext<'_>, namespace: &str) -> Result<()> {
    let mut stream = stream::stream(ctx.state, namespace)?;
    stream.trimming = false;
    trim_page(ctx, namespace, stream)
}

fn trim_page(ctx: &mut ApplyContext<'_>, namespace: &str, mut stream: EventStream) -> Result<()> {
    let page = ctx.page();
    trim(ctx, namespace, &mut stream, page)?;
    stream::put_stream(ctx, namespace, stream);
    Ok(())
}

/// Removes at most `max` events, and arms a timer for the rest, or for the age of the oldest that is left.
fn trim(ctx: &mut ApplyContext<'_>, namespace: &str, stream: &mut EventStream, max: usize) -> Result<()> {
    let keep = stream.retention.unwrap_or_default();
    // One more than may go, so that the oldest that is left is known.
    for (at, (position, event)) in
        stream::events_after(ctx.state, namespace, stream.trimmed, max + 1)?.into_iter().enumerate()
    {
        if !is_over(keep, stream, &event, ctx.now) {
            arm_age(ctx, namespace, stream, keep, event.published);
            return Ok(());
        }
        // What triggers have not seen yet stays until they have: a timer is armed that shows it, and then removes it.
        if stream.triggers > 0 && position > stream.fired {
            return Ok(());
        }
        // The same holds for steps that wait.
        if stream.waiters > 0 && position > stream.told {
            return Ok(());
        }
        if at == max {
            break;
        }
        ctx.charge(1);
        stream.count -= 1;
        stream.bytes -= event.bytes();
        stream.trimmed = position;
        let attributes = &event.attributes;
        ctx.state.tables.event_ids.delete(&EventIdKey::new(namespace, &attributes.source, &attributes.id));
        ctx.state.tables.events.delete(&EventKey::new(namespace, position));
        if let Some(data) = &event.data {
            ctx.release(data)?;
        }
    }
    if stream.count > 0 && !stream.trimming {
        stream.trimming = true;
        schedule::schedule(ctx, EventListKey::due(EventList::Trim, ctx.now, namespace, ""));
    }
    Ok(())
}

/// Whether the oldest event is one too many.
fn is_over(keep: EventRetention, stream: &EventStream, oldest: &StoredEvent, now: Time) -> bool {
    keep.count.is_some_and(|count| stream.count > count)
        || keep.bytes.is_some_and(|bytes| stream.bytes > bytes)
        || keep.age.is_some_and(|age| oldest.published.after(age) <= now)
}

/// The age of the oldest event is looked at again when it is over.
fn arm_age(
    ctx: &mut ApplyContext<'_>,
    namespace: &str,
    stream: &mut EventStream,
    keep: EventRetention,
    published: Time,
) {
    if let (Some(age), None) = (keep.age, stream.age_due) {
        let due = published.after(age);
        stream.age_due = Some(due);
        schedule::schedule(ctx, EventListKey::due(EventList::Age, due, namespace, ""));
    }
}
