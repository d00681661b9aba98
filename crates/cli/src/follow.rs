//! Following a run to its end, in the manner that fits the streams.
//!
//! For: `run` and `runs watch`. Not for: starting or stopping anything.
//! Invariant: every journal entry is seen once, also across a lost connection; the run's final document is the
//! answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use consort_types::{Code, Error, Result, RunId, registry::AgentView};
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::{
    app::App,
    client::{
        Client, Event, Events,
        model::{Entry, Node, Progress, Run},
        problem_of,
        registry::AgentFilter,
        understood,
    },
    show::{
        journal,
        live::Live,
        said::Said,
        style::terminal_size,
        tree::{self, Frame},
        when,
    },
};

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// A tree that is redrawn.
    Live,
    /// A line for each event, on standard error.
    Lines,
    /// A document for each event, on standard output.
    Documents,
    /// Not at all.
    Quiet,
}

/// Redraws at most this often.
const REDRAW: Duration = Duration::from_millis(100);
/// How long agents may take to join before a missing one is told.
const AGENTS_WITHIN: Duration = Duration::from_millis(800);
/// Tries to reach the server again, and the pause between them.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);

/// A run that is followed.
pub(crate) struct Follower<'a> {
    app: &'a App,
    client: &'a Client,
    run: RunId,
    events: Option<Events>,
    /// The id of the last event.
    seen: Option<String>,
    live: Live,
    /// By path of the step.
    said: BTreeMap<String, Said>,
    turn: usize,
}

/// What follows from an event.
enum Next {
    More,
    Ended,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(app: &'a App, client: &'a Client, run: RunId) -> Self {
        let live = Live::default();
        Self { app, client, run, events: None, seen: None, live, said: BTreeMap::new(), turn: 0 }
    }

    /// Follows to the end; the answer is the run's document. `needs` are the agents that are told if none offers them.
    pub(crate) async fn follow(&mut self, manner: Manner, needs: &Needs) -> Result<Value> {
        let mut tick = tokio::time::interval(REDRAW);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let agents = tokio::time::sleep(AGENTS_WITHIN);
        tokio::pin!(agents);
        let (mut looked, mut dirty, mut tree) = (needs.is_empty(), true, None);
        loop {
            tokio::select! {
                biased;
                event = next_event(self.client, self.run, &mut self.events, &mut self.seen) => {
                    dirty = true;
                    if let Next::Ended = self.take(&event?, manner)? {
                        break;
                    }
                }
                () = &mut agents, if !looked => {
                    looked = true;
                    self.tell_missing(needs).await?;
                }
                _ = tick.tick(), if manner == Manner::Live => {
                    if std::mem::take(&mut dirty) {
                        tree = Some(self.look().await?);
                    }
                    if let Some((run, nodes)) = &tree {
                        self.draw(run, nodes, true);
                    }
                }
            }
        }
        if manner == Manner::Live {
            let (run, nodes) = self.look().await?;
            self.draw(&run, &nodes, false);
            self.live.leave();
        }
        self.client.run_document(self.run).await
    }

    fn take(&mut self, event: &Event, manner: Manner) -> Result<Next> {
        let document: Value = serde_json::from_str(&event.data)
            .map_err(|error| Error::new(Code::Internal, format!("an event of the server cannot be read: {error}")))?;
        if manner == Manner::Documents && event.kind != "end" {
            self.app.print(&format!("{}\n", json!({ "event": event.kind, "data": document })));
        }
        match event.kind.as_str() {
            "end" => return Ok(Next::Ended),
            "error" => return Err(problem_of(&event.data)),
            "entry" if manner == Manner::Lines => {
                let entry: Entry = understood("event", document)?;
                self.app.tell(&journal::line(&entry, self.app.err));
            }
            "progress" => {
                let progress: Progress = understood("event", document)?;
                if manner == Manner::Lines
                    && let Some(line) = journal::progress(&progress, self.app.err)
                {
                    self.app.tell(&line);
                }
                self.said.entry(progress.step).or_default().take(progress.attempt, progress.live);
            }
            // The server keeps the right to tell more.
            _ => {}
        }
        Ok(Next::More)
    }

    async fn look(&self) -> Result<(Run, Vec<Node>)> {
        let run = self.client.run(self.run).await?;
        let nodes = understood("tree", self.client.tree(self.run).await?)?;
        Ok((run, nodes))
    }

    fn draw(&mut self, run: &Run, nodes: &[Node], bounded: bool) {
        let (width, height) = terminal_size();
        self.turn += 1;
        // The last column stays free: a terminal that wraps there would break the count of lines.
        let height = if bounded { height.saturating_sub(2).max(1) } else { 200 };
        let (style, now) = (self.app.err, when::now());
        let frame = Frame { style, width: width - 1, height, now, turn: self.turn, said: &self.said };
        let mut lines = vec![tree::heading(run, &frame)];
        lines.extend(tree::lines(nodes, &frame));
        self.live.draw(&lines);
    }

    async fn tell_missing(&mut self, needs: &Needs) -> Result<()> {
        for missing in needs.missing(self.client).await? {
            self.live.clear();
            self.app.tell(&format!("warning: no agent offers {missing}; the step waits for one"));
        }
        Ok(())
    }
}

/// The next event; a lost connection is opened again after the last event that was seen.
async fn next_event(
    client: &Client,
    run: RunId,
    events: &mut Option<Events>,
    seen: &mut Option<String>,
) -> Result<Event> {
    let mut tries = 0;
    loop {
        let outcome = match events {
            Some(open) => open.next().await,
            None => match client.watch(run, seen.as_deref()).await {
                Ok(open) => {
                    *events = Some(open);
                    continue;
                }
                Err(error) => Err(error),
            },
        };
        match outcome {
            Ok(Some(event)) => {
                if !event.id.is_empty() {
                    *seen = Some(event.id.clone());
                }
                return Ok(event);
            }
            Err(error) if tries >= TRIES || !matches!(error.code, Code::Unreachable | Code::Overloaded) => {
                return Err(error);
            }
            Ok(None) | Err(_) => {
                *events = None;
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Capabilities and agents that a workflow calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needs {
    capabilities: BTreeSet<String>,
    agents: BTreeSet<String>,
}

impl Needs {
    /// What a workflow calls.
    pub(crate) fn of(definition: &consort_workflow::Definition) -> Self {
        let mut needs = Self::default();
        for step in definition.blocks.iter().flat_map(|block| &block.steps) {
            if let consort_workflow::Action::Call { capability, agent } = &step.action {
                needs.capabilities.extend(capability.clone());
                needs.agents.extend(agent.clone());
            }
        }
        needs
    }

    fn is_empty(&self) -> bool {
        self.capabilities.is_empty() && self.agents.is_empty()
    }

    /// Those that no connected agent offers, in words.
    async fn missing(&self, client: &Client) -> Result<Vec<String>> {
        let (mut connected, mut offered) = (BTreeSet::new(), BTreeSet::new());
        for document in client.agents(&AgentFilter::default()).await? {
            let AgentView { declaration, instances, .. } = understood("agent", document)?;
            if !instances.is_empty() {
                connected.insert(declaration.name);
                offered.extend(declaration.capabilities.into_iter().map(|capability| capability.name));
            }
        }
        let capabilities = self.capabilities.iter().filter(|name| !offered.contains(*name));
        let agents = self.agents.iter().filter(|name| !connected.contains(*name));
        Ok(capabilities.map(|name| format!("`{name}`")).chain(agents.map(|name| format!("agent `{name}`"))).collect())
    }
}
