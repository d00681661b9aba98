//! The patterns that ship: for each a name, when to use it, and its files.
//!
//! For: `consort patterns`, and the pages in `docs/patterns`. Not for: drawing, writing or running them.
//! Invariant: a file is that of `workflows/patterns/NAME/`, unchanged, and each file of that folder is one of them; each
//! workflow passes the checker (tests).

use std::{ffi::OsStr, path::Path};

mod table;

pub use table::ALL;

/// A way in which agents and workflows work together, as files that run.
#[derive(Clone, Copy, Debug)]
pub struct Pattern {
    /// Its name: that of its folder and its page.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// When it fits; each completes the sentence "Use it when …".
    pub fits: &'static [&'static str],
    /// When something else fits better, and what.
    pub instead: &'static [&'static str],
    /// The commands that show it running, in its folder and beside a server.
    pub start: &'static [&'static str],
    /// What it consists of.
    pub files: &'static [File],
}

/// A file of a pattern.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Its name in the folder of the pattern.
    pub name: &'static str,
    /// What is in it.
    pub text: &'static str,
}

impl Pattern {
    /// Its workflows, in the order of its table.
    pub fn workflows(&self) -> impl Iterator<Item = &'static File> {
        self.files.iter().filter(|file| Path::new(file.name).extension() == Some(OsStr::new("yaml")))
    }
}

/// The pattern of this name.
pub fn find(name: &str) -> Option<&'static Pattern> {
    ALL.iter().find(|pattern| pattern.name == name)
}
