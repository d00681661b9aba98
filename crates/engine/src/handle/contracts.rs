//! Holding tasks against what their capabilities declare.
//!
//! For: the schemas of one instance's agent, compiled once, and which of them the outputs of its tasks must fit. Not
//! for: the loop thread: checks run where the instance's messages are sent and received.
//! Invariant: an input that does not fit never reaches the agent, an output that does not fit is never recorded as one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use consort_types::{
    Code, Error, Payload, Result, StepInstanceId, Token,
    worker::{AgentDeclaration, FromWorker, TaskOffer},
};
use consort_workflow_check::Contract;

/// What one capability declares, where it does not accept everything.
#[derive(Default)]
struct Sides {
    input: Option<Arc<Contract>>,
    output: Option<Arc<Contract>>,
}

/// What an instance's agent declares, and what its tasks are held against.
pub(super) struct Contracts {
    /// The agent with its version, for messages.
    agent: String,
    sides: BTreeMap<String, Sides>,
    /// Attempts that the instance holds, and whose output is checked.
    outputs: Mutex<BTreeMap<StepInstanceId, (Token, Arc<Contract>)>>,
}

impl Contracts {
    /// Compiles the schemas of an agent; `None` where all of them accept everything.
    pub(super) fn compile(agent: &AgentDeclaration) -> Result<Option<Self>> {
        let mut sides = BTreeMap::new();
        for capability in &agent.capabilities {
            let name = &capability.name;
            let input = Contract::compile(&format!("the input schema of `{name}`"), &capability.input_schema)?;
            let output = Contract::compile(&format!("the output schema of `{name}`"), &capability.output_schema)?;
            if input.is_some() || output.is_some() {
                sides.insert(name.clone(), Sides { input: input.map(Arc::new), output: output.map(Arc::new) });
            }
        }
        let agent = format!("{}@{}", agent.name, agent.version);
        Ok((!sides.is_empty()).then(|| Self { agent, sides, outputs: Mutex::default() }))
    }

    fn outputs(&self) -> MutexGuard<'_, BTreeMap<StepInstanceId, (Token, Arc<Contract>)>> {
        // Each change is one insertion or removal, so a panic elsewhere leaves the table whole.
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instance holds an attempt at a task of this capability.
    pub(super) fn holds(&self, task: StepInstanceId, token: Token, capability: &str) {
        if let Some(output) = self.sides.get(capability).and_then(|sides| sides.output.clone()) {
            self.outputs().insert(task, (token, output));
        }
    }

    /// The instance works on the task no more.
    pub(super) fn holds_no_more(&self, task: StepInstanceId) {
        self.outputs().remove(&task);
    }

    /// Checks the input of a task before its agent sees it. Where it does not fit, what to report instead.
    pub(super) async fn check_input(&self, offer: &TaskOffer) -> Option<FromWorker> {
        let contract = self.sides.get(&offer.capability).and_then(|sides| sides.input.clone());
        if let Some(contract) = contract
            && let Err(found) = check(contract, "$", &offer.input).await
        {
            let message = format!("the input does not fit `{}` of agent `{}`: {found}", offer.capability, self.agent);
            let hint = "compare it with the input schema that this agent declares; another agent may declare another";
            let error = Error::new(Code::BadInput, message).hint(hint);
            return Some(failure(offer.task, offer.token, error));
        }
        self.holds(offer.task, offer.token, &offer.capability);
        None
    }

    /// Checks a report: a completion whose output does not fit is a failure.
    pub(super) async fn check_report(&self, report: FromWorker) -> FromWorker {
        let (task, token) = match &report {
            FromWorker::Complete { task, token, .. }
            | FromWorker::Fail { task, token, .. }
            | FromWorker::Park { task, token, .. } => (*task, *token),
            _ => return report,
        };
        let expected = self.outputs().get(&task).filter(|(of, _)| *of == token).map(|(_, contract)| contract.clone());
        let Some(contract) = expected else { return report };
        if let FromWorker::Complete { output, .. } = &report
            && let Err(found) = check(contract, "$", output).await
        {
            self.holds_no_more(task);
            let error = misfit(&format!("agent `{}`", self.agent), &found)
                .hint("mend the agent, or the output schema that it declares");
            return failure(task, token, error);
        }
        self.holds_no_more(task);
        report
    }
}

/// Checks the output that a person gives a task against what its agent declares: it must fit one of the schemas.
///
/// # Errors
/// [`Code::BadOutput`] with the paths of what does not fit the first of them.
pub(super) fn check_decided(schemas: &[serde_json::Value], output: &[u8]) -> Result<()> {
    let mut found = None;
    for schema in schemas {
        let Some(contract) = Contract::compile("the output schema", schema)? else { return Ok(()) };
        match check_bytes(&contract, "$", output) {
            Ok(()) => return Ok(()),
            Err(why) => found = found.or(Some(why)),
        }
    }
    found.map_or(Ok(()), |why| {
        Err(misfit("the agent", &why)
            .hint("steps behind it, and its compensation, use this output; give it as `--output JSON`"))
    })
}

/// Checks the payload of a signal against the schema that the wait for it has.
///
/// # Errors
/// [`Code::BadInput`] with the paths of what does not fit. A schema that cannot be used checks nothing: its code does.
pub(super) fn check_signal(name: &str, schema: &[u8], payload: &[u8]) -> Result<()> {
    let schema = serde_json::from_slice(schema).unwrap_or_default();
    let Ok(Some(contract)) = Contract::compile("the schema of the signal", &schema) else { return Ok(()) };
    check_bytes(&contract, "$", payload).map_err(|found| {
        Error::new(Code::BadInput, format!("the payload does not fit the signal `{name}`: {found}"))
            .hint("nothing was sent, and the run waits on: send it again as the wait expects it")
    })
}

fn misfit(agent: &str, found: &str) -> Error {
    Error::new(Code::BadOutput, format!("the output does not fit what {agent} declares: {found}"))
}

fn failure(task: StepInstanceId, token: Token, error: Error) -> FromWorker {
    FromWorker::Fail { task, token, error, retryable: false, retry_after: None }
}

/// Checks a document. What is not JSON is let through: it is refused by name where documents are admitted.
async fn check(contract: Arc<Contract>, root: &'static str, document: &Payload) -> std::result::Result<(), String> {
    let Payload::Inline(bytes) = document else { return Ok(()) };
    if !document.is_large() {
        return check_bytes(&contract, root, bytes);
    }
    // A large document would keep others waiting on this thread.
    let bytes = Arc::clone(bytes);
    let checked = tokio::task::spawn_blocking(move || check_bytes(&contract, root, &bytes));
    checked.await.unwrap_or(Ok(()))
}

fn check_bytes(contract: &Contract, root: &str, bytes: &[u8]) -> std::result::Result<(), String> {
    match serde_json::from_slice(bytes) {
        Ok(document) => contract.check(root, &document),
        Err(_) => Ok(()),
    }
}
