//! Exposed values and updates, as they travel.
//!
//! For: what a run has beside its steps. Not for: the run.
//! Invariant: as in `convert`.

use consort_api::{
    ErrorDetail,
    beside::{ExposedValue, Update, UpdateState},
};
use consort_engine::view;

pub(crate) fn exposed(value: view::ExposedView) -> ExposedValue {
    let view::ExposedView { name, value, step, at } = value;
    ExposedValue { name, value: value.into(), step, at }
}

/// An update; `warning` where it was sent just now.
pub(crate) fn update(update: view::UpdateView, warning: Option<String>) -> Update {
    let state = match update.state {
        view::UpdateState::Waiting => UpdateState::Waiting,
        view::UpdateState::Taken => UpdateState::Taken,
        view::UpdateState::Answered => UpdateState::Answered,
        view::UpdateState::Rejected => UpdateState::Rejected,
        view::UpdateState::Unanswered => UpdateState::Unanswered,
    };
    Update {
        id: update.id,
        name: update.name,
        state,
        input: update.input.into(),
        received_at: update.received,
        step: update.step,
        value: update.value.map(Into::into),
        error: update.error.map(ErrorDetail::from),
        answered_at: update.answered,
        warning,
    }
}
