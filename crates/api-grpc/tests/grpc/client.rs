//! What clients ask.

use std::collections::HashMap;

use consort_api_grpc::ServeConfig;
use consort_proto::v1::{self, live_message::Kind as Live, worker_message::Kind};
use consort_types::Code;
use serde_json::{Value, json};
use tonic::Request;

use crate::support::{ASK, Server, complete, ends_with_the_engine, error_of, hasty, hello, instance, soon};

#[tokio::test]
async fn workflows_are_deployed_and_listed() {
    let server = Server::start().await;
    let mut workflows = server.workflows();
    let deploy = |source: &str| v1::DeployWorkflowRequest { source: source.to_owned(), ..Default::default() };
    let same = workflows.deploy_workflow(deploy(ASK)).await.unwrap().into_inner();
    assert_eq!((same.name.as_str(), same.revision, same.new), ("ask", 1, false));
    let next = workflows.deploy_workflow(deploy(&format!("{ASK}description: New.\n"))).await.unwrap().into_inner();
    assert_eq!((next.revision, next.new), (2, true));
    let listed = workflows.list_workflows(v1::ListWorkflowsRequest::default()).await.unwrap().into_inner().workflows;
    let names: Vec<_> = listed.iter().map(|workflow| (workflow.name.as_str(), workflow.revision)).collect();
    assert_eq!(names, [("ask", 2), ("other", 1), ("wait", 1), ("work", 1)]);
    assert_eq!((listed[0].description.as_str(), &listed[0].hash), ("New.", &next.hash));
    assert_eq!(listed[3].version, "1.0");
    let status = workflows.deploy_workflow(deploy("workflow: [")).await.unwrap_err();
    assert_eq!((status.code(), error_of(&status).code), (tonic::Code::InvalidArgument, Code::BadWorkflow));
    let elsewhere = v1::ListWorkflowsRequest { namespace: "elsewhere".to_owned() };
    assert!(workflows.list_workflows(elsewhere).await.unwrap().into_inner().workflows.is_empty());
    let status = workflows.list_workflows(v1::ListWorkflowsRequest { namespace: "a b".to_owned() }).await.unwrap_err();
    assert_eq!(error_of(&status).code, Code::BadName);
}

#[tokio::test]
async fn a_start_is_repeatable_by_its_key() {
    let server = Server::start().await;
    let mut runs = server.runs();
    let start = v1::StartRunRequest {
        workflow: "work".to_owned(),
        input: "{\"n\":1}".into(),
        idempotency_key: "once".to_owned(),
        labels: HashMap::from([("team".to_owned(), "a".to_owned())]),
        priority: -2,
        ..Default::default()
    };
    let first = runs.start_run(start.clone()).await.unwrap().into_inner();
    let second = runs.start_run(start.clone()).await.unwrap().into_inner();
    assert_eq!((first.existing, second.existing, &second.run), (false, true, &first.run));
    let other = v1::StartRunRequest { input: "{\"n\":2}".into(), ..start.clone() };
    let status = runs.start_run(other).await.unwrap_err();
    assert_eq!((status.code(), error_of(&status).code), (tonic::Code::FailedPrecondition, Code::IdempotencyMismatch));
    let run = runs.get_run(v1::GetRunRequest { run: first.run.clone(), ..Default::default() }).await.unwrap();
    let run = run.into_inner().run.unwrap();
    assert_eq!(
        (run.status(), run.priority, run.input.as_deref()),
        (v1::RunStatus::Running, -2, Some(&b"{\"n\":1}"[..]))
    );
    assert_eq!((run.labels, run.workflow, run.output), (start.labels, "work".to_owned(), None));
    for (request, code) in [
        (v1::StartRunRequest { workflow: "none".to_owned(), ..Default::default() }, Code::WorkflowNotFound),
        (v1::StartRunRequest { workflow: "wait".to_owned(), input: "{".into(), ..Default::default() }, Code::BadJson),
    ] {
        assert_eq!(error_of(&runs.start_run(request).await.unwrap_err()).code, code);
    }
}

