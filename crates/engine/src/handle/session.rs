//! A worker's side of the engine: one session for each instance.
//!
//! For: joining, taking tasks, reporting, leaving. Not for: running agents (the `worker` crate does).
//! Invariant: a session that is dropped detaches its instance, so no task stays assigned to a session that has ended.

use std::{collections::VecDeque, mem, sync::Arc};

use consort_core::{Command, command::RegisterAgent};
use consort_types::{
    Code, Error, Result, WorkerInstance, limits,
    text::truncate,
    worker::{AgentDeclaration, FromWorker, Hello, JournalEntry, ToWorker},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{Handle, PartitionClient, contracts::Contracts, events};
use crate::{
    Attached, InstanceId, Locality, Partition,
    admit::check_document,
    blob_gc::Pin,
    shell::{self, Message},
};

/// How often an instance that an operator removes while it joins tries to.
const ATTACH_TRIES: u32 = 3;

/// An instance that has joined. Dropping it makes the instance leave.
pub struct Session {
    sender: SessionSender,
    name: WorkerInstance,
    inbox: mpsc::Receiver<Vec<ToWorker>>,
    /// Messages that came, and were not looked at.
    unchecked: VecDeque<ToWorker>,
    checked: Vec<ToWorker>,
    /// Bytes of messages that came last, and of those that were dealt with and not acknowledged yet.
    unread: usize,
    read: usize,
    /// How many bytes are acknowledged at once, at least.
    acknowledge_at: usize,
}

/// Where an instance reports. Clones report for the same instance.
#[derive(Clone)]
pub struct SessionSender {
    partition: PartitionClient,
    instance: InstanceId,
    /// Places for reports that wait for the loop thread.
    places: Arc<Semaphore>,
    /// What tasks are held against; `None` where everything is accepted.
    contracts: Option<Arc<Contracts>>,
}

impl Session {
    /// The instance's name, as journals show it.
    pub fn name(&self) -> &WorkerInstance {
        &self.name
    }

    /// The next messages, in order; `None` when the engine has stopped or has let the instance go. Asking for more says
    /// that the last ones are dealt with: an instance that does not ask is handed nothing more after a while.
    pub async fn receive(&mut self) -> Option<Vec<ToWorker>> {
        let Some(contracts) = self.sender.contracts.clone() else { return self.next_batch().await };
        // Nothing is lost where this is dropped half-way: what was taken in stays in the session.
        loop {
            if self.unchecked.is_empty() && self.checked.is_empty() {
                self.unchecked = self.next_batch().await?.into();
            }
            while let Some(message) = self.unchecked.front() {
                let unfit = match message {
                    ToWorker::Task(offer) => contracts.check_input(offer).await,
                    ToWorker::Cancel { task, .. } => {
                        contracts.holds_no_more(*task);
                        None
                    }
                    _ => None,
                };
                let message = self.unchecked.pop_front();
                match unfit {
                    Some(report) => self.sender.put(report, None, None).ok()?,
                    None => self.checked.extend(message),
                }
            }
            if !self.checked.is_empty() {
                return Some(mem::take(&mut self.checked));
            }
        }
    }

    async fn next_batch(&mut self) -> Option<Vec<ToWorker>> {
        self.read += mem::take(&mut self.unread);
        if self.read >= self.acknowledge_at {
            let (instance, bytes) = (self.sender.instance, mem::take(&mut self.read));
            // An engine that has stopped sends nothing more.
            let _ = self.sender.partition.send(Message::HasRead { instance, bytes });
        }
        let batch = self.inbox.recv().await?;
        self.unread = batch.iter().map(ToWorker::weight).sum();
        Some(batch)
    }

    /// Where to report; it may be cloned and sent to where the work is done.
    pub fn sender(&self) -> SessionSender {
        self.sender.clone()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // An engine that has stopped has let the instance go already.
        let _ = self.sender.partition.send(Message::Detach(self.sender.instance));
    }
}

impl SessionSender {
    /// Reports; waits where too many of the instance's reports are queued already. Returns when the report is queued,
    /// not when it is durable: a refusal arrives later as [`ToWorker::Refused`]. Large outputs are put into the blob
    /// store first. An output that does not match the agent's declared schema is reported as a failure.
    ///
    /// # Errors
    /// Where the report itself is not acceptable (not JSON, too large, nested too deep) or the engine has stopped.
    pub async fn send(&self, report: FromWorker) -> Result<()> {
        let report = match &self.contracts {
            Some(contracts) => contracts.check_report(report).await,
            None => report,
        };
        let (report, pin) = self.admit(report).await?;
        let place = Arc::clone(&self.places).acquire_owned().await.ok();
        self.put(report, pin, place)
    }

    /// Puts the documents of a message in the place of references to them.
    ///
    /// # Errors
    /// Where a blob cannot be read; what was read by then is in its place.
    pub async fn complete(&self, message: &mut ToWorker) -> Result<()> {
        self.partition.complete(message).await
    }

    fn put(&self, report: FromWorker, pin: Option<Pin>, place: Option<OwnedSemaphorePermit>) -> Result<()> {
        let report = Box::new(report);
        self.partition.send(Message::Report { instance: self.instance, report, pin, place })
    }

    async fn admit(&self, mut report: FromWorker) -> Result<(FromWorker, Option<Pin>)> {
        shorten(&mut report);
        report.check()?;
        let pin = match &mut report {
            FromWorker::Complete { output, .. } => self.partition.admit_in("output", output).await?,
            FromWorker::Record { entry, .. } => {
                let document = match (&mut entry.request, &mut entry.result) {
                    (_, Some(Ok(result))) => Some(result),
                    (_, Some(Err(error))) => {
                        own_code(error);
                        None
                    }
                    (request, None) => request.document_mut(),
                };
                match document {
                    Some(document) => self.partition.admit_in("journal entry", document).await?,
                    None => None,
                }
            }
            FromWorker::Fail { .. }
            | FromWorker::Heartbeat { .. }
            | FromWorker::Stream { .. }
            | FromWorker::Park { .. }
            | FromWorker::Alive
            | FromWorker::Credit { .. }
            | FromWorker::Leaving => None,
        };
        Ok((report, pin))
    }
}

/// Cuts what an agent says to people: it is worth more in part than not at all.
fn shorten(report: &mut FromWorker) {
    match report {
        FromWorker::Fail { error, .. }
        | FromWorker::Record { entry: JournalEntry { result: Some(Err(error)), .. }, .. } => {
            truncate(&mut error.message, limits::ERROR_MESSAGE_BYTES_MAX);
            truncate_some(error.hint.as_mut());
            own_code(error);
        }
        FromWorker::Heartbeat { progress, .. } => truncate_some(progress.as_mut()),
        _ => {}
    }
}

/// An agent's failure says nothing of Consort itself.
fn own_code(error: &mut Error) {
    if !error.code.is_reportable() {
        error.code = Code::AgentFailed;
    }
}

/// Cuts a text that an agent wrote, where there is one, at the limit for such texts.
fn truncate_some(text: Option<&mut String>) {
    if let Some(text) = text {
        truncate(text, limits::ERROR_MESSAGE_BYTES_MAX);
    }
}

/// Characters of a name that are logged where it is refused.
const SHOWN_CHARS: usize = 80;

impl Handle {
    /// Lets an instance join. Its agent's declaration is made durable first, where it is new or has changed.
    ///
    /// # Errors
    /// Where a name, a label or a schema is not acceptable, or the agent's name is reserved.
    pub async fn attach(&self, hello: Hello, locality: Locality) -> Result<Session> {
        self.attach_within(hello, locality, limits::INSTANCE_UNREAD_BYTES_MAX).await
    }

    /// As [`Handle::attach`], with the bytes of messages that may wait for the instance before it is handed nothing
    /// more.
    ///
    /// # Errors
    /// As those of [`Handle::attach`].
    pub async fn attach_within(&self, hello: Hello, locality: Locality, unread_max: usize) -> Result<Session> {
        // A name that is refused may have any length and any characters.
        let shown: String = format!("{}@{}", hello.agent.name, hello.agent.version).chars().take(SHOWN_CHARS).collect();
        let namespace: String = hello.namespace.chars().take(SHOWN_CHARS).collect();
        self.attach_checked(hello, locality, unread_max).await.inspect_err(|error| {
            let message = &error.message;
            tracing::warn!(
                "refused an instance of agent {shown:?} in namespace {namespace:?}: {}: {message:?}",
                error.code
            );
        })
    }

    async fn attach_checked(&self, hello: Hello, locality: Locality, unread_max: usize) -> Result<Session> {
        hello.check()?;
        let agent = hello.agent.clone();
        // Compiling large schemas takes a while.
        let contracts = tokio::task::spawn_blocking(move || Contracts::compile(&agent));
        let contracts = contracts.await.map_err(|_| shell::stopping())??.map(Arc::new);
        let mut tries = 1;
        loop {
            self.register(&hello.namespace, &hello.agent, locality).await?;
            match self.attach_known(hello.clone(), locality, unread_max, contracts.clone()).await {
                // An operator removed the agent between the two: it connects again.
                Err(error) if error.code == Code::AgentNotFound && tries < ATTACH_TRIES => tries += 1,
                other => return other,
            }
        }
    }

    /// Lets an instance of an agent join whose declaration is durable.
    async fn attach_known(
        &self,
        mut hello: Hello,
        locality: Locality,
        unread_max: usize,
        contracts: Option<Arc<Contracts>>,
    ) -> Result<Session> {
        let partition = self.of(&hello.namespace);
        let held = hello.held.clone();
        truncate(&mut hello.client, limits::NAME_BYTES_MAX);
        let (outbox, inbox) = mpsc::channel(limits::MESSAGES_WAITING_MAX);
        let (reply, answer) = oneshot::channel();
        let hello = Box::new(hello);
        partition.send(Message::Attach { hello, locality, unread_max, outbox, reply })?;
        let Attached { instance, name } = answer.await.map_err(|_| shell::stopping())??;
        let places = Arc::new(Semaphore::new(limits::MESSAGES_WAITING_MAX));
        let sender = SessionSender { partition: partition.clone(), instance, places, contracts };
        let session = Session {
            sender,
            name,
            inbox,
            unchecked: VecDeque::new(),
            checked: Vec::new(),
            unread: 0,
            read: 0,
            acknowledge_at: unread_max / 4,
        };
        if let Some(contracts) = session.sender.contracts.as_deref().filter(|_| !held.is_empty()) {
            let known = move |partition: &mut Partition| -> Vec<_> {
                let known = |(task, token)| Some((task, token, partition.views().capability_of(task)?));
                held.into_iter().filter_map(known).collect()
            };
            for (task, token, capability) in partition.look(known).await? {
                contracts.holds(task, token, &capability);
            }
        }
        Ok(session)
    }

    /// Makes the declaration of an agent whose instance lives there durable, where it is new or has changed.
    ///
    /// # Errors
    /// [`Code::AgentReserved`] where the agent is built in and the instance is not; where the declaration is too large.
    pub async fn register(&self, namespace: &str, agent: &AgentDeclaration, locality: Locality) -> Result<()> {
        agent.check()?;
        let subscriptions = agent.subscriptions.iter().map(|one| events::declared(one, &agent.name));
        let subscriptions = subscriptions.collect::<Result<_>>()?;
        let command = RegisterAgent { subscriptions, ..RegisterAgent::new(namespace, agent, locality) };
        command.check()?;
        if let Some(bytes) = command.declaration.bytes() {
            check_document("declaration", bytes)?;
        }
        let (of, declared, built_in) = (namespace.to_owned(), agent.clone(), locality == Locality::Local);
        let partition = self.of(namespace);
        let known = partition.read(move |machine| {
            let same = machine.registry().agent(&of, &declared.name, &declared.version)?.as_ref() == Some(&declared);
            Ok::<_, Error>(same && machine.registry().knows_agent(&of, &declared, built_in)?)
        });
        if known.await?? {
            return Ok(());
        }
        partition.done(Command::RegisterAgent(command), None).await
    }
}
