//! What a run has beside its steps, as it is read: exposed values, and updates with their answers.
//!
//! For: reading them while the run is active, and after. Not for: sending an update (see `run::update`).
//! Invariant: nothing here needs a worker, or changes a row; an update that can no longer be answered says so.

use consort_types::{Code, Error, Payload, Result, RunId, Time};
use serde::Serialize;

use crate::{
    machine::Machine,
    run::{
        beside, locate,
        rows::beside::{SentUpdate, UpdateOutcome},
    },
    state::State,
};

/// A value that the code of a run exposes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExposedView {
    /// Its name.
    pub name: String,
    /// The value.
    pub value: Payload,
    /// The step whose code exposed it.
    pub step: String,
    /// When.
    pub at: Time,
}

/// How far an update is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateState {
    /// No code has taken it yet.
    Waiting,
    /// Code has it.
    Taken,
    /// The code has answered it.
    Answered,
    /// The code has rejected it.
    Rejected,
    /// It will not be answered: the run, or the step that took it, has ended.
    Unanswered,
}

/// An update of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpdateView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: UpdateState,
    /// What was sent.
    pub input: Payload,
    /// When it came.
    pub received: Time,
    /// The step whose code took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Payload>,
    /// Why it was rejected, or will not be answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<Time>,
}

impl UpdateView {
    /// Whether it stays so.
    pub fn is_settled(&self) -> bool {
        !matches!(self.state, UpdateState::Waiting | UpdateState::Taken)
    }
}

/// What runs have beside their steps.
pub struct BesideViews<'a> {
    pub(super) state: &'a mut State,
}

impl<'a> BesideViews<'a> {
    /// That of a machine.
    pub fn of(machine: &'a mut Machine) -> Self {
        Self { state: &mut machine.state }
    }

    /// The values that the code of a run exposes, by name: of each, the last.
    ///
    /// # Errors
    /// [`Code::RunNotFound`].
    pub fn exposed_values(&mut self, namespace: &str, run: RunId) -> Result<Vec<ExposedView>> {
        self.state.run_in(namespace, run)?;
        let mut values = Vec::new();
        for (key, row) in beside::values(self.state, run)? {
            let step = locate::path(self.state, row.task)?;
            values.push(ExposedView { name: key.name, value: row.value, step, at: row.at });
        }
        Ok(values)
    }

    /// An update of a run, with its answer.
    ///
    /// # Errors
    /// [`Code::RunNotFound`], [`Code::UpdateNotFound`].
    pub fn update(&mut self, namespace: &str, run: RunId, id: &str) -> Result<UpdateView> {
        let ended = self.state.run_in(namespace, run)?.status.is_terminal();
        let Some(update) = beside::update(self.state, run, id)? else {
            return Err(Error::new(Code::UpdateNotFound, format!("run `{run}` has no update `{id}`"))
                .hint("`consort runs update` sends one and shows its id"));
        };
        let step = update.taken.map(|(task, _)| locate::path(self.state, task)).transpose()?;
        let left = is_left(self.state, &update)?;
        let (state, value, error) = match (update.outcome.as_ref().map(|(_, outcome)| outcome), &step) {
            (Some(UpdateOutcome::Answered(value)), _) => (UpdateState::Answered, Some(value.clone()), None),
            (Some(UpdateOutcome::Rejected(why)), _) => {
                (UpdateState::Rejected, None, Some(Error::new(Code::UpdateRejected, why.clone())))
            }
            (None, _) if ended || left => (UpdateState::Unanswered, None, Some(unanswered(step.as_deref(), ended))),
            (None, Some(_)) => (UpdateState::Taken, None, None),
            (None, None) => (UpdateState::Waiting, None, None),
        };
        let answered = update.outcome.map(|(at, _)| at);
        let SentUpdate { name, input, at: received, .. } = update;
        Ok(UpdateView { id: id.to_owned(), name, state, input, received, step, value, error, answered })
    }
}

/// Whether the step that took the update has ended.
fn is_left(state: &mut State, update: &SentUpdate) -> Result<bool> {
    let Some((task, _)) = update.taken else { return Ok(false) };
    Ok(state.step(task)?.is_none_or(|step| step.state.is_terminal()))
}

fn unanswered(step: Option<&str>, ended: bool) -> Error {
    let message = match (step, ended) {
        (Some(step), false) => format!("step `{step}` has ended without an answer to it"),
        (Some(step), true) => format!("the run has ended, and step `{step}` had not answered it"),
        (None, _) => "the run has ended, and no code had taken it".to_owned(),
    };
    Error::new(Code::UpdateUnanswered, message).hint("`consort runs show` tells what the run did")
}
