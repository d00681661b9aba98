//! What was typed after `ballots`.
//!
//! For: the commands on ballots. Not for: their meaning.
//! Invariant: every command names a ballot by its name; what a vote says has one flag.

use clap::{Args, Subcommand};

/// `consort ballots`.
#[derive(Debug, Subcommand)]
pub(crate) enum BallotsCommand {
    /// Ask voters a question; the same again is accepted
    Open(Box<BallotOpenArgs>),
    /// Vote, or change a vote where the ballot lets it be changed
    Vote(BallotVoteArgs),
    /// List ballots by name
    List {
        /// Only in this state: open, decided, undecided, cancelled
        #[arg(long, value_name = "STATUS")]
        status: Option<String>,
    },
    /// Show a ballot: the count, who voted what and why, who dissents, and the result
    Show {
        /// The ballot
        ballot: String,
    },
    /// Follow a ballot to its end
    Watch {
        /// The ballot
        ballot: String,
    },
    /// Close a ballot now; the votes that are there decide, or do not
    Close(BallotEndArgs),
    /// End a ballot without a decision
    Cancel(BallotEndArgs),
    /// Delete an ended ballot with its votes
    Delete {
        /// The ballot
        ballot: String,
    },
}

/// What is asked, and how it is decided.
#[derive(Debug, Args)]
pub(crate) struct BallotOpenArgs {
    /// The name of the ballot
    pub(crate) ballot: String,
    /// What is asked
    #[arg(long, value_name = "TEXT")]
    pub(crate) question: String,
    /// What can be chosen, in the order that ties refer to; without any, answers are free
    #[arg(long, value_name = "OPTION")]
    pub(crate) option: Vec<String>,
    /// Who may vote, and how much the vote counts
    #[arg(long, value_name = "NAME[=WEIGHT]", required = true)]
    pub(crate) voter: Vec<String>,
    /// The rule: majority, supermajority, unanimous, plurality, approval, ranked, median, `trimmed_mean` or equality
    #[arg(long, value_name = "RULE", default_value = "majority")]
    pub(crate) rule: String,
    /// Of `supermajority`: the fraction, such as `2/3`
    #[arg(long, value_name = "FRACTION")]
    pub(crate) fraction: Option<String>,
    /// Of `trimmed_mean`: how many numbers are left out at each end
    #[arg(long, value_name = "COUNT")]
    pub(crate) trim: Option<u32>,
    /// Of `equality`: how many voters may be faulty
    #[arg(long, value_name = "COUNT")]
    pub(crate) faults: Option<u32>,
    /// Of `equality`: what faulty voters may do, `byzantine` or `crash` [default: `byzantine`]
    #[arg(long, value_name = "KIND")]
    pub(crate) against: Option<String>,
    /// Where the rule finds no one answer: fail, `first_listed`, lowest or revote [default: `revote`]
    #[arg(long, value_name = "RULE", conflicts_with = "status_quo")]
    pub(crate) on_tie: Option<String>,
    /// The option that is decided where the last round finds nothing else
    #[arg(long, value_name = "OPTION")]
    pub(crate) status_quo: Option<String>,
    /// How many voters must have voted [default: more than half of them]
    #[arg(long, value_name = "COUNT")]
    pub(crate) quorum: Option<u32>,
    /// How long a round takes at most [default: until the last vote]
    #[arg(long, value_name = "DURATION")]
    pub(crate) deadline: Option<String>,
    /// Who sees votes, and when: open, `until_closed` or `secret_voters` [default: `open`]
    #[arg(long, value_name = "WORD")]
    pub(crate) secrecy: Option<String>,
    /// Rounds at most [default: 1]
    #[arg(long, value_name = "COUNT")]
    pub(crate) rounds: Option<u32>,
    /// Let voters change their votes until the last one has voted
    #[arg(long)]
    pub(crate) may_change: bool,
    /// How long the ballot is kept after its end [default: `30d`]
    #[arg(long, value_name = "DURATION")]
    pub(crate) keep: Option<String>,
}

/// A vote.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("says").required(true))]
pub(crate) struct BallotVoteArgs {
    /// The ballot
    pub(crate) ballot: String,
    /// Who votes
    #[arg(long, value_name = "NAME")]
    pub(crate) voter: String,
    /// One option
    #[arg(long, value_name = "OPTION", group = "says")]
    pub(crate) choice: Option<String>,
    /// Every option that is good enough; may be given more than once
    #[arg(long, value_name = "OPTION", group = "says")]
    pub(crate) approve: Vec<String>,
    /// An option, the best first; may be given more than once
    #[arg(long, value_name = "OPTION", group = "says")]
    pub(crate) rank: Vec<String>,
    /// A free answer: JSON, `@FILE`, or plain text
    #[arg(long, value_name = "JSON|@FILE", group = "says")]
    pub(crate) value: Option<String>,
    /// Count for the quorum only
    #[arg(long, group = "says")]
    pub(crate) abstain: bool,
    /// Why; others can read it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// The round that is meant; a vote that comes too late for it is refused
    #[arg(long, value_name = "ROUND")]
    pub(crate) round: Option<u32>,
}

/// Who ends a ballot, and why.
#[derive(Debug, Args)]
pub(crate) struct BallotEndArgs {
    /// The ballot
    pub(crate) ballot: String,
    /// The name of who ends it [default: the user's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}
