//! How calls are done, races, approvals, partial output, labels, logs.
//!
//! For: what a context offers beyond the plain journal. Not for: replay as such (see `journal`).
//! Invariant: as in the suite: no test waits for real time.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use consort_sdk::{Agent, Approval, CallOptions, Capability, TaskContext, TaskError, Worker, all, race};
use consort_testkit::engine::{FakeEngine, offer, task};
use consort_types::{
    Code, Error, Span, Token, limits,
    worker::{CallRetry, Delta, FromWorker, JournalEntry, JournalRequest, Route, ToWorker},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::rig::{Rig, fails, payload};

fn answered(mut entry: JournalEntry, value: &Value) -> JournalEntry {
    entry.result = Some(Ok(payload(value)));
    entry
}

#[tokio::test(start_paused = true)]
async fn a_call_says_how_it_is_to_be_done_and_a_replay_does_not_compare_that() {
    let mut rig = Rig::start(|ctx: TaskContext, attempts: Value| async move {
        let options = CallOptions::new()
            .retry(attempts.as_u64().unwrap() as u32)
            .timeout(Span::from_secs(20))
            .agent("prices")
            .version("^1.2")
            .label("zone", "eu")
            .sticky("tea")
            .priority(-3);
        ctx.call_with("shop.price", &json!("tea"), options).await
    })
    .await;
    rig.offer_input(&json!(5), Vec::new()).await;
    let (_, entry) = rig.session.entry().await;
    let JournalRequest::Call { options: Some(options), .. } = &entry.request else { panic!("{entry:?}") };
    let retry = CallRetry { attempts: 5, initial: Span::from_secs(1), factor_milli: 2_000, max: Span::from_secs(30) };
    let route = Route {
        version: Some("^1.2".into()),
        labels: [("zone".to_owned(), "eu".to_owned())].into(),
        sticky: Some("tea".into()),
    };
    assert_eq!((options.retry, options.route.as_ref()), (Some(retry), Some(&route)));
    assert_eq!((options.timeout, options.priority), (Some(Span::from_secs(20)), Some(-3)));
    assert_eq!(options.agent.as_deref(), Some("prices"));

    rig.offer_next(&json!(9), vec![answered(entry, &json!(42))]).await;
    assert_eq!(rig.output().await, json!(42));
}

#[tokio::test(start_paused = true)]
async fn a_plain_call_has_no_options_and_a_back_off_keeps_the_attempts() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        let pauses = CallOptions::new().retry(7).back_off(Span::from_secs(2), 1_500, Span::from_secs(9));
        let answers = [ctx.call::<Value>("a", &1), ctx.call_with("b", &2, pauses)];
        Ok(json!(all(answers).await?))
    })
    .await;
    rig.offer(Vec::new()).await;
    let first = rig.session.record_next(task(0)).await;
    assert!(matches!(first.request, JournalRequest::Call { options: None, .. }));
    let (index, second) = rig.session.entry().await;
    let JournalRequest::Call { options: Some(options), .. } = &second.request else { panic!("{second:?}") };
    assert_eq!(
        options.retry,
        Some(CallRetry { attempts: 7, initial: Span::from_secs(2), factor_milli: 1_500, max: Span::from_secs(9) })
    );
    rig.session.record(task(0), index, answered(second, &json!("b"))).await;
    rig.session.record(task(0), 0, answered(first, &json!("a"))).await;
    assert_eq!(rig.output().await, json!(["a", "b"]));
}

/// Races two calls, and records the winner.
async fn raced(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let answers = [ctx.call::<Value>("slow", &1), ctx.call::<Value>("fast", &2)];
    let (winner, value) = race(answers).await?;
    ctx.run("winner", || async { Ok(json!([winner, value])) }).await
}

#[tokio::test(start_paused = true)]
async fn the_answer_that_comes_first_wins_also_when_the_other_is_there_on_replay() {
    let mut rig = Rig::start(raced).await;
    rig.offer(Vec::new()).await;
    let slow = rig.session.record_next(task(0)).await;
    let (_, fast) = rig.session.entry().await;
    let fast = answered(fast, &json!("f"));
    rig.session.record(task(0), 1, fast.clone()).await;
    let (_, winner) = rig.session.entry().await;
    assert_eq!(winner.after, [1]);
    assert_eq!(winner.result, Some(Ok(payload(&json!([1, "f"])))));

    // The loser continued and was answered meanwhile; the record determines the winner.
    let slow = answered(slow, &json!("s"));
    rig.offer_next(&json!(null), vec![slow.clone(), fast.clone(), winner]).await;
    assert_eq!(rig.output().await, json!([1, "f"]));
    // Where nothing was asked after the race, either may win; here both answers are there, so the first does.
    rig.offer_next(&json!(null), vec![slow, fast]).await;
    let (_, winner) = rig.session.entry().await;
    assert_eq!(winner.result, Some(Ok(payload(&json!([0, "s"])))));
}

