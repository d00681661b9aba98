//! Edges: what is refused, what is bounded, and what views show of wide, long and undone runs.
//!
//! For: the limits and refusals of commands, and the shapes of views. Not for: the course of runs (`scenarios`).
//! Invariant: every refusal names its value and limit, and changes nothing.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use std::collections::BTreeMap;

use consort_core::{
    Command, Reply,
    command::{Deploy, ForkRun, RegisterAgent, StartRun},
    view::{self, JournalCursor},
};
use consort_types::{BlobHash, Code, Payload, Result, RunId, Seq, Span, Time, worker::JournalRequest};
use support::{NS, World};

fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.unwrap_err().code
}

/// The same, pinned to what is deployed, as the door pins it.
fn pinned(world: &mut World, run: u8, change: impl Fn(&mut StartRun)) -> Command {
    let Command::StartRun(requested) = start(run, |_| {}) else { unreachable!("a start") };
    let mut start = world.machine.prepare_start(requested, None).unwrap();
    change(&mut start);
    Command::StartRun(start)
}

fn start_pinned(world: &mut World, run: u8, change: impl Fn(&mut StartRun)) -> Result<Reply> {
    let command = pinned(world, run, change);
    world.apply(&command)
}

fn start(run: u8, change: impl Fn(&mut StartRun)) -> Command {
    let mut start = StartRun::requested(RunId([run; 16]), NS, "w", Payload::inline(&b"{}"[..]));
    change(&mut start);
    Command::StartRun(start)
}

const ONE: &str = "workflow: w\nversion: '2.0'\nsteps:\n  a: { capability: x }\n";

#[test]
fn starts_are_checked() {
    let mut world = World::new();
    world.deploy(ONE);
    assert!(start_pinned(&mut world, 1, |_| {}).is_ok());
    assert_eq!(code(start_pinned(&mut world, 1, |_| {})), Code::RunExists);
    let long = |start: &mut StartRun| start.idempotency_key = Some("k".repeat(257));
    assert_eq!(code(start_pinned(&mut world, 2, long)), Code::LimitReached);
    let labels = |start: &mut StartRun| start.labels = (0..33).map(|n| (n.to_string(), String::new())).collect();
    assert_eq!(code(start_pinned(&mut world, 2, labels)), Code::LimitReached);
    assert_eq!(code(start_pinned(&mut world, 2, |start| start.namespace = "no space".into())), Code::BadName);
    for (version, known) in [("1", true), ("2.0", true), ("9", false), ("3.0", false)] {
        let run = if known { version.len() as u8 + 10 } else { 2 };
        let requested = StartRun::requested(RunId([run; 16]), NS, "w", Payload::inline(&b"{}"[..]));
        let prepared = world.machine.prepare_start(requested, Some(version));
        let started = prepared.and_then(|start| world.apply(&Command::StartRun(start)));
        assert_eq!(started.is_ok(), known, "{version}: {started:?}");
    }
    let again = ForkRun {
        run: RunId([1; 16]),
        namespace: NS.into(),
        from: RunId([1; 16]),
        step: None,
        input: None,
        journal: None,
    };
    assert_eq!(code(world.apply(&Command::ForkRun(again))), Code::RunExists);
}

#[test]
fn a_start_is_pinned_to_what_is_deployed_in_its_namespace() {
    let mut world = World::new();
    world.deploy(ONE);
    let Command::StartRun(good) = pinned(&mut world, 1, |_| {}) else { unreachable!("a start") };
    let other = BlobHash([7; 32]);
    for wrong in [
        StartRun { revision: 2, ..good.clone() },
        StartRun { revision: 0, ..good.clone() },
        StartRun { hash: other, ..good.clone() },
        StartRun { workflow: "v".to_owned(), ..good.clone() },
        StartRun { namespace: "elsewhere".to_owned(), ..good.clone() },
    ] {
        assert_eq!(code(world.apply(&Command::StartRun(wrong))), Code::WorkflowNotFound);
    }
    world.deploy("workflow: w\nsteps:\n  b: { capability: y }\n");
    world.apply(&Command::StartRun(good)).unwrap();
    assert_eq!(world.machine.run_view(NS, RunId([1; 16])).unwrap().summary.workflow, "w");
}

