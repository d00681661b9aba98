//! Giving tasks to instances.
//!
//! For: turning an assignment into a message, recorded before or after. Not for: choosing (the dispatcher does).
//! Invariant: a `write` task is sent only after its hand-out is durable.

use consort_core::{Command, command::TaskTaken};
use consort_dispatch::Assignment;
use consort_types::{EffectClass, Result, StepInstanceId, Time, Token, WorkerInstance, limits, worker::ToWorker};

use super::{
    Partition,
    group::{Origin, Report},
};
use crate::InstanceId;

/// What a task counts among the bytes that wait for its instance while its hand-out is not durable, and its input not
/// looked at.
pub(super) const HELD_BACK_BYTES: usize = limits::INLINE_BYTES_MAX;

impl Partition {
    pub(super) fn hand_out(&mut self, now: Time) {
        // One by one: each task that is sent counts among what its instance has not read.
        while self.halted.is_none()
            && let Some(assignment) = self.dispatcher.assign_one(now)
        {
            if let Err(error) = self.give(&assignment, now) {
                return self.halt_as(error, true);
            }
        }
    }

    fn give(&mut self, assignment: &Assignment, now: Time) -> Result<()> {
        let Assignment { task, token, instance, .. } = *assignment;
        let effect = class(self, assignment)?;
        let Some(taken) = hand_out_record(self, instance, task, token, effect, now) else { return Ok(()) };
        if effect == EffectClass::Write {
            self.dispatcher.add_unread(instance, HELD_BACK_BYTES);
            self.push(Command::TaskTaken(taken), Origin::Handout(Report { instance, task, token }));
        } else if self.send(instance, task, token)? {
            self.deferred.put(taken);
        }
        Ok(())
    }

    /// The effect class of a task, where it is known without looking it up.
    pub(super) fn known_effect(&self, task: StepInstanceId) -> Option<EffectClass> {
        self.dispatcher.requested(task).and_then(|requested| self.effects.of(&requested))
    }

    /// Sends a task to an instance; returns whether it did: a task that is over is forgotten instead.
    fn send(&mut self, instance: InstanceId, task: StepInstanceId, token: Token) -> Result<bool> {
        match self.machine.offer(task)? {
            Some(offer) if offer.token == token => {
                self.live.begin(task, token, &offer.step, offer.attempt);
                if let Some(name) = self.dispatcher.name(instance) {
                    self.observed.tell(|observer| observer.dispatched(task, token, name));
                }
                self.tell(instance, ToWorker::Task(Box::new(offer)));
                Ok(true)
            }
            _ => {
                self.release_attempt(task, token);
                Ok(false)
            }
        }
    }

    /// The hand-out of a `write` task is durable: send it, where its instance is still there.
    pub(super) fn send_durable(&mut self, handout: &Report) {
        let Report { instance, task, token } = *handout;
        self.dispatcher.take_unread(instance, HELD_BACK_BYTES);
        if self.dispatcher.holder(task, token) != Some(instance) {
            return;
        }
        if let Err(error) = self.send(instance, task, token) {
            self.halt_as(error, true);
        }
    }

    /// An instance has claimed a task that it holds from before a reconnect.
    pub(super) fn claimed(
        &mut self,
        instance: InstanceId,
        task: StepInstanceId,
        token: Token,
        from: Option<InstanceId>,
        unrecorded: bool,
        now: Time,
    ) {
        if let Some(from) = from.filter(|from| *from != instance) {
            let reason = "another connection of its worker holds the task".to_owned();
            self.tell(from, ToWorker::Cancel { task, token, reason });
        }
        if unrecorded {
            self.deferred.take(task, token);
            let effect = self.known_effect(task).unwrap_or_default();
            if let Some(taken) = hand_out_record(self, instance, task, token, effect, now) {
                self.deferred.put(taken);
            }
        }
    }

    /// Puts an unrecorded hand-out into the open group, ahead of what depends on it.
    pub(super) fn record_deferred(&mut self, task: StepInstanceId, token: Token) {
        if let Some(taken) = self.deferred.take(task, token) {
            self.push(Command::TaskTaken(taken), Origin::Internal);
        }
    }
}

fn hand_out_record(
    partition: &Partition,
    instance: InstanceId,
    task: StepInstanceId,
    token: Token,
    effect: EffectClass,
    at: Time,
) -> Option<TaskTaken> {
    let version = partition.dispatcher.version(instance).map(str::to_owned);
    let instance = WorkerInstance::clone(partition.dispatcher.name(instance)?);
    Some(TaskTaken { task, token, instance, effect, at, version })
}

/// The effect class of an attempt: its step's own, or what the capability declares.
fn class(partition: &mut Partition, assignment: &Assignment) -> Result<EffectClass> {
    let Some(requested) = partition.dispatcher.requested(assignment.task) else { return Ok(EffectClass::default()) };
    if let Some(known) = partition.effects.of(&requested) {
        return Ok(known);
    }
    let (namespace, capability) = (requested.namespace, requested.capability.unwrap_or(""));
    let class = partition.machine.registry().capability_effect(namespace, capability, requested.agent)?;
    partition.effects.note(requested.queue, class);
    Ok(class)
}
