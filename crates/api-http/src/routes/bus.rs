//! Events: publishing, reading and following, and how long they are kept.
//!
//! For: the operations on events. Not for: subscriptions and triggers (see there).
//! Invariant: a watch leaves out no event and shows none twice, from the cursor on; where the retention was faster, it
//! ends with that error.

use std::sync::Arc;

use consort_api::events::{
    self as api, EventData, ListEvents, PublishEvents, SetEventRetention, ShowEvent, ShowEventRetention, WatchEvents,
};
use consort_engine::{
    EventBus, WatchedEvent,
    view::{EventRetention, StartAt},
};
use consort_types::{Result, Time};
use futures::StreamExt as _;

use super::{events, runs::whole};
use crate::{
    answer::ResponseBody,
    convert_events as convert,
    problem::Problem,
    request::RequestContext,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<PublishEvents, _>(publish),
        route::<ListEvents, _>(list),
        route::<WatchEvents, _>(watch),
        route::<ShowEventRetention, _>(retention),
        route::<SetEventRetention, _>(set_retention),
        route::<ShowEvent, _>(show),
        route::<EventData, _>(data),
    ]
}

async fn publish(request: RequestContext<PublishEvents>) -> Handled<PublishEvents> {
    let events = request.body.events.iter().cloned().map(convert::new_event).collect::<Result<Vec<_>>>()?;
    Ok(ResponseBody::Reply(convert::published(
        EventBus::of(request.engine()).publish(&request.namespace, events).await?,
    )))
}

fn instant(text: Option<&str>) -> Result<Option<Time>> {
    text.map(Time::parse_rfc3339).transpose()
}

async fn list(request: RequestContext<ListEvents>) -> Handled<ListEvents> {
    let api::ListEventsParams { topic, after, since, limit } = request.params.clone();
    let from = convert::start_at(None, after.as_deref(), instant(since.as_deref())?, Some(StartAt::All))?;
    let page = EventBus::of(request.engine()).events(&request.namespace, topic, from, limit).await?;
    Ok(ResponseBody::Reply(convert::event_page(page)))
}

async fn watch(request: RequestContext<WatchEvents>) -> Handled<WatchEvents> {
    let api::WatchEventsParams { topic, after, since, last_event_id } = request.params.clone();
    let last = last_event_id.as_deref().filter(|last| !last.is_empty());
    let from = match last {
        Some(last) => StartAt::After(last.parse()?),
        None => convert::start_at(None, after.as_deref(), instant(since.as_deref())?, Some(StartAt::New))?,
    };
    let watch = EventBus::of(request.engine()).watch_events(&request.namespace, topic, from).await?;
    Ok(ResponseBody::Raw(events::stream(watch.into_stream().map(watched), request.closing)))
}

/// An event with its id.
fn watched(event: Result<WatchedEvent>) -> (api::WatchedEvent, Option<String>) {
    match event {
        Ok(WatchedEvent::Event(event)) => {
            let id = event.position.to_string();
            (api::WatchedEvent::Event(Box::new(convert::event(Arc::unwrap_or_clone(event)))), Some(id))
        }
        Ok(WatchedEvent::Seen(position)) => {
            (api::WatchedEvent::Seen(api::SeenEvents { position }), Some(position.to_string()))
        }
        Err(error) => (api::WatchedEvent::Error(Problem::from(error).document()), None),
    }
}

async fn show(request: RequestContext<ShowEvent>) -> Handled<ShowEvent> {
    let event = EventBus::of(request.engine()).event(&request.namespace, request.params.position).await?;
    Ok(ResponseBody::Reply(convert::event(event)))
}

async fn data(request: RequestContext<EventData>) -> Handled<EventData> {
    let data = EventBus::of(request.engine()).event_data(&request.namespace, request.params.position).await?;
    Ok(whole(&request, data).await?)
}

async fn retention(request: RequestContext<ShowEventRetention>) -> Handled<ShowEventRetention> {
    Ok(ResponseBody::Reply(convert::stream(EventBus::of(request.engine()).event_stream(&request.namespace).await?)))
}

async fn set_retention(request: RequestContext<SetEventRetention>) -> Handled<SetEventRetention> {
    let api::EventRetention { age, bytes, count } = request.body;
    EventBus::of(request.engine())
        .set_event_retention(&request.namespace, EventRetention { age, bytes, count })
        .await?;
    Ok(ResponseBody::Reply(()))
}
