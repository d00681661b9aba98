//! Replays a recorded journal against the code of a capability, without a server.
//!
//! For: tests that changed code still fits the tasks in flight. Not for: running code against answers of a test, nor
//! for what the engine does.
//! Invariant: nothing is recorded and no effect is begun; the code is dropped when it requests what is not recorded.

use std::{fmt, sync::Arc, time::Duration};

use consort_types::{
    Code, Error, Payload, Result, RunId, StepInstanceId, Token,
    worker::{FromWorker, JournalEntry, JournalRequest, TaskOffer},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

pub use crate::journal::Divergence;
use crate::{
    Agent, TaskError,
    attempt::Attempt,
    context::write_payload,
    drive::{Timeouts, drive},
    outbox::Outbox,
};

/// How code replayed a recorded journal.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// How many recorded entries the code has requested.
    pub entries: u32,
    /// The entries that the code waits for at the end, which the journal has no answer to.
    pub waiting: Vec<u32>,
    /// How the code failed, where it had requested all that is recorded.
    pub failure: Option<Error>,
    /// Where the code took another path; `None` where it fits.
    pub divergence: Option<Divergence>,
}

impl Replayed {
    /// Whether the code requests all that is recorded, and then continues, waits or ends.
    pub fn fits(&self) -> bool {
        self.divergence.is_none()
    }
}

/// An entry as JSON has it: the request, and `output` or `error` where it is answered.
#[derive(Deserialize)]
struct Recorded {
    #[serde(flatten)]
    request: JournalRequest,
    #[serde(default)]
    after: Vec<u32>,
    #[serde(default, deserialize_with = "present")]
    output: Option<Payload>,
    #[serde(default)]
    error: Option<Error>,
}

/// An output of `null` is an output.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Payload>, D::Error> {
    Payload::deserialize(deserializer).map(Some)
}

/// Replays a recorded journal against the code of a capability: whether tasks in flight would continue with it.
///
/// `journal` is JSON: a list of entries, or a page that has them as `items`. An entry has its `kind` (`run`, `call`,
/// `sleep`, `signal`, `approval`, `expose` …) with the members of that request, `after`, and `output` or `error` where it is
/// answered: `{"kind": "run", "name": "number", "output": 4711}`.
///
/// # Errors
/// Where the agent has no such capability, or the input or the journal is not JSON of this form.
pub async fn replay_task(agent: &Agent, capability: &str, input: &impl Serialize, journal: &str) -> Result<Replayed> {
    let Some(code) = agent.handler(capability) else {
        let message = format!("agent `{}` has no capability `{capability}`", agent.name());
        return Err(Error::new(Code::BadRequest, message));
    };
    let input = write_payload("input", input).map_err(|error: TaskError| error.error().clone())?;
    let entries = read_entries(journal)?;
    let recorded = entries.len() as u32;
    let (attempt, input) = Attempt::new(offer(capability, input, entries));
    attempt.replay_only();
    let attempt = Arc::new(attempt);

    let (sender, mut sent) = mpsc::channel(1);
    let outbox = Outbox::default();
    outbox.open(sender);
    let driven = async {
        drive(Arc::clone(&attempt), input, Some(Arc::clone(code)), &outbox, TIMEOUTS).await;
        outbox.close();
    };
    let last = async {
        let mut last = None;
        while let Some(message) = sent.recv().await {
            last = Some(message);
        }
        last
    };
    let ((), report) = futures::future::join(driven, last).await;
    Ok(judge(&attempt, recorded, report))
}

const TIMEOUTS: Timeouts = Timeouts { park_after: Duration::from_millis(50), cancel_grace: Duration::from_secs(2) };

/// What the last report of the attempt means; without one the code continued behind the journal.
fn judge(attempt: &Attempt, recorded: u32, report: Option<FromWorker>) -> Replayed {
    let (mut waiting, mut failure) = (Vec::new(), None);
    let did = match report {
        Some(FromWorker::Park { waiting: entries, .. }) => {
            waiting = entries;
            format!("a wait for entry {}, which has no answer", waiting.first().copied().unwrap_or_default())
        }
        Some(FromWorker::Fail { error, .. }) => {
            let did = format!("the failure `{}`", error.message);
            failure = Some(error);
            did
        }
        _ => "the end of the code".to_owned(),
    };
    match attempt.divergence(&did) {
        Some(divergence) => {
            Replayed { entries: divergence.entry, waiting: Vec::new(), failure: None, divergence: Some(divergence) }
        }
        None => Replayed { entries: recorded, waiting, failure, divergence: None },
    }
}

/// The entries of a journal, alone or as the items of a page; one that cannot be read is named by its position.
fn read_entries(journal: &str) -> Result<Vec<JournalEntry>> {
    let unreadable = |what: &str, error: &dyn fmt::Display| Error::new(Code::BadJson, format!("{what}: {error}"));
    let mut document: Value =
        serde_json::from_str(journal).map_err(|error| unreadable("the journal is not JSON", &error))?;
    let list = if document.is_array() { document } else { document["items"].take() };
    let Value::Array(entries) = list else {
        return Err(unreadable("the journal cannot be read", &"it is no list of entries, and has none as `items`"));
    };
    let read = |(index, entry)| {
        let what = format!("entry {index} of the journal cannot be read");
        let Recorded { request, after, output, error } =
            serde_json::from_value(entry).map_err(|error| unreadable(&what, &error))?;
        Ok(JournalEntry { title: None, request, after, result: error.map(Err).or_else(|| output.map(Ok)) })
    };
    entries.into_iter().enumerate().map(read).collect()
}

/// The task of a test.
fn offer(capability: &str, input: Payload, journal: Vec<JournalEntry>) -> TaskOffer {
    TaskOffer {
        task: StepInstanceId { run: RunId([0; 16]), scope: 0, index: 0 },
        token: Token(1),
        attempt: if journal.is_empty() { 1 } else { 2 },
        capability: capability.to_owned(),
        workflow: "test".to_owned(),
        step: "test".to_owned(),
        input,
        idempotency_key: "test".to_owned(),
        deadline: None,
        journal,
        traceparent: String::new(),
    }
}
