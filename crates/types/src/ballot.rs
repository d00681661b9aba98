//! What a ballot asks, by which rule its answer is made, and what a vote may say.
//!
//! For: one shape of questions and votes for the machine, workflows and interfaces, with the refusal of what no vote could
//! decide. Not for: counting (the machine does), or when a round ends.
//! Invariant: a ballot that [`BallotSpec::check`] lets pass can be decided by some votes, and a vote that
//! [`BallotSpec::check_choice`] lets pass counts by its rule.

mod choice;
mod rule;

use minicbor::{Decode, Encode};

pub use choice::{Answer, Choice};
pub use rule::{FaultKind, Ratio, Rule, RuleNumbers, Tie};

use crate::{
    Code, Error, Name, Result, Span,
    bounds::{check_count, check_text},
    limits,
};

/// Who may vote, and how much the vote counts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Voter {
    /// The name, unique in the ballot.
    #[n(0)]
    pub name: String,
    /// From 1 to [`limits::BALLOT_WEIGHT_MAX`].
    #[n(1)]
    pub weight: u32,
}

/// Who sees votes, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Secrecy {
    /// Everyone sees each vote at once.
    #[n(0)]
    Open,
    /// Votes of a round are shown when the round has closed; until then only who has voted is.
    #[n(1)]
    UntilClosed,
    /// As [`Secrecy::UntilClosed`], and who gave which vote is never shown. The log has it all the same.
    #[n(2)]
    SecretVoters,
}

/// A ballot as it was opened; nothing of it changes.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BallotSpec {
    /// What is asked.
    #[n(0)]
    pub question: String,
    /// The options, in the order that ties refer to; without any, answers are free.
    #[n(1)]
    pub options: Vec<String>,
    /// Who may vote, by name.
    #[n(2)]
    pub voters: Vec<Voter>,
    /// How votes become a decision.
    #[n(3)]
    pub rule: Rule,
    /// What happens where the rule does not find one answer.
    #[n(4)]
    pub tie: Tie,
    /// How many voters must have voted, abstentions counted.
    #[n(5)]
    pub quorum: u32,
    /// How long a round takes at most; `None` waits for the last vote or an operator.
    #[n(6)]
    pub deadline: Option<Span>,
    /// Who sees votes, and when.
    #[n(7)]
    pub secrecy: Secrecy,
    /// Rounds at most, from 1.
    #[n(8)]
    pub rounds: u32,
    /// Whether a voter may change a vote while its round is open.
    #[n(9)]
    pub may_change: bool,
    /// How long the ballot is kept after its end.
    #[n(10)]
    pub keep: Span,
}

impl BallotSpec {
    /// How long a ballot is kept where nothing else is wanted: 30 days.
    pub const KEEP_DEFAULT: Span = Span::from_secs(30 * 24 * 60 * 60);

    /// A ballot with one round and the defaults: a tie asks again, more than half of the voters are a quorum.
    pub fn new(question: impl Into<String>, options: Vec<String>, voters: Vec<Voter>, rule: Rule) -> Self {
        Self {
            question: question.into(),
            quorum: Self::quorum_default(voters.len()),
            options,
            voters,
            rule,
            tie: Tie::Revote,
            deadline: None,
            secrecy: Secrecy::Open,
            rounds: 1,
            may_change: false,
            keep: Self::KEEP_DEFAULT,
        }
    }

    /// More than half of the voters.
    pub fn quorum_default(voters: usize) -> u32 {
        count_of(voters) / 2 + 1
    }

    /// The voter of this name.
    pub fn voter(&self, name: &str) -> Option<&Voter> {
        self.voters.iter().find(|voter| voter.name == name)
    }

    /// Whether answers are free.
    pub fn is_free(&self) -> bool {
        self.options.is_empty()
    }

    /// How many equal answers [`Rule::Equality`] needs here; `None` for every other rule.
    pub fn equal_answers_needed(&self) -> Option<u32> {
        match &self.rule {
            Rule::Equality { faults, kind } => Some(kind.equal_answers(count_of(self.voters.len()), *faults)),
            _ => None,
        }
    }

