//! Records that operators had refused.
//!
//! For: showing them to operators. Not for: refusing.
//! Invariant: a refusal is shown for as long as the state is kept.

use consort_types::{Result, Seq, Time, limits};
use serde::Serialize;

use crate::{machine::Machine, refusal::Refusal};

/// A record of the log that was not applied, because an operator refused it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefusedRecord {
    /// The record.
    pub record: Seq,
    /// The record of the refusal.
    pub by_record: Seq,
    /// Why.
    pub reason: String,
    /// The name of the operator.
    pub by: String,
    /// When.
    pub at: Time,
}

impl Machine {
    /// The records that operators had refused, in order; a page at most.
    pub fn refused_records(&self) -> Result<Vec<RefusedRecord>> {
        let rows = self.state.tables.refusals.range(&Seq::ZERO, &Seq(u64::MAX), limits::PAGE_ITEMS_MAX)?;
        let view = |(record, row): (Seq, Refusal)| RefusedRecord {
            record,
            by_record: row.by_record,
            reason: row.reason,
            by: row.by,
            at: row.at,
        };
        Ok(rows.into_iter().map(view).collect())
    }
}
