//! `consort state mirror` between two servers of Consort.
//!
//! For: what a mirror of two servers promises under every policy, also where everything is killed. Not for: the rules of
//! one key (`consort-mirror` has those), or other systems (see `mirror`).
//! Invariant: as in `common`; nothing is counted twice, and nothing that was acknowledged is lost.

#![cfg(feature = "mirror")]

mod common;
#[path = "common/home.rs"]
mod home;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use common::Running;
use consort_testkit::{http::Client, wait_until};
use home::{Home, stop, wait_for};
use serde_json::{Value, json};

/// What each side has set for its space.
const POLICIES: [&str; 10] = [
    "n/=counter",
    "t/=set",
    "m/=map",
    "x/=text",
    "o/=list",
    "w/=last_writer_wins",
    "h/=max",
    "l/=min",
    "a/=agent",
    "e/=expression:write.current + write.incoming - write.base",
];

/// The path of a key.
fn path(key: &str) -> String {
    format!("/v1/spaces/s/keys/{}", key.replace('/', "%2F"))
}

fn put(client: &Client, key: &str, body: &Value) -> Option<Value> {
    let put = client.request("PUT", &path(key), Some(body)).ok()?;
    (put.status == 200).then(|| put.json())
}

impl Home {
    fn put(&self, key: &str, value: &Value) -> Value {
        put(&self.client(), key, &json!({ "value": value })).unwrap()
    }

    /// Writes by one that has read the key.
    fn edit(&self, key: &str, value: &Value) {
        let version = self.get(key).unwrap()["version"].clone();
        put(&self.client(), key, &json!({ "value": value, "version": version })).unwrap();
    }

    fn get(&self, key: &str) -> Option<Value> {
        let found = self.client().get(&path(key)).unwrap();
        (found.status == 200).then(|| found.json())
    }

    fn delete(&self, key: &str) {
        assert_eq!(self.client().delete(&path(key)).unwrap().status, 200);
    }

