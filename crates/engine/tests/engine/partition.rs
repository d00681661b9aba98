//! A partition step by step: recording, handing out, losing, recovering, halting.
//!
//! For: the shell's part in the laws, without threads. Not for: the rules of runs (core's tests).
//! Invariant: every test is deterministic.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::support::{NS, World, agent, hello, parts, start_command};
use consort_core::{
    Command,
    command::{CancelRun, PauseRun},
};
use consort_engine::{Config, Locality, Partition, Parts, write_rows};
use consort_log::{Log, LogError, MemoryLog, MemoryLogDisk, Record, Records};
use consort_store::{Batch, MemoryStore, Store};
use consort_types::{
    Code, EffectClass, Payload, Seq, Span, Time, limits,
    worker::{FromWorker, JournalEntry, JournalRequest, Live, ToWorker},
};

const ONE: &str = "workflow: w\nsteps:\n  a: { capability: x }\noutput: ${{ steps.a.output }}\n";
const CHAIN: &str = "
workflow: w
steps:
  a: { capability: x }
  b: { capability: x, with: { from: \"${{ steps.a.output }}\" } }
  c: { capability: x, with: { from: \"${{ steps.b.output }}\" } }
output: ${{ steps.c.output }}
";
const X: &[(&str, EffectClass)] = &[("x", EffectClass::Idempotent)];
const WRITES: &[(&str, EffectClass)] = &[("x", EffectClass::Write)];

#[test]
fn a_chain_costs_one_record_a_step_where_completions_are_quick() {
    let mut world = World::with(CHAIN);
    let instance = world.join(X, Locality::Local);
    let run = world.start(1);
    let before = world.records();
    for output in ["1", "2", "3"] {
        let offer = world.one(instance);
        world.complete(instance, &offer, output);
    }
    assert_eq!(world.status(run), "completed 3");
    assert_eq!(world.records() - before, 3, "each completion carries its hand-out along");
    world.pass(Span::from_secs(9));
    assert_eq!(world.records() - before, 3, "a merged hand-out is not recorded again");
}

#[test]
fn a_hand_out_is_recorded_by_itself_after_a_while() {
    let mut world = World::with(ONE);
    let instance = world.join(X, Locality::Local);
    world.start(1);
    let offer = world.one(instance);
    let before = world.records();
    assert_eq!(world.partition.next_wake(), Some(world.now.after(Span::from_millis(50))));
    world.pass(Span::from_millis(49));
    assert_eq!(world.records(), before);
    world.pass(Span::from_millis(1));
    assert_eq!(world.records(), before + 1);
    world.complete(instance, &offer, "1");
    assert_eq!(world.records(), before + 2);
    assert_eq!(world.partition.next_wake(), None);
}

#[test]
fn a_hand_out_rides_on_the_next_group_once_it_is_older_than_a_quick_completion() {
    let mut world = World::with(ONE);
    world.join(X, Locality::Local);
    world.start(1);
    world.start(2);
    let before = world.partition.status(None);
    world.pass(Span::from_millis(41));
    let command = start_command(3, "{}");
    world.ask(command).unwrap();
    let after = world.partition.status(None);
    assert_eq!((after.records - before.records, after.groups - before.groups), (3, 1), "two hand-outs, one start");
}

#[test]
fn the_second_report_of_an_attempt_changes_nothing() {
    let mut world = World::with(ONE);
    let instance = world.join(X, Locality::Local);
    let run = world.start(1);
    let offer = world.one(instance);
    world.complete(instance, &offer, "1");
    world.complete(instance, &offer, "2");
    assert_eq!(world.status(run), "completed 1");
    assert_eq!(world.told(instance), vec![], "the second report gets the first answer, which is silence");
}

#[test]
fn a_write_task_is_sent_only_after_its_hand_out_is_durable() {
    let mut world = World::with(ONE);
    let instance = world.join(WRITES, Locality::Local);
    let command = start_command(1, "{}");
    world.send(command);
    let outputs = world.partition.commit(world.now);
    assert!(outputs.to_workers.is_empty(), "{outputs:?}");
    assert!(world.partition.is_due(world.now));
    let recorded = world.records();
    let outputs = world.partition.commit(world.now);
    assert_eq!(world.records(), recorded + 1);
    world.keep(outputs);
    let offer = world.one(instance);
    world.crash(0);
    assert_eq!(
        world.partition.machine().unwrap().tasks().inbox(NS, None, 9).unwrap().items.len(),
        1,
        "its outcome is unknown"
    );
    assert_eq!(offer.attempt, 1);
}

#[test]
fn a_write_task_is_not_sent_when_the_append_of_its_hand_out_fails() {
    let mut world = World::with(ONE);
    let instance = world.join(WRITES, Locality::Local);
    world.disk.fail_append(2);
    let command = start_command(1, "{}");
    world.send(command);
    world.step();
    assert_eq!(world.given(instance), vec![]);
    assert!(world.partition.halted().is_some());
    world.crash(0);
    let items = world.partition.machine().unwrap().tasks().inbox(NS, None, 9).unwrap().items;
    assert_eq!(items, vec![], "it was never sent, so nothing is unknown");
}

#[test]
fn a_write_task_that_was_never_sent_is_not_unknown() {
    let mut world = World::with(ONE);
    let first = world.join(WRITES, Locality::Local);
    world.send(start_command(1, "{}"));
    let outputs = world.partition.commit(world.now);
    world.keep(outputs);
    world.partition.detach(first, world.now);
    world.step();
    assert!(world.partition.machine().unwrap().tasks().inbox(NS, None, 9).unwrap().items.is_empty());
    let second = world.join(WRITES, Locality::Local);
    assert_eq!(world.one(second).attempt, 1);
}

#[test]
fn a_lost_instance_is_fenced_off_after_the_grace() {
    let mut world = World::with(ONE);
    let first = world.join(X, Locality::Remote);
    let run = world.start(1);
    let old = world.one(first);
    world.partition.detach(first, world.now);
    let second = world.join(X, Locality::Remote);
    world.pass(Span::from_millis(9_999));
    assert_eq!(world.given(second), vec![], "the grace is not over");
    world.pass(Span::from_millis(1));
    let new = world.one(second);
    assert!(new.token > old.token && new.attempt == 2, "{new:?}");
    world.complete(second, &old, "1");
    let told = world.told(second);
    let fenced = matches!(&told[..], [ToWorker::Refused { error, .. }] if error.code == Code::Fenced);
    assert!(fenced, "{told:?}");
    world.complete(second, &new, "2");
    assert_eq!(world.status(run), "completed 2");
}

#[test]
fn a_local_instance_that_leaves_is_dead_at_once() {
    let mut world = World::with(ONE);
    let first = world.join(X, Locality::Local);
    world.start(1);
    world.one(first);
    world.partition.detach(first, world.now);
    let second = world.join(X, Locality::Local);
    assert_eq!(world.one(second).attempt, 2);
}

#[test]
fn a_silent_remote_instance_is_dropped() {
    let mut world = World::with(ONE);
    let first = world.join(X, Locality::Remote);
    world.start(1);
    let offer = world.one(first);
    world.pass(Span::from_secs(29));
    let beat = FromWorker::Heartbeat { task: offer.task, token: offer.token, progress: None };
    world.partition.report(first, beat, world.now);
    world.pass(Span::from_secs(29));
    assert!(world.dropped.is_empty());
    let wake = world.partition.next_wake().unwrap();
    world.pass(wake.since(world.now));
    assert_eq!(world.dropped, vec![first]);
    let second = world.join(X, Locality::Remote);
    assert_eq!(world.one(second).attempt, 2);
}

#[test]
fn a_reconnecting_instance_keeps_what_it_holds() {
    let mut world = World::with(ONE);
    let first = world.join(X, Locality::Remote);
    let run = world.start(1);
    let offer = world.one(first);
    world.pass(Span::from_millis(60));
    world.partition.detach(first, world.now);
    world.pass(Span::from_secs(5));
    let second = world.attach(&hello(agent("a", X), 1, vec![(offer.task, offer.token)]), Locality::Remote);
    world.pass(Span::from_secs(20));
    assert_eq!(world.told(second), vec![]);
    world.complete(second, &offer, "1");
    assert_eq!(world.status(run), "completed 1");
    let third = world.attach(&hello(agent("a", X), 1, vec![(offer.task, offer.token)]), Locality::Remote);
    let told = world.told(third);
    assert!(matches!(&told[..], [ToWorker::Cancel { .. }]), "what is over cannot be claimed: {told:?}");
}

#[test]
fn a_claim_that_comes_before_the_old_connection_is_gone_moves_the_task() {
    let mut world = World::with(ONE);
    let first = world.join(X, Locality::Remote);
    let run = world.start(1);
    let offer = world.one(first);
    let second = world.attach(&hello(agent("a", X), 1, vec![(offer.task, offer.token)]), Locality::Remote);
    assert!(matches!(&world.told(first)[..], [ToWorker::Cancel { .. }]));
    world.partition.detach(first, world.now);
    world.pass(Span::from_secs(20));
    world.complete(second, &offer, "1");
    assert_eq!(world.status(run), "completed 1");
}

#[test]
fn after_a_restart_local_instances_are_dead_and_remote_ones_have_their_grace() {
    for (locality, grace) in [(Locality::Local, Span::ZERO), (Locality::Remote, Span::from_secs(10))] {
        let mut world = World::with(ONE);
        let instance = world.join(X, locality);
        let run = world.start(1);
        let offer = world.one(instance);
        world.pass(Span::from_millis(60));
        world.crash(0);
        let claimed = hello(agent("a", X), 1, vec![(offer.task, offer.token)]);
        if locality == Locality::Remote {
            let back = world.attach(&claimed, locality);
            world.pass(grace);
            assert_eq!(world.told(back), vec![]);
            world.complete(back, &offer, "1");
            assert_eq!(world.status(run), "completed 1");
        } else {
            let next = world.attach(&hello(agent("a", X), 1, Vec::new()), locality);
            assert_eq!(world.one(next).attempt, 2);
        }
    }
}

#[test]
fn after_a_restart_the_fence_moves_when_nobody_comes_back() {
    let mut world = World::with(ONE);
    let instance = world.join(X, Locality::Remote);
    world.start(1);
    world.one(instance);
    world.pass(Span::from_millis(60));
    world.crash(0);
    let next = world.attach(&hello(agent("a", X), 1, Vec::new()), Locality::Remote);
    assert_eq!(world.given(next), vec![]);
    world.pass(Span::from_secs(10));
    assert_eq!(world.one(next).attempt, 2);
}

#[test]
fn an_unrecorded_hand_out_is_made_again_after_a_restart() {
    let mut world = World::with(ONE);
    let first = world.join(X, Locality::Local);
    world.start(1);
    let before = world.one(first);
    world.crash(0);
    let second = world.attach(&hello(agent("a", X), 1, Vec::new()), Locality::Local);
    let after = world.one(second);
    assert_eq!((after.task, after.token, after.attempt), (before.task, before.token, 1));
}

#[test]
fn a_back_off_is_waited_for_and_not_longer() {
    let mut world = World::with(
        "workflow: w\nsteps:\n  a: { capability: x, retry: { attempts: 2, backoff: { initial: 4s, factor: 1, max: 4s } } }\n",
    );
    let instance = world.join(X, Locality::Local);
    let run = world.start(1);
    let offer = world.one(instance);
    world.fail(instance, &offer);
    assert_eq!(world.given(instance), vec![]);
    let wake = world.partition.next_wake().unwrap();
    let wait = wake.since(world.now);
    assert!(wait >= Span::from_secs(3) && wait <= Span::from_secs(5), "four seconds, spread by a quarter: {wait}");
    world.pass(Span(wait.0 - 1));
    assert_eq!(world.given(instance), vec![], "no timer fires early (law 6)");
    world.pass(Span(1));
    let offer = world.one(instance);
    assert_eq!(offer.attempt, 2);
    world.fail(instance, &offer);
    assert_eq!(world.status(run), "failed");
}

#[test]
fn a_paused_run_waits_also_over_a_restart() {
    let mut world = World::with(ONE);
    let run = world.start(1);
    let pause = |paused| Command::PauseRun(PauseRun { namespace: NS.into(), run, paused });
    world.ask(pause(true)).unwrap();
    let instance = world.join(X, Locality::Local);
    assert_eq!(world.given(instance), vec![]);
    world.crash(0);
    let instance = world.attach(&hello(agent("a", X), 1, Vec::new()), Locality::Local);
    assert_eq!(world.given(instance), vec![]);
    world.ask(pause(false)).unwrap();
    let offer = world.one(instance);
    world.complete(instance, &offer, "1");
    assert_eq!(world.status(run), "completed 1");
}

#[test]
fn cancelling_stops_whoever_works() {
    let mut world = World::with(ONE);
    let instance = world.join(X, Locality::Local);
    let run = world.start(1);
    let offer = world.one(instance);
    let cancel = CancelRun { namespace: NS.into(), run, reason: "enough".into(), force: false };
    world.ask(Command::CancelRun(cancel)).unwrap();
    let told = world.told(instance);
    let stopped =
        matches!(&told[..], [ToWorker::Cancel { task, token, .. }] if (*task, *token) == (offer.task, offer.token));
    assert!(stopped, "{told:?}");
    assert_eq!((world.status(run).as_str(), world.partition.held()), ("cancelled", 0));
}

#[test]
fn a_task_records_parks_and_comes_back_with_its_journal() {
    let mut world = World::with(ONE);
    let instance = world.join(X, Locality::Local);
    let run = world.start(1);
    let offer = world.one(instance);
    let entry =
        JournalEntry { title: None, request: JournalRequest::Sleep { span: Span::from_secs(3) }, ..entry_template() };
    let (task, token) = (offer.task, offer.token);
    world.partition.report(instance, FromWorker::Record { task, token, index: 0, entry }, world.now);
    world.step();
    assert!(matches!(&world.told(instance)[..], [ToWorker::Recorded { index: 0, .. }]));
    world.partition.report(instance, FromWorker::Park { task, token, waiting: vec![0] }, world.now);
    world.step();
    assert_eq!((world.told(instance), world.partition.held()), (vec![], 0));
    world.pass(Span::from_secs(3));
    let back = world.one(instance);
    assert!(back.token > token && back.journal.len() == 1 && back.journal[0].result.is_some(), "{back:?}");
    world.complete(instance, &back, "1");
    assert_eq!(world.status(run), "completed 1");
}

fn entry_template() -> JournalEntry {
    JournalEntry { title: None, request: JournalRequest::Run { name: "r".into() }, result: None, after: Vec::new() }
}

#[test]
fn progress_is_shown_with_its_step() {
    let mut world = World::with(ONE);
    let instance = world.join(X, Locality::Local);
    world.start(1);
    let offer = world.one(instance);
    let progress = Some("half way".to_owned());
    let beat = FromWorker::Heartbeat { task: offer.task, token: offer.token, progress };
    world.partition.report(instance, beat, world.now);
    let shown = world.partition.outputs().progress;
    assert_eq!((shown[0].step.as_str(), shown[0].attempt), ("a", 1));
    assert_eq!(shown[0].live, Live::Message { message: "half way".into() });
    assert!(!world.partition.is_due(world.now), "progress is not recorded");
}

#[test]
fn draining_hands_nothing_out_and_lets_work_end() {
    let mut world = World::with(CHAIN);
    let instance = world.join(X, Locality::Local);
    world.start(1);
    let offer = world.one(instance);
    world.partition.drain();
    world.step();
    assert_eq!(world.told(instance), vec![ToWorker::Drain]);
    world.complete(instance, &offer, "1");
    assert_eq!((world.told(instance), world.partition.held()), (vec![], 0));
}

#[test]
fn a_group_has_its_limits_and_the_rest_follows() {
    let mut world = World::with(ONE);
    let before = world.partition.status(None);
    for _ in 0..=limits::GROUP_RECORDS_MAX {
        let command = start_command(1, "{}");
        world.send(command);
    }
    world.step();
    let after = world.partition.status(None);
    assert_eq!(after.groups - before.groups, 2);
    assert_eq!(world.replies.len(), limits::GROUP_RECORDS_MAX + 1);
    assert_eq!(world.replies.values().filter(|reply| reply.is_ok()).count(), 1, "the id is taken after the first");
    let large = "x".repeat(3 * 1024 * 1024);
    for run in 2..6 {
        let command = start_command(run, &format!("{{\"x\":\"{large}\"}}"));
        world.send(command);
    }
    world.step();
    assert_eq!(world.partition.status(None).groups - after.groups, 2, "8 MiB hold two of these");
}

#[test]
fn a_command_over_the_limit_of_a_record_is_refused() {
    let mut world = World::with(ONE);
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(limits::RECORD_BYTES_MAX));
    let command = start_command(1, &large);
    let before = world.records();
    let refused = world.ask(command).unwrap_err();
    assert!(refused.code == Code::LimitReached && refused.message.contains("4194304"), "{refused}");
    assert_eq!(world.records(), before);
}

/// A script with a bit of everything; `crash` is called between its parts.
fn script(mut crash: impl FnMut(&mut World, usize)) -> World {
    let mut world = World::with(
        "
workflow: w
steps:
  a: { capability: x, retry: { attempts: 3, backoff: { initial: 1s, factor: 2, max: 9s } } }
  many:
    for_each: ${{ [1, 2, 3, 4] }}
    capability: y
    with: { n: \"${{ item }}\", a: \"${{ steps.a.output }}\" }
  nap: { wait: 30s, needs: [a] }
",
    );
    let both = &[("x", EffectClass::Idempotent), ("y", EffectClass::Write)];
    for part in 0..12 {
        crash(&mut world, part);
        let instance = world.join(both, Locality::Local);
        if part < 4 {
            world.start(part as u8 + 1);
        }
        for (n, offer) in world.given(instance).into_iter().enumerate() {
            match (n + part) % 3 {
                0 => world.fail(instance, &offer),
                _ => world.complete(instance, &offer, &format!("\"{part}/{n}\"")),
            }
        }
        if part % 2 == 0 {
            world.flush();
        }
        world.pass(Span::from_secs(7));
        world.partition.detach(instance, world.now);
        world.step();
        world.inbox.clear();
    }
    world
}

#[test]
fn a_crash_loses_nothing_and_the_fold_is_the_same() {
    let mut world = script(|world, part| {
        // The store falls back behind what was written since its last sync, more or less far.
        match part {
            3 | 7 => drop(world.store.sync().unwrap()),
            5 => world.crash(0),
            8 => world.crash(1),
            _ => {}
        }
    });
    let (applied, log) = (world.applied(), world.disk.clone());
    world.flush();
    let rows = world.rows();
    assert!(rows.len() > 20 && applied > Seq(50), "the script does something: {} rows, {applied}", rows.len());
    // Once more, from the first record, with rows written back at every other chance than before.
    log.crash(false);
    for flush_rows in [1, 37, 1_000_000] {
        let store = MemoryStore::new();
        let config = Config { flush_rows, ..Config::default() };
        let partition = Partition::open(parts(&log, &store), config, 99, world.now).unwrap();
        assert_eq!(partition.applied(), applied);
        assert_eq!(store.scan(&[0], &[0xff; 64], usize::MAX).unwrap(), rows, "replay gives the same bytes (law 4)");
        drop(partition);
    }
}

#[test]
fn the_same_script_gives_the_same_bytes() {
    let rows = || {
        let mut world = script(|_, _| {});
        world.flush();
        world.rows()
    };
    assert_eq!(rows(), rows());
}

#[test]
fn a_failed_append_halts_and_acknowledges_nothing() {
    let mut world = World::with(ONE);
    let acknowledged = world.start(1);
    world.disk.fail_append(1);
    let second = start_command(2, "{}");
    let third = start_command(3, "{}");
    let (second, third) = (world.send(second), world.send(third));
    world.step();
    for ticket in [second, third] {
        assert_eq!(world.replies[&ticket].as_ref().unwrap_err().code, Code::Halted);
    }
    let later = start_command(4, "{}");
    let error = world.ask(later).unwrap_err();
    assert!(error.code == Code::Halted && error.message.contains("planned failure"), "{error}");
    assert!(world.partition.attach(&hello(agent("a", X), 1, Vec::new()), Locality::Local, world.now).is_err());
    assert_eq!((world.partition.next_wake(), world.partition.is_due(world.now)), (None, false));
    assert_eq!(world.status(acknowledged), "running", "what was applied can still be looked at");
    world.crash(0);
    assert_eq!(world.status(acknowledged), "running");
}

#[test]
fn a_damaged_record_stops_recovery_with_its_place() {
    let mut world = World::with(ONE);
    world.start(1);
    world.disk.damage(Seq(2));
    world.disk.crash(false);
    world.store.crash(0);
    let error = Partition::open(parts(&world.disk, &world.store), Config::default(), 9, world.now).err().unwrap();
    assert_eq!(error.code, Code::Damaged);
}

/// A log whose disk is full for a while.
struct Full(MemoryLog, Arc<AtomicBool>);

impl Log for Full {
    fn append(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        if self.1.load(Ordering::Relaxed) {
            return Err(LogError::Io { place: "memory".into(), what: "no space".into() });
        }
        self.0.append(group)
    }

    fn epoch(&self) -> u64 {
        self.0.epoch()
    }

    fn read(&self, from: Seq) -> Records<'_> {
        self.0.read(from)
    }

    fn first(&self) -> Seq {
        self.0.first()
    }

    fn last(&self) -> Seq {
        self.0.last()
    }

    fn trim(&mut self, before: Seq) -> Result<(), LogError> {
        self.0.trim(before)
    }

    fn bytes_written(&self) -> u64 {
        self.0.bytes_written()
    }
}

#[test]
fn a_full_disk_refuses_clients_and_keeps_reports() {
    let mut world = World::with(ONE);
    let (disk, store, full) = (MemoryLogDisk::new(), MemoryStore::new(), Arc::new(AtomicBool::new(false)));
    let log = Box::new(Full(disk.open().unwrap(), Arc::clone(&full)));
    let parts = Parts { log, store: Arc::new(store.clone()), blobs: Arc::new(store) };
    world.partition = Partition::open(parts, Config::default(), 2, world.now).unwrap();
    world.deploy(ONE);
    let instance = world.join(X, Locality::Local);
    let run = world.start(1);
    let offer = world.one(instance);
    full.store(true, Ordering::Relaxed);
    world.complete(instance, &offer, "1");
    let second = start_command(2, "{}");
    let ticket = world.send(second);
    world.step();
    assert!(!world.replies.contains_key(&ticket), "the disk is not asked again at once");
    world.pass(Span::from_secs(1));
    assert_eq!(world.replies[&ticket].as_ref().unwrap_err().code, Code::Disk);
    assert_eq!(world.status(run), "running");
    full.store(false, Ordering::Relaxed);
    world.pass(Span::from_secs(1));
    assert_eq!(world.status(run), "completed 1");
}

#[test]
fn a_store_and_a_log_that_do_not_fit_are_refused() {
    let mut world = World::with(ONE);
    for run in 1..60 {
        world.start(run);
    }
    world.flush();
    world.store.sync().unwrap();
    let last = world.applied();
    let config = Config { trim_margin: 0, ..Config::default() };
    world.disk.crash(false);
    let mut partition = Partition::open(parts(&world.disk, &world.store), config, 5, world.now).unwrap();
    partition.trim(last);
    drop(partition);
    let old = MemoryStore::new();
    let error = Partition::open(parts(&world.disk, &old), Config::default(), 6, world.now).err().unwrap();
    assert!(error.code == Code::Damaged && error.hint.unwrap().contains("older than the log"));
    let new = MemoryStore::new();
    new.write(Batch::new(Seq(9))).unwrap();
    let error = Partition::open(parts(&MemoryLogDisk::new(), &new), Config::default(), 7, world.now).err().unwrap();
    assert!(error.code == Code::Damaged && error.hint.unwrap().contains("older than the store"));
    assert!(Partition::open(parts(&world.disk, &world.store), Config::default(), 8, world.now).is_ok());
}

#[test]
fn log_time_never_goes_back() {
    let mut world = World::with(ONE);
    world.start(1);
    let later = world.partition.status(None).now;
    world.now = Time(5);
    world.start(2);
    assert_eq!(world.partition.status(None).now, later);
    world.crash(0);
    world.start(3);
    assert_eq!(world.partition.status(None).now, later);
}

#[test]
fn unused_blobs_are_named_with_the_record_that_left_them() {
    let mut world = World::with("workflow: w\nsteps:\n  a: { capability: x }\noutput: 1\n");
    let instance = world.join(X, Locality::Local);
    let run = world.start(1);
    let offer = world.one(instance);
    let bytes = format!("\"{}\"", "y".repeat(40_000)).into_bytes();
    let hash = consort_types::BlobHash::of(&bytes);
    consort_store::Blobs::put_blob(&world.store, hash, &bytes).unwrap();
    let output = Payload::Blob { hash, len: bytes.len() as u64 };
    let report = FromWorker::Complete { task: offer.task, token: offer.token, output };
    world.partition.report(instance, report, world.now);
    world.step();
    assert_eq!(world.status(run), "completed 1");
    assert!(world.partition.machine().unwrap().blob_used(&hash).unwrap());
    let delete = consort_core::command::DeleteRun { namespace: NS.into(), run };
    world.send(Command::DeleteRun(delete));
    let mut unused = Vec::new();
    for _ in 0..5 {
        world.partition.poll(world.now);
        unused.extend(world.partition.commit(world.now).unused);
    }
    assert_eq!(unused.iter().map(|(_, hash)| *hash).collect::<Vec<_>>(), vec![hash]);
    assert!(!world.partition.machine().unwrap().blob_used(&hash).unwrap());
}

#[test]
fn rows_are_taken_once_and_written_in_order() {
    let mut world = World::with(ONE);
    world.start(1);
    let first = world.partition.take().unwrap();
    assert!(world.partition.take().is_none(), "nothing has changed since");
    world.start(2);
    let second = world.partition.take().unwrap();
    assert!(second.applied > first.applied && second.generation > first.generation);
    let generation = second.generation;
    write_rows(&world.store, &world.store, first).unwrap();
    write_rows(&world.store, &world.store, second).unwrap();
    world.partition.written(generation);
    assert_eq!(world.store.applied().unwrap(), world.applied());
}

#[test]
fn an_instance_that_wants_to_leave_gets_no_more() {
    let mut world = World::with(CHAIN);
    let instance = world.join(X, Locality::Local);
    world.start(1);
    let offer = world.one(instance);
    world.partition.report(instance, FromWorker::Leaving, world.now);
    world.step();
    assert_eq!(world.told(instance), vec![ToWorker::Drain]);
    world.complete(instance, &offer, "1");
    assert_eq!((world.told(instance), world.partition.held()), (vec![], 0));
    let other = world.join(X, Locality::Local);
    assert_eq!(world.given(other).len(), 1);
}

#[test]
fn a_broken_law_halts_and_its_state_is_not_shown() {
    let mut world = World::with(ONE);
    world.start(1);
    world.flush();
    world.start(2);
    world.partition.halt_broken(consort_types::Error::new(Code::Internal, "a law is broken: tasks are conserved"));
    let later = start_command(3, "{}");
    assert_eq!(world.ask(later).unwrap_err().code, Code::Halted);
    assert_eq!(world.partition.machine().err().unwrap().code, Code::Halted);
    assert!(world.partition.take().is_none(), "rows of a broken state are not written");
    world.crash(1);
    assert_eq!(world.status(consort_types::RunId([2; 16])), "running");
}
