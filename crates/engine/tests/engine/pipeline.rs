//! A partition whose log answers late: groups overlap, and nothing is told before it is durable.
//!
//! For: appends in flight, failures and take-overs meanwhile, and what an observer is told. Not for: what a record
//! does.
//! Invariant: every test drives the partition step by step, without threads.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use crate::support::{World, json, parts, start_command};
use consort_engine::{AppendedGroup, AttemptEnd, Config, Locality, Observer, Partition, Parts};
use consort_log::{Log, LogError, MemoryLog, MemoryLogDisk, Record, Records};
use consort_store::MemoryStore;
use consort_types::{Code, EffectClass, Seq, Span, StepInstanceId, Token, WorkerInstance, worker::FromWorker};

const ONE: &str = "workflow: w\nsteps:\n  a: { capability: x }\noutput: ${{ steps.a.output }}\n";
const X: &[(&str, EffectClass)] = &[("x", EffectClass::Write)];

/// A world whose log is far from here on.
fn far() -> World {
    let world = World::with(ONE);
    world.disk.set_far();
    world
}

/// One round of the loop; nothing arrives at the log meanwhile.
fn round(world: &mut World) {
    world.partition.poll(world.now);
    let outputs = world.partition.commit(world.now);
    world.keep(outputs);
}

#[test]
fn groups_overlap_and_each_is_answered_when_it_is_durable() {
    let mut world = far();
    let before = world.applied();
    let tickets: Vec<_> = (1..=3)
        .map(|run| {
            let ticket = world.send(start_command(run, "{}"));
            round(&mut world);
            ticket
        })
        .collect();
    assert_eq!((world.applied(), world.replies.len()), (before, 0), "three groups are on their way");
    assert!(!world.partition.is_settled() && !world.partition.is_due(world.now));
    assert_eq!(world.partition.status(None).commands_waiting, 3);
    for (at, ticket) in tickets.iter().enumerate() {
        assert!(world.disk.arrive());
        assert!(world.partition.is_due(world.now), "a durable group is to be applied");
        round(&mut world);
        assert!(world.replies[ticket].is_ok());
        assert_eq!(world.replies.len(), at + 1, "the others are not durable");
    }
    assert!(world.partition.is_settled());
}

#[test]
fn a_full_pipeline_waits_and_its_timers_do_not_spin() {
    let mut world = far();
    for run in 1..=6 {
        world.send(start_command(run, "{}"));
        round(&mut world);
    }
    assert_eq!(world.partition.status(None).commands_waiting, 6);
    assert!(!world.partition.is_due(world.now), "the log takes no more");
    assert!(world.partition.next_wake().is_none_or(|wake| wake > world.now), "the log wakes, not the clock");
    while world.disk.arrive() {
        round(&mut world);
    }
    assert_eq!(world.replies.values().filter(|reply| reply.is_ok()).count(), 6);
}

#[test]
fn waiting_applies_everything_that_was_submitted() {
    let mut world = far();
    let first = world.send(start_command(1, "{}"));
    round(&mut world);
    let second = world.send(start_command(2, "{}"));
    let outputs = world.partition.commit_and_wait(world.now);
    world.keep(outputs);
    assert!(world.replies[&first].is_ok() && world.replies[&second].is_ok());
}

#[test]
fn a_write_task_is_sent_only_when_its_hand_out_is_durable() {
    let mut world = World::with(ONE);
    let instance = world.join(X, Locality::Remote);
    world.disk.set_far();
    world.send(start_command(1, "{}"));
    round(&mut world);
    world.disk.arrive();
    round(&mut world);
    round(&mut world);
    assert_eq!(world.given(instance), [], "the record of its hand-out is in flight");
    world.disk.arrive();
    round(&mut world);
    let offers = world.given(instance);
    assert_eq!(offers.len(), 1);
    // A report that is in flight is not forgotten when its instance leaves.
    let (task, token) = (offers[0].task, offers[0].token);
    world.partition.report(instance, FromWorker::Complete { task, token, output: json("7") }, world.now);
    round(&mut world);
    world.partition.detach(instance, world.now);
    world.disk.arrive();
    round(&mut world);
    assert_eq!(world.status(task.run), "completed 7");
}

#[test]
fn a_partition_whose_log_was_taken_over_halts_and_answers_what_is_in_flight() {
    let mut world = far();
    let known = world.send(start_command(1, "{}"));
    round(&mut world);
    world.disk.arrive();
    round(&mut world);
    assert!(world.replies[&known].is_ok());
    let lost = world.send(start_command(2, "{}"));
    round(&mut world);
    let new = world.disk.take_over();
    assert!(!world.disk.arrive(), "the group of the earlier epoch is refused");
    round(&mut world);
    let error = world.replies[&lost].as_ref().unwrap_err();
    assert!(error.code == Code::Halted && error.message.contains("taken over"), "{error}");
    assert!(error.hint.as_ref().unwrap().contains("another process"));
    let later = world.send(start_command(3, "{}"));
    round(&mut world);
    assert_eq!(world.replies[&later].as_ref().unwrap_err().code, Code::Halted);
    let held = new.last();
    drop(new);
    assert_eq!(world.applied(), held, "what was acknowledged is there, and nothing else");
}

/// A log that takes a group, and then reports once that its disk was full.
struct FailsOnce {
    log: MemoryLog,
    armed: Arc<AtomicBool>,
    failure: Option<LogError>,
    /// Polls until the failure is reported.
    polls: usize,
}

