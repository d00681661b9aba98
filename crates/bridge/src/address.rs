//! The addresses of brokers.
//!
//! For: which broker, where, and as which user. Not for: connecting.
//! Invariant: what is shown of an address has no password.

use std::{fmt, str::FromStr};

use consort_peering::{authority, without_user};
use consort_types::{Code, Error, Result};

/// Where the other side is.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// NATS with JetStream.
    Nats {
        /// Its `HOST:PORT`.
        authority: String,
        /// The user and the password, where it needs them.
        user: Option<(String, String)>,
    },
    /// RabbitMQ, by AMQP 0.9.1: the URL as given.
    Rabbit(String),
    /// Redis, or what speaks its protocol: the URL as given.
    Redis(String),
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::new(Code::BadRequest, format!("the address of the other side {why}")).hint(
                "such as `nats://127.0.0.1:4222`, `amqp://127.0.0.1:5672` or `redis://127.0.0.1:6379/0`; \
                 `USER:PASSWORD@` may be before the host",
            )
        };
        match text.split_once("://") {
            Some(("redis", _)) => Ok(Self::Redis(text.to_owned())),
            Some(("amqp", _)) => Ok(Self::Rabbit(text.to_owned())),
            Some(("nats", rest)) => {
                let (authority, user) = authority(rest).ok_or_else(|| bad("has a user without a password"))?;
                Ok(Self::Nats { authority, user })
            }
            Some(("rediss" | "amqps" | "tls", _)) => Err(bad("asks for TLS, which the bridge does not speak itself")
                .hint("let a proxy on this machine end TLS, and give its address")),
            Some(("kafka", _)) => Err(bad("is one of Kafka, to which there is no bridge yet")),
            _ => Err(bad("begins neither with `nats://` nor with `amqp://` nor with `redis://`")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = match self {
            Self::Nats { authority, .. } => ("nats", authority.as_str()),
            Self::Rabbit(url) => ("amqp", url.trim_start_matches("amqp://")),
            Self::Redis(url) => ("redis", url.trim_start_matches("redis://")),
        };
        write!(f, "{scheme}://{}", without_user(rest))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_passwords() {
        for (text, shown) in [
            ("nats://127.0.0.1:4222/", "nats://127.0.0.1:4222"),
            ("nats://ann:s@cret@broker:4222", "nats://broker:4222"),
            ("amqp://ann:secret@broker:5672/%2f", "amqp://broker:5672/%2f"),
            ("redis://:secret@cache:6379/1", "redis://cache:6379/1"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string(), format!("{address:?}")), (shown.to_owned(), shown.to_owned()));
        }
        for text in ["", "127.0.0.1:4222", "http://a:1", "amqps://a:1", "kafka://a:1", "nats://ann@a:1"] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.code == Code::BadRequest && error.hint.is_some(), "{text}");
        }
    }
}
