//! Workflows: deploy, check, list, show, draw.
//!
//! For: the definitions. Not for: running them.
//! Invariant: a source with errors is refused with every finding, and changes nothing.

use consort_types::{Code, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Accepts, Diagnostic, Document, Method, NoParams, Operation, Page, PageParams, Returns, Scope, Spec, schema,
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
    /// A warning.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Diagnostic>,
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
        doc: "Deploys a workflow; the same source again is the same revision.",
        words: &["workflows deploy", "run"],
        changes: true,
        answers: &[(200, "This source is the newest revision already."), (201, "A new revision was made.")],
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
    /// Its newest revision.
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

/// A deployed workflow, or one revision of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowParams {
    /// The workflow.
    pub name: String,
    /// A revision number or an author's version; without it, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// A deployed workflow with its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkflowSource {
    /// Its name.
    pub name: String,
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
    /// `call`, `group`, `workflow`, `wait` or `approve`.
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
    /// A revision number or an author's version; without it, the newest.
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
const DEPLOYED: Spec = Spec { group: "workflows", errors: &[Code::WorkflowNotFound], ..Spec::READ };
