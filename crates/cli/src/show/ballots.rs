//! Ballots as tables.
//!
//! For: `ballots list`, `show` and `watch`. Not for: deciding what is secret (the server does).
//! Invariant: a vote for something else than the decision is marked, and its reason is never left out.

use std::fmt::Write as _;

use consort_api::{
    Document,
    ballots::{Ballot, BallotResult, BallotRound, BallotStatus, BallotSummary, BallotVote, BallotVoter},
};
use consort_types::Time;
use serde_json::Value;

use super::{
    style::{Paint, Style, wrapped},
    table::Table,
    when::{ago, took},
};

/// A line for each ballot.
pub(crate) fn list(ballots: &[BallotSummary], now: Time, style: Style) -> String {
    let heads = ["BALLOT", "STATUS", "ROUND", "VOTED", "OPENED", "CLOSES", "RESULT", "QUESTION"];
    let mut table = Table::new(&heads).spare(&["QUESTION", "CLOSES", "OPENED", "ROUND"]);
    for ballot in ballots {
        table.row(vec![
            (ballot.ballot.clone(), Some(Paint::Bold)),
            (ballot.status.as_str().to_owned(), Some(paint(ballot.status))),
            (ballot.round.to_string(), None),
            (format!("{} of {}", ballot.voted, ballot.voters), None),
            (ago(ballot.opened_at, now), Some(Paint::Dim)),
            (ballot.closes_at.map(|closes| format!("in {}", took(closes.since(now)))).unwrap_or_default(), None),
            (ballot.result.as_ref().map(result).unwrap_or_default(), None),
            (ballot.question.clone(), None),
        ]);
    }
    table.render(style)
}

fn paint(status: BallotStatus) -> Paint {
    match status {
        BallotStatus::Open => Paint::Cyan,
        BallotStatus::Decided => Paint::Green,
        BallotStatus::Undecided => Paint::Yellow,
        BallotStatus::Cancelled => Paint::Dim,
    }
}

/// A document in one line: a text as it is.
fn text(document: &Document) -> String {
    match document.read::<Value>("answer") {
        Ok(Value::String(text)) => text,
        Ok(value) => value.to_string(),
        Err(_) => String::new(),
    }
}

fn result(result: &BallotResult) -> String {
    match (&result.decision, result.undecided) {
        (Some(decision), _) if result.by_tie => format!("{} (by the rule for ties)", text(decision)),
        (Some(decision), _) => text(decision),
        (None, Some(why)) => why.as_str().replace('_', " "),
        (None, None) => String::new(),
    }
}

/// One ballot: its question and rule, and each round with its count and votes.
pub(crate) fn ballot(ballot: &Ballot, now: Time, style: Style) -> String {
    let status = style.paint(paint(ballot.status), ballot.status.as_str());
    let mut out = format!("{}  {status}\n", style.paint(Paint::Bold, &ballot.ballot));
    let mut fact = |name: &str, text: String| {
        let _ = writeln!(out, "{}{}", style.paint(Paint::Dim, &format!("{name:<10}")), wrapped(&text, 10, style));
    };
    fact("question", ballot.asked.question.clone());
    fact("rule", rule(ballot));
    if let Some(found) = &ballot.result {
        fact("result", result(found));
    }
    if let Some(by) = &ballot.ended_by {
        let reason = ballot.end_reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        fact("ended by", format!("{by}{reason}"));
    }
    if !ballot.recount_agrees {
        fact("recount", "the recorded votes do not come to the recorded result; please report it".to_owned());
    }
    for round in &ballot.rounds {
        out.push('\n');
        out.push_str(&round_text(ballot, round, now, style));
    }
    out
}

/// The rule with its numbers, and what else counts.
fn rule(ballot: &Ballot) -> String {
    let asked = &ballot.asked;
    let mut parts = vec![asked.rule.as_str().to_owned()];
    parts.extend(asked.fraction.as_ref().map(|fraction| format!("of {fraction}")));
    parts.extend(asked.trim.map(|trim| format!("without {trim} at each end")));
    parts.extend(asked.faults.map(|faults| {
        let against = asked.against.map_or("byzantine", |against| against.as_str());
        format!("against {faults} {against} faults")
    }));
    let mut text = parts.join(" ");
    if let Some(quorum) = asked.quorum {
        let _ = write!(text, ", quorum {quorum} of {}", asked.voters.len());
    }
    match (&asked.status_quo, asked.on_tie) {
        (Some(option), _) => drop(write!(text, ", else {option} stays")),
        (None, Some(tie)) => drop(write!(text, ", tie: {}", tie.as_str())),
        (None, None) => {}
    }
    text
}

fn round_text(ballot: &Ballot, round: &BallotRound, now: Time, style: Style) -> String {
    let state = match (round.closed_at, round.closed_by) {
        (Some(closed), Some(by)) => format!("closed by {} after {}", by.as_str(), took(closed.since(round.opened_at))),
        _ if ballot.status != BallotStatus::Open => "not closed".to_owned(),
        _ => match ballot.closes_at {
            Some(closes) => format!("open, closes in {}", took(closes.since(now))),
            None => "open until the last vote".to_owned(),
        },
    };
    let head = format!("round {}", round.round);
    let mut out = format!("{}  {state}\n", style.paint(Paint::Bold, &head));
    if let Some(tally) = &round.tally {
        out.push_str(&scores(tally, style));
    } else {
        let _ = writeln!(
            out,
            "{} of {} have voted; votes are shown when the round has closed",
            round.voted.len(),
            ballot.asked.voters.len()
        );
    }
    out.push_str(&votes(ballot, round, style));
    if !round.silent.is_empty() {
        let _ =
            writeln!(out, "{}{}", style.paint(Paint::Dim, "silent    "), wrapped(&round.silent.join(", "), 10, style));
    }
    out
}

