//! Redis and etcd, for comparison.
//!
//! For: starting each with settings by which a write is answered when it is on disk, and asking it for the same as Consort.
//! Not for: judging them: they promise other things.
//! Invariant: one runs at a time, on free ports of loopback, in the folder and thus on the disk of the reference.

use std::{path::Path, time::Duration};

use consort_testkit::peers::Peer;

use crate::{
    disk::Disk,
    etcd::{self, Etcd},
    keys::{self, CLIENTS, in_time},
    redis_peer::{self, Redis},
    report::notice,
    through_http::Outcome,
};

/// Figures of both.
pub(crate) async fn run(folder: &Path, disk: &mut Disk, quick: bool) -> Outcome<()> {
    let span = if quick { Duration::from_millis(100) } else { Duration::from_secs(3) };
    // Followers, and events for each.
    let counts = if quick { [(1, 100), (20, 50)] } else { [(1, 20_000), (100, 5_000)] };
    if let Some(peer) = start_redis(folder)? {
        keys::measure(("redis", Some(peer.id())), Redis::clients(&peer, CLIENTS).await?, disk, span).await?;
        for (followers, events) in counts {
            in_time("following", redis_peer::followed(&peer, followers, events)).await?;
        }
    }
    if let Some(peer) = start_etcd(folder)? {
        keys::measure(("etcd", Some(peer.id())), Etcd::clients(&peer, CLIENTS).await?, disk, span).await?;
        for (followers, events) in counts {
            in_time("watching", etcd::watched(&peer, followers, events)).await?;
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
