//! Workflows: deploy, check, list, show, draw, roll back, retire, delete.
//!
//! For: the definitions. Not for: running them.
//! Invariant: a source with errors is refused with every finding, and changes nothing.

use consort_types::{Code, Time, limits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Accepts, Diagnostic, Document, Method, NoParams, Operation, Page, PageParams, Returns, Scope, Spec,
    operate::EmptyRequest, schema,
};

/// A workflow's source, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeployRequest {
    /// The YAML text.
    pub source: String,
}

/// A workflow that was deployed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deployed {
    /// Its name.
    pub name: String,
    /// Its revision, from 1.
    pub revision: u32,
    /// Its content hash.
    pub hash: String,
    /// Whether this revision is new.
    pub new: bool,
    /// The revision that the name took before, where that was another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<ReplacedRevision>,
    /// A warning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Diagnostic>,
}

/// A revision that its name takes no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplacedRevision {
    /// The revision.
    pub revision: u32,
    /// Its content hash.
    pub hash: String,
    /// The version that its author wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it was deployed.
    #[schemars(with = "schema::Instant")]
    pub deployed_at: Time,
}

/// Deploys a workflow.
pub struct DeployWorkflow;

impl Operation for DeployWorkflow {
    type Params = NoParams;
    type Body = DeployRequest;
    type Reply = Deployed;
    const SPEC: Spec = Spec {
        id: "deployWorkflow",
        path: "/v1/workflows",
        doc: "Deploys a workflow: starts by its name take it from now on. The same source again is the same revision.",
        words: &["workflows deploy"],
        changes: true,
        answers: &[(200, "Its name takes this source already."), (201, "A new revision was made.")],
        ..SOURCE
    };
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Whether the source may be deployed.
    pub valid: bool,
    /// The workflow's name, where the source is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its content hash, where the source is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Every finding; of a valid source, the warnings.
    pub diagnostics: Vec<Diagnostic>,
}

/// Checks a workflow.
pub struct CheckWorkflow;

impl Operation for CheckWorkflow {
    type Params = NoParams;
    type Body = DeployRequest;
    type Reply = Check;
    const SPEC: Spec = Spec {
        id: "checkWorkflow",
        path: "/v1/workflows/check",
        doc: "Checks a workflow and deploys nothing.",
        answers: &[(200, "What was found.")],
        errors: &[Code::MediaType, Code::LimitReached],
        ..SOURCE
    };
}

/// A deployed workflow in a few words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowSummary {
    /// Its name.
    pub name: String,
    /// The revision that its name takes.
    pub revision: u32,
    /// Its newest revision: another one where it was rolled back.
    pub newest: u32,
    /// Since when it takes no new starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Instant>")]
    pub retired_at: Option<Time>,
    /// The version that its author wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it does.
    pub description: String,
    /// Its content hash.
    pub hash: String,
    /// When it was deployed.
    #[schemars(with = "schema::Instant")]
    pub deployed_at: Time,
}

/// Lists workflows.
pub struct ListWorkflows;

impl Operation for ListWorkflows {
    type Params = PageParams;
    type Body = ();
    type Reply = Page<WorkflowSummary>;
    const SPEC: Spec = Spec {
        id: "listWorkflows",
        group: "workflows",
        path: "/v1/workflows",
        doc: "Lists deployed workflows by name.",
        words: &["workflows list"],
        answers: &[(200, "A page.")],
        ..Spec::READ
    };
}

/// A deployed workflow, and a page of its revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevisionsParams {
    /// The workflow.
    pub name: String,
    /// Where the page begins: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// How many items at most; 100 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = limits::PAGE_ITEMS_MAX))]
    pub limit: Option<usize>,
}

/// A revision of a deployed workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revision {
    /// The revision.
    pub revision: u32,
    /// The version that its author wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it does.
    pub description: String,
    /// Its content hash.
    pub hash: String,
    /// When it was deployed.
    #[schemars(with = "schema::Instant")]
    pub deployed_at: Time,
    /// Whether the workflow's name takes it.
    pub current: bool,
    /// Runs of this content that have not ended, those included that brought it with their start.
    pub runs_active: u64,
}

/// Lists the revisions of a workflow.
pub struct ListRevisions;

impl Operation for ListRevisions {
    type Params = RevisionsParams;
    type Body = ();
    type Reply = Page<Revision>;
    const SPEC: Spec = Spec {
        id: "listRevisions",
        path: "/v1/workflows/{name}/revisions",
        doc: "Lists the revisions of a deployed workflow, newest first, with the one that its name takes.",
        words: &["workflows versions"],
        answers: &[(200, "A page.")],
        errors: &[Code::WorkflowNotFound, Code::BadCursor],
        ..DEPLOYED
    };
}

/// A deployed workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowNameParams {
    /// The workflow.
    pub name: String,
}

/// Which revision a workflow's name is to take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollBackRequest {
    /// A revision number, an author's version, or a content hash (at least 8 digits of it); without it, the revision
    /// before the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// Rolls a workflow back.
pub struct RollBackWorkflow;

impl Operation for RollBackWorkflow {
    type Params = WorkflowNameParams;
    type Body = RollBackRequest;
    type Reply = Deployed;
    const SPEC: Spec = Spec {
        id: "rollBackWorkflow",
        path: "/v1/workflows/{name}/rollback",
        doc: "Has a workflow's name take an earlier revision again; runs in flight keep their own.",
        words: &["workflows rollback"],
        returns: Returns::Json,
        answers: &[(200, "The revision that the name takes.")],
        errors: &[Code::WorkflowNotFound, Code::WorkflowRetired],
        ..OPERATE
    };
}

