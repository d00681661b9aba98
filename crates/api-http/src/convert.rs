//! From what the engine knows to the documents of `consort_api`.
//!
//! For: one function for each document. Not for: deciding what is shown.
//! Invariant: only documents of `consort_api` are sent: neither rows nor views of the engine.

pub(crate) mod state;

mod ballots;
mod beside;
mod schedules;

pub(crate) use ballots::{ballot, ballot_status, ballot_summary};
pub(crate) use beside::{exposed, update};
pub(crate) use schedules::{overlap, schedule, schedule_request, triggered};

use consort_api::{
    self as api, ErrorDetail, agents, bulk,
    inside::{self, EventKind, HistoryEntry, StepState},
    locks, namespaces, queues, runs, server,
    steps::{self, JournalKind},
    watch::{Progress, ProgressKind},
    workflows,
};
use consort_engine::{
    self as engine,
    view::{self, Ask, HistoryEvent, StepState as State},
};
use consort_types::{
    EffectClass, Position, registry,
    worker::{self, CapabilityDeclaration, JournalRequest},
};
use consort_workflow_check as workflow;

pub(crate) fn page<T, U>(page: view::Page<T>, item: impl FnMut(T) -> U) -> api::Page<U> {
    api::Page { items: page.items.into_iter().map(item).collect(), next: page.next }
}

pub(crate) fn items<T, U>(items: Vec<T>, item: impl FnMut(T) -> U) -> api::Items<U> {
    api::Items { items: items.into_iter().map(item).collect() }
}

fn run_status(status: view::RunStatus) -> runs::RunStatus {
    match status {
        view::RunStatus::Running => runs::RunStatus::Running,
        view::RunStatus::Cancelling => runs::RunStatus::Cancelling,
        view::RunStatus::Compensating => runs::RunStatus::Compensating,
        view::RunStatus::Completed => runs::RunStatus::Completed,
        view::RunStatus::Failed => runs::RunStatus::Failed,
        view::RunStatus::Cancelled => runs::RunStatus::Cancelled,
        view::RunStatus::Deleted => runs::RunStatus::Deleted,
    }
}

/// The statuses of a client's filter.
pub(crate) fn statuses(asked: &[runs::StatusFilter]) -> Vec<view::RunStatus> {
    let of = |status: &runs::StatusFilter| match status {
        runs::StatusFilter::Running => view::RunStatus::Running,
        runs::StatusFilter::Cancelling => view::RunStatus::Cancelling,
        runs::StatusFilter::Compensating => view::RunStatus::Compensating,
        runs::StatusFilter::Completed => view::RunStatus::Completed,
        runs::StatusFilter::Failed => view::RunStatus::Failed,
        runs::StatusFilter::Cancelled => view::RunStatus::Cancelled,
    };
    asked.iter().map(of).collect()
}

pub(crate) fn summary(run: view::RunSummary) -> runs::RunSummary {
    runs::RunSummary {
        run: run.run,
        workflow: run.workflow,
        status: run_status(run.status),
        paused: run.paused,
        priority: run.priority,
        started_at: run.created,
        ended_at: run.ended,
        labels: run.labels,
        parent: run.parent,
        origin: run.origin.map(|origin| runs::Origin { run: origin.run, step: origin.step }),
        error: run.error.map(ErrorDetail::from),
    }
}

pub(crate) fn run(run: view::RunView) -> runs::Run {
    runs::Run {
        summary: summary(run.summary),
        namespace: run.namespace,
        hash: run.hash.to_string(),
        input: run.input.into(),
        output: run.output.map(Into::into),
        deadline: run.deadline,
        steps: run.steps,
        changed: run.changed.0,
    }
}

