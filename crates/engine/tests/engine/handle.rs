//! The door, with its threads: what clients and workers see.
//!
//! For: the shell around the partition: answers, sessions, watches, blobs, stopping. Not for: timing.
//! Invariant: every wait in here ends with an event, not with a clock.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::support::{NS, agent, hello, json, parts};
use consort_engine::{
    Config, Decision, ForkRequest, Handle, Locality, Parts, SeenEntry, Session, StartRequest, Status, WatchEvent,
    view::{JournalCursor, RunFilter, RunView},
};
use consort_log::{Log, LogError, MemoryLogDisk, Record, Records};
use consort_store::{Blobs, MemoryStore, Store};
use consort_types::{
    BlobHash, Code, EffectClass, Payload, Result, RunId, Seq, Span, limits,
    registry::AgentFilter,
    worker::{FromWorker, Live, TaskOffer, ToWorker},
};

const ONE: &str = "workflow: w\nsteps:\n  a: { capability: x, with: { n: \"${{ input.n }}\" } }\ninput: { n: {} }\noutput: ${{ steps.a.output }}\n";
const X: &[(&str, EffectClass)] = &[("x", EffectClass::Idempotent)];

struct Base {
    disk: MemoryLogDisk,
    store: MemoryStore,
}

impl Base {
    fn new() -> Self {
        Self { disk: MemoryLogDisk::new(), store: MemoryStore::new() }
    }

    async fn open(&self) -> Handle {
        Handle::open(parts(&self.disk, &self.store), Config::default()).await.unwrap()
    }

    async fn deployed(&self) -> Handle {
        let handle = self.open().await;
        handle.deploy(NS, ONE).await.unwrap();
        handle
    }
}

fn request(input: &str) -> StartRequest {
    StartRequest { namespace: NS.into(), workflow: "w".into(), input: Some(json(input)), ..StartRequest::default() }
}

async fn next_task(session: &mut Session) -> TaskOffer {
    for message in session.receive().await.expect("the engine runs") {
        if let ToWorker::Task(offer) = message {
            return *offer;
        }
    }
    panic!("a task was expected")
}

async fn complete(session: &Session, offer: &TaskOffer, output: Payload) {
    let report = FromWorker::Complete { task: offer.task, token: offer.token, output };
    session.sender().send(report).await.unwrap();
}

/// A worker that answers every task with its input, until the engine lets it go.
fn echo(mut session: Session) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(messages) = session.receive().await {
            for message in messages {
                if let ToWorker::Task(offer) = message {
                    let output = offer.input.clone();
                    let report = FromWorker::Complete { task: offer.task, token: offer.token, output };
                    if session.sender().send(report).await.is_err() {
                        return;
                    }
                }
            }
        }
    })
}

async fn attach(handle: &Handle) -> Session {
    handle.attach(hello(agent("a", X), 64, Vec::new()), Locality::Local).await.unwrap()
}

