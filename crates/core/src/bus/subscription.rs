//! `SetSubscription`, `SeekSubscription` and `DeleteSubscription`.
//!
//! For: the commands and their rules. Not for: deliveries (see `fetch`).
//! Invariant: a change of the settings leaves the place of a subscription and its deliveries as they are.

use consort_types::{
    Code, Error, Name, Result, Span, WebhookUrl,
    event::{Position, check_topic_pattern},
    limits,
};
use minicbor::{Decode, Encode};

use crate::{
    bus::{
        delivery::Deliveries,
        rows::{AsTasks, BackOff, Filter, Owner, Push, Subscription, SubscriptionSettings},
        stream::{self, StartAt},
        trigger::check_about_event,
    },
    context::{ApplyContext, PendingWork},
    key::NamedKey,
};

/// Makes a subscription, or changes its settings.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SetSubscription {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The subscription.
    #[n(1)]
    pub name: String,
    /// What it is.
    #[n(2)]
    pub settings: SubscriptionSettings,
    /// Where a new one begins.
    #[n(3)]
    pub start: StartAt,
}

/// Moves a subscription to another place. What is not acknowledged is over; dead letters stay.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SeekSubscription {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The subscription.
    #[n(1)]
    pub name: String,
    /// Where it continues.
    #[n(2)]
    pub to: StartAt,
}

/// Forgets a subscription with all its deliveries; those that are tasks are cancelled.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct DeleteSubscription {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The subscription.
    #[n(1)]
    pub name: String,
}

/// There is no such subscription.
pub(crate) fn not_found(namespace: &str, name: &str) -> Error {
    Error::new(Code::SubscriptionNotFound, format!("there is no subscription `{name}` in namespace `{namespace}`"))
        .hint("`consort subscriptions list` shows those that there are; `consort subscriptions create` makes one")
}

fn check_names(namespace: &str, name: &str) -> Result<()> {
    Name::check("namespace", namespace)?;
    Name::check("subscription", name)
}

impl SubscriptionSettings {
    /// The settings for a pattern of topics, where nothing else is chosen.
    pub fn new(pattern: &str) -> Self {
        Self {
            pattern: pattern.to_owned(),
            ordered: None,
            ack_wait: Span::from_secs(limits::EVENT_ACK_WAIT_SECONDS_DEFAULT),
            max_deliveries: limits::EVENT_DELIVERIES_DEFAULT,
            back_off: BackOff { first: Span::from_secs(1), longest: Span::from_secs(60) },
            max_in_flight: limits::EVENT_IN_FLIGHT_DEFAULT,
            push: None,
            filter: None,
            tasks: None,
        }
    }

    fn check(&self) -> Result<()> {
        check_topic_pattern(&self.pattern)?;
        check_range("max_deliveries", u64::from(self.max_deliveries), u64::from(limits::EVENT_DELIVERIES_MAX))?;
        check_range("max_in_flight", u64::from(self.max_in_flight), u64::from(limits::EVENT_IN_FLIGHT_MAX))?;
        let longest = Span::from_secs(limits::EVENT_ACK_WAIT_SECONDS_MAX);
        for (name, span) in [("ack_wait", self.ack_wait), ("back_off", self.back_off.longest)] {
            if span > longest {
                return Err(Error::new(Code::LimitReached, format!("`{name}` is `{span}`, the limit is {longest}"))
                    .hint("for longer work, acknowledge the event and start a run with it"));
            }
        }
        if self.ack_wait < Span::from_millis(1) {
            return Err(Error::new(
                Code::BadRequest,
                format!("`ack_wait` is `{}`, which no consumer meets", self.ack_wait),
            )
            .hint("give consumers at least `1ms`"));
        }
        if self.back_off.first > self.back_off.longest {
            let (first, longest) = (self.back_off.first, self.back_off.longest);
            return Err(Error::new(
                Code::BadRequest,
                format!("the back-off begins with `{first}`, longer than `{longest}`"),
            )
            .hint("let it begin with the shorter wait"));
        }
        if let Some(Filter(filter)) = &self.filter {
            check_about_event(filter, "a filter knows the event alone")?;
        }
        match (&self.push, &self.tasks) {
            (Some(_), Some(_)) => {
                Err(Error::new(Code::BadRequest, "the events are to be pushed to a webhook and handed to agents")
                    .hint("make two subscriptions; each gets every event"))
            }
            (Some(push), None) => push.check(self.ack_wait),
            (None, Some(tasks)) => tasks.check(self),
            (None, None) => Ok(()),
        }
    }
}

