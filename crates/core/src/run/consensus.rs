//! Consensus: a block of voters whose answers become one decision.
//!
//! For: the output of a `consensus` step. Not for: the voters' tasks (they are calls like any other), or the count (see
//! `ballot::tally`).
//! Invariant: the decision depends on the recorded outputs of the voters alone; a voter that failed, or whose answer says
//! nothing that counts, is silent.

use std::collections::BTreeMap;

use consort_types::{
    Code, Error, Payload, Result, StepInstanceId,
    ballot::{Answer, BallotSpec, Choice},
    bounds::check_optional_text,
    limits,
};
use consort_workflow::{Action, BlockId, Consensus};
use serde_json::{Map, Value, json};

use crate::{
    ballot::{
        tally::{self, Tally, Undecided},
        verdict::{self, ClosedBy, RoundVotes, Verdict},
        views::dissents,
    },
    context::ApplyContext,
    encode::encode,
    run::{environment, keys::ScopeKey, locate::locate, rows::step::StepState, scope},
};

/// Bytes of a voter's output: an answer with its reason, and some room.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// What a voter has said.
struct Said {
    voter: String,
    choice: Choice,
    reason: Option<String>,
}

/// The output of a block that has nothing more to do: of a consensus, the decision; of any other, the outputs by name.
pub(crate) fn output(
    ctx: &mut ApplyContext<'_>,
    key: ScopeKey,
    opener: StepInstanceId,
    block: BlockId,
) -> Result<Payload> {
    let step_ref = locate(ctx.state, opener)?;
    let Action::Consensus(consensus) = &step_ref.step().action else { return scope::block_output(ctx, key, block) };
    let consensus = Consensus::clone(consensus);
    let spec = &consensus.spec;
    let (said, silent) = answers(ctx, key, spec)?;
    let votes: RoundVotes<'_> = said.iter().map(|said| (said.voter.as_str(), &said.choice)).collect();
    ctx.charge(tally::work(spec, votes.len()));
    let counted = verdict::tally_round(spec, &votes);
    // There is no further round: what is there decides.
    let found = verdict::verdict(spec, 1, &votes, None, ClosedBy::Operator);
    let why = match found {
        Some(Verdict::Decided { answer, by_tie }) => {
            let document = document(spec, &said, &silent, &counted, (Some(&answer), answer.to_value(), by_tie, None));
            return ctx.store_payload("output of a consensus", encode(&document));
        }
        Some(Verdict::Undecided(why)) => why,
        None => Undecided::Tie,
    };
    let Some(fallback) = &consensus.on_undecided else { return Err(undecided(why, &counted, &silent)) };
    let decision = environment::evaluate(ctx.state, &step_ref, opener, fallback)?;
    let document = document(spec, &said, &silent, &counted, (None, decision, false, Some(word(why))));
    ctx.store_payload("output of a consensus", encode(&document))
}

/// What the voters have said, and why the others are silent, by name.
fn answers(
    ctx: &mut ApplyContext<'_>,
    key: ScopeKey,
    spec: &BallotSpec,
) -> Result<(Vec<Said>, BTreeMap<String, String>)> {
    let (mut said, mut silent) = (Vec::new(), BTreeMap::new());
    for (voter, index) in spec.voters.iter().zip(0..) {
        let task = StepInstanceId { run: key.run, scope: key.scope, index };
        let step = ctx.state.step(task)?;
        let output =
            step.as_ref().filter(|step| step.state == StepState::Completed).and_then(|step| step.output.clone());
        let name = voter.name.clone();
        let Some(output) = output else {
            let error = step.and_then(|step| step.error);
            silent.insert(name, error.map_or_else(|| "it gave no answer".to_owned(), |error| error.message));
            continue;
        };
        if output.len() > OUTPUT_BYTES_MAX {
            let bytes = output.len();
            silent.insert(name, format!("its answer has {bytes} bytes, the limit is {OUTPUT_BYTES_MAX}"));
            continue;
        }
        let bytes = ctx.state.payload_bytes(&output)?;
        ctx.state.charge_bytes(bytes.len());
        match read(spec, &bytes) {
            Ok((choice, reason)) => said.push(Said { voter: name, choice, reason }),
            Err(error) => drop(silent.insert(name, error.message)),
        }
    }
    Ok((said, silent))
}

