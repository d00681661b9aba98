//! Bodies of requests.
//!
//! For: what a client sends. Not for: what it gets (see the modules beside this one).
//! Invariant: an unknown field is refused with its name, so that a misspelt one is never silently without effect.

use std::collections::BTreeMap;

use consort_types::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A workflow's source, in JSON.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// The YAML text.
    pub source: String,
}

/// Starts a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// The workflow's name.
    pub workflow: String,
    /// A revision number or an author's version; without one, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The input document; without one, `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub input: Option<Box<RawValue>>,
    /// Labels to find the run by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Added to the priority of every step.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// How long the run may take, such as `30s` or `1h30m`; without one, what the workflow says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Span>,
}

/// Cancels a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    /// Why, for the journal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Whether the clean-up steps are cancelled too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub force: bool,
}

/// Nothing: an empty body does as well.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyRequest {}

/// Makes a new run that repeats what had not completed in an old one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// The top-level step from which everything is repeated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Makes a new run that takes outcomes over from an old one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForkRequest {
    /// The top-level step from which everything runs anew; without one, all that had not completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Another input; without one (or with `null`), the old run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub input: Option<Box<RawValue>>,
}

/// What a person decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// An approval: yes.
    Approve,
    /// An approval: no.
    Reject,
    /// An unknown outcome: it happened.
    Done,
    /// An unknown outcome: it did not happen, try again.
    Retry,
    /// An unknown outcome: count it as failed.
    Fail,
}

/// Decides what waits in the inbox.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideRequest {
    /// What.
    pub decision: Decision,
    /// Who decides.
    pub by: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// With `done`: what the step made; without one, `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub output: Option<Box<RawValue>>,
}

/// Sets how long ended runs are kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionRequest {
    /// How long, such as `30d`; `null` keeps them until they are deleted.
    #[serde(deserialize_with = "present")]
    #[schemars(with = "Option<String>", required)]
    pub keep: Option<Span>,
}

/// An optional value whose field must be there: forgetting it must not mean "for ever".
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Span>, D::Error> {
    Option::deserialize(deserializer)
}

/// Which runs a bulk request acts on.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkFilter {
    /// Only in this state: `running`, `cancelling`, `compensating`, `completed`, `failed` or `cancelled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Only of this workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Only with all these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whether runs that a run started are meant too.
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
    /// Let it go on.
    Resume,
    /// Delete it; it must have ended.
    Delete,
}

/// Acts on many runs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// Which runs. It must be there; an empty one means every run.
    pub filter: BulkFilter,
    /// What to do.
    pub action: BulkAction,
    /// Why, for the journals of runs that are cancelled.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How many runs at most, 1 to 1000; 100 without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Where to go on: the `next` of the answer before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Only say which runs are meant.
    #[serde(default, skip_serializing_if = "is_default")]
    pub dry_run: bool,
}
