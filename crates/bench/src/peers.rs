//! Redis and etcd, for comparison.
//!
//! For: starting each with settings by which a write is answered when it is on disk, and asking it for the same as Consort.
//! Not for: judging them: they promise other things.
//! Invariant: one runs at a time, on free ports of loopback, in the folder and thus on the disk of the reference.

use std::{path::Path, time::Duration};

use consort_testkit::peers::Peer;
use redis::{AsyncConnectionConfig, Client, aio::MultiplexedConnection, pipe};

use crate::{
    disk::Disk,
    etcd::Etcd,
    keys::{self, CLIENTS, Keys, in_time},
    redis_streams,
    report::notice,
    through_http::Outcome,
};

/// Figures of both.
pub(crate) async fn run(folder: &Path, disk: &mut Disk, quick: bool) -> Outcome<()> {
    let span = if quick { Duration::from_millis(100) } else { Duration::from_secs(3) };
    if let Some(peer) = start_redis(folder)? {
        keys::measure(("redis", Some(peer.id())), Redis::clients(&peer, CLIENTS).await?, disk, span).await?;
        let counts = if quick { [(1, 100), (20, 50)] } else { [(1, 20_000), (100, 5_000)] };
        for (followers, events) in counts {
            in_time("following", redis_streams::followed(&peer, followers, events)).await?;
        }
    }
    if let Some(peer) = start_etcd(folder)? {
        keys::measure(("etcd", Some(peer.id())), Etcd::clients(&peer, CLIENTS).await?, disk, span).await?;
        let counts = if quick { [(1, 100), (20, 50)] } else { [(1, 20_000), (100, 5_000)] };
        for (followers, events) in counts {
            in_time("watching", crate::etcd::watched(&peer, followers, events)).await?;
        }
    }
    Ok(())
}

/// Redis with `appendfsync always`, where it is installed.
pub(crate) fn start_redis(folder: &Path) -> Outcome<Option<Peer>> {
    start(folder, "redis", "redis-server", Peer::redis)
}

/// etcd with its defaults, where it is installed.
pub(crate) fn start_etcd(folder: &Path) -> Outcome<Option<Peer>> {
    start(folder, "etcd", "etcd", Peer::etcd)
}

fn start(folder: &Path, name: &str, program: &str, start: impl FnOnce(&Path) -> Peer) -> Outcome<Option<Peer>> {
    let Some(version) = Peer::version(program) else {
        notice(&format!("W9 {name}: `{program}` is not installed, so it is left out; `scripts/setup` installs it"));
        return Ok(None);
    };
    notice(&format!("W9 {name}: {version}"));
    let data = folder.join(name);
    std::fs::create_dir_all(&data)?;
    // It writes nothing but below this folder, which may be named from anywhere.
    Ok(Some(start(&data.canonicalize()?)))
}

/// A client of Redis with a connection of its own.
pub(crate) struct Redis(pub(crate) MultiplexedConnection);

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

    /// Waits until it has read its file.
    pub(crate) async fn await_ready(peer: &Peer, key: &str) {
        loop {
            if let Ok(mut clients) = Self::clients(peer, 1).await
                && let Some(client) = clients.first_mut()
                && client.get(key).await.is_ok()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
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
