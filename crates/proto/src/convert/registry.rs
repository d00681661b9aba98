//! Agents, instances, queues, limits and live messages, as clients see them.
//!
//! For: the answers of the client services, there and back. Not for: filters and pages (api-grpc reads those).
//! Invariant: nothing that was observed is left out on the way.

use consort_types::{
    Code, Error, Result, Span, Time,
    registry::{
        AgentView, Health, HolderView, InstanceView, LimitScope, LimitView, QueueView, Rate, SkillView, TaskLimit,
    },
    worker::{Live, Progress},
};

use super::field::{bad, labels, parse, required, some, text, value_bytes, within};
use crate::v1::{self, live_message};

impl From<Health> for v1::Health {
    fn from(health: Health) -> Self {
        match health {
            Health::Healthy => Self::Healthy,
            Health::Degraded => Self::Degraded,
            Health::Unhealthy => Self::Unhealthy,
            Health::Draining => Self::Draining,
            Health::Lost => Self::Lost,
        }
    }
}

fn health(number: i32) -> Result<Health> {
    match v1::Health::try_from(number) {
        Ok(v1::Health::Healthy) => Ok(Health::Healthy),
        Ok(v1::Health::Degraded) => Ok(Health::Degraded),
        Ok(v1::Health::Unhealthy) => Ok(Health::Unhealthy),
        Ok(v1::Health::Draining) => Ok(Health::Draining),
        Ok(v1::Health::Lost) => Ok(Health::Lost),
        Ok(v1::Health::Unspecified) | Err(_) => Err(bad("health", format!("is `{number}`, which is no health"))),
    }
}

