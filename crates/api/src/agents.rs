//! Agents: found, shown, watched, and operated.
//!
//! For: the declarations and statistics of agents, and the settings that operators make. Not for: how agents connect
//! (gRPC has that).
//! Invariant: everything observed is of one moment and counts since the server started; everything declared or set is
//! durable. Without `version` an operation is about every version that is known.

use std::collections::BTreeMap;

use consort_types::{Code, Span, Time, registry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Accepts, Items, Method, Operation, Problem, Returns, Spec, is_default, operate::EmptyRequest, schema};

/// How an agent, or an instance of it, does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It accepts tasks and completes them.
    Healthy,
    /// It accepts tasks, but fails or is slow more often than before.
    Degraded,
    /// It gets nothing but probes until one of them succeeds.
    Unhealthy,
    /// It gets nothing more, by its own wish or an operator's.
    Draining,
    /// It is not connected.
    Lost,
    /// A state that this version does not know.
    #[schemars(skip)]
    #[serde(untagged)]
    Other(String),
}

impl Health {
    /// The word that people read.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Lost => "lost",
            Self::Other(word) => word,
        }
    }
}

impl From<registry::Health> for Health {
    fn from(health: registry::Health) -> Self {
        match health {
            registry::Health::Healthy => Self::Healthy,
            registry::Health::Degraded => Self::Degraded,
            registry::Health::Unhealthy => Self::Unhealthy,
            registry::Health::Draining => Self::Draining,
            registry::Health::Lost => Self::Lost,
        }
    }
}

/// Something that an agent can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Capability {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// `read`, `idempotent` or `write`.
    pub effect: String,
    /// JSON Schema of its input.
    pub input_schema: Value,
    /// JSON Schema of its output.
    pub output_schema: Value,
    /// What one task costs, in the author's estimate, in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_hint_microdollars: Option<u64>,
    /// How long one task takes, in the author's estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub time_hint: Option<Span>,
}

/// How an agent did with the tasks of a capability that auctions awarded to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Awards {
    /// The capability.
    pub capability: String,
    /// Tasks that were awarded to it.
    pub won: u64,
    /// Those that it completed.
    pub done: u64,
    /// Those that it failed, lost, or did not take.
    pub failed: u64,
    /// The share of its awards that it completed, from 0 to 1; one that has none yet is given credit for one.
    pub reliability: f64,
    /// How many times longer its tasks took than it said; 1 where nothing is known.
    pub slowness: f64,
}

/// A version of an agent: what it declares, its settings by operators, and its health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it is.
    pub description: String,
    /// What it is found and chosen by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// How it does: as its best instance.
    pub health: Health,
    /// Why, where it is not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its share of the work beside other versions of the agent.
    pub weight: u32,
    /// Whether an operator drains it.
    pub draining: bool,
    /// Tasks that have not ended and whose journals its code wrote: they continue with this version alone, while an instance
    /// of it is connected or may reconnect.
    #[serde(default)]
    pub pinned: u64,
    /// Since when this declaration is in force.
    #[schemars(with = "schema::Instant")]
    pub declared_at: Time,
    /// When the last message came from one of its instances, since the server started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub seen_at: Option<Time>,
    /// Its connected instances, by name.
    pub instances: Vec<WorkerInstance>,
    /// What was observed, by capability.
    pub statistics: Vec<CapabilityStatistics>,
    /// How the agent, in whatever version, did with the tasks that it won in auctions, by capability.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awards: Vec<Awards>,
    /// Capabilities that other connected agents, or other versions, declare otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A connected instance of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerInstance {
    /// Its name, as histories show it.
    pub name: String,
    /// Who connected: SDK, host and process.
    pub client: String,
    /// Its labels, those of its agent included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How it does.
    pub health: Health,
    /// Why, where it is not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is connected.
    #[schemars(with = "schema::Instant")]
    pub connected_at: Time,
    /// When its last message came.
    #[schemars(with = "schema::Instant")]
    pub seen_at: Time,
    /// Tasks that it is running.
    pub in_flight: u32,
    /// Tasks that it runs at once at most.
    pub max_concurrent: u32,
}

/// What was observed of a capability of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CapabilityStatistics {
    /// The capability.
    pub capability: String,
    /// Attempts that completed.
    pub completed: u64,
    /// Attempts that failed by their own report.
    pub failed: u64,
    /// Attempts whose outcome is unknown.
    pub unknown: u64,
    /// Attempts that timed out or passed their deadline.
    pub expired: u64,
    /// Attempts that were lost with their instance.
    pub lost: u64,
    /// How long completed attempts took: the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub p50: Option<Span>,
    /// How long completed attempts took: the 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub p95: Option<Span>,
    /// How long tasks waited before they were assigned: the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub queued_p50: Option<Span>,
    /// How long tasks waited before they were assigned: the 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub queued_p95: Option<Span>,
}

