//! Partial output of a remote agent, as commands show it.
//!
//! For: `--json` and pipes. Not for: the tree on a terminal (its parts have unit tests).
//! Invariant: as in `common`; the agent sends the next message only when the previous one was seen.

mod common;

use std::sync::Arc;

use common::{Folder, binary};
use consort_sdk::{Agent, Capability, Remote, TaskContext, TaskError, Worker};
use consort_testkit::{process::Server, wait_until};
use serde_json::{Value, json};
use tokio::{runtime::Runtime, sync::Semaphore};

/// Sends three messages, each when it may, and ends when it may.
async fn write(ctx: TaskContext, gate: Arc<Semaphore>) -> Result<String, TaskError> {
    let next = async || gate.acquire().await.map(tokio::sync::SemaphorePermit::forget);
    next().await?;
    ctx.progress("writing");
    next().await?;
    ctx.stream_text("The log keeps ");
    next().await?;
    ctx.stream_json(&json!({ "score": 1 }))?;
    next().await?;
    Ok("The log keeps everything.".to_owned())
}

/// A worker of the agent `writer` until the value is dropped.
fn worker(server: &Server, gate: &Arc<Semaphore>) -> Runtime {
    let (runtime, gate) = (Runtime::new().unwrap(), Arc::clone(gate));
    let code = move |ctx, _: Value| write(ctx, Arc::clone(&gate));
    let agent = Agent::new("writer").label("region", "eu").capability(Capability::from_fn("write", code));
    let remote = Remote::new(format!("http://{}", server.grpc_address()));
    runtime.spawn(Worker::new(remote).agent(agent).run(std::future::pending()));
    runtime
}

#[test]
fn partial_output_is_an_event_for_programs_and_nothing_in_a_pipe() {
    let folder = Folder::new();
    folder.write("write.yaml", "workflow: write\nsteps:\n  a: { capability: write }\noutput: ${{ steps.a.output }}\n");
    let server = Server::start(binary(), &folder.path(), ["--log", "info"]).unwrap();
    let gate = Arc::new(Semaphore::new(0));
    let runtime = worker(&server, &gate);
    let found = wait_until("the agent", || folder.json(&["agents", "list", "--label", "region=eu"]).pop());
    assert_eq!(found["name"], "writer");
    let mut events = folder.start(&["run", "write.yaml", "--watch", "--json"]);
    let run = folder.wait_for("write", "running");
    let mut next = |wanted: &str| loop {
        let event: Value = serde_json::from_str(&events.line()).unwrap();
        if event["event"] == wanted {
            return event["data"].clone();
        }
    };
    // The first entry is there: so the watch is open.
    next("entry");
    let lines = folder.start(&["runs", "watch", &run]);
    for expected in [
        json!({"kind": "message", "message": "writing"}),
        json!({"kind": "text", "text": "The log keeps "}),
        json!({"kind": "json", "json": {"score": 1}}),
    ] {
        gate.add_permits(1);
        let mut said = next("progress");
        let fields = said.as_object_mut().unwrap();
        let from = (fields.remove("run").unwrap(), fields.remove("step").unwrap(), fields.remove("attempt").unwrap());
        assert_eq!((said, from), (expected, (json!(run), json!("a"), json!(1))));
    }
    gate.add_permits(1);
    let result = events.ended();
    assert!(result.code == 0 && result.out.contains("The log keeps everything."), "{result:#?}");
    let lines = lines.ended();
    assert_eq!((lines.code, lines.out.as_str()), (0, "The log keeps everything.\n"));
    assert!(lines.err.contains("a completed"), "{}", lines.err);
    assert!(!lines.err.contains("The log") && !lines.err.contains("score"), "{}", lines.err);
    drop(runtime);
    assert!(server.stop().unwrap().success());
}
