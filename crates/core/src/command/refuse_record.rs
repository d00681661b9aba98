//! `RefuseRecord`: an operator has a record of the log passed over, because it cannot be applied.

use consort_types::{Code, Error, Result, Seq, bounds::check_text, limits};
use minicbor::{Decode, Decoder, Encode};

use super::Reply;
use crate::{fold::Fold, rows::Refusal};

/// The field number of the command in [`super::Command`].
const NUMBER: u32 = 21;

/// Says that an earlier record was not applied. Recovery looks for these before it folds the log: the record that is
/// named only moves the position and the time.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct RefuseRecord {
    /// The record.
    #[n(0)]
    pub seq: Seq,
    /// Why, in the operator's words.
    #[n(1)]
    pub reason: String,
    /// Who says so.
    #[n(2)]
    pub by: String,
}

impl RefuseRecord {
    /// The command in the body of a record, where it is this one; the other commands are not read.
    ///
    /// # Errors
    /// [`Code::BadFormat`] where it is this one and cannot be read.
    pub fn read(body: &[u8]) -> Result<Option<Self>> {
        let mut head = Decoder::new(body);
        let is_this = head.array().is_ok_and(|fields| fields == Some(2)) && head.u32().is_ok_and(|n| n == NUMBER);
        if !is_this {
            return Ok(None);
        }
        match super::Command::decode(body)? {
            super::Command::RefuseRecord(refusal) => Ok(Some(refusal)),
            _ => Ok(None),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.reason.trim().is_empty() || self.by.trim().is_empty() {
            return Err(Error::new(Code::BadRequest, "the refusal of a record needs a reason and a name")
                .hint("they are what remains of the record: say why, and who decided"));
        }
        check_text("reason", &self.reason, limits::ERROR_MESSAGE_BYTES_MAX)?;
        check_text("name of who refuses", &self.by, limits::NAME_BYTES_MAX)
    }

    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        if self.seq == Seq::ZERO || self.seq >= fold.seq {
            let message = format!("record `{}` cannot refuse record `{}`, which is not before it", fold.seq, self.seq);
            return Err(Error::new(Code::RecordNotFound, message));
        }
        let row = Refusal { reason: self.reason.clone(), by: self.by.clone(), at: fold.now, by_record: fold.seq };
        fold.machine.tables.refusals.put(self.seq, row);
        Ok(Reply::Done)
    }
}
