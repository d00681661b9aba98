//! The commands: everything that can be requested of a partition.
//!
//! For: the one listing of commands, their form in the log, and their replies. Not for: their rules (each command has a
//! file of its own in the folder of its concern).
//! Invariant: a command is checked whole before it changes anything; a refusal changes nothing.

pub use crate::{
    ballot::{
        cast::CastVote,
        close::{CancelBallot, CloseBallot},
        delete::DeleteBallot,
        open::OpenBallot,
    },
    bus::{
        dead::SettleDeadLetters,
        declared::DeclaredSubscription,
        fetch::FetchEvents,
        publish::PublishEvents,
        push::{PauseSubscription, ReportPush},
        retention::SetEventRetention,
        rows::NewEvent,
        settle::{AckDeliveries, NackDeliveries},
        subscription::{DeleteSubscription, SeekSubscription, SetSubscription},
        trigger::{DeleteTrigger, PauseTrigger, SetTrigger},
    },
    coordination::{
        acquire::{AcquireLock, LockClaim},
        arrive::{ArriveBarrier, BarrierState},
        break_lock::BreakLock,
        release::ReleaseLock,
        renew::RenewLock,
    },
    quota::{set_limit::SetLimit, set_retention::SetRetention},
    refusal::RefuseRecord,
    registry::{
        delete_workflow::DeleteWorkflow,
        deploy::{Deploy, ReplacedRevision},
        register_agent::RegisterAgent,
        remove_agent::RemoveAgent,
        retire_workflow::RetireWorkflow,
        roll_back::RollBack,
        set_agent::{AgentChange, SetAgent},
    },
    run::{
        approval::Approve, cancel::CancelRun, delete::DeleteRun, fork::ForkRun, keep_journal::KeptJournal,
        pause::PauseRun, signal::SignalRun, start::StartRun, tick::Tick, update::UpdateRun,
    },
    schedule::{
        by_hand::{BackfillSchedule, TriggerSchedule},
        plan::PlanSchedule,
        set::{DeleteSchedule, PauseSchedule, SetSchedule},
    },
    space::{
        decide::{Choice, DecideConflict},
        delete_space::DeleteSpace,
        set_space::SetSpace,
        transact::{OperationResult, Transact, Transacted},
    },
    task::{
        complete::TaskComplete,
        diverged::RetryDiverged,
        fail::TaskFail,
        lost::AttemptLost,
        park::TaskPark,
        record::TaskRecord,
        taken::TaskTaken,
        unknown_outcome::{Resolution, ResolveUnknown},
    },
};

use consort_types::{BlobHash, Code, Error, Result, RunId, Seq, event::Position};
use minicbor::{Decode, Decoder, Encode};

use crate::{
    bus::{fetch::Fetched, publish::Published, settle::Settled},
    context::ApplyContext,
    registry::deploy::DeployedRevision,
    run::start::StartedRun,
    schedule::by_hand::Triggered,
};

