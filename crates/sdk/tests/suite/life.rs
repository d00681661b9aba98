//! The life of attempts, sessions and workers.
//!
//! For: failures, cancellation, heartbeats, reconnects, leaving. Not for: the journal (see `journal`).
//! Invariant: as in the suite: no test waits for real time.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use consort_sdk::{Agent, Capability, Handler, TaskContext, TaskError, Worker};
use consort_testkit::engine::{FakeEngine, offer, task};
use consort_types::{
    Code, EffectClass, Error, Span, Token,
    worker::{FromWorker, ToWorker},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::rig::{Rig, fails, is_beat};

async fn echo(_: TaskContext, input: Value) -> Result<Value, TaskError> {
    Ok(input)
}

/// Code that waits for `gate` outside the journal, and answers its input.
fn gated(
    gate: &Arc<Semaphore>,
) -> impl Fn(TaskContext, Value) -> futures::future::BoxFuture<'static, Result<Value, TaskError>> + use<> {
    let gate = Arc::clone(gate);
    move |_, input| {
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            gate.acquire().await?.forget();
            Ok(input)
        })
    }
}

/// Sets its flag when it is dropped.
struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn cancel(token: u64) -> ToWorker {
    ToWorker::Cancel { task: task(0), token: Token(token), reason: "the run was cancelled".into() }
}

#[derive(Deserialize, JsonSchema)]
struct Question {
    #[allow(dead_code, reason = "only its type matters")]
    queries: Vec<Query>,
}

#[derive(Deserialize, JsonSchema)]
struct Query {
    #[allow(dead_code, reason = "only its type matters")]
    text: String,
}

#[derive(Serialize, JsonSchema)]
struct Found {
    hits: u32,
}

struct Search;

impl Handler for Search {
    type Input = Question;
    type Output = Found;

    async fn handle(&self, ctx: TaskContext, input: Question) -> Result<Found, TaskError> {
        assert_eq!((ctx.task(), ctx.token(), ctx.attempt()), (task(0), Token(1), 1));
        assert_eq!((ctx.workflow(), ctx.step(), ctx.capability()), ("test", "step", "work"));
        assert_eq!((ctx.idempotency_key(), ctx.deadline()), ("test-key", None));
        Ok(Found { hits: input.queries.len() as u32 })
    }
}

fn search() -> Agent {
    let search = Capability::new("work", Search).description("Searches.").effect(EffectClass::Read);
    Agent::new("search").version("1.2").description("Finds things.").capability(search)
}

#[tokio::test(start_paused = true)]
async fn a_worker_introduces_its_agent_with_schemas_of_its_types() {
    let rig = Rig::start_agent(search()).await;
    let hello = &rig.session.hello;
    assert_eq!((hello.namespace.as_str(), hello.concurrency, hello.held.len()), ("default", 4, 0));
    assert_eq!((hello.agent.name.as_str(), hello.agent.version.as_str()), ("search", "1.2"));
    let [work] = hello.agent.capabilities.as_slice() else { panic!("one capability") };
    assert_eq!((work.name.as_str(), work.effect), ("work", EffectClass::Read));
    assert_eq!(work.input_schema["required"], json!(["queries"]));
    assert_eq!(work.output_schema["properties"]["hits"]["type"], json!("integer"));
}

#[tokio::test(start_paused = true)]
async fn typed_handlers_get_their_input_and_give_their_output() {
    let mut rig = Rig::start_agent(search()).await;
    rig.offer_input(&json!({"queries": [{"text": "a"}, {"text": "b"}]}), Vec::new()).await;
    assert_eq!(rig.output().await, json!({"hits": 2}));
}

