//! `SetAgent`: an operator drains versions of an agent, lets them go on, or weighs them.

use consort_types::{Code, Error, Name, Result, bounds::check_optional_text, limits};
use consort_workflow::did_you_mean;
use minicbor::{Decode, Encode};

use super::Reply;
use crate::{
    effect::Effect,
    fold::Fold,
    keys::AgentKey,
    rows::{Agent, AgentState},
};

/// Says something about versions of an agent. It stands until something else is said, whatever they declare.
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
    /// What is said.
    #[n(3)]
    pub change: AgentChange,
}

/// What an operator says about a version of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AgentChange {
    /// Hand out nothing more to its instances.
    #[n(0)]
    Drain,
    /// Hand out to them again.
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

impl SetAgent {
    pub(crate) fn check(&self) -> Result<()> {
        check_agent(&self.namespace, &self.name, self.version.as_deref())?;
        if let AgentChange::Weight(weight) = self.change
            && weight > limits::AGENT_WEIGHT_MAX
        {
            let message = format!("the weight is `{weight}`, the limit is {}", limits::AGENT_WEIGHT_MAX);
            return Err(Error::new(Code::LimitReached, message)
                .hint(format!("a version has {} where nothing is said", AgentState::WEIGHT_DEFAULT)));
        }
        Ok(())
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        for (key, mut row) in known(fold, &self.namespace, &self.name, self.version.as_deref())? {
            let state = self.change.of(row.state);
            if state == row.state {
                continue;
            }
            row.state = state;
            fold.machine.tables.agents.put(key.clone(), row);
            let AgentKey { namespace, name, version } = key;
            fold.effect(Effect::AgentChanged { namespace, name, version, state: Some(state) });
        }
        Ok(Reply::Done)
    }
}

/// Checks which versions of an agent are meant.
pub(super) fn check_agent(namespace: &str, name: &str, version: Option<&str>) -> Result<()> {
    Name::check("namespace", namespace)?;
    Name::check("agent", name)?;
    check_optional_text("agent's version", version, limits::NAME_BYTES_MAX)
}

/// The versions of an agent that are meant: one, or all. There is at least one.
pub(super) fn known(
    fold: &mut Fold<'_>,
    namespace: &str,
    name: &str,
    version: Option<&str>,
) -> Result<Vec<(AgentKey, Agent)>> {
    let mut rows = fold.machine.versions_of(namespace, name)?;
    let versions: Vec<String> = rows.iter().rev().take(5).map(|(key, _)| format!("`{}`", key.version)).collect();
    rows.retain(|(key, _)| version.is_none_or(|version| version == key.version));
    if !rows.is_empty() {
        return Ok(rows);
    }
    Err(match version {
        Some(version) if !versions.is_empty() => {
            Error::new(Code::AgentNotFound, format!("agent `{name}` has no version `{version}`"))
                .hint(format!("it has {}", versions.join(", ")))
        }
        _ => {
            let names = fold.machine.agent_names(namespace)?;
            let near = did_you_mean(name, names.iter().map(String::as_str));
            Error::new(Code::AgentNotFound, format!("there is no agent `{name}` in namespace `{namespace}`"))
                .hint(near.unwrap_or_else(|| "`consort agents list` shows those that have joined".to_owned()))
        }
    })
}
