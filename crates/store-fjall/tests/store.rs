//! The fjall store through its public boundary: the shared suite, the model, damage, format, processes that die.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::Duration,
};

use consort_store::{Batch, Blobs, MemoryStore, Store, StoreError, conformance};
use consort_store_fjall::FjallStore;
use consort_types::{BlobHash, Seq};
use proptest::prelude::*;

fn open(folder: &Path) -> FjallStore {
    FjallStore::open(folder).unwrap_or_else(|error| panic!("{error}"))
}

fn batch(applied: u64, rows: u64, bytes: usize) -> Batch {
    let mut batch = Batch::new(Seq(applied));
    for row in 0..rows {
        batch.put((applied * 31 + row * 7919).to_be_bytes(), vec![applied as u8; bytes]);
    }
    batch
}

#[test]
fn passes_the_suite() {
    conformance::run(|| {
        let folder = tempfile::tempdir().unwrap();
        move || open(&folder.path().join("store"))
    });
}

#[test]
fn a_second_opening_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _store = open(folder.path());
    assert!(matches!(FjallStore::open(folder.path()), Err(StoreError::Locked { .. })));
}

#[test]
fn foreign_and_newer_folders_are_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("letter.txt"), "dear").unwrap();
    assert!(matches!(FjallStore::open(folder.path()), Err(StoreError::BadFormat { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    fs::write(folder.path().join("format"), "consort-store 2\n").unwrap();
    let Err(StoreError::BadFormat { what, .. }) = FjallStore::open(folder.path()) else { panic!("opened") };
    assert!(what.contains("`2`") && what.contains("`1`"), "{what}");
}

#[test]
fn a_damaged_blob_is_told_with_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (bytes, hash) = (b"forty thousand", BlobHash::of(b"forty thousand"));
    store.put_blob(hash, bytes).unwrap();
    let name = hash.to_string();
    let path = folder.path().join("blobs").join(&name[..2]).join(&name);
    fs::write(&path, b"forty thousanD").unwrap();
    let Err(StoreError::Damaged { place, .. }) = store.get_blob(hash) else { panic!("read") };
    assert_eq!(place, path.display().to_string());
    store.put_blob(hash, bytes).unwrap();
    assert_eq!(store.get_blob(hash), Ok(Some(bytes.to_vec())), "putting the right bytes again mends it");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Flips bytes of every file that holds rows: the store never shows a wrong row, and never an older state than the
/// last sync without saying so.
#[test]
fn damaged_rows_are_told_or_harmless() {
    let origin = tempfile::tempdir().unwrap();
    let store = open(origin.path());
    for applied in 1..=40 {
        // More than two memtables, so that there are tables as well as a journal.
        store.write(batch(applied, 40, 12_000)).unwrap();
    }
    store.sync().unwrap();
    drop(store);
    let expected = open(origin.path()).scan(b"", b"\xff", usize::MAX).unwrap();
    assert!(expected.len() > 1000);
    let mut told = 0;
    let all = files(&origin.path().join("rows"));
    assert!(all.iter().any(|path| path.components().any(|part| part.as_os_str() == "tables")), "{all:?}");
    for path in all {
        let bytes = fs::read(&path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        for part in 1..4 {
            let mut damaged = bytes.clone();
            let Some(byte) = damaged.get_mut(used * part / 4) else { continue };
            *byte ^= 0x10;
            fs::write(&path, &damaged).unwrap();
            match FjallStore::open(origin.path()).and_then(|store| store.scan(b"", b"\xff", usize::MAX)) {
                Ok(rows) => assert!(rows == expected, "{} shows other rows", path.display()),
                Err(StoreError::Damaged { .. } | StoreError::BadFormat { .. } | StoreError::Io { .. }) => told += 1,
                Err(error) => panic!("{error}"),
            }
            fs::write(&path, &bytes).unwrap();
        }
    }
    assert!(told > 0, "some damage was noticed");
}

#[test]
fn rows_are_made_again_and_what_was_there_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let (bytes, hash) = (b"a blob", BlobHash::of(b"a blob"));
    store.put_blob(hash, bytes).unwrap();
    store.write(batch(20, 5, 10)).unwrap();
    store.sync().unwrap();
    drop(store);
    let failing = [Ok(vec![(b"k".to_vec(), b"v".to_vec())]), Err(StoreError::Poisoned { why: "a test".to_owned() })];
    assert!(FjallStore::rebuild(folder.path(), Seq(9), failing.into_iter()).is_err());
    assert_eq!(open(folder.path()).applied(), Ok(Seq(20)), "what fails changes nothing");

    fs::remove_file(folder.path().join("format")).unwrap();
    assert!(matches!(FjallStore::open(folder.path()), Err(StoreError::Damaged { .. })));
    let rows = || {
        let batches = [vec![(b"k".to_vec(), b"v".to_vec())], vec![(b"l".to_vec(), b"w".to_vec())]];
        batches.into_iter().map(Ok::<_, StoreError>)
    };
    let aside = FjallStore::rebuild(folder.path(), Seq(9), rows()).unwrap();
    assert!(aside.len() == 2 && aside.iter().all(|path| path.exists()), "{aside:?}");
    let store = open(folder.path());
    // Older than what was synced before: that was of other rows.
    assert_eq!(store.applied(), Ok(Seq(9)));
    let expected = vec![(b"k".to_vec(), b"v".to_vec()), (b"l".to_vec(), b"w".to_vec())];
    assert_eq!(store.scan(b"", b"\xff", usize::MAX), Ok(expected));
    assert_eq!((store.read_all(), store.get_blob(hash)), (Ok(2), Ok(Some(bytes.to_vec()))));
    assert_eq!(
        FjallStore::rebuild(folder.path(), Seq(9), rows()),
        Err(StoreError::Locked { place: folder.path().display().to_string() })
    );
    drop(store);
    fs::write(folder.path().join("format"), "consort-store 2\n").unwrap();
    assert!(matches!(FjallStore::rebuild(folder.path(), Seq(9), rows()), Err(StoreError::BadFormat { .. })));
}

#[test]
fn a_blob_never_makes_a_store_of_a_folder_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("store");
    let store = open(&place);
    fs::rename(&place, folder.path().join("moved")).unwrap();
    assert!(matches!(store.put_blob(BlobHash::of(b"b"), b"b"), Err(StoreError::Io { .. })));
    assert!(!place.exists());
}

const CHILD: &str = "CONSORT_TEST_STORE_FOLDER";

/// Not a test of its own: the process that `survives_kills_at_any_moment` kills. It writes without end, with many
/// flushes, and says what it has written and synced.
#[test]
fn writer_that_is_killed() {
    let Ok(folder) = std::env::var(CHILD) else { return };
    let store = open(Path::new(&folder));
    let first = store.applied().unwrap().0 + 1;
    println!("opened {}", first - 1);
    for applied in first.. {
        store.write(batch(applied, 20, 20_000)).unwrap();
        if applied % 16 == 0 {
            println!("synced {}", store.sync().unwrap());
        }
        println!("wrote {applied}");
    }
}

/// No batch takes that long, however slow the machine.
const HANG: Duration = Duration::from_mins(2);

fn lines_of(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}

fn start_writer(folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer_that_is_killed", "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills the process while it makes or opens its store, each time a little later.
#[test]
fn survives_kills_while_opening() {
    let old = tempfile::tempdir().unwrap();
    drop(open(old.path()));
    for round in 0..40 {
        let new = tempfile::tempdir().unwrap();
        let folder = if round % 2 == 0 { new.path() } else { old.path() };
        let mut child = start_writer(folder);
        let lines = lines_of(child.stdout.take().unwrap());
        let begun = lines.iter().any(|line| line.contains("running 1 test"));
        assert!(begun, "the writer started");
        for _ in 0..round * round * 8 {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(folder);
        let applied = store.applied().unwrap().0;
        store.write(batch(applied + 1, 20, 20_000)).unwrap();
        assert_eq!(store.sync(), Ok(Seq(applied + 1)));
    }
}

/// fjall#257: after a kill and a recovery, writes may hang. Kill and start again, many times, with memtables that fill
/// within a few batches; every start must get on, and show a state between what was synced and what was written.
#[test]
fn survives_kills_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let (mut written, mut synced) = (0_u64, 0_u64);
    for round in 0..12_u64 {
        let mut child = start_writer(folder.path());
        // Enough batches to halt writes for good if sealed memtables were left behind (four of 8 MiB each).
        let enough = 60 + round * 13;
        let (mut opened, mut since) = (None, 0);
        let lines = lines_of(child.stdout.take().unwrap());
        loop {
            let line = match lines.recv_timeout(HANG) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    child.kill().unwrap();
                    panic!("round {round}: writes hang after {since} batches");
                }
            };
            let mut words = line.rsplit(' ');
            let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
            if line.contains("opened ") {
                opened = Some(number);
            } else if line.contains("synced ") {
                synced = number;
            } else if line.contains("wrote ") {
                (written, since) = (number, since + 1);
            }
            if since >= enough {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(since >= enough && opened.is_some(), "round {round}: the writer ended after {since} batches");
        let store = open(folder.path());
        let applied = store.applied().unwrap().0;
        assert!(applied >= synced && applied >= written, "a killed process loses nothing: {applied} of {written}");
        let last = batch(applied, 20, 20_000);
        assert!(last.puts.iter().all(|(key, value)| store.get(key).unwrap().as_ref() == Some(value)));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, Option<u8>)>),
    Sync,
    Reopen,
    Scan(u8, u8, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec((any::<u8>(), any::<Option<u8>>()), 0..12).prop_map(Step::Write),
        1 => Just(Step::Sync),
        1 => Just(Step::Reopen),
        3 => any::<(u8, u8, u8)>().prop_map(|(from, to, limit)| Step::Scan(from, to, limit)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_reads_as_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let model = MemoryStore::new();
        let mut store = Some(open(folder.path()));
        for (number, step) in steps.into_iter().enumerate() {
            let real = store.as_ref().unwrap();
            match step {
                Step::Write(changes) => {
                    let mut batch = Batch::new(Seq(number as u64 + 1));
                    for (key, value) in changes {
                        match value {
                            Some(value) => batch.put([key], [value]),
                            None => batch.delete([key]),
                        }
                    }
                    real.write(batch.clone()).unwrap();
                    model.write(batch).unwrap();
                }
                Step::Sync => assert_eq!(real.sync(), model.sync()),
                Step::Reopen => {
                    drop(store.take());
                    store = Some(open(folder.path()));
                }
                Step::Scan(from, to, limit) => {
                    let limit = usize::from(limit);
                    assert_eq!(real.scan(&[from], &[to], limit), model.scan(&[from], &[to], limit));
                    assert_eq!(real.get(&[from]), model.get(&[from]));
                }
            }
            let real = store.as_ref().unwrap();
            assert_eq!(real.applied(), model.applied());
        }
        assert_eq!(store.unwrap().scan(b"", b"\xff\xff", 999), model.scan(b"", b"\xff\xff", 999));
    }
}
