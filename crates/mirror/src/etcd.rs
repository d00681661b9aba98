//! etcd as the other side.
//!
//! For: keys with a prefix, over the JSON gateway of version 3, which every etcd since 3.4 has at its client address. Not
//! for: its gRPC interface, whose client needs a compiler for its protocol at build time.
//! Invariant: a key and its mark are written by one transaction, on the condition that the key has the revision that was
//! read and that the token is the current one.

mod wire;

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use consort_api::client::{Body, Tcp, Transport as _};
use consort_types::{Code, Error, Result, limits};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, header};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::timeout,
};

use self::wire::{
    Authenticate, Authenticated, Compare, Header, Kv, Lease, Op, Range, Ranged, Refusal, Streamed, Text, Txn, Txned,
    Watch, WatchCreate,
};
use crate::{
    options::Options,
    peer::{
        ANSWER_WITHIN, Change, Content, Entry, Follow, KEYS_AT_ONCE, Listing, Noted, OWN, Peer, WAITING, Write,
        Written, fenced, forgotten, key_of,
    },
    values::Mark,
};

/// Keys of one page of a listing: with values of the largest size, their answer has some 40 MiB.
const PAGE: i64 = 32;

/// The keys of an etcd server.
pub(crate) struct Etcd {
    way: Tcp,
    user: Option<(String, String)>,
    /// What the server has given for the user and the password.
    pass: Mutex<Option<String>>,
    prefix: String,
    /// What the keys of marks begin with; that of the token is only this.
    marks: String,
}

impl Etcd {
    pub(crate) fn new(authority: &str, user: Option<(String, String)>, options: &Options) -> Result<Self> {
        Ok(Self {
            way: Tcp::new(authority)?,
            user,
            pass: Mutex::default(),
            prefix: options.prefix.clone(),
            marks: format!("{OWN}/{}/", options.name),
        })
    }

    async fn send(&self, path: &str, body: &impl Serialize) -> Result<Response<Body>> {
        let unwritten = |error: &dyn std::fmt::Display| {
            Error::new(Code::Internal, format!("a request to etcd cannot be written: {error}"))
        };
        let bytes = serde_json::to_vec(body).map_err(|error| unwritten(&error))?;
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
        if let Some(pass) = &*self.pass.lock().await {
            request = request.header(header::AUTHORIZATION, pass);
        }
        let request = request.body(Full::new(Bytes::from(bytes))).map_err(|error| unwritten(&error))?;
        let sent = timeout(ANSWER_WITHIN, self.way.send(request)).await;
        let response = sent.map_err(|_| away("no answer came in time"))?.map_err(|error| away(&error.message))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let bytes = collect(response).await?;
        let refusal: Refusal = serde_json::from_slice(&bytes).unwrap_or_default();
        Err(refusal.explain(status))
    }

