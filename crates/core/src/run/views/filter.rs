//! Which runs a listing has, and where a page of it begins.
//!
//! For: what all listings that go through runs have in common. Not for: what is shown of a run (see `listing`), or looking
//! for texts and codes (see `search`).
//! Invariant: a page looks at a bounded number of runs, in the order of the listing.

use std::collections::BTreeMap;

use consort_types::{Code, Result, RunId, StepInstanceId, Time};

use crate::{
    page::bad_cursor,
    run::{
        keys::{ListKey, OfRun},
        rows::run::{Run, RunStatus},
    },
    state::State,
};

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunFilter {
    /// Only in one of these states; where there is none, in any.
    pub statuses: Vec<RunStatus>,
    /// Only of this workflow.
    pub workflow: Option<String>,
    /// Only with all these labels.
    pub labels: BTreeMap<String, String>,
    /// Whether runs that a run started are listed too.
    pub children: bool,
    /// Only those that were started then or later.
    pub since: Option<Time>,
    /// Only those that were started before.
    pub until: Option<Time>,
    /// Only with this code: that of the run's own error, or of a step that failed.
    pub code: Option<Code>,
    /// Only with this text, in small letters or large, in the input, the output, the error or the labels. Documents of
    /// more than [`consort_types::limits::SEARCH_DOCUMENT_BYTES_MAX`] are not looked through.
    pub text: Option<String>,
}

impl RunFilter {
    /// Whether the row of a run fits: all but the code and the text.
    pub(super) fn fits(&self, run: &Run) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&run.status))
            && self.workflow.as_ref().is_none_or(|workflow| *workflow == run.workflow)
            && self.labels.iter().all(|(key, value)| run.labels.get(key) == Some(value))
            && (self.children || run.parent.is_none())
            && self.since.is_none_or(|since| run.created >= since)
            && self.until.is_none_or(|until| run.created < until)
    }
}

/// Where a page of runs begins.
pub(super) struct Place {
    namespace: String,
    turned: RunId,
    /// The step of the first run from which on it is searched.
    pub(super) within: Option<StepInstanceId>,
}

impl Place {
    /// The place that a cursor names: a run, or a step of one.
    pub(super) fn read(namespace: &str, cursor: Option<&str>) -> Result<Self> {
        let (run, within) = match cursor {
            None => (None, None),
            Some(cursor) => match (cursor.parse::<RunId>(), cursor.parse::<StepInstanceId>()) {
                (Ok(run), _) => (Some(run), None),
                (_, Ok(task)) => (Some(task.run), Some(task)),
                _ => return Err(bad_cursor(cursor)),
            },
        };
        let turned = run.map_or(RunId([0; 16]), |run| ListKey::of(namespace, run).turned);
        Ok(Self { namespace: namespace.to_owned(), turned, within })
    }

    /// Runs from this place on, newest first, and the one behind them.
    pub(super) fn runs(&self, state: &State) -> Result<(Vec<RunId>, Option<RunId>)> {
        const LOOKED_AT_MAX: usize = 2_000;
        let key = |turned| ListKey { namespace: self.namespace.clone(), turned };
        let keys = state.tables.listing.range(&key(self.turned), &key(RunId([0xff; 16])), LOOKED_AT_MAX + 1)?;
        let mut ids: Vec<RunId> = keys.into_iter().map(|(key, _)| key.run()).collect();
        let next = if ids.len() > LOOKED_AT_MAX { ids.pop() } else { None };
        Ok((ids, next))
    }
}
