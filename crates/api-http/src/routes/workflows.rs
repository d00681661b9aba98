//! Workflows: deploy, check, list, show, draw, roll back, retire, delete.
//!
//! For: the definitions. Not for: running them.
//! Invariant: a source with errors is refused with every finding, and changes nothing.

use consort_api::{
    Operation,
    workflows::{
        self, Check, CheckWorkflow, DeleteWorkflow, DeployWorkflow, DrawWorkflow, DrawingFormat, ListRevisions,
        ListWorkflows, RetireWorkflow, RevisionsParams, RollBackWorkflow, ShowWorkflow, WorkflowGraph, WorkflowSchema,
    },
};
use consort_engine::view::DeployedWorkflow;
use consort_types::{Code, Error, Result};
use consort_workflow_check::{Checked, Diagnostics, Graph, language_schema};

use crate::{
    answer::ResponseBody,
    convert,
    problem::Problem,
    request::RequestContext,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<DeployWorkflow, _>(deploy),
        route::<CheckWorkflow, _>(check),
        route::<ListWorkflows, _>(list),
        route::<ListRevisions, _>(revisions),
        route::<RollBackWorkflow, _>(roll_back),
        route::<RetireWorkflow, _>(retire),
        route::<DeleteWorkflow, _>(delete),
        route::<ShowWorkflow, _>(show),
        route::<WorkflowGraph, _>(graph),
        route::<DrawWorkflow, _>(draw),
        route::<WorkflowSchema, _>(|_| async { Ok(ResponseBody::Reply(language_schema().into())) }),
    ]
}

/// Parses off the async threads: a hostile source costs bounded time, but may cost all of it.
pub(super) async fn parse(source: String) -> Result<Result<Checked, Diagnostics>> {
    let parsed = tokio::task::spawn_blocking(move || consort_workflow_check::check(&source));
    parsed.await.map_err(|_| Error::new(Code::Internal, "the workflow could not be read"))
}

async fn deploy(request: RequestContext<DeployWorkflow>) -> Handled<DeployWorkflow> {
    let checked = parse(request.body.source.clone()).await??;
    let warnings = convert::diagnostics(&checked.warnings);
    let deployed = request.engine().deploy_checked(&request.namespace, checked.compiled).await?;
    let (path, new) = (format!("/v1/workflows/{}", deployed.name), deployed.new);
    Ok(ResponseBody::Made { reply: convert::deployed(deployed, warnings), new, path })
}

async fn revisions(request: RequestContext<ListRevisions>) -> Handled<ListRevisions> {
    let RevisionsParams { name, cursor, limit } = request.params.clone();
    let page = request.engine().revisions(&request.namespace, &name, cursor, limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, convert::revision)))
}

async fn roll_back(request: RequestContext<RollBackWorkflow>) -> Handled<RollBackWorkflow> {
    let (name, to) = (&request.params.name, request.body.to.clone());
    let deployed = request.engine().roll_back(&request.namespace, name, to).await?;
    Ok(ResponseBody::Reply(convert::deployed(deployed, Vec::new())))
}

async fn retire(request: RequestContext<RetireWorkflow>) -> Handled<RetireWorkflow> {
    request.engine().retire_workflow(&request.namespace, &request.params.name).await?;
    Ok(ResponseBody::Reply(()))
}

async fn delete(request: RequestContext<DeleteWorkflow>) -> Handled<DeleteWorkflow> {
    request.engine().delete_workflow(&request.namespace, &request.params.name).await?;
    Ok(ResponseBody::Reply(()))
}

async fn check(request: RequestContext<CheckWorkflow>) -> Handled<CheckWorkflow> {
    Ok(ResponseBody::Reply(match parse(request.body.source.clone()).await? {
        Ok(checked) => Check {
            valid: true,
            diagnostics: convert::diagnostics(&checked.warnings),
            hash: Some(checked.compiled.hash().to_string()),
            name: Some(checked.definition.name),
        },
        Err(errors) => Check { valid: false, name: None, hash: None, diagnostics: convert::diagnostics(&errors) },
    }))
}

async fn list(request: RequestContext<ListWorkflows>) -> Handled<ListWorkflows> {
    let page =
        request.engine().workflows(&request.namespace, request.params.cursor.clone(), request.params.limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, convert::workflow)))
}

async fn deployed<O: Operation>(
    request: &RequestContext<O>,
    name: &str,
    version: Option<&String>,
) -> Result<DeployedWorkflow, Problem> {
    Ok(request.engine().workflow(&request.namespace, name, version.cloned()).await?)
}

async fn show(request: RequestContext<ShowWorkflow>) -> Handled<ShowWorkflow> {
    let DeployedWorkflow { revision, hash, definition, source } =
        deployed(&request, &request.params.name, request.params.version.as_ref()).await?;
    Ok(ResponseBody::Reply(workflows::WorkflowSource {
        revision,
        hash: hash.to_string(),
        name: definition.name.clone(),
        version: definition.version.clone(),
        description: definition.description.clone(),
        source,
    }))
}

async fn graph(request: RequestContext<WorkflowGraph>) -> Handled<WorkflowGraph> {
    let found = deployed(&request, &request.params.name, request.params.version.as_ref()).await?;
    Ok(ResponseBody::Reply(convert::graph(Graph::of(&found.definition))))
}

async fn draw(request: RequestContext<DrawWorkflow>) -> Handled<DrawWorkflow> {
    let found = deployed(&request, &request.params.name, request.params.version.as_ref()).await?;
    let graph = Graph::of(&found.definition);
    Ok(ResponseBody::Reply(match request.params.format {
        DrawingFormat::Mermaid => graph.mermaid(),
        DrawingFormat::Dot => graph.dot(),
        DrawingFormat::Tree => graph.tree(),
    }))
}
