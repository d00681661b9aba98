//! What commands ask of agents, queues and limits.
//!
//! For: paths, queries and bodies, as in `calls`. Not for: what becomes of the answers.
//! Invariant: every list is given as the server's documents, so that `--json` passes on what it came as.

use std::fmt::Write as _;

use consort_types::{Result, registry::LimitScope};
use hyper::Method;
use serde_json::{Value, json};

use super::{Client, Events, Page, quoted};

/// Which agents to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct AgentFilter {
    pub(crate) capability: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) text: Option<String>,
}

impl AgentFilter {
    fn query(&self) -> String {
        let mut parts = Vec::new();
        for (name, value) in [("capability", &self.capability), ("text", &self.text)] {
            parts.extend(value.as_ref().map(|value| format!("{name}={}", quoted(value))));
        }
        parts.extend(self.labels.iter().map(|(name, value)| format!("label.{}={}", quoted(name), quoted(value))));
        if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
    }
}

/// An agent, or one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentName {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
}

impl AgentName {
    fn path(&self, operation: &str) -> String {
        let mut path = format!("agents/{}{operation}", quoted(&self.name));
        if let Some(version) = &self.version {
            let _ = write!(path, "?version={}", quoted(version));
        }
        path
    }
}

impl Client {
    async fn list(&self, rest: &str) -> Result<Vec<Value>> {
        let page: Page<Value> = self.get(&self.path(rest)).await?;
        Ok(page.items)
    }

    pub(crate) async fn agents(&self, filter: &AgentFilter) -> Result<Vec<Value>> {
        self.list(&format!("agents{}", filter.query())).await
    }

    pub(crate) async fn agent(&self, agent: &AgentName) -> Result<Vec<Value>> {
        self.list(&agent.path("")).await
    }

    /// The list of agents at once, and again at each change.
    pub(crate) async fn watch_agents(&self, filter: &AgentFilter) -> Result<Events> {
        let path = self.path(&format!("agents/watch{}", filter.query()));
        let response = self.ask(Method::GET, &path, None, &[("accept", "text/event-stream")]).await?;
        Ok(Events::new(response.into_body()))
    }

    /// `drain` or `resume`.
    pub(crate) async fn operate_agent(&self, agent: &AgentName, operation: &str) -> Result<()> {
        let path = self.path(&agent.path(&format!("/{operation}")));
        self.json::<Value>(Method::POST, &path, Some(&json!({}))).await.map(|_| ())
    }

    pub(crate) async fn weigh_agent(&self, agent: &AgentName, weight: u32) -> Result<()> {
        let path = self.path(&agent.path("/weight"));
        self.json::<Value>(Method::POST, &path, Some(&json!({ "weight": weight }))).await.map(|_| ())
    }

    pub(crate) async fn remove_agent(&self, agent: &AgentName, force: bool) -> Result<()> {
        let mut path = agent.path("");
        if force {
            path.push_str(if agent.version.is_some() { "&force=true" } else { "?force=true" });
        }
        self.json::<Value>(Method::DELETE, &self.path(&path), None).await.map(|_| ())
    }

    pub(crate) async fn queues(&self) -> Result<Vec<Value>> {
        self.list("queues").await
    }

    pub(crate) async fn limits(&self) -> Result<Vec<Value>> {
        self.list("limits").await
    }

    pub(crate) async fn set_limit(&self, scope: &LimitScope, limit: &Value) -> Result<()> {
        let path = self.path(&format!("limits/{}", quoted(&scope.to_string())));
        self.json::<Value>(Method::PUT, &path, Some(limit)).await.map(|_| ())
    }

    pub(crate) async fn remove_limit(&self, scope: &LimitScope) -> Result<()> {
        let path = self.path(&format!("limits/{}", quoted(&scope.to_string())));
        self.json::<Value>(Method::DELETE, &path, None).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_filters_are_quoted() {
        let agent = AgentName { name: "writer".to_owned(), version: Some("1.0+b 2".to_owned()) };
        assert_eq!(agent.path("/drain"), "agents/writer/drain?version=1.0%2Bb%202");
        let filter = AgentFilter {
            capability: Some("a&b".to_owned()),
            labels: vec![("tier".to_owned(), "gold=1".to_owned())],
            text: None,
        };
        assert_eq!(filter.query(), "?capability=a%26b&label.tier=gold%3D1");
        assert_eq!(AgentFilter::default().query(), "");
    }
}
