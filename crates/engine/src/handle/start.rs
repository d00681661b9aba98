//! Starting runs: what is decided before anything is logged.
//!
//! For: choosing the revision, answering a start that was answered before, checking the input and filling in its
//! defaults. Not for: rules that need the state when the record is applied (the machine checks those).
//! Invariant: an input that does not fit is never logged, and checking it keeps nothing else waiting: it is done away
//! from the loop, with a bounded cost.

use std::{collections::BTreeMap, sync::Arc};

use consort_core::{
    Command, Reply,
    command::{ForkRun, KeptJournal, StartRun},
    view::{StartPin, accept_input},
};
use consort_types::{BlobHash, Code, Error, Payload, Result, RunId, Span, bounds::check_optional_text, limits};
use consort_workflow::{CompiledWorkflow, Definition};

use super::{Handle, PartitionClient, operations::unexpected};
use crate::{
    admit::{check_payload, check_whole_numbers},
    blob_gc::Pin,
    shell,
};

/// What starts a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StartRequest {
    /// The namespace.
    pub namespace: String,
    /// The workflow's name.
    pub workflow: String,
    /// A revision number or an author's version; without one, the revision that the name takes.
    pub version: Option<String>,
    /// The workflow itself, checked, where it is not to be one that is deployed; then those that it calls by name, where
    /// they are not to be deployed ones either. The run is pinned to them, and nothing is deployed.
    pub definitions: Vec<CompiledWorkflow>,
    /// The input document; without one, `{}`. A large one is moved to the blob store.
    pub input: Option<Payload>,
    /// Makes the start repeatable: the same key with the same request answers the first run.
    pub idempotency_key: Option<String>,
    /// Labels, at most [`limits::LABELS_MAX`].
    pub labels: BTreeMap<String, String>,
    /// Added to the priority of every step.
    pub priority: i32,
    /// How long the run may take; without one, what the workflow says.
    pub timeout: Option<Span>,
    /// The trace of the caller, as a W3C `traceparent`; without one, the run begins a trace of its own.
    pub traceparent: Option<String>,
}

/// A run that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The run.
    pub run: RunId,
    /// Whether its idempotency key had started it before.
    pub deduplicated: bool,
}

/// What makes a new run of an old one.
#[derive(Clone, Debug, PartialEq)]
pub struct ForkRequest {
    /// The namespace.
    pub namespace: String,
    /// The run to take outcomes from.
    pub from: RunId,
    /// The top-level step from which to run again; without one, every step that has not completed.
    pub step: Option<String>,
    /// Another input; without one, the old run's.
    pub input: Option<Payload>,
    /// The entry of that step's journal up to which it is kept; without one, what is before the first entry that failed
    /// or has no answer, where the step had not completed.
    pub entry: Option<u32>,
}

/// What the state says of a start.
enum Found {
    /// Its idempotency key has started this run.
    Before(RunId),
    /// It would start this revision.
    Pin(StartPin),
}

fn started(reply: Reply) -> Result<Started> {
    match reply {
        Reply::Run { run, existing } => Ok(Started { run, deduplicated: existing }),
        other => Err(unexpected(&other)),
    }
}

impl Handle {
    /// Starts a run of the revision that the name and version mean at this moment.
    pub async fn start(&self, request: StartRequest) -> Result<Started> {
        let partition = self.of(&request.namespace);
        check_optional_text("version", request.version.as_deref(), limits::NAME_BYTES_MAX)?;
        check_key(request.idempotency_key.as_deref())?;
        let mut command = StartRun {
            idempotency_key: request.idempotency_key.clone(),
            labels: request.labels.clone(),
            priority: request.priority,
            timeout: request.timeout,
            traceparent: request.traceparent.clone(),
            definitions: request.definitions.clone(),
            ..StartRun::requested(partition.new_run_id(), &request.namespace, &request.workflow, Payload::null())
        };
        command.check()?;
        let input = request.input.clone().unwrap_or_else(|| Payload::inline(&b"{}"[..]));
        let version = StartRun::asked_version(request.version.as_deref(), &request.definitions);
        let asked = StartRun::request_hash(&request.workflow, version.as_deref(), &input);
        let pinned = match partition.find_start(&request, asked).await? {
            Found::Before(run) => return Ok(Started { run, deduplicated: true }),
            Found::Pin(pinned) => pinned,
        };
        let (input, pin) = partition.accept_input(input, pinned.definition).await?;
        command = StartRun { revision: pinned.revision, hash: pinned.hash, request: asked, input, ..command };
        started(partition.submit(Command::StartRun(command), pin).await?)
    }

