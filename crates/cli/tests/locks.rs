//! Locks and barriers from the command line.
//!
//! For: what scripts and operators see and do, on the real binary. Not for: layout on a terminal.
//! Invariant: as in `common`.

mod common;

use common::{Folder, binary};
use consort_testkit::{process::Server, wait_until};
use serde_json::{Value, json};

fn folder() -> (Folder, Server) {
    let folder = Folder::new();
    let none: [&str; 0] = [];
    let server = Server::start(binary(), &folder.path(), none).unwrap();
    (folder, server)
}

fn lock(folder: &Folder, name: &str) -> Option<Value> {
    let listed = folder.json(&["locks", "list", "--prefix", name]);
    listed.into_iter().find(|lock| lock["name"] == name)
}

#[test]
fn a_lock_is_acquired_renewed_shown_and_released() {
    let (folder, _server) = folder();
    assert_eq!(folder.run(&["locks", "show", "l"]).code, 3);
    let acquire = ["locks", "acquire", "l", "--holder", "a", "--ttl", "1h", "--value", "http://a"];
    let token = folder.ok(&acquire).trim().to_owned();
    assert_eq!(folder.ok(&acquire).trim(), token, "asking again joins the grant");
    let shown = folder.ok(&["locks", "show", "l"]);
    for part in ["1 of 1 permits held", "holder  a", &format!("token {token}"), "http://a", "granted to a"] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let refused = folder.run(&["locks", "acquire", "l", "--holder", "b"]);
    assert!(refused.code == 5 && refused.err.contains("C0722"), "{refused:#?}");
    let renewed = folder.json(&["locks", "renew", "l", "--holder", "a", "--token", &token]).remove(0);
    assert_eq!((&renewed["state"], renewed["token"].to_string()), (&json!("held"), token.clone()));
    let stale = folder.run(&["locks", "renew", "l", "--holder", "a", "--token", "1"]);
    assert!(stale.code == 5 && stale.err.contains("C0723"), "{stale:#?}");
    folder.ok(&["locks", "release", "l", "--holder", "a", "--token", &token]);
    assert_eq!(lock(&folder, "l").unwrap()["held"], 0);
    assert_eq!(folder.run(&["locks", "release", "l", "--force"]).code, 2, "it needs a reason");
    let listed = folder.ok(&["locks", "list"]);
    assert!(listed.lines().any(|line| line.starts_with("l ") && line.contains("0/1")), "{listed}");
}

#[test]
fn an_observer_sees_who_leads_and_an_operator_breaks_the_lock() {
    let (folder, _server) = folder();
    let mut watch = folder.start(&["locks", "watch", "leader"]);
    assert!(watch.line().contains("has no holder"));
    folder.ok(&["locks", "acquire", "leader", "--holder", "a", "--ttl", "1h", "--value", "http://a"]);
    let line = watch.line();
    assert!(line.contains("granted to a") && line.contains("http://a"), "{line}");
    let waiting = folder.start(&["locks", "acquire", "leader", "--holder", "b", "--ttl", "1h", "--wait", "1h"]);
    wait_until("the waiter", || lock(&folder, "leader").filter(|lock| lock["waiting"] == 1));
    folder.ok(&["locks", "release", "leader", "--force", "--reason", "it hangs", "--by", "ann"]);
    let broken = watch.line();
    assert!(broken.contains("broken for a") && broken.contains("by ann: it hangs"), "{broken}");
    assert!(watch.line().contains("granted to b"));
    let granted = waiting.ended();
    assert!(granted.code == 0 && granted.out.trim().parse::<u64>().is_ok(), "{granted:#?}");
    watch.signal("INT");
    assert_eq!(watch.ended().code, 130);
}

#[test]
fn a_command_runs_under_a_lock_and_has_its_token() {
    let (folder, _server) = folder();
    let script = "echo $CONSORT_LOCK_NAME $CONSORT_LOCK_TOKEN; exit 7";
    let ended = folder.run(&["locks", "run", "job", "--", "sh", "-c", script]);
    let token: u64 = ended.out.trim().strip_prefix("job ").unwrap().parse().unwrap();
    assert_eq!(ended.code, 7, "{ended:#?}");
    let after = lock(&folder, "job").unwrap();
    let last = &after["last_change"];
    assert_eq!((&after["held"], &last["change"], last["token"].as_u64()), (&json!(0), &json!("released"), Some(token)));
    folder.ok(&["locks", "acquire", "job", "--holder", "other", "--ttl", "1h"]);
    let refused = folder.run(&["locks", "run", "job", "--", "sh", "-c", "echo it ran"]);
    assert!(refused.code == 5 && refused.out.is_empty() && refused.err.contains("C0722"), "{refused:#?}");
    let missing = folder.run(&["locks", "run", "free", "--", "./no-such-program"]);
    assert!(missing.code == 2 && missing.err.contains("no-such-program"), "{missing:#?}");
    assert_eq!(lock(&folder, "free").unwrap()["held"], 0, "what could not be run holds nothing");
}

#[test]
fn a_command_is_killed_when_its_lease_is_lost_and_told_when_it_is_to_stop() {
    let (folder, _server) = folder();
    let mut run =
        folder.start(&["locks", "run", "job", "--ttl", "3s", "--", "sh", "-c", "echo begun; sleep 1000 & wait"]);
    assert_eq!(run.line(), "begun");
    folder.ok(&["locks", "release", "job", "--force", "--reason", "it hangs"]);
    let ended = run.ended();
    assert!(ended.code == 5 && ended.err.contains("C0723"), "{ended:#?}");

    let script = "trap 'echo stopping; exit 3' TERM; echo begun; while :; do sleep 1000 & wait; done";
    let mut run = folder.start(&["locks", "run", "job", "--ttl", "1h", "--", "sh", "-c", script]);
    assert_eq!(run.line(), "begun");
    run.signal("TERM");
    let ended = run.ended();
    assert_eq!((ended.code, ended.out.as_str()), (3, "stopping\n"), "{ended:#?}");
    assert_eq!(lock(&folder, "job").unwrap()["held"], 0);
}

#[test]
fn members_wait_for_each_other_at_a_barrier() {
    let (folder, _server) = folder();
    let arrive =
        |member: &'static str| ["barriers", "arrive", "b", "--parties", "2", "--member", member, "--wait", "1h"];
    let first = folder.start(&arrive("m1"));
    wait_until("the first member", || {
        folder.json(&["barriers", "list"]).into_iter().find(|barrier| barrier["arrived"] == 1)
    });
    assert!(folder.ok(&["barriers", "show", "b"]).contains("member  m1"));
    assert_eq!(folder.ok(&arrive("m2")), "generation 1  released\n");
    let ended = first.ended();
    assert_eq!((ended.code, ended.out.as_str()), (0, "generation 1  released\n"), "{ended:#?}");
    assert!(folder.ok(&["barriers", "show", "b"]).contains("generation 1  released"));
}
