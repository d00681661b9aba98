//! What triggers do: each event that is published is shown to each trigger once.
//!
//! For: the order in which triggers see events, filters, and what they start or signal. Not for: their settings (see
//! `trigger`).
//! Invariant: a trigger sees the events in their order, each once; what it does is in the record that shows it the event,
//! which is that of the publication or a later one. A failure is counted and noted, and the next event is shown.

use std::sync::Arc;

use consort_types::{Code, Error, Result, RunId, event::Position, event::topic_matches, limits};
use consort_workflow::{Environment, Expression};
use serde_json::{Map, Value, json};

use crate::{
    bus::{
        keys::{EventList, EventListKey},
        retention,
        rows::{EventStream, Seen, Showing, StoredEvent, Trigger, TriggerAction, TriggerFailure},
        schedule, stream,
        trigger::seen_by,
    },
    context::{ApplyContext, LIGHT_PER_UNIT},
    encode::encode,
    fatal::split_fatal,
    key::NamedKey,
    latest,
    registry::agents::PAST,
    run::{made::Made, signal},
};

/// Events that are read at once.
const PAGE: usize = 64;

/// Events were published: the triggers see as many as the record has room for.
pub(crate) fn published(ctx: &mut ApplyContext<'_>, namespace: &str, stream: &mut EventStream) -> Result<()> {
    if stream.triggers == 0 {
        (stream.fired, stream.showing) = (stream.last, None);
        return Ok(());
    }
    advance(ctx, namespace, stream)
}

/// The triggers see more events.
pub(crate) fn go_on(ctx: &mut ApplyContext<'_>, namespace: &str) -> Result<()> {
    let mut stream = stream::stream(ctx.state, namespace)?;
    stream.firing = false;
    published(ctx, namespace, &mut stream)?;
    // What the triggers had not seen was kept for them.
    retention::published(ctx, namespace, &mut stream, PAGE)?;
    stream::put_stream(ctx, namespace, stream);
    Ok(())
}

fn advance(ctx: &mut ApplyContext<'_>, namespace: &str, stream: &mut EventStream) -> Result<()> {
    let mut triggers = at_work(ctx, namespace)?;
    ctx.charge(triggers.len() / LIGHT_PER_UNIT);
    loop {
        let events = stream::events_after(ctx.state, namespace, stream.fired, PAGE)?;
        ctx.charge(events.len() / LIGHT_PER_UNIT);
        for (position, event) in &events {
            let mut shown = Shown { position: *position, event, value: None };
            for (name, trigger) in &mut triggers {
                let seen = stream.showing.as_ref().is_some_and(|showing| *name <= showing.by);
                if seen || !shown.concerns(trigger) {
                    continue;
                }
                if ctx.room() == 0 {
                    leave(ctx, namespace, stream);
                    return Ok(());
                }
                shown.to(ctx, namespace, name, trigger)?;
                stream.showing = Some(Showing { position: *position, by: name.clone() });
            }
            (stream.fired, stream.showing) = (*position, None);
        }
        if events.len() < PAGE {
            return Ok(());
        }
        if ctx.room() == 0 {
            leave(ctx, namespace, stream);
            return Ok(());
        }
    }
}

/// Leaves what is left to the next record.
fn leave(ctx: &mut ApplyContext<'_>, namespace: &str, stream: &mut EventStream) {
    if !stream.firing {
        stream.firing = true;
        schedule::schedule(ctx, EventListKey::due(EventList::Fire, ctx.now, namespace, ""));
    }
}

/// The triggers that see each event as it comes, by name.
fn at_work(ctx: &mut ApplyContext<'_>, namespace: &str) -> Result<Vec<(String, Trigger)>> {
    let (from, to) = (NamedKey::of(namespace, ""), NamedKey::of(namespace, PAST));
    let rows = ctx.state.tables.triggers.range(&from, &to, limits::EVENT_TRIGGERS_MAX)?;
    let at_work = rows.into_iter().filter(|(_, trigger)| !trigger.paused && trigger.behind.is_none());
    Ok(at_work.map(|(key, trigger)| (key.name, trigger)).collect())
}

