//! Looking at one step of a run.
//!
//! For: its input, its journal, its output. Not for: the run as a whole (see `reads`).
//! Invariant: a document is given only through a run of the namespace.

use consort_types::{Code, Error, Payload, Result, RunId, StepInstanceId, limits};

use super::{Handle, page_items, reads::named};
use crate::view::{EntryView, Page, StepDetail};

/// A step instance of a run, to be looked at.
pub struct StepReader {
    handle: Handle,
    namespace: String,
    run: RunId,
    task: StepInstanceId,
}

impl Handle {
    /// A step instance of a run, to be looked at; whether it is there, each look finds out.
    ///
    /// # Errors
    /// A namespace with more bytes than a name may have.
    pub fn step(&self, namespace: &str, run: RunId, task: StepInstanceId) -> Result<StepReader> {
        Ok(StepReader { handle: self.clone(), namespace: named("namespace", namespace)?, run, task })
    }
}

impl StepReader {
    /// The step with what it was given.
    ///
    /// # Errors
    /// [`Code::TaskNotFound`] where the run has no such step.
    pub async fn detail(&self) -> Result<StepDetail> {
        let (namespace, run, task) = (self.namespace.clone(), self.run, self.task);
        self.handle.of(&self.namespace).read(move |machine| machine.tasks().detail(&namespace, run, task)).await?
    }

    /// The input of a step that has begun.
    ///
    /// # Errors
    /// [`Code::TaskNotFound`] where the run has no such step, [`Code::StepState`] where it has no input.
    pub async fn input(&self) -> Result<Payload> {
        let (namespace, run, task) = (self.namespace.clone(), self.run, self.task);
        self.handle.of(&self.namespace).read(move |machine| machine.tasks().input(&namespace, run, task)).await?
    }

    /// The output of a completed step.
    ///
    /// # Errors
    /// [`Code::TaskNotFound`] where the run has no such step, [`Code::StepState`] where it has no output.
    pub async fn output(&self) -> Result<Payload> {
        let step = self.detail().await?.step;
        let state = step.state;
        step.output.ok_or_else(|| {
            Error::new(Code::StepState, format!("the step `{}` has no output: it is {}", step.path, state.as_str()))
                .hint("only a completed step has one")
        })
    }

    /// The journal of the step's task, page by page; with `whole`, no document is a reference.
    ///
    /// # Errors
    /// [`Code::TaskNotFound`] where the run has no such step, [`Code::BadCursor`].
    pub async fn journal(
        &self,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
        whole: bool,
    ) -> Result<Page<EntryView>> {
        let limit = page_items(limit.into(), limits::PAGE_ITEMS_MAX)?;
        let (namespace, run, task) = (self.namespace.clone(), self.run, self.task);
        let read = move |machine: &mut consort_core::Machine| {
            machine.tasks().journal(&namespace, run, task, cursor.as_deref(), limit)
        };
        let partition = self.handle.of(&self.namespace);
        let mut page = partition.read(read).await??;
        if whole {
            for EntryView { entry, .. } in &mut page.items {
                for document in entry.request.document_mut().into_iter().chain(&mut entry.output) {
                    partition.fetch(document).await?;
                }
            }
        }
        Ok(page)
    }
}
