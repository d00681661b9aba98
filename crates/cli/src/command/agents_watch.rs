//! `consort agents watch`: the list of agents as it changes.
//!
//! For: looking on, on a terminal, in a pipe or as documents. Not for: operating.
//! Invariant: a lost connection is opened again, and the list that comes then is whole.

use std::time::Duration;

use consort_types::{Code, Error, Result, registry::AgentView};
use serde_json::Value;

use super::agents::views;
use crate::{
    app::{App, Need},
    client::{Client, Events, problem_of, registry::AgentFilter},
    exit::Exit,
    show::{agents, live::Live, style::terminal_size, when},
    signals::Signals,
};

/// Tries to reach the server again, and the pause between them.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) async fn execute(app: &App, filter: &AgentFilter) -> Result<Exit> {
    let mut signals = Signals::install()?;
    let session = app.session(Need::Look).await?;
    let result = tokio::select! {
        result = follow(app, &session.client, filter) => result,
        exit = signals.next() => Ok(exit),
    };
    session.close(std::future::pending()).await;
    result
}

/// Follows until a signal or an error ends it.
async fn follow(app: &App, client: &Client, filter: &AgentFilter) -> Result<Exit> {
    let (mut screen, mut before) = (Live::default(), Vec::new());
    let (mut events, mut tries) = (None, 0);
    loop {
        let document = match next(client, filter, &mut events).await {
            Ok(document) => document,
            Err(error) if tries >= TRIES || !matches!(error.code, Code::Unreachable | Code::Overloaded) => {
                return Err(error);
            }
            Err(_) => {
                events = None;
                tries += 1;
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        tries = 0;
        if app.json {
            app.print(&format!("{document}\n"));
            continue;
        }
        let after = views(document["items"].as_array().map_or(&[][..], Vec::as_slice))?;
        show(app, &mut screen, &before, &after);
        before = after;
    }
}

/// The next list; where there is no stream it is opened.
async fn next(client: &Client, filter: &AgentFilter, events: &mut Option<Events>) -> Result<Value> {
    loop {
        let open = match events {
            Some(open) => open,
            None => events.insert(client.watch_agents(filter).await?),
        };
        let Some(event) = open.next().await? else {
            return Err(Error::new(Code::Unreachable, "the server has ended the stream of agents")
                .hint("is it still running? `consort agents watch` again follows on"));
        };
        match event.kind.as_str() {
            "agents" => {
                return serde_json::from_str(&event.data).map_err(|error| {
                    Error::new(Code::Internal, format!("an event of the server cannot be read: {error}"))
                });
            }
            "error" => return Err(problem_of(&event.data)),
            // The server keeps the right to tell more.
            _ => {}
        }
    }
}

fn show(app: &App, screen: &mut Live, before: &[AgentView], after: &[AgentView]) {
    if app.out.terminal && app.err.terminal {
        let table = agents::list(after, when::now(), app.out);
        let height = terminal_size().1.saturating_sub(2).max(1);
        let lines: Vec<String> = table.lines().take(height).map(str::to_owned).collect();
        screen.draw(&lines);
        return;
    }
    for line in agents::changes(before, after) {
        app.print(&format!("{}  {line}\n", when::clock(when::now())));
    }
}
