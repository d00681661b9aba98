//! The steps that failed, of all runs.
//!
//! For: seeing what gives up, by code and capability, without opening run after run. Not for: the steps of one run (see
//! `inside`).
//! Invariant: a step is listed whose own work failed, not the steps and runs above it that failed with it.

use std::collections::BTreeMap;

use consort_types::{Code, RunId, Time, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Operation, Page, Spec, inside::Step, schema};

/// Which failed steps to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListFailedStepsParams {
    /// Only steps with this error code, such as `C0304`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Only steps, and calls of code, that call this capability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// Only of runs of this workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Only of runs with this label: `label.KEY=VALUE`, repeatable.
    #[serde(rename = "label", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Only of runs that were started at this instant or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub since: Option<Time>,
    /// Only of runs that were started before this instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub until: Option<Time>,
    /// Where the page begins: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many items at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ITEMS_MAX))]
    pub limit: Option<usize>,
}

/// A step that failed, or that waits for a decision because it cannot continue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailedStep {
    /// Its run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// The workflow of the run.
    pub workflow: String,
    /// The capability that it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// The agent that it names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The step, without its output: its path, state, attempts, error and times.
    pub step: Step,
}

/// Lists steps that failed.
pub struct ListFailedSteps;

impl Operation for ListFailedSteps {
    type Params = ListFailedStepsParams;
    type Body = ();
    type Reply = Page<FailedStep>;
    const SPEC: Spec = Spec {
        id: "listFailedSteps",
        group: "runs",
        path: "/v1/failed-steps",
        doc: "Lists steps that failed or cannot continue, by run, newest first; a page may be empty and still have a next.",
        words: &["runs list"],
        answers: &[(200, "A page.")],
        errors: &[Code::BadCursor],
        ..Spec::READ
    };
}
