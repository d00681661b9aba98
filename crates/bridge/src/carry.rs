//! Carrying events, each way in a loop of its own.
//!
//! For: what is done with what was handed out, and in which order. Not for: the life of the process.
//! Invariant: outwards, the other side confirms before the delivery is acknowledged; inwards, Consort answers before the
//! message is settled there.

use std::sync::{Mutex, PoisonError};

use consort_api::{
    NoParams,
    client::Client,
    events::{CloudEvent, PublishEvents, PublishRequest, PublishedEvent},
    subscriptions::{
        AckDeliveries, AckRequest, EventDelivery, FetchEvents, FetchRequest, NackDeliveries, NackRequest,
        SettledDeliveries, SubscriptionParams,
    },
};
use consort_peering::Direction;
use consort_types::{Code, Error, Result, Span, event::DeliveryId};

use crate::{
    incoming::{Incoming, Read},
    options::Options,
    outgoing::{came_through, outgoing},
    peer::{Peer, Refusal, TOGETHER},
    report::{Event, Report},
};

/// How long a fetch waits for an event.
const WAIT: Span = Span::from_secs(30);

/// What carries, in one session.
pub(crate) struct Carrier<'a, 'r> {
    client: &'a Client,
    options: &'a Options,
    peer: &'a dyn Peer,
    report: &'a Report<'r>,
    holder: &'a str,
    subscription: SubscriptionParams,
    /// What is handed out and not settled.
    held: Mutex<Vec<DeliveryId>>,
}

impl<'a, 'r> Carrier<'a, 'r> {
    pub(crate) fn new(
        client: &'a Client,
        options: &'a Options,
        peer: &'a dyn Peer,
        report: &'a Report<'r>,
        holder: &'a str,
    ) -> Self {
        let subscription = SubscriptionParams { name: options.own() };
        Self { client, options, peer, report, holder, subscription, held: Mutex::default() }
    }

    /// Sends events until a side is lost.
    pub(crate) async fn send(&self) -> Error {
        loop {
            if let Err(error) = self.send_some().await {
                return error;
            }
        }
    }

    async fn send_some(&self) -> Result<()> {
        let request = FetchRequest {
            max: u32::try_from(TOGETHER).ok(),
            wait: Some(WAIT),
            consumer: Some(self.holder.to_owned()),
        };
        let fetched = self.client.call::<FetchEvents>(&self.subscription, &request).await?.deliveries;
        self.hold(fetched.iter().map(|one| one.delivery).collect());
        let (own, others): (Vec<EventDelivery>, Vec<EventDelivery>) =
            fetched.into_iter().partition(|one| came_through(&one.event, &self.options.name));
        let mut done: Vec<DeliveryId> = own.iter().map(|one| one.delivery).collect();
        self.report.passed(own.len());
        let (mut deliveries, mut events) = (Vec::new(), Vec::new());
        for one in others {
            deliveries.push(one.delivery);
            events.push(outgoing(self.client, &self.options.name, one.event).await?);
        }
        let outcomes = if events.is_empty() { Vec::new() } else { self.peer.publish(&events).await? };
        for ((delivery, event), refusal) in deliveries.into_iter().zip(&events).zip(outcomes) {
            match refusal {
                None => {
                    done.push(delivery);
                    let (position, topic) = (event.position.clone(), event.topic.clone());
                    self.report.tell(&Event::Out { position, topic });
                }
                Some(reason) => {
                    self.report.refused(Direction::Out, &event.position, &reason);
                    self.nack(vec![delivery], Some(reason)).await?;
                }
            }
        }
        if !done.is_empty() {
            let request = AckRequest { deliveries: done };
            settled(self.client.call::<AckDeliveries>(&self.subscription, &request).await)?;
        }
        self.hold(Vec::new());
        Ok(())
    }

    fn hold(&self, deliveries: Vec<DeliveryId>) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = deliveries;
    }

    /// Gives back what is not settled, to be handed out again later.
    pub(crate) async fn give_back(&self) {
        let held = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        if !held.is_empty() {
            // Where it fails, they are handed out again when their time is over.
            let _ = self.nack(held, None).await;
        }
    }

    async fn nack(&self, deliveries: Vec<DeliveryId>, reason: Option<String>) -> Result<()> {
        let request = NackRequest { deliveries, delay: None, reason: reason.map(|reason| short(&reason)) };
        settled(self.client.call::<NackDeliveries>(&self.subscription, &request).await)
    }

    /// Takes messages until a side is lost.
    pub(crate) async fn take(&self) -> Error {
        loop {
            if let Err(error) = self.take_some().await {
                return error;
            }
        }
    }

    async fn take_some(&self) -> Result<()> {
        let messages = self.peer.fetch().await?;
        let mut outcomes: Vec<Refusal> = vec![None; messages.len()];
        let (mut places, mut events) = (Vec::new(), Vec::new());
        for (place, message) in messages.iter().enumerate() {
            match message.read(self.options) {
                Read::Event(event) => {
                    places.push(place);
                    events.push(*event);
                }
                Read::Pass => self.report.passed(1),
                Read::Refused(reason) => outcomes[place] = Some(reason),
            }
        }
        for ((place, event), answer) in places.into_iter().zip(&events).zip(self.publish(&events).await?) {
            match answer {
                Ok(published) => self.came_in(&messages[place], event, &published),
                Err(reason) => outcomes[place] = Some(reason),
            }
        }
        for (message, refusal) in messages.iter().zip(&outcomes) {
            if let Some(reason) = refusal {
                self.report.refused(Direction::In, &message.place, reason);
            }
        }
        self.peer.settle(&outcomes).await
    }

    fn came_in(&self, message: &Incoming, event: &CloudEvent, published: &PublishedEvent) {
        self.report.tell(&Event::In {
            from: message.place.clone(),
            position: published.position.to_string(),
            topic: event.topic.clone().unwrap_or_default(),
            deduplicated: published.deduplicated,
        });
    }

    /// Publishes events together, and one by one where one of them is refused.
    async fn publish(&self, events: &[CloudEvent]) -> Result<Vec<std::result::Result<PublishedEvent, String>>> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        match self.publish_all(events.to_vec()).await {
            Ok(published) => return Ok(published.into_iter().map(Ok).collect()),
            Err(error) if is_refusal(&error) => {}
            Err(error) => return Err(error),
        }
        let mut answers = Vec::with_capacity(events.len());
        for event in events {
            match self.publish_all(vec![event.clone()]).await {
                Ok(published) => answers.extend(published.into_iter().map(Ok)),
                Err(error) if is_refusal(&error) => answers.push(Err(error.message)),
                Err(error) => return Err(error),
            }
        }
        Ok(answers)
    }

    async fn publish_all(&self, events: Vec<CloudEvent>) -> Result<Vec<PublishedEvent>> {
        let request = PublishRequest { events };
        Ok(self.client.call::<PublishEvents>(&NoParams {}, &request).await?.events)
    }
}

/// Whether an event is not taken, and would not be taken later either.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error.code,
        Code::BadEvent | Code::BadTopic | Code::BadJson | Code::BadRequest | Code::PayloadTooLarge | Code::LimitReached
    )
}

/// What was over before is handed out again, and carried again.
fn settled(answer: Result<SettledDeliveries>) -> Result<()> {
    match answer {
        Err(error) if error.code != Code::DeliveryOver => Err(error),
        _ => Ok(()),
    }
}

/// A reason that fits into a dead letter.
fn short(reason: &str) -> String {
    reason.chars().filter(|letter| !letter.is_control()).take(200).collect()
}
