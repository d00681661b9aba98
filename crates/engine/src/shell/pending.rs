//! Carrying outputs to their receivers.
//!
//! For: answers, messages to instances, wake-ups of subscribers. Not for: what they say.
//! Invariant: every ticket is answered once.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use consort_core::Reply;
use consort_types::{Error, Result, worker::ToWorker};
use tokio::sync::{mpsc, oneshot};

use super::{Shared, Topic};
use crate::{InstanceId, Outputs, Ticket};

type Answer = oneshot::Sender<Result<Reply>>;

/// Callers that wait for an answer, and instances that are connected.
pub(super) struct PendingReplies {
    shared: Arc<Shared>,
    tickets: BTreeMap<Ticket, Answer>,
    made: u64,
    outboxes: BTreeMap<InstanceId, mpsc::Sender<Vec<ToWorker>>>,
}

impl PendingReplies {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, tickets: BTreeMap::new(), made: 0, outboxes: BTreeMap::new() }
    }

    /// A ticket for a caller that waits for an answer.
    pub(super) fn ticket(&mut self, answer: Answer) -> Ticket {
        self.made += 1;
        let ticket = Ticket(self.made);
        self.tickets.insert(ticket, answer);
        ticket
    }

    pub(super) fn connect(&mut self, instance: InstanceId, outbox: mpsc::Sender<Vec<ToWorker>>) {
        self.outboxes.insert(instance, outbox);
    }

    pub(super) fn disconnect(&mut self, instance: InstanceId) {
        self.outboxes.remove(&instance);
    }

    pub(super) fn disconnect_all(&mut self) {
        self.outboxes.clear();
    }

    fn answer(&mut self, ticket: Ticket, reply: Result<Reply>) {
        if let Some(answer) = self.tickets.remove(&ticket) {
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
            // The receiver may have been dropped; what was done stays done.
            let _ = answer.send(reply);
        }
    }

    /// Answers every pending caller alike: the partition will not.
    pub(super) fn answer_all(&mut self, error: &Error) {
        while let Some((ticket, _)) = self.tickets.first_key_value() {
            let ticket = *ticket;
            self.answer(ticket, Err(error.clone()));
        }
    }

    /// Carries outputs out; returns the instances that do not take their messages. Blobs are not dealt with here.
    pub(super) fn deliver(&mut self, outputs: &mut Outputs) -> Vec<InstanceId> {
        let mut stuck = Vec::new();
        for (ticket, reply) in outputs.replies.drain(..) {
            self.answer(ticket, reply);
        }
        for (instance, messages) in outputs.to_workers.drain(..) {
            let Some(outbox) = self.outboxes.get(&instance) else { continue };
            match outbox.try_send(messages) {
                Err(mpsc::error::TrySendError::Full(_)) => stuck.push(instance),
                // A session that ends just now will say so itself.
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
        for instance in outputs.dropped.drain(..) {
            self.outboxes.remove(&instance);
        }
        if self.shared.subscriptions.any() {
            outputs.changed.drain(..).for_each(|(run, seq)| self.shared.subscriptions.changed(Topic::Run(run), seq.0));
            for (namespace, seq) in outputs.events.drain(..) {
                self.shared.subscriptions.changed(Topic::events(&namespace), seq.0);
            }
            outputs.progress.drain(..).for_each(|progress| self.shared.subscriptions.live(progress));
        }
        stuck
    }
}
