//! RabbitMQ as the other side, by AMQP 0.9.1.
//!
//! For: a topic exchange, published to with confirms, and a durable queue at it. Not for: AMQP 1.0.
//! Invariant: a message that is refused goes to the queue `….refused`, and holds no other one up.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use consort_types::{Error, Result};
use futures::{FutureExt as _, StreamExt as _};
use lapin::{
    Acker, BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind, ExchangeKind,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, BasicRejectOptions,
        ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::{sync::Mutex, time::timeout};

use crate::{
    incoming::Incoming,
    options::Options,
    outgoing::Outgoing,
    peer::{ANSWER_WITHIN, Peer, Refusal, TOGETHER, refused, unreachable},
};

const NAME: &str = "RabbitMQ";
/// What the name of an attribute has before it, by the binding of CloudEvents to AMQP; the second is read too.
const ATTRIBUTES: [&str; 2] = ["cloudEvents_", "cloudEvents:"];
/// A message that is kept on disk.
const PERSISTENT: u8 = 2;

/// What is open while there is a connection.
struct Open {
    /// Closes the channel where it is dropped.
    _connection: Connection,
    channel: Channel,
}

/// An exchange of RabbitMQ.
pub(crate) struct Rabbit {
    url: String,
    holder: String,
    options: Options,
    open: Option<Open>,
    consumer: Mutex<Option<Consumer>>,
    fetched: Mutex<Vec<Acker>>,
    /// Messages that have no id.
    unnamed: AtomicU64,
}

impl Rabbit {
    pub(crate) fn new(url: &str, holder: &str, options: &Options) -> Self {
        Self {
            url: url.to_owned(),
            holder: holder.to_owned(),
            options: options.clone(),
            open: None,
            consumer: Mutex::default(),
            fetched: Mutex::default(),
            unnamed: AtomicU64::default(),
        }
    }

    fn queue(&self) -> String {
        format!("consort.{}", self.options.name)
    }

    fn channel(&self) -> Result<&Channel> {
        self.open.as_ref().map(|open| &open.channel).ok_or_else(|| unreachable(NAME, "there is no connection"))
    }

    async fn open(&self) -> Result<Open> {
        let connection = Connection::connect(&self.url, ConnectionProperties::default()).await.map_err(explain)?;
        let channel = connection.create_channel().await.map_err(explain)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(explain)?;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let exchange = self.options.stream.as_str().into();
        channel
            .exchange_declare(exchange, ExchangeKind::Topic, durable, FieldTable::default())
            .await
            .map_err(explain)?;
        Ok(Open { _connection: connection, channel })
    }

    /// Makes the queue and the one of what is refused, and consumes.
    async fn consume(&self, channel: &Channel) -> Result<Consumer> {
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let (queue, bad) = (self.queue(), format!("{}.refused", self.queue()));
        channel.queue_declare(bad.as_str().into(), durable, FieldTable::default()).await.map_err(explain)?;
        let mut arguments = BTreeMap::new();
        for (name, value) in [("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", bad.as_str())] {
            arguments.insert(ShortString::from(name), AMQPValue::LongString(value.into()));
        }
        channel.queue_declare(queue.as_str().into(), durable, FieldTable::from(arguments)).await.map_err(explain)?;
        let key = binding(&self.options.subject(&self.options.topic));
        let exchange = self.options.stream.as_str();
        let bind = QueueBindOptions::default();
        channel
            .queue_bind(queue.as_str().into(), exchange.into(), key.as_str().into(), bind, FieldTable::default())
            .await
            .map_err(explain)?;
        let most = u16::try_from(TOGETHER).unwrap_or(u16::MAX);
        channel.basic_qos(most, BasicQosOptions::default()).await.map_err(explain)?;
        let consume = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue.as_str().into(), "".into(), consume, FieldTable::default()).await;
        consumer.map_err(explain)
    }

    fn read(&self, delivery: &Delivery) -> Incoming {
        let properties = &delivery.properties;
        let text = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().to_owned());
        let id = text(properties.message_id())
            .unwrap_or_else(|| format!("{}-{}", self.holder, self.unnamed.fetch_add(1, Ordering::Relaxed)));
        let mut incoming = Incoming {
            place: format!("{}:{id}", self.queue()),
            topic: self.options.topic_of(delivery.routing_key.as_str()),
            source: format!("/rabbitmq/{}", self.options.stream),
            id,
            media: text(properties.content_type()),
            body: delivery.data.clone(),
            ..Incoming::default()
        };
        for (name, value) in properties.headers().iter().flat_map(FieldTable::inner) {
            let attribute = ATTRIBUTES.iter().find_map(|prefix| name.as_str().strip_prefix(prefix));
            if let (Some(attribute), Some(value)) = (attribute, shown(value)) {
                incoming.attributes.insert(attribute.to_ascii_lowercase(), value);
            }
        }
        incoming
    }

    fn properties(event: &Outgoing) -> BasicProperties {
        let headers: BTreeMap<ShortString, AMQPValue> = event
            .attributes
            .iter()
            .map(|(name, value)| {
                (format!("{}{name}", ATTRIBUTES[0]).into(), AMQPValue::LongString(value.as_str().into()))
            })
            .collect();
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_headers(headers.into())
            .with_content_type(event.media.as_str().into());
        let identity = event.identity();
        // Longer ones are no short text of AMQP; the attributes have them.
        if identity.len() > 255 { properties } else { properties.with_message_id(identity.into()) }
    }
}

