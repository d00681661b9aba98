//! Requests of tasks and steps: calls with options, people's decisions, routes, traces.
//!
//! For: the journal's requests and the words about them, through the public interface of the machine. Not for: the
//! course of a run (`scenarios`), nor for journals as such (`tasks`).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use std::collections::BTreeMap;

use consort_core::{
    Command, Effect, LiveTask,
    command::{SignalRun, StartRun},
};
use consort_types::{
    BlobHash, Code, EffectClass, Error, Payload, RunId, Span, limits,
    task::ReadyTask,
    worker::{CallOptions, CallRetry, JournalEntry, JournalRequest, Route},
};
use support::{NS, World};

const ONE: &str = "workflow: w\nsteps:\n  a: { capability: x, priority: 3 }\n";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn started(source: &str) -> World {
    let mut world = World::new();
    world.deploy(source);
    world.act("start {}");
    world
}

fn call(options: CallOptions) -> JournalRequest {
    JournalRequest::Call {
        capability: "y".to_owned(),
        input: Payload::inline(b"1".as_slice()),
        options: Some(Box::new(options)),
    }
}

fn approval(prompt: &str, detail: &str) -> JournalRequest {
    JournalRequest::Approval { prompt: prompt.to_owned(), detail: Payload::inline(detail.as_bytes()) }
}

fn route(version: &str, label: &str, sticky: &str) -> Route {
    let labels = [("region".to_owned(), label.to_owned())].into();
    Route { version: Some(version.to_owned()), labels, sticky: Some(sticky.to_owned()) }
}

/// The newest assignment of a task.
fn handed_out(world: &mut World, path: &str) -> ReadyTask {
    let (task, token) = world.find(path);
    let found = world.effects.iter().rev().find_map(|effect| match effect {
        Effect::Ready(ready) if (ready.task, ready.token) == (task, token) => Some(ready.clone()),
        _ => None,
    });
    found.expect("the task was assigned")
}

/// The last entry that the task was notified of.
fn told(world: &World) -> JournalEntry {
    let recorded = world.effects.iter().rev().find_map(|effect| match effect {
        Effect::Recorded { entry, .. } => Some(entry.clone()),
        _ => None,
    });
    recorded.expect("an entry was recorded")
}

fn journal(world: &mut World, path: &str) -> Vec<JournalEntry> {
    let (task, _) = world.find(path);
    world.machine.offer(task).unwrap().unwrap().journal
}

fn answer(json: &str) -> Payload {
    Payload::inline(json.as_bytes())
}

#[test]
fn a_call_goes_where_it_is_asked_to() {
    let mut world = started(ONE);
    world.taken("a", EffectClass::Idempotent);
    let asked = route("^1.2", "eu", "user 7");
    let options = CallOptions {
        agent: Some("writer".to_owned()),
        route: Some(asked.clone()),
        priority: Some(4),
        ..CallOptions::default()
    };
    world.record("a", 0, call(options), None).unwrap();
    let ready = handed_out(&mut world, "a/call:0");
    assert_eq!((ready.capability.as_deref(), ready.agent.as_deref()), (Some("y"), Some("writer")));
    assert_eq!((ready.route, ready.priority), (Some(asked), 7));
    let nodes = world.machine.run_tree(NS, world.runs[0]).unwrap();
    let below = &nodes[0].below[0];
    assert_eq!((below.kind, below.target.as_deref()), ("call", Some("y")), "it shows what is called, not who calls");
    world.verify();
}

