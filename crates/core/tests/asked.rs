//! What a run is asked while its code runs: exposed values, labels, updates with their answers.
//!
//! For: the entries `expose`, `labels`, `update` and `answer`, and the command that sends an update. Not for: signals
//! (`scenarios`), or what else a fork keeps (`kept_journals`).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use std::collections::BTreeMap;

use consort_core::{
    Command, TABLES,
    command::{DeleteRun, ForkRun, KeptJournal, UpdateRun},
    view::{BesideViews, UpdateState, UpdateView},
};
use consort_types::{
    Code, Payload, Result, RunId, Span, limits,
    worker::{JournalEntry, JournalRequest},
};
use support::{NS, World};

fn payload(json: &str) -> Payload {
    Payload::inline(json.as_bytes())
}

/// Code that an instance has.
fn code() -> World {
    let mut world = World::new();
    world.deploy("workflow: w\nsteps:\n  code: { capability: code }\n");
    world.act("start {}");
    world.act("take code");
    world
}

fn expose(name: &str, value: &str) -> JournalRequest {
    JournalRequest::Expose { name: name.to_owned(), value: payload(value) }
}

fn wait(name: &str) -> JournalRequest {
    JournalRequest::Update { name: name.to_owned(), schema: None }
}

fn answer(update: u32, value: &str) -> JournalRequest {
    JournalRequest::Answer { update, value: Some(payload(value)), rejection: None }
}

fn send(world: &mut World, (name, id): (&str, &str), input: &str) -> Result<()> {
    let (run, name, id) = (world.runs[0], name.to_owned(), id.to_owned());
    let update = UpdateRun { namespace: NS.to_owned(), run, name, id, input: payload(input) };
    world.apply(&Command::UpdateRun(update)).map(drop)
}

fn update(world: &mut World, id: &str) -> UpdateView {
    let run = world.runs[0];
    BesideViews::of(&mut world.machine).update(NS, run, id).unwrap()
}

/// The exposed values of a run, as `name=value`.
fn values(world: &mut World, n: usize) -> Vec<String> {
    let run = world.runs[n];
    let found = BesideViews::of(&mut world.machine).exposed_values(NS, run).unwrap();
    let text = |value: &Payload| String::from_utf8_lossy(value.bytes().unwrap_or(b"a blob")).into_owned();
    found.iter().map(|value| format!("{}={}", value.name, text(&value.value))).collect()
}

/// The entry of the code, with its answer.
fn entry(world: &mut World, index: usize) -> JournalEntry {
    let (task, _) = world.find("code");
    world.machine.offer(task).unwrap().unwrap().journal[index].clone()
}

#[test]
fn a_value_is_that_of_the_last_entry_and_outlives_the_run() {
    let mut world = code();
    world.record("code", 0, expose("stage", "1"), None).unwrap();
    world.record("code", 1, expose("seen", "[]"), None).unwrap();
    world.record("code", 2, expose("stage", "2"), None).unwrap();
    assert_eq!(entry(&mut world, 2).result, Some(Ok(Payload::null())));
    assert_eq!(values(&mut world, 0), ["seen=[]", "stage=2"]);
    // An attempt that replays exposes nothing again, whatever it would expose now.
    world.act("lose code");
    world.act("take code");
    world.record("code", 0, expose("stage", "9"), None).unwrap();
    assert_eq!(values(&mut world, 0), ["seen=[]", "stage=2"]);
    let other = world.record("code", 1, expose("unseen", "9"), None).unwrap_err();
    assert_eq!(other.code, Code::JournalDiverged);
    world.act("done code 7");
    assert_eq!(values(&mut world, 0), ["seen=[]", "stage=2"]);
    assert!(BesideViews::of(&mut world.machine).exposed_values("other", RunId([9; 16])).is_err());
    world.verify();
}

#[test]
fn values_are_bounded_and_large_ones_are_kept_as_blobs() {
    let mut world = code();
    let large = world.put_blob(format!("\"{}\"", "x".repeat(40_000)).as_bytes());
    let of_blob = |value: Payload| JournalRequest::Expose { name: "large".to_owned(), value };
    world.record("code", 0, of_blob(large), None).unwrap();
    world.record("code", 1, expose("large", "1"), None).unwrap();
    let limit = limits::EXPOSED_VALUES_MAX;
    for n in 1..limit {
        world.record("code", n + 1, expose(&format!("v{n}"), "0"), None).unwrap();
    }
    world.record("code", limit + 1, expose("more", "0"), None).unwrap();
    assert_eq!(entry(&mut world, limit as usize + 1).result.unwrap().unwrap_err().code, Code::LimitReached);
    assert_eq!(values(&mut world, 0).len(), limit as usize);
    let long = payload(&format!("\"{}\"", "x".repeat(limits::EXPOSED_VALUE_BYTES_MAX)));
    assert_eq!(world.record("code", limit + 2, of_blob(long), None).unwrap_err().code, Code::PayloadTooLarge);
    world.record("code", limit + 2, expose("a b", "0"), None).unwrap();
    assert_eq!(entry(&mut world, limit as usize + 2).result.unwrap().unwrap_err().code, Code::BadName);
    world.act("done code 7");
    let (namespace, run) = (NS.to_owned(), world.runs[0]);
    world.apply(&Command::DeleteRun(DeleteRun { namespace, run })).unwrap();
    world.tick(Span::from_secs(1));
    assert!(!world.rows().keys().any(|key| TABLES.beside.has(key)), "it goes with the run");
    world.verify();
}

