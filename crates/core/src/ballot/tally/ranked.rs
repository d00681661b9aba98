//! The Schulze method.
//!
//! For: one winner of rankings, which is the option that beats every other one directly where there is one. Not for:
//! anything else that rankings could be counted by.
//! Invariant: the cost is the cube of the number of options, and the square for each vote.
//!
//! Schulze, M.: A new monotonic, clone-independent, reversal symmetric, and Condorcet-consistent single-winner election
//! method, Social Choice and Welfare 36 (2011) 267-303. The strength of a link is the weight of the voters who prefer the
//! winner of the pair ("winning votes").

use consort_types::ballot::{Answer, BallotSpec, Choice};

use super::{Cast, Outcome, Score, count};

/// A number for each ordered pair of options.
struct Pairs {
    options: usize,
    of: Vec<u64>,
}

impl Pairs {
    fn new(options: usize) -> Self {
        Self { options, of: vec![0; options * options] }
    }

    fn get(&self, one: usize, other: usize) -> u64 {
        self.of[one * self.options + other]
    }

    fn at(&mut self, one: usize, other: usize) -> &mut u64 {
        &mut self.of[one * self.options + other]
    }
}

/// How many options each option beats, and which of them none beats.
pub(super) fn schulze(spec: &BallotSpec, casts: &[Cast<'_>]) -> (Vec<Score>, Outcome) {
    let options = spec.options.len();
    let paths = strongest_paths(&preferences(spec, casts));
    let beats = |one: usize, other: usize| paths.get(one, other) > paths.get(other, one);
    let (mut scores, mut winners) = (Vec::with_capacity(options), Vec::new());
    for (at, option) in spec.options.iter().enumerate() {
        let answer = Answer::Option(option.clone());
        if !(0..options).any(|other| beats(other, at)) {
            winners.push(answer.clone());
        }
        let names = |vote: &&Cast<'_>| matches!(vote.choice, Choice::Ranking(ranking) if ranking.contains(option));
        let voters = count(casts.iter().filter(names).count());
        let score = (0..options).filter(|other| beats(at, *other)).count() as u64;
        scores.push(Score { answer, voters, score });
    }
    let outcome = match winners.as_slice() {
        [winner] => Outcome::Decided(winner.clone()),
        _ => Outcome::Tied(winners),
    };
    (scores, outcome)
}

/// The weight of the voters who prefer one option to another.
fn preferences(spec: &BallotSpec, casts: &[Cast<'_>]) -> Pairs {
    let options = spec.options.len();
    let mut preferred = Pairs::new(options);
    for vote in casts {
        let Choice::Ranking(ranking) = vote.choice else { continue };
        // What is not named is behind everything that is.
        let mut ranks = vec![options; options];
        for (rank, name) in ranking.iter().enumerate() {
            if let Some(at) = spec.options.iter().position(|option| option == name) {
                ranks[at] = rank;
            }
        }
        for one in 0..options {
            for other in 0..options {
                if ranks[one] < ranks[other] {
                    *preferred.at(one, other) += u64::from(vote.weight);
                }
            }
        }
    }
    preferred
}

/// The strength of the strongest path from each option to each other one: that of its weakest link.
fn strongest_paths(preferred: &Pairs) -> Pairs {
    let options = preferred.options;
    let mut paths = Pairs::new(options);
    for one in 0..options {
        for other in 0..options {
            let strength = preferred.get(one, other);
            if strength > preferred.get(other, one) {
                *paths.at(one, other) = strength;
            }
        }
    }
    for through in 0..options {
        for from in (0..options).filter(|from| *from != through) {
            for to in (0..options).filter(|to| *to != through && *to != from) {
                let detour = paths.get(from, through).min(paths.get(through, to));
                let path = paths.at(from, to);
                *path = detour.max(*path);
            }
        }
    }
    paths
}
