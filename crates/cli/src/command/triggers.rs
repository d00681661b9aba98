//! `consort triggers`: rules that start a workflow or signal a run for each event that fits.
//!
//! For: setting, showing and pausing them. Not for: events (see `events`).
//! Invariant: what a trigger could not do is shown where the trigger is.

use consort_api::{
    EmptyRequest, NoParams,
    triggers::{
        DeleteTrigger, ListTriggers, PauseTrigger, ResumeTrigger, SetTrigger, ShowTrigger, Trigger, TriggerParams,
        TriggerRequest, TriggeredSignal, TriggeredStart,
    },
};
use consort_types::Result;
use serde_json::json;

use crate::{
    app::{App, Need},
    args::{TriggerArgs, TriggersCommand},
    client::Client,
    exit::Exit,
    show::{style::Paint, table::Table, when},
};

pub(crate) async fn execute(app: &App, command: TriggersCommand) -> Result<Exit> {
    let need = if matches!(command, TriggersCommand::Set(_)) { Need::Change } else { Need::Look };
    app.with_session(need, async |session| {
        let client = &session.client;
        let of = |name: &str| TriggerParams { name: name.to_owned() };
        match command {
            TriggersCommand::Set(args) => set(app, client, *args).await,
            TriggersCommand::List => list(app, client).await,
            TriggersCommand::Show { name } => {
                show(app, &client.call::<ShowTrigger>(&of(&name), &()).await?);
                Ok(())
            }
            TriggersCommand::Delete { name } => {
                client.call::<DeleteTrigger>(&of(&name), &()).await?;
                app.done(&json!({ "name": name, "deleted": true }), &format!("trigger `{name}` is deleted"));
                Ok(())
            }
            TriggersCommand::Pause { name } => {
                client.call::<PauseTrigger>(&of(&name), &EmptyRequest {}).await?;
                app.done(&json!({ "name": name, "paused": true }), &format!("trigger `{name}` is paused"));
                Ok(())
            }
            TriggersCommand::Resume { name } => {
                client.call::<ResumeTrigger>(&of(&name), &EmptyRequest {}).await?;
                app.done(&json!({ "name": name, "paused": false }), &format!("trigger `{name}` is resumed"));
                Ok(())
            }
        }
    })
    .await?;
    Ok(Exit::Ok)
}

async fn set(app: &App, client: &Client, args: TriggerArgs) -> Result<()> {
    let TriggerArgs { name, topic, filter, start, revision, input, signal, run, payload } = args;
    let start = start.map(|workflow| TriggeredStart { workflow, version: revision, input });
    let signal = signal.map(|name| TriggeredSignal { run: run.unwrap_or_default(), name, payload });
    let request = TriggerRequest { topic, filter, start, signal };
    client.call::<SetTrigger>(&TriggerParams { name: name.clone() }, &request).await?;
    let action = does(request.start.as_ref(), request.signal.as_ref());
    app.done(
        &json!({ "name": name, "topic": request.topic }),
        &format!("trigger `{name}` {action} on `{}`", request.topic),
    );
    Ok(())
}

/// What a trigger does, in a few words.
fn does(start: Option<&TriggeredStart>, signal: Option<&TriggeredSignal>) -> String {
    let starts = start.map(|start| format!("starts `{}`", start.workflow));
    starts.or_else(|| signal.map(|signal| format!("signals `{}`", signal.name))).unwrap_or_default()
}

async fn list(app: &App, client: &Client) -> Result<()> {
    let all = client.call::<ListTriggers>(&NoParams {}, &()).await?.items;
    if app.json {
        app.print_lines(&all);
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "TOPIC", "DOES", "STATE", "LAG", "FIRED", "FILTERED", "FAILED", "LAST ERROR"])
        .spare(&["LAG", "FILTERED"]);
    for found in &all {
        let count = |count: u64, paint| (count.to_string(), Some(if count == 0 { Paint::Dim } else { paint }));
        let last = found.failures.last().map(|failure| format!("{} {}", failure.error.code, failure.error.message));
        table.row(vec![
            (found.name.clone(), Some(Paint::Bold)),
            (found.topic.clone(), Some(Paint::Cyan)),
            (does(found.start.as_ref(), found.signal.as_ref()), None),
            (if found.paused { "paused" } else { "active" }.to_owned(), None),
            count(found.lag, Paint::Yellow),
            count(found.fired, Paint::Green),
            count(found.filtered, Paint::Bold),
            count(found.failed, Paint::Red),
            (last.unwrap_or_default(), Some(Paint::Red)),
        ]);
    }
    app.print(&table.render(app.out));
    if all.is_empty() && app.err.terminal {
        app.eprint("there is no trigger; `consort triggers set` makes one");
    }
    Ok(())
}

fn show(app: &App, found: &Trigger) {
    if app.json {
        app.print_json(found);
        return;
    }
    let mut rows = vec![
        ("name", found.name.clone()),
        ("topic", found.topic.clone()),
        ("filter", found.filter.clone().unwrap_or_else(|| "none".to_owned())),
        ("does", does(found.start.as_ref(), found.signal.as_ref())),
        ("state", if found.paused { "paused" } else { "active" }.to_owned()),
        ("created", found.created_at.to_string()),
        ("last fired", found.last_fired_at.map_or_else(|| "never".to_owned(), |at| at.to_string())),
        ("lag", found.lag.to_string()),
        ("fired", found.fired.to_string()),
        ("filtered", found.filtered.to_string()),
        ("failed", found.failed.to_string()),
        ("missed", found.missed.to_string()),
    ];
    let failures = found.failures.iter().rev();
    rows.extend(failures.map(|failure| {
        let (at, error) = (when::clock(failure.at), &failure.error);
        ("failure", format!("{at} {} {}: {}", failure.position, error.code, error.message))
    }));
    let lines = rows.iter().fold(String::new(), |text, (name, value)| text + &format!("{name:<11} {value}\n"));
    app.print(&crate::show::style::clean_lines(&lines));
}
