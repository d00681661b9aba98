//! The workloads against a server process, reached over loopback HTTP; cold starts, memory and kills.
//!
//! For: what a client sees. Not for: the engine's own cost (`in_process`).
//! Invariant: the program that is started is the one beside this one, from the same build.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use consort_types::Time;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    Workload,
    disk::Disk,
    http::Client,
    in_flight,
    report::{figure, median},
    workflows::{BUILT_IN, CHAIN_STEPS, FAN_ITEMS, SHORT_RUNS, SHORT_STEPS, chain, fan},
};

const TRANSPORT: &str = "http";
/// Connections over which runs are started at once.
const CONNECTIONS: usize = 16;

pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs the workloads that are wanted.
pub(crate) async fn run(wanted: &impl Fn(Workload) -> bool, quick: bool) -> Outcome<()> {
    let rounds = if quick { 1 } else { 7 };
    if wanted(Workload::W1) {
        w1(if quick { 3 } else { 20 }).await?;
    }
    if wanted(Workload::W2) {
        w2(rounds).await?;
    }
    if wanted(Workload::W3) {
        w3(rounds).await?;
    }
    if wanted(Workload::W4) {
        w4(if quick { 2 } else { 15 }).await?;
    }
    if wanted(Workload::W7) {
        w7(rounds).await?;
    }
    if wanted(Workload::W5) {
        w5(if quick { 1 } else { 5 }).await?;
    }
    Ok(())
}

/// A server process on a folder of its own.
pub(crate) struct Server {
    child: Child,
    /// Where workers and clients reach it.
    pub(crate) host: String,
}

impl Server {
    /// Starts it on free ports.
    pub(crate) async fn start(folder: &Path) -> Outcome<Self> {
        let mut child = Command::new(program()?)
            .args(["up", "--port", "0", "--data-dir"])
            .arg(folder.join("data"))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the server has no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = lines.next_line().await?.ok_or("the server ended before it was ready")?;
        let host = line.split("http://").nth(1).unwrap_or(&line).trim().trim_end_matches('/').to_owned();
        Ok(Self { child, host })
    }

    /// A client of its HTTP interface.
    pub(crate) async fn client(&self) -> Outcome<Client> {
        Client::connect(&self.host).await
    }

    /// Deploys a workflow.
    pub(crate) async fn deploy(&self, source: String) -> Outcome<()> {
        self.client().await?.post("/v1/workflows", "text/yaml", source).await?;
        Ok(())
    }

    /// Ends it.
    pub(crate) async fn kill(mut self) -> Outcome<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// Resident memory in MiB.
    pub(crate) fn rss_mib(&self) -> Outcome<f64> {
        memory_mib(self.id()?, "VmRSS:")
    }

    /// Seconds of processor time that it has used.
    pub(crate) fn cpu_seconds(&self) -> Outcome<f64> {
        cpu_seconds(self.id()?)
    }

    /// The process.
    pub(crate) fn id(&self) -> Outcome<u32> {
        Ok(self.child.id().ok_or("the server has ended")?)
    }

    /// Waits until it has been killed.
    pub(crate) async fn ended(&mut self) -> Outcome<()> {
        self.child.wait().await?;
        Ok(())
    }
}

/// Seconds of processor time that a process has used.
pub(crate) fn cpu_seconds(process: u32) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Fields count from behind the program's name, which may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).ok_or("no processor time");
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// Memory of a process in MiB, by its name in `/proc`: `VmRSS:` is what it holds, `VmHWM:` the most that it held.
pub(crate) fn memory_mib(process: u32, name: &str) -> Outcome<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(name)).ok_or("the memory of a process is not shown")?;
    let kib: f64 = line.split_whitespace().nth(1).unwrap_or("0").parse()?;
    Ok(kib / 1024.0)
}

/// What `/proc` counts processor time in, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The program that ships, beside this one.
fn program() -> Outcome<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("consort");
    if path.is_file() { Ok(path) } else { Err(format!("`{}` is missing; build it first", path.display()).into()) }
}

async fn start(client: &mut Client, workflow: &str, input: Value) -> Outcome<String> {
    let body = json!({ "workflow": workflow, "input": input }).to_string();
    let answer = client.post("/v1/runs", "application/json", body).await?;
    Ok(answer["run"].as_str().ok_or("no run in the answer")?.to_owned())
}

/// Waits for the end of a run: its watch ends with it.
async fn wait_end(client: &mut Client, run: &str) -> Outcome<()> {
    client.get(&format!("/v1/runs/{run}/watch")).await?;
    let view = client.get(&format!("/v1/runs/{run}")).await?;
    if view["status"] == "completed" { Ok(()) } else { Err(format!("run {run} is {}", view["status"]).into()) }
}

