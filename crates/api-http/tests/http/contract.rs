//! Every route against its description.
//!
//! For: that the OpenAPI document of `consort_api` is true: each operation is called, and each answer checked against
//! its schema. Not for: the edges of single operations.
//! Invariant: an operation that is in the document and not called here fails the test.

use std::{cell::RefCell, collections::BTreeSet};

use consort_api::openapi;
use consort_testkit::{http::Client, wait_until};
use serde_json::{Value, json};

use crate::support::{ASK, ECHO, Server, problem};

/// A client that checks every answer against the document.
struct Checked {
    client: Client,
    document: Value,
    called: RefCell<BTreeSet<(String, String)>>,
}

impl Checked {
    fn new(client: Client) -> Self {
        let mut document = openapi();
        forbid_extras(&mut document["components"]["schemas"]);
        Self { client, document, called: RefCell::default() }
    }

    /// Calls an operation; `{}` in the template is filled from `parts` in order.
    fn call(&self, verb: &str, template: &str, parts: &[&str], body: Option<&Value>) -> Value {
        let (path, query) = template.split_once('?').unwrap_or((template, ""));
        let operation = &self.document["paths"][path][verb];
        assert!(operation.is_object(), "{verb} {path} is described");
        self.called.borrow_mut().insert((path.to_owned(), verb.to_owned()));
        let mut filled = String::new();
        let mut parts = parts.iter();
        for part in path.split('/').skip(1) {
            filled.push('/');
            filled.push_str(if part.starts_with('{') { parts.next().unwrap() } else { part });
        }
        let answer = self.client.request(&verb.to_uppercase(), &format!("{filled}?{query}"), body).unwrap();
        let described = &operation["responses"][answer.status.to_string()];
        assert!(described.is_object(), "{verb} {path} answers {}: {}", answer.status, answer.text());
        let Some(content) = described.get("content") else {
            assert!(answer.body.is_empty(), "{verb} {path}");
            return Value::Null;
        };
        let given = answer.headers["content-type"].split(';').next().unwrap();
        let schema = &content[given]["schema"];
        assert!(!schema.is_null(), "{verb} {path} gives {given}");
        if given != "application/json" {
            return Value::String(answer.text());
        }
        self.check(schema, &answer.json());
        answer.json()
    }

    /// Opens a stream that does not end by itself, at a path of this template, and gives its first event of this kind.
    fn first_event(&self, path: &str, filled: &str, kind: &str) -> Value {
        let responses = &self.document["paths"][path]["get"]["responses"];
        assert!(responses["200"]["content"]["text/event-stream"].is_object(), "{path} is described");
        self.called.borrow_mut().insert((path.to_owned(), "get".to_owned()));
        let event = self.client.events(filled, None).unwrap().find(|event| event.event == kind);
        serde_json::from_str(&event.unwrap().data).unwrap()
    }

    fn check(&self, schema: &Value, document: &Value) {
        let mut whole = schema.clone();
        if let Some(map) = whole.as_object_mut() {
            map.insert("components".to_owned(), self.document["components"].clone());
        }
        let validator = jsonschema::validator_for(&whole).unwrap();
        let found: Vec<_> = validator.iter_errors(document).map(|error| error.to_string()).collect();
        assert!(found.is_empty(), "{found:?} in {document}");
    }
}