/// The vote that an output says.
fn read(spec: &BallotSpec, bytes: &[u8]) -> Result<(Choice, Option<String>)> {
    let bad = |what: &str| Error::new(Code::BadVote, format!("its answer {what}"));
    let value: Value = serde_json::from_slice(bytes).map_err(|_| bad("is not JSON"))?;
    let reason = value.get("reason").and_then(Value::as_str).map(str::to_owned);
    check_optional_text("reason", reason.as_deref(), limits::ERROR_MESSAGE_BYTES_MAX)?;
    let list = |value: &Value| -> Result<Vec<String>> {
        let texts = value.as_array().map(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        texts.flatten().ok_or_else(|| bad("has no list of options"))
    };
    let choice = match (value.get("abstain"), value.get(spec.expects())) {
        (Some(Value::Bool(true)), _) => Choice::Abstain,
        (_, None) => return Err(bad(&format!("has no `{}`", spec.expects()))),
        (_, Some(found)) => match spec.expects() {
            "approve" => Choice::Approve(list(found)?),
            "ranking" => Choice::Ranking(list(found)?),
            "value" => Choice::value(found)?,
            _ => Choice::Option(found.as_str().ok_or_else(|| bad("has no text as its `choice`"))?.to_owned()),
        },
    };
    choice.check()?;
    spec.check_choice(&choice)?;
    Ok((choice, reason))
}

/// The output of the step; `decided` has the answer, the decision, whether the rule for ties made it, and why there is none.
fn document(
    spec: &BallotSpec,
    said: &[Said],
    silent: &BTreeMap<String, String>,
    counted: &Tally,
    decided: (Option<&Answer>, Value, bool, Option<&'static str>),
) -> Value {
    let (answer, decision, by_tie, undecided) = decided;
    let is_dissent = |said: &Said| answer.is_some_and(|answer| dissents(spec, &said.choice, answer));
    let dissent: Vec<&str> = said.iter().filter(|said| is_dissent(said)).map(|said| said.voter.as_str()).collect();
    let votes: Vec<Value> = said.iter().map(|said| vote(said, is_dissent(said))).collect();
    let score = |score: &tally::Score| json!({ "answer": score.answer.to_value(), "score": score.score, "voters": score.voters });
    let mut document = json!({
        "decision": decision,
        "dissent": dissent,
        "silent": silent,
        "tally": {
            "abstained": counted.abstained,
            "scores": counted.scores.iter().map(score).collect::<Vec<_>>(),
            "voted": counted.voted,
            "weight": counted.weight,
        },
        "votes": votes,
    });
    if by_tie {
        document["by_tie"] = Value::from(true);
    }
    if let Some(why) = undecided {
        document["undecided"] = Value::from(why);
    }
    document
}

fn vote(said: &Said, dissents: bool) -> Value {
    let mut vote = Map::new();
    vote.insert("voter".to_owned(), Value::from(said.voter.as_str()));
    let value = match &said.choice {
        Choice::Abstain => Value::from(true),
        Choice::Option(option) => Value::from(option.as_str()),
        Choice::Approve(options) | Choice::Ranking(options) => Value::from(options.clone()),
        Choice::Value(text) => Answer::Value(text.clone()).to_value(),
    };
    vote.insert(said.choice.kind().to_owned(), value);
    if let Some(reason) = &said.reason {
        vote.insert("reason".to_owned(), Value::from(reason.as_str()));
    }
    if dissents {
        vote.insert("dissents".to_owned(), Value::from(true));
    }
    Value::Object(vote)
}

fn word(why: Undecided) -> &'static str {
    match why {
        Undecided::NoQuorum => "no_quorum",
        Undecided::NoVotes => "no_votes",
        Undecided::NoMajority => "no_majority",
        Undecided::NotUnanimous => "not_unanimous",
        Undecided::TooFewEqual => "too_few_equal",
        Undecided::TooFewNumbers => "too_few_numbers",
        Undecided::Tie => "tie",
    }
}

/// The failure of the step, with the tally.
fn undecided(why: Undecided, counted: &Tally, silent: &BTreeMap<String, String>) -> Error {
    /// Answers that the message names.
    const NAMED_MAX: usize = 8;
    let score = |score: &tally::Score| format!("{} for {}", score.score, shown(&score.answer));
    let scores: Vec<String> = counted.scores.iter().take(NAMED_MAX).map(score).collect();
    let why = word(why).replace('_', " ");
    let mut message = format!("the voters came to no decision ({why}), {} have voted", counted.voted);
    if !scores.is_empty() {
        message = format!("{message}: {}", scores.join(", "));
    }
    if !silent.is_empty() {
        let names: Vec<&str> = silent.keys().take(NAMED_MAX).map(String::as_str).collect();
        message = format!("{message}; silent: {}", names.join(", "));
    }
    Error::new(Code::NotDecided, message).hint("give the step `on_undecided`, a `status_quo`, or more voters")
}

fn shown(answer: &Answer) -> String {
    /// Bytes of an answer that the message shows.
    const BYTES_MAX: usize = 64;
    let (Answer::Option(text) | Answer::Value(text)) = answer;
    format!("`{}`", consort_types::text::shortened(text, BYTES_MAX))
}
