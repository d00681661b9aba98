//! `consort workflows test`: workflows with mocked agents, on an engine in memory whose time is skipped.
//!
//! For: running files of tests, and reporting. Not for: the engine (see `consort_server::Rehearsal`).
//! Invariant: every test has an engine of its own; no data folder is opened, and no agent is called.

mod diff;
mod file;
mod judge;
mod junit;
mod mock;
mod play;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use consort_types::{Code, Error, Result};
use serde_json::json;

use self::{
    file::{Test, TestFile},
    judge::Finding,
    mock::Cast,
    play::Script,
};
use crate::{
    app::App,
    args::WorkflowTestArgs,
    exit::Exit,
    show::style::{Paint, clean, clean_lines},
    source::{self, Source},
};

/// A test that was run.
struct Ended {
    file: String,
    name: String,
    findings: Vec<Finding>,
}

pub(super) async fn execute(app: &App, args: WorkflowTestArgs) -> Result<Exit> {
    let files =
        if args.files.is_empty() { file::of_project(app)? } else { args.files.iter().map(PathBuf::from).collect() };
    // Mistakes in any file are reported before anything is run.
    let read: Vec<(PathBuf, TestFile, Script)> = files
        .into_iter()
        .map(|path| {
            let file = file::read(app, &path)?;
            let script = script(app, &path, &file)?;
            Ok((path, file, script))
        })
        .collect::<Result<_>>()?;
    let mut ended = Vec::new();
    for (path, file, script) in &read {
        let shown = source::shortened(path, app.settings.folder());
        for test in file.tests.iter().filter(|test| is_wanted(test, args.only.as_deref())) {
            let cast = Arc::new(Cast::of(file.mocks(test)));
            let findings = match play::play(script, test, cast).await {
                Ok(played) => judge::judge(&test.expect, &played),
                Err(error) => vec![Finding { about: "the test".to_owned(), lines: vec![error.to_string()] }],
            };
            let one = Ended { file: shown.clone(), name: test.name.clone(), findings };
            report(app, &one);
            ended.push(one);
        }
    }
    if let Some(path) = &args.junit {
        junit::write(path, &ended)?;
    }
    finish(app, &ended, args.only.as_deref())
}

fn is_wanted(test: &Test, only: Option<&str>) -> bool {
    only.is_none_or(|only| test.name.contains(only))
}

/// The workflow of a file of tests, with those that it starts.
fn script(app: &App, path: &Path, file: &TestFile) -> Result<Script> {
    let named = &file.workflow;
    let ending = Path::new(named).extension().and_then(|ending| ending.to_str());
    let is_file = named.contains('/') || matches!(ending, Some("yaml" | "yml"));
    let found = if is_file {
        let beside = path.parent().unwrap_or(Path::new("")).join(named);
        source::local(app, &source::shortened(&app.settings.folder().join(beside), Path::new("")))?
    } else {
        source::local(app, named)?
    };
    let found: Source =
        found.ok_or_else(|| source::missing(named, Error::new(Code::WorkflowNotFound, named.as_str())))?;
    let definition = source::parse(app, &found)?.definition;
    let children = source::children(app, &found, &definition)?;
    let children = children.into_iter().map(|(child, definition)| (child.text, definition)).collect();
    Ok(Script { text: found.text, definition, children })
}

/// Prints how a test has ended.
fn report(app: &App, ended: &Ended) {
    let Ended { file, name, findings } = ended;
    let passed = findings.is_empty();
    if app.json {
        let failures: Vec<_> =
            findings.iter().map(|found| json!({ "about": found.about, "lines": found.lines })).collect();
        let result = if passed { "passed" } else { "failed" };
        return app.print_line(&json!({ "file": file, "test": name, "result": result, "failures": failures }));
    }
    let (word, paint) = if passed { ("  ok", Paint::Green) } else { ("FAIL", Paint::Red) };
    app.print(&format!("{}  {}: {}\n", app.out.paint(paint, word), clean(file), clean(name)));
    for found in findings {
        app.print(&format!("      {}\n", app.out.paint(Paint::Bold, &clean(&found.about))));
        for line in &found.lines {
            app.print(&format!("        {}\n", clean_lines(line)));
        }
    }
}

fn finish(app: &App, ended: &[Ended], only: Option<&str>) -> Result<Exit> {
    if ended.is_empty() {
        let message = format!("no test has `{}` in its name", only.unwrap_or_default());
        return Err(Error::new(Code::WorkflowNotFound, message).hint("without `--only` all are run"));
    }
    let failed = ended.iter().filter(|test| !test.findings.is_empty()).count();
    if !app.json {
        app.eprint(&format!("{} passed, {failed} failed", ended.len() - failed));
    }
    Ok(if failed == 0 { Exit::Ok } else { Exit::Failure })
}