/// What is asked of a partition. Its encoding (CBOR, field numbers) is the body of a record in the log.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Command {
    /// Make a workflow known.
    #[n(0)]
    Deploy(#[n(0)] Deploy),
    /// Start a run.
    #[n(1)]
    StartRun(#[n(0)] StartRun),
    /// An instance took a task.
    #[n(2)]
    TaskTaken(#[n(0)] TaskTaken),
    /// An attempt ended well.
    #[n(3)]
    TaskComplete(#[n(0)] TaskComplete),
    /// An attempt failed.
    #[n(4)]
    TaskFail(#[n(0)] TaskFail),
    /// A task recorded an entry in its journal.
    #[n(5)]
    TaskRecord(#[n(0)] TaskRecord),
    /// A task leaves its instance while it waits.
    #[n(6)]
    TaskPark(#[n(0)] TaskPark),
    /// An instance that held an attempt is disconnected.
    #[n(7)]
    AttemptLost(#[n(0)] AttemptLost),
    /// Log time moves on; due timers fire.
    #[n(8)]
    Tick(#[n(0)] Tick),
    /// Cancel a run.
    #[n(9)]
    CancelRun(#[n(0)] CancelRun),
    /// Pause or resume a run.
    #[n(10)]
    PauseRun(#[n(0)] PauseRun),
    /// Send a signal to a run.
    #[n(11)]
    SignalRun(#[n(0)] SignalRun),
    /// Decide an approval.
    #[n(12)]
    Approve(#[n(0)] Approve),
    /// Decide an unknown outcome.
    #[n(13)]
    ResolveUnknown(#[n(0)] ResolveUnknown),
    /// Start a new run that reuses outcomes of an earlier one.
    #[n(14)]
    ForkRun(#[n(0)] ForkRun),
    /// Delete an ended run.
    #[n(15)]
    DeleteRun(#[n(0)] DeleteRun),
    /// Set how long a namespace keeps ended runs.
    #[n(16)]
    SetRetention(#[n(0)] SetRetention),
    /// An agent joins, or changes its declaration.
    #[n(17)]
    RegisterAgent(#[n(0)] RegisterAgent),
    /// Drain versions of an agent, resume them, or weigh them.
    #[n(18)]
    SetAgent(#[n(0)] SetAgent),
    /// Forget versions of an agent.
    #[n(19)]
    RemoveAgent(#[n(0)] RemoveAgent),
    /// Limit the tasks of a namespace.
    #[n(20)]
    SetLimit(#[n(0)] SetLimit),
    /// Pass over a record that cannot be applied.
    #[n(21)]
    RefuseRecord(#[n(0)] RefuseRecord),
    /// An instance has come whose code may fit journals that other code has diverged from.
    #[n(22)]
    RetryDiverged(#[n(0)] RetryDiverged),
    /// Have a workflow's name take an earlier revision again.
    #[n(23)]
    RollBack(#[n(0)] RollBack),
    /// Have a workflow take no new starts.
    #[n(24)]
    RetireWorkflow(#[n(0)] RetireWorkflow),
    /// Forget a retired workflow.
    #[n(25)]
    DeleteWorkflow(#[n(0)] DeleteWorkflow),
    /// Read and write keys of the state store.
    #[n(26)]
    Transact(#[n(0)] Transact),
    /// Set what a space merges, keeps and may hold.
    #[n(27)]
    SetSpace(#[n(0)] SetSpace),
    /// Forget a space.
    #[n(28)]
    DeleteSpace(#[n(0)] DeleteSpace),
    /// Decide a conflict.
    #[n(29)]
    DecideConflict(#[n(0)] DecideConflict),
    /// Acquire a permit of a lock, or join its queue.
    #[n(34)]
    AcquireLock(#[n(0)] AcquireLock),
    /// Continue to hold a lock.
    #[n(35)]
    RenewLock(#[n(0)] RenewLock),
    /// Give a permit back, or leave a lock's queue.
    #[n(36)]
    ReleaseLock(#[n(0)] ReleaseLock),
    /// End leases whose holders do not.
    #[n(37)]
    BreakLock(#[n(0)] BreakLock),
    /// Come to a barrier.
    #[n(38)]
    ArriveBarrier(#[n(0)] ArriveBarrier),
    /// Ask voters a question.
    #[n(54)]
    OpenBallot(#[n(0)] OpenBallot),
    /// A voter answers.
    #[n(55)]
    CastVote(#[n(0)] CastVote),
    /// Close a ballot now.
    #[n(56)]
    CloseBallot(#[n(0)] CloseBallot),
    /// End a ballot without a decision.
    #[n(57)]
    CancelBallot(#[n(0)] CancelBallot),
    /// Delete an ended ballot.
    #[n(58)]
    DeleteBallot(#[n(0)] DeleteBallot),
    /// Publish events.
    #[n(42)]
    PublishEvents(#[n(0)] PublishEvents),
    /// Set how long and how many events a namespace keeps.
    #[n(43)]
    SetEventRetention(#[n(0)] SetEventRetention),
    /// Make a subscription, or change its settings.
    #[n(44)]
    SetSubscription(#[n(0)] SetSubscription),
    /// Forget a subscription.
    #[n(45)]
    DeleteSubscription(#[n(0)] DeleteSubscription),
    /// Move a subscription.
    #[n(46)]
    SeekSubscription(#[n(0)] SeekSubscription),
    /// Take deliveries of a subscription.
    #[n(47)]
    FetchEvents(#[n(0)] FetchEvents),
    /// Acknowledge deliveries.
    #[n(48)]
    AckDeliveries(#[n(0)] AckDeliveries),
    /// Give deliveries back.
    #[n(49)]
    NackDeliveries(#[n(0)] NackDeliveries),
    /// Redrive or drop dead letters.
    #[n(50)]
    SettleDeadLetters(#[n(0)] SettleDeadLetters),
    /// Make a trigger, or change what it does.
    #[n(51)]
    SetTrigger(#[n(0)] SetTrigger),
    /// Pause or resume a trigger.
    #[n(52)]
    PauseTrigger(#[n(0)] PauseTrigger),
    /// Forget a trigger.
    #[n(53)]
    DeleteTrigger(#[n(0)] DeleteTrigger),
    /// Pause or resume a subscription.
    #[n(80)]
    PauseSubscription(#[n(0)] PauseSubscription),
    /// Record that a webhook cannot be used, or can be used again.
    #[n(81)]
    ReportPush(#[n(0)] ReportPush),
    /// Send an update to a run.
    #[n(87)]
    UpdateRun(#[n(0)] UpdateRun),
    /// Make a schedule, or change one.
    #[n(66)]
    SetSchedule(#[n(0)] SetSchedule),
    /// Pause or resume a schedule.
    #[n(67)]
    PauseSchedule(#[n(0)] PauseSchedule),
    /// Forget a schedule.
    #[n(68)]
    DeleteSchedule(#[n(0)] DeleteSchedule),
    /// Plan the next instants of a schedule.
    #[n(69)]
    PlanSchedule(#[n(0)] PlanSchedule),
    /// Have a schedule act now.
    #[n(70)]
    TriggerSchedule(#[n(0)] TriggerSchedule),
    /// Have a schedule act on instants that have passed.
    #[n(71)]
    BackfillSchedule(#[n(0)] BackfillSchedule),
}

/// What a command that was not refused answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It was done (or had been done before).
    Done,
    /// A run was started; `existing` where its idempotency key had started it before.
    Run {
        /// The run.
        run: RunId,
        /// Whether it was there already.
        existing: bool,
    },
    /// A workflow is deployed.
    Deployed {
        /// Its name.
        name: String,
        /// Its revision.
        revision: u32,
        /// Its content hash.
        hash: BlobHash,
        /// Whether this revision is new.
        new: bool,
        /// The revision that the name took before, where that was another one.
        replaced: Option<ReplacedRevision>,
    },
    /// Keys were read or written, or a write was rejected.
    Transacted(Transacted),
    /// A key has this version now.
    Version(Seq),
    /// What a holder has of a lock.
    Lock(LockClaim),
    /// The state of a barrier, for a member.
    Barrier(BarrierState),
    /// Where events are that were published, in the order of the request.
    Published(Vec<Published>),
    /// Deliveries that were handed out.
    Fetched(Fetched),
    /// The outcome of deliveries that were settled.
    Settled(Settled),
    /// How many dead letters were redriven or dropped.
    DeadLetters(u32),
    /// The place of a subscription that was moved.
    Moved(Position),
    /// What has come of having a schedule act now.
    Triggered(Triggered),
}

impl From<StartedRun> for Reply {
    fn from(StartedRun { run, existing }: StartedRun) -> Self {
        Self::Run { run, existing }
    }
}

impl From<DeployedRevision> for Reply {
    fn from(DeployedRevision { name, revision, hash, new, replaced }: DeployedRevision) -> Self {
        Self::Deployed { name, revision, hash, new, replaced }
    }
}

impl Command {
    /// The bytes for the log.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(96);
        // Writing to a vector cannot fail, and the derived encoders have no error of their own.
        let written = minicbor::encode(self, &mut bytes);
        assert!(written.is_ok(), "a command encodes");
        bytes
    }

    /// Reads the bytes of a record.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        minicbor::decode(bytes).map_err(|_| {
            Error::new(Code::BadFormat, "a record of the log cannot be understood")
                .hint("it may have been written by a newer version; start that version")
        })
    }

    /// Refuses what no state would make acceptable: names that are none, texts and lists over their limits. The
    /// engine checks before it appends, so that nothing of the kind is logged; a record of the kind is refused all the same.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Deploy(command) => command.check(),
            Self::StartRun(command) => command.check(),
            Self::TaskTaken(command) => command.check(),
            Self::TaskComplete(command) => command.check(),
            Self::TaskFail(command) => command.check(),
            Self::TaskRecord(command) => command.check(),
            Self::TaskPark(command) => command.check(),
            Self::AttemptLost(command) => command.check(),
            Self::Tick(Tick {}) => Ok(()),
            Self::CancelRun(command) => command.check(),
            Self::PauseRun(command) => command.check(),
            Self::SignalRun(command) => command.check(),
            Self::UpdateRun(command) => command.check(),
            Self::Approve(command) => command.check(),
            Self::ResolveUnknown(command) => command.check(),
            Self::ForkRun(command) => command.check(),
            Self::DeleteRun(command) => command.check(),
            Self::SetRetention(command) => command.check(),
            Self::RegisterAgent(command) => command.check(),
            Self::SetAgent(command) => command.check(),
            Self::RemoveAgent(command) => command.check(),
            Self::SetLimit(command) => command.check(),
            Self::RefuseRecord(command) => command.check(),
            Self::RetryDiverged(command) => command.check(),
            Self::RollBack(command) => command.check(),
            Self::RetireWorkflow(command) => command.check(),
            Self::DeleteWorkflow(command) => command.check(),
            Self::Transact(command) => command.check(),
            Self::SetSpace(command) => command.check(),
            Self::DeleteSpace(command) => command.check(),
            Self::DecideConflict(command) => command.check(),
            Self::AcquireLock(command) => command.check(),
            Self::RenewLock(command) => command.check(),
            Self::ReleaseLock(command) => command.check(),
            Self::BreakLock(command) => command.check(),
            Self::ArriveBarrier(command) => command.check(),
            Self::OpenBallot(command) => command.check(),
            Self::CastVote(command) => command.check(),
            Self::CloseBallot(command) => command.check(),
            Self::CancelBallot(command) => command.check(),
            Self::DeleteBallot(command) => command.check(),
            Self::PublishEvents(command) => command.check(),
            Self::SetEventRetention(command) => command.check(),
            Self::SetSubscription(command) => command.check(),
            Self::DeleteSubscription(command) => command.check(),
            Self::SeekSubscription(command) => command.check(),
            Self::FetchEvents(command) => command.check(),
            Self::AckDeliveries(command) => command.check(),
            Self::NackDeliveries(command) => command.check(),
            Self::SettleDeadLetters(command) => command.check(),
            Self::PauseSubscription(command) => command.check(),
            Self::ReportPush(command) => command.check(),
            Self::SetTrigger(command) => command.check(),
            Self::PauseTrigger(command) => command.check(),
            Self::DeleteTrigger(command) => command.check(),
            Self::SetSchedule(command) => command.check(),
            Self::PauseSchedule(command) => command.check(),
            Self::DeleteSchedule(command) => command.check(),
            Self::PlanSchedule(command) => command.check(),
            Self::TriggerSchedule(command) => command.check(),
            Self::BackfillSchedule(command) => command.check(),
        }
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<Reply> {
        self.check()?;
        let done = match self {
            Self::Deploy(command) => return command.apply(ctx).map(Reply::from),
            Self::RollBack(command) => return command.apply(ctx).map(Reply::from),
            Self::StartRun(command) => return command.apply(ctx).map(Reply::from),
            Self::ForkRun(command) => return command.apply(ctx).map(Reply::from),
            Self::Transact(command) => return command.apply(ctx).map(Reply::Transacted),
            Self::DecideConflict(command) => return command.apply(ctx).map(Reply::Version),
            Self::AcquireLock(command) => return command.apply(ctx).map(Reply::Lock),
            Self::RenewLock(command) => return command.apply(ctx).map(Reply::Lock),
            Self::ArriveBarrier(command) => return command.apply(ctx).map(Reply::Barrier),
            Self::PublishEvents(command) => return command.apply(ctx).map(Reply::Published),
            Self::SeekSubscription(command) => return command.apply(ctx).map(Reply::Moved),
            Self::FetchEvents(command) => return command.apply(ctx).map(Reply::Fetched),
            Self::AckDeliveries(command) => return command.apply(ctx).map(Reply::Settled),
            Self::NackDeliveries(command) => return command.apply(ctx).map(Reply::Settled),
            Self::SettleDeadLetters(command) => return command.apply(ctx).map(Reply::DeadLetters),
            Self::TriggerSchedule(command) => return command.apply(ctx).map(Reply::Triggered),
            Self::TaskTaken(command) => command.apply(ctx),
            Self::TaskComplete(command) => command.apply(ctx),
            Self::TaskFail(command) => command.apply(ctx),
            Self::TaskRecord(command) => command.apply(ctx),
            Self::TaskPark(command) => command.apply(ctx),
            Self::AttemptLost(command) => command.apply(ctx),
            Self::Tick(Tick {}) => Tick::apply(ctx),
            Self::CancelRun(command) => command.apply(ctx),
            Self::PauseRun(command) => command.apply(ctx),
            Self::SignalRun(command) => command.apply(ctx),
            Self::UpdateRun(command) => command.apply(ctx),
            Self::Approve(command) => command.apply(ctx),
            Self::ResolveUnknown(command) => command.apply(ctx),
            Self::DeleteRun(command) => command.apply(ctx),
            Self::SetRetention(command) => command.apply(ctx),
            Self::RegisterAgent(command) => command.apply(ctx),
            Self::SetAgent(command) => command.apply(ctx),
            Self::RemoveAgent(command) => command.apply(ctx),
            Self::SetLimit(command) => command.apply(ctx),
            Self::RefuseRecord(command) => command.apply(ctx),
            Self::RetryDiverged(command) => command.apply(ctx),
            Self::RetireWorkflow(command) => command.apply(ctx),
            Self::DeleteWorkflow(command) => command.apply(ctx),
            Self::SetSpace(command) => command.apply(ctx),
            Self::DeleteSpace(command) => command.apply(ctx),
            Self::ReleaseLock(command) => command.apply(ctx),
            Self::BreakLock(command) => command.apply(ctx),
            Self::OpenBallot(command) => command.apply(ctx),
            Self::CastVote(command) => command.apply(ctx),
            Self::CloseBallot(command) => command.apply(ctx),
            Self::CancelBallot(command) => command.apply(ctx),
            Self::DeleteBallot(command) => command.apply(ctx),
            Self::SetEventRetention(command) => command.apply(ctx),
            Self::SetSubscription(command) => command.apply(ctx),
            Self::DeleteSubscription(command) => command.apply(ctx),
            Self::PauseSubscription(command) => command.apply(ctx),
            Self::ReportPush(command) => command.apply(ctx),
            Self::SetTrigger(command) => command.apply(ctx),
            Self::PauseTrigger(command) => command.apply(ctx),
            Self::DeleteTrigger(command) => command.apply(ctx),
            Self::SetSchedule(command) => command.apply(ctx),
            Self::PauseSchedule(command) => command.apply(ctx),
            Self::DeleteSchedule(command) => command.apply(ctx),
            Self::PlanSchedule(command) => command.apply(ctx),
            Self::BackfillSchedule(command) => command.apply(ctx),
        };
        done.map(|()| Reply::Done)
    }
}

/// The field number of [`RefuseRecord`] in [`Command`].
const REFUSE_RECORD: u32 = 21;

impl RefuseRecord {
    /// The command in the body of a record, where it is this one; the other commands are not read.
    ///
    /// # Errors
    /// [`Code::BadFormat`] where it is this one and cannot be read.
    pub fn read(body: &[u8]) -> Result<Option<Self>> {
        let mut head = Decoder::new(body);
        let is_this =
            head.array().is_ok_and(|fields| fields == Some(2)) && head.u32().is_ok_and(|n| n == REFUSE_RECORD);
        if !is_this {
            return Ok(None);
        }
        match Command::decode(body)? {
            Command::RefuseRecord(refusal) => Ok(Some(refusal)),
            _ => Ok(None),
        }
    }
}