    /// Every key of the space.
    fn all(&self) -> BTreeMap<String, Value> {
        let (mut all, mut cursor) = (BTreeMap::new(), String::new());
        loop {
            let page = self.client().get(&format!("/v1/spaces/s/keys?limit=1000{cursor}")).unwrap().json();
            for item in page["items"].as_array().cloned().unwrap_or_default() {
                all.insert(item["key"].as_str().unwrap().to_owned(), item["value"].clone());
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    fn set(&self, more: &[&str]) {
        let policies = POLICIES.map(|policy| ["--policy", policy]).concat();
        self.folder.ok(&[&["state", "set", "s"], policies.as_slice(), more].concat());
    }

    /// Starts a mirror of the space with that of another server, which tells its events.
    fn mirror(&self, other: &Self, more: &[&str]) -> Running {
        self.silent_mirror(other, &[&["--json"], more].concat())
    }

    fn silent_mirror(&self, other: &Self, more: &[&str]) -> Running {
        let (url, server) = (format!("consort://127.0.0.1:{}/s", other.port), format!("127.0.0.1:{}", self.port));
        let words = ["state", "mirror", "s", "--to", &url, "--server", &server, "--lease", "1s"];
        self.folder.start(&[&words, more].concat())
    }
}

fn connected(event: &Value) -> bool {
    event["event"] == "connected"
}

/// Stops a mirror that has noted all that it did; its counts.
fn settle(mut mirror: Running) -> Value {
    wait_for(&mut mirror, |event| event["event"] == "settled");
    stop(mirror).1
}

/// Waits until both sides have the same; that.
fn wait_until_equal(near: &Home, far: &Home) -> BTreeMap<String, Value> {
    wait_until("both sides are equal", || {
        let here = near.all();
        (here == far.all()).then_some(here)
    })
}

#[test]
fn two_servers_have_the_same_keys_whichever_was_written() {
    let (near, far) = (Home::new(), Home::new());
    near.put("here", &json!({ "b": [1, 2.5] }));
    far.put("there", &json!(null));
    far.put("same", &json!(7));
    near.put("same", &json!(7));
    let mut mirror = near.mirror(&far, &[]);
    wait_for(&mut mirror, connected);
    assert_eq!(wait_until_equal(&near, &far).len(), 3, "what was there before");
    near.put("word", &json!("hello"));
    wait_until("a word", || far.get("word").filter(|found| found["value"] == "hello"));
    assert_eq!(far.get("word").unwrap()["writer"]["by"], "mirror s");
    far.put("word", &json!("bye"));
    wait_until("the answer", || near.get("word").filter(|found| found["value"] == "bye"));
    near.delete("here");
    far.delete("there");
    wait_until("both removals", || (near.all().len() == 2 && far.all().len() == 2).then_some(()));
    near.put("here", &json!(2));
    wait_until("it is there again", || far.get("here").filter(|found| found["value"] == 2));
    // A time to live goes with the value, and with one that is written again.
    put(&far.client(), "short", &json!({ "value": 1, "ttl": "1h" })).unwrap();
    wait_until("its time", || near.get("short").filter(|found| found["expires_at"].is_string()));
    let first = near.get("short").unwrap()["expires_at"].clone();
    put(&far.client(), "short", &json!({ "value": 1, "ttl": "2h" })).unwrap();
    wait_until("another time", || near.get("short").filter(|found| found["expires_at"] != first));
    // A value that is longer than what is kept in a row.
    let long = json!("x".repeat(100_000));
    near.put("long", &long);
    wait_until("the long one", || far.get("long").filter(|found| found["value"] == long));
    let versions = || ["word", "same", "short", "long"].map(|key| near.get(key).unwrap()["version"].clone());
    let settled = versions();
    near.put("last", &json!(1));
    wait_for(&mut mirror, |event| event["event"] == "out" && event["key"] == "last");
    assert_eq!(versions(), settled, "nothing goes back and forth");
    let (ended, counts) = stop(mirror);
    assert_eq!((ended.code, &counts["conflicts"], &counts["refused"]), (130, &json!(0), &json!(0)), "{ended:#?}");
    assert_eq!((&counts["out"], &counts["in"]), (&json!(6), &json!(5)), "{ended:#?}");
    // It continues where it was: what changed meanwhile is found without a comparison.
    near.put("word", &json!("again"));
    let mut mirror = near.mirror(&far, &[]);
    assert_eq!(wait_for(&mut mirror, connected)["resumed"], true);
    wait_until_equal(&near, &far);
    assert_eq!(settle(mirror)["out"], 1);
}

/// A key, what both sides have, what each makes of it while they are apart, and what both have then.
fn cases() -> Vec<(&'static str, Value, Value, Value, Value)> {
    vec![
        ("n/a", json!(10), json!(15), json!(12), json!(17)),
        ("n/b", json!(10), json!(11), json!(11), json!(12)),
        ("t/a", json!([1, 9]), json!([1, 2, 9]), json!([1, 3]), json!([1, 2, 3])),
        ("m/a", json!({"a": 1, "b": 1}), json!({"a": 2, "b": 1}), json!({"a": 1, "c": 3}), json!({"a": 2, "c": 3})),
        (
            "x/a",
            json!("Ship on Friday."),
            json!("Ship on Friday, after the review."),
            json!("Ship version 2 on Friday."),
            json!("Ship version 2 on Friday, after the review."),
        ),
        ("o/a", json!([1, 2, 3]), json!([0, 1, 2, 3]), json!([1, 3, 4]), json!([0, 1, 3, 4])),
        ("w/a", json!("x"), json!("near"), json!("far"), json!("far")),
        ("h/a", json!(1), json!(5), json!(3), json!(5)),
        ("l/a", json!(9), json!(5), json!(3), json!(3)),
        ("e/a", json!(10), json!(15), json!(12), json!(17)),
        ("plain", json!("x"), json!("near"), json!("far"), json!("far")),
    ]
}

/// Both sides change every key while nothing carries, with or without what they have in common being kept.
fn apart(forgets: bool) {
    let (near, far) = (Home::new(), Home::new());
    let keep = if forgets { ["--keep-changes", "100"].as_slice() } else { &[] };
    near.set(keep);
    far.set(keep);
    for (key, first, ..) in cases() {
        near.put(key, &first);
    }
    near.put("w/b", &json!("x"));
    let mut mirror = near.mirror(&far, &[]);
    wait_for(&mut mirror, connected);
    wait_until_equal(&near, &far);
    settle(mirror);
    far.edit("w/b", &json!("far"));
    for (key, _, here, there, _) in cases() {
        near.edit(key, &here);
        far.edit(key, &there);
    }
    near.edit("w/b", &json!("near"));
    if forgets {
        for number in 0..150 {
            near.put("much", &json!(number));
            far.put("more", &json!(number));
        }
    }
    let mut mirror = near.mirror(&far, &[]);
    assert_eq!(wait_for(&mut mirror, connected)["resumed"], !forgets);
    let all = wait_until_equal(&near, &far);
    for (key, .., merged) in cases() {
        assert_eq!(all[key], merged, "{key}");
    }
    assert_eq!(all["w/b"], "near", "it was written later");
    let versions =
        || cases().into_iter().map(|(key, ..)| near.get(key).unwrap()["version"].clone()).collect::<Vec<_>>();
    let settled = versions();
    near.put("last", &json!(1));
    wait_for(&mut mirror, |event| event["event"] == "out" && event["key"] == "last");
    assert_eq!(versions(), settled, "nothing goes back and forth");
    let kept = far.folder.json(&["state", "conflicts", "s"]);
    assert!(kept.iter().any(|one| one["key"] == "plain"), "{kept:#?}");
    let (ended, counts) = stop(mirror);
    assert_eq!(
        (&counts["refused"], &counts["conflicts"].as_u64().is_some_and(|count| count >= 10)),
        (&json!(0), &true),
        "{ended:#?}"
    );
}

#[test]
fn the_policies_decide_about_what_both_sides_have_changed() {
    apart(false);
}

#[test]
fn a_long_time_apart_loses_nothing_where_neither_side_knows_the_version_any_more() {
    apart(true);
}

#[test]
fn what_waits_for_a_decision_is_carried_once_it_is_decided() {
    let (near, far) = (Home::new(), Home::new());
    near.set(&[]);
    far.set(&[]);
    near.put("a/owner", &json!("none"));
    let mut mirror = near.mirror(&far, &[]);
    wait_for(&mut mirror, connected);
    wait_until_equal(&near, &far);
    settle(mirror);
    near.edit("a/owner", &json!("ann"));
    far.edit("a/owner", &json!("bob"));
    let mut mirror = near.mirror(&far, &[]);
    wait_for(&mut mirror, connected);
    let undecided =
        wait_until("both values there", || far.get("a/owner").filter(|found| found["conflict"].is_string()));
    near.put("last", &json!(1));
    wait_for(&mut mirror, |event| event["event"] == "out" && event["key"] == "last");
    assert_eq!(near.get("a/owner").unwrap()["value"], "ann", "it waits");
    far.folder.ok(&["state", "decide", "s", undecided["conflict"].as_str().unwrap(), "--take", "0"]);
    let all = wait_until_equal(&near, &far);
    assert_eq!(all["a/owner"], "bob");
}

#[test]
fn ten_thousand_writes_while_apart_are_one_value_that_is_carried() {
    const WRITES: usize = 10_000;
    let (near, far) = (Home::new(), Home::new());
    near.set(&[]);
    far.set(&[]);
    far.put("n/a", &json!(5));
    let mut mirror = near.mirror(&far, &[]);
    wait_for(&mut mirror, connected);
    wait_until_equal(&near, &far);
    settle(mirror);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let client = near.client();
                while next.fetch_add(1, Ordering::SeqCst) < WRITES {
                    put(&client, "n/a", &json!({ "value": 1 })).unwrap();
                }
            });
        }
    });
    far.put("n/a", &json!(-5));
    let mut mirror = near.mirror(&far, &[]);
    wait_for(&mut mirror, connected);
    let all = wait_until_equal(&near, &far);
    assert_eq!(all["n/a"], WRITES);
    let counts = settle(mirror);
    assert_eq!((&counts["out"], &counts["in"]), (&json!(1), &json!(1)), "{counts}");
}

