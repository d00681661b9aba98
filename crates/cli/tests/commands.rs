//! Every command on the real binary, with how it ends.
//!
//! For: what users see: streams, documents, exit codes. Not for: layout on a terminal.
//! Invariant: as in `common`.

mod common;

use common::{Folder, RELEASE, WAITING};

#[test]
fn run_prints_the_result_alone_and_progress_beside_it() {
    let folder = Folder::new();
    let ended = folder.run(&["run", "hello", "--input", "name=Ada"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "hello Ada!\n"));
    assert!(ended.err.contains("greet completed") && ended.err.contains("run completed"), "{}", ended.err);
    assert_eq!(folder.run(&["run", "hello", "-q"]).err, "");
    let document = folder.json(&["run", "hello"]).remove(0);
    assert_eq!((&document["status"], &document["output"]), (&"completed".into(), &"hello world!".into()));
    let events = folder.json(&["run", "hello", "--watch"]);
    assert!(events.len() > 3 && events[0]["event"] == "entry");
    assert_eq!(events.last().unwrap()["output"], "hello world!");
}

#[test]
fn run_writes_its_output_and_knows_its_key() {
    let folder = Folder::new();
    folder.ok(&["run", "hello", "--out", "made", "--idempotency-key", "k", "--label", "team=a"]);
    let written = std::fs::read_to_string(folder.path().join("made/output.json")).unwrap();
    assert_eq!(written, "\"hello world!\"\n");
    let ended = folder.run(&["run", "hello", "--idempotency-key", "k", "--label", "team=a"]);
    assert!(ended.code == 0 && ended.err.contains("had started run"), "{}", ended.err);
    assert_eq!(folder.json(&["runs", "list", "--label", "team=a"]).len(), 1);
    assert_eq!(folder.run(&["run", "hello", "--idempotency-key", "k", "--input", "name=B"]).code, 5);
}

#[test]
fn a_research_run_answers_from_documents() {
    let folder = Folder::new();
    let text = "# Storage\n\nThe log keeps every acknowledged record. A segment file holds 16 MiB of records.\n";
    folder.write("docs/storage.md", text);
    let question = "question=How many MiB does a segment file hold?";
    let report = folder.ok(&["run", "research", "--input", question, "--input", "sources=docs", "--out", "made"]);
    assert!(report.contains("16 MiB") && report.contains("storage.md"), "{report}");
    assert_eq!(std::fs::read_to_string(folder.path().join("made/report.md")).unwrap(), report);
    assert!(folder.path().join("made/report.json").is_file());
}

#[test]
fn what_cannot_be_understood_or_found_ends_with_its_own_code() {
    let folder = Folder::new();
    folder.write("bad.yaml", "workflow: bad\nsteps:\n  a: { capabilty: echo }\n  b: { wait: soon }\n");
    let utf16: Vec<u8> = "\u{feff}workflow: w\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(folder.path().join("utf16.yaml"), utf16).unwrap();
    std::fs::write(folder.path().join("latin1.yaml"), b"workflow: w # f\xfcr\n").unwrap();
    for (args, code, said) in [
        (&["run", "nothing"][..], 3, "error[C0102]"),
        (&["run", "missing.yaml"], 3, "error[C0102]"),
        (&["run", "bad.yaml"], 2, "error[C0101]"),
        (&["run", "utf16.yaml"], 2, "save it as UTF-8"),
        (&["workflows", "check", "utf16.yaml"], 2, "looks like UTF-16"),
        (&["run", "latin1.yaml"], 2, "looks like Latin-1"),
        (&["run", "hello", "--input", "nam=x"], 2, "did you mean `name`?"),
        (&["runs", "list", "--limit", "0"], 2, "at least 1"),
        (&["run", "hello", "--input", "name"], 2, "error[C0001]"),
        (&["run", "hello", "--input", "name="], 2, "error[C0103]"),
        (&["run", "hello", "--timeout", "soon"], 2, "error[C0003]"),
        (&["run", "hello", "--detach"], 2, "consort up"),
        (&["run"], 2, "WORKFLOW"),
        (&["runs", "list", "--data-dir", "nowhere"], 3, "error[C0504]"),
        (&["runs", "list", "--server", "127.0.0.1:1"], 4, "error[C0405]"),
        (&["runs", "list", "--server", "nonsense"], 2, "error[C0010]"),
        (&["runs", "list", "--server", "http://ada:sesame@host:1"], 2, "`http://…@host:1`"),
        (&["run", "hello", "--idempotency-key", ""], 2, "the idempotency key is empty"),
        (&["runs", "show", "ZZZZ"], 3, "error[C0201]"),
        (&["runs", "show", "a/b"], 2, "error[C0001]"),
        (&["inbox", "approve", "ZZZZ"], 3, "error[C0301]"),
        (&["runs", "retention", "soon"], 2, "error[C0003]"),
    ] {
        let ended = folder.run(args);
        assert_eq!(ended.code, code, "{args:?}: {ended:#?}");
        assert!(ended.err.contains(said) && ended.out.is_empty(), "{args:?}: {ended:#?}");
    }
}

