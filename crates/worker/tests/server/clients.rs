//! The client's calls: runs that are started once, listed, paused, watched across restarts; typed errors.
//!
//! For: the client's side. Not for: what tasks do (see `tasks`).
//! Invariant: as in the suite: gates and signals say when to go on.

use std::time::Duration;

use consort_types::Code;
use consort_worker::{
    Client,
    client::{RunEvent, RunFilter, RunStatus, StartOptions},
};
use serde_json::{Value, json};

use crate::support::Server;

/// Waits for the signal `go`, then answers with what it brought.
const WAIT: &str = "workflow: wait\nsteps:\n  a: { wait: { signal: go } }\noutput: ${{ steps.a.output }}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_are_started_once_listed_paused_and_signalled() {
    let server = Server::start().await;
    let client = server.client();
    let deployed = client.deploy(WAIT).await.unwrap();
    assert_eq!((deployed.name.as_str(), deployed.revision, deployed.new), ("wait", 1, true));
    assert_eq!(client.deploy(WAIT).await.unwrap(), consort_worker::client::Deployed { new: false, ..deployed });

    let options = || StartOptions::new().idempotency_key("once").label("team", "blue").priority(3);
    let first = client.start_with("wait", &json!({}), options()).await.unwrap();
    let again = client.start_with("wait", &json!({}), options()).await.unwrap();
    assert_eq!((again.run, first.existing, again.existing), (first.run, false, true));

    client.pause(first.run).await.unwrap();
    let run = client.get(first.run).await.unwrap();
    assert_eq!((run.status, run.paused, run.priority, run.ended), (RunStatus::Running, true, 3, None));
    assert_eq!((run.workflow.as_str(), run.labels["team"].as_str()), ("wait", "blue"));
    client.resume(first.run).await.unwrap();
    let blue = RunFilter {
        labels: [("team".to_owned(), "blue".to_owned())].into(),
        statuses: vec![RunStatus::Running],
        ..RunFilter::default()
    };
    let page = client.list(blue, "").await.unwrap();
    assert_eq!(page.items.iter().map(|run| (run.id, run.paused)).collect::<Vec<_>>(), [(first.run, false)]);

    client.signal(first.run, "go", &json!({"n": 1})).await.unwrap();
    assert_eq!(client.result::<Value>(first.run).await, Ok(json!({"n": 1})));
    assert!(client.get(first.run).await.unwrap().status.has_ended());
    let completed = RunFilter { statuses: vec![RunStatus::Completed], ..RunFilter::default() };
    assert_eq!(client.list(completed, "").await.unwrap().items.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_where_it_was_after_a_restart() {
    let mut server = Server::start().await;
    let client = server.client();
    client.deploy(WAIT).await.unwrap();
    let run = client.start("wait", &json!({})).await.unwrap();
    let mut watch = client.watch(run);
    let mut cursors = Vec::new();
    let Some(Ok(RunEvent::Entry { cursor, .. })) = watch.next().await else { panic!("an entry") };
    cursors.push(cursor);
    server.restart().await;
    client.signal(run, "go", &1).await.unwrap();
    let output = loop {
        match watch.next().await.unwrap().unwrap() {
            RunEvent::Entry { cursor, .. } => cursors.push(cursor),
            RunEvent::Ended(run) => break run.output,
            _ => {}
        }
    };
    assert_eq!(output, Some(json!(1)));
    assert!(watch.next().await.is_none());
    let mut whole = client.watch(run);
    let mut expected = Vec::new();
    while let Some(event) = whole.next().await {
        if let RunEvent::Entry { cursor, .. } = event.unwrap() {
            expected.push(cursor);
        }
    }
    assert_eq!(cursors, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_have_their_codes() {
    let server = Server::start().await;
    let client = server.client();
    assert_eq!(client.start("nobody", &json!({})).await.unwrap_err().code, Code::WorkflowNotFound);
    assert_eq!(client.deploy("workflow: [").await.unwrap_err().code, Code::BadWorkflow);
    let nobody = consort_types::RunId([7; 16]);
    assert_eq!(client.get(nobody).await.unwrap_err().code, Code::RunNotFound);
    assert_eq!(client.result::<Value>(nobody).await.unwrap_err().code, Code::RunNotFound);
    assert_eq!(client.signal(nobody, "go", &1).await.unwrap_err().code, Code::RunNotFound);
    let stranger = Client::new(server.url());
    assert_eq!(stranger.get(nobody).await.unwrap_err().code, Code::Denied);
    assert_eq!(Client::new("ftp://nowhere").get(nobody).await.unwrap_err().code, Code::BadRequest);
    let away = Client::new("http://127.0.0.1:1").patience(Duration::ZERO);
    assert_eq!(away.get(nobody).await.unwrap_err().code, Code::Unreachable);
    assert_eq!(away.result::<Value>(nobody).await.unwrap_err().code, Code::Unreachable);
}
