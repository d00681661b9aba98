//! Tasks and what hangs on them: tokens, journals, calls, child runs, blobs, limits.
//!
//! For: laws 2, 3, 8, 10 and 13 through the public interface of the machine. Not for: the course of a run
//! (`scenarios`).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    AttemptEnd, Command, Effect, Reply,
    command::{TaskComplete, TaskFail, TaskPark, TaskRecord, TaskTaken},
    view,
};
use consort_types::{
    Code, EffectClass, Error, Payload, Span, WorkerInstance,
    worker::{JournalEntry, JournalRequest},
};
use support::{NS, World, check, check_with};

const ONE: &str = "workflow: w\nsteps:\n  a: { capability: x }\n";

fn started(source: &str) -> World {
    let mut world = World::new();
    world.deploy(source);
    world.act("start {}");
    world
}

#[test]
fn the_first_outcome_counts_and_is_answered_again() {
    let mut world = started(ONE);
    let (task, token) = world.find("a");
    assert_eq!(world.report(task, token, "1"), Ok(Reply::Done));
    assert_eq!(world.report(task, token, "2"), Ok(Reply::Done), "a second report gets the first answer");
    assert_eq!(world.show(), "run completed {\"a\":1}\n  a completed\n");
    world.verify();
}

#[test]
fn an_old_token_changes_nothing() {
    let mut world = started(ONE);
    let (task, old) = world.find("a");
    world.taken("a", EffectClass::Idempotent);
    world.lose("a", None);
    let refused = world.report(task, old, "1").unwrap_err();
    assert_eq!(refused.code, Code::Fenced);
    assert!(world.find("a").1 > old, "tokens only grow");
    world.complete("a", "2");
    assert_eq!(world.report(task, old, "3").unwrap_err().code, Code::Fenced);
    assert!(world.show().starts_with("run completed {\"a\":2}\n"));
    world.verify();
}

#[test]
fn a_late_result_decides_an_unknown_outcome() {
    let mut world = started("workflow: w\nsteps:\n  a: { capability: x, effect: write }\n");
    let (task, token) = world.find("a");
    world.act("write a");
    world.act("lose a");
    assert_eq!(world.machine.tasks().inbox(NS, None, 10).unwrap().items.len(), 1);
    world.report(task, token, "4").unwrap();
    assert!(world.machine.tasks().inbox(NS, None, 10).unwrap().items.is_empty());
    assert_eq!(world.show(), "run completed {\"a\":4}\n  a completed\n");
    world.verify();
}

#[test]
fn unknown_tasks_are_refused() {
    let mut world = started(ONE);
    let (mut task, token) = world.find("a");
    task.index = 9;
    assert_eq!(world.report(task, token, "1").unwrap_err().code, Code::TaskNotFound);
    world.verify();
}

#[test]
fn a_start_can_be_repeated() {
    let mut world = World::new();
    world.deploy("workflow: w\ninput: { n: { type: integer } }\nsteps:\n  a: { capability: x }\n");
    let first = world.start("w", "{\"n\":1}", Some("k")).unwrap();
    assert_eq!(world.start("w", "{\"n\":1}", Some("k")).unwrap(), first);
    assert_eq!(world.start("w", "{\"n\":2}", Some("k")).unwrap_err().code, Code::IdempotencyMismatch);
    let spaced = world.start("w", "{ \"n\": 1 }", Some("k"));
    assert!(spaced.is_ok(), "the same document is the same request: {spaced:?}");
    assert_ne!(world.start("w", "{\"n\":2}", Some("other")).unwrap(), first);
    assert_eq!(world.start("w", "{\"n\":\"x\"}", None).unwrap_err().code, Code::BadInput);
    assert_eq!(world.start("nope", "{}", None).unwrap_err().code, Code::WorkflowNotFound);
    world.verify();
}

