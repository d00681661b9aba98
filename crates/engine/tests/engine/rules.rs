//! The rules of operations that stand in the engine, so that no door has a rule of its own.
//!
//! For: defaults, refusals of requests that mean nothing, and what is answered where a thing is not there. Not for:
//! what operations do to runs.
//! Invariant: as in `support`.

use crate::support::{NS, agent, hello, parts};
use consort_engine::{
    BulkAction, BulkRequest, Config, Decision, Handle, Locality, StartRequest,
    view::{RunFilter, RunStatus},
};
use consort_log::MemoryLogDisk;
use consort_store::MemoryStore;
use consort_types::{
    Code, EffectClass, Error, Payload, RunId, StepInstanceId, limits,
    registry::{LimitScope, TaskLimit},
};

/// Waits for a signal; the input's fields may be left out.
const WAIT: &str = "workflow: w\nsteps:\n  a: { wait: { signal: go } }\n";
const X: &[(&str, EffectClass)] = &[("x", EffectClass::Idempotent)];

async fn open() -> Handle {
    let handle = Handle::open(parts(&MemoryLogDisk::new(), &MemoryStore::new()), Config::default()).await.unwrap();
    handle.deploy(NS, WAIT).await.unwrap();
    handle
}

fn request() -> StartRequest {
    StartRequest { namespace: NS.into(), workflow: "w".into(), ..StartRequest::default() }
}

async fn start(handle: &Handle) -> RunId {
    handle.start(request()).await.unwrap().run
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>, code: Code) -> Error {
    let error = result.unwrap_err();
    assert!(error.code == code && error.hint.is_some(), "{error:?}");
    error
}

#[tokio::test]
async fn a_start_without_input_has_an_empty_document() {
    let handle = open().await;
    let run = start(&handle).await;
    assert_eq!(handle.run(NS, run).await.unwrap().input, Payload::inline(&b"{}"[..]));
    let null = StartRequest { input: Some(Payload::null()), ..request() };
    let run = handle.start(null).await.unwrap().run;
    assert_eq!(handle.run(NS, run).await.unwrap().input, Payload::null(), "what is given stays as it is");
}

#[tokio::test]
async fn an_empty_idempotency_key_is_refused() {
    let handle = open().await;
    refused(handle.start(StartRequest { idempotency_key: Some(String::new()), ..request() }).await, Code::BadRequest);
}

#[tokio::test]
async fn pages_have_one_default_and_one_limit() {
    let handle = open().await;
    for _ in 0..=limits::PAGE_ITEMS_DEFAULT {
        start(&handle).await;
    }
    let page = handle.runs(NS, RunFilter::default(), None, None).await.unwrap();
    assert_eq!((page.items.len(), page.next.is_some()), (limits::PAGE_ITEMS_DEFAULT, true));
    let run = page.items[0].run;
    for limit in [0, limits::PAGE_ITEMS_MAX + 1] {
        for error in [
            refused(handle.runs(NS, RunFilter::default(), None, limit).await, Code::BadRequest),
            refused(handle.steps(NS, run, None, limit).await, Code::BadRequest),
            refused(handle.history(NS, run, None, limit).await, Code::BadRequest),
            refused(handle.inbox(NS, None, limit).await, Code::BadRequest),
            refused(handle.workflows(NS, None, limit).await, Code::BadRequest),
        ] {
            assert!(error.message.contains(&format!("`{limit}`")) && error.message.contains("1000"), "{error}");
        }
    }
    let first = handle.history(NS, run, None, 1).await.unwrap();
    let after = first.next.map(|cursor| cursor.parse().unwrap());
    assert_eq!(after, first.items.last().map(|entry| entry.cursor), "the cursor of the last entry continues after it");
}

#[tokio::test]
async fn runs_are_listed_in_several_states_and_with_their_priority() {
    let handle = open().await;
    let first = start(&handle).await;
    let urgent = handle.start(StartRequest { priority: 7, ..request() }).await.unwrap().run;
    handle.cancel(NS, first, "", false).await.unwrap();
    let ended = handle.wait_end(NS, first).await.unwrap();
    let reason = ended.summary.error.unwrap().message;
    assert!(reason.contains("cancelled by a client"), "{reason}");
    let listed = async |statuses: &[RunStatus]| {
        let filter = RunFilter { statuses: statuses.to_vec(), ..RunFilter::default() };
        let page = handle.runs(NS, filter, None, None).await.unwrap();
        page.items.into_iter().map(|run| (run.run, run.priority)).collect::<Vec<_>>()
    };
    assert_eq!(listed(&[RunStatus::Running]).await, [(urgent, 7)]);
    assert_eq!(listed(&[RunStatus::Running, RunStatus::Cancelled]).await, [(urgent, 7), (first, 0)]);
    assert_eq!(listed(&[]).await.len(), 2);
}

