//! How long single records take to apply where a run is large or hostile, without log, store or threads.
//!
//! For: the longest time that one record keeps the partition from all others, and the cost of an item by the number
//! of items. Not for: figures of the whole (that is `consort-bench`).
//! Invariant: rows are written and evicted as the engine does it, so reads are not all from memory.

#![expect(clippy::disallowed_types, reason = "a measurement reads a clock; the core itself does not")]

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use consort_core::{
    Backing, Command, Effect, Machine,
    command::{CancelRun, Deploy, StartRun, TaskComplete, Tick},
};
use consort_types::{BlobHash, Locality, Payload, Result, RunId, Seq, Time, WorkerInstance};

#[derive(Default)]
struct Memory {
    rows: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    blobs: Mutex<BTreeMap<BlobHash, Vec<u8>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Backing for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(lock(&self.rows).get(key).cloned())
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let rows = lock(&self.rows);
        Ok(rows.range(from.to_vec()..to.to_vec()).take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn blob(&self, hash: &BlobHash) -> Result<Option<Vec<u8>>> {
        Ok(lock(&self.blobs).get(hash).cloned())
    }
}

/// A machine, the records applied to it, and how long each took.
struct Driver {
    machine: Machine,
    memory: Arc<Memory>,
    now: Time,
    ready: VecDeque<Effect>,
    records: u64,
    longest: Duration,
    total: Duration,
}

const NAMESPACE: &str = "default";
const RUN: RunId = RunId([1; 16]);

/// The instance that takes every task.
fn worker() -> WorkerInstance {
    WorkerInstance { locality: Locality::Local, start: 1, number: 1, agent: "a".into() }
}

impl Driver {
    fn new(source: &str) -> Self {
        let memory = Arc::new(Memory::default());
        let machine = Machine::open(memory.clone(), Seq::ZERO).unwrap_or_else(|error| panic!("{error}"));
        let (ready, zero) = (VecDeque::new(), Duration::ZERO);
        let mut driver = Self { machine, memory, now: Time(1), ready, records: 0, longest: zero, total: zero };
        let checked = consort_workflow_check::check(source).unwrap_or_else(|found| panic!("{found:?}"));
        driver.apply(&Command::Deploy(Deploy { namespace: NAMESPACE.into(), workflow: checked.compiled }));
        driver
    }

    fn apply(&mut self, command: &Command) {
        self.now = Time(self.now.0 + 1);
        let seq = self.machine.applied().next();
        let began = Instant::now();
        let applied = self.machine.apply(seq, self.now, command).unwrap_or_else(|error| panic!("{error}"));
        let took = began.elapsed();
        self.records += 1;
        self.total += took;
        self.longest = self.longest.max(took);
        applied.reply.unwrap_or_else(|error| panic!("{error}"));
        self.ready.extend(applied.effects.into_iter().filter(|effect| matches!(effect, Effect::Ready(_))));
        if self.machine.changed() > 8_192 {
            self.write();
        }
    }

    fn write(&mut self) {
        let taken = self.machine.take();
        lock(&self.memory.blobs).extend(taken.blobs.into_iter().map(|(hash, bytes)| (hash, bytes.to_vec())));
        let changes = taken.changes.encode();
        let mut rows = lock(&self.memory.rows);
        rows.extend(changes.puts);
        changes.deletes.iter().for_each(|key| drop(rows.remove(key)));
        drop(rows);
        self.machine.written(taken.generation);
    }

    fn start(&mut self, input: Payload) {
        let start = StartRun::requested(RUN, NAMESPACE, "w", input);
        let start = self.machine.prepare_start(start, None).unwrap_or_else(|error| panic!("{error}"));
        self.apply(&Command::StartRun(start));
    }

    fn cancel(&mut self) {
        let (namespace, reason) = (NAMESPACE.into(), "measured".into());
        self.apply(&Command::CancelRun(CancelRun { namespace, run: RUN, reason, force: false }));
    }

    /// Fires what is due now, and completes every task that is ready, until there is nothing of either.
    fn work(&mut self, at_most: Duration) -> bool {
        let began = Instant::now();
        while began.elapsed() < at_most {
            let due = self.machine.next_timer().unwrap_or_else(|error| panic!("{error}"));
            if due.is_some_and(|due| due <= self.now) {
                self.apply(&Command::Tick(Tick {}));
            } else if let Some(Effect::Ready(ready)) = self.ready.pop_front() {
                if self.machine.offer(ready.task).unwrap_or_else(|error| panic!("{error}")).is_some() {
                    let (task, token, output) = (ready.task, ready.token, Payload::inline(&b"1"[..]));
                    let by = worker();
                    let holder = Some((by.clone(), self.now));
                    self.apply(&Command::TaskComplete(TaskComplete {
                        task,
                        token,
                        output,
                        taken: holder,
                        by,
                        version: None,
                    }));
                }
            } else {
                return true;
            }
        }
        false
    }

    fn reset(&mut self) {
        (self.records, self.longest, self.total) = (0, Duration::ZERO, Duration::ZERO);
    }

