//! `consort events bridge` between the real binary and real brokers.
//!
//! For: what a bridge promises, also where everything is killed. Not for: the forms of a message (`consort-bridge` has
//! those).
//! Invariant: as in `common`; the brokers are those of the machine, started in a folder of their own.

#![cfg(feature = "bridge")]

mod common;
#[path = "common/home.rs"]
mod home;

use std::collections::BTreeMap;

use common::{Ended, Running};
use consort_testkit::{TempDir, peers::Peer, temp_dir, wait_until};
use home::{Home, wait_for};
use serde_json::{Value, json};

impl Home {
    fn publish(&self, event: &Value) {
        let answer = self.client().post("/v1/events", event).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    fn events(&self) -> Vec<Value> {
        let listed = self.client().get("/v1/events?limit=1000").unwrap().json();
        listed["items"].as_array().cloned().unwrap_or_default()
    }

    /// How often each event is there, by its id, once an event of this id is.
    fn ids_with(&self, id: &str) -> BTreeMap<String, usize> {
        wait_until("an event", || {
            let mut ids = BTreeMap::new();
            for event in self.events() {
                *ids.entry(event["id"].as_str()?.to_owned()).or_default() += 1;
            }
            ids.contains_key(id).then_some(ids)
        })
    }

    fn bridge(&self, url: &str, name: &str, more: &[&str]) -> Running {
        let server = format!("127.0.0.1:{}", self.port);
        let words = ["events", "bridge", "--to", url, "--topic", "orders.>", "--name", name, "--server", &server];
        self.folder.start(&[&words, ["--lease", "1s", "--from", "all", "--json"].as_slice(), more].concat())
    }
}

fn event(id: &str) -> Value {
    json!({ "id": id, "source": "/shop of ü", "type": "orders.made", "subject": "s 1", "more": "m", "data": { "n": 1.50 } })
}

fn connected(bridge: &mut Running) {
    wait_for(bridge, |event| event["event"] == "connected");
}

/// Stops a bridge that is to end well; its counts.
fn stop(bridge: Running) -> Value {
    let (Ended { code, out, err }, counts) = home::stop(bridge);
    assert_eq!(code, 130, "{out}{err}");
    counts
}

/// Two homes with a broker between them: what one publishes, the other has, once and whole, and nothing goes back.
fn both_ways(url: &str) {
    let (here, there) = (Home::new(), Home::new());
    let mut first = here.bridge(url, "here", &[]);
    connected(&mut first);
    let mut second = there.bridge(url, "there", &[]);
    connected(&mut second);
    here.publish(&event("out"));
    here.publish(&json!({ "id": "other", "source": "/shop", "type": "returns.made" }));
    let large = "x".repeat(100_000);
    here.publish(&json!({ "id": "large", "source": "/shop", "type": "t", "topic": "orders.x.y", "data": large }));
    there.publish(&event("back"));
    let ids = there.ids_with("large");
    assert_eq!(ids, BTreeMap::from([("out".into(), 1), ("large".into(), 1), ("back".into(), 1)]));
    let came = there.events();
    let out = came.iter().find(|one| one["id"] == "out").unwrap();
    let of = |name: &str| out[name].clone();
    assert_eq!((of("source"), of("subject"), of("more")), (json!("/shop of ü"), json!("s 1"), json!("m")));
    assert_eq!(
        (of("data"), of("consortbridge"), of("topic")),
        (json!({ "n": 1.5 }), json!("there"), json!("orders.made"))
    );
    let large = came.iter().find(|one| one["id"] == "large").unwrap();
    assert_eq!((&large["type"], &large["topic"]), (&json!("t"), &json!("orders.x.y")));
    assert!(large["data"]["bytes"] == 100_002, "{large}");
    here.ids_with("back");
    wait_for(&mut second, |event| event["event"] == "out");
    let counts = [stop(first), stop(second)];
    assert_eq!([&counts[0]["out"], &counts[0]["in"], &counts[1]["out"], &counts[1]["in"]], [2, 1, 1, 2], "{counts:?}");
}

/// A broker, a bridge and a server are killed in turn; nothing is lost, and nothing is there twice.
fn under_fire(url: &str, peer: &mut Peer) {
    let (mut here, there) = (Home::new(), Home::new());
    let mut far = there.bridge(url, "there", &["--direction", "in"]);
    connected(&mut far);
    let mut bridge = here.bridge(url, "here", &["--direction", "out"]);
    connected(&mut bridge);
    for id in ["a", "b"] {
        here.publish(&event(id));
    }
    // Killed while it carries, wherever it is.
    bridge.kill();
    here.publish(&event("c"));
    let mut bridge = here.bridge(url, "here", &["--direction", "out"]);
    there.ids_with("c");
    peer.kill().unwrap();
    here.publish(&event("d"));
    wait_for(&mut bridge, |event| event["event"] == "lost");
    here.kill();
    far.kill();
    here.start();
    peer.restart().unwrap();
    let far = there.bridge(url, "there", &["--direction", "in"]);
    here.publish(&event("e"));
    let ids = there.ids_with("e");
    wait_until("the rest", || (there.events().len() == 5).then_some(()));
    assert!(ids.values().all(|count| *count == 1), "{ids:?}");
    assert_eq!((stop(bridge)["refused"].clone(), stop(far)["refused"].clone()), (json!(0), json!(0)));
}

/// An event that is delivered again, as after a crash between the confirmation there and the acknowledgement here; how many
/// of what came in were known before.
fn sent_again(url: &str) -> Value {
    let (here, there) = (Home::new(), Home::new());
    let own = ["--stream", "again", "--prefix", "again."];
    let mut far = there.bridge(url, "to", &[&own, ["--direction", "in"].as_slice()].concat());
    connected(&mut far);
    let mut bridge = here.bridge(url, "from", &[&own, ["--direction", "out"].as_slice()].concat());
    here.publish(&event("again"));
    wait_for(&mut bridge, |event| event["event"] == "out");
    stop(bridge);
    let sought = here.client().post("/v1/subscriptions/bridge.from/seek", &json!({ "to": "all" })).unwrap();
    assert_eq!(sought.status, 200, "{}", sought.text());
    here.publish(&event("last"));
    let bridge = here.bridge(url, "from", &[&own, ["--direction", "out"].as_slice()].concat());
    assert_eq!(there.ids_with("last").values().sum::<usize>(), 2);
    assert_eq!(stop(bridge)["out"], 2);
    stop(far)["deduplicated"].clone()
}

fn nats() -> (TempDir, Peer, String) {
    let folder = temp_dir();
    let peer = Peer::nats(folder.path());
    let url = format!("nats://{}", peer.address());
    (folder, peer, url)
}

fn rabbit() -> (TempDir, Peer, String) {
    let folder = temp_dir();
    let peer = Peer::rabbit(folder.path());
    let url = format!("amqp://{}", peer.address());
    (folder, peer, url)
}

fn redis() -> (TempDir, Peer, String) {
    let folder = temp_dir();
    let peer = Peer::redis(folder.path());
    let url = format!("redis://{}/0", peer.address());
    (folder, peer, url)
}

#[test]
fn events_go_both_ways_through_nats() {
    let (_folder, _peer, url) = nats();
    both_ways(&url);
    assert_eq!(sent_again(&url), 0, "the stream has it once");
}

#[test]
fn events_go_both_ways_through_rabbitmq_and_survive_its_end() {
    let (_folder, mut peer, url) = rabbit();
    both_ways(&url);
    assert_eq!(sent_again(&url), 1, "RabbitMQ has it twice, Consort once");
    under_fire(&url, &mut peer);
}

#[test]
fn events_go_both_ways_through_redis() {
    let (_folder, _peer, url) = redis();
    both_ways(&url);
    assert_eq!(sent_again(&url), 0, "the stream has it once");
}

#[test]
fn nothing_is_lost_where_nats_the_bridge_or_the_server_is_killed() {
    let (_folder, mut peer, url) = nats();
    under_fire(&url, &mut peer);
}

#[test]
fn nothing_is_lost_where_redis_the_bridge_or_the_server_is_killed() {
    let (_folder, mut peer, url) = redis();
    under_fire(&url, &mut peer);
}

#[test]
fn what_is_no_json_is_put_aside_and_what_comes_behind_it_is_taken() {
    let (_folder, peer, url) = redis();
    let client = ::redis::Client::open(url.as_str()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let home = Home::new();
    let mut add = |name: &str, value: &str| -> String {
        ::redis::cmd("XADD").arg("orders.in").arg("*").arg(name).arg(value).query(&mut connection).unwrap()
    };
    let bad = add("data", "no JSON");
    add("amount", "120");
    add("topic", "orders.empty");
    let good = add("data", "[1]");
    let mut bridge = home.bridge(&url, "in", &["--direction", "in", "--stream", "orders.in"]);
    let refused = wait_for(&mut bridge, |event| event["event"] == "refused");
    assert_eq!(refused["what"], format!("orders.in:{bad}"));
    home.ids_with(&good);
    let events = home.events();
    assert_eq!((&events[0]["data"], &events[0]["topic"]), (&json!({ "amount": "120" }), &json!("orders.in")));
    assert_eq!((&events[1]["data"], &events[1]["topic"]), (&json!({}), &json!("orders.empty")));
    assert_eq!((&events[2]["data"], &events[2]["source"]), (&json!([1]), &json!("/redis/orders.in")));
    assert_eq!(stop(bridge)["refused"], 1);
    let aside: i64 = ::redis::cmd("XLEN").arg("orders.in.refused").query(&mut connection).unwrap();
    assert_eq!(aside, 1);
    drop(peer);
}

#[test]
fn one_process_works_under_a_name_and_what_does_not_fit_is_said() {
    let (_folder, _peer, url) = nats();
    let home = Home::new();
    let mut first = home.bridge(&url, "one", &[]);
    connected(&mut first);
    let mut second = home.bridge(&url, "one", &[]);
    wait_for(&mut second, |event| event["event"] == "standing_by");
    first.kill();
    connected(&mut second);
    stop(second);
    for (to, topic, said) in [
        ("kafka://127.0.0.1:9092", "orders.>", "no bridge yet"),
        ("amqps://127.0.0.1:1", "orders.>", "TLS"),
        (url.as_str(), "a..b", "C0747"),
    ] {
        let ended = home.folder.run(&["events", "bridge", "--to", to, "--topic", topic]);
        assert!(ended.code == 2 && ended.err.contains(said), "{ended:#?}");
    }
}
