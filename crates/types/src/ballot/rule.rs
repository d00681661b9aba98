//! The rules by which votes become a decision, and what happens where they do not.
//!
//! For: the words and numbers of a rule. Not for: counting.
//! Invariant: fractions and counts are whole numbers; no rule depends on the order of votes.

use std::{fmt, str::FromStr};

use minicbor::{Decode, Encode};

use super::bad;
use crate::{Code, Error, Result, limits};

/// A fraction above one half, up to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Ratio {
    /// Of `of` parts, so many.
    #[n(0)]
    pub parts: u32,
    /// The whole, at most [`limits::BALLOT_WEIGHT_MAX`].
    #[n(1)]
    pub of: u32,
}

impl Ratio {
    /// Whether `part` is at least this fraction of `whole`.
    pub fn is_reached(self, part: u64, whole: u64) -> bool {
        u128::from(part) * u128::from(self.of) >= u128::from(whole) * u128::from(self.parts)
    }

    fn check(self) -> Result<()> {
        if self.of <= limits::BALLOT_WEIGHT_MAX
            && self.parts <= self.of
            && 2 * u64::from(self.parts) > u64::from(self.of)
        {
            return Ok(());
        }
        let max = limits::BALLOT_WEIGHT_MAX;
        let message = format!("the fraction `{self}` is not above `1/2` and at most `1`, with numbers up to {max}");
        Err(bad(message, "write it like `2/3`"))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.parts, self.of)
    }
}

impl FromStr for Ratio {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let read = || {
            let (parts, of) = text.split_once('/')?;
            Some(Self { parts: parts.trim().parse().ok()?, of: of.trim().parse().ok()? })
        };
        let shown = crate::text::shortened(text, limits::NAME_BYTES_MAX);
        let ratio = read().ok_or_else(|| bad(format!("`{shown}` is not a fraction"), "write it like `2/3`"))?;
        ratio.check()?;
        Ok(ratio)
    }
}

/// What a faulty voter may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FaultKind {
    /// It may answer anything, and tell others the same: it lies, or has been taken over.
    #[n(0)]
    Byzantine,
    /// It may be silent, but what it answers is honest.
    #[n(1)]
    Crash,
}

impl FaultKind {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Byzantine => "byzantine",
            Self::Crash => "crash",
        }
    }

    /// How many voters are needed to tolerate this many faulty ones.
    ///
    /// Where faulty voters lie it is `3f + 1` (Lamport, Shostak, Pease: The Byzantine Generals Problem, ACM TOPLAS 4
    /// (1982) 382-401): `f` of them may be silent, and of those that answer another `f` may lie, so that the honest ones
    /// outnumber the liars only where `n - 2f > f`. Where they are only silent, `2f + 1`: more than half still answers.
    pub fn voters_needed(self, faults: u32) -> u64 {
        match self {
            Self::Byzantine => 3 * u64::from(faults) + 1,
            Self::Crash => 2 * u64::from(faults) + 1,
        }
    }

    /// How many equal answers decide among so many voters.
    ///
    /// Where faulty voters lie it is more than half of `n + f` (Bracha: Asynchronous Byzantine Agreement Protocols,
    /// Information and Computation 75 (1987) 130-143; Malkhi, Reiter: Byzantine Quorum Systems, Distributed Computing 11
    /// (1998) 203-213), which is `2f + 1` for `n = 3f + 1`: of any two groups that large, at least `f + 1` voters are in
    /// both and one of them is honest, so two answers cannot be decided on; and at least `f + 1` of the group are honest.
    /// Where they are only silent it is more than half of `n`, which is `f + 1` for `n = 2f + 1`. In both cases the voters
    /// that are not faulty are enough.
    pub fn equal_answers(self, voters: u32, faults: u32) -> u32 {
        match self {
            Self::Byzantine => u32::midpoint(voters, faults) + 1,
            Self::Crash => voters / 2 + 1,
        }
    }
}

impl FromStr for FaultKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Byzantine, Self::Crash].into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let shown = crate::text::shortened(text, limits::NAME_BYTES_MAX);
            bad(format!("`{shown}` is not a kind of fault"), "the kinds are `byzantine` and `crash`")
        })
    }
}

/// How votes become a decision. Weights count wherever options are counted; an abstention counts for the quorum only.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Rule {
    /// The answer with more than half of the weight that chose.
    #[n(0)]
    Majority,
    /// The answer with at least this fraction of the weight that chose.
    #[n(1)]
    Supermajority {
        /// The fraction.
        #[n(0)]
        fraction: Ratio,
    },
    /// The answer that everyone gave who chose.
    #[n(2)]
    Unanimous,
    /// The answer with the most weight.
    #[n(3)]
    Plurality,
    /// The option that the most weight approves of; a vote approves of any number.
    #[n(4)]
    Approval,
    /// The option that beats the others by the Schulze method; a vote ranks options.
    #[n(5)]
    Ranked,
    /// The number in the middle, or the mean of both in the middle.
    #[n(6)]
    Median,
    /// The mean of the numbers without the lowest and the highest ones.
    #[n(7)]
    TrimmedMean {
        /// How many are left out at each end: so many lying voters can move the result only between honest answers.
        #[n(0)]
        trim: u32,
    },
    /// The answer that enough voters gave alike (see [`FaultKind::equal_answers`]).
    #[n(8)]
    Equality {
        /// How many voters may be faulty.
        #[n(0)]
        faults: u32,
        /// What those may do.
        #[n(1)]
        kind: FaultKind,
    },
}

