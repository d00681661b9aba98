//! Shared state: keys of spaces, read, written and followed.
//!
//! For: making commands of requests about the state store, and following the changes of a space. Not for: what a write
//! comes to (the machine decides), or for keeping changes (the machine does): a watcher reads pages and waits for a wake-up,
//! so a slow one costs nothing.
//! Invariant: no change is left out or shown twice to a watcher; one that has missed changes that are no longer kept is told.

use std::sync::Arc;

use consort_core::{
    Command, Reply,
    command::{Choice, DecideConflict, DeleteSpace, OperationResult, SetSpace, Transact, Transacted},
    rows::{Change, PrefixMerge},
    view::{ChangeView, Changed, ConflictView, Page, SharedState, SpaceView, StateView},
};
use consort_types::{
    Code, Error, Name, Payload, Result, Seq, bounds, limits,
    state::{
        Action, Check, Condition, Fence, Operation, Position, SpaceSettings, Transaction, Writer, check_key,
        check_prefix,
    },
};
use consort_workflow_check::merge_expression;
use futures::Stream;

use super::{Handle, PartitionClient, operations::unexpected, page_items};
use crate::{
    blob_gc::Pin,
    shell::{self, Subscription},
    topic::Topic,
};

/// Changes that a watcher reads at once.
const PAGE: usize = 256;

/// The state store of a namespace.
#[derive(Clone)]
pub struct StateStore {
    partition: PartitionClient,
    namespace: Arc<str>,
}

/// Keys of a space.
#[derive(Clone, Debug, PartialEq)]
pub struct StatePage {
    /// The keys, in the order of their bytes.
    pub page: Page<StateView>,
    /// The last change of the space that the page knows of: a watch from there misses nothing.
    pub position: Position,
}

impl StateStore {
    /// That of a namespace.
    ///
    /// # Errors
    /// [`Code::BadName`] where it is no namespace's name.
    pub fn of(handle: &Handle, namespace: &str) -> Result<Self> {
        Name::check("namespace", namespace)?;
        Ok(Self { partition: handle.of(namespace).clone(), namespace: Arc::from(namespace) })
    }

    /// The value of a key, whole: the latest, or that of the record `version`.
    ///
    /// # Errors
    /// [`Code::SpaceNotFound`], [`Code::KeyNotFound`], and [`Code::VersionGone`] where that version is no longer kept.
    pub async fn get(&self, space: &str, key: &str, version: Option<Seq>) -> Result<StateView> {
        check_key(key)?;
        let (namespace, space, key) = (Arc::clone(&self.namespace), named(space)?, key.to_owned());
        let read = self.partition.read(move |machine| SharedState::of(machine).get(&namespace, &space, &key, version));
        let mut view = read.await??;
        self.partition.fetch(&mut view.value).await?;
        for sibling in view.siblings.iter_mut().filter_map(|sibling| sibling.value.as_mut()) {
            self.partition.fetch(sibling).await?;
        }
        Ok(view)
    }

    /// Gives a key a value, or removes it.
    ///
    /// # Errors
    /// [`Code::StateConflict`] where the write was rejected because it had not seen the latest value.
    /// [`Code::LeaseLost`] where a grant that it depends on is not current.
    pub async fn write(
        &self,
        space: &str,
        key: &str,
        action: Action,
        fences: Vec<Fence>,
        by: Writer,
    ) -> Result<OperationResult> {
        let operation = Operation { space: space.to_owned(), key: key.to_owned(), action };
        let done = self.transact(Transaction { fences, ..Transaction::single(operation) }, by).await?;
        let first = done.results.into_iter().next();
        first.ok_or_else(|| Error::new(Code::Internal, "a transaction of one operation had no result"))
    }

    /// Reads and writes keys together.
    ///
    /// # Errors
    /// [`Code::StateConflict`] where a write of it was rejected, which names the key: nothing was done then.
    pub async fn transact(&self, mut transaction: Transaction, by: Writer) -> Result<Transacted> {
        let pins = self.admit(&mut transaction).await?;
        let command = Transact { namespace: self.namespace.to_string(), transaction, by };
        let mut done = match self.partition.submit(Command::Transact(command), pins).await? {
            Reply::Transacted(done) => done,
            other => return Err(unexpected(&other)),
        };
        if let Some(rejection) = done.rejection() {
            return Err(rejection);
        }
        for value in done.results.iter_mut().filter_map(|result| result.value.as_mut()) {
            self.partition.fetch(value).await?;
        }
        Ok(done)
    }

