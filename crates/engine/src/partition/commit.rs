//! Looking at the time, applying records, and carrying effects to where they belong.
//!
//! For: the heart of the loop. Not for: getting groups into the log (`append`), hand-out and recovery.
//! Invariant: a record is applied only after its group is durable, in the order of the log.

use consort_core::{
    AttemptEnd, Command, Effect,
    command::{AttemptLost, RetryDiverged, Tick},
};
use consort_dispatch::Outcome;
use consort_types::{Code, Error, Result, Seq, Span, Time, limits, worker::ToWorker};

use super::{
    Partition,
    group::{Origin, Report},
    refusal,
};
use crate::{calendar, topic::Topic};

/// How old the last record may be where the log has to note the time.
const NOTE_TIME: Span = Span::from_secs(limits::CLOCK_NOTE_SECONDS_MAX);

/// What the end of an attempt says of its instance.
fn outcome_of(end: AttemptEnd) -> Outcome {
    match end {
        AttemptEnd::Completed => Outcome::Completed,
        AttemptEnd::Failed { code: Code::Cancelled | Code::Fenced, .. } => Outcome::Failed { blamed: false },
        // It does not give what it declares, whatever the input.
        AttemptEnd::Failed { code: Code::BadOutput, .. } => Outcome::Broken,
        // A failure that no further attempt would mend is caused by the input alone.
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
            self.record_deferred(lost.task, lost.token);
            let (task, token, reason, died) = (lost.task, lost.token, lost.reason, Some(lost.died));
            self.push(Command::AttemptLost(AttemptLost { task, token, reason, died }), Origin::Loss(task, token));
        }
        self.dispatcher.writers().release(now, self.config.pinned_wait);
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
    pub(super) fn time_to_note(&self) -> Option<Time> {
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

    pub(super) fn apply_one(&mut self, command: &Command, origin: Origin, time: Time) -> Result<(), (Error, Origin)> {
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
                self.observed.tell(|observer| observer.attempt_ended(task, token, end));
                self.dispatcher.ended(task, token, outcome_of(end), self.clock);
            }
            Effect::Gone { task, token, stop } => {
                self.deferred.take(task, token);
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
                self.changed.insert(Topic::Run(run), seq);
            }
            Effect::BallotChanged { ballot, seq } => {
                self.changed.insert(Topic::Ballot(ballot), seq);
            }
            Effect::EventsChanged { namespace, seq } => {
                self.changed.insert(Topic::events(&namespace), seq);
            }
            Effect::PushesChanged { seq } => {
                self.changed.insert(Topic::Pushes, seq);
            }
            Effect::AgentChanged { namespace, name, version, state } => {
                self.effects.clear();
                self.dispatcher.set_agent_state(&namespace, &name, &version, state);
                if state.is_none() {
                    self.disconnect_version(&namespace, &name, &version);
                } else if self.observed.now().is_some()
                    && let Ok(warnings) = self.views().contradictions(&namespace, &name, &version)
                    && !warnings.is_empty()
                {
                    self.observed.tell(|observer| observer.agent_contradicted(&name, &version, &warnings));
                }
            }
            Effect::LimitChanged { namespace, scope, limit } => {
                self.dispatcher.set_limit(&namespace, &scope, limit, self.clock);
            }
            Effect::DivergedLeft { namespace, agent, version, after } => {
                let retry = RetryDiverged { namespace, agent, version, after: Some(after) };
                self.push(Command::RetryDiverged(retry), Origin::Internal);
            }
            Effect::PlanWanted(request) => {
                self.push(Command::PlanSchedule(calendar::plan(*request)), Origin::Internal);
            }
            Effect::SpaceChanged { space, seq } => drop(self.changed.insert(Topic::Space(space), seq)),
            Effect::Coordinated { of, seq } => {
                self.changed.insert(Topic::coordinated(&of), seq);
            }
            Effect::BlobUnused(hash) => self.outputs.unused.push((seq, hash)),
        }
    }
}
