//! Steps that wait for an event: what they see, once, and how their waits end.
//!
//! For: topics, filters, crashes, work that goes over many records, and retention. Not for: the bus itself (see `bus`).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, TABLES,
    command::{CancelRun, NewEvent, PublishEvents, SetEventRetention},
    rows::EventRetention,
    view::{Events, RunStatus},
};
use consort_types::{Payload, Span, event::EventAttributes, event::Position, limits};
use serde_json::{Value, json};
use support::{NS, World, check};

const SECOND: Span = Span::from_secs(1);

const PAID: &str = "workflow: w
input: { order: string }
steps:
  paid:
    wait:
      event: orders.paid
      filter: ${{ event.data.order == input.order && event.data.amount > 0 }}
      timeout: 1h
output: ${{ steps.paid.output }}
";

fn world(flow: &str, orders: &[&str]) -> World {
    let mut world = World::new();
    world.deploy(flow);
    for order in orders {
        world.start("w", &format!(r#"{{"order":"{order}"}}"#), None).unwrap();
    }
    world
}

fn event(id: &str, topic: &str, data: &Value) -> NewEvent {
    let attributes = EventAttributes {
        id: id.to_owned(),
        source: "/shop".to_owned(),
        kind: "paid".to_owned(),
        topic: topic.to_owned(),
        ..EventAttributes::default()
    };
    NewEvent { attributes, data: Some(Payload::from_value(data)) }
}

fn publish(world: &mut World, events: Vec<NewEvent>) {
    world.apply(&Command::PublishEvents(PublishEvents { namespace: NS.to_owned(), events })).unwrap();
}

fn paid(world: &mut World, id: &str, order: &str) {
    publish(world, vec![event(id, "orders.paid", &json!({"order": order, "amount": 5}))]);
}

fn outcome(world: &mut World, run: usize) -> (RunStatus, Value) {
    let view = world.machine.run_view(NS, world.runs[run]).unwrap();
    let output = view
        .output
        .map_or(Value::Null, |output| serde_json::from_slice(&world.machine.payload_bytes(&output).unwrap()).unwrap());
    (view.summary.status, output)
}

/// The rows of steps that wait for events.
fn waiting(world: &mut World) -> usize {
    world.rows().keys().filter(|key| TABLES.event_waiters.has(key) || TABLES.event_waits.has(key)).count()
}

#[test]
fn a_step_gets_the_next_event_that_matches() {
    let mut world = world(PAID, &["1"]);
    let tree = world.machine.run_tree(NS, world.runs[0]).unwrap();
    let shown = &tree[0].waits_for[0];
    assert_eq!((shown.kind, shown.name.as_deref()), ("event", Some("orders.paid")));
    paid(&mut world, "a", "2");
    publish(&mut world, vec![event("b", "orders.sent", &json!({"order": "1", "amount": 5}))]);
    assert_eq!(outcome(&mut world, 0).0, RunStatus::Running);
    paid(&mut world, "c", "1");
    paid(&mut world, "d", "1");
    let (status, output) = outcome(&mut world, 0);
    assert_eq!(status, RunStatus::Completed);
    assert_eq!(
        (&output["id"], &output["topic"], &output["data"]["order"]),
        (&json!("c"), &json!("orders.paid"), &json!("1"))
    );
    assert!(output["position"].is_string() && output["published"].is_string(), "{output}");
    assert_eq!(waiting(&mut world), 0);
    world.verify();
}

#[test]
fn what_was_published_before_is_not_waited_for() {
    let mut world = world(PAID, &[]);
    paid(&mut world, "a", "1");
    world.start("w", r#"{"order":"1"}"#, None).unwrap();
    assert_eq!(outcome(&mut world, 0).0, RunStatus::Running);
    world.reopen();
    paid(&mut world, "b", "1");
    assert_eq!(outcome(&mut world, 0).1["id"], "b");
    world.verify();
}

#[test]
fn a_step_sees_what_another_step_of_the_record_publishes_after_it_began() {
    let flow = "workflow: w
input: { order: string }
steps:
  wait: { wait: { event: 'orders.*' } }
  tell: { publish: { type: orders.paid, data: '${{ input.order }}' } }
output: ${{ steps.wait.output.data }}
";
    let mut world = world(flow, &["1"]);
    assert_eq!(outcome(&mut world, 0), (RunStatus::Completed, json!("1")));
    world.verify();
}

#[test]
fn patterns_and_expressions_name_what_is_waited_for() {
    let flow = "workflow: w
input: { order: string }
steps: { any: { wait: { event: 'orders.${{ input.order }}.>' } } }
output: ${{ steps.any.output.topic }}
";
    let mut world = world(flow, &["1", "2", "a b"]);
    for (id, topic) in [("a", "orders"), ("b", "orders.1"), ("c", "orders.2.sent.late"), ("d", "other.1.sent")] {
        publish(&mut world, vec![event(id, topic, &Value::Null)]);
    }
    assert_eq!(outcome(&mut world, 0).0, RunStatus::Running);
    assert_eq!(outcome(&mut world, 1), (RunStatus::Completed, json!("orders.2.sent.late")));
    let error = world.machine.run_view(NS, world.runs[2]).unwrap().summary.error.unwrap();
    assert!(error.message.contains("in `event`: `orders.a b.>` cannot be a pattern"), "{error}");
    world.verify();
}

#[test]
fn a_filter_that_fails_is_no_match_and_the_timeout_tells_of_it() {
    let mut world = world(PAID, &["1"]);
    publish(&mut world, vec![event("a", "orders.paid", &json!({"amount": 5}))]);
    assert_eq!(outcome(&mut world, 0).0, RunStatus::Running);
    world.tick(Span::from_secs(3_600));
    let error = world.machine.run_view(NS, world.runs[0]).unwrap().summary.error.unwrap();
    assert!(error.message.contains("within its timeout: in `filter`, of event `"), "{error}");
    assert_eq!(waiting(&mut world), 0);
    world.verify();
}

#[test]
fn a_wait_goes_with_its_step() {
    let group = "workflow: w
input: { order: string }
steps:
  some: { deadline: 1m, steps: { a: { wait: { event: t } }, b: { for_each: [1, 2], wait: { event: '>' } } } }
";
    for how in ["cancel", "deadline"] {
        let mut world = world(group, &["1"]);
        assert_eq!(waiting(&mut world), 6);
        if how == "cancel" {
            let cancel =
                CancelRun { namespace: NS.to_owned(), run: world.runs[0], reason: "test".into(), force: false };
            world.apply(&Command::CancelRun(cancel)).unwrap();
        } else {
            world.tick(Span::from_secs(60));
        }
        assert_eq!(waiting(&mut world), 0, "{how}");
        publish(&mut world, vec![event("a", "t", &Value::Null)]);
        assert_eq!(Events::of(&mut world.machine).stream(NS).unwrap().events, 1);
        world.verify();
    }
    check(
        "workflow: w\nsteps:\n  a: { wait: { event: t, timeout: 5s }, continue_on_error: true }\n",
        &["start", "tick 5s"],
        "
        run completed {\"a\":null}
          a failed C0305
        ",
    );
}

/// Many steps that wait for each of a few events, with little room in a record.
#[test]
fn what_a_record_cannot_show_goes_on_with_the_next() {
    let flow = "workflow: w
input: { order: string }
steps:
  many:
    for_each: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    wait:
      event: \"${{ index % 2 == 0 ? 'n.a' : 'n.*' }}\"
      filter: ${{ event.data >= item }}
output: ${{ steps.many.output.map(event, event.data) }}
";
    let mut world = World::limited(8, limits::EXPRESSION_COST_MAX);
    world.deploy(flow);
    world.start("w", r#"{"order":"1"}"#, None).unwrap();
    world.go_on();
    let keep = EventRetention { age: None, bytes: None, count: Some(1) };
    world.apply(&Command::SetEventRetention(SetEventRetention { namespace: NS.to_owned(), keep })).unwrap();
    for n in [3, 9, 12] {
        publish(&mut world, vec![event(&format!("a{n}"), "n.a", &json!(n)), event(&format!("b{n}"), "n.b", &json!(n))]);
    }
    let kept = Events::of(&mut world.machine).stream(NS).unwrap().events;
    assert!(kept > 1, "the retention leaves what was not shown yet: {kept}");
    world.reopen();
    assert!(world.go_on() > 3);
    assert_eq!(Events::of(&mut world.machine).stream(NS).unwrap().events, 1);
    publish(&mut world, vec![event("last", "n.a", &json!(99))]);
    world.go_on();
    let (status, output) = outcome(&mut world, 0);
    assert_eq!(status, RunStatus::Completed);
    assert_eq!(output, json!([3, 3, 3, 3, 9, 9, 9, 9, 9, 9, 12, 12, 12, 99, 99, 99]));
    assert_eq!(waiting(&mut world), 0);
    world.verify();
}

#[test]
fn steps_that_wait_for_other_topics_cost_nothing() {
    let flow = "workflow: w
input: { order: string }
steps: { one: { wait: { event: 'orders.${{ input.order }}' } } }
";
    let mut world = world(flow, &[]);
    publish(&mut world, vec![event("first", "t", &Value::Null)]);
    let mut cost = Vec::new();
    for n in 0..100 {
        world.start("w", &format!(r#"{{"order":"{n}"}}"#), None).unwrap();
        publish(&mut world, vec![event(&n.to_string(), "t", &Value::Null)]);
        cost.push(world.units);
    }
    assert_eq!(cost.first(), cost.last());
    publish(&mut world, vec![event("x", "orders.50", &Value::Null)]);
    assert_eq!(outcome(&mut world, 50).0, RunStatus::Completed);
    assert_eq!(Events::of(&mut world.machine).list(NS, None, Position::ZERO, 1).unwrap().events.len(), 1);
    world.tick(SECOND);
    world.verify();
}
