//! What may have been meant.
//!
//! For: errors about agents and capabilities that are not there. Not for: correcting anything by itself.
//! Invariant: a suggestion is something that is there.

use consort_types::{Code, Error, Result};
use consort_workflow::did_you_mean;

use super::agents::views;
use crate::client::{
    Client,
    registry::{AgentFilter, AgentName},
};

/// The error, with the agent whose name is nearest where none has the name.
pub(crate) async fn agent(client: &Client, agent: &AgentName, error: Error) -> Error {
    if error.code != Code::AgentNotFound {
        return error;
    }
    // The error stands by itself where nothing can be asked any more.
    let known = client.agents(&AgentFilter::default()).await.and_then(|documents| views(&documents));
    let known = known.unwrap_or_default();
    let names = || known.iter().map(|known| known.declaration.name.as_str());
    if names().any(|name| name == agent.name) {
        return error;
    }
    match did_you_mean(&agent.name, names()) {
        Some(hint) => error.hint(hint),
        None => error.hint("`consort agents list` shows those that have joined"),
    }
}

/// The capability that is nearest to one that nobody has; `None` where somebody has it, or nothing is near.
pub(crate) async fn capability(client: &Client, wanted: &str) -> Result<Option<String>> {
    let known = views(&client.agents(&AgentFilter::default()).await?)?;
    let names = || known.iter().flat_map(|agent| &agent.declaration.capabilities).map(|found| found.name.as_str());
    Ok(if names().any(|name| name == wanted) { None } else { did_you_mean(wanted, names()) })
}
