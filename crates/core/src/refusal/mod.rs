//! `RefuseRecord`: an operator has a record of the log passed over, because it cannot be applied.
//!
//! For: the command and its row. Not for: finding out that a record cannot be applied (the
//! engine does).
//! Invariant: a refusal is shown for as long as the state is kept.

pub(crate) mod view;

use consort_types::{Code, Error, Result, Seq, Time, bounds::check_text, limits};
use minicbor::{Decode, Encode};

use crate::{context::ApplyContext, tables::Row};

/// A record that was not applied because an operator refused it; its number is the key.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Refusal {
    /// Why.
    #[n(0)]
    pub reason: String,
    /// The name of the operator.
    #[n(1)]
    pub by: String,
    /// When.
    #[n(2)]
    pub at: Time,
    /// The record of the refusal.
    #[n(3)]
    pub by_record: Seq,
}

impl Row for Refusal {}

/// Records that an earlier record was not applied. Recovery searches for these before it folds the log: the record that
/// is named only moves the position and the time.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RefuseRecord {
    /// The record.
    #[n(0)]
    pub seq: Seq,
    /// Why, in the operator's words.
    #[n(1)]
    pub reason: String,
    /// The name of the operator.
    #[n(2)]
    pub by: String,
}

impl RefuseRecord {
    pub(crate) fn check(&self) -> Result<()> {
        if self.reason.trim().is_empty() || self.by.trim().is_empty() {
            return Err(Error::new(Code::BadRequest, "the refusal of a record needs a reason and a name")
                .hint("they are what remains of the record: say why, and who decided"));
        }
        check_text("reason", &self.reason, limits::ERROR_MESSAGE_BYTES_MAX)?;
        check_text("name of who refuses", &self.by, limits::NAME_BYTES_MAX)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        if self.seq == Seq::ZERO || self.seq >= ctx.seq {
            let message = format!("record `{}` cannot refuse record `{}`, which is not before it", ctx.seq, self.seq);
            return Err(Error::new(Code::RecordNotFound, message));
        }
        let row = Refusal { reason: self.reason.clone(), by: self.by.clone(), at: ctx.now, by_record: ctx.seq };
        ctx.state.tables.refusals.put(self.seq, row);
        Ok(())
    }
}
