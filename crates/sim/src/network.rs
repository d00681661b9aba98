//! Connections between worker instances and processes of the engine.
//!
//! For: which session leads where, and that a connection keeps the order of its messages. Not for: what is sent.
//! Invariant: a session leads from one instance to one process, and its number is never used again.

use std::collections::BTreeMap;

use consort_engine::InstanceId;

/// A connection between an instance and a process.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) instance: usize,
    /// The process that it leads to.
    pub(crate) incarnation: u64,
    pub(crate) remote: InstanceId,
    /// Whether the worker still uses it.
    pub(crate) open: bool,
    /// When the last message of each direction arrives.
    pub(crate) to_host: u64,
    pub(crate) to_worker: u64,
}

/// Every connection.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) sessions: BTreeMap<u64, Session>,
    made: u64,
}

impl Network {
    /// Opens a session from an instance to the process of this incarnation, which knows it as `remote`.
    pub(crate) fn open(&mut self, instance: usize, incarnation: u64, remote: InstanceId) -> u64 {
        self.made += 1;
        let session = Session { instance, incarnation, remote, open: true, to_host: 0, to_worker: 0 };
        self.sessions.insert(self.made, session);
        self.made
    }

    /// The session of an instance that the process of this incarnation knows as `remote`.
    pub(crate) fn session_of(&self, remote: InstanceId, incarnation: u64) -> Option<u64> {
        let found = self.sessions.iter().find(|(_, known)| known.remote == remote && known.incarnation == incarnation);
        found.map(|(session, _)| *session)
    }

    /// The instance at the worker's end of a session.
    pub(crate) fn instance(&self, session: u64) -> Option<usize> {
        self.sessions.get(&session).map(|known| known.instance)
    }
}
