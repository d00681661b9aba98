//! Namespaces: what a server holds in each.
//!
//! For: listing them. Not for: making one (a namespace is there as soon as something is in it).
//! Invariant: a namespace is listed exactly while it holds or sets something.

use consort_types::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Operation, Page, PageParams, Scope, Spec, schema};

/// A namespace, with what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamespaceSummary {
    /// Its name.
    pub name: String,
    /// Runs that are kept, ended or not.
    pub runs: u64,
    /// Of these: runs that have not ended.
    pub runs_active: u64,
    /// Versions of agents.
    pub agents: u64,
    /// Deployed workflows.
    pub workflows: u64,
    /// Bytes of the inputs and outputs of its runs.
    pub bytes: u64,
    /// Ballots that are kept, ended or not.
    #[serde(default)]
    pub ballots: u64,
    /// How long a run is kept after its end; without it, until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Duration>")]
    pub retention: Option<Span>,
}

/// Lists namespaces.
pub struct ListNamespaces;

impl Operation for ListNamespaces {
    type Params = PageParams;
    type Body = ();
    type Reply = Page<NamespaceSummary>;
    const SPEC: Spec = Spec {
        id: "listNamespaces",
        group: "server",
        scope: Scope::Server,
        path: "/v1/namespaces",
        doc: "Lists the namespaces of the server by name, with the runs, agents, workflows and bytes in each.",
        words: &["namespaces list"],
        answers: &[(200, "A page.")],
        ..Spec::READ
    };
}
