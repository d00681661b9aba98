//! `RegisterAgent`: a version of an agent joins, or changes what it declares.
//!
//! For: the command and its rule. Not for: which instances are connected (the dispatcher knows).
//! Invariant: the name of a built-in agent is not taken by a remote worker.

use consort_types::{
    Code, Error, Locality, Name, Payload, Result, Time, bounds::check_count, limits, registry::AgentState,
    worker::AgentDeclaration,
};
use minicbor::{Decode, Encode};

use crate::{
    bus::declared::{self, DeclaredSubscription},
    context::ApplyContext,
    effect::Effect,
    encode::to_value,
    quota::namespace,
    registry::{agents, keys::AgentKey, rows::Agent},
};

/// Makes an agent's declaration known. Versions of an agent exist side by side.
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
    /// The subscriptions that it declares, with their expressions compiled; the door does that.
    #[n(3)]
    #[cbor(default)]
    pub subscriptions: Vec<DeclaredSubscription>,
}

impl RegisterAgent {
    /// A command from a declaration by an instance that lives there.
    pub fn new(namespace: &str, declaration: &AgentDeclaration, locality: Locality) -> Self {
        Self {
            namespace: namespace.to_owned(),
            declaration: Payload::from_value(&to_value(declaration)),
            built_in: locality == Locality::Local,
            subscriptions: Vec::new(),
        }
    }

    /// As [`Command::check`].
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        let (bytes, max) = (self.declaration.len(), limits::WORKFLOW_BYTES_MAX as u64);
        if bytes > max {
            let message = format!("the declaration has {bytes} bytes, the limit is {max}");
            return Err(Error::new(Code::LimitReached, message).hint("shorten the schemas"));
        }
        let (_, declared) = self.row(Time(0))?;
        check_count("subscriptions of an agent", self.subscriptions.len(), limits::AGENT_SUBSCRIPTIONS_MAX)?;
        self.subscriptions.iter().try_for_each(|one| one.check(&declared.name))
    }

    /// The row of the declaration, and its content.
    fn row(&self, since: Time) -> Result<(Agent, AgentDeclaration)> {
        let row = Agent {
            declaration: self.declaration.clone(),
            since,
            state: AgentState::default(),
            built_in: self.built_in,
        };
        let Some(declared) = row.declaration() else {
            return Err(Error::new(Code::BadRequest, "the agent's declaration cannot be read")
                .hint("it must be inline JSON with name, version, description and capabilities"));
        };
        declared.check()?;
        Ok((row, declared))
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let (mut row, declared) = self.row(ctx.now)?;
        let key = AgentKey { namespace: self.namespace.clone(), name: declared.name, version: declared.version };
        if !self.built_in && agents::is_built_in(ctx.state, &key.namespace, &key.name)? {
            return Err(reserved(&key.name));
        }
        let known = ctx.state.tables.agents.get(&key)?;
        match &known {
            Some(known) if known.declaration == self.declaration && known.built_in == self.built_in => {
                return Ok(());
            }
            // What operators have set holds, whatever the version declares.
            Some(known) => row.state = known.state,
            None => check_versions(ctx, &key)?,
        }
        declared::check(ctx, &key, &self.subscriptions)?;
        if known.is_none() {
            namespace::count(ctx, &key.namespace, |counts| counts.agents += 1)?;
        }
        declared::declare(ctx, &key, &self.subscriptions)?;
        let state = Some(row.state);
        ctx.state.tables.agents.put(key.clone(), row);
        let AgentKey { namespace, name, version } = key;
        ctx.effect(Effect::AgentChanged { namespace, name, version, state });
        Ok(())
    }
}

fn reserved(name: &str) -> Error {
    Error::new(Code::AgentReserved, format!("`{name}` is a built-in agent, and cannot be declared by a remote worker"))
        .hint("call the agent something else")
}

/// Refuses one version more than an agent may have.
fn check_versions(ctx: &mut ApplyContext<'_>, key: &AgentKey) -> Result<()> {
    let max = limits::AGENT_VERSIONS_MAX;
    let known = agents::version_count(ctx.state, &key.namespace, &key.name)?;
    if known < max {
        return Ok(());
    }
    let message = format!("agent `{}` has `{known}` versions, the limit is {max}", key.name);
    Err(Error::new(Code::LimitReached, message).hint("remove those that serve no more: `consort agents remove`"))
}
