//! `consort runs`: show runs, and operate them.
//!
//! For: everything that an operator does to a run. Not for: starting a workflow's first run (see `run`).
//! Invariant: where several runs are named, each is tried, and the worst outcome is the command's.

use consort_api::{
    NoParams, Operation,
    inbox::{Decision, InboxItem, InboxKind},
    inside::{RunInput, RunSource},
    operate::{
        CancelRequest, CancelRun, DeleteRun, EmptyRequest, ForkRequest, ForkRun, PauseRun, ResumeRun, RetryRequest,
        RetryRun, SignalParams, SignalRun,
    },
    runs::{RunParams, Started},
    server::{RetentionRequest, SetRetention, ShowRetention},
    steps::{StepOutput, StepParams},
};
use consort_types::{Code, Error, Result, RunId, Span};
use serde_json::{Value, json};

use super::{decide, inbox, outcome, run, runs_ask, runs_list, runs_show, step};
use crate::{
    app::{App, Need, Session},
    args::{DecisionArgs, RunsCommand},
    exit::Exit,
    follow::{Follower, Needs},
    input, select,
    show::style::clean,
    signals::Signals,
};

pub(crate) async fn execute(app: &App, command: RunsCommand) -> Result<Exit> {
    if let RunsCommand::Watch { run } = command {
        return watch(app, &run).await;
    }
    app.with_session(Need::Look, async |session| execute_with(app, session, command).await).await
}

async fn execute_with(app: &App, session: &Session, command: RunsCommand) -> Result<Exit> {
    let client = &session.client;
    match command {
        RunsCommand::List(args) => runs_list::list(app, client, args).await?,
        RunsCommand::Show { run, step: Some(path), .. } => {
            step::show(app, client, select::run(client, &run).await?, &path).await?;
        }
        RunsCommand::Show { run, step: None, history } => {
            runs_show::show(app, client, select::run(client, &run).await?, history).await?;
        }
        RunsCommand::Input { run, step } => {
            step::input(app, client, select::run(client, &run).await?, step.as_deref()).await?;
        }
        RunsCommand::Journal { run, step } => {
            step::journal(app, client, select::run(client, &run).await?, &step).await?;
        }
        RunsCommand::Output { run, step } => {
            return output(app, session, select::run(client, &run).await?, step.as_deref()).await;
        }
        RunsCommand::Watch { .. } => unreachable!("following is done by `watch`"),
        RunsCommand::Cancel { runs, reason, force } => {
            let body = CancelRequest { reason: reason.unwrap_or_default(), force };
            let more = if force { "; what waits for you is in `consort inbox`" } else { "" };
            return each::<CancelRun>(app, session, &runs, &format!("is being cancelled{more}"), &body).await;
        }
        RunsCommand::Pause { runs } => {
            return each::<PauseRun>(app, session, &runs, "paused", &EmptyRequest {}).await;
        }
        RunsCommand::Resume { runs } => {
            return each::<ResumeRun>(app, session, &runs, "resumed", &EmptyRequest {}).await;
        }
        RunsCommand::Delete { runs } => {
            return each::<DeleteRun>(app, session, &runs, "deleted", &()).await;
        }
        RunsCommand::Signal { run, name, payload } => send_signal(app, session, &run, name, &payload).await?,
        RunsCommand::Query { run, name } => {
            runs_ask::query(app, client, select::run(client, &run).await?, name).await?;
        }
        RunsCommand::Update(args) => return runs_ask::update(app, session, args).await,
        RunsCommand::Approve { run, step, reject, value, decision } => {
            let run = select::run(client, &run).await?;
            let value = value.map(|value| input::payload(&value, app.settings.folder())).transpose()?;
            let verb = if reject { Decision::Reject } else { Decision::Approve };
            approve(app, session, (run, step.as_deref()), (verb, value), &decision).await?;
        }
        RunsCommand::Retry { run, from, from_entry: entry } => {
            let run = select::run(client, &run).await?;
            let started = client.call::<RetryRun>(&RunParams { run }, &RetryRequest { from, entry }).await?;
            report_started(app, session, run, started);
        }
        RunsCommand::Fork { run, from, input, from_entry: entry } => {
            let run = select::run(client, &run).await?;
            let input = changed_input(app, session, run, &input).await?.map(Into::into);
            let started = client.call::<ForkRun>(&RunParams { run }, &ForkRequest { from, input, entry }).await?;
            report_started(app, session, run, started);
        }
        RunsCommand::Replay { run } => {
            let run = select::run(client, &run).await?;
            return runs_show::replay(app, client, run).await;
        }
        RunsCommand::Compare { left, right } => {
            let (left, right) = (select::run(client, &left).await?, select::run(client, &right).await?);
            return runs_show::compare(app, client, left, right).await;
        }
        RunsCommand::Retention { keep } => retention(app, session, keep.as_deref()).await?,
    }
    Ok(Exit::Ok)
}

/// Sends a signal, and says where nothing waits for it.
async fn send_signal(app: &App, session: &Session, run: &str, name: String, payload: &str) -> Result<()> {
    let run = select::run(&session.client, run).await?;
    let payload = input::payload(payload, app.settings.folder())?.into();
    let done = format!("signal `{name}` sent");
    let sent = session.client.call::<SignalRun>(&SignalParams { run, name }, &payload).await?;
    report_done(app, run, &done);
    if let Some(warning) = sent.warning {
        app.eprint(&format!("warning: {}", clean(&warning)));
    }
    decide::hint_idle(app, session);
    Ok(())
}

