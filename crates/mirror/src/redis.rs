//! Redis as the other side, and what speaks its protocol.
//!
//! For: keys of the type string of one database. Not for: clusters, where a script cannot reach a key and its mark together.
//! Invariant: a key and its mark are read together and written together, each by one script, which the server runs alone.

mod errors;
mod scripts;

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use consort_types::{Code, Error, Result, limits};
use futures::StreamExt as _;
use redis::{AsyncConnectionConfig, Client, Cmd, Value, aio::MultiplexedConnection, aio::PubSub};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
};

use self::errors::explain;
use crate::{
    options::Options,
    peer::{
        ANSWER_WITHIN, Change, Content, Entry, Follow, KEYS_AT_ONCE, Listing, Noted, OWN, Peer, WAITING, Write,
        Written, fenced, forgotten, key_of,
    },
};

/// The hash that has what the mirror notes: the token under the empty field, and the mark of each key under its name.
fn companion(name: &str) -> String {
    format!("{OWN}.{name}")
}

/// A database of a Redis server.
pub(crate) struct Redis {
    client: Client,
    connection: Mutex<Option<MultiplexedConnection>>,
    database: i64,
    prefix: String,
    companion: String,
    /// Whether keys that are removed to make room would be taken for removals.
    takes: bool,
}

impl Redis {
    pub(crate) fn new(url: &str, options: &Options) -> Result<Self> {
        let client = Client::open(url).map_err(|error| {
            Error::new(Code::BadRequest, format!("the address of Redis cannot be read: {error}"))
                .hint("such as `redis://127.0.0.1:6379/0`")
        })?;
        let database = client.get_connection_info().redis_settings().db();
        Ok(Self {
            client,
            connection: Mutex::default(),
            database,
            prefix: options.prefix.clone(),
            companion: companion(&options.name),
            takes: options.direction.is_in(),
        })
    }

    /// The connection, made again after a loss.
    async fn connection(&self) -> Result<MultiplexedConnection> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = &*kept {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let connection = made.map_err(|error| explain(&error))?;
        *kept = Some(connection.clone());
        Ok(connection)
    }

    async fn query(&self, command: &Cmd) -> Result<Value> {
        let mut connection = self.connection().await?;
        match command.query_async(&mut connection).await {
            Ok(value) => Ok(value),
            Err(error) => {
                let error = explain(&error);
                if error.code == Code::PeerUnreachable {
                    *self.connection.lock().await = None;
                }
                Err(error)
            }
        }
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Refuses a server that removes keys to make room: no client has requested those removals.
    async fn check_eviction(&self) -> Result<()> {
        let info = bytes(&self.query(redis::cmd("INFO").arg("memory")).await?);
        let info = String::from_utf8_lossy(&info).into_owned();
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().to_owned()
        };
        let (max, policy) = (field("maxmemory"), field("maxmemory_policy"));
        if self.takes && max != "0" && policy.starts_with("allkeys") {
            let message = format!("Redis removes any key when its memory is full (`maxmemory-policy {policy}`)");
            return Err(Error::new(Code::PeerRefused, message).hint(
                "removals would come in; set `noeviction` or a `volatile-` policy, or mirror with `--direction out`",
            ));
        }
        Ok(())
    }

