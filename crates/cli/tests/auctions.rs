//! Auctions by real agents, from the command line, and what is left when the server or a winner is killed.
//!
//! For: what people see, on the real binary. Not for: which bid is best (the core has that).
//! Invariant: as in `common`; an agent ends its work only when the test lets it.

mod common;
#[path = "common/home.rs"]
mod home;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use consort_sdk::{Agent, Capability, Remote, TaskError, Worker};
use consort_testkit::wait_until;
use consort_types::EffectClass;
use home::Home;
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::Semaphore};

const FLOW: &str = "workflow: solve
steps:
  solve:
    capability: puzzle.solve
    with: { size: 9 }
    assign: { auction: { wait: 1h } }
output: ${{ steps.solve.output }}
";

/// A bidder, connected until the value is dropped.
struct Bidder {
    runtime: Runtime,
    /// How often it began to solve.
    begun: Arc<AtomicU32>,
    /// Lets it end.
    gate: Arc<Semaphore>,
}

impl Bidder {
    /// An agent that bids this, and gives its name as the answer, or an error where it has none.
    fn new(home: &Home, name: &'static str, bid: Value, solves: bool) -> Self {
        let (runtime, begun, gate) =
            (Runtime::new().unwrap(), Arc::<AtomicU32>::default(), Arc::new(Semaphore::new(0)));
        let (count, open) = (Arc::clone(&begun), Arc::clone(&gate));
        let solve = Capability::from_fn("puzzle.solve", move |_, _: Value| {
            let (count, open) = (Arc::clone(&count), Arc::clone(&open));
            async move {
                count.fetch_add(1, Ordering::AcqRel);
                let permit = open.acquire().await;
                drop(permit);
                if solves { Ok(name.to_owned()) } else { Err(TaskError::permanent(format!("{name} is at a loss"))) }
            }
        });
        let offer = Capability::from_fn("puzzle.solve.bid", move |_, called: Value| {
            let bid = bid.clone();
            async move {
                assert_eq!(called, json!({"capability": "puzzle.solve", "input": {"size": 9}}));
                Ok(bid)
            }
        });
        let solve = solve.effect(EffectClass::Idempotent);
        let agent = Agent::new(name).capability(solve).capability(offer.effect(EffectClass::Read));
        let remote = Remote::new(format!("http://127.0.0.1:{}", home.port));
        runtime.spawn(Worker::new(remote).agent(agent).run(std::future::pending()));
        wait_until("the agent", || home.folder.run(&["agents", "show", name]).out.contains("healthy").then_some(()));
        Self { runtime, begun, gate }
    }

    fn begins(&self, times: u32) {
        wait_until("the work", || (self.begun.load(Ordering::Acquire) >= times).then_some(()));
    }
}

/// Starts a run of the flow; its id.
fn start(home: &Home) -> String {
    let started = home.client().post("/v1/runs", &json!({"workflow": "solve", "source": FLOW})).unwrap();
    started.json()["run"].as_str().unwrap().to_owned()
}

fn output(home: &Home, run: &str) -> Value {
    wait_until("the end", || {
        let shown = home.client().get(&format!("/v1/runs/{run}")).unwrap().json();
        (shown["status"] == "completed").then(|| shown["output"].clone())
    })
}

#[test]
fn the_next_bid_takes_over_from_a_winner_that_fails_or_dies() {
    let home = Home::new();
    let cheap = Bidder::new(&home, "cheap", json!({"cost": 1, "seconds": 2}), false);
    let fast = Bidder::new(&home, "fast", json!({"cost": 2, "seconds": 1}), true);
    let sure = Bidder::new(&home, "sure", json!({"cost": 9, "confidence": 0.9}), true);
    let run = start(&home);
    cheap.begins(1);
    cheap.gate.add_permits(100);
    fast.begins(1);
    let shown = home.folder.ok(&["runs", "show", &run]);
    assert!(shown.contains("auction: cheap 1, fast 2, sure 10"), "{shown}");
    assert!(shown.contains("award:cheap") && shown.contains("cheap is at a loss"), "{shown}");
    // The second winner dies, with its process.
    fast.runtime.shutdown_background();
    sure.gate.add_permits(100);
    assert_eq!(output(&home, &run), "sure");
    let journal = home.folder.ok(&["runs", "show", &run, "--history"]);
    let awards: Vec<_> = journal.lines().filter(|line| line.contains("awarded to")).collect();
    assert_eq!(awards.len(), 3, "{journal}");
    for (line, name) in awards.iter().zip(["cheap", "fast", "sure"]) {
        assert!(line.contains(&format!("awarded to {name}")), "{journal}");
    }
    let agent = home.folder.ok(&["agents", "show", "cheap"]);
    assert!(agent.contains("puzzle.solve: 1 won, 0 done, 1 failed"), "{agent}");
    // One that is known is called, connected or not: it is forgotten first.
    home.folder.ok(&["agents", "remove", "fast"]);
    // What is remembered counts: a success of the cheap one is expected to cost twice what it says.
    let run = start(&home);
    assert_eq!(output(&home, &run), "sure");
    let shown = home.folder.ok(&["runs", "show", &run]);
    assert!(shown.contains("auction: cheap 2"), "{shown}");
}

#[test]
fn an_auction_survives_kills_and_each_task_is_done_once() {
    const KILLS: u32 = 3;
    let mut home = Home::new();
    let cheap = Bidder::new(&home, "cheap", json!({"cost": 1}), true);
    let dear = Bidder::new(&home, "dear", json!({"cost": 2}), true);
    let run = start(&home);
    cheap.begins(1);
    for _ in 0..KILLS {
        home.kill();
        home.start();
        let shown = home.folder.ok(&["runs", "show", &run]);
        assert!(shown.contains("auction: cheap 1, dear 2") && !shown.contains("award:dear"), "{shown}");
    }
    cheap.gate.add_permits(100);
    assert_eq!(output(&home, &run), "cheap");
    assert_eq!((cheap.begun.load(Ordering::Acquire), dear.begun.load(Ordering::Acquire)), (1, 0));
    let agent = home.folder.ok(&["agents", "show", "cheap"]);
    assert!(agent.contains("puzzle.solve: 1 won, 1 done, 0 failed"), "{agent}");
}
