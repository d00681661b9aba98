//! Journal entries.
//!
//! For: what a task records, in reports and in tasks. Not for: whether an entry may be recorded.
//! Invariant: documents are carried over unread.

use consort_types::{
    Payload, Result, Span,
    worker::{CallOptions, CallRetry, JournalEntry, JournalRequest, Route},
};

use super::{
    error::{error_from_wire, error_to_wire},
    field::{document, labels, payload, required, some, text},
};
use crate::v1::{self, answer_request::Outcome, journal_entry};

impl From<JournalEntry> for v1::JournalEntry {
    fn from(entry: JournalEntry) -> Self {
        let result = entry.result.map(|result| match result {
            Ok(output) => journal_entry::Result::Output(document(output)),
            Err(error) => journal_entry::Result::Error(error_to_wire(error)),
        });
        Self { after: entry.after, title: text(entry.title), request: Some(entry.request.into()), result }
    }
}

impl TryFrom<v1::JournalEntry> for JournalEntry {
    type Error = consort_types::Error;

    fn try_from(entry: v1::JournalEntry) -> Result<Self> {
        let result = entry.result.map(|result| match result {
            journal_entry::Result::Output(output) => Ok(payload(&output)),
            journal_entry::Result::Error(error) => Err(error_from_wire(error)),
        });
        let request = required("request", entry.request)?.into();
        Ok(Self { request, title: some(entry.title), after: entry.after, result })
    }
}

impl From<JournalRequest> for journal_entry::Request {
    fn from(request: JournalRequest) -> Self {
        match request {
            JournalRequest::Run { name } => Self::Run(v1::RunRequest { name }),
            JournalRequest::Call { capability, input, options } => Self::Call(v1::CallRequest {
                capability,
                input: document(input),
                options: options.map(|options| (*options).into()),
            }),
            JournalRequest::Sleep { span } => Self::Sleep(v1::SleepRequest { span_us: span.0 }),
            JournalRequest::Signal { name, schema } => {
                Self::Signal(v1::SignalRequest { name, schema: schema.map(document).unwrap_or_default() })
            }
            JournalRequest::Approval { prompt, detail } => {
                Self::Approval(v1::ApprovalRequest { prompt, detail: document(detail) })
            }
            JournalRequest::Forget { entries } => Self::Forget(v1::ForgetRequest { entries }),
            JournalRequest::State { transaction } => {
                Self::State(v1::StateRequest { transaction: document(transaction) })
            }
            JournalRequest::Expose { name, value } => Self::Expose(v1::ExposeRequest { name, value: document(value) }),
            JournalRequest::Labels { labels } => {
                Self::Labels(v1::LabelsRequest { labels: labels.into_iter().collect() })
            }
            JournalRequest::Update { name, schema } => {
                Self::Update(v1::UpdateRequest { name, schema: schema.map(document).unwrap_or_default() })
            }
            JournalRequest::Answer { update, value, rejection } => {
                Self::Answer(v1::AnswerRequest { update, outcome: Some(outcome_to_wire(value, rejection)) })
            }
        }
    }
}

impl From<journal_entry::Request> for JournalRequest {
    fn from(request: journal_entry::Request) -> Self {
        use journal_entry::Request;
        match request {
            Request::Run(run) => Self::Run { name: run.name },
            Request::Call(call) => Self::Call {
                capability: call.capability,
                input: payload(&call.input),
                options: call.options.map(|options| Box::new(options.into())),
            },
            Request::Sleep(sleep) => Self::Sleep { span: Span(sleep.span_us) },
            Request::Signal(signal) => {
                let schema = (!signal.schema.is_empty()).then(|| payload(&signal.schema));
                Self::Signal { name: signal.name, schema }
            }
            Request::Approval(approval) => {
                Self::Approval { prompt: approval.prompt, detail: payload(&approval.detail) }
            }
            Request::Forget(forget) => Self::Forget { entries: forget.entries },
            Request::State(state) => Self::State { transaction: payload(&state.transaction) },
            Request::Expose(expose) => Self::Expose { name: expose.name, value: payload(&expose.value) },
            Request::Labels(given) => Self::Labels { labels: labels(given.labels) },
            Request::Update(update) => {
                let schema = (!update.schema.is_empty()).then(|| payload(&update.schema));
                Self::Update { name: update.name, schema }
            }
            Request::Answer(answer) => {
                let (value, rejection) = match answer.outcome {
                    Some(Outcome::Value(value)) => (Some(payload(&value)), None),
                    Some(Outcome::Rejection(rejection)) => (None, Some(rejection)),
                    None => (None, None),
                };
                Self::Answer { update: answer.update, value, rejection }
            }
        }
    }
}

fn outcome_to_wire(value: Option<Payload>, rejection: Option<String>) -> Outcome {
    match value {
        Some(value) => Outcome::Value(document(value)),
        None => Outcome::Rejection(rejection.unwrap_or_default()),
    }
}

impl From<CallOptions> for v1::CallOptions {
    fn from(options: CallOptions) -> Self {
        Self {
            agent: text(options.agent),
            route: options.route.map(Into::into),
            retry: options.retry.map(Into::into),
            timeout_us: options.timeout.map(|span| span.0),
            priority: options.priority,
        }
    }
}

impl From<v1::CallOptions> for CallOptions {
    fn from(options: v1::CallOptions) -> Self {
        Self {
            agent: some(options.agent),
            route: options.route.map(Into::into),
            retry: options.retry.map(Into::into),
            timeout: options.timeout_us.map(Span),
            priority: options.priority,
        }
    }
}

impl From<Route> for v1::Route {
    fn from(route: Route) -> Self {
        Self { version: text(route.version), labels: route.labels.into_iter().collect(), sticky: text(route.sticky) }
    }
}

impl From<v1::Route> for Route {
    fn from(route: v1::Route) -> Self {
        Self { version: some(route.version), labels: labels(route.labels), sticky: some(route.sticky) }
    }
}

impl From<CallRetry> for v1::Retry {
    fn from(retry: CallRetry) -> Self {
        Self {
            attempts: retry.attempts,
            initial_us: retry.initial.0,
            factor_milli: retry.factor_milli,
            max_us: retry.max.0,
        }
    }
}

impl From<v1::Retry> for CallRetry {
    fn from(retry: v1::Retry) -> Self {
        Self {
            attempts: retry.attempts,
            initial: Span(retry.initial_us),
            factor_milli: retry.factor_milli,
            max: Span(retry.max_us),
        }
    }
}
