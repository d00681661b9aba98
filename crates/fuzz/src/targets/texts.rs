//! Texts of every size at every door.
//!
//! For: an engine with its threads, through its handle, the sessions of its workers and the HTTP interface: texts around
//! each limit, and far over all of them. Not for: documents and expressions (see the other targets).
//! Invariant: whatever is sent, nothing panics, the partition does not halt, a small run completes, and the log folded
//! again gives the rows that the engine has written.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{Method, Request},
};
use consort_engine::{
    Ballots, CastVote, Config, Decision, ForkRequest, Handle, Locality, Partition, Parts, Session, StartRequest,
    view::RunFilter,
};
use consort_log::MemoryLogDisk;
use consort_store::{MemoryStore, Store as _};
use consort_types::{
    Code, EffectClass, Error, Payload, Result, RunId, Span, StepInstanceId, Time,
    ballot::{BallotSpec, Choice, Rule, Voter},
    limits,
    registry::{AgentFilter, LimitScope, TaskLimit},
    worker::{
        AgentDeclaration, CallOptions, CapabilityDeclaration, Delta, FromWorker, Hello, JournalEntry, JournalRequest,
        Route, TaskOffer, ToWorker,
    },
};
use tower::ServiceExt as _;

use super::trace;
use crate::{Choices, Target};

/// The target: decisions about what is sent, and how long its texts are.
pub const TARGET: Target = Target { name: "texts", run, seeds, words: &[], bytes_max: 96 };

const NS: &str = "default";
const WORKFLOW: &str = "workflow: w\nsteps:\n  a: { capability: x }\noutput: ${{ steps.a.output }}\n";
/// What is sent by one input at most.
const SENT_MAX: usize = 16;
/// Kinds of what is sent.
const KINDS: u8 = 32;
/// Limits, and what is far over them: texts are one byte shorter, as long, or one byte longer.
const SIZES: &[usize] = &[
    1,
    limits::NAME_BYTES_MAX,
    limits::KEY_BYTES_MAX,
    limits::KEY_ENCODED_BYTES_MAX,
    limits::PROMPT_BYTES_MAX,
    limits::INLINE_BYTES_MAX,
    64 * 1024,
    70_000,
    1024 * 1024,
];

fn text(choices: &mut Choices<'_>) -> String {
    let size = *choices.pick(SIZES);
    let bytes = (size + choices.below(3)).saturating_sub(1);
    let piece = choices.word(&["x", "x", "x", "\u{1}", "\0", " ", "é"]);
    piece.repeat(bytes / piece.len())
}

/// Seeds: each kind with a text that would be too long for any key, and with one that is just short enough for a name.
fn seeds() -> Vec<Vec<u8>> {
    (0..KINDS).flat_map(|kind| [vec![kind, 7, 1, 0], vec![kind, 1, 1, 0, kind, 1, 2, 0]]).collect()
}

fn run(input: &[u8]) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
    trace(runtime.block_on(play(Choices::new(input))))
}

fn parts(disk: &MemoryLogDisk, store: &MemoryStore, blobs: &MemoryStore) -> Parts {
    let log = disk.open().expect("the log is not open elsewhere");
    Parts { log: Box::new(log), store: Arc::new(store.clone()), blobs: Arc::new(blobs.clone()) }
}

/// Gives what each thing that was sent was answered, 0 where it was taken.
async fn play(mut choices: Choices<'_>) -> Vec<(u8, u16)> {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = Handle::open(parts(&disk, &store, &store), Config::default()).await.expect("an empty folder opens");
    handle.deploy(NS, WORKFLOW).await.expect("the workflow is sound");
    let mut world = World { session: attach(&handle).await, handle, offer: None };
    world.start().await;
    let mut outcomes = Vec::new();
    for _ in 0..SENT_MAX {
        let kind = choices.byte() % KINDS;
        outcomes.push((kind, world.send(kind, &mut choices).await));
        if choices.is_done() {
            break;
        }
    }
    world.complete_a_small_run().await;
    let status = world.handle.status().await.expect("the engine answers");
    assert_eq!(status.halted, None, "nothing that is sent halts a partition");
    world.handle.shutdown(Duration::ZERO).await;
    drop(world);
    check_fold(&disk, &store);
    outcomes
}