/// Answers may gain fields; a field that is not described yet is a mistake here.
fn forbid_extras(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.values_mut().for_each(forbid_extras);
            if map.get("properties").is_some_and(Value::is_object) && map.get("type") == Some(&json!("object")) {
                map.entry("additionalProperties").or_insert(Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(forbid_extras),
        _ => {}
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn workflows(checked: &Checked) {
    let deployed = checked.call("post", "/v1/workflows", &[], Some(&json!({"source": ECHO.replace("Says", "Tells")})));
    assert_eq!((&deployed["revision"], &deployed["new"]), (&json!(2), &json!(true)));
    let same = checked.call("post", "/v1/workflows", &[], Some(&json!({"source": ECHO.replace("Says", "Tells")})));
    assert_eq!((&same["revision"], &same["new"]), (&json!(2), &json!(false)));
    let checked_source = checked.call("post", "/v1/workflows/check", &[], Some(&json!({"source": ASK})));
    assert_eq!((&checked_source["valid"], &checked_source["name"]), (&json!(true), &json!("ask")));
    let wrong = checked.call("post", "/v1/workflows/check", &[], Some(&json!({"source": "workflow: w\nstep: 1\n"})));
    assert!(wrong["valid"] == false && wrong["diagnostics"][0]["line"].is_number());
    let listed = checked.call("get", "/v1/workflows", &[], None);
    assert_eq!(listed["items"].as_array().unwrap().len(), 4);
    let shown = checked.call("get", "/v1/workflows/{name}?version=1", &["echo"], None);
    assert_eq!((text(&shown["source"]), &shown["version"]), (ECHO, &json!("1.0")));
    let drawn = checked.call("get", "/v1/workflows/{name}/graph", &["echo"], None);
    assert_eq!(drawn["nodes"][0]["name"], "a");
    for (format, begins) in [("mermaid", "flowchart"), ("dot", "digraph"), ("tree", "echo")] {
        let drawn = checked.call("get", &format!("/v1/workflows/{{name}}/drawing?format={format}"), &["echo"], None);
        assert!(text(&drawn).starts_with(begins), "{drawn}");
    }
    assert!(checked.call("get", "/v1/workflow-schema", &[], None)["$schema"].is_string());
    life(checked);
}

fn life(checked: &Checked) {
    let source = "workflow: short\nsteps:\n  a: { capability: echo }\n";
    checked.call("post", "/v1/workflows", &[], Some(&json!({"source": source})));
    let other = json!({"source": source.replace("a:", "b:")});
    let deployed = checked.call("post", "/v1/workflows", &[], Some(&other));
    assert_eq!((&deployed["revision"], &deployed["replaced"]["revision"]), (&json!(2), &json!(1)));
    let back = checked.call("post", "/v1/workflows/{name}/rollback", &["short"], None);
    assert_eq!((&back["revision"], &back["replaced"]["revision"], &back["new"]), (&json!(1), &json!(2), &json!(false)));
    let hash = json!({"to": deployed["hash"]});
    assert_eq!(checked.call("post", "/v1/workflows/{name}/rollback", &["short"], Some(&hash))["revision"], 2);
    let first = checked.call("get", "/v1/workflows/{name}/revisions?limit=1", &["short"], None);
    assert_eq!((&first["items"][0]["revision"], &first["items"][0]["current"]), (&json!(2), &json!(true)));
    let next = format!("/v1/workflows/{{name}}/revisions?cursor={}", text(&first["next"]));
    assert_eq!(checked.call("get", &next, &["short"], None)["items"][0]["revision"], 1);
    checked.call("post", "/v1/workflows/{name}/retire", &["short"], Some(&json!({})));
    let listed = checked.call("get", "/v1/workflows", &[], None);
    let short = listed["items"].as_array().unwrap().iter().find(|found| found["name"] == "short").unwrap();
    assert!(short["retired_at"].is_string() && short["newest"] == 2, "{short}");
    checked.call("delete", "/v1/workflows/{name}", &["short"], None);
}

fn runs(checked: &Checked, server: &Server) {
    let start = json!({"workflow": "echo", "input": {"n": [1, "two"]}, "labels": {"team": "red"}, "priority": 3, "timeout": "1h"});
    let started = checked.call("post", "/v1/runs", &[], Some(&start));
    let run = text(&started["run"]);
    let ended = checked.call("get", "/v1/runs/{run}?wait=60s", &[run], None);
    assert_eq!((&ended["status"], &ended["output"]), (&json!("completed"), &json!({"n": [1, "two"]})));
    let listed =
        checked.call("get", "/v1/runs?status=completed,failed&workflow=echo&label.team=red&children=true", &[], None);
    assert_eq!(listed["items"][0]["run"], run);
    assert_eq!(checked.call("get", "/v1/runs?label.team=blue", &[], None)["items"], json!([]));
    let searched = "since=2026-01-01T00:00:00Z&until=2999-01-01T00:00:00Z&text=TWO";
    assert_eq!(checked.call("get", &format!("/v1/runs?{searched}"), &[], None)["items"][0]["run"], run);
    assert_eq!(checked.call("get", "/v1/runs?code=C0304&text=two", &[], None)["items"], json!([]));
    let failed = "/v1/failed-steps?code=C0304&capability=echo&workflow=echo&since=2026-01-01T00:00:00Z";
    assert_eq!(checked.call("get", failed, &[], None)["items"], json!([]));
    let tree = checked.call("get", "/v1/runs/{run}/tree", &[run], None);
    let task = text(&tree[0]["task"]);
    assert_eq!(checked.call("get", "/v1/runs/{run}/steps", &[run], None)["items"][0]["task"], task);
    let history = checked.call("get", "/v1/runs/{run}/history", &[run], None);
    assert_eq!(history["items"][0]["event"], "run_started");
    let events: Vec<_> = history["items"].as_array().unwrap().iter().map(|entry| text(&entry["event"])).collect();
    assert!(events.ends_with(&["step_completed", "run_ended"]), "{events:?}");
    assert_eq!(text(&checked.call("get", "/v1/runs/{run}/source", &[run], None)), ECHO.replace("Says", "Tells"));
    assert_eq!(checked.call("get", "/v1/runs/{run}/input", &[run], None)["n"][1], "two");
    assert_eq!(checked.call("get", "/v1/runs/{run}/output", &[run], None)["n"][1], "two");
    assert_eq!(checked.call("get", "/v1/runs/{run}/steps/{task}/output", &[run, task], None)["n"][0], 1);
    assert_eq!(checked.call("get", "/v1/runs/{run}/steps/{task}/input", &[run, task], None)["n"][1], "two");
    let shown = checked.call("get", "/v1/runs/{run}/steps/{task}", &[run, task], None);
    assert_eq!((&shown["step"]["path"], &shown["input"]), (&json!("a"), &json!({"n": [1, "two"]})));
    let entries = checked.call("get", "/v1/runs/{run}/steps/{task}/journal?whole=true&limit=5", &[run, task], None);
    assert_eq!(entries["items"], json!([]));
    assert_eq!(checked.call("get", "/v1/runs/{run}/replay", &[run], None)["differences"], json!([]));
    assert!(text(&checked.call("get", "/v1/runs/{run}/watch", &[run], None)).contains("event: end"));
    let forked = checked.call("post", "/v1/runs/{run}/fork", &[run], Some(&json!({"from": "a", "input": {"n": 2}})));
    let other = text(&forked["run"]);
    assert_eq!(server.ended(other)["output"], json!({"n": 2}));
    let compared = checked.call("get", "/v1/runs/{run}/compare/{other}", &[run, other], None);
    assert_eq!(compared["differences"][0]["path"], "a");
    let retried = checked.call("post", "/v1/runs/{run}/retry", &[run], Some(&json!({"from": "a"})));
    server.ended(text(&retried["run"]));
    checked.call("delete", "/v1/runs/{run}", &[other], None);
    operations(checked, server);
}

/// What code exposes, and what it answers.
fn asked(called: &Checked) {
    let server = Server::asked();
    let checked = Checked::new(server.client());
    let run = &server.run("asked", &Value::Null);
    wait_until("the code waits", || {
        let tree = checked.call("get", "/v1/runs/{run}/steps", &[run], None);
        (tree["items"][0]["entries"] == 2).then_some(())
    });
    let values = checked.call("get", "/v1/runs/{run}/values", &[run], None);
    assert_eq!((&values["items"][0]["name"], &values["items"][0]["step"]), (&json!("stage"), &json!("a")));
    assert_eq!(checked.call("get", "/v1/runs/{run}/values/{name}", &[run, "stage"], None), json!({"n": 1}));
    let path = format!("/v1/runs/{run}/updates/move");
    let refused = checked.client.post(&path, &json!("five")).unwrap();
    assert_eq!((refused.status, &problem(&refused)["code"]), (422, &json!("C0103")));
    let sent = checked.call("post", "/v1/runs/{run}/updates/{name}?wait=30s", &[run, "move"], Some(&json!(5)));
    assert_eq!((&sent["state"], &sent["value"]["input"], &sent["step"]), (&json!("answered"), &json!(5), &json!("a")));
    let id = text(&sent["id"]);
    assert_eq!(server.ended(run)["status"], "completed");
    let shown = checked.call("get", "/v1/runs/{run}/sent-updates/{id}?wait=1s", &[run, id], None);
    assert_eq!((&shown["value"], &shown["input"]), (&sent["value"], &json!(5)));
    // The same again is the same update, after the end too; what is not there has a code of its own.
    let again = checked.client.clone().header("idempotency-key", id).post(&path, &json!(5)).unwrap().json();
    assert_eq!(again["value"], sent["value"]);
    let other = checked.client.clone().header("idempotency-key", id).post(&path, &json!(6)).unwrap();
    assert_eq!((other.status, &problem(&other)["code"]), (409, &json!("C0204")));
    for (missing, code) in [("values/none", "C0213"), ("sent-updates/none", "C0212")] {
        let answer = checked.client.get(&format!("/v1/runs/{run}/{missing}")).unwrap();
        assert_eq!((answer.status, &problem(&answer)["code"]), (404, &json!(code)));
    }
    called.called.borrow_mut().extend(checked.called.take());
}

fn operations(checked: &Checked, server: &Server) {
    asked(checked);
    let run = &server.run("wait", &Value::Null);
    checked.call("post", "/v1/runs/{run}/pause", &[run], None);
    assert_eq!(checked.call("get", "/v1/runs/{run}", &[run], None)["paused"], true);
    checked.call("post", "/v1/runs/{run}/resume", &[run], Some(&json!({})));
    checked.call("post", "/v1/runs/{run}/signals/{name}", &[run, "go"], Some(&json!({"yes": 1})));
    assert_eq!(server.ended(run)["status"], "completed");
    let run = &server.run("wait", &Value::Null);
    checked.call("post", "/v1/runs/{run}/cancel", &[run], Some(&json!({"reason": "enough", "force": true})));
    let ended = server.ended(run);
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("cancelled"), &json!("C0312")));
    let run = server.run("wait", &Value::Null);
    let all = json!({"filter": {"status": ["running"], "workflow": "wait"}, "action": "cancel", "limit": 5});
    let bulk = checked.call("post", "/v1/runs/bulk", &[], Some(&all));
    assert_eq!(bulk["results"], json!([{"run": run, "done": true}]));
    assert_eq!(server.ended(&run)["status"], "cancelled");
}

fn state(checked: &Checked) {
    let key = "/v1/spaces/{space}/keys/{key}";
    let settings = json!({"policies": [{"prefix": "n/", "policy": "counter"}, {"prefix": "a/", "policy": "agent"}], "max_keys": 9});
    checked.call("put", "/v1/spaces/{space}", &["team"], Some(&settings));
    let put = |key_name: &str, body: &Value| checked.call("put", key, &["team", key_name], Some(body));
    let first = put("plans%2Fone", &json!({"value": {"v": 1}, "version": 0, "by": "ann", "ttl": "1h"}));
    assert_eq!((&first["outcome"], &first["key"]), (&json!("written"), &json!("plans/one")));
    put("n%2Fx", &json!({"value": 2}));
    assert_eq!(put("n%2Fx", &json!({"value": 3}))["value"], 5);
    // Of a writer that was away for long: version 1 is none of the key, so the space has to be told what was seen.
    assert_eq!(put("n%2Fx", &json!({"value": 4, "version": 1, "base": 4}))["value"], 5);
    let read = checked.call("get", key, &["team", "plans%2Fone"], None);
    assert_eq!(
        (&read["value"], &read["version"], &read["writer"]["by"]),
        (&json!({"v": 1}), &first["version"], &json!("ann"))
    );
    let listed = checked.call("get", "/v1/spaces/{space}/keys?prefix=n/", &["team"], None);
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["items"][0]["value"]), (1, &json!(5)));
    let history = checked.call("get", "/v1/spaces/{space}/keys/{key}/history?limit=1", &["team", "n%2Fx"], None);
    assert!(history["items"][0]["change"] == "merged" && history["next"].is_string(), "{history}");
    let transaction = json!({
        "if": [{"space": "team", "key": "plans/one", "version": first["version"]}, {"space": "team", "key": "b", "exists": false}],
        "do": [{"op": "put", "space": "team", "key": "b", "value": null}, {"op": "get", "space": "team", "key": "plans/one"},
            {"op": "put", "space": "team", "key": "n/x", "value": 4, "version": 1, "base": 4}],
        "else": [{"op": "delete", "space": "team", "key": "b"}],
    });
    let done = checked.call("post", "/v1/state/transact", &[], Some(&transaction));
    assert_eq!((&done["succeeded"], &done["results"][1]["value"]), (&json!(true), &json!({"v": 1})));
    assert_eq!(checked.call("post", "/v1/state/transact", &[], Some(&transaction))["results"][0]["outcome"], "deleted");
    put("a%2Fx", &json!({"value": "red"}));
    let second = put("a%2Fx", &json!({"value": "blue", "stamp": {"time": "2026-01-01T00:00:00Z", "count": 1}}));
    assert_eq!(second["outcome"], "undecided");
    assert_eq!(checked.call("get", key, &["team", "a%2Fx"], None)["siblings"][0]["value"], "blue");
    let conflicts = checked.call("get", "/v1/spaces/{space}/conflicts?undecided=true", &["team"], None);
    assert_eq!(conflicts["items"][0]["conflict"], second["conflict"]);
    let at = ["team", text(&second["conflict"])];
    let decision = json!({"candidate": 1, "by": "eve", "comment": "why not"});
    checked.call("post", "/v1/spaces/{space}/conflicts/{conflict}/decide", &at, Some(&decision));
    let shown = checked.call("get", "/v1/spaces/{space}/conflicts/{conflict}", &at, None);
    assert_eq!(
        (&shown["settled"], &shown["value"], &shown["comment"]),
        (&json!("decided"), &json!("blue"), &json!("why not"))
    );
    spaces(checked);
}

