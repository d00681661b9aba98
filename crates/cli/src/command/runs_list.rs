//! `consort runs list`: runs, or the steps that failed in them.
//!
//! For: finding runs. Not for: one run (see `runs_show`).
//! Invariant: with `--json` each item is a line; where more may be found, the place to continue is named on stderr.

use consort_api::{
    failed::{FailedStep, ListFailedSteps, ListFailedStepsParams},
    runs::{ListRuns, ListRunsParams, RunSummary},
};
use consort_types::{Code, Error, Result, Span, Time, limits};

use super::{run::labels, runs_show::about};
use crate::{
    app::App,
    args::ListArgs,
    client::Client,
    show::{
        style::Paint,
        table::Table,
        tree::status_paint,
        when::{self, took},
    },
};

/// Runs, or failed steps, newest first.
pub(crate) async fn list(app: &App, client: &Client, args: ListArgs) -> Result<()> {
    if args.failed_steps { failed_steps(app, client, args).await } else { runs(app, client, args).await }
}

async fn runs(app: &App, client: &Client, args: ListArgs) -> Result<()> {
    let now = when::now();
    let filter = ListRunsParams {
        status: args.status.iter().map(|word| word.parse()).collect::<Result<_>>()?,
        workflow: args.workflow,
        labels: labels(&args.label)?,
        children: args.children,
        since: instant(args.since.as_deref(), now)?,
        until: instant(args.until.as_deref(), now)?,
        code: args.code,
        text: args.text,
        ..ListRunsParams::default()
    };
    let mut table =
        Table::new(&["RUN", "WORKFLOW", "STATUS", "STARTED", "TOOK", "ABOUT"]).spare(&["WORKFLOW", "STARTED", "TOOK"]);
    let (mut cursor, mut count) = (args.cursor, 0);
    while count < args.limit {
        let limit = Some((args.limit - count).min(limits::PAGE_ITEMS_MAX));
        let page = client.call::<ListRuns>(&ListRunsParams { cursor, limit, ..filter.clone() }, &()).await?;
        count += page.items.len();
        for run in page.items {
            if app.json { app.print_line(&run) } else { table.row(run_row(&run, now)) }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    finish(app, &table, count, cursor, "runs");
    Ok(())
}

fn run_row(run: &RunSummary, now: Time) -> Vec<(String, Option<Paint>)> {
    let status = if run.paused { format!("{} (paused)", run.status) } else { run.status.to_string() };
    vec![
        (run.run.to_string(), None),
        (run.workflow.clone(), Some(Paint::Bold)),
        (status, Some(status_paint(&run.status))),
        (when::ago(run.started_at, now), Some(Paint::Dim)),
        (took(run.ended_at.unwrap_or(now).since(run.started_at)), Some(Paint::Dim)),
        (about(run), Some(Paint::Dim)),
    ]
}

async fn failed_steps(app: &App, client: &Client, args: ListArgs) -> Result<()> {
    let now = when::now();
    let filter = ListFailedStepsParams {
        code: args.code,
        capability: args.capability,
        workflow: args.workflow,
        labels: labels(&args.label)?,
        since: instant(args.since.as_deref(), now)?,
        until: instant(args.until.as_deref(), now)?,
        ..ListFailedStepsParams::default()
    };
    let mut table = Table::new(&["RUN", "STEP", "CAPABILITY", "CODE", "TRIES", "WHEN", "ERROR"]).spare(&[
        "CAPABILITY",
        "TRIES",
        "WHEN",
    ]);
    let (mut cursor, mut count) = (args.cursor, 0);
    while count < args.limit {
        let limit = Some((args.limit - count).min(limits::PAGE_ITEMS_MAX));
        let params = ListFailedStepsParams { cursor, limit, ..filter.clone() };
        let page = client.call::<ListFailedSteps>(&params, &()).await?;
        count += page.items.len();
        for failed in page.items {
            if app.json { app.print_line(&failed) } else { table.row(failed_row(&failed, now)) }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    finish(app, &table, count, cursor, "failed steps");
    Ok(())
}

fn failed_row(failed: &FailedStep, now: Time) -> Vec<(String, Option<Paint>)> {
    let step = &failed.step;
    let (code, message) =
        step.error.as_ref().map(|error| (error.code.clone(), error.message.clone())).unwrap_or_default();
    let at = step.ended_at.or(step.attempt_started_at);
    vec![
        (failed.run.to_string(), None),
        (step.path.clone(), Some(Paint::Bold)),
        (failed.capability.clone().or_else(|| failed.agent.clone()).unwrap_or_default(), None),
        (code, Some(Paint::Red)),
        (step.attempt.to_string(), Some(Paint::Dim)),
        (at.map(|at| when::ago(at, now)).unwrap_or_default(), Some(Paint::Dim)),
        (message, Some(Paint::Dim)),
    ]
}

/// Prints what was found, and where to continue.
fn finish(app: &App, table: &Table, count: usize, cursor: Option<String>, what: &str) {
    if count > 0 && !app.json {
        app.print(&table.render(app.out));
    } else if count == 0 && app.err.terminal {
        app.eprint(&format!("there are no such {what}"));
    }
    if let Some(cursor) = cursor {
        app.eprint(&format!("there are more: `--cursor {cursor}` continues"));
    }
}

/// An instant, written as one or as a duration before now.
fn instant(text: Option<&str>, now: Time) -> Result<Option<Time>> {
    let Some(text) = text else { return Ok(None) };
    if let Ok(span) = text.parse::<Span>() {
        return Ok(Some(Time(now.0.saturating_sub(span.0))));
    }
    Time::parse_rfc3339(text).map(Some).map_err(|_| {
        Error::new(Code::BadTime, format!("`{text}` is neither an instant nor a duration"))
            .hint("write `2026-11-22T10:00:00Z`, or `2h` for two hours before now")
    })
}
