//! The file log through its public boundary: the shared suite, every torn tail, every damage, full and failing disks.

use std::sync::Arc;

use consort_log::{Files, Log, LogError, MemoryDisk, Record, Unsynced, conformance};
use consort_log_file::{FileLog, LockFile, Options};
use consort_types::{Seq, Time};

/// Small segments, so that few groups cross many of them.
fn small() -> Options {
    Options { first_segment_bytes: 18 << 10, segment_bytes: 24 << 10, prepare_ahead: false, ..Options::new([3; 16]) }
}

fn open(disk: &MemoryDisk) -> Result<FileLog, LogError> {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    FileLog::open_on(files, small())
}

fn group(from: u64, count: u64, bytes: usize) -> Vec<Record> {
    (from..from + count).map(|n| Record::new(Time(n), vec![n as u8; bytes])).collect()
}

fn append(log: &mut FileLog, count: u64, bytes: usize) {
    let from = log.last().0 + 1;
    assert_eq!(log.append(&group(from, count, bytes)), Ok(Seq(from + count - 1)));
}

/// Reads everything; the number of good records, and the error at which reading ended.
fn read(log: &FileLog, bytes: usize) -> (u64, Option<LogError>) {
    let mut good = 0;
    for item in log.read(log.first()) {
        match item {
            Ok((seq, record)) => {
                assert_eq!(record, group(seq.0, 1, bytes)[0], "record `{seq}` is as it was written");
                good += 1;
            }
            Err(error) => return (good, Some(error)),
        }
    }
    (good, None)
}

fn segment(ordinal: u64) -> String {
    format!("{ordinal:020}.log")
}

/// A copy of everything that a reader of the disk would see.
fn copy(disk: &MemoryDisk) -> MemoryDisk {
    let copy = MemoryDisk::new();
    for name in disk.list().unwrap() {
        copy.install(&name, &disk.contents(&name).unwrap());
    }
    copy
}

/// The offset behind the last byte that is not zero.
fn used(disk: &MemoryDisk, name: &str) -> u64 {
    let bytes = disk.contents(name).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1)
}

#[test]
fn passes_the_suite_in_a_folder_and_on_a_memory_disk() {
    conformance::run(|| {
        let folder = tempfile::tempdir().unwrap();
        move || FileLog::open(folder.path()).map(|log| Box::new(log) as Box<dyn Log>)
    });
    conformance::run(|| {
        let disk = MemoryDisk::new();
        move || open(&disk).map(|log| Box::new(log) as Box<dyn Log>)
    });
}

#[test]
fn a_second_opening_names_the_holder() {
    let folder = tempfile::tempdir().unwrap();
    let log = FileLog::open(folder.path()).unwrap();
    let Err(LogError::Locked { holder }) = FileLog::open(folder.path()) else { panic!("opened twice") };
    assert!(holder.contains(&std::process::id().to_string()), "{holder}");
    drop(log);
    assert_eq!(LockFile::holder(folder.path()).unwrap(), None);
    FileLog::open(folder.path()).unwrap();
}

#[test]
fn one_group_costs_one_sync() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    let before = disk.syncs();
    for _ in 0..8 {
        append(&mut log, 3, 50);
    }
    assert_eq!(disk.syncs() - before, 8);
}

/// A group of five sectors is being written when the power goes: whichever of its sectors got through, what was
/// acknowledged is there, and the group is there whole or not at all.
#[test]
fn every_torn_tail_keeps_exactly_what_was_acknowledged() {
    for survivors in 0_u32..1 << 6 {
        let disk = MemoryDisk::new();
        let mut log = open(&disk).unwrap();
        append(&mut log, 4, 300);
        append(&mut log, 2, 300);
        disk.fail_sync(1);
        assert!(matches!(log.append(&group(7, 8, 300)), Err(LogError::Poisoned { .. })));
        let mut sector = 0;
        disk.crash(|what| {
            assert!(matches!(what, Unsynced::Sector { .. }), "names were synced before");
            sector += 1;
            survivors >> (sector - 1) & 1 == 1
        });
        assert!((5..=6).contains(&sector), "{sector} sectors were in doubt");
        drop(log);
        let mut log = open(&disk).unwrap();
        let whole = survivors & ((1 << sector) - 1) == (1 << sector) - 1;
        assert_eq!(read(&log, 300), (if whole { 14 } else { 6 }, None), "survivors {survivors:b}");
        append(&mut log, 1, 300);
        let last = log.last();
        disk.crash(|_| false);
        drop(log);
        assert_eq!(open(&disk).unwrap().last(), last);
    }
}

