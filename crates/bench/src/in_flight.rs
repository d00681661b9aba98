//! Runs of which a fixed number is in flight, as a client drives them.
//!
//! For: W7 against a server process, over whatever transport its agents are reached. Not for: the engine without a client (`in_process`).
//! Invariant: a run is started only when one before it has ended.

use std::time::Instant;

use consort_sdk::Client;
use consort_types::Result;
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::{
    report::median,
    workflows::{RUNS_IN_FLIGHT, SHORT_RUNS, SHORT_STEPS},
};

/// Steps a second of the workflow `w2`, with 64 runs in flight; the median of the rounds.
pub(crate) async fn steps_per_second(client: &Client, rounds: usize) -> Result<f64> {
    let lane = |lane: usize| async move {
        for n in (lane..SHORT_RUNS).step_by(RUNS_IN_FLIGHT) {
            let run = client.start("w2", &json!({ "n": n })).await?;
            client.result::<Value>(run).await?;
        }
        Result::<()>::Ok(())
    };
    let mut rates = Vec::new();
    for round in 0..=rounds {
        let began = Instant::now();
        try_join_all((0..RUNS_IN_FLIGHT).map(lane)).await?;
        if round > 0 || rounds == 1 {
            rates.push((SHORT_RUNS * SHORT_STEPS) as f64 / began.elapsed().as_secs_f64());
        }
    }
    Ok(median(&mut rates))
}
