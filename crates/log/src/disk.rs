//! A disk in memory that forgets and fails as its caller plans.
//!
//! For: running the real log code through power cuts, torn writes, failed syncs, full disks and flipped bits, in the
//! simulator and in tests. Not for: chance (every fate is decided by the caller) or for performance.
//! Invariant: what was synced survives [`MemoryDisk::crash`] whole; of the rest survives what the caller says, by
//! sectors, and folder changes in their order.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{Files, SegmentFile};

/// Bytes that a disk writes whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// Something that was written but not synced when the power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced<'a> {
    /// A sector of a file.
    Sector {
        /// The file's name at the time of the crash.
        file: &'a str,
        /// Offset of the sector's first byte.
        offset: u64,
    },
    /// A created, renamed or removed name. The first that is lost takes all later ones with it.
    Name(&'a str),
}

/// A flat folder on a faulty disk. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    name_changes: Vec<NameChange>,
    generation: u64,
    syncs: u64,
    fail_sync_in: Option<u64>,
    free_bytes: Option<u64>,
}

#[derive(Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<u64>,
    /// Sectors whose sync failed: no later sync makes them durable, unless they are written again.
    forgotten: BTreeSet<u64>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Create(String, usize),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    fn name(&self) -> &str {
        match self {
            Self::Create(name, _) | Self::Rename(_, name) | Self::Remove(name) => name,
        }
    }

    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Create(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
            Self::Remove(name) => {
                names.remove(name);
            }
        }
    }
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[offset..end].copy_from_slice(bytes);
        self.dirty.extend(offset as u64 / SECTOR_BYTES..(end as u64).div_ceil(SECTOR_BYTES));
    }

    fn keep_sector(&mut self, sector: u64) {
        let start = (sector * SECTOR_BYTES) as usize;
        let end = (start + SECTOR_BYTES as usize).min(self.now.len());
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&self.now[start..end]);
    }
}

impl State {
    fn count_sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        self.fail_sync_in = self.fail_sync_in.map(|n| n - 1);
        if self.fail_sync_in == Some(0) {
            self.fail_sync_in = None;
            return Err(io::Error::other("a planned failure of the sync"));
        }
        Ok(())
    }

    fn inode(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.name_changes.push(change);
    }
}

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere must not hide its message behind a second panic here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loses power. `keeps` is asked about everything that was not synced: first the names in the order of their
    /// changes, then the sectors by file name and offset. Files that were open are dead from now on; planned failures
    /// end. `|_| false` is the power cut that loses most; `|_| true` is what `kill -9` does, as the system lives on.
    pub fn crash(&self, mut keeps: impl FnMut(Unsynced<'_>) -> bool) {
        let mut state = self.state();
        state.generation += 1;
        (state.fail_sync_in, state.free_bytes) = (None, None);
        for change in std::mem::take(&mut state.name_changes) {
            if !keeps(Unsynced::Name(change.name())) {
                break;
            }
            change.apply(&mut state.durable_names);
        }
        let names = state.durable_names.clone();
        for (file, inode) in &names {
            let inode = &mut state.files[*inode];
            let forgotten = std::mem::take(&mut inode.forgotten);
            inode.dirty.extend(forgotten);
            for sector in std::mem::take(&mut inode.dirty) {
                if keeps(Unsynced::Sector { file, offset: sector * SECTOR_BYTES }) {
                    inode.keep_sector(sector);
                }
            }
            inode.now.clone_from(&inode.durable);
        }
        state.names = names;
    }

    /// Lets the `n`-th sync from now (of a file or of the folder; 1 is the next one) fail. What it was to sync stays
    /// unsynced, also when a later sync succeeds: the system has forgotten that it was to be written.
    pub fn fail_sync(&self, n: u64) {
        assert!(n > 0, "syncs are counted from 1");
        self.state().fail_sync_in = Some(n);
    }

    /// Leaves this many bytes for files to grow by; `None` is no limit.
    pub fn set_free(&self, bytes: Option<u64>) {
        self.state().free_bytes = bytes;
    }

    /// Flips a bit of a file, durably; returns whether there is such a byte.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) -> bool {
        let mut state = self.state();
        let Ok(inode) = state.inode(name) else { return false };
        let inode = &mut state.files[inode];
        let flip = |byte: &mut u8| *byte ^= 1 << (bit % 8);
        inode.durable.get_mut(offset as usize).map(flip);
        inode.now.get_mut(offset as usize).map(flip).is_some()
    }

    /// Syncs so far, failed ones included.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// The bytes of a file as a reader would see them now.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state();
        state.inode(name).ok().map(|inode| state.files[inode].now.clone())
    }

    /// Puts a file on the disk, durably, in place of one of the same name.
    pub fn install(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state();
        let inode = state.files.len();
        state.files.push(Inode { now: bytes.to_vec(), durable: bytes.to_vec(), ..Inode::default() });
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
    }

    fn handle(&self, inode: usize, generation: u64) -> Box<dyn SegmentFile> {
        Box::new(MemoryFile { disk: self.clone(), inode, generation })
    }
}

