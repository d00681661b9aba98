//! `consort run`: start (or go on with) a run, follow it, show its result.
//!
//! For: the whole way from a workflow's name to a result. Not for: operating runs (see `runs`).
//! Invariant: the same command after an interrupt goes on with the run that it had started, unless `--new`.

use std::collections::BTreeMap;

use consort_api::{
    NoParams,
    runs::{ListRuns, ListRunsParams, RunSummary, StartParams, StartRequest, StartRun, StatusFilter},
    workflows::{DeployRequest, DeployWorkflow},
};
use consort_types::{BlobHash, Code, Error, Result, RunId, Span, Time, limits};
use consort_workflow::Definition;
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
    // What is wrong with the file is told before anything is opened.
    if let Some(source) = &local {
        source::parse(app, source)?;
    }
    if args.detach && app.settings.server().is_none() && app.holder()?.is_none() {
        return Err(Error::new(Code::BadRequest, "there is no server with which the run could be left")
            .hint("start one with `consort up`, or run without `--detach`"));
    }
    let session = app.session(Need::Work).await?;
    let result = tokio::select! {
        result = start_and_follow(app, &session, &args, local) => result,
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

/// Tells what becomes of the run when the command is interrupted.
async fn interrupted(app: &App, session: &Session) {
    let Some(server) = session.server() else {
        app.tell("\ninterrupted: the run goes on at the server; `consort runs watch last` follows it");
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
    app.tell(&format!("\ninterrupted: {waits}. The same command goes on with the run."));
}

async fn start_and_follow(app: &App, session: &Session, args: &RunArgs, local: Option<Source>) -> Result<Exit> {
    let client = &session.client;
    let source = match local {
        Some(source) => source,
        None => source::anywhere(app, client, &args.workflow).await?,
    };
    let definition = source::parse(app, &source)?.definition;
    let input = input::document(&args.input, json!({}), definition.input.schema(), app.settings.folder())?;
    if session.server().is_some() {
        tell_unfinished(app, client).await?;
    }
    let run = begin(app, client, args, &source, &definition, input, session.opened).await?;
    if args.detach {
        app.print(&if app.json { format!("{}\n", json!({ "run": run })) } else { format!("{run}\n") });
        return Ok(Exit::Ok);
    }
    let mut follower = Follower::new(app, client, run);
    let document = follower.follow(manner(app, args.watch, args.quiet), &Needs::of(&definition)).await?;
    let exit = outcome::show(app, client, document, args.out.as_deref()).await?;
    Ok(exit)
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

/// Says which runs go on because the folder is open again.
async fn tell_unfinished(app: &App, client: &Client) -> Result<()> {
    let runs = unfinished(client).await?;
    if runs.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = runs.iter().take(3).map(|run| format!("{} ({})", run.run, run.workflow)).collect();
    let more = if runs.len() > 3 { ", …" } else { "" };
    let what = if runs.len() == 1 { "1 unfinished run goes on" } else { "unfinished runs go on" };
    let count = if runs.len() == 1 { String::new() } else { format!("{} ", runs.len()) };
    app.tell(&format!("{count}{what}: {}{more}", names.join(", ")));
    Ok(())
}

/// Runs that have not ended, newest first.
async fn unfinished(client: &Client) -> Result<Vec<RunSummary>> {
    let status = vec![StatusFilter::Running, StatusFilter::Cancelling, StatusFilter::Compensating];
    Ok(client.call::<ListRuns>(&ListRunsParams { status, ..ListRunsParams::default() }, &()).await?.items)
}

/// The run that the same command started before: one that has not ended, or that ended only since the folder was
/// opened (what had been interrupted goes on at once, and may be done before it is looked for).
async fn interrupted_run(client: &Client, label: (String, String), opened: Time) -> Result<Option<RunId>> {
    let params = ListRunsParams { labels: BTreeMap::from([label]), ..ListRunsParams::default() };
    for run in client.call::<ListRuns>(&params, &()).await?.items {
        if run.ended_at.is_none_or(|ended| ended >= opened) && run.origin.is_none() {
            return Ok(Some(run.run));
        }
    }
    Ok(None)
}

/// Starts the run, or finds the one that the same command started before.
async fn begin(
    app: &App,
    client: &Client,
    args: &RunArgs,
    source: &Source,
    definition: &Definition,
    input: Value,
    opened: Time,
) -> Result<RunId> {
    let deploy = DeployRequest { source: source.text.clone() };
    let deployed = client.call::<DeployWorkflow>(&NoParams {}, &deploy).await?;
    let invocation = invocation(app.settings.namespace(), source, args, &input);
    if !args.new && args.idempotency_key.is_none() {
        let label = (INVOCATION_LABEL.to_owned(), invocation.clone());
        if let Some(run) = interrupted_run(client, label, opened).await? {
            app.tell(&format!("going on with run {run}, which this command had started (`--new` starts another)"));
            return Ok(run);
        }
    }
    let mut labels = labels(&args.label)?;
    labels.insert(INVOCATION_LABEL.to_owned(), invocation);
    let body = StartRequest {
        workflow: definition.name.clone(),
        version: Some(deployed.revision.to_string()),
        input: Some(input.into()),
        labels,
        priority: args.priority.unwrap_or_default(),
        timeout: args.timeout.as_deref().map(str::parse::<Span>).transpose()?,
    };
    let params = StartParams { idempotency_key: args.idempotency_key.clone(), traceparent: None };
    let started = client.call::<StartRun>(&params, &body).await?;
    if started.deduplicated {
        app.tell(&format!("the idempotency key had started run {} before", started.run));
    }
    Ok(started.run)
}

/// What makes two commands the same: namespace, text of the workflow, input, labels.
fn invocation(namespace: &str, source: &Source, args: &RunArgs, input: &Value) -> String {
    let mut given = args.label.clone();
    given.sort_unstable();
    let parts = json!([namespace, source.text, input, given]);
    BlobHash::of(parts.to_string().as_bytes()).to_string()
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