fn spaces(checked: &Checked) {
    let shown = checked.call("get", "/v1/spaces/{space}", &["team"], None);
    assert_eq!((&shown["keys"], &shown["undecided"], &shown["max_keys"]), (&json!(3), &json!(0), &json!(9)));
    assert_eq!(checked.call("get", "/v1/spaces", &[], None)["items"][0]["name"], "team");
    let path = "/v1/spaces/{space}/watch";
    checked.called.borrow_mut().insert((path.to_owned(), "get".to_owned()));
    let mut events = checked.client.events("/v1/spaces/team/watch?after=1-0&prefix=plans/", None).unwrap();
    let event = events.find(|event| event.event == "change").unwrap();
    let change: Value = serde_json::from_str(&event.data).unwrap();
    assert_eq!((&change["key"], &change["position"]), (&json!("plans/one"), &json!(event.id)));
    checked.check(&json!({"$ref": "#/components/schemas/StateChange"}), &change);
    let removed = checked.call("delete", "/v1/spaces/{space}/keys/{key}?by=ann", &["team", "plans%2Fone"], None);
    assert_eq!((&removed["outcome"], &removed["version"]), (&json!("deleted"), &json!(0)));
    checked.call("delete", "/v1/spaces/{space}", &["team"], None);
}

fn inbox(checked: &Checked, server: &Server) {
    let run = server.run("ask", &json!({"what": {"size": 3}}));
    let waiting = checked.call("get", "/v1/inbox", &[], None);
    let task = text(&waiting["items"][0]["task"]);
    let item = checked.call("get", "/v1/inbox/{task}", &[task], None);
    assert_eq!((&item["kind"], &item["title"], &item["run"]), (&json!("approval"), &json!("Ship it?"), &json!(run)));
    assert_eq!(checked.call("get", "/v1/inbox/{task}/details", &[task], None), json!({"size": 3}));
    checked.call(
        "post",
        "/v1/inbox/{task}",
        &[task],
        Some(&json!({"decision": "approve", "by": "ann", "comment": "ok"})),
    );
    assert_eq!(server.ended(&run)["status"], "completed");

    let run = server.run("lose", &Value::Null);
    let unknown = || checked.call("get", "/v1/inbox", &[], None)["items"].as_array().unwrap().first().cloned();
    let item = wait_until("the unknown outcome", unknown);
    assert_eq!(item["kind"], "unknown_outcome");
    let decision = json!({"decision": "done", "by": "ann", "output": {"sent": true}});
    checked.call("post", "/v1/inbox/{task}", &[text(&item["task"])], Some(&decision));
    assert_eq!(server.ended(&run)["output"], json!({"sent": true}));
}

