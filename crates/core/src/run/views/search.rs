//! Searching: in which runs a text or an error code is, and which steps failed.
//!
//! For: what a listing of runs finds beside the fields of a run's row. Not for: those fields, and the pages (see `listing`).
//! Invariant: a page looks at a bounded number of runs, steps and bytes, and its cursor continues where it ended, within a
//! run too; nothing here changes a row.

use consort_types::{Code, Payload, Result, RunId, StepInstanceId, limits};
use serde::Serialize;

use super::{
    filter::{Place, RunFilter},
    steps::StepView,
};
use crate::{
    machine::Machine,
    page::{Page, bounded},
    run::{
        keys::ScopeKey,
        locate,
        rows::{
            run::Run,
            step::{Step, StepState},
        },
    },
    state::State,
    task::task_spec,
};

/// Steps that a page looks at.
const STEPS_MAX: usize = 1_000;
/// Bytes of documents that a page looks through.
const BYTES_MAX: u64 = 2 * 1024 * 1024;

/// What a page may still look at.
pub(super) struct Budget {
    steps: usize,
    bytes: u64,
}

impl Budget {
    pub(super) fn of_a_page() -> Self {
        Self { steps: STEPS_MAX, bytes: BYTES_MAX }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.steps == 0 || self.bytes == 0
    }
}

/// Whether something was found in a run.
pub(super) enum Found {
    Yes,
    No,
    /// The page has looked at enough; the next one continues at this step.
    Later(StepInstanceId),
}

/// A text that is searched for, in small letters or large.
pub(super) struct Needle {
    text: String,
    /// The same as JSON writes it inside a text.
    written: String,
}

impl Needle {
    pub(super) fn of(filter: &RunFilter) -> Option<Self> {
        let text = filter.text.as_ref()?.to_lowercase();
        let quoted = serde_json::Value::from(text.clone()).to_string();
        Some(Self { written: quoted[1..quoted.len() - 1].to_owned(), text })
    }
}

/// Whether a run whose row fits the filter has the text and the code that are searched for.
pub(super) fn find(
    state: &State,
    (filter, needle): (&RunFilter, Option<&Needle>),
    (id, run): (RunId, &Run),
    from: Option<StepInstanceId>,
    budget: &mut Budget,
) -> Result<Found> {
    if let Some(needle) = needle
        && !has_text(state, run, needle, budget)?
    {
        return Ok(Found::No);
    }
    let Some(code) = filter.code else { return Ok(Found::Yes) };
    if run.error.as_ref().is_some_and(|error| error.code == code) {
        return Ok(Found::Yes);
    }
    let (rows, next) = steps(state, id, from, budget)?;
    let hit = rows.iter().any(|(_, step)| gave_up_with(step, Some(code)));
    Ok(match next {
        _ if hit => Found::Yes,
        Some(next) => Found::Later(next),
        None => Found::No,
    })
}

/// The steps of a run from one on, as many as the page may still look at, and where the next page continues.
#[expect(clippy::type_complexity, reason = "rows of the table, and a place in it")]
fn steps(
    state: &State,
    run: RunId,
    from: Option<StepInstanceId>,
    budget: &mut Budget,
) -> Result<(Vec<(StepInstanceId, Step)>, Option<StepInstanceId>)> {
    let from = from.unwrap_or(StepInstanceId { run, scope: 0, index: 0 });
    let past = StepInstanceId { run, scope: u32::MAX, index: u32::MAX };
    let mut rows = state.tables.steps.range(&from, &past, budget.steps + 1)?;
    let next = if rows.len() > budget.steps { rows.pop().map(|(task, _)| task) } else { None };
    budget.steps -= rows.len();
    Ok((rows, next))
}

/// Whether a step has failed, or waits for a decision because it cannot continue: with this code, where one is named.
fn gave_up_with(step: &Step, code: Option<Code>) -> bool {
    let gave_up = matches!(step.state, StepState::Failed | StepState::GaveUp | StepState::Diverged);
    gave_up && code.is_none_or(|code| step.error.as_ref().is_some_and(|error| error.code == code))
}

