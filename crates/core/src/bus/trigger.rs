//! `SetTrigger`, `PauseTrigger` and `DeleteTrigger`.
//!
//! For: the commands and their rules. Not for: acting on events (see `fire`), or texts of expressions (the door compiles
//! them).
//! Invariant: a trigger sees every event that is published after it was made, once; a pause only delays that.

use consort_types::{
    Code, Error, Name, Result,
    event::{Position, check_topic_pattern},
    limits,
};
use consort_workflow::{Expression, Reference};
use minicbor::{Decode, Encode};

use crate::{
    bus::{
        keys::{EventList, EventListKey},
        rows::{EventStream, Seen, Trigger, TriggerAction, TriggerSettings},
        schedule, stream,
    },
    context::ApplyContext,
    key::NamedKey,
};

/// Makes a trigger, or changes what it does from the next event on that it sees.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SetTrigger {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The trigger.
    #[n(1)]
    pub name: String,
    /// What it does.
    #[n(2)]
    pub settings: TriggerSettings,
}

/// Pauses or resumes a trigger.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct PauseTrigger {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The trigger.
    #[n(1)]
    pub name: String,
    /// Whether it is to be paused.
    #[n(2)]
    pub paused: bool,
}

/// Forgets a trigger. What it has started continues.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct DeleteTrigger {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The trigger.
    #[n(1)]
    pub name: String,
}

/// There is no such trigger.
pub(crate) fn not_found(namespace: &str, name: &str) -> Error {
    Error::new(Code::TriggerNotFound, format!("there is no trigger `{name}` in namespace `{namespace}`"))
        .hint("`consort triggers list` shows those that there are; `consort triggers set` makes one")
}

fn check_names(namespace: &str, name: &str) -> Result<()> {
    Name::check("namespace", namespace)?;
    Name::check("trigger", name)
}

impl TriggerSettings {
    fn check(&self) -> Result<()> {
        check_topic_pattern(&self.pattern)?;
        match &self.action {
            TriggerAction::Start { workflow, version, .. } => {
                Name::check("workflow", workflow)?;
                version.as_deref().map_or(Ok(()), |version| Name::check_size("version", version))?;
            }
            TriggerAction::Signal { name, .. } => Name::check("signal", name)?,
        }
        let mut all = self.filter.iter().chain(self.action.expressions());
        all.try_for_each(|expression| check_about_event(expression, "a trigger knows the event alone"))
    }
}

/// Refuses an expression that is not about an event.
pub(crate) fn check_about_event(expression: &Expression, hint: &str) -> Result<()> {
    let foreign = expression.references().iter().any(|reference| *reference != Reference::Event);
    if foreign || expression.uses_status() {
        let message = format!("`{}` uses something else than `event`", expression.source());
        return Err(Error::new(Code::BadTrigger, message).hint(hint));
    }
    Ok(())
}

impl SetTrigger {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, &self.name)?;
        self.settings.check()
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        if let Some(known) = ctx.state.tables.triggers.get(&key)? {
            if known.settings != self.settings {
                ctx.state.tables.triggers.put(key, Trigger { settings: self.settings.clone(), ..known });
            }
            return Ok(());
        }
        let mut stream = stream::stream(ctx.state, &self.namespace)?;
        let max = limits::EVENT_TRIGGERS_MAX;
        if stream.triggers as usize >= max {
            let message = format!("namespace `{}` has `{max}` triggers, the limit is {max}", self.namespace);
            return Err(Error::new(Code::LimitReached, message)
                .hint("delete some, or have one start a workflow that decides what is to be done"));
        }
        stream.triggers += 1;
        let trigger = Trigger {
            settings: self.settings.clone(),
            created: ctx.now,
            since: stream.last,
            paused: false,
            behind: None,
            fired: 0,
            filtered: 0,
            failed: 0,
            missed: 0,
            last_fired: None,
            failures: Vec::new(),
        };
        ctx.state.tables.triggers.put(key, trigger);
        stream::put_stream(ctx, &self.namespace, stream);
        Ok(())
    }
}

impl PauseTrigger {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, &self.name)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let Some(mut trigger) = ctx.state.tables.triggers.get(&key)? else {
            return Err(not_found(&self.namespace, &self.name));
        };
        if trigger.paused == self.paused {
            return Ok(());
        }
        trigger.paused = self.paused;
        if self.paused {
            let stream = stream::stream(ctx.state, &self.namespace)?;
            if trigger.behind.is_none() {
                let position = seen_by(&stream, &self.name).max(trigger.since);
                let ordinal = stream::ordinal_at(ctx.state, &self.namespace, &stream, position)?;
                trigger.behind = Some(Seen { position, ordinal });
            }
        } else {
            let place = EventListKey::due(EventList::CatchUp, ctx.now, &self.namespace, &self.name);
            schedule::schedule(ctx, place);
        }
        ctx.state.tables.triggers.put(key, trigger);
        Ok(())
    }
}

/// The last event that a trigger has seen which is neither paused nor behind.
pub(crate) fn seen_by(stream: &EventStream, name: &str) -> Position {
    match &stream.showing {
        Some(showing) if name <= showing.by.as_str() => showing.position,
        _ => stream.fired,
    }
}

impl DeleteTrigger {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, &self.name)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        if ctx.state.tables.triggers.get(&key)?.is_none() {
            return Err(not_found(&self.namespace, &self.name));
        }
        ctx.state.tables.triggers.delete(&key);
        let mut stream = stream::stream(ctx.state, &self.namespace)?;
        stream.triggers -= 1;
        stream::put_stream(ctx, &self.namespace, stream);
        Ok(())
    }
}