fn step_state(state: State) -> StepState {
    match state {
        State::Pending => StepState::Pending,
        State::Ready => StepState::Queued,
        State::Taken | State::Open => StepState::Running,
        State::Parked => StepState::Suspended,
        State::Backoff => StepState::Backoff,
        State::Unknown => StepState::Unknown,
        State::Diverged => StepState::Diverged,
        State::GaveUp => StepState::GaveUp,
        State::Waiting => StepState::Waiting,
        State::Approval => StepState::WaitingApproval,
        State::Completed => StepState::Completed,
        State::Failed => StepState::Failed,
        State::Skipped => StepState::Skipped,
        State::Cancelled => StepState::Cancelled,
    }
}

pub(crate) fn node(node: view::StepNode) -> inside::StepNode {
    let counts = |counts: view::Counts| {
        let view::Counts { total, started, ended, failed } = counts;
        inside::Counts { total, started, ended, failed }
    };
    inside::StepNode {
        task: node.task,
        name: node.name,
        kind: node.kind.to_owned(),
        target: node.target,
        title: node.title,
        state: step_state(node.state),
        attempt: node.attempt,
        instance: node.instance.map(|instance| instance.to_string()),
        version: node.version,
        started_at: node.began,
        ended_at: node.ended,
        wake_at: node.wakes,
        waits_for: node.waits_for.into_iter().map(waited_for).collect(),
        error: node.error.map(ErrorDetail::from),
        child_run: node.child_run,
        copied: node.copied,
        counts: node.counts.map(counts),
        bids: node.bids.into_iter().map(bid).collect(),
        // As deep as a run's steps are nested, which `limits::WORKFLOW_DEPTH_MAX` bounds.
        children: node.below.into_iter().map(self::node).collect(),
    }
}

fn bid(bid: view::BidView) -> inside::Bid {
    let view::BidView { agent, cost, seconds, confidence, declared, score, rank, refused } = bid;
    inside::Bid { agent, cost, seconds, confidence, declared, score, rank, refused }
}

fn waited_for(wait: view::Wait) -> inside::WaitedFor {
    let view::Wait { kind, name, title, until } = wait;
    inside::WaitedFor { kind: kind.to_owned(), name, title, until }
}

pub(crate) fn step(step: view::StepView) -> inside::Step {
    inside::Step {
        task: step.task,
        path: step.path,
        state: step_state(step.state),
        attempt: step.attempt,
        instance: step.instance.map(|instance| instance.to_string()),
        version: step.version,
        started_at: step.began,
        attempt_started_at: step.taken,
        ended_at: step.ended,
        output: step.output.map(Into::into),
        error: step.error.map(ErrorDetail::from),
        copied: step.copied,
        entries: step.entries,
    }
}

pub(crate) fn failed_step(failed: view::FailedStep) -> api::failed::FailedStep {
    let view::FailedStep { run, workflow, capability, agent, step: at } = failed;
    api::failed::FailedStep { run, workflow, capability, agent, step: step(at) }
}

/// The word of an effect class.
fn effect_word(effect: EffectClass) -> &'static str {
    match effect {
        EffectClass::Read => "read",
        EffectClass::Idempotent => "idempotent",
        EffectClass::Write => "write",
    }
}

pub(crate) fn step_detail(detail: view::StepDetail) -> steps::StepDetail {
    steps::StepDetail {
        step: step(detail.step),
        target: detail.target,
        input: detail.input.map(Into::into),
        idempotency_key: detail.idempotency_key,
        effect: detail.effect.map(|effect| effect_word(effect).to_owned()),
        failures: detail.failures,
        losses: detail.losses,
    }
}

