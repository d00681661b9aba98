//! Reading and operating runs, the inbox, agents, queues and quotas.
//!
//! For: one short method for each operation that the command line has too. Not for: starting and following (see the
//! module above).
//! Invariant: a method calls one operation, or every page of one.

use consort_api::{
    Document, EmptyRequest, NoParams, PageParams,
    agents::{
        Agent, AgentFilter, AgentParams, AgentVersionParams, DrainAgent, ListAgents, RemoveAgent, RemoveAgentParams,
        ResumeAgent, ShowAgent, WeighAgent, WeightRequest,
    },
    backup::{Backup, BackupRequest, MakeBackup},
    beside::{QueryValue, Update, UpdateParams, UpdateRun, ValueParams},
    inbox::{Decide, DecideRequest, InboxItem, ItemParams, ListInbox},
    inside::{
        CompareParams, CompareRuns, Comparison, HistoryEntry, HistoryParams, Replay, ReplayRun, RunHistory, RunSteps,
        RunTree, Step, StepNode, StepsParams,
    },
    operate::{
        CancelRequest, CancelRun, DeleteRun, ForkRequest, ForkRun, PauseRun, ResumeRun, RetryRequest, RetryRun,
        SignalParams, SignalRun, SignalSent,
    },
    queues::{ListQueues, ListQuotas, Queue, Quota, QuotaParams, QuotaRequest, RemoveQuota, SetQuota},
    runs::RunParams,
    server::{RetentionRequest, SetRetention, ShowRetention},
};
use consort_types::{Result, RunId, Span, StepInstanceId, registry::LimitScope};
use serde::{Serialize, de::DeserializeOwned};

use super::Client;

impl Client {
    /// Sends a signal to a run. Where nothing waits for it, it is kept, and the answer warns.
    pub async fn signal(&self, run: RunId, name: &str, payload: &impl Serialize) -> Result<SignalSent> {
        let payload = Document::of("payload", payload)?;
        self.call::<SignalRun>(&SignalParams { run, name: name.to_owned() }, &payload).await
    }

    /// A value that the code of a run exposes.
    ///
    /// # Errors
    /// [`Code::ValueNotFound`](consort_types::Code::ValueNotFound) with the names that there are.
    pub async fn query<T: DeserializeOwned>(&self, run: RunId, name: &str) -> Result<T> {
        self.call::<QueryValue>(&ValueParams { run, name: name.to_owned() }, &()).await?.read("exposed value")
    }

    /// Sends an update to a run and waits for its answer, at most `wait` (up to 60 s). With an `id` it may be sent again:
    /// the same id is the same update.
    pub async fn update(
        &self,
        run: RunId,
        name: &str,
        input: &impl Serialize,
        id: Option<&str>,
        wait: Option<Span>,
    ) -> Result<Update> {
        let params = UpdateParams { run, name: name.to_owned(), id: id.map(str::to_owned), wait };
        self.call::<UpdateRun>(&params, &Document::of("input of the update", input)?).await
    }

    /// Cancels a run and all below it. Its clean-up steps still run; it ends when they have.
    pub async fn cancel(&self, run: RunId, reason: &str) -> Result<()> {
        self.call::<CancelRun>(&RunParams { run }, &CancelRequest { reason: reason.to_owned(), force: false }).await
    }

    /// Holds back the tasks of a run.
    pub async fn pause(&self, run: RunId) -> Result<()> {
        self.call::<PauseRun>(&RunParams { run }, &EmptyRequest {}).await
    }

    /// Resumes a paused run.
    pub async fn resume(&self, run: RunId) -> Result<()> {
        self.call::<ResumeRun>(&RunParams { run }, &EmptyRequest {}).await
    }

    /// Makes a new run that repeats what had not completed in an old one, or everything from a top-level step on.
    pub async fn retry(&self, run: RunId, from: Option<&str>) -> Result<RunId> {
        let request = RetryRequest { from: from.map(str::to_owned), entry: None };
        Ok(self.call::<RetryRun>(&RunParams { run }, &request).await?.run)
    }

    /// Makes a new run that takes outcomes over from an old one, with another input if wanted.
    pub async fn fork(&self, run: RunId, request: &ForkRequest) -> Result<RunId> {
        Ok(self.call::<ForkRun>(&RunParams { run }, request).await?.run)
    }

    /// Deletes an ended run.
    pub async fn delete(&self, run: RunId) -> Result<()> {
        self.call::<DeleteRun>(&RunParams { run }, &()).await
    }

    /// Sets how long the namespace keeps ended runs; `None` keeps them until they are deleted.
    pub async fn set_retention(&self, keep: Option<Span>) -> Result<()> {
        self.call::<SetRetention>(&NoParams {}, &RetentionRequest { keep }).await
    }

