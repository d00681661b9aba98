//! `RemoveAgent`: versions of an agent are forgotten, with what operators have set for them.
//!
//! For: the command and its rule. Not for: disconnecting instances (the engine does).
//! Invariant: a removed version that connects again is new.

use consort_types::{Code, Error, Result};
use minicbor::{Decode, Encode};

use crate::{
    auction::record,
    bus::declared,
    context::ApplyContext,
    effect::Effect,
    quota::namespace,
    registry::{agents, keys::AgentKey},
    task::pin,
};

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
    /// Whether its connected instances are disconnected, and the tasks that hang on it left to other versions; without it,
    /// either is a reason to refuse.
    #[n(3)]
    pub force: bool,
}

impl RemoveAgent {
    /// As [`Command::check`].
    pub fn check(&self) -> Result<()> {
        agents::check_agent(&self.namespace, &self.name, self.version.as_deref())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let known = agents::known(ctx.state, &self.namespace, &self.name, self.version.as_deref())?;
        if !self.force {
            known.iter().try_for_each(|(key, _)| refuse_pinned(ctx, key))?;
        }
        namespace::count(ctx, &self.namespace, |counts| counts.agents -= known.len() as u64)?;
        let name = &self.name;
        for (key, _) in known {
            ctx.state.tables.agents.delete(&key);
            let AgentKey { namespace, name, version } = key;
            ctx.effect(Effect::AgentChanged { namespace, name, version, state: None });
        }
        if agents::version_count(ctx.state, &self.namespace, name)? == 0 {
            record::forget(ctx, &self.namespace, name)?;
            declared::agent_removed(ctx, &self.namespace, name)?;
        }
        Ok(())
    }
}

/// A version that tasks hang on is removed only by force.
fn refuse_pinned(ctx: &ApplyContext<'_>, key: &AgentKey) -> Result<()> {
    let tasks = pin::tasks_of(ctx.state, key)?;
    if tasks == 0 {
        return Ok(());
    }
    let message = format!("`{tasks}` tasks have journals that the code of `{}@{}` wrote", key.name, key.version);
    Err(Error::new(Code::AgentPinned, message)
        .hint("wait until they have ended, or remove it by force: other versions may then try to go on with them"))
}