#[test]
fn a_workflow_of_a_later_language_halts_with_the_version_that_wrote_it() {
    let mut world = World::new();
    let mut workflow = consort_workflow_check::check(ONE).unwrap().compiled;
    workflow.language += 1;
    workflow.writer = "77.0.0".to_owned();
    let deploy = Command::Deploy(Deploy { namespace: NS.to_owned(), workflow });
    let seq = world.machine.applied().next();
    let error = world.machine.apply(seq, Time(1_000_000), &deploy).unwrap_err();
    assert!(error.code == Code::BadFormat && error.message.contains("`77.0.0`"), "{error}");
}

#[test]
fn definitions_and_declarations_are_checked() {
    let mut world = World::new();
    world.deploy(ONE);
    world.deploy(ONE);
    assert_eq!(world.machine.workflows(NS, None, 10).unwrap().items[0].revision, 1, "the same source is one revision");
    let unreadable = RegisterAgent {
        namespace: NS.to_owned(),
        declaration: Payload::null(),
        built_in: false,
        subscriptions: Vec::new(),
    };
    assert_eq!(code(world.apply(&Command::RegisterAgent(unreadable))), Code::BadRequest);
}

/// `StartRun` as it was before it had a trace.
#[derive(minicbor::Encode)]
struct OldStart {
    #[n(0)]
    run: RunId,
    #[n(1)]
    namespace: String,
    #[n(2)]
    workflow: String,
    #[n(3)]
    revision: u32,
    #[n(4)]
    hash: BlobHash,
    #[n(5)]
    input: Payload,
    #[n(6)]
    request: BlobHash,
    #[n(7)]
    idempotency_key: Option<String>,
    #[n(8)]
    labels: BTreeMap<String, String>,
    #[n(9)]
    priority: i32,
    #[n(10)]
    timeout: Option<Span>,
}

