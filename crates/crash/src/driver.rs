//! The client: starts runs, repeats starts, sends signals, decides inbox items, and reads.
//!
//! For: keeping a server busy, and remembering everything that it acknowledged. Not for: ending it.
//! Invariant: what was acknowledged is never taken back: each later answer is held against what is remembered.

use std::io;

use consort_testkit::http::Client;
use serde_json::{Value, json};

use crate::{
    Chance,
    ask::{ask, done},
    sharer::Sharer,
    workload::{Case, Ended, NUMBERS, WORKFLOWS},
};

/// Runs that are in flight at once.
const OPEN_MAX: usize = 18;

/// What a client remembers.
#[derive(Debug)]
pub struct Driver {
    /// Every run that it requested.
    pub cases: Vec<Case>,
    /// Acknowledged commands.
    pub acknowledged: u64,
    /// Starts that were answered with the run that an earlier start had made.
    pub repeated: u64,
    /// Decisions that were acknowledged.
    pub decided: u64,
    /// Clients that share state.
    pub sharer: Sharer,
    /// How many workflows were acknowledged.
    deployed: usize,
    chance: Chance,
    prefix: &'static str,
    /// Whether new runs are started.
    pub starts: bool,
}

impl Driver {
    /// A client whose keys begin with `prefix`.
    pub fn new(seed: u64, prefix: &'static str) -> Self {
        let chance = Chance::new(seed);
        let sharer = Sharer::default();
        Self {
            cases: Vec::new(),
            acknowledged: 0,
            repeated: 0,
            decided: 0,
            sharer,
            deployed: 0,
            chance,
            prefix,
            starts: true,
        }
    }

    /// One case of each workflow and number, instead of new ones by chance.
    #[must_use]
    pub fn one_of_each(mut self) -> Self {
        self.starts = false;
        for workflow in WORKFLOWS {
            let fresh = (0..NUMBERS).map(|n| Case::new(*workflow, n, format!("{}-{}-{n}", self.prefix, workflow.name)));
            self.cases.extend(fresh);
        }
        self
    }

    /// Makes the workflows known that no server has acknowledged yet.
    pub fn deploy_once(&mut self, client: &Client) -> io::Result<()> {
        while let Some(workflow) = WORKFLOWS.get(self.deployed) {
            if ask(client, "/v1/workflows", Some(&json!({ "source": workflow.source })))?.is_some() {
                self.acknowledged += 1;
                self.deployed += 1;
            }
        }
        Ok(())
    }

    /// Cases that have not been seen to end.
    pub fn open(&self) -> usize {
        self.cases.iter().filter(|case| case.ended.is_none()).count()
    }

    /// One action. An error means that the server has ended.
    pub fn act(&mut self, client: &Client) -> io::Result<()> {
        match self.chance.below(15) {
            0..=3 if self.starts && self.open() < OPEN_MAX => {
                let workflow = WORKFLOWS[self.chance.below(WORKFLOWS.len())];
                let number = self.chance.number() % NUMBERS;
                self.cases.push(Case::new(workflow, number, format!("{}-{}", self.prefix, self.cases.len())));
                self.start(client, self.cases.len() - 1)
            }
            0..=4 => self.start_again(client),
            5 | 6 => self.decide(client),
            7 | 8 => self.tell(client),
            9..=11 => self.sharer.act(client, &mut self.chance),
            _ => self.look(client),
        }
    }

    /// Repeats a start: of an unacknowledged case, where there is one.
    fn start_again(&mut self, client: &Client) -> io::Result<()> {
        let unknown = self.cases.iter().position(|case| case.run.is_none());
        match unknown.or_else(|| (!self.cases.is_empty()).then(|| self.chance.below(self.cases.len()))) {
            Some(at) => self.start(client, at),
            None => Ok(()),
        }
    }

