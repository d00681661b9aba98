//! What a simulation is asked to do, and what it found.
//!
//! For: seeds, injected bugs, violations and figures. Not for: carrying anything out.
//! Invariant: a plan decides a simulation whole.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use consort_types::StepInstanceId;

use crate::random::Random;

/// A bug put in on purpose, between the parts of the product, which the simulator must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InjectedBug {
    /// The disk says that it has synced, and has not (law 1).
    AckBeforeSync,
    /// Clients are answered when their command arrives, not when it is durable (law 1).
    ReplyBeforeDurable,
    /// A second report replaces the outcome that the first one recorded (law 2).
    OutcomeOverwritten,
    /// Reports with an old fencing token are let in under the current one (law 3).
    OldTokenAccepted,
    /// The store drops the rows of a batch, and says that it holds them (law 4).
    StoreLosesBatch,
    /// Recovery reads two records in the wrong order (law 4).
    ReplaySwapsRecords,
    /// A task that was handed out is handed out to another instance too (law 3).
    HandedOutTwice,
    /// An instance that reconnects is granted attempts that were assigned to others meanwhile (law 3).
    ReclaimTooLate,
    /// An instance gets more tasks than its capacity (law 10).
    CreditIgnored,
    /// When the wall clock leaps, leases are taken for run out and their tasks given to others (law 5).
    LeaseByClock,
    /// The engine is told a time that no clock has shown (law 6).
    TickFromTheFuture,
    /// The loop does not look at the timers (law 6).
    TimersForgotten,
    /// Log time follows only the wall clock, so it does not advance while that is behind (law 6).
    WallClockTrusted,
    /// A timer that fired stays armed (law 6).
    TimerFiresTwice,
    /// Instances are not told to stop (law 7).
    CancelLost,
    /// A run that ends leaves a step running (law 7).
    RunLeavesWork,
    /// What the code of a task has passed still waits for a signal (law 7).
    WaitLeftOpen,
    /// A cancelled step ends while its effect is under way (law 7).
    EffectForgotten,
    /// A task that was handed out gets lost on its way (law 8).
    TaskLost,
    /// Tasks are miscounted (law 8).
    Miscount,
    /// An exposed value, or an answer to an update, is not that of the last entry (law 9).
    ValueForgotten,
    /// A reply shows a run that a read does not find (law 9).
    StaleRead,
    /// Some commands are never answered (law 10).
    ReplyLost,
    /// A failed sync is taken for a good one (law 11).
    SyncErrorHidden,
    /// The log is cut where it is damaged (law 11).
    DamageCut,
    /// Tasks reach instances of another namespace (law 12).
    WrongNamespace,
    /// A row grows with its run (law 13).
    GrowingRow,
    /// A report counts although it comes from an instance that does not hold the task (law 3).
    StrangerHeard,
    /// A record does more work than it may (law 13).
    EndlessRecord,
    /// A log takes groups of a process from which another one has taken it over (law 1).
    OldEpochAccepted,
    /// The tasks that hang on a version of an agent are miscounted (law 8).
    PinMiscounted,
    /// A task whose code has diverged is not found when code comes that may fit (law 8).
    DivergedForgotten,
    /// A change of shared state is not in the list that watchers follow (law 9).
    ChangeForgotten,
    /// A write of shared state takes back what another one has added (law 9).
    UpdateLost,
    /// A text stays as it was, under the version of a write (law 9).
    EditLost,
    /// A lease whose time is over stays beside the next one (law 3).
    LeaseOutlived,
    /// A renewal shortens the lease (law 6).
    LeaseCutShort,
    /// A free lock is not granted, although one waits (law 8).
    WaiterForgotten,
    /// A vote is counted twice (law 8).
    VoteCountedTwice,
    /// A ballot is decided otherwise than its votes say (law 2).
    DecisionForged,
    /// A vote that comes when its round has closed is kept (law 7).
    LateVoteKept,
    /// A delivery is handed out, and not kept (law 8).
    DeliveryForgotten,
    /// The id of an event that was published is forgotten, so it may be published twice (law 2).
    EventIdForgotten,
    /// A step completes without the event that it has published (law 2).
    StepEventForgotten,
    /// A step ends, and the lock that it held is held on (law 7).
    StepLockLeft,
    /// A client is told what keys were, and not what they are (law 9).
    OldAnswer,
    /// An instant on which a schedule has acted is planned again (law 2).
    InstantPlannedAgain,
    /// A run of a schedule is forgotten while it is active (law 8).
    ScheduledRunForgotten,
    /// A task goes to another bid than the best (law 2).
    BidsReordered,
    /// An event that is handed to an agent is noted as the task of a run that does not deliver it (law 2).
    TaskOfAnotherRun,
}

