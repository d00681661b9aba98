//! The rules that the compiler does not know, each checked by a small function over text or `cargo metadata`.
//!
//! For: layout, lengths, arrows between crates, leftovers, links. Not for: what rustc and clippy check already.
//! Invariant: a check is a pure function from what was read to problems, so each has a test that makes it fail.

mod arrows;
mod licence;
mod manifest;
mod prose;
mod shape;
mod source;
mod words;

use std::fmt;

use crate::project::{Project, TextFile};
use crate::rust;

/// Something to mend, with its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    path: String,
    line: usize,
    what: String,
    advice: String,
}

impl Problem {
    fn new(path: &str, line: usize, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into(), advice: advice.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.what, self.advice)
    }
}

/// Every problem of the workspace, in order of its place.
pub(crate) fn problems(project: &Project) -> Result<Vec<Problem>, String> {
    let files = project.text_files()?;
    let metadata = project.metadata()?;
    let mut found: Vec<Problem> = files.iter().flat_map(|file| check_file(&files, file)).collect();
    found.extend(arrows::check(&metadata));
    found.extend(manifest::check(&metadata, &files));
    found.extend(shape::check(&files));
    found.sort();
    found.dedup();
    Ok(found)
}

fn check_file(files: &[TextFile], file: &TextFile) -> Vec<Problem> {
    let mut found = prose::check(files, file);
    let tokens = file.has_extension("rs").then(|| rust::tokens(&file.text));
    if let Some(tokens) = &tokens {
        found.extend(source::check(file, tokens));
    }
    found.extend(words::check(file, tokens.as_deref()));
    found
}

/// Prints the types with more than [`shape::METHODS_SHOWN_ABOVE`] methods, largest first.
pub(crate) fn print_shape(project: &Project) -> Result<(), String> {
    for row in shape::largest(&project.text_files()?) {
        println!("{row}");
    }
    Ok(())
}

/// Prints what is wrong; true when nothing is.
pub(crate) fn report(project: &Project) -> Result<bool, String> {
    let found = problems(project)?;
    for problem in &found {
        println!("{problem}");
    }
    match found.len() {
        0 => println!("tidy: nothing to mend"),
        1 => println!("tidy: 1 problem"),
        many => println!("tidy: {many} problems"),
    }
    Ok(found.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_is_tidy() {
        let found = problems(&Project::find().expect("the workspace")).expect("a readable workspace");
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{}", lines.join("\n"));
    }

    #[test]
    fn a_problem_is_one_line_with_its_place() {
        let problem = Problem::new("a/b.rs", 7, "what is wrong", "what to do");
        assert_eq!(problem.to_string(), "a/b.rs:7: what is wrong: what to do");
    }
}
