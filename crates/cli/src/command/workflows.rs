//! `consort workflows`: check, show, draw.
//!
//! For: the commands on definitions. Not for: running them, or what is deployed (see `deployed`).
//! Invariant: `check`, `graph`, `show` and `schema` of a file open no data folder.

use consort_types::{Code, Error, Result};
use consort_workflow::InputSpec;
use consort_workflow_check::{Diagnostic, Graph, Severity, language_schema};
use serde_json::{Value, json};

use super::{deployed, rehearse};
use crate::{
    app::{App, Need, Session},
    args::{GraphFormat, WorkflowsCommand},
    exit::Exit,
    show::style::{Paint, clean, clean_lines},
    source::{self, Source},
};

pub(crate) async fn execute(app: &App, command: WorkflowsCommand) -> Result<Exit> {
    match command {
        WorkflowsCommand::Check { workflows } => check(app, workflows),
        WorkflowsCommand::Test(args) => rehearse::execute(app, args).await,
        WorkflowsCommand::Show { workflow, source } => show(app, &workflow, source).await,
        WorkflowsCommand::Graph { workflow, format } => {
            let source = find(app, &workflow).await?;
            let graph = Graph::of(&source::parse(app, &source)?.definition);
            draw(app, &graph, format);
            Ok(Exit::Ok)
        }
        WorkflowsCommand::Deploy { workflow } => deployed::deploy(app, &workflow).await,
        WorkflowsCommand::List => deployed::list(app).await,
        WorkflowsCommand::Versions { name } => deployed::versions(app, &name).await,
        WorkflowsCommand::Rollback { name, to } => deployed::roll_back(app, &name, to).await,
        WorkflowsCommand::Retire { name } => deployed::retire(app, &name).await,
        WorkflowsCommand::Delete { name } => deployed::delete(app, &name).await,
        WorkflowsCommand::Schema => {
            app.print(&format!("{:#}\n", language_schema()));
            Ok(Exit::Ok)
        }
    }
}

/// The workflow, from this machine or else from the engine.
async fn find(app: &App, named: &str) -> Result<Source> {
    if let Some(source) = source::local(app, named)? {
        return Ok(source);
    }
    let find = async |session: &Session| source::anywhere(app, &session.client, named).await;
    app.with_session(Need::Look, find).await.map_err(|error| match error.code {
        Code::FolderNotFound => source::missing(named, Error::new(Code::WorkflowNotFound, named)),
        _ => error,
    })
}

fn check(app: &App, named: Vec<String>) -> Result<Exit> {
    let named = if named.is_empty() { source::project_files(app)? } else { named };
    let mut exit = Exit::Ok;
    for name in named {
        let source = source::local(app, &name)?
            .ok_or_else(|| source::missing(&name, Error::new(Code::WorkflowNotFound, name.as_str())))?;
        if !check_one(app, &source) {
            exit = Exit::Failure;
        }
    }
    Ok(exit)
}

/// Prints the findings of one source; returns whether it may be deployed.
fn check_one(app: &App, source: &Source) -> bool {
    let (found, name) = match consort_workflow_check::check(&source.text) {
        Ok(checked) => (checked.warnings, Some(checked.definition.name)),
        Err(found) => (found, None),
    };
    if app.json {
        let document = json!({ "file": source.shown, "valid": name.is_some(), "workflow": name, "diagnostics": found });
        app.print_line(&document);
        return name.is_some();
    }
    if !found.0.is_empty() {
        app.eprint(&found.render(&source.shown, &source.text, app.err.color));
        app.eprint("");
    }
    let count = found.0.len();
    if let Some(name) = &name {
        let warnings = if count == 0 { String::new() } else { format!(", {count} to review") };
        let ok = app.out.paint(Paint::Green, "ok");
        app.print(&format!("{}: {ok}: workflow `{name}`{warnings}\n", source.shown));
    } else {
        let refused = app.out.paint(Paint::Red, &counted(&found.0));
        app.print(&format!("{}: {refused}\n", source.shown));
    }
    name.is_some()
}

/// How many errors there are, and how many warnings beside them.
fn counted(found: &[Diagnostic]) -> String {
    let of = |severity, one: &str| match found.iter().filter(|found| found.severity == severity).count() {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {one}s")),
    };
    [of(Severity::Error, "error"), of(Severity::Warning, "warning")]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}

async fn show(app: &App, named: &str, text: bool) -> Result<Exit> {
    let source = find(app, named).await?;
    if text {
        app.print(&if app.out.terminal { clean_lines(&source.text) } else { source.text });
        return Ok(Exit::Ok);
    }
    let checked = source::parse(app, &source)?;
    let definition = checked.definition;
    if app.json {
        app.print_json(&json!({
            "name": definition.name,
            "version": definition.version,
            "description": definition.description,
            "hash": checked.compiled.hash(),
            "input": definition.input.schema(),
            "graph": Graph::of(&definition),
        }));
        return Ok(Exit::Ok);
    }
    let mut out = app.out.paint(Paint::Bold, &clean(&definition.name));
    if let Some(version) = &definition.version {
        out.extend([" ", &clean(version)]);
    }
    out.push('\n');
    if !definition.description.is_empty() {
        out.extend([&clean(&definition.description), "\n"]);
    }
    out.push_str(&inputs(&definition.input));
    out.extend(["\nsteps:\n", &indented(&clean_lines(&Graph::of(&definition).tree()))]);
    app.print(&out);
    Ok(Exit::Ok)
}

fn indented(text: &str) -> String {
    text.lines().flat_map(|line| ["  ", line, "\n"]).collect()
}

/// What a workflow takes, a line for each field.
fn inputs(input: &InputSpec) -> String {
    let Some(schema) = input.schema() else { return String::new() };
    let Some(fields) = schema.get("properties").and_then(Value::as_object) else { return String::new() };
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut out = "\ninput:\n".to_owned();
    for (name, field) in fields {
        let kind = field.get("type").map(|kind| kind.as_str().map_or_else(|| kind.to_string(), str::to_owned));
        let mut line = format!("  {}: {}", clean(name), kind.unwrap_or_else(|| "any".to_owned()));
        if required.contains(&name.as_str()) {
            line.push_str(", required");
        }
        if let Some(default) = field.get("default") {
            line.extend([", default ", &clean(&default.to_string())]);
        }
        if let Some(description) = field.get("description").and_then(Value::as_str) {
            line.extend([" · ", &clean(description)]);
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn draw(app: &App, graph: &Graph, format: GraphFormat) {
    if app.json {
        app.print_json(&json!(graph));
        return;
    }
    let text = match format {
        GraphFormat::Tree => graph.tree(),
        GraphFormat::Mermaid => graph.mermaid(),
        GraphFormat::Dot => graph.dot(),
    };
    let text = if app.out.terminal { clean_lines(&text) } else { text };
    let end = if text.ends_with('\n') { "" } else { "\n" };
    app.print(&format!("{text}{end}"));
}
