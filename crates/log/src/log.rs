//! What a log promises.
//!
//! For: the one door through which the engine writes and replays. A log may be near (a file: an append takes one sync)
//! or far (a service: an append is a round trip), so an append is started by one call and its completion is polled by
//! another. Not for: group commit policy (the engine's loop).
//! Invariant: a group is called durable only when the whole of it survives a power cut; sequence numbers have no gaps.

use std::sync::Arc;

use consort_types::Seq;

use crate::{LogError, Record};

/// Called, from any thread, when [`Log::poll`] has something new to say.
pub type LogWaker = Arc<dyn Fn() + Send + Sync>;

/// Records in order, each with its sequence number. After an error the iterator ends.
pub type Records<'a> = Box<dyn Iterator<Item = Result<(Seq, Record), LogError>> + Send + 'a>;

/// The ordered, durable stream of one partition. One writer; sequence numbers start at 1 and have no gaps.
pub trait Log: Send {
    /// Appends a group by one durable write and returns the sequence number of its last record.
    ///
    /// The group is kept whole or not at all, and survives a power cut when this returns `Ok`. The group must
    /// not be empty. [`LogError::TooLarge`] refuses a record, or a group, over its limit: nothing was written and
    /// the log takes further groups. [`LogError::Io`] means that the group could not be begun (disk full while a
    /// segment was made): nothing was written, and the caller may try again. Any failure of the write itself is
    /// [`LogError::Poisoned`]: whether the group is durable is unknown, and this log refuses everything from then on.
    ///
    /// Only while no group is in flight.
    fn append(&mut self, group: &[Record]) -> Result<Seq, LogError>;

    /// Begins to append a group, and returns the sequence number that its last record will have. It may be called while
    /// fewer than [`Log::depth`] groups are in flight; groups become durable in the order in which they were submitted.
    ///
    /// An error means the same as for [`Log::append`]. A log that is near may do the whole append here: then the group
    /// is durable when this returns.
    fn submit(&mut self, group: &[Record]) -> Result<Seq, LogError> {
        self.append(group)
    }

    /// The last durable record, without waiting. An error is about every group in flight, of which none is in flight
    /// any more: after [`LogError::Io`] or [`LogError::TooLarge`] none of them was written, and they may be submitted
    /// again; after any other it is unknown which of them are durable, and the log refuses everything from then on.
    fn poll(&mut self) -> Result<Seq, LogError> {
        Ok(self.last())
    }

    /// Waits until no group is in flight; otherwise as [`Log::poll`].
    fn wait(&mut self) -> Result<Seq, LogError> {
        self.poll()
    }

    /// How many groups may be in flight at once. Where an append takes a sync of a disk it is 1: what arrives meanwhile
    /// shares the next sync.
    fn depth(&self) -> usize {
        1
    }

    /// Sets what is called when groups in flight have become durable, or have failed. A log that never has a group in
    /// flight when [`Log::submit`] returns needs none.
    fn set_waker(&mut self, waker: LogWaker) {
        drop(waker);
    }

    /// The epoch of this opening, which goes with every append. A log that a later opening has taken over refuses
    /// appends of earlier epochs with [`LogError::Fenced`]; one that is locked by its process has no such openings.
    fn epoch(&self) -> u64;

    /// Reads the records from `from` (0 and 1 mean the same) to what is the last at the time of the call.
    ///
    /// The first item is [`LogError::Trimmed`] where records from `from` on were trimmed away, and an item is
    /// [`LogError::Damaged`] where stored bytes fail their check. Past the end there is nothing.
    fn read(&self, from: Seq) -> Records<'_>;

    /// The first record that can still be read; the one after [`Log::last`] where there is none.
    fn first(&self) -> Seq;

    /// The last record that is known to be durable, 0 in a new log.
    fn last(&self) -> Seq;

    /// Allows the log to forget the records before `before`; it may keep more than that, and always keeps
    /// those from `before` on. A `before` past the end means the end.
    fn trim(&mut self, before: Seq) -> Result<(), LogError>;

    /// Bytes of all groups appended through this object, framing included, for metrics.
    fn bytes_written(&self) -> u64;
}
