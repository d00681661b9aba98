//! What admission needs to know before it logs a start.
//!
//! For: pinning a start to a revision, and answering one that was answered before. Not for: checking inputs: that is done
//! with the pinned definition, away from the loop, before anything is logged.
//! Invariant: nothing here changes the state; what is pinned is checked again when the command is applied.

use std::sync::Arc;

use consort_types::{BlobHash, Code, Error, Payload, Result, RunId};
use consort_workflow::{CompiledWorkflow, Definition};
use serde_json::Value;

use crate::{
    encode::encode,
    machine::Machine,
    registry::workflows,
    run::start::{self, StartRun},
};

/// The revision that a start by name means now.
#[derive(Clone, Debug)]
pub struct StartPin {
    /// The revision.
    pub revision: u32,
    /// Its content hash.
    pub hash: BlobHash,
    /// Its definition, which checks the input.
    pub definition: Arc<Definition>,
}

impl StartPin {
    /// What a start is pinned to that carries its workflow: no deployed revision.
    ///
    /// # Errors
    /// Where the workflow cannot be read.
    pub fn carried(workflow: &CompiledWorkflow) -> Result<Self> {
        Ok(Self { revision: 0, hash: workflow.hash(), definition: Arc::new(workflow.definition()?) })
    }
}

/// An input as the definition accepts it; `None` where the given bytes stay as they are.
///
/// # Errors
/// [`Code::BadJson`], and those of [`InputSpec::accept`](consort_workflow::InputSpec::accept).
pub fn accept_input(definition: &Definition, given: &[u8]) -> Result<Option<Vec<u8>>> {
    let document: Value =
        serde_json::from_slice(given).map_err(|_| Error::new(Code::BadJson, "the input is not one JSON document"))?;
    let accepted = definition.accept_input(&document)?;
    // What the caller wrote is kept as it was written, where no default was filled in.
    if accepted == document {
        return Ok(None);
    }
    Ok(Some(encode(&accepted)))
}

impl Machine {
    /// The revision that a workflow's name and version mean now.
    ///
    /// # Errors
    /// [`Code::WorkflowNotFound`], [`Code::WorkflowRetired`].
    pub fn pin_start(&mut self, namespace: &str, workflow: &str, version: Option<&str>) -> Result<StartPin> {
        let found = workflows::resolve_revision(&mut self.state, namespace, workflow, version)?;
        workflows::refuse_retired(&mut self.state, namespace, workflow, None)?;
        let definition = self.state.definition(found.hash)?;
        Ok(StartPin { revision: found.revision, hash: found.hash, definition })
    }

    /// The same for a caller that owns the machine, such as the simulator: a start that was only requested, pinned and
    /// with its input accepted. One that was answered before is left as it is: the machine answers it again.
    ///
    /// # Errors
    /// [`Code::WorkflowNotFound`], and those of an input that does not fit.
    pub fn prepare_start(&mut self, requested: StartRun, version: Option<&str>) -> Result<StartRun> {
        let asked = StartRun::asked_version(version, &requested.definitions);
        let request = StartRun::request_hash(&requested.workflow, asked.as_deref(), &requested.input);
        if let Some(key) = &requested.idempotency_key
            && start::started_before(&mut self.state, &requested.namespace, key, request)?.is_some()
        {
            return Ok(StartRun { request, ..requested });
        }
        let pin = match requested.definitions.first() {
            Some(own) => StartPin::carried(own)?,
            None => self.pin_start(&requested.namespace, &requested.workflow, version)?,
        };
        let given = self.state.payload_bytes(&requested.input)?;
        let input = match accept_input(&pin.definition, &given)? {
            Some(accepted) => Payload::inline(accepted),
            None => requested.input,
        };
        Ok(StartRun { revision: pin.revision, hash: pin.hash, request, input, ..requested })
    }

    /// The run that an idempotency key has started, where it has; `request` is the
    /// [`StartRun::request_hash`](crate::command::StartRun::request_hash) of the start.
    ///
    /// # Errors
    /// [`Code::IdempotencyMismatch`] where the key has started a run with another request.
    pub fn started_before(&mut self, namespace: &str, key: &str, request: BlobHash) -> Result<Option<RunId>> {
        start::started_before(&mut self.state, namespace, key, request)
    }

    /// The definition that a run is pinned to; accepts the input of a fork.
    ///
    /// # Errors
    /// [`Code::RunNotFound`].
    pub fn run_definition(&mut self, namespace: &str, run: RunId) -> Result<Arc<Definition>> {
        let hash = self.state.run_in(namespace, run)?.hash;
        self.state.definition(hash)
    }
}
