//! Locks and barriers over HTTP: waiting, following, and what is refused.
//!
//! For: the way from a request to its answer, with several callers. Not for: the rules (the scenarios of the core have
//! them).
//! Invariant: every wait ends by another request, not by a clock.

use std::thread;

use consort_testkit::{
    http::{Client, Event},
    wait_until,
};
use serde_json::{Value, json};

use crate::support::{Server, refusal};

fn post(client: &Client, path: &str, body: &Value) -> Value {
    let answer = client.post(path, body).unwrap();
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

fn acquire(client: &Client, body: &Value) -> Value {
    post(client, "/v1/locks/leader/acquire", body)
}

fn lock(client: &Client) -> Value {
    client.get("/v1/locks/leader").unwrap().json()
}

#[test]
fn waiting_requests_are_granted_in_the_order_in_which_they_came() {
    let server = Server::start();
    let client = server.client();
    let first = acquire(&client, &json!({"holder": "h0", "ttl": "1h"}));
    let waiting: Vec<_> = (1..=3)
        .map(|n| {
            let waiter = server.client();
            let body = json!({"holder": format!("h{n}"), "ttl": "1h", "wait": "1h"});
            let thread = thread::spawn(move || acquire(&waiter, &body));
            // Its place is recorded before the next one comes.
            wait_until("the waiter", || (lock(&client)["waiting"] == n).then_some(()));
            thread
        })
        .collect();
    let mut token = first["token"].as_u64().unwrap();
    for (n, thread) in waiting.into_iter().enumerate() {
        post(&client, "/v1/locks/leader/release", &json!({"holder": format!("h{n}"), "token": token}));
        let grant = thread.join().unwrap();
        assert_eq!((&grant["state"], &grant["holder"]), (&json!("held"), &json!(format!("h{}", n + 1))));
        let next = grant["token"].as_u64().unwrap();
        assert!(next > token, "tokens grow");
        token = next;
    }
}

#[test]
fn a_caller_that_is_gone_keeps_its_place_and_finds_it_again() {
    let server = Server::start();
    let client = server.client();
    let first = acquire(&client, &json!({"holder": "a", "ttl": "1h"}));
    let gone = server.runtime.spawn({
        let engine = server.engine.clone();
        async move {
            let command = consort_engine::AcquireLock {
                namespace: "default".to_owned(),
                name: "leader".to_owned(),
                holder: "b".to_owned(),
                permits: 1,
                ttl: consort_types::Span::from_secs(3_600),
                wait: consort_types::Span::from_secs(3_600),
                value: None,
            };
            consort_engine::Coordination::of(&engine).acquire_lock(command, std::time::Duration::from_hours(1)).await
        }
    });
    wait_until("the waiter", || (lock(&client)["waiting"] == 1).then_some(()));
    gone.abort();
    post(&client, "/v1/locks/leader/release", &json!({"holder": "a", "token": first["token"]}));
    let shown = lock(&client);
    assert_eq!((&shown["holders"][0]["holder"], &shown["waiting"]), (&json!("b"), &json!(0)));
    let again = acquire(&client, &json!({"holder": "b", "ttl": "1h", "wait": "1h"}));
    assert_eq!(again["token"], shown["holders"][0]["token"], "asking again joins the grant");
}

#[test]
fn a_stale_token_is_refused_and_changes_nothing() {
    let server = Server::start();
    let client = server.client();
    let first = acquire(&client, &json!({"holder": "a", "ttl": "1h"}));
    post(&client, "/v1/locks/leader/break", &json!({"by": "ann", "reason": "it hangs"}));
    let second = acquire(&client, &json!({"holder": "b", "ttl": "1h"}));
    let before = lock(&client);
    for (path, holder, code) in [
        ("renew", "a", (409, "C0723")),
        ("release", "a", (409, "C0723")),
        ("renew", "b", (409, "C0723")),
        ("release", "b", (409, "C0723")),
    ] {
        let body = json!({"holder": holder, "token": first["token"]});
        let refused = client.post(&format!("/v1/locks/leader/{path}"), &body).unwrap();
        assert_eq!(refusal(&refused), (code.0, code.1.to_owned()), "{path} {holder}");
    }
    assert_eq!(lock(&client), before);
    assert_eq!(before["holders"][0]["token"], second["token"]);
    for (path, body, code) in [
        ("/v1/locks/leader/acquire", json!({"holder": "c", "permits": 2}), (409, "C0724")),
        ("/v1/locks/leader/acquire", json!({"holder": "c", "ttl": "2d"}), (413, "C0007")),
        ("/v1/locks/leader/acquire", json!({"holder": ""}), (400, "C0001")),
        ("/v1/locks/a%20b/acquire", json!({"holder": "c"}), (400, "C0002")),
        ("/v1/locks/other/break", json!({"by": "ann", "reason": "why"}), (404, "C0721")),
        ("/v1/locks/leader/break", json!({"by": "", "reason": "why"}), (400, "C0001")),
        ("/v1/barriers/b/arrive", json!({"member": "m", "parties": 2, "generation": 5}), (409, "C0726")),
    ] {
        let refused = client.post(path, &body).unwrap();
        assert_eq!(refusal(&refused), (code.0, code.1.to_owned()), "{path} {body}");
    }
    assert_eq!(refusal(&client.get("/v1/barriers/none").unwrap()), (404, "C0725".to_owned()));
    assert_eq!(refusal(&client.get("/v1/locks/leader/watch?after=x").unwrap()), (400, "C0008".to_owned()));
}

fn changes(events: &[Event]) -> Vec<String> {
    let told = events.iter().filter(|event| event.event == "change").map(|event| {
        let change: Value = serde_json::from_str(&event.data).unwrap();
        format!("{} {}", change["change"].as_str().unwrap(), change["holder"].as_str().unwrap())
    });
    told.collect()
}

#[test]
fn an_observer_sees_every_change_once_also_over_a_broken_stream() {
    let server = Server::start();
    let client = server.client();
    let mut stream = client.events("/v1/locks/leader/watch", None).unwrap();
    let mut seen = vec![stream.next().unwrap()];
    assert_eq!(seen[0].event, "unknown", "nobody has held it yet");
    let rounds = |from: u64, to: u64| {
        for n in from..to {
            let holder = format!("h{n}");
            let grant = acquire(&client, &json!({"holder": holder, "value": format!("v{n}")}));
            post(&client, "/v1/locks/leader/release", &json!({"holder": holder, "token": grant["token"]}));
        }
    };
    rounds(0, 3);
    while changes(&seen).len() < 4 {
        seen.push(stream.next().unwrap());
    }
    drop(stream);
    let last = seen.last().unwrap().id.clone();
    let change: Value = serde_json::from_str(&seen.last().unwrap().data).unwrap();
    assert_eq!(change["cursor"], last, "the document says where to continue, too");
    rounds(3, 5);
    let mut stream = client.events("/v1/locks/leader/watch", Some(&last)).unwrap();
    while changes(&seen).len() < 10 {
        seen.push(stream.next().unwrap());
    }
    let expected: Vec<String> = (0..5).flat_map(|n| [format!("granted h{n}"), format!("released h{n}")]).collect();
    assert_eq!(changes(&seen), expected);
    assert!(client.events("/v1/locks/leader/watch", None).unwrap().next().unwrap().event == "lock");
}

#[test]
fn members_of_a_barrier_wait_for_the_last_one() {
    let server = Server::start();
    let client = server.client();
    let come = |member: &'static str| {
        let client = server.client();
        thread::spawn(move || {
            post(&client, "/v1/barriers/b/arrive", &json!({"member": member, "parties": 3, "wait": "60s", "ttl": "1h"}))
        })
    };
    let waiting = [come("m1"), come("m2")];
    wait_until("two members", || (client.get("/v1/barriers/b").unwrap().json()["arrived"] == 2).then_some(()));
    let last = post(&client, "/v1/barriers/b/arrive", &json!({"member": "m3", "parties": 3}));
    assert_eq!((&last["released"], &last["generation"]), (&json!(true), &json!(1)));
    for thread in waiting {
        let arrival = thread.join().unwrap();
        assert_eq!((&arrival["released"], &arrival["generation"]), (&json!(true), &json!(1)));
    }
}
