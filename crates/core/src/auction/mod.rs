//! Auctions: the agents of a capability bid for a task, and the best bid gets it.
//!
//! For: who bids, what a bid says, which is best, and what is remembered of those that won. Not for: the steps that an
//! auction opens (see `run::auction`), or assigning tasks to instances (the dispatcher does).
//! Invariant: the order of the bids follows from what was recorded alone: bids, declarations, and earlier awards. The
//! protocol is the contract net of Smith (1980): call for proposals, bids, award, report.

pub(crate) mod bidders;
pub(crate) mod keys;
pub(crate) mod rank;
pub(crate) mod record;
pub(crate) mod rows;
pub(crate) mod views;
