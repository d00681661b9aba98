//! What a run has beside its steps: values that its code exposes, and updates, whose senders its code answers.
//!
//! For: reading values, sending updates, waiting for their answers. Not for: signals (see `operations`).
//! Invariant: an update is answered once it is durable; waiting costs nothing while nothing happens in the run.

use consort_core::{Command, command::UpdateRun};
use consort_types::{Code, Error, Payload, Result, RunId, bounds::check_text, limits};
use consort_workflow::did_you_mean;

use super::{Handle, reads::named};
use crate::{
    topic::Topic,
    view::{BesideViews, ExposedView, SignalWaits, UpdateView},
};

/// A run, to be asked.
pub struct RunBeside {
    handle: Handle,
    namespace: String,
    run: RunId,
}

impl RunBeside {
    /// That of a run; whether it is there, each look finds out.
    ///
    /// # Errors
    /// A namespace with more bytes than a name may have.
    pub fn of(handle: &Handle, namespace: &str, run: RunId) -> Result<Self> {
        Ok(Self { handle: handle.clone(), namespace: named("namespace", namespace)?, run })
    }

    /// The values that the code of the run exposes, by name.
    ///
    /// # Errors
    /// [`Code::RunNotFound`].
    pub async fn values(&self) -> Result<Vec<ExposedView>> {
        let (namespace, run) = (self.namespace.clone(), self.run);
        let read = move |machine: &mut consort_core::Machine| BesideViews::of(machine).exposed_values(&namespace, run);
        self.handle.of(&self.namespace).read(read).await?
    }

    /// One of those values.
    ///
    /// # Errors
    /// [`Code::ValueNotFound`] with the names that there are.
    pub async fn value(&self, name: &str) -> Result<ExposedView> {
        let values = self.values().await?;
        if let Some(found) = values.iter().find(|value| value.name == name) {
            return Ok(found.clone());
        }
        let names: Vec<String> = values.iter().take(8).map(|value| format!("`{}`", value.name)).collect();
        let error = Error::new(Code::ValueNotFound, format!("run `{}` exposes no value `{name}`", self.run));
        let names = names.join(", ");
        Err(error.hint(if names.is_empty() {
            "its code has exposed none so far".to_owned()
        } else {
            format!("it exposes {names}")
        }))
    }

    /// An update, with its answer; neither of its documents is a reference.
    ///
    /// # Errors
    /// [`Code::UpdateNotFound`].
    pub async fn update(&self, id: &str) -> Result<UpdateView> {
        check_text("id of the update", id, limits::IDEMPOTENCY_KEY_BYTES_MAX)?;
        let (namespace, run, id) = (self.namespace.clone(), self.run, id.to_owned());
        let read = move |machine: &mut consort_core::Machine| BesideViews::of(machine).update(&namespace, run, &id);
        let partition = self.handle.of(&self.namespace);
        let mut update = partition.read(read).await??;
        for document in std::iter::once(&mut update.input).chain(&mut update.value) {
            partition.fetch(document).await?;
        }
        Ok(update)
    }

    /// Sends an update; without an id it gets one. The same id with the same request is the same update. Where nothing
    /// waits for it, it is kept, and a warning says what is waited for.
    ///
    /// # Errors
    /// [`Code::BadInput`] where the input does not fit the schema that the wait has, with the path; the wait continues.
    pub async fn send(&self, name: &str, id: Option<String>, input: Payload) -> Result<(UpdateView, Option<String>)> {
        let partition = self.handle.of(&self.namespace);
        let given = id.is_some();
        let id = id.unwrap_or_else(|| partition.new_run_id().to_string());
        let (namespace, run) = (self.namespace.clone(), self.run);
        let mut command = UpdateRun { namespace: namespace.clone(), run, name: name.to_owned(), id: id.clone(), input };
        command.check()?;
        let mut warning = None;
        // What was sent before is not checked again: its wait may be over.
        if !given || self.update(&id).await.is_err() {
            let line = name.to_owned();
            let read = move |machine: &mut consort_core::Machine| {
                BesideViews::of(machine).update_waits(&namespace, run, &line)
            };
            let waits = partition.read(read).await??;
            self.handle.check_signal(name, waits.schema.as_ref(), &command.input).await?;
            warning = (!waits.expected).then(|| unawaited(name, &waits));
        }
        let pin = partition.admit_in("input of the update", &mut command.input).await?;
        partition.done(Command::UpdateRun(command), pin).await?;
        Ok((self.update(&id).await?, warning))
    }

    /// Waits until an update is answered, rejected, or can no longer be answered.
    ///
    /// # Errors
    /// [`Code::UpdateNotFound`]; [`Code::Stopping`] where the engine stops before that.
    pub async fn settled(&self, id: &str) -> Result<UpdateView> {
        let mut subscription = self.handle.of(&self.namespace).subscribe(Topic::Run(self.run)).await?;
        loop {
            subscription.mark_seen();
            let update = self.update(id).await?;
            if update.is_settled() {
                return Ok(update);
            }
            subscription.next().await?;
        }
    }
}

/// The warning about an update that nothing waits for.
fn unawaited(name: &str, waits: &SignalWaits) -> String {
    let mut text = format!("no code waits for the update `{name}` now; it is kept until some does, or the run ends");
    let others = waits.others.iter().map(String::as_str);
    if !waits.others.is_empty() {
        let shown: Vec<String> = others.clone().take(8).map(|other| format!("`{other}`")).collect();
        text.extend([" (waited for: ", &shown.join(", "), ")"]);
    }
    text.extend(did_you_mean(name, others).map(|hint| format!(" · {hint}")));
    text
}
