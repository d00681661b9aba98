//! Replicas: offline edits under each policy, lost answers, and convergence of replicas that were cut off.
//!
//! For: what a replica and the real engine show together. Not for: the rules and the file (see the module's own tests).
//! Invariant: whatever is lost, counters are exact, nothing that was added is lost, and in the end all are equal.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use consort_sdk::{
    Client, Replica,
    client::{
        ReplicaOptions,
        api::{
            client::{self, Body, Tcp, Transport},
            spaces::{DeleteSpace, SetSpace, SpaceParams, SpaceRequest, StatePolicy},
            state::{GetState, GetStateParams, ListState, ListStateParams, PutState, PutStateRequest, StateKeyParams},
        },
    },
};
use consort_types::{Code, Error, ErrorKind, Result, state::MergePolicy};
use futures::{FutureExt as _, future::BoxFuture};
use serde_json::{Value, json};

use crate::support::{Server, TOKEN};

const SPACE: &str = "team";

async fn set_policies(client: &Client, keep_changes: u32) {
    let policies = [
        ("n/", MergePolicy::Counter),
        ("s/", MergePolicy::Set),
        ("m/", MergePolicy::Map),
        ("t/", MergePolicy::Text),
        ("l/", MergePolicy::List),
        ("a/", MergePolicy::Agent),
    ];
    let policy = |(prefix, policy): (&str, _)| StatePolicy { prefix: prefix.to_owned(), policy, merge: None };
    let request = SpaceRequest {
        policies: policies.into_iter().map(policy).collect(),
        keep_changes: Some(keep_changes),
        ..SpaceRequest::default()
    };
    client.call::<SetSpace>(&SpaceParams { space: SPACE.to_owned() }, &request).await.unwrap();
}

async fn put(client: &Client, key: &str, value: Value) {
    let params = StateKeyParams { space: SPACE.to_owned(), key: key.to_owned() };
    let request = PutStateRequest {
        value: value.into(),
        version: None,
        ttl: None,
        stamp: None,
        fence: Vec::new(),
        by: None,
        base: None,
    };
    client.call::<PutState>(&params, &request).await.unwrap();
}

async fn all(client: &Client) -> Vec<(String, Value)> {
    let params = ListStateParams { space: SPACE.to_owned(), limit: Some(1000), ..ListStateParams::default() };
    let mut found = Vec::new();
    for item in client.call::<ListState>(&params, &()).await.unwrap().items {
        let params = GetStateParams { space: SPACE.to_owned(), key: item.key.clone(), version: None };
        let value = client.call::<GetState>(&params, &()).await.unwrap().value;
        found.push((item.key, value.read("value").unwrap()));
    }
    found
}

fn open(client: &Client, folder: &Path, name: &str) -> Replica {
    Replica::open(client, ReplicaOptions::new(SPACE, folder.join(name), name)).unwrap()
}

/// Numbers that look random, and are the same each time.
struct Chance(AtomicU64);

impl Chance {
    fn below(&self, end: u64) -> u64 {
        let step =
            |seed: u64| Some(seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
        (self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap() >> 33) % end
    }
}

/// A way to the server that loses pushes, or the answers to them, so many times in a hundred.
struct Lossy {
    way: Tcp,
    percent: Arc<AtomicU64>,
    chance: Arc<Chance>,
}

impl Lossy {
    fn loses(&self) -> Result<()> {
        if self.chance.below(100) < self.percent.load(Ordering::Relaxed) {
            return Err(Error::new(Code::Unreachable, "it was lost"));
        }
        Ok(())
    }
}

impl Transport for Lossy {
    fn send(
        &self,
        request: http::Request<http_body_util::Full<bytes::Bytes>>,
    ) -> BoxFuture<'_, Result<http::Response<Body>>> {
        let is_push = request.uri().path().ends_with("/transact");
        async move {
            if is_push {
                self.loses()?;
            }
            let answer = self.way.send(request).await?;
            if is_push {
                self.loses()?;
            }
            Ok(answer)
        }
        .boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_work_offline_under_each_policy() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let client = server.client();
    set_policies(&client, 10_000).await;
    let first = [
        ("a/owner", json!("none")),
        ("l/todo", json!(["build", "test", "ship"])),
        ("m/card", json!({ "name": "x", "age": 1 })),
        ("n/visits", json!(10)),
        ("plan", json!("draft")),
        ("s/tags", json!(["a", "b"])),
        ("t/brief", json!("Ship on Friday.")),
    ];
    for (key, value) in &first {
        put(&client, key, value.clone()).await;
    }
    let (ann, bob) = (open(&client, folder.path(), "ann"), open(&client, folder.path(), "bob"));
    ann.sync().await.unwrap();
    bob.sync().await.unwrap();
    let writes = [
        ("a/owner", json!("ann"), json!("bob")),
        ("l/todo", json!(["review", "build", "test", "ship"]), json!(["build", "ship", "tell"])),
        ("m/card", json!({ "name": "x", "age": 2 }), json!({ "name": "y", "age": 1 })),
        ("plan", json!("ship"), json!("wait")),
        ("t/brief", json!("Ship on Friday, after the review."), json!("Ship version 2 on Friday.")),
    ];
    for (key, anns, bobs) in &writes {
        ann.put(key, anns).unwrap();
        bob.put(key, bobs).unwrap();
    }
    assert_eq!((ann.add("n/visits", 2).unwrap(), bob.add("n/visits", 3).unwrap()), (12, 13));
    ann.add_to("s/tags", &["c", "a"]).unwrap();
    bob.add_to("s/tags", &["d"]).unwrap();
    bob.remove_from("s/tags", &["a"]).unwrap();
    bob.put("large", &"x".repeat(40_000)).unwrap();
    assert_eq!(ann.pending().len(), 7);

