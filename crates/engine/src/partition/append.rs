//! Groups, from their submission to the log until they are applied.
//!
//! For: appending what waits, also while earlier groups are in flight, and applying groups that are durable. Not for:
//! what a record does (`commit`).
//! Invariant: groups are applied in the order in which they were submitted, each only once it is durable, and every
//! command that was taken into the open group is applied, put back, or answered.

use consort_core::Command;
use consort_log::{LogError, LogWaker};
use consort_types::{Error, Span, Time};

use super::{
    Outputs, Partition,
    group::{Batch, Origin},
    pipeline::{Failure, Submitted},
};
use crate::AppendedGroup;

/// Whether a commit waits for the log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Begin,
    Wait,
}

impl Partition {
    /// Whether [`Partition::commit`] has something to append or to apply now.
    pub fn is_due(&mut self, now: Time) -> bool {
        let now = self.clock.max(now);
        self.halted.is_none() && (self.may_submit(now) || self.pipeline.has_news())
    }

    /// Whether groups are in flight.
    pub fn is_appending(&self) -> bool {
        !self.pipeline.is_empty()
    }

    fn may_submit(&self, now: Time) -> bool {
        if self.pipeline.is_full() || self.retry_at.is_some_and(|retry_at| now < retry_at) {
            return false;
        }
        !self.group.is_empty()
            || self.deferred.oldest().is_some_and(|oldest| now.since(oldest) >= self.config.lazy_delay)
    }

    /// When [`Partition::poll`] or [`Partition::commit`] has something to do next, as far as time decides it; now,
    /// where the open group can be appended. The log's waker decides the rest (see [`Partition::set_log_waker`]).
    pub fn next_wake(&mut self) -> Option<Time> {
        if self.halted.is_some() {
            return None;
        }
        let full = self.pipeline.is_full();
        if !full && (self.retry_at.is_some() || !self.group.is_empty()) {
            return Some(self.retry_at.unwrap_or(self.clock));
        }
        let silence = self.dispatcher.longest_silence();
        // Silence of exactly the time-out is still allowed.
        let silence = silence.map(|heard| heard.after(self.config.heartbeat_timeout).after(Span(1)));
        let lazy = self.deferred.oldest().map(|oldest| oldest.after(self.config.lazy_delay)).filter(|_| !full);
        let timers = if self.ticking { [None, None] } else { [self.next_timer(), self.time_to_note()] };
        let opening = self.dispatcher.next_opening();
        let release = self.dispatcher.writers().next_release(self.config.pinned_wait);
        timers.into_iter().chain([self.dispatcher.next_loss(), silence, lazy, opening, release]).flatten().min()
    }

    /// Read only where the answer would be "at once": a timer that was disarmed since is noticed when it is due.
    fn next_timer(&mut self) -> Option<Time> {
        let soon = self.clock.after(Span(1));
        match self.machine.no_timer_before() {
            Some(due) if due <= soon => self.machine.next_timer().unwrap_or(Some(self.clock)),
            hint => hint,
        }
    }

    /// Begins to append what waits as one group (one durable write), applies the groups that are durable, and returns
    /// everything that is to be carried out. Where more waits than fits into one group, [`Partition::is_due`] stays
    /// true.
    pub fn commit(&mut self, now: Time) -> Outputs {
        self.commit_at(now, Pace::Begin)
    }

    /// As [`Partition::commit`], but waits until everything that was submitted is durable, and applies it: the quickest
    /// way where nothing else is to be done meanwhile.
    pub fn commit_and_wait(&mut self, now: Time) -> Outputs {
        self.commit_at(now, Pace::Wait)
    }

    fn commit_at(&mut self, now: Time, pace: Pace) -> Outputs {
        let now = self.advance(now);
        if self.is_due(now) || (pace == Pace::Wait && !self.pipeline.is_empty()) {
            // The next group is on its way while the one before is applied.
            let durable = self.take_durable();
            self.append(now, pace);
            self.apply_all(durable);
            let durable = self.take_durable();
            self.apply_all(durable);
            self.hand_out(now);
        }
        self.drop_overrun();
        self.outputs()
    }

