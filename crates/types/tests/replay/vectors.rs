//! The vectors of the replay rule, as `sdks/conformance/replay-vectors.json` writes them.
//!
//! For: every Rust test that decides what counts as the same request. Not for: the rule (see `consort_types::replay`).
//! Invariant: a vector is read in full or not at all, and its documents are kept byte for byte.

use std::collections::BTreeMap;

use consort_types::{
    Payload, Span,
    worker::{CallOptions, JournalRequest},
};
use serde::Deserialize;

/// Two requests, and whether the second matches the first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) same: bool,
    recorded: Request,
    asked: Request,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    Run { name: String },
    Call { capability: String, input: String, priority: Option<i32> },
    Sleep { span_us: u64 },
    Signal { name: String },
    Approval { prompt: String, detail: String },
    State { transaction: String },
    Expose { name: String, value: String },
    Labels { labels: BTreeMap<String, String> },
    Update { name: String },
    Answer { update: u32, value: Option<String>, rejection: Option<String> },
}

impl Vector {
    pub(crate) fn recorded(&self) -> JournalRequest {
        self.recorded.request()
    }

    pub(crate) fn asked(&self) -> JournalRequest {
        self.asked.request()
    }
}

impl Request {
    fn request(&self) -> JournalRequest {
        let document = |text: &String| Payload::inline(text.as_bytes());
        match self {
            Self::Run { name } => JournalRequest::Run { name: name.clone() },
            Self::Call { capability, input, priority } => {
                let options = priority
                    .map(|priority| Box::new(CallOptions { priority: Some(priority), ..CallOptions::default() }));
                JournalRequest::Call { capability: capability.clone(), input: document(input), options }
            }
            Self::Sleep { span_us } => JournalRequest::Sleep { span: Span(*span_us) },
            Self::Signal { name } => JournalRequest::Signal { name: name.clone(), schema: None },
            Self::Approval { prompt, detail } => {
                JournalRequest::Approval { prompt: prompt.clone(), detail: document(detail) }
            }
            Self::State { transaction } => JournalRequest::State { transaction: document(transaction) },
            Self::Expose { name, value } => JournalRequest::Expose { name: name.clone(), value: document(value) },
            Self::Labels { labels } => JournalRequest::Labels { labels: labels.clone() },
            Self::Update { name } => JournalRequest::Update { name: name.clone(), schema: None },
            Self::Answer { update, value, rejection } => JournalRequest::Answer {
                update: *update,
                value: value.as_ref().map(document),
                rejection: rejection.clone(),
            },
        }
    }
}

/// Every vector.
pub(crate) fn all() -> Vec<Vector> {
    let text = include_str!("../../../../sdks/conformance/replay-vectors.json");
    let vectors: Vec<Vector> = serde_json::from_str(text).expect("the vectors are understood");
    assert!(vectors.iter().any(|vector| vector.same) && vectors.iter().any(|vector| !vector.same));
    vectors
}