    /// Adds the classes of notifications that are missing. Where that is not allowed, comparisons have to do.
    async fn ask_for_notifications(&self) -> Result<()> {
        const NAME: &str = "notify-keyspace-events";
        let wanted = if self.takes { "Kg$xe" } else { "Kg$" };
        let Ok(found) = self.query(redis::cmd("CONFIG").arg("GET").arg(NAME)).await else { return Ok(()) };
        let now = items(&found).get(1).map(bytes).unwrap_or_default();
        let mut set: BTreeSet<char> = String::from_utf8_lossy(&now).chars().collect();
        let enough =
            set.contains(&'K') && wanted.chars().all(|one| one == 'K' || set.contains(&one) || set.contains(&'A'));
        if !enough {
            set.extend(wanted.chars());
            let flags: String = set.into_iter().collect();
            match self.query(redis::cmd("CONFIG").arg("SET").arg(NAME).arg(flags)).await {
                Err(error) if error.code == Code::PeerUnreachable => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The keys of the database with the prefix, or the fields of the hash that has the marks.
    async fn scan(&self, hash: bool) -> Result<Vec<Vec<u8>>> {
        let (mut found, mut cursor) = (Vec::new(), b"0".to_vec());
        loop {
            let mut command = if hash { redis::cmd("HSCAN") } else { redis::cmd("SCAN") };
            if hash {
                command.arg(&self.companion);
            }
            command.arg(&cursor);
            if !hash {
                command.arg("MATCH").arg(pattern(&self.prefix));
            }
            let answer = self.query(command.arg("COUNT").arg(500)).await?;
            let parts = items(&answer);
            let page = parts.get(1).map(items).unwrap_or_default();
            // A hash answers field and value in turn.
            found.extend(page.iter().step_by(if hash { 2 } else { 1 }).map(bytes));
            cursor = parts.first().map(bytes).unwrap_or_default();
            if cursor == b"0" || cursor.is_empty() {
                return Ok(found);
            }
        }
    }
}

#[async_trait]
impl Peer for Redis {
    async fn claim(&self, token: u64) -> Result<()> {
        *self.connection.lock().await = None;
        self.check_eviction().await?;
        let mut claim = redis::cmd("EVAL");
        claim.arg(scripts::CLAIM).arg(1).arg(&self.companion).arg(token);
        match self.query(&claim).await? {
            Value::Int(0) => Err(fenced(token)),
            _ => self.ask_for_notifications().await,
        }
    }

    async fn follow(&self, _after: Option<&str>) -> Result<Option<Follow>> {
        let mut pubsub = self.client.get_async_pubsub().await.map_err(|error| explain(&error))?;
        let channel = format!("__keyspace@{}__:", self.database);
        pubsub
            .psubscribe(format!("{}{}", pattern_text(&channel), pattern(&self.prefix)))
            .await
            .map_err(|e| explain(&e))?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut reader = JoinSet::new();
        let keys = Names { prefix: self.prefix.clone(), channel };
        reader.spawn(async move { keys.read(pubsub, sender).await });
        Ok(Some(Follow { receiver, place: None, _reader: reader }))
    }

    async fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        let mut keys = BTreeSet::new();
        for raw in self.scan(false).await? {
            match key_of(&self.prefix, &raw) {
                Some(Ok(key)) => _ = keys.insert(key),
                Some(Err(refused)) => listing.refused.push(refused),
                None => {}
            }
        }
        let fields = self.scan(true).await?;
        keys.extend(
            fields.into_iter().filter(|field| !field.is_empty()).filter_map(|field| String::from_utf8(field).ok()),
        );
        let keys: Vec<String> = keys.into_iter().collect();
        for some in keys.chunks(KEYS_AT_ONCE) {
            for (key, entry) in some.iter().zip(self.read(some).await?) {
                if let Content::Foreign(why) = &entry.content {
                    listing.refused.push((key.clone(), why.clone()));
                } else {
                    listing.keys.insert(key.clone(), (entry.content.digest(), entry.mark));
                }
            }
        }
        Ok(listing)
    }

    async fn read(&self, keys: &[String]) -> Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(keys.len());
        for some in keys.chunks(KEYS_AT_ONCE) {
            let mut read = redis::cmd("EVAL");
            read.arg(scripts::READ).arg(some.len() + 1).arg(&self.companion);
            for key in some {
                read.arg(self.full(key));
            }
            read.arg(limits::MIRROR_VALUE_BYTES_MAX);
            for key in some {
                read.arg(key);
            }
            entries.extend(items(&self.query(&read).await?).iter().map(entry));
        }
        if entries.len() == keys.len() {
            return Ok(entries);
        }
        Err(Error::new(Code::PeerRefused, "Redis has not answered for every key").hint("is it Redis 6 or later?"))
    }

    async fn write(&self, token: u64, writes: &[Write]) -> Result<Vec<Written>> {
        let mut done = Vec::with_capacity(writes.len());
        for write in writes {
            let mut command = redis::cmd("EVAL");
            command.arg(scripts::WRITE).arg(2).arg(self.full(&write.key)).arg(&self.companion);
            command.arg(token).arg(&write.key);
            let seen: &[u8] = match &write.seen.content {
                Content::Text { raw, .. } => raw,
                Content::Absent | Content::Foreign(_) => b"",
            };
            command.arg(i32::from(matches!(write.seen.content, Content::Text { .. }))).arg(seen);
            match &write.change {
                Change::Put { text, ttl } => command.arg("put").arg(text).arg(ttl.map_or(0, millis)),
                Change::Delete => command.arg("delete").arg("").arg(0),
                Change::Keep => command.arg("keep").arg("").arg(0),
            };
            command.arg(write.mark.map(|mark| mark.to_string()).unwrap_or_default());
            done.push(match bytes(&self.query(&command).await?).as_slice() {
                b"done" => Written::Done,
                b"moved" => Written::Moved,
                b"fenced" => return Err(fenced(token)),
                _ => return Err(forgotten()),
            });
        }
        Ok(done)
    }

    fn may_miss(&self) -> bool {
        true
    }
}

/// What notifications are about.
struct Names {
    prefix: String,
    channel: String,
}

impl Names {
    async fn read(self, pubsub: PubSub, sender: mpsc::Sender<Result<Noted>>) {
        let mut messages = pubsub.into_on_message();
        // What has not been looked at yet needs no second entry, so a slow mirror does not make Redis wait.
        let mut waiting = BTreeSet::new();
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { break };
                    // A key that is none is told of by the next comparison.
                    let full = message.get_channel_name().strip_prefix(self.channel.as_str()).unwrap_or_default();
                    waiting.extend(key_of(&self.prefix, full.as_bytes()).and_then(std::result::Result::ok));
                }
                room = sender.reserve(), if !waiting.is_empty() => {
                    let Ok(room) = room else { return };
                    room.send(Ok(Noted::Keys(std::mem::take(&mut waiting).into_iter().collect(), None)));
                }
            }
        }
        let lost = Error::new(Code::PeerUnreachable, "Redis has closed the connection of its notifications");
        // It fails only where the receiver was dropped.
        let _ = sender.send(Err(lost.hint("it is connected again"))).await;
    }
}