#[tokio::test]
async fn runs_are_listed_by_what_is_asked_for() {
    let server = Server::start().await;
    let mut runs = server.runs();
    let first = server.run("wait", &json!(1)).await;
    let second = server.run("wait", &json!(2)).await;
    let third = server.run("work", &json!(3)).await;
    let cancel = v1::CancelRunRequest { run: first.clone(), ..Default::default() };
    runs.cancel_run(cancel).await.unwrap();
    server.ended(&first).await;
    let list = |statuses: &[v1::RunStatus], workflow: &str| v1::ListRunsRequest {
        workflow: workflow.to_owned(),
        statuses: statuses.iter().map(|status| (*status).into()).collect(),
        ..Default::default()
    };
    for (request, count) in [
        (list(&[], ""), 3),
        (list(&[], "wait"), 2),
        (list(&[v1::RunStatus::Cancelled], ""), 1),
        (list(&[v1::RunStatus::Cancelled, v1::RunStatus::Running], "wait"), 2),
        (list(&[v1::RunStatus::Failed, v1::RunStatus::Completed], ""), 0),
    ] {
        assert_eq!(runs.list_runs(request.clone()).await.unwrap().into_inner().runs.len(), count, "{request:?}");
    }
    let page = v1::ListRunsRequest { page_size: 2, ..list(&[], "") };
    let newest = runs.list_runs(page.clone()).await.unwrap().into_inner();
    let rest = runs.list_runs(v1::ListRunsRequest { cursor: newest.next, ..page }).await.unwrap().into_inner();
    assert_eq!((newest.runs.len(), rest.runs.len(), rest.next.as_str()), (2, 1, ""));
    let mut all: Vec<_> = newest.runs.into_iter().chain(rest.runs).map(|run| run.run).collect();
    let mut started = vec![first, second, third];
    all.sort();
    started.sort();
    assert_eq!(all, started);
    for (request, code) in [
        (v1::ListRunsRequest { page_size: 1001, ..Default::default() }, Code::BadRequest),
        (v1::ListRunsRequest { cursor: "x".to_owned(), ..Default::default() }, Code::BadCursor),
        (v1::ListRunsRequest { statuses: vec![0], ..Default::default() }, Code::BadRequest),
    ] {
        assert_eq!(error_of(&runs.list_runs(request).await.unwrap_err()).code, code);
    }
}

#[tokio::test]
async fn a_run_is_followed_to_its_end() {
    let server = Server::start().await;
    let mut worker = server.one(1).await;
    let run = server.run("work", &json!(1)).await;
    let task = worker.task().await;
    let watch = |after: &str, live| v1::WatchRunRequest {
        run: run.clone(),
        after: after.to_owned(),
        live,
        ..Default::default()
    };
    let mut watched = server.runs().watch_run(watch("", true)).await.unwrap().into_inner();
    let mut entries = Vec::new();
    while entries.len() < 2 {
        match soon("an entry", watched.message()).await.unwrap().unwrap().kind.unwrap() {
            v1::watch_run_response::Kind::Entry(entry) => entries.push(entry),
            other => panic!("expected an entry, found {other:?}"),
        }
    }
    assert_eq!(entries[0].event, "run_started");
    let live = [
        Kind::Progress(v1::Progress { attempt: task.attempt.clone(), message: "half".to_owned() }),
        stream(&task, v1::delta::Kind::Text("more".to_owned())),
        stream(&task, v1::delta::Kind::Json("{\"a\":1}".into())),
    ];
    for kind in live {
        worker.say(0, kind).await;
    }
    let mut heard = Vec::new();
    while heard.len() < 3 {
        match soon("a live message", watched.message()).await.unwrap().unwrap().kind.unwrap() {
            v1::watch_run_response::Kind::Live(live) => {
                assert_eq!((live.step.as_str(), live.attempt), ("a", 1));
                heard.push(live.kind.unwrap());
            }
            v1::watch_run_response::Kind::Entry(entry) => entries.push(entry),
            v1::watch_run_response::Kind::Ended(run) => panic!("it has not ended: {run:?}"),
        }
    }
    assert_eq!(
        heard,
        [Live::Message("half".to_owned()), Live::Text("more".to_owned()), Live::Json("{\"a\":1}".into())]
    );
    worker.say(0, complete(&task, "\"done\"")).await;
    let ended = to_end(&mut watched, &mut entries).await;
    assert_eq!((ended.status(), ended.output.as_deref()), (v1::RunStatus::Completed, Some(&b"\"done\""[..])));
    let mut again = Vec::new();
    let mut watched = server.runs().watch_run(watch(&entries[1].cursor, false)).await.unwrap().into_inner();
    to_end(&mut watched, &mut again).await;
    assert_eq!(again, entries[2..]);
    let taken = entries.iter().find(|entry| entry.event == "attempt_taken").unwrap();
    let details: Value = serde_json::from_slice(&taken.details).unwrap();
    assert_eq!((taken.step.as_str(), &details["attempt"]), ("a", &json!(1)));
    assert!(details.get("event").is_none() && details.get("cursor").is_none(), "{details}");
    let status = server.runs().watch_run(watch("x", false)).await.unwrap_err();
    assert_eq!(error_of(&status).code, Code::BadCursor);
}

