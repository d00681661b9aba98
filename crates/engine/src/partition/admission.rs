//! What is let into the log, as far as it depends on the state and on the connected instances.
//!
//! For: full queues, agents that are still connected, declarations that clash, and reports by instances that do not hold what they report on.
//! It is asked in the loop's turn, so nothing changes between the question and the command's place in the group. Not
//! for: checks of a request alone (`admit`), or the rules of the machine.
//! Invariant: a report that is refused here leaves no record.

use consort_core::{
    Command, LateReport,
    command::{RegisterAgent, RemoveAgent, StartRun},
    view::called_capabilities,
};
use consort_types::{
    Code, Error, Result, StepInstanceId, Token,
    registry::LimitScope,
    worker::{AgentDeclaration, FromWorker},
};

use super::{Partition, group::Report};

/// How a report is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is its holder's.
    Taken,
    /// It changes nothing, and is no reason to stop the work: the attempt has ended by such a report already, or its
    /// outcome is unknown and this is a sign of life.
    Repeated,
}

/// Why a client's command is not taken now.
pub(super) fn refusal(partition: &mut Partition, command: &Command) -> Option<Error> {
    match command {
        Command::StartRun(start) => full_queue(partition, start),
        Command::RemoveAgent(removal) => still_connected(partition, removal),
        Command::RegisterAgent(registration) => clashing(partition, registration),
        _ => None,
    }
}

/// A start of a run would add to a queue that is full.
fn full_queue(partition: &mut Partition, start: &StartRun) -> Option<Error> {
    if let Some((waiting, max)) = partition.dispatcher.queue_full(&start.namespace, &LimitScope::Namespace) {
        return Some(full(&format!("namespace `{}`", start.namespace), waiting, max));
    }
    if !partition.dispatcher.limits_capability_queues(&start.namespace) {
        return None;
    }
    full_capability(partition, start)
}

fn full_capability(partition: &mut Partition, start: &StartRun) -> Option<Error> {
    // A start that cannot be looked into is refused by the machine, with its reason.
    let definition = partition.machine().ok()?.deployments().definition_of(start).ok()?;
    called_capabilities(&definition).into_iter().find_map(|capability| {
        let scope = LimitScope::Capability(capability);
        let (waiting, max) = partition.dispatcher.queue_full(&start.namespace, &scope)?;
        Some(full(&format!("limit `{scope}`"), waiting, max))
    })
}

/// An agent is removed while it serves only where that is forced.
fn still_connected(partition: &Partition, removal: &RemoveAgent) -> Option<Error> {
    let RemoveAgent { namespace, name, version, force } = removal;
    let connected = partition.dispatcher.connected(namespace, name, version.as_deref());
    if *force || connected == 0 {
        return None;
    }
    let message = format!("`{connected}` instances of agent `{name}` are connected");
    Some(
        Error::new(Code::AgentConnected, message)
            .hint("stop them first (drain it, so that they finish), or remove it by force"),
    )
}

/// A declaration would replace another one of the same version that connected instances serve.
fn clashing(partition: &mut Partition, registration: &RegisterAgent) -> Option<Error> {
    let declared: AgentDeclaration = serde_json::from_slice(registration.declaration.bytes()?).ok()?;
    let AgentDeclaration { name, version, .. } = &declared;
    let connected = partition.dispatcher.connected(&registration.namespace, name, Some(version));
    if connected == 0 {
        return None;
    }
    let known = partition.machine().ok()?.registry().agent(&registration.namespace, name, version).ok()??;
    let error = clash(&known, &declared, connected)?;
    partition.observed.tell(|observer| observer.agent_refused(name, version, &error));
    Some(error)
}

/// Why a declaration is refused, where it contradicts the known one of its version, which instances serve.
pub(super) fn clash(known: &AgentDeclaration, declared: &AgentDeclaration, connected: usize) -> Option<Error> {
    let difference = known.difference(declared)?;
    let (name, version) = (&declared.name, &declared.version);
    let message = format!(
        "agent `{name}` declares another version `{version}` than `{connected}` connected instances: {difference}"
    );
    Some(Error::new(Code::AgentClash, message).hint("give the changed agent another version, or stop the others first"))
}

/// Whether an instance may report this: it holds the attempt, or it held the attempt and reports its outcome.
///
/// # Errors
/// [`Code::Fenced`] or [`Code::TaskNotFound`] where the attempt is not the instance's.
pub(super) fn admit(partition: &mut Partition, about: Report, report: &FromWorker) -> Result<Admission> {
    let Report { instance, task, token } = about;
    if partition.dispatcher.holder(task, token) == Some(instance) {
        return Ok(Admission::Taken);
    }
    let ends = matches!(report, FromWorker::Complete { .. } | FromWorker::Fail { .. });
    let lives = matches!(report, FromWorker::Heartbeat { .. } | FromWorker::Stream { .. });
    match late_report(partition, about)? {
        LateReport::Repeated if ends => Ok(Admission::Repeated),
        LateReport::Settles if ends => Ok(Admission::Taken),
        // It still does what a person is asked about: its report, when it comes, is the best answer.
        LateReport::Settles if lives => Ok(Admission::Repeated),
        // The record of its loss is on its way; what it says then decides whether the outcome is unknown.
        LateReport::Unclaimed if ends && partition.dispatcher.is_being_lost(task, token) => Ok(Admission::Taken),
        _ => Err(not_held(task, token)),
    }
}

/// What a report would be of an instance that does not hold the attempt.
///
/// # Errors
/// As [`admit`].
pub(super) fn late_report(partition: &mut Partition, about: Report) -> Result<LateReport> {
    let Report { instance, task, token } = about;
    let own = partition.dispatcher.namespace(instance).cloned().zip(partition.dispatcher.name(instance).cloned());
    let Some((namespace, by)) = own else { return Err(not_held(task, token)) };
    match partition.machine()?.late_report(&namespace, task, token, &by) {
        Err(error) if !matches!(error.code, Code::Fenced | Code::TaskNotFound) => {
            partition.halt_as(error.clone(), true);
            Err(error)
        }
        other => other,
    }
}

fn not_held(task: StepInstanceId, token: Token) -> Error {
    Error::new(Code::Fenced, format!("attempt {token} of task `{task}` is not with this instance"))
        .hint("drop the work; a task from before a reconnect must be claimed in `held`")
}

fn full(whose: &str, waiting: u32, max: u32) -> Error {
    Error::new(Code::Overloaded, format!("`{waiting}` tasks of {whose} wait, the limit is {max}"))
        .hint("try again after `1s`, start more instances, or raise the limit")
}
