//! Agents, queues and limits, as operators ask about them.

use std::collections::HashMap;

use consort_proto::v1;
use consort_types::Code;
use serde_json::json;

use crate::support::{Server, complete, ends_with_the_engine, error_of, hello, instance, soon};

/// An agent of the team `a`, in this version.
fn versioned(version: &str) -> v1::HelloInstance {
    let mut instance = instance("worker", "work", 1);
    let agent = instance.agent.as_mut().unwrap();
    version.clone_into(&mut agent.version);
    "Does the work.".clone_into(&mut agent.description);
    agent.labels = HashMap::from([("team".to_owned(), "a".to_owned())]);
    instance
}

fn named(name: &str, version: &str) -> v1::GetAgentRequest {
    v1::GetAgentRequest { name: name.to_owned(), version: version.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn agents_are_found_by_what_they_declare() {
    let server = Server::start().await;
    let hello = hello(vec![versioned("1.0.0"), versioned("1.1.0"), instance("second", "other", 3)]);
    let worker = server.worker(hello).await.unwrap();
    let mut agents = server.agents();
    let team = |team: &str| HashMap::from([("team".to_owned(), team.to_owned())]);
    for (request, found) in [
        (v1::ListAgentsRequest::default(), vec!["second 1.0.0", "worker 1.0.0", "worker 1.1.0"]),
        (v1::ListAgentsRequest { capability: "other".to_owned(), ..Default::default() }, vec!["second 1.0.0"]),
        (v1::ListAgentsRequest { labels: team("a"), ..Default::default() }, vec!["worker 1.0.0", "worker 1.1.0"]),
        (v1::ListAgentsRequest { labels: team("b"), ..Default::default() }, vec![]),
        (v1::ListAgentsRequest { text: "DOES".to_owned(), ..Default::default() }, vec!["worker 1.0.0", "worker 1.1.0"]),
        (v1::ListAgentsRequest { namespace: "elsewhere".to_owned(), ..Default::default() }, vec![]),
    ] {
        let listed = agents.list_agents(request.clone()).await.unwrap().into_inner().agents;
        let mut names: Vec<_> = listed.iter().map(name).collect();
        names.sort();
        assert_eq!(names, found, "{request:?}");
    }
    let shown = agents.get_agent(named("worker", "1.1.0")).await.unwrap().into_inner().agents;
    assert_eq!((shown.len(), shown[0].health(), shown[0].weight), (1, v1::Health::Healthy, 100));
    assert_eq!(shown[0].instances[0].name, worker.welcome.instances[1]);
    assert_eq!((shown[0].instances[0].client.as_str(), shown[0].instances[0].credit), ("test/1 here:1", 1));
    assert_eq!(agents.get_agent(named("worker", "")).await.unwrap().into_inner().agents.len(), 2);
    for (request, code) in [
        (named("worker", "9"), Code::AgentNotFound),
        (named("nobody", ""), Code::AgentNotFound),
        (named("", ""), Code::BadRequest),
    ] {
        assert_eq!(error_of(&agents.get_agent(request).await.unwrap_err()).code, code);
    }
}

fn name(agent: &v1::Agent) -> String {
    let declaration = agent.declaration.as_ref().unwrap();
    format!("{} {}", declaration.name, declaration.version)
}

#[tokio::test]
async fn agents_are_drained_resumed_weighed_and_removed() {
    let server = Server::start().await;
    let mut worker = server.worker(hello(vec![versioned("1.0.0")])).await.unwrap();
    let mut agents = server.agents();
    let about = |version: &str| v1::DrainAgentRequest {
        name: "worker".to_owned(),
        version: version.to_owned(),
        ..Default::default()
    };
    agents.drain_agent(about("1.0.0")).await.unwrap();
    let shown = agents.get_agent(named("worker", "")).await.unwrap().into_inner().agents;
    assert!(shown[0].draining && shown[0].health() == v1::Health::Draining, "{:?}", shown[0]);
    let run = server.run("work", &json!(1)).await;
    let resume = v1::ResumeAgentRequest { name: "worker".to_owned(), ..Default::default() };
    agents.resume_agent(resume).await.unwrap();
    let task = worker.task().await;
    worker.say(0, complete(&task, "1")).await;
    assert_eq!(server.ended(&run).await.status(), v1::RunStatus::Completed);
    let weigh = |version: &str, weight| v1::WeighAgentRequest {
        name: "worker".to_owned(),
        version: version.to_owned(),
        weight,
        ..Default::default()
    };
    agents.weigh_agent(weigh("1.0.0", 7)).await.unwrap();
    assert_eq!(agents.get_agent(named("worker", "")).await.unwrap().into_inner().agents[0].weight, 7);
    for (request, code) in [
        (weigh("", 7), Code::BadRequest),
        (weigh("9", 7), Code::AgentNotFound),
        (weigh("1.0.0", 1_001), Code::LimitReached),
    ] {
        assert_eq!(error_of(&agents.weigh_agent(request).await.unwrap_err()).code, code);
    }
    let remove = |force| v1::RemoveAgentRequest { name: "worker".to_owned(), force, ..Default::default() };
    let status = agents.remove_agent(remove(false)).await.unwrap_err();
    assert_eq!((status.code(), error_of(&status).code), (tonic::Code::FailedPrecondition, Code::AgentConnected));
    agents.remove_agent(remove(true)).await.unwrap();
    assert!(agents.list_agents(v1::ListAgentsRequest::default()).await.unwrap().into_inner().agents.is_empty());
    let nobody = v1::DrainAgentRequest { name: "nobody".to_owned(), ..Default::default() };
    assert_eq!(error_of(&agents.drain_agent(nobody).await.unwrap_err()).code, Code::AgentNotFound);
}

#[tokio::test]
async fn agents_are_followed_until_the_engine_stops() {
    let server = Server::start().await;
    let watch = server.agents().watch_agents(v1::ListAgentsRequest::default()).await.unwrap();
    let mut watched = watch.into_inner();
    assert!(watched.message().await.unwrap().unwrap().agents.is_empty());
    let _worker = server.worker(hello(vec![versioned("1.0.0")])).await.unwrap();
    let mut agents = Vec::new();
    while agents.first().is_none_or(|agent: &v1::Agent| agent.instances.is_empty()) {
        agents = soon("a change", watched.message()).await.unwrap().unwrap().agents;
    }
    assert_eq!(name(&agents[0]), "worker 1.0.0");
    server.engine.stop_now().await;
    ends_with_the_engine(watched).await;
}

#[tokio::test]
async fn queues_and_limits_are_shown_and_set() {
    let server = Server::start().await;
    let mut queues = server.queues();
    let limit = |scope: &str, concurrency| v1::Limit { scope: scope.to_owned(), concurrency, ..Default::default() };
    let set = |limit| v1::SetLimitRequest { limit, ..Default::default() };
    queues.set_limit(set(Some(limit("capability:work", Some(1))))).await.unwrap();
    let mut worker = server.one(5).await;
    for n in 0..3 {
        server.run("work", &json!(n)).await;
    }
    worker.task().await;
    let list = || v1::ListLimitsRequest::default();
    let limits = queues.list_limits(list()).await.unwrap().into_inner().limits;
    assert_eq!((limits.len(), limits[0].scope.as_str(), limits[0].concurrency), (1, "capability:work", Some(1)));
    assert_eq!((limits[0].taken, limits[0].limited), (1, 2));
    let queue = queues.list_queues(v1::ListQueuesRequest::default()).await.unwrap().into_inner().queues.remove(0);
    assert_eq!((queue.capability.as_str(), queue.waiting, queue.limited, queue.instances), ("work", 2, 2, 1));
    assert_eq!((queue.holders[0].instance.as_str(), queue.holders[0].held), (worker.welcome.instances[0].as_str(), 1));
    queues.set_limit(set(Some(limit("capability:work", None)))).await.unwrap();
    worker.task().await;
    worker.task().await;
    assert!(queues.list_limits(list()).await.unwrap().into_inner().limits.is_empty());
    for (request, code) in [
        (set(None), Code::BadRequest),
        (set(Some(limit("run:x", Some(1)))), Code::BadRequest),
        (set(Some(v1::Limit { rate: Some(1), ..limit("namespace", None) })), Code::BadRequest),
    ] {
        assert_eq!(error_of(&queues.set_limit(request).await.unwrap_err()).code, code);
    }
}