    async fn call<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let bytes = collect(self.send(path, body).await?).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(Code::PeerRefused, format!("the answer of etcd cannot be understood: {error}"))
                .hint("is it etcd 3.4 or later, with its JSON gateway enabled?")
        })
    }

    async fn authenticate(&self) -> Result<()> {
        let Some((name, password)) = &self.user else { return Ok(()) };
        *self.pass.lock().await = None;
        let given: Authenticated = self
            .call("/v3/auth/authenticate", &Authenticate { name: name.clone(), password: password.clone() })
            .await?;
        *self.pass.lock().await = Some(given.token);
        Ok(())
    }

    /// Every key with a prefix, page after page, all as of one revision.
    async fn all(&self, prefix: &str, mut each: impl FnMut(Kv)) -> Result<()> {
        let end = prefix_end(prefix.as_bytes());
        let (mut from, mut revision) = (start_of(prefix), 0);
        loop {
            let range = Range { key: Text(from), end: Text(end.clone()), limit: PAGE, revision };
            let page: Ranged = self.call("/v3/kv/range", &range).await?;
            revision = page.header.revision;
            let next = page.kvs.last().map(|kv| [kv.key.0.as_slice(), &[0]].concat());
            page.kvs.into_iter().for_each(&mut each);
            match next {
                Some(next) if page.more => from = next,
                _ => return Ok(()),
            }
        }
    }

    /// A lease that ends by itself.
    async fn lease(&self, seconds: u64) -> Result<i64> {
        let granted: Lease =
            self.call("/v3/lease/grant", &Lease { ttl: i64::try_from(seconds).unwrap_or(i64::MAX), id: 0 }).await?;
        Ok(granted.id)
    }

    /// Whether the changes behind a place are kept: it is of this cluster, which was not taken back, and not compacted.
    async fn keeps(&self, place: &Place, now: &Header) -> Result<bool> {
        if place.cluster != now.cluster_id || place.revision > now.revision {
            return Ok(false);
        }
        let then = Range { revision: place.revision, ..Range::one(self.token_key()) };
        match self.call::<Ranged>("/v3/kv/range", &then).await {
            Ok(_) => Ok(true),
            Err(error) if error.message.contains("compacted") => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn mark_key(&self, key: &str) -> Vec<u8> {
        format!("{}{key}", self.marks).into_bytes()
    }

    fn token_key(&self) -> Vec<u8> {
        self.marks.clone().into_bytes()
    }

    async fn write_one(&self, token: u64, write: &Write) -> Result<Written> {
        let key = format!("{}{}", self.prefix, write.key).into_bytes();
        let mut compare = vec![Compare::value(self.token_key(), "EQUAL", token_text(token))];
        if write.change != Change::Keep {
            compare.push(Compare::revision(key.clone(), write.seen.revision));
        }
        let mut success = Vec::new();
        match &write.change {
            Change::Put { text, ttl } => {
                let lease = match ttl {
                    Some(ttl) => self.lease(ttl.as_secs().max(1)).await?,
                    None => 0,
                };
                success.push(Op::put(key, text.clone().into_bytes(), lease));
            }
            Change::Delete => success.push(Op::delete(key)),
            Change::Keep => {}
        }
        success.push(match write.mark {
            Some(mark) => Op::put(self.mark_key(&write.key), mark.to_string().into_bytes(), 0),
            None => Op::delete(self.mark_key(&write.key)),
        });
        let failure = vec![Op::range(self.token_key())];
        let done: Txned = self.call("/v3/kv/txn", &Txn { compare, success, failure }).await?;
        if done.succeeded {
            return Ok(Written::Done);
        }
        match done.ranged().and_then(|kvs| kvs.first()) {
            None => Err(forgotten()),
            Some(kv) if kv.value.0 != token_text(token) => Err(fenced(token)),
            Some(_) => Ok(Written::Moved),
        }
    }
}

#[async_trait]
impl Peer for Etcd {
    async fn claim(&self, token: u64) -> Result<()> {
        self.authenticate().await?;
        let key = self.token_key();
        let txn = Txn {
            compare: vec![Compare::value(key.clone(), "GREATER", token_text(token))],
            success: Vec::new(),
            failure: vec![Op::put(key, token_text(token), 0)],
        };
        let done: Txned = self.call("/v3/kv/txn", &txn).await?;
        if done.succeeded { Err(fenced(token)) } else { Ok(()) }
    }

    async fn follow(&self, after: Option<&str>) -> Result<Option<Follow>> {
        let now: Ranged = self.call("/v3/kv/range", &Range::one(self.token_key())).await?;
        let start = match after.map(Place::parse) {
            None => now.header.revision,
            Some(Some(place)) if self.keeps(&place, &now.header).await? => place.revision,
            Some(_) => return Ok(None),
        };
        let create = WatchCreate {
            key: Text(start_of(&self.prefix)),
            range_end: Text(prefix_end(self.prefix.as_bytes())),
            start_revision: start + 1,
            progress_notify: true,
        };
        let body = self.send("/v3/watch", &Watch { create_request: create }).await?.into_body();
        let (sender, receiver) = mpsc::channel(WAITING);
        let (prefix, mut reader) = (self.prefix.clone(), JoinSet::new());
        reader.spawn(async move {
            let error = watch(body, &prefix, &sender).await.err();
            let error = error.unwrap_or_else(|| away("etcd has closed the watch"));
            // It fails only where the receiver was dropped.
            let _ = sender.send(Err(error)).await;
        });
        let place = Some(format!("{}/{start}", now.header.cluster_id));
        Ok(Some(Follow { receiver, place, _reader: reader }))
    }

    async fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        let mut marks = BTreeMap::new();
        self.all(&self.marks, |kv| {
            let key = String::from_utf8_lossy(&kv.key.0[self.marks.len()..]).into_owned();
            if !key.is_empty() {
                marks.insert(key, mark_of(&kv));
            }
        })
        .await?;
        self.all(&self.prefix, |kv| match key_of(&self.prefix, &kv.key.0) {
            Some(Ok(key)) => match content_of(kv.value.0) {
                Content::Foreign(why) => listing.refused.push((key, why)),
                content => _ = listing.keys.insert(key, (content.digest(), None)),
            },
            Some(Err(refused)) => listing.refused.push(refused),
            None => {}
        })
        .await?;
        for (key, mark) in marks {
            listing.keys.entry(key).or_default().1 = mark;
        }
        Ok(listing)
    }

    async fn read(&self, keys: &[String]) -> Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(keys.len());
        // Two requests for a key: a transaction has at most 128.
        for some in keys.chunks(KEYS_AT_ONCE / 2) {
            let success = some
                .iter()
                .flat_map(|key| [format!("{}{key}", self.prefix).into_bytes(), self.mark_key(key)])
                .map(Op::range)
                .collect();
            let txn = Txn { compare: Vec::new(), success, failure: Vec::new() };
            let read: Txned = self.call("/v3/kv/txn", &txn).await?;
            for pair in read.responses.chunks(2) {
                let kv = |place: usize| pair.get(place).and_then(|response| response.first());
                let mark = kv(1).and_then(mark_of);
                entries.push(match kv(0) {
                    Some(kv) => Entry {
                        content: content_of(kv.value.0.clone()),
                        revision: kv.mod_revision,
                        expires: kv.lease != 0,
                        mark,
                    },
                    None => Entry { content: Content::Absent, revision: 0, expires: false, mark },
                });
            }
        }
        if entries.len() == keys.len() {
            return Ok(entries);
        }
        Err(Error::new(Code::PeerRefused, "etcd has not answered for every key").hint("is it etcd 3.4 or later?"))
    }

    async fn write(&self, token: u64, writes: &[Write]) -> Result<Vec<Written>> {
        let mut done = Vec::with_capacity(writes.len());
        for write in writes {
            done.push(self.write_one(token, write).await?);
        }
        Ok(done)
    }

    fn may_miss(&self) -> bool {
        false
    }
}

