//! Histories of concurrent operations, and whether one order explains what everyone was told.
//!
//! For: recording the calls and the answers of clients that share an object, and handing them to an independent, published
//! checker (crate `todc-utils`: the algorithm of Wing and Gong with Lowe's cache, tested by its authors on the histories
//! that Jepsen took of etcd). Not for: making requests (see `consort-crash` and `consort-sim`).
//! Invariant: a call is recorded before its request is sent and its answer after that has come, so an operation takes effect
//! between the two; one whose outcome is not known may have taken effect at any time since its call, or never.

pub mod keys;
pub mod lock;

use std::{collections::BTreeMap, sync::Mutex};

use todc_utils::{Action, History as Checked, Specification, WGLChecker};

/// A call that has no answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[must_use = "a call without an answer has an unknown outcome"]
pub struct Call(usize);

/// What clients have asked of one object, and what they were told.
#[derive(Debug)]
pub struct History<O> {
    recorded: Mutex<Recorded<O>>,
}

#[derive(Debug)]
struct Recorded<O> {
    /// Calls and answers in the order in which they came.
    actions: Vec<(Call, Action<O>)>,
    calls: usize,
    /// Calls without an answer.
    open: BTreeMap<Call, O>,
}

impl<O> Default for History<O> {
    fn default() -> Self {
        Self { recorded: Mutex::new(Recorded { actions: Vec::new(), calls: 0, open: BTreeMap::new() }) }
    }
}

impl<O: Clone> History<O> {
    /// A request is about to be sent; `unknown` is what its operation is while its outcome is not known.
    pub fn call(&self, unknown: O) -> Call {
        let mut recorded = self.lock();
        let call = Call(recorded.calls);
        recorded.calls += 1;
        recorded.actions.push((call, Action::Call(unknown.clone())));
        recorded.open.insert(call, unknown);
        call
    }

    /// The answer has come: `known` is the operation with its outcome.
    pub fn answered(&self, call: Call, known: O) {
        let mut recorded = self.lock();
        if recorded.open.remove(&call).is_some() {
            recorded.actions.push((call, Action::Response(known)));
        }
    }

    /// The operation has changed nothing for certain: a read without an answer, or a request that was refused.
    pub fn withdraw(&self, call: Call) {
        let mut recorded = self.lock();
        recorded.open.remove(&call);
        recorded.actions.retain(|(of, _)| *of != call);
    }

    /// How many operations were answered.
    #[must_use]
    pub fn answers(&self) -> usize {
        let recorded = self.lock();
        recorded.calls - recorded.open.len()
    }

    /// Whether one order of all operations, in which each takes effect between its call and its answer, explains every
    /// answer. The time that it takes grows with how many were open at once.
    #[must_use]
    pub fn is_linearizable<S: Specification<Operation = O>>(&self) -> bool {
        let recorded = self.lock();
        let answered = recorded.actions.iter().map(|(call, action)| (call.0, action.clone()));
        // What is unknown ends behind everything else: there it changes nothing that anyone has seen.
        let unknown = recorded.open.iter().map(|(call, operation)| (call.0, Action::Response(operation.clone())));
        let actions: Vec<_> = answered.chain(unknown).collect();
        actions.is_empty() || WGLChecker::<S>::is_linearizable(Checked::from_actions(actions))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Recorded<O>> {
        self.recorded.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
