//! Data in sight: a step with what it was given and what its code has requested.
//!
//! For: `runs show RUN STEP`, `runs input`, `runs journal`, `inbox show`, retries that keep a journal, and what
//! `replay-check` makes of the answers of a worker's program. Not for: how a worker replays (the SDKs' own tests).
//! Invariant: as in `common`.

mod common;

use common::{Folder, binary};
use consort_sdk::{Agent, Capability, Remote, TaskContext, TaskError, Worker};
use consort_testkit::{process::Server, wait_until};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Code that has a price, waits for an order, and fails where that is bad.
async fn order(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    let price: u32 = ctx.run("price", || async { Ok(7) }).await?;
    let word: String = ctx.wait_signal("go").await?;
    let told: Value = ctx.call("echo", &json!({ "price": price, "word": word })).await?;
    if word == "bad" { Err(TaskError::permanent("a bad word")) } else { Ok(told) }
}

const ORDER: &str = "workflow: order\ninput: { what: string }\nsteps:\n  it: { capability: shop.order, with: { what: \"${{ input.what }}\" } }\n";

struct Shop {
    folder: Folder,
    _server: Server,
    _worker: Runtime,
}

fn shop() -> Shop {
    let folder = Folder::new();
    folder.write("order.yaml", ORDER);
    let server = Server::start(binary(), &folder.path(), ["--log", "info"]).unwrap();
    let runtime = Runtime::new().unwrap();
    let agent = Agent::new("shop")
        .version("1.2.0")
        .capability(Capability::from_fn("shop.order", order))
        .capability(Capability::from_fn("shop.discount", discount));
    let remote = Remote::new(format!("http://{}", server.grpc_address()));
    runtime.spawn(Worker::new(remote).agent(agent).run(std::future::pending()));
    Shop { folder, _server: server, _worker: runtime }
}

impl Shop {
    /// Starts an order, which then waits for its signal.
    fn ordered(&self) -> String {
        let run = self.folder.ok(&["run", "order.yaml", "--detach", "--input", "what=tea"]).trim().to_owned();
        wait_until("the code waits", || {
            let shown = self.folder.run(&["runs", "journal", &run, "it", "--json"]);
            serde_json::from_str::<Value>(&shown.out)
                .ok()
                .filter(|task| task["items"].as_array().is_some_and(|items| items.len() == 2))
        });
        run
    }
}

