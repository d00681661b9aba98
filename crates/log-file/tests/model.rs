//! The file log against the model in memory, over random histories with crashes at any point; and the fuzz entry.

use std::sync::Arc;

use consort_log::{Files, Log, LogError, MemoryDisk, MemoryLog, Record};
use consort_log_file::{FileLog, Options, fuzz_read};
use consort_types::{Seq, Time};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    /// Appends a group of records with these sizes.
    Append(Vec<u16>),
    /// Allows the log to forget all but this many records.
    Trim(u8),
    /// Ends in order and starts again.
    Reopen,
    /// Lets the n-th sync from now fail.
    FailSync(u8),
    /// Loses power; the pattern says which unsynced sectors and names survive.
    Crash(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(0_u16..3000, 1..6).prop_map(Step::Append),
        1 => any::<u8>().prop_map(Step::Trim),
        1 => Just(Step::Reopen),
        1 => (1_u8..12).prop_map(Step::FailSync),
        2 => any::<u64>().prop_map(Step::Crash),
    ]
}

struct World {
    disk: MemoryDisk,
    log: Option<FileLog>,
    model: MemoryLog,
    /// The group whose append failed: it may turn out to be there, whole.
    in_doubt: Vec<Record>,
}

impl World {
    fn new() -> Self {
        let disk = MemoryDisk::new();
        let log = Some(open(&disk).unwrap());
        Self { disk, log, model: MemoryLog::new(), in_doubt: Vec::new() }
    }

    fn log(&mut self) -> &mut FileLog {
        self.log.as_mut().expect("the log is open")
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Append(sizes) => self.append(&sizes),
            Step::Trim(keep) => {
                let before = Seq(self.model.last().0.saturating_sub(u64::from(keep)));
                // A trim that a failing disk ended may have done a part of its work.
                let _ended = self.log().trim(before);
                self.model.trim(before).unwrap();
            }
            Step::Reopen => {
                self.log = None;
                self.reopen();
            }
            Step::FailSync(n) => self.disk.fail_sync(u64::from(n)),
            Step::Crash(pattern) => {
                let mut pattern = pattern;
                self.disk.crash(|_| {
                    pattern = pattern.rotate_left(1);
                    pattern & 1 == 1
                });
                self.log = None;
                self.reopen();
            }
        }
    }

    fn append(&mut self, sizes: &[u16]) {
        let from = self.model.last().0 + 1;
        let record = |(n, size): (u64, &u16)| Record::new(Time(n), vec![n as u8; usize::from(*size)]);
        let group: Vec<Record> = (from..).zip(sizes).map(record).collect();
        match self.log().append(&group) {
            Ok(last) => assert_eq!(Ok(last), self.model.append(&group)),
            Err(LogError::Poisoned { .. }) => {
                if self.in_doubt.is_empty() {
                    self.in_doubt = group;
                }
            }
            Err(LogError::Io { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn reopen(&mut self) {
        // A planned failure of a sync may meet the opening itself; the next one has none.
        let opened = open(&self.disk).or_else(|error| match error {
            LogError::Io { .. } | LogError::Poisoned { .. } => open(&self.disk),
            other => Err(other),
        });
        let log = opened.unwrap_or_else(|error| panic!("{error}"));
        let doubt = std::mem::take(&mut self.in_doubt);
        if log.last() > self.model.last() {
            self.model.append(&doubt).unwrap();
        }
        assert_eq!(log.last(), self.model.last(), "what was acknowledged is there, and nothing else");
        self.log = Some(log);
        self.compare();
    }

    fn compare(&mut self) {
        let first = self.model.first();
        assert!(self.log().first() <= first, "nothing is forgotten that was not allowed");
        let expected: Result<Vec<_>, _> = self.model.read(first).collect();
        let read: Result<Vec<_>, _> = self.log().read(first).collect();
        assert!(read == expected, "the log reads as the model");
    }
}

fn open(disk: &MemoryDisk) -> Result<FileLog, LogError> {
    let files: Arc<dyn Files> = Arc::new(disk.clone());
    let options = Options {
        first_segment_bytes: 14 << 10,
        segment_bytes: 20 << 10,
        prepare_ahead: false,
        ..Options::new([9; 16])
    };
    FileLog::open_on(files, options)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_as_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.compare();
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        fuzz_read(&bytes);
    }
}