#[tokio::test(start_paused = true)]
async fn input_that_does_not_fit_is_named_by_its_path_and_not_tried_again() {
    let mut rig = Rig::start_agent(search()).await;
    let cases = [
        (
            json!({"queries": [{"text": "a"}, {"text": 3}]}),
            "$.queries[1].text`: invalid type: integer `3`, expected a string",
        ),
        (json!({"queries": [{}]}), "$.queries[0]`: missing field `text`"),
        (json!(7), "$`: invalid type: integer `7`, expected struct Question"),
    ];
    for (token, (input, found)) in (1..).zip(cases) {
        let mut offer = offer("work", &input);
        offer.token = Token(token);
        rig.session.offer(offer).await;
        let (error, retryable) = fails(rig.session.next().await);
        assert_eq!((error.code, retryable), (Code::BadInput, false));
        assert_eq!(error.message, format!("the input does not fit at `{found}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_capability_of_another_version_is_a_retryable_failure() {
    let rig = &mut Rig::start(echo).await;
    rig.session.offer(offer("other", &json!(null))).await;
    let (error, retryable) = fails(rig.session.next().await);
    assert_eq!((error.code, retryable), (Code::BadRequest, true));
}

#[tokio::test(start_paused = true)]
async fn a_failure_keeps_its_message_and_the_time_to_try_again() {
    let mut rig = Rig::start(|_: TaskContext, _: Value| async move {
        Err(TaskError::permanent("slow down").code(Code::Overloaded).hint("wait").retry_after(Span::from_secs(9)))
    })
    .await;
    rig.offer(Vec::new()).await;
    let expected = FromWorker::Fail {
        task: task(0),
        token: Token(1),
        error: Error::new(Code::Overloaded, "slow down").hint("wait"),
        retryable: true,
        retry_after: Some(Span::from_secs(9)),
    };
    assert_eq!(rig.session.next().await, Some(expected));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_retryable_failure_and_the_worker_goes_on() {
    let blocking = Capability::blocking("block", |_, _: Value| -> Result<Value, TaskError> { panic!("on a thread") });
    let work = Capability::from_fn("work", |_, input: Value| async move {
        assert!(input != json!("panic"), "in {}", "code");
        Ok(input)
    });
    let mut rig = Rig::start_agent(Agent::new("test").capability(work).capability(blocking)).await;
    rig.offer_input(&json!("panic"), Vec::new()).await;
    let (error, retryable) = fails(rig.session.next().await);
    assert_eq!((error.message.as_str(), retryable), ("the agent panicked: in code", true));

    let mut other = offer("block", &json!(null));
    other.task = task(1);
    rig.session.offer(other).await;
    let (error, retryable) = fails(rig.session.next().await);
    assert_eq!((error.message.as_str(), retryable), ("the agent panicked: on a thread", true));

    rig.offer_next(&json!(1), Vec::new()).await;
    assert_eq!(rig.output().await, json!(1));
}

#[tokio::test(start_paused = true)]
async fn a_panic_inside_an_effect_records_nothing() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        ctx.run("boom", || async { if true { panic!("boom") } else { Ok(json!(null)) } }).await
    })
    .await;
    rig.offer(Vec::new()).await;
    assert!(fails(rig.session.next().await).1);
}

#[tokio::test(start_paused = true)]
async fn blocking_code_runs_and_reports_progress() {
    let work = Capability::blocking("work", |ctx, count: u32| {
        ctx.progress("counting");
        Ok((0..count).sum::<u32>())
    });
    let mut rig = Rig::start_agent(Agent::new("test").capability(work)).await;
    rig.offer_input(&json!(5), Vec::new()).await;
    let mut message = rig.session.next().await;
    if let Some(FromWorker::Heartbeat { progress, .. }) = &message {
        // It may also come to its end before the message was taken.
        assert_eq!(progress.as_deref(), Some("counting"));
        message = rig.session.next().await;
    }
    assert!(matches!(message, Some(FromWorker::Complete { .. })), "{message:?}");
}

#[tokio::test(start_paused = true)]
async fn the_latest_progress_is_sent_and_running_tasks_beat() {
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let mut rig = Rig::start(move |ctx: TaskContext, input: Value| {
        let wait = Arc::clone(&wait);
        async move {
            ctx.progress("one");
            ctx.progress("two");
            wait.acquire().await?.forget();
            Ok(input)
        }
    })
    .await;
    rig.offer(Vec::new()).await;
    let progress = FromWorker::Heartbeat { task: task(0), token: Token(1), progress: Some("two".into()) };
    assert_eq!(rig.session.next_of_all().await, Some(progress));
    for _ in 0..3 {
        assert!(is_beat(rig.session.next_of_all().await.as_ref()));
    }
    gate.add_permits(1);
    assert_eq!(rig.output().await, json!(null));
}

#[tokio::test(start_paused = true)]
async fn cancelled_code_is_told_and_its_report_is_dropped() {
    let cleaned = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&cleaned);
    let mut rig = Rig::start(move |ctx: TaskContext, _: Value| {
        let flag = Arc::clone(&flag);
        async move {
            assert!(!ctx.is_cancelled());
            ctx.progress("at work");
            ctx.cancelled().await;
            flag.store(ctx.is_cancelled(), Ordering::SeqCst);
            Ok(json!("too late"))
        }
    })
    .await;
    rig.offer(Vec::new()).await;
    assert!(matches!(rig.session.next().await, Some(FromWorker::Heartbeat { .. })));
    rig.session.send(cancel(1)).await;
    rig.session.send(ToWorker::Drain).await;
    assert_eq!(rig.session.next().await, None);
    assert!(cleaned.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn waits_of_cancelled_code_fail_and_end_it() {
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dropped);
    let mut rig = Rig::start(move |ctx: TaskContext, _: Value| {
        let guard = OnDrop(Arc::clone(&flag));
        async move {
            let error = ctx.call::<Value>("slow", &0).await.unwrap_err();
            assert_eq!(
                (error.error().code, error.error().message.as_str()),
                (Code::Cancelled, "the run was cancelled")
            );
            drop(guard);
            Err(error)
        }
    })
    .await;
    rig.offer(Vec::new()).await;
    rig.session.entry().await;
    rig.session.send(cancel(1)).await;
    rig.session.send(ToWorker::Drain).await;
    assert_eq!(rig.session.next().await, None);
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn code_that_does_not_heed_a_cancellation_is_dropped_after_the_grace() {
    let dropped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&dropped);
    let mut rig = Rig::start(move |ctx: TaskContext, _: Value| {
        let guard = OnDrop(Arc::clone(&flag));
        async move {
            ctx.progress("at work");
            std::future::pending::<()>().await;
            drop(guard);
            Ok(json!(null))
        }
    })
    .await;
    rig.offer(Vec::new()).await;
    assert!(matches!(rig.session.next().await, Some(FromWorker::Heartbeat { .. })));
    rig.session.send(cancel(1)).await;
    rig.session.send(ToWorker::Drain).await;
    assert_eq!(rig.session.next().await, None);
    assert!(dropped.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn code_that_is_cancelled_before_it_begins_does_not_begin() {
    let begun = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&begun);
    let mut rig = Rig::start(move |_: TaskContext, input: Value| {
        flag.store(true, Ordering::SeqCst);
        async move { Ok(input) }
    })
    .await;
    // Both are in the channel before the worker gets to run.
    rig.offer(Vec::new()).await;
    rig.session.send(cancel(1)).await;
    rig.session.send(ToWorker::Drain).await;
    assert_eq!(rig.session.next().await, None);
    assert!(!begun.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_of_another_attempt_changes_nothing() {
    let gate = Arc::new(Semaphore::new(0));
    let mut rig = Rig::start(gated(&gate)).await;
    rig.offer(Vec::new()).await;
    rig.session.send(cancel(7)).await;
    gate.add_permits(1);
    assert_eq!(rig.output().await, json!(null));
}

#[tokio::test(start_paused = true)]
async fn a_fenced_attempt_stops_at_once_and_says_nothing() {
    let gate = Arc::new(Semaphore::new(0));
    let mut rig = Rig::start(gated(&gate)).await;
    rig.offer(Vec::new()).await;
    let fenced = Error::new(Code::Fenced, "a newer attempt has been made ready");
    rig.session.send(ToWorker::Refused { task: task(0), token: Token(1), error: fenced }).await;
    rig.session.send(ToWorker::Drain).await;
    assert_eq!(rig.session.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_newer_attempt_replaces_an_older_one_and_a_second_offer_changes_nothing() {
    let gate = Arc::new(Semaphore::new(0));
    let mut rig = Rig::start(gated(&gate)).await;
    rig.offer_input(&json!("old"), Vec::new()).await;
    rig.offer_next(&json!("new"), Vec::new()).await;
    rig.offer_input(&json!("again"), Vec::new()).await;
    // An offer that was late on its way.
    rig.session.offer(offer("work", &json!("late"))).await;
    rig.session.send(ToWorker::Drain).await;
    gate.add_permits(10);
    assert_eq!(rig.output().await, json!("new"));
    assert_eq!(rig.session.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn draining_finishes_what_is_held_and_leaves() {
    let gate = Arc::new(Semaphore::new(0));
    let mut rig = Rig::start(gated(&gate)).await;
    rig.offer_input(&json!(1), Vec::new()).await;
    rig.session.send(ToWorker::Drain).await;
    assert!(is_beat(rig.session.next_of_all().await.as_ref()), "the task still runs");
    gate.add_permits(1);
    assert_eq!(rig.output().await, json!(1));
    assert_eq!(rig.session.next().await, None);
    assert_eq!(rig.worker.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_shut_down_takes_leave_and_finishes_offers_that_cross() {
    let gate = Arc::new(Semaphore::new(1));
    let mut rig = Rig::start(gated(&gate)).await;
    rig.shut_down();
    assert_eq!(rig.session.next().await, Some(FromWorker::Leaving));
    rig.offer_input(&json!(1), Vec::new()).await;
    assert_eq!(rig.output().await, json!(1));
    rig.session.send(ToWorker::Drain).await;
    assert_eq!(rig.session.next().await, None);
    assert_eq!(rig.worker.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_shut_down_does_not_wait_for_ever() {
    let gate = Arc::new(Semaphore::new(0));
    let mut rig = Rig::start(gated(&gate)).await;
    rig.offer(Vec::new()).await;
    rig.shut_down();
    assert_eq!(rig.session.next().await, Some(FromWorker::Leaving));
    assert_eq!(rig.session.next().await, None);
    assert_eq!(rig.worker.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_result_made_while_nothing_is_connected_is_delivered_after_the_reconnect() {
    let gate = Arc::new(Semaphore::new(0));
    let mut rig = Rig::start(gated(&gate)).await;
    rig.offer_input(&json!("kept"), Vec::new()).await;
    assert!(is_beat(rig.session.next_of_all().await.as_ref()), "the task runs");
    rig.session.disconnect();
    gate.add_permits(1);
    rig.reconnect().await;
    assert_eq!(rig.session.hello.held, [(task(0), Token(1))]);
    assert_eq!(rig.output().await, json!("kept"));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_away_is_asked_again_and_one_that_refuses_is_not() {
    let (engine, mut sessions) = FakeEngine::new();
    engine.refuse_next(Error::new(Code::Unreachable, "not there"));
    let agent = Agent::new("test").capability(Capability::from_fn("work", echo));
    let worker = tokio::spawn(Worker::new(engine.clone()).agent(agent).run(std::future::pending()));
    let session = sessions.recv().await.unwrap();
    let refusal = Error::new(Code::Denied, "no token");
    engine.refuse_next(refusal.clone());
    drop(session);
    assert_eq!(worker.await.unwrap(), Err(refusal));
}

#[tokio::test(start_paused = true)]
async fn wrong_settings_and_declarations_are_refused_before_anything_connects() {
    let work = || Capability::from_fn("work", echo);
    let expect = async |worker: Worker, code: Code| {
        assert_eq!(worker.run(std::future::pending()).await.unwrap_err().code, code);
    };
    let (engine, mut sessions) = FakeEngine::new();
    let new = || Worker::new(engine.clone());
    expect(new().agent(Agent::new("a").capability(work()).capability(work())), Code::BadRequest).await;
    expect(new().agent(Agent::new("not a name")), Code::BadName).await;
    expect(new().agent(Agent::new("a").capability(Capability::from_fn("", echo))), Code::BadName).await;
    expect(new().concurrency(0), Code::LimitReached).await;
    expect(new().heartbeat_interval(std::time::Duration::ZERO), Code::BadRequest).await;
    assert!(sessions.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn many_tasks_run_at_once() {
    let gate = Arc::new(Semaphore::new(0));
    let mut rig = Rig::start(gated(&gate)).await;
    for index in 0..50 {
        let mut offer = offer("work", &json!(index));
        offer.task = task(index);
        rig.session.offer(offer).await;
    }
    gate.add_permits(50);
    let mut done = Vec::new();
    for _ in 0..50 {
        match rig.session.next().await {
            Some(FromWorker::Complete { task, .. }) => done.push(task.index),
            other => panic!("expected an output, found {other:?}"),
        }
    }
    done.sort_unstable();
    assert_eq!(done, (0..50).collect::<Vec<_>>());
}
