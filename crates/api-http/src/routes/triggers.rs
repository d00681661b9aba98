//! Triggers.
//!
//! For: the operations on triggers. Not for: what they do with events (the machine does that).
//! Invariant: an answer to a change is sent after its command is durable.

use consort_api::triggers::{DeleteTrigger, ListTriggers, PauseTrigger, ResumeTrigger, SetTrigger, ShowTrigger};
use consort_engine::EventBus;

use crate::{
    answer::ResponseBody,
    convert, convert_events,
    request::RequestContext,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<ListTriggers, _>(list),
        route::<SetTrigger, _>(set),
        route::<ShowTrigger, _>(show),
        route::<DeleteTrigger, _>(delete),
        route::<PauseTrigger, _>(pause),
        route::<ResumeTrigger, _>(resume),
    ]
}

async fn list(request: RequestContext<ListTriggers>) -> Handled<ListTriggers> {
    let triggers = EventBus::of(request.engine()).triggers(&request.namespace).await?;
    Ok(ResponseBody::Reply(convert::items(triggers, convert_events::trigger)))
}

async fn set(request: RequestContext<SetTrigger>) -> Handled<SetTrigger> {
    let trigger = convert_events::trigger_text(request.body.clone())?;
    EventBus::of(request.engine()).set_trigger(&request.namespace, &request.params.name, &trigger).await?;
    Ok(ResponseBody::Reply(()))
}

async fn show(request: RequestContext<ShowTrigger>) -> Handled<ShowTrigger> {
    let found = EventBus::of(request.engine()).trigger(&request.namespace, &request.params.name).await?;
    Ok(ResponseBody::Reply(convert_events::trigger(found)))
}

async fn delete(request: RequestContext<DeleteTrigger>) -> Handled<DeleteTrigger> {
    EventBus::of(request.engine()).delete_trigger(&request.namespace, &request.params.name).await?;
    Ok(ResponseBody::Reply(()))
}

async fn pause(request: RequestContext<PauseTrigger>) -> Handled<PauseTrigger> {
    EventBus::of(request.engine()).pause_trigger(&request.namespace, &request.params.name, true).await?;
    Ok(ResponseBody::Reply(()))
}

async fn resume(request: RequestContext<ResumeTrigger>) -> Handled<ResumeTrigger> {
    EventBus::of(request.engine()).pause_trigger(&request.namespace, &request.params.name, false).await?;
    Ok(ResponseBody::Reply(()))
}