/// The log folded from its start gives the rows that were written by and by.
fn check_fold(disk: &MemoryLogDisk, store: &MemoryStore) {
    disk.crash(false);
    let again = MemoryStore::new();
    let partition = Partition::open(parts(disk, &again, store), Config::default(), 1, Time(0)).expect("it opens again");
    assert_eq!(Ok(partition.applied()), store.applied(), "everything was written");
    let rows = |store: &MemoryStore| store.scan(&[0], &[0xff; 64], usize::MAX).expect("rows can be read");
    assert!(rows(&again) == rows(store), "the log gives the rows again (law 4)");
}

async fn attach(handle: &Handle) -> Session {
    handle.attach(hello(), Locality::Local).await.expect("the agent is sound")
}

fn hello() -> Hello {
    let capability = CapabilityDeclaration {
        name: "x".to_owned(),
        description: String::new(),
        effect: EffectClass::Idempotent,
        input_schema: true.into(),
        output_schema: true.into(),
        cost_hint_microdollars: None,
        time_hint: None,
    };
    let agent = AgentDeclaration {
        name: "a".to_owned(),
        version: "1".to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
        capabilities: vec![capability],
        subscriptions: Vec::new(),
    };
    let (labels, client) = (BTreeMap::new(), String::new());
    Hello {
        namespace: NS.to_owned(),
        agent,
        concurrency: 100,
        held: Vec::new(),
        labels,
        client,
        worker: "w".to_owned(),
    }
}

fn start() -> StartRequest {
    StartRequest { namespace: NS.to_owned(), workflow: "w".to_owned(), ..StartRequest::default() }
}

fn code<T>(result: Result<T>) -> u16 {
    result.map_or_else(|error| error.code.number(), |_| 0)
}

struct World {
    handle: Handle,
    session: Session,
    /// The attempt about which hostile reports are made.
    offer: Option<TaskOffer>,
}

impl World {
    async fn start(&mut self) {
        self.handle.start(start()).await.expect("a run is started");
        while self.offer.is_none() {
            self.hear(true).await;
        }
    }

    /// Handles the engine's messages; completes tasks unless one is to be kept.
    async fn hear(&mut self, keep: bool) {
        for message in self.session.receive().await.expect("the engine continues") {
            let ToWorker::Task(offer) = message else { continue };
            if keep && self.offer.is_none() {
                self.offer = Some(*offer);
                continue;
            }
            let report = FromWorker::Complete { task: offer.task, token: offer.token, output: Payload::inline(*b"1") };
            self.session.sender().send(report).await.expect("the report is sound");
        }
    }

    async fn complete_a_small_run(&mut self) {
        // Agents and limits may have been turned against it.
        let _ = self.handle.resume_agent(NS, "a", None).await;
        let run = self.handle.start(start()).await.expect("a run is started").run;
        let handle = self.handle.clone();
        let ended = handle.wait_end(NS, run);
        tokio::pin!(ended);
        loop {
            tokio::select! {
                view = &mut ended => {
                    assert_eq!(view.expect("the run ends").output, Some(Payload::inline(*b"1")));
                    return;
                }
                () = self.hear(false) => {}
            }
        }
    }

    async fn send(&mut self, kind: u8, choices: &mut Choices<'_>) -> u16 {
        let text = text(choices);
        match kind {
            0..=9 => self.operate(kind, text).await,
            10..=14 => self.look(kind, text).await,
            15..=23 => self.report(kind, text).await,
            24..=26 => self.join(kind, text).await,
            30..=31 => self.decide_together(kind, text).await,
            _ => self.ask_over_http(kind, text).await,
        }
    }

