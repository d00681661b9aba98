//! The journal of a task, from the agent's code to the wire and back.
//!
//! For: recording, replay, parking, divergence. Not for: the life of a session (see `life`).
//! Invariant: every test plays the engine by hand; nothing answers by itself.

use consort_sdk::{TaskContext, TaskError};
use consort_testkit::engine::{document, offer, task};
use consort_types::{
    BlobHash, Code, Error, Payload, Span, Token, limits,
    worker::{JournalEntry, JournalRequest, ToWorker},
};
use futures::future::{Either, join, join_all, select};
use serde_json::{Value, json};

use crate::rig::{Rig, fails, is_beat, parks, payload};

fn run(name: &str, result: &Value) -> JournalEntry {
    entry(JournalRequest::Run { name: name.into() }, &[], Some(result))
}

fn call(capability: &str, input: &Value, after: &[u32], result: Option<&Value>) -> JournalEntry {
    entry(JournalRequest::Call { capability: capability.into(), input: payload(input), options: None }, after, result)
}

fn entry(request: JournalRequest, after: &[u32], result: Option<&Value>) -> JournalEntry {
    JournalEntry { title: None, request, after: after.to_vec(), result: result.map(|value| Ok(payload(value))) }
}

/// Two effects, one after the other; the second fails the first time that it is tried.
async fn two_effects(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let first: i64 = ctx.run("first", || async { Ok(7) }).await?;
    let second: i64 = ctx.run("second", || async { Ok(first * 6) }).await?;
    Ok(json!([first, second]))
}

#[tokio::test(start_paused = true)]
async fn an_effect_is_durable_before_the_code_goes_on() {
    let mut rig = Rig::start(two_effects).await;
    rig.offer(Vec::new()).await;
    let (index, first) = rig.session.entry().await;
    assert_eq!((index, &first), (0, &run("first", &json!(7))));
    rig.session.record(task(0), 0, first).await;
    let (index, second) = rig.session.entry().await;
    assert_eq!((index, second.after.as_slice()), (1, [0].as_slice()));
    rig.session.record(task(0), 1, second).await;
    assert_eq!(rig.output().await, json!([7, 42]));
}

#[tokio::test(start_paused = true)]
async fn the_engine_has_the_last_word_on_a_result() {
    let mut rig = Rig::start(two_effects).await;
    rig.offer(Vec::new()).await;
    let _ = rig.session.entry().await;
    rig.session.record(task(0), 0, run("first", &json!(1))).await;
    rig.session.record_next(task(0)).await;
    assert_eq!(rig.output().await, json!([1, 6]));
}

