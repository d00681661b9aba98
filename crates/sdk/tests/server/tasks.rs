//! Tasks: typed, retried, reclaimed, replayed, streamed, approved, refused, cancelled.
//!
//! For: the worker's side. Not for: the client's calls as such (see `clients`).
//! Invariant: as in the suite: gates and signals control what happens next.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use consort_sdk::{
    Agent, CallOptions, Capability, Client, TaskContext, TaskError, all,
    client::{DecideRequest, Decision, InboxKind, RunEvent, api::inside::EventKind},
};
use consort_types::{Code, RunId, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::support::{Server, one_step};

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Text {
    text: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Count {
    words: usize,
}

async fn count(_: TaskContext, input: Text) -> Result<Count, TaskError> {
    Ok(Count { words: input.text.split_whitespace().count() })
}

/// Starts a run of a workflow whose only step calls this capability.
async fn start(client: &Client, capability: &str, value: &impl Serialize) -> RunId {
    client.deploy(one_step(capability)).await.unwrap();
    client.start("one", &json!({ "value": value })).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_typed_task_is_done_and_what_does_not_fit_is_named() {
    let server = Server::start().await;
    let worker = server.host(Agent::new("words").capability(Capability::from_fn("words.count", count)));
    let client = server.client();
    let run = start(&client, "words.count", &Text { text: "one two three".into() }).await;
    assert_eq!(client.result::<Count>(run).await, Ok(Count { words: 3 }));
    let error = client.result::<u32>(run).await.unwrap_err();
    assert_eq!(error.code, Code::BadOutput);

    let run = start(&client, "words.count", &json!({ "text": 3 })).await;
    let error = client.result::<Count>(run).await.unwrap_err();
    assert!(error.message.contains("text"), "{error}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_tried_again_as_it_says() {
    let server = Server::start().await;
    let tries = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&tries);
    let flaky = Capability::from_fn("flaky", move |_, number: u32| {
        let tries = seen.fetch_add(1, Ordering::SeqCst) + 1;
        async move { if tries < 3 { Err(TaskError::retryable("not yet")) } else { Ok(number) } }
    });
    let caller = Capability::from_fn("caller", |ctx: TaskContext, number: u32| async move {
        let options = CallOptions::new().retry(3).back_off(Span::from_millis(1), 1_000, Span::from_millis(1));
        ctx.call_with::<u32>("flaky", &number, options).await
    });
    let worker = server.host(Agent::new("test").capability(flaky).capability(caller));
    let client = server.client();
    let run = start(&client, "caller", &7).await;
    assert_eq!(client.result::<u32>(run).await, Ok(7));
    assert_eq!(tries.load(Ordering::SeqCst), 3);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_holds_survives_a_restart_of_the_server() {
    let mut server = Server::start().await;
    let (begun, gate, attempts) =
        (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)), Arc::new(AtomicU32::new(0)));
    let (started, wait, counted) = (Arc::clone(&begun), Arc::clone(&gate), Arc::clone(&attempts));
    let hold = Capability::from_fn("hold", move |ctx: TaskContext, input: Value| {
        counted.fetch_add(1, Ordering::SeqCst);
        let (started, wait) = (Arc::clone(&started), Arc::clone(&wait));
        async move {
            // What the journal has survives too.
            let _: u32 = ctx.run("first", || async { Ok(1) }).await?;
            started.add_permits(1);
            wait.acquire().await?.forget();
            Ok(input)
        }
    });
    let worker = server.host(Agent::new("test").capability(hold));
    let client = server.client();
    let run = start(&client, "hold", &"held").await;
    begun.acquire().await.unwrap().forget();
    server.restart().await;
    gate.add_permits(1);
    assert_eq!(client.result::<String>(run).await.as_deref(), Ok("held"));
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    worker.stop().await;
}

/// Five calls and a wait; counts its effects.
fn five_calls(effects: &Arc<AtomicU32>) -> Agent {
    let effects = Arc::clone(effects);
    let order = Capability::from_fn("order", move |ctx: TaskContext, base: i64| {
        let effects = Arc::clone(&effects);
        async move {
            let first: i64 = ctx.call("add", &(base, 1)).await?;
            let counted = || async { Ok(effects.fetch_add(1, Ordering::SeqCst)) };
            let _: u32 = ctx.run("effect", counted).await?;
            let second: i64 = ctx.call("add", &(first, 1)).await?;
            let more: i64 = ctx.wait_signal("go").await?;
            let sums = all((0..3).map(|n| ctx.call::<i64>("add", &(second, more * n)))).await?;
            Ok(sums.iter().sum::<i64>())
        }
    });
    let add = Capability::from_fn("add", |_, (a, b): (i64, i64)| async move { Ok(a + b) });
    Agent::new("test").capability(order).capability(add)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_in_code_goes_on_in_another_worker() {
    let server = Server::with_grace(Span::from_millis(1)).await;
    let effects = Arc::new(AtomicU32::new(0));
    let first = server.host(five_calls(&effects));
    let client = server.client();
    let run = start(&client, "order", &10).await;
    let mut watch = client.watch(run);
    loop {
        match watch.next().await.unwrap().unwrap() {
            // The wait for the signal.
            RunEvent::Entry(entry) if entry.event == EventKind::TaskRecorded && entry.entry == Some(3) => break,
            RunEvent::End(run) => panic!("it ended too soon: {run:?}"),
            _ => {}
        }
    }
    first.kill().await;
    let second = server.host(five_calls(&effects));
    client.signal(run, "go", &100).await.unwrap();
    assert_eq!(client.result::<i64>(run).await, Ok(12 + 112 + 212));
    assert_eq!(effects.load(Ordering::SeqCst), 1);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_partial_output_as_it_is_made() {
    let server = Server::start().await;
    let seen = Arc::new(AtomicBool::new(false));
    let enough = Arc::clone(&seen);
    let write = Capability::from_fn("write", move |ctx: TaskContext, _: Value| {
        let enough = Arc::clone(&enough);
        async move {
            while !enough.load(Ordering::SeqCst) {
                ctx.progress("writing");
                ctx.stream_text("word ");
                ctx.stream_json(&json!({"line": 1}))?;
                tokio::task::yield_now().await;
            }
            Ok(json!("done"))
        }
    });
    let worker = server.host(Agent::new("test").capability(write));
    let client = server.client();
    let run = start(&client, "write", &()).await;
    let mut watch = client.watch(run);
    let (mut text, mut document, mut message) = (false, false, false);
    while let Some(event) = watch.next().await {
        match event.unwrap() {
            RunEvent::Progress(said) => {
                assert_eq!((said.step.as_str(), said.attempt), ("only", 1));
                text |= said.text.is_some_and(|words| words.starts_with("word "));
                document |= said.json.is_some_and(|value| value == json!({"line": 1}));
                message |= said.message.as_deref() == Some("writing");
                seen.store(text && document && message, Ordering::SeqCst);
            }
            RunEvent::End(run) => assert_eq!(run.output, Some(json!("done").into())),
            _ => {}
        }
    }
    assert!(seen.load(Ordering::SeqCst));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_decides() {
    let server = Server::start().await;
    let ask = Capability::from_fn("ask", |ctx: TaskContext, item: String| async move {
        let approval = ctx.wait_approval("Send it?", &json!({ "item": item })).await?;
        Ok(json!([approval.approved, approval.by, approval.comment]))
    });
    let worker = server.host(Agent::new("test").capability(ask));
    let client = server.client();
    let run = start(&client, "ask", &"tea").await;
    let item = loop {
        if let Some(item) = client.inbox().await.unwrap().pop() {
            break item;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((item.run, &item.kind, item.title.as_str()), (run, &InboxKind::Approval, "Send it?"));
    assert_eq!(item.details, Some(json!({ "item": "tea" }).into()));
    client.decide(item.task, &DecideRequest::new(Decision::Reject, "ada").comment("later")).await.unwrap();
    assert_eq!(client.result::<Value>(run).await, Ok(json!([false, "ada", "later"])));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_output_that_the_server_does_not_take_fails_the_step_by_name() {
    let server = Server::start().await;
    let deep = Capability::from_fn("deep", |_, depth: usize| async move {
        Ok((0..depth).fold(json!(1), |inner, _| json!([inner])))
    });
    let worker = server.host(Agent::new("test").capability(deep));
    let client = server.client();
    let run = start(&client, "deep", &100).await;
    let error = client.result::<Value>(run).await.unwrap_err();
    assert!(error.message.contains("nested") || error.message.contains("deep"), "{error}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_run_stops_its_task() {
    let server = Server::start().await;
    let (begun, told) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (started, stopped) = (Arc::clone(&begun), Arc::clone(&told));
    let wait = Capability::from_fn("wait", move |ctx: TaskContext, _: Value| {
        let (started, stopped) = (Arc::clone(&started), Arc::clone(&stopped));
        async move {
            started.add_permits(1);
            ctx.cancelled().await;
            stopped.add_permits(1);
            Ok(json!(ctx.is_cancelled()))
        }
    });
    let worker = server.host(Agent::new("test").capability(wait));
    let client = server.client();
    let run = start(&client, "wait", &()).await;
    begun.acquire().await.unwrap().forget();
    client.cancel(run, "enough").await.unwrap();
    told.acquire().await.unwrap().forget();
    assert_eq!(client.result::<Value>(run).await.unwrap_err().code, Code::Cancelled);
    worker.stop().await;
}
