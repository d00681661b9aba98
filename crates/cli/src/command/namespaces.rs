//! `consort namespaces`: what a server holds, by namespace.
//!
//! For: seeing which namespaces there are and how large they are. Not for: what is in one (see `runs`, `agents`,
//! `workflows`).
//! Invariant: looking changes nothing.

use consort_api::{
    PageParams,
    namespaces::{ListNamespaces, NamespaceSummary},
};
use consort_types::{Result, limits};

use crate::{
    app::{App, Need, Session},
    args::NamespacesCommand,
    exit::Exit,
    show::{style::Paint, table::Table, when},
};

pub(crate) async fn execute(app: &App, command: NamespacesCommand) -> Result<Exit> {
    let NamespacesCommand::List = command;
    let page = |cursor| PageParams { cursor, limit: Some(limits::PAGE_ITEMS_MAX) };
    let list = async |session: &Session| session.client.all::<ListNamespaces, _>(page).await;
    let namespaces = app.with_session(Need::Look, list).await?;
    if app.json {
        app.print_lines(&namespaces);
        return Ok(Exit::Ok);
    }
    app.print(&table(&namespaces).render(app.out));
    if namespaces.is_empty() && app.err.terminal {
        app.eprint("no namespace holds anything yet");
    }
    Ok(Exit::Ok)
}

fn table(namespaces: &[NamespaceSummary]) -> Table {
    let mut table = Table::new(&["NAMESPACE", "RUNS", "ACTIVE", "AGENTS", "WORKFLOWS", "BYTES", "RETENTION"]).spare(&[
        "RETENTION",
        "BYTES",
        "WORKFLOWS",
    ]);
    for found in namespaces {
        let count = |count: u64| (count.to_string(), None);
        table.row(vec![
            (found.name.clone(), Some(Paint::Bold)),
            count(found.runs),
            count(found.runs_active),
            count(found.agents),
            count(found.workflows),
            count(found.bytes),
            (found.retention.map(when::took).unwrap_or_default(), Some(Paint::Dim)),
        ]);
    }
    table
}
