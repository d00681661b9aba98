//! The edges of single operations: paging, repeating, namespaces, refusals.
//!
//! For: behaviour that the OpenAPI document cannot describe. Not for: the form of answers (see `contract`).
//! Invariant: each refusal is checked by status and code.

use std::collections::BTreeSet;

use consort_api_http::{ApiConfig, Peer, in_process, router};
use consort_types::limits;
use serde_json::{Value, json};

use crate::support::{ECHO, Server, problem, refusal};

fn runs_of(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_start_with_a_key_can_be_repeated() {
    let server = Server::ready();
    let client = server.client().header("idempotency-key", "order-7");
    let body = json!({"workflow": "echo", "input": {"n": 1}});
    let first = client.post("/v1/runs", &body).unwrap();
    let again = client.post("/v1/runs", &body).unwrap();
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.headers["location"], again.headers["location"]);
    assert_eq!((&first.json()["run"], &again.json()["deduplicated"]), (&again.json()["run"], &json!(true)));
    assert_eq!(client.get(&first.headers["location"]).unwrap().json()["run"], first.json()["run"]);
    let other = client.post("/v1/runs", &json!({"workflow": "echo", "input": {"n": 2}})).unwrap();
    assert_eq!(refusal(&other), (409, "C0204".to_owned()));
}

#[test]
fn a_start_with_a_text_deploys_nothing_and_starts_what_comes_with_it() {
    let server = Server::ready();
    let client = server.client();
    let echo = |n: u32| {
        format!(
            "workflow: echo\nsteps:\n  z: {{ capability: echo, with: {{ n: {n} }} }}\noutput: ${{{{ steps.z.output.n }}}}\n"
        )
    };
    let parent = "workflow: parent\nsteps:\n  c: { workflow: echo }\noutput: ${{ steps.c.output }}\n";
    let before = client.get("/v1/workflows").unwrap().json();
    let start = |body: Value| client.post("/v1/runs", &body).unwrap();
    let run = start(json!({"workflow": "echo", "source": echo(5)})).json()["run"].clone();
    assert_eq!(server.ended(run.as_str().unwrap())["output"], 5);
    let run = start(json!({"workflow": "parent", "source": parent, "children": [echo(6)]})).json()["run"].clone();
    assert_eq!(server.ended(run.as_str().unwrap())["output"], 6);
    assert_eq!(client.get("/v1/workflows").unwrap().json(), before);
    // The same text is the same request, another one is not.
    let keyed = server.client().header("idempotency-key", "text");
    let starts = [5, 5, 6].map(|n| keyed.post("/v1/runs", &json!({"workflow": "echo", "source": echo(n)})).unwrap());
    assert_eq!(starts.map(|answer| answer.status), [201, 200, 409]);
    for (body, code) in [
        (json!({"workflow": "other", "source": parent}), "C0001"),
        (json!({"workflow": "parent", "source": parent, "version": "1"}), "C0001"),
        (json!({"workflow": "echo", "children": [parent]}), "C0001"),
        (json!({"workflow": "echo", "source": echo(1), "children": [echo(2)]}), "C0001"),
        (json!({"workflow": "echo", "source": "workflow: echo\nsteps: 1\n"}), "C0101"),
        (
            json!({"workflow": "echo", "source": echo(1), "children": vec![parent; limits::START_DEFINITIONS_MAX]}),
            "C0007",
        ),
    ] {
        let problem = problem(&start(body));
        assert_eq!(problem["code"], code, "{problem}");
    }
}

#[test]
fn what_a_name_takes_can_be_retired_and_deleted_only_then() {
    let server = Server::ready();
    let client = server.client();
    let run = server.run("wait", &Value::Null);
    let refused = |answer: &consort_testkit::http::Response| refusal(answer);
    assert_eq!(refused(&client.delete("/v1/workflows/wait").unwrap()), (409, "C0108".to_owned()));
    assert_eq!(client.post("/v1/workflows/wait/retire", &json!({})).unwrap().status, 204);
    assert_eq!(refused(&client.post("/v1/runs", &json!({"workflow": "wait"})).unwrap()), (409, "C0107".to_owned()));
    let answer = client.delete("/v1/workflows/wait").unwrap();
    assert!(
        refused(&answer) == (409, "C0108".to_owned()) && answer.text().contains("of revision"),
        "{}",
        answer.text()
    );
    client.post(&format!("/v1/runs/{run}/signals/go"), &json!({"yes": 1})).unwrap();
    assert_eq!(server.ended(&run)["status"], "completed");
    assert_eq!(client.delete("/v1/workflows/wait").unwrap().status, 204);
    assert_eq!(refused(&client.post("/v1/runs", &json!({"workflow": "wait"})).unwrap()), (404, "C0102".to_owned()));
    for path in ["retire", "rollback"] {
        let answer = client.post(&format!("/v1/workflows/wait/{path}"), &json!({})).unwrap();
        assert_eq!(refused(&answer), (404, "C0102".to_owned()), "{path}");
    }
}

