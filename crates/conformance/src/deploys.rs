//! Three deploys of code with money in it, while its runs are in flight and everything is killed.
//!
//! For: showing that a deploy does an effect neither twice nor not at all: a renamed effect beside the old code, calls in
//! another order under the old version, and a patched branch. Not for: exact moments (the scenarios have those).
//! Invariant: what is judged is the outside service alone; an unknown payment is decided by what that service has.

use consort_crash::Chance;
use serde_json::{Value, json};

use crate::{
    sdk::{Sdk, tail},
    stage::{Stage, wait},
};

const WORKFLOW: &str = "
workflow: orders
retry: { losses: 50 }
steps:
  it: { capability: conform.order }
output: ${{ steps.it.output }}
";

/// Orders that each stage of the trial begins.
const ORDERS: usize = 4;

/// A deploy: its variant of the code, and the version that it gives itself.
type Deploy = (&'static str, &'static str);

/// What runs first.
const FIRST: Deploy = ("first", "1.0.0");
/// An effect has another name: it runs beside the first, with a version of its own.
const RENAMED: Deploy = ("renamed", "2.0.0");
/// The payment comes before the reservation, under the version of the first: what should not be done.
const SWAPPED: Deploy = ("swapped", "1.0.0");
/// A gift is added by a patch, in a new version.
const PATCHED: Deploy = ("patched", "1.1.0");

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Orders that were completed.
    pub orders: usize,
    /// Processes that were killed.
    pub kills: u32,
    /// Tasks that waited because their code did not fit.
    pub diverged: usize,
    /// Payments whose outcome was unknown, and was looked up.
    pub unknown: u32,
    /// Reservations and mails that were requested again under their key.
    pub repeated: u32,
    /// Gifts.
    pub gifts: usize,
}

/// Deploys three times, killing something after each.
///
/// # Errors
/// What was lost, or done twice.
pub fn deploys(sdk: Sdk, seed: u64) -> Result<Seen, String> {
    let stage = Stage::open(sdk, "1s", &[], 8)?;
    let log = stage.log();
    let mut trial = Trial { stage, chance: Chance::new(seed), up: Vec::new(), seen: Seen::default() };
    let outcome = trial.carry_out();
    outcome.map_err(|error| format!("seed {seed}, {}: {error}\n  the workers said:\n{}", sdk.name(), tail(&log)))
}

struct Trial {
    stage: Stage,
    chance: Chance,
    /// What is deployed.
    up: Vec<Deploy>,
    seen: Seen,
}

impl Trial {
    fn carry_out(&mut self) -> Result<Seen, String> {
        self.stage.start_server()?;
        self.deploy(FIRST)?;
        self.stage.ask("POST", "/v1/workflows", Some(&json!({ "source": WORKFLOW })))?;
        let first = self.orders()?;
        self.deploy(RENAMED)?;
        let beside = self.orders()?;
        self.complete(&beside)?;
        self.withdraw(RENAMED);
        self.withdraw(FIRST);
        let (swapped, rest) = first.split_at(ORDERS / 2);
        self.deploy_what_does_not_fit(swapped)?;
        self.deploy(FIRST)?;
        self.complete(swapped)?;
        self.withdraw(FIRST);
        self.deploy(PATCHED)?;
        let patched = self.orders()?;
        self.complete(rest)?;
        self.complete(&patched)?;
        self.judge(patched.len())?;
        Ok(self.seen)
    }

    fn deploy(&mut self, deploy: Deploy) -> Result<(), String> {
        self.up.push(deploy);
        self.stage.deploy(deploy.0, deploy.1)
    }

    fn withdraw(&mut self, deploy: Deploy) {
        self.up.retain(|up| *up != deploy);
        self.stage.withdraw(deploy.0);
    }

    /// Begins orders, kills something after some effects, and waits until all of them wait to be packed.
    fn orders(&mut self) -> Result<Vec<String>, String> {
        let begin = |_| self.stage.start_run("orders", &json!({}));
        let runs: Vec<String> = (0..ORDERS).map(begin).collect::<Result<_, String>>()?;
        for _ in 0..2 {
            self.kill(&runs, "suspended")?;
        }
        self.await_all(&runs, "suspended")?;
        Ok(runs)
    }

