//! Appending a group, applying it, and carrying effects to where they belong.
//!
//! For: the heart of the loop. Not for: hand-out and recovery.
//! Invariant: a record is applied only after its group was appended, in the order of the log.

use consort_core::{
    AttemptEnd, Command, Effect,
    command::{AttemptLost, Tick},
};
use consort_dispatch::Outcome;
use consort_log::LogError;
use consort_types::{Code, Error, Result, Seq, Span, Time, limits, worker::ToWorker};

use super::{
    Outputs, Partition,
    group::{Batch, Origin, Report},
    refusal,
};

/// How old the last record may be where the log has to note the time.
const NOTE_TIME: Span = Span::from_secs(limits::CLOCK_NOTE_SECONDS_MAX);

/// What the end of an attempt says of its instance.
fn outcome_of(end: AttemptEnd) -> Outcome {
    match end {
        AttemptEnd::Completed => Outcome::Completed,
        AttemptEnd::Failed { code: Code::Cancelled | Code::Fenced, .. } => Outcome::Failed { blamed: false },
        // It does not give what it declares, whatever the input.
        AttemptEnd::Failed { code: Code::BadOutput, .. } => Outcome::Failed { blamed: true },
        // A failure that no other attempt would mend is an answer about the input, not about who gave it.
        AttemptEnd::Failed { retryable, .. } => Outcome::Failed { blamed: retryable },
        AttemptEnd::Expired => Outcome::Expired,
        AttemptEnd::Lost => Outcome::Lost,
        AttemptEnd::Unknown => Outcome::Unknown,
    }
}

impl Partition {
    /// Looks at the time: due timers, silent instances, attempts that are lost, tasks that can be handed out. What
    /// follows goes into the open group, or out.
    pub fn poll(&mut self, now: Time) {
        let now = self.advance(now);
        if self.halted.is_some() {
            return;
        }
        if let Err(error) = self.tick(now) {
            return self.halt_as(error, false);
        }
        self.drop_silent(now);
        for lost in self.dispatcher.lost(now) {
            self.record_lazy(lost.task, lost.token);
            let (task, token, reason) = (lost.task, lost.token, lost.reason);
            self.push(Command::AttemptLost(AttemptLost { task, token, reason }), Origin::Loss(task, token));
        }
        self.hand_out(now);
    }

    fn tick(&mut self, now: Time) -> Result<()> {
        let may_be_due = self.machine.no_timer_before().is_some_and(|due| due <= now);
        let is_due = may_be_due && self.machine.next_timer()?.is_some_and(|due| due <= now);
        if !self.ticking && (is_due || self.time_to_note().is_some_and(|note| note <= now)) {
            self.ticking = true;
            self.push(Command::Tick(Tick::default()), Origin::Internal);
        }
        Ok(())
    }

    /// When the log is to note the time, where it has to.
    fn time_to_note(&self) -> Option<Time> {
        let waits = self.notes_time && self.machine.no_timer_before().is_some();
        waits.then(|| self.machine.now().after(NOTE_TIME))
    }

    fn drop_silent(&mut self, now: Time) {
        let before = Time(now.0.saturating_sub(self.config.heartbeat_timeout.0));
        for instance in self.dispatcher.silent(before) {
            // The time-out was its grace: its attempts are lost now.
            self.disconnect(instance, now);
            self.outputs.dropped.push(instance);
        }
    }

    /// Whether [`Partition::commit`] has something to append now.
    pub fn is_due(&self, now: Time) -> bool {
        let now = self.clock.max(now);
        if self.halted.is_some() || self.retry_at.is_some_and(|retry_at| now < retry_at) {
            return false;
        }
        !self.group.is_empty() || self.lazies.oldest().is_some_and(|oldest| now.since(oldest) >= self.config.lazy_delay)
    }

    /// When [`Partition::poll`] or [`Partition::commit`] has something to do next, as far as time decides it; now,
    /// where the group is not empty.
    pub fn next_wake(&mut self) -> Option<Time> {
        if self.halted.is_some() {
            return None;
        }
        if self.retry_at.is_some() || !self.group.is_empty() {
            return Some(self.retry_at.unwrap_or(self.clock));
        }
        // Read only where the answer would be "at once": a timer that was disarmed since is noticed when it is due.
        let soon = self.clock.after(Span(1));
        let timer = match self.machine.no_timer_before() {
            Some(due) if due <= soon => self.machine.next_timer().unwrap_or(Some(self.clock)),
            hint => hint,
        };
        let silence = self.dispatcher.longest_silence();
        // Silence of exactly the time-out is still allowed.
        let silence = silence.map(|heard| heard.after(self.config.heartbeat_timeout).after(Span(1)));
        let lazy = self.lazies.oldest().map(|oldest| oldest.after(self.config.lazy_delay));
        let opening = self.dispatcher.next_opening();
        [timer, self.time_to_note(), self.dispatcher.next_loss(), silence, lazy, opening].into_iter().flatten().min()
    }

    /// Appends what waits as one group (one durable write), applies it, and returns everything that is to be carried
    /// out. Where more waits than one group may have, [`Partition::is_due`] stays true.
    pub fn commit(&mut self, now: Time) -> Outputs {
        let now = self.advance(now);
        if self.is_due(now) {
            self.append(now);
            self.hand_out(now);
        }
        self.drop_overrun();
        self.outputs()
    }

