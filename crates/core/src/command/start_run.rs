//! `StartRun`: begin a durable execution of a workflow.

use std::collections::BTreeMap;

use consort_types::{BlobHash, Code, Error, Name, Payload, Result, RunId, Span, accept_traceparent, limits};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::{cache::Document, fold::Fold, keys::NamedKey, rows::Started, run::NewRun};

/// Starts a run. With an idempotency key, the same request again answers the first run.
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
    /// A revision number or an author's version; without one, the newest.
    #[n(3)]
    pub version: Option<String>,
    /// The input; checked against the workflow's declaration.
    #[n(4)]
    pub input: Payload,
    /// Makes the start repeatable; at most [`limits::IDEMPOTENCY_KEY_BYTES_MAX`] bytes.
    #[n(5)]
    pub idempotency_key: Option<String>,
    /// Labels, at most [`limits::LABELS_MAX`].
    #[n(6)]
    pub labels: BTreeMap<String, String>,
    /// Added to the priority of every step.
    #[n(7)]
    pub priority: i32,
    /// How long the run may take; without one, what the workflow says.
    #[n(8)]
    pub timeout: Option<Span>,
    /// The trace of the caller, as a W3C `traceparent`; without one, the run begins a trace of its own.
    #[n(9)]
    pub traceparent: Option<String>,
}

impl StartRun {
    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        let request = self.request_hash();
        if let Some(reply) = self.existing(fold, request)? {
            return Ok(reply);
        }
        self.check(fold)?;
        let traceparent = self.traceparent.as_deref().map(accept_traceparent).transpose()?;
        let hash = fold.resolve_workflow(&self.namespace, &self.workflow, self.version.as_deref())?;
        let definition = fold.machine.definition(hash)?;
        let given = fold.document(Document::Input(self.run), &self.input)?;
        let input = definition.accept_input(&given)?;
        let unchanged = input == *given;
        let input = if unchanged {
            fold.retain(&self.input)?;
            self.input.clone()
        } else {
            fold.machine.documents.take(&Document::Input(self.run));
            fold.keep("input", serde_json::to_vec(&input).unwrap_or_default())?
        };
        if let Some(key) = &self.idempotency_key {
            fold.machine.tables.started.put(self.key(key), Started { run: self.run, request });
        }
        fold.create_run(NewRun {
            id: self.run,
            namespace: self.namespace.clone(),
            definition,
            input,
            parent: None,
            depth: 0,
            paused: false,
            origin: None,
            labels: self.labels.clone(),
            priority: self.priority,
            idempotency_key: self.idempotency_key.clone(),
            timeout: self.timeout,
            traceparent,
            root: None,
        })?;
        fold.open_root(self.run)?;
        Ok(Reply::Run { run: self.run, existing: false })
    }

    fn key(&self, key: &str) -> NamedKey {
        NamedKey { namespace: self.namespace.clone(), name: key.to_owned(), number: 0 }
    }

    /// What makes two starts the same request.
    fn request_hash(&self) -> BlobHash {
        let mut bytes = Vec::new();
        for part in [self.workflow.as_bytes(), self.version.as_deref().unwrap_or("").as_bytes()] {
            bytes.extend(part);
            bytes.push(0);
        }
        match &self.input {
            Payload::Inline(input) => bytes.extend(&**input),
            Payload::Blob { hash, .. } => bytes.extend(hash.0),
        }
        BlobHash::of(&bytes)
    }

    fn existing(&self, fold: &mut Fold<'_>, request: BlobHash) -> Result<Option<Reply>> {
        let Some(key) = &self.idempotency_key else { return Ok(None) };
        let Some(started) = fold.machine.tables.started.get(&self.key(key))? else { return Ok(None) };
        if started.request != request {
            let message = format!("idempotency key `{key}` has started run `{}` with another request", started.run);
            return Err(Error::new(Code::IdempotencyMismatch, message)
                .hint("use a new key for a new request, or repeat the request as it was"));
        }
        Ok(Some(Reply::Run { run: started.run, existing: true }))
    }

    fn check(&self, fold: &mut Fold<'_>) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        if fold.machine.tables.runs.get(&self.run)?.is_some() {
            return Err(Error::new(Code::RunExists, format!("run `{}` exists already", self.run)));
        }
        let key_bytes = self.idempotency_key.as_ref().map_or(0, String::len);
        let key_max = limits::IDEMPOTENCY_KEY_BYTES_MAX;
        if key_bytes > key_max || self.idempotency_key.as_ref().is_some_and(|key| key.contains('\0')) {
            let message =
                format!("the idempotency key has {key_bytes} bytes, the limit is {key_max}, without zero bytes");
            return Err(Error::new(Code::LimitReached, message).hint("use a hash of what identifies the request"));
        }
        if self.labels.len() > limits::LABELS_MAX {
            let message = format!("the run has {} labels, the limit is {}", self.labels.len(), limits::LABELS_MAX);
            return Err(Error::new(Code::LimitReached, message));
        }
        fold.check_runs_active(&self.namespace)
    }
}