fn output(view: &RunView) -> String {
    String::from_utf8(view.output.as_ref().unwrap().bytes().unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_starts_and_ends() {
    let base = Base::new();
    let handle = base.deployed().await;
    echo(attach(&handle).await);
    let started = handle.start(request(r#"{"n":7}"#)).await.unwrap();
    let view = handle.wait_end(NS, started.run).await.unwrap();
    assert_eq!((output(&view).as_str(), started.deduplicated), (r#"{"n":7}"#, false));
    assert_eq!(handle.runs(NS, RunFilter::default(), None, 10).await.unwrap().items.len(), 1);
    assert_eq!(handle.agents(NS, AgentFilter::default()).await.unwrap().len(), 1);
    assert_eq!(handle.workflow_source(NS, "w", None).await.unwrap(), ONE);
    let status = handle.status_of(NS).await.unwrap();
    assert_eq!((status.tasks.done, status.runs_active, status.agents[0].instances), (1, 0, 1));
    handle.ready().await.unwrap();
}

#[tokio::test]
async fn a_start_can_be_repeated() {
    let base = Base::new();
    let handle = base.deployed().await;
    let keyed = |input| StartRequest { idempotency_key: Some("k".into()), ..request(input) };
    let first = handle.start(keyed(r#"{"n":1}"#)).await.unwrap();
    let again = handle.start(keyed(r#"{"n":1}"#)).await.unwrap();
    assert_eq!((again.run, again.deduplicated), (first.run, true));
    let other = handle.start(keyed(r#"{"n":2}"#)).await.unwrap_err();
    assert_eq!(other.code, Code::IdempotencyMismatch);
}

#[tokio::test]
async fn requests_over_their_limits_are_refused_with_value_and_limit() {
    let base = Base::new();
    let handle = base.deployed().await;
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let refused = [
        handle.start(request(&deep)).await.unwrap_err(),
        handle.start(StartRequest { idempotency_key: Some("k".repeat(300)), ..request("{}") }).await.unwrap_err(),
        handle.deploy(NS, &"#".repeat(limits::WORKFLOW_BYTES_MAX + 1)).await.unwrap_err(),
    ];
    for (error, limit) in refused.iter().zip(["64", "256", "1048576"]) {
        assert!(error.code == Code::LimitReached && error.message.contains(limit), "{error}");
    }
    assert_eq!(handle.start(request("{")).await.unwrap_err().code, Code::BadJson);
    assert_eq!(handle.deploy("no such/name", ONE).await.unwrap_err().code, Code::BadName);
    let huge = Payload::inline(vec![b'1'; limits::PAYLOAD_BYTES_MAX + 1]);
    let huge = StartRequest { input: Some(huge), ..request("{}") };
    assert_eq!(handle.start(huge).await.unwrap_err().code, Code::PayloadTooLarge);
    let greedy = hello(agent("a", X), limits::INSTANCE_CREDIT_MAX + 1, Vec::new());
    let error = handle.attach(greedy, Locality::Local).await.err().unwrap();
    assert!(error.code == Code::LimitReached && error.message.contains("10000"), "{error}");
}

#[tokio::test]
async fn large_documents_go_through_the_blob_store() {
    let base = Base::new();
    let handle = base.deployed().await;
    let mut session = attach(&handle).await;
    let text = format!("\"{}\"", "z".repeat(100_000));
    let started = handle.start(request(&format!("{{\"n\":{text}}}"))).await.unwrap();
    let offer = next_task(&mut session).await;
    assert_eq!(offer.input.len(), text.len() as u64 + 6, "a worker gets its input in full");
    complete(&session, &offer, Payload::inline(text.clone().into_bytes())).await;
    let view = handle.wait_end(NS, started.run).await.unwrap();
    let made = view.output.unwrap();
    assert!(matches!(made, Payload::Blob { .. }) && matches!(view.input, Payload::Blob { .. }));
    assert_eq!(&*handle.payload(NS, made).await.unwrap(), text.as_bytes());
    let unknown = handle.blob(NS, BlobHash([9; 32])).await.unwrap_err();
    assert_eq!(unknown.code, Code::BlobNotFound);
}

#[tokio::test]
async fn a_report_that_is_not_json_is_refused_at_the_door() {
    let base = Base::new();
    let handle = base.deployed().await;
    let mut session = attach(&handle).await;
    handle.start(request(r#"{"n":1}"#)).await.unwrap();
    let offer = next_task(&mut session).await;
    let report = |output| FromWorker::Complete { task: offer.task, token: offer.token, output };
    let refused = session.sender().send(report(json("{"))).await.unwrap_err();
    assert_eq!(refused.code, Code::BadJson);
    session.sender().send(report(json("1"))).await.unwrap();
    handle.wait_end(NS, offer.task.run).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_sees_every_entry_once_from_any_cursor_on() {
    let base = Base::new();
    let handle = base.deployed().await;
    let mut session = attach(&handle).await;
    let run = handle.start(request(r#"{"n":1}"#)).await.unwrap().run;
    let mut watch = handle.watch(NS, run, None).await.unwrap();
    let offer = next_task(&mut session).await;
    let beat = FromWorker::Heartbeat { task: offer.task, token: offer.token, progress: Some("half way".into()) };
    let (mut cursors, mut progress) = (Vec::new(), 0);
    while let Some(event) = watch.next().await {
        match event.unwrap() {
            WatchEvent::Entry(entry) => {
                cursors.push(entry.cursor);
                session.sender().send(beat.clone()).await.unwrap();
            }
            WatchEvent::Progress(shown) => {
                progress += 1;
                assert_eq!(shown.step, "a");
                assert_eq!(shown.live, Live::Message { message: "half way".into() });
                if progress == 1 {
                    complete(&session, &offer, json("1")).await;
                }
            }
            WatchEvent::Ended(view) => assert_eq!(output(&view), "1"),
        }
    }
    assert!(progress > 0 && cursors.len() >= 3, "{cursors:?}");
    assert!(cursors.windows(2).all(|pair| pair[0] < pair[1]), "in order, each once: {cursors:?}");
    let (middle, rest) = (cursors[1], &cursors[2..]);
    assert_eq!(entries(&handle, run, Some(middle)).await, rest);
    let journal = handle.history(NS, run, None, 100).await.unwrap().items;
    assert_eq!(journal.iter().map(|entry| entry.cursor).collect::<Vec<_>>(), cursors);
    assert!(handle.watch("other", run, None).await.is_err(), "another namespace sees nothing (law 12)");
    assert_eq!(handle.replay(NS, run).await.unwrap().differences, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watchers_of_a_run_share_what_is_read_and_what_is_made_of_it() {
    let base = Base::new();
    let handle = base.deployed().await;
    let mut session = attach(&handle).await;
    let run = handle.start(request(r#"{"n":1}"#)).await.unwrap().run;
    let mut watches = Vec::new();
    for _ in 0..50 {
        watches.push(handle.watch(NS, run, None).await.unwrap());
    }
    let mut first: Vec<Arc<SeenEntry>> = Vec::new();
    for watch in &mut watches {
        match watch.next().await.unwrap().unwrap() {
            WatchEvent::Entry(entry) => first.push(entry),
            other => panic!("a run begins with an entry: {other:?}"),
        }
    }
    assert!(first.iter().all(|entry| Arc::ptr_eq(entry, &first[0])), "one read for all of them");
    let mut made = 0;
    for entry in &first {
        let text = entry.written(|entry| {
            made += 1;
            entry.cursor.to_string()
        });
        assert_eq!(*text, *first[0].cursor.to_string());
    }
    assert_eq!(made, 1);
    let offer = next_task(&mut session).await;
    complete(&session, &offer, json("1")).await;
    let mut ends = Vec::new();
    for mut watch in watches {
        while let Some(event) = watch.next().await {
            if let WatchEvent::Ended(run) = event.unwrap() {
                ends.push(run);
            }
        }
    }
    assert_eq!(ends.len(), 50, "each learns of the end");
}

async fn entries(handle: &Handle, run: RunId, cursor: Option<JournalCursor>) -> Vec<JournalCursor> {
    let mut watch = handle.watch(NS, run, cursor).await.unwrap();
    let mut found = Vec::new();
    while let Some(event) = watch.next().await {
        if let WatchEvent::Entry(entry) = event.unwrap() {
            found.push(entry.cursor);
        }
    }
    found
}

#[tokio::test]
async fn an_approval_a_signal_and_an_unknown_outcome_are_decided() {
    let base = Base::new();
    let handle = base.open().await;
    let source = "
workflow: w
steps:
  ok: { approve: { title: go on? } }
  go: { wait: { signal: go }, needs: [ok] }
  pay: { capability: x, effect: write, needs: [go] }
output: ${{ steps.pay.output }}
";
    handle.deploy(NS, source).await.unwrap();
    let run = handle.start(request("{}")).await.unwrap().run;
    let waiting = handle.inbox(NS, None, 10).await.unwrap().items;
    handle.decide(NS, waiting[0].task, Decision::Approve(None), "me", None).await.unwrap();
    handle.signal(NS, run, "go", json("1")).await.unwrap();
    let mut session = attach(&handle).await;
    next_task(&mut session).await;
    // A local instance that goes away is dead: what it was doing may or may not have happened.
    let mut watch = handle.watch(NS, run, None).await.unwrap();
    drop(session);
    let task = loop {
        watch.next().await.unwrap().unwrap();
        if let Some(item) = handle.inbox(NS, None, 10).await.unwrap().items.first() {
            break item.task;
        }
    };
    handle.decide(NS, task, Decision::Done(json("9")), "me", Some("seen".into())).await.unwrap();
    assert_eq!(output(&handle.wait_end(NS, run).await.unwrap()), "9");
}

#[tokio::test]
async fn an_output_that_a_person_decides_fits_what_the_agent_declares() {
    let base = Base::new();
    let handle = base.open().await;
    handle.deploy(NS, "workflow: w\nsteps:\n  pay: { capability: x, effect: write }\n").await.unwrap();
    handle.start(request("{}")).await.unwrap();
    let mut declared = agent("a", X);
    declared.capabilities[0].output_schema =
        serde_json::json!({ "type": "object", "required": ["id"], "properties": { "id": { "type": "integer" } } });
    let mut session = handle.attach(hello(declared, 8, Vec::new()), Locality::Local).await.unwrap();
    next_task(&mut session).await;
    drop(session);
    let task = loop {
        if let Some(item) = handle.inbox(NS, None, 10).await.unwrap().items.first() {
            break item.task;
        }
        tokio::task::yield_now().await;
    };
    for wrong in ["null", r#"{"foo":1}"#, r#"{"id":"seven"}"#] {
        let refused = handle.decide(NS, task, Decision::Done(json(wrong)), "ann", None).await.unwrap_err();
        assert_eq!(refused.code, Code::BadOutput, "{wrong}");
        assert!(refused.message.contains('$'), "it names the path: {refused}");
    }
    handle.decide(NS, task, Decision::Done(json(r#"{"id":7}"#)), "ann", None).await.unwrap();
}

#[tokio::test]
async fn an_ended_run_is_retried_forked_compared_and_deleted() {
    let base = Base::new();
    let handle = base.deployed().await;
    echo(attach(&handle).await);
    let run = handle.start(request(r#"{"n":1}"#)).await.unwrap().run;
    handle.wait_end(NS, run).await.unwrap();
    let input = Some(json(r#"{"n":2}"#));
    let fork = ForkRequest { namespace: NS.into(), from: run, step: Some("a".into()), input, entry: None };
    let fork = handle.fork(fork).await.unwrap().run;
    assert_eq!(output(&handle.wait_end(NS, fork).await.unwrap()), r#"{"n":2}"#);
    let again = handle.retry(NS, run, Some("a".into())).await.unwrap().run;
    handle.wait_end(NS, again).await.unwrap();
    assert_eq!(handle.compare(NS, run, again).await.unwrap().differences, vec![]);
    assert_eq!(handle.compare(NS, run, fork).await.unwrap().differences.len(), 1);
    handle.delete(NS, run).await.unwrap();
    assert_eq!(handle.run(NS, run).await.unwrap_err().code, Code::RunNotFound);
    handle.set_retention(NS, Some(Span::from_secs(60))).await.unwrap();
}

#[tokio::test]
async fn a_paused_run_goes_on_after_it_is_resumed_and_a_cancelled_one_does_not() {
    let base = Base::new();
    let handle = base.deployed().await;
    let run = handle.start(request(r#"{"n":1}"#)).await.unwrap().run;
    handle.pause(NS, run).await.unwrap();
    echo(attach(&handle).await);
    assert_eq!(handle.status().await.unwrap().tasks_queued, 1);
    handle.resume(NS, run).await.unwrap();
    handle.wait_end(NS, run).await.unwrap();
    let waits = "workflow: v\nsteps:\n  a: { wait: { signal: never } }\n";
    handle.deploy(NS, waits).await.unwrap();
    let run = handle.start(StartRequest { workflow: "v".into(), ..request("{}") }).await.unwrap().run;
    handle.cancel(NS, run, "enough", false).await.unwrap();
    assert_eq!(handle.wait_end(NS, run).await.unwrap().summary.status.as_str(), "cancelled");
}

#[tokio::test]
async fn after_a_graceful_stop_there_is_nothing_to_replay() {
    let base = Base::new();
    let handle = base.deployed().await;
    echo(attach(&handle).await);
    let run = handle.start(request(r#"{"n":1}"#)).await.unwrap().run;
    handle.wait_end(NS, run).await.unwrap();
    handle.shutdown(Duration::from_mins(1)).await;
    assert_eq!(handle.start(request("{}")).await.unwrap_err().code, Code::Stopping);
    assert_eq!(handle.status().await.unwrap_err().code, Code::Stopping);
    base.store.crash(0);
    let last = base.disk.open().unwrap().last();
    assert_eq!(base.store.applied().unwrap(), last);
    let handle = base.open().await;
    assert_eq!(handle.run(NS, run).await.unwrap().summary.status.as_str(), "completed");
}

#[tokio::test]
async fn after_a_stop_at_once_the_run_goes_on() {
    let base = Base::new();
    let handle = base.deployed().await;
    let mut session = attach(&handle).await;
    let run = handle.start(request(r#"{"n":1}"#)).await.unwrap().run;
    next_task(&mut session).await;
    handle.stop_now().await;
    assert_eq!(session.receive().await, None);
    base.store.crash(0);
    let handle = base.open().await;
    echo(attach(&handle).await);
    assert_eq!(output(&handle.wait_end(NS, run).await.unwrap()), r#"{"n":1}"#);
}

#[tokio::test]
async fn the_last_handle_closes_the_partition() {
    let base = Base::new();
    let handle = base.deployed().await;
    let (other, session) = (handle.clone(), attach(&handle).await);
    drop(handle);
    other.status().await.unwrap();
    let waiter = other.clone();
    drop(session);
    let stopped = tokio::spawn(async move { waiter.stop_now().await });
    stopped.await.unwrap();
    assert!(base.disk.open().is_ok(), "the log is closed");
}

#[tokio::test]
async fn an_agent_is_registered_when_it_is_new_or_has_changed() {
    let base = Base::new();
    let handle = base.open().await;
    let records = async |handle: &Handle| handle.status().await.unwrap().log_last.0;
    drop(attach(&handle).await);
    let once = records(&handle).await;
    drop(attach(&handle).await);
    assert_eq!(records(&handle).await, once);
    handle.attach(hello(agent("a", &[("y", EffectClass::Read)]), 1, Vec::new()), Locality::Local).await.unwrap();
    assert_eq!(records(&handle).await, once + 1);
}

/// A log whose appends can be held up, and counted.
struct Gate {
    log: Box<dyn Log>,
    shut: Arc<(Mutex<bool>, Condvar)>,
    appends: Arc<AtomicUsize>,
}

impl Log for Gate {
    fn append(&mut self, group: &[Record]) -> std::result::Result<Seq, LogError> {
        self.appends.fetch_add(1, Ordering::SeqCst);
        let (shut, changed) = &*self.shut;
        let shut = changed.wait_while(shut.lock().unwrap(), |shut| *shut).unwrap();
        drop(shut);
        self.log.append(group)
    }

    fn epoch(&self) -> u64 {
        self.log.epoch()
    }

    fn read(&self, from: Seq) -> Records<'_> {
        self.log.read(from)
    }

    fn first(&self) -> Seq {
        self.log.first()
    }

    fn last(&self) -> Seq {
        self.log.last()
    }

    fn trim(&mut self, before: Seq) -> std::result::Result<(), LogError> {
        self.log.trim(before)
    }

    fn bytes_written(&self) -> u64 {
        self.log.bytes_written()
    }
}

#[tokio::test]
async fn an_overload_is_answered() {
    let base = Base::new();
    let shut = Arc::new((Mutex::new(false), Condvar::new()));
    let appends = Arc::new(AtomicUsize::new(0));
    let whole = parts(&base.disk, &base.store);
    let log = Box::new(Gate { log: whole.log, shut: Arc::clone(&shut), appends: Arc::clone(&appends) });
    let handle = Handle::open(Parts { log, ..whole }, Config::default()).await.unwrap();
    handle.deploy(NS, ONE).await.unwrap();
    *shut.0.lock().unwrap() = true;
    let commands: Vec<_> = (0..=limits::COMMANDS_WAITING_MAX)
        .map(|_| {
            let handle = handle.clone();
            async move { handle.set_retention(NS, None).await }
        })
        .collect();
    let opened = async {
        // The last command was refused before the first was answered.
        tokio::task::yield_now().await;
        *shut.0.lock().unwrap() = false;
        shut.1.notify_all();
    };
    let (replies, ()) = futures::future::join(futures::future::join_all(commands), opened).await;
    let refused: Vec<_> = replies.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 1);
    let error = &refused[0];
    assert!(error.code == Code::Overloaded && error.message.contains("16384"), "{error}");
    assert!(error.hint.as_ref().unwrap().contains("100ms"));
    assert!(appends.load(Ordering::SeqCst) < 64, "commands that wait share groups");
    handle.start(request(r#"{"n":1}"#)).await.unwrap();
}

#[tokio::test]
async fn a_halted_partition_answers_everybody_with_its_reason() {
    let base = Base::new();
    let handle = base.deployed().await;
    let mut session = attach(&handle).await;
    let run = handle.start(request(r#"{"n":1}"#)).await.unwrap().run;
    next_task(&mut session).await;
    base.disk.fail_append(1);
    let waiter = handle.clone();
    let waiting = tokio::spawn(async move { waiter.wait_end(NS, run).await });
    handle.status().await.unwrap();
    let error = handle.start(request(r#"{"n":2}"#)).await.unwrap_err();
    assert_eq!(waiting.await.unwrap().unwrap_err().code, Code::Halted);
    assert!(error.code == Code::Halted && error.message.contains("planned failure"), "{error}");
    assert_eq!(handle.deploy(NS, ONE).await.unwrap_err().code, Code::Halted);
    assert_eq!(handle.ready().await.unwrap_err().code, Code::Halted);
    assert_eq!(session.receive().await, None, "workers are disconnected");
    assert_eq!(handle.workflows(NS, None, 10).await.unwrap().items.len(), 1, "the state can be looked at");
    handle.shutdown(Duration::from_mins(1)).await;
    base.disk.crash(false);
    base.open().await.start(request(r#"{"n":1}"#)).await.unwrap();
}

#[tokio::test]
async fn a_store_that_fails_halts_the_partition() {
    let base = Base::new();
    let config = Config { flush_rows: 1, ..Config::default() };
    let handle = Handle::open(parts(&base.disk, &base.store), config).await.unwrap();
    handle.deploy(NS, ONE).await.unwrap();
    base.store.fail(Some("no space"));
    let error = loop {
        match handle.start(request(r#"{"n":1}"#)).await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.code == Code::Halted && error.message.contains("no space"), "{error}");
}

#[tokio::test]
async fn a_read_waits_for_the_record_that_it_asks_for() {
    let base = Base::new();
    let handle = base.deployed().await;
    let applied = handle.status().await.unwrap().applied;
    let waiting = handle.applied(NS, applied.next());
    let (seen, started) = futures::future::join(waiting, handle.start(request(r#"{"n":1}"#))).await;
    started.unwrap();
    assert_eq!(seen.unwrap(), applied.next());
}

#[tokio::test]
async fn blobs_that_a_crash_left_behind_are_swept() {
    let base = Base::new();
    let orphan = b"\"left behind\"";
    let hash = BlobHash::of(orphan);
    base.store.put_blob(hash, orphan).unwrap();
    let config = Config { flush_rows: 1, sync_interval: Span::ZERO, ..Config::default() };
    let handle = Handle::open(parts(&base.disk, &base.store), config).await.unwrap();
    handle.deploy(NS, ONE).await.unwrap();
    let kept = format!("{{\"n\":\"{}\"}}", "k".repeat(50_000));
    handle.start(request(&kept)).await.unwrap();
    while base.store.get_blob(hash).unwrap().is_some() {
        handle.deploy("other", ONE).await.unwrap();
    }
    assert!(base.store.get_blob(BlobHash::of(kept.as_bytes())).unwrap().is_some(), "what is used stays");
}

#[tokio::test]
async fn nobody_waits_for_a_run_that_is_not_there() {
    let base = Base::new();
    let handle = base.deployed().await;
    let run = handle.start(request(r#"{"n":1}"#)).await.unwrap().run;
    for (namespace, run) in [(NS, RunId([1; 16])), ("other", run)] {
        assert_eq!(handle.wait_end(namespace, run).await.unwrap_err().code, Code::RunNotFound);
        assert_eq!(handle.watch(namespace, run, None).await.err().unwrap().code, Code::RunNotFound);
    }
    let waiter = handle.clone();
    let waiting = tokio::spawn(async move { waiter.wait_end(NS, run).await });
    handle.cancel(NS, run, "enough", true).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().summary.status.as_str(), "cancelled");
}

#[tokio::test]
async fn the_log_is_trimmed_behind_a_synced_store() {
    let base = Base::new();
    let config = Config { flush_rows: 1, sync_interval: Span::ZERO, trim_margin: 3, ..Config::default() };
    let handle = Handle::open(parts(&base.disk, &base.store), config).await.unwrap();
    handle.deploy(NS, ONE).await.unwrap();
    let run = handle.start(request(r#"{"n":1}"#)).await.unwrap().run;
    let status = loop {
        handle.deploy("other", ONE).await.unwrap();
        let status = handle.status().await.unwrap();
        if status.log_first > Seq(5) {
            break status;
        }
    };
    assert!(status.log_first.0 + 2 <= status.store_synced.0, "the margin is kept: {status:?}");
    handle.stop_now().await;
    base.store.crash(0);
    let handle = base.open().await;
    assert_eq!(handle.run(NS, run).await.unwrap().summary.status.as_str(), "running");
}

#[tokio::test]
async fn a_partition_that_does_nothing_gives_its_rows_out_too() {
    let base = Base::new();
    let config = Config { flush_rows: 1, sync_interval: Span::ZERO, ..Config::default() };
    let handle = Handle::open(parts(&base.disk, &base.store), config).await.unwrap();
    handle.deploy(NS, ONE).await.unwrap();
    // Whether the loop sleeps when the rows come is a race: of so many some meet it asleep.
    for _ in 0..100 {
        drop(handle.freeze().await.unwrap());
    }
}

#[tokio::test]
async fn frozen_rows_have_what_was_acknowledged_and_hold_the_log_and_blobs_behind_them() {
    let base = Base::new();
    let config = Config { flush_rows: 1, sync_interval: Span::ZERO, trim_margin: 0, ..Config::default() };
    let handle = Handle::open(parts(&base.disk, &base.store), config).await.unwrap();
    handle.deploy(NS, ONE).await.unwrap();
    let large = format!(r#"{{"n":"{}"}}"#, "x".repeat(40_000));
    let run = handle.start(request(&large)).await.unwrap().run;
    let blobs = base.store.list_blobs().unwrap();
    assert_eq!(blobs.len(), 1);
    let acknowledged = handle.status().await.unwrap().applied;
    let frozen = handle.freeze().await.unwrap();
    let record = frozen.snapshot().applied();
    assert!(record >= acknowledged, "{record} has not all of {acknowledged}");

    // Enough to have everything trimmed and swept, were nothing held.
    let work = async |until: &dyn Fn(&Status) -> bool| loop {
        handle.set_retention("other", Some(Span::from_secs(1))).await.unwrap();
        handle.set_retention("other", None).await.unwrap();
        let status = handle.status().await.unwrap();
        if until(&status) {
            break status;
        }
    };
    handle.cancel(NS, run, "enough", true).await.unwrap();
    handle.wait_end(NS, run).await.unwrap();
    handle.delete(NS, run).await.unwrap();
    let status = work(&|status| status.store_synced > Seq(record.0 + 50)).await;
    assert!(status.log_first <= record.next(), "{status:?}");
    assert_eq!(base.store.list_blobs().unwrap(), blobs, "the frozen rows refer to it");
    drop(frozen);
    work(&|status| status.log_first > record.next() && base.store.list_blobs().unwrap().is_empty()).await;

    let kept = Seq(handle.status().await.unwrap().applied.0 + 20);
    handle.keep_from(kept).unwrap();
    let status = work(&|status| status.store_synced > Seq(kept.0 + 200)).await;
    assert_eq!(status.log_first, kept.next());
}