/// Where a watch continues.
struct Place {
    cluster: u64,
    revision: i64,
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (cluster, revision) = text.split_once('/')?;
        Some(Self { cluster: cluster.parse().ok()?, revision: revision.parse().ok()? })
    }
}

/// Passes the events of a watch on until it ends.
async fn watch(mut body: Body, prefix: &str, sender: &mpsc::Sender<Result<Noted>>) -> Result<()> {
    let mut waiting = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| away(&error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        waiting.extend_from_slice(&data);
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = waiting.drain(..=end).collect();
            let streamed: Streamed = serde_json::from_slice(&line)
                .map_err(|error| away(&format!("an event of its watch cannot be understood: {error}")))?;
            for noted in noted(streamed, prefix)? {
                if sender.send(Ok(noted)).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn noted(streamed: Streamed, prefix: &str) -> Result<Vec<Noted>> {
    let Some(result) = streamed.result else {
        return Err(away(&streamed.error.map(|error| error.text()).unwrap_or_default()));
    };
    if result.canceled {
        // Mostly what it requests is compacted; whatever it is, a comparison knows more.
        return Ok(vec![Noted::Gap]);
    }
    let (mut keys, mut all) = (Vec::new(), Vec::new());
    for event in result.events {
        match key_of(prefix, &event.kv.key.0) {
            Some(Ok(key)) => keys.push(key),
            Some(Err((key, why))) => all.push(Noted::Refused(key, why)),
            None => {}
        }
    }
    // The announcement of a watch has the revision of now, which is not where the watch is.
    let place = (!result.created).then(|| format!("{}/{}", result.header.cluster_id, result.header.revision));
    all.push(Noted::Keys(keys, place));
    Ok(all)
}

fn content_of(raw: Vec<u8>) -> Content {
    let (bytes, max) = (raw.len(), limits::MIRROR_VALUE_BYTES_MAX);
    if bytes > max {
        return Content::Foreign(format!("the value has {bytes} bytes, a mirror carries at most {max}"));
    }
    Content::of(raw)
}

fn mark_of(kv: &Kv) -> Option<Mark> {
    std::str::from_utf8(&kv.value.0).ok()?.parse().ok()
}

/// A token as a text of which a later one is larger.
fn token_text(token: u64) -> Vec<u8> {
    format!("{token:020}").into_bytes()
}

/// The first key that may begin with a prefix; etcd has no empty key.
fn start_of(prefix: &str) -> Vec<u8> {
    if prefix.is_empty() { vec![0] } else { prefix.as_bytes().to_vec() }
}

/// The first key behind those that begin with a prefix, as etcd wants it: a zero byte where there is none.
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    match prefix.iter().rposition(|byte| *byte < u8::MAX) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        }
        None => vec![0],
    }
}

async fn collect(response: Response<Body>) -> Result<Bytes> {
    let collected = timeout(ANSWER_WITHIN, response.into_body().collect()).await;
    let collected = collected.map_err(|_| away("its answer did not arrive in time"))?;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| away(&error.to_string()))
}

fn away(why: &str) -> Error {
    Error::new(Code::PeerUnreachable, format!("etcd cannot be reached: {why}")).hint("is it running?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_behind_every_key_with_it() {
        assert_eq!(prefix_end(b"app:"), b"app;");
        assert_eq!(prefix_end(&[b'a', 0xff]), b"b");
        assert_eq!((prefix_end(b""), prefix_end(&[0xff])), (vec![0], vec![0]));
        assert_eq!((start_of(""), start_of("a")), (vec![0], b"a".to_vec()));
    }

    #[test]
    fn a_later_token_is_the_larger_text() {
        assert!(token_text(9) < token_text(10) && token_text(u64::MAX - 1) < token_text(u64::MAX));
    }
}
