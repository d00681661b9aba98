//! The client's calls: runs that are started once, listed, paused, watched across restarts; typed errors.
//!
//! For: the client's side. Not for: what tasks do (see `tasks`).
//! Invariant: as in the suite: gates and signals control what happens next.

use std::time::Duration;

use consort_sdk::{
    Client,
    client::{
        DecideRequest, Decision, ListRunsParams, QuotaRequest, RunEvent, RunStatus, StartRequest, StatusFilter,
        api::{Document, operate::ForkRequest},
    },
};
use consort_types::{Code, RunId, Span, StepInstanceId, registry::LimitScope};
use serde_json::{Value, json};

use crate::support::Server;

/// Waits for the signal `go`, then answers with its payload.
const WAIT: &str = "workflow: wait\nsteps:\n  a: { wait: { signal: go } }\noutput: ${{ steps.a.output }}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_started_once_listed_paused_and_signalled() {
    let server = Server::start().await;
    let client = server.client();
    let deployed = client.deploy(WAIT).await.unwrap();
    assert_eq!((deployed.name.as_str(), deployed.revision, deployed.new), ("wait", 1, true));
    assert_eq!(client.deploy(WAIT).await.unwrap(), consort_sdk::client::Deployed { new: false, ..deployed });

    let labels = [("team".to_owned(), "blue".to_owned())].into();
    let request = StartRequest { labels, priority: 3, ..StartRequest::of("wait") };
    let first = client.start_with(&request, Some("once")).await.unwrap();
    let again = client.start_with(&request, Some("once")).await.unwrap();
    assert_eq!((again.run, first.deduplicated, again.deduplicated), (first.run, false, true));

    client.pause(first.run).await.unwrap();
    let run = client.get(first.run).await.unwrap();
    assert_eq!(run.input, Document::from(json!({})));
    let run = run.summary;
    assert_eq!((run.status, run.paused, run.priority, run.ended_at), (RunStatus::Running, true, 3, None));
    assert_eq!((run.workflow.as_str(), run.labels["team"].as_str()), ("wait", "blue"));
    client.resume(first.run).await.unwrap();
    let blue = ListRunsParams {
        labels: [("team".to_owned(), "blue".to_owned())].into(),
        status: vec![StatusFilter::Running],
        ..ListRunsParams::default()
    };
    let page = client.list(&blue).await.unwrap();
    assert_eq!(page.items.iter().map(|run| (run.run, run.paused)).collect::<Vec<_>>(), [(first.run, false)]);

    client.signal(first.run, "go", &json!({"n": 1})).await.unwrap();
    assert_eq!(client.result::<Value>(first.run).await, Ok(json!({"n": 1})));
    assert!(client.get(first.run).await.unwrap().summary.status.has_ended());
    let ended = vec![StatusFilter::Completed, StatusFilter::Failed];
    let ended = ListRunsParams { status: ended, ..ListRunsParams::default() };
    assert_eq!(client.list(&ended).await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_where_it_was_after_a_restart() {
    let mut server = Server::start().await;
    let client = server.client();
    client.deploy(WAIT).await.unwrap();
    let run = client.start("wait", &json!({})).await.unwrap();
    let mut watch = client.watch(run);
    let mut cursors = Vec::new();
    let Some(Ok(RunEvent::Entry(entry))) = watch.next().await else { panic!("an entry") };
    cursors.push(entry.cursor);
    server.restart().await;
    client.signal(run, "go", &1).await.unwrap();
    let output = loop {
        match watch.next().await.unwrap().unwrap() {
            RunEvent::Entry(entry) => cursors.push(entry.cursor),
            RunEvent::End(run) => break run.output,
            _ => {}
        }
    };
    assert_eq!(output, Some(json!(1).into()));
    assert!(watch.next().await.is_none());
    let mut whole = client.watch(run);
    let mut expected = Vec::new();
    while let Some(event) = whole.next().await {
        if let RunEvent::Entry(entry) = event.unwrap() {
            expected.push(entry.cursor);
        }
    }
    assert_eq!(cursors, expected);
    let history = client.history(run).await.unwrap();
    assert_eq!(history.into_iter().map(|entry| entry.cursor).collect::<Vec<_>>(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_their_codes() {
    let server = Server::start().await;
    let client = server.client();
    assert_eq!(client.start("unknown", &json!({})).await.unwrap_err().code, Code::WorkflowNotFound);
    assert_eq!(client.deploy("workflow: [").await.unwrap_err().code, Code::BadWorkflow);
    let unknown = RunId([7; 16]);
    assert_eq!(client.get(unknown).await.unwrap_err().code, Code::RunNotFound);
    assert_eq!(client.result::<Value>(unknown).await.unwrap_err().code, Code::RunNotFound);
    assert_eq!(client.signal(unknown, "go", &1).await.unwrap_err().code, Code::RunNotFound);
    let stranger = Client::new(server.client_url());
    assert_eq!(stranger.get(unknown).await.unwrap_err().code, Code::Denied);
    assert_eq!(Client::new("ftp://nowhere").get(unknown).await.unwrap_err().code, Code::BadRequest);
    let away = Client::new("http://127.0.0.1:1").reconnect_timeout(Duration::ZERO);
    assert_eq!(away.get(unknown).await.unwrap_err().code, Code::Unreachable);
    assert_eq!(away.result::<Value>(unknown).await.unwrap_err().code, Code::Unreachable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_operation_of_the_command_line_is_there() {
    let server = Server::start().await;
    let client = server.client();
    assert!(client.check(WAIT).await.unwrap().valid && client.workflows().await.unwrap().is_empty());
    client.deploy(WAIT).await.unwrap();
    assert_eq!(client.workflows().await.unwrap()[0].name, "wait");
    let run = client.start("wait", &json!({})).await.unwrap();
    let node = client.tree(run).await.unwrap().remove(0);
    assert_eq!((node.name.as_str(), node.state.as_str(), client.steps(run).await.unwrap().len()), ("a", "waiting", 1));
    assert_eq!(client.delete(run).await.unwrap_err().code, Code::RunActive);
    client.cancel(run, "enough").await.unwrap();
    assert_eq!(client.result::<Value>(run).await.unwrap_err().code, Code::Cancelled);
    assert!(client.replay(run).await.unwrap().differences.is_empty());
    let retried = client.retry(run, Some("a")).await.unwrap();
    let forked = client.fork(run, &ForkRequest::default()).await.unwrap();
    for run in [retried, forked] {
        client.signal(run, "go", &2).await.unwrap();
        assert_eq!(client.result::<u32>(run).await, Ok(2));
    }
    assert!(client.compare(retried, forked).await.unwrap().differences.is_empty());
    client.delete(run).await.unwrap();
    client.set_retention(Some(Span::from_secs(3600))).await.unwrap();
    client.set_retention(None).await.unwrap();
    let (task, decision) =
        (StepInstanceId { run: forked, scope: 0, index: 0 }, DecideRequest::new(Decision::Approve, "ada"));
    assert!(client.inbox().await.unwrap().is_empty() && client.decide(task, &decision).await.is_err());
    let quota = QuotaRequest { max_concurrent: Some(2), ..QuotaRequest::default() };
    client.set_quota(LimitScope::Namespace, &quota).await.unwrap();
    assert_eq!(client.quotas().await.unwrap()[0].max_concurrent, Some(2));
    client.remove_quota(LimitScope::Namespace).await.unwrap();
    assert_eq!(client.remove_quota(LimitScope::Namespace).await.unwrap_err().code, Code::QuotaNotFound);
    assert!(client.queues().await.unwrap().is_empty());
    assert!(client.agents(&consort_sdk::client::AgentFilter::default()).await.unwrap().is_empty());
    for refused in [
        client.agent("unknown", None).await.map(drop),
        client.drain_agent("unknown", None).await,
        client.resume_agent("unknown", Some("1")).await,
        client.weigh_agent("unknown", "1", 5).await,
        client.remove_agent("unknown", None, true).await,
    ] {
        assert_eq!(refused.unwrap_err().code, Code::AgentNotFound);
    }
}
