//! The promises of the dispatcher, one by one: order, fairness, limits, routes, health, and what is shown of them.
//!
//! For: the dispatcher alone, by small scripts. Not for: what is recorded (see `partition`), or threads.
//! Invariant: every test is a sequence of calls with times of its own; the same calls give the same assignments.

mod fairness;
mod health;
mod limits;
mod routes;
mod views;

use std::collections::BTreeMap;

use consort_dispatch::{Dispatcher, Outcome, WorkerInstanceId};
use consort_types::{
    EffectClass, Locality, RunId, Span, StepInstanceId, Time, Token,
    task::{ConcurrencyKey, ReadyTask},
    worker::{AgentDeclaration, CapabilityDeclaration, Hello, Route},
};

const NS: &str = "n";
const BEGIN: Time = Time(1_000_000_000_000);

/// A dispatcher with a clock that is set by hand.
struct Scene {
    dispatcher: Dispatcher,
    now: Time,
    made: u32,
}

impl Scene {
    fn new() -> Self {
        Self { dispatcher: Dispatcher::new(), now: BEGIN, made: 0 }
    }

    fn pass(&mut self, span: Span) {
        self.now = self.now.after(span);
    }

    /// A task of a run that requires `x`, changed by `with`.
    fn ready(&mut self, run: u16, with: impl FnOnce(&mut ReadyTask)) -> StepInstanceId {
        self.made += 1;
        let task = StepInstanceId { run: run_id(run), scope: 0, index: self.made };
        let mut ready = ReadyTask {
            task,
            token: Token(1),
            namespace: NS.into(),
            capability: Some("x".into()),
            agent: None,
            priority: 0,
            ready: self.now,
            concurrency: None,
            effect: None,
            deadline: None,
            written_by: None,
            route: None,
        };
        with(&mut ready);
        self.dispatcher.ready(ready);
        task
    }

    fn join(&mut self, agent: &str, version: &str, credit: u32) -> WorkerInstanceId {
        self.join_with(agent, version, credit, &["x"], &[])
    }

    fn join_with(
        &mut self,
        agent: &str,
        version: &str,
        credit: u32,
        capabilities: &[&str],
        labels: &[(&str, &str)],
    ) -> WorkerInstanceId {
        let hello = hello(agent, version, credit, capabilities, labels);
        self.dispatcher.join(&hello, Locality::Remote, 28, self.now)
    }

    /// Assigns what can be assigned now.
    fn assign(&mut self) -> Vec<(StepInstanceId, WorkerInstanceId)> {
        self.dispatcher.assign(self.now).into_iter().map(|given| (given.task, given.instance)).collect()
    }

    fn end(&mut self, task: StepInstanceId, outcome: Outcome) {
        self.dispatcher.ended(task, Token(1), outcome, self.now);
        self.dispatcher.remove(task, Some(Token(1)));
    }

    fn complete(&mut self, task: StepInstanceId) {
        self.end(task, Outcome::Completed);
    }

    /// Hands everything out, each task taking no time, and gives the runs in the order in which they were served.
    fn runs_in_order(&mut self) -> Vec<u16> {
        let mut order = Vec::new();
        loop {
            let given = self.assign();
            if given.is_empty() {
                return order;
            }
            for (task, _) in given {
                order.push(u16::from_be_bytes([task.run.0[0], task.run.0[1]]));
                self.complete(task);
            }
        }
    }
}

fn run_id(run: u16) -> RunId {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&run.to_be_bytes());
    RunId(id)
}

fn map(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn hello(agent: &str, version: &str, credit: u32, capabilities: &[&str], labels: &[(&str, &str)]) -> Hello {
    let capability = |name: &&str| CapabilityDeclaration {
        name: (*name).to_owned(),
        description: String::new(),
        effect: EffectClass::Idempotent,
        input_schema: true.into(),
        output_schema: true.into(),
        cost_hint_microdollars: None,
        time_hint: None,
    };
    Hello {
        namespace: NS.into(),
        agent: AgentDeclaration {
            name: agent.into(),
            version: version.into(),
            description: String::new(),
            capabilities: capabilities.iter().map(capability).collect(),
            subscriptions: Vec::new(),
            labels: map(&[("of", "agent"), ("tier", "slow")]),
        },
        concurrency: credit,
        held: Vec::new(),
        labels: map(labels),
        client: "test/1 here:1".into(),
        worker: "one".into(),
    }
}

fn key(key: &str, limit: u32) -> ConcurrencyKey {
    ConcurrencyKey { key: key.into(), limit }
}

fn versions(range: &str) -> Route {
    Route { version: Some(range.into()), ..Route::default() }
}

fn sticky(text: &str) -> Route {
    Route { sticky: Some(text.into()), ..Route::default() }
}
