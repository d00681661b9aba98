//! Ballots over HTTP.
//!
//! For: what clients and voters meet: refusals with their codes, defaults filled in, and following to the end. Not for: how
//! votes are counted (the core's tests do that).
//! Invariant: streams end by themselves; no test waits for silence.

use consort_testkit::http::Event;
use serde_json::{Value, json};

use crate::support::{Server, refusal};

fn asked() -> Value {
    json!({
        "question": "Ship it?", "options": ["ship", "wait"], "rule": "majority",
        "voters": [{"name": "ann"}, {"name": "bob", "weight": 2}, {"name": "cy"}],
    })
}

fn put(server: &Server, name: &str, body: &Value) -> (u16, String) {
    let answer = server.client().request("PUT", &format!("/v1/ballots/{name}"), Some(body)).unwrap();
    if answer.status == 200 { (200, String::new()) } else { refusal(&answer) }
}

fn vote(server: &Server, body: &Value) -> (u16, String) {
    let answer = server.client().post("/v1/ballots/b/votes", body).unwrap();
    if answer.status == 204 { (204, String::new()) } else { refusal(&answer) }
}

#[test]
fn what_is_refused_has_a_code_of_its_own() {
    let server = Server::start();
    assert_eq!(put(&server, "b", &asked()), (200, String::new()));
    assert_eq!(put(&server, "b", &asked()), (200, String::new()), "the same again is accepted");
    let mut other = asked();
    other["question"] = json!("Ship what?");
    assert_eq!(put(&server, "b", &other), (409, "C0762".to_owned()));
    other["fraction"] = json!("2/3");
    assert_eq!(put(&server, "c", &other), (400, "C0001".to_owned()));
    let few = json!({"question": "?", "voters": [{"name": "a"}], "rule": "equality", "faults": 1});
    assert_eq!(put(&server, "c", &few), (400, "C0769".to_owned()));
    for (body, code) in [
        (json!({"voter": "dan", "choice": "ship"}), "C0763"),
        (json!({"voter": "ann", "choice": "burn"}), "C0766"),
        (json!({"voter": "ann", "ranking": ["ship"]}), "C0767"),
        (json!({"voter": "ann"}), "C0001"),
        (json!({"voter": "ann", "value": 9_007_199_254_740_993_u64}), "C0005"),
    ] {
        assert_eq!(vote(&server, &body), (400, code.to_owned()), "{body}");
    }
    assert_eq!(vote(&server, &json!({"voter": "ann", "choice": "ship", "round": 2})), (409, "C0765".to_owned()));
    assert_eq!(vote(&server, &json!({"voter": "ann", "choice": "ship"})).0, 204);
    assert_eq!(vote(&server, &json!({"voter": "ann", "choice": "wait"})), (409, "C0768".to_owned()));
    let gone = server.client().get("/v1/ballots/none").unwrap();
    assert_eq!(refusal(&gone), (404, "C0761".to_owned()));
    let delete = server.client().request("DELETE", "/v1/ballots/b", None).unwrap();
    assert_eq!(refusal(&delete), (409, "C0770".to_owned()));
}

#[test]
fn a_watch_shows_each_change_and_the_end() {
    let server = Server::start();
    assert_eq!(put(&server, "b", &asked()).0, 200);
    let mut events = server.client().events("/v1/ballots/b/watch", None).unwrap();
    let first = events.next().unwrap();
    assert_eq!(first.event, "ballot");
    assert_eq!(vote(&server, &json!({"voter": "ann", "choice": "ship", "reason": "users wait"})).0, 204);
    assert_eq!(vote(&server, &json!({"voter": "bob", "choice": "wait"})).0, 204);
    assert_eq!(vote(&server, &json!({"voter": "cy", "choice": "wait"})).0, 204);
    let rest: Vec<Event> = events.collect();
    let end = rest.last().unwrap();
    assert_eq!(end.event, "end");
    let ballot: Value = serde_json::from_str(&end.data).unwrap();
    assert_eq!((&ballot["result"]["decision"], &ballot["recount_agrees"]), (&json!("wait"), &json!(true)));
    let dissent = &ballot["rounds"][0]["votes"][0];
    assert_eq!((&dissent["dissents"], &dissent["reason"]), (&json!(true), &json!("users wait")));
    assert_eq!(vote(&server, &json!({"voter": "cy", "choice": "ship"})), (409, "C0764".to_owned()));
}

#[test]
fn free_answers_are_equal_whatever_their_spelling() {
    let server = Server::start();
    let voters: Vec<Value> = (0..4).map(|at| json!({"name": format!("v{at}")})).collect();
    let asked = json!({"question": "Which hash?", "voters": voters, "rule": "equality", "faults": 1});
    assert_eq!(put(&server, "b", &asked).0, 200);
    let shown = server.client().get("/v1/ballots/b").unwrap().json();
    assert_eq!((&shown["asked"]["against"], &shown["asked"]["quorum"]), (&json!("byzantine"), &json!(3)));
    // One lies, one is silent: two honest voters alone are too few.
    for (at, value) in [r#"{"a":1,"b":2.5}"#, r#"{"b":25e-1,"a":1.0}"#, r#""no""#].into_iter().enumerate() {
        let body = format!(r#"{{"voter":"v{at}","value":{value}}}"#);
        let path = "/v1/ballots/b/votes";
        let answer = server.client().raw("POST", path, "application/json", Some(body.as_bytes())).unwrap();
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    assert_eq!(server.client().get("/v1/ballots/b").unwrap().json()["status"], "open");
    assert_eq!(vote(&server, &json!({"voter": "v3", "value": {"b": 2.5, "a": 1}})).0, 204);
    let shown = server.client().get("/v1/ballots/b").unwrap().json();
    assert_eq!(shown["result"]["decision"], json!({"a": 1, "b": 2.5}));
}
