//! Queues and limits.
//!
//! For: `QueueService`. Not for: deciding what is handed out next (the engine's).
//! Invariant: a limit that was answered is durable.

use consort_proto::{
    convert,
    v1::{self, queue_service_server::QueueService},
};
use consort_types::{Code, Error, Result, registry::TaskLimit};
use tonic::{Request, Response, Status};

use super::{Clients, answer, namespace};

impl Clients {
    async fn queues(&self, request: v1::ListQueuesRequest) -> Result<v1::ListQueuesResponse> {
        let queues = self.engine.queues(&namespace(request.namespace)?).await?;
        Ok(v1::ListQueuesResponse { queues: queues.into_iter().map(Into::into).collect() })
    }

    async fn limits(&self, request: v1::ListLimitsRequest) -> Result<v1::ListLimitsResponse> {
        let limits = self.engine.quotas(&namespace(request.namespace)?).await?;
        Ok(v1::ListLimitsResponse { limits: limits.into_iter().map(Into::into).collect() })
    }

    async fn limit(&self, request: v1::SetLimitRequest) -> Result<v1::SetLimitResponse> {
        let namespace = namespace(request.namespace)?;
        let limit = request.limit.ok_or_else(|| {
            Error::new(Code::BadRequest, "`limit` is missing").hint("give its scope, and what it says")
        })?;
        let (scope, limit) = convert::limit_from_wire(&limit)?;
        // A limit that says nothing removes the one that is set.
        if limit == TaskLimit::default() {
            self.engine.remove_quota(&namespace, scope).await?;
        } else {
            self.engine.set_quota(&namespace, scope, limit).await?;
        }
        Ok(v1::SetLimitResponse {})
    }
}

#[async_trait::async_trait]
impl QueueService for Clients {
    async fn list_queues(
        &self,
        request: Request<v1::ListQueuesRequest>,
    ) -> Result<Response<v1::ListQueuesResponse>, Status> {
        answer(self.queues(request.into_inner()).await)
    }

    async fn list_limits(
        &self,
        request: Request<v1::ListLimitsRequest>,
    ) -> Result<Response<v1::ListLimitsResponse>, Status> {
        answer(self.limits(request.into_inner()).await)
    }

    async fn set_limit(&self, request: Request<v1::SetLimitRequest>) -> Result<Response<v1::SetLimitResponse>, Status> {
        answer(self.limit(request.into_inner()).await)
    }
}
