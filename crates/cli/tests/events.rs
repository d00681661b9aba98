//! Events, subscriptions and triggers on the real binary.
//!
//! For: what a publisher and a consumer in a shell see. Not for: layout on a terminal.
//! Invariant: as in `common`.

mod common;

use common::Folder;
use serde_json::{Value, json};

fn publish(folder: &Folder, id: &str, kind: &str) -> String {
    let data = format!("{{\"id\":\"{id}\"}}");
    folder.ok(&["events", "publish", "--type", kind, "--id", id, "--data", &data, "--subject", "s"]).trim().to_owned()
}

#[test]
fn events_are_published_listed_and_shown() {
    let folder = Folder::new();
    let first = publish(&folder, "1", "orders.created");
    let again = folder.run(&["events", "publish", "--type", "orders.created", "--id", "1"]);
    assert!(again.code == 0 && again.out.trim() == first && again.err.contains("before"), "{again:#?}");
    publish(&folder, "2", "returns.created");
    folder.write(
        "more.json",
        r#"[{"id":"3","source":"/f","type":"orders.paid"},{"id":"4","source":"/f","type":"a","topic":"orders.paid"}]"#,
    );
    assert_eq!(folder.json(&["events", "publish", "@more.json"]).len(), 2);
    let ids =
        |args: &[&str]| -> Vec<Value> { folder.json(args).into_iter().map(|event| event["id"].clone()).collect() };
    assert_eq!(ids(&["events", "list"]), ["1", "2", "3", "4"]);
    assert_eq!(ids(&["events", "list", "--topic", "orders.*", "--from", &first]), ["3", "4"]);
    assert_eq!(ids(&["events", "watch", "--topic", "orders.>", "--from", "all", "--count", "2"]), ["1", "3"]);
    assert_eq!(folder.json(&["events", "show", &first])[0]["data"], json!({"id": "1"}));
    let table = folder.ok(&["events", "list", "--limit", "1"]);
    assert!(table.contains("TOPIC") && table.contains("orders.created"), "{table}");
    folder.ok(&["events", "retention", "--count", "2"]);
    let shown = folder.ok(&["events", "retention"]);
    assert!(shown.contains("count  2 of 2") && shown.contains("age    7d"), "{shown}");
    for (args, code, said) in [
        (&["events", "list", "--from", &first][..], 5, "error[C0742]"),
        (&["events", "show", "9-9"], 3, "error[C0741]"),
        (&["events", "list", "--from", "soon"], 2, "error[C0001]"),
        (&["events", "list", "--topic", "a..b"], 2, "error[C0747]"),
        (&["events", "publish", "--type", "no topic"], 2, "error[C0747]"),
        (&["events", "publish"], 2, "--type"),
        (&["events", "publish", "@missing.json"], 3, "error[C0106]"),
        (&["events", "retention", "--age", "soon"], 2, "error[C0003]"),
        (&["subscriptions", "show", "none"], 3, "error[C0743]"),
        (&["triggers", "show", "none"], 3, "error[C0746]"),
    ] {
        let ended = folder.run(args);
        assert!(ended.code == code && ended.err.contains(said), "{args:?}: {ended:#?}");
    }
}

#[test]
fn a_consumer_in_a_shell_fetches_settles_and_redrives() {
    let folder = Folder::new();
    let make =
        ["subscriptions", "create", "mail", "--topic", "orders.>", "--max-deliveries", "1", "--ordered", "subject"];
    folder.ok(&make);
    let first = publish(&folder, "1", "orders.created");
    publish(&folder, "2", "orders.created");
    let fetch = || folder.json(&["subscriptions", "fetch", "mail", "--max", "5", "--consumer", "me"]);
    let fetched = fetch();
    assert_eq!((fetched.len(), &fetched[0]["event"]["id"]), (1, &json!("1")), "the second is of the same subject");
    let delivery = fetched[0]["delivery"].as_str().unwrap();
    folder.ok(&["subscriptions", "nack", "mail", delivery, "--reason", "broken"]);
    let late = folder.run(&["subscriptions", "ack", "mail", delivery]);
    assert!(late.code == 5 && late.err.contains("C0744"), "{late:#?}");
    let dead = folder.json(&["subscriptions", "dead", "list", "mail"]);
    assert_eq!((&dead[0]["event"]["position"], &dead[0]["reason"]), (&json!(first), &json!("broken")));
    assert!(folder.ok(&["subscriptions", "dead", "list", "mail"]).contains("broken"));
    let next = fetch();
    folder.ok(&["subscriptions", "ack", "mail", next[0]["delivery"].as_str().unwrap()]);
    folder.ok(&["subscriptions", "dead", "redrive", "mail", &first]);
    let again = fetch();
    assert_eq!(again[0]["event"]["id"], "1");
    let shown = folder.ok(&["subscriptions", "show", "mail"]);
    assert!(shown.contains("in flight     1 of 100") && shown.contains("dead letters  0"), "{shown}");
    folder.ok(&["subscriptions", "seek", "mail", "all"]);
    assert_eq!(folder.json(&["subscriptions", "list"])[0]["lag"], 2);
    assert_eq!(folder.json(&["subscriptions", "dead", "drop", "mail", "--all"])[0]["settled"], 0);
    folder.ok(&["subscriptions", "delete", "mail"]);
    assert_eq!(folder.run(&["subscriptions", "fetch", "mail"]).code, 3);
}

#[test]
fn a_trigger_starts_a_shipped_workflow() {
    let folder = Folder::new();
    folder.write("note.yaml", "workflow: note\nsteps:\n  a: { wait: 1ms }\noutput: ${{ input }}\n");
    folder.ok(&["workflows", "deploy", "note.yaml"]);
    let set = ["triggers", "set", "t", "--topic", "orders.*", "--filter", "event.subject == 's'", "--start", "note"];
    folder.ok(&set);
    publish(&folder, "1", "orders.created");
    let runs = folder.json(&["runs", "list", "--label", "trigger=t"]);
    assert_eq!((runs.len(), &runs[0]["workflow"]), (1, &json!("note")));
    let shown = folder.ok(&["triggers", "show", "t"]);
    assert!(shown.contains("fired       1"), "{shown}");
    folder.ok(&["triggers", "pause", "t"]);
    assert_eq!(folder.json(&["triggers", "list"])[0]["paused"], true);
    folder.ok(&["triggers", "resume", "t"]);
    let wrong = folder.run(&["triggers", "set", "t", "--topic", "a", "--start", "note", "--filter", "input.x"]);
    assert!(wrong.code == 2 && wrong.err.contains("C0749"), "{wrong:#?}");
    folder.ok(&["triggers", "delete", "t"]);
    assert!(folder.json(&["triggers", "list"]).is_empty());
}
