//! Matching of tasks to worker instances.
//!
//! For: queues, priorities, fairness, limits, routes, health, capacity, and detecting lost instances. It keeps nothing
//! over a restart: recovery fills it from the state. Not for: recording or sending anything (the engine does both),
//! clocks, channels, or what an attempt reports while it runs.
//! Invariant: a task is in exactly one place; the same calls in the same order give the same assignments.
//!
//! Each part owns one thing, and the parts depend on each other downwards only:
//!
//! ```text
//! dispatcher            the surface
//! matching · views      which task goes next, to which instance · what operators see
//! placement             the moves of a task, which keep the parts below in step
//! tasks                 where each task is
//! pool                  worker instances, classes, agents: capacity, health, silence, candidate sets
//! queues                the order of tasks: priority, fairness, deadline, age
//! limits · stats · sticky     concurrency and rates · observed statistics · sticky keys
//! route · window · model      requirements · throughput · data in and out
//! ```

mod dispatcher;
mod limits;
mod matching;
mod model;
mod placement;
mod pool;
mod queues;
mod route;
mod stats;
mod sticky;
mod tasks;
mod views;
mod window;
mod writers;

pub use dispatcher::Dispatcher;
pub use model::{Assignment, Claim, Lost, Observed, Outcome, QueueId, Requested, WorkerInstanceId};
pub use route::has_labels;
pub use views::Views;
pub use writers::Writers;