#[test]
fn a_trace_that_cannot_be_read_refuses_nothing() {
    let server = Server::ready();
    for trace in ["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "garbage"] {
        let client = server.client().header("traceparent", trace);
        let started = client.post("/v1/runs", &json!({"workflow": "echo", "input": {"n": 1}})).unwrap();
        assert_eq!(started.status, 201, "{trace}");
    }
}

#[test]
fn pages_give_every_item_once() {
    let server = Server::ready();
    let client = server.client();
    let started: BTreeSet<String> = (0..7).map(|n| server.run("wait", &json!({"n": n}))).collect();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/runs?limit=3{cursor}")).unwrap().json();
        let runs = runs_of(&page);
        assert!(runs.len() <= 3);
        seen.extend(runs);
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((seen.len(), seen.into_iter().collect::<BTreeSet<_>>()), (7, started.clone()));

    let run = started.first().unwrap();
    let whole = client.get(&format!("/v1/runs/{run}/history")).unwrap().json();
    let (mut entries, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("/v1/runs/{run}/history?limit=1{after}")).unwrap().json();
        entries.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(Value::from(entries), whole["items"]);
    for path in ["/v1/runs?cursor=x", "/v1/inbox?cursor=x", &format!("/v1/runs/{run}/history?after=x")] {
        assert_eq!(refusal(&client.get(path).unwrap()), (400, "C0008".to_owned()), "{path}");
    }
}

