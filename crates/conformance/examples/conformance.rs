//! The Rust worker of the conformance scenarios (sdks/conformance/README.md describes each capability).
//!
//! For: the driver of this crate. Not for: learning (see `crates/sdk/examples`).
//! Invariant: it does what the workers in the other languages do.

use std::{env, future::Future};

use consort_sdk::{
    Agent, Answer, CallOptions, Capability, PutOptions, Remote, Subscription, TaskContext, TaskError, Worker, all, race,
};
use consort_types::{EffectClass, Error, Result, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[derive(Deserialize, JsonSchema)]
struct Item {
    name: String,
    qty: u32,
}

#[derive(Deserialize, JsonSchema)]
struct Items {
    items: Vec<Item>,
}

#[derive(Serialize, JsonSchema)]
struct Total {
    total: u32,
    names: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
struct Failing {
    kind: String,
    until: u32,
}

#[derive(Deserialize, JsonSchema)]
struct Odd {
    kind: String,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Named {
    name: String,
}

#[derive(Deserialize, JsonSchema)]
struct Address {
    city: String,
}

#[derive(Deserialize, JsonSchema)]
struct Word {
    word: String,
}

#[derive(Deserialize, Serialize, JsonSchema)]
struct Count {
    count: u32,
}

/// How long a race waits.
const PAUSE: Span = Span::from_millis(300);

/// Asks the outside service for an effect.
async fn effect(ctx: &TaskContext, name: &str) -> Result<u32, TaskError> {
    let ledger = env::var("CONFORM_LEDGER").unwrap_or_default();
    let host = ledger.strip_prefix("http://").unwrap_or(&ledger);
    let body = json!({ "key": ctx.idempotency_key() }).to_string();
    let mut stream = TcpStream::connect(host).await?;
    let head = format!(
        "POST /effects/{name} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await?;
    // The answer is short and comes whole, and its body is one JSON object.
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(TaskError::retryable("the outside service is unreachable"));
        }
    }
    let at = answer.iter().position(|byte| *byte == b'{').unwrap_or(0);
    let count: Count = serde_json::from_slice(&answer[at..])?;
    Ok(count.count)
}

/// An effect as a journal entry.
fn once(ctx: &TaskContext, entry: &str, name: &str) -> impl Future<Output = Result<u32, TaskError>> + Send + use<> {
    let (inner, name) = (ctx.clone(), name.to_owned());
    ctx.run(entry, move || async move { effect(&inner, &name).await })
}

async fn fail(ctx: TaskContext, input: Failing) -> Result<Value, TaskError> {
    if ctx.attempt() >= input.until {
        return Ok(json!({ "attempt": ctx.attempt() }));
    }
    match input.kind.as_str() {
        "retryable" => Err(TaskError::retryable("no such page")),
        "permanent" => Err(TaskError::permanent("no such page")),
        _ => Err(std::io::Error::other("boom").into()),
    }
}

async fn flow(ctx: TaskContext, input: Word) -> Result<Value, TaskError> {
    let first = once(&ctx, "first", "first").await?;
    let echoed: Value = ctx.call("conform.echo", &json!({ "n": 1 })).await?;
    ctx.sleep(Span::from_millis(30)).await?;
    let go: Value = ctx.wait_signal("go").await?;
    let sides = ["left", "right"].map(|name| ctx.call::<Count>("conform.effect", &Named { name: name.into() }));
    let sides: u32 = all(sides).await?.iter().map(|side| side.count).sum();
    let last = once(&ctx, "last", "last").await?;
    Ok(json!({ "word": input.word, "echoed": echoed["n"], "go": go, "sides": sides, "counts": [first, last] }))
}

/// An event that is handled at the second attempt.
async fn ordered(ctx: TaskContext, event: Value) -> Result<(), TaskError> {
    let about = format!("{}-{}", event["subject"].as_str().unwrap_or_default(), event["data"]["n"]);
    once(&ctx, "begun", &format!("begun-{about}")).await?;
    if ctx.attempt() == 1 {
        return Err(TaskError::retryable("not yet"));
    }
    once(&ctx, "done", &format!("done-{about}")).await.map(drop)
}

async fn branch(ctx: &TaskContext, side: &str) -> Result<Value, TaskError> {
    let first = once(ctx, &format!("{side}-1"), &format!("{side}-1")).await?;
    let echoed: Value = ctx.call("conform.echo", &side).await?;
    let second = once(ctx, &format!("{side}-2"), &format!("{side}-2")).await?;
    Ok(json!([first, echoed, second]))
}

async fn branches(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let (left, right) = tokio::join!(biased; branch(&ctx, "left"), branch(&ctx, "right"));
    Ok(json!({ "left": left?, "right": right? }))
}

async fn first_of_two(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let slow = ctx.call::<Value>("conform.effect", &Named { name: "slow".into() });
    let fast = ctx.call::<Value>("conform.echo", &"fast");
    let (_, winner) = race([slow, fast]).await?;
    Ok(json!({ "winner": winner }))
}

async fn listen(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let mut found = Vec::new();
    for attempt in 0..3 {
        let payload: Value = tokio::select! {
            biased;
            payload = ctx.wait_signal("go") => payload?,
            slept = ctx.sleep(PAUSE) => slept.map(|()| Value::Null)?,
        };
        found.push(payload);
        if attempt == 0 {
            once(&ctx, "between", "between").await?;
        }
    }
    Ok(json!(found))
}

async fn shared(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let space = ctx.state("conform");
    let before = space.get::<Value>("count").await?;
    space.put("count", &1, &PutOptions::new().seen(0)).await?;
    once(&ctx, "between", "between").await?;
    let Some(found) = space.get::<u64>("count").await? else { return Ok(Value::Null) };
    let stale = space.put("count", &2, &PutOptions::new().seen(0)).await.err();
    let written = space.put("count", &(found.value + 1), &PutOptions::new().seen(found.version)).await?;
    let key = json!({ "space": "conform", "key": "count" });
    let (mut holds, mut removes) = (key.clone(), key);
    (holds["equals"], removes["op"]) = (json!(2), json!("delete"));
    let done = ctx.transact(&json!({ "if": [holds], "do": [removes] })).await?;
    let stale = stale.map(|error| error.error().code.to_string());
    let before = before.map(|before| before.value);
    Ok(json!([before, found.value, stale, written.outcome, done.succeeded, done.results[0].outcome]))
}

async fn address(ctx: TaskContext, _: Value) -> Result<String, TaskError> {
    Ok(ctx.wait_signal_typed::<Address>("go").await?.city)
}

async fn asked(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    ctx.expose("stage", &json!({ "n": 1 })).await?;
    ctx.set_labels([("stage", "asked")]).await?;
    let first = ctx.wait_update_typed::<Address>("move").await?;
    once(&ctx, "between", "between").await?;
    first.answer(&json!({ "moved": first.input.city })).await?;
    ctx.expose("stage", &json!({ "n": 2 })).await?;
    let late = ctx.wait_update_typed::<Address>("move").await?;
    late.reject("too late").await?;
    Ok(json!([first.input.city, late.input.city]))
}

async fn titled(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let title = if is_two() { "inn" } else { "hotel" };
    let echoed = ctx.titled(title).call("conform.echo", &"booked").await?;
    tokio::select! {
        biased;
        go = ctx.titled("desk").wait_signal::<Value>("go") => drop(go?),
        slept = ctx.titled("night").sleep(Span::from_secs(3600)) => slept?,
    }
    Ok(echoed)
}

async fn question(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    tokio::select! {
        biased;
        answer = ctx.wait_approval("first?", &Value::Null) => drop(answer?),
        slept = ctx.sleep(PAUSE) => slept?,
    }
    once(&ctx, "between", "between").await?;
    let answer = ctx.wait_approval("second?", &Value::Null).await?;
    Ok(json!({ "approved": answer.approved, "by": answer.by, "comment": answer.comment, "value": answer.value }))
}

/// Which variant of the code it is; empty for the first.
fn variant() -> String {
    env::var("CONFORM_VARIANT").unwrap_or_default()
}

/// Whether the code is the second variant.
fn is_two() -> bool {
    variant() == "b"
}

/// Does more in its second variant, and no longer knows the old path in its third.
async fn patched(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    once(&ctx, "begun", "begun").await?;
    let new = match variant().as_str() {
        "b" => ctx.patched("more").await?,
        "c" => {
            ctx.deprecate_patch("more").await?;
            true
        }
        _ => false,
    };
    if new {
        once(&ctx, "more", "more").await?;
    }
    let go: Value = ctx.wait_signal("go").await?;
    Ok(json!({ "path": if new { "new" } else { "old" }, "go": go }))
}

/// Reserves, pays, waits, and mails; each variant is a deploy.
async fn order(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let variant = variant();
    let entry = if variant == "renamed" { "hold" } else { "reserve" };
    let pay = || ctx.call::<Count>("conform.write", &Named { name: "pay".into() });
    if variant == "swapped" {
        pay().await?;
        once(&ctx, entry, "reserve").await?;
    } else {
        once(&ctx, entry, "reserve").await?;
        pay().await?;
    }
    let gift = variant == "patched" && ctx.patched("gift").await?;
    if gift {
        once(&ctx, "gift", "gift").await?;
    }
    let packed: Value = ctx.wait_signal("packed").await?;
    once(&ctx, "mail", "mail").await?;
    Ok(json!({ "variant": variant, "gift": gift, "packed": packed }))
}

async fn diverge(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let name = if is_two() { "two" } else { "one" };
    ctx.run(name, || async { Ok(1) }).await?;
    ctx.wait_signal("go").await
}

async fn approve(ctx: TaskContext, detail: Value) -> Result<Value, TaskError> {
    let answer = ctx.wait_approval("ship it?", &detail).await?;
    Ok(json!({ "approved": answer.approved, "by": answer.by, "comment": answer.comment, "value": answer.value }))
}

/// An object whose members are written in the other order in the second variant.
#[derive(Serialize)]
#[serde(untagged)]
enum Reordered {
    One { a: u32, b: Value },
    Two { b: Value, a: u32 },
}

async fn echo_and_wait(ctx: TaskContext, input: impl Serialize) -> Result<Value, TaskError> {
    let echoed: Value = ctx.call("conform.echo", &input).await?;
    let go: Value = ctx.wait_signal("go").await?;
    Ok(json!({ "echoed": echoed, "go": go }))
}

async fn reordered(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let (a, b) = (1, json!([2.5, "x"]));
    echo_and_wait(ctx, if is_two() { Reordered::Two { b, a } } else { Reordered::One { a, b } }).await
}

async fn stream(ctx: TaskContext, _: Value) -> Result<&'static str, TaskError> {
    effect(&ctx, "opened").await?;
    ctx.progress("half way");
    ctx.stream_text("a");
    ctx.stream_text("b");
    ctx.stream_json(&json!({ "n": 1 }))?;
    effect(&ctx, "streamed").await?;
    Ok("ab")
}

async fn cancel(ctx: TaskContext, _: Value) -> Result<(), TaskError> {
    effect(&ctx, "begun").await?;
    ctx.cancelled().await;
    effect(&ctx, "cleaned").await?;
    Err(TaskError::permanent("cancelled"))
}

async fn options(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let millisecond = Span::from_millis(1);
    let retried = CallOptions::new().retry(3).back_off(millisecond, 1_000, millisecond);
    let done: Value = ctx.call_with("conform.fail", &json!({ "kind": "retryable", "until": 3 }), retried).await?;
    let timed = CallOptions::new().timeout(Span::from_millis(300));
    let code = match ctx.call_with::<Value>("conform.hold", &Named { name: "never".into() }, timed).await {
        Ok(_) => String::new(),
        Err(error) => error.error().code.to_string(),
    };
    Ok(json!({ "attempt": done["attempt"], "timed_out": code }))
}

/// What cannot be reported or asked.
async fn odd(ctx: TaskContext, input: Odd) -> Result<Value, TaskError> {
    effect(&ctx, &input.kind).await?;
    match input.kind.as_str() {
        "deep" => Ok((0..65).fold(json!(1), |inner, _| json!([inner]))),
        "race" => race(Vec::<Answer<Value>>::new()).await.map(|(_, winner)| winner),
        _ => ctx.call_with("conform.echo", &json!(1), CallOptions::new().retry(0)).await,
    }
}

fn identity(ctx: &TaskContext) -> Value {
    json!({
        "attempt": ctx.attempt(),
        "step": ctx.step(),
        "workflow": ctx.workflow(),
        "keyed": !ctx.idempotency_key().is_empty(),
        "traced": ctx.traceparent().len() == 55,
    })
}

fn agent() -> Agent {
    let number = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
    let count = |ctx: TaskContext, input: Named| async move { Ok(Count { count: effect(&ctx, &input.name).await? }) };
    let journaled = |ctx: TaskContext, input: Named| async move {
        Ok(Count { count: once(&ctx, &input.name, &input.name).await? })
    };
    let total = |_: TaskContext, input: Items| async move {
        let total = input.items.iter().map(|item| item.qty).sum();
        Ok(Total { total, names: input.items.into_iter().map(|item| item.name).collect() })
    };
    let pause = Span::from_millis(1);
    let handed = Subscription::from_fn("ordered", "conform.ordered", ordered)
        .filter("event.data.n > 5")
        .ordered_by_subject()
        .max_deliveries(5)
        .back_off(pause, pause)
        .from_start();
    let version = |ctx: TaskContext, _: Value| approve(ctx, json!({ "version": 3 }));
    let detail = |ctx: TaskContext, _: Value| {
        approve(ctx, if is_two() { json!("x".repeat(40_000)) } else { json!({ "version": 3 }) })
    };
    let changed = |ctx: TaskContext, _: Value| echo_and_wait(ctx, json!({ "a": if is_two() { 2 } else { 1 } }));
    let echo = |_: TaskContext, input: Value| async move { Ok(input) };
    let liar = |_: TaskContext, _: Value| async move { Ok(json!({ "n": "three" })) };
    let who = |ctx: TaskContext, _: Value| async move { Ok(identity(&ctx)) };
    Agent::new("conform")
        .version(env::var("CONFORM_VERSION").unwrap_or_else(|_| "1.0.0".into()))
        .label("suite", "conformance")
        .subscription(handed)
        .capability(Capability::from_fn("conform.echo", echo).effect(EffectClass::Read))
        .capability(Capability::from_fn("conform.total", total).effect(EffectClass::Read))
        .capability(Capability::from_fn("conform.liar", liar).effect(EffectClass::Read).output_schema(number))
        .capability(Capability::from_fn("conform.fail", fail))
        .capability(Capability::from_fn("conform.identity", who).effect(EffectClass::Read))
        .capability(Capability::from_fn("conform.effect", journaled))
        .capability(Capability::from_fn("conform.write", count).effect(EffectClass::Write))
        .capability(Capability::from_fn("conform.hold", count))
        .capability(Capability::from_fn("conform.flow", flow))
        .capability(Capability::from_fn("conform.branches", branches))
        .capability(Capability::from_fn("conform.race", first_of_two))
        .capability(Capability::from_fn("conform.listen", listen))
        .capability(Capability::from_fn("conform.question", question))
        .capability(Capability::from_fn("conform.shared", shared))
        .capability(Capability::from_fn("conform.address", address))
        .capability(Capability::from_fn("conform.asked", asked))
        .capability(Capability::from_fn("conform.titled", titled))
        .capability(Capability::from_fn("conform.approve", version))
        .capability(Capability::from_fn("conform.detail", detail))
        .capability(Capability::from_fn("conform.reordered", reordered))
        .capability(Capability::from_fn("conform.changed", changed))
        .capability(Capability::from_fn("conform.diverge", diverge))
        .capability(Capability::from_fn("conform.order", order))
        .capability(Capability::from_fn("conform.patched", patched))
        .capability(Capability::from_fn("conform.stream", stream))
        .capability(Capability::from_fn("conform.cancel", cancel))
        .capability(Capability::from_fn("conform.options", options))
        .capability(Capability::from_fn("conform.odd", odd))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = env::var("CONSORT_ADDRESS").unwrap_or_else(|_| "127.0.0.1:7878".into());
    let credit = env::var("CONFORM_CREDIT").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let mut told = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|error| Error::new(consort_types::Code::Internal, error.to_string()))?;
    let shutdown = async move {
        told.recv().await;
    };
    Worker::new(Remote::new(format!("http://{address}"))).agent(agent()).concurrency(credit).run(shutdown).await
}
