//! What a run would do with a signal.
//!
//! For: warning about a signal that nothing waits for, and checking a payload before it is sent. Not for: sending it
//! (see `run::signal`).
//! Invariant: it changes nothing, and reads a bounded number of waiters.

use std::collections::BTreeSet;

use consort_types::{Payload, Result, RunId, Seq, worker::JournalRequest};
use consort_workflow::{Action, Definition, Wait};

use super::beside::BesideViews;
use crate::{
    machine::Machine,
    run::{beside::LINE, keys::SignalKey, locate, rows::signal::Waiter, signal},
    state::State,
    task::keys::EntryKey,
};

/// Waiters that are read.
const LOOKED_AT_MAX: usize = 500;

/// What waits for signals to a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SignalWaits {
    /// Whether something waits for the signal, or a step of the workflow will.
    pub expected: bool,
    /// JSON Schema of the payload, where the first that waits for the signal has one; where nothing waits yet, the one that
    /// all steps of the workflow share which will.
    pub schema: Option<Payload>,
    /// The signals that are waited for now or that steps of the workflow wait for, by name (of many, some).
    pub others: BTreeSet<String>,
}

impl Machine {
    /// What waits for a signal to a run.
    pub fn signal_waits(&mut self, namespace: &str, id: RunId, name: &str) -> Result<SignalWaits> {
        let run = self.state.run_in(namespace, id)?;
        let definition = self.state.definition(run.hash)?;
        let mut found = SignalWaits { others: declared(&definition), ..SignalWaits::default() };
        let key = |name: &str, seq| SignalKey { run: id, name: name.to_owned(), seq: Seq(seq), n: 0 };
        let first = first_in(&mut self.state, id, name)?;
        found.expected = first.is_some() || found.others.contains(name);
        found.schema = match &first {
            Some(waiter) => schema_of(&mut self.state, waiter)?,
            None => declared_schema(&definition, name),
        };
        // Names are letters, digits and a few signs: none comes behind this one.
        let waiters = self.state.tables.waiters.range(&key("", 0), &key("\u{7f}", 0), LOOKED_AT_MAX)?;
        for (key, waiter) in waiters {
            if !key.name.starts_with(LINE)
                && !found.others.contains(&key.name)
                && signal::is_waiting(&mut self.state, &waiter)?
            {
                found.others.insert(key.name);
            }
        }
        Ok(found)
    }
}

/// The waits of a workflow's steps for signals: their names and schemas.
fn waits(definition: &Definition) -> impl Iterator<Item = (&String, Option<&String>)> {
    let steps = definition.blocks.iter().flat_map(|block| &block.steps);
    steps.filter_map(|step| match &step.action {
        Action::Wait(Wait::Signal { name, schema, .. }) => Some((name, schema.as_ref())),
        _ => None,
    })
}

impl BesideViews<'_> {
    /// What waits for an update of a run: whether anything does, with its schema, and the updates that are waited for now.
    pub fn update_waits(&mut self, namespace: &str, id: RunId, name: &str) -> Result<SignalWaits> {
        self.state.run_in(namespace, id)?;
        let first = first_in(self.state, id, &format!("{LINE}{name}"))?;
        let mut found = SignalWaits { expected: first.is_some(), ..SignalWaits::default() };
        if let Some(waiter) = &first {
            found.schema = schema_of(self.state, waiter)?;
        }
        let key = |name: &str| SignalKey { run: id, name: name.to_owned(), seq: Seq::ZERO, n: 0 };
        // Names are letters, digits and a few signs: none comes behind this one.
        let (from, to) = (key(LINE), key(&format!("{LINE}\u{7f}")));
        for (key, waiter) in self.state.tables.waiters.range(&from, &to, LOOKED_AT_MAX)? {
            if signal::is_waiting(self.state, &waiter)? {
                found.others.extend(key.name.strip_prefix(LINE).map(str::to_owned));
            }
        }
        Ok(found)
    }
}

/// The first that waits in a line.
fn first_in(state: &mut State, run: RunId, line: &str) -> Result<Option<Waiter>> {
    let key = |seq| SignalKey { run, name: line.to_owned(), seq: Seq(seq), n: 0 };
    for (_, waiter) in state.tables.waiters.range(&key(0), &key(u64::MAX), LOOKED_AT_MAX)? {
        if signal::is_waiting(state, &waiter)? {
            return Ok(Some(waiter));
        }
    }
    Ok(None)
}

/// The signals that steps of a workflow wait for.
fn declared(definition: &Definition) -> BTreeSet<String> {
    waits(definition).map(|(name, _)| name.clone()).collect()
}

/// The schema that all steps have which wait for a signal.
fn declared_schema(definition: &Definition, name: &str) -> Option<Payload> {
    let mut schemas = waits(definition).filter(|(of, _)| *of == name).map(|(_, schema)| schema);
    let first = schemas.next()??;
    schemas.all(|schema| schema == Some(first)).then(|| Payload::inline(first.as_bytes()))
}

/// The schema that a wait has for the payload.
fn schema_of(state: &mut State, waiter: &Waiter) -> Result<Option<Payload>> {
    if let Some(entry) = waiter.entry {
        let row = state.tables.entries.get_shared(&EntryKey { task: waiter.task, entry })?;
        return Ok(row.and_then(|row| match &row.request {
            JournalRequest::Signal { schema, .. } | JournalRequest::Update { schema, .. } => schema.clone(),
            _ => None,
        }));
    }
    let step_ref = locate::locate(state, waiter.task)?;
    Ok(match &step_ref.step().action {
        Action::Wait(Wait::Signal { schema, .. }) => schema.as_ref().map(|text| Payload::inline(text.as_bytes())),
        _ => None,
    })
}
