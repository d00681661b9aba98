//! What a bridge carries, and with what.
//!
//! For: the options, and the names that follow from them. Not for: how they are typed.
//! Invariant: every name on either side follows from the options alone, so that a later process finds what an earlier one
//! made.

use std::time::Duration;

use consort_peering::Direction;
use consort_types::{Code, Error, Name, Result, event::check_topic_pattern};

use crate::address::Address;

/// Where a new bridge begins, on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes from now on.
    New,
    /// With the oldest that is kept.
    All,
}

/// What is carried.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the bridge: its subscription, its consumer and its lock have it.
    pub name: String,
    /// The topics that are carried.
    pub topic: String,
    /// Where the other side is.
    pub to: Address,
    /// What the events are in on the other side: a stream of NATS, an exchange of RabbitMQ, a key of Redis.
    pub stream: String,
    /// What a subject or a routing key has before the topic.
    pub prefix: String,
    /// Which way events go.
    pub direction: Direction,
    /// Where a new bridge begins.
    pub start: Start,
    /// How long the bridge keeps its name, and what it was handed out, without a sign of life.
    pub lease: Duration,
}

impl Options {
    /// Refuses what cannot be carried.
    ///
    /// # Errors
    /// [`Code::BadName`], [`Code::BadTopic`], [`Code::BadRequest`].
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("bridge", &self.name)?;
        Name::check("lock of the bridge", &self.own())?;
        check_topic_pattern(&self.topic)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':' | b'.');
        for (what, text, may_be_empty) in [("stream", &self.stream, false), ("prefix", &self.prefix, true)] {
            if text.len() > 128 || !text.bytes().all(plain) || (text.is_empty() && !may_be_empty) {
                return Err(Error::new(Code::BadRequest, format!("the {what} of the bridge, `{text}`, does not fit"))
                    .hint("it has at most 128 letters, digits, `_`, `-`, `:` and `.`"));
            }
        }
        if matches!(self.to, Address::Nats { .. }) && self.stream.contains('.') {
            return Err(Error::new(Code::BadRequest, format!("`{}` cannot be a stream of NATS", self.stream))
                .hint("leave out the `.`"));
        }
        Ok(())
    }

    /// The lock and the subscription of the bridge.
    pub(crate) fn own(&self) -> String {
        format!("bridge.{}", self.name)
    }

    /// The subject or routing key of a topic.
    pub(crate) fn subject(&self, topic: &str) -> String {
        format!("{}{topic}", self.prefix)
    }

    /// The topic of a subject or routing key.
    pub(crate) fn topic_of(&self, subject: &str) -> String {
        subject.strip_prefix(self.prefix.as_str()).unwrap_or(subject).to_owned()
    }
}
