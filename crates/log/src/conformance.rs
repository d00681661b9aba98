//! The behaviour that every log must show.
//!
//! For: one suite that each implementation runs from its own tests. Not for: faults of one kind of storage.
//! Invariant: an implementation that passes can be the log of the engine.

use consort_types::{Seq, Time, limits};

use crate::{Log, LogError, Record};

/// A storage on which a log can be opened again after it was closed.
pub trait Harness {
    /// Opens the log; the one opened before was dropped.
    fn open(&mut self) -> Result<Box<dyn Log>, LogError>;
}

impl<F: FnMut() -> Result<Box<dyn Log>, LogError>> Harness for F {
    fn open(&mut self) -> Result<Box<dyn Log>, LogError> {
        self()
    }
}

/// Runs the whole suite. `fresh` makes a new, empty storage for each case; a failed promise panics.
pub fn run<H: Harness>(mut fresh: impl FnMut() -> H) {
    new_log_is_empty(&mut fresh());
    groups_are_read_back(&mut fresh());
    reopening_keeps_everything(&mut fresh());
    reading_starts_anywhere(&mut fresh());
    limits_refuse_and_the_log_goes_on(&mut fresh());
    largest_record_and_group_fit(&mut fresh());
    trimming_forgets_only_what_was_allowed(&mut fresh());
    trimming_everything_keeps_the_position(&mut fresh());
    bytes_are_counted(&mut fresh());
    submitted_groups_become_durable_in_order(&mut fresh());
}

/// A record whose bytes tell its number, of varying length.
fn record(number: u64) -> Record {
    let mut body = number.to_le_bytes().to_vec();
    body.resize(8 + (number as usize * 37) % 500, number as u8);
    Record::new(Time(1_000 + number * 3), body)
}

fn group(from: u64, count: u64) -> Vec<Record> {
    (from..from + count).map(record).collect()
}

fn open(harness: &mut impl Harness) -> Box<dyn Log> {
    harness.open().expect("the log opens")
}

fn append(log: &mut dyn Log, from: u64, count: u64) {
    let last = log.append(&group(from, count)).expect("the group is appended");
    assert_eq!(last, Seq(from + count - 1), "append returns the last sequence number");
    assert_eq!(log.last(), last, "what is acknowledged is the last");
}

/// Reads from `from` and checks that it is exactly `from ..= last`, each record as it was written.
fn check_read(log: &dyn Log, from: u64, last: u64) {
    let mut expected = from.max(1);
    for item in log.read(Seq(from)) {
        let (seq, read) = item.expect("the record is readable");
        assert_eq!(seq, Seq(expected), "sequence numbers have no gaps");
        assert_eq!(read, record(expected), "a record is read as it was written");
        expected += 1;
    }
    assert_eq!(expected, last.max(from.max(1) - 1) + 1, "reading ends behind the last record");
}

fn new_log_is_empty(harness: &mut impl Harness) {
    let log = open(harness);
    assert_eq!((log.first(), log.last()), (Seq(1), Seq::ZERO));
    check_read(&*log, 0, 0);
    drop(log);
    let log = open(harness);
    assert_eq!((log.first(), log.last()), (Seq(1), Seq::ZERO));
}

fn groups_are_read_back(harness: &mut impl Harness) {
    let mut log = open(harness);
    let mut next = 1;
    for count in [1, 1, 16, 3, 128, 1] {
        append(&mut *log, next, count);
        next += count;
        check_read(&*log, 1, next - 1);
    }
}

fn reopening_keeps_everything(harness: &mut impl Harness) {
    let mut next = 1;
    for count in 1..20 {
        let mut log = open(harness);
        assert_eq!(log.last(), Seq(next - 1));
        append(&mut *log, next, count);
        next += count;
        drop(log);
        check_read(&*open(harness), 1, next - 1);
    }
}

