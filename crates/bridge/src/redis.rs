//! Redis Streams as the other side.
//!
//! For: one key that is a stream, appended to and read by a consumer group. Not for: clusters, where a script cannot reach
//! the stream and what is noted beside it together.
//! Invariant: an event is appended and noted by one script, so that one that is sent again within the window is there once;
//! a message that is refused is copied to `….refused` and acknowledged by one script.

use async_trait::async_trait;
use consort_types::{Code, Error, Result};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, Value,
    aio::MultiplexedConnection,
    streams::{StreamId, StreamReadReply},
};
use tokio::sync::Mutex;

use crate::{
    incoming::Incoming,
    options::{Options, Start},
    outgoing::Outgoing,
    peer::{ANSWER_WITHIN, Peer, Refusal, TOGETHER, refused, unreachable},
};

const NAME: &str = "Redis";
/// Seconds within which an event that is sent again is there once: the window of JetStream.
const WINDOW_SECONDS: u64 = 120;
/// How long a read waits for a message, in milliseconds; less than an answer may take.
const WAIT_MILLIS: u64 = 2_000;
/// The one consumer of the group: one process works under a name at a time.
const CONSUMER: &str = "bridge";
/// The field that has the data of an event.
const DATA: &str = "data";
/// The field that has its topic.
const TOPIC: &str = "topic";

/// Appends an event once. Keys: the stream, the note. Arguments: the seconds of the note, and the fields.
const APPEND: &str = r"
if not redis.call('SET', KEYS[2], '1', 'NX', 'EX', ARGV[1]) then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
return 1
";
/// Puts a message aside. Keys: the stream, the one of what is refused. Arguments: the group, the id, the reason, the fields.
const REFUSE: &str = r"
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 1 then
  redis.call('XADD', KEYS[2], '*', 'refused-id', ARGV[2], 'refused-reason', ARGV[3], unpack(ARGV, 4))
end
return 1
";

/// A key of Redis.
pub(crate) struct Redis {
    client: Client,
    options: Options,
    commands: Option<MultiplexedConnection>,
    reads: Option<MultiplexedConnection>,
    /// Where the next read begins: behind this, among what was handed out before, or `>` for what was not.
    from: Mutex<String>,
    fetched: Mutex<Vec<StreamId>>,
}

impl Redis {
    pub(crate) fn new(url: &str, options: &Options) -> Result<Self> {
        let client = Client::open(url).map_err(|error| {
            Error::new(Code::BadRequest, format!("the address of Redis cannot be read: {error}"))
                .hint("such as `redis://127.0.0.1:6379/0`")
        })?;
        let (from, fetched) = (Mutex::new(">".to_owned()), Mutex::default());
        Ok(Self { client, options: options.clone(), commands: None, reads: None, from, fetched })
    }

    async fn open(&self) -> Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER_WITHIN))
            .set_response_timeout(Some(ANSWER_WITHIN));
        self.client.get_multiplexed_async_connection_with_config(&config).await.map_err(|error| explain(&error))
    }

    async fn run(&self, command: &Cmd) -> Result<Value> {
        let commands = self.commands.clone().ok_or_else(|| unreachable(NAME, "there is no connection"))?;
        command.query_async(&mut { commands }).await.map_err(|error| explain(&error))
    }

    fn note(&self, event: &Outgoing) -> String {
        format!("consort.bridge.{}:{}", self.options.name, event.position)
    }

    fn read(&self, id: &StreamId) -> Incoming {
        let mut fields = fields(id);
        let body = match fields.iter().position(|(name, _)| name == DATA) {
            Some(place) => fields.remove(place).1,
            // A message that is no event and has no data is what its fields are.
            None if fields.iter().all(|(name, _)| name != "specversion") => {
                // Its topic is no part of them.
                let topic = fields.iter().position(|(name, _)| name == TOPIC).map(|place| fields.remove(place));
                let others = std::mem::replace(&mut fields, topic.into_iter().collect()).into_iter();
                let all = others.map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned().into()));
                serde_json::Value::Object(all.collect()).to_string().into_bytes()
            }
            None => Vec::new(),
        };
        let attributes = fields.into_iter().filter_map(|(name, value)| Some((name, String::from_utf8(value).ok()?)));
        Incoming {
            place: format!("{}:{}", self.options.stream, id.id),
            topic: self.options.stream.clone(),
            source: format!("/redis/{}", self.options.stream),
            id: id.id.clone(),
            attributes: attributes.collect(),
            media: None,
            body,
        }
    }

    async fn read_some(&self, connection: &mut MultiplexedConnection, from: &str) -> Result<Vec<StreamId>> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(&self.options.name).arg(CONSUMER).arg("COUNT").arg(TOGETHER);
        command.arg("BLOCK").arg(WAIT_MILLIS).arg("STREAMS").arg(&self.options.stream).arg(from);
        let reply: Option<StreamReadReply> = command.query_async(connection).await.map_err(|error| explain(&error))?;
        Ok(reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect())
    }
}

