//! What looks at the state.
//!
//! For: one method for each view of the machine. Not for: changing anything.
//! Invariant: a read sees the state between two groups, and every record that was acknowledged before it was asked.

use std::sync::Arc;

use consort_types::{
    BlobHash, Code, Error, Name, Payload, Result, RunId, Seq, Span, StepInstanceId, bounds::check_optional_text, limits,
};

use super::{Handle, page_items};
use crate::view::{
    self, AgentView, Comparison, DeployedWorkflow, InboxView, JournalCursor, JournalView, NamespaceView, Page, Replay,
    RevisionView, RunFilter, RunSummary, RunView, StepNode, StepView, WorkflowView,
};

impl Handle {
    /// The bytes of a payload of a namespace, wherever they are.
    pub async fn payload(&self, namespace: &str, payload: Payload) -> Result<Arc<[u8]>> {
        self.of(namespace).payload(payload).await
    }

    /// Waits until the record `at_least` of a namespace's partition is applied, and returns the last one that is: reads
    /// after that show what it did (read your writes from another connection).
    pub async fn applied(&self, namespace: &str, at_least: Seq) -> Result<Seq> {
        self.of(namespace).read_at(at_least, |machine| machine.applied()).await
    }

    /// The bytes of a blob of a namespace.
    pub async fn blob(&self, namespace: &str, hash: BlobHash) -> Result<Arc<[u8]>> {
        self.of(namespace).blob(hash).await
    }

    /// Namespaces that hold or set something, by name, with what they hold.
    pub async fn namespaces(
        &self,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
    ) -> Result<Page<NamespaceView>> {
        let limit = page_items(limit.into(), limits::PAGE_ITEMS_MAX)?;
        self.partition.read(move |machine| machine.namespaces(cursor.as_deref(), limit)).await?
    }

    /// How long a namespace keeps ended runs; `None` keeps them.
    pub async fn retention(&self, namespace: &str) -> Result<Option<Span>> {
        let name = namespace.to_owned();
        // A page begins with the namespace that its cursor names, where that one is listed.
        let page = self.of(namespace).read(move |machine| machine.namespaces(Some(&name), 1)).await??;
        Ok(page.items.into_iter().find(|found| found.name == namespace).and_then(|found| found.retention))
    }

    /// Whether any row uses a blob.
    pub async fn blob_used(&self, hash: BlobHash) -> Result<bool> {
        self.partition.read(move |machine| machine.blob_used(&hash)).await?
    }

    /// A run with its documents.
    pub async fn run(&self, namespace: &str, run: RunId) -> Result<RunView> {
        let namespace = named("namespace", namespace)?;
        self.of(&namespace).read(move |machine| machine.run_view(&namespace, run)).await?
    }

    /// The steps of a run as a tree, with the counts of fan-outs and loops.
    pub async fn run_tree(&self, namespace: &str, run: RunId) -> Result<Vec<StepNode>> {
        let namespace = named("namespace", namespace)?;
        self.of(&namespace).read(move |machine| machine.run_tree(&namespace, run)).await?
    }

    /// The step instances of a run, flat, with their outputs.
    pub async fn steps(
        &self,
        namespace: &str,
        run: RunId,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
    ) -> Result<Page<StepView>> {
        let (namespace, limit) = (named("namespace", namespace)?, page_items(limit.into(), limits::PAGE_ITEMS_MAX)?);
        self.of(&namespace).read(move |machine| machine.steps(&namespace, run, cursor.as_deref(), limit)).await?
    }

    /// A page of a run's history, after a cursor; [`Page::next`] is the cursor of its last entry.
    pub async fn history(
        &self,
        namespace: &str,
        run: RunId,
        after: Option<JournalCursor>,
        limit: impl Into<Option<usize>>,
    ) -> Result<Page<JournalView>> {
        let (namespace, limit) = (named("namespace", namespace)?, page_items(limit.into(), limits::PAGE_ITEMS_MAX)?);
        let items = self.of(&namespace).read(move |machine| machine.journal(&namespace, run, after, limit)).await??;
        let next = items.last().filter(|_| items.len() == limit).map(|entry| entry.cursor.to_string());
        Ok(Page { items, next })
    }

    /// What waits for a person as this task.
    ///
    /// # Errors
    /// [`Code::TaskNotFound`] where nothing does.
    pub async fn inbox_item(&self, namespace: &str, task: StepInstanceId) -> Result<InboxView> {
        // A page begins at its cursor: the requested item is the first one, or it does not exist.
        let page = self.inbox(namespace, Some(task.to_string()), 1).await?;
        page.items.into_iter().find(|item| item.task == task).ok_or_else(|| {
            Error::new(Code::TaskNotFound, format!("nothing waits in the inbox as `{task}`"))
                .hint("it may have been decided; `GET /v1/inbox` lists what waits")
        })
    }

    /// The output of a completed run.
    ///
    /// # Errors
    /// [`Code::RunActive`] where it has not ended, [`Code::StepState`] where it ended without one.
    pub async fn run_output(&self, namespace: &str, run: RunId) -> Result<Payload> {
        let run = self.run(namespace, run).await?;
        let status = run.summary.status;
        run.output.ok_or_else(|| {
            let message = format!("the run has no output: it is {}", status.as_str());
            if status.is_terminal() {
                return Error::new(Code::StepState, message).hint("only a completed run has one");
            }
            Error::new(Code::RunActive, message).hint("wait for its end with `?wait=30s` on the run")
        })
    }

