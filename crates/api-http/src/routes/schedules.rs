//! Schedules.
//!
//! For: the operations on schedules. Not for: what they do at their instants (the machine does that).
//! Invariant: an answer to a change is sent after its command is durable.

use consort_api::schedules::{
    BackfillSchedule, BackfilledInstants, DeleteSchedule, ListSchedules, PauseSchedule, ResumeSchedule, SetSchedule,
    ShowSchedule, TriggerSchedule,
};
use consort_engine::Scheduler;

use crate::{
    answer::ResponseBody,
    convert,
    request::RequestContext,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<ListSchedules, _>(list),
        route::<SetSchedule, _>(set),
        route::<ShowSchedule, _>(show),
        route::<DeleteSchedule, _>(delete),
        route::<PauseSchedule, _>(pause),
        route::<ResumeSchedule, _>(resume),
        route::<TriggerSchedule, _>(trigger),
        route::<BackfillSchedule, _>(backfill),
    ]
}

async fn list(request: RequestContext<ListSchedules>) -> Handled<ListSchedules> {
    let schedules = Scheduler::of(request.engine()).list(&request.namespace).await?;
    Ok(ResponseBody::Reply(convert::items(schedules, convert::schedule)))
}

async fn set(request: RequestContext<SetSchedule>) -> Handled<SetSchedule> {
    let schedule = convert::schedule_request(request.params.name.clone(), request.body.clone())?;
    Scheduler::of(request.engine()).set(&request.namespace, schedule).await?;
    Ok(ResponseBody::Reply(()))
}

async fn show(request: RequestContext<ShowSchedule>) -> Handled<ShowSchedule> {
    let found = Scheduler::of(request.engine()).show(&request.namespace, &request.params.name).await?;
    Ok(ResponseBody::Reply(convert::schedule(found)))
}

async fn delete(request: RequestContext<DeleteSchedule>) -> Handled<DeleteSchedule> {
    Scheduler::of(request.engine()).delete(&request.namespace, &request.params.name).await?;
    Ok(ResponseBody::Reply(()))
}

async fn pause(request: RequestContext<PauseSchedule>) -> Handled<PauseSchedule> {
    Scheduler::of(request.engine()).pause(&request.namespace, &request.params.name, true).await?;
    Ok(ResponseBody::Reply(()))
}

async fn resume(request: RequestContext<ResumeSchedule>) -> Handled<ResumeSchedule> {
    Scheduler::of(request.engine()).pause(&request.namespace, &request.params.name, false).await?;
    Ok(ResponseBody::Reply(()))
}

async fn trigger(request: RequestContext<TriggerSchedule>) -> Handled<TriggerSchedule> {
    let overlap = request.body.overlap.map(convert::overlap);
    let scheduler = Scheduler::of(request.engine());
    let triggered = scheduler.trigger(&request.namespace, &request.params.name, overlap).await?;
    Ok(ResponseBody::Reply(convert::triggered(triggered)))
}

async fn backfill(request: RequestContext<BackfillSchedule>) -> Handled<BackfillSchedule> {
    let (between, overlap) = ((request.body.from, request.body.to), request.body.overlap.map(convert::overlap));
    let scheduler = Scheduler::of(request.engine());
    let count = scheduler.backfill(&request.namespace, &request.params.name, between, overlap).await?;
    Ok(ResponseBody::Reply(BackfilledInstants { instants: count as u64 }))
}
