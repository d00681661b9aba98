//! One session after another for one agent: takes offers, starts attempts, passes on answers, leaves.
//!
//! For: keeping an instance running across reconnects. Not for: the code of an attempt (see `drive`).
//! Invariant: for each task at most one attempt is live; an offer with a newer token stops the older one.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use consort_types::{
    Code, Error, ErrorKind, Result, StepInstanceId, Token,
    worker::{AgentDeclaration, FromWorker, Hello, TaskOffer, ToWorker},
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    Agent, Connect, Connection,
    attempt::{Attempt, Termination},
    back_off::BackOff,
    drive::{Timeouts, drive},
    outbox::Outbox,
};

/// Messages that are taken from the connection at once.
const BATCH_MESSAGES_MAX: usize = 64;
/// How long the other side may take to close a connection on which everything was sent.
const FAREWELL: Duration = Duration::from_secs(5);

/// How an instance works.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) client: String,
    /// Identifies this worker, over its reconnects.
    pub(crate) worker: String,
    pub(crate) concurrency: u32,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) leave_within: Duration,
    pub(crate) timeouts: Timeouts,
}

/// What the attempts of an instance share with its session.
#[derive(Debug, Default)]
struct Shared {
    live: Mutex<HashMap<StepInstanceId, Arc<Attempt>>>,
    outbox: Outbox,
    /// An attempt has left.
    left: Notify,
}

/// How a session ended.
enum Ended {
    /// The connection closed.
    Lost,
    /// All that was held is reported.
    Left,
}

/// One connected agent.
pub(crate) struct Instance {
    agent: Agent,
    declaration: AgentDeclaration,
    connect: Arc<dyn Connect>,
    settings: Settings,
    shutdown: CancellationToken,
    shared: Arc<Shared>,
    /// When to give up what is still held; set when leaving begins.
    leave_by: Option<Instant>,
}

impl Instance {
    pub(crate) fn new(
        agent: Agent,
        connect: Arc<dyn Connect>,
        settings: Settings,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let declaration = agent.declaration()?;
        Ok(Self { agent, declaration, connect, settings, shutdown, shared: Arc::default(), leave_by: None })
    }

    /// Works until the engine lets the instance go, or `shutdown` is cancelled and what is held is done.
    pub(crate) async fn run(mut self) -> Result<()> {
        let result = self.sessions().await;
        for attempt in self.shared.live.lock().values() {
            attempt.end_by(Termination::Abort);
        }
        result
    }

    async fn sessions(&mut self) -> Result<()> {
        let agent = self.agent.name().to_owned();
        let mut back_off = BackOff::new();
        loop {
            let (connect, hello) = (Arc::clone(&self.connect), self.hello());
            let connection = async move { connect.connect(hello).await };
            match self.unless_leaving(connection).await {
                Some(Ok(connection)) => {
                    tracing::info!(agent, "connected");
                    let since = Instant::now();
                    if let Ended::Left = self.session(connection).await {
                        tracing::info!(agent, "left");
                        return Ok(());
                    }
                    tracing::warn!(agent, "the connection was lost");
                    back_off.lasted(since.elapsed());
                }
                Some(Err(error)) if error.kind() != ErrorKind::Unavailable => return Err(error),
                // An engine in this process that stops takes its workers along: that is nothing to warn of.
                Some(Err(error)) if error.code == Code::Stopping => {
                    tracing::debug!(agent, error = %error.message, "not connected, trying again");
                }
                Some(Err(error)) => tracing::warn!(agent, error = %error.message, "not connected, trying again"),
                None => return Ok(()),
            }
            if self.unless_leaving(tokio::time::sleep(back_off.pause())).await.is_none() {
                return Ok(());
            }
        }
    }

