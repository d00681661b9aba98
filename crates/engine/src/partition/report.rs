//! What workers say.
//!
//! For: making commands of reports. Not for: deciding on them: `admission` checks the holder of the attempt, and the
//! machine checks every token when it applies the record.
//! Invariant: a completion that overtakes the record of its hand-out carries the hand-out along.

use consort_core::{
    Command,
    command::{TaskComplete, TaskFail, TaskPark, TaskRecord},
};
use consort_types::{
    StepInstanceId, Time, Token, WorkerInstance,
    worker::{FromWorker, Live, Progress, ToWorker},
};

use super::{
    Partition,
    admission::{self, Admission},
    group::{Origin, Report},
};
use crate::InstanceId;

impl Partition {
    /// An instance reports. A report that it may not make, or that the machine refuses, is answered with `Refused`.
    pub fn report(&mut self, instance: InstanceId, report: FromWorker, now: Time) {
        let now = self.advance(now);
        self.dispatcher.heard(instance, now);
        match report.attempt() {
            Some((task, token)) => self.report_attempt(Report { instance, task, token }, report),
            None => self.report_instance(instance, &report),
        }
    }

    fn report_instance(&mut self, instance: InstanceId, report: &FromWorker) {
        match report {
            FromWorker::Credit { tasks } => self.dispatcher.set_capacity(instance, *tasks),
            FromWorker::Leaving => {
                self.dispatcher.drain_instance(instance);
                self.tell(instance, ToWorker::Drain);
            }
            _ => {}
        }
    }

    fn report_attempt(&mut self, about: Report, report: FromWorker) {
        if let Err(error) = report.check() {
            return self.refuse_report(&about, error);
        }
        match admission::admit(self, about, &report) {
            Ok(Admission::Taken) => {}
            Ok(Admission::Repeated) => return,
            Err(error) => {
                let Report { instance, task, token } = about;
                return self.tell(instance, ToWorker::Refused { task, token, error });
            }
        }
        let Some(by) = self.dispatcher.name(about.instance).map(|name| WorkerInstance::clone(name)) else { return };
        let version = self.dispatcher.version(about.instance).map(str::to_owned);
        let command = match report {
            FromWorker::Complete { task, token, output } => {
                let taken = self.merge_deferred(task, token);
                Command::TaskComplete(TaskComplete { task, token, output, taken, by, version })
            }
            FromWorker::Fail { task, token, error, retryable, retry_after } => {
                let taken = self.merge_deferred(task, token);
                Command::TaskFail(TaskFail { task, token, error, retryable, retry_after, taken, by, version })
            }
            FromWorker::Record { task, token, index, entry } => {
                self.record_deferred(task, token);
                let by = (by, version.unwrap_or_default());
                Command::TaskRecord(TaskRecord::new((task, token), by, index, &entry))
            }
            FromWorker::Park { task, token, waiting } => {
                self.record_deferred(task, token);
                Command::TaskPark(TaskPark { task, token, waiting, by })
            }
            FromWorker::Heartbeat { task, token, progress: Some(message) } => {
                return self.publish_progress(task, token, Live::Message { message });
            }
            FromWorker::Stream { task, token, delta } => return self.publish_progress(task, token, delta.into()),
            FromWorker::Heartbeat { progress: None, .. }
            | FromWorker::Alive
            | FromWorker::Credit { .. }
            | FromWorker::Leaving => return,
        };
        self.push(command, Origin::Report(about));
    }

    fn merge_deferred(&mut self, task: StepInstanceId, token: Token) -> Option<(WorkerInstance, Time)> {
        self.deferred.take(task, token).map(|taken| (taken.instance, taken.at))
    }

    /// Live messages that were not given out yet.
    pub fn take_live(&mut self) -> Vec<Progress> {
        std::mem::take(&mut self.outputs.progress)
    }

    /// Publishes live progress of an attempt; what arrives after its end is dropped.
    fn publish_progress(&mut self, task: StepInstanceId, token: Token, live: Live) {
        self.outputs.progress.extend(self.live.publish(task, token, live));
    }
}
