//! Worker and server killed in turn, while code-first workflows run.
//!
//! For: showing that nothing is lost and no `write` is done twice, whatever dies. Not for: exact moments (the scenarios
//! have those).
//! Invariant: the moments follow from the seed and from what the outside service has seen, never from a clock.

use consort_crash::Chance;
use serde_json::{Value, json};

use crate::{
    sdk::{Sdk, tail},
    stage::{Stage, wait},
};

/// Runs that are in flight.
const RUNS: usize = 12;

/// What is run: effects inside code, by calls, and as steps; and one that must not be repeated.
const WORKFLOW: &str = "
workflow: fire
retry: { losses: 50 }
steps:
  flow: { capability: conform.flow, with: { word: w } }
  branches: { capability: conform.branches }
  step: { capability: conform.effect, with: { name: step } }
  write: { capability: conform.write, with: { name: write }, needs: [step] }
output:
  flow: ${{ steps.flow.output }}
  branches: ${{ steps.branches.output }}
  write: ${{ steps.write.output }}
";

/// Effects that may be repeated, and how many tasks of a run request each.
const REPEATABLE: [&str; 9] = ["first", "left", "right", "last", "left-1", "left-2", "right-1", "right-2", "step"];

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Workers that were killed.
    pub workers_killed: u32,
    /// Servers that were killed.
    pub servers_killed: u32,
    /// Runs that ended.
    pub runs: usize,
    /// Effects that were requested.
    pub effects: u32,
    /// Of these: repetitions of effects that may be repeated.
    pub repeated: u32,
    /// Writes whose outcome was unknown and had to be decided.
    pub unknown: u32,
}

/// Kills worker and server in turn, `kills` times in all, and judges.
///
/// # Errors
/// What was lost, or done twice.
pub fn fire(sdk: Sdk, seed: u64, kills: u32) -> Result<Seen, String> {
    let mut stage = Stage::open(sdk, "1s", &[], 8)?;
    let log = stage.log();
    let outcome = burn(&mut stage, seed, kills);
    outcome.map_err(|error| format!("seed {seed}, {}: {error}\n  the worker said:\n{}", sdk.name(), tail(&log)))
}

fn burn(stage: &mut Stage, seed: u64, kills: u32) -> Result<Seen, String> {
    let mut chance = Chance::new(seed);
    stage.start_server()?;
    stage.start_worker("")?;
    stage.ask("POST", "/v1/workflows", Some(&json!({ "source": WORKFLOW })))?;
    let runs = (0..RUNS).map(|_| start(stage)).collect::<Result<Vec<String>, String>>()?;
    let mut found = Seen { runs: RUNS, ..Seen::default() };
    for kill in 0..kills {
        // Some effects later: in the middle of something, wherever that is.
        let until = stage.ledger.total() + 1 + chance.below(12) as u32;
        wait("effects, or the end", || {
            found.unknown += decide(stage)?;
            Ok((stage.ledger.total() >= until || all_ended(stage, &runs)?.is_some()).then_some(()))
        })?;
        if kill % 2 == 0 {
            stage.kill_worker();
            found.workers_killed += 1;
            stage.start_worker("")?;
        } else {
            stage.kill_server();
            found.servers_killed += 1;
            stage.start_server()?;
        }
    }
    let ended = wait("the end of all runs", || {
        found.unknown += decide(stage)?;
        all_ended(stage, &runs)
    })?;
    ended.iter().try_for_each(judge)?;
    judge_effects(stage, &mut found)?;
    Ok(found)
}

/// Starts a run, and sends what it will wait for.
fn start(stage: &Stage) -> Result<String, String> {
    let run = stage.start_run("fire", &json!({}))?;
    stage.ask("POST", &format!("/v1/runs/{run}/signals/go"), Some(&json!("go")))?;
    Ok(run)
}

/// Decides every unknown outcome: it was done. How many there were.
fn decide(stage: &Stage) -> Result<u32, String> {
    let inbox = stage.ask("GET", "/v1/inbox", None)?;
    let items = inbox["items"].as_array().ok_or("the inbox is a list")?;
    for item in items {
        let task = item["task"].as_str().ok_or("an item has a task")?;
        let decision = json!({ "decision": "done", "by": "ann", "output": { "count": 1 } });
        stage.ask("POST", &format!("/v1/inbox/{task}"), Some(&decision))?;
    }
    Ok(items.len() as u32)
}

/// The runs, once all have ended.
fn all_ended(stage: &Stage, runs: &[String]) -> Result<Option<Vec<Value>>, String> {
    let mut ended = Vec::with_capacity(runs.len());
    for run in runs {
        let run = stage.ask("GET", &format!("/v1/runs/{run}"), None)?;
        match run["status"].as_str() {
            Some("completed" | "failed" | "cancelled") => ended.push(run),
            _ => return Ok(None),
        }
    }
    Ok(Some(ended))
}

/// Every run ends well, with what an undisturbed one gives; counts alone may be higher.
fn judge(run: &Value) -> Result<(), String> {
    let output = &run["output"];
    let flow = &output["flow"];
    let right = run["status"] == "completed"
        && flow["word"] == "w"
        && flow["echoed"] == 1
        && flow["go"] == "go"
        && flow["counts"].as_array().is_some_and(|counts| counts.len() == 2)
        && output["branches"]["left"][1] == "left"
        && output["branches"]["right"][1] == "right"
        && output["write"]["count"].is_u64();
    right.then_some(()).ok_or_else(|| format!("a run ended wrongly: {run}"))
}

fn judge_effects(stage: &Stage, found: &mut Seen) -> Result<(), String> {
    found.effects = stage.ledger.total();
    for effect in REPEATABLE {
        // At least once for each run, under one key for each.
        let (count, keys) = (stage.ledger.count(effect), stage.ledger.keys(effect));
        if keys != RUNS {
            return Err(format!("the effect `{effect}` came with {keys} keys for {RUNS} runs"));
        }
        found.repeated += count - RUNS as u32;
    }
    let (count, most) = (stage.ledger.keys("write"), stage.ledger.most_under_one_key("write"));
    if most > 1 || count > RUNS {
        return Err(format!("a write was done {most} times ({count} keys for {RUNS} runs)"));
    }
    Ok(())
}