fn stream(task: &v1::Task, kind: v1::delta::Kind) -> Kind {
    Kind::Stream(v1::Stream { attempt: task.attempt.clone(), delta: Some(v1::Delta { kind: Some(kind) }) })
}

async fn to_end(watched: &mut tonic::Streaming<v1::WatchRunResponse>, entries: &mut Vec<v1::RunEntry>) -> v1::Run {
    let mut end = None;
    while let Some(message) = soon("the end", watched.message()).await.unwrap() {
        match message.kind.unwrap() {
            v1::watch_run_response::Kind::Entry(entry) => entries.push(entry),
            v1::watch_run_response::Kind::Ended(run) => end = Some(run),
            v1::watch_run_response::Kind::Live(live) => panic!("unasked for: {live:?}"),
        }
    }
    end.expect("the end comes last")
}

#[tokio::test]
async fn a_watch_ends_with_the_engine() {
    let server = Server::start().await;
    let run = server.run("wait", &json!(1)).await;
    let request = v1::WatchRunRequest { run, ..Default::default() };
    let mut watched = server.runs().watch_run(request).await.unwrap().into_inner();
    assert!(watched.message().await.unwrap().is_some());
    server.engine.stop_now().await;
    ends_with_the_engine(watched).await;
}

#[tokio::test]
async fn runs_are_paused_resumed_and_signalled() {
    let server = Server::start().await;
    let mut runs = server.runs();
    let run = server.run("wait", &json!(1)).await;
    let named = |run: &str| v1::GetRunRequest { run: run.to_owned(), ..Default::default() };
    runs.pause_run(v1::PauseRunRequest { run: run.clone(), ..Default::default() }).await.unwrap();
    assert!(runs.get_run(named(&run)).await.unwrap().into_inner().run.unwrap().paused);
    runs.resume_run(v1::ResumeRunRequest { run: run.clone(), ..Default::default() }).await.unwrap();
    assert!(!runs.get_run(named(&run)).await.unwrap().into_inner().run.unwrap().paused);
    let signal =
        v1::SignalRunRequest { run: run.clone(), name: "go".to_owned(), payload: "[7]".into(), ..Default::default() };
    runs.signal_run(signal.clone()).await.unwrap();
    assert_eq!(server.ended(&run).await.output.as_deref(), Some(&b"[7]"[..]));
    let status = runs.signal_run(signal).await.unwrap_err();
    assert_eq!((status.code(), error_of(&status).code), (tonic::Code::FailedPrecondition, Code::RunEnded));
    for id in ["", "x"] {
        let status = runs.get_run(named(id)).await.unwrap_err();
        assert_eq!((status.code(), error_of(&status).code), (tonic::Code::InvalidArgument, Code::BadRequest));
    }
    let status = runs.get_run(named("01J8Z3K4M5N6P7Q8R9S0T1V2W3")).await.unwrap_err();
    assert_eq!((status.code(), error_of(&status).code), (tonic::Code::NotFound, Code::RunNotFound));
}

#[tokio::test]
async fn a_start_keeps_the_callers_trace() {
    let server = Server::start().await;
    let mut worker = server.one(1).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let start = v1::StartRunRequest { workflow: "work".to_owned(), input: "{\"n\":1}".into(), ..Default::default() };
    let mut request = Request::new(start);
    request.metadata_mut().insert("traceparent", format!("00-{trace}-b7ad6b7169203331-01").parse().unwrap());
    server.runs().start_run(request).await.unwrap();
    let task = worker.task().await;
    assert!(task.traceparent.contains(trace), "{}", task.traceparent);
}