    /// How long the namespace keeps ended runs; `None` keeps them until they are deleted.
    pub async fn retention(&self) -> Result<Option<Span>> {
        Ok(self.call::<ShowRetention>(&NoParams {}, &()).await?.keep)
    }

    /// Writes a backup of all namespaces into a folder of the server's machine, named by an absolute path; a second one
    /// there adds what is new.
    pub async fn make_backup(&self, folder: &str) -> Result<Backup> {
        self.call::<MakeBackup>(&NoParams {}, &BackupRequest { folder: folder.to_owned() }).await
    }

    /// The steps of a run as a tree.
    pub async fn tree(&self, run: RunId) -> Result<Vec<StepNode>> {
        self.call::<RunTree>(&RunParams { run }, &()).await
    }

    /// Every step instance of a run, flat, with its output.
    pub async fn steps(&self, run: RunId) -> Result<Vec<Step>> {
        self.inner()?.all::<RunSteps, _>(|cursor| StepsParams { run, cursor, limit: None }).await
    }

    /// Everything that happened in a run, in order.
    pub async fn history(&self, run: RunId) -> Result<Vec<HistoryEntry>> {
        self.inner()?.all::<RunHistory, _>(|after| HistoryParams { run, after, limit: None }).await
    }

    /// Folds the history of a run again without calling anything, and compares it with the run's state.
    pub async fn replay(&self, run: RunId) -> Result<Replay> {
        self.call::<ReplayRun>(&RunParams { run }, &()).await
    }

    /// Compares the steps of two runs.
    pub async fn compare(&self, run: RunId, other: RunId) -> Result<Comparison> {
        self.call::<CompareRuns>(&CompareParams { run, other }, &()).await
    }

    /// Everything that waits for a person.
    pub async fn inbox(&self) -> Result<Vec<InboxItem>> {
        self.inner()?.all::<ListInbox, _>(PageParams::at).await
    }

    /// Decides an approval, or the unknown outcome of a lost `write` attempt.
    pub async fn decide(&self, task: StepInstanceId, request: &DecideRequest) -> Result<()> {
        self.call::<Decide>(&ItemParams { task }, request).await
    }

    /// Agents with what they can do and how they do.
    pub async fn agents(&self, filter: &AgentFilter) -> Result<Vec<Agent>> {
        Ok(self.call::<ListAgents>(filter, &()).await?.items)
    }

    /// Every version of an agent, or one of them.
    pub async fn agent(&self, name: &str, version: Option<&str>) -> Result<Vec<Agent>> {
        Ok(self.call::<ShowAgent>(&named(name, version), &()).await?.items)
    }

    /// Assigns no more tasks to an agent; it finishes those that it holds.
    pub async fn drain_agent(&self, name: &str, version: Option<&str>) -> Result<()> {
        self.call::<DrainAgent>(&named(name, version), &EmptyRequest {}).await
    }

    /// Assigns tasks to a drained agent again.
    pub async fn resume_agent(&self, name: &str, version: Option<&str>) -> Result<()> {
        self.call::<ResumeAgent>(&named(name, version), &EmptyRequest {}).await
    }

    /// Sets the share of a version beside the agent's other versions, 0 to 1000.
    pub async fn weigh_agent(&self, name: &str, version: &str, weight: u32) -> Result<()> {
        let params = AgentVersionParams { name: name.to_owned(), version: version.to_owned() };
        self.call::<WeighAgent>(&params, &WeightRequest { weight }).await
    }

    /// Forgets an agent; with `force` also where instances of it are connected.
    pub async fn remove_agent(&self, name: &str, version: Option<&str>, force: bool) -> Result<()> {
        let AgentParams { name, version } = named(name, version);
        self.call::<RemoveAgent>(&RemoveAgentParams { name, version, force }, &()).await
    }

    /// What waits for agents, and why nothing moves where it does not.
    pub async fn queues(&self) -> Result<Vec<Queue>> {
        Ok(self.call::<ListQueues>(&NoParams {}, &()).await?.items)
    }

    /// The quotas that are set, with what they hold back.
    pub async fn quotas(&self) -> Result<Vec<Quota>> {
        Ok(self.call::<ListQuotas>(&NoParams {}, &()).await?.items)
    }

    /// Sets the quota of a scope, in place of the one that it had.
    pub async fn set_quota(&self, scope: LimitScope, quota: &QuotaRequest) -> Result<()> {
        self.call::<SetQuota>(&QuotaParams { scope }, quota).await
    }

    /// Removes the quota of a scope.
    pub async fn remove_quota(&self, scope: LimitScope) -> Result<()> {
        self.call::<RemoveQuota>(&QuotaParams { scope }, &()).await
    }
}

fn named(name: &str, version: Option<&str>) -> AgentParams {
    AgentParams { name: name.to_owned(), version: version.map(str::to_owned) }
}
