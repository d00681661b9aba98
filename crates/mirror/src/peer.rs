//! What a mirror needs of the other side.
//!
//! For: the trait that each connector implements. Not for: what is decided about keys.
//! Invariant: a write is done only where the key still is what was read, and only by the mirror with the current token; the
//! key and its mark change together.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use consort_types::{Code, Error, Result, state::check_key};
use tokio::{sync::mpsc, task::JoinSet};

use crate::values::{Digest, Mark, document_of};

/// What the names of keys begin with that connectors keep for themselves.
pub(crate) const OWN: &str = "consort.mirror";

/// What a key is on the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// It is not there.
    Absent,
    /// It has a text: as it is there, and as a JSON document.
    Text {
        /// The bytes as they are there.
        raw: Vec<u8>,
        /// The document that they are.
        document: String,
    },
    /// It has something that cannot be mirrored; why.
    Foreign(String),
}

impl Content {
    /// The content of these bytes.
    pub(crate) fn of(raw: Vec<u8>) -> Self {
        match document_of(&raw) {
            Some(document) => Self::Text { raw, document },
            None => Self::Foreign("the value is no text in UTF-8".to_owned()),
        }
    }

    /// What it is compared by; nothing of what is not there.
    pub(crate) fn digest(&self) -> Option<Digest> {
        match self {
            Self::Text { document, .. } => Some(Digest::of(document)),
            Self::Absent | Self::Foreign(_) => None,
        }
    }
}

/// A key of the other side as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its content.
    pub(crate) content: Content,
    /// The revision of the key, where the other side counts them.
    pub(crate) revision: i64,
    /// Whether it ends by itself.
    pub(crate) expires: bool,
    /// What was last agreed upon.
    pub(crate) mark: Option<Mark>,
}

/// What a write does to the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Gives it a text, and how long that stays.
    Put {
        /// The text.
        text: String,
        /// How long it stays; without it, until it is removed.
        ttl: Option<Duration>,
    },
    /// Removes it.
    Delete,
    /// Leaves it as it is, whatever it is by now: only the mark is written.
    Keep,
}

/// A write to the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    /// The key, without the prefix.
    pub(crate) key: String,
    /// The key as it was read: nothing is done where it is another one by now, except by [`Change::Keep`].
    pub(crate) seen: Entry,
    /// What is done.
    pub(crate) change: Change,
    /// What is agreed upon from then on; `None` where nothing is there on both sides.
    pub(crate) mark: Option<Mark>,
}

/// The outcome of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is done.
    Done,
    /// The key has changed since it was read; nothing is done.
    Moved,
}

/// What is seen of the changes of the other side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Keys may have changed, all of them up to a place from which another look may begin, where there are places.
    Keys(Vec<String>, Option<String>),
    /// A key that cannot be mirrored, and why.
    Refused(String, String),
    /// Changes were missed: only a comparison tells which.
    Gap,
}

/// The changes of the other side. Reading ends when this is dropped.
pub(crate) struct Follow {
    pub(crate) receiver: mpsc::Receiver<Result<Noted>>,
    /// Where it begins, where the other side has places.
    pub(crate) place: Option<String>,
    pub(crate) _reader: JoinSet<()>,
}

/// Every key of the other side, without its value.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The digest of each key, and what was last agreed upon.
    pub(crate) keys: BTreeMap<String, (Option<Digest>, Option<Mark>)>,
    /// What cannot be mirrored, and why.
    pub(crate) refused: Vec<(String, String)>,
}

/// The other side.
#[async_trait]
pub(crate) trait Peer: Send + Sync {
    /// Connects, and makes the holder of `token` the one that may write.
    ///
    /// # Errors
    /// [`Code::LeaseLost`] where a larger token has been there; [`Code::PeerUnreachable`], [`Code::PeerRefused`].
    async fn claim(&self, token: u64) -> Result<()>;

    /// Follows the changes after a place, or from now on; `None` where what changed after the place is not kept.
    async fn follow(&self, after: Option<&str>) -> Result<Option<Follow>>;

    /// Reads every key.
    async fn list(&self) -> Result<Listing>;

    /// Reads keys, in their order.
    async fn read(&self, keys: &[String]) -> Result<Vec<Entry>>;

    /// Writes, each key by itself; the outcomes in their order.
    ///
    /// # Errors
    /// [`Code::LeaseLost`] where a larger token has been there; [`Code::PeerUnreachable`] also where the other side has
    /// lost the token, and with it what was agreed upon.
    async fn write(&self, token: u64, writes: &[Write]) -> Result<Vec<Written>>;

    /// Whether what `follow` gives may have gaps that it does not know of.
    fn may_miss(&self) -> bool;
}

/// The key of the state store that a key of the other side is, or the key and why it can be none; `None` where it does not
/// belong to the mirror.
pub(crate) fn key_of(prefix: &str, raw: &[u8]) -> Option<std::result::Result<String, (String, String)>> {
    let rest = raw.strip_prefix(prefix.as_bytes())?;
    if raw.starts_with(OWN.as_bytes()) {
        return None;
    }
    let shown = || String::from_utf8_lossy(rest).into_owned();
    Some(match std::str::from_utf8(rest) {
        Ok(key) => check_key(key).map(|()| key.to_owned()).map_err(|error| (shown(), error.message)),
        Err(_) => Err((shown(), "the key is no text in UTF-8".to_owned())),
    })
}

/// A larger token was seen on the other side.
pub(crate) fn fenced(token: u64) -> Error {
    Error::new(Code::LeaseLost, format!("the other side knows a later mirror than that of token `{token}`"))
        .hint("another process mirrors under this name; after a restore of a backup, remove the keys `consort.mirror…` of the other side")
}

/// The other side has lost what the mirror has noted there.
pub(crate) fn forgotten() -> Error {
    Error::new(Code::PeerUnreachable, "the other side has lost what the mirror noted there")
        .hint("was it emptied? everything is compared again")
}

/// How long a request to the other side may take.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Keys that are read in one request.
pub(crate) const KEYS_AT_ONCE: usize = 64;
/// Changes that wait to be looked at.
pub(crate) const WAITING: usize = 1024;
