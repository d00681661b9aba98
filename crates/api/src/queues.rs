//! Queues, and the quotas that hold tasks back.
//!
//! For: the current state of queues, and the quotas that operators set. Not for: the built-in limits (see `server`).
//! Invariant: an answer to a change is sent after its command is durable.

use consort_types::{
    Code, Span, Time,
    registry::{self, LimitScope},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Accepts, Items, Method, NoParams, Operation, Spec, schema};

/// Tasks with the same requirements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Queue {
    /// The capability that its tasks need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// The agent that its tasks name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Tasks that wait for an instance.
    pub waiting: u32,
    /// Of these: held back by a quota.
    pub limited: u32,
    /// Of these: held back because their run is paused.
    pub paused: u32,
    /// Since when the oldest waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub oldest: Option<Time>,
    /// Instances that could take its tasks.
    pub instances: u32,
    /// Tasks assigned in the last minute.
    pub handed_out_minute: u32,
    /// Attempts that ended in the last minute.
    pub ended_minute: u32,
    /// The instances that run its tasks, those with the most first.
    pub holders: Vec<Holder>,
    /// Why nothing is assigned although tasks wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An instance that runs tasks of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// The instance.
    pub instance: String,
    /// On how many.
    pub in_flight: u32,
}

/// Lists queues.
pub struct ListQueues;

impl Operation for ListQueues {
    type Params = NoParams;
    type Body = ();
    type Reply = Items<Queue>;
    const SPEC: Spec = Spec {
        id: "listQueues",
        group: "queues",
        path: "/v1/queues",
        doc: "Lists the tasks that wait for agents: how many, since when, which instances run them, and why none starts where it \
              does not.",
        words: &["queues"],
        answers: &[(200, "The queues.")],
        ..Spec::READ
    };
}

/// How fast tasks are assigned: a token bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Tasks on average, at least 1.
    pub tasks: u32,
    /// In this time.
    #[schemars(with = "schema::Duration")]
    pub per: Span,
    /// Tasks at once after a pause, at least 1; without it, as many as `tasks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

impl From<registry::Rate> for Rate {
    fn from(rate: registry::Rate) -> Self {
        Self { tasks: rate.tasks, per: rate.per, burst: Some(rate.burst) }
    }
}

impl From<Rate> for registry::Rate {
    fn from(rate: Rate) -> Self {
        Self { tasks: rate.tasks, per: rate.per, burst: rate.burst.unwrap_or(rate.tasks) }
    }
}

/// Sets a quota, in place of the one that the scope had. At least one of the three is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaRequest {
    /// Tasks that run at once; with 0, none is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// Tasks assigned in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Tasks that wait; once there are as many, starts of runs that would add to them are answered `unavailable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_waiting: Option<u32>,
}

impl From<QuotaRequest> for registry::TaskLimit {
    fn from(quota: QuotaRequest) -> Self {
        Self { concurrency: quota.max_concurrent, rate: quota.rate.map(Into::into), queue: quota.max_waiting }
    }
}

/// A quota with the tasks that it delays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Quota {
    /// What it is about.
    #[schemars(with = "schema::QuotaScope")]
    pub scope: LimitScope,
    /// Tasks that run at once; with 0, none is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// Tasks assigned in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Tasks that may wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_waiting: Option<u32>,
    /// Tasks of the scope that instances work on now.
    pub in_flight: u32,
    /// Tasks that wait because of it.
    pub limited: u32,
}

/// Lists quotas.
pub struct ListQuotas;

impl Operation for ListQuotas {
    type Params = NoParams;
    type Body = ();
    type Reply = Items<Quota>;
    const SPEC: Spec = Spec {
        id: "listQuotas",
        group: "queues",
        path: "/v1/quotas",
        doc: "Lists the quotas of the namespace, with what they hold back.",
        words: &["quotas list"],
        answers: &[(200, "The quotas, by scope.")],
        ..Spec::READ
    };
}

/// The scope of a quota.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaParams {
    /// What it is about: `namespace`, `capability:NAME`, `agent:NAME` or `key:NAME`.
    #[schemars(with = "schema::QuotaScope")]
    pub scope: LimitScope,
}

/// Sets a quota.
pub struct SetQuota;

impl Operation for SetQuota {
    type Params = QuotaParams;
    type Body = QuotaRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "setQuota",
        group: "queues",
        method: Method::Put,
        path: "/v1/quotas/{scope}",
        doc: "Sets how many tasks of a scope run at once, how fast they start, and how many may wait.",
        words: &["quotas set"],
        accepts: Accepts::SMALL,
        errors: &[Code::LimitReached],
        ..Spec::CHANGE
    };
}

/// Removes a quota.
pub struct RemoveQuota;

impl Operation for RemoveQuota {
    type Params = QuotaParams;
    type Body = ();
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "removeQuota",
        group: "queues",
        method: Method::Delete,
        path: "/v1/quotas/{scope}",
        doc: "Removes the quota of a scope.",
        words: &["quotas remove"],
        accepts: Accepts::Nothing,
        errors: &[Code::QuotaNotFound],
        ..Spec::CHANGE
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_follows_from_its_rate() {
        let read = |text: &str| registry::TaskLimit::from(serde_json::from_str::<QuotaRequest>(text).unwrap());
        let limit = read(r#"{"rate": {"tasks": 10, "per": "1s"}}"#);
        let rate = registry::Rate { tasks: 10, per: Span::from_secs(1), burst: 10 };
        assert_eq!(limit, registry::TaskLimit { rate: Some(rate), ..registry::TaskLimit::default() });
        let limit = read(r#"{"max_concurrent": 0, "rate": {"tasks": 1, "per": "1m", "burst": 5}, "max_waiting": 7}"#);
        assert_eq!((limit.concurrency, limit.queue, limit.rate.unwrap().burst), (Some(0), Some(7), 5));
        assert!(serde_json::from_str::<QuotaRequest>(r#"{"max_concurent": 1}"#).is_err());
    }
}