pub(crate) fn task_entry(view: view::EntryView) -> steps::JournalEntry {
    let plain = |kind| steps::JournalEntry::new(view.index, kind);
    let entry = view.entry;
    let told = match entry.request {
        JournalRequest::Run { name } => steps::JournalEntry { name: Some(name), ..plain(JournalKind::Run) },
        JournalRequest::Call { capability, input, .. } => {
            steps::JournalEntry { capability: Some(capability), input: Some(input.into()), ..plain(JournalKind::Call) }
        }
        JournalRequest::Sleep { span } => steps::JournalEntry { span: Some(span), ..plain(JournalKind::Sleep) },
        JournalRequest::Signal { name, .. } => steps::JournalEntry { name: Some(name), ..plain(JournalKind::Signal) },
        JournalRequest::Approval { prompt, detail } => {
            steps::JournalEntry { prompt: Some(prompt), detail: Some(detail.into()), ..plain(JournalKind::Approval) }
        }
        JournalRequest::Forget { entries } => steps::JournalEntry { entries, ..plain(JournalKind::Forget) },
        JournalRequest::State { transaction } => {
            steps::JournalEntry { input: Some(transaction.into()), ..plain(JournalKind::State) }
        }
        JournalRequest::Expose { name, value } => {
            steps::JournalEntry { name: Some(name), value: Some(value.into()), ..plain(JournalKind::Expose) }
        }
        JournalRequest::Labels { labels } => steps::JournalEntry { labels, ..plain(JournalKind::Labels) },
        JournalRequest::Update { name, .. } => steps::JournalEntry { name: Some(name), ..plain(JournalKind::Update) },
        JournalRequest::Answer { update, value, rejection } => steps::JournalEntry {
            update: Some(update),
            value: value.map(Into::into),
            rejection,
            ..plain(JournalKind::Answer)
        },
    };
    let (output, error) = (entry.output.map(Into::into), entry.error.map(ErrorDetail::from));
    steps::JournalEntry { title: entry.title, after: entry.after, output, error, ..told }
}

pub(crate) fn entry(entry: view::JournalView) -> HistoryEntry {
    let plain = |kind| HistoryEntry::new(entry.cursor.to_string(), entry.time, kind);
    let of = |kind, attempt| HistoryEntry { attempt: Some(attempt), ..plain(kind) };
    let failed = |kind, error| HistoryEntry { error: Some(ErrorDetail::from(error)), ..plain(kind) };
    let told = match entry.event {
        HistoryEvent::RunStarted => plain(EventKind::RunStarted),
        HistoryEvent::StepBegan => plain(EventKind::StepStarted),
        HistoryEvent::AttemptTaken { attempt, instance, version } => {
            let instance = Some(instance.to_string());
            HistoryEntry { instance, version, ..of(EventKind::AttemptStarted, attempt) }
        }
        HistoryEvent::AttemptFailed { attempt, error, retry_at } => {
            HistoryEntry { attempt: Some(attempt), retry_at, ..failed(EventKind::AttemptFailed, error) }
        }
        HistoryEvent::StepCompleted { attempt } => of(EventKind::StepCompleted, attempt),
        HistoryEvent::StepFailed { error } => failed(EventKind::StepFailed, error),
        HistoryEvent::StepSkipped { error: Some(error) } => failed(EventKind::StepSkipped, error),
        HistoryEvent::StepSkipped { error: None } => plain(EventKind::StepSkipped),
        HistoryEvent::StepCancelled { error } => failed(EventKind::StepCancelled, error),
        HistoryEvent::OutcomeUnknown { attempt } => of(EventKind::OutcomeUnknown, attempt),
        HistoryEvent::Decided { decision, by, comment } => {
            HistoryEntry { decision: Some(decision), by: Some(by), comment, ..plain(EventKind::Decided) }
        }
        HistoryEvent::SignalReceived { name, payload } => {
            HistoryEntry { name: Some(name), payload: Some(payload.into()), ..plain(EventKind::SignalReceived) }
        }
        HistoryEvent::UpdateReceived { name, .. } => {
            HistoryEntry { name: Some(name), ..plain(EventKind::UpdateReceived) }
        }
        HistoryEvent::RunPaused => plain(EventKind::RunPaused),
        HistoryEvent::RunResumed => plain(EventKind::RunResumed),
        HistoryEvent::RunCancelling { reason } => {
            HistoryEntry { reason: Some(reason), ..plain(EventKind::RunCancelling) }
        }
        HistoryEvent::CompensationBegan => plain(EventKind::CompensationStarted),
        HistoryEvent::RunEnded { status } => {
            HistoryEntry { status: Some(run_status(status)), ..plain(EventKind::RunEnded) }
        }
        HistoryEvent::TaskRecorded { entry, what } => {
            HistoryEntry { entry: Some(entry), what: Some(what), ..plain(EventKind::TaskRecorded) }
        }
        HistoryEvent::StepGaveUp { error } => failed(EventKind::StepGaveUp, error),
        HistoryEvent::TaskDiverged { attempt, error } => {
            HistoryEntry { attempt: Some(attempt), ..failed(EventKind::TaskDiverged, error) }
        }
        HistoryEvent::StepCopied => plain(EventKind::StepCopied),
        HistoryEvent::TaskAwarded { agent } => HistoryEntry { name: Some(agent), ..plain(EventKind::TaskAwarded) },
    };
    HistoryEntry { task: entry.task, step: entry.step, ..told }
}

