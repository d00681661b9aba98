//! Subscriptions to topics.
//!
//! For: the one way to watch anything: a subscriber learns that its topic has changed, and gets live messages, which
//! are not recorded. Not for: what has changed (the subscriber reads it from its own cursor, so a slow one costs
//! nothing and a new one begins wherever it left off).
//! Invariant: a subscriber that reads after it subscribed misses no change; revisions of a topic only grow; topics
//! without subscribers cost nothing.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use consort_types::{Code, Error, Result, limits, worker::Progress};
use tokio::sync::{
    broadcast::{self, error::RecvError, error::TryRecvError},
    watch,
};

use super::{Pages, stopping};
use crate::{
    seen::RunItem,
    topic::Topic,
    view::{ChangeView, EventView},
};

/// Live messages that wait for a slow subscriber; more are dropped.
const LIVE_WAITING_MAX: usize = 256;

/// The subscribers of one topic.
pub(crate) struct TopicPoint {
    topic: Topic,
    revision: watch::Sender<u64>,
    live: broadcast::Sender<Progress>,
    shared: Arc<Inner>,
    /// Of a space: its changes.
    pub(crate) changes: Pages<ChangeView>,
    /// Of a namespace: its events.
    pub(crate) events: Pages<Arc<EventView>>,
    /// Of a run: the entries of its journal.
    pub(crate) entries: Pages<RunItem>,
}

impl TopicPoint {
    /// The revision that the topic has now. Between two groups it is that of what is applied.
    pub(crate) fn revision(&self) -> u64 {
        *self.revision.borrow()
    }
}

#[derive(Default)]
struct Inner {
    points: Mutex<BTreeMap<Topic, Weak<TopicPoint>>>,
    /// How many points there are: lets the loop skip the lock where there is no subscriber.
    count: AtomicUsize,
    subscribers: AtomicUsize,
}

impl Inner {
    fn points(&self) -> MutexGuard<'_, BTreeMap<Topic, Weak<TopicPoint>>> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TopicPoint {
    fn drop(&mut self) {
        let mut points = self.shared.points();
        // A new point may have taken the place meanwhile.
        if points.get(&self.topic).is_some_and(|point| point.strong_count() == 0) {
            points.remove(&self.topic);
        }
        self.shared.count.store(points.len(), Ordering::Release);
    }
}

/// A place among the subscribers, given back when dropped.
struct WatchPermit(Arc<Inner>);

