//! What is known of agents, instances, queues and limits, as operators and clients see it.
//!
//! For: one shape for the engine's answers, HTTP, gRPC and the command line. Not for: the worker protocol (see
//! `worker`), or for deciding anything.
//! Invariant: everything observed is of one moment, and counts since the server started; everything declared or set is
//! durable.

use std::{collections::BTreeMap, fmt, str::FromStr};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Code, Error, Name, Result, Span, Time, limits, worker::AgentDeclaration};

/// How an instance, or an agent by its instances, does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It takes tasks and does them.
    Healthy,
    /// It takes tasks, but fails or is slow more often than it used to.
    Degraded,
    /// It gets nothing but probes until one of them succeeds.
    Unhealthy,
    /// It gets nothing more, by its own wish or an operator's.
    Draining,
    /// It is not connected.
    Lost,
}

impl Health {
    /// The word that people read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
            Self::Draining => "draining",
            Self::Lost => "lost",
        }
    }
}

/// The settings that operators made for a version of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AgentState {
    /// Its share of the work beside other versions of the agent, from 0 to
    /// [`crate::limits::AGENT_WEIGHT_MAX`]; 0 gives it nothing.
    #[n(0)]
    pub weight: u32,
    /// Whether its instances get nothing more.
    #[n(1)]
    pub draining: bool,
}

impl AgentState {
    /// The default weight of a version.
    pub const WEIGHT_DEFAULT: u32 = 100;
}

impl Default for AgentState {
    fn default() -> Self {
        Self { weight: Self::WEIGHT_DEFAULT, draining: false }
    }
}

/// The connected worker instances of one version of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AgentStatus {
    /// The namespace.
    pub namespace: String,
    /// The agent.
    pub agent: String,
    /// Its version, as the instances declare it.
    pub version: String,
    /// How many instances are connected.
    pub instances: usize,
    /// How many tasks they hold.
    pub held: usize,
    /// How many more they would take.
    pub credit: usize,
}

/// A filter of agents. Empty fields match every agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentFilter {
    /// Agents with this name.
    pub name: Option<String>,
    /// Agents with this version, as written.
    pub version: Option<String>,
    /// Agents with this capability.
    pub capability: Option<String>,
    /// Agents with these labels.
    pub labels: BTreeMap<String, String>,
    /// Agents whose name, description or capabilities contain this text, whatever the case.
    pub text: Option<String>,
}

/// How an agent did with the tasks of a capability that auctions awarded to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AwardsView {
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

/// A version of an agent: what it declares, and how it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentView {
    /// What it declares.
    #[serde(flatten)]
    pub declaration: AgentDeclaration,
    /// How it does: as its best instance.
    pub health: Health,
    /// Why its health is what it is, where it is not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its share of the work beside other versions of the agent.
    pub weight: u32,
    /// Whether an operator drains it.
    pub draining: bool,
    /// Tasks that have not ended and whose journals its code wrote.
    pub pinned: u64,
    /// Since when this declaration is in force.
    pub since: Time,
    /// When the last message came from one of its instances, since the server started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Time>,
    /// Its connected instances, by name.
    pub instances: Vec<InstanceView>,
    /// What was observed, by capability.
    pub skills: Vec<SkillView>,
    /// How the agent, in whatever version, did with the tasks that it won in auctions, by capability.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub awards: Vec<AwardsView>,
    /// Capabilities that other connected agents, or other versions, declare otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A connected instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceView {
    /// Its name, as journals show it.
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
    pub connected: Time,
    /// When its last message came.
    pub seen: Time,
    /// Tasks that it holds.
    pub held: u32,
    /// Tasks that it holds at once at most.
    pub credit: u32,
}

/// What was observed of a capability of an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SkillView {
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
    pub p50: Option<Span>,
    /// How long completed attempts took: the 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<Span>,
    /// How long tasks waited before they were assigned: the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_p50: Option<Span>,
    /// How long tasks waited before they were assigned: the 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_p95: Option<Span>,
}