fn entry(value: &Value) -> Entry {
    let parts = items(value);
    let number = |place: usize| match parts.get(place) {
        Some(Value::Int(number)) => *number,
        _ => 0,
    };
    let text = |place: usize| parts.get(place).map(bytes).unwrap_or_default();
    let content = match number(0) {
        0 => Content::Absent,
        1 => Content::of(text(1)),
        2 => Content::Foreign(format!(
            "the value has {} bytes, a mirror carries at most {}",
            number(2),
            limits::MIRROR_VALUE_BYTES_MAX
        )),
        _ => Content::Foreign(format!(
            "the key has the type `{}`, a mirror carries strings",
            String::from_utf8_lossy(&text(1))
        )),
    };
    let mark = String::from_utf8(text(3)).ok().and_then(|mark| mark.parse().ok());
    Entry { expires: number(0) == 1 && number(2) >= 0, content, revision: 0, mark }
}

fn items(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) | Value::Set(items) => items.clone(),
        // What is a map by the newer protocol is a list of names and values by the older.
        Value::Map(pairs) => pairs.iter().flat_map(|(key, value)| [key.clone(), value.clone()]).collect(),
        _ => Vec::new(),
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::BulkString(bytes) => bytes.clone(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone().into_bytes(),
        Value::Int(number) => number.to_string().into_bytes(),
        Value::Okay => b"OK".to_vec(),
        _ => Vec::new(),
    }
}

fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// The pattern of what begins with a text.
fn pattern(prefix: &str) -> String {
    format!("{}*", pattern_text(prefix))
}

/// A text in a pattern, which matches itself alone.
fn pattern_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '^' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_itself_alone_in_a_pattern() {
        assert_eq!(pattern("app:"), "app:*");
        assert_eq!(pattern("a*[b]?\\"), "a\\*\\[b\\]\\?\\\\*");
    }
}