    fn report(&self, what: &str, items: u64, ended: bool) {
        let micros = self.total.as_secs_f64() * 1e6 / items as f64;
        println!(
            "{{\"case\":\"{what}\",\"ended\":{ended},\"records\":{},\"longest_record_ms\":{:.1},\"total_ms\":{:.0},\"us_per_item\":{micros:.1}}}",
            self.records,
            self.longest.as_secs_f64() * 1e3,
            self.total.as_secs_f64() * 1e3,
        );
    }
}

const PATIENCE: Duration = Duration::from_secs(200);

fn groups(count: u64, parallel: u64) {
    let mut driver = Driver::new(&format!(
        "workflow: w\nsteps:\n  g:\n    for_each: '${{{{ range({count}) }}}}'\n    max_parallel: {parallel}\n    steps: {{ a: {{ capability: x }}, b: {{ capability: x, needs: [a] }} }}\n"
    ));
    driver.start(Payload::inline(&b"{}"[..]));
    let ended = driver.work(PATIENCE);
    driver.report(&format!("{count} groups of two, {parallel} at once"), count, ended);
}

fn cancel_waits(outer: u64, inner: u64) {
    let mut driver = Driver::new(&format!(
        "workflow: w\nsteps:\n  g:\n    for_each: '${{{{ range({outer}) }}}}'\n    max_parallel: {outer}\n    steps:\n      a: {{ for_each: '${{{{ range({inner}) }}}}', max_parallel: {inner}, wait: 1h }}\n"
    ));
    driver.start(Payload::inline(&b"{}"[..]));
    driver.work(PATIENCE);
    driver.report(&format!("start of {outer} x {inner} waits"), outer * inner, true);
    driver.reset();
    driver.cancel();
    driver.report(&format!("cancel of {outer} x {inner} waits: answer"), 1, true);
    let ended = driver.work(PATIENCE);
    driver.report(&format!("cancel of {outer} x {inner} waits: whole"), outer * inner, ended);
}

fn fork_bomb(seconds: u64) {
    let source = "workflow: w\nsteps: { a: { for_each: '${{ range(100) }}', workflow: w } }\n";
    let mut driver = Driver::new(source);
    driver.start(Payload::inline(&b"{}"[..]));
    let ended = driver.work(Duration::from_secs(seconds));
    let (active, made) = driver.machine.run_counts();
    driver.report(&format!("fork bomb, {made} runs made, {active} active"), made, ended);
    if ended {
        driver = Driver::new(source);
        driver.start(Payload::inline(&b"{}"[..]));
        (0..5).for_each(|_| driver.apply(&Command::Tick(Tick {})));
    }
    driver.reset();
    driver.cancel();
    driver.report("cancel of a fork bomb: answer", 1, true);
    let ended = driver.work(PATIENCE);
    driver.report("cancel of a fork bomb: whole", 1, ended);
}

fn expressions() {
    let mut source = "workflow: w\nsteps:\n".to_owned();
    for step in 0..1_000 {
        let _ = writeln!(source, "  s{step}: {{ wait: '${{{{ size(range(600000).map(v, 1)) * 0 }}}}' }}");
    }
    let mut driver = Driver::new(&source);
    driver.start(Payload::inline(&b"{}"[..]));
    let ended = driver.work(PATIENCE);
    driver.report("1000 steps of one large expression each", 1_000, ended);
}

fn documents(steps: u64, chain: bool) {
    let mut source = "workflow: w\ninput: { k: integer, x: { type: array } }\nsteps:\n".to_owned();
    for step in 0..steps {
        let needs = if chain && step > 0 { format!(", needs: [s{}]", step - 1) } else { String::new() };
        let part = if chain { "input.k" } else { "size(input.x)" };
        let _ = writeln!(source, "  s{step}: {{ wait: '${{{{ {part} * 0 }}}}'{needs} }}");
    }
    let mut driver = Driver::new(&source);
    let text = format!("\"{}\"", "t".repeat(60));
    let list = vec![text.as_str(); 60 * 1024 * 1024 / 63].join(",");
    let input = format!("{{\"k\":7,\"x\":[{list}]}}").into_bytes();
    let hash = BlobHash::of(&input);
    let len = input.len() as u64;
    lock(&driver.memory.blobs).insert(hash, input);
    driver.start(Payload::Blob { hash, len });
    let ended = driver.work(PATIENCE);
    driver.report(&format!("input of 60 MiB, {steps} steps, chain {chain}"), steps, ended);
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let is_wanted = |name: &str| wanted.is_empty() || wanted == name;
    if is_wanted("groups") {
        for (count, parallel) in [(1_000, 256), (10_000, 256), (100_000, 256), (5_000, 5_000)] {
            groups(count, parallel);
        }
    }
    if is_wanted("cancel") {
        for (outer, inner) in [(1_000, 10), (1_000, 100)] {
            cancel_waits(outer, inner);
        }
    }
    if is_wanted("bomb") {
        fork_bomb(30);
    }
    if is_wanted("expressions") {
        expressions();
    }
    if is_wanted("documents") {
        documents(20, false);
        documents(500, true);
    }
}
