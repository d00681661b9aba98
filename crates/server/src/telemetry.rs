//! Logs of the process.
//!
//! For: lines on standard error at the level that was set. Not for: results (standard output is theirs), nor for
//! what happened in a run (its journal has that).
//! Invariant: no secret and no payload is ever logged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use consort_engine::{AppendedGroup, AttemptEnd, Observer};
use consort_types::{Error, Seq, Span, StepInstanceId, Token, WorkerInstance};
use tracing_subscriber::filter::LevelFilter;

use crate::keep::Snapshots;

/// Starts telling, at most once in a process; later calls change nothing.
pub fn start_telemetry(level: &str) {
    let level = level.parse().unwrap_or(LevelFilter::WARN);
    if level == LevelFilter::OFF {
        return;
    }
    let builder = tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(level).with_ansi(false);
    // Where a subscriber is there already, the first one stays.
    let _ = builder.with_target(false).try_init();
}

/// How long an append may take before an operator should know: everything that is acknowledged waits for it.
const SLOW_APPEND: Span = Span::from_secs(1);

/// Tells what the engine's loop does, one line each at the level `debug`, and at `warn` what is far too slow.
pub(crate) struct LoopTelemetry {
    started: Instant,
    /// What wants to know how the log grows.
    snapshots: Option<Arc<Snapshots>>,
    /// Whether the log refuses groups: each spell is told once.
    refusing: AtomicBool,
}

impl LoopTelemetry {
    pub(crate) fn new(snapshots: Option<Arc<Snapshots>>) -> Self {
        Self { started: Instant::now(), snapshots, refusing: AtomicBool::new(false) }
    }
}

impl Observer for LoopTelemetry {
    fn now(&self) -> Span {
        Span(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn appended(&self, group: &AppendedGroup) {
        let AppendedGroup { last, records, bytes, took } = group;
        if self.refusing.swap(false, Ordering::AcqRel) {
            tracing::warn!("the log takes commands again, from record {last} on");
        }
        if let Some(snapshots) = &self.snapshots {
            snapshots.grown(*bytes as u64);
        }
        if *took >= SLOW_APPEND {
            tracing::warn!(
                "the log took {took} for {records} records of {bytes} bytes, up to record {last}; check its disk"
            );
        } else {
            tracing::debug!("appended {records} records of {bytes} bytes in {took}, up to record {last}");
        }
    }

    fn append_refused(&self, error: &Error) {
        if !self.refusing.swap(true, Ordering::AcqRel) {
            tracing::error!("no command is taken, and the log is tried again each second: {}", error.message);
        }
    }

    fn applied(&self, last: Seq, records: usize, took: Span) {
        tracing::debug!("applied {records} records in {took}, up to record {last}");
    }

    fn dispatched(&self, task: StepInstanceId, token: Token, instance: &WorkerInstance) {
        tracing::debug!("sent attempt {token} of task {task} to {instance}");
    }

    fn agent_refused(&self, agent: &str, version: &str, why: &Error) {
        tracing::warn!(
            "an instance of agent `{agent}`, version `{version}`, was refused: {} ({})",
            why.message,
            why.code
        );
    }

    fn agent_contradicted(&self, agent: &str, version: &str, warnings: &[String]) {
        for warning in warnings {
            tracing::warn!("agent `{agent}`, version `{version}`: {warning}");
        }
    }

    fn attempt_ended(&self, task: StepInstanceId, token: Token, end: AttemptEnd) {
        tracing::debug!("attempt {token} of task {task} has ended: {end:?}");
    }
}
