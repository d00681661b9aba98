//! The workloads with remote workers: a server process, a worker process, and the driver, over loopback gRPC.
//!
//! For: what agents in other processes cost, for each SDK; and what idle instances cost. Not for: the engine's own cost
//! (`in_process`).
//! Invariant: server, worker and driver share the machine, as they would on a laptop; every step is durable before the
//! next one starts.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use consort_conformance::sdk::{Sdk, Setting, Worker};
use consort_sdk::{Agent, Capability, Client, Remote, client::AgentFilter};
use consort_types::RunId;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    Workload, code_first,
    disk::Disk,
    in_flight,
    report::{figure, median},
    through_http::{Outcome, Server, group_bytes, idle, inspect, now},
    workflows::{CHAIN_STEPS, FAN_ITEMS, SHORT_RUNS, SHORT_STEPS, chain, fan},
};

/// The capability of the conformance workers that gives back what it gets.
const ECHO: &str = "conform.echo";
/// Tasks that the worker holds at once.
const CREDIT: u32 = 1_000;
/// How often it is asked whether a worker has joined.
const JOINED_EVERY: Duration = Duration::from_millis(10);
/// Starts that are under way at once.
const STARTS: usize = 64;
/// Idle instances of W6.
const INSTANCES: usize = 10_000;
/// Instances that share an HTTP/2 connection.
const INSTANCES_PER_CONNECTION: usize = 100;

/// Runs the workloads that are wanted, with a worker of each SDK that is there.
pub(crate) async fn run(wanted: &impl Fn(Workload) -> bool, quick: bool) -> Outcome<()> {
    for sdk in Sdk::ALL {
        let field = Field { sdk, transport: transport(sdk) };
        if wanted(Workload::W1) {
            field.w1(if quick { 2 } else { 15 }).await?;
        }
        if wanted(Workload::W2) {
            field.w2(if quick { 1 } else { 5 }).await?;
        }
        if wanted(Workload::W3) {
            field.w3(if quick { 1 } else { 7 }).await?;
        }
        if wanted(Workload::W7) {
            field.w7(if quick { 1 } else { 5 }).await?;
        }
        if wanted(Workload::W5) {
            field.w5(if quick { 1 } else { 3 }).await?;
        }
    }
    if wanted(Workload::W8) {
        code_first::run(if quick { 2 } else { 15 }).await?;
    }
    if wanted(Workload::W6) {
        idle_instances(if quick { 500 } else { INSTANCES }).await?;
    }
    Ok(())
}

fn transport(sdk: Sdk) -> &'static str {
    match sdk {
        Sdk::Rust => "grpc-rust",
        Sdk::Python => "grpc-python",
        Sdk::TypeScript => "grpc-typescript",
    }
}

/// An SDK, and how its figures are labelled.
struct Field {
    sdk: Sdk,
    transport: &'static str,
}

/// A server with a worker.
struct Stage {
    folder: tempfile::TempDir,
    server: Server,
    worker: Worker,
    client: Client,
}

impl Stage {
    async fn open(sdk: Sdk) -> Outcome<Self> {
        let folder = tempfile::tempdir_in(".")?;
        let server = Server::start(folder.path()).await?;
        let (mut worker, client) = (start_worker(sdk, &server, folder.path())?, client(&server));
        await_joined(&mut worker, &client, &worker_log(folder.path())).await?;
        Ok(Self { folder, server, worker, client })
    }

    async fn close(self) -> Outcome<()> {
        drop(self.worker);
        self.server.kill().await
    }
}

fn start_worker(sdk: Sdk, server: &Server, folder: &Path) -> Outcome<Worker> {
    let setting = Setting {
        server: server.host.clone(),
        ledger: String::new(),
        credit: CREDIT,
        variant: String::new(),
        version: "1.0.0".to_owned(),
    };
    Ok(sdk.start(&setting, &worker_log(folder))?)
}

fn worker_log(folder: &Path) -> PathBuf {
    folder.join("worker.log")
}