impl From<AgentView> for v1::Agent {
    fn from(agent: AgentView) -> Self {
        Self {
            declaration: Some(agent.declaration.into()),
            health: v1::Health::from(agent.health).into(),
            reason: text(agent.reason),
            weight: agent.weight,
            draining: agent.draining,
            since_us: agent.since.0,
            seen_us: agent.seen.map(|time| time.0),
            instances: agent.instances.into_iter().map(Into::into).collect(),
            skills: agent.skills.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Agent> for AgentView {
    type Error = Error;

    fn try_from(agent: v1::Agent) -> Result<Self> {
        let instances = agent.instances.into_iter().enumerate();
        let instances = instances.map(|(at, instance)| within(&format!("instances[{at}]"), instance.try_into()));
        Ok(Self {
            declaration: within("declaration", required("declaration", agent.declaration)?.try_into())?,
            health: health(agent.health)?,
            reason: some(agent.reason),
            weight: agent.weight,
            draining: agent.draining,
            since: Time(agent.since_us),
            seen: agent.seen_us.map(Time),
            instances: instances.collect::<Result<_>>()?,
            skills: agent.skills.into_iter().map(Into::into).collect(),
        })
    }
}

impl From<InstanceView> for v1::Instance {
    fn from(instance: InstanceView) -> Self {
        Self {
            name: instance.name,
            client: instance.client,
            labels: instance.labels.into_iter().collect(),
            health: v1::Health::from(instance.health).into(),
            reason: text(instance.reason),
            connected_us: instance.connected.0,
            seen_us: instance.seen.0,
            held: instance.held,
            credit: instance.credit,
        }
    }
}

impl TryFrom<v1::Instance> for InstanceView {
    type Error = Error;

    fn try_from(instance: v1::Instance) -> Result<Self> {
        Ok(Self {
            name: instance.name,
            client: instance.client,
            labels: labels(instance.labels),
            health: health(instance.health)?,
            reason: some(instance.reason),
            connected: Time(instance.connected_us),
            seen: Time(instance.seen_us),
            held: instance.held,
            credit: instance.credit,
        })
    }
}

impl From<SkillView> for v1::Skill {
    fn from(skill: SkillView) -> Self {
        Self {
            capability: skill.capability,
            completed: skill.completed,
            failed: skill.failed,
            unknown: skill.unknown,
            expired: skill.expired,
            lost: skill.lost,
            p50_us: skill.p50.map(|span| span.0),
            p95_us: skill.p95.map(|span| span.0),
            queued_p50_us: skill.queued_p50.map(|span| span.0),
            queued_p95_us: skill.queued_p95.map(|span| span.0),
        }
    }
}

impl From<v1::Skill> for SkillView {
    fn from(skill: v1::Skill) -> Self {
        Self {
            capability: skill.capability,
            completed: skill.completed,
            failed: skill.failed,
            unknown: skill.unknown,
            expired: skill.expired,
            lost: skill.lost,
            p50: skill.p50_us.map(Span),
            p95: skill.p95_us.map(Span),
            queued_p50: skill.queued_p50_us.map(Span),
            queued_p95: skill.queued_p95_us.map(Span),
        }
    }
}

impl From<QueueView> for v1::Queue {
    fn from(queue: QueueView) -> Self {
        Self {
            capability: text(queue.capability),
            agent: text(queue.agent),
            waiting: queue.waiting,
            limited: queue.limited,
            paused: queue.paused,
            oldest_us: queue.oldest.map(|time| time.0),
            instances: queue.instances,
            handed_out_minute: queue.handed_out_minute,
            ended_minute: queue.ended_minute,
            holders: queue.holders.into_iter().map(Into::into).collect(),
            reason: text(queue.reason),
        }
    }
}

impl From<v1::Queue> for QueueView {
    fn from(queue: v1::Queue) -> Self {
        Self {
            capability: some(queue.capability),
            agent: some(queue.agent),
            waiting: queue.waiting,
            limited: queue.limited,
            paused: queue.paused,
            oldest: queue.oldest_us.map(Time),
            instances: queue.instances,
            handed_out_minute: queue.handed_out_minute,
            ended_minute: queue.ended_minute,
            holders: queue.holders.into_iter().map(Into::into).collect(),
            reason: some(queue.reason),
        }
    }
}

impl From<HolderView> for v1::Holder {
    fn from(holder: HolderView) -> Self {
        Self { instance: holder.instance, held: holder.held }
    }
}

impl From<v1::Holder> for HolderView {
    fn from(holder: v1::Holder) -> Self {
        Self { instance: holder.instance, held: holder.held }
    }
}

/// A limit as it travels, without what it holds back.
pub fn limit_to_wire(scope: &LimitScope, limit: TaskLimit) -> v1::Limit {
    v1::Limit {
        scope: scope.to_string(),
        concurrency: limit.concurrency,
        rate: limit.rate.map(|rate| rate.tasks),
        rate_per_us: limit.rate.map(|rate| rate.per.0),
        burst: limit.rate.map(|rate| rate.burst),
        queue: limit.queue,
        taken: 0,
        limited: 0,
    }
}

/// A limit that came, whatever it holds back.
pub fn limit_from_wire(limit: &v1::Limit) -> Result<(LimitScope, TaskLimit)> {
    let rate = match (limit.rate, limit.rate_per_us, limit.burst) {
        (Some(tasks), Some(per), burst) => Some(Rate { tasks, per: Span(per), burst: burst.unwrap_or(tasks) }),
        (None, None, None) => None,
        _ => {
            return Err(Error::new(Code::BadRequest, "`limit.rate` and `limit.rate_per_us` belong together")
                .hint("give both, or neither of them nor `burst`"));
        }
    };
    let scope = parse("limit.scope", &limit.scope)?;
    Ok((scope, TaskLimit { concurrency: limit.concurrency, rate, queue: limit.queue }))
}

impl From<LimitView> for v1::Limit {
    fn from(view: LimitView) -> Self {
        Self { taken: view.taken, limited: view.limited, ..limit_to_wire(&view.scope, view.limit) }
    }
}

impl TryFrom<v1::Limit> for LimitView {
    type Error = Error;

    fn try_from(view: v1::Limit) -> Result<Self> {
        let (scope, limit) = limit_from_wire(&view)?;
        Ok(Self { scope, limit, taken: view.taken, limited: view.limited })
    }
}

impl From<Progress> for v1::LiveMessage {
    fn from(progress: Progress) -> Self {
        let kind = match progress.live {
            Live::Message { message } => live_message::Kind::Message(message),
            Live::Text { text } => live_message::Kind::Text(text),
            Live::Json { value } => live_message::Kind::Json(value_bytes(&value)),
        };
        Self { step: progress.step, attempt: progress.attempt, kind: Some(kind) }
    }
}
