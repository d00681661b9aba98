//! `consort agents watch`: the list of agents as it changes.
//!
//! For: looking on, on a terminal, in a pipe or as documents. Not for: operating.
//! Invariant: a lost connection is opened again, and the list that comes then is whole.

use consort_api::agents::{Agent, AgentFilter, AgentsEvent, WatchAgents};
use consort_types::{Code, Error, Result};
use serde_json::json;

use crate::{
    app::{App, Need},
    client::{Client, Events},
    exit::Exit,
    reach::Retries,
    show::{agents, live::Live, style::terminal_size, when},
    signals::Signals,
};

pub(crate) async fn execute(app: &App, filter: &AgentFilter) -> Result<Exit> {
    let mut signals = Signals::install()?;
    app.with_session(Need::Look, async |session| {
        tokio::select! {
            result = follow(app, &session.client, filter) => result,
            exit = signals.next() => Ok(exit),
        }
    })
    .await
}

/// Follows until a signal or an error ends it.
async fn follow(app: &App, client: &Client, filter: &AgentFilter) -> Result<Exit> {
    let (mut screen, mut before) = (Live::default(), Vec::new());
    let (mut events, mut retries) = (None, Retries::default());
    loop {
        let after = match next(client, filter, &mut events).await {
            Ok(agents) => agents,
            Err(error) => {
                events = None;
                retries.after(error).await?;
                continue;
            }
        };
        retries.reached();
        if app.json {
            app.print_line(&json!({ "items": after }));
            continue;
        }
        show(app, &mut screen, &before, &after);
        before = after;
    }
}

/// The next list; where there is no stream it is opened.
async fn next(client: &Client, filter: &AgentFilter, events: &mut Option<Events<AgentsEvent>>) -> Result<Vec<Agent>> {
    let open = match events {
        Some(open) => open,
        None => events.insert(client.events::<WatchAgents>(filter).await?),
    };
    match open.next().await? {
        Some(event) => match event.what {
            AgentsEvent::Agents(agents) => Ok(agents.items),
            AgentsEvent::Error(problem) => Err(problem.into()),
        },
        None => Err(Error::new(Code::Unreachable, "the server has ended the stream of agents")
            .hint("is it still running? `consort agents watch` again follows on")),
    }
}

fn show(app: &App, screen: &mut Live, before: &[Agent], after: &[Agent]) {
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
