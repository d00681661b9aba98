//! Replay: the journal of a run folded again, step by step, without calling anything.
//!
//! For: seeing what was recorded, and checking that journal and state agree. Not for: running steps again (that is a
//! fork).
//! Invariant: a pure function of the journal and the step rows; it reads nothing else and writes nothing.

use std::collections::BTreeMap;

use consort_types::{Payload, RunId, StepInstanceId, Time};
use serde::Serialize;

use crate::run::{
    rows::{history::HistoryEvent, run::RunStatus, step::StepState},
    views::{history::JournalView, steps::StepView},
};

/// A step, derived from the journal alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReplayedStep {
    /// Its id.
    pub task: StepInstanceId,
    /// Its path.
    pub path: String,
    /// How it ended, or its last state.
    pub state: StepState,
    /// Attempts in the journal.
    pub attempts: u32,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// Its recorded output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Payload>,
}

/// A run, derived from its journal alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    /// The run.
    pub run: RunId,
    /// How it ended; `None` while it is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<RunStatus>,
    /// Entries folded.
    pub entries: usize,
    /// The steps, in the order in which they ended or last changed.
    pub steps: Vec<ReplayedStep>,
    /// Where journal and state differ; empty when all is well.
    pub differences: Vec<String>,
}

/// Folds a run's journal, and compares what comes out with its step rows.
pub fn replay(run: RunId, journal: &[JournalView], rows: &[StepView]) -> Replay {
    let mut steps: BTreeMap<StepInstanceId, (usize, ReplayedStep)> = BTreeMap::new();
    let mut status = None;
    for (at, entry) in journal.iter().enumerate() {
        if let HistoryEvent::RunEnded { status: ended } = entry.event {
            status = Some(ended);
        }
        let (Some(task), Some(path)) = (entry.task, &entry.step) else { continue };
        let fresh = ReplayedStep {
            task,
            path: path.clone(),
            state: StepState::Pending,
            attempts: 0,
            ended: None,
            output: None,
        };
        let (place, step) = steps.entry(task).or_insert((at, fresh));
        *place = at;
        fold(step, entry);
    }
    let mut differences = Vec::new();
    for row in rows {
        let Some((_, step)) = steps.get_mut(&row.task) else {
            if row.state.is_terminal() {
                differences.push(format!("`{}` is {} but the journal has no end of it", row.path, row.state.as_str()));
            }
            continue;
        };
        step.output.clone_from(&row.output);
        if row.state.is_terminal() != step.state.is_terminal() || (row.state.is_terminal() && row.state != step.state) {
            let (told, is) = (step.state.as_str(), row.state.as_str());
            differences.push(format!("`{}` is {told} by the journal, but it is {is}", row.path));
        }
    }
    let mut ordered: Vec<_> = steps.into_values().collect();
    ordered.sort_unstable_by_key(|(at, _)| *at);
    let steps = ordered.into_iter().map(|(_, step)| step).collect();
    Replay { run, status, entries: journal.len(), steps, differences }
}

fn fold(step: &mut ReplayedStep, entry: &JournalView) {
    match &entry.event {
        HistoryEvent::StepBegan => step.state = StepState::Open,
        HistoryEvent::AttemptTaken { attempt, .. } => {
            step.state = StepState::Taken;
            step.attempts = step.attempts.max(*attempt);
        }
        HistoryEvent::AttemptFailed { attempt, .. } => {
            step.state = StepState::Backoff;
            step.attempts = step.attempts.max(*attempt);
        }
        HistoryEvent::OutcomeUnknown { attempt } => {
            step.state = StepState::Unknown;
            step.attempts = step.attempts.max(*attempt);
        }
        HistoryEvent::TaskDiverged { attempt, .. } => {
            step.state = StepState::Diverged;
            step.attempts = step.attempts.max(*attempt);
        }
        HistoryEvent::StepGaveUp { .. } => step.state = StepState::GaveUp,
        HistoryEvent::StepCompleted { attempt } => {
            step.attempts = step.attempts.max(*attempt);
            end(step, entry, StepState::Completed);
        }
        HistoryEvent::StepCopied => end(step, entry, StepState::Completed),
        HistoryEvent::StepFailed { .. } => end(step, entry, StepState::Failed),
        HistoryEvent::StepSkipped { .. } => end(step, entry, StepState::Skipped),
        HistoryEvent::StepCancelled { .. } => end(step, entry, StepState::Cancelled),
        _ => {}
    }
}

fn end(step: &mut ReplayedStep, entry: &JournalView, state: StepState) {
    step.state = state;
    step.ended = Some(entry.time);
}