/// Retires a workflow.
pub struct RetireWorkflow;

impl Operation for RetireWorkflow {
    type Params = WorkflowNameParams;
    type Body = EmptyRequest;
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "retireWorkflow",
        path: "/v1/workflows/{name}/retire",
        doc: "Has a workflow take no new starts, until it is deployed again; runs in flight continue.",
        words: &["workflows retire"],
        ..OPERATE
    };
}

/// Deletes a workflow.
pub struct DeleteWorkflow;

impl Operation for DeleteWorkflow {
    type Params = WorkflowNameParams;
    type Body = ();
    type Reply = ();
    const SPEC: Spec = Spec {
        id: "deleteWorkflow",
        method: Method::Delete,
        path: "/v1/workflows/{name}",
        doc: "Forgets a retired workflow of which no run is active, with its revisions; ended runs keep theirs.",
        words: &["workflows delete"],
        accepts: Accepts::Nothing,
        errors: &[Code::WorkflowNotFound, Code::WorkflowInUse],
        ..OPERATE
    };
}

/// A deployed workflow, or one revision of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowParams {
    /// The workflow.
    pub name: String,
    /// A revision number, an author's version, or a content hash (at least 8 digits of it); without it, the revision that
    /// the name takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A deployed workflow with its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowSource {
    /// Its name.
    pub name: String,
    /// The revision.
    pub revision: u32,
    /// The version that its author wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it does.
    pub description: String,
    /// Its content hash.
    pub hash: String,
    /// The YAML text.
    pub source: String,
}

/// Shows a workflow.
pub struct ShowWorkflow;

impl Operation for ShowWorkflow {
    type Params = WorkflowParams;
    type Body = ();
    type Reply = WorkflowSource;
    const SPEC: Spec = Spec {
        id: "showWorkflow",
        path: "/v1/workflows/{name}",
        doc: "Shows a deployed workflow with its source.",
        words: &["workflows show", "workflows graph"],
        answers: &[(200, "The workflow.")],
        ..DEPLOYED
    };
}

/// A step in a drawing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GraphNode {
    /// Step names from the root, joined by `/`.
    pub path: String,
    /// The step's name.
    pub name: String,
    /// `call`, `group`, `workflow`, `wait`, `approve`, `consensus`, `publish` or `state`.
    pub kind: String,
    /// What it calls, waits for or asks; empty for a group.
    pub target: String,
    /// How often and when.
    pub notes: Vec<String>,
    /// The group that contains it, by position in `nodes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
}

/// Nodes and edges of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Graph {
    /// The workflow's name.
    pub name: String,
    /// Every step, a group before the steps inside it.
    pub nodes: Vec<GraphNode>,
    /// From the needed step to the one that needs it, as positions in `nodes`.
    pub edges: Vec<(usize, usize)>,
}

/// The graph of a workflow.
pub struct WorkflowGraph;

impl Operation for WorkflowGraph {
    type Params = WorkflowParams;
    type Body = ();
    type Reply = Graph;
    const SPEC: Spec = Spec {
        id: "workflowGraph",
        path: "/v1/workflows/{name}/graph",
        doc: "The nodes and edges of a deployed workflow.",
        answers: &[(200, "The graph.")],
        ..DEPLOYED
    };
}

/// A language in which a workflow is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrawingFormat {
    /// A flow chart in Mermaid.
    #[default]
    Mermaid,
    /// A graph for Graphviz.
    Dot,
    /// An indented list.
    Tree,
}

/// A deployed workflow, and how to draw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DrawingParams {
    /// The workflow.
    pub name: String,
    /// A revision number, an author's version, or a content hash (at least 8 digits of it); without it, the revision that
    /// the name takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The language; without it, `mermaid`.
    #[serde(default)]
    pub format: DrawingFormat,
}

/// Draws a workflow.
pub struct DrawWorkflow;

impl Operation for DrawWorkflow {
    type Params = DrawingParams;
    type Body = ();
    type Reply = String;
    const SPEC: Spec = Spec {
        id: "drawWorkflow",
        path: "/v1/workflows/{name}/drawing",
        doc: "Draws a deployed workflow in a drawing language.",
        returns: Returns::Text("text/plain"),
        answers: &[(200, "The drawing.")],
        ..DEPLOYED
    };
}

/// The JSON Schema of the language.
pub struct WorkflowSchema;

impl Operation for WorkflowSchema {
    type Params = NoParams;
    type Body = ();
    type Reply = Document;
    const SPEC: Spec = Spec {
        id: "workflowSchema",
        group: "workflows",
        path: "/v1/workflow-schema",
        doc: "The JSON Schema of the workflow language, for editors.",
        scope: Scope::Server,
        returns: Returns::Document,
        answers: &[(200, "A JSON Schema.")],
        ..Spec::READ
    };
}

const SOURCE: Spec = Spec {
    group: "workflows",
    method: Method::Post,
    accepts: Accepts::Workflow,
    errors: &[Code::BadWorkflow, Code::MediaType, Code::LimitReached],
    ..Spec::READ
};
const OPERATE: Spec = Spec { group: "workflows", errors: &[Code::WorkflowNotFound], ..Spec::CHANGE };
const DEPLOYED: Spec = Spec { group: "workflows", errors: &[Code::WorkflowNotFound], ..Spec::READ };
