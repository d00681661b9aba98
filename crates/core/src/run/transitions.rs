//! The legal moves of step instances and of runs.
//!
//! For: the one table of legal transitions between states. Not for: when a move is made (the rules decide), or making
//! it (`ApplyContext::set_state` and `Run::set_status` do, and refuse what is not here).
//! Invariant: nothing leaves a terminal state, but that an ended run is deleted (law 7).

use super::rows::{
    run::RunStatus::{self, Cancelling, Compensating, Deleted, Running},
    step::StepState::{
        self, Approval, Backoff, Cancelled, Completed, Diverged, Failed, GaveUp, Open, Parked, Pending, Ready, Skipped,
        Taken, Unknown, Waiting,
    },
};

impl StepState {
    /// Every state, from the first to the terminal ones.
    pub const ALL: [Self; 15] = [
        Pending, Ready, Taken, Parked, Backoff, Unknown, Diverged, GaveUp, Waiting, Approval, Open, Completed, Failed,
        Skipped, Cancelled,
    ];

    /// The states that may follow this one.
    ///
    /// A task becomes `Open` where its end is decided and what is below it is still being stopped. `Ready` follows
    /// `Ready` where an attempt is lost before its assignment was recorded. A step that has
    /// the lock that it has waited for begins from `Waiting`.
    pub const fn successors(self) -> &'static [Self] {
        match self {
            Pending => &[Ready, GaveUp, Waiting, Approval, Open, Failed, Skipped, Cancelled],
            Ready => &[Ready, Taken, Parked, Backoff, Diverged, GaveUp, Open, Completed, Failed, Cancelled],
            Taken => &[Ready, Parked, Backoff, Unknown, Diverged, GaveUp, Open, Completed, Failed, Cancelled],
            Parked | Backoff => &[Ready, GaveUp, Open, Failed, Cancelled],
            Unknown => &[Ready, Parked, Backoff, Diverged, GaveUp, Open, Completed, Failed, Cancelled],
            Diverged => &[Ready, GaveUp, Open, Completed, Failed, Cancelled],
            GaveUp => &[Ready, Open, Completed, Failed, Cancelled],
            Open => &[GaveUp, Completed, Failed, Cancelled],
            Waiting => &[Ready, Waiting, Approval, Open, Completed, Failed, Cancelled],
            Approval => &[Completed, Failed, Cancelled],
            Completed | Failed | Skipped | Cancelled => &[],
        }
    }

    /// Whether an instance in this state may move to the other.
    pub fn may_become(self, to: Self) -> bool {
        self.successors().contains(&to)
    }
}

impl RunStatus {
    /// Every status, from the first to the last.
    pub const ALL: [Self; 7] =
        [Running, Cancelling, Compensating, Self::Completed, Self::Failed, Self::Cancelled, Deleted];

    /// The statuses that may follow this one. `Cancelling` follows itself where force is added.
    pub const fn successors(self) -> &'static [Self] {
        match self {
            Running => &[Cancelling, Compensating, Self::Completed, Self::Failed],
            Cancelling => &[Cancelling, Compensating, Self::Cancelled],
            Compensating => &[Self::Failed, Self::Cancelled],
            Self::Completed | Self::Failed | Self::Cancelled => &[Deleted],
            Deleted => &[],
        }
    }

    /// Whether a run in this status may move to the other.
    pub fn may_become(self, to: Self) -> bool {
        self.successors().contains(&to)
    }
}
