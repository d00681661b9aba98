//! All tables of a partition, under one roof.
//!
//! For: naming each table once, with its prefix, and handing out changes of all of them. Not for: rules.
//! Invariant: no two tables share a prefix; the prefixes never change their meaning.

use std::sync::Arc;

use consort_types::{BlobHash, Result, RunId, Seq, TaskId};
use consort_workflow::CompiledWorkflow;

use super::rows::{BlobUse, Marker, Meta};
use crate::{
    key::NamedKey,
    quota::rows::{Limit, Namespace},
    refusal::Refusal,
    registry::{
        keys::AgentKey,
        rows::{Agent, WorkflowRevision},
    },
    run::{
        keys::{HistoryKey, LaterKey, ListKey, ScopeKey, SignalKey, TimerKey},
        rows::{
            history::HistoryEntry,
            run::{IdempotencyRecord, Later, Run},
            signal::{Signal, Waiter},
            step::{Items, Scope, Step},
        },
    },
    tables::{Backing, Changes, Table},
    task::{
        keys::{EntryKey, InboxKey},
        rows::{InboxItem, TaskEntry},
    },
};

macro_rules! tables {
    ($($(#[doc = $doc:literal])+ $name:ident: $prefix:literal, $key:ty => $row:ty, $clean:literal;)+) => {
        /// The tables. Those that are written once and seldom read keep no unchanged rows in memory.
        pub(crate) struct Tables { $($(#[doc = $doc])+ pub(crate) $name: Table<$key, $row>,)+ }

        impl Tables {
            /// The tables over a backing.
            pub(crate) fn new(backing: &Arc<dyn Backing>) -> Self {
                Self { $($name: Table::new($prefix, Arc::clone(backing), $clean),)+ }
            }

            /// How many changes were made since the tables were opened.
            pub(crate) fn writes(&self) -> u64 {
                0 $(+ self.$name.writes())+
            }

            /// How many rows wait to be taken.
            pub(crate) fn changed(&self) -> usize {
                0 $(+ self.$name.changed())+
            }

            /// Hands out every change of every table.
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

            /// The prefix of each table, for the test that they differ.
            #[cfg(test)]
            fn prefixes() -> Vec<u8> {
                vec![$($prefix),+]
            }
        }
    };
}

tables! {
    /// What the machine knows of itself.
    meta: b'M', () => Meta, 1;
    /// Workflows in their normal form, by content hash.
    workflows: b'w', BlobHash => CompiledWorkflow, 16;
    /// Deployed revisions; number 0 is the newest.
    deployed: b'v', NamedKey => WorkflowRevision, 256;
    /// Runs.
    runs: b'r', RunId => Run, 4096;
    /// Runs of a namespace, newest first.
    listing: b'i', ListKey => Marker, 0;
    /// Starts that can be repeated: number 0, name = idempotency key.
    idempotency: b'k', NamedKey => IdempotencyRecord, 256;
    /// Step instances.
    steps: b's', TaskId => Step, 16384;
    /// Scopes.
    scopes: b'c', ScopeKey => Scope, 4096;
    /// Items of scopes.
    items: b'm', ScopeKey => Items, 64;
    /// Journals of runs.
    history: b'j', HistoryKey => HistoryEntry, 0;
    /// Journals of tasks.
    entries: b'p', EntryKey => TaskEntry, 1024;
    /// Armed timers.
    timers: b't', TimerKey => Marker, 4096;
    /// Step instances that are at work or wait, for recovery and cancellation.
    live: b'q', TaskId => Marker, 4096;
    /// Work that was left to a later record.
    later: b'd', LaterKey => Later, 4096;
    /// Signals that wait to be read.
    signals: b'g', SignalKey => Signal, 256;
    /// Steps and entries that wait for signals.
    waiters: b'y', SignalKey => Waiter, 256;
    /// What waits for a person.
    inbox: b'x', InboxKey => InboxItem, 256;
    /// Versions of agents. (Prefix `a` had agents by name alone; it is not used again.)
    agents: b'e', AgentKey => Agent, 256;
    /// Limits on tasks: name = scope, number 0.
    limits: b'l', NamedKey => Limit, 256;
    /// Settings and counts of namespaces (name empty, number 0).
    namespaces: b'o', NamedKey => Namespace, 16;
    /// How many rows use a blob.
    blobs: b'b', BlobHash => BlobUse, 256;
    /// Records that operators had refused.
    refusals: b'z', Seq => Refusal, 16;
}

impl Tables {
    /// The machine's own row.
    pub(crate) fn read_meta(&mut self) -> Result<Meta> {
        Ok(self.meta.get(&())?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_two_tables_share_a_prefix() {
        let mut prefixes = super::Tables::prefixes();
        let count = prefixes.len();
        prefixes.sort_unstable();
        prefixes.dedup();
        assert_eq!(prefixes.len(), count);
        assert!(!prefixes.contains(&b'a'), "a prefix that was given up is not used again");
    }
}
