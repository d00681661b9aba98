//! A few keys that are read and written one by one and together.
//!
//! For: the shared state store under the policy `reject`. Not for: merging policies, which have rules of their own.
//! Invariant: each value is written once in a history, so a value tells which write it comes from.

use todc_utils::Specification;

/// How many keys there are.
pub const KEYS: usize = 3;

/// What a key has.
pub type Held = Option<u64>;

/// An operation, with what its answer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOperation {
    /// A key was read.
    Get {
        /// The key.
        key: usize,
        /// What it had.
        value: Held,
    },
    /// All keys were read together.
    Snapshot([Held; KEYS]),
    /// A key was written or removed, whatever it had.
    Set {
        /// The key.
        key: usize,
        /// What it has then.
        value: Held,
    },
    /// A key was written where it had what the writer saw.
    Swap {
        /// The key.
        key: usize,
        /// What the writer saw.
        saw: Held,
        /// What it has then.
        value: Held,
        /// Whether it was written; `None` where that is not known.
        done: Option<bool>,
    },
    /// A key was removed and another one written, together, where the first had what the writer saw.
    Move {
        /// The key that is removed.
        from: usize,
        /// The key that is written.
        to: usize,
        /// What the writer saw.
        saw: u64,
        /// What is written.
        value: u64,
        /// Whether it was done; `None` where that is not known.
        done: Option<bool>,
    },
}

/// The rules of the keys.
#[derive(Debug)]
pub struct Keys;

impl Specification for Keys {
    type State = [Held; KEYS];
    type Operation = KeyOperation;

    fn init() -> Self::State {
        [None; KEYS]
    }

    fn apply(operation: &KeyOperation, state: &Self::State) -> (bool, Self::State) {
        let mut next = *state;
        let valid = match *operation {
            KeyOperation::Get { key, value } => state[key] == value,
            KeyOperation::Snapshot(values) => *state == values,
            KeyOperation::Set { key, value } => {
                next[key] = value;
                true
            }
            KeyOperation::Swap { key, saw, value, done } => {
                let holds = state[key] == saw;
                if holds {
                    next[key] = value;
                }
                done.is_none_or(|done| done == holds)
            }
            KeyOperation::Move { from, to, saw, value, done } => {
                let holds = state[from] == Some(saw);
                if holds {
                    (next[from], next[to]) = (None, Some(value));
                }
                done.is_none_or(|done| done == holds)
            }
        };
        (valid, next)
    }
}
