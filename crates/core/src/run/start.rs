//! `StartRun`: begin a durable execution of a workflow.
//!
//! For: the command, its rule and its reply. Not for: how a run is created (see `lifecycle`), or what admission checks
//! before it logs a start (see `views::admission`).
//! Invariant: with an idempotency key, the same request again gets the first run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use consort_types::{
    BlobHash, Code, Error, Name, Payload, Result, RunId, Span, accept_traceparent, bounds::check_labels, limits,
};
use consort_workflow::{CompiledWorkflow, Definition};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    encode::canonical,
    key::NamedKey,
    quota::namespace,
    registry::{uses, workflows},
    run::{
        lifecycle::{self, NewRun},
        rows::run::IdempotencyRecord,
        scope,
    },
    state::State,
};

/// Starts a run of a revision that the door has chosen, or of a workflow that comes with the start and is not deployed;
/// with an input that the door has checked against it and filled in
/// ([`Machine::pin_start`](crate::Machine::pin_start)). With an idempotency key, the same request again answers the
/// first run.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct StartRun {
    /// The new run's id, made by the engine.
    #[n(0)]
    pub run: RunId,
    /// The namespace.
    #[n(1)]
    pub namespace: String,
    /// The workflow's name.
    #[n(2)]
    pub workflow: String,
    /// Its revision, as it was deployed in the namespace when the run was requested; 0 where it comes with the start.
    #[n(3)]
    pub revision: u32,
    /// The content hash of that revision.
    #[n(4)]
    pub hash: BlobHash,
    /// The input, accepted by that revision.
    #[n(5)]
    pub input: Payload,
    /// What was requested, by [`StartRun::request_hash`].
    #[n(6)]
    pub request: BlobHash,
    /// Makes the start repeatable; at most [`limits::IDEMPOTENCY_KEY_BYTES_MAX`] bytes.
    #[n(7)]
    pub idempotency_key: Option<String>,
    /// Labels, at most [`limits::LABELS_MAX`].
    #[n(8)]
    pub labels: BTreeMap<String, String>,
    /// Added to the priority of every step.
    #[n(9)]
    pub priority: i32,
    /// How long the run may take; by default, the timeout of the workflow.
    #[n(10)]
    pub timeout: Option<Span>,
    /// The trace of the caller, as a W3C `traceparent`; without one, the run starts a new trace.
    #[n(11)]
    pub traceparent: Option<String>,
    /// The workflow itself, where it comes with the start; then those that it calls by name, and they in turn, where
    /// they come with it. At most [`limits::START_DEFINITIONS_MAX`].
    #[n(12)]
    #[cbor(default)]
    pub definitions: Vec<CompiledWorkflow>,
}

/// The reply to a start or a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartedRun {
    /// The run.
    pub(crate) run: RunId,
    /// Whether its idempotency key had started it before.
    pub(crate) existing: bool,
}

