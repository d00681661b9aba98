//! What an evaluation can see.
//!
//! For: the machine, which resolves an expression's references. Not for: finding those values.
//! Invariant: values are shared, never copied, on the way in.

use std::{cell::Cell, collections::BTreeMap, sync::Arc};

use consort_types::limits;
use serde_json::Value;

/// The variables of an evaluation. Only what [`Expression::references`](crate::Expression::references) names has to
/// be filled in.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `input`: the run's input.
    pub input: Arc<Value>,
    /// `item`: the item of the nearest `for_each`.
    pub item: Option<Arc<Value>>,
    /// `index`: its position, from 0.
    pub index: Option<u64>,
    /// `loop`: an object with `index` (from 0) and `previous` (the previous iteration's output, or null).
    pub loop_: Option<Arc<Value>>,
    /// `run`: an object with `id`, `workflow` and `started_at`.
    pub run: Arc<Value>,
    /// `output`: the iteration's output, in `until` and `while` only.
    pub output: Option<Arc<Value>>,
    /// `event`: the attributes and the data of an event, in triggers and in waits for events only.
    pub event: Option<Arc<Value>>,
    /// `lock`: an object with `name` and `token`, inside of `with_lock` only.
    pub lock: Option<Arc<Value>>,
    /// `reads`: by name, objects with `value` (null where the key had none) and `version` (0 then).
    pub reads: Option<Arc<Value>>,
    /// `write`: an object with `current`, `incoming` and `base`, in the merges of shared state only.
    pub write: Option<Arc<Value>>,
    /// `bid`: an object with `agent`, `cost`, `seconds`, `confidence`, `reply` and `record`, in the `award` of auctions only.
    pub bid: Option<Arc<Value>>,
    /// `steps`: by name.
    pub steps: BTreeMap<Arc<str>, StepValue>,
    /// What the status functions answer.
    pub status: StatusFlags,
    /// What evaluations have cost.
    pub meter: Meter,
}

/// What evaluations in an environment cost, in work units. All expressions of one template share one budget,
/// [`limits::EXPRESSION_COST_MAX`], so a template of many may cost no more than one.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// By the template or the condition that is being evaluated.
    current: Cell<u64>,
    /// By those before it.
    before: Cell<u64>,
}

impl Meter {
    /// What all evaluations have cost.
    pub fn cost(&self) -> u64 {
        self.before.get() + self.current.get()
    }

    /// Another template or condition is evaluated.
    pub(crate) fn begin(&self) {
        self.before.set(self.cost());
        self.current.set(0);
    }

    /// What the template or condition may still cost.
    pub(crate) fn left(&self) -> u64 {
        limits::EXPRESSION_COST_MAX - self.current.get()
    }

    pub(crate) fn set_left(&self, left: u64) {
        self.current.set(limits::EXPRESSION_COST_MAX - left);
    }
}

/// The words of `steps.NAME.status` for a step that has ended.
pub const STEP_STATUSES: [&str; 4] = ["completed", "failed", "skipped", "cancelled"];

/// What is known of a step that has ended.
#[derive(Clone, Debug)]
pub struct StepValue {
    /// `output`; null where there is none.
    pub output: Arc<Value>,
    /// `status`: one of [`STEP_STATUSES`], or another word of the machine where the step has not ended.
    pub status: &'static str,
    /// `error`: an object with `code` and `message`; null where there is none.
    pub error: Option<Arc<Value>>,
    /// `attempts`: how many were made.
    pub attempts: u32,
}

/// What the status functions answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusFlags {
    /// `success()`: every step that this one needs has succeeded (or may fail by `continue_on_error`).
    pub success: bool,
    /// `failure()`: a step that this one needs, directly or not, has failed.
    pub failure: bool,
    /// `cancelled()`: the run is being cancelled.
    pub cancelled: bool,
}

impl Default for StatusFlags {
    fn default() -> Self {
        Self { success: true, failure: false, cancelled: false }
    }
}