#[tokio::test(start_paused = true)]
async fn replay_answers_from_the_journal_and_does_nothing_again() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        let old: i64 = ctx.run("old", || async { panic!("it was recorded") }).await?;
        let new: i64 = ctx.run("new", || async { Ok(2) }).await?;
        Ok(json!([old, new]))
    })
    .await;
    rig.offer(vec![run("old", &json!(1))]).await;
    let (index, new) = rig.session.entry().await;
    assert_eq!((index, new.request.clone()), (1, JournalRequest::Run { name: "new".into() }));
    rig.session.record(task(0), 1, new).await;
    assert_eq!(rig.output().await, json!([1, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_of_an_effect_is_recorded_and_a_retryable_one_is_not() {
    let mut rig = Rig::start(|ctx: TaskContext, permanent: Value| async move {
        let failed: Result<(), TaskError> = ctx
            .run("risky", || async move {
                Err(if permanent == json!(true) {
                    TaskError::permanent("never")
                } else {
                    TaskError::retryable("later")
                })
            })
            .await;
        // Code that continues all the same must not record what depends on an outcome that is not recorded.
        let after: Result<i64, TaskError> = ctx.run("after", || async { Ok(1) }).await;
        assert_eq!(failed.as_ref().unwrap_err().is_retryable(), after.is_err());
        failed.map(|()| json!(null))
    })
    .await;
    rig.offer_input(&json!(true), Vec::new()).await;
    let recorded = rig.session.record_next(task(0)).await;
    assert_eq!(recorded.result, Some(Err(Error::new(Code::AgentFailed, "never"))));
    rig.session.record_next(task(0)).await;
    assert!(!fails(rig.session.next().await).1);

    rig.offer_next(&json!(false), Vec::new()).await;
    let (error, retryable) = fails(rig.session.next().await);
    assert_eq!((error.message.as_str(), retryable), ("later", true));
}

/// Asks two capabilities side by side.
async fn two_calls(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let (a, b) = (ctx.call::<i64>("a", &1), ctx.call::<i64>("b", &2));
    let (a, b) = join(a, b).await;
    Ok(json!([a?, b?]))
}

#[tokio::test(start_paused = true)]
async fn calls_run_side_by_side_and_answers_before_a_park_need_none() {
    let mut rig = Rig::start(two_calls).await;
    rig.offer(Vec::new()).await;
    let a = rig.session.record_next(task(0)).await;
    let b = rig.session.record_next(task(0)).await;
    assert_eq!((&a, &b), (&call("a", &json!(1), &[], None), &call("b", &json!(2), &[], None)));
    rig.session.record(task(0), 1, call("b", &json!(2), &[], Some(&json!(20)))).await;
    rig.session.record(task(0), 0, call("a", &json!(1), &[], Some(&json!(10)))).await;
    assert_eq!(rig.output().await, json!([10, 20]));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_only_waits_parks_and_resumes_under_the_same_or_a_newer_token() {
    let mut rig = Rig::start(two_calls).await;
    rig.offer(Vec::new()).await;
    rig.session.record_next(task(0)).await;
    rig.session.record_next(task(0)).await;
    assert_eq!(parks(rig.session.next().await), [0, 1]);

    let (a, b) = (call("a", &json!(1), &[], Some(&json!(10))), call("b", &json!(2), &[], None));
    rig.offer(vec![a.clone(), b]).await;
    assert_eq!(parks(rig.session.next().await), [1]);

    rig.offer_next(&json!(null), vec![a, call("b", &json!(2), &[], Some(&json!(20)))]).await;
    assert_eq!(rig.output().await, json!([10, 20]));
}

#[tokio::test(start_paused = true)]
async fn a_task_does_not_park_before_its_requests_are_durable() {
    let mut rig = Rig::start(two_calls).await;
    rig.offer(Vec::new()).await;
    let (_, a) = rig.session.entry().await;
    let (_, b) = rig.session.entry().await;
    // Bare heartbeats come after the time to park has long passed.
    for _ in 0..3 {
        assert!(is_beat(rig.session.next_of_all().await.as_ref()));
    }
    rig.session.record(task(0), 0, a).await;
    rig.session.record(task(0), 1, b).await;
    assert_eq!(parks(rig.session.next().await), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_local_effect_keeps_its_task_from_parking_and_holds_back_later_entries() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        let slow = ctx.run("slow", || async {
            tokio::time::sleep(std::time::Duration::from_mins(1)).await;
            Ok(1)
        });
        let (slow, quick): (Result<i64, _>, Result<i64, _>) = join(slow, ctx.call("quick", &0)).await;
        Ok(json!(slow? + quick?))
    })
    .await;
    rig.offer(Vec::new()).await;
    assert_eq!(rig.session.record_next(task(0)).await, run("slow", &json!(1)));
    assert_eq!(rig.session.record_next(task(0)).await, call("quick", &json!(0), &[], None));
    rig.session.record(task(0), 1, call("quick", &json!(0), &[], Some(&json!(2)))).await;
    assert_eq!(rig.output().await, json!(3));
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_parks_for_its_first_open_call() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        let squares: Vec<i64> = ctx.call_all("square", [1, 2, 3]).await?;
        Ok(json!(squares))
    })
    .await;
    rig.offer(Vec::new()).await;
    for _ in 0..3 {
        rig.session.record_next(task(0)).await;
    }
    assert_eq!(parks(rig.session.next().await), [0]);
    let answered = |n: i64| call("square", &json!(n), &[], Some(&json!(n * n)));
    rig.offer(vec![answered(1), answered(2), answered(3)]).await;
    assert_eq!(rig.output().await, json!([1, 4, 9]));
}

/// Two branches of two calls each: which branch asks its second call first depends on which answer comes first.
async fn branches(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let branch = async |name: &str| -> Result<i64, TaskError> {
        let first: i64 = ctx.call(name, &1).await?;
        ctx.call(name, &(first + 1)).await
    };
    let (a, b) = join(branch("a"), branch("b")).await;
    Ok(json!([a?, b?]))
}

#[tokio::test(start_paused = true)]
async fn branches_are_replayed_in_the_order_in_which_answers_came() {
    let mut rig = Rig::start(branches).await;
    rig.offer(Vec::new()).await;
    rig.session.record_next(task(0)).await;
    rig.session.record_next(task(0)).await;
    // `b` is answered first, and so `b` asks first.
    rig.session.record(task(0), 1, call("b", &json!(1), &[], Some(&json!(5)))).await;
    let third = rig.session.record_next(task(0)).await;
    assert_eq!(third, call("b", &json!(6), &[1], None));
    rig.session.record(task(0), 0, call("a", &json!(1), &[], Some(&json!(3)))).await;
    let fourth = rig.session.record_next(task(0)).await;
    assert_eq!(fourth, call("a", &json!(4), &[0], None));
    assert_eq!(parks(rig.session.next().await), [2, 3]);

    // All is answered when it is offered again: still `b` must make its request before `a`.
    let journal = vec![
        call("a", &json!(1), &[], Some(&json!(3))),
        call("b", &json!(1), &[], Some(&json!(5))),
        call("b", &json!(6), &[1], Some(&json!(60))),
        call("a", &json!(4), &[0], Some(&json!(40))),
    ];
    rig.offer(journal).await;
    assert_eq!(rig.output().await, json!([40, 60]));
}

#[tokio::test(start_paused = true)]
async fn a_journal_without_the_order_of_answers_is_replayed_too_where_the_code_has_one_branch() {
    let mut rig = Rig::start(two_effects).await;
    rig.offer(vec![run("first", &json!(7)), run("second", &json!(42))]).await;
    assert_eq!(rig.output().await, json!([7, 42]));
}

#[tokio::test(start_paused = true)]
async fn a_race_is_decided_by_the_answer_that_came_first_also_on_replay() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        let (slow, timeout) = (ctx.call::<String>("slow", &0), ctx.sleep(Span::from_secs(60)));
        let winner = match select(slow, timeout).await {
            Either::Left((answer, _)) => answer?,
            Either::Right((slept, _)) => slept.map(|()| "timeout".to_owned())?,
        };
        let noted: String = ctx.run("note", || async { Ok(winner) }).await?;
        Ok(json!(noted))
    })
    .await;
    let sleep = |result| entry(JournalRequest::Sleep { span: Span::from_secs(60) }, &[], result);
    let slow = |result| call("slow", &json!(0), &[], result);
    // Both are answered by now; by the note, the pause came first.
    let note = entry(JournalRequest::Run { name: "note".into() }, &[1], Some(&json!("timeout")));
    rig.offer(vec![slow(Some(&json!("late"))), sleep(Some(&json!(null))), note]).await;
    assert_eq!(rig.output().await, json!("timeout"));
}

