//! Schedules over HTTP: setting, what their instants start, and what is refused.
//!
//! For: what clients see, with the planning of the engine. Not for: the rules (core has those) or the calendar (the engine
//! has).
//! Invariant: no test waits for a fixed time: what an instant starts is waited for.

use consort_testkit::wait_until;
use serde_json::{Value, json};

use crate::support::{Server, refusal};

fn put(server: &Server, schedule: &Value) -> (u16, String) {
    let answer = server.client().request("PUT", "/v1/schedules/s", Some(schedule)).unwrap();
    if answer.status == 204 { (204, String::new()) } else { refusal(&answer) }
}

#[test]
fn instants_start_runs_that_name_them() {
    let server = Server::ready();
    let client = server.client();
    let every = json!({"every": "1s", "start": {"workflow": "echo", "input": {"n": 1}}, "overlap": "buffer_all"});
    assert_eq!(put(&server, &every).0, 204);
    let run = wait_until("a run", || {
        let runs = client.get("/v1/runs?label.schedule=s").unwrap().json();
        runs["items"].as_array().unwrap().last().cloned()
    });
    let instant = run["labels"]["scheduled_at"].as_str().unwrap().to_owned();
    assert_eq!(instant.split_once('.').map(|(_, rest)| rest), Some("000Z"), "{instant}");
    assert_eq!(server.ended(run["run"].as_str().unwrap())["output"], json!({"n": 1}));
    let shown = client.get("/v1/schedules/s").unwrap().json();
    let acted = shown["acted"].as_array().unwrap();
    assert!(!acted.is_empty() && acted.iter().all(|one| one["run"].is_string()), "{shown}");
    assert!(shown["counts"]["done"].as_u64() > Some(0) && shown["counts"]["failed"] == 0, "{shown}");
    assert_eq!(client.post("/v1/schedules/s/pause", &json!({})).unwrap().status, 204);
    let triggered = client.post("/v1/schedules/s/trigger", &json!({"overlap": "allow"})).unwrap().json();
    assert_eq!(triggered["outcome"], "started", "paused or not: {triggered}");
    assert_eq!(server.ended(triggered["run"].as_str().unwrap())["status"], "completed");
}

#[test]
fn the_next_instants_are_shown_as_soon_as_they_are_set() {
    let server = Server::ready();
    let client = server.client();
    let start = json!({"workflow": "echo"});
    let yearly = json!({"cron": "30 2 29 3 *", "timezone": "Europe/Vienna", "start": start});
    assert_eq!(put(&server, &yearly).0, 204);
    let shown = client.get("/v1/schedules/s").unwrap().json();
    let next: Vec<&str> = shown["next"].as_array().unwrap().iter().map(|one| one["due"].as_str().unwrap()).collect();
    assert_eq!(next.len(), 5, "{shown}");
    assert!(next.iter().all(|due| due[5..].starts_with("03-29T0")), "{shown}");
    assert_eq!((&shown["settings"]["overlap"], &shown["settings"]["catch_up"]), (&json!("skip"), &json!("1d")));
    assert_eq!((&shown["finished"], &shown["paused"]), (&json!(false), &json!(false)));
}

#[test]
fn what_is_no_schedule_is_refused() {
    let server = Server::ready();
    let client = server.client();
    let start = json!({"workflow": "echo"});
    for wrong in [
        json!({"start": start}),
        json!({"cron": "0 9 * * *", "every": "1h", "start": start}),
        json!({"cron": "0 9 * * *", "phase": "1h", "start": start}),
        json!({"every": "1h", "timezone": "UTC", "start": start}),
        json!({"cron": "0 9 * * *"}),
        json!({"cron": "0 9 * * *", "start": start, "publish": {"type": "t"}}),
        json!({"cron": "0 25 * * *", "start": start}),
        json!({"cron": "0 9 * * *", "timezone": "Mars/Olympus", "start": start}),
        json!({"cron": "0 0 30 2 *", "start": start}),
        json!({"every": "1h", "start": start, "until": "2020-01-01T00:00:00Z"}),
        json!({"every": "500ms", "start": start}),
        json!({"every": "1h", "start": start, "limit": 0}),
    ] {
        assert_eq!(put(&server, &wrong), (422, "C0792".to_owned()), "{wrong}");
    }
    for (path, body) in [("trigger", json!({})), ("pause", json!({}))] {
        let answer = client.post(&format!("/v1/schedules/s/{path}"), &body).unwrap();
        assert_eq!(refusal(&answer), (404, "C0791".to_owned()));
    }
    assert_eq!(put(&server, &json!({"every": "1h", "start": start})).0, 204);
    let future = json!({"from": "2020-01-01T00:00:00Z", "to": "2999-01-01T00:00:00Z"});
    assert_eq!(refusal(&client.post("/v1/schedules/s/backfill", &future).unwrap()), (422, "C0792".to_owned()));
    let long = json!({"from": "2020-01-01T00:00:00Z", "to": "2021-01-01T00:00:00Z"});
    assert_eq!(refusal(&client.post("/v1/schedules/s/backfill", &long).unwrap()).1, "C0007");
}