#[test]
fn runs_stay_with_their_definition() {
    let mut world = started(ONE);
    world.deploy("workflow: w\nsteps:\n  b: { capability: x }\n");
    world.act("start {}");
    world.complete("1:a", "1");
    world.complete("2:b", "2");
    assert_eq!(world.show(), "run completed {\"a\":1}\n  a completed\nrun completed {\"b\":2}\n  b completed\n");
    let list = world.machine.workflows(NS, None, 10).unwrap();
    assert_eq!((list.items.len(), list.items[0].revision), (1, 2));
    assert!(world.machine.workflow_source(NS, "w", Some("1")).unwrap().contains("a:"));
    world.verify();
}

#[test]
fn child_runs_answer_their_step() {
    let child = "workflow: c\ninput: { n: { type: integer } }\nsteps:\n  s: { capability: x }\noutput: '${{ steps.s.output }}'\n";
    let parent = "workflow: w\nsteps:\n  a: { workflow: c, with: { n: 3 } }\n  b: { capability: x, with: '${{ steps.a.output }}' }\n";
    check_with(
        parent,
        &[child],
        &["start {}", "done s 5", "done b 1"],
        "run completed {\"a\":5,\"b\":1}\n  a completed\n  b completed",
    );
    check_with(parent, &[child], &["start {}", "fatal s"], "run failed C0313\n  a failed C0313\n  b skipped C0309");
    check_with(
        parent,
        &[child],
        &["start {}", "cancel"],
        "run cancelled C0312\n  a cancelled C0312\n  b cancelled C0312",
    );
    check_with(parent, &[child], &["start {}", "done s 5", "done b 1", "delete", "tick 1s", "tick 1s"], "run gone");
    check(parent, &["start {}"], "run failed C0102\n  a failed C0102\n  b skipped C0309");
}

#[test]
fn a_workflow_that_calls_itself_is_bounded() {
    let mut world = started("workflow: w\nsteps:\n  a: { workflow: w }\n");
    let text = world.show();
    assert!(text.starts_with("run failed C0313"), "{text}");
    world.verify();
}

fn call(capability: &str, input: &str) -> JournalRequest {
    JournalRequest::Call { capability: capability.to_owned(), input: Payload::inline(input.as_bytes()), options: None }
}

#[test]
fn a_task_journal_is_replayed_after_a_loss() {
    let mut world = started(ONE);
    world.act("take a");
    let run = |name: &str| JournalRequest::Run { name: name.to_owned() };
    world.record("a", 0, run("fetch"), Some("{\"v\":1}")).unwrap();
    assert!(matches!(world.effects.last(), Some(Effect::Changed { .. })));
    world.act("lose a");
    let (task, _) = world.find("a");
    let offer = world.machine.offer(task).unwrap().unwrap();
    assert_eq!((offer.attempt, offer.journal.len()), (2, 1));
    assert_eq!(offer.journal[0].result, Some(Ok(Payload::inline(&b"{\"v\":1}"[..]))));
    assert!(world.record("a", 0, run("fetch"), Some("2")).is_ok(), "the same entry again is answered");
    let diverged = world.record("a", 0, run("other"), Some("2")).unwrap_err();
    assert_eq!(diverged.code, Code::JournalDiverged);
    assert!(diverged.message.contains("run fetch") && diverged.message.contains("run other"), "{diverged}");
    assert_eq!(world.record("a", 5, run("gap"), Some("2")).unwrap_err().code, Code::JournalDiverged);
    world.complete("a", "9");
    world.verify();
}

#[test]
fn calls_of_a_task_wake_it_when_they_end() {
    let mut world = started(ONE);
    world.act("take a");
    world.record("a", 0, call("y", "1"), None).unwrap();
    world.record("a", 1, call("y", "2"), None).unwrap();
    world.park("a", &[0, 1]).unwrap();
    world.complete("a/call:0", "10");
    let (task, _) = world.find("a");
    let offer = world.machine.offer(task).unwrap().unwrap();
    assert_eq!(offer.attempt, 1, "a resumed task is the same attempt");
    assert!(offer.journal[0].result.is_some() && offer.journal[1].result.is_none());
    world.fail("a/call:1", false);
    let offer = world.machine.offer(task).unwrap().unwrap();
    assert_eq!(offer.journal[1].result.as_ref().unwrap().as_ref().unwrap_err().code, Code::AgentFailed);
    world.complete("a", "3");
    assert_eq!(world.show(), "run completed {\"a\":3}\n  a completed\n  a/call:0 completed\n  a/call:1 failed C0304\n");
    world.verify();
}

