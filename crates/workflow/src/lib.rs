//! The workflow language: parse with source positions, check, expressions, graph.
//!
//! For: turning a YAML text into a checked [`Definition`], and evaluating its expressions. Not for: running anything.
//! Invariant: everything here is a pure function of its arguments; hostile texts cost bounded time and stack.

mod cel;
mod contract;
mod diagnostic;
mod environment;
mod expression;
mod graph;
mod input;
mod model;
mod parse;
mod schema;
mod suggest;
mod template;
mod yaml;

pub use contract::Contract;
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use environment::{Environment, Meter, StatusFlags, StepValue};
pub use expression::Expression;
pub use graph::{Graph, Node};
pub use input::InputSpec;
pub use model::{
    Action, Approve, Block, BlockId, Compensate, Concurrency, Definition, ForEach, Reference, Repeat, Retry, RouteSpec,
    Step, Wait,
};
pub use schema::language_schema;
pub use suggest::did_you_mean;
pub use template::{Template, TextPart, span_of, time_of};