#[test]
fn code_labels_its_run() {
    let mut world = code();
    let labels = |pairs: &[(&str, &str)]| JournalRequest::Labels {
        labels: pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect(),
    };
    world.record("code", 0, labels(&[("stage", "one"), ("team", "red")]), None).unwrap();
    world.record("code", 1, labels(&[("stage", "two")]), None).unwrap();
    for (index, wrong, code) in [
        (2, labels(&[("consort.started", "x")]), Code::BadRequest),
        (3, labels(&[("schedule", "x")]), Code::BadRequest),
        (4, labels(&[("a b", "x")]), Code::BadName),
    ] {
        world.record("code", index, wrong, None).unwrap();
        assert_eq!(entry(&mut world, index as usize).result.unwrap().unwrap_err().code, code);
    }
    let many: BTreeMap<String, String> =
        (0..limits::LABELS_MAX - 1).map(|n| (format!("l{n}"), String::new())).collect();
    world.record("code", 5, JournalRequest::Labels { labels: many }, None).unwrap();
    assert_eq!(entry(&mut world, 5).result.unwrap().unwrap_err().code, Code::LimitReached);
    let run = world.machine.run_view(NS, world.runs[0]).unwrap();
    let found: Vec<_> = run.summary.labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    assert_eq!(found, ["stage=two", "team=red"]);
    world.verify();
}

#[test]
fn an_update_is_answered_once_and_its_answer_stays() {
    let mut world = code();
    world.record("code", 0, wait("move"), None).unwrap();
    send(&mut world, ("move", "u1"), "{\"to\":\"Bonn\"}").unwrap();
    let taken = payload("{\"id\":\"u1\",\"input\":{\"to\":\"Bonn\"}}");
    assert_eq!(entry(&mut world, 0).result, Some(Ok(taken)));
    let sent = update(&mut world, "u1");
    assert_eq!((sent.state, sent.step.as_deref()), (UpdateState::Taken, Some("code")));
    world.record("code", 1, answer(0, "1"), None).unwrap();
    world.record("code", 2, answer(0, "2"), None).unwrap();
    let answered = update(&mut world, "u1");
    assert_eq!((answered.state, answered.value.clone()), (UpdateState::Answered, Some(payload("1"))));
    // The same again is the same update; other content under its id is refused.
    send(&mut world, ("move", "u1"), "{\"to\":\"Bonn\"}").unwrap();
    for (name, input) in [("move", "{\"to\":\"Rom\"}"), ("other", "{\"to\":\"Bonn\"}")] {
        assert_eq!(send(&mut world, (name, "u1"), input).unwrap_err().code, Code::IdempotencyMismatch);
    }
    world.act("done code 7");
    assert_eq!(update(&mut world, "u1"), answered, "the end of the run changes nothing");
    send(&mut world, ("move", "u1"), "{\"to\":\"Bonn\"}").unwrap();
    assert_eq!(send(&mut world, ("move", "u9"), "1").unwrap_err().code, Code::RunEnded);
    world.verify();
}

#[test]
fn an_update_waits_for_code_is_rejected_or_ends_with_what_took_it() {
    let mut world = code();
    for id in ["u1", "u2", "u3"] {
        send(&mut world, ("move", id), "1").unwrap();
    }
    assert_eq!(update(&mut world, "u1").state, UpdateState::Waiting);
    world.record("code", 0, wait("move"), None).unwrap();
    let reject = JournalRequest::Answer { update: 0, value: None, rejection: Some("too late".to_owned()) };
    world.record("code", 1, reject, None).unwrap();
    world.record("code", 2, wait("move"), None).unwrap();
    let rejected = update(&mut world, "u1");
    let error = rejected.error.unwrap();
    assert_eq!(
        (rejected.state, error.code, error.message.as_str()),
        (UpdateState::Rejected, Code::UpdateRejected, "too late")
    );
    for wrong in [answer(7, "1"), answer(1, "1")] {
        let at = 3 + u32::from(wrong == answer(1, "1"));
        world.record("code", at, wrong, None).unwrap();
        assert_eq!(entry(&mut world, at as usize).result.unwrap().unwrap_err().code, Code::BadRequest);
    }
    world.act("fatal code");
    for (id, said) in [("u2", "step `code` had not answered"), ("u3", "no code had taken it")] {
        let left = update(&mut world, id);
        assert_eq!((left.state, left.error.as_ref().unwrap().code), (UpdateState::Unanswered, Code::UpdateUnanswered));
        assert!(left.error.unwrap().message.contains(said), "{id}");
    }
    let run = world.runs[0];
    assert_eq!(BesideViews::of(&mut world.machine).update(NS, run, "u4").unwrap_err().code, Code::UpdateNotFound);
    assert!(!world.rows().keys().any(|key| TABLES.signals.has(key) || TABLES.waiters.has(key)));
    world.verify();
}