#[test]
fn whole_numbers_keep_their_digits_or_are_refused() {
    let folder = Folder::new();
    let echo = "workflow: any\ninput: { x: {} }\nsteps:\n  a: { capability: echo, with: { x: \"${{ input.x }}\" } }\noutput: ${{ steps.a.output.x }}\n";
    folder.write("any.yaml", echo);
    for kept in ["18446744073709551615", "-9223372036854775808", "\"123456789012345678901234567890\"", "1.5e+30"] {
        let made = folder.json(&["run", "any.yaml", "--input", &format!("x={kept}")]).remove(0);
        assert_eq!(made["output"].to_string(), kept);
    }
    folder.write("in.json", "{\"x\": [18446744073709551616]}");
    for input in ["x=123456789012345678901234567890", "x=-9223372036854775809", "@in.json"] {
        let ended = folder.run(&["run", "any.yaml", "--input", input]);
        assert!(ended.code == 2 && ended.err.contains("error[C0005]"), "{input}: {ended:#?}");
        assert!(ended.err.contains("more than 64 bits") && ended.err.contains("send it as text"), "{}", ended.err);
    }
}

#[test]
fn a_failed_run_says_why() {
    let folder = Folder::new();
    folder.write("fail.yaml", "workflow: fail\nsteps:\n  a: { capability: sleep, with: { for: soon } }\n");
    let ended = folder.run(&["run", "fail.yaml"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    assert!(ended.err.contains("error[C") && ended.err.contains("runs show"), "{}", ended.err);
    let again = folder.run(&["run", "fail.yaml", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!((again.code, &document["status"]), (1, &"failed".into()));
    assert_eq!(folder.run(&["runs", "output", "last"]).code, 5);
    runs_and_steps_are_found_by_what_went_wrong(&folder, document["error"]["code"].as_str().unwrap());
    let retried = folder.ok(&["runs", "retry", "last"]);
    assert_eq!(retried.trim().len(), 26);
    assert_eq!(folder.run(&["runs", "watch", "last"]).code, 1);
}

/// Two runs have failed.
fn runs_and_steps_are_found_by_what_went_wrong(folder: &Folder, code: &str) {
    let list = |more: &[&str]| folder.json(&[&["runs", "list"], more].concat());
    assert_eq!(list(&["--code", code, "--since", "1h"]).len(), 2);
    assert_eq!(list(&["--code", "C0307"]).len() + list(&["--until", "2026-01-01T00:00:00Z"]).len(), 0);
    assert_eq!(list(&["--text", "no such text"]).len(), 0);
    let steps = list(&["--failed-steps", "--code", code, "--capability", "sleep"]);
    assert_eq!((steps.len(), &steps[0]["step"]["path"], &steps[0]["workflow"]), (2, &"a".into(), &"fail".into()));
    let table = folder.ok(&["runs", "list", "--failed-steps"]);
    assert!(table.starts_with("RUN ") && table.contains("CAPABILITY") && table.contains(code), "{table}");
    // A page names the place behind it.
    let first = folder.run(&["runs", "list", "--failed-steps", "--limit", "1", "--json"]);
    let cursor = first.err.split('`').find_map(|part| part.strip_prefix("--cursor ")).unwrap();
    assert_eq!(list(&["--failed-steps", "--cursor", cursor]), steps[1..]);
    for wrong in [&["--code", "304"][..], &["--since", "soon"], &["--cursor", "x"], &["--capability", "sleep"]] {
        assert_eq!(folder.run(&[&["runs", "list"], wrong].concat()).code, 2, "{wrong:?}");
    }
}

#[test]
fn approvals_forks_replays_and_comparisons() {
    let folder = Folder::new();
    folder.write("release.yaml", RELEASE);
    let first = folder.start(&["run", "release.yaml", "--input", "version=1"]);
    let run = folder.wait_for("release", "running");
    let item = consort_testkit::wait_until("the question", || folder.json(&["inbox"]).pop());
    assert_eq!((&item["step"], &item["title"]), (&"sure".into(), &"Release 1?".into()));
    folder.ok(&["inbox", "approve", "last", "--by", "ada", "--comment", "good"]);
    assert_eq!(first.ended().out, "{\"shipped\":\"1\"}\n");
    assert_eq!(folder.ok(&["runs", "output", &run[20..], "--step", "build"]), "{\"built\":\"1\"}\n");
    assert!(folder.ok(&["runs", "show", "last", "--history"]).contains("decided by ada: approved (good)"));
    assert!(folder.ok(&["runs", "replay", "last"]).contains("ship"));
    let fork = folder.ok(&["runs", "fork", "last", "--from", "ship", "--input", "version=2"]);
    assert_eq!(folder.ok(&["runs", "watch", fork.trim()]), "{\"shipped\":\"2\"}\n");
    let compared = folder.run(&["runs", "compare", &run, fork.trim(), "--json"]);
    let document: serde_json::Value = serde_json::from_str(&compared.out).unwrap();
    assert_eq!((compared.code, &document["differences"][0]["path"]), (1, &"ship".into()));
    assert_eq!(folder.run(&["runs", "compare", &run, &run]).code, 0);
    folder.ok(&["runs", "delete", &run, fork.trim()]);
    assert_eq!(folder.run(&["runs", "show", &run]).code, 3);
}

#[test]
fn runs_are_rejected_paused_signalled_and_cancelled() {
    let folder = Folder::new();
    folder.write("release.yaml", RELEASE);
    folder.write("waiting.yaml", WAITING);
    let server = consort_testkit::process::Server::start(common::binary(), &folder.path(), ["--log", "info"]).unwrap();
    let start = |file: &str, more: &[&str]| folder.ok(&[&["run", file, "--detach"], more].concat()).trim().to_owned();
    let asked = start("release.yaml", &["--input", "version=1"]);
    consort_testkit::wait_until("the question", || folder.json(&["inbox", "list"]).pop());
    folder.ok(&["runs", "approve", &asked, "--reject", "--by", "bob"]);
    assert_eq!(folder.run(&["runs", "watch", &asked]).code, 1);
    assert_eq!(folder.run(&["runs", "approve", &asked]).code, 3);
    let waiting = start("waiting.yaml", &[]);
    folder.ok(&["runs", "pause", &waiting]);
    assert!(folder.ok(&["runs", "list"]).contains("(paused)"));
    folder.ok(&["runs", "resume", "last"]);
    folder.ok(&["runs", "signal", &waiting, "go", "--payload", "{\"a\":1}"]);
    assert_eq!(folder.ok(&["runs", "watch", &waiting]), "{\"a\":1}\n");
    let cancelled = start("waiting.yaml", &[]);
    assert_ne!(start("waiting.yaml", &[]), cancelled, "each detached start is a run of its own");
    folder.ok(&["runs", "cancel", "last"]);
    folder.ok(&["runs", "cancel", &cancelled, "--reason", "enough"]);
    assert_eq!(folder.run(&["runs", "watch", &cancelled]).code, 1);
    // One of the two has ended already: the other is tried all the same.
    assert_eq!(folder.run(&["runs", "delete", "ZZZZ", &cancelled]).code, 3);
    assert_eq!(folder.run(&["runs", "show", &cancelled]).code, 3);
    folder.ok(&["runs", "retention", "30d"]);
    assert!(folder.json(&["agents", "list"]).iter().any(|agent| agent["instances"][0]["in_flight"] == 0));
    assert!(server.stop().unwrap().success());
}

#[test]
fn workflows_are_checked_shown_drawn_and_deployed() {
    let folder = Folder::new();
    folder.write("workflows/release.yaml", RELEASE);
    folder.write("consort.toml", "");
    folder.write(
        "bad.yaml",
        "workflow: bad\nsteps:\n  a: { capabilty: echo }\n  b: { wait: soon }\noutput: steps.a.output\n",
    );
    let ended = folder.run(&["workflows", "check", "bad.yaml"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, "bad.yaml: 2 errors, 1 warning\n"), "{}", ended.err);
    assert!(ended.err.contains("did you mean `capability`?") && ended.err.contains("bad.yaml:3"));
    let document: serde_json::Value =
        serde_json::from_str(&folder.run(&["workflows", "check", "bad.yaml", "--json"]).out).unwrap();
    assert_eq!(document["valid"], false);
    assert!(folder.ok(&["workflows", "check"]).contains("ok: workflow `release`"));
    assert!(folder.ok(&["workflows", "show", "release"]).contains("version: string, required"));
    assert_eq!(folder.ok(&["workflows", "show", "release", "--source"]), RELEASE);
    for (format, said) in [("tree", "build"), ("mermaid", "flowchart"), ("dot", "digraph")] {
        assert!(folder.ok(&["workflows", "graph", "release", "--format", format]).contains(said));
    }
    assert!(folder.ok(&["workflows", "deploy", "release"]).starts_with("release revision 1 ("));
    assert!(folder.ok(&["workflows", "deploy", "release"]).contains("already"));
    let listed = folder.json(&["workflows", "list"]);
    assert!(listed.iter().any(|item| item["name"] == "release" && item["where"] == "deployed"));
    assert!(listed.iter().any(|item| item["name"] == "research" && item["where"] == "shipped"));
    let schema: serde_json::Value = serde_json::from_str(&folder.ok(&["workflows", "schema"])).unwrap();
    assert!(schema["properties"]["steps"].is_object());
}

/// A workflow that says a number.
fn says(name: &str, n: u32) -> String {
    format!(
        "workflow: {name}\nversion: v{n}\nsteps:\n  a: {{ capability: echo, with: {{ n: {n} }} }}\noutput: ${{{{ steps.a.output.n }}}}\n"
    )
}

#[test]
fn a_run_of_a_file_leaves_what_starts_by_name_take() {
    let folder = Folder::new();
    folder.write("prod.yaml", &says("prod", 1));
    folder.ok(&["workflows", "deploy", "prod.yaml"]);
    folder.write("mine/prod.yaml", &says("prod", 2));
    assert_eq!(folder.ok(&["run", "mine/prod.yaml"]), "2\n");
    assert_eq!(folder.ok(&["run", "prod"]), "1\n");
    // The workflows that it starts come with it where they lie beside it, and are the deployed ones elsewhere.
    let parent = "workflow: p\nsteps:\n  c: { workflow: prod }\noutput: ${{ steps.c.output }}\n";
    folder.write("mine/p.yaml", parent);
    folder.write("p.yml", parent);
    folder.write("elsewhere/p.yaml", parent);
    assert_eq!(folder.ok(&["run", "mine/p.yaml"]), "2\n");
    assert_eq!(folder.ok(&["run", "./p.yml"]), "1\n");
    assert_eq!(folder.ok(&["run", "elsewhere/p.yaml"]), "1\n");
    folder.write("workflows/prod.yaml", &says("prod", 3));
    assert_eq!(folder.ok(&["run", "elsewhere/p.yaml"]), "3\n");
    folder.write("mine/prod.yaml", "workflow: prod\nsteps: 1\n");
    let ended = folder.run(&["run", "mine/p.yaml"]);
    assert!(ended.code == 2 && ended.err.contains("mine/prod.yaml"), "{ended:#?}");
    let listed = folder.json(&["workflows", "list"]);
    let deployed: Vec<_> = listed.iter().filter(|listed| listed["where"] == "deployed").collect();
    assert_eq!((deployed.len(), &deployed[0]["name"], &deployed[0]["newest"]), (1, &"prod".into(), &1.into()));
}

#[test]
fn a_workflow_is_deployed_rolled_back_retired_and_deleted() {
    let folder = Folder::new();
    for n in [1, 2] {
        folder.write("prod.yaml", &says("prod", n));
        let said = folder.ok(&["workflows", "deploy", "prod.yaml"]);
        assert_eq!(
            said.contains("it replaces revision 1 (") && said.contains(", version v1), deployed "),
            n == 2,
            "{said}"
        );
    }
    let versions = folder.json(&["workflows", "versions", "prod"]);
    let of = |field: &str| versions.iter().map(|one| one[field].clone()).collect::<Vec<_>>();
    assert_eq!((of("revision"), of("current")), (vec![2.into(), 1.into()], vec![true.into(), false.into()]));
    let back = folder.ok(&["workflows", "rollback", "prod"]);
    assert!(back.starts_with("prod revision 1 (") && back.contains("it replaces revision 2 ("), "{back}");
    assert_eq!(folder.ok(&["run", "prod"]), "1\n");
    assert!(folder.ok(&["workflows", "list"]).contains("1 of 2"));
    let hash = versions[0]["hash"].as_str().unwrap();
    folder.ok(&["workflows", "rollback", "prod", "--to", &hash[..12]]);
    assert_eq!(folder.ok(&["run", "prod"]), "2\n");
    assert!(folder.ok(&["workflows", "versions", "prod"]).contains("this one"));
    let refused = folder.run(&["workflows", "delete", "prod"]);
    assert!(refused.code == 5 && refused.err.contains("consort workflows retire prod"), "{refused:#?}");
    folder.ok(&["workflows", "retire", "prod"]);
    assert!(folder.ok(&["workflows", "list"]).contains("nothing: retired"));
    let refused = folder.run(&["run", "prod"]);
    assert!(refused.code == 5 && refused.err.contains("error[C0107]"), "{refused:#?}");
    folder.ok(&["workflows", "delete", "prod"]);
    assert_eq!(folder.run(&["run", "prod"]).code, 3);
    assert_eq!(folder.run(&["workflows", "versions", "prod"]).code, 3);
}

#[test]
fn a_starter_project_works_and_is_not_overwritten() {
    let folder = Folder::new();
    folder.ok(&["init", "project"]);
    let inside =
        |args: &[&str]| consort_testkit::process::run(common::binary(), &folder.path().join("project"), args).unwrap();
    assert!(inside(&["workflows", "check"]).status.success());
    let said = inside(&["run", "hello", "--input", "name=Ada"]);
    assert_eq!(String::from_utf8(said.stdout).unwrap(), "hello Ada!\n");
    assert_eq!(folder.run(&["init", "project"]).code, 5);
}

#[test]
fn a_starter_of_an_agent_has_its_tests_and_a_workflow_that_calls_it() {
    for (flag, files) in [
        ("--python", &["worker.py", "test_worker.py", "requirements.txt"][..]),
        ("--typescript", &["package.json", "tsconfig.json", "src/worker.ts", "src/main.ts", "src/worker.test.ts"]),
        ("--rust", &["Cargo.toml", "src/worker.rs", "src/main.rs"]),
    ] {
        let folder = Folder::new();
        let ended = folder.run(&["init", flag]);
        assert!(ended.code == 0 && ended.err.contains("consort dev"), "{ended:#?}");
        assert!(ended.err.contains("consort run summary"), "{ended:#?}");
        let workers = folder.json(&["config", "show"]).remove(0)["dev-workers"].as_str().unwrap().to_owned();
        assert!(workers.contains("agent"), "{workers}");
        for file in files {
            assert!(folder.path().join("agent").join(file).is_file(), "{file}");
        }
        assert_eq!(folder.ok(&["workflows", "check"]).lines().count(), 2);
        let shown = folder.ok(&["workflows", "show", "summary", "--source"]);
        assert!(shown.contains("capability: summarise"), "{shown}");
        // The agent offers what the workflow calls.
        let agent = files.iter().map(|file| folder.path().join("agent").join(file));
        assert!(agent.map(|file| std::fs::read_to_string(file).unwrap()).any(|text| text.contains("\"summarise\"")));
        assert_eq!(folder.run(&["init", flag]).code, 5);
    }
    assert_eq!(Folder::new().run(&["init", "--python", "--typescript"]).code, 2);
}

#[test]
fn a_project_of_the_tour_has_its_workflows() {
    let folder = Folder::new();
    folder.ok(&["init", "--example", "tour"]);
    assert_eq!(folder.ok(&["run", "slow.yaml"]), "{\"n\":4}\n");
    assert_eq!(folder.ok(&["workflows", "check"]).lines().count(), 1, "what is broken is not among the project's own");
    let broken = folder.run(&["workflows", "check", "broken.yaml"]);
    assert_eq!((broken.code, broken.out.as_str()), (1, "broken.yaml: 3 errors\n"));
    assert!(
        broken.err.contains("broken.yaml:5:27") && broken.err.contains("did you mean `capability`?"),
        "{}",
        broken.err
    );
    folder.ok(&["workflows", "check", "release.yaml", "say.yaml"]);
}

#[test]
fn a_list_says_which_workflow_a_name_takes_and_which_agents_are_built_in() {
    let folder = Folder::new();
    folder.ok(&["run", "hello"]);
    assert!(
        folder.json(&["workflows", "list"]).iter().all(|listed| listed["where"] != "deployed"),
        "a run deploys nothing"
    );
    folder.ok(&["workflows", "deploy", "hello"]);
    let taken = || {
        let listed = folder.json(&["workflows", "list"]);
        let of = |place: &str| {
            listed.iter().find(|w| w["name"] == "hello" && w["where"] == place).map(|w| w["by_name"].clone())
        };
        (of("workflows/hello.yaml"), of("shipped").unwrap(), of("deployed").unwrap())
    };
    assert_eq!(taken(), (None, true.into(), false.into()));
    assert!(folder.ok(&["workflows", "list"]).contains("deployed, the same"));
    folder.write("workflows/hello.yaml", "workflow: hello\nsteps: { a: { capability: echo } }\n");
    assert_eq!(taken(), (Some(true.into()), false.into(), false.into()));
    let listed = folder.ok(&["workflows", "list"]);
    assert!(listed.contains("deployed, another text") && listed.starts_with("WORKFLOW "), "{listed}");
    let agents = folder.ok(&["agents", "list"]);
    assert!(agents.contains("built in") && !agents.contains("lost") && !agents.contains("no instance"), "{agents}");
}

#[test]
fn items_that_were_taken_over_are_no_difference() {
    let folder = Folder::new();
    folder.write(
        "w.yaml",
        "workflow: w\ninput: { n: integer }\nsteps:\n  each: { for_each: [1, 2], capability: echo, with: { x: 1 } }\n  last: { needs: each, capability: echo, with: { n: \"${{ input.n }}\" } }\noutput: ${{ steps.last.output }}\n",
    );
    folder.ok(&["run", "w.yaml", "--input", "n=1"]);
    let first = folder.wait_for("w", "completed");
    let fork = folder.ok(&["runs", "fork", "last", "--from", "last", "--input", "n=1"]);
    folder.ok(&["runs", "watch", fork.trim()]);
    let compared = folder.run(&["runs", "compare", &first, fork.trim()]);
    assert_eq!(compared.code, 0, "{compared:#?}");
    assert!(!compared.out.contains("none"), "{}", compared.out);
    let other = folder.ok(&["runs", "fork", &first, "--from", "last", "--input", "n=2"]);
    folder.ok(&["runs", "watch", other.trim()]);
    let compared = folder.run(&["runs", "compare", &first, other.trim()]);
    assert!(compared.code == 1 && compared.out.contains("differs"), "{compared:#?}");
}

#[test]
fn a_decision_of_the_other_kind_names_the_commands_for_this_one() {
    let folder = Folder::new();
    folder.write("release.yaml", RELEASE);
    let first = folder.start(&["run", "release.yaml", "--input", "version=1"]);
    folder.wait_for("release", "running");
    consort_testkit::wait_until("the question", || folder.json(&["inbox"]).pop());
    let refused = folder.run(&["inbox", "done", "last"]);
    assert!(refused.code == 5 && refused.err.contains("`consort inbox approve|reject "), "{refused:#?}");
    first.kill();
}

#[test]
fn a_missing_capability_is_warned_of_with_the_one_that_may_be_meant() {
    let folder = Folder::new();
    folder.write("w.yaml", "workflow: w\nsteps: { a: { capability: ecko } }\ntimeout: 3s\n");
    let ended = folder.run(&["run", "w.yaml"]);
    assert!(
        ended.err.contains("no agent offers `ecko`; the step waits for one; did you mean `echo`?"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("runs only built-in agents") && ended.err.contains("`--server`"), "{}", ended.err);
    assert!(ended.err.contains("the run was cancelled: ") || ended.err.contains("the run failed: "), "{}", ended.err);
}

#[test]
fn settings_come_from_where_they_should() {
    let folder = Folder::new();
    folder.write("consort.toml", "log = \"error\"\nconcurrency = 3\ntoken = \"sesame\"\n");
    let shown = folder.ok(&["config", "show", "--origin", "--log", "info"]);
    let line = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("log").contains("info") && line("log").ends_with("flag"), "{shown}");
    assert!(line("concurrency").contains('3') && line("concurrency").contains("consort.toml"));
    assert!(line("grace").ends_with("default") && !shown.contains("sesame"), "{shown}");
    assert_eq!(folder.json(&["config", "show"])[0]["concurrency"], "3");
    folder.write("consort.toml", "colour = 1\n");
    let ended = folder.run(&["config", "show"]);
    assert!(ended.code == 2 && ended.err.contains("`colour`"), "{ended:#?}");
}

#[test]
fn the_doctor_tells_good_from_damaged() {
    let folder = Folder::new();
    assert!(folder.ok(&["doctor"]).contains("not there yet"));
    folder.ok(&["run", "hello"]);
    assert!(folder.json(&["doctor"]).iter().all(|finding| finding["health"] != "bad"));
    let log = folder.path().join(".consort/log/00000000000000000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    // Behind the head and the marks is the first frame.
    bytes[3 * 4096 + 60] ^= 1;
    std::fs::write(&log, &bytes).unwrap();
    let ended = folder.run(&["doctor"]);
    assert!(ended.code == 6 && ended.out.contains("C0501"), "{ended:#?}");
    assert_eq!(std::fs::read(&log).unwrap(), bytes, "the doctor repairs nothing");
}

#[test]
fn two_clients_write_one_text_and_one_list_at_once_and_a_reader_sees_both() {
    let folder = Folder::new();
    folder.ok(&["state", "set", "team", "--policy", "doc/=text", "--policy", "todo/=list"]);
    let put = |key: &str, value: &str, seen: &str, by: &str| {
        folder.json(&["state", "put", "team", key, value, "--seen", seen, "--by", by]).remove(0)
    };
    let first = put("doc/brief", "Ship on Friday.", "0", "ann")["version"].to_string();
    assert_eq!(put("doc/brief", "Ship on Friday, after the review.", &first, "ann")["outcome"], "written");
    let merged = put("doc/brief", "Ship version 2 on Friday.", &first, "bob");
    let both = "Ship version 2 on Friday, after the review.";
    assert_eq!((&merged["outcome"], &merged["value"]), (&"merged".into(), &both.into()));
    assert_eq!(folder.ok(&["state", "get", "team", "doc/brief"]), format!("\"{both}\"\n"));
    let first = put("todo/ann", r#"["plan", "build", "test"]"#, "0", "ann")["version"].to_string();
    put("todo/ann", r#"["plan", "review", "build", "test"]"#, &first, "ann");
    put("todo/ann", r#"["build", "test", "ship"]"#, &first, "bob");
    assert_eq!(folder.ok(&["state", "get", "team", "todo/ann"]), "[\"review\",\"build\",\"test\",\"ship\"]\n");
    let conflicts = folder.ok(&["state", "conflicts", "team"]);
    assert!(
        conflicts.contains("doc/brief") && conflicts.contains("text") && conflicts.contains("merged"),
        "{conflicts}"
    );
    // The history ends with the value.
    folder.ok(&["state", "delete", "team", "todo/ann"]);
    let late = folder.run(&["state", "put", "team", "todo/ann", "[]", "--seen", &first]);
    assert!(late.code == 3 && late.err.contains("C0704"), "{}", late.err);
}

#[test]
fn completions_are_made_for_each_shell() {
    let folder = Folder::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(folder.ok(&["completions", shell]).contains("consort"));
    }
}

#[test]
fn agents_share_state_and_conflicts_are_decided() {
    let folder = Folder::new();
    folder.ok(&["state", "set", "team", "--policy", "n/=counter", "--policy", "ask/=agent"]);
    let put = |args: &[&str]| folder.json(&[&["state", "put", "team"], args].concat()).remove(0);
    let first = put(&["plan", "{\"v\": 1}", "--new", "--by", "ann"]);
    assert_eq!(folder.ok(&["state", "get", "team", "plan"]), "{\"v\":1}\n");
    let stale = folder.run(&["state", "put", "team", "plan", "2", "--new"]);
    assert!(stale.code == 5 && stale.err.contains("C0703"), "{}", stale.err);
    put(&["n/x", "2"]);
    assert_eq!(put(&["n/x", "-5"])["value"], -3);
    put(&["ask/x", "red"]);
    let asked = put(&["ask/x", "blue", "--by", "bob"]);
    assert!(folder.run(&["state", "get", "team", "ask/x"]).err.contains("\"blue\""));
    let conflict = asked["conflict"].as_str().unwrap();
    assert_eq!(folder.json(&["state", "conflicts", "team", "--undecided"])[0]["conflict"], conflict);
    folder.ok(&["state", "decide", "team", conflict, "--take", "1", "--by", "eve", "--comment", "blue it is"]);
    assert_eq!(folder.ok(&["state", "get", "team", "ask/x"]), "\"blue\"\n");
    let shown = folder.ok(&["state", "conflicts", "team", conflict]);
    assert!(shown.contains("by bob") && shown.contains("decided  by eve") && shown.contains("blue it is"), "{shown}");

    let token = folder.ok(&["locks", "acquire", "leader", "--holder", "ann", "--ttl", "1m"]);
    folder.ok(&["state", "put", "team", "led", "1", "--fence", &format!("leader={}", token.trim())]);
    let stale = folder.run(&["state", "put", "team", "led", "2", "--fence", "leader=1"]);
    assert!(stale.code == 5 && stale.err.contains("C0723"), "{}", stale.err);

    let transaction = r#"{"if": [{"space": "team", "key": "plan", "exists": true}],
        "do": [{"op": "get", "space": "team", "key": "plan"}, {"op": "delete", "space": "team", "key": "plan"}]}"#;
    folder.write("move.json", transaction);
    let done = folder.json(&["state", "transact", "move.json"]).remove(0);
    assert_eq!((&done["succeeded"], &done["results"][0]["value"]["v"]), (&true.into(), &1.into()));
    let gone = folder.run(&["state", "get", "team", "plan"]);
    assert!(gone.code == 3 && gone.err.contains("C0702"), "{}", gone.err);
    let version = first["version"].to_string();
    assert_eq!(folder.ok(&["state", "get", "team", "plan", "--at", &version]), "{\"v\":1}\n");
    let changes: Vec<_> = folder.json(&["state", "history", "team", "plan"]);
    assert_eq!((&changes[0]["change"], &changes[1]["change"]), (&"deleted".into(), &"put".into()));
    let keys: Vec<_> = folder.json(&["state", "list", "team", "--prefix", "n/"]);
    assert_eq!((keys.len(), &keys[0]["key"]), (1, &"n/x".into()));
    assert!(folder.ok(&["state", "spaces"]).contains("n/=counter"));
    assert_eq!(folder.json(&["state", "spaces", "team"])[0]["conflicts_total"], 2);
    folder.ok(&["state", "drop", "team"]);
    assert_eq!(folder.run(&["state", "list", "team"]).code, 3);
}
