//! One test on an engine of its own: the run from its start to its end, or to where nothing more comes.
//!
//! For: doing what a test says. Not for: judging what came of it (see `judge`).
//! Invariant: time is skipped only when the run waits for nothing else that the test has.

use std::{sync::Arc, time::Duration};

use consort_api::{
    Document, NoParams, PageParams,
    events::{PublishEvents, PublishRequest},
    inbox::{Decide, DecideRequest, Decision, ItemParams, ListInbox},
    inside::{RunSteps, RunTree, Step, StepNode, StepsParams},
    operate::{CancelRequest, CancelRun, SignalParams, SignalRun},
    runs::{Run, RunParams, ShowRun, ShowRunParams, StartParams, StartRequest, StartRun},
};
use consort_server::{Called, Offers, Rehearsal};
use consort_types::{Code, Error, OnUnknown, Result, RunId, Span, Time};
use consort_workflow::{Action as StepAction, Definition};
use serde_json::{Value, json};

use super::{
    file::{Action, Answer, Test},
    mock::Cast,
};
use crate::client::{self, Client};

/// Who decides, where a test does not say it.
const BY: &str = "test";
/// How often time is skipped while nothing changes: other timers than the run's may come first.
const IDLE_SKIPS_MAX: u32 = 100;
/// How long a test may take of real time.
const TEST_WITHIN: Duration = Duration::from_mins(1);

/// A workflow under test, with those that it starts.
pub(super) struct Script {
    pub(super) text: String,
    pub(super) definition: Definition,
    /// Texts and definitions of the workflows that it starts by name.
    pub(super) children: Vec<(String, Definition)>,
}

/// What came of a test.
pub(super) struct Played {
    pub(super) run: Run,
    pub(super) steps: Vec<Step>,
    pub(super) called: Vec<Called>,
    pub(super) unknown: Vec<String>,
    /// What the run waits for at the end, where it has not ended.
    pub(super) waits: Vec<String>,
    /// What the test would have done and did not come to.
    pub(super) left: Vec<Action>,
}

/// Plays a test; `cast` answers its calls.
pub(super) async fn play(script: &Script, test: &Test, cast: Arc<Cast>) -> Result<Played> {
    let of_mock = Arc::clone(&cast);
    let rehearsal = Rehearsal::open(offers(script), move |called| of_mock.answer(called)).await?;
    let client = client::local(rehearsal.router());
    let played = async {
        let run = start(&client, script, test).await?;
        let mut stage = Stage { rehearsal: &rehearsal, client: &client, run, idle: 0, seen: 0 };
        let left = stage.play(&test.actions).await?;
        stage.end(left, &cast).await
    };
    let played = tokio::time::timeout(TEST_WITHIN, played).await.unwrap_or_else(|_| {
        let message = format!("the test has not ended in {} s", TEST_WITHIN.as_secs());
        Err(Error::new(Code::TimedOut, message).hint("does the workflow repeat something without end?"))
    });
    rehearsal.close().await;
    played
}

/// Everything that the workflows may call: mocked, whether it has a mock or not.
fn offers(script: &Script) -> Offers {
    let mut offers = Offers::new();
    let definitions = script.children.iter().map(|(_, child)| child).chain([&script.definition]);
    for step in definitions.flat_map(|definition| &definition.blocks).flat_map(|block| &block.steps) {
        let mut offer = |agent: Option<&str>, capability: &str| {
            offers.entry(agent.unwrap_or("mocks").to_owned()).or_default().insert(capability.to_owned());
        };
        if let StepAction::Call { capability: Some(capability), agent } = &step.action {
            offer(agent.as_deref(), capability);
        }
        step.compensate.iter().for_each(|undo| offer(None, &undo.capability));
        step.auction.iter().for_each(|auction| offer(None, &auction.ask));
        if let OnUnknown::Reconcile(capability) = &step.on_unknown {
            offer(None, capability);
        }
    }
    offers
}

async fn start(client: &Client, script: &Script, test: &Test) -> Result<RunId> {
    let request = StartRequest {
        source: Some(script.text.clone()),
        children: script.children.iter().map(|(text, _)| text.clone()).collect(),
        input: Some(test.input.clone().into()),
        ..StartRequest::of(script.definition.name.clone())
    };
    Ok(client.call::<StartRun>(&StartParams::default(), &request).await?.run)
}

/// A run on the engine of a test.
struct Stage<'a> {
    rehearsal: &'a Rehearsal,
    client: &'a Client,
    run: RunId,
    /// How often time was skipped since the run changed, and the record that changed it.
    idle: u32,
    seen: u64,
}