impl StartRun {
    /// As [`Command::check`].
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check_size("workflow", &self.workflow)?;
        check_labels("run", &self.labels)?;
        // An empty key would make every start without one the same.
        if self.idempotency_key.as_deref() == Some("") {
            return Err(
                Error::new(Code::BadRequest, "the idempotency key is empty").hint("leave it out, or choose one")
            );
        }
        let (key, max) = (self.idempotency_key.as_deref().unwrap_or(""), limits::IDEMPOTENCY_KEY_BYTES_MAX);
        if key.len() > max || key.contains('\0') {
            let message =
                format!("the idempotency key has {} bytes, the limit is {max}, without zero bytes", key.len());
            return Err(Error::new(Code::LimitReached, message).hint("use a hash of what identifies the request"));
        }
        Self::check_definitions(&self.definitions)?;
        self.traceparent.as_deref().map_or(Ok(()), |text| accept_traceparent(text).map(drop))
    }

    /// Refuses more workflows than a start may carry, by number and by bytes.
    pub fn check_definitions(definitions: &[CompiledWorkflow]) -> Result<()> {
        let hint = "deploy the workflows that it calls: `consort workflows deploy`";
        let (count, max) = (definitions.len(), limits::START_DEFINITIONS_MAX);
        if count > max {
            let message = format!("the start carries {count} workflows, the limit is {max}");
            return Err(Error::new(Code::LimitReached, message).hint(hint));
        }
        let bytes: usize = definitions.iter().map(|workflow| workflow.normal_form.len() + workflow.source.len()).sum();
        let max = limits::START_DEFINITIONS_BYTES_MAX;
        if bytes > max {
            let message = format!("the workflows of the start have {bytes} bytes, the limit is {max}");
            return Err(Error::new(Code::LimitReached, message).hint(hint));
        }
        Ok(())
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<StartedRun> {
        if let Some(key) = &self.idempotency_key
            && let Some(run) = started_before(ctx.state, &self.namespace, key, self.request)?
        {
            return Ok(StartedRun { run, existing: true });
        }
        if ctx.state.tables.runs.get(&self.run)?.is_some() {
            return Err(Error::new(Code::RunExists, format!("run `{}` exists already", self.run)));
        }
        namespace::check_runs_active(ctx.state, &self.namespace)?;
        let traceparent = self.traceparent.as_deref().map(accept_traceparent).transpose()?;
        let (definition, pins) = self.take_definitions(ctx)?;
        ctx.retain(&self.input)?;
        if let Some(key) = &self.idempotency_key {
            let key = NamedKey::of(&self.namespace, key);
            ctx.state.tables.idempotency.put(key, IdempotencyRecord { run: self.run, request: self.request });
        }
        lifecycle::create_run(
            ctx,
            NewRun {
                labels: self.labels.clone(),
                priority: self.priority,
                idempotency_key: self.idempotency_key.clone(),
                timeout: self.timeout,
                traceparent,
                pins,
                ..NewRun::of(self.run, &self.namespace, self.hash, definition, self.input.clone())
            },
        )?;
        scope::open_root(ctx, self.run)?;
        Ok(StartedRun { run: self.run, existing: false })
    }

    /// A start as it was requested: not yet pinned to a revision, and its input not yet checked.
    pub fn requested(run: RunId, namespace: &str, workflow: &str, input: Payload) -> Self {
        let none = BlobHash([0; 32]);
        Self {
            run,
            namespace: namespace.to_owned(),
            workflow: workflow.to_owned(),
            revision: 0,
            hash: none,
            input,
            request: none,
            idempotency_key: None,
            labels: BTreeMap::new(),
            priority: 0,
            timeout: None,
            traceparent: None,
            definitions: Vec::new(),
        }
    }

    /// The definition that the run is pinned to, and the contents for the names that it calls.
    fn take_definitions(&self, ctx: &mut ApplyContext<'_>) -> Result<(Arc<Definition>, BTreeMap<String, BlobHash>)> {
        let Some((own, others)) = self.definitions.split_first() else {
            workflows::check_deployed(ctx.state, &self.namespace, &self.workflow, self.revision, self.hash)?;
            return Ok((ctx.state.definition(self.hash)?, BTreeMap::new()));
        };
        let definition = own.definition()?;
        if (self.hash, self.revision, &self.workflow) != (own.hash(), 0, &definition.name) {
            let message = format!("workflow `{}` is not the first that comes with its start", self.workflow);
            return Err(Error::new(Code::BadRequest, message).hint("name the workflow that comes first"));
        }
        let mut by_name = BTreeMap::from([(definition.name.clone(), (own, definition.clone()))]);
        for workflow in others {
            let definition = workflow.definition()?;
            let name = definition.name.clone();
            if by_name.insert(name.clone(), (workflow, definition)).is_some() {
                let message = format!("workflow `{name}` comes twice with the start");
                return Err(Error::new(Code::BadRequest, message).hint("send each workflow once"));
            }
        }
        let called: BTreeSet<String> =
            by_name.values().flat_map(|(_, definition)| definition.called_by_name().map(str::to_owned)).collect();
        // What nothing calls is not kept.
        by_name.retain(|name, _| called.contains(name));
        let pins = by_name.iter().map(|(name, (workflow, _))| (name.clone(), workflow.hash())).collect();
        for (workflow, definition) in by_name.into_values() {
            uses::keep(ctx, workflow, definition);
        }
        Ok((uses::keep(ctx, own, definition), pins))
    }

    /// The version that the request of a start counts as: what was given, or the contents that come with it.
    pub fn asked_version(version: Option<&str>, definitions: &[CompiledWorkflow]) -> Option<String> {
        if definitions.is_empty() {
            return version.map(str::to_owned);
        }
        let hashes: Vec<_> = definitions.iter().map(|workflow| workflow.hash().to_string()).collect();
        Some(hashes.join(" "))
    }

    /// What makes two starts the same request: the workflow and version as they were named, and the input as it was
    /// given, before defaults were filled in, whatever the order of its members and its spaces. Of a document over
    /// [`limits::INLINE_BYTES_MAX`] the bytes count.
    pub fn request_hash(workflow: &str, version: Option<&str>, input: &Payload) -> BlobHash {
        let mut bytes = Vec::new();
        for part in [workflow.as_bytes(), version.unwrap_or("").as_bytes()] {
            bytes.extend(part);
            bytes.push(0);
        }
        match input {
            // A large document may come as it is or as a blob, and is the same request.
            Payload::Inline(input) if input.len() > limits::INLINE_BYTES_MAX => bytes.extend(BlobHash::of(input).0),
            Payload::Inline(input) => bytes.extend(canonical(input)),
            Payload::Blob { hash, .. } => bytes.extend(hash.0),
        }
        BlobHash::of(&bytes)
    }
}

/// The run that an idempotency key has started, where it has; `request` is the
/// [`StartRun::request_hash`](crate::command::StartRun::request_hash) of the start.
///
/// # Errors
/// [`Code::IdempotencyMismatch`] where the key has started a run with another request.
pub(crate) fn started_before(
    state: &mut State,
    namespace: &str,
    key: &str,
    request: BlobHash,
) -> Result<Option<RunId>> {
    let row = NamedKey::of(namespace, key);
    let Some(started) = state.tables.idempotency.get(&row)? else { return Ok(None) };
    if started.request == request {
        return Ok(Some(started.run));
    }
    let message = format!("idempotency key `{key}` has started run `{}` with another request", started.run);
    Err(Error::new(Code::IdempotencyMismatch, message)
        .hint("use a new key for a new request, or repeat the request as it was"))
}
