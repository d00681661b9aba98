//! Random programs on a random engine: whatever happens on the way, a task ends with the same result.
//!
//! For: the journal's promise as a whole. Not for: single rules (see `journal`).
//! Invariant: all choices come from the seed that a failure shows.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use consort_sdk::{TaskContext, TaskError};
use consort_testkit::engine::{document, offer, task};
use consort_types::{
    Code, Error, Payload, Span, Token,
    worker::{FromWorker, JournalEntry, JournalRequest, ToWorker},
};
use futures::future::{BoxFuture, Either, join_all, select};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::rig::Rig;

/// A small generator (xorshift); its quality does not matter, only that a seed gives the same choices.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A program that an agent may be.
#[derive(Clone, Debug)]
enum Program {
    Run(u64),
    Call(u64),
    FailingCall(u64),
    Sleep(u64),
    Sequence(Vec<Program>),
    Branches(Vec<Program>),
    /// Whichever comes first decides what is done then.
    Race(u64, u64),
}

impl Program {
    fn random(chance: &mut Chance, depth: u64) -> Self {
        let many = |chance: &mut Chance| (0..=chance.below(4)).map(|_| Self::random(chance, depth - 1)).collect();
        match chance.below(if depth == 0 { 5 } else { 9 }) {
            0 => Self::Run(chance.below(100)),
            1 => Self::Call(chance.below(100)),
            2 => Self::FailingCall(chance.below(100)),
            3 => Self::Sleep(chance.below(100) + 1),
            4 => Self::Race(chance.below(100), chance.below(100) + 1),
            5 | 6 => Self::Sequence(many(chance)),
            _ => Self::Branches(many(chance)),
        }
    }

    /// Executes the program; effects are counted by their place in the program.
    fn execute<'a>(&'a self, ctx: &'a TaskContext, place: String, effects: &'a Effects) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match self {
                Self::Run(n) => {
                    let done = ctx.run(&place, || async {
                        tokio::task::yield_now().await;
                        *effects.lock().entry(place.clone()).or_default() += 1;
                        Ok(json!(n))
                    });
                    done.await
                }
                Self::Call(n) => ctx.call("double", n).await,
                Self::FailingCall(n) => Ok(match ctx.call::<Value>("fail", n).await {
                    Err(error) => json!(error.error().message),
                    Ok(value) => json!({ "wrong": value }),
                }),
                Self::Sleep(n) => ctx.sleep(Span::from_secs(*n)).await.map(|()| json!(n)),
                Self::Sequence(programs) => {
                    let mut results = Vec::new();
                    for (index, program) in programs.iter().enumerate() {
                        results.push(program.execute(ctx, format!("{place}.{index}"), effects).await?);
                    }
                    Ok(json!(results))
                }
                Self::Branches(programs) => {
                    let branches = programs.iter().enumerate();
                    let branches = branches.map(|(index, p)| p.execute(ctx, format!("{place}.{index}"), effects));
                    let results: Result<Vec<Value>, TaskError> = join_all(branches).await.into_iter().collect();
                    results.map(|results| json!(results))
                }
                Self::Race(n, pause) => {
                    let (call, sleep) = (ctx.call::<Value>("double", n), ctx.sleep(Span::from_secs(*pause)));
                    match select(call, sleep).await {
                        Either::Left((answer, _)) => ctx.run(&place, || async { Ok(json!(["call", answer?])) }).await,
                        Either::Right(_) => ctx.call("double", &n).await.map(|value: Value| json!(["sleep", value])),
                    }
                }
            }
        })
    }
}

type Outcome = Result<Value, TaskError>;
type Effects = Mutex<BTreeMap<String, u32>>;

/// The engine's memory of the task.
struct Engine {
    chance: Chance,
    journal: Vec<JournalEntry>,
    token: u64,
    /// What the code waits for while the task is parked.
    parked: Option<Vec<u32>>,
    /// Choices made so far.
    steps: u32,
    parks: u32,
    crashes: u32,
}

