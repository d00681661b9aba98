//! How a log refuses.
//!
//! For: telling apart "send less", "look elsewhere", "stop for good" and "call an operator".
//! Not for: words on a screen; [`consort_types::Error`] is made from it at the edge.
//! Invariant: damage always names the file and the offset.

use std::io;

use consort_types::{Code, Error, Seq};

/// Why a log did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// An earlier write failed; the log refuses everything until it is opened again.
    #[error("the log refuses writes since one failed: {why}")]
    Poisoned {
        /// What failed at that time.
        why: String,
    },
    /// Stored bytes fail their check. Nothing was changed.
    #[error("`{place}` is damaged at offset `{offset}`: {what}")]
    Damaged {
        /// The file.
        place: String,
        /// Byte offset in it.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The disk refused an operation; nothing was written.
    #[error("the disk refused `{place}`: {what}")]
    Io {
        /// The file or folder.
        place: String,
        /// The system's reason.
        what: String,
    },
    /// A later opening has taken the log over; whether groups in flight are durable is unknown.
    #[error("the log was taken over: this opening has epoch {epoch}, the newest is {newest}")]
    Fenced {
        /// The epoch of the refused append.
        epoch: u64,
        /// The newest epoch of the log.
        newest: u64,
    },
    /// Another process has the log open.
    #[error("another process works on this log: {holder}")]
    Locked {
        /// What the holder wrote into the lock file.
        holder: String,
    },
    /// A record or a group is over its limit.
    #[error("the {what} has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// `record` or `group`.
        what: &'static str,
        /// Its size.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The requested records were trimmed away.
    #[error("the log begins at `{first}`; what was before is trimmed")]
    Trimmed {
        /// The first record that is still there.
        first: Seq,
    },
    /// The files were written by a newer version, or are not a log.
    #[error("`{place}` cannot be read: {what}")]
    BadFormat {
        /// The file.
        place: String,
        /// What was found, and what would be understood.
        what: String,
    },
}

impl LogError {
    /// A refusal of the disk.
    pub fn io(place: impl Into<String>, error: &io::Error) -> Self {
        Self::Io { place: place.into(), what: error.to_string() }
    }

    /// Damage at a place.
    pub fn damaged(place: impl Into<String>, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { place: place.into(), offset, what: what.into() }
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        let message = error.to_string();
        match error {
            LogError::Poisoned { .. } => Self::new(Code::Halted, message)
                .hint("look after the disk, then start again: what was acknowledged is kept"),
            LogError::Fenced { .. } => Self::new(Code::Halted, message)
                .hint("another process serves this partition now: stop this one; what was acknowledged is kept"),
            LogError::Damaged { .. } => Self::new(Code::Damaged, message)
                .hint("restore the file from a backup, or move the folder away and start a new one"),
            LogError::Io { .. } => {
                Self::new(Code::Disk, message).hint("check free space and permissions, then try again")
            }
            LogError::Locked { .. } => Self::new(Code::Locked, message).hint("talk to that process, or stop it first"),
            LogError::TooLarge { .. } => {
                Self::new(Code::LimitReached, message).hint("pass large data as a blob, by reference")
            }
            LogError::Trimmed { .. } => {
                Self::new(Code::Damaged, message).hint("the store is older than the log: restore both from one backup")
            }
            LogError::BadFormat { .. } => Self::new(Code::BadFormat, message)
                .hint("use the version of Consort that wrote the folder, or a newer one"),
        }
    }
}