    /// Checks every document of a transaction, and puts the large ones into the blob store.
    async fn admit(&self, transaction: &mut Transaction) -> Result<Vec<Pin>> {
        let mut pins = Vec::new();
        for condition in &mut transaction.conditions {
            if let Condition { check: Check::Equals(value), .. } = condition {
                pins.extend(self.partition.admit_in("value", value).await?);
            }
        }
        for operation in transaction.then.iter_mut().chain(&mut transaction.otherwise) {
            if let Action::Put { value, base, .. } = &mut operation.action {
                pins.extend(self.partition.admit_in("value", value).await?);
                if let Some(base) = base {
                    pins.extend(self.partition.admit_in("base", base).await?);
                }
            }
        }
        Ok(pins)
    }

    /// Keys that begin with `prefix`, in the order of their bytes.
    pub async fn list(
        &self,
        space: &str,
        prefix: &str,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
    ) -> Result<StatePage> {
        check_prefix(prefix)?;
        let (limit, prefix) = (page_items(limit.into(), limits::PAGE_ITEMS_MAX)?, prefix.to_owned());
        let (namespace, space) = (Arc::clone(&self.namespace), named(space)?);
        let read = self.partition.read(move |machine| {
            let page = SharedState::of(machine).list(&namespace, &space, &prefix, cursor.as_deref(), limit)?;
            let position = SharedState::of(machine).changes(&namespace, &space, "", None, 1)?.seen;
            Ok(StatePage { page, position })
        });
        read.await?
    }

    /// The changes of a key that are kept, the newest first.
    pub async fn history(
        &self,
        space: &str,
        key: &str,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
    ) -> Result<Page<ChangeView>> {
        check_key(key)?;
        let (limit, key) = (page_items(limit.into(), limits::PAGE_ITEMS_MAX)?, key.to_owned());
        let (namespace, space) = (Arc::clone(&self.namespace), named(space)?);
        let history = move |machine: &mut consort_core::Machine| {
            SharedState::of(machine).history(&namespace, &space, &key, cursor.as_deref(), limit)
        };
        self.partition.read(history).await?
    }

    /// Spaces by name.
    pub async fn spaces(&self, cursor: Option<String>, limit: impl Into<Option<usize>>) -> Result<Page<SpaceView>> {
        let limit = page_items(limit.into(), limits::PAGE_ITEMS_MAX)?;
        let namespace = Arc::clone(&self.namespace);
        self.partition
            .read(move |machine| SharedState::of(machine).spaces(&namespace, cursor.as_deref(), limit))
            .await?
    }

    /// A space.
    pub async fn space(&self, space: &str) -> Result<SpaceView> {
        let (namespace, space) = (Arc::clone(&self.namespace), named(space)?);
        self.partition.read(move |machine| SharedState::of(machine).space(&namespace, &space)).await?
    }

    /// Sets what a space merges, keeps and may hold; makes it where it is not there. `merges` are the expressions of the
    /// policies that have one, by prefix.
    pub async fn set_space(&self, space: &str, settings: SpaceSettings, merges: Vec<(String, String)>) -> Result<()> {
        let (namespace, space) = (self.namespace.to_string(), space.to_owned());
        let compile = |(prefix, text): (String, String)| {
            bounds::check_text("merge", &text, limits::EXPRESSION_BYTES_MAX)?;
            Ok(PrefixMerge { prefix, expression: merge_expression(&text)? })
        };
        let merges = merges.into_iter().map(compile).collect::<Result<_>>()?;
        self.partition.done(Command::SetSpace(SetSpace { namespace, space, settings, merges }), None).await
    }

    /// Forgets a space and everything in it.
    pub async fn delete_space(&self, space: &str) -> Result<()> {
        let (namespace, space) = (self.namespace.to_string(), space.to_owned());
        self.partition.done(Command::DeleteSpace(DeleteSpace { namespace, space }), None).await
    }

    /// Conflicts of a space that are kept, the oldest first; with `undecided`, those that wait for a decision.
    pub async fn conflicts(
        &self,
        space: &str,
        undecided: bool,
        cursor: Option<String>,
        limit: impl Into<Option<usize>>,
    ) -> Result<Page<ConflictView>> {
        let limit = page_items(limit.into(), limits::PAGE_ITEMS_MAX)?;
        let (namespace, space) = (Arc::clone(&self.namespace), named(space)?);
        let conflicts = move |machine: &mut consort_core::Machine| {
            SharedState::of(machine).conflicts(&namespace, &space, undecided, cursor.as_deref(), limit)
        };
        self.partition.read(conflicts).await?
    }

    /// A conflict.
    pub async fn conflict(&self, space: &str, id: Position) -> Result<ConflictView> {
        let (namespace, space) = (Arc::clone(&self.namespace), named(space)?);
        self.partition.read(move |machine| SharedState::of(machine).conflict(&namespace, &space, id)).await?
    }

