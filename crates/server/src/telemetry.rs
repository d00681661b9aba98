//! Logs of the process.
//!
//! For: lines on standard error at the level that was set. Not for: results (standard output is theirs), nor for
//! what happened in a run (its journal has that).
//! Invariant: no secret and no payload is ever logged.

use tracing_subscriber::filter::LevelFilter;

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
