//! Similar names, as hints.
//!
//! For: errors about agents and capabilities that are not there. Not for: correcting anything by itself.
//! Invariant: a suggestion is something that is there.

use consort_api::agents::{Agent, AgentFilter, AgentParams, ListAgents};
use consort_types::{Code, Error, Result};
use consort_workflow::did_you_mean;

use crate::client::Client;

/// Every agent that is known.
async fn known(client: &Client) -> Result<Vec<Agent>> {
    Ok(client.call::<ListAgents>(&AgentFilter::default(), &()).await?.items)
}

/// The error, with the agent whose name is nearest where none has the name.
pub(crate) async fn agent(client: &Client, agent: &AgentParams, error: Error) -> Error {
    if error.code != Code::AgentNotFound {
        return error;
    }
    // The error is shown without a hint where the engine cannot be reached.
    let known = known(client).await.unwrap_or_default();
    let names = || known.iter().map(|known| known.name.as_str());
    if names().any(|name| name == agent.name) {
        return error;
    }
    match did_you_mean(&agent.name, names()) {
        Some(hint) => error.hint(hint),
        None => error.hint("`consort agents list` shows those that have joined"),
    }
}

/// The capability that is nearest to one that no agent has; `None` where an agent has it, or nothing is near.
pub(crate) async fn capability(client: &Client, wanted: &str) -> Result<Option<String>> {
    let known = known(client).await?;
    let names = || known.iter().flat_map(|agent| &agent.capabilities).map(|found| found.name.as_str());
    Ok(if names().any(|name| name == wanted) { None } else { did_you_mean(wanted, names()) })
}
