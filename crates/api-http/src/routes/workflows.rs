//! Workflows: deploy, check, list, show, draw.
//!
//! For: the definitions. Not for: running them.
//! Invariant: a source with errors is refused with every finding, and changes nothing.

use axum::http::StatusCode;
use consort_engine::view::DeployedWorkflow;
use consort_types::{Code, Error, Result};
use consort_workflow_check::{Checked, Diagnostics, Graph, language_schema};

use super::{CURSOR, LIMIT, content, json, located, ok};
use crate::{
    call::Call,
    model::{self, Diagnostic},
    route::{Answer, Gives, Kind, Param, Route, Takes, Verb, schema},
};

const VERSION: Param =
    Param::new("version", Kind::Text, "A revision number or an author's version; without it, the newest.");
const FORMAT: Param = Param::new(
    "format",
    Kind::Word(&["json", "mermaid", "dot", "tree"]),
    "`json` (the default), or a text: `mermaid`, `dot` or `tree`.",
);

const TAKES: Takes = Takes::Workflow { schema: schema::<model::DeployRequest> };

pub(super) const ROUTES: &[Route] = &[
    Route {
        verb: Verb::Post,
        path: "/v1/workflows",
        name: "deployWorkflow",
        doc: "Deploys a workflow; the same source again is the same revision.",
        namespaced: true,
        query: &[],
        headers: &[],
        takes: TAKES,
        answers: &[
            (200, "This source is the newest revision already.", Gives::Json(schema::<model::Deployed>)),
            (201, "A new revision was made.", Gives::Json(schema::<model::Deployed>)),
        ],
        handle: |call| Box::pin(deploy(call)),
    },
    Route {
        verb: Verb::Post,
        path: "/v1/workflows/check",
        name: "checkWorkflow",
        doc: "Checks a workflow and deploys nothing.",
        namespaced: true,
        query: &[],
        headers: &[],
        takes: TAKES,
        answers: &[(200, "What was found.", Gives::Json(schema::<model::Check>))],
        handle: |call| Box::pin(check(call)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/workflows",
        name: "listWorkflows",
        doc: "Lists deployed workflows by name.",
        namespaced: true,
        query: &[CURSOR, LIMIT],
        headers: &[],
        takes: Takes::Nothing,
        answers: &[(200, "A page.", Gives::Json(schema::<model::Page<model::WorkflowSummary>>))],
        handle: |call| Box::pin(list(call)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/workflows/{name}",
        name: "showWorkflow",
        doc: "Shows a deployed workflow with its source.",
        namespaced: true,
        query: &[VERSION],
        headers: &[],
        takes: Takes::Nothing,
        answers: &[(200, "The workflow.", Gives::Json(schema::<model::WorkflowSource>))],
        handle: |call| Box::pin(show(call)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/workflows/{name}/graph",
        name: "drawWorkflow",
        doc: "Draws a deployed workflow: nodes and edges, or a text in a drawing language.",
        namespaced: true,
        query: &[VERSION, FORMAT],
        headers: &[],
        takes: Takes::Nothing,
        answers: &[(200, "The graph (with `format`, as plain text).", Gives::Json(schema::<model::Graph>))],
        handle: |call| Box::pin(graph(call)),
    },
    Route {
        verb: Verb::Get,
        path: "/v1/workflow-schema",
        name: "workflowSchema",
        doc: "The JSON Schema of the workflow language, for editors.",
        namespaced: false,
        query: &[],
        headers: &[],
        takes: Takes::Nothing,
        answers: &[(200, "A JSON Schema.", Gives::AnyJson)],
        handle: |_| Box::pin(async { Ok(ok(&language_schema())?) }),
    },
];

/// Parses off the async threads: a hostile source costs bounded time, but may cost all of it.
async fn parse(source: String) -> Result<Result<Checked, Diagnostics>> {
    let parsed = tokio::task::spawn_blocking(move || consort_workflow_check::check(&source));
    parsed.await.map_err(|_| Error::new(Code::Internal, "the workflow could not be read"))
}

fn findings(diagnostics: &Diagnostics) -> Vec<Diagnostic> {
    diagnostics.0.iter().map(Diagnostic::from).collect()
}

async fn deploy(mut call: Call) -> Answer {
    let checked = parse(call.source().await?).await??;
    let warnings = findings(&checked.warnings);
    let deployed = call.engine().deploy_checked(&call.namespace, checked.compiled).await?;
    let status = if deployed.new { StatusCode::CREATED } else { StatusCode::OK };
    let path = format!("/v1/workflows/{}", deployed.name);
    let answer = model::Deployed {
        name: deployed.name,
        revision: deployed.revision,
        hash: deployed.hash.to_string(),
        new: deployed.new,
        warnings,
    };
    Ok(located(json(status, &answer)?, &path, &call.namespace))
}

async fn check(mut call: Call) -> Answer {
    let found = match parse(call.source().await?).await? {
        Ok(checked) => model::Check {
            valid: true,
            diagnostics: findings(&checked.warnings),
            hash: Some(checked.compiled.hash().to_string()),
            name: Some(checked.definition.name),
        },
        Err(errors) => model::Check { valid: false, name: None, hash: None, diagnostics: findings(&errors) },
    };
    Ok(ok(&found)?)
}

async fn list(call: Call) -> Answer {
    let (cursor, limit) = call.page();
    Ok(ok(&call.engine().workflows(&call.namespace, cursor, limit).await?)?)
}

async fn deployed(call: &Call) -> Result<DeployedWorkflow> {
    let version = call.query("version").map(str::to_owned);
    call.engine().workflow(&call.namespace, call.path("name"), version).await
}

async fn show(call: Call) -> Answer {
    let DeployedWorkflow { hash, definition, source } = deployed(&call).await?;
    let shown = model::WorkflowSource {
        hash: hash.to_string(),
        name: definition.name.clone(),
        version: definition.version.clone(),
        description: definition.description.clone(),
        source,
    };
    Ok(ok(&shown)?)
}

async fn graph(call: Call) -> Answer {
    let graph = Graph::of(&deployed(&call).await?.definition);
    let text = match call.query("format") {
        Some("mermaid") => graph.mermaid(),
        Some("dot") => graph.dot(),
        Some("tree") => graph.tree(),
        _ => return Ok(ok(&graph)?),
    };
    Ok(content(StatusCode::OK, "text/plain; charset=utf-8", text))
}
