//! `RegisterAgent`: a version of an agent joins, or changes what it declares.

use std::collections::BTreeMap;

use consort_types::{Code, Error, Name, Payload, Result, limits, worker::AgentDeclaration};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::{
    effect::Effect,
    fold::Fold,
    keys::AgentKey,
    rows::{Agent, AgentState},
};

/// Makes an agent's declaration known. Versions of an agent stand side by side.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RegisterAgent {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The declaration, as JSON of [`AgentDeclaration`].
    #[n(1)]
    pub declaration: Payload,
}

impl RegisterAgent {
    /// A command from a declaration.
    pub fn new(namespace: &str, declaration: &AgentDeclaration) -> Self {
        let value = serde_json::to_value(declaration).unwrap_or_default();
        Self { namespace: namespace.to_owned(), declaration: Payload::from_value(&value) }
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        Name::check("namespace", &self.namespace)?;
        let mut row = Agent { declaration: self.declaration.clone(), since: fold.now, state: AgentState::default() };
        let Some(declared) = row.declaration() else {
            return Err(Error::new(Code::BadRequest, "the agent's declaration cannot be read")
                .hint("it must be inline JSON with name, version, description and capabilities"));
        };
        check(&declared)?;
        let key = AgentKey { namespace: self.namespace.clone(), name: declared.name, version: declared.version };
        match fold.machine.tables.agents.get(&key)? {
            Some(known) if known.declaration == self.declaration => return Ok(Reply::Done),
            // What operators said stands, whatever the version declares.
            Some(known) => row.state = known.state,
            None => check_versions(fold, &key)?,
        }
        let state = Some(row.state);
        fold.machine.tables.agents.put(key.clone(), row);
        let AgentKey { namespace, name, version } = key;
        fold.effect(Effect::AgentChanged { namespace, name, version, state });
        Ok(Reply::Done)
    }
}

fn check(declared: &AgentDeclaration) -> Result<()> {
    Name::check("agent", &declared.name)?;
    for capability in &declared.capabilities {
        Name::check("capability", &capability.name)?;
    }
    let (bytes, max) = (declared.version.len(), limits::NAME_BYTES_MAX);
    if bytes > max {
        let message = format!("the agent's version has `{bytes}` bytes, the limit is {max}");
        return Err(Error::new(Code::LimitReached, message).hint("use a short version, such as `1.2.0`"));
    }
    check_labels("agent", &declared.labels)
}

/// Checks the labels of `what`.
fn check_labels(what: &str, labels: &BTreeMap<String, String>) -> Result<()> {
    let (count, max) = (labels.len(), limits::LABELS_MAX);
    if count > max {
        let message = format!("the {what} has `{count}` labels, the limit is {max}");
        return Err(Error::new(Code::LimitReached, message).hint("keep those by which it is chosen"));
    }
    for (label, value) in labels {
        Name::check("label", label)?;
        let (bytes, max) = (value.len(), limits::NAME_BYTES_MAX);
        if bytes > max {
            let message = format!("label `{label}` of the {what} has `{bytes}` bytes, the limit is {max}");
            return Err(Error::new(Code::LimitReached, message).hint("labels are short words by which it is chosen"));
        }
    }
    Ok(())
}

/// Refuses one version more than an agent may have.
fn check_versions(fold: &mut Fold<'_>, key: &AgentKey) -> Result<()> {
    let max = limits::AGENT_VERSIONS_MAX;
    let known = fold.machine.version_count(&key.namespace, &key.name)?;
    if known < max {
        return Ok(());
    }
    let message = format!("agent `{}` has `{known}` versions, the limit is {max}", key.name);
    Err(Error::new(Code::LimitReached, message).hint("remove those that serve no more: `consort agents remove`"))
}
