//! The workloads with engine, agents and driver in one process.
//!
//! For: what the engine itself costs. Not for: what reaching it costs (`through_http`), nor for cold starts and
//! kills, which need a process of their own.
//! Invariant: the server that is measured is the one that ships, with its built-in agents.

use std::{collections::BTreeMap, path::Path, time::Instant};

use consort_engine::{Handle, StartRequest};
use consort_server::{
    GrpcListen, Role, Server,
    settings::{Settings, Sources},
};
use consort_types::{Payload, Result, RunId};
use futures::future::try_join_all;

use crate::{
    Workload, ballots, coordination,
    disk::Disk,
    events, in_flight,
    report::{figure, median, quantile},
    state,
    workflows::{BUILT_IN, CHAIN_STEPS, FAN_ITEMS, LONG_STEPS, SHORT_RUNS, SHORT_STEPS, chain, fan, long},
};

const TRANSPORT: &str = "in-process";
const NAMESPACE: &str = "default";
type Outcome = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Runs the workloads that are wanted.
pub(crate) async fn run(wanted: &impl Fn(Workload) -> bool, quick: bool) -> Outcome {
    let folder = tempfile::tempdir_in(".")?;
    let server = Server::open(
        &settings(folder.path())?,
        Role::Work { listen: ([127, 0, 0, 1], 0).into(), grpc: GrpcListen::Off },
    )
    .await?;
    let handle = server.handle().clone();
    let mut disk = Disk::new(folder.path())?;
    if wanted(Workload::W1) {
        w1(&handle, &mut disk, if quick { 3 } else { 30 }).await?;
    }
    if wanted(Workload::W2) {
        w2(&handle, if quick { 1 } else { 7 }).await?;
    }
    if wanted(Workload::W3) {
        w3(&handle, if quick { 1 } else { 9 }).await?;
    }
    if wanted(Workload::W4) {
        bytes_per_step(&handle).await?;
    }
    if wanted(Workload::W7) {
        w7(&handle, if quick { 1 } else { 7 }).await?;
    }
    if wanted(Workload::W9) {
        state::run(&handle, &mut disk, quick).await?;
        events::run(&handle, &mut disk, quick).await?;
        coordination::run(&handle, &mut disk, quick).await?;
        ballots::run(&handle, quick).await?;
    }
    server.close(std::future::pending()).await;
    Ok(())
}

fn settings(folder: &Path) -> Result<Settings> {
    let data = folder.join("data").display().to_string();
    Sources { flags: BTreeMap::from([("data-dir", data), ("concurrency", "1000".to_owned())]), ..Sources::default() }
        .load()
}

async fn start(handle: &Handle, workflow: &str, input: &str) -> Result<RunId> {
    let request = StartRequest {
        namespace: NAMESPACE.to_owned(),
        workflow: workflow.to_owned(),
        input: Some(Payload::inline(input.as_bytes())),
        ..StartRequest::default()
    };
    Ok(handle.start(request).await?.run)
}

/// Chains of 100 steps, between runs of the reference on the same bytes.
async fn w1(handle: &Handle, disk: &mut Disk, rounds: usize) -> Outcome {
    handle.deploy(NAMESPACE, &chain("w1", CHAIN_STEPS, BUILT_IN)).await?;
    let (mut per_step, mut gaps, mut reference) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let before = handle.status().await?;
        let began = Instant::now();
        let run = start(handle, "w1", "{\"n\":1}").await?;
        handle.wait_end(NAMESPACE, run).await?;
        let took = began.elapsed().as_secs_f64() * 1e6;
        let after = handle.status().await?;
        let group_bytes = (after.log_bytes - before.log_bytes) / (after.groups - before.groups).max(1);
        let synced = disk.samples(group_bytes as usize, CHAIN_STEPS)?;
        // The first round warms up.
        if round > 0 {
            per_step.push(took / CHAIN_STEPS as f64);
            reference.extend(synced);
            gaps.extend(step_gaps(handle, run).await?);
        }
    }
    let synced = median(&mut reference);
    figure("W1", TRANSPORT, "step_p50_us", quantile(&mut gaps, 0.5), "us");
    figure("W1", TRANSPORT, "step_p99_us", quantile(&mut gaps, 0.99), "us");
    figure("W1", TRANSPORT, "fdatasync_p50_us", synced, "us");
    figure("W1", TRANSPORT, "step_per_fdatasync", median(&mut per_step) / synced, "ratio");
    Ok(())
}

