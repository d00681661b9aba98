//! The rules of counting, over random ballots and by known examples.
//!
//! For: what each rule promises, whatever the votes. Not for: rounds, deadlines and refusals (see `ballots`).
//! Invariant: every property is checked with more than one order of the votes.

use consort_core::tally::{Cast, ClosedBy, Outcome, RoundVotes, Tally, Undecided, Verdict, is_settled, tally, verdict};
use consort_types::ballot::{Answer, BallotSpec, Choice, FaultKind, Ratio, Rule, Tie, Voter};
use proptest::{prelude::*, sample::Index};

const OPTIONS: [&str; 4] = ["a", "b", "c", "d"];

fn spec(rule: Rule, weights: &[u32], free: bool) -> BallotSpec {
    let voter = |(at, weight): (usize, &u32)| Voter { name: format!("v{at}"), weight: *weight };
    let voters = weights.iter().enumerate().map(voter).collect();
    let options = if free { Vec::new() } else { OPTIONS.map(str::to_owned).to_vec() };
    BallotSpec { quorum: 1, ..BallotSpec::new("Q?", options, voters, rule) }
}

fn count(spec: &BallotSpec, choices: &[Option<Choice>]) -> Tally {
    tally(spec, &casts(spec, choices))
}

/// The votes of those who do not stay silent, in the order of the voters.
fn casts<'a>(spec: &BallotSpec, choices: &'a [Option<Choice>]) -> Vec<Cast<'a>> {
    let given = spec.voters.iter().zip(choices);
    given.filter_map(|(voter, choice)| Some(Cast { weight: voter.weight, choice: choice.as_ref()? })).collect()
}

fn option(name: &str) -> Answer {
    Answer::Option(name.to_owned())
}

fn chosen(names: &[&str]) -> Vec<Option<Choice>> {
    names.iter().map(|name| Some(Choice::Option((*name).to_owned()))).collect()
}

fn ranked(rankings: &[(usize, &str)]) -> Vec<Option<Choice>> {
    let one = |text: &str| Some(Choice::Ranking(text.chars().map(String::from).collect()));
    rankings.iter().flat_map(|(times, text)| std::iter::repeat_n(one(text), *times)).collect()
}

fn numbers(values: &[f64]) -> Vec<Option<Choice>> {
    values.iter().map(|value| Some(Choice::value(&(*value).into()).unwrap())).collect()
}

/// A rule with whether its answers are free.
fn rule() -> impl Strategy<Value = (Rule, bool)> {
    let fraction = |parts, of| Rule::Supermajority { fraction: Ratio { parts, of } };
    let equality = |faults, kind| Rule::Equality { faults, kind };
    prop_oneof![
        any::<bool>().prop_map(|free| (Rule::Majority, free)),
        any::<bool>().prop_map(move |free| (fraction(2, 3), free)),
        any::<bool>().prop_map(move |free| (fraction(1, 1), free)),
        any::<bool>().prop_map(|free| (Rule::Unanimous, free)),
        any::<bool>().prop_map(|free| (Rule::Plurality, free)),
        Just((Rule::Approval, false)),
        Just((Rule::Ranked, false)),
        Just((Rule::Median, true)),
        Just((Rule::TrimmedMean { trim: 1 }, true)),
        any::<bool>().prop_map(move |free| (equality(1, FaultKind::Byzantine), free)),
        any::<bool>().prop_map(move |free| (equality(1, FaultKind::Crash), free)),
    ]
}

/// What a vote by a rule says, out of one number.
fn choice_of(spec: &BallotSpec, seed: u32) -> Choice {
    let named = |mask: u32| OPTIONS.iter().enumerate().filter(move |(at, _)| mask >> at & 1 == 1);
    let list = |mask: u32| named(mask).map(|(_, name)| (*name).to_owned()).collect::<Vec<_>>();
    match (spec.expects(), seed % 9) {
        (_, 8) => Choice::Abstain,
        ("approve", _) => Choice::Approve(list(seed / 9)),
        ("ranking", _) => {
            let mut ranking = list(seed / 9);
            let len = ranking.len().max(1);
            ranking.rotate_left((seed / 144) as usize % len);
            Choice::Ranking(ranking)
        }
        ("value", n) if spec.rule.takes_numbers() => {
            Choice::value(&(f64::from(n) / 3.0 + f64::from(seed % 100)).into()).unwrap()
        }
        ("value", n) => Choice::value(&(n % 3).into()).unwrap(),
        (_, n) => Choice::Option(OPTIONS[n as usize % 3].to_owned()),
    }
}

