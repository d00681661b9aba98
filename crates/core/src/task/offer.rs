//! A task as the dispatcher and the workers see it.
//!
//! For: what is assigned, with its input and journal. Not for: changing a task.
//! Invariant: the input of a task is the same whenever it is evaluated, so it is not stored.

use std::sync::Arc;

use consort_types::{
    EffectClass, Payload, Result, StepInstanceId,
    task::{ConcurrencyKey, ReadyTask},
    worker::{JournalEntry, JournalRequest, TaskOffer},
};
use serde_json::{Value, json};

use crate::{
    fatal::split_fatal,
    registry::agents,
    run::{
        environment::{self, in_expression},
        locate::{self, InstanceKind, StepRef, locate},
        rows::step::{Step, StepState},
        trace,
    },
    state::{State, missing},
    task::{effect_key::effect_key, keys::EntryKey, rows::TaskEntry, task_spec},
};

/// What the dispatcher needs to know of a task.
pub(crate) fn ready_task(state: &mut State, task: StepInstanceId, step: &Step) -> Result<ReadyTask> {
    let step_ref = locate(state, task)?;
    let (capability, agent) = task_spec::target(state, &step_ref, task)?;
    let definition = step_ref.step();
    let own = matches!(step_ref.kind, InstanceKind::Body(_));
    let concurrency = match &definition.concurrency {
        Some(limit) if own => {
            let key = match &limit.key {
                Some(key) => match environment::evaluate(state, &step_ref, task, key)? {
                    Value::String(text) => text,
                    other => other.to_string(),
                },
                None => format!("{}/{}/{}", task.run, step_ref.block, step_ref.index),
            };
            Some(ConcurrencyKey { key, limit: limit.limit })
        }
        _ => None,
    };
    let effect = match step_ref.kind {
        // A bid does nothing that it would harm to repeat, whatever its capability declares.
        InstanceKind::Bid => Some(EffectClass::Read),
        _ if own => definition.effect,
        _ => None,
    };
    Ok(ReadyTask {
        task,
        token: step.token,
        namespace: step_ref.run.namespace.clone(),
        capability,
        agent,
        priority: step_ref
            .run
            .priority
            .saturating_add(definition.priority)
            .saturating_add(task_spec::call_priority(state, &step_ref)?),
        ready: state.meta.now,
        concurrency,
        effect,
        route: task_spec::route_of(state, &step_ref, task)?,
        deadline: [step.deadline_at, step_ref.run.deadline].into_iter().flatten().min(),
        written_by: step.pinned.as_ref().map(|pin| (pin.agent.clone(), pin.version.clone())),
    })
}

/// The task as a worker sees it; `None` where it is not to be assigned.
pub(crate) fn offer(state: &mut State, task: StepInstanceId) -> Result<Option<TaskOffer>> {
    let Some(step) = state.step(task)? else { return Ok(None) };
    if !matches!(step.state, StepState::Ready | StepState::Taken) || step.attempt == 0 {
        return Ok(None);
    }
    let step_ref = locate(state, task)?;
    let capability = match task_spec::target(state, &step_ref, task)? {
        (None, Some(agent)) => agents::only_capability(state, &step_ref.run.namespace, &agent)?,
        (capability, _) => capability,
    };
    let input = match state.inputs.get(&(task, step.token)) {
        Some(input) => input,
        None => split_fatal(task_input(state, &step_ref, task))?.unwrap_or_default(),
    };
    let input = match &input {
        Payload::Inline(_) => input,
        Payload::Blob { .. } => Payload::Inline(state.payload_bytes(&input)?),
    };
    let path = locate::path(state, task)?;
    let timeout = task_spec::timeout_of(state, &step_ref)?;
    let deadlines = [timeout.map(|span| state.meta.now.after(span)), step.deadline_at, step_ref.run.deadline];
    Ok(Some(TaskOffer {
        task,
        token: step.token,
        attempt: step.attempt,
        capability: capability.unwrap_or_default(),
        workflow: step_ref.run.workflow.clone(),
        idempotency_key: effect_key(state, &step_ref, task, &path)?,
        step: path,
        input,
        deadline: deadlines.into_iter().flatten().min(),
        journal: task_journal(state, task, step.entries)?,
        traceparent: trace::of_attempt(&step_ref.run, task, step.token),
    }))
}

