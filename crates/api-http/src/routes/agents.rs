//! Agents: found, shown, watched, and operated.
//!
//! For: what is known of agents, and what operators say about them. Not for: how agents connect (gRPC has that).
//! Invariant: an answer to an operation is sent after its command is durable.

use consort_api::agents::{
    AgentFilter, AgentsEvent, DrainAgent, ListAgents, RemoveAgent, ResumeAgent, ShowAgent, WatchAgents, WeighAgent,
};
use consort_types::registry;
use futures::{StreamExt as _, stream};

use super::events;
use crate::{
    answer::Given,
    call::Call,
    convert,
    problem::Problem,
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

async fn list(call: Call<ListAgents>) -> Handled<ListAgents> {
    let agents = call.engine().agents(&call.namespace, filter(&call.params)).await?;
    Ok(Given::Reply(convert::items(agents, convert::agent)))
}

async fn show(call: Call<ShowAgent>) -> Handled<ShowAgent> {
    let agents = call.engine().agent(&call.namespace, &call.params.name, call.params.version.as_deref()).await?;
    Ok(Given::Reply(convert::items(agents, convert::agent)))
}

async fn watch(call: Call<WatchAgents>) -> Handled<WatchAgents> {
    let watch = call.engine().watch_agents(&call.namespace, filter(&call.params)).await?;
    let lists = stream::unfold(watch, |mut watch| async move { watch.next().await.map(|list| (list, watch)) });
    let said = lists.map(|list| match list {
        Ok(agents) => AgentsEvent::Agents(convert::items(agents, convert::agent)),
        Err(error) => AgentsEvent::Error(Problem::from(error).document()),
    });
    Ok(Given::Raw(events::stream(said.map(|event| (event, None)), call.closing)))
}

async fn drain(call: Call<DrainAgent>) -> Handled<DrainAgent> {
    call.engine().drain_agent(&call.namespace, &call.params.name, call.params.version.as_deref()).await?;
    Ok(Given::Reply(()))
}

async fn resume(call: Call<ResumeAgent>) -> Handled<ResumeAgent> {
    call.engine().resume_agent(&call.namespace, &call.params.name, call.params.version.as_deref()).await?;
    Ok(Given::Reply(()))
}

async fn weigh(call: Call<WeighAgent>) -> Handled<WeighAgent> {
    call.engine().weigh_agent(&call.namespace, &call.params.name, &call.params.version, call.body.weight).await?;
    Ok(Given::Reply(()))
}

async fn remove(call: Call<RemoveAgent>) -> Handled<RemoveAgent> {
    let (name, version) = (&call.params.name, call.params.version.as_deref());
    call.engine().remove_agent(&call.namespace, name, version, call.params.force).await?;
    Ok(Given::Reply(()))
}
