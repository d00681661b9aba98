//! `consort run`: start (or continue) a run, follow it, show its result.
//!
//! For: the whole way from a workflow's name to a result. Not for: operating runs (see `runs`).
//! Invariant: the same command after an interrupt continues the run that it had started, unless `--new`.

use std::collections::BTreeMap;

use consort_api::runs::{ListRuns, ListRunsParams, RunSummary, StartParams, StartRequest, StartRun, StatusFilter};
use consort_types::{BlobHash, Code, Error, Result, RunId, Span, Time, limits};
use serde_json::{Value, json};

use super::outcome;
use crate::{
    app::{App, Need, Session},
    args::RunArgs,
    client::Client,
    exit::Exit,
    follow::{Follower, Manner, Needs},
    input,
    signals::Signals,
    source::{self, Source},
};

/// The label by which an interrupted command finds its run again.
pub(crate) const INVOCATION_LABEL: &str = "consort.invocation";

pub(crate) async fn execute(app: &App, args: RunArgs) -> Result<Exit> {
    let mut signals = Signals::install()?;
    let local = source::local(app, &args.workflow)?;
    // Mistakes in the file are reported before anything is opened.
    if let Some(source) = &local {
        source::parse(app, source)?;
    }
    if args.detach && app.settings.server().is_none() && app.holder()?.is_none() {
        return Err(Error::new(
            Code::BadRequest,
            "`--detach` needs a server that continues the run, and there is none",
        )
        .hint("start one with `consort up`, or run without `--detach`"));
    }
    let session = app.session(Need::Work).await?;
    let invocation = Invocation { app, session: &session, args: &args };
    let result = tokio::select! {
        result = invocation.start_and_follow(local) => result,
        exit = signals.next() => {
            interrupted(app, &session).await;
            Ok(exit)
        }
    };
    session
        .close(async {
            signals.next().await;
        })
        .await;
    result
}

/// Reports, when the command is interrupted, what will happen to the run.
async fn interrupted(app: &App, session: &Session) {
    let Some(server) = session.server() else {
        app.eprint("\ninterrupted: the run continues on the server; `consort runs watch last` follows it");
        return;
    };
    let held: usize = match server.status().await {
        Ok(status) => status.tasks_held,
        Err(_) => 0,
    };
    let waits = match held {
        0 => "stopping".to_owned(),
        1 => "waiting for 1 task; again to stop at once".to_owned(),
        many => format!("waiting for {many} tasks; again to stop at once"),
    };
    app.eprint(&format!("\ninterrupted: {waits}. The same command continues the run."));
}

/// One call of the command, with its session.
struct Invocation<'a> {
    app: &'a App,
    session: &'a Session,
    args: &'a RunArgs,
}

