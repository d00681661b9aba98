//! The machine under sequences of hostile commands.
//!
//! For: every rule of the core at once: refusals instead of panics, and the laws whatever happens. Not for: bytes
//! that are not commands (see `record`).
//! Invariant: after any sequence, forced cancellation and time end every run.

use std::collections::BTreeMap;

use consort_core::{
    Command,
    command::{
        Approve, AttemptLost, CancelRun, DeleteRun, Deploy, ForkRun, KeptJournal, PauseRun, RegisterAgent, Resolution,
        ResolveUnknown, SetRetention, SignalRun, StartRun, TaskComplete, TaskFail, TaskPark, TaskRecord, TaskTaken,
        Tick, UpdateRun,
    },
};
use consort_types::{
    Code, EffectClass, Error, Locality, Payload, RunId, Span, StepInstanceId, Time, Token, WorkerInstance,
    worker::{AgentDeclaration, CapabilityDeclaration, JournalEntry, JournalRequest},
};

use super::{
    asks,
    world::{NAMESPACE, World},
    yaml,
};
use crate::{Choices, Target};

/// The target: decisions about workflows, then about commands.
pub const TARGET: Target = Target { name: "machine", run, seeds, words: &[], bytes_max: 1_024 };

/// Commands of one input at most.
const COMMANDS_MAX: usize = 250;

/// Rounds of cancellation and time after which everything must be over.
const ROUNDS_MAX: usize = 200;

fn run(input: &[u8]) -> u64 {
    let mut choices = Choices::new(input);
    let mut world = begin();
    for name in ["w0", "w1"] {
        let source = yaml::workflow(name, &mut choices);
        if send(&mut world, &deploy(NAMESPACE, &source)).is_none() {
            return 0;
        }
    }
    if play(&mut world, &mut choices, COMMANDS_MAX) {
        world.verify();
        let trace = world.trace();
        end(&mut world);
        return trace;
    }
    world.trace()
}

/// A partition with agents and a first workflow.
pub(super) fn begin() -> World {
    let mut world = World::new();
    for (name, capability, effect) in [
        ("plain", "plain", EffectClass::Idempotent),
        ("reader", "read.it", EffectClass::Read),
        ("writer", "write.it", EffectClass::Write),
    ] {
        send(&mut world, &register(name, capability, effect));
    }
    let source = "workflow: leaf\nsteps: { a: { capability: plain } }\n".to_owned();
    send(&mut world, &deploy(NAMESPACE, &source));
    let source = "workflow: w0\nsteps:\n  a: { for_each: [1, 2], capability: write.it }\n  b: { wait: { signal: go } }\n  \
                  c: { approve: sure }\n  d: { workflow: leaf, needs: a }\n  e: { capability: plain, needs: a }\n";
    send(&mut world, &deploy(NAMESPACE, source));
    let first = start(&world, "w0");
    send(&mut world, &first);
    world
}

fn start(world: &World, workflow: &str) -> Command {
    Command::StartRun(StartRun::requested(world.new_run(), NAMESPACE, workflow, Payload::null()))
}

/// A deployment as the door makes it; of a text that the door refuses, a tick in its place.
fn deploy(namespace: &str, source: &str) -> Command {
    match consort_workflow_check::check(source) {
        Ok(checked) => Command::Deploy(Deploy { namespace: namespace.to_owned(), workflow: checked.compiled }),
        Err(_) => Command::Tick(Tick {}),
    }
}

fn register(name: &str, capability: &str, effect: EffectClass) -> Command {
    let capability = CapabilityDeclaration {
        name: capability.to_owned(),
        description: String::new(),
        effect,
        input_schema: true.into(),
        output_schema: true.into(),
        cost_hint_microdollars: None,
        time_hint: None,
    };
    let declaration = AgentDeclaration {
        name: name.to_owned(),
        version: "1".to_owned(),
        description: String::new(),
        capabilities: vec![capability],
        labels: BTreeMap::new(),
        subscriptions: Vec::new(),
    };
    Command::RegisterAgent(RegisterAgent::new(NAMESPACE, &declaration, Locality::Remote))
}

/// Sends a command a moment later. `None` where the partition halts, as it may over a blob that is not there.
fn send(world: &mut World, command: &Command) -> Option<()> {
    world.now = world.now.after(Span(10));
    if let Command::StartRun(start) = command {
        // Inputs that the door would refuse are sent as they are: the machine must cope with them.
        let prepared = world.machine.prepare_start(start.clone(), None).map(Command::StartRun);
        return world.apply(prepared.as_ref().unwrap_or(command)).map(drop);
    }
    world.apply(command).map(drop)
}