    /// Has orders packed, kills something on the way, and waits until they are done.
    fn complete(&mut self, runs: &[String]) -> Result<(), String> {
        self.pack(runs)?;
        self.kill(runs, "completed")?;
        self.await_all(runs, "completed")?;
        self.seen.orders += runs.len();
        Ok(())
    }

    fn pack(&self, runs: &[String]) -> Result<(), String> {
        runs.iter().try_for_each(|run| {
            self.stage.ask("POST", &format!("/v1/runs/{run}/signals/packed"), Some(&json!("box"))).map(drop)
        })
    }

    /// Code in another order under the version of the runs in flight: they wait, and nothing is done.
    fn deploy_what_does_not_fit(&mut self, runs: &[String]) -> Result<(), String> {
        let before = self.stage.ledger.total();
        self.deploy(SWAPPED)?;
        self.pack(runs)?;
        self.await_all(runs, "diverged")?;
        self.seen.diverged += runs.len();
        self.withdraw(SWAPPED);
        let done = self.stage.ledger.total() - before;
        if done == 0 { Ok(()) } else { Err(format!("code that does not fit did {done} effects")) }
    }

    /// Kills something that runs, some effects later or when the orders are in the state, and starts it again.
    fn kill(&mut self, runs: &[String], state: &str) -> Result<(), String> {
        let until = self.stage.ledger.total() + 1 + self.chance.below(2 * ORDERS) as u32;
        wait("effects", || {
            self.seen.unknown += decide(&self.stage)?;
            Ok((self.stage.ledger.total() >= until || all(&self.stage, runs, state)?).then_some(()))
        })?;
        self.seen.kills += 1;
        let one = self.chance.below(self.up.len() + 1);
        if let Some((variant, version)) = self.up.get(one) {
            return self.stage.deploy(variant, version);
        }
        self.stage.kill_server();
        self.stage.start_server()
    }

    fn await_all(&mut self, runs: &[String], state: &str) -> Result<(), String> {
        wait(&format!("{} orders that are {state}", runs.len()), || {
            self.seen.unknown += decide(&self.stage)?;
            Ok(all(&self.stage, runs, state)?.then_some(()))
        })
    }

    /// Every order reserved, paid and mailed once, each effect under one key; what a patch adds is done by its own runs.
    fn judge(&mut self, patched: usize) -> Result<(), String> {
        let ledger = &self.stage.ledger;
        self.seen.gifts = ledger.keys("gift");
        for (effect, count) in [("reserve", self.seen.orders), ("pay", self.seen.orders), ("mail", self.seen.orders)] {
            if ledger.keys(effect) != count {
                return Err(format!("`{effect}` came with {} keys for {count} orders", ledger.keys(effect)));
            }
        }
        if self.seen.gifts != patched {
            return Err(format!("{} gifts for {patched} orders that began with the patch", self.seen.gifts));
        }
        if ledger.most_under_one_key("pay") > 1 {
            return Err("a payment was requested twice".to_owned());
        }
        self.seen.repeated = ledger.count("reserve") + ledger.count("mail") - 2 * self.seen.orders as u32;
        Ok(())
    }
}

/// Whether the step of each run is in a state.
fn all(stage: &Stage, runs: &[String], wanted: &str) -> Result<bool, String> {
    for run in runs {
        if stage.step_state(run, "it")? != wanted {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Decides every unknown payment as an operator does: by what the outside service has under its key. How many there were.
fn decide(stage: &Stage) -> Result<u32, String> {
    let inbox = stage.ask("GET", "/v1/inbox", None)?;
    let items = inbox["items"].as_array().ok_or("the inbox is a list")?;
    let unknown: Vec<&Value> = items.iter().filter(|item| item["kind"] == "unknown_outcome").collect();
    for item in &unknown {
        let (run, task) =
            (item["run"].as_str().ok_or("an item has a run")?, item["task"].as_str().ok_or("and a task")?);
        let step = stage.ask("GET", &format!("/v1/runs/{run}/steps/{task}"), None)?;
        let key = step["idempotency_key"].as_str().ok_or("a write has a key")?;
        let decision = match stage.ledger.count_under("pay", key) {
            0 => json!({ "decision": "retry", "by": "ann", "comment": "the service has no such payment" }),
            count => json!({ "decision": "done", "by": "ann", "output": { "count": count } }),
        };
        stage.ask("POST", &format!("/v1/inbox/{task}"), Some(&decision))?;
    }
    Ok(unknown.len() as u32)
}
