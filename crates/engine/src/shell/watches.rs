//! Who follows which run.
//!
//! For: waking followers without keeping anything for them. Not for: events (followers read the journal).
//! Invariant: whoever follows before looking misses no wake-up; runs that nobody follows cost nothing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use consort_types::{RunId, Seq, limits, worker::Progress};
use tokio::sync::{broadcast, watch};

/// Live messages that wait for a slow follower; more are dropped.
const PROGRESS_WAITING: usize = 256;

/// The wake-ups of one run.
pub(crate) struct WatchPoint {
    changes: watch::Sender<u64>,
    progress: broadcast::Sender<Progress>,
    run: RunId,
    shared: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    points: Mutex<BTreeMap<RunId, Weak<WatchPoint>>>,
    /// How many points there are: lets the loop skip the lock where nobody follows anything.
    count: AtomicUsize,
    watchers: AtomicUsize,
}

/// The wake-ups of all runs.
#[derive(Clone, Default)]
pub(crate) struct Watches {
    inner: Arc<Inner>,
}

impl Inner {
    fn points(&self) -> MutexGuard<'_, BTreeMap<RunId, Weak<WatchPoint>>> {
        self.points.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchPoint {
    /// Wake-ups from now on.
    pub(crate) fn subscribe(&self) -> (watch::Receiver<u64>, broadcast::Receiver<Progress>) {
        (self.changes.subscribe(), self.progress.subscribe())
    }
}

impl Drop for WatchPoint {
    fn drop(&mut self) {
        let mut points = self.shared.points();
        // A new point may have taken the place meanwhile.
        if points.get(&self.run).is_some_and(|point| point.strong_count() == 0) {
            points.remove(&self.run);
        }
        self.shared.count.store(points.len(), Ordering::Release);
    }
}

/// A place among the watchers, given back when dropped.
pub(crate) struct Seat(Arc<Inner>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Watches {
    /// A place among the watchers, of which there are [`limits::WATCHERS_MAX`].
    pub(crate) fn seat(&self) -> Option<Seat> {
        let before = self.inner.watchers.fetch_add(1, Ordering::AcqRel);
        let seat = Seat(Arc::clone(&self.inner));
        (before < limits::WATCHERS_MAX).then_some(seat)
    }

    /// The wake-ups of a run.
    pub(crate) fn follow(&self, run: RunId) -> Arc<WatchPoint> {
        let mut points = self.inner.points();
        if let Some(point) = points.get(&run).and_then(Weak::upgrade) {
            return point;
        }
        let (changes, progress) = (watch::Sender::new(0), broadcast::Sender::new(PROGRESS_WAITING));
        let point = Arc::new(WatchPoint { changes, progress, run, shared: Arc::clone(&self.inner) });
        points.insert(run, Arc::downgrade(&point));
        self.inner.count.store(points.len(), Ordering::Release);
        point
    }

    /// Whether anybody follows anything.
    pub(crate) fn any(&self) -> bool {
        self.inner.count.load(Ordering::Acquire) > 0
    }

    /// Wakes the followers of a run.
    pub(crate) fn changed(&self, run: RunId, seq: Seq) {
        let point = self.inner.points().get(&run).and_then(Weak::upgrade);
        if let Some(point) = point {
            point.changes.send_replace(seq.0);
        }
    }

    /// Shows a live message to the followers of its run.
    pub(crate) fn progress(&self, progress: Progress) {
        let point = self.inner.points().get(&progress.run).and_then(Weak::upgrade);
        if let Some(point) = point {
            // Nobody may be listening just now.
            let _ = point.progress.send(progress);
        }
    }
}
