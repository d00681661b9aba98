//! Shared state from the code of a task.
//!
//! For: reading and writing keys of spaces as entries of the journal: what was read is recorded, and nothing is written
//! twice. Not for: clients (they call the server), or what a write comes to (the server decides).
//! Invariant: one call is one entry and one transaction, so all that it does is done, or nothing.

use consort_types::{Code, Error, Span, state::WriteOutcome};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    Answer, TaskContext, TaskError,
    context::{read_result, unwritable},
};

/// A space of shared state, as the code of a task uses it.
#[derive(Clone, Debug)]
pub struct StateSpace {
    context: TaskContext,
    space: String,
}

/// A value with its version.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StateValue<T> {
    /// The value.
    pub value: T,
    /// Its version: the number of the record that wrote it.
    pub version: u64,
}

/// The outcome of a write.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StateWritten {
    /// What was done: written, merged with others, superseded by another, or both are kept until it is decided.
    pub outcome: WriteOutcome,
    /// The version that the key has now; 0 where it has no value.
    pub version: u64,
    /// The value that the key has now, where that is another one than was written.
    #[serde(default)]
    pub value: Option<Value>,
    /// The conflict, where the write had not seen the latest value.
    #[serde(default)]
    pub conflict: Option<String>,
}

/// The outcome of a transaction.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct StateTransaction {
    /// Its version: that of every key that it wrote.
    pub version: u64,
    /// Whether the conditions held.
    pub succeeded: bool,
    /// The outcome of each operation, in order.
    pub results: Vec<StateWritten>,
}

/// A write: a value, and what the writer has seen.
#[derive(Clone, Debug, Default)]
pub struct PutOptions {
    seen: Option<u64>,
    ttl: Option<Span>,
}

impl PutOptions {
    /// The writer has seen nothing: by the policy `reject` it overwrites, by the others it is merged.
    pub fn new() -> Self {
        Self::default()
    }

    /// The version that the writer has seen; 0 where it has seen that there is no value.
    #[must_use]
    pub fn seen(mut self, version: u64) -> Self {
        self.seen = Some(version);
        self
    }

    /// How long the value stays.
    #[must_use]
    pub fn ttl(mut self, ttl: Span) -> Self {
        self.ttl = Some(ttl);
        self
    }
}

impl TaskContext {
    /// A space of shared state. Each use of it is an entry of the journal: a replay gives what was read then, and writes
    /// nothing again.
    #[must_use]
    pub fn state(&self, space: &str) -> StateSpace {
        StateSpace { context: self.clone(), space: space.to_owned() }
    }

    /// Reads and writes keys of any spaces together, as one entry: `{"if": […], "do": […], "else": […]}`, as for
    /// `POST /v1/state/transact`. A write that is rejected fails it, and nothing is done.
    pub fn transact(&self, transaction: &Value) -> Answer<StateTransaction> {
        self.ask_state(Ok(transaction.clone()), read_result)
    }
}

impl StateSpace {
    /// The value of a key with its version; `None` where it has none.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Answer<Option<StateValue<T>>> {
        let transaction = json!({ "do": [{ "op": "get", "space": self.space, "key": key }] });
        self.context.ask_state(Ok(transaction), |payload| {
            let read: Results<Read<T>> = read_result(payload)?;
            let first = read.first()?;
            Ok(first.value.0.map(|value| StateValue { value, version: first.version }))
        })
    }

    /// Gives a key a value.
    ///
    /// It fails with [`Code::StateConflict`] where it names a version that is not the latest and the policy of the key is
    /// `reject`; that failure is recorded, so the code reads the key again and decides again.
    pub fn put(&self, key: &str, value: &impl Serialize, options: &PutOptions) -> Answer<StateWritten> {
        let operation = serde_json::to_value(value).map_err(|error| unwritable("value", &error)).map(|value| {
            let mut operation = json!({ "op": "put", "space": self.space, "key": key, "value": value });
            if let Some(seen) = options.seen {
                operation["version"] = json!(seen);
            }
            if let Some(ttl) = options.ttl {
                operation["ttl"] = json!(ttl);
            }
            operation
        });
        self.write(operation)
    }

    /// Removes the value of a key: whatever is there, or where it is `seen`.
    pub fn delete(&self, key: &str, seen: Option<u64>) -> Answer<StateWritten> {
        let mut operation = json!({ "op": "delete", "space": self.space, "key": key });
        if let Some(seen) = seen {
            operation["version"] = json!(seen);
        }
        self.write(Ok(operation))
    }

    fn write(&self, operation: Result<Value, TaskError>) -> Answer<StateWritten> {
        let transaction = operation.map(|operation| json!({ "do": [operation] }));
        self.context.ask_state(transaction, |payload| read_result::<Results<StateWritten>>(payload)?.first())
    }
}

/// The answer to a transaction of one operation.
#[derive(Deserialize)]
struct Results<R> {
    results: Vec<R>,
}

impl<R> Results<R> {
    fn first(self) -> Result<R, TaskError> {
        self.results.into_iter().next().ok_or_else(|| {
            let error = Error::new(Code::Internal, "the answer to an operation on shared state has no result");
            TaskError::from_parts(error, false)
        })
    }
}

/// What was read.
#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Read<T> {
    version: u64,
    #[serde(default)]
    value: Found<T>,
}

/// A value that is there, also where it is `null`.
struct Found<T>(Option<T>);

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Found<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|value| Self(Some(value)))
    }
}
