//! The rows of coordination.
//!
//! For: locks with their claims and changes, barriers with their arrivals, and what timers are for. Not for: rules.
//! Invariant: a lock's counts are those of its claims; a claim has one place, one ticket and one armed timer.

use consort_types::{Position, Span, StepInstanceId, Time, Token};
use minicbor::{Decode, Encode};

use crate::tables::Row;

/// A lock.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Lock {
    /// How many hold it at once.
    #[n(0)]
    pub permits: u32,
    /// How many hold it.
    #[n(1)]
    pub held: u32,
    /// How many wait for it.
    #[n(2)]
    pub waiting: u32,
    /// The token of the last grant.
    #[n(3)]
    pub last_token: Token,
    /// The ticket of the timer that forgets it.
    #[n(4)]
    pub ticket: Position,
    /// When it is forgotten, where it has neither holder nor waiter.
    #[n(5)]
    pub idle_at: Option<Time>,
    /// No waiter comes before this in the queue.
    #[n(6)]
    pub queue_from: Position,
    /// How many changes are kept.
    #[n(7)]
    pub changes: u32,
    /// Changes up to here are not kept; the number in the record is 0 where this is the beginning of the lock.
    #[n(8)]
    pub trimmed: Position,
    /// Where the last change is kept; the lock's beginning, before the first.
    #[n(9)]
    pub changed: Position,
}

impl Row for Lock {}

/// A holder of a lock, or one that waits for it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Claim {
    /// Its number: its timer is found by it, and it is served in its order.
    #[n(0)]
    pub ticket: Position,
    /// The token of its grant; `None` while it waits.
    #[n(1)]
    pub token: Option<Token>,
    /// Since when it holds the lock, or waits.
    #[n(2)]
    pub since: Time,
    /// How long its lease lasts from a grant or renewal on.
    #[n(3)]
    pub ttl: Span,
    /// When the lease ends, or the wait.
    #[n(4)]
    pub due: Time,
    /// What observers see.
    #[n(5)]
    pub value: Option<String>,
    /// The step that has the claim, where it is one: it is kept while the step is active.
    #[n(6)]
    pub step: Option<StepInstanceId>,
}

impl Row for Claim {
    fn weight(&self) -> usize {
        192 + self.value.as_ref().map_or(0, String::len)
    }
}

/// Who has a place in a lock.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Place {
    /// The holder or waiter.
    #[n(0)]
    pub holder: String,
}

impl Row for Place {}

/// What has happened to a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum LockChangeKind {
    /// A permit was granted.
    #[n(0)]
    Granted,
    /// A holder shows another value.
    #[n(1)]
    ValueSet,
    /// A holder has released its permit.
    #[n(2)]
    Released,
    /// A lease has ended.
    #[n(3)]
    Expired,
    /// An operator has ended a lease.
    #[n(4)]
    Broken,
}

/// A change of a lock.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct LockChange {
    /// When.
    #[n(0)]
    pub at: Time,
    /// What.
    #[n(1)]
    pub kind: LockChangeKind,
    /// Whose permit it is about.
    #[n(2)]
    pub holder: String,
    /// The token of the permit.
    #[n(3)]
    pub token: Token,
    /// What the holder shows.
    #[n(4)]
    pub value: Option<String>,
    /// Who has broken it.
    #[n(5)]
    pub by: Option<String>,
    /// Why it was broken.
    #[n(6)]
    pub reason: Option<String>,
}

impl Row for LockChange {
    fn weight(&self) -> usize {
        320
    }
}

/// What a timer is for.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Ticket {
    /// A lease, or a wait.
    #[n(0)]
    Claim {
        /// The namespace.
        #[n(0)]
        namespace: String,
        /// The lock.
        #[n(1)]
        name: String,
        /// The holder or waiter.
        #[n(2)]
        holder: String,
    },
    /// A lock that is not used.
    #[n(1)]
    Lock {
        /// The namespace.
        #[n(0)]
        namespace: String,
        /// The lock.
        #[n(1)]
        name: String,
    },
    /// The generation of a barrier, or one that is not used.
    #[n(2)]
    Barrier {
        /// The namespace.
        #[n(0)]
        namespace: String,
        /// The barrier.
        #[n(1)]
        name: String,
    },
}

impl Row for Ticket {}

/// What a namespace has of locks and barriers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct CoordinationCounts {
    /// Locks.
    #[n(0)]
    pub locks: u64,
    /// Barriers.
    #[n(1)]
    pub barriers: u64,
}

impl Row for CoordinationCounts {}

/// A barrier.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Barrier {
    /// The generation that members come to now, from 1.
    #[n(0)]
    pub generation: u64,
    /// How many members it waits for.
    #[n(1)]
    pub parties: u32,
    /// How many have come; with none, the next one sets `parties` again.
    #[n(2)]
    pub arrived: u32,
    /// The ticket of its timer.
    #[n(3)]
    pub ticket: Position,
    /// When the generation expires; with no member, when the barrier is forgotten.
    #[n(4)]
    pub due: Time,
    /// The last generations that are over, the newest last.
    #[n(5)]
    pub over: Vec<Generation>,
}

impl Row for Barrier {
    fn weight(&self) -> usize {
        256 + 32 * self.over.len()
    }
}

/// How a generation of a barrier has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Generation {
    /// Its number.
    #[n(0)]
    pub number: u64,
    /// Whether it was released; otherwise it did not fill in time.
    #[n(1)]
    pub released: bool,
    /// When.
    #[n(2)]
    pub at: Time,
}

/// A member that has come to the current generation of a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Arrival {
    /// When it came.
    #[n(0)]
    pub at: Time,
}

impl Row for Arrival {}