/// The system has forgotten that a group is to be written, but still shows it: once recovery gives it out, it stays.
#[test]
fn what_recovery_shows_is_durable() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    append(&mut log, 1, 10);
    disk.fail_sync(1);
    assert!(log.append(&group(2, 1, 10)).is_err());
    drop(log);
    assert_eq!(open(&disk).unwrap().last(), Seq(2), "the process sees what the system still holds");
    disk.crash(|_| false);
    assert_eq!(open(&disk).unwrap().last(), Seq(2), "and it outlives a power cut");
}

#[test]
fn a_failed_write_or_sync_poisons_for_good() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    append(&mut log, 1, 10);
    disk.fail_sync(1);
    for _ in 0..3 {
        assert!(matches!(log.append(&group(2, 1, 10)), Err(LogError::Poisoned { .. })));
        assert!(matches!(log.trim(Seq(1)), Err(LogError::Poisoned { .. })));
    }
    assert_eq!((log.last(), read(&log, 10)), (Seq(1), (1, None)), "what is durable can still be read");
}

#[test]
fn a_full_disk_refuses_and_the_log_goes_on_when_there_is_room() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    append(&mut log, 2, 1000);
    disk.set_free(Some(1000));
    let refused = loop {
        let from = log.last().0 + 1;
        if let Err(error) = log.append(&group(from, 2, 1000)) {
            break error;
        }
    };
    assert!(matches!(refused, LogError::Io { .. }), "{refused}");
    let last = log.last();
    disk.set_free(None);
    append(&mut log, 2, 1000);
    drop(log);
    let log = open(&disk).unwrap();
    assert_eq!((log.last(), read(&log, 1000)), (Seq(last.0 + 2), (last.0 + 2, None)));
}

/// Flips every bit position of a log of three segments, one byte at a time: nothing that was acknowledged is lost in
/// silence, nothing false is read, and no file is changed or removed by a refusal.
#[test]
fn damage_is_never_taken_for_a_torn_tail() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    while log.last() < Seq(40) {
        append(&mut log, 2, 500);
    }
    drop(log);
    let names = disk.list().unwrap();
    assert!(names.len() >= 2, "{names:?}");
    let (mut refused, mut told, mut harmless) = (0, 0, 0);
    for name in &names {
        // The first three pages hold a few dozen bytes each; what is behind those means nothing.
        let means_something = |offset: &u64| *offset >= 3 * 4096 || offset % 4096 < 64;
        for offset in (0..used(&disk, name)).filter(means_something).step_by(13) {
            let damaged = copy(&disk);
            assert!(damaged.flip_bit(name, offset, (offset % 8) as u8));
            let before = damaged.contents(name);
            match open(&damaged) {
                Err(LogError::Damaged { place, .. }) => {
                    assert!(place.contains(name.as_str()), "{place} for {name} at {offset}");
                    refused += 1;
                    assert_eq!(before, damaged.contents(name));
                    assert_eq!(names, damaged.list().unwrap());
                }
                Err(LogError::BadFormat { .. }) => assert!((8..12).contains(&offset)),
                Err(error) => panic!("{error} for {name} at {offset}"),
                Ok(log) => match read(&log, 500) {
                    (40, None) => harmless += 1,
                    (good, Some(LogError::Damaged { .. })) => {
                        assert!(good < 40);
                        told += 1;
                    }
                    other => panic!("{other:?} for {name} at {offset}"),
                },
            }
        }
    }
    assert!(refused > 100 && told > 300 && harmless > 0, "{refused} refused, {told} told, {harmless} harmless");
}

#[test]
fn a_damaged_last_frame_is_known_after_an_orderly_end() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    append(&mut log, 3, 100);
    append(&mut log, 3, 100);
    drop(log);
    let end = used(&disk, &segment(1));
    assert!(disk.flip_bit(&segment(1), end - 50, 0));
    let error = open(&disk).err().expect("the damage is seen");
    assert!(matches!(&error, LogError::Damaged { offset, .. } if *offset < end - 50), "{error}");
    assert!(error.to_string().contains("durable up to record `6`"), "{error}");
}

