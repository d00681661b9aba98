//! Ballots from the command line, and what survives when the process is killed while voters vote.
//!
//! For: what people type and see, on the real binary. Not for: how votes are counted.
//! Invariant: as in `common`.

mod common;

use common::{Folder, binary};
use consort_testkit::process::Server;
use serde_json::{Value, json};

fn open(folder: &Folder, more: &[&str]) {
    let args = ["ballots", "open", "ship-it", "--question", "Ship it?", "--option", "ship", "--option", "wait"];
    folder.ok(&[&args[..], more].concat());
}

fn vote(folder: &Folder, voter: &str, more: &[&str]) -> common::Ended {
    folder.run(&[&["ballots", "vote", "ship-it", "--voter", voter], more].concat())
}

#[test]
fn a_ballot_is_opened_voted_on_and_shown_with_its_dissent() {
    let folder = Folder::new();
    open(&folder, &["--voter", "ann", "--voter", "bob=2", "--voter", "cy"]);
    let listed = folder.ok(&["ballots", "list"]);
    assert!(listed.contains("ship-it") && listed.contains("0 of 3") && listed.contains("Ship it?"), "{listed}");
    assert_eq!(vote(&folder, "ann", &["--choice", "wait", "--reason", "it is Friday"]).code, 0);
    for (args, code, said) in [
        (&["--choice", "ship"][..], 5, "C0768"),
        (&["--choice", "wait", "--reason", "it is Friday"], 0, "voted"),
        (&["--choice", "ship", "--abstain"], 2, "--abstain"),
    ] {
        let ended = vote(&folder, "ann", args);
        assert!(ended.code == code && ended.err.contains(said), "{args:?}: {ended:#?}");
    }
    assert!(vote(&folder, "dan", &["--abstain"]).err.contains("C0763"));
    assert_eq!(vote(&folder, "bob", &["--choice", "ship"]).code, 0);
    let shown = folder.ok(&["ballots", "show", "ship-it"]);
    assert!(shown.contains("ship-it  open") && shown.contains("silent    cy"), "{shown}");
    assert_eq!(vote(&folder, "cy", &["--choice", "ship"]).code, 0);
    let shown = folder.ok(&["ballots", "show", "ship-it"]);
    let dissent = shown.lines().find(|line| line.starts_with("ann")).unwrap();
    assert!(shown.contains("result    ship") && shown.contains("closed by votes"), "{shown}");
    assert!(dissent.contains("dissents") && dissent.contains("it is Friday"), "{shown}");
    let watched = folder.run(&["ballots", "watch", "ship-it"]);
    assert!(watched.code == 0 && watched.out.contains("round 1 is closed by votes"), "{watched:#?}");
    assert_eq!(folder.json(&["ballots", "list", "--status", "decided"])[0]["result"], json!({"decision": "ship"}));
    folder.ok(&["ballots", "delete", "ship-it"]);
    assert_eq!(folder.run(&["ballots", "show", "ship-it"]).code, 3);
}

#[test]
fn an_operator_closes_or_cancels() {
    let folder = Folder::new();
    open(&folder, &["--voter", "ann", "--voter", "bob", "--quorum", "1", "--status-quo", "wait", "--rounds", "3"]);
    assert_eq!(folder.run(&["ballots", "delete", "ship-it"]).code, 5);
    folder.ok(&["ballots", "close", "ship-it", "--by", "eve", "--reason", "no time"]);
    let shown = folder.json(&["ballots", "show", "ship-it"]).remove(0);
    assert_eq!((&shown["status"], &shown["ended_by"]), (&json!("undecided"), &json!("eve")), "no one has voted");
    let ended = folder.run(&["ballots", "cancel", "ship-it"]);
    assert!(ended.code == 5 && ended.err.contains("C0764"), "{ended:#?}");
    let ended = folder.run(&["ballots", "open", "b", "--question", "?", "--voter", "a", "--rule", "majorty"]);
    assert!(ended.code == 2 && ended.err.contains("majorty"), "{ended:#?}");
}

/// How many voters there are, and how often the server is killed while they vote.
const VOTERS: usize = 24;
const KILLS: usize = 3;

