//! The documents of etcd's JSON gateway.
//!
//! For: what is sent and what is read. Not for: what is done with it.
//! Invariant: keys and values are bytes, in base 64; numbers of 64 bits are read from texts and from numbers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use consort_types::{Code, Error};
use hyper::StatusCode;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text(pub(super) Vec<u8>);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// A number of 64 bits, which the gateway writes as a text.
fn number<'de, D: Deserializer<'de>, N: std::str::FromStr + Deserialize<'de>>(deserializer: D) -> Result<N, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written<N> {
        Number(N),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => text.parse().map_err(|_| serde::de::Error::custom(format!("`{text}` is no number"))),
    }
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Header {
    #[serde(default, deserialize_with = "number")]
    pub(super) cluster_id: u64,
    #[serde(default, deserialize_with = "number")]
    pub(super) revision: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Kv {
    pub(super) key: Text,
    pub(super) value: Text,
    #[serde(deserialize_with = "number")]
    pub(super) mod_revision: i64,
    #[serde(deserialize_with = "number")]
    pub(super) lease: i64,
}

#[derive(Debug, Serialize)]
pub(super) struct Range {
    pub(super) key: Text,
    #[serde(rename = "range_end")]
    pub(super) end: Text,
    pub(super) limit: i64,
    pub(super) revision: i64,
}

impl Range {
    /// Of one key.
    pub(super) fn one(key: Vec<u8>) -> Self {
        Self { key: Text(key), end: Text::default(), limit: 0, revision: 0 }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ranged {
    pub(super) header: Header,
    pub(super) kvs: Vec<Kv>,
    pub(super) more: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Compare {
    key: Text,
    target: &'static str,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Text>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mod_revision: Option<i64>,
}

impl Compare {
    /// The value of a key compared with another one; a key that is not there compares with nothing.
    pub(super) fn value(key: Vec<u8>, result: &'static str, value: Vec<u8>) -> Self {
        Self { key: Text(key), target: "VALUE", result, value: Some(Text(value)), mod_revision: None }
    }

    /// The revision of a key; 0 where it is not there.
    pub(super) fn revision(key: Vec<u8>, revision: i64) -> Self {
        Self { key: Text(key), target: "MOD", result: "EQUAL", value: None, mod_revision: Some(revision) }
    }
}

#[derive(Debug, Serialize)]
pub(super) enum Op {
    #[serde(rename = "request_range")]
    Range(Range),
    #[serde(rename = "request_put")]
    Put(Put),
    #[serde(rename = "request_delete_range")]
    Delete(DeleteRange),
}

#[derive(Debug, Serialize)]
pub(super) struct Put {
    key: Text,
    value: Text,
    lease: i64,
}

#[derive(Debug, Serialize)]
pub(super) struct DeleteRange {
    key: Text,
}

impl Op {
    pub(super) fn range(key: Vec<u8>) -> Self {
        Self::Range(Range::one(key))
    }

    pub(super) fn put(key: Vec<u8>, value: Vec<u8>, lease: i64) -> Self {
        Self::Put(Put { key: Text(key), value: Text(value), lease })
    }

    pub(super) fn delete(key: Vec<u8>) -> Self {
        Self::Delete(DeleteRange { key: Text(key) })
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Txn {
    pub(super) compare: Vec<Compare>,
    pub(super) success: Vec<Op>,
    pub(super) failure: Vec<Op>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Txned {
    pub(super) succeeded: bool,
    pub(super) responses: Vec<OpResponse>,
}

impl Txned {
    /// What its first operation has read.
    pub(super) fn ranged(&self) -> Option<&[Kv]> {
        self.responses.first().and_then(|response| response.response_range.as_ref()).map(|ranged| ranged.kvs.as_slice())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OpResponse {
    response_range: Option<Ranged>,
}

impl OpResponse {
    /// The key that it has read, where that is there.
    pub(super) fn first(&self) -> Option<&Kv> {
        self.response_range.as_ref()?.kvs.first()
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Lease {
    #[serde(rename = "TTL", deserialize_with = "number")]
    pub(super) ttl: i64,
    #[serde(rename = "ID", deserialize_with = "number")]
    pub(super) id: i64,
}

#[derive(Debug, Serialize)]
pub(super) struct Authenticate {
    pub(super) name: String,
    pub(super) password: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Authenticated {
    pub(super) token: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Watch {
    pub(super) create_request: WatchCreate,
}

#[derive(Debug, Serialize)]
pub(super) struct WatchCreate {
    pub(super) key: Text,
    pub(super) range_end: Text,
    pub(super) start_revision: i64,
    pub(super) progress_notify: bool,
}

/// A line of a watch.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Streamed {
    pub(super) result: Option<Watched>,
    pub(super) error: Option<Refusal>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Watched {
    pub(super) header: Header,
    pub(super) created: bool,
    pub(super) canceled: bool,
    pub(super) events: Vec<WatchEvent>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WatchEvent {
    pub(super) kv: Kv,
}

/// Why etcd refuses.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    #[serde(alias = "grpc_code")]
    code: i64,
    message: String,
    error: String,
}

impl Refusal {
    /// What it says.
    pub(super) fn text(&self) -> String {
        if self.message.is_empty() { self.error.clone() } else { self.message.clone() }
    }

    /// What it means: whatever a restart, an election or a compaction may answer is tried again.
    pub(super) fn explain(&self, status: StatusCode) -> Error {
        /// The codes of gRPC for: cancelled, deadline exceeded, resource exhausted, aborted, out of range, unavailable, and
        /// a pass that has ended.
        const PASSES: [i64; 7] = [1, 4, 8, 10, 11, 14, 16];
        let text = self.text();
        if PASSES.contains(&self.code) || status.is_server_error() {
            return Error::new(Code::PeerUnreachable, format!("etcd cannot answer now ({status}): {text}"))
                .hint("is its cluster complete?");
        }
        Error::new(Code::PeerRefused, format!("etcd refuses ({status}): {text}"))
            .hint("are the address, the user and its rights right, and is its JSON gateway enabled?")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_the_gateway_writes_them() {
        let text = r#"{"header":{"cluster_id":"14841639068965178418","revision":"7"},"succeeded":true,"responses":[
            {"response_range":{"header":{"revision":"7"},"kvs":[{"key":"YQ==","mod_revision":"5","value":"MQ==","lease":"9"}],"count":"1"}},
            {"response_range":{"header":{"revision":"7"}}}]}"#;
        let done: Txned = serde_json::from_str(text).unwrap();
        let kv = done.responses[0].first().unwrap();
        assert_eq!(
            (kv.key.0.as_slice(), kv.value.0.as_slice(), kv.mod_revision, kv.lease),
            (&b"a"[..], &b"1"[..], 5, 9)
        );
        assert!(done.succeeded && done.responses[1].first().is_none());
        let put = serde_json::to_value(Op::put(b"a".to_vec(), b"1".to_vec(), 3)).unwrap();
        assert_eq!(put, serde_json::json!({ "request_put": { "key": "YQ==", "value": "MQ==", "lease": 3 } }));
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_refused() {
        let refusal = |code| Refusal { code, message: "why".to_owned(), error: String::new() };
        assert_eq!(refusal(14).explain(StatusCode::SERVICE_UNAVAILABLE).code, Code::PeerUnreachable);
        assert_eq!(refusal(3).explain(StatusCode::BAD_REQUEST).code, Code::PeerRefused);
    }
}