#[test]
fn an_update_that_no_code_has_read_goes_to_the_next_that_waits() {
    let mut world = code();
    world.record("code", 0, wait("move"), None).unwrap();
    world.record("code", 1, wait("move"), None).unwrap();
    send(&mut world, ("move", "u1"), "1").unwrap();
    let forget = JournalRequest::Forget { entries: vec![0] };
    world.record("code", 2, forget, None).unwrap();
    assert_eq!(entry(&mut world, 0).result, None);
    assert_eq!(entry(&mut world, 1).result, Some(Ok(payload("{\"id\":\"u1\",\"input\":1}"))));
    // The wait that lost it cannot answer it.
    world.record("code", 3, answer(0, "0"), None).unwrap();
    assert_eq!(update(&mut world, "u1").state, UpdateState::Taken);
    world.record("code", 4, answer(1, "1"), None).unwrap();
    assert_eq!(update(&mut world, "u1").value, Some(payload("1")));
    // A signal of the same name is no update.
    world.record("code", 5, wait("move"), None).unwrap();
    world.act("signal move 5");
    assert_eq!(entry(&mut world, 5).result, None);
    world.verify();
}

#[test]
fn a_schema_of_a_wait_is_known_to_the_sender() {
    let mut world = code();
    let run = world.runs[0];
    let waits = BesideViews::of(&mut world.machine).update_waits(NS, run, "move").unwrap();
    assert!(!waits.expected && waits.others.is_empty());
    let schema = Some(payload("{\"type\":\"integer\"}"));
    let request = JournalRequest::Update { name: "move".to_owned(), schema: schema.clone() };
    world.record("code", 0, request, None).unwrap();
    let waits = BesideViews::of(&mut world.machine).update_waits(NS, run, "move").unwrap();
    assert_eq!((waits.expected, waits.schema), (true, schema));
    assert!(world.machine.signal_waits(NS, run, "move").unwrap().others.is_empty(), "it is no signal");
    world.park("code", &[0]).unwrap();
    let tree = world.machine.run_tree(NS, run).unwrap();
    assert_eq!((tree[0].waits_for[0].kind, tree[0].waits_for[0].name.as_deref()), ("update", Some("move")));
    send(&mut world, ("move", "u1"), "4").unwrap();
    assert_eq!(world.task_state(0, "code"), "queued", "it is woken");
    world.verify();
}

#[test]
fn a_fork_has_what_the_journal_that_it_keeps_exposed() {
    let mut world = World::new();
    world.deploy("workflow: w\nsteps:\n  first: { capability: code }\n  code: { capability: code, needs: first }\n");
    world.act("start {}");
    world.act("take first");
    world.record("first", 0, expose("of", "\"first\""), None).unwrap();
    world.act("done first 1");
    world.act("take code");
    world.record("code", 0, expose("stage", "1"), None).unwrap();
    world.record("code", 1, expose("stage", "2"), None).unwrap();
    world.record("code", 2, wait("move"), None).unwrap();
    send(&mut world, ("move", "u1"), "1").unwrap();
    world.act("fatal code");
    for (entry, kept) in [(1, "stage=1"), (3, "stage=2")] {
        let run = RunId([world.runs.len() as u8 + 100; 16]);
        let (namespace, from, step) = (NS.to_owned(), world.runs[0], Some("code".to_owned()));
        let journal = Some(KeptJournal::Entries(entry));
        world.apply(&Command::ForkRun(ForkRun { run, namespace, from, step, input: None, journal })).unwrap();
        world.runs.push(run);
        let n = world.runs.len() - 1;
        assert_eq!(values(&mut world, n), ["of=\"first\"", kept]);
    }
    // The update belongs to the old run: an answer of the new one goes nowhere.
    world.act("take 3:code");
    world.record("3:code", 3, answer(2, "1"), None).unwrap();
    assert_eq!(update(&mut world, "u1").state, UpdateState::Unanswered);
    world.verify();
}
