//! An agent far from the engine: start `consort up`, then this, then `consort run` a workflow that calls `greet`.
//!
//! For: the first agent. Not for: work that lasts (see `order.rs`).
//! Invariant: fewer than twenty lines of code.

use consort_sdk::{Agent, Capability, Remote, TaskContext, TaskError, Worker};
use consort_types::Result;

async fn greet(_: TaskContext, name: String) -> Result<String, TaskError> {
    Ok(format!("hello {name}"))
}

#[tokio::main]
async fn main() -> Result<()> {
    let agent = Agent::new("greeter").version("1.0.0").capability(Capability::from_fn("greet", greet));
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    Worker::new(Remote::new("http://127.0.0.1:7878")).agent(agent).run(stop).await
}
