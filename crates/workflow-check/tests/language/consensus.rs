//! The action `consensus`: what is read, refused and drawn.
//!
//! For: rules, voters and their settings in a file. Not for: decisions (the core has those).
//! Invariant: what no votes could decide is refused before a run.

use consort_workflow::Action;
use consort_workflow_check::Graph;

fn flow(body: &str) -> String {
    format!("workflow: w\nsteps:\n  ask:\n    consensus:\n      question: Q?\n{body}")
}

fn refused(body: &str) -> String {
    let found = consort_workflow_check::check(&flow(body)).unwrap_err();
    found.0.into_iter().map(|found| found.message).collect::<Vec<_>>().join("\n")
}

#[test]
fn voters_are_calls_whose_failure_is_silence() {
    let definition = crate::parse(&flow(
        "      options: [a, b]\n      deadline: 5m\n      status_quo: b\n      voters:\n        \
         one: { capability: x, weight: 3, retry: { attempts: 2 } }\n        two: { agent: y, deadline: 1m }\n",
    ));
    let Action::Consensus(consensus) = &definition.root().steps[0].action else { panic!("{definition:?}") };
    let voters = &definition.block(consensus.block).steps;
    assert!(voters.iter().all(|voter| voter.continue_on_error && voter.action.kind() == "call"));
    let deadlines: Vec<_> = voters.iter().map(|voter| voter.deadline.unwrap().to_string()).collect();
    assert_eq!((deadlines.as_slice(), voters[0].retry.attempts), (&["5m".to_owned(), "1m".to_owned()][..], 2));
    let spec = &consensus.spec;
    assert_eq!((spec.voters[0].weight, spec.quorum, spec.tie.status_quo()), (3, 2, Some("b")));
}

#[test]
fn what_could_not_be_decided_is_refused_with_its_place() {
    let voters = "      voters: { one: { capability: x }, two: { capability: x } }\n";
    for (body, said) in [
        (format!("{voters}      rule: equality\n      faults: 1\n"), "`2` voters cannot tolerate `1`"),
        (format!("{voters}      rule: majorty\n"), "`majorty` is not a rule"),
        (format!("{voters}      rule: ranked\n"), "needs options"),
        (format!("{voters}      options: [a, a]\n"), "more than once"),
        (format!("{voters}      quorum: 3\n"), "quorum"),
        (format!("{voters}      fraction: 2/3\n"), "`supermajority`"),
        (format!("{voters}      options: a\n"), "a list of texts"),
        ("      voters: { one: { weight: 2 } }\n".to_owned(), "the voter is no call"),
        ("      voters: { one: { capability: x, weight: 0 } }\n".to_owned(), "from 1 to 1000"),
        ("      voters: [x]\n".to_owned(), "a map from names to calls"),
        ("      options: [a, b]\n".to_owned(), "`voters` is missing"),
        (format!("{voters}      rounds: 2\n"), "no key `rounds`"),
        (format!("{voters}    timeout: 3s\n"), "means nothing on a step of kind `consensus`"),
    ] {
        let found = refused(&body);
        assert!(found.contains(said), "{said}\n{found}");
    }
}

#[test]
fn a_drawing_shows_the_voters_inside() {
    let definition =
        crate::parse(&flow("      voters: { one: { capability: x }, two: { agent: y } }\n      rule: median\n"));
    let graph = Graph::of(&definition);
    assert!(graph.mermaid().contains("subgraph n0[\"ask<br/>consensus of 2 by median\"]"), "{}", graph.mermaid());
    assert!(graph.dot().contains("cluster_0") && graph.tree().contains("one"), "{}", graph.tree());
}
