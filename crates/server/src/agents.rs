//! The agents that every server hosts.
//!
//! For: the list. Not for: their code.
//! Invariant: an agent costs nothing before its first task: what is heavy is made when it is needed.

use consort_agents::BuiltinConfig;
use consort_worker::Agent;

use crate::basic;

/// The built-in agents.
pub(crate) fn builtin() -> Vec<Agent> {
    let mut agents = vec![basic::agent()];
    agents.extend(consort_agents::builtin(BuiltinConfig::default()));
    agents
}