fn reading_starts_anywhere(harness: &mut impl Harness) {
    let mut log = open(harness);
    append(&mut *log, 1, 10);
    append(&mut *log, 11, 10);
    for from in 0..25 {
        check_read(&*log, from, 20);
    }
}

fn limits_refuse_and_the_log_goes_on(harness: &mut impl Harness) {
    let mut log = open(harness);
    append(&mut *log, 1, 2);
    let large = Record::new(Time(9), vec![0; limits::RECORD_BYTES_MAX + 1]);
    assert!(matches!(log.append(&[record(3), large]), Err(LogError::TooLarge { .. })));
    assert_eq!(log.last(), Seq(2), "a refused group leaves nothing behind");
    let many = vec![record(3); limits::GROUP_RECORDS_MAX + 1];
    assert!(matches!(log.append(&many), Err(LogError::TooLarge { .. })));
    append(&mut *log, 3, 2);
    drop(log);
    check_read(&*open(harness), 1, 4);
}

fn largest_record_and_group_fit(harness: &mut impl Harness) {
    let body = |fill: u8| (0..limits::RECORD_BYTES_MAX).map(|at| fill ^ (at % 251) as u8).collect::<Vec<u8>>();
    let largest: Vec<Record> = (0..2).map(|fill| Record::new(Time(5), body(fill))).collect();
    assert_eq!(largest.len() * limits::RECORD_BYTES_MAX, limits::GROUP_BYTES_MAX);
    let mut log = open(harness);
    append(&mut *log, 1, 1);
    assert_eq!(log.append(&largest), Ok(Seq(3)));
    drop(log);
    let mut log = open(harness);
    assert_eq!(log.append(&largest[..1]), Ok(Seq(4)));
    let read: Result<Vec<_>, _> = log.read(Seq(2)).collect();
    let bodies: Vec<_> = read.expect("the records are readable").into_iter().map(|(_, record)| record).collect();
    assert!(bodies == [largest[0].clone(), largest[1].clone(), largest[0].clone()], "large records are read back");
}

fn trimming_forgets_only_what_was_allowed(harness: &mut impl Harness) {
    let mut log = open(harness);
    for from in (1..2_000).step_by(20) {
        append(&mut *log, from, 20);
    }
    let mut first = Seq(1);
    for before in [0, 1, 500, 400, 1_999] {
        log.trim(Seq(before)).expect("the log is trimmed");
        assert!(log.first() <= Seq(before.max(first.0)), "what was not to be forgotten is there");
        assert!(log.first() >= first, "what was forgotten stays so");
        first = log.first();
        check_read(&*log, first.0.max(before), 2_000);
        if first > Seq(1) {
            let before_first = log.read(Seq(first.0 - 1)).next();
            assert_eq!(before_first, Some(Err(LogError::Trimmed { first })));
        }
    }
    append(&mut *log, 2_001, 5);
    let first = log.first();
    drop(log);
    let log = open(harness);
    assert!(log.first() <= Seq(1_999) && log.last() == Seq(2_005));
    assert!(log.first() <= first, "reopening forgets nothing");
    check_read(&*log, 1_999, 2_005);
}

fn trimming_everything_keeps_the_position(harness: &mut impl Harness) {
    let mut log = open(harness);
    append(&mut *log, 1, 50);
    log.trim(Seq(u64::MAX)).expect("the log is trimmed");
    assert_eq!(log.last(), Seq(50));
    assert!(log.first() <= Seq(51));
    drop(log);
    let mut log = open(harness);
    assert_eq!(log.last(), Seq(50));
    append(&mut *log, 51, 3);
    check_read(&*log, 51, 53);
}

fn bytes_are_counted(harness: &mut impl Harness) {
    let mut log = open(harness);
    assert_eq!(log.bytes_written(), 0);
    let group = group(1, 10);
    let payload: u64 = group.iter().map(|record| record.body.len() as u64).sum();
    append(&mut *log, 1, 10);
    let framing = log.bytes_written().checked_sub(payload).expect("every payload byte is counted");
    assert!((1..=256).contains(&framing), "framing is counted and small: {framing} bytes for 10 records");
}