#[tokio::test(start_paused = true)]
async fn answers_that_came_before_the_race_keep_their_order() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        let answers = [ctx.call::<Value>("a", &1), ctx.call::<Value>("b", &2)];
        ctx.call::<Value>("gate", &3).await?;
        let (winner, _) = race(answers).await?;
        Ok(json!(winner))
    })
    .await;
    rig.offer(Vec::new()).await;
    let a = rig.session.record_next(task(0)).await;
    let b = rig.session.record_next(task(0)).await;
    let gate = rig.session.record_next(task(0)).await;
    for (index, entry) in [(1, b), (0, a), (2, gate)] {
        rig.session.record(task(0), index, answered(entry, &json!(null))).await;
    }
    assert_eq!(rig.output().await, json!(1));
}

#[tokio::test(start_paused = true)]
async fn a_race_fails_with_a_failure_that_comes_first_and_without_anybody_in_it() {
    let mut rig = Rig::start(|ctx: TaskContext, many: Value| async move {
        let answers: Vec<_> = (0..many.as_u64().unwrap()).map(|n| ctx.call::<Value>("x", &n)).collect();
        race(answers).await.map(|(winner, _)| json!(winner))
    })
    .await;
    rig.offer_input(&json!(2), Vec::new()).await;
    rig.session.record_next(task(0)).await;
    let (index, mut entry) = rig.session.entry().await;
    entry.result = Some(Err(Error::new(Code::AgentFailed, "broken")));
    rig.session.record(task(0), index, entry).await;
    let (error, retryable) = fails(rig.session.next().await);
    assert_eq!((error.message.as_str(), retryable), ("broken", false));

    rig.offer_next(&json!(0), Vec::new()).await;
    assert_eq!(fails(rig.session.next().await).0.code, Code::BadRequest);
}

#[tokio::test(start_paused = true)]
async fn a_person_is_asked_and_a_no_is_an_answer() {
    let mut rig = Rig::start(|ctx: TaskContext, order: Value| async move {
        let approval = ctx.wait_approval("send it?", &order).await?;
        assert_eq!(approval, Approval { approved: false, by: "ada".into(), comment: None, value: json!(null) });
        Ok(json!(approval.approved))
    })
    .await;
    rig.offer_input(&json!({"item": "tea"}), Vec::new()).await;
    let (index, entry) = rig.session.entry().await;
    let asked = JournalRequest::Approval { prompt: "send it?".into(), detail: payload(&json!({"item": "tea"})) };
    assert_eq!(entry.request, asked);
    let decision = json!({"approved": false, "by": "ada", "comment": null});
    rig.session.record(task(0), index, answered(entry, &decision)).await;
    assert_eq!(rig.output().await, json!(false));
}

#[tokio::test(start_paused = true)]
async fn partial_output_is_shown_in_order_before_the_result() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        ctx.stream_text("Once ");
        ctx.stream_text("upon ");
        ctx.stream_json(&json!({"row": 1}))?;
        tokio::task::yield_now().await;
        ctx.stream_text("a time");
        assert_eq!(ctx.traceparent(), "");
        Ok(json!("done"))
    })
    .await;
    rig.offer(Vec::new()).await;
    let mut shown = Vec::new();
    let output = loop {
        match rig.session.next().await {
            Some(FromWorker::Stream { task: of, token, delta }) => {
                assert_eq!((of, token), (task(0), Token(1)));
                shown.push(delta);
            }
            other => break other,
        }
    };
    assert!(matches!(output, Some(FromWorker::Complete { .. })), "{output:?}");
    let text = |text: &str| Delta::Text { text: text.into() };
    assert_eq!(shown, [text("Once upon "), Delta::Json { value: json!({"row": 1}) }, text("a time")]);
}

#[tokio::test(start_paused = true)]
async fn streaming_never_waits_for_a_slow_connection() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        // Far more than the connection takes, and the other side does not read.
        for number in 0..10_000 {
            ctx.stream_json(&number)?;
            tokio::task::yield_now().await;
        }
        ctx.call::<Value>("next", &0).await
    })
    .await;
    rig.offer(Vec::new()).await;
    let mut last = Value::Null;
    loop {
        match rig.session.next().await {
            Some(FromWorker::Stream { delta: Delta::Json { value }, .. }) => {
                assert!(value.as_u64() > last.as_u64(), "{value} after {last}");
                last = value;
            }
            Some(FromWorker::Record { index, entry, .. }) => {
                rig.session.record(task(0), index, answered(entry, &json!(7))).await;
            }
            Some(FromWorker::Complete { .. }) => break,
            other => panic!("expected partial output, found {other:?}"),
        }
    }
    assert_eq!(last, json!(9_999));
}