    /// The outcome of `work`; `None` when the instance is to leave first and has no reason to stay.
    async fn unless_leaving<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            let (leaving, idle) = (self.leave_by, self.shared.live.lock().is_empty());
            if leaving.is_some() && idle {
                return None;
            }
            tokio::select! {
                biased;
                () = self.shutdown.cancelled(), if leaving.is_none() => self.start_leaving(),
                () = until(leaving) => return None,
                () = self.shared.left.notified(), if leaving.is_some() => {}
                done = &mut work => return Some(done),
            }
        }
    }

    fn start_leaving(&mut self) {
        self.leave_by.get_or_insert(Instant::now() + self.settings.leave_within);
    }

    fn hello(&self) -> Hello {
        let live = self.shared.live.lock();
        let mut held: Vec<(StepInstanceId, Token)> =
            live.iter().map(|(task, attempt)| (*task, attempt.offer.token)).collect();
        held.extend(self.shared.outbox.unconfirmed());
        held.sort_unstable();
        held.dedup();
        Hello {
            namespace: self.settings.namespace.clone(),
            agent: self.declaration.clone(),
            concurrency: self.settings.concurrency,
            held,
            labels: self.settings.labels.clone(),
            client: self.settings.client.clone(),
            worker: self.settings.worker.clone(),
        }
    }

    /// Serves one connection until it closes or the instance has left.
    async fn session(&mut self, connection: Connection) -> Ended {
        let Connection { mut to_worker, from_worker, heartbeat_interval } = connection;
        let interval = self.settings.heartbeat_interval;
        let interval = heartbeat_interval.map_or(interval, |asked| asked.min(interval));
        // Before the connection takes reports of its own.
        let mut due = self.shared.outbox.take_unconfirmed();
        self.shared.outbox.open(from_worker.clone());
        let attempts: Vec<_> = self.shared.live.lock().values().cloned().collect();
        for attempt in attempts {
            attempt.reconnected();
        }
        let ended = self.serve(&mut to_worker, &from_worker, &mut due, interval).await;
        self.shared.outbox.close();
        self.shared.outbox.put_back(due);
        drop(from_worker);
        if let Ended::Left = ended {
            // Messages are in transit until the other side has read the stream to its end.
            let closed = async { while to_worker.recv().await.is_some() {} };
            let _ = tokio::time::timeout(FAREWELL, closed).await;
        }
        ended
    }

    async fn serve(
        &mut self,
        inbox: &mut mpsc::Receiver<ToWorker>,
        reports: &mpsc::Sender<FromWorker>,
        due: &mut VecDeque<FromWorker>,
        interval: Duration,
    ) -> Ended {
        let mut beat = tokio::time::interval(interval);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beat.reset();
        let mut batch = Vec::with_capacity(BATCH_MESSAGES_MAX);
        let mut drained = false;
        let mut said = false;
        loop {
            let leaving = self.leave_by;
            if leaving.is_some() && !said {
                said = reports.try_send(FromWorker::Leaving).is_ok() || reports.is_closed();
            }
            if drained && due.is_empty() && self.shared.live.lock().is_empty() {
                return Ended::Left;
            }
            tokio::select! {
                biased;
                () = self.shutdown.cancelled(), if leaving.is_none() => self.start_leaving(),
                () = until(leaving) => return Ended::Left,
                count = inbox.recv_many(&mut batch, BATCH_MESSAGES_MAX) => {
                    if count == 0 {
                        return if drained && self.shared.live.lock().is_empty() { Ended::Left } else { Ended::Lost };
                    }
                    for message in batch.drain(..) {
                        drained |= self.take(message, due);
                    }
                }
                Ok(place) = reports.reserve(), if !due.is_empty() => {
                    if let Some(report) = due.pop_front() {
                        self.shared.outbox.hand_over(place, report);
                    }
                }
                () = self.shared.left.notified(), if drained => {}
                // A full channel is news enough.
                _ = beat.tick() => drop(reports.try_send(FromWorker::Alive)),
            }
        }
    }

    /// Handles a message; returns whether it is the last one. What must be reported is added to `due`.
    fn take(&self, message: ToWorker, due: &mut VecDeque<FromWorker>) -> bool {
        match message {
            ToWorker::Task(offer) => self.start(*offer),
            ToWorker::Cancel { task, token, reason } => {
                if let Some(attempt) = self.attempt(task, Some(token)) {
                    attempt.cancel(&reason);
                }
            }
            ToWorker::Recorded { task, index, entry } => {
                if let Some(attempt) = self.attempt(task, None) {
                    attempt.recorded(index, entry);
                }
            }
            ToWorker::Refused { task, token, error } => {
                if let Some(attempt) = self.attempt(task, Some(token)) {
                    attempt.end_by(termination(error));
                } else if let (Termination::Refused(error), true) =
                    (termination(error), self.shared.outbox.completed(task, token))
                {
                    // Its result was refused, and the task still needs one.
                    due.push_back(FromWorker::Fail { task, token, error, retryable: false, retry_after: None });
                }
            }
            ToWorker::Drain => return true,
        }
        false
    }

    fn attempt(&self, task: StepInstanceId, token: Option<Token>) -> Option<Arc<Attempt>> {
        let live = self.shared.live.lock();
        let attempt = live.get(&task)?;
        token.is_none_or(|token| attempt.offer.token == token).then(|| Arc::clone(attempt))
    }

    /// Starts an attempt, unless it is an old one or runs already.
    fn start(&self, offer: TaskOffer) {
        let (task, token) = (offer.task, offer.token);
        let code = self.agent.handler(&offer.capability).cloned();
        let (attempt, input) = Attempt::new(offer);
        let attempt = Arc::new(attempt);
        {
            let mut live = self.shared.live.lock();
            if let Some(older) = live.get(&task) {
                let (known, over) = (older.offer.token, older.has_ended());
                if token < known || (token == known && !over) {
                    return;
                }
                if token > known {
                    older.end_by(Termination::Abort);
                }
            }
            live.insert(task, Arc::clone(&attempt));
        }
        let shared = Arc::clone(&self.shared);
        let timeouts = self.settings.timeouts;
        let span = span(&attempt);
        let work = async move {
            drive(Arc::clone(&attempt), input, code, &shared.outbox, timeouts).await;
            shared.leave(task, &attempt);
        };
        tokio::spawn(work.instrument(span));
    }
}

/// Around everything that an attempt does, so that what it logs is found again.
fn span(attempt: &Attempt) -> tracing::Span {
    let offer = &attempt.offer;
    tracing::info_span!(
        "attempt",
        run = %offer.task.run,
        workflow = offer.workflow,
        step = offer.step,
        attempt = offer.attempt,
        capability = offer.capability,
    )
}

impl Shared {
    fn leave(&self, task: StepInstanceId, attempt: &Arc<Attempt>) {
        let mut live = self.live.lock();
        // The entry may belong to a newer attempt of the task by now.
        if live.get(&task).is_some_and(|known| Arc::ptr_eq(known, attempt)) {
            live.remove(&task);
        }
        drop(live);
        self.left.notify_one();
    }
}

/// What the refusal of a report means: an owner that is none stops, any other fails with the reason.
fn termination(error: Error) -> Termination {
    match error.code {
        Code::Fenced | Code::TaskNotFound | Code::RunNotFound | Code::RunEnded => Termination::Abort,
        _ => Termination::Refused(error),
    }
}

/// Ends at the instant; never, where there is none.
async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
