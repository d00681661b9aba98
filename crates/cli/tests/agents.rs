//! Agents, queues and quotas from the command line.
//!
//! For: what operators see and do, on the real binary. Not for: layout on a terminal.
//! Invariant: as in `common`.

mod common;

use common::{Folder, binary};
use consort_sdk::{Agent, Capability, Remote, Worker};
use consort_testkit::{process::Server, wait_until};
use serde_json::{Value, json};

const ECHO: &str = "workflow: say\ninput: { n: {} }\nsteps:\n  a: { capability: echo, with: { n: \"${{ input.n }}\" } }\noutput: ${{ steps.a.output.n }}\n";

fn folder() -> (Folder, Server) {
    let folder = Folder::new();
    folder.write("say.yaml", ECHO);
    let server = Server::start(binary(), &folder.path(), ["--log", "info"]).unwrap();
    wait_until("the agents", || {
        folder.json(&["agents", "list"]).into_iter().find(|agent| agent["health"] == "healthy")
    });
    (folder, server)
}

/// The agent `basic` of every server.
fn basic(folder: &Folder) -> Value {
    folder.json(&["agents", "show", "basic"]).remove(0)
}

fn queue_of(folder: &Folder, capability: &str) -> Option<Value> {
    folder.json(&["queues"]).into_iter().find(|queue| queue["capability"] == capability)
}

#[test]
fn agents_are_listed_found_and_shown() {
    let (folder, _server) = folder();
    let lines = folder.ok(&["agents", "list"]);
    let line = lines.lines().find(|line| line.starts_with("basic")).unwrap();
    assert!(line.contains("healthy") && line.contains("echo, sleep") && line.contains("  100  "), "{line}");
    let wide = folder.ok(&["agents", "list", "--wide", "--capability", "echo"]);
    assert!(wide.lines().count() == 3 && wide.contains("echo") && wide.contains("Returns its input."), "{wide}");
    assert_eq!(folder.json(&["agents", "list", "--capability", "echo"]).len(), 1);
    assert_eq!(folder.json(&["agents", "list", "--text", "OUTSIDE world"]).len(), 1);
    let none = folder.run(&["agents", "list", "--capability", "ecko"]);
    assert_eq!((none.code, none.out.as_str()), (0, ""));
    assert!(none.err.contains("did you mean `echo`?"), "{}", none.err);
    assert!(folder.json(&["agents", "list", "--label", "region=eu"]).is_empty());
    let version = basic(&folder)["version"].as_str().unwrap().to_owned();
    let shown = folder.ok(&["agents", "show", &format!("basic@{version}")]);
    for part in [format!("basic {version}  healthy"), "about    Capabilities that need".into(), "local:".into()] {
        assert!(shown.contains(&part), "{part}\n{shown}");
    }
}

#[test]
fn what_is_not_there_is_told_with_what_may_have_been_meant() {
    let (folder, _server) = folder();
    for (args, code, said) in [
        (&["agents", "show", "basik"][..], 3, "did you mean `basic`?"),
        (&["agents", "drain", "bassic"], 3, "did you mean `basic`?"),
        (&["agents", "remove", "zzzzzz"], 3, "agents list"),
        (&["agents", "resume", "basic@9"], 3, "it has `"),
        (&["agents", "show", "basic@"], 2, "NAME@VERSION"),
        (&["agents", "weight", "basic", "3"], 2, "NAME@VERSION"),
        (&["agents", "weight", "basic@1", "many"], 2, "many"),
        (&["agents", "list", "--label", "eu"], 2, "KEY=VALUE"),
        (&["quotas", "set", "namespace"], 2, "--max-concurrent"),
        (&["quotas", "set", "namespace", "--burst", "3"], 2, "--rate"),
        (&["quotas", "set", "nonsense", "--max-waiting", "3"], 2, "`capability:NAME`"),
        (&["quotas", "set", "namespace", "--rate", "fast"], 2, "`10/s`"),
        (&["quotas", "set", "namespace", "--rate", "10/s", "--burst", "0"], 2, "above zero"),
        (&["quotas", "remove", "namespace"], 3, "quotas list"),
    ] {
        let ended = folder.run(args);
        assert_eq!(ended.code, code, "{args:?}: {ended:#?}");
        assert!(ended.err.contains(said) && ended.out.is_empty(), "{args:?}: {ended:#?}");
    }
}

