//! The shape of the whole source: how much one type can do, and which files know each other.
//!
//! For: methods of a type over all its files, and circles of files in a crate. Not for: one file at a time (`source`),
//! or arrows between crates (`arrows`).
//! Invariant: only tokens outside comments and literals count; a parent module and those below it may use each other,
//! because a folder is one idea in several files.

use std::collections::{BTreeMap, BTreeSet};

use super::Problem;
use crate::project::TextFile;
use crate::rust::{self, Kind, Token};

mod methods;
mod modules;

/// Methods of one type, over all files of its crate.
const METHODS_MAX: usize = 40;

/// From how many methods on a type is shown by `cargo xtask shape`.
pub(super) const METHODS_SHOWN_ABOVE: usize = 30;

/// Types that have more, how many, and why; none may grow.
const METHODS_EXCEPTIONS: &[(&str, &str, usize, &str)] = &[
    ("crates/dispatch", "Dispatcher", 48, "each event and query of the engine, passed to the part that owns it"),
    ("crates/engine", "Handle", 78, "a method for each operation of the interface"),
    ("crates/engine", "Partition", 80, "the loop and its parts, which are to be separated"),
    ("crates/sdk", "Client", 45, "a method for each operation of the interface, as in the other languages"),
];

/// The problems of the Rust source as a whole.
pub(super) fn check(files: &[TextFile]) -> Vec<Problem> {
    let sources: Vec<Source> = files.iter().filter_map(Source::of).collect();
    let mut found = too_many_methods(&sources);
    found.extend(circles(&sources));
    found
}

/// A source file of a crate.
struct Source {
    path: String,
    /// The crate: the folder above `src/`.
    crate_folder: String,
    /// The path of the module inside its crate, the crate itself being empty.
    module: Vec<String>,
    tokens: Vec<Token>,
}

impl Source {
    fn of(file: &TextFile) -> Option<Self> {
        let (crate_folder, inside) = file.path.split_once("/src/")?;
        let inside = inside.strip_suffix(".rs")?;
        let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let tokens = rust::tokens(&file.text);
        Some(Self { path: file.path.clone(), crate_folder: crate_folder.to_owned(), module, tokens })
    }
}

/// How many methods each type of each crate has, with the file of its first one.
fn counts(sources: &[Source]) -> BTreeMap<(&str, String), (usize, &str)> {
    let mut counts = BTreeMap::new();
    for source in sources {
        for (name, methods) in methods::of(&source.tokens) {
            let (count, _) = counts.entry((source.crate_folder.as_str(), name)).or_insert((0, source.path.as_str()));
            *count += methods;
        }
    }
    counts
}

fn too_many_methods(sources: &[Source]) -> Vec<Problem> {
    let mut found = Vec::new();
    for ((crate_folder, name), (count, path)) in counts(sources) {
        let known = METHODS_EXCEPTIONS.iter().find(|(of, ty, ..)| *of == crate_folder && *ty == name);
        let (max, why) = known.map_or((METHODS_MAX, String::new()), |(_, _, max, why)| (*max, format!(" ({why})")));
        if count > max {
            let what = format!("type `{name}` has {count} methods over all files, over the limit of {max}{why}");
            found.push(Problem::new(path, 1, what, "give its parts types of their own"));
        }
    }
    found
}

/// The types with the most methods, largest first: `count crate type`.
pub(super) fn largest(files: &[TextFile]) -> Vec<String> {
    let sources: Vec<Source> = files.iter().filter_map(Source::of).collect();
    let mut rows: Vec<_> =
        counts(&sources).into_iter().filter(|(_, (count, _))| *count > METHODS_SHOWN_ABOVE).collect();
    rows.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    rows.into_iter().map(|((crate_folder, name), (count, _))| format!("{count:>4} {crate_folder} {name}")).collect()
}

/// Circles of files, each reported once.
fn circles(sources: &[Source]) -> Vec<Problem> {
    let mut crates: BTreeMap<&str, Vec<&Source>> = BTreeMap::new();
    for source in sources {
        crates.entry(source.crate_folder.as_str()).or_default().push(source);
    }
    crates.into_values().flat_map(|files| circles_of(&files)).collect()
}

fn circles_of(files: &[&Source]) -> Vec<Problem> {
    let known: BTreeSet<&[String]> = files.iter().map(|file| file.module.as_slice()).collect();
    let mut edges: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for file in files {
        let own = file.module.as_slice();
        let used = modules::used(&file.tokens, own).into_iter();
        let used = used.filter_map(|path| deepest(&known, &path)).filter(|used| !is_family(own, used));
        edges.entry(own).or_default().extend(used);
    }
    let mut found = Vec::new();
    for circle in components(&edges) {
        let names: Vec<String> = circle.iter().map(|module| name_of(module)).collect();
        let circle_names = format!("`{}`", names.join("`, `"));
        let first = files.iter().find(|file| file.module == circle[0]);
        let path = first.map_or("", |file| file.path.as_str());
        let what = format!("{} files know each other in a circle: {circle_names}", names.len());
        found.push(Problem::new(path, 1, what, "move what they share below them"));
    }
    found
}

