//! `RemoveAgent`: versions of an agent are forgotten, with what was said about them.

use consort_types::Result;
use minicbor::{Decode, Encode};

use super::{Reply, set_agent};
use crate::{effect::Effect, fold::Fold, keys::AgentKey};

/// Forgets versions of an agent. One that connects again is known again, as if it were new.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RemoveAgent {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The agent.
    #[n(1)]
    pub name: String,
    /// The version; without one, every version.
    #[n(2)]
    pub version: Option<String>,
    /// Whether its connected instances are let go; without it the engine refuses where there are any.
    #[n(3)]
    pub force: bool,
}

impl RemoveAgent {
    /// As [`super::Command::check`].
    pub fn check(&self) -> Result<()> {
        set_agent::check_agent(&self.namespace, &self.name, self.version.as_deref())
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        for (key, _) in set_agent::known(fold, &self.namespace, &self.name, self.version.as_deref())? {
            fold.machine.tables.agents.delete(&key);
            let AgentKey { namespace, name, version } = key;
            fold.effect(Effect::AgentChanged { namespace, name, version, state: None });
        }
        Ok(Reply::Done)
    }
}
