//! Views of the state, for people and programs.
//!
//! For: reading runs, steps, journals, the inbox, workflows and agents. Not for: changing anything.
//! Invariant: every listing is a bounded page with a cursor, so that a reader never holds the loop for long.

mod compare;
mod door;
mod journal;
mod listing;
mod refusals;
mod registry;
mod replay;
mod tree;

pub use compare::{Comparison, Difference, compare};
pub use door::{StartPin, accept_input};
pub use journal::{JournalCursor, JournalView};
pub use listing::{DeployedWorkflow, InboxView, RunFilter, RunSummary, RunView, WorkflowView};
pub use refusals::RefusedRecord;
pub use registry::AgentView;
pub use replay::{Replay, ReplayedStep, replay};
pub use tree::{Counts, StepNode, StepView};

pub use crate::rows::RunStatus;

use consort_types::limits;

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The page size that is used for one that was asked for.
fn bounded(limit: usize) -> usize {
    limit.clamp(1, limits::PAGE_ITEMS_MAX)
}

fn bad_cursor(cursor: &str) -> consort_types::Error {
    consort_types::Error::new(consort_types::Code::BadCursor, format!("`{cursor}` is not a cursor of this listing"))
        .hint("start again without a cursor")
}
