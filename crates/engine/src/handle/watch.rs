//! Following a run.
//!
//! For: everything in a run's journal, in order, from any cursor on, and live progress in between. Not for: keeping
//! events (the journal does): a watcher reads pages and waits for a wake-up, so a slow one costs nothing.
//! Invariant: no journal entry is left out or shown twice; progress may be.

use consort_types::{Name, Result, RunId, worker::Progress};
use futures::Stream;
use tokio::sync::oneshot;

use super::Handle;
use crate::{
    shell::{Message, Reading, Subscription, Waiter, Wake},
    topic::Topic,
    view::{JournalCursor, JournalView, RunView},
};

/// What a watcher sees.
#[derive(Clone, Debug)]
pub enum WatchEvent {
    /// Something happened, and was recorded.
    Entry(JournalView),
    /// An attempt says what it is doing. Not recorded.
    Progress(Progress),
    /// The run has ended; nothing follows.
    Ended(Box<RunView>),
}

/// A run being followed.
pub struct Watch {
    handle: Handle,
    namespace: String,
    run: RunId,
    cursor: Option<JournalCursor>,
    page: std::vec::IntoIter<JournalView>,
    subscription: Subscription,
    ended: bool,
}

/// Entries that a watcher reads at once.
const PAGE: usize = 256;

impl Handle {
    /// Follows a run from after `cursor` (`None`: from its start).
    pub async fn watch(&self, namespace: &str, run: RunId, cursor: Option<JournalCursor>) -> Result<Watch> {
        self.run(namespace, run).await?;
        Ok(Watch {
            handle: self.clone(),
            namespace: namespace.to_owned(),
            run,
            cursor,
            page: Vec::new().into_iter(),
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
            if let Some(entry) = self.page.next() {
                self.cursor = Some(entry.cursor);
                return Ok(WatchEvent::Entry(entry));
            }
            self.subscription.mark_seen();
            // The run is looked at before its journal: if it had ended by then, the journal was whole.
            let run = self.handle.run(&self.namespace, self.run).await?;
            let page = self.handle.history(&self.namespace, self.run, self.cursor, PAGE).await?.items;
            if !page.is_empty() {
                self.page = page.into_iter();
                continue;
            }
            // Before the end is told: what was said last is often the best of it.
            if let Some(progress) = self.subscription.try_live() {
                return Ok(WatchEvent::Progress(progress));
            }
            if run.summary.status.is_terminal() {
                return Ok(WatchEvent::Ended(Box::new(run)));
            }
            if let Wake::Live(progress) = self.subscription.next().await? {
                return Ok(WatchEvent::Progress(progress));
            }
        }
    }

    /// The watch as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<WatchEvent>> + Send {
        futures::stream::unfold(self, |mut watch| async move { watch.next().await.map(|event| (event, watch)) })
    }
}