impl Drop for WatchPermit {
    fn drop(&mut self) {
        self.0.subscribers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What wakes a subscriber.
#[derive(Debug)]
pub(crate) enum Wake {
    /// The topic has changed since it was last marked as seen.
    Changed,
    /// A live message.
    Live(Progress),
}

/// A subscription to a topic.
pub(crate) struct Subscription {
    revision: watch::Receiver<u64>,
    live: broadcast::Receiver<Progress>,
    /// Live messages from before the subscription that are still worth hearing.
    tail: VecDeque<Progress>,
    stopped: watch::Receiver<bool>,
    kept: (Arc<TopicPoint>, WatchPermit),
}

impl Subscription {
    /// Notes that the subscriber reads the topic now: what changed before does not wake it again. Answers the revision
    /// that the topic has.
    pub(crate) fn mark_seen(&mut self) -> u64 {
        *self.revision.borrow_and_update()
    }

    /// What all subscribers of the topic share.
    pub(crate) fn point(&self) -> &Arc<TopicPoint> {
        &self.kept.0
    }

    /// Waits for a change, or for a live message.
    ///
    /// # Errors
    /// [`Code::Stopping`] when the partition has stopped.
    pub(crate) async fn next(&mut self) -> Result<Wake> {
        if let Some(live) = self.tail.pop_front() {
            return Ok(Wake::Live(live));
        }
        loop {
            tokio::select! {
                changed = self.revision.changed() => return changed.map(|()| Wake::Changed).map_err(|_| stopping()),
                live = self.live.recv() => match live {
                    Ok(live) => return Ok(Wake::Live(live)),
                    // Some were missed: they are not kept.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(stopping()),
                },
                _ = self.stopped.wait_for(|stopped| *stopped) => return Err(stopping()),
            }
        }
    }

    /// A live message that is there already; those that the subscriber was too slow for are left out.
    pub(crate) fn try_live(&mut self) -> Option<Progress> {
        self.tail.pop_front().or_else(|| {
            loop {
                match self.live.try_recv() {
                    Ok(live) => return Some(live),
                    Err(TryRecvError::Lagged(_)) => {}
                    Err(_) => return None,
                }
            }
        })
    }
}

/// A subscription that has a place and a topic, and has not begun: the loop begins it between two groups.
pub(crate) struct Subscribing {
    point: Arc<TopicPoint>,
    permit: WatchPermit,
    stopped: watch::Receiver<bool>,
}

impl Subscribing {
    pub(crate) fn topic(&self) -> Topic {
        self.point.topic
    }

    /// Begins: `tail` is what was said live before and is still worth hearing.
    pub(super) fn begin(self, tail: Vec<Progress>) -> Subscription {
        Subscription {
            revision: self.point.revision.subscribe(),
            live: self.point.live.subscribe(),
            tail: tail.into(),
            stopped: self.stopped,
            kept: (self.point, self.permit),
        }
    }
}

/// The subscribers of all topics.
#[derive(Clone, Default)]
pub(crate) struct Subscriptions {
    inner: Arc<Inner>,
}

impl Subscriptions {
    /// Takes a place among the subscribers.
    ///
    /// # Errors
    /// [`Code::Overloaded`] where there are [`limits::WATCHERS_MAX`] already.
    pub(crate) fn subscribe(&self, topic: Topic, stopped: watch::Receiver<bool>) -> Result<Subscribing> {
        let before = self.inner.subscribers.fetch_add(1, Ordering::AcqRel);
        let permit = WatchPermit(Arc::clone(&self.inner));
        let max = limits::WATCHERS_MAX;
        if before >= max {
            return Err(Error::new(Code::Overloaded, format!("`{max}` watchers follow already, the limit is {max}"))
                .hint("try again after `5s`, or ask by pages"));
        }
        Ok(Subscribing { point: self.point(topic), permit, stopped })
    }

    fn point(&self, topic: Topic) -> Arc<TopicPoint> {
        let mut points = self.inner.points();
        if let Some(point) = points.get(&topic).and_then(Weak::upgrade) {
            return point;
        }
        let (revision, live) = (watch::Sender::new(0), broadcast::Sender::new(LIVE_WAITING_MAX));
        let (changes, events, entries) = (Pages::default(), Pages::default(), Pages::default());
        let shared = Arc::clone(&self.inner);
        let point = Arc::new(TopicPoint { topic, revision, live, shared, changes, events, entries });
        points.insert(topic, Arc::downgrade(&point));
        self.inner.count.store(points.len(), Ordering::Release);
        point
    }

    /// Whether there is any subscriber.
    pub(crate) fn any(&self) -> bool {
        self.inner.count.load(Ordering::Acquire) > 0
    }

    fn existing(&self, topic: Topic) -> Option<Arc<TopicPoint>> {
        self.inner.points().get(&topic).and_then(Weak::upgrade)
    }

    /// A topic has this revision now: its subscribers are woken where it is another one than before.
    pub(crate) fn changed(&self, topic: Topic, revision: u64) {
        if let Some(point) = self.existing(topic) {
            point.revision.send_if_modified(|known| std::mem::replace(known, revision) != revision);
        }
    }

    /// Shows a live message to the subscribers of its run.
    pub(crate) fn live(&self, progress: Progress) {
        if let Some(point) = self.existing(Topic::Run(progress.run)) {
            // There may be no receiver just now.
            let _ = point.live.send(progress);
        }
    }
}
