//! Schedules on the real binary.
//!
//! For: the words of the command line. Not for: the rules (core has those), or the calendar (the engine has).
//! Invariant: as in `common`; nothing here waits for an instant.

mod common;

use common::Folder;
use serde_json::json;

#[test]
fn a_schedule_is_set_shown_operated_and_deleted() {
    let folder = Folder::new();
    folder.write("note.yaml", "workflow: note\nsteps:\n  a: { wait: 1ms }\noutput: ${{ input }}\n");
    folder.ok(&["workflows", "deploy", "note.yaml"]);
    let cron = ["schedules", "set", "s", "--cron", "0 9 * * 1-5", "--timezone", "Europe/Vienna", "--start", "note"];
    let more = ["--input", "{\"n\": 1}", "--overlap", "allow", "--jitter", "5s", "--limit", "3", "--catch-up", "2h"];
    folder.ok(&[&cron[..], &more[..]].concat());
    let shown = folder.ok(&["schedules", "show", "s"]);
    for line in
        ["times     at `0 9 * * 1-5` in Europe/Vienna", "does      starts `note`", "limit     0 of 3", "jitter    5s"]
    {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
    assert_eq!(shown.matches("\nnext ").count(), 5, "{shown}");
    let triggered = folder.json(&["schedules", "trigger", "s"]);
    assert_eq!(triggered[0]["outcome"], "started");
    let runs = folder.json(&["runs", "list", "--label", "schedule=s"]);
    assert_eq!((runs.len(), &runs[0]["run"]), (1, &triggered[0]["run"]));
    let filled = ["schedules", "backfill", "s", "--from", "2026-01-05T00:00:00Z", "--to", "2026-01-06T23:00:00Z"];
    assert_eq!(folder.json(&filled)[0], json!({"instants": 2}));
    folder.ok(&["schedules", "pause", "s"]);
    assert_eq!(folder.json(&["schedules", "list"])[0]["paused"], true);
    assert!(folder.ok(&["schedules", "list"]).contains("paused"));
    folder.ok(&["schedules", "resume", "s"]);
    folder.ok(&["schedules", "set", "e", "--every", "1d", "--phase", "1h", "--publish", "day.began", "--data", "{}"]);
    assert!(folder.ok(&["schedules", "show", "e"]).contains("every 1d with phase 1h"));
    folder.ok(&["schedules", "delete", "s"]);
    assert_eq!(folder.json(&["schedules", "list"]).len(), 1);
}

#[test]
fn what_is_no_schedule_is_refused() {
    let folder = Folder::new();
    folder.ok(&["schedules", "set", "a", "--every", "1d", "--publish", "day.began"]);
    for (typed, code, said) in [
        (&["schedules", "show", "none"][..], 3, "error[C0791]"),
        (&["schedules", "set", "s", "--cron", "* *", "--start", "w"], 2, "error[C0792]"),
        (
            &["schedules", "set", "s", "--cron", "0 9 * * *", "--timezone", "X", "--start", "w"],
            2,
            "there is no time zone `X`",
        ),
        (&["schedules", "set", "s", "--every", "1h", "--start", "w", "--input", "[1]"], 2, "no JSON object"),
        (&["schedules", "set", "s", "--every", "1h"], 2, "--start"),
        (&["schedules", "set", "s", "--every", "1h", "--cron", "0 9 * * *", "--start", "w"], 2, "cannot be used with"),
    ] {
        let result = folder.run(typed);
        assert!(result.code == code && result.err.contains(said), "{typed:?}: {result:#?}");
    }
}
