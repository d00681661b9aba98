//! `consort agents`: who is there and what they can do.
//!
//! For: listing. Not for: running agents.
//! Invariant: an agent that is known but not connected is listed, and marked.

use std::collections::BTreeMap;

use consort_types::Result;
use serde_json::json;

use crate::{
    app::{App, Need},
    client::{model::Agent, understood},
    exit::Exit,
    show::{style::Paint, table::Table},
};

pub(crate) async fn list(app: &App) -> Result<Exit> {
    let session = app.session(Need::Look).await?;
    let status = session.client.status().await?;
    let mut connected: BTreeMap<String, u64> = BTreeMap::new();
    for agent in status["agents"].as_array().into_iter().flatten() {
        let name = agent["agent"].as_str().unwrap_or_default().to_owned();
        *connected.entry(name).or_default() += agent["instances"].as_u64().unwrap_or_default();
    }
    let mut table = Table::new(&["AGENT", "VERSION", "INSTANCES", "CAPABILITY", "EFFECT", "WHAT IT DOES"]);
    let mut cursor = None;
    loop {
        let page = session.client.agents(cursor.as_deref()).await?;
        for mut item in page.items {
            let agent: Agent = understood("agent", item.clone())?;
            let instances = connected.get(&agent.name).copied().unwrap_or_default();
            if app.json {
                item["instances"] = json!(instances);
                app.print(&format!("{item}\n"));
            } else {
                rows(&mut table, &agent, instances);
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if !app.json {
        app.print(&table.render(app.out));
    }
    session.close(std::future::pending()).await;
    Ok(Exit::Ok)
}

fn rows(table: &mut Table, agent: &Agent, instances: u64) {
    let count = if instances == 0 { "none".to_owned() } else { instances.to_string() };
    let mut head = [(agent.name.clone(), Some(Paint::Bold)), (agent.version.clone(), None), (count, None)];
    for capability in &agent.capabilities {
        let mut row = head.to_vec();
        row.push((capability.name.clone(), Some(Paint::Cyan)));
        row.push((capability.effect.clone(), None));
        row.push((capability.description.clone(), Some(Paint::Dim)));
        table.row(row);
        head = [(String::new(), None), (String::new(), None), (String::new(), None)];
    }
}
