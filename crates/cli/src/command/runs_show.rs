//! What `consort runs` shows.
//!
//! For: lists, one run with its steps, replays, comparisons. Not for: changing anything.
//! Invariant: with `--json` the documents of the operations are printed.

use std::collections::{BTreeMap, BTreeSet};

use consort_api::{
    inside::{
        CompareParams, CompareRuns, Difference, HistoryEntry, HistoryParams, ReplayRun, RunHistory, RunSteps, RunTree,
        StepNode, StepState, StepsParams,
    },
    runs::{RunParams, RunSummary, ShowRun, ShowRunParams},
};
use consort_types::{Code, Error, Result, RunId, StepInstanceId, limits};
use serde_json::json;

use crate::{
    app::App,
    client::Client,
    exit::Exit,
    show::{
        history,
        style::{Paint, clean, terminal_size, wrapped},
        table::Table,
        tree::{self, Frame, state_paint},
        when::{self, took},
    },
};

/// What is worth knowing of a run in a few words.
pub(super) fn about(run: &RunSummary) -> String {
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
pub(crate) async fn show(app: &App, client: &Client, run: RunId, with_history: bool) -> Result<()> {
    let document = client.call::<ShowRun>(&ShowRunParams { run, wait: None }, &()).await?;
    let nodes = client.call::<RunTree>(&RunParams { run }, &()).await?;
    let entries = if with_history { Some(whole_history(client, run).await?) } else { None };
    if app.json {
        let mut shown = json!(document);
        shown["tree"] = json!(nodes);
        if let Some(entries) = entries {
            shown["history"] = json!(entries);
        }
        app.print_json(&shown);
        return Ok(());
    }
    let (summary, input) = (document.summary, json!(document.input));
    let width = if app.out.terminal { terminal_size().0.max(40) } else { 200 };
    let (progress, away) = (&BTreeMap::new(), &BTreeMap::new());
    let frame = Frame { style: app.out, width, height: 10_000, now: when::now(), turn: 0, progress, away };
    let mut out = vec![tree::heading(&summary, &frame)];
    out.push(format!("input  {}", crate::show::style::cut(&clean(&input.to_string()), width.saturating_sub(8))));
    let about = about(&RunSummary { error: None, ..summary.clone() });
    if !about.is_empty() {
        out.push(format!("about  {}", clean(&about)));
    }
    out.extend(tree::lines(&nodes, &frame));
    if let Some(error) = &summary.error {
        out.push(app.out.paint(Paint::Red, &wrapped(&format!("error[{}]: {}", error.code, error.message), 0, app.out)));
        out.extend(error.hint.iter().map(|hint| wrapped(&format!("  hint: {hint}"), 0, app.out)));
    }
    out.extend(entries.iter().flatten().map(|entry| history::line(entry, app.out)));
    app.print(&format!("{}\n", out.join("\n")));
    Ok(())
}

async fn whole_history(client: &Client, run: RunId) -> Result<Vec<HistoryEntry>> {
    let limit = Some(limits::PAGE_ITEMS_MAX);
    client.all::<RunHistory, _>(|after| HistoryParams { run, after, limit }).await
}

/// What happened to one task of a run.
pub(super) async fn task_history(client: &Client, task: StepInstanceId) -> Result<Vec<HistoryEntry>> {
    let history = whole_history(client, task.run).await?;
    Ok(history.into_iter().filter(|entry| entry.task == Some(task)).collect())
}

/// The id of the task at a step's path.
pub(crate) async fn task_of(client: &Client, run: RunId, path: &str) -> Result<StepInstanceId> {
    let mut params = StepsParams { run, cursor: None, limit: Some(limits::PAGE_ITEMS_MAX) };
    loop {
        let page = client.call::<RunSteps>(&params, &()).await?;
        if let Some(step) = page.items.into_iter().find(|step| step.path == path) {
            return Ok(step.task);
        }
        params.cursor = page.next;
        if params.cursor.is_none() {
            return Err(Error::new(Code::StepNotFound, format!("run `{run}` has no step `{path}`"))
                .hint(format!("`consort runs replay {run}` lists the paths of its steps")));
        }
    }
}

/// Every recorded step of a run, from its history alone.
pub(crate) async fn replay(app: &App, client: &Client, run: RunId) -> Result<Exit> {
    let replay = client.call::<ReplayRun>(&RunParams { run }, &()).await?;
    let exit = if replay.differences.is_empty() { Exit::Ok } else { Exit::Broken };
    if app.json {
        app.print_json(&replay);
        return Ok(exit);
    }
    let mut table = Table::new(&["STEP", "STATE", "ATTEMPTS", "ENDED"]).spare(&["ENDED", "ATTEMPTS"]);
    for step in &replay.steps {
        let ended = step.ended_at.map(when::clock).unwrap_or_default();
        table.row(vec![
            (step.path.clone(), None),
            (step.state.to_string(), Some(state_paint(&step.state))),
            (step.attempts.to_string(), None),
            (ended, Some(Paint::Dim)),
        ]);
    }
    app.print(&table.render(app.out));
    let status = replay.status.as_ref().map_or("not ended", |status| status.as_str());
    app.eprint(&format!("{} entries folded again: {status}; nothing was called", replay.entries));
    for difference in &replay.differences {
        app.eprint(&app.err.paint(Paint::Red, &clean(difference)));
    }
    if !replay.differences.is_empty() {
        app.eprint("history and state differ: please report this as a defect");
    }
    Ok(exit)
}

/// Two runs step by step; differences end with their own code, as other commands that compare do.
pub(crate) async fn compare(app: &App, client: &Client, left: RunId, right: RunId) -> Result<Exit> {
    let comparison = client.call::<CompareRuns>(&CompareParams { run: left, other: right }, &()).await?;
    let (mut taken_left, mut taken_right) = (BTreeSet::new(), BTreeSet::new());
    if !comparison.differences.is_empty() {
        taken_over(&client.call::<RunTree>(&RunParams { run: left }, &()).await?, "", &mut taken_left);
        taken_over(&client.call::<RunTree>(&RunParams { run: right }, &()).await?, "", &mut taken_right);
    }
    // What lies below a step that was taken over as a whole was not recorded again: it is not missing.
    let absent = |side: &Option<StepState>, taken: &BTreeSet<String>, path: &str| {
        side.is_none() && taken.iter().any(|above| tree::is_below(path, above))
    };
    let over = |difference: &Difference| {
        absent(&difference.left, &taken_left, &difference.path)
            || absent(&difference.right, &taken_right, &difference.path)
    };
    let (same, differ): (Vec<_>, Vec<_>) = comparison.differences.iter().partition(|difference| over(difference));
    let exit = if differ.is_empty() { Exit::Ok } else { Exit::Failure };
    if app.json {
        app.print_json(&comparison);
        return Ok(exit);
    }
    let mut table = Table::new(&["STEP", "FIRST", "SECOND", "OUTPUT", "FIRST TOOK", "SECOND TOOK"]).spare(&[
        "OUTPUT",
        "SECOND TOOK",
        "FIRST TOOK",
    ]);
    for difference in &comparison.differences {
        let over = over(difference);
        let state = |state: &Option<StepState>| match state {
            Some(state) => (state.to_string(), Some(state_paint(state))),
            None if over => ("taken over".to_owned(), Some(Paint::Dim)),
            None => ("none".to_owned(), None),
        };
        let output = if over || difference.same_output { "same" } else { "differs" };
        table.row(vec![
            (difference.path.clone(), None),
            state(&difference.left),
            state(&difference.right),
            (output.to_owned(), None),
            (difference.left_took.map(took).unwrap_or_default(), Some(Paint::Dim)),
            (difference.right_took.map(took).unwrap_or_default(), Some(Paint::Dim)),
        ]);
    }
    app.print(&table.render(app.out));
    let steps = match comparison.same + same.len() {
        1 => "1 step is".to_owned(),
        count => format!("{count} steps are"),
    };
    app.eprint(&format!("{steps} the same in both"));
    Ok(exit)
}

/// The paths of the steps that a run took over from another.
fn taken_over(nodes: &[StepNode], parent: &str, found: &mut BTreeSet<String>) {
    for node in nodes {
        let path = tree::join(parent, &node.name);
        taken_over(&node.children, &path, found);
        if node.copied {
            found.insert(path);
        }
    }
}
