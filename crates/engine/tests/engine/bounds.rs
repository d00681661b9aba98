//! What is too long, and records that cannot be applied.
//!
//! For: that no text of a peer stops a partition or makes its folder unopenable, and the one way past a record that
//! does. Not for: every limit (see the fuzz target `texts`).
//! Invariant: every partition of these tests opens again, and appends further records.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::support::{NS, World, agent, hello, json, parts, start_command};
use consort_core::{
    Command,
    command::{SetRetention, StartRun},
};
use consort_engine::{Config, Decision, Handle, Locality, Partition, Parts, RefuseRecord, StartRequest, refuse_record};
use consort_log::{Log, MemoryLogDisk, Record};
use consort_store::{Batch, MemoryStore, Row, Snapshot, Store, StoreError};
use consort_types::{
    Code, EffectClass, Error, Payload, Result, RunId, Seq, Time, limits,
    worker::{FromWorker, JournalEntry, JournalRequest, TaskOffer, ToWorker},
};

const ONE: &str = "workflow: w\nsteps:\n  a: { capability: x }\noutput: ${{ steps.a.output }}\n";
const X: &[(&str, EffectClass)] = &[("x", EffectClass::Idempotent)];
const LONG: [usize; 3] = [65_536, 70_000, 1 << 20];

fn signal(offer: &TaskOffer, name: String) -> FromWorker {
    let entry = JournalEntry {
        title: None,
        request: JournalRequest::Signal { name, schema: None },
        after: Vec::new(),
        result: None,
    };
    FromWorker::Record { task: offer.task, token: offer.token, index: 0, entry }
}