/// Bytes of a group of the log between two answers about the server's status, on average.
pub(crate) fn group_bytes(before: &Value, after: &Value) -> usize {
    let grown = |what: &str| {
        let count = |status: &Value| status[what].as_u64().unwrap_or_default();
        count(after) - count(before)
    };
    (grown("log_bytes") / grown("groups").max(1)) as usize
}

/// 1,000 runs of 10 steps, of which 64 are in flight.
async fn w7(rounds: usize) -> Outcome<()> {
    let folder = tempfile::tempdir_in(".")?;
    let server = Server::start(folder.path()).await?;
    server.deploy(chain("w2", SHORT_STEPS, BUILT_IN)).await?;
    let client = consort_sdk::Client::new(format!("http://{}", server.host));
    figure("W7", TRANSPORT, "steps_per_second", in_flight::by_client(rounds, &client).await?, "1/s");
    server.kill().await
}

async fn w1(rounds: usize) -> Outcome<()> {
    let folder = tempfile::tempdir_in(".")?;
    let server = Server::start(folder.path()).await?;
    let mut disk = Disk::new(folder.path())?;
    let mut client = server.client().await?;
    server.deploy(chain("w1", CHAIN_STEPS, BUILT_IN)).await?;
    let (mut per_step, mut reference) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let before = client.get("/v1/status").await?;
        let began = Instant::now();
        let run = start(&mut client, "w1", json!({ "n": 1 })).await?;
        wait_end(&mut client, &run).await?;
        let took = began.elapsed().as_secs_f64() * 1e6;
        let after = client.get("/v1/status").await?;
        let synced = disk.samples(group_bytes(&before, &after), CHAIN_STEPS)?;
        if round > 0 {
            per_step.push(took / CHAIN_STEPS as f64);
            reference.extend(synced);
        }
    }
    let synced = median(&mut reference);
    figure("W1", TRANSPORT, "fdatasync_p50_us", synced, "us");
    figure("W1", TRANSPORT, "step_per_fdatasync", median(&mut per_step) / synced, "ratio");
    server.kill().await
}

/// Starts the short runs over several connections; the ids of those that were acknowledged.
async fn start_short_runs(server: &Server) -> Vec<String> {
    let one = async |lane: usize| {
        let mut runs = Vec::new();
        let Ok(mut client) = server.client().await else { return runs };
        for n in (lane..SHORT_RUNS).step_by(CONNECTIONS) {
            match start(&mut client, "w2", json!({ "n": n })).await {
                Ok(run) => runs.push(run),
                Err(_) => break,
            }
        }
        runs
    };
    futures::future::join_all((0..CONNECTIONS).map(one)).await.into_iter().flatten().collect()
}

