//! Data folders of versions before: every later version opens them, shows what was in them, and completes it.
//!
//! For: the promise that a data folder outlives the version that wrote it. Not for: single records and rows (see the
//! tests of the core and of the language's normal form).
//! Invariant: a folder in `tests/compat` is written once, by the version of its name, and never changed. It is added by
//! `CONSORT_COMPAT_WRITE=NAME cargo test -p consort-cli --test compat`, when the layout or a format changes.

mod common;

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use common::{Folder, RELEASE, WAITING, documents};
use serde_json::Value;

/// A run that fails, whose step before it is taken back.
const FAILING: &str = "workflow: failing
steps:
  first: { capability: echo, with: { n: 1 }, compensate: { capability: echo, with: { back: 1 } } }
  second: { capability: no-such-file, with: { n: \"${{ steps.first.output.n / 0 }}\" }, needs: [first] }
";

/// What is asked of a folder, and compared with what the version that wrote it answered.
const QUESTIONS: &[&[&str]] = &[
    &["runs", "list"],
    &["workflows", "list"],
    &["inbox", "list"],
    &["quotas", "list"],
    &["--namespace", "other", "runs", "list"],
    &["state", "list", "team"],
    &["state", "history", "team", "n/visits"],
    &["state", "conflicts", "team"],
    &["triggers", "list"],
    &["schedules", "list"],
    &["ballots", "show", "colour"],
];

/// What agents share: a key under each policy that keeps more than its value, a conflict that waits for a decision, and what
/// waits for events, instants and votes.
const SHARED: &[&[&str]] = &[
    &[
        "state",
        "set",
        "team",
        "--events",
        "--policy",
        "n/=counter",
        "--policy",
        "s/=set",
        "--policy",
        "m/=map",
        "--policy",
        "t/=text",
        "--policy",
        "o/=list",
        "--policy",
        "a/=agent",
    ],
    &["state", "put", "team", "n/visits", "1"],
    &["state", "put", "team", "n/visits", "2"],
    &["state", "put", "team", "s/tags", r#"["a"]"#],
    &["state", "put", "team", "s/tags", r#"["b"]"#],
    &["state", "put", "team", "m/card", r#"{"name":"x","age":1}"#],
    &["state", "put", "team", "m/card", r#"{"age":2}"#],
    &["state", "put", "team", "t/brief", r#""Ship on Friday.""#],
    &["state", "put", "team", "t/brief", r#"" Then rest.""#],
    &["state", "put", "team", "o/todo", r#"["plan","build"]"#],
    &["state", "put", "team", "o/todo", r#"["ship"]"#],
    &["state", "put", "team", "a/owner", r#""ann""#, "--by", "ann"],
    &["state", "put", "team", "a/owner", r#""bob""#, "--by", "bob"],
    &["subscriptions", "create", "orders", "--topic", "orders.>", "--ordered", "subject"],
    &["events", "publish", "--type", "orders.new", "--subject", "7", "--source", "test", "--id", "1", "--data", "1"],
    &["triggers", "set", "none", "--topic", "none.>", "--start", "waiting"],
    &[
        "schedules",
        "set",
        "nightly",
        "--cron",
        "0 3 * * *",
        "--timezone",
        "Europe/Berlin",
        "--start",
        "waiting",
        "--paused",
    ],
    &[
        "ballots",
        "open",
        "colour",
        "--question",
        "Which?",
        "--option",
        "red",
        "--option",
        "blue",
        "--voter",
        "ann=2",
        "--voter",
        "bob",
    ],
    &["ballots", "vote", "colour", "--voter", "ann", "--choice", "red"],
];

/// How a command ends that names what is not there.
const NOT_FOUND: i32 = 3;

/// The prefix of a folder in the list of what a data folder held.
const FOLDER: &str = "folder";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/compat")
}

/// What each question is answered; runs also with their history and their output.
fn answers(folder: &Folder) -> Value {
    let mut answers = serde_json::Map::new();
    for question in QUESTIONS {
        // A version that had no shared state left none.
        let ended = folder.run(&[*question, &["--json"]].concat());
        if ended.code != NOT_FOUND {
            assert_eq!(ended.code, 0, "{question:?}: {ended:#?}");
            answers.insert(question.join(" "), Value::Array(documents(&ended.out)));
        }
    }
    for run in folder.json(&["runs", "list"]) {
        let id = run["run"].as_str().unwrap().to_owned();
        answers.insert(id.clone(), Value::Array(folder.json(&["runs", "show", &id, "--history"])));
        if run["status"] == "completed" {
            answers.insert(format!("{id} output"), folder.ok(&["runs", "output", &id]).into());
        }
    }
    Value::Object(answers)
}

/// Later versions may show more; what was shown before must still be shown.
fn assert_holds(was: &Value, is: &Value, at: &str) {
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            for (key, value) in was {
                let found = is.get(key).unwrap_or_else(|| panic!("{at}: `{key}` is missing"));
                assert_holds(value, found, &format!("{at}/{key}"));
            }
        }
        (Value::Array(was), Value::Array(is)) => {
            assert_eq!(was.len(), is.len(), "{at}");
            was.iter().zip(is).enumerate().for_each(|(i, (was, is))| assert_holds(was, is, &format!("{at}/{i}")));
        }
        _ => assert_eq!(was, is, "{at}"),
    }
}

/// The folders and the files below a folder, by their path from it.
fn walk(below: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let (mut folders, mut files) = (Vec::new(), Vec::new());
    let mut open = vec![below.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let relative = path.strip_prefix(below).unwrap().to_owned();
            if path.is_dir() {
                folders.push(relative);
                open.push(path);
            } else {
                files.push(relative);
            }
        }
    }
    folders.sort();
    files.sort();
    (folders, files)
}

/// Keeps a data folder: each file without the zeros at its end, and a list of the folders and of how long the files
/// were.
fn keep(data: &Path, to: &Path) {
    let mut list = String::new();
    let (folders, files) = walk(data);
    for folder in folders {
        let _ = writeln!(list, "{FOLDER} {}", folder.display());
    }
    for path in files {
        let name = path.file_name().unwrap();
        if name == ".gitignore" {
            continue;
        }
        // A lock names the process that held the folder, which has ended.
        let bytes = if name == "lock" { Vec::new() } else { fs::read(data.join(&path)).unwrap() };
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let copy = to.join("data").join(&path);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(copy, &bytes[..used]).unwrap();
        let _ = writeln!(list, "{} {}", bytes.len(), path.display());
    }
    fs::write(to.join("files.txt"), list).unwrap();
}

/// Makes a data folder again from what was kept.
fn restore(from: &Path, data: &Path) {
    let list = fs::read_to_string(from.join("files.txt")).unwrap();
    fs::create_dir_all(data).unwrap();
    for line in list.lines() {
        let (length, path) = line.split_once(' ').unwrap();
        let to = data.join(path);
        if length == FOLDER {
            fs::create_dir_all(to).unwrap();
            continue;
        }
        let mut file = File::create(to).unwrap();
        file.write_all(&fs::read(from.join("data").join(path)).unwrap()).unwrap();
        file.set_len(length.parse().unwrap()).unwrap();
    }
}

/// Fills a folder: runs that have ended in each way, one that waits for a signal, one that waits for a person.
fn fill(folder: &Folder) {
    for (name, text) in [("waiting", WAITING), ("release", RELEASE), ("failing", FAILING)] {
        folder.write(&format!("{name}.yaml"), text);
        folder.ok(&["workflows", "deploy", &format!("{name}.yaml")]);
    }
    folder.ok(&["quotas", "set", "capability:echo", "--max-concurrent", "7"]);
    assert_ne!(folder.run(&["run", "failing.yaml"]).code, 0);
    for version in ["1", "2"] {
        folder.ok(&["run", "release.yaml", "--detach", "--input", &format!("version={version}"), "--label", "a=b"]);
        if version == "1" {
            let run = waits(folder, "release");
            folder.ok(&["runs", "approve", &run, "--by", "mara", "--comment", "go"]);
            folder.wait_for("release", "completed");
        }
    }
    folder.ok(&["run", "waiting.yaml", "--detach"]);
    let run = waits(folder, "waiting");
    folder.ok(&["runs", "cancel", &run, "--reason", "not needed"]);
    folder.wait_for("waiting", "cancelled");
    folder.ok(&["run", "waiting", "--detach", "--idempotency-key", "once"]);
    folder.ok(&["--namespace", "other", "workflows", "deploy", "waiting.yaml"]);
    folder.ok(&["--namespace", "other", "run", "waiting", "--detach"]);
    waits(folder, "waiting");
    waits(folder, "release");
    for command in SHARED {
        folder.ok(command);
    }
}

/// What was shared continues from where it was: counts, texts, votes, and the place of a subscription.
fn assert_shared(folder: &Folder, at: &str) {
    if !folder.ok(&["state", "spaces"]).contains("team") {
        return;
    }
    folder.ok(&["state", "put", "team", "n/visits", "4"]);
    assert_eq!(folder.ok(&["state", "get", "team", "n/visits"]).trim(), "7", "{at}");
    folder.ok(&["state", "put", "team", "t/brief", r#"" Or not.""#]);
    assert_eq!(
        folder.ok(&["state", "get", "team", "t/brief"]).trim(),
        r#"" Or not. Then rest.Ship on Friday.""#,
        "{at}"
    );
    folder.ok(&["events", "publish", "--type", "orders.new", "--subject", "8", "--source", "test", "--data", "2"]);
    let fetched = folder.json(&["subscriptions", "fetch", "orders", "--max", "10"]);
    assert!(fetched.iter().any(|delivery| delivery["event"]["subject"] == "8"), "{at}: {fetched:?}");
    folder.ok(&["ballots", "vote", "colour", "--voter", "bob", "--choice", "blue"]);
    assert!(folder.ok(&["ballots", "show", "colour"]).contains("red"), "{at}");
}

/// Waits until a run of the workflow waits for something from outside; its id.
fn waits(folder: &Folder, workflow: &str) -> String {
    let run = folder.wait_for(workflow, "running");
    consort_testkit::wait_until("a step that waits", || {
        let shown = folder.ok(&["runs", "show", &run, "--json"]);
        shown.contains("\"state\":\"waiting").then_some(())
    });
    run
}

/// A server on the folder, once it has printed its address.
fn serve(folder: &Folder) -> common::Running {
    let mut server = folder.start(&["up", "--port", "0"]);
    assert!(server.line().starts_with("http://"));
    server
}

/// What namespaces hold is counted, also where the version that wrote the folder did not count it.
fn assert_namespaces(folder: &Folder, at: &str) {
    let listed = folder.ok(&["namespaces", "list", "--json"]);
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = listed.iter().map(|found| found["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["default", "other"], "{at}");
    for found in &listed {
        let name = found["name"].as_str().unwrap();
        let lines =
            |arguments: &[&str]| folder.ok(&[&["--namespace", name], arguments].concat()).lines().count() as u64;
        let runs = lines(&["runs", "list", "--children", "--limit", "1000", "--json"]);
        assert_eq!((runs, found["runs"].as_u64().unwrap()), (runs, runs), "{at}: {found}");
        assert_eq!(found["agents"].as_u64().unwrap(), lines(&["agents", "list", "--json"]), "{at}: {found}");
        assert!(found["runs_active"].as_u64() >= Some(1) && found["bytes"].as_u64() > Some(0), "{at}: {found}");
        assert!(found["workflows"].as_u64() >= Some(1), "{at}: {found}");
    }
}

#[test]
fn folders_of_every_version_open_and_their_runs_complete() {
    let mut found = 0;
    for fixture in fs::read_dir(fixtures()).unwrap() {
        let fixture = fixture.unwrap().path();
        let name = fixture.file_name().unwrap().to_string_lossy().into_owned();
        if !fixture.is_dir() {
            continue;
        }
        found += 1;
        let folder = Folder::new();
        restore(&fixture, &folder.path().join(".consort"));
        let was: Value = serde_json::from_str(&fs::read_to_string(fixture.join("answers.json")).unwrap()).unwrap();
        let server = serve(&folder);
        assert_holds(&was, &answers(&folder), &name);
        assert_namespaces(&folder, &name);
        assert_shared(&folder, &name);
        let waiting = folder.wait_for("waiting", "running");
        let again = folder.ok(&["run", "waiting", "--detach", "--idempotency-key", "once"]);
        assert_eq!(again.trim(), waiting, "{name}: the key still belongs to its run");
        folder.ok(&["runs", "signal", &waiting, "go", "--payload", "7"]);
        let approved = folder.wait_for("release", "running");
        folder.ok(&["runs", "approve", &approved, "--by", "mara"]);
        for (run, output) in [(&waiting, "7"), (&approved, "{\"shipped\":\"2\"}")] {
            folder.ok(&["runs", "watch", run]);
            assert_eq!(folder.ok(&["runs", "output", run]).trim(), output, "{name}");
        }
        server.signal("INT");
        assert_eq!(server.ended().code, 0, "{name}");
        assert_eq!(folder.run(&["doctor"]).code, 0, "{name}");
    }
    assert!(found >= 2, "there is a folder that was stopped and one that was killed");
}

#[test]
fn a_folder_is_written_as_the_fixtures_are() {
    let to = std::env::var("CONSORT_COMPAT_WRITE").ok();
    for ending in ["stopped", "killed"] {
        let folder = Folder::new();
        let server = serve(&folder);
        fill(&folder);
        let answered = answers(&folder);
        if ending == "killed" {
            server.kill();
        } else {
            server.signal("INT");
            server.ended();
        }
        let kept = consort_testkit::temp_dir();
        let kept = to.as_ref().map_or(kept.path().to_owned(), |name| fixtures().join(format!("{name}-{ending}")));
        fs::create_dir_all(&kept).unwrap();
        keep(&folder.path().join(".consort"), &kept);
        fs::write(kept.join("answers.json"), serde_json::to_string_pretty(&answered).unwrap() + "\n").unwrap();
        let again = Folder::new();
        restore(&kept, &again.path().join(".consort"));
        let server = serve(&again);
        assert_holds(&answered, &answers(&again), ending);
        server.kill();
    }
}