    assert_eq!(ann.sync().await.unwrap().conflicts, []);
    let conflicts = bob.sync().await.unwrap().conflicts;
    assert_eq!(conflicts.len(), 1);
    let conflict = &conflicts[0];
    assert_eq!((conflict.key.as_str(), conflict.code), ("plan", Code::StateConflict));
    let values = [&conflict.base, &conflict.local, &conflict.server].map(|value| value.clone().unwrap());
    assert_eq!(values, [json!("draft"), json!("wait"), json!("ship")]);
    ann.sync().await.unwrap();
    let merged = [
        ("a/owner", json!("ann")),
        ("l/todo", json!(["review", "build", "ship", "tell"])),
        ("large", json!("x".repeat(40_000))),
        ("m/card", json!({ "age": 2, "name": "y" })),
        ("n/visits", json!(15)),
        ("plan", json!("ship")),
        ("s/tags", json!(["b", "c", "d"])),
        ("t/brief", json!("Ship version 2 on Friday, after the review.")),
    ];
    let merged: Vec<_> = merged.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    assert_eq!(ann.list(""), merged);
    assert_eq!(all(&client).await, merged);
    let owner = bob.entry("a/owner").unwrap();
    assert_eq!((owner.value, owner.siblings, owner.pending), (json!("ann"), vec![json!("bob")], false));
    assert!(owner.conflict.is_some());
    bob.take_server("plan").unwrap();
    assert_eq!(bob.sync().await.unwrap().conflicts, []);
    assert_eq!(bob.list(""), merged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_keys_stay_and_a_space_is_listed_anew() {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let client = server.client();
    set_policies(&client, 100).await;
    let seen = Arc::new(parking_lot::Mutex::new(BTreeSet::new()));
    let told = seen.clone();
    let options = ReplicaOptions::new(SPACE, folder.path().join("r"), "r").prefix("n/");
    let options = options.on_change(move |key, _| {
        told.lock().insert(key.to_owned());
    });
    let replica = Replica::open(&client, options).unwrap();
    assert_eq!(replica.put("other", &1).unwrap_err().code, Code::BadRequest);
    put(&client, "n/gone", json!(1)).await;
    replica.sync().await.unwrap();
    replica.put("n/bad", &"no number").unwrap();
    replica.add("n/good", 5).unwrap();
    let report = replica.sync().await.unwrap();
    assert_eq!((report.pushed, report.conflicts[0].code), (vec!["n/good".to_owned()], Code::NotMergeable));
    replica.take_server("n/bad").unwrap();
    let params = SpaceParams { space: SPACE.to_owned() };
    client.call::<DeleteSpace>(&params, &()).await.unwrap();
    set_policies(&client, 100).await;
    for number in 0..120 {
        put(&client, "noise", json!(number)).await;
    }
    put(&client, "n/x", json!(2)).await;
    let report = replica.sync().await.unwrap();
    assert_eq!(replica.list(""), [("n/x".to_owned(), json!(2))]);
    assert_eq!(Some(report.position), replica.position());
    let expected: BTreeSet<String> = ["n/gone", "n/good", "n/x"].map(str::to_owned).into();
    assert_eq!(*seen.lock(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_lose_pushes_and_answers_converge() {
    for seed in 0..4 {
        converge(seed).await;
    }
}

/// Random work of three replicas that lose a part of what they push, and end at any time.
async fn converge(seed: u64) {
    let (server, folder) = (Server::start().await, tempfile::tempdir().unwrap());
    let client = server.client();
    set_policies(&client, 10_000).await;
    let chance = Arc::new(Chance(AtomicU64::new(seed)));
    let percent = Arc::new(AtomicU64::new(20));
    let way = Lossy { way: Tcp::new(&server.client_url()).unwrap(), percent: percent.clone(), chance: chance.clone() };
    let faulty = Client::from(client::Client::new(way).token(TOKEN));
    let names = ["0", "1", "2"];
    let mut replicas: BTreeMap<&str, Replica> = names.map(|name| (name, open(&faulty, folder.path(), name))).into();
    let (mut total, mut added) = (0, BTreeSet::new());
    for step in 0..200 {
        let name = names[chance.below(3) as usize];
        let replica = &replicas[name];
        match chance.below(7) {
            0 | 1 => {
                let amount = 5 - i64::try_from(chance.below(11)).unwrap();
                replica.add("n/x", amount).unwrap();
                total += amount;
            }
            2 => {
                replica.add_to("s/all", &[step]).unwrap();
                added.insert(step);
            }
            3 => {
                let text: String = replica.get("t/x").unwrap().unwrap_or_default();
                let (head, tail) = text.split_at(chance.below(text.len() as u64 + 1) as usize);
                replica.put("t/x", &format!("{head}<{step}>{tail}")).unwrap();
            }
            // A process that ends at any time, and one that begins.
            4 => drop(replicas.remove(name)),
            _ => match replica.sync().await {
                Ok(report) => assert_eq!(report.conflicts, []),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            },
        }
        replicas.entry(name).or_insert_with(|| open(&faulty, folder.path(), name));
    }
    percent.store(0, Ordering::Relaxed);
    for _ in 0..2 {
        for replica in replicas.values() {
            assert_eq!(replica.sync().await.unwrap().conflicts, []);
        }
    }
    let found = all(&client).await;
    for replica in replicas.values() {
        assert_eq!(replica.pending(), Vec::<String>::new());
        assert_eq!(replica.list(""), found);
    }
    let found: BTreeMap<_, _> = found.into_iter().collect();
    assert_eq!(found["n/x"], json!(total));
    let there: BTreeSet<i32> = serde_json::from_value(found["s/all"].clone()).unwrap();
    assert_eq!(there, added);
}