pub(crate) fn progress(progress: worker::Progress) -> Progress {
    let (kind, message, text, json) = match progress.live {
        worker::Live::Message { message } => (ProgressKind::Message, Some(message), None, None),
        worker::Live::Text { text } => (ProgressKind::Text, None, Some(text), None),
        worker::Live::Json { value } => (ProgressKind::Json, None, None, Some(value)),
    };
    Progress { run: progress.run, step: progress.step, attempt: progress.attempt, kind, message, text, json }
}

pub(crate) fn replay(replay: view::Replay) -> inside::Replay {
    let step = |step: view::ReplayedStep| inside::ReplayedStep {
        task: step.task,
        path: step.path,
        state: step_state(step.state),
        attempts: step.attempts,
        ended_at: step.ended,
        output: step.output.map(Into::into),
    };
    inside::Replay {
        run: replay.run,
        status: replay.status.map(run_status),
        entries: replay.entries,
        steps: replay.steps.into_iter().map(step).collect(),
        differences: replay.differences,
    }
}

pub(crate) fn comparison(found: view::Comparison) -> inside::Comparison {
    let difference = |found: view::Difference| inside::Difference {
        path: found.path,
        left: found.left.map(step_state),
        right: found.right.map(step_state),
        same_output: found.same_output,
        left_took: found.left_took,
        right_took: found.right_took,
    };
    inside::Comparison {
        left: found.left,
        right: found.right,
        same: found.same,
        differences: found.differences.into_iter().map(difference).collect(),
    }
}

pub(crate) fn inbox_item(item: view::InboxView) -> api::inbox::InboxItem {
    let kind = match item.ask {
        Ask::Approval => api::inbox::InboxKind::Approval,
        Ask::UnknownOutcome => api::inbox::InboxKind::UnknownOutcome,
        Ask::Diverged => api::inbox::InboxKind::Diverged,
        Ask::GaveUp => api::inbox::InboxKind::GaveUp,
    };
    api::inbox::InboxItem {
        task: item.task,
        run: item.run,
        workflow: item.workflow,
        step: item.step,
        since: item.since,
        kind,
        title: item.title,
        details: item.details.map(Into::into),
    }
}

pub(crate) fn deployed(found: engine::Deployed, warnings: Vec<api::Diagnostic>) -> workflows::Deployed {
    let replaced = found.replaced.map(|replaced| workflows::ReplacedRevision {
        revision: replaced.revision,
        hash: replaced.hash.to_string(),
        version: replaced.version,
        deployed_at: replaced.deployed,
    });
    let (name, revision, hash, new) = (found.name, found.revision, found.hash.to_string(), found.new);
    workflows::Deployed { name, revision, hash, new, replaced, warnings }
}

