//! The loop that pushes the events of one subscription.
//!
//! For: taking deliveries while there is room, sending them, and settling each by its outcome. Not for: choosing which
//! subscriptions push (see `watch`), or HTTP (see `send`).
//! Invariant: what was taken is sent and settled, also while the loop ends; nothing is taken while the secret cannot be
//! read, so that such a time uses up no deliveries.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use consort_api::events::CloudEvent;
use consort_engine::{
    EventBus, FetchRequest, Handle, Pushes,
    view::{DeliveredEvent, EventView, PushView},
};
use consort_types::{Code, Error, Payload, Result, Span, event::Position, limits};
use ring::digest;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    connect::Connector,
    secret::Keys,
    send::{Message, Outcome, send},
};

/// How long a loop waits before it tries again what it could not do.
const PAUSE: Duration = Duration::from_secs(1);
/// Data of an event that is sent with it; larger data is sent as a reference to it.
const DATA_BYTES_MAX: u64 = 1024 * 1024;
/// Who takes the deliveries, for people who look at the subscription.
const CONSUMER: &str = "webhook";

/// What all loops share.
pub(crate) struct Shared {
    pub(crate) engine: Handle,
    pub(crate) secrets: Option<PathBuf>,
    pub(crate) connector: Connector,
    pub(crate) places: Arc<Semaphore>,
}

/// The loop of one subscription.
pub(crate) struct Loop {
    shared: Arc<Shared>,
    view: Arc<PushView>,
    /// Why the secret could not be read, where that was recorded last.
    reported: Option<String>,
    /// Nothing is taken before: the webhook wants to be left alone.
    not_before: Instant,
}

/// What is needed to take deliveries.
struct Ready {
    keys: Arc<Keys>,
    places: Vec<OwnedSemaphorePermit>,
}

impl Loop {
    pub(crate) fn new(shared: Arc<Shared>, view: PushView) -> Self {
        Self { shared, view: Arc::new(view), reported: None, not_before: Instant::now() }
    }

    /// Pushes until `stop`, or until the subscription pushes no more; what is on its way then is awaited.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut sending = JoinSet::new();
        loop {
            let room = limits::WEBHOOK_IN_FLIGHT_MAX - sending.len();
            let ready = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(sent) = sending.join_next() => {
                    self.leave_alone(sent.unwrap_or_default());
                    continue;
                }
                ready = self.ready(room), if room > 0 => ready,
            };
            // Not in the `select`: what is taken and then dropped would wait for the end of its lease.
            let taken = match ready {
                Ok(ready) => self.take(ready, &mut sending).await,
                Err(error) => Err(error),
            };
            if let Err(error) = taken {
                if matches!(error.code, Code::SubscriptionNotFound | Code::SubscriptionPushes | Code::Stopping) {
                    break;
                }
                tracing::warn!("the push of subscription `{}` waits: {}", self.view.name, error.message);
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
        while sending.join_next().await.is_some() {}
    }

    fn leave_alone(&mut self, wait: Option<Duration>) {
        if let Some(wait) = wait {
            self.not_before = self.not_before.max(Instant::now() + wait);
        }
    }

    /// Waits until there is something to take, a place for it, and the secret for its signature. Takes nothing.
    async fn ready(&mut self, room: usize) -> Result<Ready> {
        tokio::time::sleep_until(self.not_before).await;
        // A secret that cannot be read is told before there is an event that needs it.
        self.keys().await?;
        Pushes::of(&self.shared.engine).ready(&self.view.namespace, &self.view.name).await?;
        let keys = self.keys().await?;
        let places = &self.shared.places;
        let first = Arc::clone(places).acquire_owned().await.map_err(|_| stopping())?;
        let more = (1..room).map_while(|_| Arc::clone(places).try_acquire_owned().ok());
        Ok(Ready { keys: Arc::new(keys), places: std::iter::once(first).chain(more).collect() })
    }

