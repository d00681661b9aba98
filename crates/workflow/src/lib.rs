//! The workflow language's model, its normal form, and the evaluator.
//!
//! For: what the machine needs of the language: a checked [`Definition`], read from its normal form, and the values
//! of its expressions. Not for: texts and their diagnostics (see `workflow-check`), nor running anything.
//! Invariant: everything here is a pure function of its arguments, the same on every machine and in every build; an
//! evaluation costs bounded time and stack.

pub mod cel;
mod environment;
mod expression;
mod form;
mod input;
mod model;
mod suggest;
mod template;

pub use environment::{Environment, Meter, STEP_STATUSES, StatusFlags, StepValue};
pub use expression::Expression;
pub use form::{CompiledWorkflow, LANGUAGE_VERSION, json::Json};
pub use input::{Finding, InputSpec, schema};
pub use model::{
    Action, Approve, Auction, Block, BlockId, Compensate, Concurrency, Consensus, Definition, ForEach, Read, Reference,
    Repeat, Retry, RouteSpec, StateAction, Step, Wait, WithLock,
};
pub use suggest::{did_you_mean, listed};
pub use template::{Template, TextPart, span_of, time_of};