pub(crate) fn revision(found: view::RevisionView) -> workflows::Revision {
    workflows::Revision {
        revision: found.revision,
        version: found.version,
        description: found.description,
        hash: found.hash.to_string(),
        deployed_at: found.deployed,
        current: found.current,
        runs_active: found.runs_active,
    }
}

pub(crate) fn workflow(found: view::WorkflowView) -> workflows::WorkflowSummary {
    workflows::WorkflowSummary {
        name: found.name,
        revision: found.revision,
        newest: found.newest,
        retired_at: found.retired,
        version: found.version,
        description: found.description,
        hash: found.hash.to_string(),
        deployed_at: found.deployed,
    }
}

pub(crate) fn namespace(found: view::NamespaceView) -> namespaces::NamespaceSummary {
    let view::NamespaceView { name, runs, runs_active, agents, workflows, bytes, ballots, retention } = found;
    namespaces::NamespaceSummary { name, runs, runs_active, agents, workflows, bytes, ballots, retention }
}

pub(crate) fn graph(graph: workflow::Graph) -> workflows::Graph {
    let node = |node: workflow::Node| workflows::GraphNode {
        path: node.path,
        name: node.name,
        kind: node.kind.to_owned(),
        target: node.target,
        notes: node.notes,
        parent: node.parent,
    };
    workflows::Graph { name: graph.name, nodes: graph.nodes.into_iter().map(node).collect(), edges: graph.edges }
}

pub(crate) fn diagnostics(found: &workflow::Diagnostics) -> Vec<api::Diagnostic> {
    let diagnostic = |found: &workflow::Diagnostic| {
        let severity = match found.severity {
            workflow::Severity::Error => "error",
            workflow::Severity::Warning => "warning",
        };
        api::Diagnostic {
            severity: severity.to_owned(),
            code: found.code.to_owned(),
            message: found.message.clone(),
            line: found.line,
            column: found.column,
            start: found.span.start,
            end: found.span.end,
            hint: found.hint.clone(),
        }
    };
    found.0.iter().map(diagnostic).collect()
}

fn capability(declared: CapabilityDeclaration) -> agents::Capability {
    agents::Capability {
        name: declared.name,
        description: declared.description,
        effect: effect_word(declared.effect).to_owned(),
        input_schema: declared.input_schema,
        output_schema: declared.output_schema,
        cost_hint_microdollars: declared.cost_hint_microdollars,
        time_hint: declared.time_hint,
    }
}

fn awards(awards: registry::AwardsView) -> agents::Awards {
    let registry::AwardsView { capability, won, done, failed, reliability, slowness } = awards;
    agents::Awards { capability, won, done, failed, reliability, slowness }
}

pub(crate) fn agent(agent: registry::AgentView) -> agents::Agent {
    let declared = agent.declaration;
    agents::Agent {
        name: declared.name,
        version: declared.version,
        description: declared.description,
        labels: declared.labels,
        capabilities: declared.capabilities.into_iter().map(capability).collect(),
        health: agent.health.into(),
        reason: agent.reason,
        weight: agent.weight,
        draining: agent.draining,
        pinned: agent.pinned,
        declared_at: agent.since,
        seen_at: agent.seen,
        instances: agent.instances.into_iter().map(instance).collect(),
        statistics: agent.skills.into_iter().map(statistics).collect(),
        awards: agent.awards.into_iter().map(awards).collect(),
        warnings: agent.warnings,
    }
}

fn instance(instance: registry::InstanceView) -> agents::WorkerInstance {
    agents::WorkerInstance {
        name: instance.name,
        client: instance.client,
        labels: instance.labels,
        health: instance.health.into(),
        reason: instance.reason,
        connected_at: instance.connected,
        seen_at: instance.seen,
        in_flight: instance.held,
        max_concurrent: instance.credit,
    }
}

