//! Subscriptions that agents declare.
//!
//! For: making them with the agent, changing them with its versions, and pausing those that it declares no more. Not for:
//! what a subscription is (see `subscription`).
//! Invariant: of the versions of an agent the one that was declared last counts; a subscription that is not its own is never
//! taken over, and none is deleted: what is no longer declared keeps its events.

use consort_types::{Code, Error, Name, Result, limits};
use minicbor::{Decode, Encode};

use crate::{
    bus::{
        rows::{Owner, Paused, Subscription, SubscriptionSettings},
        stream::{self, StartAt},
        subscription::SetSubscription,
    },
    context::ApplyContext,
    key::NamedKey,
    registry::keys::AgentKey,
};

/// A subscription that an agent declares, with its expressions compiled.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct DeclaredSubscription {
    /// Its name among those of the agent; of the namespace it is `AGENT.NAME`.
    #[n(0)]
    pub name: String,
    /// What it is.
    #[n(1)]
    pub settings: SubscriptionSettings,
    /// Whether a new one begins with the oldest event that is kept, and not behind the last.
    #[n(2)]
    pub from_start: bool,
}

/// The name of a subscription of an agent.
pub(crate) fn full_name(agent: &str, name: &str) -> String {
    format!("{agent}.{name}")
}

impl DeclaredSubscription {
    /// The command that would make it.
    fn command(&self, agent: &AgentKey) -> SetSubscription {
        SetSubscription {
            namespace: agent.namespace.clone(),
            name: full_name(&agent.name, &self.name),
            settings: self.settings.clone(),
            start: if self.from_start { StartAt::All } else { StartAt::New },
        }
    }

    /// Refuses what no state would make acceptable.
    pub(crate) fn check(&self, agent: &str) -> Result<()> {
        Name::check("subscription", &self.name)?;
        let key = AgentKey { namespace: "default".to_owned(), name: agent.to_owned(), version: String::new() };
        self.command(&key).check()
    }
}

/// Refuses what an agent declares, where it cannot be made so.
pub(crate) fn check(ctx: &mut ApplyContext<'_>, agent: &AgentKey, declared: &[DeclaredSubscription]) -> Result<()> {
    let (mut new, mut handing) = (0, 0);
    for one in declared {
        let command = one.command(agent);
        let known = known(ctx, &command)?;
        if let Some(known) = &known
            && known.owner.as_ref().is_none_or(|owner| owner.agent != agent.name)
        {
            let message =
                format!("agent `{}` declares subscription `{}`, which is not its own", agent.name, command.name);
            return Err(Error::new(Code::SubscriptionOwned, message).hint(format!(
                "call it something else, or delete that one: `consort subscriptions delete {}`",
                command.name
            )));
        }
        command.check_room(ctx, known.as_ref())?;
        new += usize::from(known.is_none());
        handing += usize::from(known.is_none_or(|known| known.settings.tasks.is_none()));
    }
    let stream = stream::stream(ctx.state, &agent.namespace)?;
    let counts = [
        (stream.subscriptions as usize + new, limits::EVENT_SUBSCRIPTIONS_MAX),
        (stream.handing as usize + handing, limits::EVENT_TASK_SUBSCRIPTIONS_MAX),
    ];
    match counts.into_iter().find(|(count, max)| count > max) {
        Some((count, max)) => {
            let message =
                format!("namespace `{}` would have {count} such subscriptions, the limit is {max}", agent.namespace);
            Err(Error::new(Code::LimitReached, message).hint("delete those that nobody reads"))
        }
        None => Ok(()),
    }
}

fn known(ctx: &mut ApplyContext<'_>, command: &SetSubscription) -> Result<Option<Subscription>> {
    ctx.state.tables.subscriptions.get(&NamedKey::of(&command.namespace, &command.name))
}

/// Makes what a version of an agent declares, once [`check`] has passed, and pauses what other versions alone declare.
pub(crate) fn declare(ctx: &mut ApplyContext<'_>, agent: &AgentKey, declared: &[DeclaredSubscription]) -> Result<()> {
    for one in declared {
        ctx.charge(1);
        let command = one.command(agent);
        let known = known(ctx, &command)?;
        let owner = Owner { agent: agent.name.clone(), version: agent.version.clone(), withdrawn: false };
        command.set(ctx, known, Some(owner))?;
    }
    let names: Vec<String> = declared.iter().map(|one| full_name(&agent.name, &one.name)).collect();
    withdraw(ctx, agent, &names, &format!("version `{}` of its agent does not declare it", agent.version))
}

/// No version of an agent is left: what they have declared is paused.
pub(crate) fn agent_removed(ctx: &mut ApplyContext<'_>, namespace: &str, agent: &str) -> Result<()> {
    let key = AgentKey { namespace: namespace.to_owned(), name: agent.to_owned(), version: String::new() };
    withdraw(ctx, &key, &[], &format!("agent `{agent}` was removed"))
}

/// Pauses the subscriptions of an agent but those that are still declared.
fn withdraw(ctx: &mut ApplyContext<'_>, agent: &AgentKey, but: &[String], reason: &str) -> Result<()> {
    let key = |name: String| NamedKey { namespace: agent.namespace.clone(), name, number: 0 };
    // What comes behind `.` is `/`, which no name has.
    let (from, to) = (key(full_name(&agent.name, "")), key(format!("{}/", agent.name)));
    for (key, mut row) in ctx.state.tables.subscriptions.range(&from, &to, limits::EVENT_SUBSCRIPTIONS_MAX)? {
        let Some(owner) = row.owner.as_mut().filter(|owner| owner.agent == agent.name && !owner.withdrawn) else {
            continue;
        };
        if but.contains(&key.name) || row.paused.is_some() {
            continue;
        }
        ctx.charge(1);
        owner.withdrawn = true;
        row.paused = Some(Paused { since: ctx.now, reason: Some(reason.to_owned()) });
        ctx.state.tables.subscriptions.put(key, row);
    }
    Ok(())
}