fn agents(checked: &Checked) {
    let listed = checked.call("get", "/v1/agents?capability=echo&text=TEST", &[], None);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let agent = &listed["items"][0];
    assert_eq!(
        (&agent["name"], &agent["health"], &agent["weight"]),
        (&json!("echoer"), &json!("healthy"), &json!(100))
    );
    assert_eq!(
        (&agent["instances"][0]["max_concurrent"], &agent["instances"][0]["client"]),
        (&json!(64), &json!("test/1"))
    );
    assert!(
        agent["statistics"][0]["completed"].as_u64() > Some(0) && agent["statistics"][0]["p50"].is_string(),
        "{agent}"
    );
    let shown = checked.call("get", "/v1/agents/{name}?version=1", &["echoer"], None);
    assert_eq!(shown["items"][0]["capabilities"][0]["name"], "echo");
    let watched = checked.first_event("/v1/agents/watch", "/v1/agents/watch", "agents");
    assert_eq!(watched["items"].as_array().unwrap().len(), 2);
    let all = json!({"$ref": "#/components/schemas/Agent"});
    watched["items"].as_array().unwrap().iter().for_each(|agent| checked.check(&all, agent));
    checked.call("post", "/v1/agents/{name}/drain?version=1", &["echoer"], None);
    checked.call("post", "/v1/agents/{name}/resume", &["echoer"], Some(&json!({})));
    checked.call("post", "/v1/agents/{name}/weight?version=1", &["echoer"], Some(&json!({"weight": 7})));
    assert_eq!(checked.call("get", "/v1/agents/{name}", &["echoer"], None)["items"][0]["weight"], 7);
    checked.call("delete", "/v1/agents/{name}?version=1&force=true", &["loser"], None);
    let quota = json!({"max_concurrent": 3, "rate": {"tasks": 10, "per": "1s"}, "max_waiting": 100});
    checked.call("put", "/v1/quotas/{scope}", &["capability:echo"], Some(&quota));
    let quotas = checked.call("get", "/v1/quotas", &[], None);
    let rate = json!({"tasks": 10, "per": "1s", "burst": 10});
    assert_eq!((&quotas["items"][0]["scope"], &quotas["items"][0]["rate"]), (&json!("capability:echo"), &rate));
    checked.call("delete", "/v1/quotas/{scope}", &["capability:echo"], None);
    let queues = checked.call("get", "/v1/queues", &[], None);
    assert!(queues["items"].as_array().unwrap().iter().any(|queue| queue["capability"] == "echo"), "{queues}");
}

