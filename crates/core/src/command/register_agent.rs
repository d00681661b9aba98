//! `RegisterAgent`: a version of an agent joins, or changes what it declares.

use std::collections::{BTreeMap, BTreeSet};

use consort_types::{Code, Error, Locality, Name, Payload, Result, limits, worker::AgentDeclaration};
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
    /// Where the instance lives that declares it is in the engine's process: the name is then reserved for such.
    #[n(2)]
    pub built_in: bool,
}

impl RegisterAgent {
    /// A command from a declaration by an instance that lives there.
    pub fn new(namespace: &str, declaration: &AgentDeclaration, locality: Locality) -> Self {
        let value = serde_json::to_value(declaration).unwrap_or_default();
        Self {
            namespace: namespace.to_owned(),
            declaration: Payload::from_value(&value),
            built_in: locality == Locality::Local,
        }
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        Name::check("namespace", &self.namespace)?;
        let (declaration, state) = (self.declaration.clone(), AgentState::default());
        let mut row = Agent { declaration, since: fold.now, state, built_in: self.built_in };
        let Some(declared) = row.declaration() else {
            return Err(Error::new(Code::BadRequest, "the agent's declaration cannot be read")
                .hint("it must be inline JSON with name, version, description and capabilities"));
        };
        check(&declared)?;
        let key = AgentKey { namespace: self.namespace.clone(), name: declared.name, version: declared.version };
        if !self.built_in && fold.machine.is_built_in(&key.namespace, &key.name)? {
            return Err(reserved(&key.name));
        }
        match fold.machine.tables.agents.get(&key)? {
            Some(known) if known.declaration == self.declaration && known.built_in == self.built_in => {
                return Ok(Reply::Done);
            }
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

fn reserved(name: &str) -> Error {
    Error::new(Code::AgentReserved, format!("`{name}` is a built-in agent, and cannot be declared by a remote worker"))
        .hint("call the agent something else")
}

fn check(declared: &AgentDeclaration) -> Result<()> {
    Name::check("agent", &declared.name)?;
    let mut names = BTreeSet::new();
    for capability in &declared.capabilities {
        Name::check("capability", &capability.name)?;
        if !names.insert(&capability.name) {
            let message = format!("agent `{}` declares the capability `{}` twice", declared.name, capability.name);
            return Err(Error::new(Code::BadRequest, message).hint("declare each capability once"));
        }
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
