//! `consort patterns`: the patterns that ship, as files that run.
//!
//! For: choosing one and beginning with it. Not for: running it (see `run`).
//! Invariant: nothing is overwritten: either every file is new, or none is written. No data folder is opened.

use std::{fmt::Write as _, path::Path};

use consort_patterns::{ALL, Pattern};
use consort_types::{Code, Error, Result};
use consort_workflow_check::Graph;
use serde_json::{Value, json};

use crate::{
    app::App,
    args::PatternsCommand,
    command::init,
    exit::Exit,
    show::{style::Paint, table::Table},
};

pub(crate) fn execute(app: &App, command: PatternsCommand) -> Result<Exit> {
    match command {
        PatternsCommand::List => list(app),
        PatternsCommand::Show { name } => show(app, find(&name)?),
        PatternsCommand::New { name, to } => new(app, find(&name)?, to.as_deref())?,
    }
    Ok(Exit::Ok)
}

fn find(name: &str) -> Result<&'static Pattern> {
    consort_patterns::find(name).ok_or_else(|| {
        let names: Vec<String> = ALL.iter().map(|pattern| format!("`{}`", pattern.name)).collect();
        Error::new(Code::PatternNotFound, format!("there is no pattern `{name}`"))
            .hint(format!("there are {}", names.join(", ")))
    })
}

fn list(app: &App) {
    if app.json {
        let documents: Vec<Value> = ALL.iter().map(document).collect();
        app.print_lines(&documents);
        return;
    }
    let mut table = Table::new(&["PATTERN", "WHAT IT DOES"]);
    for pattern in ALL {
        table.row(vec![(pattern.name.to_owned(), Some(Paint::Bold)), (pattern.summary.to_owned(), None)]);
    }
    app.print(&table.render(app.out));
}

fn document(pattern: &Pattern) -> Value {
    let files: Vec<&str> = pattern.files.iter().map(|file| file.name).collect();
    json!({ "name": pattern.name, "title": pattern.title, "summary": pattern.summary, "files": files })
}

fn show(app: &App, pattern: &Pattern) {
    let graphs: Vec<Graph> = pattern.workflows().filter_map(|file| graph(file.text)).collect();
    if app.json {
        let mut whole = document(pattern);
        whole["use_when"] = json!(plain(pattern.fits));
        whole["use_something_else_when"] = json!(plain(pattern.instead));
        whole["workflows"] = json!(graphs);
        app.print_json(&whole);
        return;
    }
    let mut out = format!("{}\n{}\n", app.out.paint(Paint::Bold, pattern.title), pattern.summary);
    for (head, lines) in [("use it when", pattern.fits), ("use something else when", pattern.instead)] {
        let _ = writeln!(out, "\n{head}:");
        for line in plain(lines) {
            let _ = writeln!(out, "  - {line}");
        }
    }
    for graph in graphs {
        out.push('\n');
        out.push_str(&graph.tree());
    }
    let _ = writeln!(out, "\nwrite it: consort patterns new {}", pattern.name);
    app.print(&out);
}

/// The graph of a workflow that ships; a test shows that each passes the checker.
fn graph(text: &str) -> Option<Graph> {
    consort_workflow_check::check(text).ok().map(|checked| Graph::of(&checked.definition))
}

/// The sentences without their links, which a terminal cannot follow.
fn plain(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| without_links(line)).collect()
}

/// `[text](target)` as `text`.
fn without_links(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        let (text, behind) = after.split_once("](").unwrap_or((after, ""));
        out.push_str(text);
        rest = behind.split_once(')').map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    out
}

fn new(app: &App, pattern: &Pattern, to: Option<&str>) -> Result<()> {
    let folder = to.unwrap_or(pattern.name);
    let root = app.settings.folder().join(folder);
    if let Some(file) = pattern.files.iter().find(|file| root.join(file.name).exists()) {
        let message = format!("`{}` is there already", root.join(file.name).display());
        let hint = format!("choose another folder: `consort patterns new {} --to DIR`", pattern.name);
        return Err(Error::new(Code::FileExists, message).hint(hint));
    }
    for file in pattern.files {
        init::write(&root.join(file.name), file.text)?;
    }
    if app.json {
        let files: Vec<&str> = pattern.files.iter().map(|file| file.name).collect();
        app.print_json(&json!({ "folder": root, "files": files, "next": next(pattern, folder) }));
        return Ok(());
    }
    for file in pattern.files {
        app.print(&format!("{}\n", Path::new(folder).join(file.name).display()));
    }
    for (at, line) in next(pattern, folder).iter().enumerate() {
        app.eprint(&format!("{} {line}", if at == 0 { "next:" } else { "     " }));
    }
    Ok(())
}

/// What is typed next, beside a server.
fn next(pattern: &Pattern, folder: &str) -> Vec<String> {
    let enter = format!("cd {folder}");
    std::iter::once(enter).chain(pattern.start.iter().map(|line| (*line).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_become_their_texts() {
        assert_eq!(without_links("a [b](c.md) or [d](../e.md#f), g"), "a b or d, g");
        assert_eq!(without_links("none"), "none");
    }
}
