//! `PauseSubscription` and `ReportPush`: what becomes known of a subscription while its events are pushed.
//!
//! For: pausing, resuming, and recording since when a webhook fails. Not for: sending anything (the shell does), or the
//! outcome of one delivery (see `settle`).
//! Invariant: a paused subscription hands nothing out and keeps its place; what a shell reports of a webhook counts only
//! while the subscription pushes to that one.

use consort_types::{Name, Result, Time, bounds::check_optional_text, limits};
use minicbor::{Decode, Encode};

use crate::{
    bus::{
        rows::{Paused, Push, PushFailure, Subscription},
        stream,
        subscription::not_found,
    },
    context::{ApplyContext, PendingWork},
    key::NamedKey,
};

/// Pauses a subscription, or resumes it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct PauseSubscription {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The subscription.
    #[n(1)]
    pub name: String,
    /// Whether it is paused from now on.
    #[n(2)]
    pub paused: bool,
    /// Why it is paused.
    #[n(3)]
    pub reason: Option<String>,
    /// Only while it pushes to this webhook; whatever it does, without it.
    #[n(4)]
    pub only_if: Option<Push>,
}

/// Records that a webhook cannot be used now, or can be used again; where a delivery was tried, its outcome says so.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct ReportPush {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The subscription.
    #[n(1)]
    pub name: String,
    /// The webhook.
    #[n(2)]
    pub push: Push,
    /// Why it cannot be used; without it, it can.
    #[n(3)]
    pub failure: Option<String>,
}

impl Subscription {
    /// How many more deliveries may be in flight.
    pub(crate) fn room(&self) -> usize {
        self.settings.max_in_flight.saturating_sub(self.in_flight) as usize
    }

    /// A delivery to its webhook or agents has failed.
    pub(crate) fn note_failure(&mut self, now: Time, reason: &str) {
        if self.settings.push.is_some() || self.settings.tasks.is_some() {
            self.failing_since.get_or_insert(now);
            self.last_failure = Some(PushFailure { at: now, reason: reason.to_owned() });
        }
    }
}

fn check(namespace: &str, name: &str, reason: Option<&str>) -> Result<()> {
    Name::check("namespace", namespace)?;
    Name::check("subscription", name)?;
    check_optional_text("reason", reason, limits::ERROR_MESSAGE_BYTES_MAX)
}

impl PauseSubscription {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check(&self.namespace, &self.name, self.reason.as_deref())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let Some(mut known) = ctx.state.tables.subscriptions.get(&key)? else {
            return Err(not_found(&self.namespace, &self.name));
        };
        let other = self.only_if.is_some() && self.only_if != known.settings.push;
        if other || known.paused.is_some() == self.paused {
            return Ok(());
        }
        if let Some(owner) = &mut known.owner {
            owner.withdrawn = false;
        }
        known.paused = self.paused.then(|| Paused { since: ctx.now, reason: self.reason.clone() });
        if known.settings.push.is_some() {
            stream::pushes_changed(ctx);
        }
        // Consumers may wait for what it hands out again.
        stream::changed(ctx, &self.namespace);
        if known.settings.tasks.is_some() && !self.paused {
            ctx.enqueue(PendingWork::HandOut(key.clone()));
        }
        ctx.state.tables.subscriptions.put(key, known);
        Ok(())
    }
}

impl ReportPush {
    /// As [`Command::check`](crate::Command::check).
    pub fn check(&self) -> Result<()> {
        check(&self.namespace, &self.name, self.failure.as_deref())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.name);
        let Some(mut known) = ctx.state.tables.subscriptions.get(&key)? else {
            return Err(not_found(&self.namespace, &self.name));
        };
        if known.settings.push.as_ref() != Some(&self.push) {
            return Ok(());
        }
        match &self.failure {
            Some(reason) => known.note_failure(ctx.now, reason),
            None => known.failing_since = None,
        }
        ctx.state.tables.subscriptions.put(key, known);
        Ok(())
    }
}
