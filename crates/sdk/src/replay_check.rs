//! What a worker does in place of working when `consort replay-check` starts it.
//!
//! For: replaying the journals of tasks in flight against the code of this process. Not for: choosing the tasks (the
//! command does), or a replay in a test (see [`testing`](crate::testing)).
//! Invariant: no server is reached, nothing is recorded and no effect is begun.

use std::{fs, io::Write as _, path::PathBuf};

use consort_types::{Code, Error, Result};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::{Agent, testing::replay_task};

/// The files of tasks and of results.
pub(crate) struct ReplayFiles {
    tasks: PathBuf,
    results: PathBuf,
}

/// Tasks in flight, as the command wrote them.
#[derive(Deserialize)]
struct Recorded {
    tasks: Vec<RecordedTask>,
}

#[derive(Deserialize)]
struct RecordedTask {
    run: String,
    step: String,
    agent: Option<String>,
    capability: String,
    input: Box<RawValue>,
    items: Box<RawValue>,
}

impl ReplayFiles {
    /// Those that this process was started with, where it is to replay, and not to work.
    pub(crate) fn wanted() -> Option<Self> {
        let file = |name| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        Some(Self { tasks: file("CONSORT_REPLAY")?, results: file("CONSORT_REPLAY_RESULTS")? })
    }

    /// Replays every task of these agents, and adds a line of JSON for each to the file of results.
    pub(crate) async fn replay(&self, agents: &[Agent]) -> Result<()> {
        let text = fs::read_to_string(&self.tasks).map_err(|error| unusable(&self.tasks, &error))?;
        let recorded: Recorded = serde_json::from_str(&text).map_err(|error| unusable(&self.tasks, &error))?;
        let mut results = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.results)
            .map_err(|error| unusable(&self.results, &error))?;
        for task in recorded.tasks {
            let Some(agent) = agents.iter().find(|agent| Some(agent.name()) == task.agent.as_deref()) else { continue };
            let outcome = outcome(agent, &task).await;
            writeln!(results, "{outcome}").map_err(|error| unusable(&self.results, &error))?;
        }
        Ok(())
    }
}

async fn outcome(agent: &Agent, task: &RecordedTask) -> Value {
    let (run, step) = (&task.run, &task.step);
    match replay_task(agent, &task.capability, &task.input, task.items.get()).await {
        Ok(replayed) => {
            let mut told = json!({ "run": run, "step": step, "fits": replayed.fits(), "waiting": replayed.waiting });
            if let Some(divergence) = replayed.divergence {
                told["entry"] = json!(divergence.entry);
                told["recorded"] = json!(divergence.recorded);
                told["found"] = json!(divergence.found);
            }
            if let Some(failure) = replayed.failure {
                told["failure"] = json!(failure.message);
            }
            told
        }
        Err(error) => json!({ "run": run, "step": step, "fits": false, "failure": error.message }),
    }
}

fn unusable(path: &std::path::Path, error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::BadSetting, format!("the file `{}` of a replay cannot be used: {error}", path.display()))
        .hint("start this program by `consort replay-check`, or without CONSORT_REPLAY")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Capability, TaskContext, TaskError};

    async fn order(ctx: TaskContext, _: Value) -> std::result::Result<u32, TaskError> {
        ctx.run("price", || async { Err::<u32, _>(TaskError::permanent("a replay does nothing")) }).await?;
        ctx.wait_signal("go").await
    }

    #[tokio::test]
    async fn the_tasks_of_the_workers_agents_are_replayed_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let files = ReplayFiles { tasks: folder.path().join("tasks"), results: folder.path().join("results") };
        let task = |step: &str, agent: &str, capability: &str, items: Value| {
            json!({ "run": "r", "step": step, "agent": agent, "version": "1", "capability": capability,
                "input": "tea", "items": items })
        };
        let price = json!({ "index": 0, "kind": "run", "name": "price", "output": 7 });
        let wait = json!({ "index": 1, "kind": "signal", "name": "go", "after": [0] });
        let tasks = [
            task("fits", "shop", "order", json!([price, wait])),
            task("diverges", "shop", "order", json!([{ "kind": "run", "name": "prize", "output": 7 }])),
            task("unknown", "shop", "refund", json!([price])),
            task("elsewhere", "other", "order", json!([price])),
        ];
        fs::write(&files.tasks, json!({ "tasks": tasks }).to_string()).unwrap();
        let agent = Agent::new("shop").capability(Capability::from_fn("order", order));
        files.replay(&[agent]).await.unwrap();
        let said = fs::read_to_string(&files.results).unwrap();
        let results: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(results.len(), 3, "{said}");
        assert_eq!(results[0], json!({ "run": "r", "step": "fits", "fits": true, "waiting": [1] }));
        assert_eq!((&results[1]["fits"], &results[1]["found"]), (&json!(false), &json!("run `price`")));
        assert!(results[2]["failure"].as_str().unwrap().contains("has no capability `refund`"), "{said}");
    }
}
