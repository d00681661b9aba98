//! The arguments of `consort patterns`.
//!
//! For: what may be typed about patterns. Not for: what it means (see `command::patterns`).
//! Invariant: nothing here reads a file or a clock.

use clap::Subcommand;

/// `consort patterns`.
#[derive(Debug, Subcommand)]
pub(crate) enum PatternsCommand {
    /// List the patterns that ship
    List,
    /// Show a pattern: when to use it, when not, its files, and the steps of its workflows
    Show {
        /// The pattern
        name: String,
    },
    /// Write the files of a pattern; those that are there already are never overwritten
    New {
        /// The pattern
        name: String,
        /// The folder, made where there is none [default: the name of the pattern]
        #[arg(long, value_name = "DIR")]
        to: Option<String>,
    },
}