    async fn operate(&self, kind: u8, text: String) -> u16 {
        let (handle, run) = (&self.handle, self.run());
        let task = StepInstanceId { run, scope: 0, index: 0 };
        match kind {
            0 => code(handle.start(StartRequest { idempotency_key: Some(text), ..start() }).await),
            1 => {
                let labels = [(text.clone(), "v".to_owned()), ("l".to_owned(), text)].into();
                code(handle.start(StartRequest { labels, ..start() }).await)
            }
            2 => {
                let request = StartRequest { workflow: text.clone(), version: Some(text.clone()), ..start() };
                code(handle.start(request).await)
                    .max(code(handle.start(StartRequest { traceparent: Some(text), ..start() }).await))
            }
            3 => code(handle.signal(NS, run, &text, Payload::null()).await),
            4 => code(handle.cancel(NS, RunId([9; 16]), &text, false).await),
            5 => code(handle.decide(NS, task, Decision::Approve(None), &text, Some(text.clone())).await),
            6 => {
                let decided = handle.decide(NS, task, Decision::Retry, "me", Some(text)).await;
                code(decided)
            }
            7 => {
                let (namespace, step) = (NS.to_owned(), Some(text));
                code(handle.fork(ForkRequest { namespace, from: run, step, input: None, entry: None }).await)
            }
            8 => code(handle.drain_agent(NS, &text, Some(&text)).await),
            _ => {
                let limit = TaskLimit { concurrency: Some(1), ..TaskLimit::default() };
                code(handle.set_quota(NS, LimitScope::Key(text), limit).await)
            }
        }
    }

    /// Opens a ballot, and votes.
    async fn decide_together(&self, kind: u8, text: String) -> u16 {
        let voters = |name: &str| vec![Voter { name: name.to_owned(), weight: 1 }];
        let spec = |question: &str, option: &str, voter: &str| {
            BallotSpec::new(question, vec!["a".to_owned(), option.to_owned()], voters(voter), Rule::Plurality)
        };
        let ballots = Ballots::of(&self.handle);
        if kind == 30 {
            let named = code(ballots.open(NS, &text, spec("?", "b", "v")).await);
            let asked = code(ballots.open(NS, "q", spec(&text, "b", "v")).await);
            let listed = code(ballots.open(NS, "o", spec("?", &text, &text)).await);
            return named.max(asked).max(listed).max(code(ballots.list(NS, None, Some(text), 10).await));
        }
        let free = BallotSpec::new("?", Vec::new(), voters("v"), Rule::Plurality);
        let opened = code(ballots.open(NS, "f", BallotSpec { quorum: 1, ..free }).await);
        let vote = CastVote {
            namespace: NS.to_owned(),
            ballot: "f".to_owned(),
            voter: "v".to_owned(),
            round: None,
            choice: Choice::Value(serde_json::Value::from(text.as_str()).to_string()),
            reason: Some(text.clone()),
        };
        let strange = CastVote { ballot: text.clone(), voter: text.clone(), ..vote.clone() };
        let cast = code(ballots.cast(vote).await).max(code(ballots.cast(strange).await));
        opened.max(cast).max(code(ballots.close(NS, "f", &text, Some(text.clone())).await))
    }

    async fn look(&self, kind: u8, text: String) -> u16 {
        let handle = &self.handle;
        match kind {
            10 => code(handle.run(&text, self.run()).await),
            11 => code(handle.workflow_source(NS, &text, Some(text.clone())).await),
            12 => code(handle.workflows(NS, Some(text), 10).await),
            13 => {
                let filter = RunFilter { workflow: Some(text.clone()), ..RunFilter::default() };
                code(handle.runs(NS, filter, Some(text), 10).await)
            }
            _ => {
                let filter =
                    AgentFilter { name: Some(text.clone()), text: Some(text.clone()), ..AgentFilter::default() };
                code(handle.agents(NS, filter).await).max(code(handle.declared_agents(NS, Some(text), 10).await))
            }
        }
    }

