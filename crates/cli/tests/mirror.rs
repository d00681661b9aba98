//! `consort state mirror` between the real binary and real servers.
//!
//! For: what a mirror promises, also where everything is killed. Not for: the rules of one key (`consort-mirror` has those).
//! Invariant: as in `common`; Redis and etcd are those of the machine, started in a folder of their own.

#![cfg(feature = "mirror")]

mod common;
#[path = "common/home.rs"]
mod home;
#[path = "common/other.rs"]
mod other;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use common::Running;
use consort_testkit::{peers::Peer, wait_until};
use home::{Home, stop, wait_for};
use other::{Etcd, Other, PREFIX, Redis};
use serde_json::{Value, json};

impl Home {
    /// Gives a key a value; whether that was acknowledged.
    fn put(&self, key: &str, value: &Value) -> bool {
        let put = self.client().request("PUT", &path(key), Some(&json!({ "value": value })));
        put.is_ok_and(|response| response.status == 200)
    }

    fn delete(&self, key: &str) {
        assert_eq!(self.client().delete(&path(key)).unwrap().status, 200);
    }

    fn get(&self, key: &str) -> Option<Value> {
        let found = self.client().get(&path(key)).unwrap();
        (found.status == 200).then(|| found.json())
    }

    /// Every key of the space.
    fn all(&self) -> BTreeMap<String, Value> {
        let listed = self.client().get("/v1/spaces/s/keys?limit=1000").unwrap().json();
        let items = listed["items"].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| (item["key"].as_str().unwrap().to_owned(), item["value"].clone())).collect()
    }

    /// Starts a mirror of the space, with words of its own.
    fn mirror(&self, other: &dyn Other, more: &[&str]) -> Running {
        let (url, server) = (other.url(), format!("127.0.0.1:{}", self.port));
        let words = ["state", "mirror", "s", "--to", &url, "--prefix", PREFIX, "--server", &server];
        self.folder.start(&[&words, ["--lease", "1s", "--compare", "300ms"].as_slice(), more].concat())
    }
}

/// The path of a key.
fn path(key: &str) -> String {
    format!("/v1/spaces/s/keys/{}", key.replace('/', "%2F"))
}