fn scores(tally: &consort_api::ballots::BallotTally, style: Style) -> String {
    let mut table = Table::new(&["ANSWER", "SCORE", "VOTERS"]);
    for score in &tally.scores {
        table.row(vec![
            (text(&score.answer), None),
            (score.score.to_string(), Some(Paint::Bold)),
            (score.voters.to_string(), None),
        ]);
    }
    let quorum = if tally.quorum_met { "" } else { ", which is no quorum" };
    let needed =
        tally.equal_answers_needed.map(|needed| format!(", {needed} equal answers decide")).unwrap_or_default();
    let counted = format!("{} voted, {} abstained{quorum}{needed}\n", tally.voted, tally.abstained);
    format!("{}{counted}", if tally.scores.is_empty() { String::new() } else { table.render(style) })
}

fn votes(ballot: &Ballot, round: &BallotRound, style: Style) -> String {
    if round.votes.is_empty() {
        return String::new();
    }
    let weighs = |voter: &BallotVoter| voter.weight.unwrap_or(1);
    let mut table = Table::new(&["VOTER", "WEIGHT", "VOTE", "DISSENT", "REASON"]).spare(&["WEIGHT"]);
    for vote in &round.votes {
        let voter = ballot.asked.voters.iter().find(|voter| Some(&voter.name) == vote.voter.as_ref());
        table.row(vec![
            (vote.voter.clone().unwrap_or_else(|| "(secret)".to_owned()), Some(Paint::Bold)),
            (voter.map(|voter| weighs(voter).to_string()).unwrap_or_default(), None),
            (said(vote), None),
            (if vote.dissents { "dissents".to_owned() } else { String::new() }, Some(Paint::Yellow)),
            (vote.reason.clone().unwrap_or_default(), None),
        ]);
    }
    table.render(style)
}

/// What a vote says, in one line.
fn said(vote: &BallotVote) -> String {
    let list = |options: &Vec<String>, between: &str| options.join(between);
    match vote {
        BallotVote { choice: Some(choice), .. } => choice.clone(),
        BallotVote { approve: Some(options), .. } => list(options, ", "),
        BallotVote { ranking: Some(options), .. } => list(options, " > "),
        BallotVote { value: Some(value), .. } => text(value),
        _ => "abstains".to_owned(),
    }
}

/// What has happened between two looks at a ballot, a line each.
pub(crate) fn changes(before: Option<&Ballot>, after: &Ballot) -> Vec<String> {
    let mut lines = Vec::new();
    let known = |round: u32| before.and_then(|before| before.rounds.iter().find(|known| known.round == round));
    for round in &after.rounds {
        let seen = known(round.round);
        if seen.is_none() {
            lines.push(format!("round {} is open", round.round));
        }
        let is_new = |voter: &&String| seen.is_none_or(|seen| !seen.voted.contains(voter));
        lines.extend(round.voted.iter().filter(is_new).map(|voter| format!("{voter} has voted")));
        if let (Some(by), None) = (round.closed_by, seen.and_then(|seen| seen.closed_by)) {
            lines.push(format!("round {} is closed by {}", round.round, by.as_str()));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(voted: &[&str], closed: bool) -> Ballot {
        let mut round = json!({
            "round": 1, "opened_at": "2026-11-22T10:00:00Z", "voted": voted, "silent": ["cy"],
            "tally": {"voted": 2, "abstained": 0, "weight": 3, "quorum_met": true,
                "scores": [{"answer": "wait", "voters": 1, "score": 2}, {"answer": "ship", "voters": 1, "score": 1}]},
            "votes": [{"voter": "ann", "choice": "wait"}, {"voter": "bob", "choice": "ship", "dissents": true, "reason": "users wait"}],
        });
        let mut ballot = json!({
            "ballot": "ship-it", "status": "open", "opened_at": "2026-11-22T10:00:00Z", "recount_agrees": true,
            "asked": {"question": "Ship it?", "options": ["ship", "wait"], "rule": "majority", "quorum": 2, "on_tie": "revote",
                "voters": [{"name": "ann", "weight": 2}, {"name": "bob", "weight": 1}, {"name": "cy", "weight": 1}]},
        });
        if closed {
            round["closed_at"] = json!("2026-11-22T10:01:00Z");
            round["closed_by"] = json!("votes");
            ballot["status"] = json!("decided");
            ballot["result"] = json!({"decision": "wait"});
        }
        ballot["rounds"] = json!([round]);
        serde_json::from_value(ballot).unwrap()
    }

    #[test]
    fn a_ballot_shows_its_result_and_the_dissent_with_its_reason() {
        let style = Style { color: false, terminal: false };
        let text = ballot(&sample(&["ann", "bob"], true), Time(0), style);
        for part in
            ["ship-it  decided", "result    wait", "closed by votes after 1m00s", "silent    cy", "quorum 2 of 3"]
        {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let dissent = text.lines().find(|line| line.starts_with("bob")).unwrap();
        assert!(
            dissent.contains("ship") && dissent.contains("dissents") && dissent.ends_with("users wait"),
            "{dissent}"
        );
    }

    #[test]
    fn a_watch_tells_what_is_new() {
        let (one, two) = (sample(&["ann"], false), sample(&["ann", "bob"], true));
        assert_eq!(changes(None, &one), ["round 1 is open", "ann has voted"]);
        assert_eq!(changes(Some(&one), &two), ["bob has voted", "round 1 is closed by votes"]);
        assert!(changes(Some(&two), &two).is_empty());
    }
}
