//! Durable subscriptions, their deliveries and their dead letters.
//!
//! For: the operations on subscriptions. Not for: events by themselves (see `bus`).
//! Invariant: an answer to a change is sent after its command is durable.

use consort_api::subscriptions::{
    AckDeliveries, DeleteSubscription, DropDeadLetters, FetchEvents, ListDeadLetters, ListSubscriptions,
    MovedSubscription, NackDeliveries, PauseSubscription, RedriveDeadLetters, ResumeSubscription, SeekSubscription,
    SetSubscription, SettledDeadLetters, ShowSubscription,
};
use consort_engine::{EventBus, FetchRequest, view::StartAt};
use consort_types::{Code, Error, Span};

use crate::{
    answer::ResponseBody,
    convert, convert_events,
    request::RequestContext,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<ListSubscriptions, _>(list),
        route::<SetSubscription, _>(set),
        route::<ShowSubscription, _>(show),
        route::<DeleteSubscription, _>(delete),
        route::<PauseSubscription, _>(pause),
        route::<ResumeSubscription, _>(resume),
        route::<FetchEvents, _>(fetch),
        route::<AckDeliveries, _>(ack),
        route::<NackDeliveries, _>(nack),
        route::<SeekSubscription, _>(seek),
        route::<ListDeadLetters, _>(dead),
        route::<RedriveDeadLetters, _>(redrive),
        route::<DropDeadLetters, _>(drop_dead),
    ]
}

async fn list(request: RequestContext<ListSubscriptions>) -> Handled<ListSubscriptions> {
    let (cursor, limit) = (request.params.cursor.clone(), request.params.limit);
    let page = EventBus::of(request.engine()).subscriptions(&request.namespace, cursor, limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, convert_events::subscription)))
}

async fn set(request: RequestContext<SetSubscription>) -> Handled<SetSubscription> {
    let body = &request.body;
    let start = convert_events::start_at(body.start, body.after.as_deref(), body.since, Some(StartAt::New))?;
    let settings = convert_events::settings(body);
    EventBus::of(request.engine()).set_subscription(&request.namespace, &request.params.name, settings, start).await?;
    Ok(ResponseBody::Reply(()))
}

async fn show(request: RequestContext<ShowSubscription>) -> Handled<ShowSubscription> {
    let found = EventBus::of(request.engine()).subscription(&request.namespace, &request.params.name).await?;
    Ok(ResponseBody::Reply(convert_events::subscription(found)))
}

async fn delete(request: RequestContext<DeleteSubscription>) -> Handled<DeleteSubscription> {
    EventBus::of(request.engine()).delete_subscription(&request.namespace, &request.params.name).await?;
    Ok(ResponseBody::Reply(()))
}

async fn pause(request: RequestContext<PauseSubscription>) -> Handled<PauseSubscription> {
    let (name, reason) = (&request.params.name, request.body.reason.clone());
    EventBus::of(request.engine()).pause_subscription(&request.namespace, name, true, reason).await?;
    Ok(ResponseBody::Reply(()))
}

async fn resume(request: RequestContext<ResumeSubscription>) -> Handled<ResumeSubscription> {
    let name = &request.params.name;
    EventBus::of(request.engine()).pause_subscription(&request.namespace, name, false, None).await?;
    Ok(ResponseBody::Reply(()))
}

async fn fetch(request: RequestContext<FetchEvents>) -> Handled<FetchEvents> {
    let wanted = FetchRequest {
        namespace: request.namespace.clone(),
        subscription: request.params.name.clone(),
        consumer: request.body.consumer.clone().unwrap_or_default(),
        max: request.body.max.unwrap_or(1),
        wait: request.body.wait.unwrap_or(Span::ZERO),
        push: false,
    };
    let bus = EventBus::of(request.engine());
    let fetched = tokio::select! {
        fetched = bus.fetch(wanted) => fetched?,
        () = request.closing.clone().closed() => {
            return Err(Error::new(Code::Stopping, "the server is stopping").hint("fetch again in a moment").into());
        }
    };
    Ok(ResponseBody::Reply(convert_events::fetched(fetched)))
}

async fn ack(request: RequestContext<AckDeliveries>) -> Handled<AckDeliveries> {
    let deliveries = request.body.deliveries.clone();
    let settled = EventBus::of(request.engine()).ack(&request.namespace, &request.params.name, deliveries).await?;
    Ok(ResponseBody::Reply(convert_events::settled(settled)))
}

async fn nack(request: RequestContext<NackDeliveries>) -> Handled<NackDeliveries> {
    let body = request.body.clone();
    let (name, reason) = (&request.params.name, body.reason);
    let settled =
        EventBus::of(request.engine()).nack(&request.namespace, name, body.deliveries, body.delay, reason).await?;
    Ok(ResponseBody::Reply(convert_events::settled(settled)))
}

async fn seek(request: RequestContext<SeekSubscription>) -> Handled<SeekSubscription> {
    let body = &request.body;
    let to = convert_events::start_at(body.to, body.after.as_deref(), body.since, None)?;
    let position = EventBus::of(request.engine()).seek(&request.namespace, &request.params.name, to).await?;
    Ok(ResponseBody::Reply(MovedSubscription { position }))
}

async fn dead(request: RequestContext<ListDeadLetters>) -> Handled<ListDeadLetters> {
    let params = request.params.clone();
    let page = EventBus::of(request.engine())
        .dead_letters(&request.namespace, &params.name, params.cursor, params.limit)
        .await?;
    Ok(ResponseBody::Reply(convert::page(page, convert_events::dead_letter)))
}

async fn redrive(request: RequestContext<RedriveDeadLetters>) -> Handled<RedriveDeadLetters> {
    let positions = request.body.positions.clone();
    let settled =
        EventBus::of(request.engine()).settle_dead(&request.namespace, &request.params.name, positions, true).await?;
    Ok(ResponseBody::Reply(SettledDeadLetters { settled }))
}

async fn drop_dead(request: RequestContext<DropDeadLetters>) -> Handled<DropDeadLetters> {
    let positions = request.body.positions.clone();
    let settled =
        EventBus::of(request.engine()).settle_dead(&request.namespace, &request.params.name, positions, false).await?;
    Ok(ResponseBody::Reply(SettledDeadLetters { settled }))
}
