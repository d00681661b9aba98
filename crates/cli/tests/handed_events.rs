//! Events that agents are handed as tasks, with the real binary and real agents.
//!
//! For: what comes of them where server and worker are killed, and what the command line shows. Not for: the rules (the
//! core has those).
//! Invariant: as in `common`; every wait ends with what it waits for.

mod common;
#[path = "common/home.rs"]
mod home;
#[path = "common/shell.rs"]
mod shell;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use consort_testkit::wait_until;
use home::Home;
use serde_json::{Value, json};
use shell::Shell;

/// Appends a line for each event that it handles; the first attempt of every third fails afterwards.
const AGENT: &str = r#"
import os, sys
from consort import Agent, TaskContext, TaskError, Worker

shop = Agent("shop", version="1.0.0")

@shop.subscription("orders.>", name="orders", filter="event.data.n >= 0", order_by="subject",
                   max_deliveries=1000, back_off=(0.001, 0.001))
async def handle(ctx: TaskContext, event: dict) -> None:
    out = os.open(os.environ["HANDLED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(out, f"{event['subject']} {event['data']['n']}\n".encode())
    os.close(out)
    if ctx.attempt == 1 and event["data"]["n"] % 3 == 0:
        raise TaskError("not at once", retryable=True)

Worker(shop).run_forever()
"#;

struct Scene {
    home: Home,
    shell: Shell,
    handled: PathBuf,
    published: i64,
}

impl Scene {
    fn new() -> Self {
        let home = Home::with("grace = \"1s\"\n");
        home.folder.write("agent.py", AGENT);
        let shell = Shell::beside(SocketAddr::from(([127, 0, 0, 1], home.port)));
        let handled = home.folder.path().join("handled");
        let mut scene = Self { home, shell, handled, published: 0 };
        scene.start_agent();
        scene
    }

    fn start_agent(&mut self) {
        let (agent, handled) = (self.home.folder.path().join("agent.py"), self.handled.clone());
        self.shell.run(&format!("HANDLED={} python {} 2>> agent.log & agent=$!", shown(&handled), shown(&agent)));
    }

    fn kill_agent(&mut self) {
        self.shell.run("kill -9 $agent; wait $agent");
    }

    fn publish(&mut self, count: i64) {
        let event = |n: i64| {
            let (id, subject) = (n.to_string(), format!("k{}", n % 4));
            json!({ "id": id, "source": "/shop", "type": "orders.made", "subject": subject, "data": { "n": n } })
        };
        let events: Vec<Value> = (self.published..self.published + count).map(event).collect();
        self.published += count;
        let answer = self.home.client().post("/v1/events", &json!({ "events": events })).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    fn subscription(&self) -> Value {
        self.home.client().get("/v1/subscriptions/shop.orders").unwrap().json()
    }

    fn lines(&self) -> Vec<(String, i64)> {
        let text = std::fs::read_to_string(&self.handled).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(subject, n)| (subject.to_owned(), n.parse().unwrap()))
            .collect()
    }

    fn wait_for_lines(&self, count: usize) {
        wait_until("events to be handled", || (self.lines().len() >= count).then_some(()));
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn every_event_is_handled_and_those_of_a_key_in_order_though_server_and_worker_are_killed() {
    let mut scene = Scene::new();
    wait_until("the subscription of the agent", || {
        (scene.home.client().get("/v1/subscriptions/shop.orders").ok()?.status == 200).then_some(())
    });
    for round in 0..3 {
        let before = scene.lines().len();
        scene.publish(40);
        scene.wait_for_lines(before + 5);
        if round != 1 {
            scene.kill_agent();
        }
        if round != 0 {
            scene.home.kill();
            scene.home.start();
        }
        if round != 1 {
            scene.start_agent();
        }
    }
    let total = scene.published;
    let found = wait_until("every event to be acknowledged", || {
        Some(scene.subscription()).filter(|found| found["acknowledged"] == total)
    });
    let rest = ["lag", "open", "in_flight", "dead_letters", "missed"].map(|name| found[name].as_u64().unwrap());
    assert_eq!(rest, [0; 5], "{found}");
    let mut by_key = BTreeMap::<String, Vec<i64>>::new();
    for (subject, n) in scene.lines() {
        by_key.entry(subject).or_default().push(n);
    }
    let mut all: Vec<i64> = by_key.values().flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all, (0..total).collect::<Vec<_>>(), "every event was handled");
    for (subject, handled) in by_key {
        assert!(handled.is_sorted(), "`{subject}` was handled in the order {handled:?}");
    }
    let runs = scene.home.folder.json(&["runs", "list", "--label", "subscription=shop.orders"]);
    assert!(runs.is_empty(), "what is acknowledged leaves no run: {runs:?}");
}

#[test]
fn the_command_line_makes_one_and_shows_what_is_in_flight_and_what_has_failed() {
    let home = Home::new();
    let folder = &home.folder;
    let made = folder.run(&[
        "subscriptions",
        "create",
        "bills",
        "--topic",
        "orders.>",
        "--to-capability",
        "bill",
        "--filter",
        "event.data.n > 5",
        "--max-deliveries",
        "1",
        "--ordered",
        "subject",
    ]);
    assert!(made.err.contains("`bills` delivers `orders.>` to bill"), "{made:?}");
    for n in ["7", "3"] {
        folder.ok(&[
            "events",
            "publish",
            "--type",
            "orders.made",
            "--subject",
            "a",
            "--data",
            &format!("{{\"n\":{n}}}"),
        ]);
    }
    let shown = folder.ok(&["subscriptions", "show", "bills"]);
    for part in ["tasks of      bill", "in flight     1 of 64", "filter        event.data.n > 5"] {
        assert!(shown.contains(part), "{shown}");
    }
    let runs = folder.json(&["runs", "list", "--label", "subscription=bills"]);
    let run = runs[0]["run"].as_str().unwrap().to_owned();
    folder.ok(&["runs", "cancel", &run, "--reason", "not this one"]);
    let dead = folder.json(&["subscriptions", "dead", "list", "bills"]);
    assert_eq!(dead[0]["run"], run.as_str());
    assert!(dead[0]["reason"].as_str().unwrap().contains("not this one"), "{dead:?}");
    let bad = folder.run(&["subscriptions", "create", "b", "--topic", "a", "--to-capability", "x", "--filter", "1 +"]);
    assert!(bad.err.contains("error[C0749]") && bad.err.contains("filter"), "{}", bad.err);
}