fn coordination(checked: &Checked) {
    let acquire = "/v1/locks/{name}/acquire";
    let body = json!({"holder": "a", "ttl": "1h", "value": "http://a"});
    let grant = checked.call("post", acquire, &["leader"], Some(&body));
    assert_eq!((&grant["state"], &grant["holder"], &grant["lock"]), (&json!("held"), &json!("a"), &json!("leader")));
    let held = checked.client.request("POST", "/v1/locks/leader/acquire", Some(&json!({"holder": "b"}))).unwrap();
    assert_eq!((held.status, &problem(&held)["code"]), (409, &json!("C0722")));
    let renewed = checked.call(
        "post",
        "/v1/locks/{name}/renew",
        &["leader"],
        Some(&json!({"holder": "a", "token": grant["token"]})),
    );
    assert_eq!(renewed["token"], grant["token"]);
    let shown = checked.call("get", "/v1/locks/{name}", &["leader"], None);
    assert_eq!(
        (&shown["holders"][0]["value"], &shown["last_change"]["change"]),
        (&json!("http://a"), &json!("granted"))
    );
    let watched = checked.first_event("/v1/locks/{name}/watch", "/v1/locks/leader/watch", "lock");
    checked.check(&json!({"$ref": "#/components/schemas/Lock"}), &watched);
    assert_eq!(watched["holders"], shown["holders"]);
    let reason = json!({"by": "ann", "reason": "it hangs", "holder": "a"});
    checked.call("post", "/v1/locks/{name}/break", &["leader"], Some(&reason));
    let grant = checked.call("post", acquire, &["leader"], Some(&json!({"holder": "b"})));
    let token = json!({"holder": "b", "token": grant["token"]});
    checked.call("post", "/v1/locks/{name}/release", &["leader"], Some(&token));
    let listed = checked.call("get", "/v1/locks?prefix=lea&limit=5", &[], None);
    assert_eq!((&listed["items"][0]["held"], &listed["items"][0]["last_change"]["holder"]), (&json!(0), &json!("b")));
    let one = json!({"member": "m1", "parties": 2, "ttl": "1h"});
    let arrival = checked.call("post", "/v1/barriers/{name}/arrive", &["meeting"], Some(&one));
    assert_eq!((&arrival["arrived"], &arrival["released"]), (&json!(1), &json!(false)));
    let other = json!({"member": "m2", "parties": 2, "generation": 1, "wait": "10s"});
    assert_eq!(checked.call("post", "/v1/barriers/{name}/arrive", &["meeting"], Some(&other))["released"], true);
    assert_eq!(checked.call("get", "/v1/barriers/{name}", &["meeting"], None)["over"][0]["released"], true);
    assert_eq!(checked.call("get", "/v1/barriers", &[], None)["items"][0]["generation"], 2);
}