#[test]
fn acknowledged_votes_survive_kills_and_the_ballot_is_decided_once() {
    let folder = Folder::new();
    let name = |at: usize| format!("v{at}");
    let option = |at: usize| if at.is_multiple_of(3) { "wait" } else { "ship" };
    let voters: Vec<Value> = (0..VOTERS).map(|at| json!({"name": name(at)})).collect();
    let asked = json!({"question": "Ship it?", "options": ["ship", "wait"], "voters": voters, "rule": "ranked"});
    let mut acknowledged: Vec<usize> = Vec::new();
    for kill in 0..=KILLS {
        let none: [&str; 0] = [];
        let server = Server::start(binary(), &folder.path(), none).unwrap();
        let client = server.client();
        assert_eq!(client.request("PUT", "/v1/ballots/b", Some(&asked)).unwrap().status, 200);
        let shown = client.get("/v1/ballots/b").unwrap().json();
        let there: Vec<&str> =
            shown["rounds"][0]["voted"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        for at in &acknowledged {
            assert!(there.contains(&name(*at).as_str()), "the vote of {at} was acknowledged, and is lost: {there:?}");
        }
        // Everyone votes again, as a client does that does not know whether it was heard; the kill cuts some off.
        let last = if kill == KILLS { VOTERS } else { (kill + 1) * VOTERS / (KILLS + 1) };
        let voting = std::thread::spawn(move || {
            let mut heard = Vec::new();
            for at in 0..last {
                let vote = json!({"voter": name(at), "ranking": [option(at)]});
                match client.post("/v1/ballots/b/votes", &vote) {
                    Ok(answer) => assert_eq!(answer.status, 204, "{}", answer.text()),
                    Err(_) => break,
                }
                heard.push(at);
            }
            heard
        });
        if kill < KILLS {
            // While they vote: as soon as one vote more is there than before.
            consort_testkit::wait_until("a vote", || {
                let shown = server.client().get("/v1/ballots/b").ok()?.json();
                (shown["rounds"][0]["voted"].as_array()?.len() > acknowledged.len()).then_some(())
            });
            server.kill().unwrap();
            acknowledged = voting.join().unwrap();
            continue;
        }
        assert_eq!(voting.join().unwrap().len(), VOTERS);
        let shown = server.client().get("/v1/ballots/b").unwrap().json();
        assert_eq!((&shown["status"], &shown["result"]), (&json!("decided"), &json!({"decision": "ship"})));
        let round = &shown["rounds"][0];
        assert_eq!((round["votes"].as_array().unwrap().len(), &round["tally"]["voted"]), (VOTERS, &json!(VOTERS)));
        assert_eq!((&shown["recount_agrees"], shown["rounds"].as_array().unwrap().len()), (&json!(true), 1));
    }
}

#[test]
fn a_workflow_asks_voters_of_which_one_lies_and_one_dies() {
    let folder = Folder::new();
    // `echo` answers with its input, so each voter says what it is given; no agent has the capability of the last one.
    folder.write(
        "decide.yaml",
        "workflow: decide
steps:
  ask:
    consensus:
      question: Which build is clean?
      voters:
        ann: { capability: echo, with: { value: { build: 7 }, reason: I looked } }
        bob: { capability: echo, with: { value: { build: 7.0 } } }
        cy: { capability: echo, with: { value: { build: 7 } } }
        eve: { capability: echo, with: { value: { build: 8 }, reason: trust me } }
        dan: { capability: nobody.home, deadline: 200ms }
      rule: majority
output: ${{ steps.ask.output }}
",
    );
    let output = folder.json(&["run", "decide.yaml"]).remove(0);
    let made = &output["output"];
    assert_eq!((&made["decision"], &made["dissent"]), (&json!({"build": 7}), &json!(["eve"])), "{output}");
    assert_eq!((&made["tally"]["scores"][0]["voters"], &made["votes"][0]["reason"]), (&json!(3), &json!("I looked")));
    assert!(made["silent"]["dan"].is_string() && made["silent"].as_object().unwrap().len() == 1, "{made}");
    let drawn = folder.ok(&["workflows", "graph", "decide.yaml"]);
    assert!(drawn.contains("consensus") && drawn.contains("eve"), "{drawn}");
}
