//! Agents that a test controls: answer, fail, wait, count.
//!
//! For: tests that need work to be done, whatever it is. Not for: showing how agents are written.
//! Invariant: what an agent did can be seen in its [`Script`] from outside, across attempts and workers.

use std::{collections::BTreeMap, sync::Arc};

use consort_sdk::{Agent, Capability, TaskContext, TaskError};
use consort_types::EffectClass;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// The control of the agent of [`Script::agent`], and what it has done. Clones are the same script.
#[derive(Clone, Debug)]
pub struct Script {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Attempts by step.
    attempts: Mutex<BTreeMap<String, u32>>,
    /// Effects by their key.
    effects: Mutex<BTreeMap<String, u32>>,
    /// Attempts that may leave `test.wait`.
    gate: Semaphore,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            shared: Arc::new(Shared { attempts: Mutex::default(), effects: Mutex::default(), gate: Semaphore::new(0) }),
        }
    }
}

impl Script {
    /// A script in which nothing has happened.
    pub fn new() -> Self {
        Self::default()
    }

    /// The agent `test`:
    ///
    /// | capability | input | does |
    /// |---|---|---|
    /// | `test.echo` | any | answers its input |
    /// | `test.add` | `{a, b}` | answers the sum of two whole numbers |
    /// | `test.fail` | `{times, permanent?}` | fails that many attempts, then answers the number of the attempt |
    /// | `test.wait` | any | answers its input once [`Script::open`] lets it |
    /// | `test.panic` | any | panics |
    /// | `test.count` | `{key}` | counts an effect inside `run`; answers how often it was done |
    /// | `test.write` | `{key}` | counts an effect of class `write`; answers how often it was done |
    /// | `test.chain` | `{steps}` | calls `test.add` that many times, one after the other; answers the sum |
    pub fn agent(&self) -> Agent {
        Agent::new("test")
            .version("1")
            .description("Behaves as a test requires.")
            .capability(Capability::from_fn("test.echo", |_, input: Value| async move { Ok(input) }))
            .capability(Capability::from_fn("test.add", |_, input: Value| async move { add(&input) }))
            .capability(self.script("test.fail", |script, ctx, input| async move { script.fail(&ctx, &input) }))
            .capability(self.script("test.wait", Self::wait))
            .capability(self.script("test.panic", |script, ctx, _| async move {
                script.attempted(&ctx);
                panic!("as the test requires")
            }))
            .capability(self.script("test.count", Self::count))
            .capability(
                self.script("test.write", |script, ctx, input| async move { Ok(script.write(&ctx, &input)) })
                    .effect(EffectClass::Write),
            )
            .capability(Capability::from_fn("test.chain", |ctx, input: Value| chain(ctx, input)))
    }

    /// Releases that many attempts of `test.wait`, now or when they come.
    pub fn open(&self, attempts: usize) {
        self.shared.gate.add_permits(attempts);
    }

    /// How many attempts the scripted capabilities (all but `echo`, `add` and `chain`) have seen of a step.
    pub fn attempts(&self, step: &str) -> u32 {
        self.shared.attempts.lock().get(step).copied().unwrap_or(0)
    }

    /// How often the effect of that key was done.
    pub fn effects(&self, key: &str) -> u32 {
        self.shared.effects.lock().get(key).copied().unwrap_or(0)
    }

    fn script<F, Fut>(&self, name: &str, code: F) -> Capability
    where
        F: Fn(Self, TaskContext, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, TaskError>> + Send + 'static,
    {
        let script = self.clone();
        Capability::from_fn(name, move |ctx, input: Value| code(script.clone(), ctx, input))
    }

    fn attempted(&self, ctx: &TaskContext) {
        *self.shared.attempts.lock().entry(ctx.step().to_owned()).or_default() += 1;
    }

    fn affect(&self, key: &str) -> u32 {
        let mut effects = self.shared.effects.lock();
        let count = effects.entry(key.to_owned()).or_default();
        *count += 1;
        *count
    }

    fn fail(&self, ctx: &TaskContext, input: &Value) -> Result<Value, TaskError> {
        self.attempted(ctx);
        if u64::from(ctx.attempt()) > input["times"].as_u64().unwrap_or(0) {
            return Ok(json!(ctx.attempt()));
        }
        let error = TaskError::retryable(format!("attempt {} fails as the test requires", ctx.attempt()));
        Err(if input["permanent"] == json!(true) { error.into_permanent() } else { error })
    }

    async fn wait(self, ctx: TaskContext, input: Value) -> Result<Value, TaskError> {
        self.attempted(&ctx);
        tokio::select! {
            biased;
            () = ctx.cancelled() => Err(TaskError::permanent("cancelled")),
            permit = self.shared.gate.acquire() => {
                permit?.forget();
                Ok(input)
            }
        }
    }

    async fn count(self, ctx: TaskContext, input: Value) -> Result<Value, TaskError> {
        self.attempted(&ctx);
        let key = input["key"].as_str().unwrap_or_default().to_owned();
        let done: u32 = ctx.run("count", || async { Ok(self.affect(&key)) }).await?;
        Ok(json!(done))
    }

    fn write(&self, ctx: &TaskContext, input: &Value) -> Value {
        self.attempted(ctx);
        json!(self.affect(input["key"].as_str().unwrap_or_default()))
    }
}

fn add(input: &Value) -> Result<Value, TaskError> {
    match (input["a"].as_i64(), input["b"].as_i64()) {
        (Some(a), Some(b)) => Ok(json!(a + b)),
        _ => Err(TaskError::permanent("`a` and `b` must be whole numbers")),
    }
}

async fn chain(ctx: TaskContext, input: Value) -> Result<Value, TaskError> {
    let mut sum = 0;
    for step in 0..input["steps"].as_i64().unwrap_or(0) {
        sum = ctx.call("test.add", &json!({ "a": sum, "b": step })).await?;
    }
    Ok(json!(sum))
}
