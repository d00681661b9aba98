//! Runs that the machine starts by itself, for a trigger or a schedule.
//!
//! For: starting a run inside of a record that is about something else. Not for: runs that steps start (see
//! `child_runs`), or that clients do (see `start`).
//! Invariant: an error has changed nothing; a key starts one run.

use std::collections::BTreeMap;

use consort_types::{Code, Error, Result, RunId};
use serde_json::Value;

use crate::{
    context::ApplyContext,
    key::NamedKey,
    quota::namespace,
    registry::workflows,
    run::{
        child_runs::derived_id,
        lifecycle::{self, NewRun},
        rows::run::IdempotencyRecord,
        scope,
        start::StartRun,
    },
};

/// A run to start.
pub(crate) struct Made<'s> {
    pub(crate) namespace: &'s str,
    pub(crate) workflow: &'s str,
    pub(crate) version: Option<&'s str>,
    /// Its idempotency key, which names what starts it and why.
    pub(crate) key: String,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Made<'_> {
    /// Starts it with this input.
    pub(crate) fn start(self, ctx: &mut ApplyContext<'_>, given: &Value) -> Result<RunId> {
        let Self { namespace, workflow, version, key, labels } = self;
        namespace::check_runs_active(ctx.state, namespace)?;
        let hash = workflows::resolve_workflow(ctx.state, namespace, workflow, version)?;
        workflows::refuse_retired(ctx.state, namespace, workflow, None)?;
        let definition = ctx.state.definition(hash)?;
        let input = lifecycle::accept_input(ctx, &definition, given)?;
        let row = NamedKey::of(namespace, &key);
        if ctx.state.tables.idempotency.get(&row)?.is_some() {
            let message = format!("the idempotency key `{key}` has started another run");
            return Err(Error::new(Code::IdempotencyMismatch, message)
                .hint("leave keys of this form to triggers and schedules"));
        }
        let input = ctx.store_payload("input", input)?;
        let request = StartRun::request_hash(workflow, version, &input);
        let id = derived_id(ctx, &format!("{namespace}/{key}"));
        ctx.state.tables.idempotency.put(row, IdempotencyRecord { run: id, request });
        let idempotency_key = Some(key);
        let new = NewRun { labels, idempotency_key, ..NewRun::of(id, namespace, hash, definition, input) };
        lifecycle::create_run(ctx, new)?;
        scope::open_root(ctx, id)?;
        Ok(id)
    }
}