#[async_trait]
impl Peer for Rabbit {
    async fn connect(&mut self) -> Result<()> {
        (*self.consumer.lock().await, *self.fetched.lock().await, self.open) = (None, Vec::new(), None);
        let opening = async {
            let open = self.open().await?;
            let is_in = self.options.direction.is_in();
            let consumer = if is_in { Some(self.consume(&open.channel).await?) } else { None };
            Ok::<_, Error>((open, consumer))
        };
        let (open, consumer) = timeout(ANSWER_WITHIN, opening).await.map_err(|_| unreachable(NAME, "no answer"))??;
        (self.open, *self.consumer.lock().await) = (Some(open), consumer);
        Ok(())
    }

    async fn publish(&self, events: &[Outgoing]) -> Result<Vec<Refusal>> {
        let channel = self.channel()?;
        let publishing = async {
            let mut sent = Vec::with_capacity(events.len());
            for event in events {
                let key = self.options.subject(&event.topic);
                let exchange = self.options.stream.as_str().into();
                // What no queue takes is returned, and so is not lost.
                let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                let properties = Self::properties(event);
                let one = channel.basic_publish(exchange, key.as_str().into(), mandatory, &event.data, properties);
                sent.push(one.await.map_err(explain)?);
            }
            let mut outcomes = Vec::with_capacity(sent.len());
            for one in sent {
                outcomes.push(match one.await.map_err(explain)? {
                    Confirmation::Ack(None) => None,
                    Confirmation::Ack(Some(_)) => Some("no queue of RabbitMQ takes the routing key".to_owned()),
                    Confirmation::Nack(_) => Some("RabbitMQ does not confirm it".to_owned()),
                    Confirmation::NotRequested => return Err(unreachable(NAME, "confirms are switched off")),
                });
            }
            Ok(outcomes)
        };
        timeout(ANSWER_WITHIN, publishing).await.map_err(|_| unreachable(NAME, "no confirmation in time"))?
    }

    async fn fetch(&self) -> Result<Vec<Incoming>> {
        let mut kept = self.consumer.lock().await;
        let consumer = kept.as_mut().ok_or_else(|| unreachable(NAME, "there is no connection"))?;
        let (mut ackers, mut incoming) = (Vec::new(), Vec::new());
        let mut next = consumer.next().await;
        loop {
            let delivery = next.ok_or_else(|| unreachable(NAME, "its messages have ended"))?.map_err(explain)?;
            incoming.push(self.read(&delivery));
            ackers.push(delivery.acker);
            if ackers.len() >= TOGETHER {
                break;
            }
            match consumer.next().now_or_never() {
                Some(more) => next = more,
                None => break,
            }
        }
        *self.fetched.lock().await = ackers;
        Ok(incoming)
    }

    async fn settle(&self, outcomes: &[Refusal]) -> Result<()> {
        let fetched = std::mem::take(&mut *self.fetched.lock().await);
        for (acker, refusal) in fetched.iter().zip(outcomes) {
            match refusal {
                None => acker.ack(BasicAckOptions::default()).await,
                Some(_) => acker.reject(BasicRejectOptions { requeue: false }).await,
            }
            .map_err(explain)?;
        }
        Ok(())
    }
}

/// A pattern of topics as a binding key.
fn binding(pattern: &str) -> String {
    match pattern.strip_suffix('>') {
        // `#` is none or more, and `>` is one or more.
        Some(before) => format!("{before}*.#"),
        None => pattern.to_owned(),
    }
}

/// The text of a header.
fn shown(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str().to_owned()),
        AMQPValue::Boolean(flag) => Some(flag.to_string()),
        AMQPValue::ShortShortInt(number) => Some(number.to_string()),
        AMQPValue::ShortInt(number) => Some(number.to_string()),
        AMQPValue::LongInt(number) => Some(number.to_string()),
        AMQPValue::LongLongInt(number) => Some(number.to_string()),
        _ => None,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is called by `map_err`")]
fn explain(error: lapin::Error) -> Error {
    match error.kind() {
        ErrorKind::ProtocolError(amqp) if matches!(amqp.get_id(), 402..=406 | 530) => refused(NAME, error.to_string()),
        ErrorKind::InvalidProtocolVersion(_) => refused(NAME, error.to_string()),
        _ => unreachable(NAME, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_binding_keys() {
        for (pattern, key) in [("a.b", "a.b"), ("a.*", "a.*"), ("a.>", "a.*.#"), (">", "*.#"), ("*.a.>", "*.a.*.#")] {
            assert_eq!(binding(pattern), key);
        }
    }
}
