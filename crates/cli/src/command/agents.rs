//! `consort agents`: the known agents, their capabilities and statistics, and operating them.
//!
//! For: looking at agents and operating them. Not for: running agents.
//! Invariant: an agent that is known but not connected is listed, and marked.

use consort_api::{
    agents::{
        AgentFilter, AgentParams, AgentVersionParams, DrainAgent, ListAgents, RemoveAgent, RemoveAgentParams,
        ResumeAgent, ShowAgent, WeighAgent, WeightRequest,
    },
    operate::EmptyRequest,
};
use consort_types::{Code, Error, Result};
use serde_json::{Value, json};

use super::{hints, run::labels};
use crate::{
    app::{App, Need, Session},
    args::{AgentFilterArgs, AgentsCommand},
    client::Client,
    exit::Exit,
    show::{agents, style::clean, when},
};

pub(crate) async fn execute(app: &App, command: AgentsCommand) -> Result<Exit> {
    if let AgentsCommand::Watch { filter } = command {
        return super::agents_watch::execute(app, &filter_of(filter)?).await;
    }
    app.with_session(Need::Look, async |session| execute_with(app, session, command).await).await?;
    Ok(Exit::Ok)
}

async fn execute_with(app: &App, session: &Session, command: AgentsCommand) -> Result<()> {
    let client = &session.client;
    match command {
        AgentsCommand::List { filter, wide } => list(app, client, &filter_of(filter)?, wide).await,
        AgentsCommand::Show { agent } => show(app, client, &named(&agent)?).await,
        AgentsCommand::Watch { .. } => unreachable!("following is done by `agents_watch`"),
        AgentsCommand::Drain { agent } => {
            let agent = named(&agent)?;
            let done = client.call::<DrainAgent>(&agent, &EmptyRequest {}).await;
            report_done(app, client, &agent, done, json!({ "done": "draining" })).await
        }
        AgentsCommand::Resume { agent } => {
            let agent = named(&agent)?;
            let done = client.call::<ResumeAgent>(&agent, &EmptyRequest {}).await;
            report_done(app, client, &agent, done, json!({ "done": "resumed" })).await
        }
        AgentsCommand::Weight { agent, weight } => {
            let agent = named(&agent)?;
            let Some(version) = agent.version.clone() else {
                return Err(Error::new(Code::BadRequest, format!("`{}` names no version", agent.name))
                    .hint("a weight is the share of one version beside the others: write `NAME@VERSION`"));
            };
            let of = AgentVersionParams { name: agent.name.clone(), version };
            let done = client.call::<WeighAgent>(&of, &WeightRequest { weight }).await;
            report_done(app, client, &agent, done, json!({ "done": "weighed", "weight": weight })).await
        }
        AgentsCommand::Remove { agent, force } => {
            let agent = named(&agent)?;
            let AgentParams { name, version } = agent.clone();
            let done = client.call::<RemoveAgent>(&RemoveAgentParams { name, version, force }, &()).await;
            report_done(app, client, &agent, done, json!({ "done": "removed" })).await
        }
    }
}

/// `NAME` or `NAME@VERSION`. A name holds no `@`, a version may.
fn named(text: &str) -> Result<AgentParams> {
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    };
    if name.is_empty() || version.is_some_and(str::is_empty) {
        return Err(Error::new(Code::BadRequest, format!("`{text}` is no agent"))
            .hint("write `NAME` for every version, or `NAME@VERSION` for one"));
    }
    Ok(AgentParams { name: name.to_owned(), version: version.map(str::to_owned) })
}

/// The filter that the arguments describe.
fn filter_of(args: AgentFilterArgs) -> Result<AgentFilter> {
    Ok(AgentFilter { capability: args.capability, labels: labels(&args.label)?, text: args.text })
}

async fn list(app: &App, client: &Client, filter: &AgentFilter, wide: bool) -> Result<()> {
    let found = client.call::<ListAgents>(filter, &()).await?.items;
    if found.is_empty() && !app.json {
        app.eprint(&nothing_found(client, filter).await?);
        return Ok(());
    }
    if app.json {
        app.print_lines(&found);
        return Ok(());
    }
    let now = when::now();
    app.print(&if wide { agents::wide(&found, now, app.out) } else { agents::list(&found, now, app.out) });
    for agent in &found {
        for warning in &agent.warnings {
            app.eprint(&clean(&format!("warning: {}@{}: {warning}", agent.name, agent.version)));
        }
    }
    Ok(())
}

/// Why a list is empty, with similar names.
async fn nothing_found(client: &Client, filter: &AgentFilter) -> Result<String> {
    let AgentFilter { capability, labels, text } = filter;
    if capability.is_none() && labels.is_empty() && text.is_none() {
        return Ok("no agent has joined yet".to_owned());
    }
    let hint = match capability {
        Some(capability) => hints::capability(client, capability).await?.map(|hint| format!("; {hint}")),
        None => None,
    };
    Ok(format!("no agent fits{}", hint.unwrap_or_default()))
}

async fn show(app: &App, client: &Client, agent: &AgentParams) -> Result<()> {
    let found = match client.call::<ShowAgent>(agent, &()).await {
        Ok(found) => found.items,
        Err(error) => return Err(hints::agent(client, agent, error).await),
    };
    if app.json {
        app.print_lines(&found);
        return Ok(());
    }
    let now = when::now();
    let shown: Vec<String> = found.iter().map(|agent| agents::detail(agent, now, app.out)).collect();
    app.print(&shown.join("\n"));
    Ok(())
}

/// Reports that an operation is done, or fails with a hint at agents of similar names.
async fn report_done(
    app: &App,
    client: &Client,
    agent: &AgentParams,
    done: Result<()>,
    mut document: Value,
) -> Result<()> {
    if let Err(error) = done {
        return Err(hints::agent(client, agent, error).await);
    }
    if app.json {
        document["agent"] = json!(agent.name);
        document["version"] = json!(agent.version);
        app.print_json(&document);
        return Ok(());
    }
    let which = match &agent.version {
        Some(version) => format!("{}@{version}", agent.name),
        None => format!("{} (every version)", agent.name),
    };
    let weight = document.get("weight").map(|weight| format!(": {weight}")).unwrap_or_default();
    app.eprint(&format!("{which} {}{weight}", document["done"].as_str().unwrap_or_default()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_named_with_or_without_its_version() {
        let of = |name: &str, version: Option<&str>| AgentParams {
            name: name.to_owned(),
            version: version.map(str::to_owned),
        };
        assert_eq!(named("writer").unwrap(), of("writer", None));
        assert_eq!(named("writer@1.0@x").unwrap(), of("writer", Some("1.0@x")));
        for text in ["", "@1", "writer@"] {
            assert_eq!(named(text).unwrap_err().code, Code::BadRequest, "{text}");
        }
    }
}
