//! `Tick`: log time moves on, and timers that are due fire, in order, a bounded number at a time.

use consort_types::{Result, limits};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::fold::Fold;

/// Fires due timers. Its record's time says what is due.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Tick {}

impl Tick {
    pub(crate) fn apply(fold: &mut Fold<'_>) -> Result<Reply> {
        for timer in fold.machine.pass_due_timers(limits::TIMERS_PER_TICK_MAX)? {
            assert!(timer.due <= fold.now, "no timer fires early (law 6)");
            if fold.is_long() {
                // It and those behind it fire in the next tick.
                fold.machine.timer_armed(timer);
                break;
            }
            fold.charge(1);
            fold.machine.tables.timers.delete(&timer);
            fold.fire(timer)?;
            fold.settle()?;
        }
        Ok(Reply::Done)
    }
}