#[test]
fn the_tree_shows_titles_and_what_is_waited_for() {
    let mut world = started(ONE);
    world.taken("a", EffectClass::Idempotent);
    let titled =
        |request, title: &str| JournalEntry { title: Some(title.to_owned()), request, after: Vec::new(), result: None };
    let requests = [call(CallOptions::default()), JournalRequest::Signal { name: "go".to_owned(), schema: None }];
    world.record_entry("a", 0, &titled(requests[0].clone(), "hotel")).unwrap();
    world.record_entry("a", 1, &titled(requests[1].clone(), "desk")).unwrap();
    world.record("a", 2, JournalRequest::Sleep { span: Span::from_secs(60) }, None).unwrap();
    world.record("a", 3, approval("ship it?", "1"), None).unwrap();
    assert_eq!(journal(&mut world, "a")[0].title.as_deref(), Some("hotel"));
    world.record("a", 0, requests[0].clone(), None).expect("a title is not compared");
    let long = titled(requests[1].clone(), &"t".repeat(limits::NAME_BYTES_MAX + 1));
    assert_eq!(world.record_entry("a", 4, &long).unwrap_err().code, Code::LimitReached);
    world.park("a", &[1, 2, 3]).unwrap();
    let tree = world.machine.run_tree(NS, world.runs[0]).unwrap();
    assert_eq!(tree[0].below[0].title.as_deref(), Some("hotel"));
    let waits = &tree[0].waits_for;
    let shown = waits.iter().map(|wait| (wait.kind, wait.name.as_deref(), wait.title.as_deref(), wait.until.is_some()));
    let expected = [
        ("signal", Some("go"), Some("desk"), false),
        ("time", None, None, true),
        ("approval", Some("ship it?"), None, false),
    ];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    world.act("signal go 1");
    world.act("done a/call:0 1");
    world.complete("a", "1");
    world.verify();
}

