//! Events over HTTP: the modes of CloudEvents, pages, watching, consumer groups and triggers.
//!
//! For: what a publisher and a consumer see. Not for: the rules (core has those).
//! Invariant: streams are read until what is expected has come; no test waits for silence.

use consort_testkit::{http::Event, wait_until};
use consort_types::limits;
use serde_json::{Value, json};

use crate::support::{Server, refusal};

fn event(id: &str, kind: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": kind, "data": {"id": id}})
}

fn publish(server: &Server, event: &Value) -> Value {
    let answer = server.client().post("/v1/events", event).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["events"][0].clone()
}

#[test]
fn an_event_comes_in_every_mode_of_cloud_events_and_is_one_event() {
    let server = Server::start();
    let client = server.client();
    let text = br#"{"specversion":"1.0","id":"1","source":"/shop","type":"orders.created","data":{"b":1.50,"a":2}}"#;
    let structured =
        client.raw("POST", "/v1/events", "application/cloudevents+json; charset=UTF-8", Some(text)).unwrap();
    let first = structured.json()["events"][0].clone();
    assert_eq!((structured.status, &first["deduplicated"]), (200, &json!(false)));
    let batch = [b"[", &text[..], b"]"].concat();
    let again = client.raw("POST", "/v1/events", "application/cloudevents-batch+json", Some(&batch)).unwrap();
    assert_eq!(again.json()["events"][0], json!({"position": first["position"], "deduplicated": true}));
    let fields = client.header("ce-id", "1").header("ce-source", "/shop").header("ce-type", "orders.created");
    let binary =
        fields.header("ce-specversion", "1.0").raw("POST", "/v1/events", "application/json", Some(b"{}")).unwrap();
    assert_eq!(binary.json()["events"][0]["deduplicated"], true, "{}", binary.text());
    let client = server.client().header("ce-id", "2").header("ce-source", "/caf%C3%A9").header("ce-type", "t");
    let other = client.header("ce-topic", "orders.paid").header("ce-partitionkey", "k");
    let binary = other.raw("POST", "/v1/events", "application/json", Some(br#"{"a":1.0}"#)).unwrap();
    let position = binary.json()["events"][0]["position"].as_str().unwrap().to_owned();
    let shown = server.client().get(&format!("/v1/events/{position}")).unwrap().json();
    assert_eq!(
        (&shown["source"], &shown["topic"], &shown["partitionkey"]),
        (&json!("/café"), &json!("orders.paid"), &json!("k"))
    );
    let data = server.client().get(&format!("/v1/events/{position}/data")).unwrap();
    assert_eq!(data.text(), r#"{"a":1.0}"#);
    let first = first["position"].as_str().unwrap();
    assert_eq!(server.client().get(&format!("/v1/events/{first}/data")).unwrap().text(), r#"{"b":1.50,"a":2}"#);
}

#[test]
fn what_is_no_event_is_refused_with_its_code() {
    let server = Server::start();
    let client = server.client();
    let (mut named, mut version) = (event("1", "a.b"), event("1", "a.b"));
    named["position"] = json!("1-0");
    version["specversion"] = json!("0.3");
    let batch: Vec<Value> = (0..=limits::EVENT_BATCH_MAX).map(|n| event(&n.to_string(), "a")).collect();
    for (body, expected) in [
        (json!({"id": "1"}), (400, "C0748")),
        (event("", "a"), (400, "C0748")),
        (named, (400, "C0748")),
        (event("1", "not a topic"), (400, "C0747")),
        (version, (400, "C0001")),
        (json!([]), (400, "C0001")),
        (json!({"events": batch}), (413, "C0007")),
    ] {
        let (status, code) = refusal(&client.post("/v1/events", &body).unwrap());
        assert_eq!((status, code.as_str()), expected, "{body}");
    }
    let text = client.raw("POST", "/v1/events", "text/plain", Some(b"x")).unwrap();
    assert_eq!(refusal(&text), (415, "C0023".to_owned()));
    assert_eq!(refusal(&client.get("/v1/events?topic=a..b").unwrap()), (400, "C0747".to_owned()));
    assert_eq!(refusal(&client.get("/v1/events?after=7").unwrap()), (400, "C0008".to_owned()));
    assert_eq!(refusal(&client.get("/v1/events/9-9").unwrap()), (404, "C0741".to_owned()));
}

#[test]
fn a_large_document_travels_by_reference_and_is_there_in_full() {
    let server = Server::start();
    let mut large = event("1", "big.one");
    large["data"] = json!("x".repeat(limits::INLINE_BYTES_MAX));
    let position = publish(&server, &large)["position"].as_str().unwrap().to_owned();
    let shown = server.client().get(&format!("/v1/events/{position}")).unwrap().json();
    assert_eq!(shown["data"]["bytes"], limits::INLINE_BYTES_MAX + 2);
    let whole = server.client().get(&format!("/v1/events/{position}/data")).unwrap();
    assert_eq!(whole.json(), large["data"]);
}

#[test]
fn a_watch_goes_on_behind_the_last_event_and_says_where_events_were_removed() {
    let server = Server::start();
    let mut stream =
        server.client().events("/v1/events/watch?topic=orders.*&since=1970-01-01T00:00:00Z", None).unwrap();
    publish(&server, &event("1", "orders.created"));
    publish(&server, &event("2", "returns.created"));
    publish(&server, &event("3", "orders.paid"));
    let is_event = |event: &Event| event.event == "event";
    let seen: Vec<Event> = stream.by_ref().filter(is_event).take(2).collect();
    drop(stream);
    let ids = |events: &[Event]| -> Vec<String> {
        let id = |event: &Event| serde_json::from_str::<Value>(&event.data).unwrap()["id"].as_str().unwrap().to_owned();
        events.iter().map(id).collect()
    };
    assert_eq!(ids(&seen), ["1", "3"]);
    publish(&server, &event("4", "orders.paid"));
    let more = server.client().events("/v1/events/watch?topic=orders.*", Some(&seen[0].id)).unwrap();
    let more: Vec<Event> = more.filter(is_event).take(2).collect();
    assert_eq!(ids(&more), ["3", "4"]);
    let kept = server.client().request("PUT", "/v1/events/retention", Some(&json!({"count": 1}))).unwrap();
    assert_eq!(kept.status, 204, "{}", kept.text());
    let gone = server.client().get(&format!("/v1/events?after={}", seen[0].id)).unwrap();
    assert_eq!(refusal(&gone), (410, "C0742".to_owned()));
    assert!(gone.text().contains(&more[1].id), "it names the oldest that is left: {}", gone.text());
    let gone = server.client().get(&format!("/v1/events/watch?after={}", seen[0].id)).unwrap();
    assert_eq!(refusal(&gone), (410, "C0742".to_owned()));
}

#[test]
fn a_consumer_waits_for_an_event_and_settles_it() {
    let server = Server::start();
    let client = server.client();
    let path = |rest: &str| format!("/v1/subscriptions/s{rest}");
    let made = client.request("PUT", &path(""), Some(&json!({"topic": "orders.>", "max_deliveries": 2}))).unwrap();
    assert_eq!(made.status, 204, "{}", made.text());
    let nothing = client.post(&path("/fetch"), &json!({})).unwrap();
    assert_eq!(nothing.json(), json!({"deliveries": []}));
    let waiting = {
        let (client, path) = (server.client(), path("/fetch"));
        std::thread::spawn(move || {
            client.post(&path, &json!({"max": 5, "wait": "30s", "consumer": "c"})).unwrap().json()
        })
    };
    publish(&server, &event("1", "orders.created"));
    let got = waiting.join().unwrap();
    let delivery = got["deliveries"][0]["delivery"].clone();
    assert_eq!((&got["deliveries"][0]["attempt"], &got["deliveries"][0]["event"]["id"]), (&json!(1), &json!("1")));
    let back = client.post(&path("/nack"), &json!({"deliveries": [delivery], "delay": "0s", "reason": "no"})).unwrap();
    assert_eq!(back.json(), json!({"settled": 1, "refused": []}));
    let late = client.post(&path("/ack"), &json!({"deliveries": [delivery]})).unwrap();
    assert_eq!(refusal(&late), (409, "C0744".to_owned()));
    let again = client.post(&path("/fetch"), &json!({"max": 5})).unwrap().json();
    let second = again["deliveries"][0]["delivery"].clone();
    let mixed = client.post(&path("/ack"), &json!({"deliveries": [delivery, second]})).unwrap().json();
    assert_eq!((&mixed["settled"], &mixed["refused"][0]["problem"]["code"]), (&json!(1), &json!("C0744")));
    let shown = client.get(&path("")).unwrap().json();
    assert_eq!((&shown["lag"], &shown["open"], &shown["acknowledged"]), (&json!(0), &json!(0), &json!(1)));
    let over = client.post(&path("/fetch"), &json!({"wait": "61s"})).unwrap();
    assert_eq!(refusal(&over), (400, "C0001".to_owned()));
    let missing = client.post("/v1/subscriptions/none/fetch", &json!({})).unwrap();
    assert_eq!(refusal(&missing), (404, "C0743".to_owned()));
}

#[test]
fn a_trigger_starts_a_run_with_the_data_of_the_event() {
    let server = Server::ready();
    let client = server.client();
    let wrong = json!({"topic": ">", "filter": "event.data.n >", "start": {"workflow": "echo"}});
    assert_eq!(refusal(&client.request("PUT", "/v1/triggers/t", Some(&wrong)).unwrap()), (422, "C0749".to_owned()));
    let none = json!({"topic": ">"});
    assert_eq!(refusal(&client.request("PUT", "/v1/triggers/t", Some(&none)).unwrap()), (422, "C0749".to_owned()));
    let right = json!({"topic": "orders.*", "filter": "event.data.id != '2'",
        "start": {"workflow": "echo", "input": "{'n': event.data.id}"}});
    assert_eq!(client.request("PUT", "/v1/triggers/t", Some(&right)).unwrap().status, 204);
    for id in ["1", "2", "1"] {
        publish(&server, &event(id, "orders.created"));
    }
    let runs = client.get("/v1/runs?label.trigger=t").unwrap().json();
    let [run] = &runs["items"].as_array().unwrap()[..] else { panic!("{runs}") };
    assert_eq!(server.ended(run["run"].as_str().unwrap())["output"], json!({"n": "1"}));
    let shown = client.get("/v1/triggers/t").unwrap().json();
    assert_eq!((&shown["fired"], &shown["filtered"], &shown["failed"]), (&json!(1), &json!(1), &json!(0)));
    let listed = wait_until("the trigger", || client.get("/v1/triggers").unwrap().json()["items"].get(0).cloned());
    assert_eq!(listed["start"], right["start"]);
}
