//! The messages between a worker and the engine, whatever carries them.
//!
//! For: the worker protocol as plain data, in process and over a network. Not for: how it travels.
//! Invariant: every report about a task names the task and the fencing token under which it was made.

mod check;
mod clash;

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

pub use check::check_positions;

use crate::{EffectClass, Error, Payload, RunId, Span, StepInstanceId, Time, Token};

/// What an agent declares of itself when it joins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentDeclaration {
    /// Its name, unique in its namespace.
    pub name: String,
    /// Its version, as the author counts; where it is a semantic version, tasks can request a range of versions.
    pub version: String,
    /// What it is, in a sentence.
    pub description: String,
    /// What it is found and chosen by, beside its capabilities.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What it can do.
    pub capabilities: Vec<CapabilityDeclaration>,
    /// The events that it is to be handed as tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<SubscriptionDeclaration>,
}

/// By what the events of a subscription are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventOrder {
    /// The `subject` of the event.
    Subject,
    /// Its extension attribute `partitionkey`.
    Partitionkey,
}

/// Events that an agent is handed as tasks. What is left out is as for any subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionDeclaration {
    /// Its name among those of the agent; of the namespace it is `AGENT.NAME`.
    pub name: String,
    /// The topics: `*` is any one segment, `>` at the end the rest.
    pub topic: String,
    /// The capability of the agent that handles an event; the event is its input.
    pub capability: String,
    /// Which of the events: CEL over `event` that gives `true` or `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Hand out events with the same key one at a time, in their order; it cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_by: Option<EventOrder>,
    /// After how many attempts an event becomes a dead letter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_deliveries: Option<u32>,
    /// The first pause between attempts, and the longest; they double.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_off: Option<(Span, Span)>,
    /// How long one attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How many events are tasks at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// How long the run of an event that was acknowledged is kept; not at all, without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Span>,
    /// Whether a new one begins with the oldest event that is kept, and not behind the last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_start: bool,
}

/// A named skill with its schemas and effect class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CapabilityDeclaration {
    /// Its name, such as `research.plan`.
    pub name: String,
    /// What it does, in a sentence.
    pub description: String,
    /// What repeating it may do to the world.
    pub effect: EffectClass,
    /// JSON Schema (2020-12) of its input; `true` accepts anything.
    pub input_schema: serde_json::Value,
    /// JSON Schema (2020-12) of its output; `true` accepts anything.
    pub output_schema: serde_json::Value,
    /// What one task costs, in the author's estimate, in millionths of a US dollar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_hint_microdollars: Option<u64>,
    /// How long one task takes, in the author's estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_hint: Option<Span>,
}

/// Which instances may take a task, beside those that have the capability.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize)]
pub struct Route {
    /// Versions of the agent: a range of semantic versions such as `^1.2`, or one version as the author wrote it.
    #[n(0)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Labels that the instance or its agent must have, with these values.
    #[n(1)]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Tasks with the same text go to the same instance for as long as it is there and healthy.
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<String>,
}

/// How often a call is tried, and with what pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct CallRetry {
    /// Attempts at most, the first included; from 1 to [`crate::limits::ATTEMPTS_MAX`].
    #[n(0)]
    pub attempts: u32,
    /// The pause after the first failure.
    #[n(1)]
    pub initial: Span,
    /// What each further pause grows by, in thousandths: 2000 doubles it. At least 1000.
    #[n(2)]
    pub factor_milli: u32,
    /// The longest pause.
    #[n(3)]
    pub max: Span,
}

/// How a call of a task is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct CallOptions {
    /// The agent that is to do it; any that has the capability where none is named.
    #[n(0)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Which of its instances.
    #[n(1)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// How often it is tried; once by default.
    #[n(2)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<CallRetry>,
    /// How long one attempt may take.
    #[n(3)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Added to the priority of the run; higher goes first.
    #[n(4)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
}

