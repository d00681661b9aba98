//! The scripted agents and the fake engine together.
//!
//! For: what other crates' tests rely on. Not for: the worker's own rules.
//! Invariant: as in the kit: nothing waits for real time.

use consort_testkit::{agents::Script, engine::run_task};
use consort_types::{Code, Error};
use serde_json::{Value, json};

async fn run(script: &Script, capability: &str, input: Value) -> Result<Value, Error> {
    run_task(script.agent(), capability, &input, |called, input| {
        assert_eq!(called, "test.add");
        Ok(json!(input["a"].as_i64().unwrap() + input["b"].as_i64().unwrap()))
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn scripted_agents_do_what_their_table_says() {
    let script = Script::new();
    assert_eq!(run(&script, "test.echo", json!({"a": [1]})).await, Ok(json!({"a": [1]})));
    assert_eq!(run(&script, "test.add", json!({"a": 1, "b": 2})).await, Ok(json!(3)));
    assert_eq!(run(&script, "test.chain", json!({"steps": 5})).await, Ok(json!(10)));
    assert_eq!(run(&script, "test.fail", json!({"times": 0})).await, Ok(json!(1)));
    assert_eq!(run(&script, "test.fail", json!({"times": 1})).await.unwrap_err().code, Code::AgentFailed);
    assert!(run(&script, "test.panic", json!(null)).await.unwrap_err().message.contains("as the test requires"));
    assert_eq!(script.attempts("step"), 3);
}

#[tokio::test(start_paused = true)]
async fn effects_are_counted_by_key() {
    let script = Script::new();
    assert_eq!(run(&script, "test.count", json!({"key": "a"})).await, Ok(json!(1)));
    assert_eq!(run(&script, "test.count", json!({"key": "a"})).await, Ok(json!(2)));
    assert_eq!(run(&script, "test.write", json!({"key": "b"})).await, Ok(json!(1)));
    assert_eq!((script.effects("a"), script.effects("b"), script.effects("c")), (2, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_gate_holds_tasks_until_it_opens() {
    let script = Script::new();
    let waiting = {
        let script = script.clone();
        tokio::spawn(async move { run(&script, "test.wait", json!(7)).await })
    };
    while script.attempts("step") == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    script.open(1);
    assert_eq!(waiting.await.unwrap(), Ok(json!(7)));
}
