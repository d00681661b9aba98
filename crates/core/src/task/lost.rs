//! `AttemptLost`: the instance that held an attempt is disconnected.
//!
//! For: the command and its rule. Not for: detecting a lost instance (the engine does).
//! Invariant: a lost `write` attempt is not queued again before its outcome is decided.

use consort_types::{Code, Error, Result, StepInstanceId, Token, bounds::check_text, limits};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    effect::{AttemptEnd, Effect},
    run::rows::step::StepState,
    task::{
        attempt::{self, Current},
        unknown_outcome::{self, leaves_doubt},
    },
};

/// Ends an attempt whose instance is disconnected.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct AttemptLost {
    /// The task.
    #[n(0)]
    pub task: StepInstanceId,
    /// The attempt's token.
    #[n(1)]
    pub token: Token,
    /// How it was noticed.
    #[n(2)]
    pub reason: String,
    /// Whether the instance went away by itself, so that the task may be why. `None` in logs of before.
    #[n(3)]
    pub died: Option<bool>,
}

impl AttemptLost {
    pub(crate) fn check(&self) -> Result<()> {
        check_text("reason", &self.reason, limits::ERROR_MESSAGE_BYTES_MAX)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let Self { task, token, ref reason, died } = *self;
        let Current::Live(step) = attempt::current(ctx.state, task, token)? else { return Ok(()) };
        if step.state == StepState::Unknown {
            return Ok(());
        }
        let holder = step.instance.as_ref().map_or_else(|| "an instance".to_owned(), ToString::to_string);
        let error =
            Error::new(Code::InstanceLost, format!("attempt {} was lost with `{holder}`: {reason}", step.attempt));
        let doubt = leaves_doubt(&step);
        let end = if doubt { AttemptEnd::Unknown } else { AttemptEnd::Lost };
        ctx.effect(Effect::AttemptEnded { task, token, end });
        if doubt {
            return unknown_outcome::outcome_unknown(ctx, task, *step, error, died.unwrap_or_default());
        }
        unknown_outcome::repeat_lost(ctx, task, *step, error, died.unwrap_or_default())
    }
}
