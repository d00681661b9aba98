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
        rows::{BackOff, Push, Subscription, SubscriptionSettings},
        stream::{self, StartAt},
    },
    context::ApplyContext,
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

/// Forgets a subscription with all its deliveries.
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
        self.push.as_ref().map_or(Ok(()), |push| push.check(self.ack_wait))
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
    if settings.push.is_some() == pushes {
        return Ok(());
    }
    let how =
        if pushes { "has no webhook, and is fetched from" } else { "pushes to a webhook, and is not fetched from" };
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
        if let Some(known) = ctx.state.tables.subscriptions.get(&key)? {
            return self.change(ctx, &known);
        }
        let mut stream = stream::stream(ctx.state, &self.namespace)?;
        let max = limits::EVENT_SUBSCRIPTIONS_MAX;
        if stream.subscriptions as usize >= max {
            let message = format!("namespace `{}` has `{max}` subscriptions, the limit is {max}", self.namespace);
            return Err(Error::new(Code::LimitReached, message).hint("delete those that nobody reads"));
        }
        let (cursor, looked) = stream::place(ctx.state, &self.namespace, &stream, self.start)?;
        stream.subscriptions += 1;
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
        };
        ctx.state.tables.subscriptions.put(key, subscription);
        if self.settings.push.is_some() {
            stream::pushes_changed(ctx);
        }
        Ok(())
    }

    fn change(&self, ctx: &mut ApplyContext<'_>, known: &Subscription) -> Result<()> {
        if known.settings == self.settings {
            return Ok(());
        }
        if known.settings.ordered != self.settings.ordered {
            let message = format!("the order of subscription `{}` cannot be changed", self.name);
            return Err(Error::new(Code::SubscriptionClash, message)
                .hint("delete it and make it again from the position where it is, or make another one"));
        }
        let key = NamedKey::of(&self.namespace, &self.name);
        let mut changed = Subscription { settings: self.settings.clone(), ..known.clone() };
        if known.settings.push != self.settings.push {
            (changed.failing_since, changed.last_failure) = (None, None);
        }
        if known.settings.push.is_some() || self.settings.push.is_some() {
            stream::pushes_changed(ctx);
        }
        ctx.state.tables.subscriptions.put(key, changed);
        stream::changed(ctx, &self.namespace);
        Ok(())
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
        ctx.state.tables.subscriptions.delete(&NamedKey::of(&self.namespace, &self.name));
        let mut stream = stream::stream(ctx.state, &self.namespace)?;
        stream.subscriptions -= 1;
        stream::put_stream(ctx, &self.namespace, stream);
        stream::changed(ctx, &self.namespace);
        Ok(())
    }
}
