//! Documents of the state store.
//!
//! For: values, changes, conflicts and spaces as `consort_api` shows them, and transactions as the engine takes them. Not
//! for: deciding anything about them.
//! Invariant: as that of `convert`.

use consort_api::{spaces, state as api};
use consort_engine::{
    OperationResult, StatePage, Transacted,
    view::{Candidate, ChangeKind, ChangeView, ConflictView, PrefixMerge, Settlement, SpaceView, StateView},
};
use consort_types::{
    Code, Error, Result,
    state::{PrefixPolicy, Transaction, Writer},
};

fn writer(writer: Writer) -> api::StateWriter {
    let Writer { by, run, step } = writer;
    api::StateWriter { by, run, step }
}

fn candidate(candidate: Candidate) -> api::StateCandidate {
    let Candidate { value, version, by, time } = candidate;
    api::StateCandidate { value: value.map(Into::into), version: version.0, writer: writer(by), written_at: time }
}

pub(crate) fn value(view: StateView) -> api::StateValue {
    api::StateValue {
        key: view.key,
        value: view.value.into(),
        version: view.version.0,
        created_version: view.created.map(|(seq, _)| seq.0),
        writes: view.created.map(|(_, writes)| writes),
        writer: writer(view.by),
        written_at: view.time,
        expires_at: view.expires,
        conflict: view.undecided,
        siblings: view.siblings.into_iter().map(candidate).collect(),
    }
}

pub(crate) fn list(page: StatePage) -> api::StateList {
    let StatePage { page, position } = page;
    api::StateList { items: page.items.into_iter().map(value).collect(), next: page.next, position }
}

pub(crate) fn change(view: ChangeView) -> api::StateChange {
    let ChangeView { at, change } = view;
    api::StateChange {
        position: at,
        version: at.seq.0,
        key: change.key,
        change: match change.kind {
            ChangeKind::Put => api::StateChangeKind::Put,
            ChangeKind::Merged => api::StateChangeKind::Merged,
            ChangeKind::Deleted => api::StateChangeKind::Deleted,
            ChangeKind::Expired => api::StateChangeKind::Expired,
            ChangeKind::Decided => api::StateChangeKind::Decided,
            ChangeKind::Undecided => api::StateChangeKind::Undecided,
        },
        value: change.value.map(Into::into),
        writer: writer(change.by),
        at: change.time,
    }
}

pub(crate) fn result(result: OperationResult) -> api::StateResult {
    let OperationResult { space, key, outcome, version, value, conflict } = result;
    api::StateResult { space, key, outcome, version: version.0, value: value.map(Into::into), conflict }
}

pub(crate) fn transacted(done: Transacted) -> api::StateTransaction {
    let Transacted { seq, succeeded, results } = done;
    api::StateTransaction { version: seq.0, succeeded, results: results.into_iter().map(result).collect() }
}

pub(crate) fn space(view: SpaceView) -> spaces::Space {
    let SpaceView { name, space } = view;
    spaces::Space {
        name,
        policies: space.settings.policies.into_iter().map(|one| policy(one, &space.merges)).collect(),
        keep_changes: space.settings.keep_changes,
        max_keys: space.settings.max_keys,
        max_bytes: space.settings.max_bytes,
        events: space.settings.events,
        keys: space.keys,
        bytes: space.bytes,
        changes: space.changes,
        conflicts: space.conflicts,
        undecided: space.undecided,
        conflicts_total: space.conflicts_total,
        position: space.last,
        created_at: space.created,
    }
}

pub(crate) fn conflict(view: ConflictView) -> spaces::StateConflict {
    let ConflictView { id, conflict } = view;
    let mut shown = spaces::StateConflict {
        conflict: id,
        key: conflict.key,
        policy: conflict.policy,
        candidates: conflict.candidates.into_iter().map(candidate).collect(),
        settled: spaces::Settlement::Undecided,
        value: None,
        decided_by: None,
        comment: None,
        decided_at: None,
        at: conflict.time,
    };
    match conflict.settled {
        Settlement::Undecided => {}
        Settlement::Rejected => shown.settled = spaces::Settlement::Rejected,
        Settlement::KeptCurrent => shown.settled = spaces::Settlement::KeptCurrent,
        Settlement::TookIncoming => shown.settled = spaces::Settlement::TookIncoming,
        Settlement::Merged(value) => {
            shown.settled = spaces::Settlement::Merged;
            shown.value = Some(value.into());
        }
        Settlement::Decided(decided) => {
            shown.settled = spaces::Settlement::Decided;
            shown.value = decided.value.map(Into::into);
            shown.decided_by = Some(writer(decided.by));
            shown.comment = decided.comment;
            shown.decided_at = Some(decided.time);
        }
    }
    shown
}

/// The transaction that a client requests, and who it is.
pub(crate) fn transaction(request: &api::TransactStateRequest) -> Result<(Transaction, Writer)> {
    let by = Writer::client(request.by.as_deref());
    let request = api::TransactStateRequest { by: None, ..request.clone() };
    let bytes = serde_json::to_vec(&request).map_err(|error| Error::new(Code::BadJson, error.to_string()))?;
    Ok((Transaction::read(&bytes)?, by))
}

/// A policy, with its expression where it has one.
fn policy(PrefixPolicy { prefix, policy }: PrefixPolicy, merges: &[PrefixMerge]) -> spaces::StatePolicy {
    let merge = merges.iter().find(|merge| merge.prefix == prefix).map(|merge| merge.expression.source().to_owned());
    spaces::StatePolicy { prefix, policy, merge }
}