/// How a worker opens a session: one instance, hosting one agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The namespace to serve.
    pub namespace: String,
    /// The agent that the instance serves.
    pub agent: AgentDeclaration,
    /// How many tasks the instance wants to hold at once: its credit until [`FromWorker::Credit`] changes it.
    pub concurrency: u32,
    /// Tasks that the instance still holds from before a reconnect.
    pub held: Vec<(StepInstanceId, Token)>,
    /// Labels of the instance; they override those of its agent.
    pub labels: BTreeMap<String, String>,
    /// The client, for people: SDK with its version, host and process, such as `python/0.1.0 host:4711`. May be empty.
    pub client: String,
    /// The worker process: a random text that it makes when it starts, keeps over its reconnects, and keeps secret. By
    /// it the engine knows that a new connection replaces one that it has not missed yet. Where it is empty, what the
    /// instance holds can be claimed only once the engine has noticed that the old connection is closed.
    pub worker: String,
}

/// From the engine to a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum ToWorker {
    /// Do this.
    Task(Box<TaskOffer>),
    /// Stop doing this: it was cancelled, timed out or fenced. A report on it has no effect.
    Cancel {
        /// The task.
        task: StepInstanceId,
        /// The attempt's token.
        token: Token,
        /// Why, in a few words.
        reason: String,
    },
    /// The journal entry is durable (or, for a wait that is already over, durable and answered).
    Recorded {
        /// The task.
        task: StepInstanceId,
        /// The entry's position.
        index: u32,
        /// The entry as recorded, with its result in full once it is answered. It may come twice: first to say
        /// that the request is durable, later with the result, if the task has not parked before.
        entry: JournalEntry,
    },
    /// A report was refused.
    Refused {
        /// The task.
        task: StepInstanceId,
        /// The attempt's token.
        token: Token,
        /// Why.
        error: Error,
    },
    /// Nothing more is assigned to this instance: finish what you hold and leave.
    Drain,
}

/// A task as a worker sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskOffer {
    /// The task.
    pub task: StepInstanceId,
    /// The attempt's fencing token; every report carries it.
    pub token: Token,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// The capability to perform.
    pub capability: String,
    /// The run's workflow, for logs.
    pub workflow: String,
    /// The step's path in the run, for logs, such as `gather[3]`.
    pub step: String,
    /// The input document, in full (never a blob reference).
    pub input: Payload,
    /// The same for all attempts of the task; hand it to outside services.
    pub idempotency_key: String,
    /// When the attempt is given up.
    pub deadline: Option<Time>,
    /// What the task recorded so far, in order. Results are in full (never a blob reference). The documents of
    /// requests may be references where the core makes the offer; the transport puts the documents in their place.
    pub journal: Vec<JournalEntry>,
    /// The trace that the attempt belongs to, as a W3C `traceparent`.
    pub traceparent: String,
}

/// What a worker records while it works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// What was asked.
    pub request: JournalRequest,
    /// What the author calls it, for people. A replay does not compare it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Positions of the entries whose results the code was given between the entry before this one and this one,
    /// in that order. The engine keeps it with the entry: a replay gives the results in the same order, so that
    /// code with several branches asks again in the order in which it asked before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<u32>,
    /// Its outcome; `None` while it is pending.
    pub result: Option<Result<Payload, Error>>,
}