impl InjectedBug {
    /// Every injected bug.
    pub const ALL: [Self; 50] = [
        Self::AckBeforeSync,
        Self::ReplyBeforeDurable,
        Self::OutcomeOverwritten,
        Self::OldTokenAccepted,
        Self::StoreLosesBatch,
        Self::ReplaySwapsRecords,
        Self::HandedOutTwice,
        Self::ReclaimTooLate,
        Self::CreditIgnored,
        Self::LeaseByClock,
        Self::TickFromTheFuture,
        Self::TimersForgotten,
        Self::WallClockTrusted,
        Self::TimerFiresTwice,
        Self::CancelLost,
        Self::RunLeavesWork,
        Self::WaitLeftOpen,
        Self::EffectForgotten,
        Self::TaskLost,
        Self::Miscount,
        Self::StaleRead,
        Self::ReplyLost,
        Self::SyncErrorHidden,
        Self::DamageCut,
        Self::WrongNamespace,
        Self::GrowingRow,
        Self::StrangerHeard,
        Self::EndlessRecord,
        Self::OldEpochAccepted,
        Self::PinMiscounted,
        Self::DivergedForgotten,
        Self::ChangeForgotten,
        Self::UpdateLost,
        Self::EditLost,
        Self::LeaseOutlived,
        Self::LeaseCutShort,
        Self::WaiterForgotten,
        Self::VoteCountedTwice,
        Self::DecisionForged,
        Self::LateVoteKept,
        Self::DeliveryForgotten,
        Self::EventIdForgotten,
        Self::StepEventForgotten,
        Self::StepLockLeft,
        Self::OldAnswer,
        Self::InstantPlannedAgain,
        Self::ScheduledRunForgotten,
        Self::BidsReordered,
        Self::TaskOfAnotherRun,
        Self::ValueForgotten,
    ];

    /// The law that it breaks.
    pub fn law(self) -> Law {
        let number = match self {
            Self::AckBeforeSync | Self::ReplyBeforeDurable | Self::OldEpochAccepted => 1,
            Self::OutcomeOverwritten
            | Self::DecisionForged
            | Self::EventIdForgotten
            | Self::StepEventForgotten
            | Self::InstantPlannedAgain
            | Self::BidsReordered
            | Self::TaskOfAnotherRun => 2,
            Self::OldTokenAccepted
            | Self::HandedOutTwice
            | Self::ReclaimTooLate
            | Self::StrangerHeard
            | Self::LeaseOutlived => 3,
            Self::StoreLosesBatch | Self::ReplaySwapsRecords => 4,
            Self::LeaseByClock => 5,
            Self::TickFromTheFuture
            | Self::TimersForgotten
            | Self::WallClockTrusted
            | Self::TimerFiresTwice
            | Self::LeaseCutShort => 6,
            Self::CancelLost
            | Self::RunLeavesWork
            | Self::WaitLeftOpen
            | Self::EffectForgotten
            | Self::LateVoteKept
            | Self::StepLockLeft => 7,
            Self::TaskLost
            | Self::Miscount
            | Self::PinMiscounted
            | Self::DivergedForgotten
            | Self::WaiterForgotten
            | Self::VoteCountedTwice
            | Self::DeliveryForgotten
            | Self::ScheduledRunForgotten => 8,
            Self::StaleRead
            | Self::ChangeForgotten
            | Self::UpdateLost
            | Self::EditLost
            | Self::OldAnswer
            | Self::ValueForgotten => 9,
            Self::ReplyLost | Self::CreditIgnored => 10,
            Self::SyncErrorHidden | Self::DamageCut => 11,
            Self::WrongNamespace => 12,
            Self::GrowingRow | Self::EndlessRecord => 13,
        };
        Law::Number(number)
    }

    /// The injected bug of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|injected| format!("{injected:?}") == name)
    }
}

/// What was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// A law of the design, by its number.
    Number(u8),
    /// When faults stop and agents answer, every run ends.
    Liveness,
    /// A run gives the result of an undisturbed one.
    Result,
    /// An assertion of the product failed.
    Assertion,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "law {number}"),
            Self::Liveness => f.write_str("liveness"),
            Self::Result => f.write_str("result"),
            Self::Assertion => f.write_str("assertion"),
        }
    }
}

/// A law was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub law: Law,
    /// How.
    pub what: String,
}

impl Violation {
    /// A violation of a numbered law.
    pub(crate) fn of(law: u8, what: impl Into<String>) -> Self {
        Self { law: Law::Number(law), what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.what)
    }
}

pub(crate) type Checked<T = ()> = std::result::Result<T, Violation>;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    /// A bug to put in.
    pub injected: Option<InjectedBug>,
    /// Whether to print every event.
    pub verbose: bool,
}

impl Plan {
    /// The plain simulation of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, injected: None, verbose: false }
    }
}