#[test]
fn a_drained_agent_waits_and_the_queue_says_why() {
    let (folder, _server) = folder();
    folder.ok(&["agents", "drain", "basic"]);
    assert_eq!(basic(&folder)["health"], "draining");
    let run = folder.ok(&["run", "say.yaml", "--input", "n=5", "--detach"]);
    wait_until("the task", || queue_of(&folder, "echo").filter(|queue| queue["waiting"] == 1));
    let shown = folder.ok(&["queues"]);
    let queue = shown.lines().nth(1).unwrap();
    assert!(queue.split_whitespace().take(4).eq(["echo", "1", "0", "0"]), "{shown}");
    assert!(queue.contains("an operator drains"), "{shown}");
    let mut watch = folder.start(&["queues", "--watch", "--json"]);
    let seen: Value = serde_json::from_str(&watch.line()).unwrap();
    assert_eq!((&seen["items"][0]["capability"], &seen["items"][0]["waiting"]), (&json!("echo"), &json!(1)));
    watch.signal("INT");
    assert_eq!(watch.ended().code, 130);
    let resumed = folder.run(&["agents", "resume", "basic"]);
    assert_eq!((resumed.code, resumed.err.as_str()), (0, "basic (every version) resumed\n"));
    assert_eq!(folder.ok(&["runs", "watch", run.trim()]), "5\n");
    let queue = queue_of(&folder, "echo").unwrap();
    assert_eq!((&queue["waiting"], &queue["handed_out_minute"]), (&json!(0), &json!(1)));
}

#[test]
fn what_operators_say_outlives_the_server_and_an_agent_that_is_gone_can_be_removed() {
    let (folder, server) = folder();
    let version = basic(&folder)["version"].as_str().unwrap().to_owned();
    let named = format!("basic@{version}");
    folder.ok(&["agents", "weight", &named, "7"]);
    let drained = folder.json(&["agents", "drain", &named]).remove(0);
    assert_eq!(drained, json!({"done": "draining", "agent": "basic", "version": version}));
    let refused = folder.run(&["agents", "remove", "basic"]);
    assert!(refused.code == 5 && refused.err.contains("C0315"), "{refused:#?}");
    assert!(server.stop().unwrap().success());
    // Each command opens the folder again now.
    let lost = basic(&folder);
    assert_eq!((&lost["health"], &lost["draining"], &lost["weight"]), (&json!("lost"), &json!(true), &json!(7)));
    let server = Server::start(binary(), &folder.path(), ["--log", "info"]).unwrap();
    let again = wait_until("the agents", || Some(basic(&folder)).filter(|agent| agent["health"] == "draining"));
    assert_eq!(again["weight"], 7);
    folder.ok(&["agents", "resume", &named]);
    assert_eq!(folder.ok(&["run", "say.yaml", "--input", "n=1"]), "1\n");
    server.kill().unwrap();
    assert_eq!(basic(&folder)["draining"], false);
    folder.ok(&["agents", "remove", &named]);
    assert_eq!(folder.run(&["agents", "show", "basic"]).code, 3);
    let server = Server::start(binary(), &folder.path(), ["--log", "info"]).unwrap();
    let fresh = wait_until("the agents", || folder.json(&["agents", "list", "--capability", "echo"]).pop());
    assert_eq!((&fresh["weight"], &fresh["draining"]), (&json!(100), &json!(false)), "it is known as if it were new");
    folder.ok(&["agents", "remove", "basic", "--force"]);
    assert!(server.stop().unwrap().success());
}

#[test]
fn agents_are_followed_as_they_change() {
    let (folder, _server) = folder();
    let mut documents = folder.start(&["agents", "watch", "--capability", "echo", "--json"]);
    let first: Value = serde_json::from_str(&documents.line()).unwrap();
    assert_eq!((&first["items"][0]["name"], &first["items"][1]), (&json!("basic"), &Value::Null));
    let mut lines = folder.start(&["agents", "watch", "--capability", "echo"]);
    assert!(lines.line().contains("healthy, 1 instance, weight 100"));
    folder.ok(&["agents", "drain", "basic"]);
    assert!(lines.line().ends_with("draining, 1 instance, weight 100: an operator drains it"));
    let drained = |list: &Value| list["items"][0]["draining"] == true;
    while !drained(&serde_json::from_str(&documents.line()).unwrap()) {}
    for watch in [documents, lines] {
        watch.signal("TERM");
        assert_eq!(watch.ended().code, 143);
    }
}

