//! Changing code while tasks are in flight: patches, and replaying recorded journals.
//!
//! For: `patched`, `deprecate_patch` and `testing::replay_task`. Not for: what the engine does (the conformance
//! scenarios have that).
//! Invariant: an engine that is played by hand, or none.

use consort_sdk::{
    Agent, Capability, TaskContext, TaskError,
    testing::{Divergence, Replayed, replay_task},
};
use consort_testkit::engine::task;
use consort_types::{
    Code, Span,
    worker::{JournalEntry, JournalRequest},
};
use futures::{
    FutureExt,
    future::{ready, select},
    stream::{FuturesOrdered, TryStreamExt},
};
use serde_json::{Value, json};

use crate::rig::{Rig, payload};

fn run(name: &str, result: &Value, after: &[u32]) -> JournalEntry {
    let request = JournalRequest::Run { name: name.into() };
    JournalEntry { title: None, request, after: after.to_vec(), result: Some(Ok(payload(result))) }
}

fn signal(after: &[u32], payload_of: &Value) -> JournalEntry {
    let request = JournalRequest::Signal { name: "go".into(), schema: None };
    JournalEntry { title: None, request, after: after.to_vec(), result: Some(Ok(payload(payload_of))) }
}

/// An effect that a change put a fee behind.
async fn changed(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let price: i64 = ctx.run("price", || async { Ok(10) }).await?;
    let mut fee = 0;
    if ctx.patched("fee").await? {
        fee = ctx.run("fee", || async { Ok(2) }).await?;
    }
    let again = ctx.patched("fee").await?;
    let go: Value = ctx.wait_signal("go").await?;
    Ok(json!([price, fee, again, go]))
}

/// The same when no task is left on the old path.
async fn deprecated(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let price: i64 = ctx.run("price", || async { Ok(10) }).await?;
    ctx.deprecate_patch("fee").await?;
    let fee: i64 = ctx.run("fee", || async { Ok(2) }).await?;
    let go: Value = ctx.wait_signal("go").await?;
    Ok(json!([price, fee, go]))
}

fn begun_with_it() -> Vec<JournalEntry> {
    let marker = run("patch:fee", &json!(true), &[0]);
    vec![run("price", &json!(7), &[]), marker, run("fee", &json!(3), &[1]), signal(&[2], &json!(1))]
}

#[tokio::test(start_paused = true)]
async fn a_marker_is_durable_before_the_code_takes_the_new_path() {
    let mut rig = Rig::start(changed).await;
    rig.offer(Vec::new()).await;
    rig.session.record_next(task(0)).await;
    let (index, marker) = rig.session.entry().await;
    assert_eq!((index, &marker), (1, &run("patch:fee", &json!(true), &[0])));
    rig.session.record(task(0), 1, marker).await;
    let (index, fee) = rig.session.entry().await;
    assert_eq!((index, &fee), (2, &run("fee", &json!(2), &[1])));
    rig.session.record(task(0), 2, fee).await;
    let (index, _) = rig.session.entry().await;
    assert_eq!(index, 3, "the second question made no entry");
    rig.session.record(task(0), 3, signal(&[2], &json!("ok"))).await;
    assert_eq!(rig.output().await, json!([10, 2, true, "ok"]));
}

#[tokio::test(start_paused = true)]
async fn a_task_stays_on_the_path_that_its_journal_shows() {
    let mut rig = Rig::start(changed).await;
    rig.offer(vec![run("price", &json!(7), &[]), signal(&[0], &json!("ok"))]).await;
    assert_eq!(rig.output().await, json!([7, 0, false, "ok"]));
    rig.offer_next(&json!(null), begun_with_it()).await;
    assert_eq!(rig.output().await, json!([7, 3, true, 1]));
}

#[tokio::test(start_paused = true)]
async fn a_deprecated_patch_passes_over_its_marker_and_records_none() {
    let mut rig = Rig::start(deprecated).await;
    rig.offer(begun_with_it()).await;
    assert_eq!(rig.output().await, json!([7, 3, 1]));
    let later = vec![run("price", &json!(7), &[]), run("fee", &json!(3), &[0]), signal(&[1], &json!(1))];
    rig.offer_next(&json!(null), later).await;
    assert_eq!(rig.output().await, json!([7, 3, 1]));
    rig.offer_next(&json!(null), Vec::new()).await;
    rig.session.record_next(task(0)).await;
    assert_eq!(rig.session.entry().await.1.request, JournalRequest::Run { name: "fee".into() });
}

#[tokio::test(start_paused = true)]
async fn several_places_may_wait_for_one_marker() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        // Each of these branches has a waker of its own; the last gives its wait up at once.
        let given_up = select(Box::pin(ctx.patched("fee")), ready(Ok(false))).map(|either| either.factor_first().0);
        let branches = [ctx.patched("fee").boxed(), ctx.patched("fee").boxed(), given_up.boxed()];
        let said: Vec<bool> = branches.into_iter().collect::<FuturesOrdered<_>>().try_collect().await?;
        Ok(json!(said))
    })
    .await;
    rig.offer(Vec::new()).await;
    rig.session.record_next(task(0)).await;
    assert_eq!(rig.output().await, json!([true, true, false]));
}

#[tokio::test(start_paused = true)]
async fn names_of_markers_are_reserved() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        let refused = ctx.run("patch:x", || async { Ok(1) }).await.unwrap_err();
        Ok(json!([refused.error().code.to_string(), refused.error().message]))
    })
    .await;
    rig.offer(Vec::new()).await;
    let said = rig.output().await;
    assert_eq!(said[0], Code::BadRequest.to_string());
    assert!(said[1].as_str().unwrap().contains("`patch:x`"), "{said}");
}

