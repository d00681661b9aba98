//! From votes to an outcome: pure, and the same whatever the order of the votes.
//!
//! For: counting by each rule, and telling when no further vote can change the outcome. Not for: rounds and ties (see
//! `verdict`), nor for who may vote.
//! Invariant: the outcome depends on the set of votes alone; weights are added as whole numbers, and numbers are
//! calculated with the basic operations of IEEE 754 in the order of their size.

mod numbers;
mod ranked;
mod settled;

use std::collections::BTreeMap;

use consort_types::ballot::{Answer, BallotSpec, Choice, Rule};
use minicbor::{Decode, Encode};

pub use settled::is_settled;
pub(crate) use settled::may_be_settled;

use crate::context::LIGHT_PER_UNIT;

/// A vote as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Cast<'a> {
    /// The weight of its voter.
    pub weight: u32,
    /// What it says.
    pub choice: &'a Choice,
}

/// How an answer did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// The answer.
    pub answer: Answer,
    /// How many voters named it; by [`Rule::Ranked`], anywhere in their ranking.
    pub voters: u32,
    /// The weight of these voters; by [`Rule::Ranked`], how many options it beats.
    pub score: u64,
}

/// Why there is no decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Undecided {
    /// Too few voters have voted.
    #[n(0)]
    NoQuorum,
    /// Everyone who voted has abstained.
    #[n(1)]
    NoVotes,
    /// No answer has the majority that the rule wants.
    #[n(2)]
    NoMajority,
    /// Not everyone gave the same answer.
    #[n(3)]
    NotUnanimous,
    /// Too few answers are equal.
    #[n(4)]
    TooFewEqual,
    /// Too few numbers are there to trim them.
    #[n(5)]
    TooFewNumbers,
    /// Several answers are first.
    #[n(6)]
    Tie,
}

/// What the votes of a round come to, before ties are broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// One answer.
    Decided(Answer),
    /// These answers are first, in the order of the options, or else in their own.
    Tied(Vec<Answer>),
    /// No answer.
    Undecided(Undecided),
}

/// The count of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Voters who have voted, abstentions included.
    pub voted: u32,
    /// Of these: abstentions.
    pub abstained: u32,
    /// The weight of those who did not abstain.
    pub weight: u64,
    /// Whether enough have voted.
    pub is_quorate: bool,
    /// How each answer did, the best first; empty where numbers are calculated.
    pub scores: Vec<Score>,
    /// What it comes to.
    pub outcome: Outcome,
}

/// Counts the votes of a round.
pub fn tally(spec: &BallotSpec, casts: &[Cast<'_>]) -> Tally {
    let abstained = casts.iter().filter(|vote| *vote.choice == Choice::Abstain).count();
    let (voted, abstained) = (count(casts.len()), count(abstained));
    let weight = casts.iter().filter(|vote| *vote.choice != Choice::Abstain).map(|vote| u64::from(vote.weight)).sum();
    let is_quorate = voted >= spec.quorum;
    let (mut scores, outcome) = by_rule(spec, casts, weight);
    let outcome = match () {
        () if !is_quorate => Outcome::Undecided(Undecided::NoQuorum),
        () if voted == abstained => Outcome::Undecided(Undecided::NoVotes),
        () => outcome,
    };
    // The sort is stable: equal scores stay in the order of the options, or of the answers.
    scores.sort_by_key(|score| std::cmp::Reverse(score.score));
    Tally { voted, abstained, weight, is_quorate, scores, outcome }
}

/// Units of work that counting so many votes takes.
pub(crate) fn work(spec: &BallotSpec, votes: usize) -> usize {
    /// Steps of a calculation that together count as one unit.
    const STEPS_PER_UNIT: usize = 256;
    let options = spec.options.len();
    let steps = if spec.rule == Rule::Ranked { (votes + options) * options * options } else { 0 };
    1 + votes / LIGHT_PER_UNIT + steps / STEPS_PER_UNIT
}

fn by_rule(spec: &BallotSpec, casts: &[Cast<'_>], weight: u64) -> (Vec<Score>, Outcome) {
    match &spec.rule {
        Rule::Median => (Vec::new(), numbers::median(casts)),
        Rule::TrimmedMean { trim } => (Vec::new(), numbers::trimmed_mean(casts, *trim)),
        Rule::Ranked => ranked::schulze(spec, casts),
        rule => {
            let scores = count_answers(spec, casts);
            let outcome = outcome_of(spec, rule, &scores, weight);
            (scores, outcome)
        }
    }
}

/// What the scores come to by a rule that adds weights up; `weight` is that of everyone who chose.
fn outcome_of(spec: &BallotSpec, rule: &Rule, scores: &[Score], weight: u64) -> Outcome {
    let best = best(scores);
    let top = best.first().map_or(0, |score| score.score);
    let is_enough = match rule {
        Rule::Majority => 2 * top >= weight,
        Rule::Supermajority { fraction } => fraction.is_reached(top, weight),
        Rule::Unanimous => top == weight,
        Rule::Equality { .. } => top >= u64::from(spec.equal_answers_needed().unwrap_or(u32::MAX)),
        _ => true,
    };
    let why = match rule {
        Rule::Unanimous => Undecided::NotUnanimous,
        Rule::Equality { .. } => Undecided::TooFewEqual,
        _ => Undecided::NoMajority,
    };
    match best.as_slice() {
        // Approvals of nothing are no reason to choose anything.
        _ if top == 0 => Outcome::Undecided(why),
        // Exactly half of the weight is a tie of two, and no majority where the other half is spread.
        [_] if *rule == Rule::Majority && 2 * top == weight => Outcome::Undecided(why),
        [first] if is_enough => Outcome::Decided(first.answer.clone()),
        [_, _, ..] if is_enough => Outcome::Tied(best.iter().map(|score| score.answer.clone()).collect()),
        _ => Outcome::Undecided(why),
    }
}

/// The scores that no other exceeds, in their order.
fn best(scores: &[Score]) -> Vec<&Score> {
    let top = scores.iter().map(|score| score.score).max().unwrap_or(0);
    scores.iter().filter(|score| score.score == top).collect()
}

/// How much weight each answer has: every option in the order of the list, or each free answer that was given.
fn count_answers(spec: &BallotSpec, casts: &[Cast<'_>]) -> Vec<Score> {
    let mut counts = BTreeMap::<Answer, (u32, u64)>::new();
    let mut add = |answer: Answer, weight: u32| {
        let (voters, score) = counts.entry(answer).or_default();
        *voters += 1;
        *score += u64::from(weight);
    };
    for vote in casts {
        match vote.choice {
            Choice::Option(option) => add(Answer::Option(option.clone()), vote.weight),
            Choice::Value(text) => add(Answer::Value(text.clone()), vote.weight),
            Choice::Approve(options) => {
                for option in options {
                    add(Answer::Option(option.clone()), vote.weight);
                }
            }
            Choice::Abstain | Choice::Ranking(_) => {}
        }
    }
    let score = |(answer, (voters, score)): (Answer, (u32, u64))| Score { answer, voters, score };
    if spec.is_free() {
        return counts.into_iter().map(score).collect();
    }
    let listed = spec.options.iter().map(|option| Answer::Option(option.clone()));
    let found = listed.map(|answer| {
        let found = counts.remove(&answer).unwrap_or_default();
        (answer, found)
    });
    found.map(score).collect()
}

fn count(items: usize) -> u32 {
    u32::try_from(items).unwrap_or(u32::MAX)
}