#[test]
fn a_name_belongs_to_one_pair_and_a_pair_has_one_mirror() {
    let (near, far, third) = (Home::new(), Home::new(), Home::new());
    let mut mirror = near.mirror(&far, &[]);
    wait_for(&mut mirror, connected);
    let refused = |from: &Home, to: &Home, more: &[&str], words: &str| {
        let ended = from.mirror(to, more).ended();
        assert!(ended.code == 5 && ended.err.contains("C0842") && ended.err.contains(words), "{ended:#?}");
    };
    refused(&far, &far, &["--name", "self"], "one namespace");
    refused(&near, &far, &["--name", "other"], "already");
    refused(&far, &near, &["--name", "other"], "already");
    stop(mirror);
    refused(&near, &third, &[], "other spaces");
    // From either side it is the same mirror: one of two processes carries, and the other one takes over.
    near.set(&[]);
    far.set(&[]);
    let mut first = near.mirror(&far, &[]);
    wait_for(&mut first, connected);
    near.put("n/a", &json!(1));
    wait_until_equal(&near, &far);
    let mut second = far.mirror(&near, &[]);
    wait_for(&mut second, |event| event["event"] == "standing_by");
    first.kill();
    wait_for(&mut second, connected);
    near.put("n/a", &json!(2));
    far.put("n/a", &json!(4));
    wait_until("the sum", || (near.get("n/a")?["value"] == 7 && far.get("n/a")?["value"] == 7).then_some(()));
}

