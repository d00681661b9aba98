//! The inbox: what waits for a person.
//!
//! For: approvals and unknown outcomes. Not for: signals (any program may send those).
//! Invariant: a decision names who made it.

use consort_api::inbox::{self, Decide, InboxDetails, ListInbox, ShowInboxItem};
use consort_engine::Decision;
use consort_types::{Code, Error, Payload, Result};

use super::runs::whole;
use crate::{
    answer::ResponseBody,
    convert,
    request::RequestContext,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<ListInbox, _>(list),
        route::<ShowInboxItem, _>(show),
        route::<InboxDetails, _>(details),
        route::<Decide, _>(decide),
    ]
}

async fn list(request: RequestContext<ListInbox>) -> Handled<ListInbox> {
    let page = request.engine().inbox(&request.namespace, request.params.cursor.clone(), request.params.limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, convert::inbox_item)))
}

async fn show(request: RequestContext<ShowInboxItem>) -> Handled<ShowInboxItem> {
    Ok(ResponseBody::Reply(convert::inbox_item(
        request.engine().inbox_item(&request.namespace, request.params.task).await?,
    )))
}

async fn details(request: RequestContext<InboxDetails>) -> Handled<InboxDetails> {
    let item = request.engine().inbox_item(&request.namespace, request.params.task).await?;
    Ok(whole(&request, item.details.unwrap_or_default()).await?)
}

async fn decide(request: RequestContext<Decide>) -> Handled<Decide> {
    let inbox::DecideRequest { by, comment, .. } = &request.body;
    let decision = decision(&request.body)?;
    request.engine().decide(&request.namespace, request.params.task, decision, by, comment.clone()).await?;
    Ok(ResponseBody::Reply(()))
}

/// The decision as the engine's type, which has an output only where one is possible.
fn decision(request: &inbox::DecideRequest) -> Result<Decision> {
    let only_with = |name, word| {
        Error::new(Code::BadRequest, format!("`{name}` goes only with the decision `{word}`")).hint("leave it out")
    };
    if request.output.is_some() && request.decision != inbox::Decision::Done {
        return Err(only_with("output", "done"));
    }
    if request.value.is_some() && request.decision != inbox::Decision::Approve {
        return Err(only_with("value", "approve"));
    }
    Ok(match request.decision {
        inbox::Decision::Approve => Decision::Approve(request.value.clone().map(Into::into)),
        inbox::Decision::Reject => Decision::Reject,
        inbox::Decision::Done => Decision::Done(request.output.clone().map_or_else(Payload::null, Into::into)),
        inbox::Decision::Retry => Decision::Retry,
        inbox::Decision::Fail => Decision::Fail,
    })
}
