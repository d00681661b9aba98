//! The documents of ballots.
//!
//! For: what is asked, what a vote says, and what is shown; and their conversion to and from the words of the machine. Not
//! for: which of them fit together (the machine's check does that).
//! Invariant: what a document says of a rule, [`consort_types::ballot`] reads as the same rule.

use consort_types::{
    Code, Error, Result, Span, Time,
    ballot::{self, BallotSpec, Choice, RuleNumbers, Tie},
    limits,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Document, Problem, is_default, schema};

/// Words of an API that the machine has too.
macro_rules! words {
    ($(#[$doc:meta])+ $name:ident { $($(#[$of:meta])+ $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$of])+ $variant,)+ }

        impl $name {
            /// The word that people read.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The one of a word.
            pub fn of(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// How votes become a decision. Weights count wherever options are counted; an abstention counts for the quorum only.
    BallotRule {
        /// The answer with more than half of the weight that chose.
        Majority = "majority",
        /// The answer with at least `fraction` of the weight that chose; two thirds without it.
        Supermajority = "supermajority",
        /// The answer that everyone gave who chose.
        Unanimous = "unanimous",
        /// The answer with the most weight.
        Plurality = "plurality",
        /// The option that the most weight approves of.
        Approval = "approval",
        /// The winner of rankings by the Schulze method.
        Ranked = "ranked",
        /// The number in the middle, or the mean of both in the middle.
        Median = "median",
        /// The mean without the `trim` lowest and highest numbers.
        TrimmedMean = "trimmed_mean",
        /// The answer that enough voters gave alike to tolerate `faults` faulty ones.
        Equality = "equality",
    }
}

words! {
    /// What happens where the rule does not find one answer.
    BallotTie {
        /// A tie ends the ballot without a decision, also where rounds are left.
        Fail = "fail",
        /// Of the first answers, the one that is listed first.
        FirstListed = "first_listed",
        /// Of the first answers, the lowest one by the bytes of its text.
        Lowest = "lowest",
        /// The option `status_quo`, where the last round decides nothing and the quorum has voted.
        StatusQuo = "status_quo",
        /// A tie opens another round while rounds are left.
        Revote = "revote",
    }
}

words! {
    /// What a faulty voter may do.
    AgainstFaults {
        /// It may answer anything: `3f + 1` voters tolerate `f`.
        Byzantine = "byzantine",
        /// It may only be silent: `2f + 1` voters tolerate `f`.
        Crash = "crash",
    }
}

words! {
    /// Who sees votes, and when.
    BallotSecrecy {
        /// Everyone, at once.
        Open = "open",
        /// Everyone, when the round has closed.
        UntilClosed = "until_closed",
        /// As `until_closed`, and never who gave which vote.
        SecretVoters = "secret_voters",
    }
}

words! {
    /// Where a ballot is.
    BallotStatus {
        /// A round is open.
        Open = "open",
        /// It has ended with a decision.
        Decided = "decided",
        /// It has ended without one.
        Undecided = "undecided",
        /// It was cancelled.
        Cancelled = "cancelled",
    }
}

words! {
    /// What closed a round.
    ClosedBy {
        /// Its votes: no further one could change the outcome.
        Votes = "votes",
        /// Its deadline.
        Deadline = "deadline",
        /// An operator.
        Operator = "operator",
    }
}

words! {
    /// Why there is no decision.
    Undecided {
        /// Too few voters have voted.
        NoQuorum = "no_quorum",
        /// Everyone who voted has abstained.
        NoVotes = "no_votes",
        /// No answer has the majority that the rule wants.
        NoMajority = "no_majority",
        /// Not everyone gave the same answer.
        NotUnanimous = "not_unanimous",
        /// Too few answers are equal.
        TooFewEqual = "too_few_equal",
        /// Too few numbers are there to trim them.
        TooFewNumbers = "too_few_numbers",
        /// Several answers are first.
        Tie = "tie",
    }
}

/// Who may vote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BallotVoter {
    /// The name, unique in the ballot.
    pub name: String,
    /// How much the vote counts, 1 to 1000; without it, 1. Rules that count voters take no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::BALLOT_WEIGHT_MAX))]
    pub weight: Option<u32>,
}

/// What is asked, and how it is decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenBallotRequest {
    /// What is asked.
    pub question: String,
    /// What can be chosen, at least two, in the order that ties refer to; without any, answers are free.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Who may vote.
    pub voters: Vec<BallotVoter>,
    /// How votes become a decision.
    pub rule: BallotRule,
    /// Of `supermajority`: a fraction above one half, such as `2/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<String>,
    /// Of `trimmed_mean`: how many numbers are left out at each end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trim: Option<u32>,
    /// Of `equality`: how many voters may be faulty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<u32>,
    /// Of `equality`: what faulty voters may do; `byzantine` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<AgainstFaults>,
    /// What happens where the rule does not find one answer; `revote` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_tie: Option<BallotTie>,
    /// Of `on_tie: status_quo`: the option that is decided then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_quo: Option<String>,
    /// How many voters must have voted, abstentions counted; more than half of them without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<u32>,
    /// How long a round takes at most; without it, until the last vote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub deadline: Option<Span>,
    /// Who sees votes, and when; `open` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrecy: Option<BallotSecrecy>,
    /// Rounds at most, 1 to 10; without it, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::BALLOT_ROUNDS_MAX))]
    pub rounds: Option<u32>,
    /// Whether a voter may change a vote while its round is open; the round then waits for the last voter.
    #[serde(default, skip_serializing_if = "is_default")]
    pub may_change: bool,
    /// How long the ballot is kept after its end; 30 days without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub keep: Option<Span>,
}

impl TryFrom<OpenBallotRequest> for BallotSpec {
    type Error = Error;

    fn try_from(asked: OpenBallotRequest) -> Result<Self> {
        let OpenBallotRequest { fraction, trim, faults, against, .. } = &asked;
        let fraction = fraction.as_deref().map(str::parse).transpose()?;
        let kind = against.map(AgainstFaults::as_str).map(str::parse).transpose()?;
        let rule = ballot::Rule::of(asked.rule.as_str(), RuleNumbers { fraction, trim: *trim, faults: *faults, kind })?;
        let tie = Tie::of(asked.on_tie.map_or("revote", BallotTie::as_str), asked.status_quo)?;
        let voter = |voter: BallotVoter| ballot::Voter { name: voter.name, weight: voter.weight.unwrap_or(1) };
        let plain = Self::new(asked.question, asked.options, asked.voters.into_iter().map(voter).collect(), rule);
        Ok(Self {
            tie,
            quorum: asked.quorum.unwrap_or(plain.quorum),
            deadline: asked.deadline,
            secrecy: match asked.secrecy.unwrap_or(BallotSecrecy::Open) {
                BallotSecrecy::Open => ballot::Secrecy::Open,
                BallotSecrecy::UntilClosed => ballot::Secrecy::UntilClosed,
                BallotSecrecy::SecretVoters => ballot::Secrecy::SecretVoters,
            },
            rounds: asked.rounds.unwrap_or(plain.rounds),
            may_change: asked.may_change,
            keep: asked.keep.unwrap_or(plain.keep),
            ..plain
        })
    }
}

impl From<BallotSpec> for OpenBallotRequest {
    fn from(spec: BallotSpec) -> Self {
        let RuleNumbers { fraction, trim, faults, kind } = spec.rule.numbers();
        let voter = |voter: ballot::Voter| BallotVoter { name: voter.name, weight: Some(voter.weight) };
        Self {
            question: spec.question,
            options: spec.options,
            voters: spec.voters.into_iter().map(voter).collect(),
            // Every word of the machine is one of the API.
            rule: BallotRule::of(spec.rule.word()).unwrap_or(BallotRule::Majority),
            fraction: fraction.map(|fraction| fraction.to_string()),
            trim,
            faults,
            against: kind.and_then(|kind| AgainstFaults::of(kind.as_str())),
            on_tie: BallotTie::of(spec.tie.word()),
            status_quo: spec.tie.status_quo().map(str::to_owned),
            quorum: Some(spec.quorum),
            deadline: spec.deadline,
            secrecy: Some(match spec.secrecy {
                ballot::Secrecy::Open => BallotSecrecy::Open,
                ballot::Secrecy::UntilClosed => BallotSecrecy::UntilClosed,
                ballot::Secrecy::SecretVoters => BallotSecrecy::SecretVoters,
            }),
            rounds: Some(spec.rounds),
            may_change: spec.may_change,
            keep: Some(spec.keep),
        }
    }
}

/// A vote. Of `choice`, `approve`, `ranking`, `value` and `abstain` it has one: the one that the rule of the ballot takes,
/// or `abstain`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VoteRequest {
    /// Who votes.
    pub voter: String,
    /// The round that the voter means; a vote that comes too late for it is then refused. Without it, the open one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
    /// One option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<String>,
    /// Of `approval`: every option that is good enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<Vec<String>>,
    /// Of `ranked`: options, the best first; those that are not named are behind all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranking: Option<Vec<String>>,
    /// Where answers are free: any JSON document but `null`, compared by its canonical form (RFC 8785).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Document>,
    /// Counts for the quorum only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub abstain: bool,
    /// Why; others can read it, according to the secrecy of the ballot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl VoteRequest {
    /// What the vote says.
    ///
    /// # Errors
    /// [`Code::BadRequest`] where it says nothing, or more than one thing.
    pub fn what(&self) -> Result<Choice> {
        let value = self.value.as_ref().map(|value| Choice::value(&value.read::<Value>("value")?)).transpose()?;
        let given = [
            self.choice.clone().map(Choice::Option),
            self.approve.clone().map(Choice::Approve),
            self.ranking.clone().map(Choice::Ranking),
            value,
            self.abstain.then_some(Choice::Abstain),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(choice), None) => Ok(choice),
            (None, _) => Err(Error::new(Code::BadRequest, "the vote says nothing")
                .hint("give `choice`, `approve`, `ranking`, `value` or `abstain`")),
            (Some(one), Some(other)) => {
                let message = format!("the vote has both `{}` and `{}`", one.kind(), other.kind());
                Err(Error::new(Code::BadRequest, message).hint("give one of them"))
            }
        }
    }
}