/// The file that a path leads into: the deepest module on it that has a file of its own.
fn deepest<'k>(known: &BTreeSet<&'k [String]>, path: &[String]) -> Option<&'k [String]> {
    (1..=path.len()).rev().find_map(|len| known.get(&path[..len]).copied())
}

/// Whether one of the two modules is above the other.
fn is_family(one: &[String], other: &[String]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn name_of(module: &[String]) -> String {
    if module.is_empty() { "crate".to_owned() } else { module.join("::") }
}

/// The strongly connected parts of more than one module, in order.
fn components<'m>(edges: &BTreeMap<&'m [String], BTreeSet<&'m [String]>>) -> Vec<Vec<&'m [String]>> {
    let reach: BTreeMap<&[String], BTreeSet<&[String]>> =
        edges.keys().map(|from| (*from, reachable(edges, from))).collect();
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for from in edges.keys() {
        if seen.contains(from) || !reach[from].contains(from) {
            continue;
        }
        let back = |to: &&[String]| reach.get(to).is_some_and(|reached| reached.contains(from));
        let circle: Vec<&[String]> = reach[from].iter().copied().filter(back).collect();
        seen.extend(circle.iter().copied());
        found.push(circle);
    }
    found
}

fn reachable<'m>(edges: &BTreeMap<&'m [String], BTreeSet<&'m [String]>>, from: &[String]) -> BTreeSet<&'m [String]> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&[String]> = edges.get(from).into_iter().flatten().copied().collect();
    while let Some(module) = open.pop() {
        if found.insert(module) {
            open.extend(edges.get(module).into_iter().flatten().copied());
        }
    }
    found
}

/// Whether the token is this pair of marks with the next: `::`.
fn is_path_mark(tokens: &[Token], at: usize) -> bool {
    [at, at + 1].iter().all(|at| tokens.get(*at).is_some_and(|token| token.is_mark(':')))
}

/// The word at this place.
fn word(tokens: &[Token], at: usize) -> Option<&str> {
    match tokens.get(at).map(|token| &token.kind) {
        Some(Kind::Word(word)) => Some(word),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| TextFile { path: (*path).to_owned(), text: (*text).to_owned() };
        let files: Vec<TextFile> = files.iter().map(file).collect();
        check(&files).into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn methods_are_counted_over_all_files_of_a_crate() {
        let half = |name: &str| format!("impl {name} {{ {} }}", "fn f() {} ".repeat(METHODS_MAX / 2));
        let (one, more) = (half("Large"), format!("{} impl Large {{ fn g() {{}} }}", half("Large")));
        assert_eq!(problems(&[("crates/a/src/lib.rs", &one), ("crates/a/src/b.rs", &one)]), [""; 0]);
        let found = problems(&[("crates/a/src/lib.rs", &one), ("crates/a/src/b.rs", &more)]);
        assert_eq!(found, ["type `Large` has 41 methods over all files, over the limit of 40"]);
        assert_eq!(problems(&[("crates/a/src/lib.rs", &one), ("crates/b/src/lib.rs", &more)]), [""; 0]);
    }

    #[test]
    fn siblings_in_a_circle_are_found_and_named() {
        let found = problems(&[
            ("crates/a/src/one.rs", "use super::two::Two;"),
            ("crates/a/src/two.rs", "fn f() -> u8 { crate::three::number() }"),
            ("crates/a/src/three.rs", "use crate::{four, one::One};"),
            ("crates/a/src/four.rs", "// crate::three"),
        ]);
        assert_eq!(found, ["3 files know each other in a circle: `one`, `three`, `two`"]);
    }

    #[test]
    fn a_module_and_what_is_below_it_may_know_each_other() {
        let found = problems(&[
            ("crates/a/src/run/mod.rs", "use step::Step;\npub use self::step::Step as S;"),
            ("crates/a/src/run/step.rs", "use super::Run;\nuse crate::run::Place;"),
            ("crates/a/src/lib.rs", "use run::Run;"),
        ]);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn a_way_through_the_door_of_a_folder_counts() {
        let found = problems(&[
            ("crates/a/src/handle/mod.rs", "pub struct Status;"),
            ("crates/a/src/handle/session.rs", "use crate::partition::Partition;"),
            ("crates/a/src/partition/mod.rs", "use crate::handle::session::Session;"),
        ]);
        assert_eq!(found, ["2 files know each other in a circle: `handle::session`, `partition`"]);
    }
}
