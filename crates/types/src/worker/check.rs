//! Limits of the messages of workers.
//!
//! For: the one check of each message, which the door makes before anything is logged, and the core again when it
//! applies the record. Not for: rules that need the state.
//! Invariant: what passes can become a key and a row.

use std::collections::BTreeSet;

use super::{
    AgentDeclaration, CallOptions, FromWorker, Hello, JournalEntry, JournalRequest, Route, SubscriptionDeclaration,
};
use crate::{
    Code, Error, Name, Payload, Result,
    bounds::{check_count, check_error, check_label_sizes, check_labels, check_optional_text, check_text},
    limits,
};

impl AgentDeclaration {
    /// Refuses names that are none, texts over their limits, and a capability that is declared twice.
    pub fn check(&self) -> Result<()> {
        Name::check("agent", &self.name)?;
        check_text("agent's version", &self.version, limits::NAME_BYTES_MAX)?;
        let mut names = BTreeSet::new();
        for capability in &self.capabilities {
            let name = &capability.name;
            Name::check("capability", name)?;
            if !names.insert(name) {
                let message = format!("agent `{}` declares the capability `{name}` twice", self.name);
                return Err(Error::new(Code::BadRequest, message).hint("give each capability a name of its own"));
            }
        }
        self.check_subscriptions()?;
        check_labels("agent", &self.labels)
    }

    /// Refuses subscriptions that are declared twice, or whose events none of its capabilities handles.
    fn check_subscriptions(&self) -> Result<()> {
        let (agent, mut names) = (&self.name, BTreeSet::new());
        check_count("subscriptions of the agent", self.subscriptions.len(), limits::AGENT_SUBSCRIPTIONS_MAX)?;
        for SubscriptionDeclaration { name, capability, filter, .. } in &self.subscriptions {
            Name::check("subscription", name)?;
            check_optional_text("filter", filter.as_deref(), limits::EXPRESSION_BYTES_MAX)?;
            if !names.insert(name) {
                let message = format!("agent `{agent}` declares the subscription `{name}` twice");
                return Err(Error::new(Code::BadRequest, message).hint("give each subscription a name of its own"));
            }
            if self.capability(capability).is_none() {
                let message =
                    format!("subscription `{name}` names the capability `{capability}`, which agent `{agent}` lacks");
                return Err(Error::new(Code::BadRequest, message).hint("name the capability that handles its events"));
            }
        }
        Ok(())
    }
}

impl Hello {
    /// Refuses names that are none, texts over their limits, and more tasks than an instance may hold. The text of
    /// [`Hello::client`] is for people: the receiver of the session shortens it.
    pub fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        self.agent.check()?;
        check_labels("instance", &self.labels)?;
        check_text("worker's identity", &self.worker, limits::NAME_BYTES_MAX)?;
        let (credit, max) = (self.concurrency, limits::INSTANCE_CREDIT_MAX);
        if credit == 0 || credit > max {
            let name = &self.agent.name;
            let message =
                format!("the instance of `{name}` requests `{credit}` tasks at once, the limit is 1 to {max}");
            return Err(Error::new(Code::LimitReached, message).hint("start more instances instead"));
        }
        check_count("tasks that the instance holds", self.held.len(), max as usize)
    }
}

impl FromWorker {
    /// Refuses texts and lists over their limits, wherever they would be kept.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Record { entry, .. } => entry.check_size(),
            Self::Fail { error, .. } => check_error(error),
            Self::Park { waiting, .. } => check_positions(waiting),
            Self::Complete { .. }
            | Self::Heartbeat { .. }
            | Self::Stream { .. }
            | Self::Alive
            | Self::Credit { .. }
            | Self::Leaving => Ok(()),
        }
    }
}

impl JournalEntry {
    /// Refuses texts and lists over their limits.
    pub fn check_size(&self) -> Result<()> {
        self.request.check_size()?;
        check_optional_text("title of the entry", self.title.as_deref(), limits::NAME_BYTES_MAX)?;
        check_positions(&self.after)?;
        match &self.result {
            Some(Err(error)) => check_error(error),
            _ => Ok(()),
        }
    }
}

