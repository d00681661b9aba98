//! The `consensus` step: voters are calls, their answers become one decision.
//!
//! For: decisions, silence, dissent, no decision. Not for: how votes are counted (see `ballot_tally`).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::view::RunStatus;
use serde_json::{Value, json};
use support::{NS, World};

const FLOW: &str = "workflow: w
input: { question: string }
steps:
  decide:
    consensus:
      question: ${{ input.question }}
      options: [ship, wait]
      voters:
        legal: { capability: review.legal, weight: 2 }
        risk: { capability: review.risk, with: { ask: \"${{ input.question }}\" } }
        style: { capability: review.style }
      rule: majority
      quorum: 2
output: ${{ steps.decide.output }}
";

fn world(flow: &str) -> World {
    let mut world = World::new();
    world.deploy(flow);
    world.start("w", r#"{"question":"Ship it?"}"#, None).unwrap();
    world
}

fn output(world: &mut World) -> Value {
    let run = world.machine.run_view(NS, world.runs[0]).unwrap();
    assert_eq!(run.summary.status, RunStatus::Completed, "{:?}", run.summary.error);
    serde_json::from_slice(run.output.unwrap().bytes().unwrap()).unwrap()
}

#[test]
fn voters_are_asked_and_their_votes_decide() {
    let mut world = world(FLOW);
    let (task, _) = world.find("decide/legal");
    let asked = world.machine.offer(task).unwrap().unwrap().input;
    let asked: Value = serde_json::from_slice(asked.bytes().unwrap()).unwrap();
    assert_eq!(asked, json!({"question": "Ship it?", "options": ["ship", "wait"]}));
    world.complete("decide/risk", r#"{"choice":"ship","reason":"users wait"}"#);
    world.complete("decide/style", r#"{"choice":"ship"}"#);
    world.complete("decide/legal", r#"{"choice":"wait"}"#);
    // Two against two: a tie, and no rule for it.
    let error = world.machine.run_view(NS, world.runs[0]).unwrap().summary.error.unwrap();
    assert!(error.code == consort_types::Code::NotDecided && error.message.contains("2 for `ship`"), "{error}");
    world.verify();
}

#[test]
fn a_voter_that_fails_or_talks_nonsense_is_silent() {
    let mut world = world(FLOW);
    world.fail("decide/style", false);
    world.complete("decide/risk", r#"{"choice":"burn"}"#);
    world.complete("decide/legal", r#"{"choice":"wait"}"#);
    let error = world.machine.run_view(NS, world.runs[0]).unwrap().summary.error.unwrap();
    assert!(error.message.contains("no quorum") && error.message.contains("silent: risk, style"), "{error}");
    world.verify();
    let mut world = self::world(&FLOW.replace("quorum: 2", "quorum: 1"));
    world.fail("decide/style", false);
    world.complete("decide/risk", r#"{"choice":"ship","reason":"users wait"}"#);
    world.complete("decide/legal", r#"{"choice":"wait"}"#);
    let output = output(&mut world);
    assert_eq!((&output["decision"], &output["dissent"]), (&json!("wait"), &json!(["risk"])));
    assert_eq!(output["silent"]["style"], "decide/style broke");
    assert_eq!(
        output["votes"][1],
        json!({"voter": "risk", "choice": "ship", "reason": "users wait", "dissents": true})
    );
    assert_eq!(output["tally"]["scores"][0], json!({"answer": "wait", "score": 2, "voters": 1}));
    world.verify();
}

#[test]
fn no_decision_may_have_an_output() {
    let mut world = world(&FLOW.replace("quorum: 2", "on_undecided: ${{ input.question + '!' }}"));
    for voter in ["legal", "risk", "style"] {
        world.fail(&format!("decide/{voter}"), false);
    }
    let output = output(&mut world);
    assert_eq!((&output["decision"], &output["undecided"]), (&json!("Ship it?!"), &json!("no_quorum")));
    world.verify();
}

#[test]
fn equal_answers_outvote_a_liar() {
    let flow = "workflow: w
steps:
  fact:
    consensus:
      question: How many?
      voters: { a: { agent: one }, b: { agent: two }, c: { agent: three }, d: { agent: four } }
      rule: equality
      faults: 1
output: ${{ steps.fact.output.decision }}
";
    let mut world = world(&flow.replace("steps:\n  fact", "input: { question: string }\nsteps:\n  fact"));
    for (voter, value) in [("a", r#"{"n":7}"#), ("b", r#"{"n":7.0}"#), ("c", r#"{"n":8}"#), ("d", r#"{ "n" : 7e0 }"#)] {
        world.complete(&format!("fact/{voter}"), &format!(r#"{{"value":{value}}}"#));
    }
    assert_eq!(output(&mut world), json!({"n": 7}));
    world.verify();
}
