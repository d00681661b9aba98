//! Forged reports: made by lying workers, and found where one was taken.
//!
//! For: every verb of the worker protocol. Not for: choosing tasks and liars (see `actors::liar`).
//! Invariant: a forged report carries a mark that no other report has, so that a record or a live message with it
//! proves that the report was taken.

use consort_core::{Command, rows::TaskEntry};
use consort_types::{
    Code, Error, Payload, StepInstanceId, Token,
    worker::{Delta, FromWorker, JournalEntry, JournalRequest, Live, Progress},
};
use serde_json::json;

use crate::{
    plan::{Checked, Violation},
    random::Random,
};

/// What only forged reports say.
const MARK: &str = "forged";
/// A position that no journal reaches.
const BEYOND: u32 = u32::MAX;

/// A report of any verb, or of any that does not end the attempt.
pub(crate) fn forge(random: &mut Random, task: StepInstanceId, token: Token, may_end: bool) -> FromWorker {
    match random.between(if may_end { 0 } else { 2 }, 5) {
        0 => FromWorker::Complete { task, token, output: Payload::from_value(&json!(MARK)) },
        1 => {
            let (error, retryable) = (Error::new(Code::AgentFailed, MARK), random.chance(500));
            FromWorker::Fail { task, token, error, retryable, retry_after: None }
        }
        2 => {
            let request = JournalRequest::Run { name: MARK.to_owned() };
            let entry = JournalEntry { title: None, request, after: Vec::new(), result: Some(Ok(Payload::null())) };
            FromWorker::Record { task, token, index: 0, entry }
        }
        3 => FromWorker::Park { task, token, waiting: vec![BEYOND] },
        4 => FromWorker::Heartbeat { task, token, progress: Some(MARK.to_owned()) },
        _ => FromWorker::Stream { task, token, delta: Delta::Text { text: MARK.to_owned() } },
    }
}

/// No record holds a forged report (law 3).
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

/// No live message comes from a forged report (law 3).
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
