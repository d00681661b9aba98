//! How a session is opened.
//!
//! For: the instances that a worker announces. Not for: versions of the protocol (both ends of a session compare them).
//! Invariant: instances keep their order, which is their numbering on the stream.

use consort_types::{
    EffectClass, Result, Span, limits,
    worker::{AgentDeclaration, CapabilityDeclaration, EventOrder, Hello, SubscriptionDeclaration},
};

use super::field::{self, attempt, attempt_of, bad, labels, required, schema, schema_bytes, within};
use crate::{PROTOCOL, v1};

/// What opens a session with these instances. Their namespace, client and worker are those of the first.
pub fn hellos_to_wire(hellos: Vec<Hello>) -> v1::Hello {
    let first = hellos.first();
    let (namespace, client, worker) =
        first.map(|hello| (hello.namespace.clone(), hello.client.clone(), hello.worker.clone())).unwrap_or_default();
    let instances = hellos.into_iter().map(Into::into).collect();
    v1::Hello { protocol: PROTOCOL, protocol_min: PROTOCOL, namespace, instances, client, worker }
}

/// The instances of a session, in the order of their numbers. An empty namespace is `default`.
pub fn hellos_from_wire(hello: v1::Hello) -> Result<Vec<Hello>> {
    let namespace = field::some(hello.namespace).unwrap_or_else(|| "default".to_owned());
    let (client, worker) = (hello.client, hello.worker);
    let (count, max) = (hello.instances.len(), limits::GRPC_INSTANCES_MAX);
    if count == 0 || count > max {
        return Err(bad("hello.instances", format!("has {count} instances, but must have 1 to {max}")));
    }
    let one = |(number, instance): (usize, v1::HelloInstance)| {
        within(&format!("hello.instances[{number}]"), instance_from_wire(instance, &namespace, &client, &worker))
    };
    hello.instances.into_iter().enumerate().map(one).collect()
}

impl From<Hello> for v1::HelloInstance {
    fn from(hello: Hello) -> Self {
        Self {
            agent: Some(hello.agent.into()),
            credit: hello.concurrency,
            held: hello.held.into_iter().map(|(task, token)| attempt(task, token)).collect(),
            labels: hello.labels.into_iter().collect(),
        }
    }
}

fn instance_from_wire(instance: v1::HelloInstance, namespace: &str, client: &str, worker: &str) -> Result<Hello> {
    let agent = required("agent", instance.agent)?;
    let held = instance.held.into_iter().enumerate();
    let held = held.map(|(at, attempt)| within(&format!("held[{at}]"), attempt_of(Some(attempt))));
    Ok(Hello {
        namespace: namespace.to_owned(),
        agent: within("agent", agent.try_into())?,
        concurrency: instance.credit,
        held: held.collect::<Result<_>>()?,
        labels: labels(instance.labels),
        client: client.to_owned(),
        worker: worker.to_owned(),
    })
}

