//! Runs one scenario against one SDK.
//!
//! For: executing the actions of the scenario, and checking the result. Not for: the list (see `scenario`).
//! Invariant: every wait ends when what it waits for is there, or fails with its name; nothing is timed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{
    scenario::{Expect, Happening, Scenario},
    sdk::{Sdk, Worker, tail},
    stage::{Stage, wait},
};

/// A scenario that is being run.
struct Scene<'a> {
    scenario: &'a Scenario,
    stage: Stage,
    run: String,
    live: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
    watcher: Option<JoinHandle<()>>,
}

/// Runs a scenario to its end.
///
/// # Errors Where something differs from the scenario: what, and the end of the worker's log.
pub fn run(scenario: &Scenario, sdk: Sdk) -> Result<(), String> {
    let mut scene = Scene::open(scenario, sdk)?;
    let outcome = scene.play();
    scene.over.store(true, Ordering::Release);
    let log = scene.stage.log();
    outcome.map_err(|error| format!("{} in {}: {error}\n  the worker said:\n{}", scenario.name, sdk.name(), tail(&log)))
}

impl<'a> Scene<'a> {
    fn open(scenario: &'a Scenario, sdk: Sdk) -> Result<Self, String> {
        // A worker that reconnects needs time for it; one that was killed does not reconnect.
        let server_dies =
            scenario.happenings()?.iter().any(|one| matches!(one, Happening::KillServer | Happening::StopServer));
        let grace = if server_dies { "40s" } else { "250ms" };
        let stage = Stage::open(sdk, grace, &scenario.hold, scenario.credit.unwrap_or(8))?;
        let (live, over) = (Arc::default(), Arc::default());
        Ok(Self { scenario, stage, run: String::new(), live, over, watcher: None })
    }

    fn play(&mut self) -> Result<(), String> {
        self.stage.start_server()?;
        self.stage.start_worker("")?;
        self.stage.ask("POST", "/v1/workflows", Some(&json!({ "source": self.scenario.workflow() })))?;
        self.run = self.stage.start_run(&self.scenario.name, &self.scenario.input()?)?;
        for happening in self.scenario.happenings()? {
            self.happen(&happening).map_err(|error| format!("{happening:?}: {error}"))?;
        }
        self.judge()
    }

    fn happen(&mut self, happening: &Happening) -> Result<(), String> {
        let run = format!("/v1/runs/{}", self.run);
        match happening {
            Happening::AwaitEffect(name, count) => self.until(|scene| Ok(scene.stage.ledger.count(name) >= *count)),
            Happening::Release(name) => {
                self.stage.ledger.release(name);
                Ok(())
            }
            Happening::AwaitState(step, state) => self.until(|scene| Ok(scene.state(step)? == *state)),
            Happening::RefusedSignal(name, code, payload) => {
                let refusal = self.stage.ask("POST", &format!("{run}/signals/{name}"), Some(payload)).err();
                let told = refusal.unwrap_or_default();
                if told.contains(code) { Ok(()) } else { Err(format!("it was not refused with {code}: `{told}`")) }
            }
            Happening::AwaitTitle(title) => self.until(|scene| {
                let tree = scene.stage.ask("GET", &format!("{run}/tree"), None)?;
                Ok(tree.as_array().is_some_and(|nodes| nodes.iter().any(|node| has_title(node, title))))
            }),
            Happening::Signal(name, payload) => {
                self.stage.ask("POST", &format!("{run}/signals/{name}"), Some(payload)).map(drop)
            }
            Happening::Approve(yes) => {
                let decision = if *yes { "approve" } else { "reject" };
                self.decide(&json!({ "decision": decision, "by": "ann", "comment": "fine" }))
            }
            Happening::Resolve(output) => self.decide(&json!({ "decision": "done", "by": "ann", "output": output })),
            Happening::Fail => self.decide(&json!({ "decision": "fail", "by": "ann" })),
            Happening::Cancel => {
                self.stage.ask("POST", &format!("{run}/cancel"), Some(&json!({ "reason": "enough" }))).map(drop)
            }
            Happening::KillWorker => {
                self.stage.kill_worker();
                Ok(())
            }
            Happening::StartWorker(variant) => self.stage.start_worker(variant),
            Happening::StoppingWorker => self.stage.worker()?.stop(),
            Happening::AwaitWorkerEnd => {
                let worker = self.stage.worker()?;
                let status = wait("the worker's end", || Ok(worker.ended()))?;
                status.success().then_some(()).ok_or(format!("the worker ended with {status}"))
            }
            Happening::KillServer => {
                self.stage.kill_server();
                Ok(())
            }
            Happening::StopServer => self.stage.stop_server(),
            Happening::StartServer => self.stage.start_server(),
            Happening::Watch => self.watch(),
            Happening::AwaitLive(count) => self.until(|scene| Ok(scene.live.lock().len() >= *count)),
            asked => self.ask(asked, &run),
        }
    }

