//! Callers that wait for the end of a run.
//!
//! For: one answer when a run has ended, without a read at each of its steps. Not for: watching (see `subscriptions`).
//! Invariant: a run is looked at when a caller begins to wait, and whenever it has changed since, so no end is missed.

use std::collections::BTreeMap;

use consort_core::{Machine, view::RunView};
use consort_types::{Result, RunId};
use tokio::sync::oneshot;

/// A caller that waits.
pub(crate) struct Waiter {
    pub(crate) namespace: String,
    pub(crate) run: RunId,
    pub(crate) reply: oneshot::Sender<Result<RunView>>,
}

/// Every caller that waits.
#[derive(Default)]
pub(super) struct CompletionWaiters {
    waiting: BTreeMap<RunId, Vec<Waiter>>,
    count: usize,
    /// Above this count, callers that were dropped are looked for.
    crowded: usize,
}

/// Fewer waiters are not worth looking through.
const CROWD: usize = 256;

impl CompletionWaiters {
    /// Answers at once where the run has ended (or is not there), else when it does.
    pub(super) fn add(&mut self, waiter: Waiter, machine: Result<&mut Machine>) {
        let Some(waiter) = answer(waiter, machine) else { return };
        self.waiting.entry(waiter.run).or_default().push(waiter);
        self.count += 1;
        if self.count > self.crowded.max(CROWD) {
            self.forget_gone();
            self.crowded = self.count * 2;
        }
    }

    fn forget_gone(&mut self) {
        self.waiting.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.reply.is_closed());
            !waiters.is_empty()
        });
        self.count = self.waiting.values().map(Vec::len).sum();
    }

    /// Looks at a run that has changed.
    pub(super) fn changed(&mut self, run: RunId, machine: &mut Machine) {
        let Some(waiters) = self.waiting.remove(&run) else { return };
        self.count -= waiters.len();
        let left: Vec<Waiter> = waiters.into_iter().filter_map(|waiter| answer(waiter, Ok(machine))).collect();
        self.count += left.len();
        if !left.is_empty() {
            self.waiting.insert(run, left);
        }
    }

    /// Whether no caller waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// Answers where there is something to say; gives the waiter back where there is not.
fn answer(waiter: Waiter, machine: Result<&mut Machine>) -> Option<Waiter> {
    let view = machine.and_then(|machine| machine.run_view(&waiter.namespace, waiter.run));
    if view.as_ref().is_ok_and(|view| !view.summary.status.is_terminal()) {
        return (!waiter.reply.is_closed()).then_some(waiter);
    }
    // The receiver may have been dropped.
    let _ = waiter.reply.send(view);
    None
}
