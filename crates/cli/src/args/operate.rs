//! What was typed after `runs` and `inbox`.
//!
//! For: the commands for operating runs. Not for: their meaning.
//! Invariant: every command names runs in the same way: by the id, a unique part of its beginning or end, or `last`.

use clap::{Args, Subcommand};
use consort_types::Span;

/// `consort runs`.
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, newest first
    List(ListArgs),
    /// Show a run with its steps, or one step with its input, journal and output
    Show {
        /// The run: its id, a unique part of its beginning or end, or `last`
        run: String,
        /// One step: its path, such as `gather[3]`
        step: Option<String>,
        /// Show the history too: every recorded event (of one step it is always shown)
        #[arg(long)]
        history: bool,
    },
    /// Print the input of a run
    Input {
        /// The run
        run: String,
        /// The input of this step (its path, such as `gather[3]`) instead of the run's
        #[arg(long, value_name = "STEP")]
        step: Option<String>,
    },
    /// Print what the code of a step has requested, with the answers; `--json` for the replay helpers of the SDKs
    Journal {
        /// The run
        run: String,
        /// The step: its path
        step: String,
    },
    /// Print the output of a run that has completed
    Output {
        /// The run
        run: String,
        /// The output of this step (its path, such as `gather[3]`) instead of the run's
        #[arg(long, value_name = "STEP")]
        step: Option<String>,
    },
    /// Follow a run to its end; hosts the agents where no server does
    Watch {
        /// The run
        run: String,
    },
    /// Cancel runs and everything below them
    Cancel {
        /// The runs
        #[arg(required = true)]
        runs: Vec<String>,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        /// Cancel the clean-up steps too
        #[arg(long)]
        force: bool,
    },
    /// Hold back the tasks of runs
    Pause {
        /// The runs
        #[arg(required = true)]
        runs: Vec<String>,
    },
    /// Resume paused runs
    Resume {
        /// The runs
        #[arg(required = true)]
        runs: Vec<String>,
    },
    /// Send a signal to a run
    Signal {
        /// The run
        run: String,
        /// The signal's name
        name: String,
        /// Its payload: JSON, `@FILE`, or plain text
        #[arg(long, value_name = "JSON|@FILE", default_value = "null")]
        payload: String,
    },
    /// Show the values that the code of a run exposes, or one of them alone
    Query {
        /// The run
        run: String,
        /// The value's name
        name: Option<String>,
    },
    /// Send an update to the code of a run, and print its answer
    Update(UpdateArgs),
    /// Approve (or reject) what a run asks
    Approve {
        /// The run
        run: String,
        /// The step's path, where the run asks more than one thing
        #[arg(long, value_name = "STEP")]
        step: Option<String>,
        /// Reject
        #[arg(long)]
        reject: bool,
        /// What is approved, where it is not what was asked about: JSON, `@FILE`, or plain text
        #[arg(long, value_name = "JSON|@FILE", conflicts_with = "reject")]
        value: Option<String>,
        #[command(flatten)]
        decision: DecisionArgs,
    },
    /// Make a new run that repeats what had not completed
    Retry {
        /// The run
        run: String,
        /// Repeat everything from this top-level step on
        #[arg(long, value_name = "STEP")]
        from: Option<String>,
        /// Continue that step's code from this entry of its journal; what is before it is kept
        #[arg(long, value_name = "ENTRY", requires = "from")]
        from_entry: Option<u32>,
    },
    /// Start a new run that reuses outcomes and runs again from a step
    Fork {
        /// The run
        run: String,
        /// The top-level step from which to run again; without it, all that had not completed
        #[arg(long, value_name = "STEP")]
        from: Option<String>,
        /// Continue that step's code from this entry of its journal; what is before it is kept
        #[arg(long, value_name = "ENTRY", requires = "from")]
        from_entry: Option<u32>,
        /// A changed field of the input, or another input, as for `consort run`
        #[arg(long, short, value_name = "KEY=VALUE|@FILE")]
        input: Vec<String>,
    },
    /// Fold a run's history again without calling anything, and show every recorded step
    Replay {
        /// The run
        run: String,
    },
    /// Compare two runs step by step
    Compare {
        /// The first run
        left: String,
        /// The second run
        right: String,
    },
    /// Delete ended runs with all that they recorded
    Delete {
        /// The runs
        #[arg(required = true)]
        runs: Vec<String>,
    },
    /// Show or set how long ended runs are kept; what is set counts for runs that have ended before, too
    Retention {
        /// A duration such as `30d`, or `keep` for without end; without it, what is set is shown
        keep: Option<String>,
    },
}

