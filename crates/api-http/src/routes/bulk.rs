//! Many runs at once.
//!
//! For: acting on every run that a filter finds. Not for: anything that one command could do: each run is asked for
//! by itself, and answered by itself.
//! Invariant: a request acts on a bounded number of runs and says where to go on.

use consort_engine::{
    Handle,
    view::{RunFilter, RunSummary},
};
use consort_types::{Code, Error, Result, limits};
use futures::{StreamExt as _, stream};

use super::{ok, runs::status};
use crate::{
    call::{Call, SMALL_BYTES_MAX},
    model::{BulkAction, BulkItem, BulkRequest, BulkResult, ErrorDetail},
    route::{Answer, Gives, Route, Takes, Verb, schema},
};

/// Runs that are acted on where no number was asked for.
const RUNS_DEFAULT: usize = 100;
/// Commands that wait for the log at once: they share its groups.
const AT_ONCE: usize = 64;
/// Pages that are looked at for runs before the answer says where to go on.
const PAGES_MAX: usize = 10;

pub(super) const ROUTES: &[Route] = &[Route {
    verb: Verb::Post,
    path: "/v1/runs/bulk",
    name: "bulkRuns",
    doc: "Cancels, pauses, resumes or deletes every run that a filter finds, a bounded number at once.",
    namespaced: true,
    query: &[],
    headers: &[],
    takes: Takes::Json { schema: schema::<BulkRequest>, max_bytes: SMALL_BYTES_MAX, optional: false },
    answers: &[(200, "What became of each run.", Gives::Json(schema::<BulkResult>))],
    handle: |call| Box::pin(bulk(call)),
}];

async fn bulk(mut call: Call) -> Answer {
    let request: BulkRequest = call.json().await?;
    let (limit, max) = (request.limit.unwrap_or(RUNS_DEFAULT), limits::BULK_RUNS_MAX);
    if !(1..=max).contains(&limit) {
        let message = format!("`limit` is `{limit}`, but must be a number from 1 to {max}");
        return Err(Error::new(Code::BadRequest, message).into());
    }
    let (found, next) = find(&call, &request, limit).await?;
    let (engine, namespace, request) = (call.engine(), &call.namespace, &request);
    let results = stream::iter(found)
        .map(|run| async move {
            let acted = if request.dry_run { Ok(()) } else { act(engine, namespace, &run, request).await };
            let done = acted.is_ok() && !request.dry_run;
            BulkItem { run: run.run.to_string(), done, error: acted.err().map(ErrorDetail::from) }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    Ok(ok(&BulkResult { results, next })?)
}

/// The runs that are meant, and where to go on.
async fn find(call: &Call, request: &BulkRequest, limit: usize) -> Result<(Vec<RunSummary>, Option<String>)> {
    let filter = RunFilter {
        status: request.filter.status.as_deref().map(status).transpose()?,
        workflow: request.filter.workflow.clone(),
        labels: request.filter.labels.clone(),
        children: request.filter.children,
    };
    let (mut found, mut cursor) = (Vec::new(), request.cursor.clone());
    for _ in 0..PAGES_MAX {
        let page = call.engine().runs(&call.namespace, filter.clone(), cursor, limit - found.len()).await?;
        found.extend(page.items);
        cursor = page.next;
        if cursor.is_none() || found.len() == limit {
            break;
        }
    }
    Ok((found, cursor))
}

async fn act(engine: &Handle, namespace: &str, run: &RunSummary, request: &BulkRequest) -> Result<()> {
    match request.action {
        BulkAction::Cancel => engine.cancel(namespace, run.run, &request.reason, false).await,
        BulkAction::Pause => engine.pause(namespace, run.run).await,
        BulkAction::Resume => engine.resume(namespace, run.run).await,
        BulkAction::Delete => engine.delete(namespace, run.run).await,
    }
}

impl From<Error> for ErrorDetail {
    fn from(error: Error) -> Self {
        Self { code: error.code.to_string(), message: error.message, hint: error.hint }
    }
}
