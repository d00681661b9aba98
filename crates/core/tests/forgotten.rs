//! Waits that the code of a task has passed: what outside waited for them is withdrawn.
//!
//! For: `forget` entries, through the public interface of the machine. Not for: when an SDK makes one.
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, Effect, TABLES,
    command::{Approve, SignalRun},
    rows::TaskEntry,
};
use consort_types::{
    Code, EffectClass, Payload, Span,
    worker::{JournalEntry, JournalRequest},
};
use support::{NS, World};

const ONE: &str = "workflow: w\nsteps:\n  a: { capability: x }\n";

fn started() -> World {
    let mut world = World::new();
    world.deploy(ONE);
    world.act("start {}");
    world.taken("a", EffectClass::Idempotent);
    world
}

fn signal(name: &str) -> JournalRequest {
    JournalRequest::Signal { name: name.to_owned(), schema: None }
}

fn sleep(seconds: u64) -> JournalRequest {
    JournalRequest::Sleep { span: Span::from_secs(seconds) }
}

fn approval() -> JournalRequest {
    JournalRequest::Approval { prompt: "ship it?".to_owned(), detail: Payload::inline(b"1".as_slice()) }
}

fn forget(entries: &[u32]) -> JournalRequest {
    JournalRequest::Forget { entries: entries.to_vec() }
}

fn journal(world: &mut World) -> Vec<JournalEntry> {
    let (task, _) = world.find("a");
    world.machine.offer(task).unwrap().unwrap().journal
}

/// The answers of the task's journal, as texts.
fn answers(world: &mut World) -> Vec<String> {
    let text = |entry: JournalEntry| match entry.result {
        Some(Ok(output)) => String::from_utf8(output.bytes().unwrap().to_vec()).unwrap(),
        Some(Err(error)) => error.code.to_string(),
        None => "-".to_owned(),
    };
    journal(world).into_iter().map(text).collect()
}

/// How many rows a table has.
fn rows(world: &mut World, prefix: u8) -> usize {
    world.stored().keys().filter(|key| key.first() == Some(&prefix)).count()
}

#[test]
fn a_signal_goes_to_the_wait_that_the_code_still_waits_for() {
    let mut world = started();
    world.record("a", 0, signal("go"), None).unwrap();
    world.record("a", 1, sleep(2), None).unwrap();
    world.tick(Span::from_secs(3));
    world.record("a", 2, signal("go"), None).unwrap();
    world.record("a", 3, forget(&[0]), None).unwrap();
    assert_eq!(rows(&mut world, TABLES.waiters.prefix), 1, "the first waiter is withdrawn");
    world.act("signal go \"hi\"");
    assert_eq!(answers(&mut world), ["-", "null", "\"hi\"", "null"]);
    world.complete("a", "1");
    world.verify();
}

#[test]
fn a_signal_that_came_before_the_code_went_past_it_is_given_to_the_next_wait_or_kept_at_its_place() {
    let mut world = started();
    world.record("a", 0, signal("go"), None).unwrap();
    world.record("a", 1, signal("go"), None).unwrap();
    world.act("signal go 1");
    world.act("signal go 2");
    world.act("signal go 3");
    world.record("a", 2, forget(&[0, 1]), None).unwrap();
    assert_eq!(answers(&mut world), ["-", "-", "null"], "what no code has read is not in the journal");
    for (index, expected) in [(3, "1"), (4, "2"), (5, "3")] {
        world.record("a", index, signal("go"), None).unwrap();
        assert_eq!(answers(&mut world)[index as usize], expected, "first come, first served");
    }
    world.record("a", 6, signal("go"), None).unwrap();
    world.record("a", 7, signal("go"), None).unwrap();
    world.act("signal go 4");
    world.record("a", 8, forget(&[6]), None).unwrap();
    assert_eq!(answers(&mut world)[6..], ["-", "4", "null"], "the next that waits gets it");
    world.complete("a", "1");
    world.verify();
}

#[test]
fn a_signal_whose_payload_is_a_blob_is_given_on_whole() {
    let mut world = started();
    world.record("a", 0, signal("go"), None).unwrap();
    let payload = world.put_blob(&vec![b'1'; 40_000]);
    let command = SignalRun { namespace: NS.into(), run: world.runs[0], name: "go".into(), payload };
    world.apply(&Command::SignalRun(command)).unwrap();
    world.record("a", 1, forget(&[0]), None).unwrap();
    world.record("a", 2, signal("go"), None).unwrap();
    assert_eq!(answers(&mut world)[2].len(), 40_000);
    world.complete("a", "1");
    world.verify();
}

