//! Damaged folders: damage is refused with its place, and nothing is ever deleted for it; a torn tail is cut.
//!
//! For: what the program does with the files of a log. Not for: every kind of damage (see the tests of the log).
//! Invariant: law 11.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use consort_crash::{
    binary,
    driver::Driver,
    oracle::{self, Judged},
};
use consort_testkit::{TempDir, process, process::Server, temp_dir};

/// Where frames begin in a segment.
const DATA_START: usize = 12 * 1024;

fn start(folder: &Path) -> Server {
    let none: [&str; 0] = [];
    Server::start(binary::consort(), folder, none).expect("the server starts")
}

/// A folder in which runs have ended, and that was left in peace.
fn folder_with_runs() -> (TempDir, Judged) {
    let folder = temp_dir();
    binary::settle(folder.path());
    let server = start(folder.path());
    let client = server.client();
    let mut driver = Driver::new(5, "d").one_of_each();
    driver.deploy_once(&client).expect("this server is not killed");
    while driver.open() > 0 {
        driver.act(&client).expect("this server is not killed");
    }
    let judged = oracle::judge(&client);
    assert!(server.stop().expect("it stops").success());
    (folder, judged)
}

/// The newest segment with frames, and its bytes.
fn segment(folder: &Path) -> (PathBuf, Vec<u8>) {
    let log = folder.join(".consort/log");
    let names = fs::read_dir(log).expect("a log").map(|entry| entry.expect("an entry").path());
    let mut segments: Vec<PathBuf> = names.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    segments.sort();
    let newest = segments.into_iter().rev().map(|path| (path.clone(), fs::read(path).expect("a segment")));
    newest.into_iter().find(|(_, bytes)| end_of(bytes) > DATA_START).expect("a segment with frames")
}

/// Where the frames of a segment end: behind them there are zeros.
fn end_of(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 1).next_multiple_of(8))
}

/// Every file of the data folder with the hash of its bytes, but for the files of the store's library, which keeps
/// house there whenever it is opened: rows are a cache of the log.
fn inventory(folder: &Path) -> BTreeMap<PathBuf, String> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.join(".consort")]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.ends_with("store/rows") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let hash = blake3::hash(&fs::read(&path).expect("a file")).to_string();
                found.insert(path, hash);
            }
        }
    }
    found
}

/// Runs the program to its end: exit code, standard output and standard error.
fn run(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let output = process::run(binary::consort(), folder, args).expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_flipped_bit_is_refused_with_its_place_and_nothing_is_touched() {
    let (folder, judged) = folder_with_runs();
    let (path, good) = segment(folder.path());
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let middle = usize::midpoint(DATA_START, end_of(&good));
    let mut bad = good.clone();
    bad[middle] ^= 0x10;
    fs::write(&path, &bad).expect("the segment can be written");
    let before = inventory(folder.path());

    let (code, out, err) = run(folder.path(), &["up", "--port", "0"]);
    assert_eq!(code, Some(6), "{out}{err}");
    assert!(err.contains("C0501") && err.contains(&name), "{err}");
    let places = err.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse::<usize>().ok());
    let near = places.into_iter().any(|place| (DATA_START..=middle).contains(&place) && place.is_multiple_of(8));
    assert!(near, "no offset of the frame around byte {middle}: {err}");
    let (code, out, err) = run(folder.path(), &["doctor"]);
    assert!(code.is_some_and(|code| code != 0), "{out}{err}");
    assert!(out.contains(&name), "{out}{err}");
    assert_eq!(inventory(folder.path()), before, "a refusal changes nothing");

    fs::write(&path, &good).expect("the segment can be written");
    let server = start(folder.path());
    assert_eq!(oracle::judge(&server.client()), judged, "with the right byte everything is there");
}

#[test]
fn a_torn_tail_is_cut_and_nothing_else() {
    let (folder, judged) = folder_with_runs();
    let (path, good) = segment(folder.path());
    let end = end_of(&good);
    let frame = good[DATA_START..DATA_START + 24].to_vec();
    for torn in [frame, vec![0xa5; 300], b"CFr1".to_vec()] {
        let mut bytes = good.clone();
        bytes[end..end + torn.len()].copy_from_slice(&torn);
        fs::write(&path, &bytes).expect("the segment can be written");
        let server = start(folder.path());
        assert_eq!(oracle::judge(&server.client()), judged, "all that was acknowledged is there");
        server.kill().expect("it can be killed");
        let (code, out, err) = run(folder.path(), &["doctor"]);
        assert_eq!(code, Some(0), "{out}{err}");
        fs::write(&path, &good).expect("the segment can be written");
    }
}
