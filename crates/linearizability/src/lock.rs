//! A lock of one permit with fencing tokens.
//!
//! For: acquiring without waiting, and releasing by token. Not for: leases that end by time, and queues.
//! Invariant: tokens only grow, and a holder that acquires again joins its own grant.

use todc_utils::Specification;

/// An operation, with what its answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOperation {
    /// A holder wanted the lock.
    Acquire {
        /// The holder.
        holder: usize,
        /// What it was told.
        told: Acquired,
    },
    /// A holder gave a grant back.
    Release {
        /// The holder.
        holder: usize,
        /// The token of the grant.
        token: u64,
        /// Whether that was the current grant; `None` where that is not known.
        done: Option<bool>,
    },
}

/// What a holder was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// It holds the lock, by this token.
    Granted(u64),
    /// Another one holds it.
    Refused,
    /// The answer never came.
    Unknown,
}

/// Who holds the lock, by which token (unknown until a holder is told), and the largest token that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LockState {
    holder: Option<(usize, Option<u64>)>,
    last: u64,
}

/// The rules of the lock.
#[derive(Debug)]
pub struct Lock;

impl Specification for Lock {
    type State = LockState;
    type Operation = LockOperation;

    fn init() -> LockState {
        LockState::default()
    }

    fn apply(operation: &LockOperation, state: &LockState) -> (bool, LockState) {
        match *operation {
            LockOperation::Acquire { holder, told } => acquire(state, holder, told),
            LockOperation::Release { holder, token, done } => {
                let holds = state.holder == Some((holder, Some(token)));
                let next = LockState { holder: state.holder.filter(|_| !holds), last: state.last };
                (done.is_none_or(|done| done == holds), next)
            }
        }
    }
}

fn acquire(state: &LockState, holder: usize, told: Acquired) -> (bool, LockState) {
    let is_other = state.holder.is_some_and(|(of, _)| of != holder);
    match told {
        Acquired::Refused => (is_other, state.clone()),
        Acquired::Granted(_) if is_other => (false, state.clone()),
        Acquired::Granted(token) => {
            let joins = state.holder.and_then(|(_, token)| token);
            let valid = joins.map_or(token > state.last, |joins| joins == token);
            (valid, LockState { holder: Some((holder, Some(token))), last: token })
        }
        Acquired::Unknown if is_other => (true, state.clone()),
        Acquired::Unknown => {
            let token = state.holder.and_then(|(_, token)| token);
            (true, LockState { holder: Some((holder, token)), last: state.last })
        }
    }
}
