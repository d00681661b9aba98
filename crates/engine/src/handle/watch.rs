//! Following a run.
//!
//! For: everything in a run's journal, in order, from any cursor on, and live progress in between. Not for: keeping
//! events (the journal does): a watcher reads pages and waits for a wake-up, so a slow one costs nothing.
//! Invariant: no journal entry is left out or shown twice; progress may be. Watchers at the same place share one read, and
//! what a door has made of an entry.

use std::sync::Arc;

use consort_types::{Name, Position, Result, RunId, worker::Progress};
use futures::Stream;
use tokio::sync::oneshot;

use super::Handle;
use crate::{
    seen::{RunItem, SeenEntry},
    shell::{self, Message, Reading, Subscription, Waiter, Wake},
    topic::Topic,
    view::{JournalCursor, JournalView, RunView},
};

/// What a watcher sees.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// Something happened, and was recorded.
    Entry(Arc<SeenEntry>),
    /// An attempt says what it is doing. Not recorded.
    Progress(Progress),
    /// The run has ended; nothing follows.
    Ended(Arc<RunView>),
}

/// A run being followed.
pub struct Watch {
    handle: Handle,
    namespace: String,
    run: RunId,
    cursor: Option<JournalCursor>,
    page: Arc<shell::Page<RunItem>>,
    /// How many items of the page were looked at.
    looked_at: usize,
    /// Whether there may be more behind the page.
    more: bool,
    subscription: Subscription,
    ended: bool,
}

/// Entries that a watcher reads at once.
const PAGE: usize = 256;

impl Handle {
    /// Follows a run from after `cursor` (`None`: from its start).
    pub async fn watch(&self, namespace: &str, run: RunId, cursor: Option<JournalCursor>) -> Result<Watch> {
        self.run(namespace, run).await?;
        let JournalCursor { seq, n } = cursor.unwrap_or_default();
        let page = shell::Page { items: Vec::new(), seen: Position { seq, n }, more: true, revision: 0, bytes: 0 };
        Ok(Watch {
            handle: self.clone(),
            namespace: namespace.to_owned(),
            run,
            cursor,
            page: Arc::new(page),
            looked_at: 0,
            more: true,
            subscription: self.of(namespace).subscribe(Topic::Run(run)).await?,
            ended: false,
        })
    }

    /// Waits until a run has ended. An error where the engine stops or halts before that.
    pub async fn wait_end(&self, namespace: &str, run: RunId) -> Result<RunView> {
        Name::check_size("namespace", namespace)?;
        let partition = self.of(namespace);
        let _place = Reading::begin(&partition.shared)?;
        let (reply, answer) = oneshot::channel();
        partition.send(Message::WaitEnd(Waiter { namespace: namespace.to_owned(), run, reply }))?;
        match answer.await {
            Ok(view) => view,
            Err(_) => Err(partition.why_silent().await),
        }
    }
}

impl Watch {
    /// The cursor of the last entry that the watch returned: a later watch from this cursor begins with the next entry.
    pub fn cursor(&self) -> Option<JournalCursor> {
        self.cursor
    }

    /// The next event; `None` after [`WatchEvent::Ended`] or an error.
    pub async fn next(&mut self) -> Option<Result<WatchEvent>> {
        if self.ended {
            return None;
        }
        let event = self.advance().await;
        self.ended = matches!(event, Err(_) | Ok(WatchEvent::Ended(_)));
        Some(event)
    }

    async fn advance(&mut self) -> Result<WatchEvent> {
        loop {
            match self.page.items.get(self.looked_at) {
                Some(RunItem::Entry(entry)) => {
                    self.looked_at += 1;
                    self.cursor = Some(entry.cursor);
                    return Ok(WatchEvent::Entry(Arc::clone(entry)));
                }
                Some(RunItem::Ended(run)) => {
                    // Before the end is told: what was said last is often the best of it.
                    let said = self.subscription.try_live().map(WatchEvent::Progress);
                    return Ok(said.unwrap_or_else(|| WatchEvent::Ended(Arc::clone(run))));
                }
                None => {}
            }
            if !self.more
                && let Wake::Live(progress) = self.subscription.next().await?
            {
                return Ok(WatchEvent::Progress(progress));
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> Result<()> {
        let (namespace, id, after) = (self.namespace.clone(), self.run, self.page.seen);
        let point = Arc::clone(self.subscription.point());
        let read = self.handle.of(&self.namespace).read(move |machine| {
            let run = machine.run_view(&namespace, id)?;
            let cursor = JournalCursor { seq: after.seq, n: after.n };
            let entries = machine.journal(&namespace, id, Some(cursor), PAGE)?;
            Ok(page_of(run, entries, after, point.revision()))
        });
        let page = self.subscription.point().entries.behind(after, async { read.await? }).await?;
        // What came behind a page that another watcher has read does not wake this one again.
        self.more = page.more || page.revision < self.subscription.mark_seen();
        (self.page, self.looked_at) = (page, 0);
        Ok(())
    }

    /// The watch as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<WatchEvent>> + Send {
        futures::stream::unfold(self, |mut watch| async move { watch.next().await.map(|event| (event, watch)) })
    }
}

/// A page of entries behind a position, and the end of the run, where that is behind them.
fn page_of(run: RunView, entries: Vec<JournalView>, after: Position, revision: u64) -> shell::Page<RunItem> {
    /// Roughly, what an entry says beside its step.
    const SAID_BYTES: usize = 256;
    let more = entries.len() == PAGE;
    let seen = entries.last().map_or(after, |last| Position { seq: last.cursor.seq, n: last.cursor.n });
    let bytes_of =
        |entry: &JournalView| size_of::<JournalView>() + SAID_BYTES + entry.step.as_ref().map_or(0, String::len);
    let bytes = entries.iter().map(bytes_of).sum();
    let ended = !more && run.summary.status.is_terminal();
    let entries = entries.into_iter().map(|entry| RunItem::Entry(Arc::new(SeenEntry::of(entry))));
    let items = entries.chain(ended.then(|| RunItem::Ended(Arc::new(run)))).collect();
    shell::Page { items, seen, more, revision, bytes }
}