    fn start(&mut self, client: &Client, at: usize) -> io::Result<()> {
        let case = &mut self.cases[at];
        let client = client.clone().header("idempotency-key", &case.key);
        let Some(answer) = ask(&client, "/v1/runs", Some(&case.request()))? else { return Ok(()) };
        let run = answer["run"].as_str().expect("a start names its run").to_owned();
        let deduplicated = answer["deduplicated"].as_bool().expect("the answer to a start has `deduplicated`");
        if let Some(known) = &case.run {
            assert_eq!(*known, run, "key `{}` has two runs", case.key);
            assert!(deduplicated, "run {run} of key `{}` was forgotten", case.key);
        }
        case.run = Some(run);
        self.acknowledged += 1;
        self.repeated += u64::from(deduplicated);
        Ok(())
    }

    /// Decides what waits in the inbox.
    fn decide(&mut self, client: &Client) -> io::Result<()> {
        let Some(inbox) = ask(client, "/v1/inbox?limit=50", None)? else { return Ok(()) };
        for item in inbox["items"].as_array().expect("the inbox is a list") {
            let decision = match item["kind"].as_str() {
                Some("approval") => json!({ "decision": "approve", "by": "ann" }),
                // All write steps sleep, so what one made is known without having seen it.
                _ if self.chance.percent(50) => {
                    json!({ "decision": "done", "by": "ann", "output": { "slept": "14ms" } })
                }
                _ => json!({ "decision": "retry", "by": "ann" }),
            };
            let task = item["task"].as_str().expect("an item has a task");
            if ask(client, &format!("/v1/inbox/{task}"), Some(&decision))?.is_some() {
                self.acknowledged += 1;
                self.decided += 1;
            }
        }
        Ok(())
    }

    /// Sends the signal that a run waits for, or cancels a run that would never end.
    fn tell(&mut self, client: &Client) -> io::Result<()> {
        let Some(at) = self.pick(|case| {
            case.run.is_some() && case.ended.is_none() && matches!(case.workflow.name, "waits" | "endless")
        }) else {
            return Ok(());
        };
        let case = &mut self.cases[at];
        let run = case.run.clone().unwrap_or_default();
        if case.workflow.name == "endless" {
            if ask(client, &format!("/v1/runs/{run}/cancel"), Some(&json!({ "reason": "enough" })))?.is_some() {
                case.cancelled = true;
                self.acknowledged += 1;
            }
            return Ok(());
        }
        case.signals.1 += 1;
        if ask(client, &format!("/v1/runs/{run}/signals/go"), Some(&json!({ "word": case.number })))?.is_some() {
            case.signals.0 += 1;
            self.acknowledged += 1;
        }
        Ok(())
    }

    /// Reads a run: an open one, or seldom one that has ended, which must not have changed.
    fn look(&mut self, client: &Client) -> io::Result<()> {
        let ended = self.chance.percent(10);
        let Some(at) = self.pick(|case| case.run.is_some() && case.ended.is_some() == ended) else { return Ok(()) };
        let case = &mut self.cases[at];
        let run = case.run.clone().unwrap_or_default();
        let answer = client.get(&format!("/v1/runs/{run}"))?;
        assert_ne!(answer.status, 404, "run {run} was acknowledged, and is missing");
        if !done(&format!("run {run}"), &answer) {
            return Ok(());
        }
        let seen = ended_as(&answer.json());
        if let Some(before) = &case.ended {
            assert_eq!(seen.as_ref(), Some(before), "run {run} had ended, and has changed");
        }
        case.ended = seen;
        Ok(())
    }

    fn pick(&mut self, fits: impl Fn(&Case) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.cases.len()).filter(|at| fits(&self.cases[*at])).collect();
        (!fitting.is_empty()).then(|| fitting[self.chance.below(fitting.len())])
    }
}

/// How a run ended; `None` while it is active.
pub fn ended_as(run: &Value) -> Option<Ended> {
    let status = run["status"].as_str().expect("a run has a status").to_owned();
    let over = matches!(status.as_str(), "completed" | "failed" | "cancelled");
    over.then(|| Ended { status, output: run["output"].clone(), code: run["error"]["code"].clone() })
}