/// What a simulation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Simulated microseconds.
    pub micros: u64,
    /// Records in the log.
    pub records: u64,
    /// Runs that ended.
    pub runs: u64,
    /// Steps that ended.
    pub steps: u64,
    /// Runs whose result was compared with that of an undisturbed one.
    pub compared: u64,
    /// Everything that went wrong on purpose, by kind.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Figures {
    /// Adds another simulation's.
    pub fn add(&mut self, other: &Self) {
        self.micros += other.micros;
        self.records += other.records;
        self.runs += other.runs;
        self.steps += other.steps;
        self.compared += other.compared;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }

    pub(crate) fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }
}

/// What came of a simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The hash of everything that happened.
    pub trace: [u8; 32],
    /// What was done.
    pub figures: Figures,
    /// The law that was broken, if any.
    pub violation: Option<Violation>,
}

/// How often each thing goes wrong; each seed draws its own mixture, so that rare pairs meet.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// Mean time between faults of the machine, in microseconds.
    pub(crate) pause: u64,
    pub(crate) crashes: bool,
    pub(crate) sync_errors: bool,
    pub(crate) bit_flips: bool,
    pub(crate) clock_jumps: bool,
    pub(crate) slow_disk: bool,
    pub(crate) store_errors: bool,
    /// Whether the log is far: its disk does not fail, but it answers late, and other processes can reach it.
    pub(crate) far_log: bool,
    /// Of a thousand outputs, those in whose middle the power goes.
    pub(crate) cut_outputs: u64,
    /// Of a thousand messages, those that are very late.
    pub(crate) late: u64,
    /// Of a thousand reports, those that are sent twice.
    pub(crate) twice: u64,
    /// Of a thousand reports, those after which the connection breaks.
    pub(crate) breaks: u64,
    /// Of a thousand attempts, those that misbehave in some way.
    pub(crate) bad_attempts: u64,
    /// Of a thousand client actions, those that disturb a run.
    pub(crate) disturb: u64,
    /// Tasks of which an attempt has reported a failure that may be repeated.
    failed: BTreeSet<StepInstanceId>,
}

impl Faults {
    pub(crate) fn draw(random: &mut Random, injected: Option<InjectedBug>) -> Self {
        let mut some = |per_mille| random.chance(per_mille);
        let (crashes, sync_errors, clock_jumps) = (some(850), some(300), some(500));
        let (slow_disk, store_errors, bit_flips) = (some(300), some(200), some(80));
        let mut faults = Self {
            pause: 0,
            crashes,
            sync_errors,
            bit_flips,
            clock_jumps,
            slow_disk,
            store_errors,
            far_log: false,
            cut_outputs: 0,
            late: 0,
            twice: 0,
            breaks: 0,
            bad_attempts: 0,
            disturb: 0,
            failed: BTreeSet::new(),
        };
        faults.pause = random.between(8, 90) * 1_000_000;
        for (rate, most) in [
            (&mut faults.cut_outputs, 12),
            (&mut faults.late, 60),
            (&mut faults.twice, 120),
            (&mut faults.breaks, 40),
            (&mut faults.bad_attempts, 350),
            (&mut faults.disturb, 300),
        ] {
            *rate = if random.chance(300) { 0 } else { random.below(most) };
        }
        let far_log = random.chance(250);
        faults.favour(injected);
        faults.set_far_log(injected == Some(InjectedBug::OldEpochAccepted) || (far_log && injected.is_none()));
        faults
    }

    /// The disk of a log that is far does not fail.
    fn set_far_log(&mut self, far_log: bool) {
        self.far_log = far_log;
        self.sync_errors &= !far_log;
        self.bit_flips &= !far_log;
    }

    /// Whether an attempt of the task may report a failure: once for each task, which every retry policy survives.
    pub(crate) fn may_fail(&mut self, task: StepInstanceId) -> bool {
        self.failed.insert(task)
    }

    /// An injected bug is looked for where it can show.
    fn favour(&mut self, injected: Option<InjectedBug>) {
        match injected {
            Some(InjectedBug::AckBeforeSync | InjectedBug::ReplyBeforeDurable | InjectedBug::ReplaySwapsRecords) => {
                (self.crashes, self.cut_outputs) = (true, 10);
            }
            Some(InjectedBug::SyncErrorHidden) => (self.sync_errors, self.crashes) = (true, true),
            Some(InjectedBug::DamageCut) => (self.bit_flips, self.crashes, self.pause) = (true, true, 15_000_000),
            Some(InjectedBug::LeaseByClock | InjectedBug::WallClockTrusted) => self.clock_jumps = true,
            Some(InjectedBug::OutcomeOverwritten) => self.twice = 200,
            Some(InjectedBug::OldEpochAccepted) => (self.crashes, self.late, self.pause) = (true, 200, 8_000_000),
            Some(InjectedBug::ReclaimTooLate) => (self.bad_attempts, self.breaks, self.late) = (400, 60, 60),
            Some(InjectedBug::OldTokenAccepted | InjectedBug::CancelLost) => {
                (self.bad_attempts, self.disturb) = (500, 600);
            }
            _ => {}
        }
    }
}
