//! What was typed after `locks` and `barriers`.
//!
//! For: the commands for coordination. Not for: their meaning.
//! Invariant: a holder is named by the id that it has given itself, and proves its grant by the token.

use clap::{Args, Subcommand};
use consort_types::Span;

/// `consort locks`.
#[derive(Debug, Subcommand)]
pub(crate) enum LocksCommand {
    /// List locks, with who holds them
    List {
        /// Only locks whose names begin with this
        #[arg(long, value_name = "TEXT")]
        prefix: Option<String>,
    },
    /// Show a lock: its holders and their tokens, who is served next, and the last change
    Show {
        /// The lock
        name: String,
    },
    /// Acquire a lock and print the fencing token; by its holder, renew it
    Acquire {
        #[command(flatten)]
        lock: LockArgs,
        /// An id that no other holder uses at the same time; asking again with it joins the same grant or place
        #[arg(long, value_name = "ID")]
        holder: String,
    },
    /// Continue to hold a lock
    Renew {
        /// The lock
        name: String,
        /// The holder
        #[arg(long, value_name = "ID")]
        holder: String,
        /// The token of its grant
        #[arg(long, value_name = "N")]
        token: u64,
        /// How long the lease lasts from now on [default: as long as the last time]
        #[arg(long, value_name = "TIME")]
        ttl: Option<Span>,
        /// What observers see from now on
        #[arg(long, value_name = "TEXT")]
        value: Option<String>,
    },
    /// Give a lock back or leave its queue, or break it as an operator
    Release(ReleaseArgs),
    /// Follow who holds a lock, such as the leader of an election
    Watch {
        /// The lock
        name: String,
    },
    /// Run a command while holding a lock: renewed by itself, released at the end
    ///
    /// The command has the fencing token in `CONSORT_LOCK_TOKEN`. It is killed when the lease is lost. Its exit code is
    /// that of `consort`.
    Run(LockRunArgs),
}

/// How to acquire a lock.
#[derive(Clone, Debug, Args)]
pub(crate) struct LockArgs {
    /// The lock
    pub(crate) name: String,
    /// How long the lease lasts unless it is renewed [default: 30s]
    #[arg(long, value_name = "TIME")]
    pub(crate) ttl: Option<Span>,
    /// How long to wait where the lock is held [default: not at all]
    #[arg(long, value_name = "TIME")]
    pub(crate) wait: Option<Span>,
    /// How many may hold it at once; all holders name the same number
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) permits: u32,
    /// What observers see, such as the address of a leader
    #[arg(long, value_name = "TEXT")]
    pub(crate) value: Option<String>,
}

/// `consort locks release`.
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// The lock
    pub(crate) name: String,
    /// The holder; with `--force`, only its lease is ended [default: with `--force`, every lease]
    #[arg(long, value_name = "ID", required_unless_present = "force")]
    pub(crate) holder: Option<String>,
    /// The token of its grant; without it, whatever the holder has is given up
    #[arg(long, value_name = "N", conflicts_with = "force")]
    pub(crate) token: Option<u64>,
    /// Break the lock: end leases whose holders do not
    #[arg(long, requires = "reason")]
    pub(crate) force: bool,
    /// Why it is broken; shown with the lock
    #[arg(long, value_name = "TEXT", requires = "force")]
    pub(crate) reason: Option<String>,
    /// Who breaks it [default: the user's name]
    #[arg(long, value_name = "NAME", requires = "force")]
    pub(crate) by: Option<String>,
}

/// `consort locks run`.
#[derive(Debug, Args)]
pub(crate) struct LockRunArgs {
    #[command(flatten)]
    pub(crate) lock: LockArgs,
    /// The id of the holder [default: made from the process and the time]
    #[arg(long, value_name = "ID")]
    pub(crate) holder: Option<String>,
    /// The command with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// `consort barriers`.
#[derive(Debug, Subcommand)]
pub(crate) enum BarriersCommand {
    /// List barriers, with how many have come
    List {
        /// Only barriers whose names begin with this
        #[arg(long, value_name = "TEXT")]
        prefix: Option<String>,
    },
    /// Show a barrier: who has come, and how the last generations have ended
    Show {
        /// The barrier
        name: String,
    },
    /// Come to a barrier, and wait for the others
    Arrive {
        /// The barrier
        name: String,
        /// How many members it waits for; all of them name the same number
        #[arg(long, value_name = "N")]
        parties: u32,
        /// An id that no other member uses
        #[arg(long, value_name = "ID")]
        member: String,
        /// The generation to come to, from 1 [default: the current one]
        #[arg(long, value_name = "N")]
        generation: Option<u64>,
        /// How long to wait for the others [default: not at all]
        #[arg(long, value_name = "TIME")]
        wait: Option<Span>,
        /// How long the generation may take to fill; its first member decides [default: 10m]
        #[arg(long, value_name = "TIME")]
        ttl: Option<Span>,
    },
}