#[test]
fn nothing_outlives_the_task_that_called_it() {
    let mut world = started(ONE);
    world.record("a", 0, call("y", "1"), None).unwrap();
    world.complete("a", "3");
    assert_eq!(world.show(), "run completed {\"a\":3}\n  a completed\n  a/call:0 cancelled C0312\n");
    world.verify();
}

#[test]
fn a_parked_task_sleeps_and_hears_signals() {
    let mut world = started(ONE);
    world.record("a", 0, JournalRequest::Sleep { span: Span::from_secs(5) }, None).unwrap();
    world.park("a", &[0]).unwrap();
    assert_eq!(world.show(), "run running\n  a suspended\n");
    world.tick(Span::from_secs(6));
    assert_eq!(world.show(), "run running\n  a queued\n");
    world.record("a", 1, JournalRequest::Signal { name: "go".to_owned(), schema: None }, None).unwrap();
    world.act("signal go 7");
    // The answer crossed the report: the task is put up again at once.
    world.park("a", &[1]).unwrap();
    let (task, _) = world.find("a");
    assert_eq!(world.machine.offer(task).unwrap().unwrap().journal[1].result, Some(Ok(Payload::inline(&b"7"[..]))));
    assert_eq!(world.park("a", &[]).unwrap_err().code, Code::BadRequest);
    world.complete("a", "1");
    world.verify();
}

#[test]
fn large_documents_become_blobs_and_go_with_their_run() {
    let mut world = started(
        "workflow: w\nsteps:\n  a: { capability: x }\noutput: { twice: ['${{ steps.a.output }}', '${{ steps.a.output }}'] }\n",
    );
    let long = format!("\"{}\"", "x".repeat(30_000));
    world.complete("a", &long);
    let run = world.machine.run_view(NS, world.runs[0]).unwrap();
    assert!(matches!(run.output, Some(Payload::Blob { .. })));
    let bytes = world.machine.payload_bytes(&run.output.unwrap()).unwrap();
    assert_eq!(&*bytes, format!("{{\"twice\":[{long},{long}]}}").as_bytes());
    world.verify();
    world.act("delete");
    world.act("tick 1s");
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::BlobUnused(_))));
    world.verify();
}

#[test]
fn concurrency_and_priority_are_told_to_the_dispatcher() {
    let mut world = started(
        "
workflow: w
steps:
  a: { capability: x, priority: 7, effect: read, concurrency: { key: 'k${{ 1 + 1 }}', limit: 3 } }
",
    );
    let Some(Effect::Ready(ready)) = world.effects.iter().find(|effect| matches!(effect, Effect::Ready(_))).cloned()
    else {
        panic!("nothing is ready");
    };
    let concurrency = ready.concurrency.unwrap();
    assert_eq!((ready.priority, concurrency.key.as_str(), concurrency.limit), (7, "k2", 3));
    assert_eq!(ready.effect, Some(EffectClass::Read));
    world.verify();
}

#[test]
fn pausing_holds_a_run_and_its_children() {
    let mut world = World::new();
    world.deploy("workflow: c\nsteps:\n  s: { capability: x }\n");
    world.deploy("workflow: w\nsteps:\n  a: { workflow: c }\n");
    world.act("start {}");
    world.act("pause");
    let held =
        |world: &World| world.effects.iter().filter(|effect| matches!(effect, Effect::Hold { held: true, .. })).count();
    assert_eq!(held(&world), 2);
    assert!(world.machine.is_held(world.runs[0]).unwrap());
    world.act("resume");
    assert!(!world.machine.is_held(world.runs[0]).unwrap());
    world.complete("s", "1");
    assert!(world.show().starts_with("run completed"));
    world.verify();
}

