//! The inbox: what waits for a person.
//!
//! For: `InboxService`. Not for: signals (any program may send those).
//! Invariant: a decision names who made it.

use consort_engine::{Decision, view::InboxView};
use consort_proto::v1::{self, inbox_service_server::InboxService, resolve_unknown_request as request};
use consort_types::{Code, Error, Payload, Result};
use tonic::{Request, Response, Status};

use super::{Clients, answer, given, id, namespace, page_size};

impl Clients {
    async fn inbox(&self, request: v1::ListInboxRequest) -> Result<v1::ListInboxResponse> {
        let namespace = namespace(request.namespace)?;
        let page = self.engine.inbox(&namespace, given(request.cursor), page_size(request.page_size)).await?;
        let mut items = Vec::with_capacity(page.items.len());
        for item in page.items {
            items.push(self.item(item).await?);
        }
        Ok(v1::ListInboxResponse { items, next: page.next.unwrap_or_default() })
    }

    async fn item(&self, view: InboxView) -> Result<v1::InboxItem> {
        let ask = serde_json::to_value(view.ask).ok().and_then(|ask| ask.as_str().map(str::to_owned));
        let details = match view.details {
            // A large one is as large as it is: a page of them would not fit any message.
            Some(details @ Payload::Blob { .. }) => Some(consort_proto::convert::document(details)),
            Some(details) => Some(self.document(details).await?),
            None => None,
        };
        Ok(v1::InboxItem {
            task: view.task.to_string(),
            run: view.run.to_string(),
            workflow: view.workflow,
            step: view.step,
            since_us: view.since.0,
            ask: ask.unwrap_or_default(),
            title: view.title,
            details,
        })
    }

    async fn decide(&self, request: v1::ApproveRequest) -> Result<v1::ApproveResponse> {
        let (namespace, task) = (namespace(request.namespace)?, id("task", &request.task)?);
        let decision = if request.approved { Decision::Approve } else { Decision::Reject };
        self.engine.decide(&namespace, task, decision, &request.by, given(request.comment)).await?;
        Ok(v1::ApproveResponse {})
    }

    async fn resolve(&self, request: v1::ResolveUnknownRequest) -> Result<v1::ResolveUnknownResponse> {
        let (namespace, task) = (namespace(request.namespace)?, id("task", &request.task)?);
        let mut comment = given(request.comment);
        let decision = match request.resolution {
            Some(request::Resolution::Done(output)) => Decision::Done(Payload::inline(output.as_ref())),
            Some(request::Resolution::Retry(true)) => Decision::Retry,
            Some(request::Resolution::Fail(reason)) => {
                // The reason is what people read beside the decision.
                comment = match (given(reason), comment) {
                    (Some(reason), Some(comment)) => Some(format!("{reason}: {comment}")),
                    (reason, comment) => reason.or(comment),
                };
                Decision::Fail
            }
            Some(request::Resolution::Retry(false)) | None => {
                return Err(Error::new(Code::BadRequest, "`resolution` is missing")
                    .hint("give `done` with the output, `retry` as true, or `fail` with the reason"));
            }
        };
        self.engine.decide(&namespace, task, decision, &request.by, comment).await?;
        Ok(v1::ResolveUnknownResponse {})
    }
}

#[async_trait::async_trait]
impl InboxService for Clients {
    async fn list_inbox(
        &self,
        request: Request<v1::ListInboxRequest>,
    ) -> Result<Response<v1::ListInboxResponse>, Status> {
        answer(self.inbox(request.into_inner()).await)
    }

    async fn approve(&self, request: Request<v1::ApproveRequest>) -> Result<Response<v1::ApproveResponse>, Status> {
        answer(self.decide(request.into_inner()).await)
    }

    async fn resolve_unknown(
        &self,
        request: Request<v1::ResolveUnknownRequest>,
    ) -> Result<Response<v1::ResolveUnknownResponse>, Status> {
        answer(self.resolve(request.into_inner()).await)
    }
}