#[test]
fn a_direction_binds_and_other_policies_are_told() {
    let (near, far) = (Home::new(), Home::new());
    near.set(&[]);
    let mut mirror = near.mirror(&far, &["--direction", "out"]);
    wait_for(&mut mirror, |event| event["event"] == "policies_differ");
    near.put("a", &json!(1));
    wait_until("it is there", || far.get("a"));
    far.put("a", &json!(9));
    wait_until("it is replaced", || far.get("a").filter(|found| found["value"] == 1));
    far.put("theirs", &json!(1));
    wait_until("it is removed", || far.get("theirs").is_none().then_some(()));
    stop(mirror);
    let mut mirror = near.mirror(&far, &["--direction", "in"]);
    wait_for(&mut mirror, connected);
    far.put("b", &json!(2));
    wait_until("it has come", || near.get("b"));
    stop(mirror);
    let mut mirror = near.mirror(&far, &[]);
    wait_for(&mut mirror, connected);
    near.put("a", &json!(3));
    far.put("b", &json!(4));
    wait_until("both ways", || (far.get("a")?["value"] == 3 && near.get("b")?["value"] == 4).then_some(()));
}

#[test]
fn three_servers_in_a_chain_have_the_same_sum() {
    let homes = [Home::new(), Home::new(), Home::new()];
    for home in &homes {
        home.set(&[]);
    }
    let _first = homes[0].mirror(&homes[1], &["--name", "first"]);
    let _second = homes[1].mirror(&homes[2], &["--name", "second"]);
    thread::scope(|scope| {
        for (home, number) in homes.iter().zip([1, 10, 100]) {
            scope.spawn(move || {
                for _ in 0..20 {
                    home.put("n/a", &json!(number));
                }
            });
        }
    });
    wait_until("the sum", || {
        homes.iter().all(|home| home.get("n/a").is_some_and(|found| found["value"] == 2_220)).then_some(())
    });
}

