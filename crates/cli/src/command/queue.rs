//! `consort queue`: what waits for agents, and why.
//!
//! For: seeing whether work moves, who does it, and what holds it back. Not for: single tasks (see `runs show`).
//! Invariant: looking changes nothing.

use std::time::Duration;

use consort_types::{Result, registry::QueueView};
use serde_json::{Value, json};

use crate::{
    app::{App, Need},
    client::{Client, understood},
    exit::Exit,
    show::{live::Live, queues, style::terminal_size, when},
    signals::Signals,
};

/// How often a watched queue is drawn.
const REDRAW: Duration = Duration::from_secs(1);

pub(crate) async fn execute(app: &App, watch: bool) -> Result<Exit> {
    let mut signals = Signals::install()?;
    let session = app.session(Need::Look).await?;
    let result = tokio::select! {
        result = look(app, &session.client, watch) => result.map(|()| Exit::Ok),
        exit = signals.next() => Ok(exit),
    };
    session.close(std::future::pending()).await;
    result
}

async fn look(app: &App, client: &Client, watch: bool) -> Result<()> {
    if !watch {
        return once(app, &client.queues().await?);
    }
    let (mut screen, mut tick) = (Live::default(), tokio::time::interval(REDRAW));
    loop {
        tick.tick().await;
        let documents = client.queues().await?;
        if app.json {
            app.print(&format!("{}\n", json!({ "time": when::now(), "items": documents })));
        } else if app.out.terminal && app.err.terminal {
            let height = terminal_size().1.saturating_sub(2).max(1);
            screen.draw(&table(app, &documents)?.lines().take(height).map(str::to_owned).collect::<Vec<_>>());
        } else {
            app.print(&format!("{}\n", table(app, &documents)?));
        }
    }
}

fn once(app: &App, documents: &[Value]) -> Result<()> {
    if app.json {
        app.print_lines(documents);
        return Ok(());
    }
    app.print(&table(app, documents)?);
    if documents.is_empty() && app.err.terminal {
        app.tell("nothing waits for an agent");
    }
    Ok(())
}

fn table(app: &App, documents: &[Value]) -> Result<String> {
    let queues: Result<Vec<QueueView>> =
        documents.iter().map(|document| understood("queue", document.clone())).collect();
    Ok(queues::queues(&queues?, when::now(), app.out))
}