/// The kinds of journal entry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JournalRequest {
    /// The result of a local effect, which the worker reports together with the request.
    #[n(0)]
    Run {
        /// What the author calls it.
        #[n(0)]
        name: String,
    },
    /// A child task for another capability, scheduled by the engine.
    #[n(1)]
    Call {
        /// The capability.
        #[n(0)]
        capability: String,
        /// Its input.
        #[n(1)]
        input: Payload,
        /// Options of the call, where there are any.
        #[n(2)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        options: Option<Box<CallOptions>>,
    },
    /// A pause.
    #[n(2)]
    Sleep {
        /// How long.
        #[n(0)]
        span: Span,
    },
    /// A wait for a signal to the run.
    #[n(3)]
    Signal {
        /// The signal's name.
        #[n(0)]
        name: String,
        /// JSON Schema (2020-12) of its payload, where the code says one: a payload that does not fit is refused where it
        /// is sent. Inline, at most [`crate::limits::SIGNAL_SCHEMA_BYTES_MAX`]. A replay does not compare it.
        #[n(1)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schema: Option<Payload>,
    },
    /// A person's decision: it is in the inbox until a person approves or rejects it. The answer is `{"approved": bool,
    /// "by": text, "comment": text or null, "value": what was approved, after a yes}`; a no is an answer, not a failure.
    #[n(4)]
    Approval {
        /// What is asked, in a sentence.
        #[n(0)]
        prompt: String,
        /// What the decision is about.
        #[n(1)]
        detail: Payload,
    },
    /// The code has passed entries that it waited for: they lost a race, or what waited for them was dropped. It is
    /// answered with `null` at once, and they are never answered from then on.
    #[n(5)]
    Forget {
        /// Positions of `sleep`, `signal`, `approval` and `update` entries before this one, in ascending order.
        #[n(0)]
        entries: Vec<u32>,
    },
    /// Keys of shared state are read and written together, in the record of the entry: what was written and what was
    /// read are recorded at once, and a replay does nothing again. The answer is `{"version", "succeeded", "results":
    /// [{"space", "key", "outcome", "version", "value", "conflict"}]}`; a write that is rejected fails the entry.
    #[n(6)]
    State {
        /// The transaction, as [`crate::state::Transaction::read`] reads it.
        #[n(0)]
        transaction: Payload,
    },
    /// A value of the run that anyone may read by its name from then on, until the run is deleted; the last one counts. It
    /// is answered with `null` at once. A replay compares the name alone.
    #[n(7)]
    Expose {
        /// Its name in the run.
        #[n(0)]
        name: String,
        /// The value, at most [`crate::limits::EXPOSED_VALUE_BYTES_MAX`].
        #[n(1)]
        value: Payload,
    },
    /// Labels that the run gets, beside those that it has. It is answered with `null` at once. A replay compares nothing of
    /// it.
    #[n(8)]
    Labels {
        /// The labels with their values.
        #[n(0)]
        labels: BTreeMap<String, String>,
    },
    /// A wait for an update: a signal to the run whose sender is answered. The answer of the entry is `{"id", "input"}`.
    #[n(9)]
    Update {
        /// The update's name.
        #[n(0)]
        name: String,
        /// JSON Schema of its input, as that of a signal.
        #[n(1)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        schema: Option<Payload>,
    },
    /// What the sender of an update is answered. It is answered with `null` at once. A replay compares the position alone.
    #[n(10)]
    Answer {
        /// The position of the `update` entry, before this one, that has the update.
        #[n(0)]
        update: u32,
        /// What came of it; without that, it is rejected.
        #[n(1)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<Payload>,
        /// Why it is rejected.
        #[n(2)]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rejection: Option<String>,
    },
}

impl JournalRequest {
    /// The document that it brings, which may be large: what is called with, what a decision is about, a transaction, or
    /// what others read.
    pub fn document(&self) -> Option<&Payload> {
        match self {
            Self::Call { input: document, .. }
            | Self::Approval { detail: document, .. }
            | Self::State { transaction: document }
            | Self::Expose { value: document, .. } => Some(document),
            Self::Answer { value, .. } => value.as_ref(),
            _ => None,
        }
    }

    /// The same, to be put elsewhere.
    pub fn document_mut(&mut self) -> Option<&mut Payload> {
        match self {
            Self::Call { input: document, .. }
            | Self::Approval { detail: document, .. }
            | Self::State { transaction: document }
            | Self::Expose { value: document, .. } => Some(document),
            Self::Answer { value, .. } => value.as_mut(),
            _ => None,
        }
    }
}

/// A piece of partial output: watchers see it live; only a bounded tail is kept, in memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Delta {
    /// More text.
    Text {
        /// The text, to be put behind what came before.
        text: String,
    },
    /// A document of its own.
    Json {
        /// The document.
        value: serde_json::Value,
    },
}