#[test]
fn a_step_is_shown_with_its_input_its_agent_and_its_journal() {
    let shop = shop();
    let run = shop.ordered();
    let folder = &shop.folder;
    let shown = folder.ok(&["runs", "show", &run, "it"]);
    for part in
        ["it  shop.order · ", "shop 1.2.0 (", "{\"what\":\"tea\"}", "run price → 7", "signal go → no answer yet"]
    {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let document = folder.json(&["runs", "show", &run, "it"]).remove(0);
    assert_eq!((&document["input"], &document["journal"][0]["output"]), (&json!({ "what": "tea" }), &json!(7)));
    assert!(document["idempotency_key"].is_string(), "{document}");
    assert_eq!(folder.ok(&["runs", "input", &run, "--step", "it"]), "{\"what\":\"tea\"}\n");
    assert_eq!(folder.json(&["runs", "input", &run]), [json!({ "what": "tea" })]);
    folder.ok(&["runs", "signal", &run, "go", "--payload", "well"]);
    folder.wait_for("order", "completed");
    let tree = folder.ok(&["runs", "show", &run]);
    assert!(tree.contains("on shop 1.2.0"), "after the end, too: {tree}");
    assert!(folder.ok(&["runs", "show", &run, "--history"]).contains("signal `go` received: \"well\""));
    assert_eq!(folder.run(&["runs", "show", &run, "its"]).code, 3);
}

#[test]
fn a_retry_keeps_what_was_done_up_to_the_failure_or_the_entry_that_is_named() {
    let shop = shop();
    let (folder, run) = (&shop.folder, shop.ordered());
    folder.ok(&["runs", "signal", &run, "go", "--payload", "bad"]);
    folder.wait_for("order", "failed");
    // All that it had requested was answered: it fails again as before, until it continues from its wait.
    let again = folder.ok(&["runs", "retry", &run]).trim().to_owned();
    assert_eq!(folder.run(&["runs", "watch", &again]).code, 1);
    let from_wait = folder.ok(&["runs", "retry", &run, "--from", "it", "--from-entry", "1"]).trim().to_owned();
    wait_until("it waits", || {
        folder.ok(&["runs", "show", &from_wait, "it"]).contains("signal go → no answer yet").then_some(())
    });
    folder.ok(&["runs", "signal", &from_wait, "go", "--payload", "good"]);
    assert_eq!(folder.run(&["runs", "watch", &from_wait]).code, 0);
    let ended = folder.json(&["runs", "show", &from_wait, "it"]).remove(0);
    assert_eq!(ended["step"]["output"], json!({ "price": 7, "word": "good" }));
    assert_eq!(folder.run(&["runs", "retry", &run, "--from-entry", "1"]).code, 2, "an entry is one of a step");
}

/// Code that says how far it is, and takes one discount.
async fn discount(ctx: TaskContext, _: Value) -> Result<Value, TaskError> {
    ctx.set_labels([("stage", "open")]).await?;
    loop {
        ctx.expose("price", &100).await?;
        let update = ctx.wait_update_typed::<u32>("discount").await?;
        if update.input > 20 {
            update.reject("at most 20").await?;
            continue;
        }
        update.answer(&(100 - update.input)).await?;
        ctx.expose("price", &(100 - update.input)).await?;
        return Ok(Value::Null);
    }
}

#[test]
fn running_code_is_asked_for_values_and_answers_updates() {
    let shop = shop();
    let folder = &shop.folder;
    folder.write("sale.yaml", "workflow: sale\nsteps:\n  it: { capability: shop.discount }\n");
    let run = folder.ok(&["run", "sale.yaml", "--detach"]).trim().to_owned();
    wait_until("the code waits", || {
        folder.run(&["runs", "show", &run]).out.contains("update `discount`").then_some(())
    });
    assert_eq!(folder.ok(&["runs", "query", &run, "price"]), "100\n");
    let table = folder.ok(&["runs", "query", &run]);
    assert!(table.starts_with("NAME ") && table.contains("price") && table.contains("100"), "{table}");
    assert_eq!(folder.json(&["runs", "query", &run])[0]["step"], "it");
    assert_eq!(folder.json(&["runs", "list", "--label", "stage=open"])[0]["run"], json!(run));
    let missing = folder.run(&["runs", "query", &run, "prize"]);
    assert!(missing.code == 3 && missing.err.contains("`price`"), "{}", missing.err);
    // What does not fit, or is rejected, is no success; what nothing waits for is kept and warned of.
    assert_eq!(folder.run(&["runs", "update", &run, "discount", "much"]).code, 2);
    let rejected = folder.run(&["runs", "update", &run, "discount", "30"]);
    assert!(
        rejected.code == 1 && rejected.err.contains("C0211") && rejected.err.contains("at most 20"),
        "{}",
        rejected.err
    );
    let kept = folder.run(&["runs", "update", &run, "discuont", "--wait", "0s", "--id", "k"]);
    assert!(kept.code == 4 && kept.err.contains("`discount`") && kept.err.contains("--id k"), "{}", kept.err);
    for _ in 0..2 {
        assert_eq!(folder.ok(&["runs", "update", &run, "discount", "10", "--id", "d1"]), "90\n");
        folder.wait_for("sale", "completed");
    }
    assert_eq!(folder.ok(&["runs", "query", &run, "price"]), "90\n");
    let left = folder.run(&["runs", "update", &run, "discuont", "--id", "k", "--json"]);
    let left: Value = serde_json::from_str(&left.out).unwrap();
    assert_eq!((&left["state"], &left["error"]["code"]), (&json!("unanswered"), &json!("C0210")));
    assert!(folder.ok(&["runs", "show", &run, "--history"]).contains("update `discount` received"));
    let journal = folder.ok(&["runs", "journal", &run, "it"]);
    for part in ["labels stage=open → done", "expose price 100 → done", "answer 2 rejected: at most 20 → done"] {
        assert!(journal.contains(part), "{part}\n{journal}");
    }
}

#[test]
fn tasks_in_flight_are_checked_against_the_program_of_a_worker() {
    let shop = shop();
    let (folder, run) = (&shop.folder, shop.ordered());
    let said = |fits: bool| {
        let outcome = json!({ "run": run, "step": "it", "fits": fits, "waiting": [1], "entry": 0, "recorded": "run `price`",
            "found": "run `prize`" });
        format!("grep -q shop.order \"$CONSORT_REPLAY\" && echo '{outcome}' > \"$CONSORT_REPLAY_RESULTS\"")
    };
    let checked = folder.run(&["replay-check", "--", "sh", "-c", &said(true)]);
    assert!(checked.code == 0 && checked.out.contains("fits") && checked.out.contains("1.2.0"), "{checked:#?}");
    assert!(checked.err.contains("1 of 1 tasks in flight continue with this code"), "{}", checked.err);
    let differs = folder.run(&["replay-check", "--json", "--", "sh", "-c", &said(false)]);
    assert_eq!(differs.code, 1);
    assert!(differs.out.contains("entry 0 is recorded as run `price`, but found run `prize`"), "{}", differs.out);
    let silent = folder.run(&["replay-check", "--", "true"]);
    assert!(silent.code != 0 && silent.err.contains("has replayed nothing"), "{}", silent.err);
    // Saved tasks are checked elsewhere, and an agent that is not served is no pass.
    folder.ok(&["replay-check", "--save", "tasks.json"]);
    let elsewhere =
        folder.run(&["replay-check", "--tasks", "tasks.json", "--", "sh", "-c", ": > \"$CONSORT_REPLAY_RESULTS\""]);
    assert!(elsewhere.code == 1 && elsewhere.out.contains("not replayed"), "{elsewhere:#?}");
    assert!(folder.run(&["replay-check", "--agent", "other", "--", "false"]).err.contains("every code fits"));
}

#[test]
fn an_item_of_the_inbox_is_shown_and_can_be_approved_with_another_value() {
    let folder = Folder::new();
    folder.write(
        "pay.yaml",
        "workflow: pay\nsteps:\n  ask: { approve: { title: Pay?, details: { eur: 100 } } }\noutput: ${{ steps.ask.output.value }}\n",
    );
    let first = folder.start(&["run", "pay.yaml"]);
    folder.wait_for("pay", "running");
    wait_until("the question", || folder.json(&["inbox"]).pop());
    let shown = folder.ok(&["inbox", "show", "last"]);
    for part in ["pay · ", "Pay?", "\"eur\": 100", "ask · ", "consort inbox approve|reject"] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert_eq!(folder.json(&["inbox", "show", "last"])[0]["item"]["title"], "Pay?");
    folder.ok(&["inbox", "approve", "last", "--value", "{\"eur\": 90}", "--by", "ada"]);
    assert_eq!(first.ended().out, "{\"eur\":90}\n");
    let second = folder.start(&["run", "pay.yaml", "--new"]);
    wait_until("the question", || folder.json(&["inbox"]).pop());
    folder.ok(&["inbox", "approve", "last"]);
    assert_eq!(second.ended().out, "{\"eur\":100}\n", "without a change it is what was asked about");
}
