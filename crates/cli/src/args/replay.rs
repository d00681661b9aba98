//! What was typed after `replay-check`.
//!
//! For: choosing tasks, and the program that has the new code. Not for: their meaning.
//! Invariant: a program is named, or the tasks are saved.

use std::path::PathBuf;

use clap::Args;

/// `consort replay-check`.
#[derive(Debug, Args)]
#[command(after_help = "Example: consort replay-check --agent shop.order -- python worker.py")]
pub(crate) struct ReplayCheckArgs {
    /// Only the tasks of this agent; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Vec<String>,
    /// Take the tasks from a file that `--save` wrote, instead of from the runs in flight
    #[arg(long, value_name = "FILE")]
    pub(crate) tasks: Option<PathBuf>,
    /// Write the tasks with their journals to this file
    #[arg(long, value_name = "FILE", conflicts_with = "tasks")]
    pub(crate) save: Option<PathBuf>,
    /// The command that starts the worker with the new code
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "save")]
    pub(crate) command: Vec<String>,
}
