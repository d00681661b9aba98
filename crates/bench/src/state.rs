//! Shared state, with the store and its clients in one process.
//!
//! For: what a durable write, a read, and a change that many follow cost. Not for: what reaching the engine costs.
//! Invariant: every put is durable before it is answered, and every watcher has each change.

use std::time::Instant;

use consort_engine::{Handle, StateStore, StateWatch};
use consort_types::{
    Payload, Result,
    state::{Action, Writer},
};
use futures::future::try_join_all;

use crate::{
    disk::Disk,
    report::{figure, median, quantile},
};

const TRANSPORT: &str = "in-process";
const SPACE: &str = "bench";
type Outcome = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;
/// Clients at once.
const CLIENTS: usize = 64;
/// Watchers of one space.
const WATCHERS: usize = 100;

/// Puts of one client and of 64, gets of 64, and changes that 100 watchers follow.
pub(crate) async fn run(handle: &Handle, disk: &mut Disk, rounds: usize) -> Outcome {
    let store = StateStore::of(handle, "default")?;
    put(&store, "warm", 0).await?;
    let (mut took, mut synced) = (Vec::new(), disk.samples(512, 100 * rounds)?);
    for n in 0..100 * rounds {
        let began = Instant::now();
        put(&store, "one", n).await?;
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let reference = median(&mut synced);
    figure("W9", TRANSPORT, "put_p50_us", quantile(&mut took, 0.5), "us");
    figure("W9", TRANSPORT, "put_p99_us", quantile(&mut took, 0.99), "us");
    figure("W9", TRANSPORT, "put_per_fdatasync", quantile(&mut took, 0.5) / reference, "ratio");

    let each = 100 * rounds;
    let puts = try_join_all((0..CLIENTS).map(|client| put_many(&store, client, each)));
    figure("W9", TRANSPORT, "puts_per_second", rate(CLIENTS * each, puts).await?, "1/s");
    let gets = try_join_all((0..CLIENTS).map(|client| get_many(&store, client, each)));
    figure("W9", TRANSPORT, "gets_per_second", rate(CLIENTS * each, gets).await?, "1/s");
    watched(&store, each).await?;
    Ok(())
}

/// Changes that each of 100 watchers is given.
async fn watched(store: &StateStore, changes: usize) -> Result<()> {
    let mut watches = Vec::new();
    for _ in 0..WATCHERS {
        watches.push(store.watch(SPACE, "w/", None).await?);
    }
    let readers = try_join_all(watches.into_iter().map(|watch| follow(watch, changes)));
    let writers = try_join_all((0..CLIENTS).map(|client| put_some(store, client, changes)));
    let both = async { futures::try_join!(readers, writers) };
    figure("W9", TRANSPORT, "deliveries_per_second", rate(WATCHERS * changes, both).await?, "1/s");
    Ok(())
}

async fn put_many(store: &StateStore, client: usize, count: usize) -> Result<()> {
    for n in 0..count {
        put(store, &format!("c{client}/{}", n % 50), n).await?;
    }
    Ok(())
}

async fn get_many(store: &StateStore, client: usize, count: usize) -> Result<()> {
    for n in 0..count {
        store.get(SPACE, &format!("c{client}/{}", n % 50), None).await?;
    }
    Ok(())
}

async fn follow(mut watch: StateWatch, count: usize) -> Result<()> {
    for _ in 0..count {
        watch.next().await?;
    }
    Ok(())
}

/// This client's share of `count` puts.
async fn put_some(store: &StateStore, client: usize, count: usize) -> Result<()> {
    for n in (client..count).step_by(CLIENTS) {
        put(store, &format!("w/{n}"), n).await?;
    }
    Ok(())
}

async fn put(store: &StateStore, key: &str, n: usize) -> Result<()> {
    let value = Payload::inline(format!("{{\"n\":{n},\"text\":\"some words of a value\"}}").into_bytes());
    let action = Action::Put { value, saw: None, ttl: None, stamp: None };
    store.write(SPACE, key, action, Vec::new(), Writer::default()).await.map(drop)
}

async fn rate<T>(count: usize, work: impl Future<Output = Result<T>>) -> Result<f64> {
    let began = Instant::now();
    work.await?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}
