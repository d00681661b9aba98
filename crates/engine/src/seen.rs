//! What followers of a run are shown, in a form that all of them share.
//!
//! For: reading and writing an entry once, however many follow. Not for: reading it (see `handle::watch`), or its words in
//! any protocol (a door writes them).
//! Invariant: an entry never changes.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use crate::view::{JournalView, RunView};

/// An entry of a run's journal, which all that follow the run share.
#[derive(Debug)]
pub struct SeenEntry {
    view: JournalView,
    written: OnceLock<Arc<str>>,
}

impl SeenEntry {
    pub(crate) fn of(view: JournalView) -> Self {
        Self { view, written: OnceLock::new() }
    }

    /// What `write` makes of the entry, made once for all that follow the run.
    pub fn written(&self, write: impl FnOnce(&JournalView) -> String) -> Arc<str> {
        Arc::clone(self.written.get_or_init(|| write(&self.view).into()))
    }
}

impl Deref for SeenEntry {
    type Target = JournalView;

    fn deref(&self) -> &JournalView {
        &self.view
    }
}

/// What is on a page that watchers of a run share.
#[derive(Clone, Debug)]
pub(crate) enum RunItem {
    Entry(Arc<SeenEntry>),
    Ended(Arc<RunView>),
}
