//! The group that is filling up.
//!
//! For: keeping commands in order, encoded, within the limits of a record and a group. Not for: appending.
//! Invariant: commands leave in the order in which they came.

use std::collections::VecDeque;

use consort_core::Command;
use consort_log::Record;
use consort_types::{Code, Error, Result, StepInstanceId, Time, Token, limits};

use super::{InstanceId, Ticket};

/// A worker's report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) instance: InstanceId,
    pub(super) task: StepInstanceId,
    pub(super) token: Token,
}

/// The origin of a command, and so the receiver of its outcome.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// A client.
    Ticket(Ticket),
    /// A worker.
    Report(Report),
    /// A hand-out that is sent once its record is durable.
    Handout(Report),
    /// The loss of an attempt.
    Loss(StepInstanceId, Token),
    /// The engine itself.
    Internal,
}

struct Entry {
    command: Command,
    origin: Origin,
    body: Vec<u8>,
}

/// Commands and records of one append.
pub(super) struct Batch {
    pub(super) commands: Vec<(Command, Origin)>,
    pub(super) records: Vec<Record>,
}

/// The group that is filling up.
#[derive(Default)]
pub(super) struct Group {
    entries: VecDeque<Entry>,
}

impl Group {
    /// Adds a command; refuses one that no state would make acceptable, or whose record would be too large.
    pub(super) fn push(&mut self, command: Command, origin: Origin) -> Result<()> {
        command.check()?;
        let body = command.encode();
        let (size, max) = (body.len(), limits::RECORD_BYTES_MAX);
        if size > max {
            return Err(Error::new(Code::LimitReached, format!("the command has {size} bytes, the limit is {max}"))
                .hint("send less at once"));
        }
        self.entries.push_back(Entry { command, origin, body });
        Ok(())
    }

    pub(super) fn commands(&self) -> impl Iterator<Item = &Command> {
        self.entries.iter().map(|entry| &entry.command)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes out as many as one group may have.
    pub(super) fn batch(&mut self, time: Time) -> Batch {
        let mut batch = Batch { commands: Vec::new(), records: Vec::new() };
        let mut bytes = 0;
        while batch.records.len() < limits::GROUP_RECORDS_MAX {
            let Some(entry) = self.entries.front() else { break };
            bytes += entry.body.len();
            if bytes > limits::GROUP_BYTES_MAX {
                break;
            }
            let Some(entry) = self.entries.pop_front() else { break };
            batch.records.push(Record::new(time, entry.body));
            batch.commands.push((entry.command, entry.origin));
        }
        batch
    }

    /// Puts a batch that was not appended back in front. Commands of clients are not kept: they are given back.
    pub(super) fn put_back(&mut self, batch: Batch) -> Vec<Origin> {
        let mut refused = Vec::new();
        for ((command, origin), record) in batch.commands.into_iter().zip(batch.records).rev() {
            if matches!(origin, Origin::Ticket(_)) {
                refused.push(origin);
            } else {
                self.entries.push_front(Entry { command, origin, body: record.body.to_vec() });
            }
        }
        refused.reverse();
        refused
    }

    /// Takes back hand-outs to an instance that are not appended, and so were not sent.
    pub(super) fn take_back(&mut self, instance: InstanceId) -> Vec<Report> {
        let mut taken = Vec::new();
        self.entries.retain(|entry| match entry.origin {
            Origin::Handout(handout) if handout.instance == instance => {
                taken.push(handout);
                false
            }
            _ => true,
        });
        taken
    }

    /// Gives up everything.
    pub(super) fn clear(&mut self) -> Vec<Origin> {
        self.entries.drain(..).map(|entry| entry.origin).collect()
    }
}
