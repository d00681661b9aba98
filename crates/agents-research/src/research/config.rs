//! Settings of the research assistant.
//!
//! For: where to cache, how to read PDF files, and the model to rank with. Not for: limits, which stand beside what they bound.
//! Invariant: no setting but the model changes an answer, only where and how fast it is found.

use std::path::PathBuf;

/// Settings of the research assistant.
#[derive(Clone, Debug, Default)]
pub struct ResearchConfig {
    /// Folder for indexes, which can be deleted at any time; `None` keeps them in memory.
    pub cache: Option<PathBuf>,
    /// A program that answers `internal-extract-pdf PATH` with [`super::pdf_child_main`], normally our own executable;
    /// `None` reads PDF files in a thread, where a stack overflow would end the process.
    pub pdf_executable: Option<PathBuf>,
    /// Folder of a sentence-embedding model to rank with beside the words; `None` ranks by words alone. It needs the
    /// feature `semantic`: without it, and with a folder that cannot be used, every search fails and says so.
    pub model: Option<PathBuf>,
}

/// Tells how far work is, and asks whether to stop.
pub trait Observer: Sync {
    /// A short line for people, such as `read 400 of 1200 files`.
    fn progress(&self, message: &str);

    /// Whether the work should stop with [`consort_types::Code::Cancelled`].
    fn cancelled(&self) -> bool;
}

/// An observer that says nothing and never stops the work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn progress(&self, _: &str) {}

    fn cancelled(&self) -> bool {
        false
    }
}
