//! `consort limits`: every built-in limit.
//!
//! For: knowing what Consort refuses, and why. Not for: what operators set (see `quotas`).
//! Invariant: the limits are those of the server that is asked.

use consort_api::{NoParams, server::ListLimits};
use consort_types::Result;

use crate::{
    app::{App, Need, Session},
    exit::Exit,
    show::{style::Paint, table::Table},
};

pub(crate) async fn execute(app: &App) -> Result<Exit> {
    let list = async |session: &Session| session.client.call::<ListLimits>(&NoParams {}, &()).await;
    let limits = app.with_session(Need::Look, list).await?.items;
    if app.json {
        app.print_lines(&limits);
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["LIMIT", "VALUE", "WHAT IT BOUNDS"]);
    for limit in limits {
        table.row(vec![
            (limit.name, Some(Paint::Bold)),
            (limit.value.to_string(), None),
            (limit.doc, Some(Paint::Dim)),
        ]);
    }
    app.print(&table.render(app.out));
    Ok(Exit::Ok)
}