/// What a ballot came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BallotResult {
    /// What was decided: an option, a free answer or a number; absent where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Document>,
    /// Whether the rule for ties has decided.
    #[serde(default, skip_serializing_if = "is_default")]
    pub by_tie: bool,
    /// Why nothing was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecided: Option<Undecided>,
}

/// A ballot, as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BallotSummary {
    /// Its name.
    pub ballot: String,
    /// What is asked.
    pub question: String,
    /// Where it is.
    pub status: BallotStatus,
    /// The open round, or the last one.
    pub round: u32,
    /// Votes in that round.
    pub voted: u32,
    /// How many may vote.
    pub voters: u32,
    /// When it was opened.
    #[schemars(with = "schema::Instant")]
    pub opened_at: Time,
    /// When the open round closes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub closes_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub ended_at: Option<Time>,
    /// What it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<BallotResult>,
}

/// How an answer did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BallotScore {
    /// The answer.
    pub answer: Document,
    /// How many voters named it.
    pub voters: u32,
    /// The weight of these voters; by `ranked`, how many options it beats.
    pub score: u64,
}

/// The count of a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BallotTally {
    /// Voters who have voted, abstentions included.
    pub voted: u32,
    /// Of these: abstentions.
    pub abstained: u32,
    /// The weight of those who did not abstain.
    pub weight: u64,
    /// Whether enough have voted.
    pub quorum_met: bool,
    /// How many equal answers `equality` needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equal_answers_needed: Option<u32>,
    /// How each answer did, the best first; empty where a number is calculated.
    pub scores: Vec<BallotScore>,
    /// The answers that are first, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tied: Vec<Document>,
}