#[test]
fn what_waits_for_a_signal_is_known_with_its_schema() {
    let source =
        "workflow: w\nsteps:\n  a: { capability: x }\n  b: { wait: { signal: packed, schema: { type: integer } } }\n";
    let mut world = started(source);
    world.taken("a", EffectClass::Idempotent);
    let schema = Some(answer(r#"{"type":"string"}"#));
    world.record("a", 0, JournalRequest::Signal { name: "go".into(), schema: schema.clone() }, None).unwrap();
    let waits = |world: &mut World, name: &str| world.machine.signal_waits(NS, world.runs[0], name).unwrap();
    let unknown = waits(&mut world, "pakced");
    assert!(!unknown.expected && unknown.schema.is_none());
    assert_eq!(unknown.others.iter().map(String::as_str).collect::<Vec<_>>(), ["go", "packed"]);
    let go = waits(&mut world, "go");
    assert!(go.expected && go.schema == schema);
    let packed = waits(&mut world, "packed");
    assert!(packed.expected && packed.schema == Some(answer(r#"{"type":"integer"}"#)));
    world.act("signal packed 1");
    let later = waits(&mut world, "packed");
    assert!(later.expected && later.schema == packed.schema, "the workflow declares it");
    world.record("a", 1, JournalRequest::Forget { entries: vec![0] }, None).unwrap();
    assert!(!waits(&mut world, "go").expected, "the code has gone past it");
    let long = Some(answer(&format!("\"{}\"", "x".repeat(limits::SIGNAL_SCHEMA_BYTES_MAX))));
    let error = world.record("a", 2, JournalRequest::Signal { name: "go".into(), schema: long }, None).unwrap_err();
    assert_eq!(error.code, Code::LimitReached);
    world.complete("a", "1");
    world.verify();
}

#[test]
fn a_signal_that_comes_early_is_held_against_the_schema_that_all_waits_share() {
    let source = "workflow: w\nsteps:\n  a: { wait: { signal: go } }\n  b: { wait: { signal: typed, schema: { type: integer } }, \
                  needs: a }\n  c: { wait: { signal: typed, schema: { type: integer } }, needs: b }\n  d: { wait: { signal: \
                  either, schema: { type: integer } }, needs: a }\n  e: { wait: { signal: either }, needs: d }\n";
    let mut world = started(source);
    let mut schema = |name: &str| world.machine.signal_waits(NS, world.runs[0], name).unwrap().schema;
    assert_eq!(schema("typed"), Some(answer(r#"{"type":"integer"}"#)));
    assert_eq!((schema("either"), schema("go"), schema("none")), (None, None, None));
}

#[test]
fn a_wait_of_a_workflow_says_for_what_and_until_when() {
    let source = "workflow: w\nsteps:\n  a: { wait: { signal: packed, timeout: 1h } }\n  b: { wait: 5m }\n";
    let mut world = started(source);
    let tree = world.machine.run_tree(NS, world.runs[0]).unwrap();
    let waits: Vec<_> = tree.iter().flat_map(|node| &node.waits_for).collect();
    let shown = waits.iter().map(|wait| (wait.kind, wait.name.as_deref(), wait.until.is_some()));
    assert_eq!(shown.collect::<Vec<_>>(), [("signal", Some("packed"), true), ("time", None, true)]);
    world.act("signal packed 1");
    world.tick(Span::from_secs(600));
    world.verify();
}

#[test]
fn a_call_is_tried_as_often_as_it_says() {
    let mut world = started(ONE);
    world.taken("a", EffectClass::Idempotent);
    let retry =
        CallRetry { attempts: 3, initial: Span::from_secs(10), factor_milli: 3_000, max: Span::from_secs(1_000) };
    world.record("a", 0, call(CallOptions { retry: Some(retry), ..CallOptions::default() }), None).unwrap();
    world.record("a", 1, call(CallOptions::default()), None).unwrap();
    world.fail("a/call:1", true);
    assert!(matches!(told(&world).result, Some(Err(error)) if error.code == Code::AgentFailed), "once by default");
    world.park("a", &[0]).unwrap();
    for wait in [10, 30] {
        world.fail("a/call:0", true);
        world.tick(Span::from_secs(wait * 7 / 10));
        assert!(world.ready.is_empty(), "the pause of {wait} s is spread by a quarter, not more");
        world.tick(Span::from_secs(wait * 6 / 10));
        assert_eq!(world.ready.len(), 1);
    }
    world.fail("a/call:0", true);
    let entry = &journal(&mut world, "a")[0];
    assert!(matches!(&entry.result, Some(Err(error)) if error.code == Code::AgentFailed));
    world.verify();
}

#[test]
fn an_attempt_of_a_call_has_its_own_timeout() {
    let mut world = started(ONE);
    world.taken("a", EffectClass::Idempotent);
    let retry = CallRetry { attempts: 2, initial: Span(1), factor_milli: 1_000, max: Span(1) };
    let options = CallOptions { timeout: Some(Span::from_secs(5)), retry: Some(retry), ..CallOptions::default() };
    world.record("a", 0, call(options), None).unwrap();
    world.park("a", &[0]).unwrap();
    for _ in 0..2 {
        let (task, token) = world.find("a/call:0");
        assert!(world.machine.offer(task).unwrap().unwrap().deadline.is_some());
        world.taken("a/call:0", EffectClass::Idempotent);
        world.tick(Span::from_secs(6));
        assert_eq!(world.report(task, token, "1").unwrap_err().code, Code::Fenced);
    }
    let entry = &journal(&mut world, "a")[0];
    assert!(matches!(&entry.result, Some(Err(error)) if error.code == Code::TimedOut && error.message.contains("5s")));
    world.verify();
}

#[test]
fn a_call_that_cannot_be_done_so_is_answered_with_why() {
    let retry = |attempts, factor_milli| CallOptions {
        retry: Some(CallRetry { attempts, initial: Span(1), factor_milli, max: Span(1) }),
        ..CallOptions::default()
    };
    let labels: BTreeMap<String, String> = [("no name".to_owned(), String::new())].into();
    let routed = CallOptions { route: Some(Route { labels, ..Route::default() }), ..CallOptions::default() };
    let requests = [
        (call(retry(0, 1_000)), Code::LimitReached),
        (call(retry(limits::ATTEMPTS_MAX + 1, 1_000)), Code::LimitReached),
        (call(retry(2, 999)), Code::BadRequest),
        (call(CallOptions { timeout: Some(Span::ZERO), ..CallOptions::default() }), Code::BadRequest),
        (call(CallOptions { agent: Some("a b".to_owned()), ..CallOptions::default() }), Code::BadName),
        (call(routed), Code::BadName),
        (JournalRequest::Call { capability: "y z".to_owned(), input: Payload::null(), options: None }, Code::BadName),
        (JournalRequest::Signal { name: "no name".to_owned(), schema: None }, Code::BadName),
    ];
    let mut world = started(ONE);
    world.taken("a", EffectClass::Idempotent);
    for (index, (request, code)) in (0..).zip(requests) {
        world.record("a", index, request, None).unwrap();
        let found = told(&world).result.and_then(Result::err).map(|error| error.code);
        assert_eq!(found, Some(code), "entry {index}");
    }
    assert_eq!(world.ready.len(), 1, "nothing was made of them");
    world.complete("a", "1");
    world.verify();
}

#[test]
fn a_request_that_is_too_long_is_refused_and_not_recorded() {
    let routed = |route| call(CallOptions { route: Some(route), ..CallOptions::default() });
    let many: BTreeMap<String, String> = (0..33).map(|n| (format!("l{n}"), String::new())).collect();
    let mut world = started(ONE);
    world.taken("a", EffectClass::Idempotent);
    for bytes in [300, 65_536, 70_000, 1 << 20] {
        let long = "x".repeat(bytes);
        let requests = [
            (JournalRequest::Signal { name: long.clone(), schema: None }, Code::BadName),
            (JournalRequest::Run { name: long.clone() }, Code::LimitReached),
            (JournalRequest::Call { capability: long.clone(), input: Payload::null(), options: None }, Code::BadName),
            (call(CallOptions { agent: Some(long.clone()), ..CallOptions::default() }), Code::BadName),
            (routed(route(&long, "eu", "k")), Code::LimitReached),
            (routed(route("1", &long, "k")), Code::LimitReached),
            (routed(route("1", "eu", &long)), Code::LimitReached),
            (routed(Route { labels: many.clone(), ..Route::default() }), Code::LimitReached),
            (approval(&"p".repeat(limits::PROMPT_BYTES_MAX.max(bytes) + 1), "1"), Code::LimitReached),
        ];
        for (request, code) in requests {
            let error = world.record("a", 0, request, None).unwrap_err();
            assert!(error.code == code && error.to_string().len() < 1_000, "{error}");
        }
    }
    let longest = "s".repeat(limits::NAME_BYTES_MAX);
    world.record("a", 0, JournalRequest::Signal { name: longest.clone(), schema: None }, None).unwrap();
    let signal = SignalRun { namespace: NS.into(), run: world.runs[0], name: longest, payload: Payload::inline(*b"7") };
    world.apply(&Command::SignalRun(signal)).unwrap();
    assert!(matches!(told(&world).result, Some(Ok(_))));
    world.complete("a", "1");
    world.verify();
}

#[test]
fn how_a_call_is_done_may_change_between_attempts() {
    let mut world = started(ONE);
    world.taken("a", EffectClass::Idempotent);
    world.record("a", 0, call(CallOptions::default()), None).unwrap();
    world.record("a", 1, approval("send?", "1"), None).unwrap();
    world.lose("a", None);
    let other = CallOptions { timeout: Some(Span(7)), ..CallOptions::default() };
    world.record("a", 0, call(other), None).unwrap();
    world.record("a", 1, approval("send?", "2"), None).unwrap();
    assert_eq!(world.record("a", 1, approval("pay?", "1"), None).unwrap_err().code, Code::JournalDiverged);
    let elsewhere = JournalRequest::Call { capability: "y".to_owned(), input: Payload::null(), options: None };
    assert_eq!(world.record("a", 0, elsewhere, None).unwrap_err().code, Code::JournalDiverged);
    world.verify();
}

#[test]
fn a_task_asks_a_person_and_goes_on_with_the_answer() {
    let mut world = started(ONE);
    world.taken("a", EffectClass::Idempotent);
    world.record("a", 0, approval("send it?", "{\"to\":\"all\"}"), None).unwrap();
    world.record("a", 1, approval("pay?", "null"), None).unwrap();
    world.park("a", &[0, 1]).unwrap();
    let inbox = world.machine.tasks().inbox(NS, None, 10).unwrap().items;
    let shown: Vec<_> =
        inbox.iter().map(|item| (item.step.as_str(), item.title.as_str(), item.details.clone())).collect();
    let details = Some(Payload::inline(b"{\"to\":\"all\"}".as_slice()));
    assert_eq!(shown, [("a/call:0", "send it?", details), ("a/call:1", "pay?", None)]);
    let nodes = world.machine.run_tree(NS, world.runs[0]).unwrap();
    assert_eq!((nodes[0].below[0].kind, nodes[0].below[0].target.as_deref()), ("approve", None));

    world.act("approve a/call:1 fine");
    let yes = answer("{\"approved\":true,\"by\":\"ann\",\"comment\":\"fine\"}");
    assert_eq!(journal(&mut world, "a")[1].result, Some(Ok(yes)), "it is woken by either");
    world.act("reject a/call:0");
    let no = answer("{\"approved\":false,\"by\":\"ann\",\"comment\":null}");
    assert_eq!(told(&world).result, Some(Ok(no)), "a no is an answer");
    world.act("approve a/call:0");
    assert!(world.refusals[0].starts_with("C0206"), "a decision is final: {:?}", world.refusals);
    assert!(world.machine.tasks().inbox(NS, None, 10).unwrap().items.is_empty());
    world.complete("a", "2");
    world.refusals.clear();
    assert_eq!(world.show(), "run completed {\"a\":2}\n  a completed\n  a/call:0 completed\n  a/call:1 completed\n");
    world.verify();
}

#[test]
fn a_question_outlives_attempts_and_goes_with_its_task() {
    let mut world = started("workflow: w\nsteps:\n  a: { capability: x, retry: { attempts: 3 } }\n");
    let open = |world: &mut World| world.machine.tasks().inbox(NS, None, 10).unwrap().items.len();
    world.taken("a", EffectClass::Idempotent);
    world.record("a", 0, approval("send it?", "1"), None).unwrap();
    world.fail("a", true);
    assert_eq!(open(&mut world), 1);
    world.tick(Span::from_secs(5));
    assert_eq!(journal(&mut world, "a").len(), 1, "the next attempt finds its question");
    world.act("pause");
    world.act("approve a/call:0");
    assert!(journal(&mut world, "a")[0].result.is_some());
    world.act("resume");
    world.record("a", 1, approval("really?", "1"), None).unwrap();
    world.complete("a", "1");
    assert_eq!(open(&mut world), 0, "no item is left in the inbox");
    assert!(world.show().ends_with("a/call:1 cancelled C0312\n"), "{}", world.show());
    world.verify();
}

#[test]
fn a_cancelled_run_asks_nothing_and_its_fork_asks_anew() {
    let mut world = started(ONE);
    world.taken("a", EffectClass::Idempotent);
    world.record("a", 0, approval("send it?", "1"), None).unwrap();
    world.park("a", &[0]).unwrap();
    world.act("cancel");
    assert!(world.machine.tasks().inbox(NS, None, 10).unwrap().items.is_empty());
    assert!(world.ready.is_empty());
    world.act("fork");
    assert!(journal(&mut world, "2:a").is_empty());
    world.taken("2:a", EffectClass::Idempotent);
    world.record("2:a", 0, approval("send it?", "1"), None).unwrap();
    assert_eq!(world.machine.tasks().inbox(NS, None, 10).unwrap().items.len(), 1);
    world.verify();
}

#[test]
fn what_is_asked_about_is_kept_as_long_as_the_run() {
    let mut world = started(ONE);
    world.taken("a", EffectClass::Idempotent);
    let blob = BlobHash::of(b"long");
    let detail = Payload::Blob { hash: blob, len: 4 };
    world.record("a", 0, JournalRequest::Approval { prompt: "ok?".to_owned(), detail }, None).unwrap();
    assert!(world.machine.blob_used(&blob).unwrap());
    world.act("reject a/call:0");
    world.complete("a", "1");
    assert!(world.machine.blob_used(&blob).unwrap());
    world.act("delete");
    world.tick(Span::from_secs(1));
    assert!(!world.machine.blob_used(&blob).unwrap());
    world.verify();
}

#[test]
fn a_step_says_which_instances_may_take_it() {
    let source = "
workflow: w
steps:
  b: { capability: y }
  a:
    capability: x
    needs: [b]
    route: { version: '^1.2', labels: { region: '${{ steps.b.output.region }}', gpu: true }, sticky: '${{ steps.b.output.user }}' }
";
    let long = "u".repeat(limits::KEY_BYTES_MAX + 1);
    for (user, sticky) in [
        ("\"ann\"".to_owned(), "ann".to_owned()),
        ("{\"b\":1,\"a\":[2]}".to_owned(), "{\"a\":[2],\"b\":1}".to_owned()),
        (format!("\"{long}\""), BlobHash::of(long.as_bytes()).to_string()),
    ] {
        let mut world = started(source);
        assert_eq!(handed_out(&mut world, "b").route, None);
        world.complete("b", &format!("{{\"region\":\"eu\",\"user\":{user}}}"));
        let labels =
            [("gpu", "true"), ("region", "eu")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let expected = Route { version: Some("^1.2".to_owned()), labels, sticky: Some(sticky) };
        assert_eq!(handed_out(&mut world, "a").route.as_ref(), Some(&expected));
        let (live, _) = world.machine.live_tasks(None, 10).unwrap();
        assert!(matches!(&live[..], [LiveTask::Ready(ready)] if ready.route.as_ref() == Some(&expected)));
        world.verify();
    }
    let mut world = started(source);
    world.complete("b", &format!("{{\"region\":\"{}\",\"user\":1}}", "r".repeat(129)));
    assert!(world.show().contains("a failed C0007"), "{}", world.show());
    world.verify();
}

/// Starts `w` as a caller with a trace would.
fn start_traced(world: &mut World, traceparent: Option<&str>) -> Result<(), Error> {
    let id = RunId([7 + world.runs.len() as u8; 16]);
    let start = StartRun {
        traceparent: traceparent.map(str::to_owned),
        ..StartRun::requested(id, NS, "w", Payload::inline(b"{}".as_slice()))
    };
    let start = world.machine.prepare_start(start, None)?;
    world.apply(&Command::StartRun(start))?;
    world.runs.push(id);
    Ok(())
}

fn trace_of(world: &mut World, path: &str) -> (String, String, String) {
    let (task, _) = world.find(path);
    let text = world.machine.offer(task).unwrap().unwrap().traceparent;
    let parts: Vec<_> = text.split('-').map(str::to_owned).collect();
    assert_eq!((parts.len(), parts[0].as_str(), text.len()), (4, "00", 55));
    (parts[1].clone(), parts[2].clone(), parts[3].clone())
}

#[test]
fn runs_below_a_run_share_its_trace() {
    let mut world = World::new();
    world.deploy("workflow: c\nsteps:\n  s: { capability: x }\n");
    world.deploy("workflow: m\nsteps:\n  n: { workflow: c }\n");
    world.deploy("workflow: w\nsteps:\n  a: { capability: x }\n  b: { workflow: m }\n");
    start_traced(&mut world, None).unwrap();
    let (own, below) = (trace_of(&mut world, "a"), trace_of(&mut world, "s"));
    assert_eq!(own.0, format!("{:032x}", u128::from_be_bytes([7; 16])));
    assert_eq!((&below.0, below.2.as_str()), (&own.0, "01"));
    assert_ne!(own.1, below.1, "each attempt has its own span");
    world.complete("a", "1");
    world.complete("s", "1");

    start_traced(&mut world, Some(TRACE)).unwrap();
    let (own, below) = (trace_of(&mut world, "a"), trace_of(&mut world, "s"));
    assert_eq!(
        (own.0.as_str(), own.2.as_str()),
        (&TRACE[3..35], "00"),
        "the caller's trace, and whether it is sampled"
    );
    assert_eq!((&below.0, &below.2), (&own.0, &own.2));
    let error = start_traced(&mut world, Some("no trace")).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::BadRequest, "`no trace` is not a W3C `traceparent`"));
    world.refusals.clear();
    world.verify();
}

#[test]
fn a_step_that_cannot_say_what_it_asks_for_fails() {
    for setting in ["concurrency: { key: '${{ input.no }}', limit: 1 }", "route: { sticky: '${{ input.no }}' }"] {
        let source =
            format!("workflow: w\ninput: {{ type: object }}\nsteps:\n  a:\n    capability: x\n    {setting}\n");
        let mut world = started(&source);
        assert!(world.ready.is_empty());
        assert_eq!(world.show(), "run failed C0104\n  a failed C0104\n", "{setting}");
        world.verify();
    }
}