#[test]
fn a_damaged_last_frame_is_known_after_a_trim_and_a_kill() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    append(&mut log, 3, 100);
    log.trim(Seq(1)).unwrap();
    disk.crash(|_| true);
    drop(log);
    assert!(disk.flip_bit(&segment(1), used(&disk, &segment(1)) - 50, 0));
    assert!(matches!(open(&disk), Err(LogError::Damaged { .. })));
}

#[test]
fn a_missing_or_shortened_file_is_damage() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    while disk.list().unwrap().len() < 4 {
        append(&mut log, 4, 900);
    }
    drop(log);
    let gone = copy(&disk);
    gone.remove(&segment(2)).unwrap();
    assert!(matches!(open(&gone), Err(LogError::Damaged { place, .. }) if place.contains(&segment(2))));
    let short = copy(&disk);
    let bytes = short.contents(&segment(3)).unwrap();
    short.install(&segment(3), &bytes[..bytes.len() - 1]);
    assert!(matches!(open(&short), Err(LogError::Damaged { place, .. }) if place.contains(&segment(3))));
}

#[test]
fn a_newer_format_is_refused_as_such() {
    let disk = MemoryDisk::new();
    drop(open(&disk).unwrap());
    assert!(disk.flip_bit(&segment(1), 8, 1));
    assert!(matches!(open(&disk), Err(LogError::BadFormat { .. })));
}

/// Segments are recycled many times; old frames that are left behind the new ones are never read again.
#[test]
fn recycled_segments_show_nothing_of_their_past() {
    let disk = MemoryDisk::new();
    let mut log = open(&disk).unwrap();
    let mut files = 0;
    for round in 0..200 {
        append(&mut log, 1 + round % 5, 700);
        if round % 10 == 9 {
            let before = Seq(log.last().0 - 3);
            log.trim(before).unwrap();
            files = files.max(disk.list().unwrap().len());
        }
        if round % 17 == 0 {
            drop(log);
            disk.crash(|_| false);
            log = open(&disk).unwrap();
        }
        let (first, last) = (log.first().0, log.last().0);
        assert_eq!(read(&log, 700), (last + 1 - first, None));
    }
    assert!(files <= 6, "the folder stays small: {files} files");
    assert!(disk.list().unwrap().iter().any(|name| name.as_str() > segment(9).as_str()), "many segments were used");
}

#[test]
fn segments_are_prepared_ahead_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let files = || Arc::new(consort_log_file::Folder::open(folder.path().join("a/b")).unwrap());
    let options = Options { prepare_ahead: true, ..small() };
    let mut log = FileLog::open_on(files(), options.clone()).unwrap();
    for _ in 0..60 {
        append(&mut log, 2, 800);
        let before = Seq(log.last().0.saturating_sub(30));
        log.trim(before).unwrap();
    }
    drop(log);
    let log = FileLog::open_on(files(), options).unwrap();
    assert_eq!(log.last(), Seq(120));
    assert_eq!(read(&log, 800), (121 - log.first().0, None));
    assert!(log.first() > Seq(1), "old segments were trimmed");
}

#[test]
fn a_log_can_begin_behind_the_first_record() {
    let folder = tempfile::tempdir().unwrap();
    let record = group(7, 1, 3).remove(0);
    let mut log = FileLog::begin(folder.path(), Seq(1_001), record.clone()).unwrap();
    assert_eq!((log.first(), log.last()), (Seq(1_001), Seq(1_001)));
    assert_eq!(log.append(&group(8, 2, 3)), Ok(Seq(1_003)));
    drop(log);
    let log = FileLog::open(folder.path()).unwrap();
    let read: Vec<_> = log.read(Seq(1_001)).collect::<Result<_, _>>().unwrap();
    assert_eq!((read.len(), &read[0]), (3, &(Seq(1_001), record.clone())));
    assert_eq!(log.read(Seq(1_000)).next(), Some(Err(LogError::Trimmed { first: Seq(1_001) })));
    drop(log);
    assert!(matches!(FileLog::begin(folder.path(), Seq(5), record), Err(LogError::BadFormat { .. })));
}