#[tokio::test(start_paused = true)]
async fn a_document_that_is_too_large_to_stream_is_refused() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        ctx.stream_json(&"x".repeat(limits::STREAM_DELTA_BYTES_MAX))?;
        Ok(json!(null))
    })
    .await;
    rig.offer(Vec::new()).await;
    let (error, retryable) = fails(rig.session.next().await);
    assert_eq!((error.code, retryable), (Code::PayloadTooLarge, false));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_is_refused_after_its_end_becomes_a_failure() {
    let mut rig = Rig::start(|_: TaskContext, input: Value| async move { Ok(input) }).await;
    rig.offer(Vec::new()).await;
    rig.output().await;
    let refuse = |code| ToWorker::Refused { task: task(0), token: Token(1), error: Error::new(code, "too large") };
    rig.session.send(refuse(Code::PayloadTooLarge)).await;
    let (error, retryable) = fails(rig.session.next().await);
    assert_eq!((error, retryable), (Error::new(Code::PayloadTooLarge, "too large"), false));
    // The failure is refused too: there is nothing left to report.
    rig.session.send(refuse(Code::PayloadTooLarge)).await;
    rig.session.send(ToWorker::Drain).await;
    assert_eq!(rig.session.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_a_broken_connection_may_have_lost_is_reported_again() {
    let mut rig = Rig::start(|_: TaskContext, input: Value| async move { Ok(input) }).await;
    rig.offer_input(&json!("kept"), Vec::new()).await;
    assert_eq!(rig.output().await, json!("kept"));
    rig.reconnect().await;
    assert_eq!(rig.session.hello.held, [(task(0), Token(1))]);
    assert_eq!(rig.output().await, json!("kept"));
    // Long after it was handed over it counts as confirmed.
    tokio::time::sleep(std::time::Duration::from_mins(1)).await;
    rig.reconnect().await;
    assert_eq!(rig.session.hello.held, []);
}

#[tokio::test(start_paused = true)]
async fn labels_and_hints_are_declared() {
    let (engine, mut sessions) = FakeEngine::new();
    let work = Capability::from_fn("work", |_, input: Value| async move { Ok(input) });
    let work = work.cost_hint(1_500).time_hint(Span::from_secs(3));
    let agent = Agent::new("test").label("team", "blue").capability(work);
    let worker = Worker::new(engine).agent(agent).label("zone", "eu");
    let worker = tokio::spawn(worker.run(std::future::pending()));
    let hello = sessions.recv().await.unwrap().hello;
    worker.abort();
    assert_eq!(hello.agent.labels, [("team".to_owned(), "blue".to_owned())].into());
    assert_eq!(hello.labels, [("zone".to_owned(), "eu".to_owned())].into());
    assert_eq!(hello.agent.capabilities[0].cost_hint_microdollars, Some(1_500));
    assert_eq!(hello.agent.capabilities[0].time_hint, Some(Span::from_secs(3)));
    let process = format!(":{}", std::process::id());
    assert!(hello.client.starts_with("rust/") && hello.client.ends_with(&process), "{}", hello.client);
}

/// Keeps the fields of the spans around each event.
#[derive(Clone, Default)]
struct Logs {
    spans: Arc<Mutex<Vec<String>>>,
    inside: Arc<Mutex<Vec<usize>>>,
    lines: Arc<Mutex<Vec<String>>>,
}

struct Fields<'a>(&'a mut String);

impl tracing::field::Visit for Fields<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl tracing::Subscriber for Logs {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        let mut text = span.metadata().name().to_owned();
        span.record(&mut Fields(&mut text));
        let mut spans = self.spans.lock();
        spans.push(text);
        tracing::span::Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = String::new();
        for span in self.inside.lock().iter() {
            text.push_str(&self.spans.lock()[*span]);
        }
        event.record(&mut Fields(&mut text));
        self.lines.lock().push(text);
    }

    fn enter(&self, span: &tracing::span::Id) {
        self.inside.lock().push(span.into_u64() as usize - 1);
    }

    fn exit(&self, _: &tracing::span::Id) {
        self.inside.lock().pop();
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_logs_is_tied_to_its_run() {
    let logs = Logs::default();
    let _guard = tracing::subscriber::set_default(logs.clone());
    let mut rig = Rig::start(|_: TaskContext, input: Value| async move {
        tracing::info!("looking up");
        Ok(input)
    })
    .await;
    rig.session.offer(offer("work", &json!(null))).await;
    rig.output().await;
    let run = task(0).run;
    let expected =
        format!("attempt run={run} workflow=\"test\" step=\"step\" attempt=1 capability=\"work\" message=looking up");
    let lines = logs.lines.lock();
    assert!(lines.contains(&expected), "{lines:?}");
}