/// Whether the run's labels, error, input or output have a text, in small letters or large.
fn has_text(state: &State, run: &Run, needle: &Needle, budget: &mut Budget) -> Result<bool> {
    let in_text = |found: &str| found.to_lowercase().contains(&needle.text);
    if run.labels.iter().any(|(key, value)| in_text(key) || in_text(value))
        || run.error.as_ref().is_some_and(|error| in_text(&error.message))
    {
        return Ok(true);
    }
    for document in [Some(&run.input), run.output.as_ref()].into_iter().flatten() {
        if in_document(state, document, &needle.written, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a document has a text, as JSON writes it. One that is longer than [`limits::SEARCH_DOCUMENT_BYTES_MAX`] is not
/// looked through.
fn in_document(state: &State, document: &Payload, written: &str, budget: &mut Budget) -> Result<bool> {
    if document.len() > limits::SEARCH_DOCUMENT_BYTES_MAX as u64 {
        return Ok(false);
    }
    budget.bytes = budget.bytes.saturating_sub(document.len());
    let bytes = state.payload_bytes(document)?;
    Ok(String::from_utf8_lossy(&bytes).to_lowercase().contains(written))
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailedStep {
    /// Its run.
    pub run: RunId,
    /// The workflow of the run.
    pub workflow: String,
    /// The capability that it calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// The agent that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The step, without its output.
    pub step: StepView,
}

/// The steps that failed, of all runs.
pub struct FailedSteps<'a> {
    state: &'a mut State,
}

impl<'a> FailedSteps<'a> {
    /// Those of a machine.
    pub fn of(machine: &'a mut Machine) -> Self {
        Self { state: &mut machine.state }
    }

    /// Steps that failed, or that wait for a decision because they cannot continue, by run, newest first: those whose own
    /// work failed, not those above them. A page looks at a bounded number of runs and steps, so it may be short of its
    /// limit, or even empty, and still have a next one. The code of the filter is that of the step's error.
    pub fn list(
        &mut self,
        namespace: &str,
        filter: &RunFilter,
        capability: Option<&str>,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<FailedStep>> {
        let place = Place::read(namespace, cursor)?;
        let (limit, mut budget, mut within) = (bounded(limit), Budget::of_a_page(), place.within);
        let mut items = Vec::new();
        let (ids, next) = place.runs(self.state)?;
        for id in ids {
            if budget.is_spent() {
                return Ok(Page { items, next: Some(id.to_string()) });
            }
            let Some(run) = self.state.tables.runs.read_uncached(&id)?.filter(|run| filter.fits(run)) else { continue };
            let from = within.take().filter(|task| task.run == id);
            let (rows, more) = steps(self.state, id, from, &mut budget)?;
            for (task, step) in rows {
                if !gave_up_with(&step, filter.code) || !is_its_own(self.state, task, &step)? {
                    continue;
                }
                if items.len() == limit {
                    return Ok(Page { items, next: Some(task.to_string()) });
                }
                items.extend(failed(self.state, &run, task, step, capability)?);
            }
            if let Some(task) = more {
                return Ok(Page { items, next: Some(task.to_string()) });
            }
        }
        Ok(Page { items, next: next.map(|id| id.to_string()) })
    }
}

/// Whether a step failed by itself: not because of what it had opened or started.
fn is_its_own(state: &mut State, task: StepInstanceId, step: &Step) -> Result<bool> {
    if step.attempt > 0 {
        return Ok(true);
    }
    match step.child {
        Some(scope) => Ok(state.shared_scope(ScopeKey { run: task.run, scope })?.failed == 0),
        None => Ok(step.child_run.is_none()),
    }
}

/// The step as it is shown, where it calls the capability (or any, where none is named).
fn failed(
    state: &mut State,
    run: &Run,
    task: StepInstanceId,
    step: Step,
    wanted: Option<&str>,
) -> Result<Option<FailedStep>> {
    let step_ref = locate::locate(state, task)?;
    let (capability, agent) = task_spec::target(state, &step_ref, task)?;
    if wanted.is_some() && wanted != capability.as_deref() {
        return Ok(None);
    }
    let path = locate::path(state, task)?;
    let step = StepView::new(task, path, Step { output: None, ..step });
    Ok(Some(FailedStep { run: task.run, workflow: run.workflow.clone(), capability, agent, step }))
}