fn ballots(checked: &Checked) {
    let asked = json!({
        "question": "Ship it?", "options": ["ship", "wait"], "rule": "ranked", "rounds": 2, "deadline": "10m",
        "voters": [{"name": "ann"}, {"name": "bob", "weight": 2}], "secrecy": "until_closed", "may_change": true,
    });
    let opened = checked.call("put", "/v1/ballots/{ballot}", &["b"], Some(&asked));
    assert_eq!((&opened["status"], &opened["asked"]["keep"]), (&json!("open"), &json!("30d")));
    let vote = json!({"voter": "ann", "ranking": ["ship", "wait"], "reason": "users wait", "round": 1});
    checked.call("post", "/v1/ballots/{ballot}/votes", &["b"], Some(&vote));
    let hidden = checked.call("get", "/v1/ballots/{ballot}", &["b"], None);
    assert_eq!((&hidden["rounds"][0]["votes"], &hidden["rounds"][0]["tally"]), (&json!([]), &Value::Null));
    checked.call("post", "/v1/ballots/{ballot}/votes", &["b"], Some(&json!({"voter": "bob", "ranking": ["wait"]})));
    let shown = checked.call("get", "/v1/ballots/{ballot}", &["b"], None);
    assert_eq!((&shown["result"]["decision"], &shown["recount_agrees"]), (&json!("wait"), &json!(true)));
    assert!(text(&checked.call("get", "/v1/ballots/{ballot}/watch", &["b"], None)).contains("event: end"));
    let listed = checked.call("get", "/v1/ballots?status=decided&limit=5", &[], None);
    assert_eq!(listed["items"][0]["ballot"], "b");
    checked.call("delete", "/v1/ballots/{ballot}", &["b"], None);
    let free = json!({"question": "How many?", "rule": "median", "voters": [{"name": "ann"}, {"name": "bob"}]});
    for (name, how) in [("c", "close"), ("d", "cancel")] {
        checked.call("put", "/v1/ballots/{ballot}", &[name], Some(&free));
        checked.call("post", "/v1/ballots/{ballot}/votes", &[name], Some(&json!({"voter": "ann", "value": 3})));
        let end = json!({"by": "eve", "reason": "enough"});
        checked.call("post", &format!("/v1/ballots/{{ballot}}/{how}"), &[name], Some(&end));
        assert_eq!(checked.call("get", "/v1/ballots/{ballot}", &[name], None)["ended_by"], "eve");
    }
}

fn events(checked: &Checked) {
    let event =
        json!({"id": "1", "source": "/shop", "type": "orders.created", "subject": "o-1", "tenant": "a", "data": [1]});
    let published = checked.call("post", "/v1/events", &[], Some(&json!({"events": [event]})));
    let position = text(&published["events"][0]["position"]);
    let listed = checked.call("get", "/v1/events?topic=orders.*&limit=5", &[], None);
    assert_eq!((&listed["items"][0]["position"], &listed["items"][0]["tenant"]), (&json!(position), &json!("a")));
    let shown = checked.call("get", "/v1/events/{position}", &[position], None);
    assert_eq!((&shown["topic"], &shown["data"]), (&json!("orders.created"), &json!([1])));
    assert_eq!(checked.call("get", "/v1/events/{position}/data", &[position], None), json!([1]));
    checked.call("put", "/v1/events/retention", &[], Some(&json!({"age": "1d", "bytes": null, "count": 500})));
    let kept = checked.call("get", "/v1/events/retention", &[], None);
    assert_eq!(kept["keep"], json!({"age": "1d", "bytes": null, "count": 500}));
    let path = format!("/v1/events/watch?since={}", "1970-01-01T00:00:00Z");
    let event = checked.client.events(&path, None).unwrap().find(|event| event.event == "event").unwrap();
    checked.called.borrow_mut().insert(("/v1/events/watch".to_owned(), "get".to_owned()));
    checked.check(&json!({"$ref": "#/components/schemas/CloudEvent"}), &serde_json::from_str(&event.data).unwrap());
}

