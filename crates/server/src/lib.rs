//! The composition root: configuration, adapters, built-in agents, listeners.
//!
//! For: making a whole of the parts, once, in one place. Not for: logic of runs (core), or of commands (cli).
//! Invariant: this is the only crate that names an adapter; the process that has the data folder open can be found
//! through its lock file.

mod agents;
mod basic;
pub mod doctor;
mod doors;
mod host;
mod keep;
mod local;
mod mend;
mod refusal;
mod rehearsal;
mod server;
pub mod settings;
mod telemetry;
mod workflows;

pub use agents::BUILTIN_AGENTS;
pub use consort_agents_research::research::pdf_child_main;
pub use consort_engine::RefuseRecord;
pub use consort_log_file::Holder;
pub use keep::{Fault, Restored, Verified, rebuild_store, restore, verify_backup};
pub use local::{DataFolder, holder};
pub use mend::mend_marker;
pub use refusal::refuse_record;
pub use rehearsal::{Called, Mocked, Offers, Rehearsal};
pub use server::{Role, Server};
pub use settings::{GrpcListen, Settings};
pub use telemetry::start_telemetry;
pub use workflows::{SHIPPED, Shipped, TOUR, shipped};

/// The runtime that carries messages, of a process that hosts the engine. A thread that is about to sleep while the
/// partition commits stays awake for it, since it will be needed right afterwards.
///
/// # Errors
///
/// The system gives no threads.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(message_threads())
        .on_thread_park(consort_engine::linger)
        .thread_name("consort")
        .enable_all()
        .build()
}

/// How many threads carry messages: one for each core but the partition's own, at most four. With more, a step pays
/// for waking threads that take the partition's core from it.
fn message_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    cores.saturating_sub(1).clamp(1, 4)
}
