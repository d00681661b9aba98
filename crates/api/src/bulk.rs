//! Many runs at once.
//!
//! For: acting on every run that a filter finds. Not for: one run (see `operate`).
//! Invariant: a request acts on a bounded number of runs and returns a cursor for the rest.

use std::collections::BTreeMap;

use consort_types::{Code, RunId, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Accepts, ErrorDetail, NoParams, Operation, Returns, Spec, is_default, runs::StatusFilter, schema};

/// Which runs a bulk request acts on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkFilter {
    /// Only in one of these states; without one, in any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<StatusFilter>,
    /// Only of this workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Only with all these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether the filter includes child runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub children: bool,
}

/// What a bulk request does to each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkAction {
    /// Cancel it.
    Cancel,
    /// Hold its tasks back.
    Pause,
    /// Resume it.
    Resume,
    /// Delete it; it must have ended.
    Delete,
}

/// Acts on many runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// Which runs. It must be there; an empty one means every run.
    pub filter: BulkFilter,
    /// What to do.
    pub action: BulkAction,
    /// Why, for the histories of runs that are cancelled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How many runs at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::BULK_RUNS_MAX))]
    pub limit: Option<usize>,
    /// The cursor to continue from: the `next` of the previous answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Only list the matching runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dry_run: bool,
}

/// The outcome for one run of a bulk request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BulkItem {
    /// The run.
    #[schemars(with = "schema::Run")]
    pub run: RunId,
    /// Whether it was done (with `dry_run`: always `false`).
    pub done: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorDetail>,
}

/// The outcome of a bulk request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BulkResult {
    /// Each matching run.
    pub results: Vec<BulkItem>,
    /// The `cursor` of the next request; absent where no more runs match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Acts on many runs.
pub struct BulkRuns;

impl Operation for BulkRuns {
    type Params = NoParams;
    type Body = BulkRequest;
    type Reply = BulkResult;
    const SPEC: Spec = Spec {
        id: "bulkRuns",
        group: "runs",
        path: "/v1/runs/bulk",
        doc: "Cancels, pauses, resumes or deletes every run that a filter finds, a bounded number at once.",
        accepts: Accepts::SMALL,
        returns: Returns::Json,
        answers: &[(200, "The outcome for each run.")],
        errors: &[Code::BadCursor],
        ..Spec::CHANGE
    };
}