#[tokio::test(start_paused = true)]
async fn signals_bring_their_payload_and_pauses_end() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        ctx.sleep(Span::from_secs(3600)).await?;
        let name: String = ctx.wait_signal("name").await?;
        Ok(json!(name))
    })
    .await;
    rig.offer(Vec::new()).await;
    let sleep = rig.session.record_next(task(0)).await;
    assert_eq!(sleep.request, JournalRequest::Sleep { span: Span::from_secs(3600) });
    assert_eq!(parks(rig.session.next().await), [0]);
    rig.offer(vec![entry(sleep.request, &[], Some(&json!(null)))]).await;
    let mut signal = rig.session.record_next(task(0)).await;
    assert_eq!(signal.request, JournalRequest::Signal { name: "name".into(), schema: None });
    signal.result = Some(Ok(payload(&json!("Ada"))));
    rig.session.record(task(0), 1, signal).await;
    assert_eq!(rig.output().await, json!("Ada"));
}

#[tokio::test(start_paused = true)]
async fn code_that_takes_another_path_is_told_where() {
    let expect = async |journal: Vec<JournalEntry>, found: &str| {
        let mut rig = Rig::start(two_effects).await;
        rig.offer(journal).await;
        let (error, retryable) = fails(rig.session.next().await);
        assert_eq!((error.code, error.message.as_str(), retryable), (Code::JournalDiverged, found, false));
    };
    expect(vec![run("other", &json!(1))], "entry 0 is recorded as run `other`, but found run `first`").await;
    expect(
        vec![run("first", &json!(1)), call("x", &json!({"q": 1}), &[0], None)],
        "entry 1 is recorded as call `x` with `{\"q\":1}`, but found run `second`",
    )
    .await;
    let three = vec![run("first", &json!(1)), run("second", &json!(2)), run("third", &json!(3))];
    expect(three, "entry 2 is recorded as run `third`, but found the end of the code").await;
}

