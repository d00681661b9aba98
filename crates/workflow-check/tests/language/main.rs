//! The workflow language, through its public boundary.
//!
//! For: what authors and the machine can see. Not for: the shape of the parser.
//! Invariant: every test is a text and its outcome.

mod auction;
mod consensus;
mod corpus;
mod diagnostics;
mod diagnostics_names;
mod documents;
mod drawing;
mod expressions;
mod habits;
mod hostile;
mod input;
mod input_oracle;
mod model;
mod routes;
mod shared;
mod templates;

use consort_workflow::Definition;
use consort_workflow_check::{Checked, Diagnostics};

/// Parses a text that must be right.
fn parse(source: &str) -> Definition {
    checked(source).definition
}

/// The same with its warnings and its normal form.
fn checked(source: &str) -> Checked {
    consort_workflow_check::check(source).unwrap_or_else(|found| panic!("{}", found.render("test.yaml", source, false)))
}

/// Parses a text that must be wrong.
fn refuse(source: &str) -> Diagnostics {
    match consort_workflow_check::check(source) {
        Ok(_) => panic!("must be refused:\n{source}"),
        Err(found) => found,
    }
}