#[derive(minicbor::Encode)]
enum OldCommand {
    #[n(1)]
    StartRun(#[n(0)] OldStart),
}

#[test]
fn records_of_before_are_read() {
    let timeout = Some(Span::from_secs(9));
    let old = OldCommand::StartRun(OldStart {
        run: RunId([1; 16]),
        namespace: NS.to_owned(),
        workflow: "w".to_owned(),
        revision: 0,
        hash: BlobHash([0; 32]),
        input: Payload::inline(&b"{}"[..]),
        request: BlobHash([0; 32]),
        idempotency_key: None,
        labels: BTreeMap::new(),
        priority: 0,
        timeout,
    });
    let read = Command::decode(&minicbor::to_vec(&old).unwrap()).unwrap();
    assert_eq!(read, start(1, |start| start.timeout = timeout));
}

#[test]
fn signals_that_nobody_reads_are_bounded() {
    let mut world = World::new();
    world.deploy(ONE);
    world.act("start {}");
    for _ in 0..1_001 {
        world.act("signal go 1");
    }
    assert_eq!(world.refusals.len(), 1, "{:?}", world.refusals);
    world.act("cancel");
    world.act("delete");
    world.act("tick 1s");
    world.act("tick 1s");
    assert!(world.show().starts_with("run gone"), "{}", world.show());
}

#[test]
fn a_run_is_deleted_with_its_children_journals_and_blobs() {
    let mut world = World::new();
    world.deploy("workflow: c\nsteps:\n  s: { capability: x }\n");
    world.deploy("workflow: w\nsteps:\n  a: { workflow: c }\n  b: { for_each: [1, 2], capability: x }\n");
    world.act("start {}");
    let long = format!("\"{}\"", "x".repeat(40_000));
    let call = |input: &str| JournalRequest::Call {
        capability: "y".into(),
        input: Payload::inline(input.as_bytes()),
        options: None,
    };
    world.record("b[0]", 0, call("1"), None).unwrap();
    world.record("b[0]", 1, JournalRequest::Run { name: "r".into() }, Some("2")).unwrap();
    world.complete("b[0]/call:0", "3");
    let child =
        world.machine.list_runs(NS, &view::RunFilter { children: true, ..Default::default() }, None, 9).unwrap();
    let child = child.items.iter().find(|run| run.parent.is_some()).unwrap().run;
    world.complete("s", &long);
    let delete = consort_core::command::DeleteRun { namespace: NS.to_owned(), run: child };
    assert_eq!(code(world.apply(&Command::DeleteRun(delete))), Code::RunActive, "it goes with the run above it");
    world.complete("b[0]", "4");
    world.complete("b[1]", "5");
    world.act("delete");
    world.act("tick 1s");
    assert!(world.show().starts_with("run gone"));
    assert_eq!(code(world.machine.run_view(NS, child)), Code::RunNotFound);
    assert_eq!(code(world.machine.journal(NS, child, None, 10)), Code::RunNotFound);
    world.verify();
}

#[test]
fn trees_show_what_matters_of_many() {
    let mut world = World::new();
    world.deploy(
        "
workflow: w
steps:
  each: { for_each: '${{ [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15] }}', max_parallel: 3, fail_fast: false, capability: x }
  loop: { repeat: { max: 9 }, steps: { s: { capability: x, compensate: { capability: undo } } } }
  end: { agent: other, needs: [each, loop] }
",
    );
    world.act("start {}");
    world.fail("each[1]", false);
    for index in [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13] {
        world.complete(&format!("each[{index}]"), "1");
    }
    for round in 1..=5 {
        world.complete(&format!("loop#{round}/s"), "1");
    }
    let tree = world.machine.run_tree(NS, world.runs[0]).unwrap();
    let names = |node: &view::StepNode| node.below.iter().map(|below| below.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&tree[0]), ["each[1]", "each[14]", "each[15]"], "failed and running");
    assert_eq!(names(&tree[1]), ["loop#4", "loop#5", "loop#6"], "the last three");
    let counts = tree[0].counts.unwrap();
    assert_eq!((counts.total, counts.started, counts.ended, counts.failed), (16, 16, 14, 1));
    assert_eq!((tree[2].target.as_deref(), tree[2].kind), (Some("other"), "call"));
    world.act("cancel");
    let tree = world.machine.run_tree(NS, world.runs[0]).unwrap();
    assert_eq!(tree.last().unwrap().name, "compensate/loop#5/s", "compensations are at the end");
    world.verify();
}

#[test]
fn cursors_of_other_listings_are_refused() {
    let mut world = World::new();
    world.deploy(ONE);
    world.act("start {}");
    let run = world.runs[0];
    assert_eq!(code(world.machine.list_runs(NS, &view::RunFilter::default(), Some("x"), 9)), Code::BadCursor);
    assert_eq!(code(world.machine.tasks().inbox(NS, Some("x"), 9)), Code::BadCursor);
    assert_eq!(code(world.machine.steps(NS, run, Some("x"), 9)), Code::BadCursor);
    assert_eq!(code("7".parse::<JournalCursor>()), Code::BadCursor);
    let cursor: JournalCursor = "7-2".parse().unwrap();
    assert_eq!(cursor.to_string(), "7-2");
    let of_another = format!("{}.0.0", RunId([9; 16]));
    assert_eq!(code(world.machine.steps(NS, run, Some(&of_another), 9)), Code::BadCursor);
}

