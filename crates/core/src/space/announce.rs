//! The events of a space: its changes and its conflicts, on the event bus of the namespace.
//!
//! For: making those events, where a space is set to have them. Not for: what subscriptions and triggers make of them (see
//! `bus`).
//! Invariant: an event is published in the record of what it tells; its id is the position of that, so there is one. A space
//! without events costs nothing here.

use consort_types::{
    Payload, Result,
    event::{EventAttributes, Position},
    state::Writer,
};
use serde_json::{Map, Value, json};

use crate::{
    bus::rows::NewEvent,
    context::{ApplyContext, PendingWork},
    encode::encode,
    space::rows::{Candidate, Change, ChangeKind, Conflict, Decided, Names, Settlement, Space},
};

/// A key has changed.
pub(crate) fn changed(ctx: &mut ApplyContext<'_>, space: &Space, at: Position, change: &Change) -> Result<()> {
    let Some(names) = &space.announced else { return Ok(()) };
    let kind = match change.kind {
        ChangeKind::Put => "put",
        ChangeKind::Merged => "merged",
        ChangeKind::Deleted => "deleted",
        ChangeKind::Expired => "expired",
        ChangeKind::Decided => "decided",
        ChangeKind::Undecided => "undecided",
    };
    let mut data = Map::from_iter([("change".to_owned(), kind.into()), ("version".to_owned(), at.seq.0.into())]);
    show(&mut data, change.value.as_ref());
    data.insert("writer".to_owned(), writer(&change.by));
    announce(ctx, names, ("changed", at.to_string()), &change.key, data)
}

/// A write had not seen the latest value.
pub(crate) fn conflicted(ctx: &mut ApplyContext<'_>, space: &Space, at: Position, conflict: &Conflict) -> Result<()> {
    let Some(names) = &space.announced else { return Ok(()) };
    let settled = match &conflict.settled {
        Settlement::Rejected => "rejected",
        Settlement::KeptCurrent => "kept_current",
        Settlement::TookIncoming => "took_incoming",
        Settlement::Merged(_) => "merged",
        Settlement::Undecided | Settlement::Decided(_) => "undecided",
    };
    let values: Vec<Value> = conflict.candidates.iter().map(candidate).collect();
    let data =
        json!({ "conflict": at.to_string(), "policy": conflict.policy.as_str(), "settled": settled, "values": values });
    let Value::Object(data) = data else { return Ok(()) };
    // Another value beside those that wait is told again.
    let id = format!("{at}/{}", conflict.candidates.len());
    announce(ctx, names, ("conflict", id), &conflict.key, data)
}

/// A conflict was decided.
pub(crate) fn decided(
    ctx: &mut ApplyContext<'_>,
    space: &Space,
    at: Position,
    key: &str,
    decision: &Decided,
) -> Result<()> {
    let Some(names) = &space.announced else { return Ok(()) };
    let mut data = Map::from_iter([("conflict".to_owned(), at.to_string().into())]);
    show(&mut data, decision.value.as_ref());
    data.insert("writer".to_owned(), writer(&decision.by));
    data.insert("comment".to_owned(), decision.comment.clone().into());
    announce(ctx, names, ("decided", format!("{at}/{}", ctx.seq)), key, data)
}

fn announce(
    ctx: &mut ApplyContext<'_>,
    names: &Names,
    (what, id): (&str, String),
    key: &str,
    mut data: Map<String, Value>,
) -> Result<()> {
    data.insert("space".to_owned(), names.space.clone().into());
    data.insert("key".to_owned(), key.into());
    let mut attributes = EventAttributes {
        id: format!("{what}/{id}"),
        source: format!("/v1/spaces/{}", names.space),
        kind: format!("consort.state.{what}"),
        // A name may have dots, which would begin other segments.
        topic: format!("state.{}.{what}", names.space.replace('.', "/")),
        subject: Some(key.to_owned()),
        ..EventAttributes::default()
    };
    if attributes.check().is_err() {
        attributes.subject = None;
    }
    let data = ctx.store_payload("data of the event", encode(&Value::Object(data)))?;
    let event = NewEvent { attributes, data: Some(data) };
    // Once the command has done its work: what the event brings about sees all of it.
    ctx.enqueue(PendingWork::Publish { namespace: names.namespace.clone(), event: Box::new(event) });
    Ok(())
}

/// A value, or how long it is where it is stored apart.
fn show(data: &mut Map<String, Value>, value: Option<&Payload>) {
    let (name, shown) = match value {
        Some(value) => match value.bytes().and_then(|bytes| serde_json::from_slice(bytes).ok()) {
            Some(shown) => ("value", shown),
            None => ("value_bytes", value.len().into()),
        },
        None => return,
    };
    data.insert(name.to_owned(), shown);
}

fn candidate(candidate: &Candidate) -> Value {
    let mut shown = Map::new();
    show(&mut shown, candidate.value.as_ref());
    shown.insert("version".to_owned(), candidate.version.0.into());
    shown.insert("writer".to_owned(), writer(&candidate.by));
    Value::Object(shown)
}

fn writer(by: &Writer) -> Value {
    json!({ "by": by.by, "run": by.run.map(|run| run.to_string()), "step": by.step })
}
