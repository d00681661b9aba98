//! The documents of the interface, as a client reads and writes them.
//!
//! For: clients in Rust, and the schemas of the OpenAPI document. Not for: the engine (it has types of its own;
//! answers are encoded from those, and a test holds each against its schema here).
//! Invariant: a request refuses fields that it does not know; an answer may gain fields in a later version, so
//! clients ignore those that they do not know.

mod answers;
mod registry;
mod requests;
mod runs;

pub use answers::{
    AgentInstances, Bound, Bounds, BulkItem, BulkResult, Check, Deployed, Diagnostic, ErrorPage, Graph, GraphNode,
    Problem, Ready, Started, Status, TaskCounts, WorkflowSource, WorkflowSummary,
};
pub use registry::{
    Agent, Capability, Holder, Instance, Items, Limit, LimitRequest, Queue, Rate, Skill, WeightRequest,
};
pub use requests::{
    BulkAction, BulkFilter, BulkRequest, CancelRequest, DecideRequest, Decision, DeployRequest, EmptyRequest,
    ForkRequest, RetentionRequest, RetryRequest, StartRequest,
};
pub use runs::{
    Comparison, Counts, Difference, ErrorDetail, InboxItem, JournalEntry, Live, Origin, Page, Progress, Replay,
    ReplayedStep, Run, RunSummary, Step, StepNode,
};