fn subscriptions(checked: &Checked) {
    let one = "/v1/subscriptions/{name}";
    let settings = json!({"topic": ">", "start": "all", "ordered": "subject", "ack_wait": "10s", "max_deliveries": 1,
        "back_off": {"first": "1s", "longest": "5s"}, "max_in_flight": 10});
    checked.call("put", one, &["mail"], Some(&settings));
    let fetched = checked.call("post", &format!("{one}/fetch"), &["mail"], Some(&json!({"max": 1, "consumer": "c"})));
    let delivery = fetched["deliveries"][0]["delivery"].clone();
    let given = json!({"deliveries": [delivery], "delay": "1s", "reason": "no"});
    assert_eq!(checked.call("post", &format!("{one}/nack"), &["mail"], Some(&given))["settled"], 1);
    let dead = checked.call("get", &format!("{one}/dead-letters?limit=5"), &["mail"], None);
    assert_eq!((&dead["items"][0]["reason"], &dead["items"][0]["consumer"]), (&json!("no"), &json!("c")));
    let redriven = checked.call("post", &format!("{one}/dead-letters/redrive"), &["mail"], Some(&json!({})));
    assert_eq!(redriven, json!({"settled": 1}));
    let fetched = checked.call("post", &format!("{one}/fetch"), &["mail"], Some(&json!({})));
    let delivery = fetched["deliveries"][0]["delivery"].clone();
    let settled = checked.call("post", &format!("{one}/ack"), &["mail"], Some(&json!({"deliveries": [delivery]})));
    assert_eq!(settled, json!({"settled": 1, "refused": []}));
    assert_eq!(checked.call("post", &format!("{one}/dead-letters/drop"), &["mail"], None)["settled"], 0);
    checked.call("post", &format!("{one}/seek"), &["mail"], Some(&json!({"to": "new"})));
    assert_eq!(checked.call("get", one, &["mail"], None)["lag"], 0);
    assert_eq!(checked.call("get", "/v1/subscriptions", &[], None)["items"][0]["name"], "mail");
    checked.call("post", &format!("{one}/pause"), &["mail"], Some(&json!({"reason": "repairs"})));
    assert_eq!(checked.call("get", one, &["mail"], None)["paused"]["reason"], "repairs");
    checked.call("post", &format!("{one}/resume"), &["mail"], Some(&json!({})));
    let push = json!({"topic": ">", "ordered": "subject",
        "push": {"url": "https://receiver.example/in", "secret": "receiver", "timeout": "5s"}});
    checked.call("put", one, &["mail"], Some(&push));
    assert_eq!(checked.call("get", one, &["mail"], None)["push"], push["push"]);
    let tasks = json!({"topic": ">", "ordered": "subject", "filter": "event.data.n > 5",
        "tasks": {"capability": "x", "agent": "a", "timeout": "5s", "keep": "1h"}});
    checked.call("put", one, &["mail"], Some(&tasks));
    let shown = checked.call("get", one, &["mail"], None);
    assert_eq!((&shown["tasks"], &shown["filter"]), (&tasks["tasks"], &tasks["filter"]));
    assert_eq!((&shown["max_in_flight"], &shown["filtered"]), (&json!(64), &json!(0)));
    checked.call("delete", one, &["mail"], None);
}

fn triggers(checked: &Checked) {
    let (one, start) =
        ("/v1/triggers/{name}", json!({"topic": ">", "start": {"workflow": "none", "input": "event.data"}}));
    checked.call("put", one, &["t"], Some(&start));
    let event = json!({"id": "2", "source": "/shop", "type": "orders.created"});
    checked.call("post", "/v1/events", &[], Some(&event));
    let shown = checked.call("get", one, &["t"], None);
    assert_eq!((&shown["failed"], &shown["failures"][0]["error"]["code"]), (&json!(1), &json!("C0102")));
    let signal = json!({"topic": "a.*", "filter": "true", "signal": {"run": "event.subject", "name": "go"}});
    checked.call("put", one, &["t"], Some(&signal));
    checked.call("post", &format!("{one}/pause"), &["t"], None);
    assert_eq!(checked.call("get", "/v1/triggers", &[], None)["items"][0]["paused"], true);
    checked.call("post", &format!("{one}/resume"), &["t"], Some(&json!({})));
    checked.call("delete", one, &["t"], None);
}

