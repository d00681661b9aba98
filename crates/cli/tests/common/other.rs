//! The other side of a mirror, as the programs that use it see it.
//!
//! For: writing and reading Redis and etcd without the mirror's own connectors. Not for: anything else.
//! Invariant: a write that returns true was acknowledged.

use std::{collections::BTreeMap, net::SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use consort_testkit::http::Client;
use redis::Commands as _;
use serde_json::{Value, json};

/// What the keys begin with.
pub(crate) const PREFIX: &str = "app:";

/// A side that a space is mirrored to.
pub(crate) trait Other: Send + Sync {
    /// Its address, as the mirror takes it.
    fn url(&self) -> String;
    /// Gives a key a text.
    fn set(&self, key: &str, text: &str) -> bool;
    /// Removes a key.
    fn remove(&self, key: &str) -> bool;
    /// Every key with the prefix, without it; `None` where it does not answer.
    fn all(&self) -> Option<BTreeMap<String, String>>;

    /// The text of a key.
    fn get(&self, key: &str) -> Option<String> {
        self.all()?.remove(key)
    }
}

/// Redis.
pub(crate) struct Redis(pub(crate) SocketAddr);

impl Redis {
    /// Runs a command; `None` where there is no answer.
    pub(crate) fn run<T: redis::FromRedisValue>(&self, words: &[&str]) -> Option<T> {
        let mut connection = redis::Client::open(self.url()).ok()?.get_connection().ok()?;
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(word));
        command.query(&mut connection).ok()
    }
}

impl Other for Redis {
    fn url(&self) -> String {
        format!("redis://{}/0", self.0)
    }

    fn set(&self, key: &str, text: &str) -> bool {
        self.run::<String>(&["SET", &format!("{PREFIX}{key}"), text]).is_some()
    }

    fn remove(&self, key: &str) -> bool {
        self.run::<i64>(&["DEL", &format!("{PREFIX}{key}")]).is_some()
    }

    fn all(&self) -> Option<BTreeMap<String, String>> {
        let mut connection = redis::Client::open(self.url()).ok()?.get_connection().ok()?;
        let keys: Vec<String> = connection.keys(format!("{PREFIX}*")).ok()?;
        let mut all = BTreeMap::new();
        for key in keys {
            // One that is no string, or has been removed by now, is not mirrored.
            if let Ok(Some(text)) = connection.get::<_, Option<String>>(&key) {
                all.insert(key[PREFIX.len()..].to_owned(), text);
            }
        }
        Some(all)
    }
}

/// etcd.
pub(crate) struct Etcd(pub(crate) SocketAddr);

impl Etcd {
    /// Asks its gateway; `None` where there is no good answer.
    pub(crate) fn ask(&self, path: &str, body: &Value) -> Option<Value> {
        let response = Client::new(self.0).post(path, body).ok()?;
        (response.status == 200).then(|| response.json())
    }
}

impl Other for Etcd {
    fn url(&self) -> String {
        format!("etcd://{}", self.0)
    }

    fn set(&self, key: &str, text: &str) -> bool {
        let body = json!({ "key": STANDARD.encode(format!("{PREFIX}{key}")), "value": STANDARD.encode(text) });
        self.ask("/v3/kv/put", &body).is_some()
    }

    fn remove(&self, key: &str) -> bool {
        self.ask("/v3/kv/deleterange", &json!({ "key": STANDARD.encode(format!("{PREFIX}{key}")) })).is_some()
    }

    fn all(&self) -> Option<BTreeMap<String, String>> {
        let read =
            self.ask("/v3/kv/range", &json!({ "key": STANDARD.encode("app:"), "range_end": STANDARD.encode("app;") }))?;
        let text =
            |value: &Value| String::from_utf8(STANDARD.decode(value.as_str().unwrap_or_default()).unwrap()).unwrap();
        let kvs = read["kvs"].as_array().cloned().unwrap_or_default();
        Some(kvs.iter().map(|kv| (text(&kv["key"])[PREFIX.len()..].to_owned(), text(&kv["value"]))).collect())
    }
}