#[test]
fn a_question_that_the_code_has_gone_past_leaves_the_inbox_and_its_answer_is_refused() {
    let mut world = started();
    world.record("a", 0, approval(), None).unwrap();
    let question = world.task(0, "a/call:0");
    world.record("a", 1, forget(&[0]), None).unwrap();
    world.record("a", 2, approval(), None).unwrap();
    let inbox = world.machine.tasks().inbox(NS, None, 9).unwrap().items;
    assert_eq!(inbox.iter().map(|item| item.step.as_str()).collect::<Vec<_>>(), ["a/call:2"]);
    let late =
        Approve { namespace: NS.into(), task: question, approved: true, by: "ann".into(), comment: None, value: None };
    let error = world.apply(&Command::Approve(late)).unwrap_err();
    assert_eq!(error.code, Code::StepState);
    assert!(error.message.contains("went past"), "{error}");
    world.act("approve a/call:2");
    let answers = answers(&mut world);
    assert_eq!((answers[0].as_str(), answers[1].as_str()), ("-", "null"));
    assert!(answers[2].contains("\"approved\":true"), "{answers:?}");
    world.complete("a", "1");
    world.verify();
}

#[test]
fn a_pause_that_the_code_has_gone_past_has_no_timer_and_no_answer() {
    let mut world = started();
    let before = rows(&mut world, TABLES.timers.prefix);
    world.record("a", 0, sleep(5), None).unwrap();
    world.record("a", 1, sleep(1), None).unwrap();
    world.tick(Span::from_secs(2));
    world.record("a", 2, forget(&[0, 1]), None).unwrap();
    assert_eq!(rows(&mut world, TABLES.timers.prefix), before, "its timer is gone");
    world.tick(Span::from_secs(9));
    assert_eq!(answers(&mut world), ["-", "-", "null"]);
    world.complete("a", "1");
    world.verify();
}

#[test]
fn only_waits_before_it_can_be_gone_past_and_the_same_again_changes_nothing() {
    let mut world = started();
    world.record("a", 0, signal("go"), None).unwrap();
    let call = JournalRequest::Call { capability: "y".into(), input: Payload::null(), options: None };
    world.record("a", 1, call, None).unwrap();
    world.record("a", 2, JournalRequest::Run { name: "r".into() }, Some("1")).unwrap();
    for (index, entries) in [(3, [0, 1]), (4, [0, 2]), (5, [0, 5]), (6, [0, 77])] {
        world.record("a", index, forget(&entries), None).unwrap();
    }
    world.record("a", 7, forget(&[0]), None).unwrap();
    world.record("a", 8, forget(&[0]), None).unwrap();
    world.record("a", 8, forget(&[0]), None).unwrap();
    let error = world.record("a", 8, forget(&[1]), None).unwrap_err();
    assert_eq!(error.code, Code::JournalDiverged);
    let wrong = ["C0001"; 4].map(str::to_owned);
    assert_eq!(answers(&mut world)[3..7], wrong);
    assert_eq!(answers(&mut world)[7..], ["null", "null"]);
    world.act("done a/call:1 1");
    world.complete("a", "1");
    world.verify();
}

#[test]
fn code_does_not_park_for_what_it_has_gone_past() {
    let mut world = started();
    world.record("a", 0, signal("go"), None).unwrap();
    world.record("a", 1, forget(&[0]), None).unwrap();
    let error = world.park("a", &[0]).unwrap_err();
    assert_eq!(error.code, Code::JournalDiverged);
    world.record("a", 2, signal("go"), None).unwrap();
    world.park("a", &[2]).unwrap();
    world.act("signal go 7");
    let offered = world.effects.iter().any(|effect| matches!(effect, Effect::Ready(_)));
    assert!(offered && answers(&mut world) == ["-", "null", "7"]);
    world.complete("a", "1");
    world.verify();
}

/// A row as it was written before waits could be closed.
#[derive(minicbor::Encode)]
struct RowOfBefore {
    #[n(0)]
    request: JournalRequest,
    #[n(1)]
    output: Option<Payload>,
    #[n(2)]
    error: Option<consort_types::Error>,
    #[n(3)]
    after: Vec<u32>,
}

#[test]
fn rows_of_before_are_read_and_open() {
    let before = RowOfBefore { request: signal("go"), output: None, error: None, after: vec![1, 2] };
    let bytes = minicbor::to_vec(&before).unwrap();
    let row: TaskEntry = minicbor::decode(&bytes).unwrap();
    assert_eq!(row, TaskEntry::new(signal("go"), vec![1, 2], None));
    assert!(row.is_open());
    assert_eq!(minicbor::to_vec(&row).unwrap(), bytes, "an entry without what is new is written as before");
}
