//! How a store refuses.
//!
//! For: distinguishing "try again", "rebuild from the log" and "call an operator".
//! Not for: words on a screen; [`consort_types::Error`] is made from it at the edge.
//! Invariant: damage always names its place.

use consort_types::{Code, Error};

/// Why a store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Stored bytes fail their check. Nothing was changed.
    #[error("`{place}` is damaged: {what}")]
    Damaged {
        /// The file or folder.
        place: String,
        /// What is wrong there.
        what: String,
    },
    /// The disk refused an operation.
    #[error("the disk refused `{place}`: {what}")]
    Io {
        /// The file or folder.
        place: String,
        /// The system's reason.
        what: String,
    },
    /// An earlier write failed; the store refuses writes until it is opened again.
    #[error("the store refuses writes since one failed: {why}")]
    Poisoned {
        /// What failed at that time.
        why: String,
    },
    /// Another process has the store open.
    #[error("another process works on the store in `{place}`")]
    Locked {
        /// The folder.
        place: String,
    },
    /// A key is over the limit of every store. Nothing was read or written.
    #[error("a key has `{bytes}` bytes, the limit is {limit}")]
    KeyTooLong {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The folder was written by a newer version, or is not a store.
    #[error("`{place}` cannot be read: {what}")]
    BadFormat {
        /// The file.
        place: String,
        /// What was found, and what would be understood.
        what: String,
    },
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Damaged { .. } => {
                Self::new(Code::Damaged, message).hint("`consort doctor` names all that is damaged, and what helps")
            }
            StoreError::Io { .. } => {
                Self::new(Code::Disk, message).hint("check free space and permissions, then try again")
            }
            StoreError::Poisoned { .. } => Self::new(Code::Halted, message)
                .hint("look after the disk, then start again: what was acknowledged is kept"),
            StoreError::Locked { .. } => {
                Self::new(Code::Locked, message).hint("talk to that process, or stop it first")
            }
            StoreError::KeyTooLong { .. } => {
                Self::new(Code::Internal, message).hint("please report this with the message; nothing was written")
            }
            StoreError::BadFormat { .. } => Self::new(Code::BadFormat, message)
                .hint("use the version of Consort that wrote the folder, or a newer one"),
        }
    }
}
