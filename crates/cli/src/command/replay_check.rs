//! `consort replay-check`: would the tasks in flight continue with this code?
//!
//! For: collecting the journals of tasks that have not ended, handing them to a worker's program, and showing what it
//! found. Not for: replaying (the SDKs do, in the worker's own process).
//! Invariant: nothing is recorded and no effect is done; where any task has no answer, the check has not passed.

use std::{collections::BTreeMap, path::Path, process::Command};

use consort_api::{
    inside::{RunSteps, Step, StepsParams},
    runs::{ListRuns, ListRunsParams},
};
use consort_types::{Code, Error, Result, RunId, limits};
use serde::Deserialize;
use serde_json::{Value, json};

use super::step;
use crate::{
    app::{App, Need},
    args::ReplayCheckArgs,
    client::Client,
    exit::Exit,
    show::{agent_name::agent_of, style::Paint, table::Table},
};

/// What a worker says of a task.
#[derive(Deserialize)]
struct Outcome {
    run: RunId,
    step: String,
    fits: bool,
    #[serde(default)]
    waiting: Vec<u32>,
    entry: Option<u32>,
    recorded: Option<String>,
    found: Option<String>,
    failure: Option<String>,
}

pub(crate) async fn execute(app: &App, args: ReplayCheckArgs) -> Result<Exit> {
    let tasks = match &args.tasks {
        Some(file) => read_tasks(file)?,
        None => app.with_session(Need::Look, async |session| in_flight(&session.client, &args.agent).await).await?,
    };
    if let Some(file) = &args.save {
        let document = serde_json::to_vec(&json!({ "tasks": tasks })).unwrap_or_default();
        std::fs::write(file, document).map_err(|error| unusable(file, &error))?;
        app.eprint(&format!("{} tasks in flight are in {}", tasks.len(), file.display()));
    }
    if args.command.is_empty() {
        return Ok(Exit::Ok);
    }
    if tasks.is_empty() {
        app.eprint("no task in flight has a journal: every code fits");
        return Ok(Exit::Ok);
    }
    let outcomes = replay(&tasks, &args.command)?;
    Ok(report(app, &tasks, &outcomes))
}

/// The tasks that have not ended and have a journal, with all that a replay needs.
async fn in_flight(client: &Client, agents: &[String]) -> Result<Vec<Value>> {
    let status = ["running", "cancelling", "compensating"].iter().map(|word| word.parse()).collect::<Result<_>>()?;
    let limit = Some(limits::PAGE_ITEMS_MAX);
    let filter = ListRunsParams { status, children: true, limit, ..ListRunsParams::default() };
    let runs = client.all::<ListRuns, _>(|cursor| ListRunsParams { cursor, ..filter.clone() }).await?;
    let mut tasks = Vec::new();
    for run in runs {
        let steps = client.all::<RunSteps, _>(|cursor| StepsParams { run: run.run, cursor, limit }).await?;
        for found in steps.iter().filter(|step| is_wanted(step, agents)) {
            tasks.push(step::recorded(client, found.task).await?);
        }
    }
    Ok(tasks)
}

fn is_wanted(step: &Step, agents: &[String]) -> bool {
    let agent = step.instance.as_deref().map(agent_of);
    let named = agents.is_empty() || agents.iter().any(|name| Some(name.as_str()) == agent);
    step.entries > 0 && !step.state.has_ended() && named
}

