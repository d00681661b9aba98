//! A durable workflow as plain code: five calls and a wait. Kill this process anywhere and start it again: the run
//! continues after its last entry.
//!
//! For: the form of code-first workflows, from the agents to the run's end. Not for: real shops.
//! Invariant: everything that may differ between two attempts is in `run` or in a call.
//!
//! Start `consort up`, then this. It starts a run, approves it, and prints the result.

use consort_sdk::{
    Agent, CallOptions, Capability, Client, Remote, TaskContext, TaskError, Worker, all,
    client::{DecideRequest, Decision, RunEvent},
};
use consort_types::{Result, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

const SERVER: &str = "http://127.0.0.1:7878";
const WORKFLOW: &str = "
workflow: order
input: { item: { type: string }, pieces: { type: integer } }
steps:
  order: { capability: shop.order, with: { item: '${{ input.item }}', pieces: '${{ input.pieces }}' } }
output: ${{ steps.order.output }}
";

#[derive(Serialize, Deserialize, JsonSchema)]
struct Order {
    item: String,
    pieces: u32,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Receipt {
    total: u32,
    approved_by: String,
    parcel: String,
}

/// The workflow: its requests are recorded, and a replay continues after the last entry.
async fn order(ctx: TaskContext, order: Order) -> Result<Receipt, TaskError> {
    // Three calls, side by side; each is a task of its own that the engine schedules and records.
    let careful = || CallOptions::new().retry(3).timeout(Span::from_secs(10));
    let prices = ["price", "tax", "postage"]
        .map(|what| ctx.call_with::<u32>("shop.price", &json!({ "what": what, "item": order.item }), careful()));
    let total = all(prices).await?.iter().sum::<u32>() * order.pieces;

    // A wait of any length costs nothing: the task leaves its worker and is offered again.
    let approval = ctx.wait_approval("Send this order?", &json!({ "item": order.item, "total": total })).await?;
    if !approval.approved {
        return Err(TaskError::permanent(format!("`{}` rejected it", approval.by)));
    }
    let parcel: String = ctx.call("shop.pack", &order).await?;
    let _: () = ctx.call("shop.send", &parcel).await?;
    tracing::info!(parcel, "sent");
    Ok(Receipt { total, approved_by: approval.by, parcel })
}

fn shop() -> Agent {
    let price = |_, asked: serde_json::Value| async move { Ok(asked["what"].as_str().map_or(0, str::len)) };
    let pack = |_, order: Order| async move { Ok(format!("{} x {}", order.pieces, order.item)) };
    let send = |ctx: TaskContext, parcel: String| async move {
        ctx.stream_text(&format!("carrying {parcel} to the post"));
        Ok(())
    };
    Agent::new("shop")
        .version("1.0.0")
        .description("Sells things.")
        .capability(Capability::from_fn("shop.order", order).description("Takes an order to its end."))
        .capability(Capability::from_fn("shop.price", price))
        .capability(Capability::from_fn("shop.pack", pack))
        .capability(Capability::from_fn("shop.send", send))
}

#[tokio::main]
async fn main() -> Result<()> {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let worker = Worker::new(Remote::new(SERVER)).agent(shop()).run(async { drop(stopped.await) });
    let worker = tokio::spawn(worker);

    let client = Client::new(SERVER);
    client.deploy(WORKFLOW).await?;
    let run = client.start("order", &Order { item: "tea".into(), pieces: 2 }).await?;
    let mut watch = client.watch(run);
    while let Some(event) = watch.next().await {
        match event? {
            RunEvent::Progress(said) => println!("{}: {}", said.step, said.text.or(said.message).unwrap_or_default()),
            RunEvent::Entry(entry) => {
                println!("{} {}", entry.step.unwrap_or_default(), entry.event);
                let waiting = client.inbox().await?.into_iter().find(|item| item.run == run);
                if let Some(item) = waiting {
                    client.decide(item.task, &DecideRequest::new(Decision::Approve, "example")).await?;
                }
            }
            _ => {}
        }
    }
    println!("{:?}", client.result::<Receipt>(run).await?);
    drop(stop);
    worker.await.unwrap_or(Ok(()))
}
