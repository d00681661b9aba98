//! Effects: what the shell is to do after a record was applied.
//!
//! For: the closed list of things that leave the machine. Not for: doing them.
//! Invariant: effects are volatile; each can be derived again from the state (see `Machine::live_tasks`).

use consort_types::{
    BlobHash, Code, RunId, Seq, StepInstanceId, Time, Token, WorkerInstance,
    registry::{AgentState, LimitScope, TaskLimit},
    state::SpaceId,
    task::ReadyTask,
    worker::JournalEntry,
};

use crate::schedule::rows::PlanRequest;

/// A task that is not over, as recovery finds it.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveTask {
    /// It waits for an instance.
    Ready(ReadyTask),
    /// An instance took it, and may still hold it.
    Taken {
        /// The assignment.
        task: ReadyTask,
        /// The instance.
        instance: WorkerInstance,
        /// When.
        taken: Time,
    },
}

/// The outcome of an attempt that an instance had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// It reported its output.
    Completed,
    /// It reported a failure.
    Failed {
        /// The code of the failure.
        code: Code,
        /// Whether the agent declares that another attempt may help.
        retryable: bool,
    },
    /// It did not end in time.
    Expired,
    /// Its instance is disconnected, and repeating it does no harm.
    Lost,
    /// It may or may not have had its effect.
    Unknown,
}

/// A lock or a barrier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coordinated {
    /// A lock.
    Lock {
        /// The namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A barrier.
    Barrier {
        /// The namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Hand the task out.
    Ready(ReadyTask),
    /// The outcome of an attempt; [`Effect::Gone`] follows. An attempt that ends with its step or its run is only gone:
    /// its end is no evidence about its instance.
    AttemptEnded {
        /// The task.
        task: StepInstanceId,
        /// The attempt's token.
        token: Token,
        /// How it ended.
        end: AttemptEnd,
    },
    /// The attempt is over, or was revoked: forget it, and have its instance stop it where it still runs.
    Gone {
        /// The task.
        task: StepInstanceId,
        /// The attempt's token.
        token: Token,
        /// Why, where the instance must stop; `None` where it ended by its own report.
        stop: Option<&'static str>,
    },
    /// A journal entry of a task was recorded or answered: notify the instance that holds the task.
    Recorded {
        /// The task.
        task: StepInstanceId,
        /// The attempt's token.
        token: Token,
        /// The entry's position.
        index: u32,
        /// The entry.
        entry: JournalEntry,
    },
    /// Hold the run's ready tasks back (`true`), or let them go (`false`).
    Hold {
        /// The run.
        run: RunId,
        /// Whether to hold.
        held: bool,
    },
    /// Something about the run changed: wake its watchers.
    Changed {
        /// The run.
        run: RunId,
        /// The record that changed it.
        seq: Seq,
    },
    /// Events of a namespace came, or deliveries of them are ready: wake those that follow or wait.
    EventsChanged {
        /// The namespace.
        namespace: String,
        /// The record.
        seq: Seq,
    },
    /// A subscription that pushes to a webhook was made, changed, paused or deleted: the process that pushes looks again.
    PushesChanged {
        /// The record.
        seq: Seq,
    },
    /// A version of an agent joined, changed or was removed.
    AgentChanged {
        /// The namespace.
        namespace: String,
        /// The agent.
        name: String,
        /// Its version.
        version: String,
        /// Its settings by operators; `None` where it was removed.
        state: Option<AgentState>,
    },
    /// A limit was set, or (where it is empty) removed.
    LimitChanged {
        /// The namespace.
        namespace: String,
        /// What it is about.
        scope: LimitScope,
        /// Its values now.
        limit: TaskLimit,
    },
    /// More tasks of the agent wait for code that fits their journals than one record offers again: they are left to
    /// another one.
    DivergedLeft {
        /// The namespace.
        namespace: String,
        /// The agent.
        agent: String,
        /// The version that is to try.
        version: String,
        /// The last task that was offered.
        after: StepInstanceId,
    },
    /// Keys of a space changed, or the space was deleted: wake its watchers.
    SpaceChanged {
        /// The space.
        space: SpaceId,
        /// The record that changed it.
        seq: Seq,
    },
    /// A lock or a barrier changed: wake its watchers, and those who wait for it.
    Coordinated {
        /// Which.
        of: Coordinated,
        /// The record that changed it.
        seq: Seq,
    },
    /// Something about a ballot changed: wake its watchers.
    BallotChanged {
        /// Its number.
        ballot: Seq,
        /// The record that changed it.
        seq: Seq,
    },
    /// A schedule has few planned instants left: plan more, and answer with
    /// [`PlanSchedule`](crate::command::PlanSchedule).
    PlanWanted(Box<PlanRequest>),
    /// No row refers to the blob.
    BlobUnused(BlobHash),
}
