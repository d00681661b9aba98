//! Subscriptions whose events are pushed to webhooks, for the one who sends them.
//!
//! For: following which subscriptions push, waiting until one has something to send, and recording what becomes known of
//! a webhook. Not for: sending, or taking and settling deliveries (see `events`).
//! Invariant: a list that is read after a change has that change; waiting takes nothing.

use consort_core::{
    Command,
    command::{PauseSubscription, ReportPush},
    view::{Events, PushView},
};
use consort_types::Result;

use super::Handle;
use crate::{shell::Subscription, topic::Topic};

/// The subscriptions that push, of all namespaces.
#[derive(Clone, Copy)]
pub struct Pushes<'h>(&'h Handle);

/// The list of subscriptions that push, being followed.
pub struct PushWatch {
    handle: Handle,
    changes: Subscription,
}

impl PushWatch {
    /// The subscriptions that push now; [`PushWatch::changed`] wakes for what changes from here on.
    pub async fn list(&mut self) -> Result<Vec<PushView>> {
        self.changes.mark_seen();
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let from = after.take();
            let page = self.handle.of("").read(move |machine| Events::of(machine).pushes(from)).await??;
            all.extend(page.pushes);
            if page.next.is_none() {
                return Ok(all);
            }
            after = page.next;
        }
    }

    /// Waits for a change of the list.
    ///
    /// # Errors
    /// [`Code::Stopping`](consort_types::Code::Stopping) where the engine has stopped.
    pub async fn changed(&mut self) -> Result<()> {
        self.changes.next().await.map(|_| ())
    }
}

impl<'h> Pushes<'h> {
    /// Those of an engine.
    pub fn of(engine: &'h Handle) -> Self {
        Self(engine)
    }

    /// Follows which subscriptions push.
    ///
    /// # Errors
    /// [`Code::Overloaded`](consort_types::Code::Overloaded) where too many follow already.
    pub async fn watch(&self) -> Result<PushWatch> {
        Ok(PushWatch { handle: self.0.clone(), changes: self.0.of("").subscribe(Topic::Pushes).await? })
    }

    /// Waits until a subscription has something to push, and takes nothing.
    ///
    /// # Errors
    /// [`Code::SubscriptionNotFound`](consort_types::Code::SubscriptionNotFound),
    /// [`Code::SubscriptionPushes`](consort_types::Code::SubscriptionPushes) where it pushes no more.
    pub async fn ready(&self, namespace: &str, name: &str) -> Result<()> {
        let mut changes = self.0.of(namespace).subscribe(Topic::events(namespace)).await?;
        loop {
            changes.mark_seen();
            let (of, name) = (namespace.to_owned(), name.to_owned());
            let look = self.0.of(namespace).read(move |machine| Events::of(machine).is_fetchable(&of, &name, true));
            if look.await?? {
                return Ok(());
            }
            changes.next().await?;
        }
    }

    /// Records why the webhook of a subscription cannot be used; without a reason, that it can be used again.
    pub async fn report(&self, view: &PushView, failure: Option<String>) -> Result<()> {
        let (namespace, name, push) = (view.namespace.clone(), view.name.clone(), view.push.clone());
        let command = ReportPush { namespace, name, push, failure };
        self.0.of(&view.namespace).done(Command::ReportPush(command), None).await
    }

    /// Pauses a subscription with the reason, where it still pushes to this webhook.
    pub async fn pause(&self, view: &PushView, reason: String) -> Result<()> {
        let (namespace, name, only_if) = (view.namespace.clone(), view.name.clone(), Some(view.push.clone()));
        let command = PauseSubscription { namespace, name, paused: true, reason: Some(reason), only_if };
        self.0.of(&view.namespace).done(Command::PauseSubscription(command), None).await
    }
}