    /// The secret as it is now. Waits until it can be read, and records when that changes.
    async fn keys(&mut self) -> Result<Keys> {
        loop {
            let (folder, name) = (self.shared.secrets.clone(), self.view.push.secret.clone());
            let read = tokio::task::spawn_blocking(move || Keys::read(folder.as_deref(), &name));
            let (keys, why) = match read.await.map_err(|_| stopping())? {
                Ok(keys) => (Some(keys), None),
                Err(why) => (None, Some(why)),
            };
            if self.reported != why {
                if let Some(why) = &why {
                    tracing::warn!("subscription `{}` is not pushed: {why}", self.view.name);
                }
                Pushes::of(&self.shared.engine).report(&self.view, why.clone()).await?;
                self.reported = why;
            }
            match keys {
                Some(keys) => return Ok(keys),
                None => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn take(&self, ready: Ready, sending: &mut JoinSet<Option<Duration>>) -> Result<()> {
        let PushView { namespace, name, .. } = &*self.view;
        let request = FetchRequest {
            namespace: namespace.clone(),
            subscription: name.clone(),
            consumer: CONSUMER.to_owned(),
            max: ready.places.len() as u32,
            wait: Span::ZERO,
            push: true,
        };
        let fetched = EventBus::of(&self.shared.engine).fetch(request).await?;
        for (delivery, place) in fetched.deliveries.into_iter().zip(ready.places) {
            let (shared, view, keys) = (Arc::clone(&self.shared), Arc::clone(&self.view), Arc::clone(&ready.keys));
            sending.spawn(async move {
                let wait = push(&shared, &view, &keys, delivery).await;
                drop(place);
                wait
            });
        }
        Ok(())
    }
}

fn stopping() -> Error {
    Error::new(Code::Stopping, "the server is stopping").hint("start it again")
}

/// Sends one delivery and settles it; how long the webhook is to be left alone.
async fn push(shared: &Shared, view: &PushView, keys: &Keys, delivery: DeliveredEvent) -> Option<Duration> {
    let id = delivery.delivery;
    let outcome = match message(shared, view, delivery.event).await {
        Ok(message) => send(&shared.connector, &view.push.url, view.push.timeout.to_std(), keys, &message).await,
        Err(error) => Outcome::Failed { reason: error.message, retry_after: None },
    };
    let bus = EventBus::of(&shared.engine);
    let (namespace, name) = (&view.namespace, &view.name);
    let (settled, wait) = match outcome {
        Outcome::Taken => (bus.ack(namespace, name, vec![id]).await, None),
        Outcome::Gone => {
            let reason = "the webhook answers 410: it wants no more events".to_owned();
            // Where it cannot be paused, the event is given back all the same, and the next answer tries again.
            let paused = Pushes::of(&shared.engine).pause(view, reason.clone()).await;
            tracing::warn!(
                "subscription `{name}` is paused, {reason} ({})",
                if paused.is_ok() { "recorded" } else { "not recorded" }
            );
            (bus.nack(namespace, name, vec![id], None, Some(reason)).await, None)
        }
        Outcome::Failed { reason, retry_after } => {
            tracing::info!("the webhook of subscription `{name}` has not taken `{}`: {reason}", id.position);
            let delay = retry_after.map(|wait| Span::from_millis(wait.as_millis() as u64));
            let reason = format!("the webhook has not taken it: {reason}");
            (bus.nack(namespace, name, vec![id], delay, Some(reason)).await, retry_after)
        }
    };
    if let Err(error) = settled {
        // It is delivered again after its lease, with the same id.
        tracing::info!("delivery `{id}` of subscription `{name}` was not settled: {}", error.message);
    }
    wait
}

async fn message(shared: &Shared, view: &PushView, event: EventView) -> Result<Message> {
    let id = message_id(view, event.position);
    let data = match event.data {
        Some(data) if data.len() <= DATA_BYTES_MAX => {
            Some(Payload::Inline(shared.engine.payload(&view.namespace, data).await?))
        }
        other => other,
    };
    let event = CloudEvent::kept(event.attributes, data.map(Into::into), (event.position, event.published));
    let body =
        serde_json::to_vec(&event).map_err(|_| Error::new(Code::Internal, "an event cannot be written as JSON"))?;
    Ok(Message { id, body: Bytes::from(body) })
}

/// The same for each delivery of an event to a subscription, and another for any other subscription: also for one of the
/// same name that is made later, or in another data folder.
fn message_id(view: &PushView, position: Position) -> String {
    let of = format!("{}\n{}\n{}\n{}", view.created.0, view.made.0, view.namespace, view.name);
    let hash = digest::digest(&digest::SHA256, of.as_bytes());
    let short = hash.as_ref().iter().take(8).fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    format!("msg_{short}_{position}")
}

#[cfg(test)]
mod tests {
    use consort_engine::view::Push;
    use consort_types::{Seq, Time};

    use super::*;

    #[test]
    fn an_id_is_of_one_event_and_one_subscription() {
        let push = Push { url: "https://a".into(), secret: "s".into(), timeout: Span::from_secs(1) };
        let view = PushView {
            namespace: "default".into(),
            name: "a".into(),
            push: push.clone(),
            created: Time(7),
            made: Seq(3),
            paused: false,
            failing_since: None,
        };
        let (first, second) = (Position { seq: Seq(9), n: 0 }, Position { seq: Seq(9), n: 1 });
        let id = message_id(&view, first);
        assert!(id.starts_with("msg_") && id.ends_with("_9-0") && !id.contains('.'), "{id}");
        let changed = PushView { push: Push { url: "https://b".into(), ..push }, paused: true, ..view.clone() };
        assert_eq!(message_id(&changed, first), id);
        for other in [
            PushView { namespace: "other".into(), ..view.clone() },
            PushView { name: "b".into(), ..view.clone() },
            PushView { made: Seq(4), ..view.clone() },
            PushView { created: Time(8), ..view.clone() },
        ] {
            assert_ne!(message_id(&other, first), id);
        }
        assert_ne!(message_id(&view, second), id);
    }
}