    fn append(&mut self, now: Time) {
        let ripe = Time(now.0.saturating_sub(self.config.lazy_merge.0));
        while let Some(taken) = self.lazies.take_older(ripe) {
            self.push(Command::TaskTaken(taken), Origin::Internal);
        }
        let time = now.max(self.machine.now());
        let batch = self.group.batch(time);
        if batch.records.is_empty() {
            return;
        }
        match self.log.append(&batch.records) {
            Ok(last) => {
                let first = self.machine.applied().next();
                let count = batch.records.len() as u64;
                assert_eq!(last.0 + 1, first.0 + count, "the log and the machine count alike");
                self.retry_at = None;
                self.counters.groups += 1;
                self.counters.records += count;
                self.apply(batch, time);
            }
            Err(error @ (LogError::Io { .. } | LogError::TooLarge { .. })) => self.refused(batch, &error.into(), now),
            Err(error) => {
                // Whether the group is durable is unknown: nobody is told that it is.
                self.halt_as(error.into(), true);
                for (_, origin) in batch.commands {
                    self.refuse_halted(origin);
                }
            }
        }
    }

    /// Nothing was written: clients are told so, the rest is tried again later.
    fn refused(&mut self, batch: Batch, error: &Error, now: Time) {
        self.retry_at = Some(now.after(self.config.append_retry));
        for origin in self.group.put_back(batch) {
            self.refuse(origin, error.clone());
        }
    }

    fn apply(&mut self, batch: Batch, time: Time) {
        let mut commands = batch.commands.into_iter();
        for (command, origin) in commands.by_ref() {
            if let Err((error, origin)) = self.apply_one(&command, origin, time) {
                self.halt_as(error, false);
                self.refuse_halted(origin);
                break;
            }
        }
        for (_, origin) in commands {
            self.refuse_halted(origin);
        }
    }

    fn refuse_halted(&mut self, origin: Origin) {
        if let Some(halt) = &self.halted {
            let error = halt.error.clone();
            self.refuse(origin, error);
        }
    }

    fn apply_one(&mut self, command: &Command, origin: Origin, time: Time) -> Result<(), (Error, Origin)> {
        let seq = self.machine.applied().next();
        self.applying = Some(seq);
        let applied = self.machine.apply(seq, time, command);
        self.applying = None;
        let applied = match applied {
            Ok(applied) => applied,
            Err(error) => return Err((refusal::stuck(seq, error), origin)),
        };
        if let Command::Tick(_) = command {
            self.ticking = false;
        }
        let reporter = if let Origin::Report(report) = &origin { Some(*report) } else { None };
        for effect in applied.effects {
            self.dispatch_effect(effect, reporter, seq);
        }
        match (origin, applied.reply) {
            (Origin::Ticket(ticket), reply) => self.outputs.replies.push((ticket, reply)),
            (Origin::Report(report), Err(error)) => self.refuse_report(&report, error),
            (Origin::Handout(handout), Ok(_)) => self.send_durable(&handout),
            (origin @ Origin::Handout(_), Err(error)) => self.refuse(origin, error),
            // Where the attempt was over before, no effect has said so.
            (Origin::Loss(task, token), _) => drop(self.release_attempt(task, token)),
            (Origin::Report(_), Ok(_)) | (Origin::Internal, _) => {}
        }
        Ok(())
    }

    /// Carries an effect to where it belongs; `reporter` is whose report made it.
    fn dispatch_effect(&mut self, effect: Effect, reporter: Option<Report>, seq: Seq) {
        match effect {
            Effect::Ready(ready) => {
                // An earlier attempt has nothing to say any more.
                self.live.forget(ready.task);
                self.dispatcher.ready(ready);
            }
            Effect::AttemptEnded { task, token, end } => {
                self.dispatcher.ended(task, token, outcome_of(end), self.clock);
            }
            Effect::Gone { task, token, stop } => {
                self.lazies.take(task, token);
                let told_by = reporter.filter(|report| (report.task, report.token) == (task, token));
                let holder = self.release_attempt(task, token);
                let holder = holder.filter(|holder| told_by.is_none_or(|report| report.instance != *holder));
                if let Some(holder) = holder {
                    let reason = stop.unwrap_or("the attempt is over").to_owned();
                    self.tell(holder, ToWorker::Cancel { task, token, reason });
                }
            }
            Effect::Recorded { task, token, index, entry } => {
                if let Some(holder) = self.dispatcher.holder(task, token) {
                    self.tell(holder, ToWorker::Recorded { task, index, entry });
                }
            }
            Effect::Hold { run, held } => self.dispatcher.hold(run, held),
            Effect::Changed { run, seq } => {
                self.changed.insert(run, seq);
            }
            Effect::AgentChanged { namespace, name, version, state } => {
                self.effects.clear();
                self.dispatcher.set_agent_state(&namespace, &name, &version, state);
                if state.is_none() {
                    self.disconnect_version(&namespace, &name, &version);
                }
            }
            Effect::LimitChanged { namespace, scope, limit } => {
                self.dispatcher.set_limit(&namespace, &scope, limit, self.clock);
            }
            Effect::BlobUnused(hash) => self.outputs.unused.push((seq, hash)),
        }
    }
}