#[test]
fn a_comparison_finds_what_only_one_run_has() {
    let mut world = World::new();
    world.deploy("workflow: w\ninput: { n: { type: integer } }\nsteps:\n  a: { for_each: '${{ [1,2,3].filter(i, i <= input.n) }}', capability: x }\n");
    for n in [1, 2] {
        world.act(&format!("start {{\"n\":{n}}}"));
    }
    world.complete("1:a[0]", "1");
    world.complete("2:a[0]", "1");
    world.complete("2:a[1]", "7");
    let steps: Vec<_> =
        world.runs.clone().into_iter().map(|run| world.machine.steps(NS, run, None, 9).unwrap().items).collect();
    let compared = view::compare((world.runs[0], &steps[0]), (world.runs[1], &steps[1]));
    let paths: Vec<_> = compared.differences.iter().map(|found| (found.path.as_str(), found.left.is_some())).collect();
    assert_eq!((compared.same, paths), (1, vec![("a", true), ("a[1]", false)]));
}

#[test]
fn a_replay_tells_where_journal_and_state_differ() {
    let mut world = World::new();
    world.deploy(ONE);
    world.act("start {}");
    world.act("take a");
    world.fail("a", false);
    let (run, mut rows) = (world.runs[0], world.machine.steps(NS, world.runs[0], None, 9).unwrap().items);
    let journal = world.machine.journal(NS, run, None, 100).unwrap();
    let told = view::replay(run, &journal, &rows);
    assert_eq!((told.steps[0].attempts, told.differences.len(), told.entries), (1, 0, journal.len()));
    rows[0].state = consort_core::rows::StepState::Completed;
    assert_eq!(view::replay(run, &journal, &rows).differences.len(), 1);
    assert_eq!(view::replay(run, &[], &rows).differences.len(), 1, "an end that the journal does not have");
}

#[test]
fn time_that_goes_back_halts() {
    let mut world = World::new();
    world.deploy(ONE);
    let seq = world.machine.applied().next();
    let halted = world.machine.apply(seq, Time(1), &start(1, |_| {}));
    assert_eq!(code(halted.map(|_| ())), Code::Internal);
    assert_eq!(seq, Seq(2));
}

#[test]
fn recovery_pages_through_what_is_open() {
    let mut world = World::new();
    world.deploy("workflow: w\nsteps:\n  a: { for_each: [1, 2, 3], capability: x }\n");
    world.act("start {}");
    world.act("take a[1]");
    let (first, next) = world.machine.live_tasks(None, 2).unwrap();
    let (second, end) = world.machine.live_tasks(next, 100).unwrap();
    assert_eq!((first.len() + second.len(), end), (3, None));
}

#[test]
fn a_run_ends_after_the_runs_that_it_started() {
    let mut world = World::new();
    world.deploy("workflow: c\nsteps:\n  s: { capability: x, compensate: { capability: undo } }\n  t: { capability: x, needs: [s] }\n");
    world.deploy("workflow: w\nsteps:\n  a: { workflow: c, deadline: 5s }\n");
    world.act("start {}");
    world.complete("s", "1");
    world.act("tick 6s");
    assert_eq!(world.show(), "run running\n  a failed C0306\n", "its step has ended, the child run compensates");
    world.complete("compensate/s", "null");
    assert_eq!(world.show(), "run failed C0306\n  a failed C0306\n");
    world.verify();
}

#[test]
fn a_task_that_loses_every_instance_fails_and_says_how() {
    let mut world = World::new();
    world.deploy(ONE);
    world.act("start {}");
    for _ in 0..=consort_types::limits::LOSSES_MAX {
        world.act("take a");
        world.act("lose a");
    }
    let error = world.machine.run_view(NS, world.runs[0]).unwrap().summary.error.unwrap();
    assert_eq!(error.code, Code::InstanceLost);
    assert!(error.hint.as_deref().unwrap_or("").ends_with("was lost with `remote:1:1:a`: killed"), "{error}");
    world.verify();
}