#[tokio::test]
async fn a_decision_names_who_made_it() {
    let handle = open().await;
    let task = StepInstanceId { run: start(&handle).await, scope: 0, index: 0 };
    for by in ["", " \t"] {
        refused(handle.decide(NS, task, Decision::Approve(None), by, None).await, Code::BadRequest);
        refused(handle.decide(NS, task, Decision::Retry, by, None).await, Code::BadRequest);
    }
    refused(handle.inbox_item(NS, task).await, Code::TaskNotFound);
}

#[tokio::test]
async fn a_quota_says_something_and_only_one_that_is_set_is_removed() {
    let handle = open().await;
    let scope = || LimitScope::Capability("x".to_owned());
    refused(handle.set_quota(NS, scope(), TaskLimit::default()).await, Code::BadRequest);
    refused(handle.remove_quota(NS, scope()).await, Code::QuotaNotFound);
    let two = TaskLimit { concurrency: Some(2), ..TaskLimit::default() };
    handle.set_quota(NS, scope(), two).await.unwrap();
    refused(handle.remove_quota(NS, LimitScope::Namespace).await, Code::QuotaNotFound);
    // Two removals at once: the loop's order decides, and one of them finds nothing.
    let (one, other) = tokio::join!(handle.remove_quota(NS, scope()), handle.remove_quota(NS, scope()));
    assert_eq!([one.is_ok(), other.is_ok()].iter().filter(|done| **done).count(), 1, "{one:?} {other:?}");
    assert!(handle.quotas(NS).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_told_with_what_is() {
    let handle = open().await;
    let _session = handle.attach(hello(agent("a", X), 1, Vec::new()), Locality::Local).await.unwrap();
    let known = handle.agent(NS, "a", None).await.unwrap().remove(0).declaration.version;
    assert_eq!(handle.agent(NS, "a", Some(&known)).await.unwrap().len(), 1);
    let error = refused(handle.agent(NS, "a", Some("99")).await, Code::AgentNotFound);
    assert!(error.hint.unwrap().contains(&known));
    refused(handle.agent(NS, "b", None).await, Code::AgentNotFound);
    refused(handle.agent(NS, "b", Some("1")).await, Code::AgentNotFound);
}

#[tokio::test]
async fn outputs_are_given_where_there_are_any() {
    let handle = open().await;
    let run = start(&handle).await;
    let task = StepInstanceId { run, scope: 0, index: 0 };
    refused(handle.run_output(NS, run).await, Code::RunActive);
    refused(handle.step(NS, run, task).unwrap().output().await, Code::StepState);
    handle.signal(NS, run, "go", Payload::inline(&b"7"[..])).await.unwrap();
    handle.wait_end(NS, run).await.unwrap();
    assert!(handle.step(NS, run, task).unwrap().output().await.is_ok() && handle.run_output(NS, run).await.is_ok());
    let other = start(&handle).await;
    assert_eq!(handle.step(NS, other, task).unwrap().output().await.unwrap_err().code, Code::TaskNotFound);
}

#[tokio::test]
async fn many_runs_are_acted_on_and_each_is_answered() {
    let handle = open().await;
    let runs = [start(&handle).await, start(&handle).await, start(&handle).await];
    let all = |action, limit, dry_run| BulkRequest {
        filter: RunFilter::default(),
        action,
        reason: String::new(),
        limit,
        cursor: None,
        dry_run,
    };
    refused(handle.bulk(NS, all(BulkAction::Pause, Some(0), false)).await, Code::BadRequest);
    let meant = handle.bulk(NS, all(BulkAction::Pause, None, true)).await.unwrap();
    assert!(meant.results.iter().all(|item| item.done == Ok(false)) && meant.results.len() == 3, "{meant:?}");
    let page = handle.bulk(NS, all(BulkAction::Pause, Some(2), false)).await.unwrap();
    assert_eq!((page.results.len(), page.next.is_some()), (2, true));
    assert!(
        handle.run(NS, runs[2]).await.unwrap().summary.paused && !handle.run(NS, runs[0]).await.unwrap().summary.paused
    );
    let deleted = handle.bulk(NS, all(BulkAction::Delete, None, false)).await.unwrap();
    let codes: Vec<_> = deleted.results.iter().map(|item| item.done.clone().unwrap_err().code).collect();
    assert_eq!(codes, [Code::RunActive; 3], "what one run refuses is in the result");
}
