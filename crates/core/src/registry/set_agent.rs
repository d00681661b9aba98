//! `SetAgent`: an operator drains versions of an agent, resumes them, or weighs them.
//!
//! For: the command and its rule. Not for: enforcing it (the dispatcher does).
//! Invariant: what is set holds until it is set again, whatever the versions declare.

use consort_types::{Code, Error, Result, limits, registry::AgentState};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    effect::Effect,
    registry::{
        agents::{check_agent, known},
        keys::AgentKey,
    },
};

/// Sets the state of versions of an agent. It holds until it is set again, whatever they declare.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SetAgent {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The agent.
    #[n(1)]
    pub name: String,
    /// The version; without one, every version that is known now.
    #[n(2)]
    pub version: Option<String>,
    /// The setting.
    #[n(3)]
    pub change: AgentChange,
}

impl SetAgent {
    pub(crate) fn check(&self) -> Result<()> {
        check_agent(&self.namespace, &self.name, self.version.as_deref())?;
        if let AgentChange::Weight(weight) = self.change
            && weight > limits::AGENT_WEIGHT_MAX
        {
            let message = format!("the weight is `{weight}`, the limit is {}", limits::AGENT_WEIGHT_MAX);
            return Err(
                Error::new(Code::LimitReached, message).hint(format!("the default is {}", AgentState::WEIGHT_DEFAULT))
            );
        }
        Ok(())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        for (key, mut row) in known(ctx.state, &self.namespace, &self.name, self.version.as_deref())? {
            let state = self.change.of(row.state);
            if state == row.state {
                continue;
            }
            row.state = state;
            ctx.state.tables.agents.put(key.clone(), row);
            let AgentKey { namespace, name, version } = key;
            ctx.effect(Effect::AgentChanged { namespace, name, version, state: Some(state) });
        }
        Ok(())
    }
}

/// A setting that an operator makes for a version of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AgentChange {
    /// Assign nothing more to its instances.
    #[n(0)]
    Drain,
    /// Assign to them again.
    #[n(1)]
    Resume,
    /// Its share of the work beside other versions, from 0 to [`limits::AGENT_WEIGHT_MAX`].
    #[n(2)]
    Weight(#[n(0)] u32),
}

impl AgentChange {
    fn of(self, state: AgentState) -> AgentState {
        match self {
            Self::Drain => AgentState { draining: true, ..state },
            Self::Resume => AgentState { draining: false, ..state },
            Self::Weight(weight) => AgentState { weight, ..state },
        }
    }
}
