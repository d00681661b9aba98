//! Agents, queues and limits, as operators see them.
//!
//! For: reading answers about what is connected and what waits, and setting limits. Not for: runs (see `runs`).
//! Invariant: everything observed is of one moment and counts since the server started; everything declared or set
//! is durable.

use std::collections::BTreeMap;

use consort_types::{Code, Error, Result, Span, registry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A list in whole.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Items<T> {
    /// The items.
    pub items: Vec<T>,
}

/// A named skill.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
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
    pub time_hint: Option<String>,
}

/// A version of an agent: what it declares, what operators said of it, and how it does.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
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
    /// `healthy`, `degraded`, `unhealthy`, `draining` or `lost`: as its best instance.
    pub health: String,
    /// Why, where it is not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its share of the work beside other versions of the agent.
    pub weight: u32,
    /// Whether an operator drains it.
    pub draining: bool,
    /// Since when this declaration stands.
    pub since: String,
    /// When one of its instances was heard last, since the server started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// Its connected instances, by name.
    pub instances: Vec<Instance>,
    /// What was observed, by capability.
    pub skills: Vec<Skill>,
}

/// A connected instance.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// Its name, as journals show it.
    pub name: String,
    /// Who connected: SDK, host and process.
    pub client: String,
    /// Its labels, those of its agent included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `healthy`, `degraded`, `unhealthy`, `draining` or `lost`.
    pub health: String,
    /// Why, where it is not healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is connected.
    pub connected: String,
    /// When it was heard last.
    pub seen: String,
    /// Tasks that it holds.
    pub held: u32,
    /// Tasks that it wants to hold at once.
    pub credit: u32,
}

/// What was observed of a capability of an agent.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Skill {
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
    pub p50: Option<String>,
    /// How long completed attempts took: the 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<String>,
    /// How long tasks waited before they were handed out: the median.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_p50: Option<String>,
    /// How long tasks waited before they were handed out: the 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_p95: Option<String>,
}

/// Sets the share of a version of an agent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightRequest {
    /// Its weight beside the other versions, 0 to 1000; a version has 100 where nothing is said.
    pub weight: u32,
}

/// Tasks that ask for the same thing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Queue {
    /// The capability that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// The agent that is asked for.
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
    pub oldest: Option<String>,
    /// Instances that could take its tasks.
    pub instances: u32,
    /// Tasks handed out in the last minute.
    pub handed_out_minute: u32,
    /// Attempts that ended in the last minute.
    pub ended_minute: u32,
    /// Who holds its tasks, most first.
    pub holders: Vec<Holder>,
    /// Why nothing is handed out although tasks wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An instance that holds tasks of a queue.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// The instance.
    pub instance: String,
    /// How many.
    pub held: u32,
}

/// How fast tasks are handed out: a token bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Tasks on average, at least 1.
    pub tasks: u32,
    /// In this time, such as `1s`.
    #[schemars(with = "String")]
    pub per: Span,
    /// Tasks at once after a pause, at least 1; without it, as many as `tasks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

/// Sets a limit, in place of the one that the scope had. At least one of the three is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitRequest {
    /// Tasks that are with instances at once; 0 hands out nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Tasks handed out in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Tasks that wait; once there are as many, starts of runs that would add to them are answered `unavailable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
}

impl LimitRequest {
    /// The limit that is meant.
    ///
    /// # Errors
    /// [`Code::BadRequest`] where it says nothing: removing a limit has a method of its own.
    pub fn limit(&self) -> Result<registry::TaskLimit> {
        if *self == Self::default() {
            return Err(Error::new(Code::BadRequest, "the limit says nothing")
                .hint("give `concurrency`, `rate` or `queue`; `DELETE` removes a limit"));
        }
        let rate = self.rate.as_ref().map(|rate| registry::Rate {
            tasks: rate.tasks,
            per: rate.per,
            burst: rate.burst.unwrap_or(rate.tasks),
        });
        Ok(registry::TaskLimit { concurrency: self.concurrency, rate, queue: self.queue })
    }
}

/// A limit with what it holds back.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// What it is about: `namespace`, `capability:NAME`, `agent:NAME` or `key:NAME`.
    pub scope: String,
    /// Tasks that are with instances at once; 0 hands out nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Tasks handed out in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Tasks that may wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<u32>,
    /// Tasks of the scope that are with instances now.
    pub taken: u32,
    /// Tasks that wait because of it.
    pub limited: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_says_something_and_its_burst_follows_from_its_rate() {
        let read = |text: &str| serde_json::from_str::<LimitRequest>(text).unwrap().limit();
        let limit = read(r#"{"rate": {"tasks": 10, "per": "1s"}}"#).unwrap();
        let rate = registry::Rate { tasks: 10, per: Span::from_secs(1), burst: 10 };
        assert_eq!(limit, registry::TaskLimit { rate: Some(rate), ..registry::TaskLimit::default() });
        let limit = read(r#"{"concurrency": 0, "rate": {"tasks": 1, "per": "1m", "burst": 5}, "queue": 7}"#).unwrap();
        assert_eq!((limit.concurrency, limit.queue, limit.rate.unwrap().burst), (Some(0), Some(7), 5));
        assert_eq!(read("{}").unwrap_err().code, Code::BadRequest);
        assert!(serde_json::from_str::<LimitRequest>(r#"{"concurency": 1}"#).is_err());
    }
}