fn text(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[tokio::test]
async fn a_worker_that_waits_for_a_signal_with_a_long_name_stops_nobody() {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
    handle.deploy(NS, ONE).await.unwrap();
    let mut session = handle.attach(hello(agent("a", X), 1, Vec::new()), Locality::Local).await.unwrap();
    let request = StartRequest { namespace: NS.into(), workflow: "w".into(), ..StartRequest::default() };
    let run = handle.start(StartRequest { input: Some(json("{}")), ..request }).await.unwrap().run;
    let messages = session.receive().await.unwrap();
    let [ToWorker::Task(offer)] = &messages[..] else { panic!("{messages:?}") };
    let before = handle.status().await.unwrap().log_last;
    for bytes in LONG {
        let error = session.sender().send(signal(offer, text(bytes))).await.unwrap_err();
        assert!(error.code == Code::BadName && error.message.contains(&bytes.to_string()), "{error}");
    }
    let report = FromWorker::Complete { task: offer.task, token: offer.token, output: json("7") };
    session.sender().send(report).await.unwrap();
    assert_eq!(handle.wait_end(NS, run).await.unwrap().output, Some(json("7")));
    let status = handle.status().await.unwrap();
    assert!(status.halted.is_none() && status.log_last.0 <= before.0 + 2, "nothing of it was logged: {status:?}");
    handle.stop_now().await;
    disk.crash(false);
    store.crash(0);
    let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
    assert_eq!(handle.run(NS, run).await.unwrap().output, Some(json("7")));
}

#[test]
fn a_partition_refuses_reports_that_are_too_long_whoever_hands_them_over() {
    let mut world = World::with(ONE);
    let instance = world.join(X, Locality::Remote);
    world.start(1);
    let offer = world.one(instance);
    // What goes along with the first record of the attempt is of its hand-out.
    world.pass(consort_types::Span::from_secs(1));
    let before = world.records();
    let (task, token) = (offer.task, offer.token);
    let long = || Error::new(Code::AgentFailed, text(70_000));
    let failed = JournalEntry {
        title: None,
        request: JournalRequest::Run { name: "r".into() },
        after: Vec::new(),
        result: Some(Err(long())),
    };
    let crowded = JournalEntry { after: vec![0; 10_001], result: Some(Ok(Payload::null())), ..failed.clone() };
    let reports = [
        signal(&offer, text(70_000)),
        FromWorker::Record { task, token, index: 0, entry: failed },
        FromWorker::Record { task, token, index: 0, entry: crowded },
        FromWorker::Fail { task, token, error: long(), retryable: true, retry_after: None },
        FromWorker::Park { task, token, waiting: vec![0; 10_001] },
    ];
    for report in reports {
        world.partition.report(instance, report, world.now);
        world.step();
        let told = world.told(instance);
        let [ToWorker::Refused { error, .. }] = &told[..] else { panic!("{told:?}") };
        assert!(matches!(error.code, Code::BadName | Code::LimitReached), "{error}");
    }
    assert_eq!(world.records(), before);
    world.complete(instance, &offer, "1");
    assert_eq!(world.status(RunId([1; 16])), "completed 1");
}

#[tokio::test]
async fn long_names_are_refused_at_every_door_and_logged_nowhere() {
    let handle = Handle::open(parts(&MemoryLogDisk::new(), &MemoryStore::new()), Config::default()).await.unwrap();
    handle.deploy(NS, ONE).await.unwrap();
    let before = handle.status().await.unwrap().log_last;
    let run = RunId([1; 16]);
    let task = consort_types::StepInstanceId { run, scope: 0, index: 0 };
    for bytes in LONG {
        let long = text(bytes);
        let mut named = hello(agent("a", X), 1, Vec::new());
        named.namespace.clone_from(&long);
        let mut versioned = hello(agent("a", X), 1, Vec::new());
        versioned.agent.version.clone_from(&long);
        let mut twice = hello(agent("a", &[X[0], X[0]]), 1, Vec::new());
        twice.labels = [("l".to_owned(), "v".to_owned())].into();
        let mut refused: Vec<Result<()>> = Vec::new();
        for hello in [named, versioned, twice, hello(agent(&long, X), 1, Vec::new())] {
            refused.push(handle.register(&hello.namespace, &hello.agent, Locality::Remote).await);
            refused.push(handle.attach(hello, Locality::Remote).await.map(drop));
        }
        let start = StartRequest { namespace: NS.into(), workflow: long.clone(), ..StartRequest::default() };
        refused.push(handle.start(start).await.map(drop));
        refused.push(handle.signal(NS, run, &long, Payload::null()).await.map(drop));
        refused.push(handle.cancel(&long, run, "", false).await);
        refused.push(handle.cancel(NS, run, &long, false).await);
        refused.push(handle.decide(NS, task, Decision::Approve(None), &long, None).await);
        refused.push(handle.decide(NS, task, Decision::Approve(None), "me", Some(long.clone())).await);
        refused.push(handle.retry(NS, run, Some(long.clone())).await.map(drop));
        refused.push(handle.drain_agent(NS, "a", Some(&long)).await);
        refused.push(handle.run(&long, run).await.map(drop));
        refused.push(handle.wait_end(&long, run).await.map(drop));
        refused.push(handle.workflow_source(NS, &long, None).await.map(drop));
        refused.push(handle.workflow_source(NS, "w", Some(long.clone())).await.map(drop));
        refused.push(handle.workflows(&long, None, 10).await.map(drop));
        for (number, refusal) in refused.into_iter().enumerate() {
            let error = refusal.expect_err("it is refused");
            let fits = matches!(error.code, Code::BadName | Code::LimitReached | Code::BadRequest);
            assert!(fits && error.to_string().len() < 1_000, "{number}: {error}");
        }
        // A cursor may be anything: there is nothing behind it.
        assert!(handle.workflows(NS, Some(long.clone()), 10).await.unwrap().items.is_empty());
        assert!(handle.declared_agents(NS, Some(long), 10).await.unwrap().items.is_empty());
    }
    let status = handle.status().await.unwrap();
    assert_eq!((status.halted, status.log_last), (None, before));
}

// Records that cannot be applied.

/// Appends a record as an engine would that has a defect.
fn plant(disk: &MemoryLogDisk, time: Time, body: &[u8]) -> Seq {
    let last = disk.open().unwrap().append(&[Record::new(time, body)]).unwrap();
    disk.crash(false);
    last
}

fn open(disk: &MemoryLogDisk, store: &MemoryStore, now: Time) -> Result<Partition> {
    let opened = Partition::open(parts(disk, store), Config::default(), 9, now);
    if opened.is_err() {
        disk.crash(false);
    }
    opened
}

/// A start as the door makes it, in the bytes of its record.
fn start_record(world: &mut World, run: u8) -> Vec<u8> {
    let Command::StartRun(start) = start_command(run, "{}") else { panic!("a start") };
    let start = world.partition.machine().unwrap().prepare_start(start, None).unwrap();
    Command::StartRun(start).encode()
}

fn refuse(disk: &MemoryLogDisk, store: &MemoryStore, seq: Seq) -> Result<Seq> {
    let refusal = RefuseRecord { seq, reason: "cannot be read".into(), by: "ann".into() };
    let mut log = disk.open().unwrap();
    let refused = refuse_record(&mut log, store, refusal);
    drop(log);
    disk.crash(false);
    refused
}

#[test]
fn a_record_that_cannot_be_read_is_named_refused_by_its_number_and_passed_over() {
    let mut world = World::with(ONE);
    world.start(1);
    let now = world.now;
    let second = start_record(&mut world, 2);
    world.disk.crash(false);
    let poisoned = plant(&world.disk, now, b"\xffnobody can read this");
    let after = plant(&world.disk, now, &second);

    let error = open(&world.disk, &world.store, now).err().expect("it does not start");
    assert!(error.code == Code::BadRecord && error.message.contains(&format!("record `{poisoned}`")), "{error}");
    assert!(error.hint.unwrap().contains(&format!("consort doctor --refuse-record {poisoned} ")));

    let missing = refuse(&world.disk, &world.store, after.next()).unwrap_err();
    assert_eq!(missing.code, Code::RecordNotFound);
    let refusal = refuse(&world.disk, &world.store, poisoned).unwrap();
    assert_eq!(refusal, after.next());
    assert_eq!(refuse(&world.disk, &world.store, poisoned).unwrap_err().code, Code::RecordSettled);
    assert_eq!(refuse(&world.disk, &world.store, refusal).unwrap_err().code, Code::BadRequest);

    world.partition = open(&world.disk, &world.store, now).unwrap();
    let refused = world.partition.status(None).refused;
    assert!(refused.len() == 1 && refused[0].record == poisoned && refused[0].by_record == refusal, "{refused:?}");
    assert_eq!((refused[0].reason.as_str(), refused[0].by.as_str()), ("cannot be read", "ann"));
    assert_eq!((world.status(RunId([1; 16])), world.status(RunId([2; 16]))), ("running".into(), "running".into()));
    let instance = world.join(X, Locality::Local);
    for offer in world.given(instance) {
        world.complete(instance, &offer, "1");
    }
    assert_eq!(world.status(RunId([2; 16])), "completed 1");
    world.flush();
    world.disk.crash(false);
    assert_eq!(
        refuse(&world.disk, &world.store, poisoned).unwrap_err().code,
        Code::RecordSettled,
        "it is in the store"
    );
    assert_eq!(open(&world.disk, &world.store, now).unwrap().status(None).refused, refused);
}

#[test]
fn wherever_the_store_stands_the_same_records_are_passed_over() {
    let mut world = World::with(ONE);
    let now = world.now;
    let base = world.applied();
    let starts = [1, 2, 3].map(|run| start_record(&mut world, run));
    world.disk.crash(false);
    // One that is refused although it could be applied, one that comes too early, and what stays.
    let fine = plant(&world.disk, now, &starts[0]);
    plant(&world.disk, now, &starts[1]);
    let retention = SetRetention { namespace: NS.into(), keep: None };
    let early = plant(&world.disk, Time(5), &Command::SetRetention(retention).encode());
    plant(&world.disk, now, &starts[2]);
    refuse(&world.disk, &world.store, fine).unwrap();
    let last = refuse(&world.disk, &world.store, early).unwrap();

    let folded = |flush_rows: usize, store: &MemoryStore| {
        let config = Config { flush_rows, ..Config::default() };
        let partition = Partition::open(parts(&world.disk, store), config, 9, now).unwrap();
        world.disk.crash(false);
        assert_eq!(partition.applied(), last);
        store.scan(&[0], &[0xff; 64], usize::MAX).unwrap()
    };
    let whole = folded(usize::MAX, &MemoryStore::new());
    let steps = MemoryStore::new();
    assert!(folded(1, &steps) == whole, "flushed after every record");
    // From each state that the store went through on the way.
    let batches = steps.unsynced();
    assert!(batches > 4);
    for survivors in 0..batches {
        let store = MemoryStore::new();
        folded(1, &store);
        store.crash(survivors);
        assert!(folded(usize::MAX, &store) == whole, "from batch {survivors}");
    }
    assert!(last > base);
}

/// A store whose library panics when it reads, from when that is planned.
#[derive(Clone, Default)]
struct Panicking {
    store: MemoryStore,
    planned: Arc<AtomicBool>,
}

impl Panicking {
    fn plan(&self, panics: bool) {
        self.planned.store(panics, Ordering::SeqCst);
    }

    fn parts(&self, disk: &MemoryLogDisk) -> Parts {
        let parts = parts(disk, &self.store);
        Parts { store: Arc::new(self.clone()), ..parts }
    }
}

impl Store for Panicking {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        // The machine's own row is read when it opens; the tables of runs while it folds.
        assert!(key.first() != Some(&b'r') || !self.planned.load(Ordering::SeqCst), "the library has a defect");
        self.store.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.store.scan(from, to, limit)
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.store.write(batch)
    }

    fn applied(&self) -> Result<Seq, StoreError> {
        self.store.applied()
    }

    fn sync(&self) -> Result<Seq, StoreError> {
        self.store.sync()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StoreError> {
        self.store.snapshot()
    }
}

#[tokio::test]
async fn a_panic_in_a_record_names_the_record_while_running_and_at_the_start() {
    let (disk, store) = (MemoryLogDisk::new(), Panicking::default());
    let handle = Handle::open(store.parts(&disk), Config::default()).await.unwrap();
    handle.deploy(NS, ONE).await.unwrap();
    let poisoned = handle.status().await.unwrap().log_last.next();
    store.plan(true);
    let StartRun { namespace, workflow, input, .. } = match start_command(1, "{}") {
        Command::StartRun(start) => start,
        other => panic!("{other:?}"),
    };
    let request = StartRequest { namespace, workflow, input: Some(input), ..StartRequest::default() };
    let way_out = format!("consort doctor --refuse-record {poisoned} ");
    let error = handle.start(request).await.unwrap_err();
    assert!(error.code == Code::Halted && error.message.contains(&format!("record `{poisoned}`")), "{error}");
    assert!(error.message.contains("the library has a defect") && error.hint.unwrap().contains(&way_out));
    handle.stop_now().await;
    disk.crash(false);

    let error = Handle::open(store.parts(&disk), Config::default()).await.err().unwrap();
    assert!(error.code == Code::BadRecord && error.message.contains("the library has a defect"), "{error}");
    assert!(error.message.contains(&format!("record `{poisoned}`")) && error.hint.unwrap().contains(&way_out));
    disk.crash(false);

    refuse(&disk, &store.store, poisoned).unwrap();
    let handle = Handle::open(store.parts(&disk), Config::default()).await.unwrap();
    let status = handle.status().await.unwrap();
    assert_eq!((status.runs_active, status.refused.len()), (0, 1));
    assert!(status.halted.is_none() && limits::KEY_ENCODED_BYTES_MAX < consort_store::KEY_BYTES_MAX);
}
