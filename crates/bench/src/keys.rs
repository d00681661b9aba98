//! Reads, writes and transactions on keys, measured alike whatever keeps them.
//!
//! For: one client against the disk, and 64 clients at once: rates and how long each request took. Not for: how a store
//! is reached (each implements [`Keys`]).
//! Invariant: every store gets the same requests for the same keys and values, from as many clients, for as long; what a store answers is
//! looked at, so a refusal is never counted.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    disk::Disk,
    report::{figure, median, quantile},
    through_http::{Outcome, cpu_seconds},
};

/// Clients at once.
pub(crate) const CLIENTS: usize = 64;
/// Keys of one client.
const KEYS: usize = 50;
/// Bytes of a reference write: about what the log writes for one put.
const GROUP_BYTES: usize = 512;

/// One client of a store of keys. Every write that it answers is durable.
pub(crate) trait Keys: Send + 'static {
    /// Gives a key a value, whatever it has.
    fn put(&mut self, key: &str, value: &str) -> impl Future<Output = Outcome<()>> + Send;
    /// Reads a key that has a value.
    fn get(&mut self, key: &str) -> impl Future<Output = Outcome<()>> + Send;
    /// Where `key` has a value: reads it, and writes it and `other`, in one step.
    fn transact(&mut self, key: &str, other: &str, value: &str) -> impl Future<Output = Outcome<()>> + Send;
    /// Gives many new keys a value, as many at once as the store takes well.
    fn load(&mut self, keys: &[String], value: &str) -> impl Future<Output = Outcome<()>> + Send;
}

/// Waits until a store that was started answers a read of a key that has a value.
pub(crate) async fn await_ready<C: Keys>(connect: impl AsyncFn() -> Outcome<Vec<C>>, key: &str) {
    loop {
        if let Ok(mut clients) = connect().await
            && let Some(client) = clients.first_mut()
            && client.get(key).await.is_ok()
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a client requests.
#[derive(Clone, Copy)]
enum Ask {
    Put,
    Get,
    Transact,
}

impl Ask {
    /// The name of the rate, and of the time that each takes.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Put => ("puts", "put"),
            Self::Get => ("gets", "get"),
            Self::Transact => ("transacts", "transact"),
        }
    }
}

/// The document that is written.
pub(crate) fn value(n: usize) -> String {
    format!("{{\"n\":{n},\"text\":\"some words of a value\"}}")
}

fn key(client: usize, n: usize) -> String {
    format!("c{client}/{}", n % KEYS)
}

async fn ask(client: &mut impl Keys, what: Ask, (number, n): (usize, usize)) -> Outcome<()> {
    let key = key(number, n);
    match what {
        Ask::Put => client.put(&key, &value(n)).await,
        Ask::Get => client.get(&key).await,
        Ask::Transact => client.transact(&key, &format!("{key}/other"), &value(n)).await,
    }
}

/// Asks one client for as long as `span`; the microseconds that each answer took.
async fn repeat(client: &mut impl Keys, what: Ask, number: usize, span: Duration) -> Outcome<Vec<f64>> {
    let (mut took, began) = (Vec::new(), Instant::now());
    // What is read later has a value.
    let least = if let Ask::Put = what { KEYS } else { 1 };
    while began.elapsed() < span || took.len() < least {
        let asked = Instant::now();
        ask(client, what, (number, took.len())).await?;
        took.push(asked.elapsed().as_secs_f64() * 1e6);
    }
    Ok(took)
}

/// Every figure of a store: of its first client alone, between two samples of the disk, and of all clients at once.
/// `server` is its process, where it has one of its own.
pub(crate) async fn measure<K: Keys>(
    (label, server): (&str, Option<u32>),
    mut clients: Vec<K>,
    disk: &mut Disk,
    span: Duration,
) -> Outcome<()> {
    let Some(first) = clients.first_mut() else { return Err("a store without a client".into()) };
    repeat(first, Ask::Put, 0, span / 10).await?;
    let count = if span < Duration::from_secs(1) { 50 } else { 1_000 };
    let mut reference = disk.samples(GROUP_BYTES, count)?;
    for what in [Ask::Put, Ask::Transact, Ask::Get] {
        let mut took = repeat(first, what, 0, span).await?;
        let name = what.names().1;
        figure("W9", label, &format!("{name}_p50_us"), quantile(&mut took, 0.5), "us");
        figure("W9", label, &format!("{name}_p99_us"), quantile(&mut took, 0.99), "us");
        if let Ask::Put = what {
            reference.extend(disk.samples(GROUP_BYTES, count)?);
            let synced = median(&mut reference);
            figure("W9", label, "fdatasync_p50_us", synced, "us");
            figure("W9", label, "put_per_fdatasync", quantile(&mut took, 0.5) / synced, "ratio");
        }
    }
    for what in [Ask::Put, Ask::Transact, Ask::Get] {
        let before = used(server)?;
        let (back, count) = together(label, what, clients, span).await?;
        clients = back;
        // Other than the rate, this is the same while other programs keep the cores busy.
        let each = (used(server)? - before) * 1e6 / count as f64;
        figure("W9", label, &format!("{}_cpu_us", what.names().1), each, "us");
    }
    Ok(())
}

/// Seconds of processor time of clients and server so far.
fn used(server: Option<u32>) -> Outcome<f64> {
    Ok(cpu_seconds(std::process::id())? + server.map_or(Ok(0.0), cpu_seconds)?)
}

/// All clients at once, each as a task of its own; gives them back, and how many answers they got.
async fn together<K: Keys>(label: &str, what: Ask, clients: Vec<K>, span: Duration) -> Outcome<(Vec<K>, usize)> {
    let began = Instant::now();
    let mut running = JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        running.spawn(async move {
            let took = repeat(&mut client, what, number, span).await?;
            Outcome::Ok((client, took))
        });
    }
    let (mut clients, mut all) = (Vec::new(), Vec::new());
    while let Some(ended) = running.join_next().await {
        let (client, took) = ended??;
        clients.push(client);
        all.extend(took);
    }
    let (rates, name) = what.names();
    figure("W9", label, &format!("{rates}_per_second"), all.len() as f64 / began.elapsed().as_secs_f64(), "1/s");
    figure("W9", label, &format!("{name}_of_64_p50_us"), quantile(&mut all, 0.5), "us");
    figure("W9", label, &format!("{name}_of_64_p99_us"), quantile(&mut all, 0.99), "us");
    Ok((clients, all.len()))
}

/// Fails where something takes much longer than it ever should: what was lost is reported, and not waited for.
pub(crate) async fn in_time<T>(what: &str, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    const LONGEST: Duration = Duration::from_mins(2);
    let ended = tokio::time::timeout(LONGEST, pin!(work)).await;
    ended.map_err(|_| format!("{what} did not end within {LONGEST:?}"))?
}
