//! Agents: found, shown, watched, and operated.
//!
//! For: the declarations and statistics of agents, and the settings that operators make. Not for: how agents connect
//! (gRPC has that).
//! Invariant: an answer to an operation is sent after its command is durable.

use consort_api::agents::{
    AgentFilter, AgentsEvent, DrainAgent, ListAgents, RemoveAgent, ResumeAgent, ShowAgent, WatchAgents, WeighAgent,
};
use consort_types::registry;
use futures::{StreamExt as _, stream};

use super::events;
use crate::{
    answer::ResponseBody,
    convert,
    problem::Problem,
    request::RequestContext,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<ListAgents, _>(list),
        route::<WatchAgents, _>(watch),
        route::<ShowAgent, _>(show),
        route::<DrainAgent, _>(drain),
        route::<ResumeAgent, _>(resume),
        route::<WeighAgent, _>(weigh),
        route::<RemoveAgent, _>(remove),
    ]
}

fn filter(asked: &AgentFilter) -> registry::AgentFilter {
    let AgentFilter { capability, labels, text } = asked.clone();
    registry::AgentFilter { name: None, version: None, capability, labels, text }
}

async fn list(request: RequestContext<ListAgents>) -> Handled<ListAgents> {
    let agents = request.engine().agents(&request.namespace, filter(&request.params)).await?;
    Ok(ResponseBody::Reply(convert::items(agents, convert::agent)))
}

async fn show(request: RequestContext<ShowAgent>) -> Handled<ShowAgent> {
    let agents =
        request.engine().agent(&request.namespace, &request.params.name, request.params.version.as_deref()).await?;
    Ok(ResponseBody::Reply(convert::items(agents, convert::agent)))
}

async fn watch(request: RequestContext<WatchAgents>) -> Handled<WatchAgents> {
    let watch = request.engine().watch_agents(&request.namespace, filter(&request.params)).await?;
    let lists = stream::unfold(watch, |mut watch| async move { watch.next().await.map(|list| (list, watch)) });
    let events = lists.map(|list| match list {
        Ok(agents) => AgentsEvent::Agents(convert::items(agents, convert::agent)),
        Err(error) => AgentsEvent::Error(Problem::from(error).document()),
    });
    Ok(ResponseBody::Raw(events::stream(events.map(|event| (event, None)), request.closing)))
}

async fn drain(request: RequestContext<DrainAgent>) -> Handled<DrainAgent> {
    request.engine().drain_agent(&request.namespace, &request.params.name, request.params.version.as_deref()).await?;
    Ok(ResponseBody::Reply(()))
}

async fn resume(request: RequestContext<ResumeAgent>) -> Handled<ResumeAgent> {
    request.engine().resume_agent(&request.namespace, &request.params.name, request.params.version.as_deref()).await?;
    Ok(ResponseBody::Reply(()))
}

async fn weigh(request: RequestContext<WeighAgent>) -> Handled<WeighAgent> {
    request
        .engine()
        .weigh_agent(&request.namespace, &request.params.name, &request.params.version, request.body.weight)
        .await?;
    Ok(ResponseBody::Reply(()))
}

async fn remove(request: RequestContext<RemoveAgent>) -> Handled<RemoveAgent> {
    let (name, version) = (&request.params.name, request.params.version.as_deref());
    request.engine().remove_agent(&request.namespace, name, version, request.params.force).await?;
    Ok(ResponseBody::Reply(()))
}
