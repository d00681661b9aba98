//! `publish` steps: an event that is published in the record in which its step completes.
//!
//! For: making the event of a step. Not for: what an event brings about (see `bus`).
//! Invariant: the event and the outcome of the step are one record; an event that cannot be published fails the step and
//! leaves nothing. By default source and id name the run and the step instance, so no instance publishes twice.

use consort_types::{Code, Error, Payload, Result, StepInstanceId, event::EventAttributes};
use consort_workflow::Template;
use serde_json::{Map, Value, json};

use crate::{
    bus::{
        publish::{Published, publish_made},
        rows::NewEvent,
    },
    context::ApplyContext,
    encode::encode,
    run::{
        environment::{self, in_expression},
        instance,
        locate::StepRef,
        rows::step::Step,
    },
};

pub(crate) fn begin_publish(
    ctx: &mut ApplyContext<'_>,
    step_ref: &StepRef,
    task: StepInstanceId,
    step: Step,
    event: &Template,
) -> Result<()> {
    let given = environment::evaluate(ctx.state, step_ref, task, event);
    let (attributes, data) = given.and_then(|given| read(task, given)).map_err(|e| in_expression("publish", e))?;
    let data = data.map(|data| ctx.store_payload("data of the event", data)).transpose()?;
    let event = NewEvent { attributes, data };
    let published = publish_made(ctx, &step_ref.run.namespace, &event)?;
    let output = output(ctx, &event.attributes, &published)?;
    instance::end_at_once(ctx, task, step, output);
    Ok(())
}

/// The event that the values of a step say.
fn read(task: StepInstanceId, given: Value) -> Result<(EventAttributes, Option<Vec<u8>>)> {
    let Value::Object(mut given) = given else {
        return Err(Error::new(Code::BadEvent, "the event is no map").hint("give it a `type`, and what else it has"));
    };
    let data = given.remove("data").map(|data| encode(&data));
    let kind = text(&mut given, "type")?.unwrap_or_default();
    let attributes = EventAttributes {
        id: text(&mut given, "id")?.unwrap_or_else(|| task.to_string()),
        source: text(&mut given, "source")?.unwrap_or_else(|| format!("/runs/{}", task.run)),
        topic: text(&mut given, "topic")?.unwrap_or_else(|| kind.clone()),
        kind,
        subject: text(&mut given, "subject")?,
        ..EventAttributes::default()
    };
    attributes.check()?;
    Ok((attributes, data))
}

/// An attribute; null is as if it were not given, and a number is as it is written.
fn text(given: &mut Map<String, Value>, name: &str) -> Result<Option<String>> {
    match given.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(_) => Err(Error::new(Code::BadEvent, format!("the `{name}` of the event is no text"))
            .hint("put lists and maps into `data`")),
    }
}

fn output(ctx: &mut ApplyContext<'_>, attributes: &EventAttributes, published: &[Published]) -> Result<Payload> {
    let at = published.first();
    let output = json!({
        "id": attributes.id,
        "source": attributes.source,
        "type": attributes.kind,
        "topic": attributes.topic,
        "position": at.map(|at| at.position.to_string()),
        "deduplicated": at.is_some_and(|at| at.deduplicated),
    });
    ctx.store_payload("output", encode(&output))
}
