//! `consort inbox`: what waits for a person.
//!
//! For: listing and deciding. Not for: runs as a whole.
//! Invariant: an item is decided once; a second decision is refused by the engine.

use consort_api::{
    Document, PageParams,
    inbox::{Decision, InboxDetails, InboxItem, ItemParams, ListInbox},
    steps::{ShowStep, StepParams},
};
use consort_types::{Result, limits};
use serde_json::{Value, json};

use super::{
    decide::{self, commands},
    runs_show, step,
};
use crate::{
    app::{App, Need, Session},
    args::InboxCommand,
    client::Client,
    exit::Exit,
    input, select,
    show::{
        style::{Paint, clean_json, cut, wrapped},
        table::Table,
        when,
    },
};

pub(crate) async fn execute(app: &App, command: Option<InboxCommand>) -> Result<Exit> {
    let command = command.unwrap_or(InboxCommand::List);
    app.with_session(Need::Look, async |session| execute_with(app, session, command).await).await?;
    Ok(Exit::Ok)
}

async fn execute_with(app: &App, session: &Session, command: InboxCommand) -> Result<()> {
    let (args, decision, output) = match command {
        InboxCommand::List => return list(app, session).await,
        InboxCommand::Show { item } => return show(app, session, &item).await,
        InboxCommand::Approve { item, value } => {
            let value = value.map(|value| input::payload(&value, app.settings.folder())).transpose()?;
            (item, Decision::Approve, value)
        }
        InboxCommand::Reject(args) => (args, Decision::Reject, None),
        InboxCommand::Retry(args) => (args, Decision::Retry, None),
        InboxCommand::Fail(args) => (args, Decision::Fail, None),
        InboxCommand::Done { item, output } => {
            let output = input::payload(&output, app.settings.folder())?;
            (item, Decision::Done, Some(output))
        }
    };
    let items = items(&session.client).await?;
    let item = select::item(&items, &args.item)?;
    decide::send(app, session, item, decision, &args.decision, output).await
}

/// Everything in the inbox.
pub(super) async fn items(client: &Client) -> Result<Vec<InboxItem>> {
    client.all::<ListInbox, _>(|cursor| PageParams { cursor, limit: Some(limits::PAGE_ITEMS_MAX) }).await
}

async fn list(app: &App, session: &Session) -> Result<()> {
    let items = items(&session.client).await?;
    if app.json {
        app.print_lines(&items);
        return Ok(());
    }
    if items.is_empty() {
        if app.err.terminal {
            app.eprint("nothing waits for a decision");
        }
        return Ok(());
    }
    let mut table = Table::new(&["ITEM", "ASKS", "WORKFLOW", "STEP", "SINCE", "QUESTION", "ABOUT"])
        .spare(&["STEP", "WORKFLOW", "ABOUT", "SINCE"]);
    for item in items {
        table.row(vec![
            (item.task.to_string(), None),
            (item.kind.as_str().replace('_', " "), Some(Paint::Yellow)),
            (item.workflow, Some(Paint::Bold)),
            (item.step, None),
            (when::ago(item.since, when::now()), Some(Paint::Dim)),
            (item.title, None),
            (about(item.details.as_ref()), Some(Paint::Dim)),
        ]);
    }
    app.print(&table.render(app.out));
    Ok(())
}

/// One item in full: what is asked, and the step that waits.
async fn show(app: &App, session: &Session, text: &str) -> Result<()> {
    let client = &session.client;
    let items = items(client).await?;
    let item = select::item(&items, text)?;
    let detail = client.call::<ShowStep>(&StepParams { run: item.run, task: item.task }, &()).await?;
    if app.json {
        app.print_json(&json!({ "item": item, "step": detail }));
        return Ok(());
    }
    let mut lines = vec![format!("{} · {}", app.out.paint(Paint::Bold, &item.workflow), item.run)];
    lines.push(wrapped(&item.title, 0, app.out));
    if let Some(details) = &item.details {
        let whole = client.call::<InboxDetails>(&ItemParams { task: item.task }, &()).await?;
        let details: Value = whole.read("details").or_else(|_| details.read("details"))?;
        lines.push(clean_json(&serde_json::to_string_pretty(&details).unwrap_or_default()));
    }
    let history = runs_show::task_history(client, item.task).await?;
    lines.extend(step::step_lines(app, client, &detail, &history).await?);
    lines.push(format!("decide with `consort inbox {} {}`", commands(&item.kind), item.task));
    app.print(&format!("{}\n", lines.join("\n")));
    Ok(())
}

/// What a decision is about, in a few words; `--json` shows all of it.
fn about(details: Option<&Document>) -> String {
    const COLUMNS: usize = 60;
    let text = match details.map(|details| details.read::<Value>("details")) {
        None | Some(Err(_)) => String::new(),
        Some(Ok(Value::String(text))) => text.lines().next().unwrap_or_default().to_owned(),
        Some(Ok(value)) => value.to_string(),
    };
    cut(&text, COLUMNS)
}
