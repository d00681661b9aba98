//! `consort queues`: what waits for agents, and why.
//!
//! For: showing whether tasks move, which instances run them, and what delays them. Not for: single tasks (see `runs
//! show`).
//! Invariant: looking changes nothing.

use std::time::Duration;

use consort_api::{
    NoParams,
    queues::{ListQueues, Queue},
};
use consort_types::Result;
use serde_json::json;

use crate::{
    app::{App, Need},
    client::Client,
    exit::Exit,
    show::{live::Live, queues, style::terminal_size, when},
    signals::Signals,
};

/// How often a watched queue is drawn.
const REDRAW: Duration = Duration::from_secs(1);

pub(crate) async fn execute(app: &App, watch: bool) -> Result<Exit> {
    let mut signals = Signals::install()?;
    app.with_session(Need::Look, async |session| {
        tokio::select! {
            result = look(app, &session.client, watch) => result.map(|()| Exit::Ok),
            exit = signals.next() => Ok(exit),
        }
    })
    .await
}

async fn look(app: &App, client: &Client, watch: bool) -> Result<()> {
    if !watch {
        once(app, &listed(client).await?);
        return Ok(());
    }
    let (mut screen, mut tick) = (Live::default(), tokio::time::interval(REDRAW));
    loop {
        tick.tick().await;
        let queues = listed(client).await?;
        if app.json {
            app.print_line(&json!({ "time": when::now(), "items": queues }));
        } else if app.out.terminal && app.err.terminal {
            let height = terminal_size().1.saturating_sub(2).max(1);
            screen.draw(&table(app, &queues).lines().take(height).map(str::to_owned).collect::<Vec<_>>());
        } else {
            app.print(&format!("{}\n", table(app, &queues)));
        }
    }
}

async fn listed(client: &Client) -> Result<Vec<Queue>> {
    Ok(client.call::<ListQueues>(&NoParams {}, &()).await?.items)
}

fn once(app: &App, queues: &[Queue]) {
    if app.json {
        app.print_lines(queues);
        return;
    }
    app.print(&table(app, queues));
    if queues.is_empty() && app.err.terminal {
        app.eprint("nothing waits for an agent");
    }
}

fn table(app: &App, found: &[Queue]) -> String {
    queues::queues(found, when::now(), app.out)
}
