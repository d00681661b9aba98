//! What the server answers, as far as the commands look into it.
//!
//! For: typed access to what is shown. Not for: `--json`, which passes documents on as they came.
//! Invariant: fields that are not looked at are left alone, so that a newer server is understood.

use std::collections::BTreeMap;

use consort_types::{Error, RunId, Span, Time};
use serde::Deserialize;
use serde_json::Value;

/// A run.
#[derive(Clone, Debug, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names are those of the document")]
pub(crate) struct Run {
    pub(crate) run: RunId,
    pub(crate) workflow: String,
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) paused: bool,
    pub(crate) created: Time,
    #[serde(default)]
    pub(crate) ended: Option<Time>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) parent: Option<String>,
    #[serde(default)]
    pub(crate) origin: Option<Origin>,
    #[serde(default)]
    pub(crate) error: Option<Error>,
}

/// Where a run was forked from.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Origin {
    pub(crate) run: RunId,
    #[serde(default)]
    pub(crate) step: Option<String>,
}

/// A run that was started.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Started {
    pub(crate) run: RunId,
    #[serde(default)]
    pub(crate) existing: bool,
}

/// A workflow that was deployed.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Deployed {
    pub(crate) name: String,
    pub(crate) revision: u32,
    pub(crate) new: bool,
}

/// A deployed workflow in a listing.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Workflow {
    pub(crate) name: String,
    pub(crate) revision: u32,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) deployed: Time,
}

/// How a fan-out or loop stands.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Counts {
    pub(crate) total: u32,
    pub(crate) started: u32,
    pub(crate) ended: u32,
    pub(crate) failed: u32,
}

/// A step in the tree of a run.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) target: Option<String>,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) attempt: u32,
    #[serde(default)]
    pub(crate) instance: Option<String>,
    #[serde(default)]
    pub(crate) began: Option<Time>,
    #[serde(default)]
    pub(crate) ended: Option<Time>,
    #[serde(default)]
    pub(crate) wakes: Option<Time>,
    #[serde(default)]
    pub(crate) error: Option<Error>,
    #[serde(default)]
    pub(crate) child_run: Option<String>,
    #[serde(default)]
    pub(crate) copied: bool,
    #[serde(default)]
    pub(crate) counts: Option<Counts>,
    #[serde(default)]
    pub(crate) below: Vec<Node>,
}

/// A step with its documents.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Step {
    pub(crate) task: String,
    pub(crate) path: String,
}

/// A step as a replay tells it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReplayedStep {
    pub(crate) path: String,
    pub(crate) state: String,
    pub(crate) attempts: u32,
    #[serde(default)]
    pub(crate) ended: Option<Time>,
}

/// A run as its journal tells it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Replay {
    #[serde(default)]
    pub(crate) status: Option<String>,
    pub(crate) entries: u64,
    pub(crate) steps: Vec<ReplayedStep>,
    #[serde(default)]
    pub(crate) differences: Vec<String>,
}

/// Where a step differs between two runs.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Difference {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) left: Option<String>,
    #[serde(default)]
    pub(crate) right: Option<String>,
    pub(crate) same_output: bool,
    #[serde(default)]
    pub(crate) left_took: Option<Span>,
    #[serde(default)]
    pub(crate) right_took: Option<Span>,
}

/// Two runs compared.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) same: u64,
    pub(crate) differences: Vec<Difference>,
}

/// Something that waits for a person.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Item {
    pub(crate) task: String,
    pub(crate) run: RunId,
    pub(crate) workflow: String,
    pub(crate) step: String,
    pub(crate) since: Time,
    pub(crate) ask: Value,
    pub(crate) title: String,
    /// What the decision is about; a long document is not here but at an address of its own.
    #[serde(default)]
    pub(crate) details: Option<Value>,
}

/// An entry of a journal; what happened stands beside these fields.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) time: Time,
    #[serde(default)]
    pub(crate) step: Option<String>,
    #[serde(flatten)]
    pub(crate) event: BTreeMap<String, Value>,
}

/// What an attempt says while it works.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Progress {
    pub(crate) step: String,
    pub(crate) attempt: u32,
    #[serde(flatten)]
    pub(crate) live: Live,
}

/// What is said while an attempt works.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Live {
    Message {
        message: String,
    },
    Text {
        text: String,
    },
    Json {
        value: Value,
    },
    /// A newer server says more.
    #[serde(other)]
    Other,
}