/// Sends commands by decisions; false where the partition has halted.
pub(super) fn play(world: &mut World, choices: &mut Choices<'_>, commands_max: usize) -> bool {
    for _ in 0..commands_max {
        if choices.is_done() {
            return true;
        }
        let command = command(world, choices);
        if send(world, &command).is_none() {
            return false;
        }
    }
    true
}

/// Cancels everything by force, answers what still runs then (compensations do), and checks that it is over.
fn end(world: &mut World) {
    for round in 0..ROUNDS_MAX {
        if world.is_over() {
            world.verify();
            return;
        }
        for command in ending(world, round) {
            send(world, &command).expect("the machine does not halt");
        }
        if let Some(due) = world.machine.next_timer().expect("timers can be read") {
            world.now = world.now.max(due);
        }
        send(world, &Command::Tick(Tick {})).expect("the machine does not halt");
    }
    let (open, counts) = (world.open.len(), world.machine.run_counts());
    panic!("{open} tasks and {counts:?} runs are left after forced cancellation (law 7)");
}

/// Everything that can be done about what is not over.
fn ending(world: &mut World, round: usize) -> Vec<Command> {
    let namespace = || NAMESPACE.to_owned();
    let cancel = |run: &RunId| {
        let reason = "end".to_owned();
        Command::CancelRun(CancelRun { namespace: namespace(), run: *run, reason, force: true })
    };
    // A cancellation lasts: once more is only for what was at its first a child of something else.
    let cancelled = if round < 2 { &world.runs[..] } else { &[] };
    let mut commands: Vec<Command> = cancelled.iter().map(cancel).collect();
    commands.extend(world.open.iter().map(|(task, token)| {
        let (task, token, output) = (*task, *token, Payload::null());
        Command::TaskComplete(TaskComplete { task, token, output, taken: None, by: worker(1, "a"), version: None })
    }));
    let inbox = world.machine.tasks().inbox(NAMESPACE, None, 1_000).expect("the inbox can be read").items;
    commands.extend(inbox.into_iter().map(|item| {
        let (task, resolution, by) = (item.task, Resolution::Fail, "ann".to_owned());
        Command::ResolveUnknown(ResolveUnknown { namespace: namespace(), task, resolution, by, comment: None })
    }));
    commands
}

/// One command by decisions.
pub(super) fn command(world: &mut World, choices: &mut Choices<'_>) -> Command {
    match choices.byte() % 40 {
        0..=9 => complete(world, choices),
        10..=12 => fail(world, choices),
        13..=15 => taken(world, choices),
        16..=17 => record(world, choices),
        18 => park(world, choices),
        19..=20 => lost(world, choices),
        21..=24 => tick(world, choices),
        25..=27 => start_some(world, choices),
        other => operate(other, world, choices),
    }
}

fn operate(kind: u8, world: &mut World, choices: &mut Choices<'_>) -> Command {
    let namespace = namespace(choices);
    match kind {
        28 => {
            let (run, force) = (some_run(world, choices), choices.once_in(2));
            Command::CancelRun(CancelRun { namespace, run, reason: "why".to_owned(), force })
        }
        29 | 30 => Command::PauseRun(PauseRun { namespace, run: some_run(world, choices), paused: choices.once_in(2) }),
        31 | 32 => {
            let (run, name) = (some_run(world, choices), choices.word(&["go", "stop", "", "other"]).to_owned());
            if kind == 32 && name == "other" {
                let (id, input) = (choices.word(&["u", "v", ""]).to_owned(), payload(world, choices));
                return Command::UpdateRun(UpdateRun { namespace, run, name: "go".to_owned(), id, input });
            }
            Command::SignalRun(SignalRun { namespace, run, name, payload: payload(world, choices) })
        }
        33 => {
            let (task, approved) = (asked(world, choices), choices.once_in(2));
            Command::Approve(Approve { namespace, task, approved, by: "ann".to_owned(), comment: None, value: None })
        }
        34 | 35 => {
            let task = asked(world, choices);
            let resolution = match choices.byte() % 3 {
                0 => Resolution::Done(payload(world, choices)),
                1 => Resolution::Retry,
                _ => Resolution::Fail,
            };
            Command::ResolveUnknown(ResolveUnknown { namespace, task, resolution, by: "ann".to_owned(), comment: None })
        }
        36 => fork(namespace, world, choices),
        37 => Command::DeleteRun(DeleteRun { namespace, run: some_run(world, choices) }),
        38 => {
            let keep = choices.once_in(2).then(|| Span(choices.number()));
            Command::SetRetention(SetRetention { namespace, keep })
        }
        _ => deploy_or_register(namespace, choices),
    }
}

