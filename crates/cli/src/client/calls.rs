//! One method for each thing that commands ask of a server.
//!
//! For: paths, queries and bodies. Not for: what becomes of the answers.
//! Invariant: no path is written outside this file.

use std::fmt::Write as _;

use bytes::Bytes;
use consort_types::{Result, RunId};
use hyper::Method;
use serde_json::{Value, json};

use super::{
    Client, Events, Page,
    model::{Deployed, Item, Run, Started},
    quoted, read_body,
};

/// Which runs to list.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunFilter {
    pub(crate) status: Option<String>,
    pub(crate) workflow: Option<String>,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) children: bool,
}

/// A decision about something in the inbox.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    /// `approve`, `reject`, `done`, `retry` or `fail`.
    pub(crate) verb: &'static str,
    pub(crate) by: String,
    pub(crate) comment: Option<String>,
    pub(crate) output: Option<Value>,
}

impl Client {
    pub(crate) async fn deploy(&self, source: &str) -> Result<Deployed> {
        self.json(Method::POST, &self.path("workflows"), Some(&json!({ "source": source }))).await
    }

    pub(crate) async fn workflows(&self, cursor: Option<&str>) -> Result<Page<Value>> {
        self.get(&self.path(&format!("workflows?limit=200{}", after(cursor)))).await
    }

    pub(crate) async fn workflow(&self, name: &str) -> Result<Value> {
        self.get(&self.path(&format!("workflows/{}", quoted(name)))).await
    }

    pub(crate) async fn start(&self, body: &Value, key: Option<&str>) -> Result<Started> {
        let headers: Vec<(&'static str, &str)> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        self.json_with(Method::POST, &self.path("runs"), Some(body), &headers).await
    }

    pub(crate) async fn runs(&self, filter: &RunFilter, cursor: Option<&str>, limit: usize) -> Result<Page<Value>> {
        let mut query = format!("runs?limit={limit}{}", after(cursor));
        for (name, value) in [("status", &filter.status), ("workflow", &filter.workflow)] {
            if let Some(value) = value {
                let _ = write!(query, "&{name}={}", quoted(value));
            }
        }
        for (name, value) in &filter.labels {
            let _ = write!(query, "&label.{}={}", quoted(name), quoted(value));
        }
        if filter.children {
            query.push_str("&children=true");
        }
        self.get(&self.path(&query)).await
    }

    fn run_path(&self, run: RunId, rest: &str) -> String {
        self.path(&format!("runs/{run}{rest}"))
    }

    pub(crate) async fn run_document(&self, run: RunId) -> Result<Value> {
        self.get(&self.run_path(run, "")).await
    }

    pub(crate) async fn run(&self, run: RunId) -> Result<Run> {
        self.get(&self.run_path(run, "")).await
    }

    pub(crate) async fn tree(&self, run: RunId) -> Result<Value> {
        self.get(&self.run_path(run, "/tree")).await
    }

    pub(crate) async fn steps(&self, run: RunId, cursor: Option<&str>) -> Result<Page<Value>> {
        self.get(&self.run_path(run, &format!("/steps?limit=1000{}", after(cursor)))).await
    }

    pub(crate) async fn journal(&self, run: RunId, cursor: Option<&str>) -> Result<Page<Value>> {
        self.get(&self.run_path(run, &format!("/journal?limit=1000{}", after(cursor).replace("&cursor=", "&after="))))
            .await
    }

    /// The output of a run, or of a step, byte for byte.
    pub(crate) async fn output(&self, run: RunId, task: Option<&str>) -> Result<Bytes> {
        let rest = task.map_or_else(|| "/output".to_owned(), |task| format!("/steps/{}/output", quoted(task)));
        let response = self.ask(Method::GET, &self.run_path(run, &rest), None, &[]).await?;
        read_body(response).await
    }

    /// The input of a run in full.
    pub(crate) async fn input(&self, run: RunId) -> Result<Value> {
        self.get(&self.run_path(run, "/input")).await
    }

    /// What happens in a run, after an event that was seen.
    pub(crate) async fn watch(&self, run: RunId, seen: Option<&str>) -> Result<Events> {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(seen.map(|id| ("last-event-id", id)));
        let response = self.ask(Method::GET, &self.run_path(run, "/watch"), None, &headers).await?;
        Ok(Events::new(response.into_body()))
    }

    /// `cancel`, `pause` or `resume`.
    pub(crate) async fn operate(&self, run: RunId, operation: &str, body: &Value) -> Result<()> {
        let done = self.json::<Value>(Method::POST, &self.run_path(run, &format!("/{operation}")), Some(body)).await;
        done.map(|_| ())
    }

    pub(crate) async fn signal(&self, run: RunId, name: &str, payload: &Value) -> Result<()> {
        self.operate(run, &format!("signals/{}", quoted(name)), payload).await
    }

    /// `retry` or `fork`.
    pub(crate) async fn again(&self, run: RunId, operation: &str, body: &Value) -> Result<Started> {
        self.json(Method::POST, &self.run_path(run, &format!("/{operation}")), Some(body)).await
    }

    pub(crate) async fn delete(&self, run: RunId) -> Result<()> {
        self.json::<Value>(Method::DELETE, &self.run_path(run, ""), None).await.map(|_| ())
    }

    pub(crate) async fn replay(&self, run: RunId) -> Result<Value> {
        self.get(&self.run_path(run, "/replay")).await
    }

    pub(crate) async fn compare(&self, left: RunId, right: RunId) -> Result<Value> {
        self.get(&self.run_path(left, &format!("/compare/{right}"))).await
    }

    /// The YAML text that a run is pinned to.
    pub(crate) async fn source(&self, run: RunId) -> Result<String> {
        let response = self.ask(Method::GET, &self.run_path(run, "/source"), None, &[]).await?;
        Ok(String::from_utf8_lossy(&read_body(response).await?).into_owned())
    }

    pub(crate) async fn inbox(&self, cursor: Option<&str>) -> Result<Page<Value>> {
        self.get(&self.path(&format!("inbox?limit=200{}", after(cursor)))).await
    }

    /// Everything in the inbox.
    pub(crate) async fn inbox_items(&self) -> Result<Vec<Item>> {
        let (mut items, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.inbox(cursor.as_deref()).await?;
            for item in page.items {
                items.push(super::understood("inbox", item)?);
            }
            cursor = page.next;
            if cursor.is_none() {
                return Ok(items);
            }
        }
    }

    pub(crate) async fn decide(&self, task: &str, decision: &Decision) -> Result<()> {
        let mut body = json!({ "decision": decision.verb, "by": decision.by });
        if let Some(comment) = &decision.comment {
            body["comment"] = json!(comment);
        }
        if let Some(output) = &decision.output {
            body["output"] = output.clone();
        }
        let path = self.path(&format!("inbox/{}", quoted(task)));
        self.json::<Value>(Method::POST, &path, Some(&body)).await.map(|_| ())
    }

    /// Sets how long ended runs are kept: a duration, or null for without end.
    pub(crate) async fn retention(&self, keep: Option<&str>) -> Result<()> {
        let body = json!({ "keep": keep });
        self.json::<Value>(Method::PUT, &self.path("retention"), Some(&body)).await.map(|_| ())
    }
}

fn after(cursor: Option<&str>) -> String {
    cursor.map(|cursor| format!("&cursor={}", quoted(cursor))).unwrap_or_default()
}
