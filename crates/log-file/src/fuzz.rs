//! The entry for fuzzing: arbitrary bytes as a log's files.
//!
//! For: fuzz targets and property tests. Not for: product code.
//! Invariant: whatever the bytes are, opening and reading end without a panic, and never give out a record that was
//! not written.

use std::sync::Arc;

use consort_log::{Files, Log, LogError, MemoryDisk, Record};
use consort_types::{Seq, Time};

use crate::{
    FileLog, Options,
    segment::{self, DATA_START, Head},
};

/// Recovers logs out of arbitrary bytes, in three ways: as a whole segment file, as the frames behind a good head,
/// and as edits (offset in two bytes, mask in one) of a good log. Panics where a promise is broken.
pub fn fuzz_read(bytes: &[u8]) {
    let options =
        Options { prepare_ahead: false, segment_bytes: 1 << 16, first_segment_bytes: 1 << 14, ..Options::new([7; 16]) };
    let whole = MemoryDisk::new();
    whole.install(&segment::name(1), bytes);
    exercise(&whole, &options, &[]);

    let head = Head { log_id: options.new_log_id, ordinal: 1, epoch: 1, bytes: DATA_START + bytes.len() as u64 };
    let mut file = head.encode().to_vec();
    file.resize(DATA_START as usize, 0);
    file.extend_from_slice(bytes);
    let framed = MemoryDisk::new();
    framed.install(&segment::name(1), &file);
    exercise(&framed, &options, &[]);

    let (edited, written) = good_log(&options);
    for edit in bytes.chunks_exact(3).take(64) {
        let offset = u64::from(u16::from_le_bytes([edit[0], edit[1]]));
        for bit in (0..8).filter(|bit| edit[2] >> bit & 1 == 1) {
            edited.flip_bit(&segment::name(1), offset, bit);
        }
    }
    exercise(&edited, &options, &written);
}

fn good_log(options: &Options) -> (MemoryDisk, Vec<Record>) {
    let disk = MemoryDisk::new();
    let mut log = open(&disk, options).expect("a new log opens");
    let mut written = Vec::new();
    for count in 1..6 {
        let group: Vec<Record> = (0..count).map(|n| Record::new(Time(n), vec![count as u8; 40])).collect();
        log.append(&group).expect("a good disk takes the group");
        written.extend(group);
    }
    drop(log);
    (disk, written)
}

fn open(disk: &MemoryDisk, options: &Options) -> Result<FileLog, LogError> {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    FileLog::open_on(files, options.clone())
}

/// Opens, reads, appends and opens again. Where `written` is known, what is read is a piece of it.
fn exercise(disk: &MemoryDisk, options: &Options, written: &[Record]) {
    let Ok(mut log) = open(disk, options) else { return };
    for (seq, record) in log.read(log.first()).map_while(Result::ok) {
        let expected = written.get((seq.0 - 1) as usize);
        assert!(written.is_empty() || expected == Some(&record), "record `{seq}` was not written");
    }
    let added = Record::new(Time(1), &b"added"[..]);
    let last = log.append(std::slice::from_ref(&added)).expect("a good disk takes the group");
    drop(log);
    let log = open(disk, options).expect("what was appended is opened again");
    assert_eq!(log.last(), last);
    assert_eq!(log.read(last).collect::<Result<Vec<_>, _>>(), Ok(vec![(Seq(last.0), added)]));
}