fn statistics(of: registry::SkillView) -> agents::CapabilityStatistics {
    agents::CapabilityStatistics {
        capability: of.capability,
        completed: of.completed,
        failed: of.failed,
        unknown: of.unknown,
        expired: of.expired,
        lost: of.lost,
        p50: of.p50,
        p95: of.p95,
        queued_p50: of.queued_p50,
        queued_p95: of.queued_p95,
    }
}

pub(crate) fn queue(queue: registry::QueueView) -> queues::Queue {
    let holder = |of: registry::HolderView| queues::Holder { instance: of.instance, in_flight: of.held };
    queues::Queue {
        capability: queue.capability,
        agent: queue.agent,
        waiting: queue.waiting,
        limited: queue.limited,
        paused: queue.paused,
        oldest: queue.oldest,
        instances: queue.instances,
        handed_out_minute: queue.handed_out_minute,
        ended_minute: queue.ended_minute,
        holders: queue.holders.into_iter().map(holder).collect(),
        reason: queue.reason,
    }
}

pub(crate) fn quota(view: registry::LimitView) -> queues::Quota {
    queues::Quota {
        scope: view.scope,
        max_concurrent: view.limit.concurrency,
        rate: view.limit.rate.map(Into::into),
        max_waiting: view.limit.queue,
        in_flight: view.taken,
        limited: view.limited,
    }
}

pub(crate) fn status(status: engine::Status) -> server::Status {
    let counts = status.tasks;
    let agent = |of: engine::AgentStatus| server::AgentInstances {
        namespace: of.namespace,
        agent: of.agent,
        version: of.version,
        instances: of.instances,
        in_flight: of.held,
        available: of.credit,
    };
    server::Status {
        now: status.now,
        applied: status.applied.0,
        log_first: status.log_first.0,
        log_last: status.log_last.0,
        store_written: status.store_written.0,
        store_synced: status.store_synced.0,
        log_bytes: status.log_bytes,
        store_bytes: status.store_bytes,
        groups: status.groups,
        records: status.records,
        commands_waiting: status.commands_waiting,
        rows_changed: status.rows_changed,
        tasks: server::TaskCounts {
            created: counts.made,
            waiting: counts.waiting,
            running: counts.taken,
            completed: counts.done,
            unsuccessful: counts.dead,
        },
        runs_active: status.runs_active,
        tasks_queued: status.tasks_queued,
        halted: status.halted.map(ErrorDetail::from),
        refused: status.refused.into_iter().map(refused_record).collect(),
        draining: status.draining,
        instances: status.instances,
        in_flight: status.tasks_held,
        agents: status.agents.into_iter().map(agent).collect(),
        clock_lead: status.clock_lead,
        clock_leap: status.clock_leap,
    }
}

fn refused_record(of: view::RefusedRecord) -> server::RefusedRecord {
    let view::RefusedRecord { record, by_record, reason, by, at } = of;
    server::RefusedRecord { record: record.0, by_record: by_record.0, reason, by, at }
}

pub(crate) fn bulk_request(request: bulk::BulkRequest) -> engine::BulkRequest {
    let bulk::BulkRequest { filter, action, reason, limit, cursor, dry_run } = request;
    let action = match action {
        bulk::BulkAction::Cancel => engine::BulkAction::Cancel,
        bulk::BulkAction::Pause => engine::BulkAction::Pause,
        bulk::BulkAction::Resume => engine::BulkAction::Resume,
        bulk::BulkAction::Delete => engine::BulkAction::Delete,
    };
    let filter = view::RunFilter {
        statuses: statuses(&filter.status),
        workflow: filter.workflow,
        labels: filter.labels,
        children: filter.children,
        ..view::RunFilter::default()
    };
    engine::BulkRequest { filter, action, reason, limit, cursor, dry_run }
}

pub(crate) fn bulk_result(result: engine::BulkResult) -> bulk::BulkResult {
    let item = |item: engine::BulkItem| match item.done {
        Ok(done) => bulk::BulkItem { run: item.run, done, error: None },
        Err(error) => bulk::BulkItem { run: item.run, done: false, error: Some(error.into()) },
    };
    bulk::BulkResult { results: result.results.into_iter().map(item).collect(), next: result.next }
}

