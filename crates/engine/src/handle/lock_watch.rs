//! Following a lock.
//!
//! For: every change of who holds it, in order, from any cursor on. Not for: keeping changes (the machine keeps the last
//! ones): a watcher reads from its own cursor, so a slow one costs nothing.
//! Invariant: no change is left out or shown twice; where some are not kept any more, the lock itself is shown instead.

use std::collections::VecDeque;

use consort_core::{
    Coordinated,
    rows::LockChange,
    view::{Coordination, LockNews, LockView},
};
use consort_types::{Position, Result, limits};
use futures::Stream;

use super::Handle;
use crate::{shell::Subscription, topic::Topic};

/// What a watcher of a lock sees.
#[derive(Clone, Debug)]
pub enum LockEvent {
    /// The lock as it is: at the beginning of a watch without cursor, and where changes since its cursor are not kept.
    Lock(Box<LockView>),
    /// Nothing is known of the lock: it has no holder.
    Unknown,
    /// It has changed.
    Change(Box<LockChange>),
}

/// A lock being followed.
pub struct LockWatch {
    handle: Handle,
    namespace: String,
    name: String,
    cursor: Option<Position>,
    waiting: VecDeque<(Position, LockEvent)>,
    /// Whether the watcher knows that the lock had no holder at its cursor.
    knows_unknown: bool,
    subscription: Subscription,
    ended: bool,
}

impl LockWatch {
    pub(super) async fn open(
        handle: &Handle,
        namespace: String,
        name: String,
        cursor: Option<Position>,
    ) -> Result<Self> {
        let of = Coordinated::Lock { namespace: namespace.clone(), name: name.clone() };
        let subscription = handle.of(&namespace).subscribe(Topic::coordinated(&of)).await?;
        let (waiting, knows_unknown) = (VecDeque::new(), false);
        Ok(Self { handle: handle.clone(), namespace, name, cursor, waiting, knows_unknown, subscription, ended: false })
    }

    /// The next event, with the cursor after which a later watch continues. After an error there is none.
    pub async fn next(&mut self) -> Option<Result<(Position, LockEvent)>> {
        if self.ended {
            return None;
        }
        let event = self.advance().await;
        self.ended = event.is_err();
        Some(event)
    }

    async fn advance(&mut self) -> Result<(Position, LockEvent)> {
        loop {
            if let Some((cursor, event)) = self.waiting.pop_front() {
                self.cursor = Some(cursor);
                self.knows_unknown = matches!(event, LockEvent::Unknown);
                return Ok((cursor, event));
            }
            self.subscription.mark_seen();
            let (namespace, name, cursor) = (self.namespace.clone(), self.name.clone(), self.cursor);
            let read = move |machine: &mut consort_core::Machine| {
                Coordination::of(machine).lock_news(&namespace, &name, cursor, limits::LOCK_CHANGES_KEPT_MAX as usize)
            };
            let news = self.handle.of(&self.namespace).read(read).await??;
            self.take(news);
            if self.waiting.is_empty() {
                self.subscription.next().await?;
            }
        }
    }

    fn take(&mut self, news: LockNews) {
        let unknown = (Position::default(), LockEvent::Unknown);
        match news {
            LockNews::Lock(lock) => self.waiting.push_back((lock.cursor, LockEvent::Lock(lock))),
            LockNews::Unknown if !self.knows_unknown => self.waiting.push_back(unknown),
            LockNews::Unknown => {}
            LockNews::Changes { anew, changes } => {
                if anew && !self.knows_unknown {
                    self.waiting.push_back(unknown);
                }
                let changes = changes.into_iter().map(|(cursor, change)| (cursor, LockEvent::Change(Box::new(change))));
                self.waiting.extend(changes);
            }
        }
    }

    /// The watch as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<(Position, LockEvent)>> + Send {
        futures::stream::unfold(self, |mut watch| async move { watch.next().await.map(|event| (event, watch)) })
    }
}
