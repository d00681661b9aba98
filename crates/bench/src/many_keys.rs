//! A million keys: memory, and how soon a server answers again after it was killed.
//!
//! For: Consort, and beside it Redis and etcd with the same keys and values. Not for: speed.
//! Invariant: memory is that of the server's process, as the kernel counts it; a server is ready when it has answered a
//! read of the last key that was loaded.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use consort_testkit::peers::Peer;
use tokio::task::JoinSet;

use crate::{
    etcd::Etcd,
    keys::{Keys, await_ready, value},
    networked::clients,
    peers::{start_etcd, start_redis},
    redis_peer::Redis,
    report::figure,
    through_http::{Outcome, Server, memory_mib},
};

/// Keys.
const KEYS: usize = 1_000_000;
/// Keys of one transaction.
const AT_ONCE: usize = 64;
/// Clients that load.
const LOADERS: usize = 16;
/// How long a server rests before its memory is looked at again: caches that are not used are given back by then.
const REST: Duration = Duration::from_secs(40);

/// The figures of each server.
pub(crate) async fn run() -> Outcome<()> {
    let folder = tempfile::tempdir_in(".")?;
    consort(folder.path()).await?;
    if let Some(peer) = start_redis(folder.path())? {
        load("redis", peer.id(), Redis::clients(&peer, LOADERS).await?).await?;
        let (peer, began) = restarted(peer)?;
        await_ready(async || Redis::clients(&peer, 1).await, &last_key()).await;
        report_open("redis", peer.id(), began.elapsed())?;
    }
    if let Some(peer) = start_etcd(folder.path())? {
        load("etcd", peer.id(), Etcd::clients(&peer, LOADERS).await?).await?;
        let (peer, began) = restarted(peer)?;
        await_ready(async || Etcd::clients(&peer, 1).await, &last_key()).await;
        report_open("etcd", peer.id(), began.elapsed())?;
    }
    Ok(())
}

async fn consort(folder: &Path) -> Outcome<()> {
    let server = Server::start(folder).await?;
    load("http", server.id()?, clients(&server, LOADERS).await?).await?;
    server.kill().await?;
    let began = Instant::now();
    let server = Server::start(folder).await?;
    let mut reader = clients(&server, 1).await?;
    for reader in &mut reader {
        reader.get(&last_key()).await?;
    }
    report_open("http", server.id()?, began.elapsed())?;
    server.kill().await
}

fn key(n: usize) -> String {
    format!("many/{n:08}")
}

fn last_key() -> String {
    key(KEYS - 1)
}

/// Gives a server all keys; its memory before, after, and after a rest.
async fn load<K: Keys>(label: &str, process: u32, clients: Vec<K>) -> Outcome<()> {
    figure("W9", label, "rss_without_keys_mib", memory_mib(process, "VmRSS:")?, "MiB");
    let began = Instant::now();
    let mut loaders = JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        loaders.spawn(async move {
            for first in (number * AT_ONCE..KEYS).step_by(LOADERS * AT_ONCE) {
                let keys: Vec<String> = (first..KEYS.min(first + AT_ONCE)).map(key).collect();
                client.load(&keys, &value(first)).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = loaders.join_next().await {
        ended??;
    }
    figure("W9", label, "loaded_keys_per_second", KEYS as f64 / began.elapsed().as_secs_f64(), "1/s");
    figure("W9", label, "rss_of_a_million_keys_mib", memory_mib(process, "VmRSS:")?, "MiB");
    figure("W9", label, "rss_most_of_a_million_keys_mib", memory_mib(process, "VmHWM:")?, "MiB");
    tokio::time::sleep(REST).await;
    figure("W9", label, "rss_rested_of_a_million_keys_mib", memory_mib(process, "VmRSS:")?, "MiB");
    Ok(())
}

/// Kills a peer and starts it again; since when.
fn restarted(mut peer: Peer) -> Outcome<(Peer, Instant)> {
    peer.kill()?;
    let began = Instant::now();
    peer.restart()?;
    Ok((peer, began))
}

/// How long it took after `kill -9` until the first answer, and the memory then.
fn report_open(label: &str, process: u32, took: Duration) -> Outcome<()> {
    figure("W9", label, "open_a_million_keys_ms", took.as_secs_f64() * 1e3, "ms");
    figure("W9", label, "rss_reopened_with_a_million_keys_mib", memory_mib(process, "VmRSS:")?, "MiB");
    Ok(())
}
