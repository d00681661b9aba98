//! Steps that wait for an event: each event that is published is shown to those that wait for its topic.
//!
//! For: filters, and the order in which steps are shown events. Not for: who waits (see `waiting`), and the step itself
//! (see `run::wait`).
//! Invariant: a step is shown each event behind the one at which it began to wait, in their order, once, until one of
//! them ends its wait; the retention removes no event before that. What is too much for one record continues with a timer
//! that is due at once.

use std::sync::Arc;

use consort_types::{Error, Result, StepInstanceId, event::Position, event::topic_matches};
use consort_workflow::{Action, Expression, Wait};
use serde_json::Value;

use crate::{
    bus::{
        fire::value_of,
        keys::{EventList, EventListKey, EventWaiterKey},
        retention,
        rows::{EventStream, StoredEvent},
        schedule, stream, waiting,
    },
    context::{ApplyContext, LIGHT_PER_UNIT, Outcome, PendingWork},
    encode::encode,
    fatal::split_fatal,
    latest,
    run::{environment, locate::locate},
};

/// Events, or steps, that are read at once.
const PAGE: usize = 64;

/// Events were published: the waiting steps are shown as many as the record has room for.
pub(crate) fn published(ctx: &mut ApplyContext<'_>, namespace: &str, stream: &mut EventStream) -> Result<()> {
    while stream.waiters > 0 {
        let events = stream::events_after(ctx.state, namespace, stream.told, PAGE)?;
        ctx.charge(events.len() / LIGHT_PER_UNIT);
        for (position, event) in &events {
            if !show(ctx, stream, &mut Shown { namespace, position: *position, event, value: None })? {
                put_off(ctx, namespace, stream);
                return Ok(());
            }
            (stream.told, stream.telling) = (*position, None);
        }
        if events.len() < PAGE {
            return Ok(());
        }
    }
    (stream.told, stream.telling) = (stream.last, None);
    Ok(())
}

/// The steps are shown more events.
pub(crate) fn go_on(ctx: &mut ApplyContext<'_>, namespace: &str) -> Result<()> {
    let mut stream = stream::stream(ctx.state, namespace)?;
    stream.continues = false;
    published(ctx, namespace, &mut stream)?;
    // What the steps had not been shown was kept for them.
    retention::published(ctx, namespace, &mut stream, PAGE)?;
    stream::put_stream(ctx, namespace, stream);
    Ok(())
}

/// Leaves what is left to the next record.
fn put_off(ctx: &mut ApplyContext<'_>, namespace: &str, stream: &mut EventStream) {
    if !stream.continues {
        stream.continues = true;
        schedule::schedule(ctx, EventListKey::due(EventList::Tell, ctx.now, namespace, ""));
    }
}

/// An event that is shown to steps.
struct Shown<'e> {
    namespace: &'e str,
    position: Position,
    event: &'e StoredEvent,
    /// What expressions see, once one needs it.
    value: Option<Arc<Value>>,
}

/// Shows an event to the steps that wait for its topic: those that name it, and then those with a pattern. `false` where
/// the record has no room for the rest.
fn show(ctx: &mut ApplyContext<'_>, stream: &mut EventStream, shown: &mut Shown<'_>) -> Result<bool> {
    let (namespace, topic) = (shown.namespace, shown.event.attributes.topic.as_str());
    let mut from = stream.telling.take().unwrap_or_else(|| EventWaiterKey::first(namespace, false, topic));
    loop {
        if ctx.room() == 0 {
            stream.telling = Some(from);
            return Ok(false);
        }
        ctx.charge(1);
        let to = if from.is_pattern { past_patterns(namespace) } else { from.past_topic() };
        let page = ctx.state.tables.event_waiters.range(&from, &to, PAGE)?;
        let Some((last, _)) = page.last() else {
            if from.is_pattern {
                return Ok(true);
            }
            from = EventWaiterKey::first(namespace, true, "");
            continue;
        };
        from = last.next();
        for (key, since) in page {
            if key.is_pattern && !topic_matches(&key.topic, topic) {
                from = key.past_topic();
                break;
            }
            if ctx.room() == 0 {
                stream.telling = Some(key);
                return Ok(false);
            }
            if since.position < shown.position {
                shown.to(ctx, stream, &key)?;
            }
        }
    }
}

/// A key behind every step of the namespace that waits for a pattern.
fn past_patterns(namespace: &str) -> EventWaiterKey {
    EventWaiterKey::first(&format!("{namespace}\0"), false, "")
}

impl Shown<'_> {
    /// A step looks at the event: its wait is over, or continues.
    fn to(&mut self, ctx: &mut ApplyContext<'_>, stream: &mut EventStream, key: &EventWaiterKey) -> Result<()> {
        ctx.charge(1);
        match split_fatal(self.passes(ctx, key.task))? {
            Ok(true) => {
                waiting::remove(ctx, stream, key);
                let value = self.value(ctx)?;
                let output = ctx.store_payload("event", encode(&*value));
                ctx.enqueue(PendingWork::Finish(key.task, Outcome::of_output(output)?));
            }
            Ok(false) => {}
            Err(error) => self.note(ctx, key.task, error)?,
        }
        Ok(())
    }

    fn passes(&mut self, ctx: &mut ApplyContext<'_>, task: StepInstanceId) -> Result<bool> {
        let step_ref = locate(ctx.state, task)?;
        let Action::Wait(Wait::Event { filter: Some(filter), .. }) = &step_ref.step().action else { return Ok(true) };
        let filter = Expression::clone(filter);
        let mut environment = environment::environment(ctx.state, &step_ref, task, filter.references())?;
        environment.event = Some(self.value(ctx)?);
        let passes = filter.evaluate_bool(&environment);
        ctx.state.charge_cost(environment.meter.cost());
        passes
    }

    /// An event that a filter cannot be asked about is not the one; what went wrong is shown with the step.
    fn note(&self, ctx: &mut ApplyContext<'_>, task: StepInstanceId, mut error: Error) -> Result<()> {
        let mut step = ctx.state.known_step(task)?;
        error.message = format!("in `filter`, of event `{}`: {}", self.position, error.message);
        step.error = Some(latest::brief(error));
        ctx.put_step(task, step);
        Ok(())
    }

    fn value(&mut self, ctx: &mut ApplyContext<'_>) -> Result<Arc<Value>> {
        if let Some(value) = &self.value {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(value_of(ctx, self.position, self.event)?);
        self.value = Some(Arc::clone(&value));
        Ok(value)
    }
}