    /// Refuses a ballot that is over a limit, or that its rule could never decide.
    ///
    /// # Errors
    /// [`Code::FaultsNotTolerated`] where there are too few voters for the faults, [`Code::BadName`],
    /// [`Code::LimitReached`], or else [`Code::BadRequest`].
    pub fn check(&self) -> Result<()> {
        check_text("question", &self.question, limits::BALLOT_QUESTION_BYTES_MAX)?;
        if self.question.trim().is_empty() {
            return Err(bad("the question is empty", "ask something"));
        }
        self.check_options()?;
        self.check_voters()?;
        self.check_rule()?;
        self.check_tie()?;
        let (voters, rounds) = (count_of(self.voters.len()), self.rounds);
        if self.quorum == 0 || self.quorum > voters {
            let message =
                format!("the quorum is `{}`, but must be from 1 to the number of voters, {voters}", self.quorum);
            return Err(bad(message, "more than half of the voters is the default"));
        }
        if rounds == 0 || rounds > limits::BALLOT_ROUNDS_MAX {
            let message = format!("there are `{rounds}` rounds, but must be from 1 to {}", limits::BALLOT_ROUNDS_MAX);
            return Err(bad(message, "voters who do not agree by then need another question"));
        }
        if self.deadline == Some(Span(0)) {
            return Err(bad("the deadline is `0s`: no one could vote", "give each round some time"));
        }
        Ok(())
    }

    fn check_options(&self) -> Result<()> {
        check_count("options", self.options.len(), limits::BALLOT_OPTIONS_MAX)?;
        for (at, option) in self.options.iter().enumerate() {
            check_text("option", option, limits::NAME_BYTES_MAX)?;
            if option.trim().is_empty() || option.chars().any(char::is_control) {
                return Err(bad(format!("option {} is empty or has control characters", at + 1), "use a few words"));
            }
            if self.options[..at].contains(option) {
                return Err(bad(format!("the option `{option}` is there more than once"), "leave one of them out"));
            }
        }
        if self.options.len() == 1 {
            return Err(bad("there is only one option", "give at least two, or none for free answers"));
        }
        Ok(())
    }

    fn check_voters(&self) -> Result<()> {
        check_count("voters", self.voters.len(), limits::BALLOT_VOTERS_MAX)?;
        if self.voters.is_empty() {
            return Err(bad("there are no voters", "name those who may vote"));
        }
        let mut names = std::collections::BTreeSet::new();
        for Voter { name, weight } in &self.voters {
            Name::check("voter", name)?;
            if !names.insert(name) {
                return Err(bad(format!("the voter `{name}` is there more than once"), "give the voter a weight"));
            }
            if *weight == 0 || *weight > limits::BALLOT_WEIGHT_MAX {
                let max = limits::BALLOT_WEIGHT_MAX;
                let message = format!("the voter `{name}` has the weight `{weight}`, but must have 1 to {max}");
                return Err(bad(message, "leave out those whose vote is not to count"));
            }
        }
        Ok(())
    }

    fn check_rule(&self) -> Result<()> {
        let rule = &self.rule;
        if rule.needs_options() && self.is_free() {
            return Err(bad(format!("the rule `{rule}` needs options"), "list what can be chosen"));
        }
        if rule.takes_numbers() && !self.is_free() {
            return Err(bad(format!("the rule `{rule}` takes numbers, not options"), "leave the options out"));
        }
        if !rule.takes_weights()
            && let Some(voter) = self.voters.iter().find(|voter| voter.weight != 1)
        {
            let message = format!("the voter `{}` has a weight, and the rule `{rule}` takes none", voter.name);
            return Err(bad(message, "leave the weights out"));
        }
        rule.check(count_of(self.voters.len()))
    }