#[test]
fn a_bulk_request_acts_on_a_bounded_number_and_says_what_became_of_each() {
    let server = Server::ready();
    let client = server.client();
    let runs: BTreeSet<String> = (0..5).map(|_| server.run("wait", &Value::Null)).collect();
    let bulk = |body: Value| {
        let answer = client.post("/v1/runs/bulk", &body).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let done =
        |answer: &Value| answer["results"].as_array().unwrap().iter().filter(|item| item["done"] == true).count();
    let plan = bulk(json!({"filter": {}, "action": "cancel", "dry_run": true}));
    assert_eq!((done(&plan), plan["results"].as_array().unwrap().len()), (0, 5));
    let refused = bulk(json!({"filter": {}, "action": "delete"}));
    assert!(done(&refused) == 0 && refused["results"][0]["error"]["code"] == "C0203");
    assert_eq!(done(&bulk(json!({"filter": {}, "action": "pause"}))), 5);
    assert_eq!(done(&bulk(json!({"filter": {}, "action": "resume"}))), 5);
    let first = bulk(json!({"filter": {"workflow": "wait"}, "action": "cancel", "limit": 3}));
    let rest = bulk(json!({"filter": {"workflow": "wait"}, "action": "cancel", "limit": 3, "cursor": first["next"]}));
    assert_eq!((done(&first), done(&rest)), (3, 2));
    for run in &runs {
        assert_eq!(server.ended(run)["status"], "cancelled");
    }
    assert_eq!(done(&bulk(json!({"filter": {"status": ["cancelled"]}, "action": "delete"}))), 5);
    for body in [
        json!({"action": "cancel"}),
        json!({"filter": {"status": ["odd"]}, "action": "cancel"}),
        json!({"filter": {}, "action": "cancel", "limit": 1001}),
    ] {
        assert_eq!(refusal(&client.post("/v1/runs/bulk", &body).unwrap()), (400, "C0001".to_owned()), "{body}");
    }
}

#[test]
fn a_workflow_with_errors_is_refused_with_every_finding() {
    let server = Server::start();
    let source = b"workflow: w\nsteps:\n  a: { capability: x, needs: b }\n  c: { capabilty: x }\n";
    let answer = server.client().raw("POST", "/v1/workflows", "text/yaml; charset=utf-8", Some(source)).unwrap();
    assert_eq!(refusal(&answer), (422, "C0101".to_owned()));
    let found = problem(&answer)["diagnostics"].clone();
    let lines: Vec<_> = found.as_array().unwrap().iter().map(|found| found["line"].as_u64().unwrap()).collect();
    assert!(lines.contains(&3) && lines.contains(&4), "{found}");
    assert!(found.as_array().unwrap().iter().any(|found| found["hint"].is_string()), "{found}");
    let deployed = server.client().raw("POST", "/v1/workflows", "application/yaml", Some(ECHO.as_bytes())).unwrap();
    assert_eq!((deployed.status, deployed.headers["location"].as_str()), (201, "/v1/workflows/echo"));
}

#[test]
fn namespaces_do_not_see_each_other() {
    let server = Server::ready();
    let client = server.client();
    let run = server.run("wait", &Value::Null);
    assert_eq!(client.get("/v1/runs?namespace=other").unwrap().json()["items"], json!([]));
    for path in ["", "/tree", "/history", "/watch", "/output", "/source"] {
        let answer = client.get(&format!("/v1/runs/{run}{path}?namespace=other")).unwrap();
        assert_eq!(refusal(&answer), (404, "C0201".to_owned()), "{path}");
    }
    let deployed = client.post("/v1/workflows?namespace=other", &json!({"source": ECHO})).unwrap();
    assert_eq!(deployed.headers["location"], "/v1/workflows/echo?namespace=other");
    assert_eq!(refusal(&client.get("/v1/runs?namespace=a%2Fb").unwrap()), (400, "C0002".to_owned()));
}

#[test]
fn large_documents_are_named_in_answers_and_given_whole() {
    let server = Server::ready();
    let client = server.client();
    let input = json!({"n": "x".repeat(100_000)});
    let run = server.run("echo", &input);
    let ended = server.ended(&run);
    assert!(ended["output"]["$blob"].is_string() && ended["output"]["bytes"] == input.to_string().len());
    for part in ["input", "output"] {
        assert_eq!(client.get(&format!("/v1/runs/{run}/{part}")).unwrap().json(), input);
    }
}

#[test]
fn requests_that_do_not_fit_are_refused_with_their_codes() {
    let server = Server::ready();
    let client = server.client();
    let run = server.run("wait", &Value::Null);
    let ended = server.run("echo", &json!({"n": 1}));
    server.ended(&ended);
    let step = client.get(&format!("/v1/runs/{run}/tree")).unwrap().json()[0]["task"].as_str().unwrap().to_owned();
    let cases: Vec<(&str, String, Option<Value>, u16, &str)> = vec![
        ("POST", "/v1/runs".into(), Some(json!({"workflow": "echo", "imput": 1})), 400, "C0001"),
        ("POST", "/v1/runs".into(), Some(json!({"workflow": "none"})), 404, "C0102"),
        ("POST", "/v1/runs".into(), Some(json!({"workflow": "echo", "timeout": "soon"})), 400, "C0001"),
        ("POST", "/v1/runs".into(), Some(json!([])), 400, "C0001"),
        ("POST", "/v1/runs".into(), None, 400, "C0023"),
        ("GET", "/v1/runs/nonsense".into(), None, 400, "C0001"),
        ("GET", "/v1/runs/01J8Z3K4M5N6P7Q8R9S0T1V2W3".into(), None, 404, "C0201"),
        ("GET", format!("/v1/runs/{run}?wait=61s"), None, 400, "C0001"),
        ("GET", format!("/v1/runs/{run}?wait=soon"), None, 400, "C0003"),
        ("GET", format!("/v1/runs/{run}/output"), None, 409, "C0203"),
        ("GET", format!("/v1/runs/{run}/steps/{step}/output"), None, 409, "C0206"),
        ("GET", format!("/v1/runs/{ended}/steps/{step}/output"), None, 404, "C0301"),
        ("GET", "/v1/runs?limit=0".into(), None, 400, "C0001"),
        ("GET", "/v1/runs?limit=1001".into(), None, 400, "C0001"),
        ("GET", "/v1/runs?status=odd".into(), None, 400, "C0001"),
        ("GET", "/v1/runs?status=failed&status=failed".into(), None, 400, "C0001"),
        ("GET", "/v1/runs?children=yes".into(), None, 400, "C0001"),
        ("DELETE", format!("/v1/runs/{run}"), None, 409, "C0203"),
        ("POST", format!("/v1/runs/{ended}/cancel"), Some(json!({"why": 1})), 400, "C0001"),
        ("POST", format!("/v1/runs/{ended}/fork"), Some(json!({"from": "zz"})), 404, "C0205"),
        ("GET", format!("/v1/inbox/{step}"), None, 404, "C0301"),
        ("POST", format!("/v1/inbox/{step}"), Some(json!({"decision": "approve", "by": " "})), 400, "C0001"),
        ("POST", format!("/v1/inbox/{step}"), Some(json!({"decision": "fail", "by": "a", "output": 1})), 400, "C0001"),
        ("PUT", "/v1/retention".into(), Some(json!({})), 400, "C0001"),
        ("GET", "/v1/errors/C9999".into(), None, 404, "C0021"),
        ("GET", "/v1/workflows/none".into(), None, 404, "C0102"),
    ];
    for (method, path, body, status, code) in cases {
        let answer = client.request(method, &path, body.as_ref()).unwrap();
        let status = if code == "C0023" { 415 } else { status };
        assert_eq!(refusal(&answer), (status, code.to_owned()), "{method} {path}: {}", answer.text());
    }
}

#[test]
fn an_error_has_a_page_for_people() {
    let server = Server::start();
    let page = server.client().header("accept", "text/html,*/*").get("/v1/errors/C0201").unwrap();
    assert!(page.headers["content-type"].starts_with("text/plain") && page.text().starts_with("C0201: no such run"));
    assert_eq!(page.headers["x-content-type-options"], "nosniff");
}

#[test]
fn without_a_token_only_this_machine_by_its_own_name_is_answered() {
    let server = Server::start();
    let client = server.client();
    assert_eq!(client.get("/v1/runs").unwrap().status, 200);
    let cross = client.clone().header("origin", "https://evil.example");
    assert_eq!(refusal(&cross.get("/v1/runs").unwrap()), (403, "C0601".to_owned()));
    let own = client.header("origin", &format!("http://{}", server.address));
    assert_eq!(own.get("/v1/runs").unwrap().status, 200);
}

#[test]
fn with_a_token_it_is_asked_for_everywhere_but_at_the_probes() {
    let token = consort_types::Secret::new("token", "open sesame").unwrap();
    let server = Server::with(ApiConfig { token: Some(token) }, consort_api_http::ServeConfig::default());
    let client = server.client();
    for path in ["/v1/runs", "/v1/openapi.json", "/v1/nothing"] {
        let answer = client.get(path).unwrap();
        assert_eq!(refusal(&answer), (401, "C0601".to_owned()), "{path}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(client.get(path).unwrap().status, 200, "{path}");
    }
    let wrong = client.clone().header("authorization", "Bearer open sesam");
    assert_eq!(wrong.get("/v1/runs").unwrap().status, 401);
    let right = client.header("authorization", "Bearer open sesame");
    assert_eq!(right.get("/v1/runs").unwrap().status, 200);
}

#[test]
fn a_stopped_engine_is_not_ready_and_says_so() {
    let server = Server::ready();
    server.runtime.block_on(server.engine.stop_now());
    for (method, path) in
        [("GET", "/readyz"), ("GET", "/v1/runs"), ("POST", "/v1/runs/01J8Z3K4M5N6P7Q8R9S0T1V2W3/pause")]
    {
        let answer = server.client().request(method, path, None).unwrap();
        assert_eq!(
            (refusal(&answer), answer.headers["retry-after"].as_str()),
            ((503, "C0402".to_owned()), "5"),
            "{path}"
        );
    }
    assert_eq!(server.client().get("/healthz").unwrap().status, 200);
}

#[test]
fn a_caller_in_this_process_needs_nothing_and_an_unknown_one_gets_nothing() {
    use axum::{body::Body, http::Request};
    use tower::ServiceExt as _;

    let server = Server::start();
    let request = || Request::get("/v1/status").body(Body::empty()).unwrap();
    let status = |router: axum::Router, request: Request<Body>| {
        server.runtime.block_on(router.oneshot(request)).unwrap().status()
    };
    assert_eq!(status(in_process(server.engine.clone()), request()), 200);
    let public = || router(server.engine.clone(), ApiConfig::default());
    assert_eq!(status(public(), request()), 403);
    let mut remote = request();
    remote.headers_mut().insert("host", "localhost".parse().unwrap());
    remote.extensions_mut().insert(Peer::Address("192.0.2.1:9".parse().unwrap()));
    assert_eq!(status(public(), remote), 403);
}

#[test]
fn bodies_over_their_limits_are_refused() {
    let server = Server::ready();
    let client = server.client();
    let deep = format!("{{\"workflow\":\"echo\",\"input\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = client.raw("POST", "/v1/runs", "application/json", Some(deep.as_bytes())).unwrap();
    assert_eq!(refusal(&answer), (413, "C0007".to_owned()));
    let large = vec![b'#'; limits::WORKFLOW_BYTES_MAX + 1];
    let answer = client.raw("POST", "/v1/workflows", "text/yaml", Some(&large)).unwrap();
    assert_eq!(refusal(&answer), (413, "C0007".to_owned()));
    for body in [&b"{\"workflow\":"[..], b"\xff", b"{} {}", b"nul"] {
        let answer = client.raw("POST", "/v1/runs", "application/json", Some(body)).unwrap();
        assert_eq!(refusal(&answer), (400, "C0005".to_owned()));
    }
    let answer = client.raw("POST", "/v1/runs", "text/plain", Some(b"{}")).unwrap();
    assert_eq!(refusal(&answer), (415, "C0023".to_owned()));
}
