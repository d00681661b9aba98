//! The steps `publish` and `state`: what a run says to everyone, and what it reads and writes beside everyone.
//!
//! For: that event, write and outcome of the step are one record, and what fails the step. Not for: the bus and the state
//! store themselves (see `bus` and `state`).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command,
    command::SetTrigger,
    rows::{TriggerAction, TriggerSettings},
    view::{Events, RunStatus, SharedState},
};
use consort_types::{Code, Error, Span, event::Position, limits};
use consort_workflow_check::event_expression;
use serde_json::{Value, json};
use support::{NS, World, check};

const SECOND: Span = Span::from_secs(1);

fn world(flow: &str, input: &str) -> World {
    let mut world = World::new();
    world.deploy(flow);
    world.start("w", input, None).unwrap();
    world
}

/// The output of a step of a run.
fn step_output(world: &mut World, run: usize, path: &str) -> Value {
    let (task, id) = (world.task(run, path), world.runs[run]);
    let page = world.machine.steps(NS, id, None, 1000).unwrap();
    let output = page.items.into_iter().find(|step| step.task == task).unwrap().output.expect("the step has an output");
    let bytes = world.machine.payload_bytes(&output).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn step_error(world: &mut World, run: usize, path: &str) -> Error {
    let (task, id) = (world.task(run, path), world.runs[run]);
    let page = world.machine.steps(NS, id, None, 1000).unwrap();
    page.items.into_iter().find(|step| step.task == task).unwrap().error.expect("the step has an error")
}

fn status(world: &mut World, run: usize) -> RunStatus {
    world.machine.run_view(NS, world.runs[run]).unwrap().summary.status
}

/// The events of the namespace: topic, source, id and data.
fn events(world: &mut World) -> Vec<(Position, String, String, String, Value)> {
    let page = Events::of(&mut world.machine).list(NS, None, Position::ZERO, 1_000).unwrap();
    let mut found = Vec::new();
    for event in page.events {
        let bytes = event.data.map(|data| world.machine.payload_bytes(&data).unwrap());
        let data = bytes.map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
        let attributes = event.attributes;
        found.push((event.position, attributes.topic, attributes.source, attributes.id, data));
    }
    found
}

/// The value of a key as it is; null where it has none.
fn value(world: &mut World, space: &str, key: &str) -> Value {
    let Ok(found) = SharedState::of(&mut world.machine).get(NS, space, key, None) else { return Value::Null };
    let bytes = world.machine.payload_bytes(&found.value).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

const SHIP: &str = "workflow: w
input: { order: string }
steps:
  ship: { capability: ship }
  tell:
    publish:
      type: order.shipped
      subject: ${{ input.order }}
      data: { order: '${{ input.order }}', parcel: '${{ steps.ship.output.parcel }}' }
  after: { capability: thank, with: { at: '${{ steps.tell.output.position }}' } }
";

#[test]
fn an_event_and_the_outcome_of_its_step_are_one_record() {
    let mut world = world(SHIP, r#"{"order":"7"}"#);
    assert!(events(&mut world).is_empty());
    world.complete("ship", r#"{"parcel":"P1"}"#);
    let told = events(&mut world);
    let [(position, topic, source, id, data)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(position.seq, world.machine.applied(), "the event is in the record that completed the step before");
    let task = world.task(0, "tell");
    assert_eq!((topic.as_str(), id), ("order.shipped", &task.to_string()));
    assert_eq!(*source, format!("/runs/{}", world.runs[0]));
    assert_eq!(*data, json!({"order": "7", "parcel": "P1"}));
    let output = step_output(&mut world, 0, "tell");
    let expected = json!({
        "id": id, "source": source, "type": "order.shipped", "topic": topic,
        "position": position.to_string(), "deduplicated": false,
    });
    assert_eq!(output, expected);
    world.complete("after", "null");
    assert_eq!(status(&mut world, 0), RunStatus::Completed);
    world.verify();
}

#[test]
fn steps_that_begin_in_one_record_publish_one_event_each() {
    let flow = "workflow: w
steps:
  many: { for_each: [1, 2, 3], publish: { type: t, data: '${{ item }}' } }
  two: { publish: { type: t, data: two } }
";
    let mut world = world(flow, "{}");
    let found: Vec<Value> = events(&mut world).into_iter().map(|(.., data)| data).collect();
    assert_eq!(found, [json!("two"), json!(1), json!(2), json!(3)]);
    let positions: Vec<String> = events(&mut world).iter().map(|(at, ..)| at.to_string()).collect();
    assert_eq!(step_output(&mut world, 0, "many[2]")["position"], *positions.last().unwrap());
    assert_eq!(status(&mut world, 0), RunStatus::Completed);
    world.verify();
}

#[test]
fn an_id_that_was_published_before_is_told_in_the_output() {
    let flow = "workflow: w
input: { id: string }
steps: { tell: { publish: { type: t, id: '${{ input.id }}', source: /orders } } }
";
    let mut world = world(flow, r#"{"id":"one"}"#);
    world.start("w", r#"{"id":"one"}"#, None).unwrap();
    let (first, second) = (step_output(&mut world, 0, "tell"), step_output(&mut world, 1, "tell"));
    assert_eq!((&first["deduplicated"], &second["deduplicated"]), (&json!(false), &json!(true)));
    assert_eq!(first["position"], second["position"]);
    assert_eq!(events(&mut world).len(), 1);
    world.verify();
}

#[test]
fn an_event_that_cannot_be_published_fails_the_step() {
    let flow = "workflow: w
input: { topic: string }
steps: { tell: { publish: { type: t, topic: '${{ input.topic }}', data: { large: true } } } }
";
    let mut world = world(flow, r#"{"topic":"no spaces"}"#);
    let error = step_error(&mut world, 0, "tell");
    assert!(error.code == Code::BadTopic && error.message.starts_with("in `publish`: "), "{error}");
    assert!(events(&mut world).is_empty());
    assert_eq!(status(&mut world, 0), RunStatus::Failed);
    world.verify();
}

#[test]
fn a_cancelled_step_has_published_nothing() {
    check(
        "workflow: w\nsteps:\n  a: { capability: c }\n  tell: { publish: { type: t }, needs: a }\n",
        &["start", "cancel"],
        "
        run cancelled C0312
          a cancelled C0312
          tell cancelled C0312
        ",
    );
}

#[test]
fn triggers_see_what_a_step_publishes() {
    let mut world = World::new();
    world.deploy(
        "workflow: note\ninput: { n: integer }\nsteps: { a: { capability: c, with: { n: '${{ input.n }}' } } }",
    );
    world.deploy("workflow: w\nsteps: { tell: { publish: { type: t.made, data: { n: 4 } } } }");
    let action = TriggerAction::Start { workflow: "note".to_owned(), version: None, input: None };
    let filter = Some(event_expression("filter", "event.data.n > 3", None).unwrap());
    let settings = TriggerSettings { pattern: "t.*".to_owned(), filter, action };
    let set = SetTrigger { namespace: NS.to_owned(), name: "notes".to_owned(), settings };
    world.apply(&Command::SetTrigger(set)).unwrap();
    world.start("w", "{}", None).unwrap();
    let (task, _) = world.find("a");
    let input = world.machine.offer(task).unwrap().unwrap().input;
    assert_eq!(input.bytes().unwrap(), br#"{"n":4}"#);
    world.verify();
}

const SAVE: &str = "workflow: w
input: { team: string }
steps:
  before: { state: { space: budgets, get: 'team/${{ input.team }}' } }
  work: { capability: spend, with: { left: '${{ steps.before.output.value }}' } }
  save:
    state:
      space: budgets
      put: team/${{ input.team }}
      value: ${{ steps.work.output.left }}
      version: ${{ steps.before.output.version }}
";

#[test]
fn a_run_reads_and_writes_shared_state() {
    let mut world = world(SAVE, r#"{"team":"a"}"#);
    let read = step_output(&mut world, 0, "before");
    assert_eq!(read, json!({"space": "budgets", "key": "team/a", "outcome": "read", "version": 0, "value": null}));
    world.complete("work", r#"{"left":10}"#);
    assert_eq!(value(&mut world, "budgets", "team/a"), json!(10));
    let seq = world.machine.applied();
    let written = step_output(&mut world, 0, "save");
    assert_eq!((&written["outcome"], &written["version"]), (&json!("written"), &json!(seq.0)));
    let found = SharedState::of(&mut world.machine).get(NS, "budgets", "team/a", None).unwrap();
    assert_eq!((found.by.run, found.by.step.as_deref()), (Some(world.runs[0]), Some("save")));
    assert_eq!(status(&mut world, 0), RunStatus::Completed);
    world.verify();
}

#[test]
fn a_write_that_did_not_see_the_latest_value_fails_its_step() {
    let mut world = world(SAVE, r#"{"team":"a"}"#);
    world.start("w", r#"{"team":"a"}"#, None).unwrap();
    world.complete("1:work", r#"{"left":10}"#);
    world.complete("2:work", r#"{"left":20}"#);
    let error = step_error(&mut world, 1, "save");
    assert_eq!(error.code, Code::StateConflict, "{error}");
    assert_eq!(value(&mut world, "budgets", "team/a"), json!(10));
    assert_eq!((status(&mut world, 0), status(&mut world, 1)), (RunStatus::Completed, RunStatus::Failed));
    world.verify();
}

#[test]
fn conditions_choose_what_is_done() {
    let flow = "workflow: w
input: { who: string }
steps:
  claim:
    state:
      if: [{ space: s, key: leader, exists: false }]
      do: [{ op: put, space: s, key: leader, value: '${{ input.who }}' }]
      else: [{ op: get, space: s, key: leader }]
";
    let mut world = world(flow, r#"{"who":"ann"}"#);
    world.start("w", r#"{"who":"bob"}"#, None).unwrap();
    let (first, second) = (step_output(&mut world, 0, "claim"), step_output(&mut world, 1, "claim"));
    assert_eq!((&first["succeeded"], &second["succeeded"]), (&json!(true), &json!(false)));
    assert_eq!(second["results"][0]["value"], "ann");
    world.verify();
}

const WAITS: &str = "workflow: w
steps:
  take:
    state:
      if: [{ space: s, key: ready, exists: true }]
      do: [{ op: delete, space: s, key: ready }, { op: put, space: s, key: taken, value: true }]
    retry: { attempts: 3, backoff: { initial: 1s, factor: 1, max: 1s }, on: [C0703] }
  count: { state: { space: s, put: tries, value: '${{ steps.take.attempts }}' }, if: '${{ always() }}' }
";

#[test]
fn a_condition_that_does_not_hold_is_tried_again_as_the_author_says() {
    let mut world = world(WAITS, "{}");
    assert_eq!(world.task_state(0, "take"), "waiting");
    world.deploy("workflow: ready\nsteps: { set: { state: { space: s, put: ready, value: 1 } } }");
    world.start("ready", "{}", None).unwrap();
    world.tick(Span(2 * SECOND.0));
    assert_eq!(status(&mut world, 0), RunStatus::Completed);
    assert_eq!((value(&mut world, "s", "ready"), value(&mut world, "s", "taken")), (Value::Null, json!(true)));
    assert_eq!(value(&mut world, "s", "tries"), 2);
    world.verify();
    let mut world = self::world(WAITS, "{}");
    world.tick(Span(9 * SECOND.0));
    let error = step_error(&mut world, 0, "take");
    assert!(error.code == Code::StateConflict && error.message.contains("does not hold"), "{error}");
    assert_eq!((value(&mut world, "s", "taken"), value(&mut world, "s", "tries")), (Value::Null, json!(3)));
    world.verify();
}

#[test]
fn a_step_that_waits_to_try_again_is_cancelled_with_its_run() {
    check(
        WAITS,
        &["start", "cancel", "tick 60s"],
        "
        run cancelled C0312
          take cancelled C0312
          count completed
        ",
    );
}

#[test]
fn a_large_value_is_kept_once_and_goes_with_its_key() {
    let flow = "workflow: w
input: { large: string }
steps:
  save: { state: { space: s, put: k, value: '${{ input.large }}' } }
  gone: { state: { space: s, delete: k }, needs: save }
  again: { state: { space: s, delete: k }, needs: gone }
";
    let large = format!(r#"{{"large":"{}"}}"#, "x".repeat(limits::INLINE_BYTES_MAX));
    let mut world = world(flow, &large);
    world.tick(SECOND);
    assert_eq!(step_output(&mut world, 0, "gone")["outcome"], "deleted");
    assert_eq!(step_output(&mut world, 0, "again")["outcome"], "absent");
    world.verify();
}

#[test]
fn a_transaction_that_is_none_fails_the_step() {
    let flow = "workflow: w
input: { do: array }
steps: { all: { state: { do: '${{ input.do }}' } } }
";
    let mut world = world(flow, r#"{"do":[{"op":"push","space":"s","key":"k"}]}"#);
    let error = step_error(&mut world, 0, "all");
    assert!(error.code == Code::BadRequest && error.message.starts_with("in `state`: "), "{error}");
    let twice = r#"{"do":[{"op":"put","space":"s","key":"k","value":1},{"op":"delete","space":"s","key":"k"}]}"#;
    world.start("w", twice, None).unwrap();
    assert_eq!(step_error(&mut world, 1, "all").code, Code::BadRequest);
    assert_eq!(value(&mut world, "s", "k"), Value::Null);
    world.verify();
}

/// A version is the record that wrote it: of two steps that write a key in one record, one waits for the next.
#[test]
fn a_key_is_written_once_in_a_record() {
    let flow = "workflow: w
steps:
  first: { state: { space: s, put: k, value: 1 } }
  read: { state: { space: s, get: k }, needs: first }
  second: { state: { space: s, put: k, value: 2 }, needs: read }
  other: { state: { space: t, put: k, value: 3 }, needs: read }
  late: { capability: c, needs: [second, other] }
  third: { state: { space: s, put: k, value: 3, version: '${{ steps.read.output.version }}' }, needs: late }
";
    let mut world = world(flow, "{}");
    assert_eq!(value(&mut world, "s", "k"), json!(1));
    assert_eq!((world.task_state(0, "second"), world.task_state(0, "other")), ("waiting", "completed"));
    world.tick(SECOND);
    assert_eq!((value(&mut world, "s", "k"), value(&mut world, "t", "k")), (json!(2), json!(3)));
    let (read, second) = (step_output(&mut world, 0, "read"), step_output(&mut world, 0, "second"));
    assert!(read["version"].as_u64() < second["version"].as_u64(), "{read} {second}");
    world.complete("late", "null");
    assert_eq!(step_error(&mut world, 0, "third").code, Code::StateConflict);
    world.verify();
}

#[test]
fn spaces_that_steps_of_one_record_make_are_not_the_same() {
    let flow = "workflow: w\nsteps: { all: { for_each: [a, b, c], state: { space: '${{ item }}', put: k, value: '${{ item }}' } } }";
    let mut world = world(flow, "{}");
    for space in ["a", "b", "c"] {
        assert_eq!(value(&mut world, space, "k"), json!(space));
    }
    assert_eq!(status(&mut world, 0), RunStatus::Completed);
    world.verify();
}

/// The example of a workflow on the page of the language.
fn example(name: &str) -> String {
    const PAGE: &str = include_str!("../../../docs/workflow-language.md");
    let begins = format!("```yaml\nworkflow: {name}\n");
    let at = PAGE.find(&begins).unwrap_or_else(|| panic!("the page has no workflow `{name}`"));
    PAGE[at + "```yaml\n".len()..].split("```").next().unwrap().to_owned()
}

#[test]
fn the_examples_of_the_page_run() {
    let mut world = World::new();
    for name in ["ship", "spend", "deploy", "guarded"] {
        world.deploy(&example(name));
    }
    world.start("ship", r#"{"order":"7"}"#, None).unwrap();
    world.complete("1:parcel", r#"{"id":"P1"}"#);
    assert_eq!(events(&mut world)[0].4, json!({"order": "7", "parcel": "P1"}));
    world.deploy("workflow: fill\nsteps: { put: { state: { space: budgets, put: team/a, value: 10 } } }");
    world.start("fill", "{}", None).unwrap();
    world.start("spend", r#"{"team":"a","amount":4}"#, None).unwrap();
    world.tick(SECOND);
    assert_eq!(value(&mut world, "budgets", "team/a"), json!(6));
    assert_eq!(value(&mut world, "budgets", "owner/a"), json!(world.runs[2].to_string()));
    world.start("deploy", r#"{"service":"web","version":"2"}"#, None).unwrap();
    world.complete("4:deploy/roll", "null");
    world.tick(SECOND);
    assert_eq!(value(&mut world, "deployed", "web"), json!("2"));
    world.start("guarded", r#"{"team":"a"}"#, None).unwrap();
    world.complete("5:act", "null");
    for run in 0..5 {
        assert_eq!(status(&mut world, run), RunStatus::Completed, "{run}");
    }
    world.verify();
}