/// Starts the worker's program on the tasks, and reads what it says.
fn replay(tasks: &[Value], command: &[String]) -> Result<Vec<Outcome>> {
    let folder = tempfile::tempdir().map_err(|error| unusable(&std::env::temp_dir(), &error))?;
    let (asked, said) = (folder.path().join("tasks.json"), folder.path().join("results.jsonl"));
    let document = serde_json::to_vec(&json!({ "tasks": tasks })).unwrap_or_default();
    std::fs::write(&asked, document).map_err(|error| unusable(&asked, &error))?;
    let (program, arguments) = command.split_first().map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
    let started = Command::new(program)
        .args(arguments)
        .env("CONSORT_REPLAY", &asked)
        .env("CONSORT_REPLAY_RESULTS", &said)
        .status();
    let status = started.map_err(|error| {
        Error::new(Code::BadRequest, format!("the command `{program}` cannot be started: {error}"))
            .hint("name the command that starts your worker behind `--`")
    })?;
    let Ok(lines) = std::fs::read_to_string(&said) else {
        let message = format!("the command ended ({status}) and has replayed nothing");
        return Err(Error::new(Code::BadRequest, message).hint(
            "it must run a worker of the SDK that serves the agents of these tasks; `--agent NAME` chooses others",
        ));
    };
    lines.lines().map(|line| serde_json::from_str(line).map_err(|error| unusable(&said, &error))).collect()
}

/// Shows each task with its outcome.
fn report(app: &App, tasks: &[Value], outcomes: &[Outcome]) -> Exit {
    let by_task: BTreeMap<(String, &str), &Outcome> =
        outcomes.iter().map(|outcome| ((outcome.run.to_string(), outcome.step.as_str()), outcome)).collect();
    let text = |task: &Value, key: &str| task[key].as_str().unwrap_or_default().to_owned();
    let mut table = Table::new(&["RUN", "STEP", "AGENT", "VERSION", "RESULT", "ABOUT"]).spare(&["VERSION", "AGENT"]);
    let mut bad = 0;
    for task in tasks {
        let (run, path) = (text(task, "run"), text(task, "step"));
        let outcome = by_task.get(&(run.clone(), path.as_str())).copied();
        let (word, paint, about) = judged(outcome);
        bad += usize::from(word != FITS);
        if app.json {
            app.print_line(&json!({ "run": run, "step": path, "agent": task["agent"], "version": task["version"],
                "result": word, "about": about }));
            continue;
        }
        table.row(vec![
            (run, None),
            (path, Some(Paint::Bold)),
            (text(task, "agent"), None),
            (text(task, "version"), Some(Paint::Dim)),
            (word.to_owned(), Some(paint)),
            (about, Some(Paint::Dim)),
        ]);
    }
    if !app.json {
        app.print(&table.render(app.out));
    }
    app.eprint(&format!("{} of {} tasks in flight continue with this code", tasks.len() - bad, tasks.len()));
    if bad == 0 { Exit::Ok } else { Exit::Failure }
}

/// The word for a task that continues.
const FITS: &str = "fits";

fn judged(outcome: Option<&Outcome>) -> (&'static str, Paint, String) {
    let Some(outcome) = outcome else {
        return ("not replayed", Paint::Yellow, "the program serves no such agent".to_owned());
    };
    if outcome.fits {
        let about = match (&outcome.failure, outcome.waiting.first()) {
            (Some(failure), _) => format!("then fails: {failure}"),
            (None, Some(entry)) => format!("waits for entry {entry}"),
            (None, None) => String::new(),
        };
        return (FITS, Paint::Green, about);
    }
    let about = match (outcome.entry, &outcome.recorded, &outcome.found) {
        (Some(entry), Some(recorded), Some(found)) => {
            format!("entry {entry} is recorded as {recorded}, but found {found}")
        }
        _ => outcome.failure.clone().unwrap_or_default(),
    };
    ("diverges", Paint::Red, about)
}

fn read_tasks(file: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(file).map_err(|error| unusable(file, &error))?;
    let mut document: Value = serde_json::from_str(&text).map_err(|error| unusable(file, &error))?;
    match document["tasks"].take() {
        Value::Array(tasks) => Ok(tasks),
        _ => Err(unusable(file, &"it has no list `tasks`")),
    }
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::BadRequest, format!("the file `{}` cannot be used: {error}", path.display()))
        .hint("`consort replay-check --save FILE` writes such a file")
}
