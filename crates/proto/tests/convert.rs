//! What is converted to a message and back is the same; what cannot be decoded is refused with its place.

use std::collections::BTreeMap;

use consort_proto::{
    convert::{self, BadReport},
    v1::{self, server_message, worker_message},
};
use consort_types::{
    BlobHash, Code, EffectClass, Error, Payload, RunId, Span, StepInstanceId, Time, Token,
    worker::{
        AgentDeclaration, CallOptions, CallRetry, CapabilityDeclaration, Delta, EventOrder, FromWorker, Hello,
        JournalEntry, JournalRequest, Route, SubscriptionDeclaration, TaskOffer, ToWorker,
    },
};
use serde_json::json;

const TASK: StepInstanceId = StepInstanceId { run: RunId([7; 16]), scope: 3, index: 14 };
const TOKEN: Token = Token(u64::MAX - 1);

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("lang".to_owned(), "de".to_owned()), ("tier".to_owned(), String::new())])
}

fn document() -> Payload {
    Payload::from_value(&json!({ "a": [1, 2.5, null, "ü"] }))
}

fn failure() -> Error {
    Error::new(Code::TimedOut, "it took `2s`, the limit is `1s`").hint("wait longer")
}

fn handed() -> SubscriptionDeclaration {
    SubscriptionDeclaration {
        name: "orders".to_owned(),
        topic: "orders.>".to_owned(),
        capability: "a.read".to_owned(),
        filter: Some("event.data.total > 100".to_owned()),
        order_by: Some(EventOrder::Subject),
        max_deliveries: Some(5),
        back_off: Some((Span::from_secs(1), Span::from_secs(9))),
        timeout: Some(Span::from_secs(7)),
        max_in_flight: Some(3),
        keep: Some(Span::from_secs(60)),
        from_start: true,
    }
}

fn declaration() -> AgentDeclaration {
    let capability = |name: &str, effect, schema| CapabilityDeclaration {
        name: name.to_owned(),
        description: "does it".to_owned(),
        effect,
        input_schema: schema,
        output_schema: json!(true),
        cost_hint_microdollars: None,
        time_hint: None,
    };
    AgentDeclaration {
        name: "writer".to_owned(),
        version: "1.2.0".to_owned(),
        description: "writes".to_owned(),
        subscriptions: vec![handed()],
        labels: labels(),
        capabilities: vec![
            capability("a.read", EffectClass::Read, json!(false)),
            capability("a.do", EffectClass::Idempotent, json!({ "type": "object" })),
            CapabilityDeclaration {
                cost_hint_microdollars: Some(0),
                time_hint: Some(Span::from_secs(3)),
                ..capability("a.write", EffectClass::Write, json!(true))
            },
        ],
    }
}

fn hello(name: &str) -> Hello {
    Hello {
        namespace: "team-a".to_owned(),
        agent: AgentDeclaration { name: name.to_owned(), ..declaration() },
        concurrency: 4,
        held: vec![(TASK, TOKEN), (StepInstanceId { index: 15, ..TASK }, Token(0))],
        labels: labels(),
        client: "rust/0.1.0 here:1".to_owned(),
        worker: "drawn by chance".to_owned(),
    }
}

fn options() -> Vec<CallOptions> {
    let all = CallOptions {
        agent: Some("reviewer".to_owned()),
        route: Some(Route { version: Some("^1.2".to_owned()), labels: labels(), sticky: Some("tenant 7".to_owned()) }),
        retry: Some(CallRetry {
            attempts: 3,
            initial: Span::from_millis(5),
            factor_milli: 2000,
            max: Span::from_secs(1),
        }),
        timeout: Some(Span::ZERO),
        priority: Some(-3),
    };
    vec![CallOptions::default(), CallOptions { route: Some(Route::default()), ..CallOptions::default() }, all]
}

