//! Following a run to its end, in the manner that fits the streams.
//!
//! For: `run` and `runs watch`. Not for: starting or stopping anything.
//! Invariant: every entry of the history is seen once, also across a lost connection; the run's final document is the
//! answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use consort_api::{
    agents::{AgentFilter, ListAgents},
    inside::{RunTree, StepNode},
    runs::{Run, RunParams, RunSummary, ShowRun, ShowRunParams},
    watch::RunEvent,
};
use consort_types::{Code, Error, Result, RunId, Span};
use consort_workflow::did_you_mean;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::{
    app::App,
    client::{Client, Event},
    contact::Contact,
    reach::{Arrivals, Arrived, Reach},
    show::{
        history,
        live::Live,
        progress::AttemptProgress,
        style::{Paint, clean, terminal_size},
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
/// How long a server may be away before a command that shows no tree gives up.
const AWAY_WITHIN: Duration = Duration::from_secs(10);

/// Why a missing agent will not come.
const ALONE: &str = "warning: this process runs only built-in agents, and no worker can connect to it; start \
    `consort up`, to which workers connect, or name a server with `--server`";

/// A run that is followed.
pub(crate) struct Follower<'a> {
    app: &'a App,
    client: &'a Client,
    run: RunId,
    reach: Reach,
    contact: Contact,
    live: Live,
    /// By path of the step.
    progress: BTreeMap<String, AttemptProgress>,
    turn: usize,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(app: &'a App, client: &'a Client, run: RunId) -> Self {
        let (reach, contact, live) = (Reach::default(), Contact::default(), Live::default());
        Self { app, client, run, reach, contact, live, progress: BTreeMap::new(), turn: 0 }
    }

    /// Follows to the end; the answer is the run. `needs` are the capabilities that are reported if no agent offers
    /// them.
    pub(crate) async fn follow(&mut self, manner: Manner, needs: &Needs) -> Result<Run> {
        let mut tick = tokio::time::interval(REDRAW);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let agents = tokio::time::sleep(AGENTS_WITHIN);
        tokio::pin!(agents);
        let mut arrivals = Arrivals::of(self.client, self.run);
        let (mut looked, mut dirty, mut tree) = (needs.is_empty(), true, None);
        let ended = loop {
            tokio::select! {
                biased;
                arrived = arrivals.next() => {
                    dirty = true;
                    if let Some(run) = self.arrived(arrived, manner)? {
                        break run;
                    }
                }
                () = &mut agents, if !looked => {
                    looked = true;
                    self.warn_of_missing_agents(needs).await?;
                }
                _ = tick.tick(), if manner == Manner::Live => {
                    if dirty {
                        match self.look().await {
                            Ok(found) => (tree, dirty) = (Some(found), false),
                            // It is looked at again once the server is back.
                            Err(error) if error.code == Code::Unreachable => drop(self.reach.lost(Instant::now())),
                            Err(error) => return Err(error),
                        }
                    }
                    if let Some((run, nodes)) = &tree {
                        self.contact.look(self.client, nodes).await;
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

    /// Handles what arrives; returns the run where it is the end.
    fn arrived(&mut self, arrived: Arrived, manner: Manner) -> Result<Option<Run>> {
        let now = Instant::now();
        match arrived {
            Arrived::Event(event) => return self.take(*event, manner),
            Arrived::Refused(error) => return Err(error),
            Arrived::Connected => {
                if self.reach.found() && manner == Manner::Lines {
                    self.app.eprint("the server is there again");
                }
            }
            Arrived::Lost => {
                if self.reach.lost(now) && manner == Manner::Lines {
                    self.app.eprint("the connection to the server is lost; trying again");
                }
                // The tree says so itself, and continues once the server is back.
                if manner != Manner::Live && self.reach.lost_for(now) >= AWAY_WITHIN {
                    return Err(Error::new(
                        Code::Unreachable,
                        format!(
                            "the server cannot be reached since `{}`",
                            when::took(Span::from_secs(AWAY_WITHIN.as_secs()))
                        ),
                    )
                    .hint(format!("the run continues where the server does: `consort runs watch {}`", self.run)));
                }
            }
        }
        Ok(None)
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
        let away = self.contact.away(Instant::now());
        let (progress, turn) = (&self.progress, self.turn);
        let frame = Frame { style, width: width - 1, height, now, turn, progress, away: &away };
        let mut lines = vec![tree::heading(run, &frame)];
        lines.extend(self.reach.message(Instant::now()).map(|lost| style.paint(Paint::Yellow, &lost)));
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
