//! Requests of clients, from sending to the reply.
//!
//! For: matching replies to requests, and remembering what was acknowledged. Not for: deciding what to request.
//! Invariant: each request of a living process gets one reply; a request to a dead one gets none.

use std::collections::BTreeMap;

use consort_core::Command;
use consort_engine::Ticket;
use consort_types::{Code, Error, ErrorKind, StepInstanceId};

use crate::{
    clock::SECOND,
    oracle::Fold,
    plan::{Checked, Law, Violation},
};

/// How long a client waits for a reply of a process that lives.
const REPLY_WITHIN: u64 = 600 * SECOND;

/// A command on its way to the engine.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) ticket: Ticket,
    pub(crate) command: Command,
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A workflow is deployed.
    Deploy { namespace: usize, workflow: usize },
    /// A run is started.
    Start { index: usize },
    /// An event is published.
    Publish { index: usize },
    /// A consumer fetches.
    Fetch { namespace: usize, subscription: usize },
    /// A key is read or written, as a part of a history.
    Access { number: usize },
    /// An agent is registered.
    Register { instance: usize },
    /// An approver has decided.
    Decide { task: StepInstanceId },
    /// It must be refused with this code.
    Refuse(Code),
    /// Any reply is right.
    Any,
}

/// A request without a reply.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) purpose: Purpose,
    since: u64,
    incarnation: u64,
    /// The hash of the command, once it has arrived.
    pub(crate) body: Option<[u8; 32]>,
}

/// All requests.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pending: BTreeMap<Ticket, Pending>,
    tickets: u64,
    acknowledged: Vec<[u8; 32]>,
}

impl Requests {
    /// Notes a request that is sent now to the process of this incarnation.
    pub(crate) fn send(&mut self, purpose: Purpose, now: u64, incarnation: u64) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.pending.insert(ticket, Pending { purpose, since: now, incarnation, body: None });
        ticket
    }

    /// How many requests were made so far.
    pub(crate) fn count(&self) -> u64 {
        self.tickets
    }

    /// How many requests have no reply yet.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn is_pending(&self, purpose: &Purpose) -> bool {
        self.pending.values().any(|pending| pending.purpose == *purpose)
    }

    /// Whether a request still reaches the process of this incarnation.
    pub(crate) fn reaches(&self, ticket: Ticket, incarnation: u64) -> bool {
        self.pending.get(&ticket).is_some_and(|pending| pending.incarnation == incarnation)
    }

    /// A request has arrived, with this command.
    pub(crate) fn arrived(&mut self, ticket: Ticket, body: [u8; 32]) {
        if let Some(pending) = self.pending.get_mut(&ticket) {
            pending.body = Some(body);
        }
    }

    /// Takes a request that is replied to, or that never arrives.
    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<Pending> {
        self.pending.remove(&ticket)
    }

    /// A command was acknowledged.
    pub(crate) fn acknowledge(&mut self, body: Option<[u8; 32]>) {
        self.acknowledged.extend(body);
    }

    /// The process has died; its replies never come.
    pub(crate) fn forget_pending(&mut self) {
        self.pending.clear();
    }

    /// A process that lives replies.
    pub(crate) fn check_replies(&self, now: u64, incarnation: u64) -> Checked {
        let late = self.pending.iter().find(|(_, pending)| {
            pending.incarnation == incarnation && pending.body.is_some() && now > pending.since + REPLY_WITHIN
        });
        match late {
            Some((ticket, pending)) => {
                Err(Violation::of(10, format!("{ticket:?}, {:?}, was not answered", pending.purpose)))
            }
            None => Ok(()),
        }
    }

    /// Everything that was acknowledged is in the log (law 1).
    pub(crate) fn check_acknowledged(&self, fold: &Fold) -> Checked {
        for body in &self.acknowledged {
            if !fold.has(body) {
                return Err(Violation::of(1, "a command was acknowledged, but is not in the log"));
            }
        }
        Ok(())
    }
}

/// Refusals that a client with a fair request may meet.
pub(crate) fn check_error(purpose: &Purpose, error: &Error) -> Checked {
    if error.code == Code::Internal {
        return Err(Violation { law: Law::Assertion, what: format!("{purpose:?} is answered with {error}") });
    }
    let fair = *purpose != Purpose::Any && error.kind() != ErrorKind::Unavailable;
    if fair {
        return Err(Violation::of(10, format!("{purpose:?} is refused: {error}")));
    }
    Ok(())
}