/// A vote, as it may be seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BallotVote {
    /// Who gave it, unless that is secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voter: Option<String>,
    /// The option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<String>,
    /// The options that it approves of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approve: Option<Vec<String>>,
    /// The options, the best first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranking: Option<Vec<String>>,
    /// The free answer, in its canonical form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Document>,
    /// Whether it is an abstention.
    #[serde(default, skip_serializing_if = "is_default")]
    pub abstain: bool,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was given, or changed last; absent where the voters are secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub voted_at: Option<Time>,
    /// How often it was changed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub changes: u32,
    /// Whether it is for something else than what the ballot decided.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dissents: bool,
}

/// A round of a ballot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BallotRound {
    /// Its number, from 1.
    pub round: u32,
    /// When it was opened.
    #[schemars(with = "schema::Instant")]
    pub opened_at: Time,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub closed_at: Option<Time>,
    /// What closed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<ClosedBy>,
    /// Who has voted.
    pub voted: Vec<String>,
    /// Who has not.
    pub silent: Vec<String>,
    /// The count; absent while it is hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tally: Option<BallotTally>,
    /// The votes; none while they are hidden.
    pub votes: Vec<BallotVote>,
}

/// A ballot with its rounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ballot {
    /// Its name.
    pub ballot: String,
    /// What is asked, with every default filled in.
    pub asked: OpenBallotRequest,
    /// Where it is.
    pub status: BallotStatus,
    /// When it was opened.
    #[schemars(with = "schema::Instant")]
    pub opened_at: Time,
    /// When the open round closes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub closes_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub ended_at: Option<Time>,
    /// Who ended it by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// Why it was ended by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<String>,
    /// What it came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<BallotResult>,
    /// Whether its recorded votes, counted again for this answer, come to the recorded result.
    pub recount_agrees: bool,
    /// Its rounds, the first one first.
    pub rounds: Vec<BallotRound>,
}

