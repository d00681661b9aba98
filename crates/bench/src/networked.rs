//! Shared state and events over the network: a Consort server, and beside it Redis and etcd.
//!
//! For: what clients in another process see, with the same clients, keys and disk for each. Not for: in-process costs
//! (`state`, `events`).
//! Invariant: every server keeps its data in the same folder and answers a write when it is on disk; they run one after
//! the other, so none shares the machine with another. A peer that is not installed is named and left out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use consort_sdk::client::api::{
    client::{Client as Followed, Events, Tcp},
    events::{WatchEvents, WatchEventsParams, WatchedEvent},
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    disk::Disk,
    http::Client,
    keys::{self, CLIENTS, Keys, in_time, value},
    peers,
    report::figure,
    through_http::{Outcome, Server},
};

const TRANSPORT: &str = "http";
const SPACE: &str = "bench";

/// Every figure over the network.
pub(crate) async fn run(quick: bool) -> Outcome<()> {
    let span = if quick { Duration::from_millis(100) } else { Duration::from_secs(3) };
    let folder = tempfile::tempdir_in(".")?;
    let mut disk = Disk::new(folder.path())?;
    let server = Server::start(folder.path()).await?;
    keys::measure((TRANSPORT, Some(server.id()?)), clients(&server, CLIENTS).await?, &mut disk, span).await?;
    for (followers, events) in if quick { [(1, 100), (20, 50)] } else { [(1, 20_000), (100, 5_000)] } {
        in_time("following", followed(&server, followers, events)).await?;
    }
    server.kill().await?;
    peers::run(folder.path(), &mut disk, quick).await
}

/// So many clients, each with a connection of its own.
pub(crate) async fn clients(server: &Server, count: usize) -> Outcome<Vec<OverHttp>> {
    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(OverHttp(server.client().await?));
    }
    Ok(clients)
}

/// A client over HTTP/1.1.
pub(crate) struct OverHttp(Client);

fn path(key: &str) -> String {
    format!("/v1/spaces/{SPACE}/keys/{}", key.replace('/', "%2F"))
}

fn put_of(key: &str, value: &str) -> String {
    format!("{{\"op\":\"put\",\"space\":\"{SPACE}\",\"key\":\"{key}\",\"value\":{value}}}")
}

impl OverHttp {
    async fn ask(&mut self, body: String) -> Outcome<Value> {
        self.0.post("/v1/state/transact", "application/json", body).await
    }
}

impl Keys for OverHttp {
    async fn put(&mut self, key: &str, value: &str) -> Outcome<()> {
        self.0.put(&path(key), format!("{{\"value\":{value}}}")).await?;
        Ok(())
    }

    async fn get(&mut self, key: &str) -> Outcome<()> {
        self.0.get(&path(key)).await?;
        Ok(())
    }

    async fn transact(&mut self, key: &str, other: &str, value: &str) -> Outcome<()> {
        let condition = json!({ "space": SPACE, "key": key, "exists": true });
        let read = json!({ "op": "get", "space": SPACE, "key": key });
        let (put, also) = (put_of(key, value), put_of(other, value));
        let done = self.ask(format!("{{\"if\":[{condition}],\"do\":[{read},{put},{also}]}}")).await?;
        if done["succeeded"] == true { Ok(()) } else { Err(format!("key `{key}` has no value").into()) }
    }

    async fn load(&mut self, keys: &[String], value: &str) -> Outcome<()> {
        let puts: Vec<String> = keys.iter().map(|key| put_of(key, value)).collect();
        self.ask(format!("{{\"do\":[{}]}}", puts.join(","))).await?;
        Ok(())
    }
}

/// 64 publishers and so many followers, each with a connection of its own.
async fn followed(server: &Server, followers: usize, events: usize) -> Outcome<()> {
    let topic: Arc<str> = format!("bench.to{followers}").into();
    let mut following = JoinSet::new();
    for _ in 0..followers {
        let client = Followed::new(Tcp::new(&server.host)?);
        let params = WatchEventsParams { topic: Some(topic.to_string()), ..WatchEventsParams::default() };
        following.spawn(follow(client.events::<WatchEvents>(&params).await?, events));
    }
    let mut publishers = JoinSet::new();
    let began = Instant::now();
    for (number, mut client) in clients(server, CLIENTS).await?.into_iter().enumerate() {
        let topic = Arc::clone(&topic);
        publishers.spawn(async move {
            for n in (number..events).step_by(CLIENTS) {
                let event = json!({ "id": format!("{topic}/{n}"), "source": "/bench", "type": *topic });
                let event = event.to_string().replacen('{', &format!("{{\"data\":{},", value(n)), 1);
                client.0.post("/v1/events", "application/json", event).await?;
            }
            Outcome::Ok(())
        });
    }
    for mut tasks in [publishers, following] {
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
    }
    let rate = (followers * events) as f64 / began.elapsed().as_secs_f64();
    figure("W9", TRANSPORT, &format!("deliveries_to_{followers}_per_second"), rate, "1/s");
    Ok(())
}

/// Follows so many events; each must come behind the one before.
async fn follow(mut events: Events<WatchedEvent>, count: usize) -> Outcome<()> {
    let (mut found, mut last) = (0, None);
    while found < count {
        let event = match events.next().await?.ok_or("the server has ended the watch")?.what {
            WatchedEvent::Event(event) => event,
            WatchedEvent::Seen(_) => continue,
            WatchedEvent::Error(problem) => return Err(format!("the watch ended: {problem:?}").into()),
        };
        if last.is_some() && event.position <= last {
            return Err(format!("a follower was given the event `{:?}` twice or too late", event.position).into());
        }
        (found, last) = (found + 1, event.position);
    }
    Ok(())
}
