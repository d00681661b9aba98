//! All tables of a partition, under one roof.
//!
//! For: naming each table once, with its prefix and what its rows belong to, and returning the changes of all of them.
//! Not for: rules.
//! Invariant: no two tables share a prefix; the prefixes never change their meaning. A table without a declaration of what
//! its rows belong to does not compile.

use std::sync::Arc;

use consort_types::{
    BlobHash, Result, RunId, Seq, StepInstanceId,
    state::{Position, SpaceId},
};
use consort_workflow::CompiledWorkflow;

use super::rows::{BlobUse, Marker, Meta};
use crate::{
    auction::{
        keys::AwardKey,
        rows::{AuctionRow, AwardRecord},
    },
    ballot::{
        keys::VoteKey,
        rows::{Ballot, BallotProgress, Vote},
    },
    bus::{
        keys::{DeliveryKey, EventIdKey, EventKey, EventListKey, EventWaiterKey},
        rows::{Delivery, EventPlace, EventStream, EventWait, StoredEvent, Subscription, Trigger, WaitsSince},
    },
    coordination::{
        keys::{ChangeKey, MemberKey, PlaceKey},
        rows::{Arrival, Barrier, Claim, CoordinationCounts, Lock, LockChange, Place, Ticket},
    },
    key::NamedKey,
    quota::rows::{Limit, Namespace, Retaining},
    refusal::Refusal,
    registry::{
        keys::{AgentKey, DefinitionKey},
        rows::{Agent, DefinitionUse, WorkflowRevision},
    },
    run::{
        keys::{BesideKey, HistoryKey, LaterKey, ListKey, OfRun, ScopeKey, SignalKey, TimerKey},
        rows::{
            beside::Beside,
            history::HistoryEntry,
            run::{IdempotencyRecord, Later, Run},
            signal::{Signal, Waiter},
            step::{Items, Scope, Step, StepReads},
        },
    },
    schedule::rows::{Schedule, ScheduleCount, ScheduleTimer},
    space::{
        keys::{SpaceEventKey, StateKey, VersionKey},
        rows::{Change, Conflict, Expiring, Purge, Space, StateEntry},
    },
    tables::{Backing, Changes, Key, Table},
    task::{
        keys::{DivergedKey, EntryKey, InboxKey},
        rows::{InboxItem, PinnedTasks, TaskEntry},
    },
};

/// When the rows that a run has in a table are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// With the record that ends the run; of many, a page with that record and the rest with the next ones.
    Ended,
    /// Once nothing of the run is pending, which may take further records after its end.
    Idle,
    /// With the deletion of the run.
    Deleted,
    /// At the time in each key, whether the run still exists or not.
    Due,
}

/// What the rows of a table belong to.
#[derive(Clone, Copy, Debug)]
pub enum RowsOf {
    /// The partition; they stay until they are removed.
    Partition,
    /// Runs: each key names one.
    Run {
        /// When they are removed.
        until: Until,
        /// The run that a key names, which comes without the prefix of the table.
        run: fn(&[u8]) -> Option<RunId>,
    },
}

/// What is declared of a table: enough to check its rows without knowing them.
#[derive(Clone, Copy, Debug)]
pub struct TableSpec {
    /// Its name.
    pub name: &'static str,
    /// The first byte of its keys.
    pub prefix: u8,
    /// What its rows belong to.
    pub rows: RowsOf,
}

impl TableSpec {
    /// Whether the row at a key, with its prefix, is in this table.
    pub fn has(&self, key: &[u8]) -> bool {
        key.first() == Some(&self.prefix)
    }

    /// The run that the row at a key, with its prefix, belongs to.
    pub fn run_of(&self, key: &[u8]) -> Option<RunId> {
        match self.rows {
            RowsOf::Run { run, .. } if self.has(key) => run(&key[1..]),
            _ => None,
        }
    }

    /// When the rows of a run are removed; `None` where the rows belong to no run.
    pub fn until(&self) -> Option<Until> {
        match self.rows {
            RowsOf::Run { until, .. } => Some(until),
            RowsOf::Partition => None,
        }
    }
}

macro_rules! rows_of {
    (partition, $key:ty) => {
        RowsOf::Partition
    };
    (run until $until:ident, $key:ty) => {
        RowsOf::Run { until: Until::$until, run: |bytes| <$key as Key>::decode(bytes).map(|key| OfRun::run(&key)) }
    };
}