/// From a worker to the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    /// The task is done.
    Complete {
        /// The task.
        task: StepInstanceId,
        /// The attempt's token.
        token: Token,
        /// What it made.
        output: Payload,
    },
    /// The attempt failed.
    Fail {
        /// The task.
        task: StepInstanceId,
        /// The attempt's token.
        token: Token,
        /// What went wrong.
        error: Error,
        /// Whether another attempt may help.
        retryable: bool,
        /// When to try again, where the agent knows.
        retry_after: Option<Span>,
    },
    /// A journal entry at position `index`, to be made durable. An entry that is there already is answered with
    /// `Recorded` (a worker requests it again after a reconnect), or refused where the request differs.
    Record {
        /// The task.
        task: StepInstanceId,
        /// The attempt's token.
        token: Token,
        /// Its position, from 0 without gaps.
        index: u32,
        /// The entry; only `Run` has a result.
        entry: JournalEntry,
    },
    /// The task only waits: it leaves the instance and is offered again with its journal as soon as one of the entries
    /// in `waiting` is answered; at once, where one is answered already (its answer crossed this message).
    Park {
        /// The task.
        task: StepInstanceId,
        /// The attempt's token.
        token: Token,
        /// Positions of the entries that the code waits for, in ascending order; never empty.
        waiting: Vec<u32>,
    },
    /// The attempt is alive. Progress is shown to watchers and not kept.
    Heartbeat {
        /// The task.
        task: StepInstanceId,
        /// The attempt's token.
        token: Token,
        /// What it is doing, in a few words.
        progress: Option<String>,
    },
    /// Partial output of an attempt, shown to watchers.
    Stream {
        /// The task.
        task: StepInstanceId,
        /// The attempt's token.
        token: Token,
        /// What there is more of it.
        delta: Delta,
    },
    /// The instance and all that it holds are alive.
    Alive,
    /// How many tasks the instance wants to hold at once from now on; 0 means none. What it holds stays.
    Credit {
        /// From 0 to [`crate::limits::INSTANCE_CREDIT_MAX`].
        tasks: u32,
    },
    /// The instance wants to leave: assign nothing more to it and answer with [`ToWorker::Drain`].
    Leaving,
}

impl ToWorker {
    /// Bytes that the message takes while it waits, roughly: its documents and texts, and their envelope.
    pub fn weight(&self) -> usize {
        MESSAGE_BYTES
            + match self {
                Self::Task(offer) => {
                    let journal = offer.journal.iter().map(JournalEntry::weight);
                    offer.input.len() as usize + offer.step.len() + journal.sum::<usize>()
                }
                Self::Cancel { reason, .. } => reason.len(),
                Self::Recorded { entry, .. } => entry.weight(),
                Self::Refused { error, .. } => error.message.len(),
                Self::Drain => 0,
            }
    }
}

/// Bytes of a message around its documents and texts, roughly.
const MESSAGE_BYTES: usize = 256;

impl JournalEntry {
    fn weight(&self) -> usize {
        let asked = self.request.document().map_or(0, Payload::len);
        let result = match &self.result {
            Some(Ok(output)) => output.len(),
            Some(Err(error)) => error.message.len() as u64,
            None => 0,
        };
        MESSAGE_BYTES + usize::try_from(asked + result).unwrap_or(usize::MAX)
    }
}

impl FromWorker {
    /// The task and the token of the attempt that the report is about; `None` where it is about the instance.
    pub fn attempt(&self) -> Option<(StepInstanceId, Token)> {
        match self {
            Self::Complete { task, token, .. }
            | Self::Fail { task, token, .. }
            | Self::Record { task, token, .. }
            | Self::Park { task, token, .. }
            | Self::Stream { task, token, .. }
            | Self::Heartbeat { task, token, .. } => Some((*task, *token)),
            Self::Alive | Self::Credit { .. } | Self::Leaving => None,
        }
    }
}

/// A live message of an attempt, with where it comes from; shown to watchers and not kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The run.
    pub run: RunId,
    /// The step's path.
    pub step: String,
    /// The attempt.
    pub attempt: u32,
    /// The kind of message, with its content.
    #[serde(flatten)]
    pub live: Live,
}

/// The content of a live message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Live {
    /// What the attempt is doing.
    Message {
        /// In a few words.
        message: String,
    },
    /// More of its partial output, as text.
    Text {
        /// The text, to be put behind what came before.
        text: String,
    },
    /// A document of its partial output.
    Json {
        /// The document.
        value: serde_json::Value,
    },
}

impl From<Delta> for Live {
    fn from(delta: Delta) -> Self {
        match delta {
            Delta::Text { text } => Self::Text { text },
            Delta::Json { value } => Self::Json { value },
        }
    }
}
