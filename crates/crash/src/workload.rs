//! The work that is in flight while the program dies.
//!
//! For: which workflows are started with what, under which keys. Not for: when.
//! Invariant: how a case must end depends on its workflow and its number alone, so that an undisturbed server shows how
//! it must end under crashes.

use serde_json::{Value, json};

/// A workflow of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workflow {
    /// Its name.
    pub name: &'static str,
    /// Its text.
    pub source: &'static str,
}

macro_rules! workflows {
    ($($name:literal),+) => {
        /// Every workflow.
        pub const WORKFLOWS: &[Workflow] =
            &[$(Workflow { name: $name, source: include_str!(concat!("../workflows/", $name, ".yaml")) }),+];
    };
}

workflows!("chain", "fan", "rounds", "stubborn", "waits", "parent", "undo", "writes", "asks", "endless");

/// Different inputs of each workflow.
pub const NUMBERS: u64 = 3;

/// How a run ended, as far as it must be the same each time.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// `completed`, `failed` or `cancelled`.
    pub status: String,
    /// What it made.
    pub output: Value,
    /// The code of its error.
    pub code: Value,
}

/// A requested run.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its workflow.
    pub workflow: Workflow,
    /// Its number: what its input is made of.
    pub number: u64,
    /// Its idempotency key.
    pub key: String,
    /// The run, once a start was acknowledged.
    pub run: Option<String>,
    /// How it ended, once that was seen.
    pub ended: Option<Ended>,
    /// Signals that were acknowledged, and signals that were sent.
    pub signals: (u32, u32),
    /// Whether a cancellation was acknowledged.
    pub cancelled: bool,
}

impl Case {
    /// A case that has not been requested yet.
    pub fn new(workflow: Workflow, number: u64, key: String) -> Self {
        Self { workflow, number, key, run: None, ended: None, signals: (0, 0), cancelled: false }
    }

    /// The input of its run. Some texts are too long to be inline in a record.
    pub fn input(&self) -> Value {
        let text = "consort ".repeat(if self.number == 2 { 9_000 } else { 3 });
        json!({ "n": self.number, "text": text })
    }

    /// What starts its run.
    pub fn request(&self) -> Value {
        json!({ "workflow": self.workflow.name, "input": self.input(), "labels": { "key": self.key } })
    }
}
