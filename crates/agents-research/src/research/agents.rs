//! The research capabilities as agents of the worker SDK.
//!
//! For: names, descriptions, effect classes and schemas. Not for: what the capabilities do.
//! Invariant: every capability is `read`: it may be repeated at any time, and writes nothing but its own cache.

use std::sync::Arc;

use consort_sdk::{Agent, Capability, TaskContext, TaskError};
use consort_types::{EffectClass, Error, ErrorKind};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::config::{Observer, ResearchConfig};
use super::index::Library;
use super::model::{AnalyzeInput, PlanInput, ReviewInput, SearchInput, ValidateInput, WriteInput};

/// The agent `research` with all its capabilities.
pub fn agent(config: ResearchConfig) -> Agent {
    let library = Arc::new(Library::new(config));
    let searching = library.clone();
    let reviewing = library;
    Agent::new("research")
        .version(env!("CARGO_PKG_VERSION"))
        .description("Answers questions from documents by quoting them; needs no model")
        .capability(capability("plan", "Splits a question into sub-questions and queries", |_, input: PlanInput| {
            super::plan(&input)
        }))
        .capability(capability(
            "search",
            "Finds ranked passages in files and folders",
            move |observer, input: SearchInput| super::search(&searching, &input, observer),
        ))
        .capability(capability(
            "validate",
            "Keeps relevant passages once and says why others go",
            |_, input: ValidateInput| super::validate(&input),
        ))
        .capability(capability("analyze", "Lists facts and where the sources disagree", |_, input: AnalyzeInput| {
            super::analyze(&input)
        }))
        .capability(capability("write", "Writes the report with its citations", |_, input: WriteInput| {
            super::write(&input)
        }))
        .capability(capability(
            "review",
            "Checks every citation against its file",
            move |observer, input: ReviewInput| super::review(&reviewing, &input, observer),
        ))
}

fn capability<I, O, F>(name: &str, description: &str, code: F) -> Capability
where
    I: DeserializeOwned + JsonSchema + Send + 'static,
    O: Serialize + JsonSchema + Send + 'static,
    F: Fn(&Watching, I) -> consort_types::Result<O> + Send + Sync + 'static,
{
    Capability::blocking(format!("research.{name}"), move |context, input| {
        code(&Watching(context), input).map_err(failure)
    })
    .description(description)
    .effect(EffectClass::Read)
}

/// Only what may pass by itself is worth another attempt.
fn failure(error: Error) -> TaskError {
    let passing = error.kind() == ErrorKind::Unavailable;
    let failed = TaskError::from(error);
    if passing { failed } else { failed.into_permanent() }
}

/// A task that is told of progress and asked whether to stop.
struct Watching(TaskContext);

impl Observer for Watching {
    fn progress(&self, message: &str) {
        self.0.progress(message);
    }

    fn cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}