impl Files for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let mut state = self.state();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.files.len();
        state.files.push(Inode::default());
        state.change(NameChange::Create(name.to_owned(), inode));
        Ok(self.handle(inode, state.generation))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let state = self.state();
        Ok(self.handle(state.inode(name)?, state.generation))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.inode(from)?;
        state.change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.inode(name)?;
        state.change(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        state.count_sync()?;
        state.name_changes.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn place(&self, name: &str) -> String {
        format!("memory/{name}")
    }
}

struct MemoryFile {
    disk: MemoryDisk,
    inode: usize,
    generation: u64,
}

impl MemoryFile {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        if state.generation != self.generation {
            return Err(io::Error::other("the process that opened this file has crashed"));
        }
        act(&mut state)
    }
}

impl SegmentFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.files[self.inode].now.len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|state| {
            let bytes = state.files[self.inode].now.get(offset as usize..).unwrap_or_default();
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            Ok(count)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|state| {
            let growth = (offset + bytes.len() as u64).saturating_sub(state.files[self.inode].now.len() as u64);
            if let Some(free) = state.free_bytes {
                let left = free.checked_sub(growth).ok_or_else(|| io::Error::from(io::ErrorKind::StorageFull))?;
                state.free_bytes = Some(left);
            }
            state.files[self.inode].write(bytes, offset as usize);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state| {
            let synced = state.count_sync();
            let inode = &mut state.files[self.inode];
            let dirty = std::mem::take(&mut inode.dirty);
            match synced {
                Ok(()) => dirty.into_iter().for_each(|sector| inode.keep_sector(sector)),
                Err(_) => inode.forgotten.extend(dirty),
            }
            synced
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(disk: &MemoryDisk) -> Option<Vec<u8>> {
        disk.contents("a")
    }

    #[test]
    fn only_what_was_synced_survives_the_worst_power_cut() {
        let disk = MemoryDisk::new();
        let file = disk.create("a").unwrap();
        file.write_at(b"one", 0).unwrap();
        file.sync_data().unwrap();
        disk.crash(|_| false);
        assert_eq!(read(&disk), None, "the name was not synced");
        assert!(file.write_at(b"two", 0).is_err(), "a file of a dead process is dead");

        let file = disk.create("a").unwrap();
        file.write_at(b"one", 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir().unwrap();
        file.write_at(b"two", 0).unwrap();
        disk.rename("a", "b").unwrap();
        disk.crash(|_| false);
        assert_eq!(read(&disk).unwrap(), b"one");
    }

    #[test]
    fn the_caller_says_which_sectors_survive() {
        let disk = MemoryDisk::new();
        let file = disk.create("a").unwrap();
        disk.sync_dir().unwrap();
        file.write_at(&[7; 1200], 0).unwrap();
        let mut asked = Vec::new();
        disk.crash(|what| {
            let Unsynced::Sector { file: "a", offset } = what else { panic!("unexpected {what:?}") };
            asked.push(offset);
            offset == 512
        });
        assert_eq!(asked, [0, 512, 1024]);
        assert_eq!(read(&disk).unwrap(), [vec![0; 512], vec![7; 512]].concat());
    }

    #[test]
    fn after_a_failed_sync_a_good_one_proves_nothing() {
        let disk = MemoryDisk::new();
        let file = disk.create("a").unwrap();
        disk.sync_dir().unwrap();
        file.write_at(&[7; 512], 0).unwrap();
        disk.fail_sync(1);
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        assert_eq!(read(&disk).unwrap(), [7; 512], "the process still sees it");
        disk.crash(|_| false);
        assert_eq!(read(&disk).unwrap(), b"");
    }

    #[test]
    fn a_full_disk_and_a_flipped_bit() {
        let disk = MemoryDisk::new();
        let file = disk.create("a").unwrap();
        disk.set_free(Some(10));
        file.write_at(&[0; 8], 0).unwrap();
        file.write_at(&[1; 8], 0).unwrap();
        assert_eq!(file.write_at(&[1; 8], 4).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(disk.flip_bit("a", 3, 2) && !disk.flip_bit("a", 8, 0) && !disk.flip_bit("b", 0, 0));
        assert_eq!(read(&disk).unwrap(), [1, 1, 1, 5, 1, 1, 1, 1]);
    }
}
