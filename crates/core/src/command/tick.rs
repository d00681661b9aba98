//! `Tick`: log time moves on, and timers that are due fire, in order, a bounded number at a time.

use consort_types::{Result, Time, limits};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::{fold::Fold, keys::TimerKey};

/// Fires due timers. Its record's time says what is due.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
pub struct Tick {}

impl Tick {
    pub(crate) fn apply(fold: &mut Fold<'_>) -> Result<Reply> {
        let until = TimerKey::at(Time(fold.now.0.saturating_add(1)));
        let due = fold.machine.tables.timers.range(&TimerKey::at(Time(0)), &until, limits::TIMERS_PER_TICK_MAX)?;
        for (timer, _) in due {
            assert!(timer.due <= fold.now, "no timer fires early (law 6)");
            if fold.is_long() {
                break;
            }
            fold.charge(1);
            fold.machine.timer_gone(timer.due);
            fold.machine.tables.timers.delete(&timer);
            fold.fire(timer)?;
            fold.settle()?;
        }
        Ok(Reply::Done)
    }
}