/// Waits until the worker has joined. A worker that ends instead, for example because a package is missing, is an error
/// with the worker's output: otherwise its runs would wait without end.
async fn await_joined(worker: &mut Worker, client: &Client, log: &Path) -> Outcome<()> {
    let filter = AgentFilter { capability: Some(ECHO.to_owned()), ..AgentFilter::default() };
    while client.agents(&filter).await?.is_empty() {
        if let Some(status) = worker.ended() {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            return Err(format!("the worker has ended before it joined ({status}): {said}").into());
        }
        tokio::time::sleep(JOINED_EVERY).await;
    }
    Ok(())
}

fn client(server: &Server) -> Client {
    Client::new(format!("http://{}", server.host))
}

impl Field {
    /// Chains of 100 steps, between runs of the reference on the same bytes.
    async fn w1(&self, rounds: usize) -> Outcome<()> {
        let stage = Stage::open(self.sdk).await?;
        let mut disk = Disk::new(stage.folder.path())?;
        let mut http = stage.server.client().await?;
        stage.server.deploy(chain("w1", CHAIN_STEPS, ECHO)).await?;
        let (mut per_step, mut reference) = (Vec::new(), Vec::new());
        for round in 0..=rounds {
            let before = http.get("/v1/status").await?;
            let began = Instant::now();
            let run = stage.client.start("w1", &json!({ "n": 1 })).await?;
            stage.client.result::<Value>(run).await?;
            let took = began.elapsed().as_secs_f64() * 1e6;
            let after = http.get("/v1/status").await?;
            let synced = disk.samples(group_bytes(&before, &after), CHAIN_STEPS)?;
            // The first round warms up, and waits for the worker.
            if round > 0 {
                per_step.push(took / CHAIN_STEPS as f64);
                reference.extend(synced);
            }
        }
        let synced = median(&mut reference);
        figure("W1", self.transport, "fdatasync_p50_us", synced, "us");
        figure("W1", self.transport, "step_per_fdatasync", median(&mut per_step) / synced, "ratio");
        stage.close().await
    }

    /// 1,000 runs of 10 steps, all at once.
    async fn w2(&self, rounds: usize) -> Outcome<()> {
        let stage = Stage::open(self.sdk).await?;
        stage.server.deploy(chain("w2", SHORT_STEPS, ECHO)).await?;
        let mut http = stage.server.client().await?;
        let mut rates = Vec::new();
        for round in 0..=rounds {
            let began = Instant::now();
            let runs = start_short_runs(&stage.client).await;
            idle(&mut http).await?;
            if round > 0 || rounds == 1 {
                rates.push((runs.len() * SHORT_STEPS) as f64 / began.elapsed().as_secs_f64());
            }
        }
        figure("W2", self.transport, "steps_per_second", median(&mut rates), "1/s");
        stage.close().await
    }

    /// The same runs, of which 64 are in flight: each that ends lets the next one start.
    async fn w7(&self, rounds: usize) -> Outcome<()> {
        let stage = Stage::open(self.sdk).await?;
        stage.server.deploy(chain("w2", SHORT_STEPS, ECHO)).await?;
        let rate = in_flight::by_client(rounds, &stage.client).await?;
        figure("W7", self.transport, "steps_per_second", rate, "1/s");
        stage.close().await
    }

    /// A fan-out of 1,000 and its join.
    async fn w3(&self, rounds: usize) -> Outcome<()> {
        let stage = Stage::open(self.sdk).await?;
        stage.server.deploy(fan("w3", FAN_ITEMS, ECHO)).await?;
        let items: Vec<usize> = (0..FAN_ITEMS).collect();
        let mut walls = Vec::new();
        for round in 0..=rounds {
            let began = Instant::now();
            let run = stage.client.start("w3", &json!({ "items": items })).await?;
            stage.client.result::<Value>(run).await?;
            if round > 0 || rounds == 1 {
                walls.push(began.elapsed().as_secs_f64() * 1e3);
            }
        }
        figure("W3", self.transport, "wall_ms", median(&mut walls), "ms");
        stage.close().await
    }

