//! What `consort runs` shows.
//!
//! For: lists, one run with its steps, replays, comparisons. Not for: changing anything.
//! Invariant: with `--json` the server's documents are passed on unchanged.

use std::collections::BTreeMap;

use consort_types::{Code, Error, Result, RunId};
use serde_json::Value;

use crate::{
    app::App,
    args::ListArgs,
    client::{
        Client,
        calls::RunFilter,
        model::{Comparison, Difference, Entry, Node, Replay, Run, Step},
        understood,
    },
    exit::Exit,
    show::{
        journal,
        style::{Paint, clean, terminal_size},
        table::Table,
        tree::{self, Frame, status_paint},
        when::{self, took},
    },
};

/// Runs, newest first.
pub(crate) async fn list(app: &App, client: &Client, args: ListArgs) -> Result<()> {
    let labels = super::run::labels(&args.label)?.into_iter().collect();
    let filter = RunFilter { status: args.status, workflow: args.workflow, labels, children: args.children };
    let mut table = Table::new(&["RUN", "WORKFLOW", "STATUS", "STARTED", "TOOK", "ABOUT"]);
    let (mut cursor, mut count, now) = (None, 0, when::now());
    while count < args.limit {
        let page = client.runs(&filter, cursor.as_deref(), (args.limit - count).min(1000)).await?;
        for item in page.items {
            count += 1;
            if app.json {
                app.print(&format!("{item}\n"));
                continue;
            }
            let run: Run = understood("run", item)?;
            let status = if run.paused { format!("{} (paused)", run.status) } else { run.status.clone() };
            table.row(vec![
                (run.run.to_string(), None),
                (run.workflow.clone(), Some(Paint::Bold)),
                (status, Some(status_paint(&run.status))),
                (when::ago(run.created, now), Some(Paint::Dim)),
                (took(run.ended.unwrap_or(now).since(run.created)), Some(Paint::Dim)),
                (about(&run), Some(Paint::Dim)),
            ]);
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if count > 0 && !app.json {
        app.print(&table.render(app.out));
    } else if count == 0 && app.err.terminal {
        app.tell("there are no such runs");
    }
    Ok(())
}

/// What is worth knowing of a run in a few words.
fn about(run: &Run) -> String {
    let mut parts = Vec::new();
    if let Some(error) = &run.error {
        parts.push(error.message.clone());
    }
    if let Some(origin) = &run.origin {
        let step = origin.step.as_ref().map(|step| format!(" at {step}")).unwrap_or_default();
        parts.push(format!("forked from {}{step}", origin.run));
    }
    parts.extend(run.parent.iter().map(|parent| format!("child of {parent}")));
    let shown = run.labels.iter().filter(|(key, _)| !key.starts_with("consort."));
    parts.extend(shown.map(|(key, value)| format!("{key}={value}")));
    parts.join("; ")
}

/// One run with its steps.
pub(crate) async fn show(app: &App, client: &Client, run: RunId, with_journal: bool) -> Result<()> {
    let mut document = client.run_document(run).await?;
    let steps = client.tree(run).await?;
    let journal = if with_journal { Some(whole_journal(client, run).await?) } else { None };
    if app.json {
        document["tree"] = steps;
        if let Some(journal) = journal {
            document["journal"] = journal.into();
        }
        app.print_json(&document);
        return Ok(());
    }
    let input = document["input"].clone();
    let summary: Run = understood("run", document)?;
    let nodes: Vec<Node> = understood("tree", steps)?;
    let width = if app.out.terminal { terminal_size().0.max(40) } else { 200 };
    let frame = Frame { style: app.out, width, height: 10_000, now: when::now(), turn: 0, said: &BTreeMap::new() };
    let mut out = vec![tree::heading(&summary, &frame)];
    out.push(format!("input  {}", crate::show::style::cut(&clean(&input.to_string()), width.saturating_sub(8))));
    let about = about(&Run { error: None, ..summary.clone() });
    if !about.is_empty() {
        out.push(format!("about  {}", clean(&about)));
    }
    out.extend(tree::lines(&nodes, &frame));
    if let Some(error) = &summary.error {
        out.push(app.out.paint(Paint::Red, &clean(&format!("error[{}]: {}", error.code, error.message))));
        out.extend(error.hint.iter().map(|hint| format!("  hint: {}", clean(hint))));
    }
    for entry in journal.into_iter().flatten() {
        let entry: Entry = understood("journal", entry)?;
        out.push(journal::line(&entry, app.out));
    }
    app.print(&format!("{}\n", out.join("\n")));
    Ok(())
}

async fn whole_journal(client: &Client, run: RunId) -> Result<Vec<Value>> {
    let (mut entries, mut cursor) = (Vec::new(), None);
    loop {
        let page = client.journal(run, cursor.as_deref()).await?;
        entries.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(entries);
        }
    }
}

/// The id of the task at a step's path.
pub(crate) async fn task_of(client: &Client, run: RunId, path: &str) -> Result<String> {
    let mut cursor = None;
    loop {
        let page = client.steps(run, cursor.as_deref()).await?;
        for item in page.items {
            let step: Step = understood("step", item)?;
            if step.path == path {
                return Ok(step.task);
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            return Err(Error::new(Code::StepNotFound, format!("run `{run}` has no step `{path}`"))
                .hint(format!("`consort runs replay {run}` lists the paths of its steps")));
        }
    }
}

/// Every recorded step of a run, from its journal alone.
pub(crate) async fn replay(app: &App, client: &Client, run: RunId) -> Result<Exit> {
    let document = client.replay(run).await?;
    let replay: Replay = understood("replay", document.clone())?;
    let exit = if replay.differences.is_empty() { Exit::Ok } else { Exit::Broken };
    if app.json {
        app.print_json(&document);
        return Ok(exit);
    }
    let mut table = Table::new(&["STEP", "STATE", "ATTEMPTS", "ENDED"]);
    for step in &replay.steps {
        let ended = step.ended.map(when::clock).unwrap_or_default();
        table.row(vec![
            (step.path.clone(), None),
            (step.state.clone(), Some(status_paint(&step.state))),
            (step.attempts.to_string(), None),
            (ended, Some(Paint::Dim)),
        ]);
    }
    app.print(&table.render(app.out));
    let status = replay.status.as_deref().unwrap_or("not ended");
    app.tell(&format!("{} entries folded again: {status}; nothing was called", replay.entries));
    for difference in &replay.differences {
        app.tell(&app.err.paint(Paint::Red, &clean(difference)));
    }
    if !replay.differences.is_empty() {
        app.tell("journal and state differ: please report this as a defect");
    }
    Ok(exit)
}

/// Two runs step by step.
pub(crate) async fn compare(app: &App, client: &Client, left: RunId, right: RunId) -> Result<()> {
    let document = client.compare(left, right).await?;
    if app.json {
        app.print_json(&document);
        return Ok(());
    }
    let comparison: Comparison = understood("comparison", document)?;
    let mut table = Table::new(&["STEP", "FIRST", "SECOND", "OUTPUT", "FIRST TOOK", "SECOND TOOK"]);
    for Difference { path, left, right, same_output, left_took, right_took } in comparison.differences {
        let state = |state: Option<String>| state.unwrap_or_else(|| "none".to_owned());
        let (left, right) = (state(left), state(right));
        table.row(vec![
            (path, None),
            (left.clone(), Some(status_paint(&left))),
            (right.clone(), Some(status_paint(&right))),
            (if same_output { "same" } else { "differs" }.to_owned(), None),
            (left_took.map(took).unwrap_or_default(), Some(Paint::Dim)),
            (right_took.map(took).unwrap_or_default(), Some(Paint::Dim)),
        ]);
    }
    app.print(&table.render(app.out));
    app.tell(&format!("{} steps are the same in both", comparison.same));
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_described_by_what_sets_it_apart() {
        let run: Run = serde_json::from_value(json!({
            "run": "01J8Z3K4M5N6P7Q8R9S0T1V2W3", "workflow": "w", "status": "failed", "paused": false,
            "created": "2026-11-22T10:00:00.000Z",
            "labels": {"consort.invocation": "x", "team": "a"},
            "origin": {"run": "01J8Z3K4M5N6P7Q8R9S0T1V2W3", "step": "b"},
            "error": {"code": "C0304", "message": "no"},
        }))
        .unwrap();
        assert_eq!(about(&run), "no; forked from 01J8Z3K4M5N6P7Q8R9S0T1V2W3 at b; team=a");
    }
}
