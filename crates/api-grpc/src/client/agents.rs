//! Agents: look, follow, drain, resume, remove, weigh.
//!
//! For: `AgentService`. Not for: instances joining (the worker service).
//! Invariant: a change that was answered is durable; what is observed is of the moment of the answer.

use std::{cmp::Reverse, pin::Pin};

use consort_engine::AgentWatch;
use consort_proto::v1::{self, agent_service_server::AgentService};
use consort_types::{
    Code, Error, Result,
    registry::{AgentFilter, AgentView},
};
use futures::{Stream, StreamExt as _, stream};
use tonic::{Request, Response, Status};

use super::{Clients, answer, given, namespace};
use crate::status::status;

type Watched = Pin<Box<dyn Stream<Item = Result<v1::ListAgentsResponse, Status>> + Send>>;

impl Clients {
    async fn list_all(&self, request: v1::ListAgentsRequest) -> Result<v1::ListAgentsResponse> {
        let (namespace, filter) = asked(request)?;
        Ok(listed(self.engine.agents(&namespace, filter).await?))
    }

    /// The versions of an agent, the newest first.
    async fn agent(&self, request: v1::GetAgentRequest) -> Result<v1::GetAgentResponse> {
        let (namespace, name, version) = named(request.namespace, request.name, request.version)?;
        let mut agents = self.engine.agent(&namespace, &name, version.as_deref()).await?;
        agents.sort_by_key(|agent| Reverse(agent.since));
        Ok(v1::GetAgentResponse { agents: listed(agents).agents })
    }

    async fn follow(&self, request: v1::ListAgentsRequest) -> Result<Watched> {
        let (namespace, filter) = asked(request)?;
        let watch = self.engine.watch_agents(&namespace, filter).await?;
        let engine = self.engine.clone();
        let changes = stream::unfold(Some((engine, watch)), |watch| async move {
            let (engine, mut watch) = watch?;
            let next = next(&mut watch, &engine).await?;
            let more = next.is_ok().then_some((engine, watch));
            Some((next.map(listed).map_err(status), more))
        });
        Ok(changes.boxed())
    }
}

/// What the agents are next; where the engine has stopped, the reason.
async fn next(watch: &mut AgentWatch, engine: &consort_engine::Handle) -> Option<Result<Vec<AgentView>>> {
    match watch.next().await {
        Some(next) => Some(next),
        None => engine.ready().await.err().map(Err),
    }
}

fn asked(request: v1::ListAgentsRequest) -> Result<(String, AgentFilter)> {
    let filter = AgentFilter {
        name: None,
        version: None,
        capability: given(request.capability),
        labels: request.labels.into_iter().collect(),
        text: given(request.text),
    };
    Ok((namespace(request.namespace)?, filter))
}

fn listed(agents: Vec<AgentView>) -> v1::ListAgentsResponse {
    v1::ListAgentsResponse { agents: agents.into_iter().map(Into::into).collect() }
}

/// The namespace, the agent and, where it is given, the version that a request is about.
fn named(space: String, name: String, version: String) -> Result<(String, String, Option<String>)> {
    if name.is_empty() {
        return Err(Error::new(Code::BadRequest, "`name` is missing").hint("say which agent"));
    }
    Ok((namespace(space)?, name, given(version)))
}

#[async_trait::async_trait]
impl AgentService for Clients {
    async fn list_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Result<Response<v1::ListAgentsResponse>, Status> {
        answer(self.list_all(request.into_inner()).await)
    }

    async fn get_agent(&self, request: Request<v1::GetAgentRequest>) -> Result<Response<v1::GetAgentResponse>, Status> {
        answer(self.agent(request.into_inner()).await)
    }

    type WatchAgentsStream = Watched;

    async fn watch_agents(
        &self,
        request: Request<v1::ListAgentsRequest>,
    ) -> Result<Response<Self::WatchAgentsStream>, Status> {
        answer(self.follow(request.into_inner()).await)
    }

    async fn drain_agent(
        &self,
        request: Request<v1::DrainAgentRequest>,
    ) -> Result<Response<v1::DrainAgentResponse>, Status> {
        let v1::DrainAgentRequest { namespace, name, version } = request.into_inner();
        let drain = async {
            let (namespace, name, version) = named(namespace, name, version)?;
            self.engine.drain_agent(&namespace, &name, version.as_deref()).await?;
            Ok(v1::DrainAgentResponse {})
        };
        answer(drain.await)
    }

    async fn resume_agent(
        &self,
        request: Request<v1::ResumeAgentRequest>,
    ) -> Result<Response<v1::ResumeAgentResponse>, Status> {
        let v1::ResumeAgentRequest { namespace, name, version } = request.into_inner();
        let resume = async {
            let (namespace, name, version) = named(namespace, name, version)?;
            self.engine.resume_agent(&namespace, &name, version.as_deref()).await?;
            Ok(v1::ResumeAgentResponse {})
        };
        answer(resume.await)
    }

    async fn remove_agent(
        &self,
        request: Request<v1::RemoveAgentRequest>,
    ) -> Result<Response<v1::RemoveAgentResponse>, Status> {
        let v1::RemoveAgentRequest { namespace, name, version, force } = request.into_inner();
        let remove = async {
            let (namespace, name, version) = named(namespace, name, version)?;
            self.engine.remove_agent(&namespace, &name, version.as_deref(), force).await?;
            Ok(v1::RemoveAgentResponse {})
        };
        answer(remove.await)
    }

    async fn weigh_agent(
        &self,
        request: Request<v1::WeighAgentRequest>,
    ) -> Result<Response<v1::WeighAgentResponse>, Status> {
        let v1::WeighAgentRequest { namespace, name, version, weight } = request.into_inner();
        let weigh = async {
            let (namespace, name, version) = named(namespace, name, version)?;
            let version = version.ok_or_else(|| {
                Error::new(Code::BadRequest, "`version` is missing").hint("a share is that of one version")
            })?;
            self.engine.weigh_agent(&namespace, &name, &version, weight).await?;
            Ok(v1::WeighAgentResponse {})
        };
        answer(weigh.await)
    }
}