/// The numbers of a rule, which some rules have.
#[derive(Clone, Copy, Debug, Default)]
pub struct RuleNumbers {
    /// Of `supermajority`; without it, 2/3.
    pub fraction: Option<Ratio>,
    /// Of `trimmed_mean`.
    pub trim: Option<u32>,
    /// Of `equality`.
    pub faults: Option<u32>,
    /// Of `equality`; without it, byzantine.
    pub kind: Option<FaultKind>,
}

impl Rule {
    /// The words of all rules.
    pub const WORDS: [&'static str; 9] = [
        "majority",
        "supermajority",
        "unanimous",
        "plurality",
        "approval",
        "ranked",
        "median",
        "trimmed_mean",
        "equality",
    ];

    /// The rule of a word and its numbers.
    ///
    /// # Errors
    /// [`Code::BadRequest`] where there is no such rule, or it has other numbers.
    pub fn of(word: &str, numbers: RuleNumbers) -> Result<Self> {
        let RuleNumbers { fraction, trim, faults, kind } = numbers;
        let given = [
            ("fraction", fraction.is_some(), "supermajority"),
            ("trim", trim.is_some(), "trimmed_mean"),
            ("faults", faults.is_some(), "equality"),
            ("against", kind.is_some(), "equality"),
        ];
        if let Some((name, _, rule)) = given.into_iter().find(|(_, given, rule)| *given && *rule != word) {
            return Err(bad(format!("`{name}` goes only with the rule `{rule}`"), "leave it out"));
        }
        let missing = |name: &str| bad(format!("the rule `{word}` needs `{name}`"), "it is a whole number");
        Ok(match word {
            "majority" => Self::Majority,
            "supermajority" => Self::Supermajority { fraction: fraction.unwrap_or(Ratio { parts: 2, of: 3 }) },
            "unanimous" => Self::Unanimous,
            "plurality" => Self::Plurality,
            "approval" => Self::Approval,
            "ranked" => Self::Ranked,
            "median" => Self::Median,
            "trimmed_mean" => Self::TrimmedMean { trim: trim.ok_or_else(|| missing("trim"))? },
            "equality" => Self::Equality {
                faults: faults.ok_or_else(|| missing("faults"))?,
                kind: kind.unwrap_or(FaultKind::Byzantine),
            },
            _ => {
                let shown = crate::text::shortened(word, limits::NAME_BYTES_MAX);
                let hint = format!("the rules are `{}`", Self::WORDS.join("`, `"));
                return Err(bad(format!("`{shown}` is not a rule"), &hint));
            }
        })
    }

    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Majority => "majority",
            Self::Supermajority { .. } => "supermajority",
            Self::Unanimous => "unanimous",
            Self::Plurality => "plurality",
            Self::Approval => "approval",
            Self::Ranked => "ranked",
            Self::Median => "median",
            Self::TrimmedMean { .. } => "trimmed_mean",
            Self::Equality { .. } => "equality",
        }
    }

    /// Its numbers.
    pub fn numbers(&self) -> RuleNumbers {
        match *self {
            Self::Supermajority { fraction } => RuleNumbers { fraction: Some(fraction), ..RuleNumbers::default() },
            Self::TrimmedMean { trim } => RuleNumbers { trim: Some(trim), ..RuleNumbers::default() },
            Self::Equality { faults, kind } => {
                RuleNumbers { faults: Some(faults), kind: Some(kind), ..RuleNumbers::default() }
            }
            _ => RuleNumbers::default(),
        }
    }

    /// Whether two answers can be first by it.
    pub fn can_tie(&self) -> bool {
        matches!(self, Self::Majority | Self::Plurality | Self::Approval | Self::Ranked)
    }

    /// Whether its votes name options of a list.
    pub fn needs_options(&self) -> bool {
        matches!(self, Self::Approval | Self::Ranked)
    }

    /// Whether its votes are numbers.
    pub fn takes_numbers(&self) -> bool {
        matches!(self, Self::Median | Self::TrimmedMean { .. })
    }

    /// Whether a voter may have a weight: the others count voters.
    pub fn takes_weights(&self) -> bool {
        !self.takes_numbers() && !matches!(self, Self::Equality { .. })
    }

    /// Refuses numbers that do not fit this many voters.
    pub(super) fn check(&self, voters: u32) -> Result<()> {
        match self {
            Self::Supermajority { fraction } => fraction.check(),
            Self::TrimmedMean { trim } if u64::from(voters) <= 2 * u64::from(*trim) => {
                let message = format!("of `{voters}` answers, `{trim}` at each end leave nothing over");
                Err(bad(message, "trim fewer, or ask more voters"))
            }
            Self::Equality { faults, kind } => {
                let needed = kind.voters_needed(*faults);
                if u64::from(voters) >= needed {
                    return Ok(());
                }
                let message = format!(
                    "`{voters}` voters cannot tolerate `{faults}` faulty ones that may be {}: it takes `{needed}`",
                    match kind {
                        FaultKind::Byzantine => "lying",
                        FaultKind::Crash => "silent",
                    }
                );
                Err(Error::new(Code::FaultsNotTolerated, message).hint("ask more voters, or tolerate fewer faults"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What happens where a rule does not find one answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Tie {
    /// A tie ends the ballot without a decision, also where rounds are left.
    #[n(0)]
    Fail,
    /// Of the answers that are first, the one that is listed first is the decision.
    #[n(1)]
    FirstListed,
    /// Of the answers that are first, the lowest one is the decision: by the bytes of its text.
    #[n(2)]
    Lowest,
    /// This option is the decision where the last round finds none, and the quorum has voted.
    #[n(3)]
    StatusQuo(#[n(0)] String),
    /// A tie opens another round while rounds are left.
    #[n(4)]
    Revote,
}

impl Tie {
    /// The words of all of them.
    pub const WORDS: [&'static str; 5] = ["fail", "first_listed", "lowest", "status_quo", "revote"];

    /// The one of a word, with the option of `status_quo`.
    ///
    /// # Errors
    /// [`Code::BadRequest`] where there is no such word, or the option is missing or too much.
    pub fn of(word: &str, status_quo: Option<String>) -> Result<Self> {
        let tie = match (word, status_quo) {
            ("status_quo", Some(option)) => return Ok(Self::StatusQuo(option)),
            ("status_quo", None) => {
                return Err(bad("`status_quo` needs an option", "name the option that is decided then"));
            }
            (_, Some(_)) => return Err(bad("an option goes only with `status_quo`", "leave it out")),
            ("fail", None) => Self::Fail,
            ("first_listed", None) => Self::FirstListed,
            ("lowest", None) => Self::Lowest,
            ("revote", None) => Self::Revote,
            _ => {
                let shown = crate::text::shortened(word, limits::NAME_BYTES_MAX);
                let hint = format!("the words are `{}`", Self::WORDS.join("`, `"));
                return Err(bad(format!("`{shown}` says nothing about ties"), &hint));
            }
        };
        Ok(tie)
    }

    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::FirstListed => "first_listed",
            Self::Lowest => "lowest",
            Self::StatusQuo(_) => "status_quo",
            Self::Revote => "revote",
        }
    }

    /// The option of `status_quo`.
    pub fn status_quo(&self) -> Option<&str> {
        if let Self::StatusQuo(option) = self { Some(option) } else { None }
    }
}

impl fmt::Display for Tie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_whole_numbers_above_one_half() {
        let two_thirds: Ratio = "2/3".parse().unwrap();
        assert!(two_thirds.is_reached(2, 3) && !two_thirds.is_reached(66, 100) && two_thirds.is_reached(67, 100));
        for text in ["1/2", "4/3", "0/0", "2", "a/b", "1001/1001", "4294967295/4294967295"] {
            assert!(text.parse::<Ratio>().is_err(), "{text}");
        }
        assert_eq!("1/1".parse::<Ratio>().unwrap().to_string(), "1/1");
    }

    #[test]
    fn rules_and_ties_are_found_by_their_words() {
        for word in Rule::WORDS {
            let trim = (word == "trimmed_mean").then_some(1);
            let faults = (word == "equality").then_some(1);
            let rule = Rule::of(word, RuleNumbers { trim, faults, ..RuleNumbers::default() }).unwrap();
            assert_eq!((rule.word(), Rule::of(word, rule.numbers()).unwrap()), (word, rule));
        }
        assert!(Rule::of("majorty", RuleNumbers::default()).unwrap_err().hint.unwrap().contains("`majority`"));
        let trim = RuleNumbers { trim: Some(1), ..RuleNumbers::default() };
        assert!(Rule::of("median", trim).unwrap_err().message.contains("`trimmed_mean`"));
        assert!(Rule::of("equality", RuleNumbers::default()).unwrap_err().message.contains("`faults`"));
        for word in Tie::WORDS {
            let tie = Tie::of(word, (word == "status_quo").then(|| "a".to_owned())).unwrap();
            assert_eq!(tie.word(), word);
        }
        assert!(Tie::of("status_quo", None).is_err() && Tie::of("fail", Some("a".to_owned())).is_err());
    }
}
