//! Shared state, with the store and its clients in one process.
//!
//! For: what durable writes, reads, merges, and a change that many follow cost. Not for: what reaching the engine costs.
//! Invariant: every put is durable before it is answered, every watcher has each change, and no merge loses a write.

use std::time::{Duration, Instant};

use consort_engine::{Handle, StateStore, StateWatch};
use consort_types::{
    Payload, Result,
    state::{Action, Check, Condition, MergePolicy, Operation, PrefixPolicy, SpaceSettings, Transaction, Writer},
};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    disk::Disk,
    keys::{self, CLIENTS, Keys, in_time, value},
    report::figure,
    through_http::Outcome,
};

const TRANSPORT: &str = "in-process";
const NAMESPACE: &str = "default";
const SPACE: &str = "bench";
/// Watchers of one space.
const WATCHERS: usize = 100;
/// Keys that merged writes go to.
const MERGED_KEYS: usize = 1_000;

/// Every figure of the state store.
pub(crate) async fn run(handle: &Handle, disk: &mut Disk, quick: bool) -> Outcome<()> {
    let store = StateStore::of(handle, NAMESPACE)?;
    let span = if quick { Duration::from_millis(100) } else { Duration::from_secs(3) };
    keys::measure((TRANSPORT, None), vec![InProcess(store.clone()); CLIENTS], disk, span).await?;
    in_time("watching", watched(&store, if quick { 200 } else { 20_000 })).await?;
    for policy in [MergePolicy::Counter, MergePolicy::Set, MergePolicy::Map] {
        in_time("merging", merged(&store, policy, if quick { 1_000 } else { 100_000 })).await?;
    }
    Ok(())
}

/// A client in the engine's own process.
#[derive(Clone)]
struct InProcess(StateStore);

impl Keys for InProcess {
    async fn put(&mut self, key: &str, value: &str) -> Outcome<()> {
        Ok(put(&self.0, SPACE, key, value).await?)
    }

    async fn get(&mut self, key: &str) -> Outcome<()> {
        self.0.get(SPACE, key, None).await?;
        Ok(())
    }

    async fn transact(&mut self, key: &str, other: &str, value: &str) -> Outcome<()> {
        let condition = Condition { space: SPACE.to_owned(), key: key.to_owned(), check: Check::Exists };
        let read = Operation { space: SPACE.to_owned(), key: key.to_owned(), action: Action::Get };
        let then = vec![read, put_of(SPACE, key, value), put_of(SPACE, other, value)];
        let transaction = Transaction { conditions: vec![condition], then, ..Transaction::default() };
        let done = self.0.transact(transaction, Writer::default()).await?;
        if done.succeeded { Ok(()) } else { Err(format!("key `{key}` has no value").into()) }
    }

    async fn load(&mut self, keys: &[String], value: &str) -> Outcome<()> {
        let then = keys.iter().map(|key| put_of(SPACE, key, value)).collect();
        self.0.transact(Transaction { then, ..Transaction::default() }, Writer::default()).await?;
        Ok(())
    }
}

fn put_of(space: &str, key: &str, value: &str) -> Operation {
    let value = Payload::inline(value.as_bytes());
    let action = Action::Put { value, saw: None, ttl: None, stamp: None, base: None };
    Operation { space: space.to_owned(), key: key.to_owned(), action }
}

async fn put(store: &StateStore, space: &str, key: &str, value: &str) -> Result<()> {
    let Operation { action, .. } = put_of(space, key, value);
    store.write(space, key, action, Vec::new(), Writer::default()).await.map(drop)
}

/// Runs `count` writes, shared among the clients; `write` makes the key and the value of a number.
async fn write_all(
    store: &StateStore,
    space: &'static str,
    count: usize,
    write: impl Fn(usize) -> (String, String) + Clone + Send + 'static,
) -> Outcome<()> {
    let mut writers = JoinSet::new();
    for client in 0..CLIENTS {
        let (store, write) = (store.clone(), write.clone());
        writers.spawn(async move {
            for n in (client..count).step_by(CLIENTS) {
                let (key, value) = write(n);
                put(&store, space, &key, &value).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(())
}

/// Changes that each of 100 watchers is given.
async fn watched(store: &StateStore, changes: usize) -> Outcome<()> {
    let mut followers = JoinSet::new();
    for _ in 0..WATCHERS {
        followers.spawn(follow(store.watch(SPACE, "w/", None).await?, changes));
    }
    let began = Instant::now();
    write_all(store, SPACE, changes, |n| (format!("w/{}", n % 1_000), value(n))).await?;
    while let Some(ended) = followers.join_next().await {
        ended??;
    }
    let rate = (WATCHERS * changes) as f64 / began.elapsed().as_secs_f64();
    figure("W9", TRANSPORT, "deliveries_per_second", rate, "1/s");
    Ok(())
}

/// Follows so many changes; each must come behind the one before.
async fn follow(mut watch: StateWatch, count: usize) -> Outcome<()> {
    let mut last = None;
    for _ in 0..count {
        let at = watch.next().await?.at;
        if last.is_some_and(|last| at <= last) {
            return Err(format!("a watcher was given the change `{at}` twice or too late").into());
        }
        last = Some(at);
    }
    Ok(())
}

/// Writes none of which has seen another, under a policy that merges them; what they come to is counted.
async fn merged(store: &StateStore, policy: MergePolicy, count: usize) -> Outcome<()> {
    let space = match policy {
        MergePolicy::Counter => "counters",
        MergePolicy::Set => "sets",
        _ => "maps",
    };
    let policies = vec![PrefixPolicy { prefix: String::new(), policy }];
    store.set_space(space, SpaceSettings { policies, ..SpaceSettings::default() }, Vec::new()).await?;
    let write = move |n: usize| {
        let part = n / MERGED_KEYS;
        let value = match policy {
            MergePolicy::Counter => "1".to_owned(),
            MergePolicy::Set => format!("[\"part {part}\"]"),
            _ => format!("{{\"part {part}\":{n}}}"),
        };
        (format!("k/{}", n % MERGED_KEYS), value)
    };
    let began = Instant::now();
    write_all(store, space, count, write).await?;
    let took = began.elapsed();
    let mut found = 0;
    for key in 0..count.min(MERGED_KEYS) {
        let payload = store.get(space, &format!("k/{key}"), None).await?.value;
        found += parts(&serde_json::from_slice(&store.payload(payload).await?)?);
    }
    if found != count {
        return Err(format!("of {count} writes that were merged into `{space}`, {found} are there").into());
    }
    let metric = format!("{}_merges_per_second", policy.as_str());
    figure("W9", TRANSPORT, &metric, count as f64 / took.as_secs_f64(), "1/s");
    Ok(())
}

/// How many writes a merged value has in it.
fn parts(value: &Value) -> usize {
    match value {
        Value::Array(elements) => elements.len(),
        Value::Object(members) => members.len(),
        other => other.as_u64().unwrap_or_default() as usize,
    }
}