    fn check_tie(&self) -> Result<()> {
        match &self.tie {
            Tie::FirstListed | Tie::Lowest if !self.rule.can_tie() => {
                let message = format!("the rule `{}` has no ties, so `{}` would never count", self.rule, self.tie);
                Err(bad(message, "use `fail`, `revote` or `status_quo`"))
            }
            Tie::FirstListed if self.is_free() => {
                Err(bad("`first_listed` needs options", "for free answers use `lowest`, `fail` or `revote`"))
            }
            Tie::StatusQuo(option) if !self.options.contains(option) => {
                Err(bad(format!("the status quo `{option}` is not an option"), "name one of the options"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a choice that does not count by the rule of the ballot.
    ///
    /// # Errors
    /// [`Code::UnknownOption`] where it names an option that there is not, [`Code::BadVote`] where it is of another kind.
    pub fn check_choice(&self, choice: &Choice) -> Result<()> {
        let expected = self.expects();
        match choice {
            Choice::Abstain => return Ok(()),
            Choice::Option(option) if expected == "choice" => return self.check_option(option),
            Choice::Approve(options) | Choice::Ranking(options) if expected == choice.kind() => {
                return options.iter().try_for_each(|option| self.check_option(option));
            }
            Choice::Value(text) if expected == "value" => return self.check_value(text),
            _ => {}
        }
        let message = format!("a vote by the rule `{}` has `{expected}`, not `{}`", self.rule, choice.kind());
        Err(Error::new(Code::BadVote, message).hint("`abstain` is possible with every rule"))
    }

    /// What a vote that is no abstention has: `choice`, `approve`, `ranking` or `value`.
    pub fn expects(&self) -> &'static str {
        match self.rule {
            Rule::Approval => "approve",
            Rule::Ranked => "ranking",
            _ if self.is_free() => "value",
            _ => "choice",
        }
    }

    fn check_option(&self, option: &str) -> Result<()> {
        if self.options.iter().any(|known| known == option) {
            return Ok(());
        }
        let shown = crate::text::shortened(option, limits::NAME_BYTES_MAX);
        Err(Error::new(Code::UnknownOption, format!("`{shown}` is not an option"))
            .hint(format!("the options are `{}`", self.options.join("`, `"))))
    }

    fn check_value(&self, text: &str) -> Result<()> {
        if !self.rule.takes_numbers() || text.parse::<f64>().is_ok_and(f64::is_finite) {
            return Ok(());
        }
        let shown = crate::text::shortened(text, limits::NAME_BYTES_MAX);
        Err(Error::new(Code::BadVote, format!("`{shown}` is not a number, which the rule `{}` needs", self.rule)))
    }
}

/// A count of things that a limit bounds.
fn count_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn bad(message: impl Into<String>, hint: &str) -> Error {
    Error::new(Code::BadRequest, message).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(count: usize) -> Vec<Voter> {
        (0..count).map(|at| Voter { name: format!("v{at}"), weight: 1 }).collect()
    }

    fn spec(rule: Rule, options: &[&str], count: usize) -> BallotSpec {
        BallotSpec::new("Q?", options.iter().map(|&option| option.to_owned()).collect(), voters(count), rule)
    }

    #[test]
    fn a_ballot_that_cannot_tolerate_its_faults_is_refused_with_the_numbers() {
        let byzantine = |count, faults| spec(Rule::Equality { faults, kind: FaultKind::Byzantine }, &[], count);
        for (count, faults, needed) in [(4, 1, 3), (7, 2, 5), (10, 3, 7), (5, 1, 4), (1, 0, 1)] {
            byzantine(count, faults).check().unwrap();
            assert_eq!(byzantine(count, faults).equal_answers_needed(), Some(needed), "{count} {faults}");
        }
        let error = byzantine(3, 1).check().unwrap_err();
        assert_eq!(error.code, Code::FaultsNotTolerated);
        assert!(error.message.contains("`3` voters") && error.message.contains("`4`"), "{error}");
        let crash = |count, faults| spec(Rule::Equality { faults, kind: FaultKind::Crash }, &[], count);
        for (count, faults, needed) in [(3, 1, 2), (5, 2, 3), (4, 1, 3)] {
            crash(count, faults).check().unwrap();
            assert_eq!(crash(count, faults).equal_answers_needed(), Some(needed));
        }
        assert_eq!(crash(2, 1).check().unwrap_err().code, Code::FaultsNotTolerated);
    }

    #[test]
    fn each_limit_is_checked_at_it_and_past_it() {
        let options = |count: usize| (0..count).map(|at| format!("o{at}")).collect::<Vec<_>>();
        let of = |count, voted| BallotSpec::new("Q?", options(count), voters(voted), Rule::Plurality).check();
        of(limits::BALLOT_OPTIONS_MAX, limits::BALLOT_VOTERS_MAX).unwrap();
        assert_eq!(of(limits::BALLOT_OPTIONS_MAX + 1, 2).unwrap_err().code, Code::LimitReached);
        assert_eq!(of(2, limits::BALLOT_VOTERS_MAX + 1).unwrap_err().code, Code::LimitReached);
        assert_eq!(of(1, 2).unwrap_err().code, Code::BadRequest);
        assert_eq!(of(2, 0).unwrap_err().code, Code::BadRequest);
        let plain = || spec(Rule::Majority, &["a", "b"], 2);
        for rounds in [0, limits::BALLOT_ROUNDS_MAX + 1] {
            assert_eq!(BallotSpec { rounds, ..plain() }.check().unwrap_err().code, Code::BadRequest);
        }
        BallotSpec { rounds: limits::BALLOT_ROUNDS_MAX, quorum: 2, ..plain() }.check().unwrap();
        for quorum in [0, 3] {
            assert_eq!(BallotSpec { quorum, ..plain() }.check().unwrap_err().code, Code::BadRequest);
        }
        for weight in [0, limits::BALLOT_WEIGHT_MAX + 1] {
            let voters = vec![Voter { name: "a".to_owned(), weight }];
            assert_eq!(BallotSpec { voters, quorum: 1, ..plain() }.check().unwrap_err().code, Code::BadRequest);
        }
        let question = "q".repeat(limits::BALLOT_QUESTION_BYTES_MAX + 1);
        BallotSpec { question: question[1..].to_owned(), ..plain() }.check().unwrap();
        assert_eq!(BallotSpec { question, ..plain() }.check().unwrap_err().code, Code::LimitReached);
    }

    #[test]
    fn rules_ties_and_options_have_to_fit() {
        let refused = |spec: BallotSpec| assert_eq!(spec.check().unwrap_err().code, Code::BadRequest, "{spec:?}");
        refused(spec(Rule::Ranked, &[], 3));
        refused(spec(Rule::Median, &["a", "b"], 3));
        refused(spec(Rule::TrimmedMean { trim: 1 }, &[], 2));
        spec(Rule::TrimmedMean { trim: 1 }, &[], 3).check().unwrap();
        refused(BallotSpec { tie: Tie::FirstListed, ..spec(Rule::Unanimous, &["a", "b"], 3) });
        refused(BallotSpec { tie: Tie::StatusQuo("c".to_owned()), ..spec(Rule::Majority, &["a", "b"], 3) });
        BallotSpec { tie: Tie::StatusQuo("b".to_owned()), ..spec(Rule::Unanimous, &["a", "b"], 3) }.check().unwrap();
        BallotSpec { tie: Tie::Lowest, ..spec(Rule::Plurality, &[], 3) }.check().unwrap();
        let weighted = vec![Voter { name: "a".to_owned(), weight: 2 }];
        refused(BallotSpec { voters: weighted, quorum: 1, ..spec(Rule::Median, &[], 1) });
    }

    #[test]
    fn a_choice_has_to_count() {
        let two = |rule| spec(rule, &["a", "b"], 3);
        let option = |name: &str| Choice::Option(name.to_owned());
        two(Rule::Majority).check_choice(&option("a")).unwrap();
        two(Rule::Ranked).check_choice(&Choice::Ranking(vec!["b".to_owned()])).unwrap();
        assert_eq!(two(Rule::Majority).check_choice(&option("c")).unwrap_err().code, Code::UnknownOption);
        assert_eq!(two(Rule::Ranked).check_choice(&option("a")).unwrap_err().code, Code::BadVote);
        let median = spec(Rule::Median, &[], 3);
        median.check_choice(&Choice::Value("1.5".to_owned())).unwrap();
        median.check_choice(&Choice::Abstain).unwrap();
        assert_eq!(median.check_choice(&Choice::Value("\"x\"".to_owned())).unwrap_err().code, Code::BadVote);
    }
}
