//! How runs proceed: one module per idea.
//!
//! For: the rules between commands: which step begins when, what ends what. Not for: the shapes of commands
//! and rows.
//! Invariant: terminal states are final, and nothing outlives its run (law 7).

mod asked;
mod calls;
mod cancel;
mod compensate;
mod delete;
mod entries;
mod environment;
mod fork;
mod later;
mod life;
mod place;
mod retry;
mod scope;
mod step;
mod stop;
mod task;
mod timers;
mod trace;
mod unknown;
mod wait;

pub(crate) use life::{NewRun, refuse_ended};
pub(crate) use place::{Layer, Place, Role};
pub(crate) use retry::Again;
pub use task::LateReport;

use consort_types::{Code, Error, Result};

/// Separates errors that halt the partition from those that fail a step.
pub(crate) fn soft<T>(result: Result<T>) -> Result<Result<T, Error>> {
    match result {
        Err(error) if matches!(error.code, Code::Damaged | Code::Disk | Code::BadFormat | Code::Internal) => Err(error),
        other => Ok(other),
    }
}