fn deploy_or_register(namespace: String, choices: &mut Choices<'_>) -> Command {
    let kind = choices.byte();
    match kind % 4 {
        // Of the upper half, so that earlier inputs keep their meaning.
        2 if kind >= 128 => asks::operate(namespace, choices),
        0 => deploy(&namespace, &String::from_utf8_lossy(choices.rest())),
        1 => {
            let effect = *choices.pick(&[EffectClass::Read, EffectClass::Idempotent, EffectClass::Write]);
            register(choices.word(&["plain", "extra", ""]), choices.word(&["plain", "look", "undo", "again"]), effect)
        }
        2 => Command::RegisterAgent(RegisterAgent {
            namespace,
            declaration: Payload::inline(choices.rest()),
            built_in: false,
            subscriptions: Vec::new(),
        }),
        _ => deploy(&namespace, &yaml::workflow("w1", choices)),
    }
}

fn fork(namespace: String, world: &mut World, choices: &mut Choices<'_>) -> Command {
    let run = if choices.once_in(16) { some_run(world, choices) } else { world.new_run() };
    let from = some_run(world, choices);
    let step = choices.once_in(2).then(|| choices.word(&["s1", "s2", "s3", "a", "", "s1/s2"]).to_owned());
    let input = choices.once_in(3).then(|| payload(world, choices));
    Command::ForkRun(ForkRun { run, namespace, from, step, input, journal: Some(KeptJournal::BeforeFailure) })
}

fn start_some(world: &mut World, choices: &mut Choices<'_>) -> Command {
    let Command::StartRun(mut start) = start(world, choices.word(&["w0", "w1", "leaf", "none"])) else {
        unreachable!("a start is a start");
    };
    if choices.once_in(4) {
        start.input = payload(world, choices);
    }
    if choices.once_in(3) {
        start.idempotency_key = Some(choices.word(&["k", "l", "", "\0"]).to_owned());
    }
    if choices.once_in(8) {
        start.run = some_run(world, choices);
        start.revision = choices.number() as u32;
        start.timeout = Some(Span(choices.number()));
        start.priority = choices.number() as i32;
        start.labels = (0..choices.below(40)).map(|n| (format!("l{n}"), String::new())).collect();
    }
    Command::StartRun(start)
}

fn complete(world: &mut World, choices: &mut Choices<'_>) -> Command {
    let (task, token) = attempt(world, choices);
    let output = payload(world, choices);
    Command::TaskComplete(TaskComplete {
        task,
        token,
        output,
        taken: holder(world, choices),
        by: by(choices),
        version: None,
    })
}

fn fail(world: &mut World, choices: &mut Choices<'_>) -> Command {
    let (task, token) = attempt(world, choices);
    let error =
        Error::new(*choices.pick(&[Code::AgentFailed, Code::TimedOut, Code::Damaged, Code::Internal]), "it broke");
    let retry_after = choices.once_in(4).then(|| Span(choices.number()));
    let retryable = !choices.once_in(3);
    Command::TaskFail(TaskFail {
        task,
        token,
        error,
        retryable,
        retry_after,
        taken: holder(world, choices),
        by: by(choices),
        version: None,
    })
}

fn taken(world: &mut World, choices: &mut Choices<'_>) -> Command {
    let (task, token) = attempt(world, choices);
    let effect = *choices.pick(&[EffectClass::Write, EffectClass::Read, EffectClass::Idempotent]);
    let at = if choices.once_in(8) { Time(choices.number()) } else { world.now };
    let instance = worker(choices.number() % 4, "a");
    Command::TaskTaken(TaskTaken { task, token, instance, effect, at, version: None })
}

fn record(world: &mut World, choices: &mut Choices<'_>) -> Command {
    let (task, token) = attempt(world, choices);
    let index = if choices.once_in(8) { choices.number() as u32 } else { choices.below(4) as u32 };
    let kind = choices.byte();
    let request = match kind % 5 {
        // Of the upper half, so that earlier inputs keep their meaning.
        4 if kind >= 128 => asks::request(payload(world, choices), choices),
        0 => JournalRequest::Run { name: "r".to_owned() },
        1 => JournalRequest::Call { capability: "plain".to_owned(), input: payload(world, choices), options: None },
        2 => JournalRequest::Sleep { span: Span(choices.number()) },
        3 => JournalRequest::Signal { name: choices.word(&["go", "stop", ""]).to_owned(), schema: None },
        _ => JournalRequest::Call { capability: String::new(), input: Payload::null(), options: None },
    };
    let result = match choices.byte() % 4 {
        0 => Some(Ok(payload(world, choices))),
        1 => Some(Err(Error::new(Code::AgentFailed, "local"))),
        _ => None,
    };
    let after = (0..choices.below(3)).map(|_| choices.number() as u32).collect();
    Command::TaskRecord(TaskRecord::new(
        (task, token),
        (by(choices), "1".to_owned()),
        index,
        &JournalEntry { title: None, request, after, result },
    ))
}

