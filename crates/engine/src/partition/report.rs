//! What workers say.
//!
//! For: making commands of reports. Not for: judging them: the machine checks every token when it applies the record.
//! Invariant: a completion that overtakes the record of its hand-out carries the hand-out along.

use consort_core::{
    Command,
    command::{TaskComplete, TaskFail, TaskPark, TaskRecord},
};
use consort_types::{
    TaskId, Time, Token,
    worker::{FromWorker, Live, Progress, ToWorker},
};

use super::{
    Partition,
    group::{Origin, Report},
};
use crate::InstanceId;

impl Partition {
    /// An instance reports. What the machine refuses comes back to it as `Refused`.
    pub fn report(&mut self, instance: InstanceId, report: FromWorker, now: Time) {
        let now = self.advance(now);
        self.dispatcher.heard(instance, now);
        if let (Err(error), Some((task, token))) = (report.check(), report.attempt()) {
            return self.refuse_report(&Report { instance, task, token }, error);
        }
        match report {
            FromWorker::Complete { task, token, output } => {
                let taken = self.merge_lazy(task, token);
                let command = Command::TaskComplete(TaskComplete { task, token, output, taken });
                self.push(command, Origin::Report(Report { instance, task, token }));
            }
            FromWorker::Fail { task, token, error, retryable, retry_after } => {
                let taken = self.merge_lazy(task, token);
                let command = Command::TaskFail(TaskFail { task, token, error, retryable, retry_after, taken });
                self.push(command, Origin::Report(Report { instance, task, token }));
            }
            FromWorker::Record { task, token, index, entry } => {
                self.record_lazy(task, token);
                let command = Command::TaskRecord(TaskRecord::new(task, token, index, &entry));
                self.push(command, Origin::Report(Report { instance, task, token }));
            }
            FromWorker::Park { task, token, waiting } => {
                self.record_lazy(task, token);
                let command = Command::TaskPark(TaskPark { task, token, waiting });
                self.push(command, Origin::Report(Report { instance, task, token }));
            }
            FromWorker::Heartbeat { task, token, progress } => {
                if let Some(message) = progress {
                    self.publish_progress(task, token, Live::Message { message });
                }
            }
            FromWorker::Stream { task, token, delta } => self.publish_progress(task, token, delta.into()),
            FromWorker::Alive => {}
            FromWorker::Credit { tasks } => self.dispatcher.set_capacity(instance, tasks),
            FromWorker::Leaving => {
                self.dispatcher.drain_instance(instance);
                self.tell(instance, ToWorker::Drain);
            }
        }
    }

    fn merge_lazy(&mut self, task: TaskId, token: Token) -> Option<(String, Time)> {
        self.lazies.take(task, token).map(|taken| (taken.instance, taken.at))
    }

    /// Live messages that were not given out yet.
    pub fn take_live(&mut self) -> Vec<Progress> {
        std::mem::take(&mut self.outputs.progress)
    }

    /// Publishes live progress of an attempt; what arrives after its end is dropped.
    fn publish_progress(&mut self, task: TaskId, token: Token, live: Live) {
        self.outputs.progress.extend(self.live.publish(task, token, live));
    }
}
