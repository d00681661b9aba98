//! The log, with the groups that are on their way into it.
//!
//! For: submitting groups, and giving them out once they are durable. Not for: what a group holds, or what follows from
//! a failure (see `append`).
//! Invariant: groups leave in the order in which they were submitted, each once: durable, or with a failure.

use std::{collections::VecDeque, mem};

use consort_core::Command;
use consort_log::{Log, LogError, LogWaker};
use consort_types::{Seq, Span, Time};

use super::group::Batch;

/// A group that was submitted and is not applied.
pub(super) struct Submitted {
    pub(super) batch: Batch,
    pub(super) time: Time,
    pub(super) last: Seq,
    /// The observer's time when the log was given the group.
    pub(super) began: Option<Span>,
}

impl Submitted {
    /// A group that is to be submitted.
    pub(super) fn new(batch: Batch, time: Time, began: Option<Span>) -> Self {
        Self { batch, time, last: Seq::ZERO, began }
    }
}

/// Groups that the log did not take, and why.
pub(super) struct Failure {
    pub(super) batches: Vec<Batch>,
    pub(super) error: LogError,
}

/// The log and its groups in flight.
pub(super) struct Pipeline {
    log: Box<dyn Log>,
    groups: VecDeque<Submitted>,
    /// The last record that was submitted, and its time. Groups that are durable are taken out before they are applied,
    /// so the machine may be behind it.
    end: (Seq, Time),
    /// A failure that was seen and not taken.
    failed: Option<LogError>,
}

impl Pipeline {
    pub(super) fn new(log: Box<dyn Log>) -> Self {
        Self { log, groups: VecDeque::new(), end: (Seq::ZERO, Time(0)), failed: None }
    }

    pub(super) fn log(&self) -> &dyn Log {
        &*self.log
    }

    pub(super) fn trim(&mut self, before: Seq) -> Result<(), LogError> {
        self.log.trim(before)
    }

    pub(super) fn set_waker(&mut self, waker: LogWaker) {
        self.log.set_waker(waker);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Whether the log takes no further group now.
    pub(super) fn is_full(&self) -> bool {
        self.groups.len() >= self.log.depth().max(1)
    }

    /// Commands in flight.
    pub(super) fn len(&self) -> usize {
        self.groups.iter().map(|submitted| submitted.batch.commands.len()).sum()
    }

    pub(super) fn commands(&self) -> impl Iterator<Item = &Command> {
        self.groups.iter().flat_map(|submitted| &submitted.batch.commands).map(|(command, _)| command)
    }

    /// The time of the last record that was submitted.
    pub(super) fn last_time(&self) -> Time {
        self.end.1
    }

    /// Submits a group; `applied` is the last record of the machine. With `wait`, a log that nothing else is on its way
    /// to appends it at once.
    pub(super) fn submit(&mut self, mut group: Submitted, applied: Seq, wait: bool) -> Result<(), Failure> {
        let records = &group.batch.records;
        let submitted =
            if wait && self.groups.is_empty() { self.log.append(records) } else { self.log.submit(records) };
        match submitted {
            Ok(last) => {
                let before = self.end.0.max(applied);
                assert_eq!(last.0, before.0 + records.len() as u64, "the log and the machine count alike");
                group.last = last;
                self.end = (last, group.time);
                self.groups.push_back(group);
                Ok(())
            }
            // Groups that are on their way are not concerned by one that could not be begun.
            Err(error @ (LogError::Io { .. } | LogError::TooLarge { .. })) => {
                Err(Failure { batches: vec![group.batch], error })
            }
            Err(error) => {
                self.groups.push_back(group);
                Err(self.failure(error))
            }
        }
    }

    /// Whether a group in flight is durable, or has failed.
    pub(super) fn has_news(&mut self) -> bool {
        let Some(first) = self.groups.front().map(|submitted| submitted.last) else { return false };
        if self.failed.is_some() {
            // The log reports a failure once: it waits here until it is taken.
            return true;
        }
        match self.log.poll() {
            Ok(durable) => durable >= first,
            Err(error) => {
                self.failed = Some(error);
                true
            }
        }
    }

    /// The groups that have become durable, in their order.
    pub(super) fn take_durable(&mut self) -> Result<Vec<Submitted>, Failure> {
        if self.groups.is_empty() {
            return Ok(Vec::new());
        }
        let durable = match self.failed.take() {
            Some(error) => Err(error),
            None => self.log.poll(),
        };
        let durable = durable.map_err(|error| self.failure(error))?;
        let count = self.groups.iter().take_while(|submitted| submitted.last <= durable).count();
        Ok(self.groups.drain(..count).collect())
    }

    /// Waits until every group in flight is durable.
    pub(super) fn wait(&mut self) -> Result<(), Failure> {
        if self.groups.is_empty() {
            return Ok(());
        }
        self.log.wait().map(drop).map_err(|error| self.failure(error))
    }

    fn failure(&mut self, error: LogError) -> Failure {
        Failure { batches: self.take(), error }
    }

    /// Gives up the groups in flight: whether they become durable is not asked any more.
    pub(super) fn take(&mut self) -> Vec<Batch> {
        self.end = (Seq::ZERO, Time(0));
        mem::take(&mut self.groups).into_iter().map(|submitted| submitted.batch).collect()
    }
}