prop_compose! {
    /// A ballot with what its voters would say, were they to vote.
    fn ballot()(
        (rule, free) in rule(),
        voters in prop::collection::vec((1..5_u32, any::<u32>(), prop::bool::weighted(0.8)), 4..9),
        quorum in 1..5_u32,
    ) -> (BallotSpec, Vec<Option<Choice>>) {
        let weights: Vec<u32> = voters.iter().map(|(weight, ..)| if rule.takes_weights() { *weight } else { 1 }).collect();
        let spec = BallotSpec { quorum, ..spec(rule, &weights, free) };
        let choices = voters.iter().map(|(_, seed, votes)| votes.then(|| choice_of(&spec, *seed))).collect();
        (spec, choices)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_votes_never_matters((spec, choices) in ballot(), turns in prop::collection::vec(any::<Index>(), 9)) {
        spec.check().unwrap();
        let mut casts = casts(&spec, &choices);
        let before = tally(&spec, &casts);
        for (at, turn) in turns.iter().enumerate().take(casts.len()) {
            let other = turn.index(casts.len());
            casts.swap(at, other);
        }
        prop_assert_eq!(before, tally(&spec, &casts));
    }

    /// Whatever those do who have not voted when a round is settled: the outcome stays.
    #[test]
    fn closing_early_never_differs_from_the_full_count(
        (spec, choices) in ballot(),
        others in prop::collection::vec(any::<u32>(), 9),
    ) {
        for voted in 0..=choices.len() {
            let early: Vec<Option<Choice>> =
                choices.iter().enumerate().map(|(at, choice)| choice.clone().filter(|_| at < voted)).collect();
            if !is_settled(&spec, &casts(&spec, &early)) {
                continue;
            }
            let outcome = count(&spec, &early).outcome;
            prop_assert_eq!(&outcome, &count(&spec, &choices).outcome, "the votes that come");
            let mut later = early.clone();
            for ((_, choice), seed) in later.iter_mut().enumerate().filter(|(_, choice)| choice.is_none()).zip(&others) {
                *choice = Some(choice_of(&spec, *seed));
            }
            prop_assert_eq!(&outcome, &count(&spec, &later).outcome, "other votes than those");
        }
    }

    #[test]
    fn everyone_who_agrees_gets_what_they_agree_on((spec, _) in ballot(), seed in any::<u32>()) {
        let choice = Choice::clone(&choice_of(&spec, seed));
        let answer = match &choice {
            Choice::Option(name) => option(name),
            Choice::Approve(names) | Choice::Ranking(names) if names.len() == 1 => option(&names[0]),
            Choice::Value(text) => Answer::Value(text.clone()),
            _ => return Ok(()),
        };
        let all = vec![Some(choice); spec.voters.len()];
        prop_assert_eq!(count(&spec, &all).outcome, Outcome::Decided(answer));
    }

    /// Turning a vote to the winner never makes it lose.
    #[test]
    fn more_support_never_hurts((spec, choices) in ballot(), who in any::<Index>()) {
        let Outcome::Decided(Answer::Option(winner)) = count(&spec, &choices).outcome else { return Ok(()) };
        let mut raised = choices.clone();
        let at = who.index(raised.len());
        raised[at] = match &raised[at] {
            Some(Choice::Ranking(names)) => {
                let rest = names.iter().filter(|name| **name != winner);
                Some(Choice::Ranking(std::iter::once(&winner).chain(rest).cloned().collect()))
            }
            Some(Choice::Approve(names)) if !names.contains(&winner) => {
                Some(Choice::Approve(names.iter().chain([&winner]).cloned().collect()))
            }
            Some(Choice::Option(_)) => Some(Choice::Option(winner.clone())),
            other => other.clone(),
        };
        prop_assert_eq!(count(&spec, &raised).outcome, Outcome::Decided(option(&winner)));
    }

    /// An option that beats every other one directly wins, and one that every other one beats does not.
    #[test]
    fn a_condorcet_winner_wins_and_a_condorcet_loser_does_not(
        seeds in prop::collection::vec((1..5_u32, any::<u32>()), 3..9),
    ) {
        let weights: Vec<u32> = seeds.iter().map(|(weight, _)| *weight).collect();
        let spec = spec(Rule::Ranked, &weights, false);
        let choices: Vec<Option<Choice>> = seeds.iter().map(|(_, seed)| Some(choice_of(&spec, *seed))).collect();
        let prefers = |one: &str, other: &str| -> u32 {
            let of = |(choice, weight): (&Option<Choice>, &u32)| match choice {
                Some(Choice::Ranking(names)) => {
                    let rank = |name: &str| names.iter().position(|known| known == name).unwrap_or(OPTIONS.len());
                    if rank(one) < rank(other) { *weight } else { 0 }
                }
                _ => 0,
            };
            choices.iter().zip(&weights).map(of).sum()
        };
        let others = |one: &str| OPTIONS.into_iter().filter(|other| *other != one).collect::<Vec<_>>();
        let outcome = count(&spec, &choices).outcome;
        for one in OPTIONS {
            if others(one).iter().all(|other| prefers(one, other) > prefers(other, one)) {
                prop_assert_eq!(&outcome, &Outcome::Decided(option(one)));
            }
            if others(one).iter().all(|other| prefers(one, other) < prefers(other, one)) {
                prop_assert_ne!(&outcome, &Outcome::Decided(option(one)));
            }
        }
    }

    /// With at most `trim` liars, the result lies between honest numbers.
    #[test]
    fn a_few_liars_cannot_move_a_trimmed_mean(
        honest in prop::collection::vec(-1e9..1e9_f64, 3..8),
        lies in prop::collection::vec(-1e300..1e300_f64, 0..3),
    ) {
        let all: Vec<f64> = honest.iter().chain(&lies).copied().collect();
        let spec = spec(Rule::TrimmedMean { trim: 2 }, &vec![1; all.len()], true);
        let outcome = count(&spec, &numbers(&all)).outcome;
        if all.len() <= 4 {
            prop_assert_eq!(outcome, Outcome::Undecided(Undecided::TooFewNumbers));
            return Ok(());
        }
        let Outcome::Decided(Answer::Value(text)) = outcome else { panic!("{outcome:?}") };
        let mean: f64 = text.parse().unwrap();
        let (low, high) = honest.iter().fold((f64::MAX, f64::MIN), |(low, high), n| (low.min(*n), high.max(*n)));
        prop_assert!((low..=high).contains(&mean), "{} is not from {} to {}", mean, low, high);
    }
}

#[test]
fn a_round_in_which_all_have_abstained_so_far_is_not_settled() {
    let spec = spec(Rule::Equality { faults: 1, kind: FaultKind::Byzantine }, &[1; 4], false);
    let two = [Some(Choice::Abstain), Some(Choice::Abstain), None, None];
    assert!(!is_settled(&spec, &casts(&spec, &two)));
    let third = [Some(Choice::Abstain), Some(Choice::Abstain), chosen(&OPTIONS[..1]).remove(0), None];
    assert!(is_settled(&spec, &casts(&spec, &third)));
    assert_eq!(count(&spec, &third).outcome, Outcome::Undecided(Undecided::TooFewEqual));
}

#[test]
fn a_majority_is_more_than_half_of_the_weight_that_chose() {
    let of = |weights: &[u32], names: &[&str]| count(&spec(Rule::Majority, weights, false), &chosen(names)).outcome;
    assert_eq!(of(&[1, 1, 1], &["a", "a", "b"]), Outcome::Decided(option("a")));
    assert_eq!(of(&[1, 1, 1], &["a", "b", "c"]), Outcome::Undecided(Undecided::NoMajority));
    assert_eq!(of(&[3, 1, 1], &["c", "b", "b"]), Outcome::Decided(option("c")));
    assert_eq!(of(&[2, 1, 1], &["c", "b", "b"]), Outcome::Tied(vec![option("b"), option("c")]));
    assert_eq!(of(&[2, 1, 1], &["c", "b", "a"]), Outcome::Undecided(Undecided::NoMajority), "half is no majority");
    let two_thirds = Rule::Supermajority { fraction: "2/3".parse().unwrap() };
    let of = |names: &[&str]| count(&spec(two_thirds.clone(), &vec![1; names.len()], false), &chosen(names)).outcome;
    assert_eq!(of(&["a", "a", "b"]), Outcome::Decided(option("a")));
    assert_eq!(of(&["a", "a", "a", "b", "b"]), Outcome::Undecided(Undecided::NoMajority));
}

#[test]
fn abstentions_count_for_the_quorum_and_not_for_options() {
    let spec = BallotSpec { quorum: 3, ..spec(Rule::Majority, &[1; 4], false) };
    let mut choices = chosen(&["a"]);
    choices.extend([Some(Choice::Abstain), None, None]);
    assert_eq!(count(&spec, &choices).outcome, Outcome::Undecided(Undecided::NoQuorum));
    choices[2] = Some(Choice::Abstain);
    let counted = count(&spec, &choices);
    assert_eq!((counted.voted, counted.abstained, counted.weight), (3, 2, 1));
    assert_eq!(counted.outcome, Outcome::Decided(option("a")));
    choices[0] = Some(Choice::Abstain);
    assert_eq!(count(&spec, &choices).outcome, Outcome::Undecided(Undecided::NoVotes));
}

#[test]
fn schulze_resolves_a_cycle_by_its_weakest_link() {
    // Schulze 2011, section 3.1 (example 1, without its clone-free reading): 21 voters, where `d` wins.
    let votes = ranked(&[(8, "acdb"), (2, "badc"), (4, "cdba"), (4, "dbac"), (3, "dcba")]);
    let counted = count(&spec(Rule::Ranked, &vec![1; votes.len()], false), &votes);
    assert_eq!(counted.outcome, Outcome::Decided(option("d")));
    assert_eq!((&counted.scores[0].answer, counted.scores[0].score), (&option("d"), 3));
    // A plain cycle of three equal links has no winner: all three are first.
    let cycle = ranked(&[(1, "abc"), (1, "bca"), (1, "cab")]);
    let tied = Outcome::Tied(vec![option("a"), option("b"), option("c")]);
    assert_eq!(count(&spec(Rule::Ranked, &[1; 3], false), &cycle).outcome, tied);
}

#[test]
fn medians_and_means_are_of_sorted_numbers() {
    let of = |rule: Rule, values: &[f64]| count(&spec(rule, &vec![1; values.len()], true), &numbers(values)).outcome;
    let value = |text: &str| Outcome::Decided(Answer::Value(text.to_owned()));
    assert_eq!(of(Rule::Median, &[9.0, 1.0, 5.0]), value("5"));
    assert_eq!(of(Rule::Median, &[1.0, 2.0]), value("1.5"));
    assert_eq!(of(Rule::Median, &[f64::MAX, f64::MAX]), value("1.7976931348623157e+308"));
    assert_eq!(of(Rule::TrimmedMean { trim: 1 }, &[1e300, 4.0, 2.0, 3.0]), value("3.5"));
    assert_eq!(of(Rule::TrimmedMean { trim: 0 }, &[1.0, 2.0, 3.0]), value("2"));
}

#[test]
fn enough_equal_answers_decide_whatever_the_liars_say() {
    let rule = Rule::Equality { faults: 1, kind: FaultKind::Byzantine };
    let spec = spec(rule, &[1; 4], true);
    let say = |texts: [&str; 4]| -> Vec<Option<Choice>> {
        texts.map(|text| serde_json::from_str(text).ok().map(|value| Choice::value(&value).unwrap())).to_vec()
    };
    // Three honest voters spell the same answer in three ways, and one lies.
    let votes = say([r#"{"a":1,"b":[2]}"#, r#"{"b":[2.0],"a":1}"#, "{\"a\":1e0, \"b\":[2]}", "{\"a\":2}"]);
    assert_eq!(count(&spec, &votes).outcome, Outcome::Decided(Answer::Value(r#"{"a":1,"b":[2]}"#.to_owned())));
    assert!(is_settled(&spec, &casts(&spec, &votes[..3])), "the fourth cannot change it");
    // Two honest ones are too few where one lies and one is silent.
    let votes = say(["1", "1", "2", ""]);
    assert_eq!(count(&spec, &votes).outcome, Outcome::Undecided(Undecided::TooFewEqual));
}

#[test]
fn each_rule_for_ties_does_what_it_says() {
    let base = spec(Rule::Plurality, &[1; 2], false);
    let (one, other) = (Choice::Option("b".to_owned()), Choice::Option("a".to_owned()));
    let votes: RoundVotes<'_> = [("v0", &one), ("v1", &other)].into();
    let after = |tie: Tie, round, rounds, before: Option<&RoundVotes<'_>>, by| {
        verdict(
            &BallotSpec { tie, rounds, options: vec!["b".to_owned(), "a".to_owned()], ..base.clone() },
            round,
            &votes,
            before,
            by,
        )
    };
    let by_tie = |name: &str| Some(Verdict::Decided { answer: option(name), by_tie: true });
    let undecided = Some(Verdict::Undecided(Undecided::Tie));
    let quo = || Tie::StatusQuo("a".to_owned());
    assert_eq!(after(Tie::FirstListed, 1, 3, None, ClosedBy::Votes), by_tie("b"));
    assert_eq!(after(Tie::Lowest, 1, 3, None, ClosedBy::Votes), by_tie("a"));
    assert_eq!(after(Tie::Fail, 1, 3, None, ClosedBy::Votes), undecided);
    assert_eq!(after(Tie::Revote, 1, 3, None, ClosedBy::Votes), None);
    assert_eq!(after(Tie::Revote, 3, 3, None, ClosedBy::Votes), undecided);
    assert_eq!(after(quo(), 1, 3, None, ClosedBy::Votes), None, "the status quo waits for the last round");
    assert_eq!(after(quo(), 3, 3, None, ClosedBy::Votes), by_tie("a"));
    assert_eq!(after(quo(), 1, 3, None, ClosedBy::Operator), by_tie("a"));
    let same = votes.clone();
    assert_eq!(after(Tie::Revote, 2, 3, Some(&same), ClosedBy::Votes), undecided, "no one has changed a vote");
    let abstain = Choice::Abstain;
    let changed: RoundVotes<'_> = [("v0", &one), ("v1", &abstain)].into();
    assert_eq!(after(Tie::Revote, 2, 3, Some(&changed), ClosedBy::Votes), None);
}
