//! The agents that every server hosts.
//!
//! For: the list. Not for: their code.
//! Invariant: an agent costs nothing before its first task: what is heavy is made when it is needed.

use consort_agents_research::{BuiltinConfig, research::ResearchConfig};
use consort_sdk::Agent;

use crate::{Settings, basic, local::DataFolder};

/// Names of the built-in agents: they run wherever tasks are run, and connect by themselves.
pub const BUILTIN_AGENTS: [&str; 2] = ["basic", "research"];

/// The built-in agents.
pub(crate) fn builtin(settings: &Settings) -> Vec<Agent> {
    let research = ResearchConfig {
        cache: Some(DataFolder::at(settings.data_dir()).cache().join("research")),
        // A hostile PDF file ends a process of its own instead of this one.
        pdf_executable: std::env::current_exe().ok(),
        model: settings.research_model().map(Into::into),
    };
    let mut agents = vec![basic::agent()];
    agents.extend(consort_agents_research::builtin(BuiltinConfig { research }));
    agents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_agent_is_named() {
        let settings = crate::settings::Sources::default().load().expect("settings");
        let names: Vec<String> = builtin(&settings).iter().map(|agent| agent.name().to_owned()).collect();
        assert_eq!(names, BUILTIN_AGENTS);
    }
}
