//! Journal requests of tasks, and settings by operators of agents and limits, from decisions.
//!
//! For: parts of the commands of `machine`. Not for: running them.
//! Invariant: most requests are valid; the rest is refused or answered with an error.

use consort_core::{
    Command,
    command::{AgentChange, RemoveAgent, SetAgent, SetLimit},
};
use consort_types::{
    Payload, Span,
    registry::{LimitScope, Rate, TaskLimit},
    worker::{CallOptions, CallRetry, JournalRequest, Route},
};

use crate::Choices;

/// A request of a task, other than a plain result.
pub(super) fn request(input: Payload, choices: &mut Choices<'_>) -> JournalRequest {
    if choices.once_in(2) {
        let prompt = choices.word(&["sure?", "", "really?"]).to_owned();
        return JournalRequest::Approval { prompt, detail: input };
    }
    let options = choices.once_in(8).then(CallOptions::default).unwrap_or_else(|| options(choices));
    let capability = choices.word(&["plain", "write.it", "read.it", "a b"]).to_owned();
    JournalRequest::Call { capability, input, options: Some(Box::new(options)) }
}

fn options(choices: &mut Choices<'_>) -> CallOptions {
    let retry = choices.once_in(2).then(|| CallRetry {
        attempts: choices.below(4) as u32,
        initial: Span(choices.number()),
        factor_milli: 900 + choices.below(4_000) as u32,
        max: Span(choices.number()),
    });
    CallOptions {
        agent: choices.once_in(3).then(|| choices.word(&["plain", "writer", ""]).to_owned()),
        route: choices.once_in(3).then(|| route(choices)),
        retry,
        timeout: choices.once_in(2).then(|| Span(choices.number())),
        priority: choices.once_in(2).then(|| choices.number() as i32),
    }
}

fn route(choices: &mut Choices<'_>) -> Route {
    Route {
        version: choices.once_in(2).then(|| choices.word(&["^1", "1", "", ">x"]).to_owned()),
        labels: (0..choices.below(40)).map(|n| (format!("l{n}"), "x".repeat(n * 4))).collect(),
        sticky: choices.once_in(2).then(|| "k".repeat(choices.below(300))),
    }
}

/// A setting of agents and limits.
pub(super) fn operate(namespace: String, choices: &mut Choices<'_>) -> Command {
    let name = choices.word(&["plain", "writer", "extra", "unknown", ""]).to_owned();
    let version = choices.once_in(2).then(|| choices.word(&["1", "2", ""]).to_owned());
    match choices.byte() % 6 {
        0 => Command::SetAgent(SetAgent { namespace, name, version, change: AgentChange::Drain }),
        1 => Command::SetAgent(SetAgent { namespace, name, version, change: AgentChange::Resume }),
        2 => {
            let change = AgentChange::Weight(choices.number() as u32);
            Command::SetAgent(SetAgent { namespace, name, version, change })
        }
        3 => Command::RemoveAgent(RemoveAgent { namespace, name, version, force: true }),
        _ => {
            let scope = match choices.byte() % 4 {
                0 => LimitScope::Namespace,
                1 => LimitScope::Capability(name),
                2 => LimitScope::Agent(name),
                _ => LimitScope::Key("k".repeat(choices.below(300))),
            };
            Command::SetLimit(SetLimit { namespace, scope, limit: limit(choices) })
        }
    }
}

fn limit(choices: &mut Choices<'_>) -> TaskLimit {
    let number = |choices: &mut Choices<'_>| choices.once_in(2).then(|| choices.number() as u32);
    TaskLimit {
        concurrency: number(choices),
        rate: choices.once_in(2).then(|| Rate {
            tasks: choices.number() as u32,
            per: Span(choices.number()),
            burst: choices.number() as u32,
        }),
        queue: number(choices),
    }
}