impl From<AgentDeclaration> for v1::AgentDeclaration {
    fn from(agent: AgentDeclaration) -> Self {
        Self {
            name: agent.name,
            version: agent.version,
            description: agent.description,
            labels: agent.labels.into_iter().collect(),
            capabilities: agent.capabilities.into_iter().map(Into::into).collect(),
            subscriptions: agent.subscriptions.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::AgentDeclaration> for AgentDeclaration {
    type Error = consort_types::Error;

    fn try_from(agent: v1::AgentDeclaration) -> Result<Self> {
        let capabilities = agent.capabilities.into_iter().enumerate();
        let capabilities =
            capabilities.map(|(at, capability)| within(&format!("capabilities[{at}]"), capability.try_into()));
        let subscriptions = agent.subscriptions.into_iter().enumerate();
        let subscriptions = subscriptions.map(|(at, one)| within(&format!("subscriptions[{at}]"), one.try_into()));
        Ok(Self {
            name: agent.name,
            version: agent.version,
            description: agent.description,
            labels: labels(agent.labels),
            capabilities: capabilities.collect::<Result<_>>()?,
            subscriptions: subscriptions.collect::<Result<_>>()?,
        })
    }
}

impl From<SubscriptionDeclaration> for v1::SubscriptionDeclaration {
    fn from(declared: SubscriptionDeclaration) -> Self {
        let order_by = match declared.order_by {
            None => v1::EventOrder::Unspecified,
            Some(EventOrder::Subject) => v1::EventOrder::Subject,
            Some(EventOrder::Partitionkey) => v1::EventOrder::Partitionkey,
        };
        Self {
            name: declared.name,
            topic: declared.topic,
            capability: declared.capability,
            filter: field::text(declared.filter),
            order_by: order_by.into(),
            max_deliveries: declared.max_deliveries,
            back_off_first_us: declared.back_off.map(|(first, _)| first.0),
            back_off_longest_us: declared.back_off.map(|(_, longest)| longest.0),
            timeout_us: declared.timeout.map(|span| span.0),
            max_in_flight: declared.max_in_flight,
            keep_us: declared.keep.map(|span| span.0),
            from_start: declared.from_start,
        }
    }
}

impl TryFrom<v1::SubscriptionDeclaration> for SubscriptionDeclaration {
    type Error = consort_types::Error;

    fn try_from(declared: v1::SubscriptionDeclaration) -> Result<Self> {
        let order_by = match v1::EventOrder::try_from(declared.order_by) {
            Ok(v1::EventOrder::Unspecified) => None,
            Ok(v1::EventOrder::Subject) => Some(EventOrder::Subject),
            Ok(v1::EventOrder::Partitionkey) => Some(EventOrder::Partitionkey),
            Err(_) => return Err(bad("order_by", format!("is `{}`, which is no order", declared.order_by))),
        };
        let back_off = match (declared.back_off_first_us, declared.back_off_longest_us) {
            (None, None) => None,
            (Some(first), Some(longest)) => Some((Span(first), Span(longest))),
            _ => return Err(bad("back_off_first_us", "and `back_off_longest_us` are given together")),
        };
        Ok(Self {
            name: declared.name,
            topic: declared.topic,
            capability: declared.capability,
            filter: field::some(declared.filter),
            order_by,
            max_deliveries: declared.max_deliveries,
            back_off,
            timeout: declared.timeout_us.map(Span),
            max_in_flight: declared.max_in_flight,
            keep: declared.keep_us.map(Span),
            from_start: declared.from_start,
        })
    }
}

impl From<CapabilityDeclaration> for v1::CapabilityDeclaration {
    fn from(capability: CapabilityDeclaration) -> Self {
        Self {
            name: capability.name,
            description: capability.description,
            effect: v1::EffectClass::from(capability.effect).into(),
            input_schema: schema_bytes(&capability.input_schema),
            output_schema: schema_bytes(&capability.output_schema),
            cost_hint_microdollars: capability.cost_hint_microdollars,
            time_hint_us: capability.time_hint.map(|span| span.0),
        }
    }
}

impl TryFrom<v1::CapabilityDeclaration> for CapabilityDeclaration {
    type Error = consort_types::Error;

    fn try_from(capability: v1::CapabilityDeclaration) -> Result<Self> {
        let effect = v1::EffectClass::try_from(capability.effect)
            .map_err(|_| bad("effect", format!("is `{}`, which is no effect class", capability.effect)))?;
        Ok(Self {
            name: capability.name,
            description: capability.description,
            effect: effect.into(),
            input_schema: schema("input_schema", &capability.input_schema)?,
            output_schema: schema("output_schema", &capability.output_schema)?,
            cost_hint_microdollars: capability.cost_hint_microdollars,
            time_hint: capability.time_hint_us.map(Span),
        })
    }
}

impl From<EffectClass> for v1::EffectClass {
    fn from(effect: EffectClass) -> Self {
        match effect {
            EffectClass::Read => Self::Read,
            EffectClass::Idempotent => Self::Idempotent,
            EffectClass::Write => Self::Write,
        }
    }
}

impl From<v1::EffectClass> for EffectClass {
    fn from(effect: v1::EffectClass) -> Self {
        match effect {
            v1::EffectClass::Unspecified => Self::default(),
            v1::EffectClass::Read => Self::Read,
            v1::EffectClass::Idempotent => Self::Idempotent,
            v1::EffectClass::Write => Self::Write,
        }
    }
}