    /// Runs, newest first. A page may be empty and still have a next one.
    pub async fn runs(
        &self,
        namespace: &str,
        filter: RunFilter,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
    ) -> Result<Page<RunSummary>> {
        check_optional_text("text", filter.text.as_deref(), limits::SEARCH_TEXT_BYTES_MAX)?;
        let (namespace, limit) = (named("namespace", namespace)?, page_items(limit.into(), limits::PAGE_ITEMS_MAX)?);
        self.of(&namespace)
            .read(move |machine| machine.list_runs(&namespace, &filter, cursor.as_deref(), limit))
            .await?
    }

    /// What waits for a person.
    pub async fn inbox(
        &self,
        namespace: &str,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
    ) -> Result<Page<InboxView>> {
        let (namespace, limit) = (named("namespace", namespace)?, page_items(limit.into(), limits::PAGE_ITEMS_MAX)?);
        self.of(&namespace).read(move |machine| machine.tasks().inbox(&namespace, cursor.as_deref(), limit)).await?
    }

    /// Deployed workflows, by name.
    pub async fn workflows(
        &self,
        namespace: &str,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
    ) -> Result<Page<WorkflowView>> {
        let (namespace, limit) = (named("namespace", namespace)?, page_items(limit.into(), limits::PAGE_ITEMS_MAX)?);
        self.of(&namespace).read(move |machine| machine.workflows(&namespace, cursor.as_deref(), limit)).await?
    }

    /// Revisions of a deployed workflow, newest first, with their active runs.
    pub async fn revisions(
        &self,
        namespace: &str,
        name: &str,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
    ) -> Result<Page<RevisionView>> {
        let limit = page_items(limit.into(), limits::PAGE_ITEMS_MAX)?;
        let (namespace, name) = (named("namespace", namespace)?, named("workflow", name)?);
        let cursor = cursor.as_deref().map(str::parse::<u32>).transpose().map_err(|_| {
            Error::new(Code::BadCursor, "the cursor was not made by this listing").hint("start again without one")
        })?;
        self.of(&namespace)
            .read(move |machine| machine.deployments().revisions(&namespace, &name, cursor, limit))
            .await?
    }

    /// The source of a deployed workflow, by revision number or author's version; the newest without one.
    pub async fn workflow_source(&self, namespace: &str, name: &str, version: Option<String>) -> Result<String> {
        let (namespace, name) = (named("namespace", namespace)?, named("workflow", name)?);
        check_optional_text("version", version.as_deref(), limits::NAME_BYTES_MAX)?;
        self.of(&namespace).read(move |machine| machine.workflow_source(&namespace, &name, version.as_deref())).await?
    }

    /// A deployed workflow, by revision number or author's version; the newest without one.
    pub async fn workflow(&self, namespace: &str, name: &str, version: Option<String>) -> Result<DeployedWorkflow> {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.of(&namespace).read(move |machine| machine.workflow(&namespace, &name, version.as_deref())).await?
    }

    /// The source that a run is pinned to.
    pub async fn run_source(&self, namespace: &str, run: RunId) -> Result<String> {
        let namespace = named("namespace", namespace)?;
        self.of(&namespace).read(move |machine| machine.run_source(&namespace, run)).await?
    }

    /// Versions of agents as they were declared and set, by name.
    pub async fn declared_agents(
        &self,
        namespace: &str,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<Page<AgentView>> {
        let namespace = named("namespace", namespace)?;
        self.of(&namespace).read(move |machine| machine.registry().agents(&namespace, cursor.as_deref(), limit)).await?
    }

    /// Folds a run's journal again without calling anything, and compares it with the run's rows.
    pub async fn replay(&self, namespace: &str, run: RunId) -> Result<Replay> {
        let (journal, steps) = (self.whole_journal(namespace, run).await?, self.all_steps(namespace, run).await?);
        Ok(view::replay(run, &journal, &steps))
    }

    /// Compares the steps of two runs.
    pub async fn compare(&self, namespace: &str, left: RunId, right: RunId) -> Result<Comparison> {
        let (lefts, rights) = (self.all_steps(namespace, left).await?, self.all_steps(namespace, right).await?);
        Ok(view::compare((left, &lefts), (right, &rights)))
    }

    /// The whole journal of a run, read page by page, so that the loop appends groups in between.
    async fn whole_journal(&self, namespace: &str, run: RunId) -> Result<Vec<JournalView>> {
        let mut journal: Vec<JournalView> = Vec::new();
        loop {
            let after = journal.last().map(|entry| entry.cursor);
            let page = self.history(namespace, run, after, limits::PAGE_ITEMS_MAX).await?.items;
            if page.is_empty() {
                return Ok(journal);
            }
            journal.extend(page);
            check_whole(journal.len())?;
        }
    }

    async fn all_steps(&self, namespace: &str, run: RunId) -> Result<Vec<StepView>> {
        let (mut steps, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.steps(namespace, run, cursor, limits::PAGE_ITEMS_MAX).await?;
            steps.extend(page.items);
            check_whole(steps.len())?;
            cursor = page.next;
            if cursor.is_none() {
                return Ok(steps);
            }
        }
    }
}

/// A name from a request; one that is longer than any name may be is refused.
pub(super) fn named(what: &str, name: &str) -> Result<String> {
    Name::check_size(what, name)?;
    Ok(name.to_owned())
}

/// Refuses to hold more items of one run in memory than [`limits::WHOLE_RUN_ITEMS_MAX`].
fn check_whole(items: usize) -> Result<()> {
    let max = limits::WHOLE_RUN_ITEMS_MAX;
    if items <= max {
        return Ok(());
    }
    Err(Error::new(Code::LimitReached, format!("the run has more than `{items}` steps or entries, the limit is {max}"))
        .hint("read its history and its steps by pages"))
}