/// Ends the writers, also where a test fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Writes until it is done: each time a number is added and a key is made in one transaction, and a line is added to a text.
/// Answers what was acknowledged.
fn write(name: &str, client: &Client, done: &AtomicBool) -> BTreeSet<String> {
    let mut acknowledged = BTreeSet::new();
    for number in 0.. {
        if done.load(Ordering::SeqCst) {
            break;
        }
        let id = format!("{name}-{number}");
        let operation = |key: String, value: Value| json!({ "op": "put", "space": "s", "key": key, "value": value });
        let body = json!({ "do": [operation("n/sum".to_owned(), json!(1)), operation(format!("id/{id}"), json!(1))] });
        let written = client.request("POST", "/v1/state/transact", Some(&body)).is_ok_and(|done| done.status == 200);
        let line = || {
            let found = client.get(&path("x/lines")).ok().filter(|found| found.status == 200)?.json();
            let text = format!("{}{id}\n", found["value"].as_str()?);
            put(client, "x/lines", &json!({ "value": text, "version": found["version"] }))
        };
        if written {
            acknowledged.insert(format!("id/{id}"));
        }
        if written && number % 8 == 0 && line().is_some() {
            acknowledged.insert(format!("{id}\n"));
        }
        // The mirror keeps up, and where nothing answers, the others can start it again.
        thread::park_timeout(Duration::from_millis(20));
    }
    acknowledged
}

#[test]
fn sums_are_exact_and_nothing_is_lost_where_the_mirror_and_both_servers_are_killed() {
    let (mut near, mut far) = (Home::new(), Home::new());
    near.set(&[]);
    far.set(&[]);
    near.put("x/lines", &json!(""));
    let mut mirror = near.silent_mirror(&far, &[]);
    wait_until_equal(&near, &far);
    let done = AtomicBool::new(false);
    let clients = (near.client(), far.client());
    let (here, there, mirror) = thread::scope(|scope| {
        let here = scope.spawn(|| write("here", &clients.0, &done));
        let there = scope.spawn(|| write("there", &clients.1, &done));
        let ends = Ends(&done);
        for round in 0..4 {
            // Each round carries something before it kills.
            let (out, back) = (format!("round/out/{round}"), format!("round/back/{round}"));
            wait_until("a write here", || put(&clients.0, &out, &json!({ "value": 1 })));
            wait_until("a write there", || put(&clients.1, &back, &json!({ "value": 1 })));
            wait_until("both are carried", || far.get(&out).and(near.get(&back)));
            match round {
                0 => mirror.kill(),
                1 => {
                    near.kill();
                    mirror.kill();
                    near.start();
                }
                2 => {
                    far.kill();
                    far.start();
                    mirror.kill();
                }
                _ => {
                    mirror.kill();
                    near.kill();
                    far.kill();
                    near.start();
                    far.start();
                }
            }
            mirror = near.silent_mirror(&far, &[]);
        }
        drop(ends);
        (here.join().unwrap(), there.join().unwrap(), mirror)
    });
    // Each key is carried by itself: two sums that are equal for a moment need not be those of all that was made.
    let all = wait_until("each that was made is added once, on both sides", || {
        let all = near.all();
        let ids = all.keys().filter(|key| key.starts_with("id/")).count();
        (all == far.all() && all["n/sum"] == ids).then_some(all)
    });
    let lines: Vec<&str> = all["x/lines"].as_str().unwrap().split_inclusive('\n').collect();
    assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len(), "no line is there twice");
    for acknowledged in here.iter().chain(&there) {
        let found = all.contains_key(acknowledged) || lines.contains(&acknowledged.as_str());
        assert!(found, "`{acknowledged}` was acknowledged");
    }
    assert!(!here.is_empty() && !there.is_empty(), "both sides were written");
    drop(mirror);
}
