//! From a workflow's text to its model: YAML, diagnostics with places, the language's JSON Schema, drawings.
//!
//! For: the receivers of a text: [`check`] gives the definition and its normal form, or everything that is wrong. Not
//! for: the machine, which sees normal forms alone.
//! Invariant: everything here is a pure function of its arguments; hostile texts cost bounded time and stack.

mod contract;
mod diagnostic;
mod event;
mod graph;
mod input;
mod language_schema;
mod parse;
mod yaml;

use consort_workflow::{CompiledWorkflow, Definition};

pub use contract::Contract;
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use event::{event_expression, merge_expression};
pub use graph::{Graph, Node};
pub use input::{compile_schema, library_validator};
pub use language_schema::language_schema;

/// A text that was checked and has no errors.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What the text means.
    pub definition: Definition,
    /// The same as it is logged and stored.
    pub compiled: CompiledWorkflow,
    /// Allowed, but probably a mistake.
    pub warnings: Diagnostics,
}

/// Reads a text in YAML that is no workflow, such as a file of tests, as JSON, by the rules of workflows: one document,
/// bounded depth and size, no key twice.
///
/// # Errors
/// Everything that is wrong, with its place.
pub fn read_yaml(source: &str) -> Result<serde_json::Value, Diagnostics> {
    let mut report = diagnostic::Report::new(source);
    let read = yaml::read(source, &mut report).map(|node| node.to_json());
    let (errors, _) = report.finish();
    read.ok_or(errors)
}

/// Reads and checks a source text. All diagnostics are reported at once; work is bounded for hostile texts.
///
/// # Errors
/// Every error of the text with its place, and its warnings too.
pub fn check(source: &str) -> Result<Checked, Diagnostics> {
    parse::parse(source)
}
