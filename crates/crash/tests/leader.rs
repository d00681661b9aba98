//! A leader and a stand-by against a server that is killed again and again.
//!
//! For: that at most one of them holds the lock by the current token, whatever dies, and that no acknowledged grant is
//! lost. Not for: the rules of locks (the core has their scenarios).
//! Invariant: every wait ends by an answer; how many kills: `CONSORT_CRASH_KILLS` (20 in release builds, 5 in others).

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use consort_crash::{Chance, binary};
use consort_testkit::{http::Client, process::Server, temp_dir, wait_until};
use serde_json::{Value, json};

const LOCK: &str = "/v1/locks/leader";

fn start(folder: &Path) -> Server {
    let none: [&str; 0] = [];
    Server::start(binary::consort(), folder, none).expect("the server starts on what the last one left")
}

/// The answer to a request that the server must take.
fn ask(client: &Client, what: &str, body: &Value) -> (u16, Value) {
    let answer = client.post(&format!("{LOCK}/{what}"), body).expect("the server answers");
    (answer.status, if answer.body.is_empty() { Value::Null } else { answer.json() })
}

fn shown(client: &Client) -> Value {
    client.get(LOCK).expect("the server answers").json()
}

fn token(grant: &Value) -> u64 {
    assert_eq!(grant["state"], "held", "{grant}");
    grant["token"].as_u64().expect("a grant has a token")
}

/// Whether the server takes a candidate with this token for the holder.
fn is_believed(client: &Client, holder: &str, token: u64) -> bool {
    let (status, answer) = ask(client, "renew", &json!({"holder": holder, "token": token}));
    assert!(status == 200 || (status == 409 && answer["code"] == "C0723"), "{status} {answer}");
    status == 200
}

/// Kills the server while the leader renews without rest, after so many renewals.
fn kill_in_a_storm(server: Server, holder: &str, token: u64, renewals: u64) {
    let (client, body) = (server.client(), json!({"holder": holder, "token": token}));
    let done = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&done);
    let storm = thread::spawn(move || {
        while let Ok(answer) = client.post(&format!("{LOCK}/renew"), &body) {
            assert_eq!(answer.status, 200, "the leader is not refused: {}", answer.text());
            count.fetch_add(1, Ordering::AcqRel);
        }
    });
    wait_until("renewals", || (done.load(Ordering::Acquire) >= renewals).then_some(()));
    server.kill().expect("the server is killed");
    storm.join().expect("only the end of the server ends the renewals");
}

#[test]
fn a_stand_by_takes_over_once_and_the_leader_of_before_is_refused() {
    let default = if cfg!(debug_assertions) { 5 } else { 20 };
    let kills = std::env::var("CONSORT_CRASH_KILLS").map_or(default, |text| text.parse().expect("a number"));
    let (folder, mut chance) = (temp_dir(), Chance::new(7));
    binary::settle(folder.path());
    let (mut leader, mut stand_by) = ("a", "b");
    let mut server = start(folder.path());
    let (_, first) = ask(&server.client(), "acquire", &json!({"holder": leader, "ttl": "1h"}));
    let mut current = token(&first);
    for round in 0..kills {
        // The stand-by has its place; the request that waits is cut off with the server.
        let client = server.client();
        let body = json!({"holder": stand_by, "ttl": "1h", "wait": "1h"});
        let cut_off = {
            let (client, body) = (server.client(), body.clone());
            thread::spawn(move || client.post(&format!("{LOCK}/acquire"), &body).is_err())
        };
        wait_until("the stand-by", || (shown(&client)["waiting"] == 1).then_some(()));
        kill_in_a_storm(server, leader, current, chance.below(40) as u64);
        assert!(cut_off.join().expect("the request ends"));

        server = start(folder.path());
        let client = server.client();
        let lock = shown(&client);
        let holders = lock["holders"].as_array().expect("a list");
        assert_eq!((holders.len(), &holders[0]["holder"], &lock["waiting"]), (1, &json!(leader), &json!(1)), "{lock}");
        assert_eq!(holders[0]["token"], current, "an acknowledged grant survives");
        assert!(is_believed(&client, leader, current) && !is_believed(&client, stand_by, current));

        // The stand-by finds its place again, and has the lock with the release of the leader, or when an operator ends
        // its lease.
        let waiting = {
            let client = server.client();
            thread::spawn(move || client.post(&format!("{LOCK}/acquire"), &body).expect("the server answers").json())
        };
        let (what, end) = if round % 2 == 0 {
            ("release", json!({"holder": leader, "token": current}))
        } else {
            ("break", json!({"by": "ann", "reason": "it hangs"}))
        };
        assert_eq!(ask(&client, what, &end).0, 204);
        let next = token(&waiting.join().expect("the stand-by is granted"));
        assert!(next > current, "tokens grow over kills: {current}, {next}");
        let (old, new) = (is_believed(&client, leader, current), is_believed(&client, stand_by, next));
        assert_eq!((old, new), (false, true), "the stale leader is refused");
        assert_eq!(shown(&client)["holders"][0]["token"], next);
        (leader, stand_by, current) = (stand_by, leader, next);
    }
    assert!(server.stop().expect("the server stops").success());
}

#[test]
fn a_leader_that_dies_with_its_server_loses_the_lock_by_its_time() {
    let folder = temp_dir();
    binary::settle(folder.path());
    let server = start(folder.path());
    let (_, first) = ask(&server.client(), "acquire", &json!({"holder": "a", "ttl": "1s"}));
    let old = token(&first);
    server.kill().expect("the server is killed");
    let server = start(folder.path());
    let client = server.client();
    // No holder renews: the request waits until the lease is over, and no longer.
    let (_, second) = ask(&client, "acquire", &json!({"holder": "b", "ttl": "1h", "wait": "1h"}));
    assert!(token(&second) > old);
    assert!(!is_believed(&client, "a", old) && is_believed(&client, "b", token(&second)));
    assert!(server.stop().expect("the server stops").success());
}
