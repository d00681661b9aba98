//! `consort dev`: workers beside a server, started again and stopped.
//!
//! For: what a developer sees, and that nothing is left. Not for: what workers do on the server.
//! Invariant: as in `common`; workers are scripts that say what happens to them.

mod common;

use common::{Folder, Running};
use serde_json::Value;

/// Says what it is told, and stays until it is asked to stop.
const STAYS: &str = "trap 'echo leaving; kill $!; exit 0' TERM
tail -f /dev/null &
echo \"for $CONSORT_SERVER with $CONSORT_TOKEN\"
wait
";

/// Reads until a document has this member with this value.
fn until(dev: &mut Running, member: &str, value: &str) -> Value {
    loop {
        let document: Value = serde_json::from_str(&dev.line()).unwrap();
        if document[member] == value {
            return document;
        }
    }
}

#[test]
fn workers_know_the_server_are_started_again_and_stop_with_it() {
    let folder = Folder::new();
    folder.write("agent/worker.sh", STAYS);
    folder.write("consort.toml", "token = \"sesame\"\ndev-workers = [\"sh agent/worker.sh\"]\n");
    let mut dev = folder.start(&["dev", "--port", "0", "--json"]);
    let address: Value = serde_json::from_str(&dev.line()).unwrap();
    let told = format!("for {} with sesame", address["address"].as_str().unwrap());
    let first = until(&mut dev, "event", "started");
    assert_eq!(until(&mut dev, "line", &told)["worker"], "agent");
    folder.write("agent/worker.sh", &STAYS.replace("echo leaving", "echo going"));
    assert_eq!(until(&mut dev, "line", "leaving")["stream"], "stdout");
    assert_eq!(until(&mut dev, "event", "restarting")["file"], "worker.sh");
    let second = until(&mut dev, "event", "started");
    assert_ne!(first["process"], second["process"]);
    until(&mut dev, "line", &told);
    dev.signal("TERM");
    let ended = dev.ended();
    assert!(ended.code == 0 && ended.out.contains("going"), "{ended:#?}");
    let alive = |id: &Value| std::path::Path::new("/proc").join(id.to_string()).exists();
    assert!(!alive(&first["process"]) && !alive(&second["process"]));
}

#[test]
fn a_worker_that_exits_is_started_again_after_a_pause_which_is_told() {
    let folder = Folder::new();
    folder.write("a/worker.sh", "echo out; echo err >&2; exit 3\n");
    folder.write("b/worker.sh", STAYS);
    let args = ["dev", "--port", "0", "--json", "--worker", "sh a/worker.sh", "--worker", "sh b/worker.sh"];
    let mut dev = folder.start(&args);
    let ended = until(&mut dev, "event", "exited");
    assert_eq!((&ended["worker"], &ended["code"], &ended["again_in"]), (&"a".into(), &3.into(), &"1s".into()));
    // A change does not wait for the pause.
    folder.write("a/worker.sh", STAYS);
    loop {
        let document: Value = serde_json::from_str(&dev.line()).unwrap();
        let line = document["line"].as_str().unwrap_or_default();
        if document["worker"] == "a" && line.starts_with("for http://127.0.0.1:") {
            break;
        }
    }
    dev.signal("INT");
    assert_eq!(dev.ended().code, 0);
}

#[test]
fn lines_have_the_name_of_their_worker_and_stay_in_their_stream() {
    let folder = Folder::new();
    folder.write("reader.sh", &format!("echo careful >&2\n{STAYS}"));
    let mut dev = folder.start(&["dev", "--port", "0", "--worker", "sh reader.sh"]);
    assert!(dev.line().starts_with("http://127.0.0.1:"));
    let line = dev.line();
    assert!(line.starts_with("reader | for http://127.0.0.1:"), "{line}");
    dev.signal("INT");
    let ended = dev.ended();
    assert!(ended.err.contains("reader | started: sh reader.sh\n"), "{}", ended.err);
    assert!(ended.err.contains("reader | careful\n") && ended.out.contains("reader | leaving\n"), "{ended:#?}");
}

#[test]
fn what_cannot_be_started_is_refused_before_anything_is() {
    let folder = Folder::new();
    for (args, code, said) in [
        (&["dev", "--port", "0"][..], 2, "--worker"),
        (&["dev", "--port", "0", "--worker", "true", "--grpc-listen", "off"], 2, "grpc-listen"),
    ] {
        let ended = folder.run(args);
        assert_eq!(ended.code, code, "{ended:#?}");
        assert!(ended.err.contains(said) && ended.out.is_empty(), "{ended:#?}");
    }
    assert!(!folder.path().join(".consort").exists());
}
