//! The setting `assign`: what is read, refused and drawn.
//!
//! For: auctions in a file. Not for: who wins (the core has that).
//! Invariant: what no agent could bid for is refused before a run.

use consort_workflow::Reference;
use consort_workflow_check::Graph;

fn flow(step: &str) -> String {
    format!("workflow: w\ninput: {{ n: number }}\nsteps:\n  do:\n    {step}\n")
}

fn refused(step: &str) -> String {
    let found = consort_workflow_check::check(&flow(step)).unwrap_err();
    found.0.into_iter().map(|found| found.message).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_auction_is_a_word_or_a_map() {
    let definition = crate::parse(&flow("capability: x.y\n    assign: auction"));
    let plain = definition.root().steps[0].auction.clone().unwrap();
    assert_eq!(
        (plain.ask.as_str(), plain.wait.to_string(), plain.accept.to_string()),
        ("x.y.bid", "10s".into(), "1m".into())
    );
    assert!(plain.enough.is_none() && plain.award.is_none() && plain.max_awards.is_none());
    let definition = crate::parse(&flow(
        "capability: x\n    assign: { auction: { ask: offers, wait: 1m, enough: 2, accept: 5s, max_awards: 3, award: \"${{ bid.cost * input.n }}\" } }",
    ));
    let full = definition.root().steps[0].auction.clone().unwrap();
    assert_eq!((full.ask.as_str(), full.enough, full.max_awards), ("offers", Some(2), Some(3)));
    assert_eq!(full.award.unwrap().references(), [Reference::Input, Reference::Bid]);
}

#[test]
fn what_is_no_auction_is_refused_with_its_place() {
    for (step, said) in [
        ("agent: a\n    assign: auction", "chooses among the agents of a capability"),
        ("capability: x\n    agent: a\n    assign: auction", "chooses among the agents of a capability"),
        ("wait: 1s\n    assign: auction", "`assign` means nothing on a step of kind `wait`"),
        ("capability: x\n    assign: lottery", "must be one of `auction`"),
        ("capability: x\n    assign: {}", "`auction` is missing"),
        ("capability: x\n    assign: { auction: { enough: 0 } }", "from 1 to 64"),
        ("capability: x\n    assign: { auction: { max_awards: 65 } }", "from 1 to 64"),
        ("capability: x\n    assign: { auction: { bids: y } }", "no key `bids`"),
        ("capability: x\n    assign: { auction: { award: cheap } }", "must be one expression"),
        ("capability: x\n    assign: { auction: { award: \"${{ bid.cost > 1 }}\" } }", "`award` must be a number"),
        ("capability: x\n    assign: { auction: { award: \"${{ bid.price }}\" } }", "no field `price`"),
        ("capability: x\n    with: { a: \"${{ bid.cost }}\" }", "`bid` is known only in the `award`"),
    ] {
        let found = refused(step);
        assert!(found.contains(said), "{said}\n{found}");
    }
}

#[test]
fn a_drawing_says_that_there_is_an_auction() {
    let graph = Graph::of(&crate::parse(&flow("capability: x\n    assign: auction")));
    assert!(graph.mermaid().contains("by auction, bids by x.bid"), "{}", graph.mermaid());
}
