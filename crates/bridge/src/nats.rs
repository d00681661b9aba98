//! NATS with JetStream as the other side.
//!
//! For: a stream, published to and consumed from by a durable pull consumer. Not for: NATS without JetStream, which keeps
//! nothing.
//! Invariant: a message is published under the identity of its event (`Nats-Msg-Id`), so that one that is published again
//! within the stream's window is there once.

use std::{borrow::Cow, sync::Arc, time::Duration};

use async_nats::{
    ConnectErrorKind, ConnectOptions, Event, HeaderMap,
    jetstream::{
        AckKind, Context, Message,
        consumer::{AckPolicy, DeliverPolicy, pull},
        context::{PublishError, PublishErrorKind},
        stream,
    },
};
use async_trait::async_trait;
use consort_types::{Error, Result};
use futures::{FutureExt as _, StreamExt as _, future::join_all};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use tokio::sync::{Mutex, Notify};

use crate::{
    incoming::Incoming,
    options::{Options, Start},
    outgoing::Outgoing,
    peer::{ANSWER_WITHIN, Peer, Refusal, TOGETHER, refused, unreachable},
};

const NAME: &str = "NATS";
/// What the name of an attribute has before it, by the binding of CloudEvents to NATS.
const ATTRIBUTE: &str = "ce-";
const CONTENT_TYPE: &str = "content-type";
/// How long a message that was handed out and not settled waits.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// A stream of JetStream.
pub(crate) struct Nats {
    authority: String,
    user: Option<(String, String)>,
    options: Options,
    lost: Arc<Notify>,
    context: Option<Context>,
    /// Where the stream says that a message comes from.
    source: String,
    messages: Mutex<Option<pull::Stream>>,
    fetched: Mutex<Vec<Message>>,
}

impl Nats {
    pub(crate) fn new(authority: &str, user: Option<(String, String)>, options: &Options) -> Self {
        Self {
            authority: authority.to_owned(),
            user,
            options: options.clone(),
            lost: Arc::default(),
            context: None,
            source: String::new(),
            messages: Mutex::default(),
            fetched: Mutex::default(),
        }
    }

    async fn client(&mut self) -> Result<async_nats::Client> {
        let lost = Arc::new(Notify::new());
        self.lost = Arc::clone(&lost);
        let tell = move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                lost.notify_one();
            }
            std::future::ready(())
        };
        let mut options = ConnectOptions::new()
            .name(self.options.own())
            .connection_timeout(ANSWER_WITHIN)
            .max_reconnects(1)
            .event_callback(tell);
        if let Some((name, password)) = &self.user {
            options = options.user_and_password(name.clone(), password.clone());
        }
        options.connect(&self.authority).await.map_err(|error| match error.kind() {
            ConnectErrorKind::ServerParse
            | ConnectErrorKind::Authentication
            | ConnectErrorKind::AuthorizationViolation
            | ConnectErrorKind::Tls => refused(NAME, error),
            _ => unreachable(NAME, error),
        })
    }

    /// The subjects of a stream that is made.
    fn subjects(&self) -> Vec<String> {
        let rest = if self.options.prefix.ends_with('.') { ">" } else { self.options.topic.as_str() };
        vec![self.options.subject(rest)]
    }

    async fn consume(&self, stream: &stream::Stream) -> Result<pull::Stream> {
        let name = self.options.name.replace('.', "_");
        let filter = self.options.subject(&self.options.topic);
        let config = pull::Config {
            durable_name: Some(name.clone()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            filter_subject: filter.clone(),
            deliver_policy: match self.options.start {
                Start::New => DeliverPolicy::New,
                Start::All => DeliverPolicy::All,
            },
            ..pull::Config::default()
        };
        let consumer = stream.get_or_create_consumer(&name, config).await.map_err(explain)?;
        let found = &consumer.cached_info().config.filter_subject;
        if *found != filter {
            return Err(refused(NAME, format!("its consumer `{name}` has the subject `{found}`, and not `{filter}`"))
                .hint("give the bridge another name, or remove the consumer there"));
        }
        consumer.stream().max_messages_per_batch(TOGETHER).messages().await.map_err(|error| unreachable(NAME, error))
    }

    fn headers(event: &Outgoing) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, escape(&event.identity()).as_str());
        headers.insert(CONTENT_TYPE, event.media.as_str());
        for (name, value) in &event.attributes {
            headers.insert(format!("{ATTRIBUTE}{name}"), escape(value).as_str());
        }
        headers
    }

    fn read(&self, message: &Message) -> Result<Incoming> {
        let info = message.info().map_err(|error| refused(NAME, error))?;
        let mut incoming = Incoming {
            place: format!("{}:{}", info.stream, info.stream_sequence),
            topic: self.options.topic_of(&message.subject),
            source: self.source.clone(),
            id: info.stream_sequence.to_string(),
            body: message.payload.to_vec(),
            ..Incoming::default()
        };
        for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
            let name = name.to_string().to_ascii_lowercase();
            let Some(value) = values.first() else { continue };
            if name == CONTENT_TYPE {
                incoming.media = Some(value.to_string());
            } else if let Some(attribute) = name.strip_prefix(ATTRIBUTE) {
                incoming.attributes.insert(attribute.to_owned(), unescape(value.as_str()));
            }
        }
        Ok(incoming)
    }
}

