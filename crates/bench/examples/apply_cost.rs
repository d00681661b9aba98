//! What applying the records of short chains costs, without log, store or threads.
//!
//! For: profiling the machine alone. Not for: figures of the whole (that is `consort-bench`).
//! Invariant: it does what the engine does for a step: complete, apply, make the next offer.

use std::{fmt::Write as _, sync::Arc, time::Instant};

use consort_core::{
    Backing, Command, Effect, Machine,
    command::{Deploy, StartRun, TaskComplete},
};
use consort_types::{BlobHash, Locality, Payload, Result, RunId, Seq, Time, WorkerInstance};

struct Empty;

impl Backing for Empty {
    fn get(&self, _: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn scan(&self, _: &[u8], _: &[u8], _: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(Vec::new())
    }

    fn blob(&self, _: &BlobHash) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

fn main() {
    let (runs, steps) = (1_000_u64, 10);
    let mut source = "workflow: w\nsteps:\n  s0: { capability: x, with: { n: 1 } }\n".to_owned();
    for step in 1..steps {
        let _ = writeln!(
            source,
            "  s{step}: {{ capability: x, with: {{ n: \"${{{{ steps.s{}.output.n }}}}\" }} }}",
            step - 1
        );
    }
    let workflow = consort_workflow_check::check(&source).unwrap_or_else(|found| panic!("{found:?}")).compiled;
    let mut machine = Machine::open(Arc::new(Empty), Seq::ZERO).unwrap_or_else(|error| panic!("{error}"));
    let mut time = Time(1);
    let mut apply = |machine: &mut Machine, command: &Command| {
        time = Time(time.0 + 1);
        let command = Command::decode(&command.encode()).unwrap_or_else(|error| panic!("{error}"));
        let seq = machine.applied().next();
        let applied = machine.apply(seq, time, &command).unwrap_or_else(|error| panic!("{error}"));
        applied.reply.unwrap_or_else(|error| panic!("{error}"));
        applied.effects
    };
    apply(&mut machine, &Command::Deploy(Deploy { namespace: "default".into(), workflow }));
    let began = Instant::now();
    let mut open = Vec::new();
    for n in 0..runs {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        let start = StartRun::requested(RunId(id), "default", "w", Payload::inline(&b"{}"[..]));
        let start = machine.prepare_start(start, None).unwrap_or_else(|error| panic!("{error}"));
        open.extend(apply(&mut machine, &Command::StartRun(start)));
    }
    println!("{{\"metric\":\"start_us\",\"value\":{:.2}}}", began.elapsed().as_secs_f64() * 1e6 / runs as f64);
    let began = Instant::now();
    let mut done = 0_u64;
    while let Some(effect) = open.pop() {
        let Effect::Ready(ready) = effect else { continue };
        let offer = machine.offer(ready.task).unwrap_or_else(|error| panic!("{error}"));
        let output = offer.map(|offer| offer.input).unwrap_or_default();
        let by = WorkerInstance { locality: Locality::Local, start: 1, number: 1, agent: "x".into() };
        let taken = Some((by.clone(), Time(1)));
        let complete = TaskComplete { task: ready.task, token: ready.token, output, taken, by, version: None };
        open.extend(apply(&mut machine, &Command::TaskComplete(complete)));
        done += 1;
        if done.is_multiple_of(2_000) {
            let taken = machine.take();
            machine.written(taken.generation);
        }
    }
    println!(
        "{{\"metric\":\"step_us\",\"value\":{:.2},\"steps\":{done}}}",
        began.elapsed().as_secs_f64() * 1e6 / done as f64
    );
}
