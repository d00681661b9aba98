//! What a mirror mirrors, and with what.
//!
//! For: the options, and the addresses of other sides. Not for: how they are typed.
//! Invariant: what is shown and stored of an address has no password.

use std::{fmt, str::FromStr, time::Duration};

use consort_peering::{Direction, authority, without_user};
use consort_types::{Code, Error, Name, Result, limits};

/// Where the other side is.
#[derive(Clone, PartialEq, Eq)]
pub enum Address {
    /// Redis, or what speaks its protocol: the URL as given.
    Redis(String),
    /// etcd.
    Etcd {
        /// Its `HOST:PORT`.
        authority: String,
        /// The user and the password, where it needs them.
        user: Option<(String, String)>,
    },
    /// A server of Consort.
    Server(ServerAddress),
}

/// A space of another server.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Its `HOST:PORT`.
    pub authority: String,
    /// The server's token, where it needs one.
    pub token: Option<String>,
    /// The namespace; without it, the default one.
    pub namespace: Option<String>,
    /// The space.
    pub space: String,
}

impl ServerAddress {
    /// Reads `[TOKEN@]HOST:PORT/[NAMESPACE/]SPACE`.
    fn read(text: &str) -> Option<Self> {
        let (token, rest) = match text.rsplit_once('@') {
            Some((token, rest)) => (Some(token.to_owned()), rest),
            None => (None, text),
        };
        let mut parts = rest.trim_end_matches('/').split('/').map(str::to_owned);
        let authority = parts.next()?;
        let (namespace, space) = match (parts.next()?, parts.next(), parts.next()) {
            (space, None, _) => (None, space),
            (namespace, Some(space), None) => (Some(namespace), space),
            _ => return None,
        };
        Some(Self { authority, token, namespace, space })
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| {
            Error::new(Code::BadRequest, format!("the address of the other side {why}"))
                .hint("such as `redis://127.0.0.1:6379/0`, `etcd://127.0.0.1:2379` or `consort://127.0.0.1:7878/team`; `USER:PASSWORD@` may be before the host, or `TOKEN@`")
        };
        match text.split_once("://") {
            Some(("redis", _)) => Ok(Self::Redis(text.to_owned())),
            Some(("etcd", rest)) => {
                let (authority, user) = authority(rest).ok_or_else(|| bad("has a user without a password"))?;
                Ok(Self::Etcd { authority, user })
            }
            Some(("consort", rest)) => {
                let address = ServerAddress::read(rest).ok_or_else(|| bad("names no space of a server"));
                address.map(Self::Server).map_err(|error| error.hint("such as `consort://127.0.0.1:7878/team`; `TOKEN@` may be before the host, and a namespace before the space"))
            }
            Some(("rediss" | "etcds", _)) => Err(bad("asks for TLS, which the mirror does not speak itself")
                .hint("let a proxy on this machine end TLS, and give its address")),
            _ => Err(bad("begins with none of `redis://`, `etcd://` and `consort://`")),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis(url) => {
                write!(f, "redis://{}", without_user(url.trim_start_matches("redis://")))
            }
            Self::Etcd { authority, .. } => write!(f, "etcd://{authority}"),
            Self::Server(ServerAddress { authority, namespace: None, space, .. }) => {
                write!(f, "consort://{authority}/{space}")
            }
            Self::Server(ServerAddress { authority, namespace: Some(namespace), space, .. }) => {
                write!(f, "consort://{authority}/{namespace}/{space}")
            }
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is mirrored.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name of the mirror: its cursor and its lock have it.
    pub name: String,
    /// The space.
    pub space: String,
    /// Where the other side is.
    pub to: Address,
    /// What keys begin with on the other side.
    pub prefix: String,
    /// Which way changes go.
    pub direction: Direction,
    /// How long the mirror keeps its name without a sign of life.
    pub lease: Duration,
    /// How often everything is compared where notifications may be lost.
    pub compare: Duration,
}

/// The space that has the cursors of mirrors, each under the name of the mirror.
pub(crate) const CURSORS: &str = "mirrors";

impl Options {
    /// Refuses what cannot be mirrored.
    ///
    /// # Errors
    /// [`Code::BadName`], [`Code::BadRequest`].
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("mirror", &self.name)?;
        Name::check("lock of the mirror", &self.lock())?;
        Name::check("space", &self.space)?;
        if self.space == CURSORS {
            return Err(Error::new(Code::BadRequest, format!("space `{CURSORS}` cannot be mirrored"))
                .hint("it has the cursors of mirrors; mirror another space"));
        }
        if let Address::Server(ServerAddress { space, namespace, .. }) = &self.to {
            Name::check("space", space)?;
            namespace.as_deref().map_or(Ok(()), |namespace| Name::check("namespace", namespace))?;
            if !self.prefix.is_empty() || space == CURSORS {
                return Err(Error::new(
                    Code::BadRequest,
                    "a space of a server is mirrored whole, and not that of cursors",
                )
                .hint("leave `--prefix` out, and give another space"));
            }
        }
        let (bytes, max) = (self.prefix.len(), limits::MIRROR_PREFIX_BYTES_MAX);
        if bytes > max || self.prefix.chars().any(char::is_control) {
            let message = format!("the prefix has {bytes} bytes; it has at most {max}, and no control characters");
            return Err(Error::new(Code::BadRequest, message).hint("choose a short one, such as `app:`"));
        }
        Ok(())
    }

    /// The lock that the mirror holds while it runs.
    pub(crate) fn lock(&self) -> String {
        format!("mirror.{}", self.name)
    }

    /// The space that has the marks, on both sides, where the other one is a server.
    pub(crate) fn marks(&self) -> String {
        self.lock()
    }

    /// Who the mirror is among the writers of values.
    pub(crate) fn writer(&self) -> String {
        format!("mirror {}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_shown_without_their_passwords() {
        for (text, shown) in [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("redis://ann:s@cret@cache:6379", "redis://cache:6379"),
            ("etcd://127.0.0.1:2379/", "etcd://127.0.0.1:2379"),
            ("etcd://root:se:cret@kv:2379", "etcd://kv:2379"),
            ("consort://127.0.0.1:7878/team", "consort://127.0.0.1:7878/team"),
            ("consort://s@cret@hub:7878/lab/team/", "consort://hub:7878/lab/team"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.to_string(), format!("{address:?}")), (shown.to_owned(), shown.to_owned()));
        }
        for text in [
            "",
            "127.0.0.1:6379",
            "http://a:1",
            "rediss://a:1",
            "etcd://root@a:1",
            "consort://a:1",
            "consort://a:1/b/c/d",
        ] {
            let error = text.parse::<Address>().unwrap_err();
            assert!(error.code == Code::BadRequest && error.hint.is_some(), "{text}");
        }
    }
}