#[tokio::test]
async fn approvals_are_listed_and_decided() {
    let server = Server::start().await;
    let mut inbox = server.inbox();
    let input = json!({ "what": [1] }).to_string().into();
    let start = v1::StartRunRequest { workflow: "ask".to_owned(), input, ..Default::default() };
    let run = server.runs().start_run(start).await.unwrap().into_inner().run;
    let list = v1::ListInboxRequest::default;
    let items = inbox.list_inbox(list()).await.unwrap().into_inner().items;
    let item = &items[0];
    assert_eq!((item.run.as_str(), item.step.as_str(), item.ask.as_str()), (run.as_str(), "a", "approval"));
    assert_eq!((item.title.as_str(), item.details.as_deref()), ("Ship it?", Some(&b"[1]"[..])));
    let decide = |by: &str| v1::ApproveRequest {
        task: item.task.clone(),
        approved: true,
        by: by.to_owned(),
        comment: "fine".to_owned(),
        ..Default::default()
    };
    let status = inbox.approve(decide(" ")).await.unwrap_err();
    assert!(error_of(&status).message.contains("`by`"), "{status}");
    inbox.approve(decide("ana")).await.unwrap();
    assert_eq!(server.ended(&run).await.status(), v1::RunStatus::Completed);
    assert_eq!(error_of(&inbox.approve(decide("bo")).await.unwrap_err()).code, Code::StepState);
    assert!(inbox.list_inbox(list()).await.unwrap().into_inner().items.is_empty());
}

#[tokio::test]
async fn unknown_outcomes_are_decided_each_way() {
    use v1::resolve_unknown_request::Resolution;
    let server = Server::with(None, hasty(), ServeConfig::default()).await;
    server
        .engine
        .deploy(
            "default",
            "workflow: pay\nsteps:\n  a: { capability: work, effect: write }\noutput: ${{ steps.a.output }}\n",
        )
        .await
        .unwrap();
    let mut inbox = server.inbox();
    for (resolution, expected) in [
        (Resolution::Done("\"paid\"".into()), v1::RunStatus::Completed),
        (Resolution::Fail("bank is gone".to_owned()), v1::RunStatus::Failed),
    ] {
        let item = lose(&server, "pay").await;
        assert_eq!(item.ask, "unknown_outcome");
        let request = |resolution| v1::ResolveUnknownRequest {
            task: item.task.clone(),
            by: "ana".to_owned(),
            resolution,
            ..Default::default()
        };
        for missing in [None, Some(Resolution::Retry(false))] {
            let error = error_of(&inbox.resolve_unknown(request(missing)).await.unwrap_err());
            assert!(error.message.contains("`resolution`"), "{error}");
        }
        inbox.resolve_unknown(request(Some(resolution))).await.unwrap();
        assert_eq!(server.ended(&item.run).await.status(), expected);
    }
    let item = lose(&server, "pay").await;
    let retry = v1::ResolveUnknownRequest {
        task: item.task,
        by: "ana".to_owned(),
        resolution: Some(Resolution::Retry(true)),
        ..Default::default()
    };
    inbox.resolve_unknown(retry).await.unwrap();
    let mut worker = server.one(1).await;
    let task = worker.task().await;
    worker.say(0, complete(&task, "\"paid late\"")).await;
    assert_eq!(server.ended(&item.run).await.output.as_deref(), Some(&b"\"paid late\""[..]));
}

/// Starts a run whose `write` attempt is lost with its worker; what then stands in the inbox.
async fn lose(server: &Server, workflow: &str) -> v1::InboxItem {
    let mut worker = server.worker(hello(vec![instance("worker", "work", 1)])).await.unwrap();
    server.run(workflow, &json!(1)).await;
    worker.task().await;
    drop(worker);
    let mut look = tokio::time::interval(std::time::Duration::from_millis(10));
    let found = async {
        loop {
            look.tick().await;
            let list = server.inbox().list_inbox(v1::ListInboxRequest::default()).await.unwrap().into_inner();
            if let Some(item) = list.items.into_iter().next() {
                return item;
            }
        }
    };
    soon("the unknown outcome", found).await
}