fn park(world: &mut World, choices: &mut Choices<'_>) -> Command {
    let (task, token) = attempt(world, choices);
    let count = choices.below(4);
    let waiting = (0..count).map(|n| if choices.once_in(6) { choices.number() as u32 } else { n as u32 }).collect();
    Command::TaskPark(TaskPark { task, token, waiting, by: by(choices) })
}

fn lost(world: &mut World, choices: &mut Choices<'_>) -> Command {
    let (task, token) = attempt(world, choices);
    Command::AttemptLost(AttemptLost { task, token, reason: "killed".to_owned(), died: None })
}

/// Time passes: to the next timer, a little, or far.
fn tick(world: &mut World, choices: &mut Choices<'_>) -> Command {
    let next = world.machine.next_timer().expect("timers can be read");
    world.now = match choices.byte() % 8 {
        0..=4 => next.map_or(world.now, |due| world.now.max(due)),
        5 => world.now.after(Span::from_secs(u64::from(choices.byte()))),
        6 => world.now.after(Span::from_secs(1 << (choices.byte() % 32))),
        _ => world.now,
    };
    Command::Tick(Tick {})
}

/// An attempt: mostly one that is open, sometimes an old one, seldom one that never was.
fn attempt(world: &World, choices: &mut Choices<'_>) -> (StepInstanceId, Token) {
    let kind = choices.byte() % 16;
    let at = usize::from(choices.byte());
    if kind < 13 && !world.open.is_empty() {
        let found = world.open.iter().nth(at % world.open.len());
        return found.map_or_else(unknown, |(task, token)| (*task, *token));
    }
    if kind < 15 && !world.attempts.is_empty() {
        return world.attempts[at % world.attempts.len()];
    }
    let task = StepInstanceId {
        run: some_run(world, choices),
        scope: choices.number() as u32,
        index: choices.number() as u32,
    };
    (task, Token(choices.number()))
}

fn unknown() -> (StepInstanceId, Token) {
    (StepInstanceId { run: RunId([9; 16]), scope: 0, index: 0 }, Token(1))
}

fn worker(number: u64, agent: &str) -> WorkerInstance {
    WorkerInstance { locality: Locality::Remote, start: 1, number, agent: agent.to_owned() }
}

/// The reporting instance: mostly one of the agent that takes tasks.
fn by(choices: &mut Choices<'_>) -> WorkerInstance {
    let agent = if choices.once_in(8) { "b" } else { "a" };
    worker(choices.number() % 4, agent)
}

/// The holder of the attempt, where its report names it too.
fn holder(world: &World, choices: &mut Choices<'_>) -> Option<(WorkerInstance, Time)> {
    match choices.byte() % 8 {
        0..=3 => None,
        4 => Some((worker(1, "a"), Time(choices.number()))),
        _ => Some((worker(2, "a"), world.now)),
    }
}

/// What waits for a person, or any step at all.
fn asked(world: &mut World, choices: &mut Choices<'_>) -> StepInstanceId {
    let inbox = world.machine.tasks().inbox(NAMESPACE, None, 50).expect("the inbox can be read").items;
    if inbox.is_empty() || choices.once_in(8) {
        return attempt(world, choices).0;
    }
    choices.pick(&inbox).task
}

fn some_run(world: &World, choices: &mut Choices<'_>) -> RunId {
    if world.runs.is_empty() || choices.once_in(16) {
        return RunId([choices.byte(); 16]);
    }
    *choices.pick(&world.runs)
}

fn namespace(choices: &mut Choices<'_>) -> String {
    if choices.once_in(32) { choices.word(&["other", "", "a b", "\0"]).to_owned() } else { NAMESPACE.to_owned() }
}

/// A document: mostly good, sometimes large, seldom not JSON or not there.
fn payload(world: &World, choices: &mut Choices<'_>) -> Payload {
    match choices.byte() % 24 {
        0..=8 => Payload::null(),
        9..=12 => Payload::inline(&b"1"[..]),
        13..=16 => Payload::inline(&br#"{"list":[1,"x",{"a":null}],"id":7}"#[..]),
        17 | 18 => Payload::inline(&b"[1,2,3]"[..]),
        19 => Payload::inline(format!("\"{}\"", "x".repeat(20_000)).into_bytes()),
        20 => {
            let bytes = format!("[{}1]", "1,".repeat(20_000)).into_bytes();
            Payload::Blob { hash: world.add_blob(&bytes), len: bytes.len() as u64 }
        }
        21 => Payload::inline([&b"["[..]; 200].concat()),
        22 => Payload::inline(&b"{\"broken"[..]),
        _ => Payload::inline(vec![choices.byte(); 3]),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut chance = crate::chance::Chance::new(11);
    (0..64).map(|n| (0..40 + n * 8).map(|_| chance.byte()).collect()).collect()
}