fn entries() -> Vec<JournalEntry> {
    let entry = |request, after: &[u32], result| JournalEntry { title: None, request, after: after.to_vec(), result };
    let call = |options: Option<CallOptions>| JournalRequest::Call {
        capability: "research.plan".to_owned(),
        input: document(),
        options: options.map(Box::new),
    };
    let mut entries = vec![
        entry(JournalRequest::Run { name: "send".to_owned() }, &[], Some(Ok(document()))),
        entry(JournalRequest::Run { name: "send".to_owned() }, &[0, 2], Some(Err(failure()))),
        entry(call(None), &[1], None),
        entry(JournalRequest::Sleep { span: Span(u64::MAX) }, &[], Some(Ok(Payload::null()))),
        entry(JournalRequest::Signal { name: "go".to_owned(), schema: None }, &[], None),
        entry(JournalRequest::Approval { prompt: "Publish?".to_owned(), detail: document() }, &[], None),
    ];
    entries.extend(options().into_iter().map(|options| entry(call(Some(options)), &[], Some(Ok(document())))));
    entries
}

/// A message as it arrives after having been sent.
fn sent<M: prost::Message + Default>(message: &M) -> M {
    M::decode(message.encode_to_vec().as_slice()).unwrap()
}

#[test]
fn a_hello_survives() {
    let hellos = vec![hello("writer"), Hello { held: Vec::new(), labels: BTreeMap::new(), ..hello("reader") }];
    let wire = sent(&convert::hellos_to_wire(hellos.clone()));
    assert_eq!((wire.protocol, wire.protocol_min, wire.namespace.as_str()), (1, 1, "team-a"));
    assert_eq!(convert::hellos_from_wire(wire).unwrap(), hellos);
}

#[test]
fn what_a_hello_leaves_out_has_its_default() {
    let capability = v1::CapabilityDeclaration { name: "a.do".to_owned(), ..Default::default() };
    let agent = v1::AgentDeclaration { capabilities: vec![capability], ..Default::default() };
    let instance = v1::HelloInstance { agent: Some(agent), credit: 1, ..Default::default() };
    let wire = v1::Hello { instances: vec![instance], ..Default::default() };
    let hello = convert::hellos_from_wire(wire).unwrap().remove(0);
    let capability = &hello.agent.capabilities[0];
    assert_eq!(hello.namespace, "default");
    assert_eq!((capability.effect, &capability.input_schema), (EffectClass::Idempotent, &json!(true)));
}

#[test]
fn half_a_back_off_is_refused_with_its_place() {
    let half = v1::SubscriptionDeclaration { back_off_first_us: Some(1), ..handed().into() };
    let half = v1::SubscriptionDeclaration { back_off_longest_us: None, ..half };
    let agent = v1::AgentDeclaration { subscriptions: vec![half], ..Default::default() };
    let error = AgentDeclaration::try_from(agent).unwrap_err();
    assert!(error.message.starts_with("`subscriptions[0].back_off_first_us`"), "{error}");
}

#[test]
fn every_report_survives() {
    let (task, token) = (TASK, TOKEN);
    let fail = |error, retryable, retry_after| FromWorker::Fail { task, token, error, retryable, retry_after };
    let mut reports = vec![
        FromWorker::Complete { task, token, output: document() },
        fail(failure(), true, Some(Span::from_secs(2))),
        fail(Error::new(Code::AgentFailed, "no"), false, None),
        FromWorker::Park { task, token, waiting: vec![0, 3, 7] },
        FromWorker::Heartbeat { task, token, progress: None },
        FromWorker::Heartbeat { task, token, progress: Some("half".to_owned()) },
        FromWorker::Stream { task, token, delta: Delta::Text { text: "more".to_owned() } },
        FromWorker::Stream { task, token, delta: Delta::Json { value: json!([1, { "a": null }]) } },
        FromWorker::Alive,
        FromWorker::Credit { tasks: 0 },
        FromWorker::Leaving,
    ];
    let record = |(index, entry)| FromWorker::Record { task, token, index, entry };
    reports.extend((0..).zip(entries()).map(record));
    for report in reports {
        let message = v1::WorkerMessage { instance: 2, kind: Some(report.clone().into()) };
        assert_eq!(convert::report_from_wire(sent(&message).kind.unwrap()).unwrap(), report);
    }
}

