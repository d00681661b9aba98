//! What a log promises.
//!
//! For: the one door through which the engine writes and replays. Not for: group commit policy (the engine's loop).
//! Invariant: `append` returns `Ok` only when the whole group survives a power cut; sequence numbers have no gaps.

use consort_types::Seq;

use crate::{LogError, Record};

/// Records in order, each with its sequence number. After an error the iterator ends.
pub type Records<'a> = Box<dyn Iterator<Item = Result<(Seq, Record), LogError>> + Send + 'a>;

/// The ordered, durable stream of one partition. One writer; sequence numbers start at 1 and have no gaps.
pub trait Log: Send {
    /// Appends a group by one durable write and returns the sequence number of its last record.
    ///
    /// The group is kept whole or not at all, and survives a power cut when this returns `Ok`. The group must
    /// not be empty. [`LogError::TooLarge`] refuses a record, or a group, over its limit: nothing was written and
    /// the log goes on. [`LogError::Io`] means that the group could not be begun (disk full while a segment was
    /// made): nothing was written, and the caller may try again. Any failure of the write itself is
    /// [`LogError::Poisoned`]: whether the group is durable is unknown, and this log refuses everything from then on.
    fn append(&mut self, group: &[Record]) -> Result<Seq, LogError>;

    /// Reads the records from `from` (0 and 1 mean the same) to what is the last at the time of the call.
    ///
    /// The first item is [`LogError::Trimmed`] where records from `from` on were trimmed away, and an item is
    /// [`LogError::Damaged`] where stored bytes fail their check. Past the end there is nothing.
    fn read(&self, from: Seq) -> Records<'_>;

    /// The first record that can still be read; the one after [`Log::last`] where there is none.
    fn first(&self) -> Seq;

    /// The last durable record, 0 in a new log.
    fn last(&self) -> Seq;

    /// Allows the log to forget the records before `before`; it may keep more than that, and always keeps
    /// those from `before` on. A `before` past the end means the end.
    fn trim(&mut self, before: Seq) -> Result<(), LogError>;

    /// Bytes of all groups appended through this object, framing included, for metrics.
    fn bytes_written(&self) -> u64;
}
