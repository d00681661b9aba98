//! Where the log and the store stand to each other.
//!
//! For: refusing a log and a store that are not of one age. Not for: mending them.
//! Invariant: a store behind the beginning of the log, or past its end, is never opened.

use consort_log::Log;
use consort_types::{Code, Error, Result, Seq};

/// Refuses a store that the log cannot complete, or that has more than the log.
pub(super) fn check(log: &dyn Log, applied: Seq) -> Result<()> {
    let (first, last) = (log.first(), log.last());
    if first > applied.next() {
        let message = format!("the store ends at record `{applied}`, but the log begins at `{first}`");
        return Err(
            Error::new(Code::Damaged, message).hint("the store is older than the log: restore both from one backup")
        );
    }
    if applied > last {
        let message = format!("the store ends at record `{applied}`, but the log ends at `{last}`");
        return Err(
            Error::new(Code::Damaged, message).hint("the log is older than the store: restore both from one backup")
        );
    }
    Ok(())
}