#[async_trait]
impl Peer for Nats {
    async fn connect(&mut self) -> Result<()> {
        (*self.messages.lock().await, *self.fetched.lock().await) = (None, Vec::new());
        let client = self.client().await?;
        let mut context = async_nats::jetstream::new(client);
        context.set_timeout(ANSWER_WITHIN);
        let config = stream::Config {
            name: self.options.stream.clone(),
            subjects: self.subjects(),
            ..stream::Config::default()
        };
        let stream = context.get_or_create_stream(config).await.map_err(explain)?;
        // A stream that was removed and made again counts from 1 again.
        let made = stream.cached_info().created.unix_timestamp();
        self.source = format!("/nats/{}/{made}", self.options.stream);
        if self.options.direction.is_in() {
            *self.messages.lock().await = Some(self.consume(&stream).await?);
        }
        self.context = Some(context);
        Ok(())
    }

    async fn publish(&self, events: &[Outgoing]) -> Result<Vec<Refusal>> {
        let context = self.context.as_ref().ok_or_else(|| unreachable(NAME, "there is no connection"))?;
        let mut sent = Vec::with_capacity(events.len());
        for event in events {
            let subject = self.options.subject(&event.topic);
            let data = event.data.clone().into();
            sent.push(context.publish_with_headers(subject, Self::headers(event), data).await);
        }
        let mut outcomes = Vec::with_capacity(sent.len());
        for sent in sent {
            let confirmed = match sent {
                Ok(confirmation) => confirmation.await.map(|_| ()),
                Err(error) => Err(error),
            };
            outcomes.push(match confirmed {
                Ok(()) => None,
                Err(error) => Some(refusal(&error)?),
            });
        }
        Ok(outcomes)
    }

    async fn fetch(&self) -> Result<Vec<Incoming>> {
        let mut kept = self.messages.lock().await;
        let messages = kept.as_mut().ok_or_else(|| unreachable(NAME, "there is no connection"))?;
        let mut fetched = Vec::new();
        let mut next = messages.next().await;
        loop {
            match next {
                Some(Ok(message)) => fetched.push(message),
                Some(Err(error)) => return Err(unreachable(NAME, error)),
                None => return Err(unreachable(NAME, "its messages have ended")),
            }
            if fetched.len() >= TOGETHER {
                break;
            }
            match messages.next().now_or_never() {
                Some(more) => next = more,
                None => break,
            }
        }
        let incoming = fetched.iter().map(|message| self.read(message)).collect();
        *self.fetched.lock().await = fetched;
        incoming
    }

    async fn settle(&self, outcomes: &[Refusal]) -> Result<()> {
        let fetched = std::mem::take(&mut *self.fetched.lock().await);
        let settling = fetched.iter().zip(outcomes).map(|(message, refusal)| {
            // One that is refused stays in the stream, and is not handed out again.
            message.double_ack_with(if refusal.is_none() { AckKind::Ack } else { AckKind::Term })
        });
        join_all(settling)
            .await
            .into_iter()
            .collect::<std::result::Result<Vec<()>, _>>()
            .map_err(|error| unreachable(NAME, error))?;
        Ok(())
    }

    async fn lost(&self) -> Error {
        self.lost.notified().await;
        unreachable(NAME, "it has closed the connection")
    }
}

/// Why an event is refused.
///
/// # Errors
/// Where the connection is lost.
fn refusal(error: &PublishError) -> Result<String> {
    match error.kind() {
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe | PublishErrorKind::MaxAckPending => {
            Err(unreachable(NAME, error))
        }
        PublishErrorKind::StreamNotFound => Ok("no stream of NATS has the subject".to_owned()),
        _ => Ok(error.to_string()),
    }
}

/// What JetStream answers to a setting; a lost connection and one that does not fit look alike in some versions.
fn explain(error: impl std::error::Error) -> Error {
    let text = error.to_string();
    if ["timed out", "no responders", "broken", "request failed", "unavailable"].iter().any(|part| text.contains(part))
    {
        unreachable(NAME, format!("{text} (is JetStream switched on there?)"))
    } else {
        refused(NAME, text)
    }
}

/// What is written by its bytes in a header field: what is no printable letter of ASCII, and what the binding says.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

fn escape(value: &str) -> String {
    utf8_percent_encode(value, ESCAPED).to_string()
}

fn unescape(value: &str) -> String {
    percent_decode_str(value).decode_utf8().map_or_else(|_| value.to_owned(), Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_fields_are_read_as_they_are_written() {
        for value in ["plain", "with space", "100 %", "\"é\" €", "a%b", ""] {
            assert_eq!(unescape(&escape(value)), value);
            assert!(escape(value).is_ascii());
        }
        assert_eq!(unescape("100%"), "100%");
    }
}