impl Engine {
    fn answer(&self, index: u32) -> Result<Payload, Error> {
        match &self.journal[index as usize].request {
            JournalRequest::Call { capability, input, .. } if capability == "fail" => {
                Err(Error::new(Code::AgentFailed, format!("no {}", document(input))))
            }
            JournalRequest::Call { input, .. } => {
                Ok(Payload::from_value(&json!(document(input).as_u64().unwrap() * 2)))
            }
            _ => Ok(Payload::null()),
        }
    }

    fn open(&self) -> Vec<u32> {
        let entries = self.journal.iter().enumerate();
        entries.filter(|(_, entry)| entry.result.is_none()).map(|(index, _)| index as u32).collect()
    }

    async fn offer(&mut self, rig: &Rig) {
        let mut again = offer("work", &json!(null));
        again.token = Token(self.token);
        again.journal = self.journal.clone();
        rig.session.offer(again).await;
    }

    /// Records an entry, or finds it recorded.
    fn record(&mut self, index: u32, entry: JournalEntry) {
        let length = self.journal.len() as u32;
        assert!(index <= length, "entry {index} leaves a gap after {length}");
        if index == length {
            self.journal.push(entry);
        } else {
            assert_eq!(self.journal[index as usize].request, entry.request);
        }
    }

    /// Answers one open entry, any.
    async fn answer_one(&mut self, rig: &Rig) {
        let open = self.open();
        if open.is_empty() {
            return;
        }
        let index = open[self.chance.below(open.len() as u64) as usize];
        self.journal[index as usize].result = Some(self.answer(index));
        match &self.parked {
            None => rig.session.record(task(0), index, self.journal[index as usize].clone()).await,
            Some(waiting) if waiting.contains(&index) => {
                self.parked = None;
                // Some engines assign a new token when a task is offered again, some do not.
                self.token += self.chance.below(2);
                self.offer(rig).await;
            }
            Some(_) => {}
        }
    }

    /// The attempt is lost: the next one starts under a newer token.
    async fn crash(&mut self, rig: &Rig) {
        self.crashes += 1;
        self.token += 1;
        self.parked = None;
        self.offer(rig).await;
    }

    /// Handles the worker's messages; returns the output, when it is done.
    async fn take(&mut self, rig: &Rig, message: FromWorker) -> Option<Value> {
        match message {
            FromWorker::Record { index, entry, token, .. } if token == Token(self.token) => {
                self.record(index, entry);
                rig.session.record(task(0), index, self.journal[index as usize].clone()).await;
            }
            FromWorker::Park { waiting, token, .. } if token == Token(self.token) => {
                self.parks += 1;
                let open = self.open();
                if waiting.iter().all(|index| open.contains(index)) {
                    self.parked = Some(waiting);
                } else {
                    // An answer crossed the park.
                    self.offer(rig).await;
                }
            }
            FromWorker::Complete { output, token, .. } if token == Token(self.token) => return Some(document(&output)),
            FromWorker::Fail { error, token, .. } if token == Token(self.token) => panic!("{error}"),
            // Entries of attempts that are fenced; their other reports, and heartbeats, change nothing.
            FromWorker::Record { token, .. } => {
                let error = Error::new(Code::Fenced, "old");
                rig.session.send(ToWorker::Refused { task: task(0), token, error }).await;
            }
            _ => {}
        }
        None
    }
}