#[test]
fn agents_declare_what_they_do() {
    let mut world = World::new();
    world.agent("one", "x", EffectClass::Read);
    world.agent("two", "x", EffectClass::Write);
    world.agent("two", "x", EffectClass::Write);
    assert_eq!(
        world.machine.registry().capability_effect(NS, "x", None).unwrap(),
        EffectClass::Write,
        "the most careful counts"
    );
    assert_eq!(world.machine.registry().capability_effect(NS, "x", Some("one")).unwrap(), EffectClass::Read);
    assert_eq!(world.machine.registry().agents(NS, None, 10).unwrap().items.len(), 2);
    world.verify();
}

#[test]
fn a_long_loop_without_work_is_spread_over_records() {
    let mut world = started(
        "
workflow: w
steps:
  a:
    repeat: { max: 3000 }
    steps:
      b: { capability: x, if: '${{ index_of_never == 1 }}' }
"
        .replace("index_of_never", "loop.index + 1 - loop.index + 5")
        .as_str(),
    );
    assert!(world.show().starts_with("run running"), "one record does not do it all");
    world.tick(Span::from_secs(1));
    assert!(world.machine.run_view(NS, world.runs[0]).unwrap().summary.ended.is_some());
    world.verify();
}

#[test]
fn a_row_does_not_grow_with_its_run() {
    let mut world = started(
        "workflow: w\nsteps:\n  a: { for_each: '${{ [1,2,3,4,5,6,7,8].map(i, i) }}', capability: x, max_parallel: 1 }\n",
    );
    for index in 0..8 {
        world.complete(&format!("a[{index}]"), "1");
    }
    world.verify();
    let journal = world.machine.journal(NS, world.runs[0], None, 1000).unwrap();
    let after = journal[3].cursor;
    let rest = world.machine.journal(NS, world.runs[0], Some(after), 1000).unwrap();
    assert_eq!(rest.len(), journal.len() - 4, "a cursor resumes without loss or repetition");
}

#[test]
fn views_page_through_everything() {
    let mut world = World::new();
    world.deploy(ONE);
    (0..5).for_each(|_| world.act("start {}"));
    let filter = view::RunFilter::default();
    let first = world.machine.list_runs(NS, &filter, None, 3).unwrap();
    let second = world.machine.list_runs(NS, &filter, first.next.as_deref(), 3).unwrap();
    let seen: Vec<_> = first.items.iter().chain(&second.items).map(|run| run.run).collect();
    let mut newest_first = world.runs.clone();
    newest_first.reverse();
    assert_eq!((seen, second.next), (newest_first, None));
    assert!(world.machine.list_runs("other", &filter, None, 9).unwrap().items.is_empty());
    assert_eq!(world.machine.run_view("other", world.runs[0]).unwrap_err().code, Code::RunNotFound);
    let tree = world.machine.run_tree(NS, world.runs[0]).unwrap();
    assert_eq!((tree.len(), tree[0].target.as_deref()), (1, Some("x")));
    world.complete("1:a", "1");
    world.complete("2:a", "2");
    let steps = |world: &mut World, n: usize| world.machine.steps(NS, world.runs[n], None, 10).unwrap().items;
    let (left, right) = (steps(&mut world, 0), steps(&mut world, 1));
    let compared = view::compare((world.runs[0], &left), (world.runs[1], &right));
    assert_eq!((compared.same, compared.differences.len()), (0, 1));
    world.verify();
}

#[test]
fn records_that_cannot_be_read_are_refused() {
    assert_eq!(Command::decode(b"\x82\x18\xff\x00").unwrap_err().code, Code::BadFormat);
    let command = Command::TaskComplete(TaskComplete {
        task: "01J8Z3K4M5N6P7Q8R9S0T1V2W3.0.2".parse().unwrap(),
        token: consort_types::Token(5),
        output: Payload::null(),
        taken: None,
        by: support::holder(),
        version: None,
    });
    assert_eq!(Command::decode(&command.encode()).unwrap(), command);
}