/// Tasks with the same requirements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueueView {
    /// The capability that its tasks need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// The agent that its tasks name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Tasks that wait for an instance.
    pub waiting: u32,
    /// Of these: held back by a limit.
    pub limited: u32,
    /// Of these: held back because their run is paused.
    pub paused: u32,
    /// Since when the oldest waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Time>,
    /// Instances that could take its tasks.
    pub instances: u32,
    /// Tasks assigned in the last minute.
    pub handed_out_minute: u32,
    /// Attempts that ended in the last minute.
    pub ended_minute: u32,
    /// The instances that hold its tasks, those with the most first.
    pub holders: Vec<HolderView>,
    /// Why nothing is assigned although tasks wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An instance that holds tasks of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HolderView {
    /// The instance.
    pub instance: String,
    /// How many.
    pub held: u32,
}

/// What a limit is about: the tasks of a namespace that are `namespace`, `capability:NAME`, `agent:NAME` or `key:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum LimitScope {
    /// All tasks of the namespace.
    #[n(0)]
    Namespace,
    /// Tasks that need a capability.
    #[n(1)]
    Capability(#[n(0)] String),
    /// Tasks that instances of an agent hold.
    #[n(2)]
    Agent(#[n(0)] String),
    /// Tasks whose `concurrency` key is this.
    #[n(3)]
    Key(#[n(0)] String),
}

impl LimitScope {
    /// Refuses names that are none, and a key that is empty or over [`limits::KEY_BYTES_MAX`].
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Namespace => Ok(()),
            Self::Capability(name) => Name::check("capability", name),
            Self::Agent(name) => Name::check("agent", name),
            Self::Key(key) => {
                let (bytes, max) = (key.len(), limits::KEY_BYTES_MAX);
                if bytes > 0 && bytes <= max {
                    return Ok(());
                }
                let message = format!("the key of a limit has `{bytes}` bytes, it must have 1 to {max}");
                Err(Error::new(Code::LimitReached, message).hint("use a short `concurrency.key` in the workflow"))
            }
        }
    }
}

impl fmt::Display for LimitScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace => f.write_str("namespace"),
            Self::Capability(name) => write!(f, "capability:{name}"),
            Self::Agent(name) => write!(f, "agent:{name}"),
            Self::Key(name) => write!(f, "key:{name}"),
        }
    }
}

impl FromStr for LimitScope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "namespace" => Ok(Self::Namespace),
            Some(("capability", name)) => Name::check("capability", name).map(|()| Self::Capability(name.to_owned())),
            Some(("agent", name)) => Name::check("agent", name).map(|()| Self::Agent(name.to_owned())),
            Some(("key", name)) if !name.is_empty() => Ok(Self::Key(name.to_owned())),
            _ => Err(Error::new(Code::BadRequest, format!("`{text}` is not the scope of a limit"))
                .hint("write `namespace`, `capability:NAME`, `agent:NAME` or `key:NAME`")),
        }
    }
}

impl Serialize for LimitScope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LimitScope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// How fast tasks are assigned: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Rate {
    /// Tasks on average.
    #[n(0)]
    pub tasks: u32,
    /// In this time.
    #[n(1)]
    pub per: Span,
    /// Tasks at once after a pause.
    #[n(2)]
    pub burst: u32,
}

/// The values of a limit. At least one of the three is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct TaskLimit {
    /// Tasks that instances hold at once; with 0, none is assigned.
    #[n(0)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Tasks assigned in a time.
    #[n(1)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Tasks that wait; once there are as many, starts of runs that would add to them are answered `unavailable`.
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
}

/// A limit with what it holds back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitView {
    /// What it is about.
    pub scope: LimitScope,
    /// Its values.
    #[serde(flatten)]
    pub limit: TaskLimit,
    /// Tasks of the scope that instances hold now.
    pub taken: u32,
    /// Tasks that wait because of it.
    pub limited: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_and_read_alike() {
        for text in ["namespace", "capability:a.b", "agent:writer", "key:tenant 7:x"] {
            assert_eq!(text.parse::<LimitScope>().unwrap().to_string(), text);
        }
        for text in ["", "capability", "capability:", "agent:a b", "key:", "run:x"] {
            let error = text.parse::<LimitScope>().unwrap_err();
            assert!(matches!(error.code, Code::BadRequest | Code::BadName), "{text}: {error}");
        }
    }
}