    /// Kill -9 of the server in the middle of W2, while the worker keeps running and reconnects.
    async fn w5(&self, rounds: usize) -> Outcome<()> {
        let (mut resumes, mut lost, mut twice) = (Vec::new(), 0, 0);
        for round in 0..rounds {
            let folder = tempfile::tempdir_in(".")?;
            let mut server = Server::start(folder.path()).await?;
            server.deploy(chain("w2", SHORT_STEPS, ECHO)).await?;
            let worker = start_worker(self.sdk, &server, folder.path())?;
            client(&server).start("w2", &json!({ "n": 0 })).await?;
            idle(&mut server.client().await?).await?;
            let id = server.id()?;
            let killed = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(150 + 50 * round as u64)).await;
                let done = Command::new("kill").args(["-9", &id.to_string()]).status().await;
                (done.is_ok(), now())
            });
            let runs = start_short_runs(&client(&server)).await;
            let (_, killed_at) = killed.await?;
            server.ended().await?;
            // Another port: the worker that is left behind could not find it, so a new one is started too.
            drop(worker);
            let server = Server::start(folder.path()).await?;
            let worker = start_worker(self.sdk, &server, folder.path())?;
            let mut http = server.client().await?;
            idle(&mut http).await?;
            let acknowledged: Vec<String> = runs.iter().map(RunId::to_string).collect();
            let seen = inspect(&mut http, &acknowledged, killed_at).await?;
            lost += seen.lost;
            twice += seen.twice;
            resumes.extend(seen.first_step_ms);
            drop(worker);
            server.kill().await?;
        }
        figure("W5", self.transport, "resume_ms", median(&mut resumes), "ms");
        figure("W5", self.transport, "runs_lost", f64::from(lost), "runs");
        figure("W5", self.transport, "steps_twice", f64::from(twice), "steps");
        Ok(())
    }
}

/// Starts the short runs, some at once; those that were acknowledged.
async fn start_short_runs(client: &Client) -> Vec<RunId> {
    let one = async |lane: usize| {
        let mut runs = Vec::new();
        for n in (lane..SHORT_RUNS).step_by(STARTS) {
            match client.start("w2", &json!({ "n": n })).await {
                Ok(run) => runs.push(run),
                Err(_) => break,
            }
        }
        runs
    };
    futures::future::join_all((0..STARTS).map(one)).await.into_iter().flatten().collect()
}

/// What instances cost that are connected and have nothing to do.
async fn idle_instances(count: usize) -> Outcome<()> {
    let folder = tempfile::tempdir_in(".")?;
    let server = Server::start(folder.path()).await?;
    let before = server.rss_mib()?;
    let mut workers = tokio::task::JoinSet::new();
    for first in (0..count).step_by(INSTANCES_PER_CONNECTION) {
        let remote = Remote::new(format!("http://{}", server.host));
        for _ in first..(first + INSTANCES_PER_CONNECTION).min(count) {
            let nothing = Capability::from_fn("idle.nothing", |_, input: Value| async move { Ok(input) });
            let worker = consort_sdk::Worker::new(remote.clone()).agent(Agent::new("idle").capability(nothing));
            workers.spawn(worker.run(std::future::pending()));
        }
    }
    let mut http = server.client().await?;
    while connected(&http.get("/v1/status").await?) < count as u64 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A full round of heartbeats has passed before anything is measured.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let after = server.rss_mib()?;
    let (used, began) = (server.cpu_seconds()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(20)).await;
    let share = (server.cpu_seconds()? - used) / began.elapsed().as_secs_f64();
    figure("W6", "grpc-rust", "instances", count as f64, "instances");
    figure("W6", "grpc-rust", "rss_per_instance_kib", (after - before) * 1024.0 / count as f64, "KiB");
    figure("W6", "grpc-rust", "processor_share", share * 100.0, "% of one core");
    workers.abort_all();
    server.kill().await
}

/// Instances of the idle agent, as the server's status counts them.
fn connected(status: &Value) -> u64 {
    let agents = status["agents"].as_array().map(Vec::as_slice).unwrap_or_default();
    agents.iter().filter(|agent| agent["agent"] == "idle").filter_map(|agent| agent["instances"].as_u64()).sum()
}
