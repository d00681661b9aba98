//! Workflows: deploy and list.
//!
//! For: `WorkflowService`. Not for: checking a source without deploying it (HTTP has that).
//! Invariant: the same source again is the same revision.

use consort_engine::view::WorkflowView;
use consort_proto::v1::{self, workflow_service_server::WorkflowService};
use consort_types::{Result, limits};
use tonic::{Request, Response, Status};

use super::{Clients, answer, namespace};

impl Clients {
    async fn deploy(&self, request: v1::DeployWorkflowRequest) -> Result<v1::DeployWorkflowResponse> {
        let namespace = namespace(request.namespace)?;
        let deployed = self.engine.deploy(&namespace, &request.source).await?;
        Ok(v1::DeployWorkflowResponse {
            name: deployed.name,
            revision: deployed.revision,
            hash: deployed.hash.to_string(),
            new: deployed.new,
        })
    }

    async fn all_workflows(&self, request: v1::ListWorkflowsRequest) -> Result<v1::ListWorkflowsResponse> {
        let namespace = namespace(request.namespace)?;
        let (mut workflows, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.engine.workflows(&namespace, cursor, limits::PAGE_ITEMS_MAX).await?;
            workflows.extend(page.items.into_iter().map(workflow));
            cursor = page.next;
            if cursor.is_none() {
                return Ok(v1::ListWorkflowsResponse { workflows });
            }
        }
    }
}

fn workflow(view: WorkflowView) -> v1::Workflow {
    v1::Workflow {
        name: view.name,
        revision: view.revision,
        version: view.version.unwrap_or_default(),
        description: view.description,
        hash: view.hash.to_string(),
    }
}

#[async_trait::async_trait]
impl WorkflowService for Clients {
    async fn deploy_workflow(
        &self,
        request: Request<v1::DeployWorkflowRequest>,
    ) -> Result<Response<v1::DeployWorkflowResponse>, Status> {
        answer(self.deploy(request.into_inner()).await)
    }

    async fn list_workflows(
        &self,
        request: Request<v1::ListWorkflowsRequest>,
    ) -> Result<Response<v1::ListWorkflowsResponse>, Status> {
        answer(self.all_workflows(request.into_inner()).await)
    }
}