    /// Makes a new run that takes outcomes over from an old one.
    pub async fn fork(&self, request: ForkRequest) -> Result<Started> {
        let (namespace, from) = (request.namespace, request.from);
        let partition = self.of(&namespace);
        let mut command = ForkRun {
            run: partition.new_run_id(),
            namespace: namespace.clone(),
            from,
            step: request.step,
            input: None,
            journal: Some(request.entry.map_or(KeptJournal::BeforeFailure, KeptJournal::Entries)),
        };
        command.check()?;
        let (input, pin) = match request.input {
            Some(input) => {
                let definition = partition.read(move |machine| machine.run_definition(&namespace, from)).await??;
                let (input, pin) = partition.accept_input(input, definition).await?;
                (Some(input), pin)
            }
            None => (None, None),
        };
        command.input = input;
        started(partition.submit(Command::ForkRun(command), pin).await?)
    }

    /// Makes a new run that repeats what had not completed in an old one, or everything from `step` on.
    pub async fn retry(&self, namespace: &str, run: RunId, step: Option<String>) -> Result<Started> {
        self.fork(ForkRequest { namespace: namespace.to_owned(), from: run, step, input: None, entry: None }).await
    }
}

impl PartitionClient {
    /// A start that was answered before is answered before its input is looked at.
    async fn find_start(&self, request: &StartRequest, asked: BlobHash) -> Result<Found> {
        let (namespace, key) = (request.namespace.clone(), request.idempotency_key.clone());
        let (workflow, version) = (request.workflow.clone(), request.version.clone());
        let own = request.definitions.first().map(StartPin::carried).transpose()?;
        let found = self.read(move |machine| {
            if let Some(key) = &key
                && let Some(run) = machine.started_before(&namespace, key, asked)?
            {
                return Ok(Found::Before(run));
            }
            match own {
                Some(own) => Ok(Found::Pin(own)),
                None => machine.pin_start(&namespace, &workflow, version.as_deref()).map(Found::Pin),
            }
        });
        found.await?
    }

    /// Checks an input, fills in its defaults, and puts a large one into the blob store.
    async fn accept_input(&self, input: Payload, definition: Arc<Definition>) -> Result<(Payload, Option<Pin>)> {
        if definition.input.schema().is_none() {
            return self.admit("input", input).await;
        }
        let given = match input {
            Payload::Blob { .. } => Payload::Inline(self.payload(input).await?),
            inline @ Payload::Inline(_) => inline,
        };
        let accepted = tokio::task::spawn_blocking(move || accept(given, &definition));
        let accepted = accepted.await.map_err(|_| shell::stopping())??;
        self.admit("input", accepted).await
    }
}

/// Refuses an empty idempotency key: it is that of a variable that was not set, and the same for every client that forgets it.
fn check_key(key: Option<&str>) -> Result<()> {
    if key.is_some_and(|key| key.trim().is_empty()) {
        return Err(Error::new(Code::BadRequest, "the idempotency key is empty")
            .hint("give one that names what is started, or leave it out"));
    }
    Ok(())
}

/// The input as the definition accepts it.
fn accept(given: Payload, definition: &Definition) -> Result<Payload> {
    check_payload("input", &given)?;
    let Payload::Inline(bytes) = &given else { return Ok(given) };
    check_whole_numbers("input", bytes)?;
    Ok(accept_input(definition, bytes)?.map_or(given, Payload::inline))
}
