//! Lying workers: they report on tasks that they do not hold, with tokens that they have guessed right.
//!
//! For: every verb of the worker protocol, from instances of any namespace and agent. Not for: instances that misbehave
//! with what they were given (see `agents`).
//! Invariant: what a liar says carries a mark that nobody else's report has, so that a record or a live message with
//! it proves that the report was taken.

use consort_core::{Command, rows::TaskEntry};
use consort_engine::InstanceId;
use consort_types::{
    Code, Error, Payload, TaskId, Token,
    worker::{Delta, FromWorker, JournalEntry, JournalRequest, Live, Progress},
};
use serde_json::json;

use crate::{
    plan::{Checked, Planted, Violation},
    world::{Event, SECOND, World},
};

/// What only liars say.
const MARK: &str = "forged";
/// A position that no journal reaches.
const BEYOND: u32 = u32::MAX;

impl World {
    /// One of the instances lies about tasks of others.
    pub(crate) fn lie(&mut self) -> Checked {
        let pause = self.random.span(SECOND / 10, 4 * SECOND);
        if !self.calm {
            self.at(pause, Event::Lie);
        }
        let open = self.sessions.values().filter(|known| known.incarnation == self.host.incarnation);
        let liars: Vec<(usize, InstanceId)> = open.map(|known| (known.instance, known.remote)).collect();
        let tasks = self.fold.guessable();
        if liars.is_empty() || tasks.is_empty() {
            return Ok(());
        }
        let (liar, mut remote) = *self.random.pick(&liars);
        let (task, token) = *self.random.pick(&tasks);
        // What the engine has given to it may still be on the way: then it is no lie.
        let is_holder = self.host.partition.as_ref().is_some_and(|partition| partition.is_holder(remote, task, token));
        if is_holder || self.was_given(task, token, liar) {
            return Ok(());
        }
        if self.plan.planted == Some(Planted::StrangerHeard)
            && let Some(holder) = self.holder(task, token)
        {
            remote = holder;
        }
        self.figures.fault("forged reports");
        let (report, now) = (self.forge(task, token, liar), self.log_time());
        if let Some(partition) = &mut self.host.partition {
            partition.report(remote, report, now);
        }
        self.wake(10);
        Ok(())
    }

    /// A report of any verb; an instance of the agent that had the attempt does not end it, since such a one may settle
    /// what its agent has left open.
    fn forge(&mut self, task: TaskId, token: Token, liar: usize) -> FromWorker {
        let agent = self.agent_name(liar);
        // A hand-out that was recorded may never have arrived.
        let recorded = self.fold.recorded_agent(task).is_some_and(|recorded| recorded == agent);
        let first = if recorded || self.had_by_agent_of(task, token, liar) { 2 } else { 0 };
        match self.random.between(first, 5) {
            0 => FromWorker::Complete { task, token, output: Payload::from_value(&json!(MARK)) },
            1 => {
                let (error, retryable) = (Error::new(Code::AgentFailed, MARK), self.random.chance(500));
                FromWorker::Fail { task, token, error, retryable, retry_after: None }
            }
            2 => {
                let request = JournalRequest::Run { name: MARK.to_owned() };
                let entry = JournalEntry { request, after: Vec::new(), result: Some(Ok(Payload::null())) };
                FromWorker::Record { task, token, index: 0, entry }
            }
            3 => FromWorker::Park { task, token, waiting: vec![BEYOND] },
            4 => FromWorker::Heartbeat { task, token, progress: Some(MARK.to_owned()) },
            _ => FromWorker::Stream { task, token, delta: Delta::Text { text: MARK.to_owned() } },
        }
    }
}

/// A record that holds what a liar said.
pub(crate) fn check_record(body: &[u8]) -> Checked {
    let Ok(command) = Command::decode(body) else { return Ok(()) };
    let forged = match &command {
        Command::TaskComplete(report) => report.output == Payload::from_value(&json!(MARK)),
        Command::TaskFail(report) => report.error.message == MARK,
        Command::TaskRecord(report) => {
            matches!(&report.entry, TaskEntry { request: JournalRequest::Run { name }, .. } if name == MARK)
        }
        Command::TaskPark(report) => report.waiting == [BEYOND],
        _ => false,
    };
    if forged { Err(taken(&format!("{command:?}"))) } else { Ok(()) }
}

/// Live messages that a liar said.
pub(crate) fn check_live(progress: &[Progress]) -> Checked {
    let forged = progress.iter().find(|progress| match &progress.live {
        Live::Message { message: text } | Live::Text { text } => text == MARK,
        Live::Json { .. } => false,
    });
    forged.map_or(Ok(()), |progress| Err(taken(&format!("{progress:?}"))))
}

fn taken(what: &str) -> Violation {
    Violation::of(3, format!("a report was taken from an instance that did not hold its task: {what}"))
}