    /// What code exposes and answers.
    fn ask(&mut self, asked: &Happening, run: &str) -> Result<(), String> {
        match asked {
            Happening::SendUpdate(name, id, input) => {
                self.stage.ask_under(Some(id), "POST", &format!("{run}/updates/{name}"), Some(input)).map(drop)
            }
            Happening::RefusedUpdate(name, code, input) => {
                let refusal = self.stage.ask("POST", &format!("{run}/updates/{name}"), Some(input)).err();
                let told = refusal.unwrap_or_default();
                if told.contains(code) { Ok(()) } else { Err(format!("it was not refused with {code}: `{told}`")) }
            }
            Happening::AwaitUpdate(id, state, answer) => {
                let found = self.stage.ask("GET", &format!("{run}/sent-updates/{id}?wait=30s"), None)?;
                let same = found["state"] == state.as_str() && found["value"] == *answer;
                if same { Ok(()) } else { Err(format!("the update is {found}")) }
            }
            Happening::AwaitValue(name, value) => self.until(|scene| {
                let values = scene.stage.ask("GET", &format!("{run}/values"), None)?;
                let has = |found: &Value| found["name"] == name.as_str() && found["value"] == *value;
                Ok(values["items"].as_array().is_some_and(|items| items.iter().any(has)))
            }),
            Happening::AwaitLabel(label, value) => {
                self.until(|scene| Ok(scene.stage.ask("GET", run, None)?["labels"][label] == value.as_str()))
            }
            other => Err(format!("{other:?} asks nothing")),
        }
    }

    /// Waits until it holds; a worker that has ended by itself ends the waiting.
    fn until(&mut self, holds: impl Fn(&Self) -> Result<bool, String>) -> Result<(), String> {
        wait("it", || {
            if let Some(status) = self.stage.worker().ok().and_then(Worker::ended) {
                return Err(format!("the worker has ended with {status}"));
            }
            Ok(holds(self)?.then_some(()))
        })
    }

    /// The state of a step of the run.
    fn state(&self, step: &str) -> Result<String, String> {
        self.stage.step_state(&self.run, step)
    }

    /// Decides the first item of the inbox.
    fn decide(&self, decision: &Value) -> Result<(), String> {
        let task = wait("something in the inbox", || {
            let inbox = self.stage.ask("GET", "/v1/inbox", None)?;
            Ok(inbox["items"][0]["task"].as_str().map(str::to_owned))
        })?;
        self.stage.ask("POST", &format!("/v1/inbox/{task}"), Some(decision)).map(drop)
    }

    /// Collects live messages in a thread of its own. The stream ends with the run, or with the server.
    fn watch(&mut self) -> Result<(), String> {
        let events =
            self.stage.client.events(&format!("/v1/runs/{}/watch", self.run), None).map_err(|e| e.to_string())?;
        let (live, over) = (Arc::clone(&self.live), Arc::clone(&self.over));
        self.watcher = Some(std::thread::spawn(move || {
            for event in events.filter(|event| event.event == "progress") {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
                note(&mut live.lock(), &data);
            }
        }));
        Ok(())
    }

