//! What a fork keeps of the journals of tasks that it runs again.
//!
//! For: code that continues behind what it had done, instead of from its beginning. Not for: which steps run again (see
//! `fork`).
//! Invariant: what is kept has no open entry, and the task that has it is given the same input.

use consort_types::{Result, RunId, StepInstanceId, worker::JournalRequest};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    run::{
        beside,
        rows::step::{Step, StepState},
    },
    task::{keys::EntryKey, rows::TaskEntry},
};

/// How much of a task's journal a fork keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum KeptJournal {
    /// Of tasks that have not completed: what is before the first entry that failed or has no answer.
    #[n(0)]
    BeforeFailure,
    /// The same of the step that is named, also where it completed, and at most so many entries, failed ones too.
    #[n(1)]
    Entries(#[n(0)] u32),
}

/// A step that is run again.
pub(crate) struct Again<'a> {
    /// The run that is forked.
    pub(crate) from: RunId,
    /// Its place in the new run.
    pub(crate) task: StepInstanceId,
    /// Its row in the old one.
    pub(crate) old: &'a Step,
    /// Whether it is the step that the fork names.
    pub(crate) is_named: bool,
}

/// Copies the entries that are kept to the new task; returns how many there are.
pub(crate) fn keep(ctx: &mut ApplyContext<'_>, kept: KeptJournal, step: &Again<'_>) -> Result<u32> {
    let Again { from, task, old, is_named } = *step;
    let max = match kept {
        KeptJournal::Entries(entries) if is_named => entries.min(old.entries),
        KeptJournal::BeforeFailure if old.state != StepState::Completed => old.entries,
        _ => 0,
    };
    for entry in 0..max {
        let row = ctx.state.tables.entries.get(&EntryKey { task: StepInstanceId { run: from, ..task }, entry })?;
        let fits = |row: &TaskEntry| !row.is_open() && (row.error.is_none() || kept != KeptJournal::BeforeFailure);
        let Some(row) = row.filter(fits) else { return Ok(entry) };
        ctx.charge(1);
        for document in row.documents() {
            ctx.retain(document)?;
        }
        // What it had exposed by then, the new run exposes too; labels come with the run.
        if let (JournalRequest::Expose { name, value }, Some(_)) = (&row.request, &row.output) {
            beside::expose(ctx, task, entry, (name, value))?;
        }
        ctx.state.tables.entries.insert_new(EntryKey { task, entry }, TaskEntry { due: None, place: None, ..row });
    }
    Ok(max)
}
