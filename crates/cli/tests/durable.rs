//! What survives: an interrupt, a kill, a second command.
//!
//! For: the promises of `consort run` on one folder. Not for: many kills (see `tests/crash`).
//! Invariant: as in `common`.

mod common;

use common::{Folder, WAITING};

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
        assert!(ended.code == code && ended.err.contains("goes on"), "{ended:#?}");
        folder.ok(&["runs", "signal", &run, "go", "--payload", "8"]);
        let ended = folder.run(&["run", "waiting.yaml"]);
        assert_eq!((ended.code, ended.out.as_str()), (0, "8\n"), "{}", ended.err);
        assert!(ended.err.contains(&format!("going on with run {run}")), "{}", ended.err);
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