pub(crate) fn started(started: engine::Started) -> runs::Started {
    runs::Started { run: started.run, deduplicated: started.deduplicated }
}

pub(crate) fn backup(folder: String, made: &consort_engine::Backup) -> api::backup::Backup {
    api::backup::Backup {
        folder,
        record: made.record.0,
        time: made.time,
        rows: made.rows,
        blobs: made.blobs,
        missing_blobs: made.missing_blobs,
        bytes: made.bytes,
        files_written: made.files_written,
        bytes_written: made.bytes_written,
    }
}

pub(crate) fn grant(lock: &str, holder: &str, claim: engine::LockClaim) -> locks::LockGrant {
    let (lock, holder) = (lock.to_owned(), holder.to_owned());
    match claim {
        engine::LockClaim::Held { token, since, until } => {
            locks::LockGrant { lock, holder, state: locks::LockState::Held, token: Some(token.0), since, until }
        }
        engine::LockClaim::Waiting { since, until } => {
            locks::LockGrant { lock, holder, state: locks::LockState::Waiting, token: None, since, until }
        }
    }
}

pub(crate) fn lock(lock: view::LockView) -> locks::Lock {
    let held = |found: view::HolderView| {
        let engine::LockClaim::Held { token, since, until } = found.claim else { return None };
        let view::HolderView { holder, ttl, value, .. } = found;
        Some(locks::LockHolder { holder, token: token.0, since, until, ttl, value })
    };
    let waits = |found: view::HolderView| {
        let engine::LockClaim::Waiting { since, until } = found.claim else { return None };
        Some(locks::LockWaiter { holder: found.holder, since, until })
    };
    locks::Lock {
        name: lock.name,
        permits: lock.permits,
        held: lock.held,
        waiting: lock.waiting,
        holders: lock.holders.into_iter().filter_map(held).collect(),
        waiters: lock.waiters.into_iter().filter_map(waits).collect(),
        last_change: lock.last.map(|change| lock_change(lock.cursor, change)),
        cursor: lock.cursor.to_string(),
    }
}

pub(crate) fn lock_change(cursor: Position, change: view::LockChange) -> locks::LockChange {
    let kind = match change.kind {
        view::LockChangeKind::Granted => locks::LockChangeKind::Granted,
        view::LockChangeKind::ValueSet => locks::LockChangeKind::ValueSet,
        view::LockChangeKind::Released => locks::LockChangeKind::Released,
        view::LockChangeKind::Expired => locks::LockChangeKind::Expired,
        view::LockChangeKind::Broken => locks::LockChangeKind::Broken,
    };
    let view::LockChange { at: time, holder, token, value, by, reason, .. } = change;
    locks::LockChange { cursor: cursor.to_string(), time, change: kind, holder, token: token.0, value, by, reason }
}

pub(crate) fn barrier(barrier: view::BarrierView) -> locks::Barrier {
    let member = |(member, time)| locks::BarrierMember { member, time };
    let over = |over: view::Generation| {
        let view::Generation { number: generation, released, at: time } = over;
        locks::BarrierGeneration { generation, released, time }
    };
    locks::Barrier {
        name: barrier.name,
        generation: barrier.generation,
        parties: barrier.parties,
        arrived: barrier.arrived,
        expires_at: barrier.expires,
        members: barrier.members.into_iter().map(member).collect(),
        over: barrier.over.into_iter().map(over).collect(),
    }
}

pub(crate) fn arrival(barrier: &str, state: engine::BarrierState) -> locks::BarrierArrival {
    let engine::BarrierState { generation, released, arrived, parties } = state;
    locks::BarrierArrival { barrier: barrier.to_owned(), generation, released, arrived, parties }
}
