//! What code shows of its run, and what it answers: exposed values, labels, updates.
//!
//! For: code that others ask while it runs. Not for: signals, whose senders are not answered (see `context`).
//! Invariant: each use is an entry of the journal; a replay shows and answers nothing again.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use consort_types::{Payload, worker::JournalRequest};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    TaskError,
    context::{Answer, TaskContext, read_result, unwritable, write_payload},
};

impl TaskContext {
    /// Gives the run a value that anyone may read by its name, while it is active and after (`consort runs query`): of each
    /// name the last counts. At most 64 KiB of JSON, and 100 names in a run.
    ///
    /// A replay compares the name alone. Await it to know that it is durable.
    pub fn expose(&self, name: &str, value: &impl Serialize) -> Answer<()> {
        let value = serde_json::to_value(value).map_err(|error| unwritable("exposed value", &error));
        let index = value
            .and_then(|value| write_payload("exposed value", &value))
            .and_then(|value| Ok(self.ask(JournalRequest::Expose { name: name.into(), value })?.index));
        self.answer(index, |_| Ok(()))
    }

    /// Gives the run labels, beside those that it has: `consort runs list --label` finds it by them.
    pub fn set_labels<K: Into<String>, V: Into<String>>(&self, labels: impl IntoIterator<Item = (K, V)>) -> Answer<()> {
        let labels: BTreeMap<String, String> =
            labels.into_iter().map(|(label, value)| (label.into(), value.into())).collect();
        let index = self.ask(JournalRequest::Labels { labels }).map(|asked| asked.index);
        self.answer(index, |_| Ok(()))
    }

    /// Waits for the next update of that name to the run: a signal whose sender is answered, by [`Update::answer`] or
    /// [`Update::reject`].
    pub fn wait_update<T: DeserializeOwned>(&self, name: &str) -> UpdateAnswer<T> {
        self.ask_update(name, None)
    }

    /// The same with the schema of the type: while the code waits, an input that does not fit is refused where it is sent.
    /// One that came before is not checked there: the answer is then a failure.
    pub fn wait_update_typed<T: DeserializeOwned + JsonSchema>(&self, name: &str) -> UpdateAnswer<T> {
        let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value();
        self.ask_update(name, Some(Payload::from_value(&schema)))
    }

    fn ask_update<T: DeserializeOwned>(&self, name: &str, schema: Option<Payload>) -> UpdateAnswer<T> {
        let index = self.ask(JournalRequest::Update { name: name.into(), schema }).map(|asked| asked.index);
        UpdateAnswer { context: self.clone(), answer: self.answer(index, read_result) }
    }
}

/// What an entry that waits for an update is answered.
#[derive(Deserialize)]
struct Sent<T> {
    id: String,
    input: T,
}

/// An update that the code has: its sender waits for an answer.
#[must_use = "its sender waits for an answer"]
pub struct Update<T> {
    context: TaskContext,
    /// The entry that has it.
    entry: u32,
    /// Its id, unique in the run.
    pub id: String,
    /// What was sent.
    pub input: T,
}

impl<T> Update<T> {
    /// Answers the sender. The first answer counts, and stays: a sender that asks again by the id gets it again. At most
    /// 256 KiB of JSON.
    pub fn answer(&self, value: &impl Serialize) -> Answer<()> {
        let value = serde_json::to_value(value).map_err(|error| unwritable("answer to the update", &error));
        let value = value.and_then(|value| write_payload("answer to the update", &value));
        self.say(value.map(|value| (Some(value), None)))
    }

    /// Rejects the update: its sender is given the reason as an error (`C0211`).
    pub fn reject(&self, reason: &str) -> Answer<()> {
        self.say(Ok((None, Some(reason.to_owned()))))
    }

    fn say(&self, told: Result<(Option<Payload>, Option<String>), TaskError>) -> Answer<()> {
        let index = told.and_then(|(value, rejection)| {
            let request = JournalRequest::Answer { update: self.entry, value, rejection };
            Ok(self.context.ask(request)?.index)
        });
        self.context.answer(index, |_| Ok(()))
    }
}

impl<T: fmt::Debug> fmt::Debug for Update<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Update").field("id", &self.id).field("input", &self.input).finish_non_exhaustive()
    }
}

/// The update that a wait is given, as a future; open until it is read or dropped, as that of a signal.
#[must_use = "the entry is recorded, but the code does not wait for its answer"]
pub struct UpdateAnswer<T> {
    context: TaskContext,
    answer: Answer<Sent<T>>,
}

impl<T> Future for UpdateAnswer<T> {
    type Output = Result<Update<T>, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let sent = match Pin::new(&mut this.answer).poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(sent) => sent,
        };
        Poll::Ready(sent.and_then(|Sent { id, input }| {
            let entry = this.answer.index.clone()?;
            Ok(Update { context: this.context.clone(), entry, id, input })
        }))
    }
}

impl<T> fmt::Debug for UpdateAnswer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpdateAnswer").field("answer", &self.answer).finish_non_exhaustive()
    }
}