#[async_trait]
impl Peer for Redis {
    async fn connect(&mut self) -> Result<()> {
        self.commands = Some(self.open().await?);
        if self.options.direction.is_in() {
            self.reads = Some(self.open().await?);
            let start = if self.options.start == Start::All { "0" } else { "$" };
            let mut make = redis::cmd("XGROUP");
            make.arg("CREATE").arg(&self.options.stream).arg(&self.options.name).arg(start).arg("MKSTREAM");
            match self.run(&make).await {
                Err(error) if !error.message.contains("BUSYGROUP") => return Err(error),
                _ => {}
            }
        }
        // What an earlier process was handed out and has not settled comes first.
        "0".clone_into(&mut *self.from.lock().await);
        Ok(())
    }

    async fn publish(&self, events: &[Outgoing]) -> Result<Vec<Refusal>> {
        let mut outcomes = Vec::with_capacity(events.len());
        for event in events {
            let mut append = redis::cmd("EVAL");
            append.arg(APPEND).arg(2).arg(&self.options.stream).arg(self.note(event)).arg(WINDOW_SECONDS);
            for (name, value) in &event.attributes {
                append.arg(name).arg(value);
            }
            append.arg("datacontenttype").arg(&event.media);
            if !event.data.is_empty() {
                append.arg(DATA).arg(&event.data);
            }
            self.run(&append).await?;
            outcomes.push(None);
        }
        Ok(outcomes)
    }

    async fn fetch(&self) -> Result<Vec<Incoming>> {
        let mut connection = self.reads.clone().ok_or_else(|| unreachable(NAME, "there is no connection"))?;
        let mut from = self.from.lock().await;
        let found = loop {
            let found = self.read_some(&mut connection, &from).await?;
            match found.last() {
                Some(last) if *from != ">" => from.clone_from(&last.id),
                None if *from != ">" => ">".clone_into(&mut from),
                _ => {}
            }
            if !found.is_empty() {
                break found;
            }
        };
        let incoming = found.iter().map(|id| self.read(id)).collect();
        *self.fetched.lock().await = found;
        Ok(incoming)
    }

    async fn settle(&self, outcomes: &[Refusal]) -> Result<()> {
        let fetched = std::mem::take(&mut *self.fetched.lock().await);
        let (group, stream) = (&self.options.name, &self.options.stream);
        let mut taken = redis::cmd("XACK");
        taken.arg(stream).arg(group);
        let mut any = false;
        for (id, refusal) in fetched.iter().zip(outcomes) {
            let Some(reason) = refusal else {
                taken.arg(&id.id);
                any = true;
                continue;
            };
            let mut refuse = redis::cmd("EVAL");
            refuse.arg(REFUSE).arg(2).arg(stream).arg(format!("{stream}.refused")).arg(group).arg(&id.id).arg(reason);
            for (name, value) in fields(id) {
                refuse.arg(name).arg(value);
            }
            self.run(&refuse).await?;
        }
        if any {
            self.run(&taken).await?;
        }
        Ok(())
    }
}

/// The fields of a message.
fn fields(id: &StreamId) -> Vec<(String, Vec<u8>)> {
    let bytes = |value: &Value| match value {
        Value::BulkString(bytes) => bytes.clone(),
        Value::SimpleString(text) => text.clone().into_bytes(),
        Value::Int(number) => number.to_string().into_bytes(),
        _ => Vec::new(),
    };
    id.map.iter().map(|(name, value)| (name.clone(), bytes(value))).collect()
}

fn explain(error: &RedisError) -> Error {
    let settings =
        matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::Client);
    let text = error.to_string();
    let wrong = ["BUSYGROUP", "WRONGTYPE", "NOPERM", "unknown command"].iter().any(|part| text.contains(part));
    if settings || wrong { refused(NAME, text) } else { unreachable(NAME, text) }
}
