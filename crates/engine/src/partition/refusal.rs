//! Records that cannot be applied, and the one way past them.
//!
//! For: naming the record at which the fold ends, and passing over those that an operator has refused. Not for:
//! deciding that a record is refused (an operator does, by its number).
//! Invariant: which records are passed over is read from the log alone, before the first of them is folded, so every
//! recovery passes over the same ones.

use std::{
    any::Any,
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
};

use consort_core::{Command, Machine, command::RefuseRecord};
use consort_log::{Log, Record};
use consort_store::Store;
use consort_types::{Code, Error, Result, Seq, Time, text::panic_message};

use super::positions;

/// The records that refusals from the record `from` on name.
pub(super) fn refused(log: &dyn Log, from: Seq) -> Result<BTreeSet<Seq>> {
    let mut refused = BTreeSet::new();
    for item in log.read(from) {
        let (_, record) = item?;
        refused.extend(RefuseRecord::read(&record.body)?.map(|refusal| refusal.seq));
    }
    Ok(refused)
}

/// Applies a record during recovery. What does not go is an error that names it.
pub(super) fn fold(machine: &mut Machine, seq: Seq, record: &Record) -> Result<()> {
    // After a panic the machine is not used any more: recovery ends.
    let applied = catch_unwind(AssertUnwindSafe(|| {
        let command = Command::decode(&record.body)?;
        machine.apply(seq, record.time, &command)
    }));
    match applied {
        // A refusal was answered when it was recorded; effects are derived again from the state.
        Ok(applied) => applied.map(drop).map_err(|error| stuck(seq, error)),
        Err(panic) => Err(stuck(seq, broken(panic.as_ref()))),
    }
}

/// The fold has ended at a record: why, and the way out.
pub(super) fn stuck(seq: Seq, why: Error) -> Error {
    let message = format!("record `{seq}` of the log cannot be applied: {}", why.message);
    let way_out = format!(
        "as the last way out, with the server stopped, have it passed over on the record: `consort doctor --refuse-record \
         {seq} --reason TEXT --by NAME`"
    );
    match why.code {
        // The record is not to blame, and the disk may do it next time.
        Code::Disk => Error { message, ..why },
        Code::Damaged => {
            let first = why.hint.unwrap_or_else(|| "restore the folder from a backup".to_owned());
            Error::new(Code::Damaged, message).hint(format!("{first}; {way_out}"))
        }
        _ => {
            let first = "start the version of Consort that wrote it, and report the message";
            Error::new(Code::BadRecord, message).hint(format!("{first}; {way_out}"))
        }
    }
}

/// A panic, as an error with its message.
pub(crate) fn broken(panic: &(dyn Any + Send)) -> Error {
    Error::new(Code::Internal, format!("a law is broken: {}", panic_message(panic)))
        .hint("please report this with the message; what was acknowledged is in the log")
}

/// Has a record passed over from the next recovery on: appends the refusal, durably, and returns its number. No other
/// process or partition may have the log or the store open.
///
/// # Errors
/// [`Code::RecordNotFound`] where the log does not have the record, [`Code::RecordSettled`] where what it did is in the
/// store or it was refused before, [`Code::BadRequest`] where it is a refusal itself.
pub fn refuse_record(log: &mut dyn Log, store: &dyn Store, refusal: RefuseRecord) -> Result<Seq> {
    let applied = store.applied()?;
    positions::check(log, applied)?;
    let seq = refusal.seq;
    if seq > log.last() || seq == Seq::ZERO {
        return Err(Error::new(
            Code::RecordNotFound,
            format!("the log has no record `{seq}`, it ends at `{}`", log.last()),
        )
        .hint("the error at the start of the server names the record that cannot be applied"));
    }
    if seq <= applied {
        let message = format!("record `{seq}` was applied: the store has what it did, up to record `{applied}`");
        return Err(Error::new(Code::RecordSettled, message).hint("only a record that was not applied can be refused"));
    }
    // The time of the last record: what is refused is in the log, so there is one, and no clock has to be believed.
    let mut time = Time(0);
    for item in log.read(applied.next()) {
        let (at, record) = item?;
        time = time.max(record.time);
        let Some(known) = RefuseRecord::read(&record.body)? else { continue };
        if at == seq {
            let message = format!("record `{seq}` is itself the refusal of record `{}`", known.seq);
            return Err(Error::new(Code::BadRequest, message).hint("a refusal cannot be withdrawn"));
        }
        if known.seq == seq {
            let message = format!("record `{seq}` was refused before, by record `{at}` of `{}`", known.by);
            return Err(Error::new(Code::RecordSettled, message).hint("start the server"));
        }
    }
    let command = Command::RefuseRecord(refusal);
    command.check()?;
    Ok(log.append(&[Record::new(time, command.encode())])?)
}
