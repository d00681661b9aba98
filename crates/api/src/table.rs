//! The table of operations.
//!
//! For: everything that is made from all of them. Not for: what an operation is (see `spec`).
//! Invariant: an operation that is not in the table does not exist; each is in it once.

use std::{fmt::Write as _, sync::LazyLock};

use crate::{
    Accepts, Entry, Param, Place, agents as a, backup, ballots, beside as v, bulk as b, events as e, failed as f,
    inbox as i, inside as n, locks as l, namespaces, operate as o, queues as q, runs as r, schedules as d, server as s,
    spaces, state, steps as p, subscriptions as u, triggers as g, watch as t, workflows as w,
};

static OPERATIONS: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    vec![
        Entry::of::<w::DeployWorkflow>(),
        Entry::of::<w::CheckWorkflow>(),
        Entry::of::<w::ListWorkflows>(),
        Entry::of::<w::ListRevisions>(),
        Entry::of::<w::RollBackWorkflow>(),
        Entry::of::<w::RetireWorkflow>(),
        Entry::of::<w::DeleteWorkflow>(),
        Entry::of::<w::ShowWorkflow>(),
        Entry::of::<w::WorkflowGraph>(),
        Entry::of::<w::DrawWorkflow>(),
        Entry::of::<w::WorkflowSchema>(),
        Entry::of::<r::StartRun>(),
        Entry::of::<r::ListRuns>(),
        Entry::of::<f::ListFailedSteps>(),
        Entry::of::<b::BulkRuns>(),
        Entry::of::<r::ShowRun>(),
        Entry::of::<o::DeleteRun>(),
        Entry::of::<n::RunTree>(),
        Entry::of::<n::RunSteps>(),
        Entry::of::<n::RunHistory>(),
        Entry::of::<t::WatchRun>(),
        Entry::of::<n::RunSource>(),
        Entry::of::<n::ReplayRun>(),
        Entry::of::<n::CompareRuns>(),
        Entry::of::<n::RunInput>(),
        Entry::of::<n::RunOutput>(),
        Entry::of::<p::ShowStep>(),
        Entry::of::<p::StepInput>(),
        Entry::of::<p::StepOutput>(),
        Entry::of::<p::StepJournal>(),
        Entry::of::<o::CancelRun>(),
        Entry::of::<o::PauseRun>(),
        Entry::of::<o::ResumeRun>(),
        Entry::of::<o::SignalRun>(),
        Entry::of::<v::QueryRun>(),
        Entry::of::<v::QueryValue>(),
        Entry::of::<v::UpdateRun>(),
        Entry::of::<v::ShowUpdate>(),
        Entry::of::<o::RetryRun>(),
        Entry::of::<o::ForkRun>(),
        Entry::of::<s::ShowRetention>(),
        Entry::of::<s::SetRetention>(),
        Entry::of::<i::ListInbox>(),
        Entry::of::<i::ShowInboxItem>(),
        Entry::of::<i::InboxDetails>(),
        Entry::of::<i::Decide>(),
        Entry::of::<a::ListAgents>(),
        Entry::of::<a::WatchAgents>(),
        Entry::of::<a::ShowAgent>(),
        Entry::of::<a::DrainAgent>(),
        Entry::of::<a::ResumeAgent>(),
        Entry::of::<a::WeighAgent>(),
        Entry::of::<a::RemoveAgent>(),
        Entry::of::<q::ListQueues>(),
        Entry::of::<q::ListQuotas>(),
        Entry::of::<q::SetQuota>(),
        Entry::of::<q::RemoveQuota>(),
        Entry::of::<spaces::ListSpaces>(),
        Entry::of::<spaces::ShowSpace>(),
        Entry::of::<spaces::SetSpace>(),
        Entry::of::<spaces::DeleteSpace>(),
        Entry::of::<state::ListState>(),
        Entry::of::<state::GetState>(),
        Entry::of::<state::PutState>(),
        Entry::of::<state::DeleteState>(),
        Entry::of::<state::StateHistory>(),
        Entry::of::<state::TransactState>(),
        Entry::of::<state::WatchState>(),
        Entry::of::<spaces::ListConflicts>(),
        Entry::of::<spaces::ShowConflict>(),
        Entry::of::<spaces::DecideConflict>(),
        Entry::of::<l::ListLocks>(),
        Entry::of::<l::ShowLock>(),
        Entry::of::<l::AcquireLock>(),
        Entry::of::<l::RenewLock>(),
        Entry::of::<l::ReleaseLock>(),
        Entry::of::<l::BreakLock>(),
        Entry::of::<l::WatchLock>(),
        Entry::of::<l::ListBarriers>(),
        Entry::of::<l::ShowBarrier>(),
        Entry::of::<l::ArriveBarrier>(),
        Entry::of::<ballots::ListBallots>(),
        Entry::of::<ballots::OpenBallot>(),
        Entry::of::<ballots::ShowBallot>(),
        Entry::of::<ballots::DeleteBallot>(),
        Entry::of::<ballots::WatchBallot>(),
        Entry::of::<ballots::CastVote>(),
        Entry::of::<ballots::CloseBallot>(),
        Entry::of::<ballots::CancelBallot>(),
        Entry::of::<e::PublishEvents>(),
        Entry::of::<e::ListEvents>(),
        Entry::of::<e::WatchEvents>(),
        Entry::of::<e::ShowEventRetention>(),
        Entry::of::<e::SetEventRetention>(),
        Entry::of::<e::ShowEvent>(),
        Entry::of::<e::EventData>(),
        Entry::of::<u::ListSubscriptions>(),
        Entry::of::<u::SetSubscription>(),
        Entry::of::<u::ShowSubscription>(),
        Entry::of::<u::DeleteSubscription>(),
        Entry::of::<u::PauseSubscription>(),
        Entry::of::<u::ResumeSubscription>(),
        Entry::of::<u::FetchEvents>(),
        Entry::of::<u::AckDeliveries>(),
        Entry::of::<u::NackDeliveries>(),
        Entry::of::<u::SeekSubscription>(),
        Entry::of::<u::ListDeadLetters>(),
        Entry::of::<u::RedriveDeadLetters>(),
        Entry::of::<u::DropDeadLetters>(),
        Entry::of::<g::ListTriggers>(),
        Entry::of::<g::SetTrigger>(),
        Entry::of::<g::ShowTrigger>(),
        Entry::of::<g::DeleteTrigger>(),
        Entry::of::<g::PauseTrigger>(),
        Entry::of::<g::ResumeTrigger>(),
        Entry::of::<d::ListSchedules>(),
        Entry::of::<d::SetSchedule>(),
        Entry::of::<d::ShowSchedule>(),
        Entry::of::<d::DeleteSchedule>(),
        Entry::of::<d::PauseSchedule>(),
        Entry::of::<d::ResumeSchedule>(),
        Entry::of::<d::TriggerSchedule>(),
        Entry::of::<d::BackfillSchedule>(),
        Entry::of::<namespaces::ListNamespaces>(),
        Entry::of::<s::ShowStatus>(),
        Entry::of::<backup::MakeBackup>(),
        Entry::of::<s::ListLimits>(),
        Entry::of::<s::ListErrors>(),
        Entry::of::<s::ShowError>(),
        Entry::of::<s::OpenApi>(),
        Entry::of::<s::Healthy>(),
        Entry::of::<s::IsReady>(),
    ]
});