impl Log for FailsOnce {
    fn append(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        self.log.append(group)
    }

    fn submit(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        if !self.armed.swap(false, Ordering::Relaxed) {
            return self.log.append(group);
        }
        self.polls = 1;
        self.failure = Some(LogError::Io { place: "memory".to_owned(), what: "no space".to_owned() });
        Ok(Seq(self.log.last().0 + group.len() as u64))
    }

    fn poll(&mut self) -> Result<Seq, LogError> {
        if self.polls > 0 {
            self.polls -= 1;
            return Ok(self.log.last());
        }
        self.failure.take().map_or(Ok(self.log.last()), Err)
    }

    fn epoch(&self) -> u64 {
        self.log.epoch()
    }

    fn read(&self, from: Seq) -> Records<'_> {
        self.log.read(from)
    }

    fn first(&self) -> Seq {
        self.log.first()
    }

    fn last(&self) -> Seq {
        self.log.last()
    }

    fn trim(&mut self, before: Seq) -> Result<(), LogError> {
        self.log.trim(before)
    }

    fn bytes_written(&self) -> u64 {
        self.log.bytes_written()
    }
}

#[test]
fn a_failure_that_is_seen_early_is_not_forgotten() {
    let mut world = World::new();
    let (disk, store, armed) = (MemoryLogDisk::new(), MemoryStore::new(), Arc::new(AtomicBool::new(false)));
    let log = Box::new(FailsOnce { log: disk.open().unwrap(), armed: Arc::clone(&armed), failure: None, polls: 0 });
    let parts = Parts { log, store: Arc::new(store.clone()), blobs: Arc::new(store) };
    world.partition = Partition::open(parts, Config::default(), 2, world.now).unwrap();
    world.deploy(ONE);
    armed.store(true, Ordering::Relaxed);
    let refused = world.send(start_command(1, "{}"));
    round(&mut world);
    assert!(!world.replies.contains_key(&refused), "the group is in flight");
    for _ in 0..3 {
        assert!(world.partition.is_due(world.now), "a failure is due until it is taken");
    }
    round(&mut world);
    assert_eq!(world.replies[&refused].as_ref().unwrap_err().code, Code::Disk);
    assert!(world.partition.is_settled());
    world.pass(Span::from_secs(1));
    world.start(2);
    assert_eq!(world.status(consort_types::RunId([2; 16])), "running");
}

/// Counts what it is told.
#[derive(Default)]
struct Told {
    clock: AtomicU64,
    lines: Mutex<BTreeMap<&'static str, usize>>,
    groups: Mutex<Vec<AppendedGroup>>,
}

impl Told {
    fn note(&self, what: &'static str) {
        *self.lines.lock().unwrap().entry(what).or_default() += 1;
    }
}

impl Observer for Told {
    fn now(&self) -> Span {
        Span(self.clock.fetch_add(1, Ordering::Relaxed))
    }

    fn appended(&self, group: &AppendedGroup) {
        self.groups.lock().unwrap().push(*group);
    }

    fn applied(&self, _: Seq, _: usize, took: Span) {
        assert!(took > Span::ZERO);
        self.note("applied");
    }

    fn dispatched(&self, _: StepInstanceId, _: Token, instance: &WorkerInstance) {
        assert_eq!(instance.agent, "a");
        self.note("dispatched");
    }

    fn attempt_ended(&self, _: StepInstanceId, _: Token, end: AttemptEnd) {
        assert_eq!(end, AttemptEnd::Completed);
        self.note("ended");
    }
}

#[test]
fn an_observer_is_told_of_groups_hand_outs_and_ends() {
    let mut world = World::with(ONE);
    let told = Arc::new(Told::default());
    world.partition.set_observer(Arc::clone(&told) as Arc<dyn Observer>);
    let before = world.applied();
    let instance = world.join(X, Locality::Local);
    world.start(1);
    let offer = world.one(instance);
    world.complete(instance, &offer, "1");
    let groups = told.groups.lock().unwrap().clone();
    assert!(groups.iter().all(|group| group.took > Span::ZERO && group.bytes > 0));
    let records: usize = groups.iter().map(|group| group.records).sum();
    assert_eq!(records as u64, world.applied().0 - before.0);
    assert_eq!(groups.last().unwrap().last, world.applied());
    let lines = told.lines.lock().unwrap().clone();
    assert_eq!(lines, BTreeMap::from([("applied", groups.len()), ("dispatched", 1), ("ended", 1)]));
}

#[test]
fn recovery_finds_what_arrived_after_its_process_had_died() {
    let mut world = far();
    world.send(start_command(1, "{}"));
    round(&mut world);
    world.send(start_command(2, "{}"));
    round(&mut world);
    assert!(world.disk.arrive(), "the first group arrives");
    world.disk.crash(false);
    let partition = Partition::open(parts(&world.disk, &world.store), Config::default(), 7, world.now).unwrap();
    world.partition = partition;
    assert_eq!(world.status(consort_types::RunId([1; 16])), "running");
    assert!(!world.disk.arrive(), "the second one arrives when the log has been opened again");
    let third = world.send(start_command(3, "{}"));
    round(&mut world);
    assert!(world.disk.arrive());
    round(&mut world);
    assert!(world.replies[&third].is_ok());
}