/// Runs a program under a seed; returns its output, how often effects ran, and the engine at the end.
async fn play(program: &Program, seed: u64, calm: bool) -> (Value, BTreeMap<String, u32>, Engine) {
    let effects: Arc<Effects> = Arc::default();
    let (program, counted) = (program.clone(), Arc::clone(&effects));
    let mut rig = Rig::start(move |ctx: TaskContext, _: Value| {
        let (program, effects) = (program.clone(), Arc::clone(&counted));
        async move { program.execute(&ctx, "p".into(), &effects).await }
    })
    .await;
    let journal = Vec::new();
    let mut engine = Engine { chance: Chance(seed), journal, token: 1, parked: None, steps: 0, parks: 0, crashes: 0 };
    engine.offer(&rig).await;
    let mut inbox = VecDeque::new();
    let output = loop {
        engine.steps += 1;
        assert!(engine.steps < 100_000, "the task does not end");
        // Answers come early and late: before, between and long after the worker's messages.
        match engine.chance.below(if calm { 6 } else { 8 }) {
            0..=1 => engine.answer_one(&rig).await,
            2 => tokio::time::sleep(std::time::Duration::from_millis(engine.chance.below(30))).await,
            6 if engine.crashes < 20 => engine.crash(&rig).await,
            7 if engine.chance.below(4) == 0 => {
                inbox.clear();
                rig.reconnect().await;
                if rig.session.hello.held.is_empty() && engine.parked.is_none() {
                    engine.crash(&rig).await;
                }
            }
            _ => {
                let wait = std::time::Duration::from_millis(20);
                while let Ok(Some(message)) = tokio::time::timeout(wait, rig.session.next_of_all()).await {
                    inbox.push_back(message);
                    if engine.chance.below(3) == 0 {
                        break;
                    }
                }
            }
        }
        let Some(message) = inbox.pop_front() else { continue };
        if let Some(output) = engine.take(&rig, message).await {
            break output;
        }
    };
    let effects = effects.lock().clone();
    (output, effects, engine)
}

#[tokio::test(start_paused = true)]
async fn random_programs_end_whatever_happens() {
    let (mut parks, mut crashes) = (0, 0);
    for seed in 1..=150 {
        let mut chance = Chance(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15));
        let program = Program::random(&mut chance, 3);
        let (output, _, engine) = play(&program, seed, false).await;
        parks += engine.parks;
        crashes += engine.crashes;
        // Folding the whole journal once more gives the same answer to every entry and runs no effect.
        let mut again = Rig::start({
            let program = program.clone();
            move |ctx: TaskContext, _: Value| {
                let program = program.clone();
                async move {
                    let effects = Effects::default();
                    let output = program.execute(&ctx, "p".into(), &effects).await?;
                    assert!(effects.lock().is_empty(), "a recorded effect ran again");
                    Ok(output)
                }
            }
        })
        .await;
        again.offer(engine.journal.clone()).await;
        let replayed = again.output().await;
        assert_eq!(replayed, output, "seed {seed}: {program:?}");
        assert_eq!(output, expected(&program, &output), "seed {seed}: {program:?}");
    }
    assert!(parks > 100 && crashes > 100, "the engine was too kind: {parks} parks, {crashes} crashes");
}

#[tokio::test(start_paused = true)]
async fn without_crashes_every_effect_runs_once_and_a_replay_agrees() {
    for seed in 1..=150 {
        let mut chance = Chance(u64::wrapping_mul(seed, 0x2545_F491_4F6C_DD1D));
        let program = Program::random(&mut chance, 3);
        let (output, effects, engine) = play(&program, seed, true).await;
        assert_eq!(output, expected(&program, &output), "seed {seed}: {program:?}");
        assert!(effects.values().all(|count| *count == 1), "seed {seed}: {effects:?}");
        let replayed = {
            let program = program.clone();
            let mut rig = Rig::start(move |ctx: TaskContext, _: Value| {
                let program = program.clone();
                async move { program.execute(&ctx, "p".into(), &Effects::default()).await }
            })
            .await;
            rig.offer(engine.journal.clone()).await;
            rig.output().await
        };
        assert_eq!(replayed, output, "seed {seed}: {program:?}");
    }
}

/// What a program gives; which side its races took is seen in what it gave.
fn expected(program: &Program, given: &Value) -> Value {
    match program {
        Program::Run(n) | Program::Sleep(n) => json!(n),
        Program::Call(n) => json!(n * 2),
        Program::FailingCall(n) => json!(format!("no {n}")),
        Program::Sequence(programs) | Program::Branches(programs) => {
            json!(programs.iter().enumerate().map(|(index, p)| expected(p, &given[index])).collect::<Vec<_>>())
        }
        Program::Race(n, _) if given[0] == json!("call") => json!(["call", n * 2]),
        Program::Race(n, _) => json!(["sleep", n * 2]),
    }
}