impl AsTasks {
    fn check(&self, settings: &SubscriptionSettings) -> Result<()> {
        Name::check("capability", &self.capability)?;
        self.agent.as_deref().map_or(Ok(()), |agent| Name::check("agent", agent))?;
        check_range("max_in_flight", u64::from(settings.max_in_flight), u64::from(limits::EVENT_TASKS_MAX))?;
        if self.timeout == Some(Span::ZERO) {
            return Err(Error::new(Code::BadRequest, "the timeout of a task is zero")
                .hint("give it a time above zero, or leave it out"));
        }
        Ok(())
    }
}

impl Push {
    /// What is given up after `ack_wait` is delivered again, so a webhook has to answer before.
    fn check(&self, ack_wait: Span) -> Result<()> {
        self.url.parse::<WebhookUrl>()?;
        Name::check("secret", &self.secret)?;
        let timeout = self.timeout;
        if timeout < Span::from_millis(1) || timeout >= ack_wait {
            let message = format!("`timeout` is `{timeout}`, and must be shorter than the `ack_wait` of `{ack_wait}`");
            return Err(Error::new(Code::BadWebhook, message)
                .hint("give the webhook less time to answer, or the subscription a longer `ack_wait`"));
        }
        Ok(())
    }
}

/// Refuses a consumer that fetches what is pushed, and a push of what is fetched: one would take the events of the other.
pub(crate) fn check_consumer(name: &str, settings: &SubscriptionSettings, pushes: bool) -> Result<()> {
    let how = match (&settings.tasks, &settings.push) {
        (Some(_), _) => "hands its events to agents, and is not fetched from",
        (None, Some(_)) if !pushes => "pushes to a webhook, and is not fetched from",
        (None, None) if pushes => "has no webhook, and is fetched from",
        (None, _) => return Ok(()),
    };
    Err(Error::new(Code::SubscriptionPushes, format!("subscription `{name}` {how}"))
        .hint("make a subscription of its own for other consumers; each gets every event"))
}

fn check_range(name: &str, value: u64, max: u64) -> Result<()> {
    match value {
        0 => {
            Err(Error::new(Code::BadRequest, format!("`{name}` is 0, and must be at least 1")).hint("choose a number"))
        }
        value if value > max => {
            Err(Error::new(Code::LimitReached, format!("`{name}` is `{value}`, the limit is {max}"))
                .hint("choose less"))
        }
        _ => Ok(()),
    }
}

