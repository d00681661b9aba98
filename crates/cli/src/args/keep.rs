//! The commands of backup, restore and examination, as typed.
//!
//! For: their flags and help. Not for: what they do.
//! Invariant: nothing here reads a file, the environment or a clock.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// A backup to make, or what to do with one.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct BackupArgs {
    /// The folder for the backup: new, empty, or with an earlier backup, to which what is new is added. With `--server`, it
    /// is on the machine of the server
    #[arg(required = true, value_name = "DIR")]
    pub(crate) folder: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Option<BackupCommand>,
}

/// What can be done with a backup.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Read a backup whole, and name every file that is damaged or missing
    Verify {
        /// The folder of the backup
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// A backup, and where to bring it back.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The folder of the backup
    #[arg(value_name = "DIR")]
    pub(crate) backup: PathBuf,
    /// The data folder to make; it must be missing or empty
    #[arg(long, value_name = "FOLDER")]
    pub(crate) into: PathBuf,
}

/// What the doctor is to do beside looking.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// First restore the folder's missing or empty marker, where log and store beside it are sound
    #[arg(long)]
    pub(crate) mend_marker: bool,
    /// First make the store again from its newest snapshot and the log; what it was is moved aside
    #[arg(long)]
    pub(crate) rebuild_store: bool,
    /// First have this record of the log passed over from now on, because it cannot be applied; nothing may have the
    /// folder open
    #[arg(long, value_name = "N", requires_all = ["reason", "by"])]
    pub(crate) refuse_record: Option<u64>,
    /// Why the record is refused; it stays on the record
    #[arg(long, value_name = "TEXT", requires = "refuse_record")]
    pub(crate) reason: Option<String>,
    /// The name of the operator; it is recorded
    #[arg(long, value_name = "NAME", requires = "refuse_record")]
    pub(crate) by: Option<String>,
}
