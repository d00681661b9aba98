//! What runs that are made of others keep of the journals of code.
//!
//! For: `runs retry` and `runs fork` of steps whose code has recorded entries. Not for: which steps run again
//! (`scenarios`), or the idempotency keys (`tasks`).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command,
    command::{ForkRun, KeptJournal},
};
use consort_types::{Code, Payload, Result, RunId, worker::JournalRequest};
use support::{NS, World};

/// Code that has a reference, waits for an order, and then failed.
fn failed() -> World {
    let mut world = World::new();
    world.deploy("workflow: w\nsteps:\n  code: { capability: code }\n  tell: { capability: tell, needs: code }\n");
    world.act("start {}");
    world.act("take code");
    world.record("code", 0, JournalRequest::Run { name: "reference".into() }, Some("\"r-1\"")).unwrap();
    let call = JournalRequest::Call { capability: "price".into(), input: Payload::inline(&b"5"[..]), options: None };
    world.record("code", 1, call.clone(), None).unwrap();
    world.act("done code/call:1 7");
    world.record("code", 2, call, None).unwrap();
    world.act("fatal code/call:2");
    world.act("fatal code");
    world
}

fn fork(world: &mut World, step: Option<&str>, journal: Option<KeptJournal>) -> Result<RunId> {
    let run = RunId([world.runs.len() as u8 + 100; 16]);
    let (namespace, from, step) = (NS.to_owned(), world.runs[0], step.map(str::to_owned));
    world.apply(&Command::ForkRun(ForkRun { run, namespace, from, step, input: None, journal }))?;
    world.runs.push(run);
    Ok(run)
}

/// What the new attempt of the code is given, entry by entry.
fn journal(world: &mut World) -> Vec<String> {
    let n = world.runs.len();
    let (task, _) = world.find(&format!("{n}:code"));
    let offer = world.machine.offer(task).unwrap().expect("it is offered");
    let text = |payload: &Payload| String::from_utf8_lossy(payload.bytes().unwrap_or_default()).into_owned();
    offer
        .journal
        .iter()
        .map(|entry| entry.result.as_ref().unwrap().as_ref().map_or_else(|error| error.message.clone(), text))
        .collect()
}

#[test]
fn a_retry_continues_behind_what_was_done_before_the_failure() {
    let mut world = failed();
    fork(&mut world, None, Some(KeptJournal::BeforeFailure)).unwrap();
    assert_eq!(journal(&mut world), ["\"r-1\"", "7"]);
    world.act("take 2:code");
    let again = JournalRequest::Call { capability: "price".into(), input: Payload::inline(&b"5"[..]), options: None };
    world.record("2:code", 2, again, None).unwrap();
    world.act("done 2:code/call:2 8");
    world.act("done 2:code 15");
    world.act("done 2:tell");
    world.verify();
}

#[test]
fn an_entry_that_is_named_is_where_the_code_continues() {
    for (entry, kept) in [(0, vec![]), (1, vec!["\"r-1\""]), (9, vec!["\"r-1\"", "7", "code/call:2 broke"])] {
        let mut world = failed();
        fork(&mut world, Some("code"), Some(KeptJournal::Entries(entry))).unwrap();
        assert_eq!(journal(&mut world), kept, "from entry {entry}");
        world.verify();
    }
}

#[test]
fn code_that_is_to_be_done_again_or_was_completed_begins_anew() {
    let mut world = failed();
    fork(&mut world, None, None).unwrap();
    assert_eq!(journal(&mut world), [""; 0], "as in logs of before");

    let mut world = World::new();
    world.deploy("workflow: w\nsteps:\n  code: { capability: code }\n");
    world.act("start {}");
    world.act("take code");
    world.record("code", 0, JournalRequest::Run { name: "reference".into() }, Some("1")).unwrap();
    world.act("done code 1");
    fork(&mut world, Some("code"), Some(KeptJournal::BeforeFailure)).unwrap();
    assert_eq!(journal(&mut world), [""; 0]);
    let refused = fork(&mut world, None, Some(KeptJournal::Entries(1))).unwrap_err();
    assert_eq!(refused.code, Code::BadRequest);
    world.verify();
}
