//! Operators of the registry: drains, weights, removals, limits.
//!
//! For: what people do to agents while they work. Not for: what they do to runs (see `clients`).
//! Invariant: once all is calm, every agent may work again and no limit is left, so that every run can end.

use consort_core::{
    Command,
    command::{AgentChange, SetAgent, SetLimit},
};
use consort_types::{
    Span,
    registry::{LimitScope, Rate, TaskLimit},
};

use crate::{
    answers,
    clients::{NAMESPACES, Purpose},
    world::World,
};

/// Capabilities on which limits are set.
const LIMITED: [&str; 4] = ["work", "look", "pay", "flow"];

impl World {
    /// An operator does something to an agent, or sets a limit.
    pub(crate) fn disturb_registry(&mut self) {
        let at = self.random.below(2) as usize;
        let namespace = NAMESPACES[at].to_owned();
        let (name, _) = *self.random.pick(&answers::AGENTS);
        let (name, version) = (name.to_owned(), Some("1".to_owned()));
        let command = match self.random.below(7) {
            0 | 1 => Command::SetAgent(SetAgent { namespace, name, version, change: AgentChange::Drain }),
            2 | 3 => Command::SetAgent(SetAgent { namespace, name, version, change: AgentChange::Resume }),
            4 => {
                let change = AgentChange::Weight(self.random.below(3) as u32 * 50 + 1);
                Command::SetAgent(SetAgent { namespace, name, version, change })
            }
            _ => return self.set_some_limit(at),
        };
        self.figures.fault("drains and other changes of agents");
        self.ask(command, Purpose::Any);
    }

    fn set_some_limit(&mut self, namespace: usize) {
        let scope = if self.random.chance(300) {
            LimitScope::Namespace
        } else {
            LimitScope::Capability((*self.random.pick(&LIMITED)).to_owned())
        };
        let rate = self.random.chance(400).then(|| Rate {
            tasks: self.random.between(1, 20) as u32,
            per: Span(self.random.span(100_000, 10_000_000)),
            burst: self.random.between(1, 5) as u32,
        });
        let concurrency = (rate.is_none() || self.random.chance(500)).then(|| self.random.between(1, 3) as u32);
        self.figures.fault("limits");
        self.set_limit(namespace, scope, TaskLimit { concurrency, rate, queue: None });
    }

    fn set_limit(&mut self, namespace: usize, scope: LimitScope, limit: TaskLimit) {
        let command = SetLimit { namespace: NAMESPACES[namespace].to_owned(), scope, limit };
        self.ask(Command::SetLimit(command), Purpose::Any);
    }

    /// Agents may work again, and limits go.
    pub(crate) fn settle_registry(&mut self) {
        let Some(Ok(machine)) = self.host.partition.as_mut().map(|partition| partition.machine()) else { return };
        let (Ok(agents), Ok(limits)) = (machine.registry().agent_states(), machine.registry().limits()) else { return };
        for (namespace, name, version, _) in agents.into_iter().filter(|(.., state)| state.draining) {
            let (version, change) = (Some(version), AgentChange::Resume);
            self.ask(Command::SetAgent(SetAgent { namespace, name, version, change }), Purpose::Any);
        }
        for (namespace, scope, _) in limits {
            let at = NAMESPACES.iter().position(|known| *known == namespace).unwrap_or(0);
            self.set_limit(at, scope, TaskLimit::default());
        }
    }
}
