//! Runs of which a fixed number is in flight.
//!
//! For: W7, over whatever transport a run is driven. Not for: how a run is started and awaited (the caller says).
//! Invariant: a run is started only when one before it has ended.

use std::time::Instant;

use consort_types::Result;
use futures::future::try_join_all;

use crate::{
    report::median,
    workflows::{RUNS_IN_FLIGHT, SHORT_RUNS, SHORT_STEPS},
};

/// Steps a second with 64 runs in flight; the median of the rounds. `run` starts the short run of a number, and waits
/// for its end.
pub(crate) async fn steps_per_second(rounds: usize, run: impl AsyncFn(usize) -> Result<()>) -> Result<f64> {
    let lane = async |lane: usize| {
        for n in (lane..SHORT_RUNS).step_by(RUNS_IN_FLIGHT) {
            run(n).await?;
        }
        Result::<()>::Ok(())
    };
    let mut rates = Vec::new();
    for round in 0..=rounds {
        let began = Instant::now();
        try_join_all((0..RUNS_IN_FLIGHT).map(&lane)).await?;
        if round > 0 || rounds == 1 {
            rates.push((SHORT_RUNS * SHORT_STEPS) as f64 / began.elapsed().as_secs_f64());
        }
    }
    Ok(median(&mut rates))
}

/// As [`steps_per_second`], for a client of a server that has the workflow `w2`.
pub(crate) async fn by_client(rounds: usize, client: &consort_sdk::Client) -> Result<f64> {
    let run = async |n: usize| {
        let run = client.start("w2", &serde_json::json!({ "n": n })).await?;
        client.result::<serde_json::Value>(run).await.map(drop)
    };
    steps_per_second(rounds, run).await
}