impl Invocation<'_> {
    async fn start_and_follow(&self, local: Option<Source>) -> Result<Exit> {
        let Self { app, session, args } = *self;
        let client = &session.client;
        let source = match local {
            Some(source) => source,
            None => source::anywhere(app, client, &args.workflow).await?,
        };
        let definition = source::parse(app, &source)?.definition;
        let children = match source.revision {
            Some(_) => Vec::new(),
            None => source::children(app, &source, &definition)?,
        };
        let needs = Needs::of(children.iter().map(|(_, child)| child).chain([&definition]))
            .in_process(session.server().is_some());
        let children: Vec<String> = children.into_iter().map(|(child, _)| child.text).collect();
        let input = input::document(&args.input, json!({}), definition.input.schema(), app.settings.folder())?;
        if session.server().is_some() {
            report_unfinished(app, client).await?;
        }
        let run = self.start_or_find(source, children, &definition.name, input).await?;
        if args.detach {
            app.print(&if app.json { format!("{}\n", json!({ "run": run })) } else { format!("{run}\n") });
            return Ok(Exit::Ok);
        }
        let mut follower = Follower::new(app, client, run);
        let document = follower.follow(manner(app, args.watch, args.quiet), &needs).await?;
        outcome::show(app, client, document, args.out.as_deref()).await
    }

    /// Starts a run of the workflow, or finds the one that the same command started before.
    async fn start_or_find(
        &self,
        source: Source,
        children: Vec<String>,
        workflow: &str,
        input: Value,
    ) -> Result<RunId> {
        let Self { app, session, args } = *self;
        let client = &session.client;
        let fingerprint = self.fingerprint(&source, &children, &input);
        // In the foreground the same command continues what it was interrupted in; a detached start is a new run.
        if !args.new && !args.detach && args.idempotency_key.is_none() {
            let label = (INVOCATION_LABEL.to_owned(), fingerprint.clone());
            if let Some(run) = interrupted_run(client, label, session.opened).await? {
                app.eprint(&format!(
                    "continuing run {run}, which this command started before (`--new` starts another)"
                ));
                return Ok(run);
            }
        }
        let mut labels = labels(&args.label)?;
        labels.insert(INVOCATION_LABEL.to_owned(), fingerprint);
        let body = StartRequest {
            workflow: workflow.to_owned(),
            version: source.revision.map(|revision| revision.to_string()),
            // A file is run as it is, and what its name takes elsewhere stays.
            source: source.revision.is_none().then_some(source.text),
            children,
            input: Some(input.into()),
            labels,
            priority: args.priority.unwrap_or_default(),
            timeout: args.timeout.as_deref().map(str::parse::<Span>).transpose()?,
        };
        let params = StartParams { idempotency_key: args.idempotency_key.clone(), traceparent: None };
        let started = client.call::<StartRun>(&params, &body).await?;
        if started.deduplicated {
            app.eprint(&format!("the idempotency key had started run {} before", started.run));
        }
        Ok(started.run)
    }

    /// What makes two commands the same: namespace, texts of the workflow and of those that it brings, input, labels.
    fn fingerprint(&self, source: &Source, children: &[String], input: &Value) -> String {
        let mut labels = self.args.label.clone();
        labels.sort_unstable();
        let mut parts = vec![json!(self.app.settings.namespace()), json!(source.text), json!(input), json!(labels)];
        parts.extend(children.iter().map(|text| json!(text)));
        let parts = Value::Array(parts);
        BlobHash::of(parts.to_string().as_bytes()).to_string()
    }
}

/// How progress is shown.
pub(crate) fn manner(app: &App, watch: bool, quiet: bool) -> Manner {
    match (app.json, watch, quiet) {
        (_, _, true) | (true, false, _) => Manner::Quiet,
        (true, true, _) => Manner::Documents,
        (false, ..) if app.err.terminal => Manner::Live,
        (false, ..) => Manner::Lines,
    }
}

/// Reports the runs that continue because the folder is open again.
async fn report_unfinished(app: &App, client: &Client) -> Result<()> {
    let runs = unfinished(client).await?;
    if runs.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = runs.iter().take(3).map(|run| format!("{} ({})", run.run, run.workflow)).collect();
    let more = if runs.len() > 3 { ", …" } else { "" };
    let what = if runs.len() == 1 { "1 unfinished run continues" } else { "unfinished runs continue" };
    let count = if runs.len() == 1 { String::new() } else { format!("{} ", runs.len()) };
    app.eprint(&format!("{count}{what}: {}{more}", names.join(", ")));
    Ok(())
}

/// Runs that have not ended, newest first.
async fn unfinished(client: &Client) -> Result<Vec<RunSummary>> {
    let status = vec![StatusFilter::Running, StatusFilter::Cancelling, StatusFilter::Compensating];
    Ok(client.call::<ListRuns>(&ListRunsParams { status, ..ListRunsParams::default() }, &()).await?.items)
}

/// The run that the same command started before: one that has not ended, or that ended only since the folder was
/// opened (an interrupted run continues at once, and may have ended before this search).
async fn interrupted_run(client: &Client, label: (String, String), opened: Time) -> Result<Option<RunId>> {
    let params = ListRunsParams { labels: BTreeMap::from([label]), ..ListRunsParams::default() };
    for run in client.call::<ListRuns>(&params, &()).await?.items {
        if run.ended_at.is_none_or(|ended| ended >= opened) && run.origin.is_none() {
            return Ok(Some(run.run));
        }
    }
    Ok(None)
}

/// Labels as they were typed.
pub(crate) fn labels(typed: &[String]) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for text in typed {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Error::new(Code::BadRequest, format!("`{text}` is no label")).hint("write `--label KEY=VALUE`"));
        };
        labels.insert(key.to_owned(), value.to_owned());
    }
    // One place is taken by the label of the command itself.
    let max = limits::LABELS_MAX - 1;
    if labels.len() > max {
        return Err(Error::new(Code::LimitReached, format!("`{}` labels, the limit is {max}", labels.len())));
    }
    Ok(labels)
}
