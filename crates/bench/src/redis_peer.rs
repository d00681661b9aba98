//! Clients of Redis: keys, and a stream with its publishers and followers.
//!
//! For: the comparison with shared state and with followers of Consort's events. Not for: consumer groups.
//! Invariant: every entry is counted at each follower; one that is missing fails the run.

use std::time::Instant;

use consort_testkit::peers::Peer;
use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection, pipe};
use tokio::task::JoinSet;

use crate::{
    keys::{CLIENTS, Keys, value},
    report::figure,
    through_http::Outcome,
};

/// A client of Redis with a connection of its own.
pub(crate) struct Redis(MultiplexedConnection);

impl Redis {
    /// So many clients.
    pub(crate) async fn clients(peer: &Peer, count: usize) -> Outcome<Vec<Self>> {
        let client = Client::open(format!("redis://{}/", peer.address()))?;
        let mut clients = Vec::new();
        for _ in 0..count {
            // A reader that waits for events may wait long.
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            clients.push(Self(client.get_multiplexed_async_connection_with_config(&config).await?));
        }
        Ok(clients)
    }
}

impl Keys for Redis {
    async fn put(&mut self, key: &str, value: &str) -> Outcome<()> {
        Ok(redis::cmd("SET").arg(key).arg(value).query_async(&mut self.0).await?)
    }

    async fn get(&mut self, key: &str) -> Outcome<()> {
        let found: Option<String> = redis::cmd("GET").arg(key).query_async(&mut self.0).await?;
        found.map(drop).ok_or_else(|| format!("key `{key}` has no value").into())
    }

    /// Without the condition: Redis has it only as a script, or by watching the key before.
    async fn transact(&mut self, key: &str, other: &str, value: &str) -> Outcome<()> {
        let mut transaction = pipe();
        transaction.atomic().cmd("GET").arg(key).ignore();
        transaction.cmd("SET").arg(key).arg(value).ignore().cmd("SET").arg(other).arg(value).ignore();
        Ok(transaction.query_async(&mut self.0).await?)
    }

    async fn load(&mut self, keys: &[String], value: &str) -> Outcome<()> {
        let mut all = redis::cmd("MSET");
        for key in keys {
            all.arg(key).arg(value);
        }
        Ok(all.query_async(&mut self.0).await?)
    }
}

/// A reply of `XREAD`: for each stream its entries, each an id and its fields.
type Read = Option<Vec<(String, Vec<(String, Vec<String>)>)>>;

/// 64 publishers and so many followers, each with a connection of its own.
pub(crate) async fn followed(peer: &Peer, followers: usize, events: usize) -> Outcome<()> {
    let stream = format!("stream{followers}");
    let mut tasks = JoinSet::new();
    for client in Redis::clients(peer, followers).await? {
        tasks.spawn(follow(client, stream.clone(), events));
    }
    let publishers = Redis::clients(peer, CLIENTS).await?;
    let began = Instant::now();
    for (number, mut client) in publishers.into_iter().enumerate() {
        let stream = stream.clone();
        tasks.spawn(async move {
            for n in (number..events).step_by(CLIENTS) {
                let mut add = redis::cmd("XADD");
                add.arg(&stream).arg("*").arg("id").arg(format!("{stream}/{n}")).arg("data").arg(value(n));
                let _: String = add.query_async(&mut client.0).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let rate = (followers * events) as f64 / began.elapsed().as_secs_f64();
    figure("W9", "redis", &format!("deliveries_to_{followers}_per_second"), rate, "1/s");
    Ok(())
}

async fn follow(mut client: Redis, stream: String, count: usize) -> Outcome<()> {
    let (mut found, mut last) = (0, "0".to_owned());
    while found < count {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(256).arg("BLOCK").arg(0).arg("STREAMS").arg(&stream).arg(&last);
        let entries: Read = read.query_async(&mut client.0).await?;
        for (id, _) in entries.into_iter().flatten().flat_map(|(_, entries)| entries) {
            (found, last) = (found + 1, id);
        }
    }
    if found == count { Ok(()) } else { Err(format!("{found} of {count} entries were read").into()) }
}
