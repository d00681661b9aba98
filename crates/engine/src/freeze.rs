//! The rows as they are at one moment, to be written down elsewhere.
//!
//! For: backups and snapshots, and the positions behind which they need log and blobs. Not for: writing anything down.
//! Invariant: while a [`Frozen`] lives, no blob that its rows refer to is deleted, and no record behind it is trimmed.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use consort_core::{Command, command::Tick};
use consort_log::Record;
use consort_store::Snapshot;
use consort_types::{Result, Seq, Time};

/// Where rows are written down on the request of a client.
pub trait Archive: Send + Sync {
    /// Writes a backup into a folder, which is new, empty, or has an earlier one. It may take minutes, and blocks.
    ///
    /// # Errors
    /// What is wrong with the folder, the disk, or what was to be written down; an earlier backup in the folder is as it
    /// was.
    fn backup(&self, frozen: Frozen, folder: &Path) -> Result<Backup>;
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// The last record of the log that it reflects.
    pub record: Seq,
    /// Log time at that record.
    pub time: Time,
    /// Rows in it.
    pub rows: u64,
    /// Blobs in it.
    pub blobs: u64,
    /// Blobs that its rows refer to and that were missing or damaged: they are not in it.
    pub missing_blobs: u64,
    /// Bytes of its files, without its list of them.
    pub bytes: u64,
    /// Files that this backup has added; the others were there from an earlier one.
    pub files_written: u64,
    /// Bytes of the added files.
    pub bytes_written: u64,
}

/// The rows at one record, with a hold on everything that belongs to them.
pub struct Frozen {
    snapshot: Box<dyn Snapshot>,
    _hold: Hold,
}

impl Frozen {
    pub(crate) fn new(snapshot: Box<dyn Snapshot>, hold: Hold) -> Self {
        hold.at(snapshot.applied());
        Self { snapshot, _hold: hold }
    }

    /// The rows; every command that was acknowledged before they were requested is in them.
    pub fn snapshot(&self) -> &dyn Snapshot {
        &*self.snapshot
    }
}

/// The positions that are held. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Holds(Arc<Mutex<Positions>>);

#[derive(Default)]
struct Positions {
    next: u64,
    held: BTreeMap<u64, Seq>,
}

impl Holds {
    fn positions(&self) -> MutexGuard<'_, Positions> {
        // A panic elsewhere leaves them whole: each change is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds everything from the beginning on, until the hold gets a position.
    pub(crate) fn hold(&self) -> Hold {
        let mut positions = self.positions();
        positions.next += 1;
        let number = positions.next;
        positions.held.insert(number, Seq::ZERO);
        Hold { holds: self.clone(), number }
    }

    /// The lowest position that is held, at most `seq`.
    pub(crate) fn lowest(&self, seq: Seq) -> Seq {
        self.positions().held.values().copied().min().map_or(seq, |held| held.min(seq))
    }
}

/// Keeps log and blobs behind a position for as long as it lives.
pub(crate) struct Hold {
    holds: Holds,
    number: u64,
}

impl Hold {
    fn at(&self, seq: Seq) {
        self.holds.positions().held.insert(self.number, seq);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.positions().held.remove(&self.number);
    }
}

/// The first record of the log of a restored folder: it changes nothing but log time, which it keeps.
pub fn first_record(time: Time) -> Record {
    Record::new(time, Command::Tick(Tick {}).encode())
}

/// Log time at a snapshot.
///
/// # Errors
/// [`Code::Damaged`](consort_types::Code::Damaged) where the row of the state cannot be read, and what the store refuses.
pub fn time_of(snapshot: &dyn Snapshot) -> Result<Time> {
    consort_core::time_in(snapshot.get(&consort_core::time_key())?.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_hold_counts_for_as_long_as_it_lives() {
        let holds = Holds::default();
        assert_eq!(holds.lowest(Seq(9)), Seq(9));
        let (first, second) = (holds.hold(), holds.hold());
        assert_eq!(holds.lowest(Seq(9)), Seq::ZERO, "a hold without a position keeps everything");
        first.at(Seq(5));
        second.at(Seq(7));
        assert_eq!((holds.lowest(Seq(9)), holds.lowest(Seq(3))), (Seq(5), Seq(3)));
        drop(first);
        assert_eq!(holds.lowest(Seq(9)), Seq(7));
        drop(second);
        assert_eq!(holds.lowest(Seq(9)), Seq(9));
    }
}
