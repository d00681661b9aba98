//! Workflows: deploy, check, list, show, draw.
//!
//! For: the definitions. Not for: running them.
//! Invariant: a source with errors is refused with every finding, and changes nothing.

use consort_api::{
    Operation,
    workflows::{
        self, Check, CheckWorkflow, DeployWorkflow, DrawWorkflow, DrawingFormat, ListWorkflows, ShowWorkflow,
        WorkflowGraph, WorkflowSchema,
    },
};
use consort_engine::view::DeployedWorkflow;
use consort_types::{Code, Error, Result};
use consort_workflow_check::{Checked, Diagnostics, Graph, language_schema};

use crate::{
    answer::Given,
    call::Call,
    convert,
    problem::Problem,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<DeployWorkflow, _>(deploy),
        route::<CheckWorkflow, _>(check),
        route::<ListWorkflows, _>(list),
        route::<ShowWorkflow, _>(show),
        route::<WorkflowGraph, _>(graph),
        route::<DrawWorkflow, _>(draw),
        route::<WorkflowSchema, _>(|_| async { Ok(Given::Reply(language_schema().into())) }),
    ]
}

/// Parses off the async threads: a hostile source costs bounded time, but may cost all of it.
async fn parse(source: String) -> Result<Result<Checked, Diagnostics>> {
    let parsed = tokio::task::spawn_blocking(move || consort_workflow_check::check(&source));
    parsed.await.map_err(|_| Error::new(Code::Internal, "the workflow could not be read"))
}

async fn deploy(call: Call<DeployWorkflow>) -> Handled<DeployWorkflow> {
    let checked = parse(call.body.source.clone()).await??;
    let warnings = convert::diagnostics(&checked.warnings);
    let deployed = call.engine().deploy_checked(&call.namespace, checked.compiled).await?;
    let (path, new) = (format!("/v1/workflows/{}", deployed.name), deployed.new);
    let reply = workflows::Deployed {
        name: deployed.name,
        revision: deployed.revision,
        hash: deployed.hash.to_string(),
        new,
        warnings,
    };
    Ok(Given::Made { reply, new, path })
}

async fn check(call: Call<CheckWorkflow>) -> Handled<CheckWorkflow> {
    Ok(Given::Reply(match parse(call.body.source.clone()).await? {
        Ok(checked) => Check {
            valid: true,
            diagnostics: convert::diagnostics(&checked.warnings),
            hash: Some(checked.compiled.hash().to_string()),
            name: Some(checked.definition.name),
        },
        Err(errors) => Check { valid: false, name: None, hash: None, diagnostics: convert::diagnostics(&errors) },
    }))
}

async fn list(call: Call<ListWorkflows>) -> Handled<ListWorkflows> {
    let page = call.engine().workflows(&call.namespace, call.params.cursor.clone(), call.params.limit).await?;
    Ok(Given::Reply(convert::page(page, convert::workflow)))
}

async fn deployed<O: Operation>(
    call: &Call<O>,
    name: &str,
    version: Option<&String>,
) -> Result<DeployedWorkflow, Problem> {
    Ok(call.engine().workflow(&call.namespace, name, version.cloned()).await?)
}

async fn show(call: Call<ShowWorkflow>) -> Handled<ShowWorkflow> {
    let DeployedWorkflow { hash, definition, source } =
        deployed(&call, &call.params.name, call.params.version.as_ref()).await?;
    Ok(Given::Reply(workflows::WorkflowSource {
        hash: hash.to_string(),
        name: definition.name.clone(),
        version: definition.version.clone(),
        description: definition.description.clone(),
        source,
    }))
}

async fn graph(call: Call<WorkflowGraph>) -> Handled<WorkflowGraph> {
    let found = deployed(&call, &call.params.name, call.params.version.as_ref()).await?;
    Ok(Given::Reply(convert::graph(Graph::of(&found.definition))))
}

async fn draw(call: Call<DrawWorkflow>) -> Handled<DrawWorkflow> {
    let found = deployed(&call, &call.params.name, call.params.version.as_ref()).await?;
    let graph = Graph::of(&found.definition);
    Ok(Given::Reply(match call.params.format {
        DrawingFormat::Mermaid => graph.mermaid(),
        DrawingFormat::Dot => graph.dot(),
        DrawingFormat::Tree => graph.tree(),
    }))
}