/// Waits until no run is active.
pub(crate) async fn idle(client: &mut Client) -> Outcome<()> {
    while client.get("/v1/status").await?["runs_active"] != 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

async fn w2(rounds: usize) -> Outcome<()> {
    let folder = tempfile::tempdir_in(".")?;
    let server = Server::start(folder.path()).await?;
    server.deploy(chain("w2", SHORT_STEPS, BUILT_IN)).await?;
    let mut client = server.client().await?;
    let mut rates = Vec::new();
    for round in 0..=rounds {
        let began = Instant::now();
        let runs = start_short_runs(&server).await;
        idle(&mut client).await?;
        if round > 0 || rounds == 1 {
            rates.push((runs.len() * SHORT_STEPS) as f64 / began.elapsed().as_secs_f64());
        }
    }
    figure("W2", TRANSPORT, "steps_per_second", median(&mut rates), "1/s");
    server.kill().await
}

async fn w3(rounds: usize) -> Outcome<()> {
    let folder = tempfile::tempdir_in(".")?;
    let server = Server::start(folder.path()).await?;
    server.deploy(fan("w3", FAN_ITEMS, BUILT_IN)).await?;
    let mut client = server.client().await?;
    let items: Vec<usize> = (0..FAN_ITEMS).collect();
    let mut walls = Vec::new();
    for round in 0..=rounds {
        let began = Instant::now();
        let run = start(&mut client, "w3", json!({ "items": items })).await?;
        wait_end(&mut client, &run).await?;
        if round > 0 || rounds == 1 {
            walls.push(began.elapsed().as_secs_f64() * 1e3);
        }
    }
    figure("W3", TRANSPORT, "wall_ms", median(&mut walls), "ms");
    server.kill().await
}

/// Cold start to the first finished run, and memory.
async fn w4(rounds: usize) -> Outcome<()> {
    let mut firsts = Vec::new();
    for _ in 0..rounds {
        let folder = tempfile::tempdir_in(".")?;
        std::fs::write(folder.path().join("first.yaml"), chain("first", 1, BUILT_IN))?;
        let began = Instant::now();
        let mut child = Command::new(program()?)
            .args(["run", "./first.yaml", "--input", "n=1", "--json"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        // The result is printed when the run has ended; what follows is closing down.
        BufReader::new(stdout).lines().next_line().await?.ok_or("no result")?;
        firsts.push(began.elapsed().as_secs_f64() * 1e3);
        if !child.wait().await?.success() {
            return Err("the first run failed".into());
        }
    }
    figure("W4", TRANSPORT, "first_run_ms", median(&mut firsts), "ms");
    let folder = tempfile::tempdir_in(".")?;
    let server = Server::start(folder.path()).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    figure("W4", TRANSPORT, "rss_idle_mib", server.rss_mib()?, "MiB");
    server.deploy(chain("w2", SHORT_STEPS, BUILT_IN)).await?;
    start_short_runs(&server).await;
    idle(&mut server.client().await?).await?;
    figure("W4", TRANSPORT, "rss_after_mib", server.rss_mib()?, "MiB");
    server.kill().await
}

/// Kill -9 in the middle of W2, and what the next start makes of it.
async fn w5(rounds: usize) -> Outcome<()> {
    let (mut resumes, mut lost, mut twice) = (Vec::new(), 0, 0);
    for round in 0..rounds {
        let folder = tempfile::tempdir_in(".")?;
        let mut server = Server::start(folder.path()).await?;
        server.deploy(chain("w2", SHORT_STEPS, BUILT_IN)).await?;
        let pid = server.child.id().ok_or("the server has ended")?;
        let killed = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(120 + 40 * round as u64)).await;
            let done = Command::new("kill").args(["-9", &pid.to_string()]).status().await;
            (done.is_ok(), now())
        });
        let acknowledged = start_short_runs(&server).await;
        let (_, killed_at) = killed.await?;
        server.child.wait().await?;
        let server = Server::start(folder.path()).await?;
        let mut client = server.client().await?;
        idle(&mut client).await?;
        let seen = inspect(&mut client, &acknowledged, killed_at).await?;
        lost += seen.lost;
        twice += seen.twice;
        resumes.extend(seen.first_step_ms);
        server.kill().await?;
    }
    figure("W5", TRANSPORT, "resume_ms", median(&mut resumes), "ms");
    figure("W5", TRANSPORT, "runs_lost", f64::from(lost), "runs");
    figure("W5", TRANSPORT, "steps_twice", f64::from(twice), "steps");
    Ok(())
}

/// The state of the acknowledged runs after the kill.
pub(crate) struct Seen {
    /// Runs that were acknowledged and have not completed.
    pub(crate) lost: u32,
    /// Steps that were recorded more than once.
    pub(crate) twice: u32,
    /// From the kill to the end of the first step after it; `None` where nothing was left to do.
    pub(crate) first_step_ms: Option<f64>,
}

pub(crate) async fn inspect(client: &mut Client, runs: &[String], killed_at: Time) -> Outcome<Seen> {
    let mut seen = Seen { lost: 0, twice: 0, first_step_ms: None };
    let mut first: Option<Time> = None;
    for run in runs {
        let view = client.get(&format!("/v1/runs/{run}")).await.unwrap_or_default();
        seen.lost += u32::from(view["status"] != "completed");
        let page = client.get(&format!("/v1/runs/{run}/history?limit=1000")).await?;
        let entries = page["items"].as_array().cloned().unwrap_or_default();
        let ends = entries.iter().filter(|entry| entry["event"] == "step_completed");
        let mut tasks: Vec<&str> = ends.clone().filter_map(|entry| entry["task"].as_str()).collect();
        let recorded = tasks.len();
        tasks.sort_unstable();
        tasks.dedup();
        seen.twice += (recorded - tasks.len()) as u32;
        let times = ends.filter_map(|entry| Time::parse_rfc3339(entry["time"].as_str()?).ok());
        first = times.filter(|time| *time > killed_at).chain(first).min();
    }
    seen.first_step_ms = first.map(|time| time.since(killed_at).0 as f64 / 1e3);
    Ok(seen)
}

/// The wall clock.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(since.as_micros() as u64)
}