/// A count above zero.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    let count = text.parse::<usize>().map_err(|error| error.to_string())?;
    if count == 0 { Err("it must be at least 1".to_owned()) } else { Ok(count) }
}

/// Which runs to list.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only in one of these states, with commas between: running, cancelling, compensating, completed, failed, cancelled
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    pub(crate) status: Vec<String>,
    /// Only of this workflow
    #[arg(long, value_name = "NAME")]
    pub(crate) workflow: Option<String>,
    /// Only with this label
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// List runs that other runs started too
    #[arg(long)]
    pub(crate) children: bool,
    /// Only of runs that were started since then: an instant, or a duration before now, such as `2h`
    #[arg(long, value_name = "TIME|DURATION")]
    pub(crate) since: Option<String>,
    /// Only of runs that were started before: an instant, or a duration before now
    #[arg(long, value_name = "TIME|DURATION")]
    pub(crate) until: Option<String>,
    /// Only with this error code: that of the run, or of a step that failed
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Only with this text in the input, the output, the error or the labels
    #[arg(long, value_name = "TEXT", conflicts_with = "failed_steps")]
    pub(crate) text: Option<String>,
    /// List the steps that failed or cannot continue, of all runs, instead of runs
    #[arg(long, conflicts_with_all = ["status", "children"])]
    pub(crate) failed_steps: bool,
    /// With --failed-steps: only those that call this capability
    #[arg(long, value_name = "NAME", requires = "failed_steps")]
    pub(crate) capability: Option<String>,
    /// Where to continue: what the listing before has named
    #[arg(long, value_name = "CURSOR")]
    pub(crate) cursor: Option<String>,
    /// How many at most
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = at_least_one)]
    pub(crate) limit: usize,
}

/// An update.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The run
    pub(crate) run: String,
    /// The update's name
    pub(crate) name: String,
    /// Its input: JSON, `@FILE`, or plain text
    #[arg(value_name = "JSON|@FILE", default_value = "null")]
    pub(crate) input: String,
    /// The update's id in the run: the same again is the same update, and has the same answer
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// How long to wait for the answer
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub(crate) wait: Span,
}

/// The name of the person who decides, and a comment.
#[derive(Debug, Args)]
pub(crate) struct DecisionArgs {
    /// The name of the person who decides [default: the user's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
}

/// `consort inbox`.
#[derive(Debug, Subcommand)]
pub(crate) enum InboxCommand {
    /// List what waits for a person
    List,
    /// Show an item: what is asked, and the step with its input, key, agent and history
    Show {
        /// The item: its task id, a unique part of its end, or `last` where there is only one
        item: String,
    },
    /// Approve what is asked
    Approve {
        #[command(flatten)]
        item: ItemArgs,
        /// What is approved, where it is not what was asked about: JSON, `@FILE`, or plain text
        #[arg(long, value_name = "JSON|@FILE")]
        value: Option<String>,
    },
    /// Reject what an approval waits for
    Reject(ItemArgs),
    /// Decide that an unknown attempt was done
    Done {
        #[command(flatten)]
        item: ItemArgs,
        /// What it made: JSON, `@FILE`, or plain text
        #[arg(long, value_name = "JSON|@FILE", default_value = "null")]
        output: String,
    },
    /// Try an unknown attempt again
    Retry(ItemArgs),
    /// Decide that an unknown attempt failed
    Fail(ItemArgs),
}

/// What is decided.
#[derive(Debug, Args)]
pub(crate) struct ItemArgs {
    /// The item: its task id, a unique part of its end, or `last` where there is only one
    pub(crate) item: String,
    #[command(flatten)]
    pub(crate) decision: DecisionArgs,
}