/// An event of a watch of a ballot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BallotEvent {
    /// The ballot as it is now.
    Ballot(Box<Ballot>),
    /// The ballot has ended; nothing follows.
    End(Box<Ballot>),
    /// Why the watch ends; nothing follows.
    Error(Problem),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_asked_is_read_and_shown_alike() {
        for rule in ballot::Rule::WORDS {
            let mut asked = json!({
                "question": "Q?", "voters": [{"name": "a"}, {"name": "b", "weight": 1}], "rule": rule, "quorum": 2,
                "deadline": "10m", "secrecy": "until_closed", "rounds": 2, "on_tie": "status_quo", "status_quo": "x",
            });
            match rule {
                "supermajority" => asked["fraction"] = json!("3/4"),
                "trimmed_mean" => asked["trim"] = json!(1),
                "equality" => asked["faults"] = json!(0),
                _ => {}
            }
            let asked: OpenBallotRequest = serde_json::from_value(asked).unwrap();
            let spec = BallotSpec::try_from(asked).unwrap();
            assert_eq!((spec.rule.word(), spec.quorum, spec.voters[1].weight), (rule, 2, 1));
            let shown = OpenBallotRequest::from(spec.clone());
            assert_eq!(shown.keep, Some(BallotSpec::KEEP_DEFAULT));
            assert_eq!(BallotSpec::try_from(shown).unwrap(), spec);
        }
        let bad = json!({"question": "Q?", "voters": [{"name": "a"}], "rule": "median", "faults": 1});
        let bad: OpenBallotRequest = serde_json::from_value(bad).unwrap();
        assert_eq!(BallotSpec::try_from(bad).unwrap_err().code, Code::BadRequest);
    }

    #[test]
    fn a_vote_says_one_thing() {
        let of = |vote: Value| serde_json::from_value::<VoteRequest>(vote).unwrap().what();
        assert_eq!(of(json!({"voter": "a", "choice": "x"})).unwrap(), Choice::Option("x".to_owned()));
        assert_eq!(of(json!({"voter": "a", "value": {"b": 1.0}})).unwrap(), Choice::Value(r#"{"b":1}"#.to_owned()));
        assert_eq!(of(json!({"voter": "a", "abstain": true})).unwrap(), Choice::Abstain);
        assert_eq!(of(json!({"voter": "a"})).unwrap_err().code, Code::BadRequest);
        assert_eq!(of(json!({"voter": "a", "abstain": true, "choice": "x"})).unwrap_err().code, Code::BadRequest);
        let long = json!({"voter": "a", "value": 9_007_199_254_740_993_u64});
        assert_eq!(of(long).unwrap_err().code, Code::BadJson);
    }
}
