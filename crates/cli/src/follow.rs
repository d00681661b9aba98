//! Following a run to its end, in the manner that fits the streams.
//!
//! For: `run` and `runs watch`. Not for: starting or stopping anything.
//! Invariant: every entry of the history is seen once, also across a lost connection; the run's final document is the
//! answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use consort_api::{
    agents::{AgentFilter, ListAgents},
    inside::{RunTree, StepNode},
    runs::{Run, RunParams, RunSummary, ShowRun, ShowRunParams},
    watch::{RunEvent, WatchRun, WatchRunParams},
};
use consort_types::{Code, Result, RunId};
use consort_workflow::did_you_mean;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::{
    app::App,
    client::{Client, Event, Events},
    show::{
        history,
        live::Live,
        progress::AttemptProgress,
        style::{clean, terminal_size},
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
/// How long agents may take to join before a missing one is reported.
const AGENTS_WITHIN: Duration = Duration::from_millis(800);
/// Tries to reach the server again, and the pause between them.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(250);

/// Why a missing agent will not come.
const ALONE: &str = "warning: this process runs only built-in agents, and no worker can connect to it; start \
    `consort up`, to which workers connect, or name a server with `--server`";

/// A run that is followed.
pub(crate) struct Follower<'a> {
    app: &'a App,
    client: &'a Client,
    run: RunId,
    events: Option<Events<RunEvent>>,
    /// The id of the last event.
    seen: Option<String>,
    live: Live,
    /// By path of the step.
    progress: BTreeMap<String, AttemptProgress>,
    turn: usize,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(app: &'a App, client: &'a Client, run: RunId) -> Self {
        let live = Live::default();
        Self { app, client, run, events: None, seen: None, live, progress: BTreeMap::new(), turn: 0 }
    }

    /// Follows to the end; the answer is the run. `needs` are the capabilities that are reported if no agent offers
    /// them.
    pub(crate) async fn follow(&mut self, manner: Manner, needs: &Needs) -> Result<Run> {
        let mut tick = tokio::time::interval(REDRAW);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let agents = tokio::time::sleep(AGENTS_WITHIN);
        tokio::pin!(agents);
        let (mut looked, mut dirty, mut tree) = (needs.is_empty(), true, None);
        let ended = loop {
            tokio::select! {
                biased;
                event = next_event(self.client, self.run, &mut self.events, &mut self.seen) => {
                    dirty = true;
                    if let Some(run) = self.take(event?, manner)? {
                        break run;
                    }
                }
                () = &mut agents, if !looked => {
                    looked = true;
                    self.warn_of_missing_agents(needs).await?;
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
        };
        if manner == Manner::Live {
            let (run, nodes) = self.look().await?;
            self.draw(&run, &nodes, false);
            self.live.leave();
        }
        Ok(ended)
    }

    /// Handles an event; returns the run where it is the end.
    fn take(&mut self, event: Event<RunEvent>, manner: Manner) -> Result<Option<Run>> {
        if manner == Manner::Documents && !matches!(event.what, RunEvent::End(_)) {
            self.app.print_line(&named(&event.what));
        }
        match event.what {
            RunEvent::End(run) => return Ok(Some(*run)),
            RunEvent::Error(problem) => return Err(problem.into()),
            RunEvent::Entry(entry) if manner == Manner::Lines => {
                self.app.eprint(&history::line(&entry, self.app.err));
            }
            RunEvent::Entry(_) => {}
            RunEvent::Progress(progress) => {
                if manner == Manner::Lines
                    && let Some(line) = history::progress(&progress, self.app.err)
                {
                    self.app.eprint(&line);
                }
                self.progress.entry(progress.step.clone()).or_default().update(progress);
            }
        }
        Ok(None)
    }

    async fn look(&self) -> Result<(RunSummary, Vec<StepNode>)> {
        let run = self.client.call::<ShowRun>(&ShowRunParams { run: self.run, wait: None }, &()).await?;
        let nodes = self.client.call::<RunTree>(&RunParams { run: self.run }, &()).await?;
        Ok((run.summary, nodes))
    }

    fn draw(&mut self, run: &RunSummary, nodes: &[StepNode], bounded: bool) {
        let (width, height) = terminal_size();
        self.turn += 1;
        // The last column stays free: a terminal that wraps there would break the count of lines.
        let height = if bounded { height.saturating_sub(2).max(1) } else { 200 };
        let (style, now) = (self.app.err, when::now());
        let frame = Frame { style, width: width - 1, height, now, turn: self.turn, progress: &self.progress };
        let mut lines = vec![tree::heading(run, &frame)];
        lines.extend(tree::lines(nodes, &frame));
        self.live.draw(&lines);
    }

    async fn warn_of_missing_agents(&mut self, needs: &Needs) -> Result<()> {
        for warning in needs.missing(self.client).await? {
            self.live.clear();
            self.app.eprint(&clean(&warning));
        }
        Ok(())
    }
}

/// An event as a document: its name and its data.
fn named(event: &RunEvent) -> Value {
    let mut document = json!(event);
    let fields = document.as_object_mut().map(std::mem::take).unwrap_or_default();
    fields.into_iter().map(|(event, data)| json!({ "event": event, "data": data })).next().unwrap_or_default()
}

/// The next event; a lost connection is opened again after the last event that was seen.
async fn next_event(
    client: &Client,
    run: RunId,
    events: &mut Option<Events<RunEvent>>,
    seen: &mut Option<String>,
) -> Result<Event<RunEvent>> {
    let mut tries = 0;
    loop {
        let outcome = if let Some(open) = events {
            open.next().await
        } else {
            let params = WatchRunParams { run, after: None, last_event_id: seen.clone() };
            match client.events::<WatchRun>(&params).await {
                Ok(open) => {
                    *events = Some(open);
                    continue;
                }
                Err(error) => Err(error),
            }
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
    /// Whether the engine is in this process, where no worker can connect.
    alone: bool,
}

impl Needs {
    /// What workflows call.
    pub(crate) fn of<'a>(definitions: impl IntoIterator<Item = &'a consort_workflow::Definition>) -> Self {
        let mut needs = Self::default();
        let blocks = definitions.into_iter().flat_map(|definition| &definition.blocks);
        for step in blocks.flat_map(|block| &block.steps) {
            if let consort_workflow::Action::Call { capability, agent } = &step.action {
                needs.capabilities.extend(capability.clone());
                needs.agents.extend(agent.clone());
            }
        }
        needs
    }

    /// Whether the engine is in this process.
    pub(crate) fn in_process(self, alone: bool) -> Self {
        Self { alone, ..self }
    }

    fn is_empty(&self) -> bool {
        self.capabilities.is_empty() && self.agents.is_empty()
    }

    /// A warning for each that no connected agent offers.
    async fn missing(&self, client: &Client) -> Result<Vec<String>> {
        let (mut connected, mut offered) = (BTreeSet::new(), BTreeSet::new());
        for agent in client.call::<ListAgents>(&AgentFilter::default(), &()).await?.items {
            if !agent.instances.is_empty() {
                connected.insert(agent.name);
                offered.extend(agent.capabilities.into_iter().map(|capability| capability.name));
            }
        }
        let warn = |what: String, name: &str, there: &BTreeSet<String>| {
            let meant = did_you_mean(name, there.iter().map(String::as_str)).map(|hint| format!("; {hint}"));
            format!("warning: {what}; the step waits for one{}", meant.unwrap_or_default())
        };
        let capabilities = self.capabilities.iter().filter(|name| !offered.contains(*name));
        let agents = self.agents.iter().filter(|name| !connected.contains(*name));
        let capabilities = capabilities.map(|name| warn(format!("no agent offers `{name}`"), name, &offered));
        let agents = agents.map(|name| warn(format!("no agent `{name}` is connected"), name, &connected));
        let mut warnings: Vec<String> = capabilities.chain(agents).collect();
        if self.alone && !warnings.is_empty() {
            warnings.push(ALONE.to_owned());
        }
        Ok(warnings)
    }
}