fn submitted_groups_become_durable_in_order(harness: &mut impl Harness) {
    let mut log = open(harness);
    let (mut next, mut durable) = (1, Seq::ZERO);
    for round in 0..8 {
        for _ in 0..log.depth() {
            let last = log.submit(&group(next, 3)).expect("the group is submitted");
            assert_eq!(last, Seq(next + 2), "submit returns the number that the last record will have");
            next += 3;
        }
        let known = log.poll().expect("nothing has failed");
        assert!(durable <= known && known < Seq(next), "durable records are those that were submitted");
        durable = if round % 2 == 0 { log.wait().expect("the groups are appended") } else { known };
        while durable < Seq(next - 1) {
            durable = log.wait().expect("the groups are appended");
        }
        assert_eq!(log.last(), durable, "what is durable can be read");
        check_read(&*log, 1, next - 1);
    }
    append(&mut *log, next, 2);
    drop(log);
    check_read(&*open(harness), 1, next + 1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryLogDisk;

    #[test]
    fn the_model_passes() {
        run(|| {
            let disk = MemoryLogDisk::new();
            move || disk.open().map(|log| Box::new(log) as Box<dyn Log>)
        });
    }

    #[test]
    fn the_model_passes_when_it_is_far() {
        run(|| {
            let disk = MemoryLogDisk::new();
            disk.set_far();
            move || disk.open().map(|log| Box::new(log) as Box<dyn Log>)
        });
    }

    #[test]
    fn a_log_that_was_taken_over_refuses_the_earlier_epoch_and_its_groups_in_flight() {
        let disk = MemoryLogDisk::new();
        disk.set_far();
        let mut old = disk.open().unwrap();
        append(&mut old, 1, 3);
        assert_eq!(old.submit(&group(4, 2)), Ok(Seq(5)));
        let mut new = disk.take_over();
        assert!(new.epoch() > old.epoch());
        assert!(!disk.arrive(), "a group of the earlier epoch arrives too late");
        let fenced = LogError::Fenced { epoch: old.epoch(), newest: new.epoch() };
        assert_eq!(old.poll(), Err(fenced.clone()));
        assert_eq!(old.submit(&group(4, 2)), Err(fenced.clone()));
        assert_eq!(old.append(&group(4, 2)), Err(fenced));
        append(&mut new, 4, 5);
        drop(old);
        check_read(&new, 1, 8);
    }

    #[test]
    fn a_failed_append_poisons_and_its_group_survives_whole_or_not_at_all() {
        for keep in [false, true] {
            let disk = MemoryLogDisk::new();
            let mut log = disk.open().unwrap();
            append(&mut log, 1, 3);
            disk.fail_append(1);
            assert!(matches!(log.append(&group(4, 2)), Err(LogError::Poisoned { .. })));
            assert!(matches!(log.append(&group(4, 2)), Err(LogError::Poisoned { .. })));
            assert_eq!(log.last(), Seq(3));
            disk.crash(keep);
            assert!(matches!(log.append(&group(4, 2)), Err(LogError::Poisoned { .. })));
            let log = disk.open().unwrap();
            check_read(&log, 1, if keep { 5 } else { 3 });
        }
    }

    #[test]
    fn a_second_opening_is_refused_and_damage_is_told() {
        let disk = MemoryLogDisk::new();
        let mut log = disk.open().unwrap();
        assert!(matches!(disk.open(), Err(LogError::Locked { .. })));
        append(&mut log, 1, 5);
        disk.damage(Seq(3));
        let read: Vec<_> = log.read(Seq(1)).collect();
        assert_eq!(read.len(), 3);
        assert!(matches!(read[2], Err(LogError::Damaged { offset: 3, .. })));
    }
}