/// The input of a task; the same whenever it is evaluated, so it is not stored.
pub(crate) fn task_input(state: &mut State, step_ref: &StepRef, task: StepInstanceId) -> Result<Payload> {
    match step_ref.kind {
        InstanceKind::Body(_) => Ok(Payload::inline(with_of(state, step_ref, task)?)),
        InstanceKind::Call { .. } => match task_spec::entry_of(state, step_ref)?.as_deref().map(|row| &row.request) {
            Some(JournalRequest::Call { input, .. }) => Ok(input.clone()),
            _ => Ok(Payload::null()),
        },
        InstanceKind::Compensation(original) => compensation_input(state, step_ref, original),
        InstanceKind::Reconcile(asker) => reconcile_input(state, asker),
        InstanceKind::Bid => {
            let input = with_of(state, step_ref, task)?;
            let input: Value = serde_json::from_slice(&input).unwrap_or_default();
            let capability = step_ref.step().action.capability();
            Ok(Payload::from_value(&json!({ "capability": capability, "input": input })))
        }
    }
}

/// What the author gives a call.
fn with_of(state: &mut State, step_ref: &StepRef, task: StepInstanceId) -> Result<Vec<u8>> {
    let with = &step_ref.step().with;
    let environment = environment::environment(state, step_ref, task, &with.references())?;
    environment::write_json(state, with, &environment).map_err(|error| in_expression("with", error))
}

/// The input of a compensation, as seen from the instance that it undoes: the step's own output is that of the
/// very item or iteration.
fn compensation_input(state: &mut State, step_ref: &StepRef, original: StepInstanceId) -> Result<Payload> {
    let Some(undo) = &step_ref.step().compensate else { return Ok(Payload::null()) };
    let mut environment = environment::environment(state, step_ref, original, &undo.with.references())?;
    if let Some(own) = environment.steps.get_mut(step_ref.step().name.as_str()) {
        *own = environment::step_value(state, original)?;
    }
    let bytes =
        environment::write_json(state, &undo.with, &environment).map_err(|error| in_expression("compensate", error))?;
    Ok(Payload::inline(bytes))
}

/// What a reconciler is asked.
fn reconcile_input(state: &mut State, asker: StepInstanceId) -> Result<Payload> {
    let step = state.known_step(asker)?;
    let step_ref = locate(state, asker)?;
    let input = split_fatal(task_input(state, &step_ref, asker))?.unwrap_or_default();
    let input = state.payload_bytes(&input)?;
    let input: Arc<Value> = Arc::new(serde_json::from_slice(&input).unwrap_or_default());
    let path = locate::path(state, asker)?;
    let question = json!({
        "task": asker.to_string(),
        "idempotency_key": effect_key(state, &step_ref, asker, &path)?,
        "attempt": step.attempt,
        "input": *input,
    });
    Ok(Payload::from_value(&question))
}

fn task_journal(state: &mut State, task: StepInstanceId, entries: u32) -> Result<Vec<JournalEntry>> {
    let mut journal = Vec::with_capacity(entries as usize);
    for entry in 0..entries {
        let row = state.tables.entries.get(&EntryKey { task, entry })?;
        let row = row.ok_or_else(|| missing("journal entry", &format_args!("{task}/{entry}")))?;
        journal.push(journal_entry(state, &row)?);
    }
    Ok(journal)
}

/// A journal entry as a worker sees it, with its documents in full.
pub(crate) fn journal_entry(state: &mut State, row: &TaskEntry) -> Result<JournalEntry> {
    let result = match (&row.output, &row.error) {
        (Some(output), _) => Some(Ok(Payload::Inline(state.payload_bytes(output)?))),
        (None, Some(error)) => Some(Err(error.clone())),
        (None, None) => None,
    };
    Ok(JournalEntry { title: row.title.clone(), request: row.request.clone(), after: row.after.clone(), result })
}
