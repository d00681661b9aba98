//! Waits that code continues without: when they are closed, and that a replay sees it at the same place.
//!
//! For: the `forget` entries of the SDK. Not for: what the engine does with them.
//! Invariant: an engine that is played by hand, or none.

use consort_sdk::{Agent, Capability, TaskContext, TaskError, race, testing::replay_task};
use consort_testkit::engine::task;
use consort_types::{
    Span,
    worker::{JournalEntry, JournalRequest},
};
use futures::future::{Either, select};
use serde_json::{Value, json};

use crate::rig::{Rig, parks, payload};

fn entry(request: JournalRequest, after: &[u32], result: Option<&Value>) -> JournalEntry {
    JournalEntry { title: None, request, after: after.to_vec(), result: result.map(|value| Ok(payload(value))) }
}

fn signal(after: &[u32], result: Option<&Value>) -> JournalEntry {
    entry(JournalRequest::Signal { name: "go".into(), schema: None }, after, result)
}

fn slept(after: &[u32], result: Option<&Value>) -> JournalEntry {
    entry(JournalRequest::Sleep { span: Span::from_secs(2) }, after, result)
}

fn forget(entries: &[u32], after: &[u32]) -> JournalEntry {
    entry(JournalRequest::Forget { entries: entries.to_vec() }, after, Some(&Value::Null))
}

/// A signal, or nothing after a while.
async fn listen(ctx: &TaskContext) -> Result<Value, TaskError> {
    match select(ctx.wait_signal::<Value>("go"), ctx.sleep(Span::from_secs(2))).await {
        Either::Left((value, _)) => value,
        Either::Right((slept, _)) => slept.map(|()| Value::Null),
    }
}

async fn twice(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    Ok(json!([listen(&ctx).await?, listen(&ctx).await?]))
}

const NULL: Value = Value::Null;

#[tokio::test(start_paused = true)]
async fn what_lost_is_closed_behind_the_requests_that_follow_it() {
    let mut rig = Rig::start(twice).await;
    rig.offer(Vec::new()).await;
    rig.session.record_next(task(0)).await;
    let (_, pause) = rig.session.entry().await;
    rig.session.record(task(0), 1, slept(&[], Some(&NULL))).await;
    assert_eq!(pause, slept(&[], None));
    let (index, wait) = rig.session.entry().await;
    assert_eq!((index, &wait), (2, &signal(&[1], None)));
    rig.session.record(task(0), 2, wait).await;
    rig.session.record_next(task(0)).await;
    let (index, closed) = rig.session.entry().await;
    assert_eq!((index, closed.request), (4, JournalRequest::Forget { entries: vec![0] }));
    // An answer that crossed has no receiver.
    rig.session.record(task(0), 0, signal(&[], Some(&json!("late")))).await;
    rig.session.record(task(0), 4, forget(&[0], &[])).await;
    rig.session.record(task(0), 2, signal(&[1], Some(&json!("hi")))).await;
    assert_eq!(rig.output().await, json!([null, "hi"]), "what is left at the end goes with the task");
}

#[tokio::test(start_paused = true)]
async fn a_replay_passes_over_it_and_records_nothing_again() {
    let mut rig = Rig::start(twice).await;
    let mut journal = vec![signal(&[], None), slept(&[], Some(&NULL)), signal(&[1], None), slept(&[], None)];
    journal.push(forget(&[0], &[]));
    rig.offer(journal.clone()).await;
    assert_eq!(parks(rig.session.next().await), [2, 3]);
    journal[2] = signal(&[1], Some(&json!("hi")));
    rig.offer_next(&NULL, journal.clone()).await;
    assert_eq!(rig.output().await, json!([null, "hi"]));

    let agent = Agent::new("test").capability(Capability::from_fn("work", twice));
    let recorded = json!([
        { "kind": "signal", "name": "go" },
        { "kind": "sleep", "span": "2s", "output": null },
        { "kind": "signal", "name": "go", "after": [1], "output": "hi" },
        { "kind": "sleep", "span": "2s" },
        { "kind": "forget", "entries": [0], "output": null },
    ]);
    let replayed = replay_task(&agent, "work", &NULL, &recorded.to_string()).await.unwrap();
    assert!(replayed.fits(), "{replayed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_journal_of_before_is_replayed_and_what_it_left_open_is_closed_then() {
    let mut rig = Rig::start(twice).await;
    rig.offer(vec![signal(&[], None), slept(&[], Some(&NULL)), signal(&[1], None), slept(&[], None)]).await;
    let (index, closed) = rig.session.entry().await;
    assert_eq!((index, closed.request), (4, JournalRequest::Forget { entries: vec![0] }));
    rig.session.record(task(0), 4, forget(&[0], &[])).await;
    assert_eq!(parks(rig.session.next().await), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn it_is_recorded_before_an_effect_and_once_for_all() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        let waits = ["a", "b", "c"].map(|name| ctx.wait_signal::<Value>(name));
        race(waits).await?;
        ctx.run("effect", || async { Ok(1) }).await?;
        drop(ctx.wait_approval("never read", &1));
        let call = ctx.call::<Value>("x", &1);
        drop(call);
        ctx.wait_signal::<Value>("d").await
    })
    .await;
    rig.offer(Vec::new()).await;
    for _ in 0..2 {
        rig.session.record_next(task(0)).await;
    }
    let (_, third) = rig.session.entry().await;
    rig.session.record(task(0), 2, JournalEntry { result: Some(Ok(payload(&json!(1)))), ..third }).await;
    let (index, closed) = rig.session.entry().await;
    let expected = JournalRequest::Forget { entries: vec![0, 1] };
    assert_eq!((index, &closed.request, &closed.after), (3, &expected, &vec![2]));
    rig.session.record(task(0), 3, forget(&[0, 1], &[2])).await;
    for name in ["run", "approval", "call", "signal"] {
        let (_, entry) = rig.session.entry().await;
        let kind = serde_json::to_value(&entry.request).unwrap();
        assert_eq!(kind["kind"], name);
        let index = ["run", "approval", "call", "signal"].iter().position(|one| *one == name).unwrap() as u32 + 4;
        rig.session.record(task(0), index, entry).await;
    }
    let (index, closed) = rig.session.entry().await;
    assert_eq!((index, closed.request), (8, JournalRequest::Forget { entries: vec![5] }), "a call goes on");
}

#[tokio::test(start_paused = true)]
async fn code_that_ends_or_fails_closes_nothing() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        let _open = ctx.wait_signal::<Value>("go");
        ctx.sleep(Span::from_secs(2)).await?;
        Err::<Value, _>(TaskError::retryable("later"))
    })
    .await;
    rig.offer(vec![signal(&[], None), slept(&[], Some(&NULL))]).await;
    let (error, retryable) = crate::rig::fails(rig.session.next().await);
    assert!(retryable && error.message == "later", "the next attempt still waits: {error}");
}
