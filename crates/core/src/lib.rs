//! The deterministic machine: folds records into tables and returns effects.
//!
//! For: every rule of what a run, a task, an agent or a signal may do. Not for: clocks, chance, threads, I/O,
//! or carrying effects out (the engine does).
//! Invariant: the state is a pure function of the records applied; equal records give equal bytes (law 4).

mod auction;
mod ballot;
mod bus;
pub mod command;
mod context;
mod coordination;
mod effect;
mod encode;
mod fatal;
mod key;
mod latest;
mod machine;
mod page;
mod quota;
mod refusal;
mod registry;
mod rows_alone;
mod run;
mod schedule;
mod space;
mod state;
pub mod tables;
mod task;

/// The rows of the tables, of all concerns.
pub mod rows {
    pub use crate::{
        auction::rows::{AuctionRow, AwardRecord, Bid},
        ballot::{
            rows::{Ballot, BallotProgress, BallotStatus, ByHand, ClosedRound, Vote},
            verdict::{ClosedBy, Verdict},
        },
        bus::rows::{
            AsTasks, BackOff, Delivery, DeliveryState, EventPlace, EventRetention, EventStream, EventWait, Filter,
            OrderKey, Owner, Paused, Push, PushFailure, Seen, Showing, StoredEvent, Subscription, SubscriptionSettings,
            Trigger, TriggerAction, TriggerFailure, TriggerSettings, WaitsSince,
        },
        coordination::rows::{
            Arrival, Barrier, Claim, CoordinationCounts, Generation, Lock, LockChange, LockChangeKind, Place, Ticket,
        },
        quota::rows::{Limit, Namespace, NamespaceCounts, Retaining},
        refusal::Refusal,
        registry::rows::{Agent, AgentState, DefinitionUse, WorkflowRevision},
        run::rows::{
            beside::{Beside, BesideCounts, ExposedValue, SentUpdate, UpdateOutcome},
            history::{HistoryEntry, HistoryEvent},
            run::{Cancelling, Delivers, IdempotencyRecord, Later, Origin, Run, RunStatus},
            signal::{Signal, Waiter},
            step::{Items, Pin, Scope, ScopeKind, Step, StepLock, StepReads, StepState},
        },
        schedule::rows::{
            Acted, Armed, Backfilled, Overlap, Schedule, ScheduleAction, ScheduleCount, ScheduleCounts,
            ScheduleFailure, ScheduleSettings, ScheduleTimer, Times,
        },
        space::rows::{
            Anchor, Candidate, Change, ChangeKind, Conflict, Decided, Element, ElementRun, Expiring, Expiry, Insertion,
            InsertionOrder, Mark, PrefixMerge, Purge, Sequence, Settlement, Space, StateEntry,
        },
        state::rows::{BlobUse, Marker, Meta, TaskCounts},
        task::rows::{Ask, InboxItem, PinnedTasks, TaskEntry},
    };
}

/// The keys of the tables, of all concerns.
pub mod keys {
    pub use crate::{
        auction::keys::AwardKey,
        ballot::keys::VoteKey,
        bus::keys::{DeliveryKey, EventIdKey, EventKey, EventList, EventListKey, EventWaiterKey},
        coordination::keys::{ChangeKey, MemberKey, PlaceKey, PlaceKind},
        key::NamedKey,
        registry::keys::{AgentKey, DefinitionKey},
        run::keys::{
            BesideKey, BesideKind, HistoryKey, LaterKey, LaterRank, ListKey, OfRun, ScopeKey, SignalKey, TimerKey,
            TimerKind,
        },
        space::keys::{SpaceEventKey, StateKey, VersionKey},
        task::keys::{DivergedKey, EntryKey, InboxKey},
    };
}

/// Views of the state, for people and programs, of all concerns.
pub mod view {
    pub use crate::{
        auction::views::BidView,
        ballot::views::{BallotRecord, BallotSummary, BallotView, BallotViews, RoundView, VoteView, dissents},
        bus::{
            fetch::{DeliveredEvent, Fetched},
            publish::Published,
            settle::Settled,
            shown::EventView,
            stream::StartAt,
            views::{
                DeadLetterView, EventPage, EventStreamView, Events, PushPage, PushView, SubscriptionView, TriggerView,
            },
        },
        coordination::views::{BarrierView, Coordination, HolderView, LockNews, LockView},
        page::Page,
        quota::namespace::NamespaceView,
        refusal::view::RefusedRecord,
        registry::views::{AgentView, DeployedWorkflow, Deployments, RevisionView, WorkflowView, called_capabilities},
        run::{
            rows::run::RunStatus,
            views::{
                admission::{StartPin, accept_input},
                beside::{BesideViews, ExposedView, UpdateState, UpdateView},
                compare::{Comparison, Difference, compare},
                filter::RunFilter,
                history::{JournalCursor, JournalView},
                listing::{RunSummary, RunView},
                replay::{Replay, ReplayedStep, replay},
                search::{FailedStep, FailedSteps},
                signals::SignalWaits,
                steps::StepView,
                tree::{Counts, StepNode, Wait},
            },
        },
        schedule::{
            act::InstantOutcome,
            by_hand::Triggered,
            rows::PlanRequest,
            views::{ActedView, ScheduleView, Schedules, Upcoming},
        },
        space::views::{ChangeView, Changed, ConflictView, SharedState, SpaceView, StateView},
        task::{
            detail::{EntryView, StepDetail, Tasks},
            inbox::InboxView,
        },
    };
}

/// Counting votes: pure, so that anyone can make a decision again from its votes.
pub mod tally {
    pub use crate::ballot::{
        tally::{Cast, Outcome, Score, Tally, Undecided, is_settled, tally},
        verdict::{ClosedBy, RoundVotes, Verdict, casts, recompute, tally_round, verdict},
    };
}

pub use command::{Command, Reply};
pub use effect::{AttemptEnd, Coordinated, Effect, LiveTask};
pub use machine::{Applied, Machine};
pub use rows_alone::{blob_used_by, time_in, time_key};
pub use state::{RowsOf, TABLES, TableSpec, TableSpecs, Taken, Until};
pub use tables::{Backing, Changes, EncodedChanges};
pub use task::attempt::LateReport;