    fn run(&self) -> RunId {
        self.offer.as_ref().map_or(RunId([9; 16]), |offer| offer.task.run)
    }

    async fn report(&self, kind: u8, text: String) -> u16 {
        let Some(offer) = &self.offer else { return 0 };
        let (task, token) = (offer.task, offer.token);
        let entry = |request| JournalEntry { title: None, request, after: Vec::new(), result: None };
        let call = |options| JournalRequest::Call {
            capability: "x".to_owned(),
            input: Payload::null(),
            options: Some(Box::new(options)),
        };
        let request = match kind {
            15 => JournalRequest::Signal { name: text, schema: None },
            16 => JournalRequest::Call { capability: text, input: Payload::null(), options: None },
            17 => call(CallOptions { agent: Some(text), ..CallOptions::default() }),
            18 => {
                let labels = [(text.clone(), text.clone())].into();
                let route = Route { version: Some(text.clone()), labels, sticky: Some(text) };
                call(CallOptions { route: Some(route), ..CallOptions::default() })
            }
            19 => JournalRequest::Approval { prompt: text, detail: Payload::null() },
            20 => JournalRequest::Run { name: text },
            _ => return self.say(kind, offer, text).await,
        };
        let ran = matches!(request, JournalRequest::Run { .. });
        let result = ran.then(|| Err(Error::new(Code::AgentFailed, "no luck")));
        let entry = JournalEntry { result, ..entry(request) };
        // Of these only the first is in its place, unless it was refused.
        code(self.session.sender().send(FromWorker::Record { task, token, index: 0, entry }).await)
    }

    async fn say(&self, kind: u8, offer: &TaskOffer, text: String) -> u16 {
        let (task, token) = (offer.task, offer.token);
        let report = match kind {
            21 => {
                let error = Error::new(Code::AgentFailed, text.clone()).hint(text);
                FromWorker::Fail { task, token, error, retryable: true, retry_after: Some(Span(0)) }
            }
            22 => FromWorker::Heartbeat { task, token, progress: Some(text) },
            _ => FromWorker::Stream { task, token, delta: Delta::Text { text } },
        };
        code(self.session.sender().send(report).await)
    }

    async fn join(&self, kind: u8, text: String) -> u16 {
        let mut hello = hello();
        match kind {
            24 => hello.namespace = text,
            25 => {
                hello.agent.version.clone_from(&text);
                hello.client = text;
                // It must not take the tasks of the one that completes them.
                "y".clone_into(&mut hello.agent.capabilities[0].name);
            }
            _ => {
                hello.agent.name.clone_from(&text);
                hello.agent.capabilities[0].name.clone_from(&text);
                hello.labels = [("l".to_owned(), text)].into();
            }
        }
        let registered = code(self.handle.register(&hello.namespace, &hello.agent, Locality::Remote).await);
        registered.max(code(self.handle.attach(hello, Locality::Remote).await))
    }

    async fn ask_over_http(&self, kind: u8, text: String) -> u16 {
        let json = |document: serde_json::Value| Body::from(document.to_string());
        let path = text.replace(['\0', '\u{1}', ' '], "%01").replace('é', "%C3%A9");
        let request = match kind {
            27 => (Method::GET, format!("/v1/workflows/{path}/graph"), Body::empty()),
            28 => {
                let body = serde_json::json!({ "workflow": text.clone(), "labels": { "l": text } });
                (Method::POST, "/v1/runs".to_owned(), json(body))
            }
            _ => (Method::POST, format!("/v1/runs/{}/signals/{path}", self.run()), json(serde_json::Value::Null)),
        };
        let (method, uri, body) = request;
        let request = Request::builder().method(method).uri(uri).header("content-type", "application/json").body(body);
        // What is no request cannot be sent.
        let Ok(request) = request else { return 0 };
        match consort_api_http::in_process(self.handle.clone()).oneshot(request).await {
            Ok(response) => response.status().as_u16(),
            Err(never) => match never {},
        }
    }
}