/// Every operation, in the order of the documents.
pub fn operations() -> &'static [Entry] {
    &OPERATIONS
}

/// The table of routes of `docs/http-api.md`.
pub fn routes_table() -> String {
    let mut table = "| method and path | what | takes | command line |\n|---|---|---|---|\n".to_owned();
    for entry in operations() {
        let spec = &entry.spec;
        let words: Vec<String> = spec.words.iter().map(|words| format!("`consort {words}`")).collect();
        let _ = writeln!(
            table,
            "| `{} {}` | {} | {} | {} |",
            spec.method.as_str(),
            spec.path,
            spec.doc,
            takes(entry),
            words.join(", ")
        );
    }
    table
}

/// The parameters of an operation beside those of its path and the namespace.
fn takes(entry: &Entry) -> String {
    let named = |place: Place| {
        let its = entry.params().iter().filter(move |param| param.place == place);
        its.map(Param::shown).map(|name| format!("`{name}`")).collect::<Vec<_>>()
    };
    let mut parts = named(Place::Query);
    parts.extend(named(Place::Header).into_iter().map(|name| format!("header {name}")));
    match entry.spec.accepts {
        Accepts::Nothing => {}
        Accepts::Json { .. } => parts.extend(body_fields(entry)),
        Accepts::Document => parts.push("any JSON document".to_owned()),
        Accepts::CloudEvents => parts.push("CloudEvents: JSON, a batch, or `ce-` header fields".to_owned()),
        Accepts::Workflow => parts.push("YAML, or JSON `{source}`".to_owned()),
    }
    parts.join(", ")
}

/// The fields of a body, where it has any.
fn body_fields(entry: &Entry) -> Option<String> {
    let fields = entry.body_fields();
    (!fields.is_empty()).then(|| format!("body `{{{}}}`", fields.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Method, Returns, Scope};

    #[test]
    fn nothing_stands_twice_and_nothing_is_forgotten() {
        let routes: BTreeSet<_> = operations().iter().map(|entry| (entry.spec.path, entry.spec.method)).collect();
        let ids: BTreeSet<_> = operations().iter().map(|entry| entry.spec.id).collect();
        assert_eq!((routes.len(), ids.len()), (operations().len(), operations().len()));
        for entry in operations() {
            let spec = &entry.spec;
            assert!(!spec.id.is_empty() && !spec.group.is_empty() && spec.doc.ends_with(['.', ')']), "{}", spec.id);
            assert!(spec.path.starts_with('/') && !spec.answers.is_empty(), "{}", spec.id);
            assert!(spec.changes || spec.method == Method::Get || spec.id == "checkWorkflow", "{}", spec.id);
            assert_eq!(spec.returns == Returns::Nothing, spec.answers == [(204, spec.answers[0].1)], "{}", spec.id);
            assert!(spec.scope == Scope::Server || spec.path.starts_with("/v1/"), "{}", spec.id);
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_operation() {
        let table = routes_table();
        assert_eq!(table.lines().count(), operations().len() + 2);
        assert!(table.contains("| `POST /v1/runs/{run}/cancel` | Cancels a run and everything below it. | body `{force, reason}` | `consort runs cancel` |"));
    }
}
