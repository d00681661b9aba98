//! Watching over server-sent events.
//!
//! For: that an interrupted watch resumes without loss or repetition. Not for: what a journal holds.
//! Invariant: streams end by themselves; no test waits for silence.

use consort_testkit::http::Event;
use serde_json::{Value, json};

use crate::support::{Server, refusal};

fn entries(events: &[Event]) -> Vec<&str> {
    events.iter().filter(|event| event.event == "entry").map(|event| event.id.as_str()).collect()
}

fn history(server: &Server, run: &str) -> Vec<String> {
    let page = server.client().get(&format!("/v1/runs/{run}/history?limit=1000")).unwrap().json();
    page["items"].as_array().unwrap().iter().map(|entry| entry["cursor"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_watch_shows_the_whole_history_and_then_the_end() {
    let server = Server::ready();
    // Line breaks and carriage returns in a payload's own bytes must not break the stream's lines.
    let body = b"{\"workflow\":\"echo\",\r\n \"input\":\r\n{\"n\":\r\n[1,\n\n2]}}";
    let started = server.client().raw("POST", "/v1/runs", "application/json", Some(body)).unwrap().json();
    let run = started["run"].as_str().unwrap();
    let events: Vec<Event> = server.client().events(&format!("/v1/runs/{run}/watch"), None).unwrap().collect();
    assert_eq!(entries(&events), history(&server, run));
    let end = events.last().unwrap();
    assert_eq!((end.event.as_str(), end.id.as_str()), ("end", "end"));
    let run: Value = serde_json::from_str(&end.data).unwrap();
    assert_eq!((&run["status"], &run["output"]), (&json!("completed"), &json!({"n": [1, 2]})));
}

#[test]
fn a_watch_goes_on_where_it_broke_off() {
    let server = Server::ready();
    let run = server.run("wait", &Value::Null);
    let path = format!("/v1/runs/{run}/watch");
    let mut before: Vec<Event> = Vec::new();
    let mut first = server.client().events(&path, None).unwrap();
    // The run began, and waits: two entries, while the stream stays open.
    while entries(&before).len() < 2 {
        before.push(first.next().unwrap());
    }
    drop(first);
    let seen = entries(&before).last().copied().unwrap().to_owned();
    let signal = format!("/v1/runs/{run}/signals/go");
    assert_eq!(server.client().post(&signal, &json!(1)).unwrap().status, 200);
    let after: Vec<Event> = server.client().events(&path, Some(&seen)).unwrap().collect();
    let by_query: Vec<Event> = server.client().events(&format!("{path}?after={seen}"), None).unwrap().collect();
    assert_eq!(after, by_query);
    assert_eq!([entries(&before), entries(&after)].concat(), history(&server, &run));
    assert_eq!(after.last().unwrap().event, "end");
}

#[test]
fn who_has_seen_the_end_is_told_not_to_come_back() {
    let server = Server::ready();
    let run = server.run("echo", &json!({"n": 1}));
    server.ended(&run);
    let path = format!("/v1/runs/{run}/watch");
    let client = server.client();
    assert_eq!(client.events(&path, Some("end")).unwrap().status, 204);
    assert_eq!(refusal(&client.get(&format!("{path}?after=nonsense")).unwrap()), (400, "C0008".to_owned()));
    assert_eq!(refusal(&client.get("/v1/runs/01J8Z3K4M5N6P7Q8R9S0T1V2W3/watch").unwrap()), (404, "C0201".to_owned()));
}

#[test]
fn a_deleted_run_ends_its_watch() {
    let server = Server::ready();
    let run = server.run("wait", &Value::Null);
    let mut events = server.client().events(&format!("/v1/runs/{run}/watch"), None).unwrap();
    events.next().unwrap();
    let client = server.client();
    assert_eq!(client.post(&format!("/v1/runs/{run}/cancel"), &json!({})).unwrap().status, 204);
    assert!(events.last().unwrap().data.contains("cancelled"));
}

#[test]
fn a_server_that_stops_ends_its_watches() {
    let mut server = Server::ready();
    let run = server.run("wait", &Value::Null);
    let mut events = server.client().events(&format!("/v1/runs/{run}/watch"), None).unwrap();
    events.next().unwrap();
    server.stop();
    assert!(events.all(|event| event.event != "end"), "the run has not ended");
}
