//! The names of agents in the ids of worker instances.
//!
//! For: showing who does a step. Not for: the instances themselves.
//! Invariant: a text that is no id is shown as it is.

/// The agent that an instance `local:START:NUMBER:AGENT` serves: it is what people know.
pub(crate) fn agent_of(instance: &str) -> &str {
    instance.splitn(4, ':').nth(3).unwrap_or(instance)
}
