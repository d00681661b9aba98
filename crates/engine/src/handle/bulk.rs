//! Many runs at once.
//!
//! For: acting on every run that a filter matches. Not for: atomic changes: each run gets a command, and a result, of
//! its own.
//! Invariant: a request acts on a bounded number of runs and returns the cursor of the next request.

use consort_types::{Error, Result, RunId, limits};
use futures::{StreamExt as _, stream};

use super::{Handle, page_items};
use crate::view::RunFilter;

/// Commands that wait for the log at once: they share its groups.
const AT_ONCE: usize = 64;
/// Pages of runs that one request reads at most before it returns a cursor.
const PAGES_MAX: usize = 10;

/// What is done to each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkAction {
    /// Cancel it.
    Cancel,
    /// Hold its tasks back.
    Pause,
    /// Resume it.
    Resume,
    /// Delete it; it must have ended.
    Delete,
}

/// Acts on many runs.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkRequest {
    /// Which runs.
    pub filter: RunFilter,
    /// What to do.
    pub action: BulkAction,
    /// Why, for runs that are cancelled.
    pub reason: String,
    /// How many runs at most, 1 to [`limits::BULK_RUNS_MAX`]; without it, [`limits::PAGE_ITEMS_DEFAULT`].
    pub limit: Option<usize>,
    /// The cursor that an earlier request returned; without it, from the first run.
    pub cursor: Option<String>,
    /// Only say which runs are meant.
    pub dry_run: bool,
}

/// The outcome for one run.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkItem {
    /// The run.
    pub run: RunId,
    /// Whether it was done; `Ok(false)` with [`BulkRequest::dry_run`].
    pub done: Result<bool>,
}

/// The outcome of a bulk request.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkResult {
    /// Each run that was meant.
    pub results: Vec<BulkItem>,
    /// The cursor of the next request; `None` where no further run matches.
    pub next: Option<String>,
}

impl Handle {
    /// Does the same to every run that a filter finds, at most [`limits::BULK_RUNS_MAX`] of them.
    ///
    /// # Errors
    /// Where the request is invalid. A run that refuses the action is not an error: its refusal is in the result.
    pub async fn bulk(&self, namespace: &str, request: BulkRequest) -> Result<BulkResult> {
        let limit = page_items(request.limit, limits::BULK_RUNS_MAX)?;
        let (found, next) = self.meant(namespace, &request, limit).await?;
        let request = &request;
        let results = stream::iter(found)
            .map(|run| async move {
                let done = if request.dry_run { Ok(false) } else { self.act(namespace, run, request).await };
                BulkItem { run, done }
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        Ok(BulkResult { results, next })
    }

    /// The runs that match, and the cursor behind them.
    async fn meant(
        &self,
        namespace: &str,
        request: &BulkRequest,
        limit: usize,
    ) -> Result<(Vec<RunId>, Option<String>)> {
        let (mut found, mut cursor) = (Vec::new(), request.cursor.clone());
        for _ in 0..PAGES_MAX {
            let page = self.runs(namespace, request.filter.clone(), cursor, limit - found.len()).await?;
            found.extend(page.items.into_iter().map(|run| run.run));
            cursor = page.next;
            if cursor.is_none() || found.len() == limit {
                break;
            }
        }
        Ok((found, cursor))
    }

    async fn act(&self, namespace: &str, run: RunId, request: &BulkRequest) -> Result<bool, Error> {
        match request.action {
            BulkAction::Cancel => self.cancel(namespace, run, &request.reason, false).await?,
            BulkAction::Pause => self.pause(namespace, run).await?,
            BulkAction::Resume => self.resume(namespace, run).await?,
            BulkAction::Delete => self.delete(namespace, run).await?,
        }
        Ok(true)
    }
}
