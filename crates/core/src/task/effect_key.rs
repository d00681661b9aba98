//! The idempotency key of a task: it names the effect, and not the attempt or the run.
//!
//! For: one key for everything that tries the same effect: attempts, and the runs that a retry or a fork makes. Not for:
//! the keys of starts (see `run::start`).
//! Invariant: tasks of different effects have different keys; what is done again after it was undone has a new one.
//!
//! The key is a hash of the first run of the forks, the place of the task in it, how often the effect was undone, and
//! (where code makes the call, so that another call may be at the place) of what is called with what.

use consort_types::{BlobHash, Result, RunId, StepInstanceId, worker::JournalRequest};

use crate::{
    encode::content_hash,
    run::locate::{self, InstanceKind, Layer, StepRef},
    state::State,
    task::task_spec,
};

/// The key of a task, whose path is `path`.
pub(crate) fn effect_key(state: &mut State, step_ref: &StepRef, task: StepInstanceId, path: &str) -> Result<String> {
    let undone = times_undone(state, task)?;
    let lineage = step_ref.run.lineage.unwrap_or(task.run);
    let path = match step_ref.kind {
        // Whatever agent gets the task, its effect is the same.
        InstanceKind::Body(Layer::Award) => locate::path_above(state, task)?,
        _ => path.to_owned(),
    };
    let mut named = format!("{lineage}\n{undone}\n{path}\n").into_bytes();
    if let InstanceKind::Call { .. } = step_ref.kind
        && let Some(JournalRequest::Call { capability, input, .. }) =
            task_spec::entry_of(state, step_ref)?.as_deref().map(|row| &row.request)
    {
        named.extend(capability.as_bytes());
        named.extend(content_hash(input).0);
    }
    Ok(shortened(&BlobHash::of(&named)))
}

/// The lineage of a run that a step starts: the same for each run that a fork starts at the same place.
pub(crate) fn lineage_below(state: &mut State, step_ref: &StepRef, task: StepInstanceId) -> Result<RunId> {
    let (path, undone) = (locate::path(state, task)?, times_undone(state, task)?);
    let lineage = step_ref.run.lineage.unwrap_or(task.run);
    let hash = BlobHash::of(format!("{lineage}\n{undone}\n{path}\nrun").as_bytes()).0;
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    Ok(RunId(id))
}

/// How often the effects below the top-level step of a task were undone, in the runs that its run was forked from.
fn times_undone(state: &mut State, task: StepInstanceId) -> Result<u32> {
    let top = locate::top_step(state, task)?;
    Ok(state.step(top)?.and_then(|step| step.undone).unwrap_or_default())
}

/// The first half of a hash, in hexadecimal digits: short enough for providers of payments.
fn shortened(hash: &BlobHash) -> String {
    hash.to_string()[..32].to_owned()
}