fn schedules(checked: &Checked) {
    let one = "/v1/schedules/{name}";
    let start = json!({"cron": "0 9 * * 1-5", "timezone": "Europe/Vienna", "start": {"workflow": "none", "input": {}},
        "overlap": "buffer_all", "catch_up": "1h", "jitter": "1s", "limit": 5, "until": "2999-01-01T00:00:00Z"});
    checked.call("put", one, &["s"], Some(&start));
    let publish = json!({"every": "1d", "phase": "1h", "paused": true,
        "publish": {"type": "day.began", "topic": "days", "subject": "d", "data": {"n": 1}}});
    checked.call("put", one, &["p"], Some(&publish));
    let shown = checked.call("get", one, &["s"], None);
    assert_eq!((shown["next"].as_array().unwrap().len(), &shown["settings"]["limit"]), (5, &json!(5)));
    checked.call("post", &format!("{one}/pause"), &["s"], None);
    assert_eq!(checked.call("get", "/v1/schedules", &[], None)["items"][1]["paused"], true);
    checked.call("post", &format!("{one}/resume"), &["s"], Some(&json!({})));
    let triggered = checked.call("post", &format!("{one}/trigger"), &["p"], Some(&json!({"overlap": "allow"})));
    assert_eq!(triggered["outcome"], "published");
    let past = json!({"from": "2026-01-05T00:00:00Z", "to": "2026-01-06T23:00:00Z", "overlap": "allow"});
    assert_eq!(checked.call("post", &format!("{one}/backfill"), &["s"], Some(&past)), json!({"instants": 2}));
    let shown = checked.call("get", one, &["s"], None);
    assert_eq!((&shown["counts"]["failed"], &shown["failures"][0]["error"]["code"]), (&json!(2), &json!("C0102")));
    checked.call("delete", one, &["s"], None);
    checked.call("delete", one, &["p"], None);
}

fn about_the_server(checked: &Checked) {
    checked.call("put", "/v1/retention", &[], Some(&json!({"keep": "30d"})));
    assert_eq!(checked.call("get", "/v1/retention", &[], None), json!({"keep": "30d"}));
    checked.call("put", "/v1/retention", &[], Some(&json!({"keep": null})));
    assert_eq!(checked.call("get", "/v1/retention", &[], None), json!({"keep": null}));
    let made = checked.call("post", "/v1/backups", &[], Some(&json!({"folder": "/backups/one"})));
    let applied = checked.call("get", "/v1/status", &[], None)["applied"].as_u64().unwrap();
    assert!(made["record"].as_u64().is_some_and(|record| (1..=applied).contains(&record)), "{made}");
    let relative = checked.client.request("POST", "/v1/backups", Some(&json!({"folder": "one"}))).unwrap();
    assert_eq!((relative.status, &problem(&relative)["code"]), (400, &json!("C0001")));
    assert!(checked.call("get", "/v1/status", &[], None)["applied"].as_u64().unwrap() > 0);
    let namespaces = checked.call("get", "/v1/namespaces?limit=5", &[], None);
    assert_eq!(namespaces["items"][0]["name"], "default");
    assert!(namespaces["items"][0]["runs"].as_u64() > Some(0) && namespaces["items"][0]["workflows"] == 4);
    assert_eq!(checked.call("get", "/v1/limits", &[], None)["items"][0]["name"], "NAME_BYTES_MAX");
    assert_eq!(checked.call("get", "/v1/errors", &[], None)["items"][0]["code"], "C0001");
    assert_eq!(checked.call("get", "/v1/errors/{code}", &["C0201"], None)["status"], 404);
    assert_eq!(checked.call("get", "/v1/openapi.json", &[], None), openapi());
    assert_eq!(checked.call("get", "/healthz", &[], None)["status"], "ok");
    assert_eq!(checked.call("get", "/readyz", &[], None)["status"], "ok");
}

#[test]
fn every_operation_answers_as_it_is_described() {
    let server = Server::ready();
    let checked = Checked::new(server.client());
    workflows(&checked);
    runs(&checked, &server);
    state(&checked);
    inbox(&checked, &server);
    agents(&checked);
    coordination(&checked);
    ballots(&checked);
    events(&checked);
    subscriptions(&checked);
    triggers(&checked);
    schedules(&checked);
    about_the_server(&checked);
    let operations = checked.document["paths"].as_object().unwrap().iter();
    let described: BTreeSet<_> = operations
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |verb| (path.clone(), verb.clone())))
        .collect();
    let missed: Vec<_> = described.difference(&checked.called.borrow()).cloned().collect();
    assert!(missed.is_empty(), "not called: {missed:?}");
}

#[test]
fn every_operation_refuses_in_the_described_form() {
    let server = Server::start();
    let (checked, client) = (Checked::new(server.client()), server.client());
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    for (path, item) in checked.document["paths"].as_object().unwrap() {
        let filled = path.replace("{run}", "01J8Z3K4M5N6P7Q8R9S0T1V2W3").replace(['{', '}'], "");
        for verb in item.as_object().unwrap().keys() {
            let answer = client.request(&verb.to_uppercase(), &format!("{filled}?imput=1"), None).unwrap();
            let problem = problem(&answer);
            checked.check(&schema, &problem);
            assert_eq!((answer.status, &problem["code"]), (400, &json!("C0001")), "{verb} {path}");
            assert!(text(&problem["detail"]).contains("`imput`"), "{problem}");
        }
        let answer = client.request("PATCH", &filled, None).unwrap();
        assert_eq!((answer.status, &problem(&answer)["code"]), (405, &json!("C0022")), "{path}");
        let allowed = answer.headers["allow"].to_lowercase();
        assert!(item.as_object().unwrap().keys().all(|verb| allowed.contains(verb.as_str())), "{path}: {allowed}");
    }
    assert_eq!(problem(&client.get("/v2/runs").unwrap())["code"], "C0021");
}
