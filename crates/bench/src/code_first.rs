//! Code-first workflows: what an entry of a journal and a call cost.
//!
//! For: a run whose one step is code that records 100 effects one after the other, and one that makes 100 calls; the
//! server is a process of its own, the worker is in the driver's. Not for: steps of a YAML workflow (W1).
//! Invariant: every entry is durable before the code goes past it.

use std::time::Instant;

use consort_sdk::{Agent, Capability, Client, Remote, TaskContext, TaskError, Worker};
use serde_json::{Value, json};

use crate::{
    disk::Disk,
    report::{figure, median},
    through_http::{Outcome, Server, group_bytes},
    workflows::ENTRIES,
};

const TRANSPORT: &str = "grpc-rust";

/// Records effects, each after the one before.
async fn effects(ctx: TaskContext, _: Value) -> Result<usize, TaskError> {
    for n in 0..ENTRIES {
        ctx.run(&format!("e{n}"), || async move { Ok(n) }).await?;
    }
    Ok(ENTRIES)
}

/// Makes calls, each after the one before.
async fn calls(ctx: TaskContext, _: Value) -> Result<usize, TaskError> {
    for n in 0..ENTRIES {
        let _: Value = ctx.call("bench.echo", &json!({ "n": n })).await?;
    }
    Ok(ENTRIES)
}

fn agent() -> Agent {
    Agent::new("bench")
        .capability(Capability::from_fn("bench.effects", effects))
        .capability(Capability::from_fn("bench.calls", calls))
        .capability(Capability::from_fn("bench.echo", |_, input: Value| async move { Ok(input) }))
}

/// Both workloads, between runs of the reference on the same bytes.
pub(crate) async fn run(rounds: usize) -> Outcome<()> {
    let folder = tempfile::tempdir_in(".")?;
    let server = Server::start(folder.path()).await?;
    let mut disk = Disk::new(folder.path())?;
    let address = format!("http://{}", server.host);
    let worker = Worker::new(Remote::new(address.clone())).concurrency(8).agent(agent());
    let worker = tokio::spawn(worker.run(std::future::pending()));
    for (metric, capability) in [("entry_per_fdatasync", "bench.effects"), ("call_per_fdatasync", "bench.calls")] {
        measure(&server, &Client::new(address.clone()), &mut disk, metric, capability, rounds).await?;
    }
    worker.abort();
    server.kill().await
}

async fn measure(
    server: &Server,
    client: &Client,
    disk: &mut Disk,
    metric: &str,
    capability: &str,
    rounds: usize,
) -> Outcome<()> {
    server.deploy(format!("workflow: w8\nsteps:\n  code: {{ capability: {capability} }}\n")).await?;
    let mut http = server.client().await?;
    let (mut each, mut groups, mut reference) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=rounds {
        let before = http.get("/v1/status").await?;
        let began = Instant::now();
        let run = client.start("w8", &json!({})).await?;
        client.result::<Value>(run).await?;
        let took = began.elapsed().as_secs_f64() * 1e6;
        let after = http.get("/v1/status").await?;
        let synced = disk.samples(group_bytes(&before, &after), ENTRIES)?;
        // The first round warms up, and waits for the worker.
        if round > 0 {
            each.push(took / ENTRIES as f64);
            groups.push(appended(&before, &after) / ENTRIES as f64);
            reference.extend(synced);
        }
    }
    figure("W8", TRANSPORT, metric, median(&mut each) / median(&mut reference), "ratio");
    let metric = metric.replace("_per_fdatasync", "_groups");
    figure("W8", TRANSPORT, &metric, median(&mut groups), "groups");
    Ok(())
}

/// Groups that were appended between two statuses.
fn appended(before: &Value, after: &Value) -> f64 {
    let groups = |status: &Value| status["groups"].as_f64().unwrap_or_default();
    groups(after) - groups(before)
}