impl SetSubscription {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, &self.name)?;
        self.settings.check()
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let known = ctx.state.tables.subscriptions.get(&key)?;
        if let Some(Owner { agent, .. }) = known.as_ref().and_then(|known| known.owner.as_ref()) {
            let message = format!("subscription `{}` is declared by agent `{agent}`", self.name);
            return Err(Error::new(Code::SubscriptionOwned, message).hint(
                "change what the agent declares, or make one of another name; it can be paused and moved as any",
            ));
        }
        self.check_room(ctx, known.as_ref())?;
        self.set(ctx, known, None)
    }

    /// Refuses what cannot be made, or not be changed so.
    pub(crate) fn check_room(&self, ctx: &mut ApplyContext<'_>, known: Option<&Subscription>) -> Result<()> {
        let stream = stream::stream(ctx.state, &self.namespace)?;
        let max = limits::EVENT_SUBSCRIPTIONS_MAX;
        if known.is_none() && stream.subscriptions as usize >= max {
            let message = format!("namespace `{}` has `{max}` subscriptions, the limit is {max}", self.namespace);
            return Err(Error::new(Code::LimitReached, message).hint("delete those that nobody reads"));
        }
        let (max, hands) =
            (limits::EVENT_TASK_SUBSCRIPTIONS_MAX, known.is_some_and(|known| known.settings.tasks.is_some()));
        if self.settings.tasks.is_some() && !hands && stream.handing as usize >= max {
            let message = format!(
                "`{max}` subscriptions of namespace `{}` hand their events to agents, the limit is {max}",
                self.namespace
            );
            return Err(Error::new(Code::LimitReached, message).hint("delete some, or have one get more topics"));
        }
        if known.is_some_and(|known| known.settings.ordered != self.settings.ordered) {
            let message = format!("the order of subscription `{}` cannot be changed", self.name);
            return Err(Error::new(Code::SubscriptionClash, message)
                .hint("delete it and make it again from the position where it is, or make another one"));
        }
        Ok(())
    }

    /// Makes it, or changes its settings, once [`SetSubscription::check_room`] has passed; only the place at which a new
    /// one begins may still refuse it.
    pub(crate) fn set(
        &self,
        ctx: &mut ApplyContext<'_>,
        known: Option<Subscription>,
        owner: Option<Owner>,
    ) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let mut stream = stream::stream(ctx.state, &self.namespace)?;
        let hands = self.settings.tasks.is_some();
        if let Some(known) = known {
            if known.settings.tasks.is_some() != hands {
                stream::set_handing(ctx, &mut stream, &key, hands);
                stream::put_stream(ctx, &self.namespace, stream);
            }
            self.change(ctx, &known, owner);
            return Ok(());
        }
        let (cursor, looked) = stream::place(ctx.state, &self.namespace, &stream, self.start)?;
        stream.subscriptions += 1;
        if hands {
            stream::set_handing(ctx, &mut stream, &key, true);
            ctx.enqueue(PendingWork::HandOut(key.clone()));
        }
        stream::put_stream(ctx, &self.namespace, stream);
        let subscription = Subscription {
            settings: self.settings.clone(),
            created: ctx.now,
            cursor,
            looked,
            in_flight: 0,
            open: 0,
            dead: 0,
            delivered: 0,
            acknowledged: 0,
            missed: 0,
            overflowed: 0,
            paused: None,
            failing_since: None,
            last_failure: None,
            made: ctx.seq,
            filtered: 0,
            owner,
        };
        ctx.state.tables.subscriptions.put(key, subscription);
        if self.settings.push.is_some() {
            stream::pushes_changed(ctx);
        }
        Ok(())
    }

    fn change(&self, ctx: &mut ApplyContext<'_>, known: &Subscription, owner: Option<Owner>) {
        if known.settings == self.settings && known.owner == owner {
            return;
        }
        let key = NamedKey::of(&self.namespace, &self.name);
        let mut changed = Subscription { settings: self.settings.clone(), owner, ..known.clone() };
        // What was paused because its agent declared it no more is declared again.
        if known.owner.as_ref().is_some_and(|owner| owner.withdrawn) {
            changed.paused = None;
        }
        if known.settings.push != self.settings.push || known.settings.tasks != self.settings.tasks {
            (changed.failing_since, changed.last_failure) = (None, None);
        }
        if known.settings.push.is_some() || self.settings.push.is_some() {
            stream::pushes_changed(ctx);
        }
        if changed.settings.tasks.is_some() {
            ctx.enqueue(PendingWork::HandOut(key.clone()));
        }
        ctx.state.tables.subscriptions.put(key, changed);
        stream::changed(ctx, &self.namespace);
    }
}

impl SeekSubscription {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, &self.name)
    }

    /// Where it continues.
    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<Position> {
        let Some(mut deliveries) = Deliveries::open(ctx, &self.namespace, &self.name)? else {
            return Err(not_found(&self.namespace, &self.name));
        };
        let stream = stream::stream(ctx.state, &self.namespace)?;
        let (cursor, looked) = stream::place(ctx.state, &self.namespace, &stream, self.to)?;
        deliveries.clear(ctx, false)?;
        let subscription = &mut deliveries.subscription;
        (subscription.cursor, subscription.looked) = (cursor, looked);
        deliveries.woken = true;
        deliveries.close(ctx);
        Ok(cursor)
    }
}

impl DeleteSubscription {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check_names(&self.namespace, &self.name)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let Some(mut deliveries) = Deliveries::open(ctx, &self.namespace, &self.name)? else {
            return Err(not_found(&self.namespace, &self.name));
        };
        deliveries.clear(ctx, true)?;
        if deliveries.subscription.settings.push.is_some() {
            stream::pushes_changed(ctx);
        }
        let key = NamedKey::of(&self.namespace, &self.name);
        ctx.state.tables.subscriptions.delete(&key);
        let mut stream = stream::stream(ctx.state, &self.namespace)?;
        stream.subscriptions -= 1;
        if deliveries.subscription.settings.tasks.is_some() {
            stream::set_handing(ctx, &mut stream, &key, false);
        }
        stream::put_stream(ctx, &self.namespace, stream);
        stream::changed(ctx, &self.namespace);
        Ok(())
    }
}
