//! Agents, queues and limits as operators handle them, and partial output as watchers see it.
//!
//! For: what an operation does to the work. Not for: the form of answers (see `contract`).
//! Invariant: a test waits for what it has caused, never for a time.

use std::sync::Arc;

use consort_engine::Session;
use consort_testkit::{http::Events, wait_until};
use consort_types::{
    EffectClass,
    worker::{Delta, FromWorker, ToWorker},
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{Server, declared, echo, problem, refusal};

/// The next list of a watch for which this holds.
fn list_where(events: &mut Events, holds: impl Fn(&Value) -> bool) -> Value {
    loop {
        let event = events.next().expect("the watch continues");
        if event.event == "agents" {
            let list: Value = serde_json::from_str(&event.data).unwrap();
            if holds(&list["items"]) {
                return list["items"].clone();
            }
        }
    }
}

fn post(server: &Server, path: &str, body: &Value) {
    let answer = server.client().post(path, body).unwrap();
    assert_eq!(answer.status, 204, "{path}: {}", answer.text());
}

fn items(server: &Server, path: &str) -> Vec<Value> {
    let answer = server.client().get(path).unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()["items"].as_array().unwrap().clone()
}

fn queue_of(server: &Server, capability: &str) -> Option<Value> {
    items(server, "/v1/queues").into_iter().find(|queue| queue["capability"] == capability)
}

#[test]
fn a_drained_agent_gets_nothing_until_it_is_resumed() {
    let server = Server::ready();
    post(&server, "/v1/agents/echoer/drain", &json!({}));
    let agent = &items(&server, "/v1/agents/echoer")[0];
    assert_eq!((&agent["health"], &agent["draining"]), (&json!("draining"), &json!(true)));
    let run = server.run("echo", &json!({"n": 1}));
    let queue = wait_until("the task", || queue_of(&server, "echo").filter(|queue| queue["waiting"] == 1));
    assert!(queue["reason"].as_str().unwrap().contains("drains") && queue["oldest"].is_string(), "{queue}");
    post(&server, "/v1/agents/echoer/resume", &json!({}));
    assert_eq!(server.ended(&run)["status"], "completed");
    let queue = queue_of(&server, "echo").unwrap();
    assert_eq!((&queue["waiting"], &queue["handed_out_minute"]), (&json!(0), &json!(1)));
    assert_eq!(queue.get("reason"), None);
}

#[test]
fn a_version_takes_its_share_and_no_more() {
    let server = Server::ready();
    server.join(declared("echoer", "2", "echo", EffectClass::Idempotent), echo);
    let weigh = |version: &str, weight: u32| {
        post(&server, &format!("/v1/agents/echoer/weight?version={version}"), &json!({"weight": weight}));
    };
    let completed = |version: &str| {
        let agent = items(&server, &format!("/v1/agents/echoer?version={version}")).remove(0);
        agent["statistics"].as_array().unwrap().first().map_or(0, |skill| skill["completed"].as_u64().unwrap())
    };
    let ten = || {
        for n in 0..10 {
            let run = server.run("echo", &json!({"n": n}));
            server.ended(&run);
        }
    };
    weigh("2", 0);
    ten();
    assert_eq!((completed("1"), completed("2")), (10, 0));
    weigh("1", 0);
    weigh("2", 1000);
    ten();
    assert_eq!((completed("1"), completed("2")), (10, 10));
    weigh("1", 80);
    weigh("2", 20);
    ten();
    assert_eq!((completed("1"), completed("2")), (18, 12));
}

#[test]
fn an_agent_is_found_by_what_it_is_and_by_what_it_can_do() {
    let server = Server::ready();
    let mut agent = declared("Ecrivain-7", "1.2.0", "write.text", EffectClass::Read);
    agent.labels.insert("region".to_owned(), "eu=1".to_owned());
    server.join(agent, echo);
    let names = |query: &str| -> Vec<String> {
        let found = items(&server, &format!("/v1/agents{query}"));
        found.iter().map(|agent| agent["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(""), ["Ecrivain-7", "echoer", "loser"]);
    assert_eq!(names("?capability=lose"), ["loser"]);
    assert_eq!(names("?label.region=eu%3D1"), ["Ecrivain-7"]);
    assert_eq!(names("?label.region=eu%3D1&capability=echo"), [""; 0]);
    assert_eq!(names("?text=ECRIV"), ["Ecrivain-7"]);
    assert_eq!(names("?text=write.t"), ["Ecrivain-7"]);
    assert_eq!(names("?namespace=other"), [""; 0]);
}

#[test]
fn an_agent_is_removed_once_nobody_serves_it() {
    let server = Server::ready();
    let client = server.client();
    let answer = client.delete("/v1/agents/echoer?version=1").unwrap();
    assert_eq!(refusal(&answer), (409, "C0315".to_owned()));
    assert!(problem(&answer)["hint"].is_string());
    let joined = server.join(declared("passer", "3", "pass", EffectClass::Read), echo);
    let mut events = client.events("/v1/agents/watch?capability=pass", None).unwrap();
    list_where(&mut events, |agents| agents[0]["health"] == "healthy");
    joined.abort();
    let lost = list_where(&mut events, |agents| agents[0]["health"] == "lost");
    assert_eq!((&lost[0]["instances"], &lost[0]["version"]), (&json!([]), &json!("3")));
    assert!(lost[0]["reason"].is_string() && lost[0]["seen_at"].is_string(), "{lost}");
    assert_eq!(client.delete("/v1/agents/passer").unwrap().status, 204);
    list_where(&mut events, |agents| *agents == json!([]));
    assert_eq!(refusal(&client.get("/v1/agents/passer").unwrap()), (404, "C0314".to_owned()));
    assert_eq!(client.delete("/v1/agents/echoer?force=true").unwrap().status, 204);
}

#[test]
fn a_watch_of_agents_shows_each_change_and_ends_with_the_server() {
    let mut server = Server::ready();
    let mut events = server.client().events("/v1/agents/watch", None).unwrap();
    let first = list_where(&mut events, |_| true);
    assert_eq!(first.as_array().unwrap().len(), 2);
    post(&server, "/v1/agents/loser/drain?version=1", &json!({}));
    list_where(&mut events, |agents| agents[1]["draining"] == true && agents[0]["draining"] == false);
    server.stop();
    assert_eq!(events.find(|event| event.event == "error"), None);
}

#[test]
fn a_limit_holds_tasks_back_until_it_is_gone() {
    let server = Server::ready();
    let client = server.client();
    let set = |scope: &str, limit: &Value| client.request("PUT", &format!("/v1/quotas/{scope}"), Some(limit)).unwrap();
    assert_eq!(set("capability:echo", &json!({"max_concurrent": 0})).status, 204);
    let run = server.run("echo", &json!({"n": 1}));
    let queue = wait_until("the task", || queue_of(&server, "echo").filter(|queue| queue["limited"] == 1));
    assert!(queue["reason"].as_str().unwrap().contains("`capability:echo`"), "{queue}");
    let limits = items(&server, "/v1/quotas");
    assert_eq!(limits, [json!({"scope": "capability:echo", "max_concurrent": 0, "in_flight": 0, "limited": 1})]);
    assert_eq!(set("capability:echo", &json!({"max_waiting": 1})).status, 204, "it is replaced as a whole");
    assert_eq!(server.ended(&run)["status"], "completed");
    assert_eq!(set("key:tenant%207%2Fa", &json!({"rate": {"tasks": 1, "per": "1m", "burst": 2}})).status, 204);
    let scopes: Vec<_> = items(&server, "/v1/quotas").iter().map(|limit| limit["scope"].clone()).collect();
    assert_eq!(scopes, ["capability:echo", "key:tenant 7/a"]);
    for scope in ["capability:echo", "key:tenant%207%2Fa"] {
        assert_eq!(client.delete(&format!("/v1/quotas/{scope}")).unwrap().status, 204);
    }
    assert!(items(&server, "/v1/quotas").is_empty());
    assert!(items(&server, "/v1/quotas?namespace=other").is_empty());
}

#[test]
fn a_full_queue_refuses_runs_for_now() {
    let server = Server::ready();
    let client = server.client();
    post(&server, "/v1/agents/echoer/drain", &json!({}));
    let full = json!({"max_waiting": 1});
    assert_eq!(client.request("PUT", "/v1/quotas/capability:echo", Some(&full)).unwrap().status, 204);
    let run = server.run("echo", &json!({"n": 1}));
    wait_until("the task", || queue_of(&server, "echo").filter(|queue| queue["waiting"] == 1));
    let refused = client.post("/v1/runs", &json!({"workflow": "echo", "input": {"n": 2}})).unwrap();
    assert_eq!(refusal(&refused), (503, "C0401".to_owned()));
    assert_eq!(refused.headers["retry-after"], "1");
    post(&server, "/v1/agents/echoer/resume", &json!({}));
    assert_eq!(server.ended(&run)["status"], "completed");
    server.ended(&server.run("echo", &json!({"n": 3})));
}

#[test]
fn what_is_not_there_or_makes_no_sense_is_refused_by_its_code() {
    let server = Server::ready();
    let client = server.client();
    let rate = |tasks: u32, per: &str| json!({"rate": {"tasks": tasks, "per": per}});
    let cases: Vec<(&str, &str, Option<Value>, u16, &str)> = vec![
        ("GET", "/v1/agents/unknown", None, 404, "C0314"),
        ("GET", "/v1/agents/echoer?version=9", None, 404, "C0314"),
        ("POST", "/v1/agents/unknown/drain", None, 404, "C0314"),
        ("POST", "/v1/agents/echoer/resume?version=9", None, 404, "C0314"),
        ("DELETE", "/v1/agents/unknown", None, 404, "C0314"),
        ("DELETE", "/v1/agents/echoer?force=maybe", None, 400, "C0001"),
        ("POST", "/v1/agents/echoer/weight", Some(json!({"weight": 1})), 400, "C0001"),
        ("POST", "/v1/agents/echoer/weight?version=1", Some(json!({})), 400, "C0001"),
        ("POST", "/v1/agents/echoer/weight?version=1", Some(json!({"weight": 1001})), 413, "C0007"),
        ("POST", "/v1/agents/echoer/weight?version=1", Some(json!({"weight": -1})), 400, "C0001"),
        ("PUT", "/v1/quotas/nonsense", Some(json!({"max_waiting": 1})), 400, "C0001"),
        ("PUT", "/v1/quotas/capability:a%20b", Some(json!({"max_waiting": 1})), 400, "C0002"),
        ("PUT", "/v1/quotas/namespace", Some(json!({})), 400, "C0001"),
        ("PUT", "/v1/quotas/key:x", Some(json!({"max_waiting": 1})), 400, "C0001"),
        ("PUT", "/v1/quotas/namespace", Some(json!({"max_concurent": 1})), 400, "C0001"),
        ("PUT", "/v1/quotas/namespace", Some(rate(0, "1s")), 400, "C0001"),
        ("PUT", "/v1/quotas/namespace", Some(rate(1, "0s")), 400, "C0001"),
        ("PUT", "/v1/quotas/namespace", Some(rate(1, "soon")), 400, "C0001"),
        ("DELETE", "/v1/quotas/namespace", None, 404, "C0316"),
    ];
    for (method, path, body, status, code) in cases {
        let answer = client.request(method, path, body.as_ref()).unwrap();
        assert_eq!(refusal(&answer), (status, code.to_owned()), "{method} {path}: {}", answer.text());
    }
    let unknown = problem(&client.get("/v1/agents/echoer?version=9").unwrap());
    assert_eq!(unknown["hint"], "it has `1`");
}

/// Streams of every task, and completes it once it may.
async fn stream(mut session: Session, gate: Arc<Semaphore>) {
    while let Some(messages) = session.receive().await {
        for message in messages {
            let ToWorker::Task(offer) = message else { continue };
            let (task, token) = (offer.task, offer.token);
            let delta = |delta| FromWorker::Stream { task, token, delta };
            for report in [
                FromWorker::Heartbeat { task, token, progress: Some("writing".to_owned()) },
                delta(Delta::Text { text: "The\nlog ".to_owned() }),
                delta(Delta::Json { value: json!({"score": 0.5}) }),
            ] {
                gate.acquire().await.unwrap().forget();
                session.sender().send(report).await.unwrap();
            }
            gate.acquire().await.unwrap().forget();
            session.sender().send(FromWorker::Complete { task, token, output: offer.input }).await.unwrap();
        }
    }
}

#[test]
fn partial_output_is_seen_live_and_is_not_kept() {
    let server = Server::ready();
    let gate = Arc::new(Semaphore::new(0));
    let its = Arc::clone(&gate);
    server.join(declared("writer", "1", "write", EffectClass::Read), |session| stream(session, its));
    server.deploy("workflow: write\nsteps:\n  a: { capability: write }\n");
    let run = server.run("write", &Value::Null);
    let mut events = server.client().events(&format!("/v1/runs/{run}/watch"), None).unwrap();
    let mut said = Vec::new();
    for _ in 0..3 {
        // The watch is open: it sees progress from now on.
        gate.add_permits(1);
        let event = events.find(|event| event.event == "progress").unwrap();
        let live: Value = serde_json::from_str(&event.data).unwrap();
        let read: consort_api::watch::Progress = serde_json::from_value(live.clone()).unwrap();
        assert_eq!(
            (read.run.to_string(), read.step.as_str(), read.attempt, event.id.as_str()),
            (run.clone(), "a", 1, "")
        );
        said.push(live);
    }
    assert_eq!((&said[0]["kind"], &said[0]["message"]), (&json!("message"), &json!("writing")));
    assert_eq!((&said[1]["kind"], &said[1]["text"]), (&json!("text"), &json!("The\nlog ")));
    assert_eq!((&said[2]["kind"], &said[2]["json"]), (&json!("json"), &json!({"score": 0.5})));
    gate.add_permits(1);
    assert_eq!(events.last().unwrap().event, "end");
    let again = server.client().events(&format!("/v1/runs/{run}/watch"), None).unwrap();
    assert!(again.into_iter().all(|event| event.event != "progress"), "it was shown, and not kept");
}
