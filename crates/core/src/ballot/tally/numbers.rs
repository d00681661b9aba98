//! Median and trimmed mean.
//!
//! For: decisions that are calculated of numbers. Not for: options.
//! Invariant: numbers are sorted before anything is calculated, so the order of votes has no say in rounding; the result
//! lies between the lowest and the highest number that counts.

use consort_types::ballot::{Answer, Choice};

use super::{Cast, Outcome, Undecided};

/// The number in the middle; of an even number of votes, the mean of both in the middle.
pub(super) fn median(votes: &[Cast<'_>]) -> Outcome {
    let numbers = sorted(votes);
    if numbers.is_empty() {
        return Outcome::Undecided(Undecided::NoVotes);
    }
    let (low, high) = (numbers[(numbers.len() - 1) / 2], numbers[numbers.len() / 2]);
    decided(mean(&[low, high]))
}

/// The mean of what is left after `trim` numbers at each end were left out.
///
/// Where at most `trim` voters lie, every number that is left lies between two honest ones (Dolev, Lynch, Pinter, Stark,
/// Weihl: Reaching Approximate Agreement in the Presence of Faults, Journal of the ACM 33 (1986) 499-516).
pub(super) fn trimmed_mean(votes: &[Cast<'_>], trim: u32) -> Outcome {
    let (numbers, trim) = (sorted(votes), trim as usize);
    if numbers.len() <= 2 * trim {
        return Outcome::Undecided(Undecided::TooFewNumbers);
    }
    decided(mean(&numbers[trim..numbers.len() - trim]))
}

fn decided(number: f64) -> Outcome {
    Answer::number(number).map_or(Outcome::Undecided(Undecided::TooFewNumbers), Outcome::Decided)
}

/// The votes as doubles, the lowest first.
fn sorted(votes: &[Cast<'_>]) -> Vec<f64> {
    let number = |vote: &Cast<'_>| match vote.choice {
        Choice::Value(text) => text.parse::<f64>().ok().filter(|number| number.is_finite()),
        _ => None,
    };
    let mut numbers: Vec<f64> = votes.iter().filter_map(number).collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}

/// The mean of sorted numbers; not beyond them, whatever the rounding.
#[expect(clippy::cast_precision_loss, reason = "there are no more numbers than voters")]
fn mean(numbers: &[f64]) -> f64 {
    let count = numbers.len() as f64;
    let sum: f64 = numbers.iter().sum();
    // Huge numbers are divided first: their sum may not be a number.
    let mean = if sum.is_finite() { sum / count } else { numbers.iter().map(|number| number / count).sum() };
    mean.clamp(numbers[0], numbers[numbers.len() - 1])
}
