//! Messages of the server to a worker.
//!
//! For: tasks, cancellations, answers to reports, there and back. Not for: `Welcome`, which is about the session and
//! not about its instances.
//! Invariant: a task travels whole: its input, its journal, its deadline, its trace.

use consort_types::{
    Code, Error, Result, Time, Token,
    worker::{TaskOffer, ToWorker},
};

use super::{
    error::{error_from_wire, error_to_wire},
    field::{attempt, attempt_of, document, parse, payload, required, within},
};
use crate::v1::{self, server_message::Kind};

impl From<ToWorker> for Kind {
    fn from(message: ToWorker) -> Self {
        match message {
            ToWorker::Task(offer) => Self::Task((*offer).into()),
            ToWorker::Cancel { task, token, reason } => {
                Self::Cancel(v1::Cancel { attempt: Some(attempt(task, token)), reason })
            }
            ToWorker::Recorded { task, index, entry } => {
                Self::Recorded(v1::Recorded { task: task.to_string(), index, entry: Some(entry.into()) })
            }
            ToWorker::Refused { task, token, error } => {
                Self::Refused(v1::Refused { attempt: Some(attempt(task, token)), error: Some(error_to_wire(error)) })
            }
            ToWorker::Drain => Self::Drain(v1::Drain {}),
        }
    }
}

impl TryFrom<Kind> for ToWorker {
    type Error = Error;

    fn try_from(kind: Kind) -> Result<Self> {
        Ok(match kind {
            Kind::Welcome(_) => {
                return Err(Error::new(Code::BadRequest, "`welcome` comes first, alone, and only once"));
            }
            Kind::Task(task) => Self::Task(Box::new(within("task", task.try_into())?)),
            Kind::Cancel(cancel) => {
                let (task, token) = within("cancel", attempt_of(cancel.attempt))?;
                Self::Cancel { task, token, reason: cancel.reason }
            }
            Kind::Recorded(recorded) => Self::Recorded {
                task: parse("recorded.task", &recorded.task)?,
                index: recorded.index,
                entry: within("recorded.entry", required("recorded.entry", recorded.entry)?.try_into())?,
            },
            Kind::Refused(refused) => {
                let (task, token) = within("refused", attempt_of(refused.attempt))?;
                Self::Refused { task, token, error: error_from_wire(required("refused.error", refused.error)?) }
            }
            Kind::Drain(_) => Self::Drain,
        })
    }
}

impl From<TaskOffer> for v1::Task {
    fn from(offer: TaskOffer) -> Self {
        Self {
            attempt: Some(attempt(offer.task, offer.token)),
            number: offer.attempt,
            capability: offer.capability,
            run: offer.task.run.to_string(),
            workflow: offer.workflow,
            step: offer.step,
            input: document(offer.input),
            idempotency_key: offer.idempotency_key,
            deadline_us: offer.deadline.map(|time| time.0),
            journal: offer.journal.into_iter().map(Into::into).collect(),
            traceparent: offer.traceparent,
        }
    }
}

impl TryFrom<v1::Task> for TaskOffer {
    type Error = Error;

    fn try_from(task: v1::Task) -> Result<Self> {
        let (id, token): (_, Token) = attempt_of(task.attempt)?;
        let journal = task.journal.into_iter().enumerate();
        let journal = journal.map(|(index, entry)| within(&format!("journal[{index}]"), entry.try_into()));
        Ok(Self {
            task: id,
            token,
            attempt: task.number,
            capability: task.capability,
            workflow: task.workflow,
            step: task.step,
            input: payload(&task.input),
            idempotency_key: task.idempotency_key,
            deadline: task.deadline_us.map(Time),
            journal: journal.collect::<Result<_>>()?,
            traceparent: task.traceparent,
        })
    }
}
