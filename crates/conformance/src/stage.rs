//! A real server, a worker of one SDK, and the outside service.
//!
//! For: starting them, killing them, asking the server. Not for: what is done with them.
//! Invariant: no process outlives the stage.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::PathBuf,
    process::Child,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use consort_crash::binary;
use consort_testkit::{TempDir, http::Client, temp_dir};
use serde_json::{Value, json};

use crate::{
    ledger::Ledger,
    sdk::{Sdk, Setting, Worker, terminate},
};

/// How long anything may take: far longer than any slow machine needs.
const BOUND: Duration = Duration::from_mins(1);

/// Polls until `look` finds something.
///
/// # Errors The error of `look`, or after a minute that nothing was found.
pub fn wait<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>, String>) -> Result<T, String> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > BOUND {
            return Err(format!("waited {} s in vain for {what}", BOUND.as_secs()));
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Ports that the system does not give out by itself, so that nothing else takes one while a server is down.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// A free address on loopback that this process has not returned before.
fn free_address() -> Result<String, String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Processes begin at different places, so that two of them seldom look at the same ports.
    let first = std::process::id().wrapping_mul(97);
    for _ in PORTS {
        let number = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + (number % PORTS.len() as u32) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(format!("127.0.0.1:{port}"));
        }
    }
    Err("there is no free port".into())
}

/// See the module.
#[derive(Debug)]
pub struct Stage {
    sdk: Sdk,
    folder: TempDir,
    /// The outside service.
    pub ledger: Ledger,
    /// A client of the server's HTTP interface.
    pub client: Client,
    setting: Setting,
    server: Option<Child>,
    worker: Option<Worker>,
    /// Workers beside it, by their variants.
    beside: BTreeMap<&'static str, Worker>,
}

impl Stage {
    /// A stage on which nothing runs yet but the outside service, which holds these effects back.
    ///
    /// # Errors
    /// Where no port or file can be opened.
    pub fn open(sdk: Sdk, grace: &str, hold: &[String], credit: u32) -> Result<Self, String> {
        let folder = temp_dir();
        let address = free_address()?;
        let settings = format!(
            "listen = \"{address}\"\ngrace = \"{grace}\"\nheartbeat-timeout = \"60s\"\n\
             drain-timeout = \"250ms\"\npinned-wait = \"1s\"\n"
        );
        std::fs::write(folder.path().join("consort.toml"), settings).map_err(|error| error.to_string())?;
        let ledger = Ledger::open(hold).map_err(|error| error.to_string())?;
        let client = Client::new(address.parse().map_err(|_| format!("`{address}` is no address"))?);
        let setting = Setting {
            server: address,
            ledger: ledger.url(),
            credit,
            variant: String::new(),
            version: "1.0.0".to_owned(),
        };
        Ok(Self { sdk, folder, ledger, client, setting, server: None, worker: None, beside: BTreeMap::new() })
    }

    /// Where the worker's output goes.
    pub fn log(&self) -> PathBuf {
        self.folder.path().join("worker.log")
    }

    /// Starts the server, and waits until it answers.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start_server(&mut self) -> Result<(), String> {
        let mut child = binary::command(self.folder.path(), &["up"]).spawn().map_err(|error| error.to_string())?;
        let client = self.client.clone();
        let ready = wait("the server", || {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("the server ended with {status} before it was ready"));
            }
            Ok(client.get("/v1/workflows").ok().filter(|answer| answer.status == 200).map(|_| ()))
        });
        self.server = Some(child);
        ready
    }

    /// Kills the server as `kill -9` does.
    pub fn kill_server(&mut self) {
        if let Some(mut child) = self.server.take() {
            // Both fail only where the process has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends the server the signal to stop, and waits until it has ended.
    ///
    /// # Errors
    /// Where it does not end, or ends badly.
    pub fn stop_server(&mut self) -> Result<(), String> {
        let mut child = self.server.take().ok_or("there is no server")?;
        terminate(child.id())?;
        let status = wait("the server's end", || child.try_wait().map_err(|error| error.to_string()))?;
        status.success().then_some(()).ok_or(format!("the server ended with {status}"))
    }

    /// Starts a worker.
    ///
    /// # Errors
    /// Where something is missing to run it.
    pub fn start_worker(&mut self, variant: &str) -> Result<(), String> {
        let setting = Setting { variant: variant.to_owned(), ..self.setting.clone() };
        self.worker = Some(self.sdk.start(&setting, &self.log())?);
        Ok(())
    }

    /// Starts a worker beside others, with a version of the agent; one of that variant is killed first.
    ///
    /// # Errors
    /// Where something is missing to run it.
    pub fn deploy(&mut self, variant: &'static str, version: &str) -> Result<(), String> {
        self.withdraw(variant);
        let setting = Setting { variant: variant.to_owned(), version: version.to_owned(), ..self.setting.clone() };
        self.beside.insert(variant, self.sdk.start(&setting, &self.log())?);
        Ok(())
    }

    /// Kills the worker of a variant, as `kill -9` does.
    pub fn withdraw(&mut self, variant: &str) {
        self.beside.remove(variant);
    }

    /// Kills the worker as `kill -9` does.
    pub fn kill_worker(&mut self) {
        self.worker = None;
    }

    /// The worker.
    ///
    /// # Errors
    /// Where there is none.
    pub fn worker(&mut self) -> Result<&mut Worker, String> {
        self.worker.as_mut().ok_or_else(|| "there is no worker".to_owned())
    }

    /// Starts a run of a workflow; its id.
    ///
    /// # Errors
    /// As [`Stage::ask`].
    pub fn start_run(&self, workflow: &str, input: &Value) -> Result<String, String> {
        let started = self.ask("POST", "/v1/runs", Some(&json!({ "workflow": workflow, "input": input })))?;
        Ok(started["run"].as_str().ok_or("a start names its run")?.to_owned())
    }

    /// The state of a step of a run; empty where it has none.
    ///
    /// # Errors
    /// As [`Stage::ask`].
    pub fn step_state(&self, run: &str, step: &str) -> Result<String, String> {
        let page = self.ask("GET", &format!("/v1/runs/{run}/steps"), None)?;
        let steps = page["items"].as_array().ok_or("steps are a list")?;
        let found = steps.iter().find(|found| found["path"] == step);
        Ok(found.and_then(|found| found["state"].as_str()).unwrap_or_default().to_owned())
    }

    /// The answer of the server; a refusal is an error.
    ///
    /// # Errors Where the server has ended, or refuses.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        self.ask_under(None, method, path, body)
    }

    /// The same under an idempotency key.
    ///
    /// # Errors
    /// Where the server has ended, or refuses.
    pub fn ask_under(
        &self,
        key: Option<&str>,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, String> {
        let client = self.client.clone();
        let client = if let Some(key) = key { client.header("idempotency-key", key) } else { client };
        let answer = client.request(method, path, body).map_err(|error| format!("{path}: {error}"))?;
        if !(200..300).contains(&answer.status) {
            return Err(format!("{path}: {}: {}", answer.status, answer.text()));
        }
        Ok(if answer.body.is_empty() { Value::Null } else { answer.json() })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.worker = None;
        self.beside.clear();
        self.kill_server();
    }
}