#[test]
fn nobody_asks_on_about_an_outcome_that_became_known() {
    let source = "
workflow: w
steps:
  a: { capability: x, effect: write, on_unknown: reconcile with look, retry: { attempts: 2 } }
";
    let lost = || {
        let mut world = World::new();
        world.deploy(source);
        world.act("start {}");
        world.act("write a");
        let (task, token) = world.find("a");
        world.act("lose a");
        assert!(world.show().contains("a unknown\n  a/reconcile queued"), "{}", world.show());
        (world, task, token)
    };
    let (mut world, task, token) = lost();
    world.report(task, token, "7").unwrap();
    assert_eq!(world.show(), "run completed {\"a\":7}\n  a completed\n  a/reconcile cancelled C0312\n");
    world.verify();
    // An answer about the first attempt must not decide the second.
    let (mut world, task, token) = lost();
    let error = Error::new(Code::AgentFailed, "it did not happen");
    let fail = TaskFail {
        task,
        token,
        error,
        retryable: true,
        retry_after: None,
        taken: None,
        by: support::holder(),
        version: None,
    };
    world.apply(&Command::TaskFail(fail)).unwrap();
    assert_eq!(world.show(), "run running\n  a backoff\n  a/reconcile cancelled C0312\n");
    world.verify();
}

#[test]
fn a_report_of_another_agent_changes_nothing() {
    let mut world = World::new();
    world.deploy("\nworkflow: w\nsteps:\n  a: { capability: x, retry: { attempts: 2 } }\n");
    world.act("start {}");
    world.taken("a", EffectClass::Read);
    let (task, token) = world.find("a");
    let by = WorkerInstance { agent: "stranger".to_owned(), ..support::holder() };
    let error = Error::new(Code::AgentFailed, "forged");
    let entry = JournalEntry {
        title: None,
        request: JournalRequest::Run { name: "x".to_owned() },
        after: Vec::new(),
        result: None,
    };
    let forged = [
        Command::TaskComplete(TaskComplete {
            task,
            token,
            output: Payload::null(),
            taken: None,
            by: by.clone(),
            version: None,
        }),
        Command::TaskFail(TaskFail {
            task,
            token,
            error,
            retryable: false,
            retry_after: None,
            taken: None,
            by: by.clone(),
            version: None,
        }),
        Command::TaskRecord(TaskRecord::new((task, token), (by.clone(), "1".to_owned()), 0, &entry)),
        Command::TaskPark(TaskPark { task, token, waiting: vec![0], by: by.clone() }),
        Command::TaskTaken(TaskTaken {
            task,
            token,
            instance: by,
            effect: EffectClass::Read,
            at: consort_types::Time(1),
            version: None,
        }),
    ];
    let before = world.show();
    for command in forged {
        assert_eq!(world.apply(&command).unwrap_err().code, Code::Fenced, "{command:?}");
        world.refusals.clear();
        assert_eq!(world.show(), before);
    }
    world.report(task, token, "1").unwrap();
    assert_eq!(world.show(), "run completed {\"a\":1}\n  a completed\n");
    world.verify();
}

#[test]
fn the_effect_says_what_became_of_an_attempt() {
    let source = "
workflow: w
steps:
  done: { capability: x }
  fails: { capability: x, continue_on_error: true }
  lost: { capability: x }
  doubted: { capability: x }
  late: { capability: x, timeout: 1s, retry: { attempts: 2 } }
  forgot: { capability: x, timeout: 1s }
";
    let mut world = World::new();
    world.deploy(source);
    world.act("start {}");
    for step in ["done", "fails", "lost", "late"] {
        world.taken(step, EffectClass::Read);
    }
    for step in ["doubted", "forgot"] {
        world.taken(step, EffectClass::Write);
    }
    world.complete("done", "1");
    world.fail("fails", false);
    world.lose("lost", None);
    world.lose("doubted", None);
    let ends = |world: &mut World| -> Vec<AttemptEnd> {
        let end = |effect| if let Effect::AttemptEnded { end, .. } = effect { Some(end) } else { None };
        std::mem::take(&mut world.effects).into_iter().filter_map(end).collect()
    };
    let failed = AttemptEnd::Failed { code: Code::AgentFailed, retryable: false };
    assert_eq!(ends(&mut world), [AttemptEnd::Completed, failed, AttemptEnd::Lost, AttemptEnd::Unknown]);
    world.tick(Span::from_secs(2));
    assert_eq!(ends(&mut world), [AttemptEnd::Expired, AttemptEnd::Unknown]);
}
