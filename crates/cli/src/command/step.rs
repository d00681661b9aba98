//! `runs show RUN STEP`, `runs input`, `runs journal`: one step with its data.
//!
//! For: asking for a step's documents and its journal. Not for: the run as a whole (see `runs_show`).
//! Invariant: with `--json` every document is whole; on a screen it may be cut, never changed.

use consort_api::{
    inside::{HistoryEntry, RunInput},
    runs::RunParams,
    steps::{JournalEntry, JournalParams, ShowStep, StepDetail, StepInput, StepJournal, StepParams},
};
use consort_types::{Result, RunId, StepInstanceId, limits};
use serde_json::{Value, json};

use super::{outcome, runs_show};
use crate::{
    app::App,
    client::Client,
    show::{
        agent_name::agent_of,
        step::{self, StepData},
        style::terminal_size,
        when,
    },
};

/// Entries of a journal that are shown below a step; the rest is for `runs journal`.
const SHOWN_ENTRIES: usize = 50;

/// The columns that a line may have.
fn columns(app: &App) -> usize {
    if app.out.terminal { terminal_size().0.max(40) } else { 200 }
}

/// One step of a run: what it was given, what its code has requested, what it made, and what happened to it.
pub(crate) async fn show(app: &App, client: &Client, run: RunId, path: &str) -> Result<()> {
    let task = runs_show::task_of(client, run, path).await?;
    let detail = client.call::<ShowStep>(&StepParams { run, task }, &()).await?;
    let history = runs_show::task_history(client, task).await?;
    if app.json {
        let mut shown = json!(detail);
        if detail.step.entries > 0 {
            shown["journal"] = json!(journal_of(client, task, false).await?);
        }
        shown["history"] = json!(history);
        app.print_json(&shown);
        return Ok(());
    }
    let shown = step_lines(app, client, &detail, &history).await?;
    app.print(&format!("{}\n", shown.join("\n")));
    Ok(())
}

/// A step as lines, with the beginning of its journal.
pub(super) async fn step_lines(
    app: &App,
    client: &Client,
    detail: &StepDetail,
    history: &[HistoryEntry],
) -> Result<Vec<String>> {
    let task = detail.step.task;
    let journal = match detail.step.entries {
        0 => Vec::new(),
        _ => client.call::<StepJournal>(&page(task, false, SHOWN_ENTRIES), &()).await?.items,
    };
    Ok(step::lines(&StepData { detail, journal: &journal, history }, app.out, columns(app), when::now()))
}

/// The input of a run, or of one of its steps.
pub(crate) async fn input(app: &App, client: &Client, run: RunId, path: Option<&str>) -> Result<()> {
    let input: Value = match path {
        Some(path) => {
            let task = runs_show::task_of(client, run, path).await?;
            client.call::<StepInput>(&StepParams { run, task }, &()).await?.read("input")?
        }
        None => client.call::<RunInput>(&RunParams { run }, &()).await?.read("input")?,
    };
    if app.json {
        app.print_json(&input);
    } else {
        outcome::print(app, &input);
    }
    Ok(())
}

/// The journal of a step's task; with `--json` as the replay helpers of the SDKs read it.
pub(crate) async fn journal(app: &App, client: &Client, run: RunId, path: &str) -> Result<()> {
    let task = runs_show::task_of(client, run, path).await?;
    if app.json {
        app.print_json(&recorded(client, task).await?);
        return Ok(());
    }
    let entries = journal_of(client, task, false).await?;
    if entries.is_empty() && app.err.terminal {
        app.eprint("the code of this step has requested nothing");
    }
    let lines = entries.iter().map(|entry| format!("{}\n", step::journal_line(entry, app.out, columns(app))));
    app.print(&lines.collect::<String>());
    Ok(())
}

/// A task with its input and journal in full, as the replay helpers of the SDKs read it.
pub(super) async fn recorded(client: &Client, task: StepInstanceId) -> Result<Value> {
    let params = StepParams { run: task.run, task };
    let detail = client.call::<ShowStep>(&params, &()).await?;
    let input: Value = client.call::<StepInput>(&params, &()).await?.read("input")?;
    let agent = detail.step.instance.as_deref().map(agent_of);
    Ok(json!({
        "run": task.run,
        "step": detail.step.path,
        "agent": agent,
        "version": detail.step.version,
        "capability": detail.target,
        "input": input,
        "items": journal_of(client, task, true).await?,
    }))
}

async fn journal_of(client: &Client, task: StepInstanceId, whole: bool) -> Result<Vec<JournalEntry>> {
    let limit = if whole { limits::PAGE_ITEMS_DEFAULT } else { limits::PAGE_ITEMS_MAX };
    client.all::<StepJournal, _>(|cursor| JournalParams { cursor, ..page(task, whole, limit) }).await
}

fn page(task: StepInstanceId, whole: bool, limit: usize) -> JournalParams {
    JournalParams { run: task.run, task, whole, cursor: None, limit: Some(limit) }
}
