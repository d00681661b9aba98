//! Built-in agents, each on the worker SDK alone.
//!
//! For: useful work out of the box. Not for: reaching into the engine; these are agents like anyone's.
//! Invariant: an agent declares the schemas and the effect class of every capability that it offers.

pub mod research;

use consort_sdk::Agent;

/// Settings of the built-in agents.
#[derive(Clone, Debug, Default)]
pub struct BuiltinConfig {
    /// Settings of the research assistant.
    pub research: research::ResearchConfig,
}

/// All built-in agents.
pub fn builtin(config: BuiltinConfig) -> Vec<Agent> {
    vec![research::agent(config.research)]
}
