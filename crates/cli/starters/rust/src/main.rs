//! Hosts the agent. Start it beside `consort up`: `cargo run`; or have `consort dev` start both.

mod worker;

use consort_sdk::{Remote, Worker, types::Result};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<()> {
    // At `CONSORT_SERVER`, or else at 127.0.0.1:7878.
    Worker::new(Remote::from_environment()).agent(worker::writer()).run(stopped()).await
}

/// Ends when the process is to stop: by Ctrl-C, or by SIGTERM. What it has begun is finished first.
async fn stopped() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be received");
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
