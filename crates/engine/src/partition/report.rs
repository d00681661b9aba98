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
    InstanceId, Partition,
    group::{Origin, Report},
};

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
                    self.show(task, token, Live::Message { message });
                }
            }
            FromWorker::Stream { task, token, delta } => self.show(task, token, delta.into()),
            FromWorker::Alive => {}
            FromWorker::Credit { tasks } => self.dispatcher.set_credit(instance, tasks),
            FromWorker::Leaving => {
                self.dispatcher.give_no_more(instance);
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

    /// Shows watchers what an attempt says; one that is over has nothing to show any more.
    fn show(&mut self, task: TaskId, token: Token, live: Live) {
        self.outputs.progress.extend(self.dispatcher.say(task, token, live));
    }
}
