//! The agent `basic`: capabilities that need no outside world.
//!
//! For: first workflows, tests and benchmarks. Not for: real work.
//! Invariant: nothing here has an effect on anything.

use std::time::Duration;

use consort_sdk::{Agent, Capability, TaskContext, TaskError, schemars::JsonSchema};
use consort_types::{EffectClass, Span};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The input of `sleep`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(crate = "consort_sdk::schemars")]
struct Sleep {
    /// How long, such as `500ms`.
    #[serde(rename = "for")]
    span: String,
}

/// The output of `sleep`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(crate = "consort_sdk::schemars")]
struct Slept {
    /// How long it slept.
    slept: String,
}

/// The agent.
pub(crate) fn agent() -> Agent {
    let echo = Capability::from_fn("echo", |_, input: Value| async move { Ok(input) })
        .description("Returns its input.")
        .effect(EffectClass::Read)
        .input_schema(json!(true))
        .output_schema(json!(true));
    let sleep = Capability::from_fn("sleep", sleep)
        .description("Works for a while on nothing: `for` is the duration. Unlike a `wait` it holds its place.")
        .effect(EffectClass::Read);
    Agent::new("basic")
        .version(env!("CARGO_PKG_VERSION"))
        .description("Capabilities that need no outside world.")
        .capability(echo)
        .capability(sleep)
}

async fn sleep(ctx: TaskContext, input: Sleep) -> Result<Slept, TaskError> {
    /// So that progress is seen, and a cancelled attempt ends soon.
    const STEP: Duration = Duration::from_millis(250);
    let span: Span = input.span.parse().map_err(|error: consort_types::Error| TaskError::permanent(error.message))?;
    let (mut done, whole) = (Duration::ZERO, span.to_std());
    while done < whole && !ctx.is_cancelled() {
        ctx.progress(format!("{} %", done.as_millis() * 100 / whole.as_millis().max(1)));
        let part = whole.saturating_sub(done).min(STEP);
        tokio::time::sleep(part).await;
        done += part;
    }
    Ok(Slept { slept: span.to_string() })
}