/// A trigger that was resumed sees what the others have seen before.
pub(crate) fn catch_up(ctx: &mut ApplyContext<'_>, namespace: &str, name: &str) -> Result<()> {
    let key = NamedKey::of(namespace, name);
    let Some(mut trigger) = ctx.state.tables.triggers.get(&key)?.filter(|trigger| !trigger.paused) else {
        return Ok(());
    };
    let Some(mut behind) = trigger.behind else { return Ok(()) };
    let stream = stream::stream(ctx.state, namespace)?;
    let end = seen_by(&stream, name);
    let events = stream::events_after(ctx.state, namespace, behind.position, PAGE)?;
    let mut caught_up = events.len() < PAGE;
    ctx.charge(events.len() / LIGHT_PER_UNIT);
    for (position, event) in &events {
        caught_up |= *position > end;
        if *position > end {
            break;
        }
        let mut shown = Shown { position: *position, event, value: None };
        let concerns = shown.concerns(&trigger);
        if concerns && ctx.room() == 0 {
            caught_up = false;
            break;
        }
        // What lies between is what the retention has removed.
        trigger.missed += event.ordinal - 1 - behind.ordinal;
        behind = Seen { position: *position, ordinal: event.ordinal };
        if concerns {
            shown.to(ctx, namespace, name, &mut trigger)?;
        }
    }
    trigger.behind = Some(behind).filter(|_| !caught_up);
    ctx.state.tables.triggers.put(key, trigger);
    if !caught_up {
        schedule::schedule(ctx, EventListKey::due(EventList::CatchUp, ctx.now, namespace, name));
    }
    Ok(())
}

/// What came of showing an event to a trigger.
enum Acted {
    Fired,
    Filtered,
}

/// An event that is shown to triggers.
struct Shown<'e> {
    position: Position,
    event: &'e StoredEvent,
    /// What expressions see, once one needs it.
    value: Option<Arc<Value>>,
}