/// Does the same to each run that is named.
async fn each<O: Operation<Params = RunParams, Reply = ()>>(
    app: &App,
    session: &Session,
    runs: &[String],
    done: &str,
    body: &O::Body,
) -> Result<Exit> {
    let mut worst = Exit::Ok;
    for named in runs {
        let outcome = async {
            let run = select::run(&session.client, named).await?;
            session.client.call::<O>(&RunParams { run }, body).await?;
            Ok::<RunId, Error>(run)
        };
        match outcome.await {
            Ok(run) => report_done(app, run, done),
            Err(error) => {
                let exit = Exit::of(&error);
                worst = if exit.code() > worst.code() { exit } else { worst };
                crate::print_error(app, &error);
            }
        }
    }
    Ok(worst)
}

fn report_done(app: &App, run: RunId, what: &str) {
    if app.json {
        app.print(&format!("{}\n", json!({ "run": run, "done": what })));
    } else {
        app.eprint(&format!("{run} {what}"));
    }
}

/// Reports the run that was started from another one.
fn report_started(app: &App, session: &Session, run: RunId, started: Started) {
    if app.json {
        app.print_json(&json!({ "run": started.run, "from": run }));
    } else {
        app.print(&format!("{}\n", started.run));
    }
    decide::hint_idle(app, session);
}

/// The old run's input with what was typed put into it, where anything was.
async fn changed_input(app: &App, session: &Session, run: RunId, typed: &[String]) -> Result<Option<Value>> {
    if typed.is_empty() {
        return Ok(None);
    }
    let base = session.client.call::<RunInput>(&RunParams { run }, &()).await?.read("input")?;
    let source = session.client.call::<RunSource>(&RunParams { run }, &()).await?;
    let checked = consort_workflow_check::check(&source).ok();
    let schema = checked.as_ref().and_then(|checked| checked.definition.input.schema());
    input::document(typed, base, schema, app.settings.folder()).map(Some)
}

async fn output(app: &App, session: &Session, run: RunId, step: Option<&str>) -> Result<Exit> {
    let client = &session.client;
    let output: Value = match step {
        Some(step) => {
            let task = runs_show::task_of(client, run, step).await?;
            client.call::<StepOutput>(&StepParams { run, task }, &()).await?.read("output")?
        }
        None => outcome::output(client, run).await?,
    };
    if app.json {
        app.print_json(&output);
    } else {
        outcome::print(app, &output);
    }
    Ok(Exit::Ok)
}

async fn approve(
    app: &App,
    session: &Session,
    (run, step): (RunId, Option<&str>),
    (decision, value): (Decision, Option<Value>),
    args: &DecisionArgs,
) -> Result<()> {
    let items = inbox::items(&session.client).await?;
    let asked = |item: &&InboxItem| {
        item.run == run && item.kind == InboxKind::Approval && step.is_none_or(|step| item.step == step)
    };
    let found: Vec<&InboxItem> = items.iter().filter(asked).collect();
    let item = match found[..] {
        [item] => item,
        [] => {
            return Err(Error::new(Code::TaskNotFound, format!("run `{run}` asks nothing to be approved"))
                .hint("`consort inbox` shows what waits for a decision"));
        }
        _ => {
            let steps: Vec<String> = found.iter().map(|item| format!("`{}`", item.step)).collect();
            return Err(Error::new(Code::BadRequest, format!("run `{run}` asks {} things", found.len()))
                .hint(format!("choose one with `--step`: {}", steps.join(", "))));
        }
    };
    decide::send(app, session, item, decision, args, value).await
}

async fn retention(app: &App, session: &Session, keep: Option<&str>) -> Result<()> {
    let Some(keep) = keep else {
        let found = session.client.call::<ShowRetention>(&NoParams {}, &()).await?.keep;
        if app.json {
            app.print_json(&json!({ "keep": found }));
        } else {
            app.print(&found.map_or_else(|| "keep\n".to_owned(), |span| format!("{span}\n")));
        }
        return Ok(());
    };
    let span = match keep {
        "keep" => None,
        text => Some(text.parse::<Span>()?),
    };
    session.client.call::<SetRetention>(&NoParams {}, &RetentionRequest { keep: span }).await?;
    if app.json {
        app.print_json(&json!({ "keep": span }));
    } else {
        app.eprint(&match span {
            Some(span) => format!("ended runs are kept for {span}"),
            None => "ended runs are kept until they are deleted".to_owned(),
        });
    }
    Ok(())
}

/// Follows a run to its end; where no server has the folder open, this process runs its tasks meanwhile.
async fn watch(app: &App, named: &str) -> Result<Exit> {
    let mut signals = Signals::install()?;
    if app.settings.server().is_none() && app.holder()?.is_none() {
        // Opened for reading first: a data folder that does not exist is an error here, and is not created.
        app.with_session(Need::Look, async |_| Ok(())).await?;
    }
    let session = app.session(Need::Work).await?;
    let result = tokio::select! {
        result = follow(app, &session, named) => result,
        exit = signals.next() => {
            app.eprint("\nno longer following; the run is kept");
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

async fn follow(app: &App, session: &Session, named: &str) -> Result<Exit> {
    let client = &session.client;
    let run = select::run(client, named).await?;
    let mut follower = Follower::new(app, client, run);
    let document = follower.follow(run::manner(app, true, false), &Needs::default()).await?;
    outcome::show(app, client, document, None).await
}
