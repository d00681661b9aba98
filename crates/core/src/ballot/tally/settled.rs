//! When no further vote can change the outcome of a round.
//!
//! For: closing a round early. Not for: the outcome itself.
//! Invariant: where a round is settled, the outcome is the same whatever those do who have not voted: vote for anything,
//! abstain or stay silent.

use consort_types::ballot::{BallotSpec, Choice, Rule};

use super::{Cast, Score, count, count_answers};

/// Whether the outcome of the round is certain.
///
/// When everyone has voted, it is. Before that it may be certain only where the quorum is met, one voter has not abstained, and
/// no vote may be changed:
///
/// | rule | certain when |
/// |---|---|
/// | majority, supermajority | an answer has it even if all others vote for another one, or none could reach it |
/// | unanimous | two answers differ |
/// | plurality, approval | the first answer is ahead by more than the weight that is left |
/// | equality | enough answers are equal, or they cannot be any more |
/// | ranked, median, trimmed mean | only when everyone has voted |
pub fn is_settled(spec: &BallotSpec, casts: &[Cast<'_>]) -> bool {
    let voted = count(casts.len());
    if voted >= count(spec.voters.len()) {
        return true;
    }
    if !may_be_settled(spec, voted) {
        return false;
    }
    let scores = count_answers(spec, casts);
    let sum = |weights: &mut dyn Iterator<Item = u32>| weights.map(u64::from).sum::<u64>();
    let all = sum(&mut spec.voters.iter().map(|voter| voter.weight));
    let cast = sum(&mut casts.iter().map(|vote| vote.weight));
    let chosen = sum(&mut casts.iter().filter(|vote| *vote.choice != Choice::Abstain).map(|vote| vote.weight));
    let left = all - cast;
    // While all who have voted have abstained, the next vote decides why there is no decision, where it decides nothing else.
    if chosen == 0 {
        return false;
    }
    let (first, second) = first_two(&scores);
    // The answer that gains most by the votes that are left is the first one; a free one may also be new.
    match &spec.rule {
        Rule::Majority => 2 * first > chosen + left || 2 * (first + left) < chosen + left,
        Rule::Supermajority { fraction } => {
            fraction.is_reached(first, chosen + left) || !fraction.is_reached(first + left, chosen + left)
        }
        Rule::Unanimous => second > 0,
        Rule::Plurality | Rule::Approval => first > second + left,
        Rule::Equality { .. } => {
            let needed = spec.equal_answers_needed().map_or(u64::MAX, u64::from);
            first >= needed || first + left < needed
        }
        Rule::Ranked | Rule::Median | Rule::TrimmedMean { .. } => false,
    }
}

/// Whether so many votes can settle the round, whatever they say.
pub(crate) fn may_be_settled(spec: &BallotSpec, voted: u32) -> bool {
    let only_whole = matches!(spec.rule, Rule::Ranked | Rule::Median | Rule::TrimmedMean { .. });
    voted >= count(spec.voters.len()) || (voted >= spec.quorum && !spec.may_change && !only_whole)
}

/// The highest score, and the highest of the others (0 where there is none: an answer that was not given yet).
fn first_two(scores: &[Score]) -> (u64, u64) {
    scores.iter().fold((0, 0), |(first, second), score| {
        if score.score > first { (score.score, first) } else { (first, second.max(score.score)) }
    })
}