#[test]
fn quotas_are_set_replaced_listed_and_removed() {
    let (folder, server) = folder();
    let set = folder.run(&[
        "quotas",
        "set",
        "capability:echo",
        "--max-concurrent",
        "4",
        "--rate",
        "10/s",
        "--burst",
        "20",
        "--max-waiting",
        "10000",
    ]);
    assert_eq!(
        (set.code, set.err.as_str()),
        (0, "capability:echo is limited: 4 at once; 10/s, 20 at once; 10000 waiting\n")
    );
    let listed = folder.ok(&["quotas", "list"]);
    let cells: Vec<&str> =
        listed.lines().nth(1).unwrap().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(cells, ["capability:echo", "4", "10/s, 20 at once", "10000", "0", "0"]);
    let misspelt = folder.run(&["quotas", "set", "capability:ecko", "--max-waiting", "1"]);
    assert!(misspelt.code == 0 && misspelt.err.contains("did you mean `echo`?"), "{misspelt:#?}");
    let removed = folder.run(&["quotas", "remove", "capability:ecka"]);
    assert!(removed.code == 3 && removed.err.contains("did you mean `capability:ecko`?"), "{removed:#?}");
    folder.ok(&["quotas", "remove", "capability:ecko"]);
    let document = folder.json(&["quotas", "set", "capability:echo", "--max-concurrent", "0"]).remove(0);
    assert_eq!(document, json!({"scope": "capability:echo", "max_concurrent": 0}));
    assert!(server.stop().unwrap().success());
    let server = Server::start(binary(), &folder.path(), ["--log", "info"]).unwrap();
    let run = folder.ok(&["run", "say.yaml", "--input", "n=2", "--detach"]);
    wait_until("the task", || queue_of(&folder, "echo").filter(|queue| queue["limited"] == 1));
    let limit = folder.json(&["quotas", "list"]).remove(0);
    assert_eq!(limit, json!({"scope": "capability:echo", "max_concurrent": 0, "in_flight": 0, "limited": 1}));
    let reason = queue_of(&folder, "echo").unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("`capability:echo`"), "{reason}");
    folder.ok(&["quotas", "remove", "capability:echo"]);
    assert_eq!(folder.ok(&["runs", "watch", run.trim()]), "2\n");
    assert_eq!(folder.ok(&["quotas", "list"]), "");
    assert!(server.stop().unwrap().success());
}

#[test]
fn the_doctor_names_agents_that_declare_a_capability_with_different_schemas() {
    let (folder, server) = folder();
    let subject = |folder: &Folder| {
        let found = folder.json(&["doctor"]).into_iter().filter(|finding| finding["subject"] == "agents");
        found.collect::<Vec<Value>>()
    };
    assert_eq!(subject(&folder)[0]["health"], "ok");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let host = |agent: Agent| {
        let remote = Remote::new(format!("http://{}", server.grpc_address()));
        runtime.spawn(Worker::new(remote).agent(agent).run(std::future::pending()));
    };
    let by_name = |_, sku: String| async move { Ok(sku) };
    let by_number = |_, sku: u32| async move { Ok(sku) };
    host(Agent::new("stock").capability(Capability::from_fn("stock.reserve", by_name)));
    host(Agent::new("other").capability(Capability::from_fn("stock.reserve", by_number)));
    let told =
        wait_until("a note", || Some(subject(&folder)).filter(|found| found.iter().any(|one| one["health"] == "note")));
    let details: Vec<&str> = told.iter().filter_map(|finding| finding["detail"].as_str()).collect();
    assert!(details.iter().any(|detail| detail.contains("stock") && detail.contains("stock.reserve")), "{details:?}");
    assert!(told.iter().all(|finding| finding["hint"].is_string()));
    assert_eq!(folder.run(&["doctor"]).code, 0);
    drop(runtime);
    assert!(server.stop().unwrap().success());
}