    /// Sets what the log calls when groups in flight are durable: [`Partition::commit`] then has something to apply.
    pub fn set_log_waker(&mut self, waker: LogWaker) {
        self.pipeline.set_waker(waker);
    }

    /// The groups that have become durable, in their order.
    fn take_durable(&mut self) -> Vec<Submitted> {
        self.pipeline.take_durable().unwrap_or_else(|failure| {
            self.append_failed(failure);
            Vec::new()
        })
    }

    fn append(&mut self, now: Time, pace: Pace) {
        if self.halted.is_none() && self.may_submit(now) {
            self.submit_group(now, pace);
        }
        if pace == Pace::Wait
            && let Err(failure) = self.pipeline.wait()
        {
            self.append_failed(failure);
        }
    }

    fn submit_group(&mut self, now: Time, pace: Pace) {
        let ripe = Time(now.0.saturating_sub(self.config.lazy_merge.0));
        while let Some(taken) = self.deferred.take_older(ripe) {
            self.push(Command::TaskTaken(taken), Origin::Internal);
        }
        let time = now.max(self.pipeline.last_time()).max(self.machine.now());
        let batch = self.group.batch(time);
        if batch.records.is_empty() {
            return;
        }
        let submitted = Submitted::new(batch, time, self.observed.now());
        match self.pipeline.submit(submitted, self.machine.applied(), pace == Pace::Wait) {
            Ok(()) => self.retry_at = None,
            Err(failure) => self.append_failed(failure),
        }
    }

    /// The log has failed to take groups.
    fn append_failed(&mut self, failure: Failure) {
        let Failure { batches, error } = failure;
        match error {
            LogError::Io { .. } | LogError::TooLarge { .. } => self.put_back(batches, &error.into()),
            error => self.append_lost(batches, error),
        }
    }

    /// Nothing was written: clients are told so, the rest is tried again later.
    fn put_back(&mut self, batches: Vec<Batch>, error: &Error) {
        self.retry_at = Some(self.clock.after(self.config.append_retry));
        self.observed.tell(|observer| observer.append_refused(error));
        for batch in batches.into_iter().rev() {
            for origin in self.group.put_back(batch) {
                self.refuse(origin, error.clone());
            }
        }
    }

    /// Whether the groups are durable is unknown: none of their commands is acknowledged.
    fn append_lost(&mut self, batches: Vec<Batch>, error: LogError) {
        self.halt_as(error.into(), true);
        self.refuse_all(batches);
    }

    /// Answers the commands of groups that were not applied: the partition has halted.
    pub(super) fn refuse_all(&mut self, batches: Vec<Batch>) {
        for (_, origin) in batches.into_iter().flat_map(|batch| batch.commands) {
            self.refuse_halted(origin);
        }
    }

    fn apply_all(&mut self, durable: Vec<Submitted>) {
        for Submitted { batch, time, last, began } in durable {
            let records = batch.records.len();
            if self.halted.is_none() {
                self.counters.groups += 1;
                self.counters.records += records as u64;
            }
            self.observed.tell_since(began, |observer, took| {
                let bytes = batch.records.iter().map(|record| record.body.len()).sum();
                observer.appended(&AppendedGroup { last, records, bytes, took });
            });
            let began = self.observed.now();
            self.apply(batch, time);
            self.observed.tell_since(began, |observer, took| observer.applied(last, records, took));
        }
    }

    fn apply(&mut self, batch: Batch, time: Time) {
        for (command, origin) in batch.commands {
            if self.halted.is_some() {
                self.refuse_halted(origin);
            } else if let Err((error, origin)) = self.apply_one(&command, origin, time) {
                self.halt_as(error, false);
                self.refuse_halted(origin);
            }
        }
    }

    fn refuse_halted(&mut self, origin: Origin) {
        if let Some(halt) = &self.halted {
            let error = halt.error.clone();
            self.refuse(origin, error);
        }
    }
}
