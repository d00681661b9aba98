//! Keeping data: backups of a running server, restoring, and folders whose parts are missing or damaged.
//!
//! For: what an operator does when something is lost. Not for: damage of the log itself (see the crash tests).
//! Invariant: as in `common`.

mod common;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use common::{Folder, binary};
use consort_testkit::{http::Client, process::Server, wait_until};
use serde_json::{Value, json};

const SAY: &str = "workflow: say
input: { text: {} }
steps:
  a: { capability: echo, with: { said: \"${{ input.text }}\" } }
output: ${{ steps.a.output }}
";

fn start(folder: &Path) -> Server {
    Server::start(binary(), folder, ["--log", "info"]).unwrap()
}

/// Deploys the workflow, unless the folder knows it.
fn deploy(client: &Client) {
    let deployed = client.request("POST", "/v1/workflows", Some(&json!({ "source": SAY }))).unwrap();
    assert!(matches!(deployed.status, 200 | 201), "{}", deployed.text());
}

/// Starts a run, and returns its id once it is acknowledged.
fn say(client: &Client, text: &str) -> String {
    let body = json!({ "workflow": "say", "input": { "text": text } });
    let started = client.request("POST", "/v1/runs", Some(&body)).unwrap();
    assert_eq!(started.status, 201, "{}", started.text());
    started.json()["run"].as_str().unwrap().to_owned()
}

fn outcome(client: &Client, run: &str) -> Value {
    client.get(&format!("/v1/runs/{run}?wait=60s")).unwrap().json()
}

/// Runs of a text each; a long one is a blob.
fn say_each(client: &Client, texts: &[&str]) -> BTreeMap<String, String> {
    let runs: BTreeMap<_, _> = texts.iter().map(|text| (say(client, text), (*text).to_owned())).collect();
    for run in runs.keys() {
        assert_eq!(outcome(client, run)["status"], "completed");
    }
    runs
}

fn assert_all(client: &Client, runs: &BTreeMap<String, String>) {
    for (run, text) in runs {
        assert_eq!(outcome(client, run)["status"], "completed");
        // The document itself, and not a reference to it.
        let output = client.get(&format!("/v1/runs/{run}/output")).unwrap();
        assert!(output.status == 200 && output.json()["said"] == **text, "{run}: {}", output.status);
    }
}

fn long() -> String {
    "long ".repeat(20_000)
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Flips a bit in the middle of what is not zero in a file.
fn flip(path: &Path) -> Vec<u8> {
    flip_behind(path, 0)
}

/// Flips a bit in the middle of what is not zero behind an offset in a file.
fn flip_behind(path: &Path, start: usize) -> Vec<u8> {
    let good = fs::read(path).unwrap();
    let used = good.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut bad = good.clone();
    bad[usize::midpoint(start, used)] ^= 0x10;
    fs::write(path, bad).unwrap();
    good
}

fn data(folder: &Folder, part: &str) -> PathBuf {
    folder.path().join(".consort").join(part)
}

#[test]
fn a_backup_taken_under_load_has_every_run_that_was_acknowledged_before_it() {
    let folder = Folder::new();
    let server = start(&folder.path());
    let client = server.client();
    deploy(&client);
    let long = long();
    let before = say_each(&client, &["one", "two", &long]);
    let stop = Arc::new(AtomicBool::new(false));
    let load = std::thread::spawn({
        let (stop, client) = (Arc::clone(&stop), server.client());
        move || {
            let mut made = 0;
            while !stop.load(Ordering::Acquire) {
                say(&client, "meanwhile");
                made += 1;
            }
            made
        }
    });
    let made = &folder.json(&["backup", "kept"])[0];
    stop.store(true, Ordering::Release);
    assert!(load.join().unwrap() > 0);
    assert!(made["blobs"].as_u64() >= Some(1) && made["missing_blobs"] == 0, "{made}");
    let applied = client.get("/v1/status").unwrap().json()["applied"].as_u64().unwrap();
    assert!(made["record"].as_u64().unwrap() <= applied);

    assert!(server.stop().unwrap().success());
    fs::remove_dir_all(data(&folder, "")).unwrap();
    assert!(folder.ok(&["backup", "verify", "kept"]).starts_with("ok"));
    let restored = folder.ok(&["restore", "kept", "--into", ".consort"]);
    assert!(restored.contains("continues at record"), "{restored}");
    let server = start(&folder.path());
    assert_all(&server.client(), &before);
    assert_all(&server.client(), &say_each(&server.client(), &["after"]));
    let now = server.client().get("/v1/status").unwrap().json()["applied"].as_u64().unwrap();
    assert!(now > applied + 1_000_000, "no record of the lost time is given out again: {applied}, {now}");
    assert!(server.stop().unwrap().success());
    folder.ok(&["doctor"]);
}

#[test]
fn a_second_backup_adds_what_is_new_and_works_without_a_server_too() {
    let folder = Folder::new();
    let server = start(&folder.path());
    deploy(&server.client());
    let long = long();
    let mut runs = say_each(&server.client(), &["one", &long]);
    let first = folder.json(&["backup", "kept"]).remove(0);
    assert_eq!(first["bytes"], first["bytes_written"]);
    runs.extend(say_each(&server.client(), &["two"]));
    assert!(server.stop().unwrap().success());
    let second = folder.json(&["backup", "kept"]).remove(0);
    assert!(second["record"].as_u64() > first["record"].as_u64());
    assert!(second["bytes_written"].as_u64().unwrap() < second["bytes"].as_u64().unwrap() / 2, "{second}");
    let third = folder.json(&["backup", "kept"]).remove(0);
    assert_eq!((&third["rows"], &third["blobs"]), (&second["rows"], &second["blobs"]));
    let manifests = files(&folder.path().join("kept"));
    assert_eq!(manifests.iter().filter(|path| path.extension().is_some_and(|end| end == "manifest")).count(), 1);

    folder.ok(&["restore", "kept", "--into", "elsewhere/.consort"]);
    let server = start(&folder.path().join("elsewhere"));
    assert_all(&server.client(), &runs);
}

#[test]
fn backups_and_restores_leave_what_is_there_alone() {
    let folder = Folder::new();
    folder.write("say.yaml", SAY);
    folder.ok(&["run", "say.yaml", "--input", "text=hello"]);
    folder.write("other/letter.txt", "dear");
    let refused = |args: &[&str], said: &str| {
        let ended = folder.run(args);
        assert!(ended.code != 0 && ended.err.contains(said), "{args:?}: {ended:#?}");
    };
    refused(&["backup", "other"], "holds `letter.txt`");
    refused(&["backup", ".consort/kept"], "are in each other");
    refused(&["backup"], "DIR");
    assert_eq!(files(&folder.path().join("other")).len(), 1);
    folder.ok(&["backup", "kept"]);
    refused(&["restore", "kept", "--into", "other"], "is not empty");
    refused(&["restore", "kept", "--into", ".consort"], "is not empty");
    refused(&["restore", "other", "--into", "new"], "is no backup");
    refused(&["backup", "verify", "other"], "is no backup");
}

#[test]
fn verifying_names_every_file_that_is_damaged_or_missing_and_restoring_refuses_them() {
    let folder = Folder::new();
    folder.write("say.yaml", SAY);
    folder.ok(&["run", "say.yaml", "--input", &format!("text={}", long())]);
    folder.ok(&["backup", "kept"]);
    let kept = folder.path().join("kept");
    let objects = files(&kept.join("objects"));
    assert!(objects.len() >= 2, "rows and a blob");
    let named = |path: &Path| {
        let shown = path.strip_prefix(folder.path()).unwrap().display().to_string();
        let ended = folder.run(&["backup", "verify", "kept"]);
        assert!(ended.code == 6 && ended.out.contains(&shown), "{shown}: {ended:#?}");
        let ended = folder.run(&["restore", "kept", "--into", "new"]);
        assert!(ended.code == 6 && ended.err.contains("C0501"), "{ended:#?}");
        assert!(!folder.path().join("new/FORMAT").exists());
    };
    let manifest = files(&kept).into_iter().find(|path| path.extension().is_some_and(|end| end == "manifest")).unwrap();
    for path in objects.iter().chain([&manifest]) {
        let good = flip(path);
        named(path);
        fs::write(path, good).unwrap();
    }
    for path in &objects {
        let good = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        named(path);
        fs::write(path, good).unwrap();
    }
    flip(&objects[0]);
    flip(&objects[1]);
    let all = folder.run(&["backup", "verify", "kept"]).out;
    assert_eq!(all.lines().filter(|line| line.starts_with("bad")).count(), 2, "{all}");
    fs::remove_file(kept.join("FORMAT")).unwrap();
    let ended = folder.run(&["backup", "verify", "kept"]);
    assert!(ended.code == 6 && ended.err.contains("FORMAT"), "{ended:#?}");
}

/// A folder with a snapshot, runs before and after it, and a server that was stopped.
fn folder_with_snapshot() -> (Folder, BTreeMap<String, String>) {
    let folder = Folder::new();
    // A stop then makes a snapshot after 64 KiB of log.
    folder.write("consort.toml", "snapshot-log = 1\n");
    let server = start(&folder.path());
    deploy(&server.client());
    let texts: Vec<String> = (0..8).map(|number| number.to_string().repeat(20_000)).collect();
    let mut runs = say_each(&server.client(), &texts.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(server.stop().unwrap().success());
    assert_eq!(fs::read_dir(data(&folder, "snapshots")).unwrap().count(), 3, "a marker, objects and one snapshot");
    let server = start(&folder.path());
    runs.extend(say_each(&server.client(), &["behind the snapshot"]));
    server.kill().unwrap();
    (folder, runs)
}

#[test]
fn a_missing_store_is_made_again_from_the_snapshot_and_the_log() {
    let (folder, runs) = folder_with_snapshot();
    fs::remove_dir_all(data(&folder, "store")).unwrap();
    let ended = folder.run(&["doctor"]);
    assert!(ended.code == 6 && ended.out.contains("is missing") && ended.out.contains("--rebuild-store"), "{ended:#?}");
    assert!(!data(&folder, "store").exists(), "the doctor makes nothing");
    let server = start(&folder.path());
    assert!(server.errors().contains("made again from the snapshot at record"), "{}", server.errors());
    assert_all(&server.client(), &runs);
    assert!(server.stop().unwrap().success());
    folder.ok(&["doctor"]);
}

#[test]
fn a_damaged_store_is_made_again_and_moved_aside() {
    let (folder, runs) = folder_with_snapshot();
    let rows = data(&folder, "store/rows");
    for (part, damage) in [
        (
            "a journal that fails its check",
            files(&rows).into_iter().find(|path| path.extension().is_some_and(|end| end == "jnl")),
        ),
        ("a missing manifest", Some(rows.join("keyspaces/0/current"))),
    ] {
        let Some(path) = damage.filter(|path| path.exists()) else { panic!("{part}: {:?}", files(&rows)) };
        fs::remove_file(&path).unwrap();
        let server = start(&folder.path());
        let told = server.errors();
        assert!(told.contains("the store could not be used") && told.contains("rows.damaged-"), "{part}: {told}");
        assert_all(&server.client(), &runs);
        server.kill().unwrap();
    }
    let aside =
        fs::read_dir(data(&folder, "store")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(aside.filter(|name| name.starts_with("rows.damaged-")).count(), 2, "nothing is deleted");
}

#[test]
fn a_flipped_bit_in_a_table_is_found_and_the_store_can_be_made_again() {
    let (folder, runs) = folder_with_snapshot();
    // With a store of its own making, all rows are in tables that a start does not read.
    folder.ok(&["doctor", "--rebuild-store"]);
    let tables: Vec<PathBuf> = files(&data(&folder, "store/rows"))
        .into_iter()
        .filter(|path| path.parent().is_some_and(|parent| parent.ends_with("tables")))
        .collect();
    for table in &tables {
        flip(table);
    }
    let journals =
        files(&data(&folder, "store/rows")).into_iter().filter(|path| path.extension().is_some_and(|end| end == "jnl"));
    if tables.is_empty() {
        journals.for_each(|journal| drop(flip(&journal)));
    }
    let ended = folder.run(&["doctor"]);
    assert!(ended.code == 6 && ended.out.contains("store/rows") && ended.out.contains("--rebuild-store"), "{ended:#?}");
    let ended = folder.run(&["doctor", "--rebuild-store"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let server = start(&folder.path());
    assert_all(&server.client(), &runs);
}

#[test]
fn a_damaged_snapshot_is_told_and_not_used() {
    let (folder, runs) = folder_with_snapshot();
    let chunk = files(&data(&folder, "snapshots/objects")).remove(0);
    flip(&chunk);
    let ended = folder.run(&["doctor"]);
    assert!(ended.code == 6 && ended.out.contains(&*chunk.to_string_lossy()), "{ended:#?}");
    fs::remove_dir_all(data(&folder, "store/rows")).unwrap();
    let server = start(&folder.path());
    // With one snapshot the log is kept from its beginning.
    assert!(server.errors().contains("is not used") && server.errors().contains("records 1 to"), "{}", server.errors());
    assert_all(&server.client(), &runs);
}

#[test]
fn snapshots_are_made_while_a_server_works_and_the_older_one_serves_where_the_newest_is_damaged() {
    let folder = Folder::new();
    folder.write("consort.toml", "snapshot-log = 1\n");
    let server = start(&folder.path());
    deploy(&server.client());
    let snapshots = || -> Vec<PathBuf> {
        let all = files(&data(&folder, "snapshots"));
        all.into_iter().filter(|path| path.extension().is_some_and(|end| end == "manifest")).collect()
    };
    let (mut runs, mut number) = (BTreeMap::new(), 0);
    while snapshots().len() < 2 {
        number += 1;
        assert!(number < 500, "more than 10 MiB of log, and no two snapshots");
        runs.extend(say_each(&server.client(), &[&format!("{number} {}", "x".repeat(20_000))]));
    }
    server.kill().unwrap();
    let made = snapshots();
    let [.., older, newest] = made.as_slice() else { panic!("{made:?}") };
    flip(newest);
    fs::remove_dir_all(data(&folder, "store/rows")).unwrap();
    let server = start(&folder.path());
    let record: u64 = older.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let told = server.errors();
    assert!(told.contains(&format!("made again from the snapshot at record {record} ")), "{told}");
    assert_all(&server.client(), &runs);
}

#[test]
fn the_doctor_names_missing_and_damaged_files() {
    let folder = Folder::new();
    folder.write("say.yaml", SAY);
    folder.ok(&["run", "say.yaml", "--input", &format!("text={}", long())]);
    folder.ok(&["doctor"]);
    let named = |path: &Path| {
        let ended = folder.run(&["doctor"]);
        assert!(ended.code == 6 && ended.out.contains(&*path.to_string_lossy()), "{}: {ended:#?}", path.display());
    };
    let blobs = files(&data(&folder, "store/blobs"));
    assert!(!blobs.is_empty());
    for blob in &blobs {
        let good = flip(blob);
        named(blob);
        fs::remove_file(blob).unwrap();
        named(blob);
        fs::write(blob, good).unwrap();
    }
    let segment =
        files(&data(&folder, "log")).into_iter().find(|path| path.extension().is_some_and(|end| end == "log")).unwrap();
    // Frames begin there.
    let good = flip_behind(&segment, 12 * 1024);
    named(&segment);
    fs::write(&segment, good).unwrap();
    let format = data(&folder, "FORMAT");
    let good = fs::read(&format).unwrap();
    fs::remove_file(&format).unwrap();
    named(&format);
    fs::write(&format, good).unwrap();
    folder.ok(&["doctor"]);
}

#[test]
fn a_backup_goes_on_without_a_blob_that_is_gone_and_says_so() {
    let folder = Folder::new();
    folder.write("say.yaml", SAY);
    folder.ok(&["run", "say.yaml", "--input", &format!("text={}", long())]);
    fs::remove_file(files(&data(&folder, "store/blobs")).remove(0)).unwrap();
    let ended = folder.run(&["backup", "kept"]);
    assert!(ended.code == 6 && ended.err.contains("1 blobs are missing"), "{ended:#?}");
    let verified = folder.ok(&["backup", "verify", "kept"]);
    assert!(verified.contains("was missing when the backup was made"), "{verified}");
    folder.ok(&["restore", "kept", "--into", "new"]);
}

#[test]
fn retention_is_shown_and_counts_for_runs_that_have_ended_before() {
    let folder = Folder::new();
    let server = start(&folder.path());
    deploy(&server.client());
    let runs = say_each(&server.client(), &["one", "two", "three"]);
    assert_eq!(folder.ok(&["runs", "retention"]), "keep\n");
    folder.ok(&["runs", "retention", "1ms"]);
    assert_eq!(folder.json(&["runs", "retention"])[0], json!({ "keep": "1ms" }));
    for run in runs.keys() {
        wait_until("the deletion", || {
            (server.client().get(&format!("/v1/runs/{run}")).unwrap().status == 404).then_some(())
        });
    }
}
