//! What survives: an interrupt, a kill, a second command.
//!
//! For: the promises of `consort run` on one folder. Not for: many kills (see `tests/crash`).
//! Invariant: as in `common`.

mod common;

use common::{Folder, WAITING};
use consort_log::{Log as _, Record};
use consort_log_file::FileLog;

fn folder() -> Folder {
    let folder = Folder::new();
    folder.write("waiting.yaml", WAITING);
    folder
}

#[test]
fn a_second_command_finds_the_first() {
    let folder = folder();
    let first = folder.start(&["run", "waiting.yaml"]);
    let run = folder.wait_for("waiting", "running");
    assert!(folder.ok(&["doctor"]).contains("in use by"));
    folder.ok(&["runs", "signal", &run, "go", "--payload", "7"]);
    let ended = first.ended();
    assert_eq!((ended.code, ended.out.as_str()), (0, "7\n"), "{}", ended.err);
}

#[test]
fn an_interrupted_run_goes_on_by_the_same_command() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let folder = folder();
        let first = folder.start(&["run", "waiting.yaml"]);
        let run = folder.wait_for("waiting", "running");
        first.signal(signal);
        let ended = first.ended();
        assert!(ended.code == code && ended.err.contains("continues"), "{ended:#?}");
        folder.ok(&["runs", "signal", &run, "go", "--payload", "8"]);
        let ended = folder.run(&["run", "waiting.yaml"]);
        assert_eq!((ended.code, ended.out.as_str()), (0, "8\n"), "{}", ended.err);
        assert!(ended.err.contains(&format!("continuing run {run}")), "{}", ended.err);
        assert_eq!(folder.json(&["runs", "list"]).len(), 1);
    }
}

#[test]
fn a_killed_run_goes_on_and_new_starts_another() {
    let folder = folder();
    let first = folder.start(&["run", "waiting.yaml"]);
    let run = folder.wait_for("waiting", "running");
    first.kill();
    let second = folder.start(&["run", "waiting.yaml"]);
    folder.wait_for("waiting", "running");
    folder.ok(&["runs", "signal", &run, "go", "--payload", "9"]);
    assert_eq!(second.ended().out, "9\n");
    let third = folder.start(&["run", "waiting.yaml", "--new"]);
    assert_ne!(folder.wait_for("waiting", "running"), run);
    folder.ok(&["runs", "cancel", "last"]);
    assert_eq!(third.ended().code, 1);
}

/// Appends a record that cannot be decoded, as a version with a defect might; its number.
fn poison(folder: &Folder) -> u64 {
    let mut log = FileLog::open(&folder.path().join(".consort/log")).unwrap();
    let last = log.read(log.first()).last().unwrap().unwrap().1.time;
    log.append(&[Record::new(last, *b"\xffno version wrote this")]).unwrap().0
}

#[test]
fn a_record_that_cannot_be_applied_is_named_and_an_operator_has_it_passed_over() {
    let folder = folder();
    let first = folder.start(&["run", "waiting.yaml"]);
    let run = folder.wait_for("waiting", "running");
    first.signal("INT");
    first.ended();
    let record = poison(&folder);

    let way_out = format!("consort doctor --refuse-record {record} ");
    for args in [&["run", "waiting.yaml"][..], &["runs", "list"]] {
        let ended = folder.run(args);
        assert!(ended.code == 6 && ended.err.contains("C0505") && ended.err.contains(&way_out), "{ended:#?}");
    }
    let ended = folder.run(&["doctor"]);
    assert!(ended.code == 6 && ended.out.contains("C0505") && ended.out.contains(&way_out), "{ended:#?}");

    let number = record.to_string();
    let refuse = |number: &str| folder.run(&["doctor", "--refuse-record", number, "--reason", "a test", "--by", "ann"]);
    assert_eq!(folder.run(&["doctor", "--refuse-record", &number]).code, 2, "it needs a reason and a name");
    let settled = refuse("1");
    assert!(settled.code == 5 && settled.err.contains("C0507"), "{settled:#?}");
    assert_eq!(refuse(&(record + 1).to_string()).code, 3);
    let refused = refuse(&number);
    assert!(
        refused.code == 0 && refused.out.contains(&format!("record {number} was passed over: a test")),
        "{refused:#?}"
    );

    folder.ok(&["runs", "signal", &run, "go", "--payload", "5"]);
    let ended = folder.run(&["run", "waiting.yaml"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "5\n"), "{}", ended.err);
    assert!(folder.ok(&["doctor"]).contains("by ann"));
    assert_eq!(refuse(&number).code, 5);
}