impl Shown<'_> {
    /// Whether a trigger looks at it.
    fn concerns(&self, trigger: &Trigger) -> bool {
        self.position > trigger.since && topic_matches(&trigger.settings.pattern, &self.event.attributes.topic)
    }

    /// The trigger sees it, and does what it does.
    fn to(&mut self, ctx: &mut ApplyContext<'_>, namespace: &str, name: &str, trigger: &mut Trigger) -> Result<()> {
        ctx.charge(1);
        match split_fatal(self.act(ctx, namespace, name, trigger))? {
            Ok(Acted::Fired) => (trigger.fired, trigger.last_fired) = (trigger.fired + 1, Some(ctx.now)),
            Ok(Acted::Filtered) => trigger.filtered += 1,
            Err(error) => {
                trigger.failed += 1;
                let failure = TriggerFailure { position: self.position, at: ctx.now, error: latest::brief(error) };
                latest::push(&mut trigger.failures, failure, limits::EVENT_TRIGGER_FAILURES_MAX);
            }
        }
        ctx.state.tables.triggers.put(NamedKey::of(namespace, name), trigger.clone());
        Ok(())
    }

    /// An error has changed nothing.
    fn act(&mut self, ctx: &mut ApplyContext<'_>, namespace: &str, name: &str, trigger: &Trigger) -> Result<Acted> {
        if let Some(filter) = &trigger.settings.filter {
            let environment = self.environment(ctx)?;
            let passes = filter.evaluate_bool(&environment);
            ctx.state.charge_cost(environment.meter.cost());
            if !passes? {
                return Ok(Acted::Filtered);
            }
        }
        match &trigger.settings.action {
            TriggerAction::Start { workflow, version, input } => {
                self.start(ctx, (namespace, name), (workflow, version.as_deref()), input.as_ref())?;
            }
            TriggerAction::Signal { run, name: signal, payload } => {
                self.signal(ctx, namespace, run, signal, payload.as_ref())?;
            }
        }
        Ok(Acted::Fired)
    }

    fn environment(&mut self, ctx: &mut ApplyContext<'_>) -> Result<Environment> {
        if self.value.is_none() {
            self.value = Some(Arc::new(value_of(ctx, self.position, self.event)?));
        }
        Ok(Environment { event: self.value.clone(), ..Environment::default() })
    }

    /// The value of an expression; without one, the data of the event, or else `empty`.
    fn evaluate(&mut self, ctx: &mut ApplyContext<'_>, expression: Option<&Expression>, empty: Value) -> Result<Value> {
        match expression {
            Some(expression) => {
                let environment = self.environment(ctx)?;
                let value = expression.evaluate(&environment);
                ctx.state.charge_cost(environment.meter.cost());
                value
            }
            None => Ok(data_of(ctx, self.event)?.unwrap_or(empty)),
        }
    }

    fn start(
        &mut self,
        ctx: &mut ApplyContext<'_>,
        (namespace, trigger): (&str, &str),
        (workflow, version): (&str, Option<&str>),
        input: Option<&Expression>,
    ) -> Result<()> {
        let given = self.evaluate(ctx, input, json!({}))?;
        let labels = [("trigger".to_owned(), trigger.to_owned()), ("event".to_owned(), self.position.to_string())];
        let key = format!("trigger:{trigger}:{}", self.position);
        Made { namespace, workflow, version, key, labels: labels.into() }.start(ctx, &given).map(drop)
    }

    fn signal(
        &mut self,
        ctx: &mut ApplyContext<'_>,
        namespace: &str,
        run: &Expression,
        name: &str,
        payload: Option<&Expression>,
    ) -> Result<()> {
        let id = self.evaluate(ctx, Some(run), Value::Null)?;
        let Some(text) = id.as_str() else {
            let message = format!("`{}` gives {id}, which is not the id of a run", run.source());
            return Err(Error::new(Code::BadTrigger, message).hint("give the id as a text, such as `event.data.run`"));
        };
        let id: RunId = text.parse()?;
        signal::check_signal(ctx.state, namespace, id)?;
        let payload = encode(&self.evaluate(ctx, payload, Value::Null)?);
        let payload = ctx.store_payload("payload", payload)?;
        let n = ctx.next_ordinal();
        signal::signal(ctx, id, name, &payload, n)?;
        // Its rows have counted themselves; that of the making is given back.
        ctx.release(&payload)
    }
}

fn data_of(ctx: &mut ApplyContext<'_>, event: &StoredEvent) -> Result<Option<Value>> {
    event.data.as_ref().map(|data| ctx.state.value_of("the data of an event", data)).transpose()
}

/// What expressions see of an event: its attributes by their names, its data, and its position.
pub(super) fn value_of(ctx: &mut ApplyContext<'_>, position: Position, event: &StoredEvent) -> Result<Value> {
    let attributes = &event.attributes;
    let mut value = Map::new();
    for (name, extension) in &attributes.extensions {
        value.insert(name.clone(), crate::encode::to_value(extension));
    }
    let texts = [
        ("id", Some(&attributes.id)),
        ("source", Some(&attributes.source)),
        ("type", Some(&attributes.kind)),
        ("topic", Some(&attributes.topic)),
        ("subject", attributes.subject.as_ref()),
        ("time", attributes.time.as_ref()),
        ("datacontenttype", attributes.datacontenttype.as_ref()),
        ("dataschema", attributes.dataschema.as_ref()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            value.insert(name.to_owned(), text.as_str().into());
        }
    }
    value.insert("data".to_owned(), data_of(ctx, event)?.unwrap_or_default());
    value.insert("position".to_owned(), position.to_string().into());
    value.insert("published".to_owned(), event.published.to_string().into());
    Ok(Value::Object(value))
}