/// Microseconds of log time between the ends of steps that follow each other.
async fn step_gaps(handle: &Handle, run: RunId) -> Result<Vec<f64>> {
    let page = handle.steps(NAMESPACE, run, None, CHAIN_STEPS).await?;
    let ends: Vec<_> = page.items.iter().filter_map(|step| step.ended).collect();
    Ok(ends.windows(2).map(|pair| pair[1].since(pair[0]).0 as f64).collect())
}

/// 1,000 runs of 10 steps, all at once.
async fn w2(handle: &Handle, rounds: usize) -> Outcome {
    handle.deploy(NAMESPACE, &chain("w2", SHORT_STEPS, BUILT_IN)).await?;
    let mut rates = Vec::new();
    for round in 0..=rounds {
        let began = Instant::now();
        short_runs(handle).await?;
        if round > 0 || rounds == 1 {
            rates.push((SHORT_RUNS * SHORT_STEPS) as f64 / began.elapsed().as_secs_f64());
        }
    }
    figure("W2", TRANSPORT, "steps_per_second", median(&mut rates), "1/s");
    Ok(())
}

async fn short_runs(handle: &Handle) -> Result<()> {
    try_join_all((0..SHORT_RUNS).map(|n| short_run(handle, n))).await?;
    Ok(())
}

async fn short_run(handle: &Handle, n: usize) -> Result<()> {
    let run = start(handle, "w2", &format!("{{\"n\":{n}}}")).await?;
    handle.wait_end(NAMESPACE, run).await.map(drop)
}

/// The same runs, of which 64 are in flight: each that ends lets the next one start.
async fn w7(handle: &Handle, rounds: usize) -> Outcome {
    handle.deploy(NAMESPACE, &chain("w2", SHORT_STEPS, BUILT_IN)).await?;
    let rate = in_flight::steps_per_second(rounds, async |n| short_run(handle, n).await).await?;
    figure("W7", TRANSPORT, "steps_per_second", rate, "1/s");
    Ok(())
}

/// A fan-out of 1,000 and its join.
async fn w3(handle: &Handle, rounds: usize) -> Outcome {
    handle.deploy(NAMESPACE, &fan("w3", FAN_ITEMS, BUILT_IN)).await?;
    let items: Vec<usize> = (0..FAN_ITEMS).collect();
    let input = format!("{{\"items\":{items:?}}}");
    let mut walls = Vec::new();
    for round in 0..=rounds {
        let began = Instant::now();
        let run = start(handle, "w3", &input).await?;
        handle.wait_end(NAMESPACE, run).await?;
        if round > 0 || rounds == 1 {
            walls.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    figure("W3", TRANSPORT, "wall_ms", median(&mut walls), "ms");
    Ok(())
}

/// What a step costs on disk: over 1,000 runs of 10, and at the head and the tail of a run of 10,000.
async fn bytes_per_step(handle: &Handle) -> Outcome {
    handle.deploy(NAMESPACE, &chain("w2", SHORT_STEPS, BUILT_IN)).await?;
    let before = written(handle).await?;
    short_runs(handle).await?;
    let short = (written(handle).await? - before) / (SHORT_RUNS * SHORT_STEPS) as f64;
    figure("W4", TRANSPORT, "bytes_per_step", short, "bytes");
    for (metric, steps) in [("bytes_per_step_run_of_1000", 1_000), ("bytes_per_step_run_of_10000", LONG_STEPS)] {
        handle.deploy(NAMESPACE, &long("w4", steps)).await?;
        let before = written(handle).await?;
        let run = start(handle, "w4", "{}").await?;
        handle.wait_end(NAMESPACE, run).await?;
        figure("W4", TRANSPORT, metric, (written(handle).await? - before) / steps as f64, "bytes");
    }
    Ok(())
}

/// Bytes given to the log and the store so far, once every changed row has been handed over.
async fn written(handle: &Handle) -> Result<f64> {
    loop {
        let status = handle.status().await?;
        if status.rows_changed == 0 && status.store_written == status.applied {
            return Ok((status.log_bytes + status.store_bytes) as f64);
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
