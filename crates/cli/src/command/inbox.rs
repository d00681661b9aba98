//! `consort inbox`: what waits for a person.
//!
//! For: listing and deciding. Not for: runs as a whole.
//! Invariant: an item is decided once; a second decision is refused by the engine.

use consort_types::Result;
use serde_json::Value;

use super::decide;
use crate::{
    app::{App, Need, Session},
    args::InboxCommand,
    client::{model::Item, understood},
    exit::Exit,
    input, select,
    show::{
        style::{Paint, cut},
        table::Table,
        when,
    },
};

pub(crate) async fn execute(app: &App, command: Option<InboxCommand>) -> Result<Exit> {
    let session = app.session(Need::Look).await?;
    let result = act(app, &session, command.unwrap_or(InboxCommand::List)).await;
    session.close(std::future::pending()).await;
    result.map(|()| Exit::Ok)
}

async fn act(app: &App, session: &Session, command: InboxCommand) -> Result<()> {
    let (args, decision, output) = match command {
        InboxCommand::List => return list(app, session).await,
        InboxCommand::Approve(args) => (args, "approve", None),
        InboxCommand::Reject(args) => (args, "reject", None),
        InboxCommand::Retry(args) => (args, "retry", None),
        InboxCommand::Fail(args) => (args, "fail", None),
        InboxCommand::Done { item, output } => {
            let output = input::payload(&output, app.settings.folder())?;
            (item, "done", Some(output))
        }
    };
    let items = session.client.inbox_items().await?;
    let item = select::item(&items, &args.item)?;
    decide::send(app, session, item, decision, &args.decision, output).await
}

async fn list(app: &App, session: &Session) -> Result<()> {
    let mut table = Table::new(&["ITEM", "ASKS", "WORKFLOW", "STEP", "SINCE", "QUESTION", "ABOUT"]);
    let (mut cursor, mut count, now) = (None, 0, when::now());
    loop {
        let page = session.client.inbox(cursor.as_deref()).await?;
        for item in page.items {
            count += 1;
            if app.json {
                app.print(&format!("{item}\n"));
                continue;
            }
            let item: Item = understood("inbox", item)?;
            table.row(vec![
                (item.task, None),
                (item.ask.as_str().unwrap_or("?").replace('_', " "), Some(Paint::Yellow)),
                (item.workflow, Some(Paint::Bold)),
                (item.step, None),
                (when::ago(item.since, now), Some(Paint::Dim)),
                (item.title, None),
                (about(item.details.as_ref()), Some(Paint::Dim)),
            ]);
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if !app.json && count > 0 {
        app.print(&table.render(app.out));
    }
    if count == 0 && app.err.terminal && !app.json {
        app.tell("nothing waits for a decision");
    }
    Ok(())
}

/// What a decision is about, in a few words; `--json` shows all of it.
fn about(details: Option<&Value>) -> String {
    const COLUMNS: usize = 60;
    let text = match details {
        None => String::new(),
        Some(Value::String(text)) => text.lines().next().unwrap_or_default().to_owned(),
        Some(value) => value.to_string(),
    };
    cut(&text, COLUMNS)
}