impl Stage<'_> {
    /// Does what the test says, and skips time, until the run ends or nothing more comes; what is left of the test.
    async fn play(&mut self, actions: &[Action]) -> Result<Vec<Action>> {
        let mut left = actions;
        loop {
            let waits = self.rehearsal.settle().await?;
            let run = self.show().await?;
            if run.summary.status.has_ended() {
                return Ok(left.to_vec());
            }
            if self.seen != run.changed {
                (self.seen, self.idle) = (run.changed, 0);
            }
            if let Some((action, rest)) = left.split_first()
                && self.act(action).await?
            {
                (left, self.idle) = (rest, 0);
                continue;
            }
            match waits.next.filter(|_| self.idle < IDLE_SKIPS_MAX) {
                Some(next) => self.skip_to(waits.now, next),
                None => return Ok(left.to_vec()),
            }
        }
    }

    /// Skips to just behind an instant.
    fn skip_to(&mut self, now: Time, next: Time) {
        self.idle += 1;
        self.rehearsal.skip(Span(next.since(now).0 + 1));
    }

    async fn show(&self) -> Result<Run> {
        self.client.call::<ShowRun>(&ShowRunParams { run: self.run, wait: None }, &()).await
    }

    async fn tree(&self) -> Result<Vec<StepNode>> {
        self.client.call::<RunTree>(&RunParams { run: self.run }, &()).await
    }

    /// Does something from outside; `false` where the run does not wait for it yet.
    async fn act(&mut self, action: &Action) -> Result<bool> {
        match action {
            Action::Approve(answer) => self.decide(answer, Decision::Approve, None).await,
            Action::Reject(answer) => self.decide(answer, Decision::Reject, None).await,
            Action::Decide(decided) => {
                let answer = Answer { step: decided.step.clone(), by: None, comment: None, value: None };
                self.decide(&answer, decided.decision, decided.output.clone()).await
            }
            Action::Signal(signal) => {
                let waited = waited_for(&self.tree().await?, "signal");
                if !waited.contains(&signal.name) {
                    return Ok(false);
                }
                let params = SignalParams { run: self.run, name: signal.name.clone() };
                self.client.call::<SignalRun>(&params, &signal.payload.clone().into()).await?;
                Ok(true)
            }
            Action::Publish(event) => self.publish(event).await,
            Action::Advance(span) => self.advance(*span).await.map(|()| true),
            Action::Cancel(reason) => {
                let request = CancelRequest { reason: reason.clone(), force: false };
                self.client.call::<CancelRun>(&RunParams { run: self.run }, &request).await?;
                Ok(true)
            }
        }
    }

    async fn decide(&self, answer: &Answer, decision: Decision, output: Option<Value>) -> Result<bool> {
        let inbox = self.client.call::<ListInbox>(&PageParams::default(), &()).await?;
        let Some(item) = inbox.items.into_iter().find(|item| item.step == answer.step) else { return Ok(false) };
        let mut request = DecideRequest::new(decision, answer.by.as_deref().unwrap_or(BY));
        request.comment.clone_from(&answer.comment);
        request.value = answer.value.clone().map(Document::from);
        request.output = output.map(Document::from);
        self.client.call::<Decide>(&ItemParams { task: item.task }, &request).await?;
        Ok(true)
    }

    async fn publish(&self, event: &Value) -> Result<bool> {
        if waited_for(&self.tree().await?, "event").is_empty() {
            return Ok(false);
        }
        let mut event = event.clone();
        if let Some(members) = event.as_object_mut() {
            for (name, value) in [("specversion", "1.0"), ("source", "/test"), ("type", "test")] {
                members.entry(name).or_insert_with(|| json!(value));
            }
            members.entry("id").or_insert_with(|| json!(format!("test-{}", self.seen)));
        }
        let request: PublishRequest = serde_json::from_value(event)
            .map_err(|error| Error::new(Code::BadEvent, format!("what is to be published is no event: {error}")))?;
        self.client.call::<PublishEvents>(&NoParams {}, &request).await?;
        Ok(true)
    }

    /// Lets that much time pass, with everything that it brings.
    async fn advance(&mut self, span: Span) -> Result<()> {
        let waits = self.rehearsal.settle().await?;
        let end = waits.now.after(span);
        let mut now = waits.now;
        let mut next = waits.next;
        while now < end {
            let to = next.map_or(end, |next| next.min(end));
            self.rehearsal.skip(Span(to.since(now).0 + 1));
            let waits = self.rehearsal.settle().await?;
            (now, next) = (waits.now, waits.next);
        }
        Ok(())
    }

    /// What came of it.
    async fn end(&self, left: Vec<Action>, cast: &Cast) -> Result<Played> {
        let run = self.show().await?;
        let waits = if run.summary.status.has_ended() { Vec::new() } else { open(&self.tree().await?, "") };
        let mut steps = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.client.call::<RunSteps>(&StepsParams { run: self.run, cursor, limit: None }, &()).await?;
            steps.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        Ok(Played { run, steps, called: cast.called(), unknown: cast.unknown(), waits, left })
    }
}

/// The names of what is waited for, of one kind.
fn waited_for(nodes: &[StepNode], kind: &str) -> Vec<String> {
    let own = |node: &StepNode| {
        let waits = node.waits_for.iter().filter(|waits| waits.kind == kind);
        waits.map(|waits| waits.name.clone().unwrap_or_default()).collect::<Vec<_>>()
    };
    nodes.iter().flat_map(|node| own(node).into_iter().chain(waited_for(&node.children, kind))).collect()
}

/// The steps that have not ended, and what each waits for.
fn open(nodes: &[StepNode], above: &str) -> Vec<String> {
    let mut found = Vec::new();
    for node in nodes.iter().filter(|node| !node.state.has_ended()) {
        let path = if above.is_empty() { node.name.clone() } else { format!("{above}/{}", node.name) };
        let below = open(&node.children, &path);
        if below.is_empty() {
            let names = node.waits_for.iter().map(|waits| {
                format!(" for {} {}", waits.kind, waits.name.as_deref().unwrap_or_default()).trim_end().to_owned()
            });
            let state = node.state.as_str().replace('_', " ");
            found.push(format!("`{path}` is {state}{}", names.collect::<String>().replace(" for", ": waits for")));
        }
        found.extend(below);
    }
    found
}
