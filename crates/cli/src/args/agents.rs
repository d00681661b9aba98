//! What was typed after `agents` and `quotas`.
//!
//! For: the commands for operating agents. Not for: their meaning.
//! Invariant: every command names agents in the same way: `NAME` for every version of it, `NAME@VERSION` for one.

use clap::{Args, Subcommand};

/// `consort agents`.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentsCommand {
    /// List agents: how they do, their instances and what they can do
    List {
        #[command(flatten)]
        filter: AgentFilterArgs,
        /// Print a line for each capability, with what was observed of it
        #[arg(long)]
        wide: bool,
    },
    /// Show an agent: what it declares, its instances, and what was observed
    Show {
        /// The agent: `NAME` for every version, `NAME@VERSION` for one
        #[arg(value_name = "NAME[@VERSION]")]
        agent: String,
    },
    /// Follow the list of agents as it changes
    Watch {
        #[command(flatten)]
        filter: AgentFilterArgs,
    },
    /// Assign no more tasks to an agent; it finishes those that it holds
    Drain {
        /// The agent: `NAME` for every version, `NAME@VERSION` for one
        #[arg(value_name = "NAME[@VERSION]")]
        agent: String,
    },
    /// Assign tasks to a drained agent again
    Resume {
        /// The agent: `NAME` for every version, `NAME@VERSION` for one
        #[arg(value_name = "NAME[@VERSION]")]
        agent: String,
    },
    /// Set the share of work that a version of an agent gets beside its other versions
    Weight {
        /// The version
        #[arg(value_name = "NAME@VERSION")]
        agent: String,
        /// From 0 (nothing) to 1000; the default is 100
        weight: u32,
    },
    /// Forget an agent; one that connects again is known again, as if it were new
    Remove {
        /// The agent: `NAME` for every version, `NAME@VERSION` for one
        #[arg(value_name = "NAME[@VERSION]")]
        agent: String,
        /// Disconnect its instances; their tasks are assigned to others
        #[arg(long)]
        force: bool,
    },
}

/// Which agents to list.
#[derive(Debug, Args)]
pub(crate) struct AgentFilterArgs {
    /// Only agents that can do this
    #[arg(long, value_name = "NAME")]
    pub(crate) capability: Option<String>,
    /// Only agents with this label
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// Only agents whose name, description or capabilities contain this, whatever the case
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
}

/// `consort quotas`.
#[derive(Debug, Subcommand)]
pub(crate) enum QuotasCommand {
    /// List the quotas, with what they hold back
    List,
    /// Set the quota of a scope, in place of the one that it had
    Set(QuotaSetArgs),
    /// Remove the quota of a scope
    Remove {
        /// The scope: `namespace`, `capability:NAME`, `agent:NAME` or `key:NAME`
        scope: String,
    },
}

/// The values of a quota.
#[derive(Debug, Args)]
pub(crate) struct QuotaSetArgs {
    /// The scope: `namespace`, `capability:NAME`, `agent:NAME` or `key:NAME`
    pub(crate) scope: String,
    /// How many tasks may run at once; with 0, none is assigned
    #[arg(long, value_name = "TASKS")]
    pub(crate) max_concurrent: Option<u32>,
    /// How fast tasks are assigned, such as `10/s`, `100/m` or `5/30s`
    #[arg(long, value_name = "TASKS/TIME")]
    pub(crate) rate: Option<String>,
    /// How many tasks of the rate go out at once after a pause [default: as many as the rate's tasks]
    #[arg(long, value_name = "TASKS", requires = "rate")]
    pub(crate) burst: Option<u32>,
    /// How many tasks may wait; once there are as many, starts of runs that would add to them are refused for now
    #[arg(long, value_name = "TASKS")]
    pub(crate) max_waiting: Option<u32>,
}