#[tokio::test(start_paused = true)]
async fn the_input_of_a_call_may_stand_in_the_record_by_its_hash_or_written_otherwise() {
    let mut rig = Rig::start(two_calls).await;
    let hash = BlobHash::of(b"1");
    let a = JournalRequest::Call { capability: "a".into(), input: Payload::Blob { hash, len: 1 }, options: None };
    let b = JournalRequest::Call { capability: "b".into(), input: Payload::inline(&b" 2 "[..]), options: None };
    rig.offer(vec![entry(a, &[], Some(&json!(1))), entry(b, &[], Some(&json!(2)))]).await;
    assert_eq!(rig.output().await, json!([1, 2]));
}

/// Asks a person, about something that changes from attempt to attempt.
async fn asks(ctx: TaskContext, detail: Value) -> Result<Value, TaskError> {
    let answer = ctx.wait_approval("ship it?", &detail).await?;
    Ok(json!(answer.approved))
}

#[tokio::test(start_paused = true)]
async fn the_detail_of_an_approval_may_change_whatever_its_size() {
    let large = json!("x".repeat(limits::INLINE_BYTES_MAX));
    let by_hash = Payload::Blob { hash: BlobHash::of(b"anything"), len: 40_000 };
    for (recorded, asked) in [(payload(&json!(1)), json!(2)), (payload(&large), large.clone()), (by_hash, large)] {
        let request = JournalRequest::Approval { prompt: "ship it?".into(), detail: recorded };
        let yes = json!({ "approved": true, "by": "ann", "comment": null });
        let rig = &mut Rig::start(asks).await;
        rig.offer_input(&asked, vec![entry(request, &[], Some(&yes))]).await;
        assert_eq!(rig.output().await, json!(true));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_permanent_and_keeps_its_code() {
    let mut rig = Rig::start(two_calls).await;
    rig.offer(Vec::new()).await;
    rig.session.record_next(task(0)).await;
    rig.session.record_next(task(0)).await;
    for (index, name) in [(0, "a"), (1, "b")] {
        let mut failed = call(name, &json!(index + 1), &[], None);
        failed.result = Some(Err(Error::new(Code::TimedOut, format!("{name} was slow"))));
        rig.session.record(task(0), index, failed).await;
    }
    let (error, retryable) = fails(rig.session.next().await);
    assert_eq!((error, retryable), (Error::new(Code::TimedOut, "a was slow"), false));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_type_is_named_by_its_path() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        let list: Vec<i64> = ctx.call("list", &0).await?;
        Ok(json!(list))
    })
    .await;
    rig.offer(vec![call("list", &json!(0), &[], Some(&json!([1, "two"])))]).await;
    let (error, retryable) = fails(rig.session.next().await);
    assert_eq!((error.code, retryable), (Code::BadOutput, false));
    assert!(error.message.contains("`$[1]`"), "{}", error.message);
}