#[test]
fn everything_that_the_server_says_survives() {
    let (task, token) = (TASK, TOKEN);
    let offer = TaskOffer {
        task,
        token,
        attempt: 2,
        capability: "a.do".to_owned(),
        workflow: "research".to_owned(),
        step: "gather[3]".to_owned(),
        input: document(),
        idempotency_key: "key".to_owned(),
        deadline: Some(Time(5)),
        journal: entries(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
    };
    let bare = TaskOffer { deadline: None, journal: Vec::new(), capability: String::new(), ..offer.clone() };
    let mut messages = vec![
        ToWorker::Task(Box::new(offer)),
        ToWorker::Task(Box::new(bare)),
        ToWorker::Cancel { task, token, reason: "timed out".to_owned() },
        ToWorker::Refused { task, token, error: failure() },
        ToWorker::Drain,
    ];
    messages.extend((0..).zip(entries()).map(|(index, entry)| ToWorker::Recorded { task, index, entry }));
    for message in messages {
        let wire = v1::ServerMessage { instance: 1, kind: Some(message.clone().into()) };
        let wire = sent(&wire).kind.unwrap();
        if let server_message::Kind::Task(task) = &wire {
            assert_eq!(task.run, TASK.run.to_string());
        }
        assert_eq!(ToWorker::try_from(wire).unwrap(), message);
    }
}

#[test]
fn codes_survive_and_unknown_ones_keep_their_text() {
    for code in Code::ALL {
        for error in [Error::new(*code, "m"), Error::new(*code, "m").hint("h")] {
            assert_eq!(convert::error_from_wire(sent(&convert::error_to_wire(error.clone()))), error);
        }
    }
    for unknown in ["C9999", "C", "E0001", "C0001x", "C99999999"] {
        let wire = v1::Error { code: unknown.to_owned(), message: "it broke".to_owned(), hint: String::new() };
        let error = convert::error_from_wire(wire);
        assert_eq!((error.code, error.message), (Code::Internal, format!("it broke (`{unknown}`)")));
    }
}

#[test]
fn a_failure_without_a_code_is_the_agents() {
    let attempt = Some(v1::Attempt { task: TASK.to_string(), token: 1 });
    let error = Some(v1::Error { message: "no".to_owned(), ..Default::default() });
    let fail = v1::Fail { attempt, error, ..Default::default() };
    let report = convert::report_from_wire(worker_message::Kind::Fail(fail)).unwrap();
    let FromWorker::Fail { error, .. } = report else { panic!("a failure: {report:?}") };
    assert_eq!(error, Error::new(Code::AgentFailed, "no"));
}

#[test]
fn documents_travel_without_a_copy_and_references_as_json() {
    let bytes: std::sync::Arc<[u8]> = std::sync::Arc::from(&b"[1,2,3]"[..]);
    let place = bytes.as_ptr();
    assert_eq!(convert::document(Payload::Inline(bytes)).as_ptr(), place);
    let blob = Payload::Blob { hash: BlobHash::of(b"x"), len: 70_000 };
    let value: serde_json::Value = serde_json::from_slice(&convert::document(blob.clone())).unwrap();
    assert_eq!(value, serde_json::to_value(&blob).unwrap());
}

fn attempt() -> v1::Attempt {
    v1::Attempt { task: TASK.to_string(), token: TOKEN.0 }
}

#[test]
fn a_report_that_cannot_be_understood_says_which_attempt_and_where() {
    use worker_message::Kind;
    let record = |entry| Kind::Record(v1::Record { attempt: Some(attempt()), index: 0, entry });
    let stream = |delta| Kind::Stream(v1::Stream { attempt: Some(attempt()), delta });
    let broken = v1::Delta { kind: Some(v1::delta::Kind::Json("{".into())) };
    for (kind, field, code) in [
        (Kind::Fail(v1::Fail { attempt: Some(attempt()), ..Default::default() }), "`fail.error`", Code::BadRequest),
        (record(None), "`record.entry`", Code::BadRequest),
        (record(Some(v1::JournalEntry::default())), "`record.entry.request`", Code::BadRequest),
        (stream(None), "`stream.delta`", Code::BadRequest),
        (stream(Some(v1::Delta::default())), "`stream.delta.kind`", Code::BadRequest),
        (stream(Some(broken)), "`stream.delta.json`", Code::BadJson),
    ] {
        let BadReport { attempt, error } = convert::report_from_wire(kind).unwrap_err();
        assert_eq!(attempt, Some((TASK, TOKEN)), "{error}");
        assert!(error.message.starts_with(field) && error.code == code, "{error}");
    }
    let of = |task: &str| Some(v1::Attempt { task: task.to_owned(), token: 1 });
    for (kind, field) in [
        (Kind::Hello(v1::Hello::default()), "`hello`"),
        (Kind::Complete(v1::Complete::default()), "`complete.attempt`"),
        (Kind::Park(v1::Park { attempt: of("x"), waiting: vec![0] }), "`park.attempt.task`"),
    ] {
        let BadReport { attempt, error } = convert::report_from_wire(kind).unwrap_err();
        assert_eq!(attempt, None);
        assert!(error.message.starts_with(field) && error.code == Code::BadRequest, "{error}");
    }
}

#[test]
fn a_hello_that_cannot_be_understood_says_where() {
    let good = convert::hellos_to_wire(vec![hello("writer"), hello("reader")]);
    let spoilt = |spoil: fn(&mut v1::HelloInstance)| {
        let mut wire = good.clone();
        spoil(&mut wire.instances[1]);
        convert::hellos_from_wire(wire).unwrap_err()
    };
    for (error, field, code) in [
        (spoilt(|instance| instance.agent = None), "`hello.instances[1].agent`", Code::BadRequest),
        (
            spoilt(|instance| instance.held[1].task = "x".to_owned()),
            "`hello.instances[1].held[1].attempt.task`",
            Code::BadRequest,
        ),
        (
            spoilt(|instance| instance.agent.as_mut().unwrap().capabilities[2].effect = 9),
            "`hello.instances[1].agent.capabilities[2].effect`",
            Code::BadRequest,
        ),
        (
            spoilt(|instance| instance.agent.as_mut().unwrap().capabilities[0].input_schema = "{".into()),
            "`hello.instances[1].agent.capabilities[0].input_schema`",
            Code::BadJson,
        ),
    ] {
        assert!(error.message.starts_with(field) && error.code == code, "{error}");
    }
    let none = v1::Hello { instances: Vec::new(), ..good.clone() };
    let many = v1::Hello { instances: vec![v1::HelloInstance::default(); 1_001], ..good };
    for wire in [none, many] {
        let error = convert::hellos_from_wire(wire).unwrap_err();
        assert!(error.message.contains("hello.instances") && error.message.contains("1000"), "{error}");
    }
}

#[test]
fn a_server_message_that_cannot_be_understood_says_where() {
    use server_message::Kind;
    let task = v1::Task { attempt: Some(attempt()), journal: vec![v1::JournalEntry::default()], ..Default::default() };
    for (kind, field) in [
        (Kind::Welcome(v1::Welcome::default()), "`welcome`"),
        (Kind::Task(v1::Task::default()), "`task.attempt`"),
        (Kind::Task(task), "`task.journal[0].request`"),
        (Kind::Cancel(v1::Cancel::default()), "`cancel.attempt`"),
        (Kind::Refused(v1::Refused { attempt: Some(attempt()), error: None }), "`refused.error`"),
        (Kind::Recorded(v1::Recorded::default()), "`recorded.task`"),
    ] {
        let error = ToWorker::try_from(kind).unwrap_err();
        assert!(error.message.starts_with(field) && error.code == Code::BadRequest, "{error}");
    }
}
