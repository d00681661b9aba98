//! `assign: auction`: the agents of a capability bid, and the best bid gets the task.
//!
//! For: who is called, which bid wins, who comes next, and what is remembered. Not for: instances (the dispatcher has
//! them).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, TABLES,
    command::{AgentChange, AttemptLost, RegisterAgent, RemoveAgent, SetAgent},
    view::{AgentView, BidView, RunStatus},
};
use consort_types::{
    Code, EffectClass, Locality, Span,
    worker::{AgentDeclaration, CapabilityDeclaration},
};
use serde_json::{Value, json};
use support::{NS, World};

const FLOW: &str = "workflow: w
input: { text: string }
steps:
  translate:
    capability: text.translate
    with: { text: \"${{ input.text }}\" }
    assign: auction
output: ${{ steps.translate.output }}
";

/// Lets an agent join that has the capability, and is called for bids where it says so.
fn join(world: &mut World, name: &str, called: bool, hints: Option<(u64, u64)>) {
    let capability = |name: &str, hints: Option<(u64, u64)>| CapabilityDeclaration {
        name: name.to_owned(),
        description: String::new(),
        effect: EffectClass::Idempotent,
        input_schema: true.into(),
        output_schema: true.into(),
        cost_hint_microdollars: hints.map(|(cost, _)| cost),
        time_hint: hints.map(|(_, seconds)| Span::from_secs(seconds)),
    };
    let mut capabilities = vec![capability("text.translate", hints)];
    capabilities.extend(called.then(|| capability("text.translate.bid", None)));
    let declaration = AgentDeclaration {
        name: name.to_owned(),
        version: "1".to_owned(),
        description: String::new(),
        labels: std::collections::BTreeMap::new(),
        subscriptions: Vec::new(),
        capabilities,
    };
    world.apply(&Command::RegisterAgent(RegisterAgent::new(NS, &declaration, Locality::Remote))).unwrap();
}

/// A run of the flow, with these agents that are called for bids.
fn world(flow: &str, agents: &[&str]) -> World {
    let mut world = World::new();
    world.deploy(flow);
    for agent in agents {
        join(&mut world, agent, true, None);
    }
    world.start("w", r#"{"text":"Guten Tag"}"#, None).unwrap();
    world
}

fn bids(world: &mut World, run: usize) -> Vec<BidView> {
    world.machine.run_tree(NS, world.runs[run]).unwrap().remove(0).bids
}

fn order(world: &mut World) -> Vec<(String, Option<u32>)> {
    bids(world, 0).into_iter().map(|bid| (bid.agent, bid.rank)).collect()
}

fn agent(world: &World, name: &str) -> AgentView {
    let agents = world.machine.registry().agents(NS, None, 100).unwrap().items;
    agents.into_iter().find(|agent| agent.declaration.name == name).unwrap()
}

#[track_caller]
fn output(world: &mut World, run: usize) -> Value {
    let run = world.machine.run_view(NS, world.runs[run]).unwrap();
    assert_eq!(run.summary.status, RunStatus::Completed, "{:?}", run.summary.error);
    serde_json::from_slice(run.output.unwrap().bytes().unwrap()).unwrap()
}

#[track_caller]
fn failure(world: &mut World) -> consort_types::Error {
    let run = world.machine.run_view(NS, world.runs[0]).unwrap();
    assert_eq!(run.summary.status, RunStatus::Failed);
    run.summary.error.unwrap()
}

#[test]
fn every_agent_of_the_capability_is_called_and_the_cheapest_gets_the_task() {
    let mut world = world(FLOW, &["ann", "bob", "cy"]);
    let (task, _) = world.find("translate/bid:bob");
    let offer = world.machine.offer(task).unwrap().unwrap();
    assert_eq!(offer.capability, "text.translate.bid");
    let asked: Value = serde_json::from_slice(offer.input.bytes().unwrap()).unwrap();
    assert_eq!(asked, json!({"capability": "text.translate", "input": {"text": "Guten Tag"}}));
    world.complete("translate/bid:ann", r#"{"cost": 3, "seconds": 1}"#);
    world.complete("translate/bid:bob", r#"{"cost": 2, "confidence": 0.5}"#);
    assert!(bids(&mut world, 0).is_empty(), "one bid is awaited");
    world.complete("translate/bid:cy", r#"{"cost": 2, "seconds": 9}"#);
    let expected = [("cy", Some(1)), ("ann", Some(2)), ("bob", Some(3))].map(|(name, rank)| (name.to_owned(), rank));
    assert_eq!(order(&mut world), expected, "a success of bob is expected to cost 4");
    let (task, _) = world.find("translate/award:cy");
    let offer = world.machine.offer(task).unwrap().unwrap();
    assert_eq!((offer.capability.as_str(), offer.step.as_str()), ("text.translate", "translate/award:cy"));
    let ready = world.effects.iter().rev().find_map(|effect| match effect {
        consort_core::Effect::Ready(ready) if ready.task == task => Some(ready.agent.clone()),
        _ => None,
    });
    assert_eq!(ready.unwrap().as_deref(), Some("cy"), "no other agent may take it");
    world.complete("translate/award:cy", r#""Good day""#);
    assert_eq!(output(&mut world, 0), json!("Good day"));
    let awards = agent(&world, "cy").awards.remove(0);
    assert_eq!((awards.won, awards.done, awards.failed), (1, 1, 0));
    assert!(agent(&world, "ann").awards.is_empty());
    world.verify();
}

#[test]
fn the_next_bid_gets_what_the_winner_fails_with_the_same_key() {
    let mut world = world(FLOW, &["ann", "bob"]);
    world.complete("translate/bid:ann", r#"{"cost": 1}"#);
    world.complete("translate/bid:bob", r#"{"cost": 2}"#);
    let key = |world: &mut World, path: &str| {
        let (task, _) = world.find(path);
        world.machine.offer(task).unwrap().unwrap().idempotency_key
    };
    let first = key(&mut world, "translate/award:ann");
    world.fail("translate/award:ann", false);
    assert_eq!(key(&mut world, "translate/award:bob"), first, "it is the same effect");
    world.complete("translate/award:bob", r#""done""#);
    assert_eq!(output(&mut world, 0), json!("done"));
    let awards = agent(&world, "ann").awards.remove(0);
    assert_eq!((awards.won, awards.failed, awards.reliability), (1, 1, 0.5));
    // Its word counts for less now: a success of ann is expected to cost 2 × 1.5, and bob has kept its word.
    world.start("w", r#"{"text":"x"}"#, None).unwrap();
    world.complete("2:translate/bid:ann", r#"{"cost": 1.5}"#);
    world.complete("2:translate/bid:bob", r#"{"cost": 2}"#);
    world.complete("2:translate/award:bob", "1");
    assert_eq!(output(&mut world, 1), json!(1));
    world.verify();
}

#[test]
fn an_agent_that_is_not_called_bids_what_it_declares() {
    let mut world = World::new();
    world.deploy(FLOW);
    join(&mut world, "ann", true, Some((1, 1)));
    join(&mut world, "hint", false, Some((1_500_000, 20)));
    join(&mut world, "mute", false, None);
    world.start("w", r#"{"text":"x"}"#, None).unwrap();
    world.complete("translate/bid:ann", r#"{"cost": 2}"#);
    let found = bids(&mut world, 0);
    assert_eq!(found.len(), 2, "mute has nothing to bid: {found:?}");
    assert!(found[0].agent == "hint" && found[0].declared, "{found:?}");
    assert_eq!((found[0].cost, found[0].seconds), (1.5, 20.0));
    world.complete("translate/award:hint", "1");
    world.verify();
}

#[test]
fn the_author_says_what_a_bid_is_worth() {
    let award = "${{ bid.reply.style == 'formal' ? bid.seconds * bid.record.slowness : null }}";
    let auction = format!("assign: {{ auction: {{ award: \"{award}\", max_awards: 1 }} }}");
    let mut world = world(&FLOW.replace("assign: auction", &auction), &["ann", "bob", "cy", "dan"]);
    world.complete("translate/bid:ann", r#"{"seconds": 9, "style": "formal"}"#);
    world.complete("translate/bid:bob", r#"{"seconds": 1, "style": "casual"}"#);
    world.complete("translate/bid:cy", r#"{"seconds": 5, "style": "formal"}"#);
    world.complete("translate/bid:dan", r#"{"seconds": 2}"#);
    let found = bids(&mut world, 0);
    let said: Vec<_> = found.iter().map(|bid| (bid.agent.as_str(), bid.score, bid.refused.as_deref())).collect();
    assert_eq!(
        said[..3],
        [("cy", Some(5.0), None), ("ann", Some(9.0), None), ("bob", None, Some("`award` refuses it"))]
    );
    assert!(said[3].2.unwrap().contains("style"), "{said:?}");
    world.fail("translate/award:cy", false);
    let error = failure(&mut world);
    assert!(error.code == Code::AgentFailed && error.message.starts_with("1 award failed"), "{error}");
    world.verify();
}

#[test]
fn bids_that_say_nothing_or_come_late_are_kept_with_the_reason() {
    let mut world = world(FLOW, &["ann", "bob", "cy", "dan", "eve"]);
    world.complete("translate/bid:ann", r#"{"decline": true, "reason": "no Latin"}"#);
    world.complete("translate/bid:bob", r#"{"cost": -1}"#);
    world.fail("translate/bid:cy", true);
    world.complete("translate/bid:dan", "7");
    world.tick(Span::from_secs(11));
    let error = failure(&mut world);
    assert_eq!(error.code, Code::NotAwarded);
    for part in [
        "`ann`: it declined: no Latin",
        "`bob`: the `cost` of its bid is no number from 0",
        "`cy`: translate/bid:cy broke",
        "`dan`: its bid is no map",
        "`eve`: it made no bid within 10s",
    ] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    world.verify();
}

#[test]
fn enough_bids_end_the_wait() {
    let flow = FLOW.replace("assign: auction", "assign: { auction: { enough: 2, wait: 1h } }");
    let mut world = world(&flow, &["ann", "bob", "cy"]);
    world.complete("translate/bid:cy", r#"{"cost": 3}"#);
    world.complete("translate/bid:ann", r#"{"decline": true}"#);
    assert!(bids(&mut world, 0).is_empty(), "one bid is not enough");
    world.complete("translate/bid:bob", r#"{"cost": 4}"#);
    assert_eq!(order(&mut world)[0], ("cy".to_owned(), Some(1)));
    world.complete("translate/award:cy", "1");
    world.verify();
    let mut world = self::world(&flow, &["ann", "bob", "cy"]);
    world.complete("translate/bid:cy", r#"{"cost": 3}"#);
    world.complete("translate/bid:bob", r#"{"cost": 4}"#);
    let found = bids(&mut world, 0);
    assert!(found[2].agent == "ann" && found[2].refused.as_deref().unwrap().contains("enough"), "{found:?}");
    world.complete("translate/award:cy", "1");
    world.verify();
}

#[test]
fn a_winner_that_does_not_take_the_task_or_dies_is_passed_over() {
    let mut world = world(FLOW, &["ann", "bob", "cy"]);
    for (name, cost) in [("ann", 1), ("bob", 2), ("cy", 3)] {
        world.complete(&format!("translate/bid:{name}"), &format!("{{\"cost\": {cost}}}"));
    }
    world.tick(Span::from_secs(61));
    let (task, token) = world.find("translate/award:bob");
    world.taken("translate/award:bob", EffectClass::Idempotent);
    world.tick(Span::from_secs(3600));
    let lost = AttemptLost { task, token, reason: "killed".to_owned(), died: Some(true) };
    world.apply(&Command::AttemptLost(lost)).unwrap();
    world.complete("translate/award:cy", "3");
    assert_eq!(output(&mut world, 0), json!(3));
    assert_eq!(agent(&world, "ann").awards[0].failed + agent(&world, "bob").awards[0].failed, 2);
    world.verify();
}

#[test]
fn what_may_have_happened_is_not_awarded_again() {
    for (rule, resolved) in [("fail", None), ("ask", Some("resolve translate/award:ann fail"))] {
        let flow = FLOW.replace("    assign", &format!("    effect: write\n    on_unknown: {rule}\n    assign"));
        let mut world = world(&flow, &["ann", "bob"]);
        world.complete("translate/bid:ann", r#"{"cost": 1}"#);
        world.complete("translate/bid:bob", r#"{"cost": 2}"#);
        world.taken("translate/award:ann", EffectClass::Write);
        world.lose("translate/award:ann", Some(true));
        match resolved {
            // A person says that it has failed: then the next may try.
            Some(line) => {
                assert_eq!(world.task_state(0, "translate/award:ann"), "unknown");
                world.act(line);
                world.complete("translate/award:bob", "2");
                assert_eq!(output(&mut world, 0), json!(2));
            }
            None => assert_eq!(failure(&mut world).code, Code::OutcomeUnknown),
        }
        world.verify();
    }
}

#[test]
fn without_a_bidder_the_step_fails_and_says_what_to_do() {
    let mut world = World::new();
    world.deploy(FLOW);
    join(&mut world, "mute", false, None);
    join(&mut world, "drained", true, None);
    let set =
        SetAgent { namespace: NS.to_owned(), name: "drained".to_owned(), version: None, change: AgentChange::Drain };
    world.apply(&Command::SetAgent(set)).unwrap();
    world.start("w", r#"{"text":"x"}"#, None).unwrap();
    let error = failure(&mut world);
    assert!(error.code == Code::NotAwarded && error.hint.unwrap().contains("`text.translate.bid`"));
    world.verify();
}

#[test]
fn an_auction_is_cancelled_retried_undone_and_forgotten_with_its_run() {
    let flow = FLOW
        .replace("    assign", "    compensate: { capability: text.undo }\n    assign")
        .replace("output:", "  after: { capability: check, needs: translate }\noutput:");
    let mut world = world(&flow, &["ann", "bob"]);
    world.complete("translate/bid:ann", r#"{"cost": 1}"#);
    world.act("cancel");
    world.go_on();
    assert_eq!(world.machine.run_view(NS, world.runs[0]).unwrap().summary.status, RunStatus::Cancelled);
    world.start("w", r#"{"text":"x"}"#, None).unwrap();
    world.complete("2:translate/bid:ann", r#"{"cost": 1}"#);
    world.complete("2:translate/bid:bob", r#"{"cost": 2}"#);
    world.reopen();
    world.complete("2:translate/award:ann", "1");
    world.fail("2:after", false);
    world.complete("2:compensate/translate/award:ann", "null");
    let remove = RemoveAgent { namespace: NS.to_owned(), name: "ann".to_owned(), version: None, force: true };
    world.apply(&Command::RemoveAgent(remove)).unwrap();
    join(&mut world, "ann", true, None);
    assert!(agent(&world, "ann").awards.is_empty(), "one that connects again is new");
    let auctions = |world: &mut World| world.rows().keys().filter(|key| TABLES.auctions.has(key)).count();
    assert_eq!(auctions(&mut world), 2);
    world.act("delete");
    world.go_on();
    assert_eq!(auctions(&mut world), 1, "that of the other run");
    world.verify();
}