/// Refuses the schema of a signal where it is over the limit, or elsewhere.
fn check_schema(schema: &Payload) -> Result<()> {
    let (bytes, max) = (schema.len(), limits::SIGNAL_SCHEMA_BYTES_MAX as u64);
    if bytes <= max && schema.bytes().is_some() {
        return Ok(());
    }
    Err(Error::new(Code::LimitReached, format!("the schema of the signal has {bytes} bytes, the limit is {max}"))
        .hint("say less in it, and check the rest in the code"))
}

/// Refuses an exposed value that is over the limit.
fn check_exposed(name: &str, value: &Payload) -> Result<()> {
    check_document(&format!("exposed value `{name}`"), value, limits::EXPOSED_VALUE_BYTES_MAX)
        .map_err(|error| error.hint("expose what people look at, and put the rest into shared state or the output"))
}

/// Refuses an answer to an update that is over the limit.
fn check_answer(value: &Payload) -> Result<()> {
    check_document("answer to the update", value, limits::UPDATE_DOCUMENT_BYTES_MAX)
        .map_err(|error| error.hint("answer with a reference instead of the document"))
}

fn check_document(what: &str, document: &Payload, max: usize) -> Result<()> {
    let bytes = document.len();
    if bytes <= max as u64 {
        return Ok(());
    }
    Err(Error::new(Code::PayloadTooLarge, format!("the {what} has {bytes} bytes, the limit is {max}")))
}

/// Refuses more positions than a journal may have.
pub fn check_positions(positions: &[u32]) -> Result<()> {
    check_count("positions of entries", positions.len(), limits::TASK_JOURNAL_ENTRIES_MAX as usize)
}

impl JournalRequest {
    /// Refuses texts over their limits: such a request is not recorded. One that is short but cannot be done is
    /// recorded, and answered with the reason.
    pub fn check_size(&self) -> Result<()> {
        match self {
            Self::Run { name } => check_text("name of the `run` entry", name, limits::KEY_BYTES_MAX),
            Self::Call { capability, options, .. } => {
                Name::check_size("capability", capability)?;
                options.as_deref().map_or(Ok(()), CallOptions::check_size)
            }
            Self::Sleep { .. } | Self::State { .. } => Ok(()),
            Self::Signal { name, schema } => {
                Name::check_size("signal", name)?;
                schema.as_ref().map_or(Ok(()), check_schema)
            }
            Self::Update { name, schema } => {
                Name::check_size("update", name)?;
                schema.as_ref().map_or(Ok(()), check_schema)
            }
            Self::Expose { name, value } => {
                Name::check_size("exposed value", name)?;
                check_exposed(name, value)
            }
            Self::Labels { labels } => check_label_sizes("run", labels),
            Self::Answer { value, rejection, .. } => {
                value.as_ref().map_or(Ok(()), check_answer)?;
                check_optional_text("rejection", rejection.as_deref(), limits::ERROR_MESSAGE_BYTES_MAX)
            }
            Self::Approval { prompt, .. } => check_text("prompt", prompt, limits::PROMPT_BYTES_MAX),
            Self::Forget { entries } => check_positions(entries),
        }
    }
}

impl CallOptions {
    fn check_size(&self) -> Result<()> {
        Name::check_size("agent", self.agent.as_deref().unwrap_or(""))?;
        self.route.as_ref().map_or(Ok(()), Route::check_size)
    }
}

impl Route {
    fn check_size(&self) -> Result<()> {
        check_optional_text("version of the route", self.version.as_deref(), limits::NAME_BYTES_MAX)?;
        check_optional_text("sticky key of the route", self.sticky.as_deref(), limits::KEY_BYTES_MAX)?;
        check_label_sizes("route", &self.labels)
    }
}