macro_rules! tables {
    ($($(#[doc = $doc:literal])+ $name:ident: $prefix:literal, $key:ty => $row:ty, $clean:literal, of $($of:ident)+;)+) => {
        /// The tables. Those that are written once and seldom read keep no unchanged rows in memory.
        pub(crate) struct Tables { $($(#[doc = $doc])+ pub(crate) $name: Table<$key, $row>,)+ }

        /// What is declared of each table.
        #[derive(Clone, Copy, Debug)]
        pub struct TableSpecs { $($(#[doc = $doc])+ pub $name: TableSpec,)+ }

        /// The declarations of all tables.
        pub const TABLES: TableSpecs = TableSpecs {
            $($name: TableSpec { name: stringify!($name), prefix: $prefix, rows: rows_of!($($of)+, $key) },)+
        };

        impl TableSpecs {
            /// All of them, in the order in which they are declared.
            pub fn all(&self) -> impl Iterator<Item = TableSpec> + use<> {
                [$(self.$name),+].into_iter()
            }
        }

        impl Tables {
            /// The tables over a backing.
            pub(crate) fn new(backing: &Arc<dyn Backing>) -> Self {
                Self { $($name: Table::new($prefix, Arc::clone(backing), $clean),)+ }
            }

            /// How many changes were made since the tables were opened.
            pub(crate) fn writes(&self) -> u64 {
                0 $(+ self.$name.writes())+
            }

            /// Forgets unchanged rows of every table.
            pub(crate) fn forget_clean(&mut self) {
                $(self.$name.forget_clean();)+
            }

            /// How many rows wait to be taken.
            pub(crate) fn changed(&self) -> usize {
                0 $(+ self.$name.changed())+
            }

            /// Returns every change of every table.
            pub(crate) fn take(&mut self, changes: &mut Changes) -> u64 {
                let generations = [$(self.$name.take(changes)),+];
                // Every table is taken whenever one is, so they count alike.
                assert!(generations.windows(2).all(|pair| pair[0] == pair[1]), "tables are taken together");
                generations[0]
            }

            /// Notes that changes up to `generation` are in the backing.
            pub(crate) fn written(&mut self, generation: u64) {
                $(self.$name.written(generation);)+
            }
        }
    };
}

tables! {
    /// The state of the machine itself.
    meta: b'M', () => Meta, 1, of partition;
    /// Workflows in their normal form, by content hash.
    workflows: b'w', BlobHash => CompiledWorkflow, 16, of partition;
    /// What uses those contents, by namespace.
    definitions: b'f', DefinitionKey => DefinitionUse, 256, of partition;
    /// Deployed revisions; number 0 is the one that the name takes.
    deployed: b'v', NamedKey => WorkflowRevision, 256, of partition;
    /// Runs.
    runs: b'r', RunId => Run, 4096, of run until Deleted;
    /// Runs of a namespace, newest first.
    listing: b'i', ListKey => Marker, 0, of run until Deleted;
    /// Starts that can be repeated: number 0, name = idempotency key. (Rows go with the run that they name.)
    idempotency: b'k', NamedKey => IdempotencyRecord, 256, of partition;
    /// Step instances.
    steps: b's', StepInstanceId => Step, 16384, of run until Deleted;
    /// What step instances have read of shared state.
    step_reads: b'2', StepInstanceId => StepReads, 256, of run until Deleted;
    /// Scopes.
    scopes: b'c', ScopeKey => Scope, 4096, of run until Deleted;
    /// Auctions, by the scopes that they have opened.
    auctions: b'9', ScopeKey => AuctionRow, 64, of run until Deleted;
    /// How agents did with the tasks that auctions awarded to them.
    awards: b'8', AwardKey => AwardRecord, 256, of partition;
    /// Items of scopes.
    items: b'm', ScopeKey => Items, 64, of run until Deleted;
    /// Journals of runs.
    history: b'j', HistoryKey => HistoryEntry, 0, of run until Deleted;
    /// Journals of tasks.
    entries: b'p', EntryKey => TaskEntry, 1024, of run until Deleted;
    /// Armed timers.
    timers: b't', TimerKey => Marker, 4096, of run until Due;
    /// Step instances that are active or wait, for recovery and cancellation.
    live: b'q', StepInstanceId => Marker, 4096, of run until Ended;
    /// Work that was left to a later record.
    later: b'd', LaterKey => Later, 4096, of run until Idle;
    /// Signals that wait to be read.
    signals: b'g', SignalKey => Signal, 256, of run until Ended;
    /// Steps and entries that wait for signals.
    waiters: b'y', SignalKey => Waiter, 256, of run until Ended;
    /// Values that the code of runs exposes, and updates with their answers.
    beside: b'7', BesideKey => Beside, 256, of run until Deleted;
    /// What waits for a person.
    inbox: b'x', InboxKey => InboxItem, 256, of run until Ended;
    /// Tasks that wait for code that fits their journals.
    diverged: b'h', DivergedKey => Marker, 64, of run until Ended;
    /// How many tasks are pinned to each version of an agent.
    pinned: b'n', AgentKey => PinnedTasks, 64, of partition;
    /// Versions of agents. (Prefix `a` had agents by name alone; it is not used again.)
    agents: b'e', AgentKey => Agent, 256, of partition;
    /// Limits on tasks: name = scope, number 0.
    limits: b'l', NamedKey => Limit, 256, of partition;
    /// Settings and counts of namespaces (name empty, number 0).
    namespaces: b'o', NamedKey => Namespace, 16, of partition;
    /// Namespaces whose retention is being applied to runs that have ended before (name empty, number 0).
    retaining: b'u', NamedKey => Retaining, 16, of partition;
    /// How many rows use a blob.
    blobs: b'b', BlobHash => BlobUse, 256, of partition;
    /// Events, by their positions.
    events: b'B', EventKey => StoredEvent, 1024, of partition;
    /// Where the event of a source and id is.
    event_ids: b'D', EventIdKey => EventPlace, 1024, of partition;
    /// Subscriptions (number 0).
    subscriptions: b'F', NamedKey => Subscription, 256, of partition;
    /// Deliveries that are open or dead.
    deliveries: b'G', DeliveryKey => Delivery, 1024, of partition;
    /// Lists of deliveries, and of what is due of the event bus.
    event_lists: b'I', EventListKey => Marker, 1024, of partition;
    /// Triggers (number 0).
    triggers: b'J', NamedKey => Trigger, 64, of partition;
    /// What namespaces keep of their events (name empty, number 0).
    event_streams: b'K', NamedKey => EventStream, 64, of partition;
    /// Steps that wait for events, by what they wait for.
    event_waiters: b'0', EventWaiterKey => WaitsSince, 256, of run until Ended;
    /// What those steps wait for.
    event_waits: b'1', StepInstanceId => EventWait, 256, of run until Ended;
    /// Records that operators had refused.
    refusals: b'z', Seq => Refusal, 16, of partition;
    /// Spaces of shared state: number 0.
    spaces: b'S', NamedKey => Space, 256, of partition;
    /// The values of keys.
    state: b'P', StateKey => StateEntry, 16384, of partition;
    /// The changes of a space that are kept.
    changes: b'Q', SpaceEventKey => Change, 0, of partition;
    /// The same, by key, newest first.
    versions: b'H', VersionKey => Marker, 0, of partition;
    /// Writes that did not see the latest value.
    conflicts: b'C', SpaceEventKey => Conflict, 16, of partition;
    /// The keys that timers are about.
    expiring: b'X', Position => Expiring, 64, of partition;
    /// Deleted spaces whose rows are being removed.
    purges: b'U', SpaceId => Purge, 16, of partition;
    /// Locks (number 0).
    locks: b'L', NamedKey => Lock, 1024, of partition;
    /// Those who hold a lock or wait for it, by their own ids.
    lock_claims: b'W', MemberKey => Claim, 4096, of partition;
    /// The same by token, and in the order of the queue.
    lock_places: b'O', PlaceKey => Place, 1024, of partition;
    /// The last changes of each lock.
    lock_changes: b'E', ChangeKey => LockChange, 256, of partition;
    /// How many locks and barriers a namespace has (name empty, number 0).
    coordination: b'N', NamedKey => CoordinationCounts, 16, of partition;
    /// Barriers (number 0).
    barriers: b'R', NamedKey => Barrier, 256, of partition;
    /// Members that have come to the current generation of a barrier.
    barrier_arrivals: b'A', MemberKey => Arrival, 1024, of partition;
    /// What the timers of locks and barriers are for.
    tickets: b'T', Position => Ticket, 4096, of partition;
    /// Ballots as they were opened, by number: the record that opened them.
    ballots: b'V', Seq => Ballot, 256, of partition;
    /// How far ballots are, by name (number 0).
    ballot_names: b'Z', NamedKey => BallotProgress, 256, of partition;
    /// Schedules (number 0).
    schedules: b'3', NamedKey => Schedule, 256, of partition;
    /// The schedules that timers are about.
    schedule_timers: b'4', Position => ScheduleTimer, 256, of partition;
    /// How many schedules namespaces have (name empty, number 0).
    schedule_counts: b'5', NamedKey => ScheduleCount, 16, of partition;
    /// Votes.
    votes: b'Y', VoteKey => Vote, 4096, of partition;
}

impl Tables {
    /// The machine's own row.
    pub(crate) fn read_meta(&mut self) -> Result<Meta> {
        Ok(self.meta.get(&())?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::{TABLES, TableSpec};

    #[test]
    fn no_two_tables_share_a_prefix() {
        let mut prefixes: Vec<u8> = TABLES.all().map(|table: TableSpec| table.prefix).collect();
        let count = prefixes.len();
        prefixes.sort_unstable();
        prefixes.dedup();
        assert_eq!(prefixes.len(), count);
        assert!(!prefixes.contains(&b'a'), "a prefix that was given up is not used again");
    }
}