    fn judge(&self) -> Result<(), String> {
        let expect = &self.scenario.expect;
        let run = wait("the end of the run", || {
            let run = self.stage.ask("GET", &format!("/v1/runs/{}", self.run), None)?;
            let over = matches!(run["status"].as_str(), Some("completed" | "failed" | "cancelled"));
            Ok(over.then_some(run))
        })?;
        judge_run(expect, &run)?;
        for (effect, count) in &expect.effects {
            let found = self.stage.ledger.count(effect);
            if found != *count {
                return Err(format!("the effect `{effect}` was requested {found} times, not {count}"));
            }
        }
        for (effect, least) in &expect.effects_min {
            let found = self.stage.ledger.count(effect);
            if found < *least {
                return Err(format!("the effect `{effect}` was requested {found} times, not at least {least}"));
            }
        }
        // However often an effect was tried, it was under one key, unless it belongs to several tasks.
        let mut single = expect.effects.keys().filter(|_| self.scenario.credit.is_none());
        if let Some(effect) = single.find(|effect| self.stage.ledger.keys(effect) > 1) {
            return Err(format!("the effect `{effect}` came with {} idempotency keys", self.stage.ledger.keys(effect)));
        }
        if let Some(most) = expect.together.filter(|most| self.stage.ledger.most_together() > *most) {
            return Err(format!("{} effects were held at once, not {most}", self.stage.ledger.most_together()));
        }
        self.judge_live()
    }

    /// Partial output comes in its order; messages beside it may come at any time.
    fn judge_live(&self) -> Result<(), String> {
        let (live, expected) = (self.live.lock(), &self.scenario.expect.live);
        let parts = |all: &[String], messages: bool| -> Vec<String> {
            all.iter().filter(|one| one.starts_with("message ") == messages).cloned().collect()
        };
        let same = [true, false].into_iter().all(|messages| parts(&live, messages) == parts(expected, messages));
        if expected.is_empty() || same { Ok(()) } else { Err(format!("watchers saw {live:?}, not {expected:?}")) }
    }
}

/// Whether a step, or one below it, is called so, or waits for something that is.
fn has_title(node: &Value, title: &str) -> bool {
    let list = |member: &str| node[member].as_array().map(Vec::as_slice).unwrap_or_default();
    node["title"] == title
        || list("waits_for").iter().any(|wait| wait["title"] == title)
        || list("children").iter().any(|child| has_title(child, title))
}

/// Keeps a live message. Pieces of text may be cut anywhere, so they are put together.
fn note(live: &mut Vec<String>, said: &Value) {
    match (said["kind"].as_str(), live.last_mut()) {
        (Some("message"), _) => live.push(format!("message {}", said["message"].as_str().unwrap_or_default())),
        (Some("text"), Some(last)) if last.starts_with("text ") => {
            last.push_str(said["text"].as_str().unwrap_or_default());
        }
        (Some("text"), _) => live.push(format!("text {}", said["text"].as_str().unwrap_or_default())),
        _ => live.push(format!("json {}", said["json"])),
    }
}

fn judge_run(expect: &Expect, run: &Value) -> Result<(), String> {
    if run["status"] != expect.status.as_str() {
        return Err(format!("the run is {}, not {}: {}", run["status"], expect.status, run["error"]));
    }
    if let Some(output) = &expect.output {
        let wanted = crate::scenario::json(output)?;
        if run["output"] != wanted {
            return Err(format!("the output is {}, not {wanted}", run["output"]));
        }
    }
    if let Some(code) = &expect.code
        && run["error"]["code"] != code.as_str()
    {
        return Err(format!("the error is {}, not {code}", run["error"]));
    }
    let message = run["error"]["message"].as_str().unwrap_or_default();
    match expect.message.iter().find(|part| !message.contains(*part)) {
        Some(part) => Err(format!("the error `{message}` does not contain `{part}`")),
        None => Ok(()),
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        self.stage.kill_server();
        if let Some(watcher) = self.watcher.take() {
            // Its stream ended with the server.
            let _ = watcher.join();
        }
    }
}