fn connected(event: &Value) -> bool {
    event["event"] == "connected"
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// Waits until both sides have the same.
fn wait_until_equal(home: &Home, other: &dyn Other) -> BTreeMap<String, Value> {
    wait_until("both sides are equal", || {
        let there: BTreeMap<_, _> = other.all()?.into_iter().map(|(key, text)| (key, json_of(&text))).collect();
        (home.all() == there).then_some(there)
    })
}

/// What is promised whatever the other side is.
fn both_ways(other: &dyn Other) {
    let home = Home::new();
    assert!(home.put("here", &json!({ "b": [1, 2.5] })) && other.set("there", r#" {"a": null} "#));
    let mut mirror = home.mirror(other, &["--json"]);
    wait_for(&mut mirror, connected);
    assert_eq!(wait_until_equal(&home, other).len(), 2, "what was there before");
    // A text that is not touched here stays as it was written there.
    assert_eq!(other.get("there").as_deref(), Some(r#" {"a": null} "#));
    assert!(other.set("word", "hello"));
    wait_until("a word", || home.get("word").filter(|found| found["value"] == "hello"));
    assert_eq!(home.get("word").unwrap()["writer"]["by"], "mirror s");
    assert!(home.put("word", &json!("bye")));
    wait_until("the word as JSON", || other.get("word").filter(|text| text == r#""bye""#));
    home.delete("here");
    wait_until("a removal there", || (!other.all()?.contains_key("here")).then_some(()));
    assert!(other.remove("there"));
    wait_until("a removal here", || home.get("there").is_none().then_some(()));
    // What went through is settled: nothing is sent back and forth.
    let version = home.get("word").unwrap()["version"].clone();
    assert!(home.put("last", &json!(1)));
    wait_for(&mut mirror, |event| event["event"] == "out" && event["key"] == "last");
    assert_eq!(home.get("word").unwrap()["version"], version);
    let (ended, counts) = stop(mirror);
    assert_eq!((ended.code, &counts["conflicts"], &counts["refused"]), (130, &json!(0), &json!(0)), "{ended:#?}");
    assert_eq!((&counts["out"], &counts["in"]), (&json!(4), &json!(3)), "{ended:#?}");
}

#[test]
fn redis_and_a_space_have_the_same_keys_whichever_was_written() {
    let folder = consort_testkit::temp_dir();
    let peer = Peer::redis(folder.path());
    both_ways(&Redis(peer.address()));
}

#[test]
fn etcd_and_a_space_have_the_same_keys_whichever_was_written() {
    let folder = consort_testkit::temp_dir();
    let peer = Peer::etcd(folder.path());
    both_ways(&Etcd(peer.address()));
}

#[test]
fn what_redis_does_not_notify_is_found_and_what_cannot_be_carried_is_told_once() {
    let folder = consort_testkit::temp_dir();
    let peer = Peer::redis(folder.path());
    let (home, redis) = (Home::new(), Redis(peer.address()));
    let mut mirror = home.mirror(&redis, &["--json"]);
    wait_for(&mut mirror, connected);
    assert!(redis.run::<String>(&["CONFIG", "SET", "notify-keyspace-events", ""]).is_some());
    assert!(redis.set("quiet", "1"));
    wait_until("the comparison", || home.get("quiet"));
    redis.run::<i64>(&["RPUSH", "app:list", "x"]).unwrap();
    let refused = wait_for(&mut mirror, |event| event["event"] == "refused");
    assert_eq!((&refused["key"], refused["reason"].as_str().unwrap().contains("`list`")), (&json!("list"), true));
    // A value of the state store does not replace it.
    assert!(home.put("list", &json!(1)) && home.put("after", &json!(2)));
    wait_until("what came after", || redis.get("after"));
    assert_eq!(redis.run::<i64>(&["LLEN", "app:list"]), Some(1));
    // A time to live goes with the value; a copy does not end before its original.
    let put = json!({ "value": 1, "ttl": "1h" });
    home.client().request("PUT", &path("short"), Some(&put)).unwrap();
    wait_until("its time", || {
        redis.run::<i64>(&["PTTL", "app:short"]).filter(|left| (3_590_000..3_603_000).contains(left))
    });
    assert!(redis.run::<String>(&["SET", "app:brief", "1", "PX", "1500"]).is_some());
    wait_until("what expires there", || home.get("brief"));
    wait_until("its end", || home.get("brief").is_none().then_some(()));
    let (_, counts) = stop(mirror);
    assert_eq!(counts["refused"], 1, "{counts}");
}

#[test]
fn the_policy_of_the_space_decides_and_its_decision_goes_out() {
    let folder = consort_testkit::temp_dir();
    let peer = Peer::redis(folder.path());
    let (home, redis) = (Home::new(), Redis(peer.address()));
    let policies = ["n/=counter", "t/=set", "w/=last_writer_wins"].map(|policy| ["--policy", policy]).concat();
    home.folder.ok(&[&["state", "set", "s"], policies.as_slice()].concat());
    let first = json!([1]);
    for (key, value) in [("n/a", json!(10)), ("t/a", first), ("w/a", json!("x")), ("plain", json!("x"))] {
        assert!(home.put(key, &value));
    }
    let mut mirror = home.mirror(&redis, &["--json"]);
    wait_for(&mut mirror, connected);
    wait_until_equal(&home, &redis);
    wait_for(&mut mirror, |event| event["event"] == "settled");
    mirror.kill();
    // Both sides change while nothing carries.
    for (key, here, there) in [
        ("n/a", "15", "12"),
        ("t/a", "[1,2]", "[1,3]"),
        ("w/a", r#""here""#, r#""there""#),
        ("plain", r#""here""#, r#""there""#),
    ] {
        let version = home.get(key).unwrap()["version"].clone();
        let put = json!({ "value": json_of(here), "version": version });
        let put = home.client().request("PUT", &path(key), Some(&put)).unwrap();
        assert_eq!(put.status, 200, "{}", put.text());
        assert!(redis.set(key, there));
    }
    let mut mirror = home.mirror(&redis, &["--json"]);
    wait_for(&mut mirror, connected);
    let all = wait_until_equal(&home, &redis);
    assert_eq!((&all["n/a"], &all["w/a"], &all["plain"]), (&json!(17), &json!("there"), &json!("here")));
    let mut tags: Vec<i64> = serde_json::from_value(all["t/a"].clone()).unwrap();
    tags.sort_unstable();
    assert_eq!(tags, [1, 2, 3]);
    let versions = || ["n/a", "t/a", "w/a", "plain"].map(|key| home.get(key).unwrap()["version"].clone());
    let settled = versions();
    assert!(home.put("last", &json!(1)));
    wait_for(&mut mirror, |event| event["event"] == "out" && event["key"] == "last");
    assert_eq!(versions(), settled, "nothing goes back and forth");
    let kept = home.folder.json(&["state", "conflicts", "s"]);
    assert_eq!(kept.iter().filter(|one| one["key"] == "plain").count(), 1, "{kept:#?}");
    assert_eq!(stop(mirror).1["conflicts"], 4);
}

#[test]
fn one_process_mirrors_under_a_name_and_a_stale_one_writes_nothing() {
    let folder = consort_testkit::temp_dir();
    let peer = Peer::redis(folder.path());
    let (home, redis) = (Home::new(), Redis(peer.address()));
    let mut first = home.mirror(&redis, &["--json"]);
    wait_for(&mut first, connected);
    let mut second = home.mirror(&redis, &["--json"]);
    wait_for(&mut second, |event| event["event"] == "standing_by");
    // The first sees nothing and renews nothing, as on a machine that sleeps.
    first.signal("STOP");
    wait_for(&mut second, connected);
    assert!(home.put("k", &json!(1)) && redis.set("j", "2"));
    wait_until_equal(&home, &redis);
    first.signal("CONT");
    wait_for(&mut first, |event| event["event"] == "lost");
    wait_for(&mut first, |event| event["event"] == "standing_by");
    assert!(redis.set("k", "3"));
    wait_until("the second works on", || home.get("k").filter(|found| found["value"] == 3));
    let (ended, _) = stop(second);
    assert_eq!(ended.code, 130);
    wait_for(&mut first, connected);
    assert!(home.put("k", &json!(4)));
    wait_until("the first has taken over", || redis.get("k").filter(|text| text == "4"));
}

#[test]
fn a_mirror_of_etcd_continues_behind_its_cursor_or_compares_where_that_is_compacted() {
    let folder = consort_testkit::temp_dir();
    let peer = Peer::etcd(folder.path());
    let (home, etcd) = (Home::new(), Etcd(peer.address()));
    let mut mirror = home.mirror(&etcd, &["--json"]);
    assert_eq!(wait_for(&mut mirror, connected)["resumed"], false);
    assert!(home.put("a", &json!(1)) && etcd.set("b", "1"));
    wait_until_equal(&home, &etcd);
    stop(mirror);
    home.delete("a");
    assert!(etcd.set("b", "2") && etcd.set("c", "3"));
    let mut mirror = home.mirror(&etcd, &["--json"]);
    assert_eq!(wait_for(&mut mirror, connected)["resumed"], true);
    assert_eq!(
        wait_until_equal(&home, &etcd),
        BTreeMap::from([("b".to_owned(), json!(2)), ("c".to_owned(), json!(3))])
    );
    stop(mirror);
    assert!(etcd.remove("b") && etcd.set("d", "4"));
    let revision = etcd.ask("/v3/kv/range", &json!({ "key": "YQ==" })).unwrap()["header"]["revision"].clone();
    etcd.ask("/v3/kv/compaction", &json!({ "revision": revision })).unwrap();
    let mut mirror = home.mirror(&etcd, &["--json"]);
    assert_eq!(wait_for(&mut mirror, connected)["resumed"], false);
    assert_eq!(
        wait_until_equal(&home, &etcd),
        BTreeMap::from([("c".to_owned(), json!(3)), ("d".to_owned(), json!(4))])
    );
}

#[test]
fn an_emptied_redis_is_filled_again_and_a_direction_binds() {
    let folder = consort_testkit::temp_dir();
    let peer = Peer::redis(folder.path());
    let (home, redis) = (Home::new(), Redis(peer.address()));
    assert!(home.put("a", &json!(1)) && home.put("b", &json!(2)));
    let mut mirror = home.mirror(&redis, &["--json"]);
    wait_for(&mut mirror, connected);
    wait_until_equal(&home, &redis);
    assert!(redis.run::<String>(&["FLUSHALL"]).is_some());
    assert_eq!(wait_until_equal(&home, &redis).len(), 2, "nobody removed these keys");
    stop(mirror);
    let mut mirror = home.mirror(&redis, &["--json", "--direction", "out"]);
    wait_for(&mut mirror, connected);
    assert!(redis.set("a", "9"));
    wait_until("it is overwritten", || redis.get("a").filter(|text| text == "1"));
    stop(mirror);
    let mut mirror = home.mirror(&redis, &["--json", "--direction", "in"]);
    wait_for(&mut mirror, connected);
    assert!(home.put("c", &json!(3)) && redis.set("d", "4"));
    wait_until("what comes in", || home.get("d"));
    assert_eq!(redis.get("c"), None);
    let wrong = home.folder.run(&["state", "mirror", "mirrors", "--to", &redis.url()]);
    assert!(wrong.code == 2 && wrong.err.contains("C0001"), "{wrong:#?}");
}

/// Writes on both sides while everything is killed in turn; nothing that was acknowledged is lost.
fn under_fire(other: &dyn Other, peer: &mut Peer) {
    let mut home = Home::new();
    let done = AtomicBool::new(false);
    let client = home.client();
    let (here, there) = std::thread::scope(|scope| {
        let here = scope.spawn(|| {
            write(&done, |key, value| {
                let put = client.request("PUT", &path(&format!("here/{key}")), Some(&json!({ "value": value })));
                put.is_ok_and(|response| response.status == 200)
            })
        });
        let there = scope.spawn(|| write(&done, |key, value| other.set(&format!("there/{key}"), &value.to_string())));
        let mut mirror = home.mirror(other, &[]);
        for round in 0..3 {
            // Each round carries something before it kills.
            let (ours, theirs) = (json!(round), format!("{round}"));
            wait_until("a write here", || home.put("round/here", &ours).then_some(()));
            wait_until("a write there", || other.set("round/there", &theirs).then_some(()));
            wait_until("it is carried out", || other.get("round/here").filter(|text| *text == theirs));
            wait_until("it is carried in", || home.get("round/there").filter(|found| found["value"] == ours));
            mirror.kill();
            peer.kill().unwrap();
            mirror = home.mirror(other, &[]);
            peer.restart().unwrap();
            home.kill();
            home.start();
        }
        done.store(true, Ordering::SeqCst);
        let written = (here.join().unwrap(), there.join().unwrap());
        let all = wait_until_equal(&home, other);
        for (side, keys) in [("here", &written.0), ("there", &written.1)] {
            for (key, (acknowledged, tried)) in keys {
                let found = all[&format!("{side}/{key}")].as_u64().unwrap();
                assert!((*acknowledged..=*tried).contains(&found), "{side}/{key}: {acknowledged} {found} {tried}");
            }
        }
        drop(mirror);
        written
    });
    assert!(here.len() == KEYS && there.len() == KEYS, "both sides were written");
}

/// Keys of each side.
const KEYS: usize = 5;

/// Writes ever larger numbers; of each key the last one that was acknowledged, and the last one that was tried.
fn write(done: &AtomicBool, put: impl Fn(usize, u64) -> bool) -> BTreeMap<usize, (u64, u64)> {
    let mut written = BTreeMap::new();
    for number in 1.. {
        if done.load(Ordering::SeqCst) {
            break;
        }
        let key = usize::try_from(number).unwrap() % KEYS;
        let before = written.get(&key).map_or(0, |(acknowledged, _)| *acknowledged);
        if put(key, number) {
            written.insert(key, (number, number));
        } else {
            written.insert(key, (before, number));
            // Where nothing answers, a pause lets the others start it again.
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }
    written
}

#[test]
fn nothing_that_redis_or_the_space_acknowledged_is_lost_where_all_three_are_killed() {
    let folder = consort_testkit::temp_dir();
    let mut peer = Peer::redis(folder.path());
    under_fire(&Redis(peer.address()), &mut peer);
}

#[test]
fn nothing_that_etcd_or_the_space_acknowledged_is_lost_where_all_three_are_killed() {
    let folder = consort_testkit::temp_dir();
    let mut peer = Peer::etcd(folder.path());
    under_fire(&Etcd(peer.address()), &mut peer);
}
