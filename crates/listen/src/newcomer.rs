//! Connections whose peers have not asked anything yet.
//!
//! For: making room, where every seat is taken, for a peer that asks: the oldest that has asked nothing goes. Not for: how
//! long a peer may take (its connection bounds that).
//! Invariant: a connection that was asked something is never sent away.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

#[derive(Default)]
struct Waiting {
    next: u64,
    by_age: BTreeMap<u64, Arc<Notify>>,
}

/// All of them, by age.
#[derive(Clone, Default)]
pub(crate) struct Newcomers(Arc<Mutex<Waiting>>);

impl Newcomers {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more.
    pub(crate) fn add(&self) -> Newcomer {
        let mut waiting = self.waiting();
        let (id, away) = (waiting.next, Arc::new(Notify::new()));
        waiting.next += 1;
        waiting.by_age.insert(id, Arc::clone(&away));
        Newcomer { all: self.clone(), id, away }
    }

    /// Sends the oldest away; `false` where there is none.
    pub(crate) fn send_oldest_away(&self) -> bool {
        let oldest = self.waiting().by_age.pop_first();
        oldest.map(|(_, away)| away.notify_one()).is_some()
    }
}

/// A connection whose peer has not asked anything yet, or has: see [`Newcomer::has_asked`].
pub struct Newcomer {
    all: Newcomers,
    id: u64,
    away: Arc<Notify>,
}

impl Newcomer {
    /// Notes that the peer has asked something.
    pub fn has_asked(&self) {
        self.all.waiting().by_age.remove(&self.id);
    }

    /// Ends when the connection is sent away.
    pub async fn sent_away(&self) {
        self.away.notified().await;
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        self.has_asked();
    }
}