/// Which agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentFilter {
    /// Only agents that can do this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// Only agents with this label: `label.KEY=VALUE`, repeatable.
    #[serde(rename = "label", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Only agents whose name, description or capabilities contain this, whatever the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Lists agents.
pub struct ListAgents;

impl Operation for ListAgents {
    type Params = AgentFilter;
    type Body = ();
    type Reply = Items<Agent>;
    const SPEC: Spec = Spec {
        id: "listAgents",
        group: "agents",
        path: "/v1/agents",
        doc: "Lists agents, with what they can do and how they do.",
        words: &["agents list"],
        answers: &[(200, "The agents, by name and version.")],
        ..Spec::READ
    };
}

/// An event of a watch of agents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentsEvent {
    /// The list as it is now, in whole.
    Agents(Items<Agent>),
    /// Why the watch ends.
    Error(Problem),
}

/// Follows agents.
pub struct WatchAgents;

impl Operation for WatchAgents {
    type Params = AgentFilter;
    type Body = ();
    type Reply = AgentsEvent;
    const SPEC: Spec = Spec {
        id: "watchAgents",
        group: "agents",
        path: "/v1/agents/watch",
        doc: "Follows agents: the event `agents` has the list at once, and again at each change.",
        words: &["agents watch"],
        returns: Returns::Events,
        answers: &[(200, "Server-sent events until the client leaves.")],
        ..Spec::READ
    };
}

/// An agent, or one version of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentParams {
    /// The agent.
    pub name: String,
    /// Only this version, as its author wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Shows an agent.
pub struct ShowAgent;

impl Operation for ShowAgent {
    type Params = AgentParams;
    type Body = ();
    type Reply = Items<Agent>;
    const SPEC: Spec = Spec {
        id: "showAgent",
        group: "agents",
        path: "/v1/agents/{name}",
        doc: "Shows every version of an agent.",
        words: &["agents show"],
        answers: &[(200, "The versions.")],
        errors: &[Code::AgentNotFound],
        ..Spec::READ
    };
}

const OPERATE: Spec = Spec { group: "agents", errors: &[Code::AgentNotFound], ..Spec::CHANGE };

/// Drains an agent.
pub struct DrainAgent;

impl Operation for DrainAgent {
    type Params = AgentParams;
    type Body = EmptyRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "drainAgent",
        path: "/v1/agents/{name}/drain",
        doc: "Assigns no more tasks to an agent; it finishes those that it holds.",
        words: &["agents drain"],
        ..OPERATE
    };
}

/// Resumes an agent.
pub struct ResumeAgent;

impl Operation for ResumeAgent {
    type Params = AgentParams;
    type Body = EmptyRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "resumeAgent",
        path: "/v1/agents/{name}/resume",
        doc: "Assigns tasks to a drained agent again.",
        words: &["agents resume"],
        ..OPERATE
    };
}

/// A version of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentVersionParams {
    /// The agent.
    pub name: String,
    /// The version, as its author wrote it: a weight is the share of one version beside the others.
    pub version: String,
}

/// Sets the share of a version of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightRequest {
    /// Its weight beside the other versions, 0 to 1000; the default is 100.
    pub weight: u32,
}

/// Weighs a version of an agent.
pub struct WeighAgent;

impl Operation for WeighAgent {
    type Params = AgentVersionParams;
    type Body = WeightRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "weighAgent",
        path: "/v1/agents/{name}/weight",
        doc: "Sets the share of a version beside the agent's other versions.",
        words: &["agents weight"],
        accepts: Accepts::SMALL,
        errors: &[Code::AgentNotFound, Code::LimitReached],
        ..OPERATE
    };
}

/// An agent to remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveAgentParams {
    /// The agent.
    pub name: String,
    /// Only this version, as its author wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether connected instances are disconnected; without it, a connected agent is not removed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub force: bool,
}

/// Removes an agent.
pub struct RemoveAgent;

impl Operation for RemoveAgent {
    type Params = RemoveAgentParams;
    type Body = ();
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "removeAgent",
        method: Method::Delete,
        path: "/v1/agents/{name}",
        doc: "Forgets an agent; one that connects again is known again, as if it were new.",
        words: &["agents remove"],
        accepts: Accepts::Nothing,
        errors: &[Code::AgentNotFound, Code::AgentConnected, Code::AgentPinned],
        ..OPERATE
    };
}