    /// Decides a conflict; answers the version that its key has then.
    ///
    /// # Errors
    /// [`Code::ConflictNotFound`] where it is not kept, [`Code::BadRequest`] where it has no such value.
    pub async fn decide(
        &self,
        space: &str,
        conflict: Position,
        mut choice: Choice,
        by: Writer,
        comment: Option<String>,
    ) -> Result<Seq> {
        let pin = match &mut choice {
            Choice::Value(value) => self.partition.admit_in("value", value).await?,
            Choice::Candidate(_) => None,
        };
        let (namespace, space) = (self.namespace.to_string(), space.to_owned());
        let command = DecideConflict { namespace, space, conflict, choice, by, comment };
        match self.partition.submit(Command::DecideConflict(command), pin).await? {
            Reply::Version(version) => Ok(version),
            other => Err(unexpected(&other)),
        }
    }

    /// Follows the keys of a space that begin with `prefix`, from behind `after`; without it, what changes from now on.
    ///
    /// # Errors
    /// [`Code::SpaceNotFound`], [`Code::VersionGone`] where changes behind `after` are no longer kept, and
    /// [`Code::Overloaded`] where too many follow already.
    pub async fn watch(&self, space: &str, prefix: &str, after: Option<Position>) -> Result<StateWatch> {
        check_prefix(prefix)?;
        let id = self.space(space).await?.space.id;
        let subscription = self.partition.subscribe(Topic::Space(id)).await?;
        let (of, name) = (Arc::clone(&self.namespace), named(space)?);
        // A cursor that cannot be served is refused at once, and the place of a watch from now is taken.
        let first = self.partition.read(move |machine| {
            SharedState::of(machine).changes(&of, &name, "", after, PAGE).map(|changed| page_of(changed, 0))
        });
        Ok(StateWatch {
            store: self.clone(),
            space: named(space)?,
            prefix: Arc::from(prefix),
            page: Arc::new(first.await??),
            looked_at: 0,
            more: true,
            subscription,
        })
    }

    /// The bytes of a document of the store, wherever they are.
    pub async fn payload(&self, payload: Payload) -> Result<Arc<[u8]>> {
        self.partition.payload(payload).await
    }
}

fn named(space: &str) -> Result<Arc<str>> {
    Name::check_size("space", space)?;
    Ok(Arc::from(space))
}

/// A page of changes, read at a revision of its space.
fn page_of(changed: Changed, revision: u64) -> shell::Page<ChangeView> {
    let Changed { items, seen, more } = changed;
    let bytes_of = |item: &ChangeView| {
        let Change { key, value, .. } = &item.change;
        size_of::<ChangeView>() + key.len() + value.as_ref().and_then(Payload::bytes).map_or(0, <[u8]>::len)
    };
    let bytes = items.iter().map(bytes_of).sum();
    shell::Page { items, seen, more, revision, bytes }
}

/// A space being followed.
pub struct StateWatch {
    store: StateStore,
    space: Arc<str>,
    prefix: Arc<str>,
    /// What was read, whatever the prefix of its keys: those who follow others share it.
    page: Arc<shell::Page<ChangeView>>,
    /// How many changes of the page were looked at.
    looked_at: usize,
    /// Whether there may be more behind the page.
    more: bool,
    subscription: Subscription,
}

impl StateWatch {
    async fn read(&mut self) -> Result<()> {
        let (namespace, space, after) = (Arc::clone(&self.store.namespace), Arc::clone(&self.space), self.page.seen);
        let point = Arc::clone(self.subscription.point());
        let read = self.store.partition.read(move |machine| {
            let changed = SharedState::of(machine).changes(&namespace, &space, "", Some(after), PAGE)?;
            Ok(page_of(changed, point.revision()))
        });
        let page = self.subscription.point().changes.behind(after, async { read.await? }).await?;
        // What came behind a page that another follower has read does not wake this one again.
        self.more = page.more || page.revision < self.subscription.mark_seen();
        (self.page, self.looked_at) = (page, 0);
        Ok(())
    }

    /// The next change.
    ///
    /// # Errors
    /// [`Code::VersionGone`] where the watcher was so slow that changes are no longer kept, [`Code::SpaceNotFound`] where
    /// the space was deleted, [`Code::Stopping`]; nothing follows then.
    pub async fn next(&mut self) -> Result<ChangeView> {
        loop {
            while let Some(change) = self.page.items.get(self.looked_at) {
                self.looked_at += 1;
                if change.change.key.starts_with(&*self.prefix) {
                    return Ok(change.clone());
                }
            }
            if !self.more {
                self.subscription.next().await?;
            }
            self.read().await?;
        }
    }

    /// The watch as a stream, whose first error is its last item.
    pub fn into_stream(self) -> impl Stream<Item = Result<ChangeView>> + Send {
        futures::stream::unfold(Some(self), |watch| async move {
            let mut watch = watch?;
            let next = watch.next().await;
            let rest = next.is_ok().then_some(watch);
            Some((next, rest))
        })
    }
}