#[tokio::test(start_paused = true)]
async fn the_journal_cannot_be_used_inside_an_effect() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        let inner = ctx.clone();
        let nested: Result<i64, TaskError> = ctx.run("outer", || async move { inner.call("x", &0).await }).await;
        nested.map(|value| json!(value))
    })
    .await;
    rig.offer(Vec::new()).await;
    let outer = rig.session.record_next(task(0)).await;
    assert_eq!(outer.result.unwrap().unwrap_err().code, Code::BadRequest);
    assert_eq!(fails(rig.session.next().await).0.code, Code::BadRequest);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_effect_is_recorded_as_cancelled_so_that_later_entries_can_follow() {
    let mut rig = Rig::start(|ctx: TaskContext, _: Value| async move {
        drop(ctx.run("never", || async { Ok(1) }));
        let next: i64 = ctx.run("next", || async { Ok(2) }).await?;
        Ok(json!(next))
    })
    .await;
    rig.offer(Vec::new()).await;
    let dropped = rig.session.record_next(task(0)).await;
    assert_eq!(dropped.result.unwrap().unwrap_err().code, Code::Cancelled);
    rig.session.record_next(task(0)).await;
    assert_eq!(rig.output().await, json!(2));
}

#[tokio::test(start_paused = true)]
async fn after_a_reconnect_open_entries_are_asked_again_and_the_attempt_goes_on() {
    let mut rig = Rig::start(two_calls).await;
    rig.offer(Vec::new()).await;
    rig.session.entry().await;
    let (_, b) = rig.session.entry().await;
    rig.reconnect().await;
    assert_eq!(rig.session.hello.held, [(task(0), Token(1))]);
    assert_eq!(rig.session.entry().await.0, 0);
    assert_eq!(rig.session.entry().await, (1, b));
    rig.session.record(task(0), 0, call("a", &json!(1), &[], Some(&json!(1)))).await;
    rig.session.record(task(0), 1, call("b", &json!(2), &[], Some(&json!(2)))).await;
    assert_eq!(rig.output().await, json!([1, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_refused_entry_fails_the_attempt_with_the_reason() {
    let mut rig = Rig::start(two_calls).await;
    rig.offer(Vec::new()).await;
    rig.session.entry().await;
    let error = Error::new(Code::LimitReached, "too deep");
    rig.session.send(ToWorker::Refused { task: task(0), token: Token(1), error: error.clone() }).await;
    rig.session.entry().await;
    assert_eq!(fails(rig.session.next().await), (error, false));
}

#[tokio::test(start_paused = true)]
async fn answers_of_many_calls_in_any_order_find_their_place() {
    let mut rig = Rig::start(|ctx: TaskContext, count: Value| async move {
        let calls = (0..count.as_i64().unwrap_or(0)).map(|n| ctx.call::<i64>("double", &n));
        let answers: Result<Vec<i64>, TaskError> = join_all(calls).await.into_iter().collect();
        Ok(json!(answers?))
    })
    .await;
    rig.session.offer(offer("work", &json!(100))).await;
    let mut entries = Vec::new();
    for _ in 0..100 {
        entries.push(rig.session.entry().await);
    }
    for (index, mut entry) in entries.into_iter().rev() {
        let JournalRequest::Call { input, .. } = &entry.request else { panic!("only calls are made") };
        let doubled = json!(document(input).as_i64().unwrap() * 2);
        entry.result = Some(Ok(payload(&doubled)));
        rig.session.record(task(0), index, entry).await;
    }
    assert_eq!(rig.output().await, json!((0..100).map(|n| n * 2).collect::<Vec<i64>>()));
}
