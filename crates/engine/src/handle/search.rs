//! Looking for what failed, in all runs.
//!
//! For: the listing of failed steps. Not for: listing runs (see `reads`).
//! Invariant: as in `reads`.

use consort_types::{Result, limits};

use super::{Handle, page_items, reads::named};
use crate::view::{self, FailedStep, Page, RunFilter};

/// The steps that failed, of all runs of a namespace.
pub struct FailedSteps {
    handle: Handle,
    namespace: String,
}

impl FailedSteps {
    /// Those of a namespace.
    ///
    /// # Errors
    /// A namespace with more bytes than a name may have.
    pub fn of(handle: &Handle, namespace: &str) -> Result<Self> {
        Ok(Self { handle: handle.clone(), namespace: named("namespace", namespace)? })
    }

    /// Steps that failed, or that wait for a decision because they cannot continue; of this capability, where one is
    /// named. A page may be empty and still have a next one.
    pub async fn list(
        &self,
        filter: RunFilter,
        capability: Option<String>,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
    ) -> Result<Page<FailedStep>> {
        let (namespace, limit) = (self.namespace.clone(), page_items(limit.into(), limits::PAGE_ITEMS_MAX)?);
        let read = move |machine: &mut consort_core::Machine| {
            let mut failed = view::FailedSteps::of(machine);
            failed.list(&namespace, &filter, capability.as_deref(), cursor.as_deref(), limit)
        };
        self.handle.of(&self.namespace).read(read).await?
    }
}