// Replaying a recorded journal.

fn recorded() -> Value {
    json!([
        { "entry": 0, "kind": "run", "name": "price", "output": 7 },
        { "entry": 1, "kind": "call", "capability": "ship", "input": {"b": 1, "a": 2}, "after": [0], "output": null },
        { "entry": 2, "kind": "sleep", "span": "1h30m", "after": [1], "output": null },
        { "entry": 3, "kind": "signal", "name": "go", "after": [2] },
    ])
}

/// How an order is made.
#[derive(Clone, Copy, Default)]
struct Shop {
    fee: bool,
    patch: bool,
    hasty: bool,
}

impl Shop {
    async fn order(self, ctx: TaskContext) -> Result<Value, TaskError> {
        let never = || async { panic!("a replay does nothing") };
        let price: Value = ctx.run("price", never).await?;
        if self.fee && (!self.patch || ctx.patched("fee").await?) {
            let _: Value = ctx.run("fee", never).await?;
        }
        let _: Value = ctx.call("ship", &json!({"a": 2, "b": 1})).await?;
        if self.hasty {
            return Err(TaskError::permanent("the shop is shut"));
        }
        ctx.sleep(Span::from_secs(5_400)).await?;
        let _: Value = ctx.wait_signal("go").await?;
        let _: Value = ctx.run("bill", never).await?;
        Ok(price)
    }

    async fn replay(self, journal: &Value) -> Replayed {
        let code = move |ctx: TaskContext, _: Value| self.order(ctx);
        let agent = Agent::new("shop").capability(Capability::from_fn("order", code));
        replay_task(&agent, "order", &json!({}), &journal.to_string()).await.unwrap()
    }
}

fn at(entry: u32, recorded: &str, found: &str) -> Divergence {
    Divergence { entry, recorded: recorded.into(), found: found.into() }
}

#[tokio::test(start_paused = true)]
async fn a_recorded_journal_shows_whether_code_fits() {
    let replayed = Shop::default().replay(&recorded()).await;
    assert_eq!((replayed.fits(), replayed.entries, replayed.waiting), (true, 4, vec![3]));
    // The page that has the entries, with the wait answered: the code continues with what is not recorded.
    let mut answered = recorded();
    answered[3]["output"] = json!(1);
    let replayed = Shop::default().replay(&json!({ "items": answered })).await;
    assert_eq!((replayed.fits(), replayed.entries, replayed.waiting), (true, 4, vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_recorded_journal_shows_where_changed_code_differs() {
    let fee = Shop { fee: true, ..Shop::default() };
    let replayed = fee.replay(&recorded()).await;
    assert!(!replayed.fits());
    assert_eq!(replayed.divergence.unwrap(), at(1, r#"call `ship` with `{"a":2,"b":1}`"#, "run `fee`"));
    let hasty = Shop { hasty: true, ..Shop::default() };
    let replayed = hasty.replay(&recorded()).await;
    assert_eq!(replayed.divergence.unwrap(), at(2, "sleep `1h30m`", "the failure `the shop is shut`"));
    // The wait for the signal has no answer, so the code does not get to what is recorded behind it.
    let mut behind = recorded();
    behind.as_array_mut().unwrap().push(json!({ "kind": "run", "name": "bill", "output": 1 }));
    let replayed = Shop::default().replay(&behind).await;
    assert_eq!(replayed.divergence.unwrap(), at(4, "run `bill`", "a wait for entry 3, which has no answer"));
}

#[tokio::test(start_paused = true)]
async fn patched_makes_changed_code_fit_a_recorded_journal() {
    let patched = Shop { fee: true, patch: true, hasty: false };
    assert!(patched.replay(&recorded()).await.fits());
    let marker = json!({ "kind": "run", "name": "patch:fee", "output": true, "after": [0] });
    let begun_with_it = json!([recorded()[0], marker]);
    for journal in [json!([recorded()[0]]), begun_with_it.clone()] {
        assert!(patched.replay(&journal).await.fits());
    }
    let replayed = Shop::default().replay(&begun_with_it).await;
    assert_eq!(replayed.divergence.unwrap(), at(1, "run `patch:fee`", r#"call `ship` with `{"a":2,"b":1}`"#));
}

#[tokio::test(start_paused = true)]
async fn failures_at_the_end_fit_and_what_is_no_journal_is_refused() {
    let failed = json!([
        { "kind": "run", "name": "price", "output": 7 },
        { "kind": "call", "capability": "ship", "input": {"a": 2, "b": 1}, "after": [0],
          "error": { "code": "C0305", "message": "too late" } },
    ]);
    let replayed = Shop::default().replay(&failed).await;
    assert!(replayed.fits());
    assert_eq!(replayed.failure.unwrap().code, Code::TimedOut);

    let agent = Agent::new("shop");
    let error = replay_task(&agent, "sing", &json!({}), "[]").await.unwrap_err();
    assert!(error.message.contains("no capability `sing`"), "{}", error.message);
    let agent = agent.capability(Capability::from_fn("order", |_: TaskContext, _: Value| async { Ok(json!(null)) }));
    let error = replay_task(&agent, "order", &json!({}), r#"[{"kind": "dance"}]"#).await.unwrap_err();
    assert!(error.message.contains("entry 0"), "{}", error.message);
}
