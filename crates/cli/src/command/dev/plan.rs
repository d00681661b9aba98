//! What a command of a worker says about it: its name, and the folder with its files.
//!
//! For: commands as people type them. Not for: running them.
//! Invariant: names are unique; the folder is one that is there.

use std::path::{Path, PathBuf};

/// Files that are called like this in many folders: the name of the folder tells more.
const COMMON: [&str; 9] = ["worker", "agent", "main", "index", "app", "__main__", "Cargo", "package", "run"];

/// A worker to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) command: String,
    /// Where it runs.
    pub(super) folder: PathBuf,
    /// What is watched.
    pub(super) watched: PathBuf,
}

/// The plans of commands that run in a folder.
pub(super) fn plans(commands: &[&str], folder: &Path) -> Vec<Plan> {
    let mut plans: Vec<Plan> = Vec::new();
    for command in commands {
        let path = path_in(command, folder);
        let name = path.as_deref().and_then(|path| name_of(path, folder)).unwrap_or_else(|| program(command));
        let name = unique(&name, &plans);
        let watched = path.map_or_else(|| folder.to_owned(), |path| folder_of(&path));
        plans.push(Plan { name, command: (*command).to_owned(), folder: folder.to_owned(), watched });
    }
    plans
}

/// The name, with a number where an earlier worker has it.
fn unique(name: &str, plans: &[Plan]) -> String {
    let taken = |name: &str| plans.iter().any(|plan| plan.name == name);
    let (mut unique, mut number) = (name.to_owned(), 1);
    while taken(&unique) {
        number += 1;
        unique = format!("{name}-{number}");
    }
    unique
}

/// The first path in a command that is there, and is no program of the machine or of an environment.
fn path_in(command: &str, folder: &Path) -> Option<PathBuf> {
    let words = command.split([' ', '\t', '=', ';', '&']).map(|word| word.trim_matches(['"', '\'']));
    let paths = words.filter(|word| !word.is_empty()).map(|word| (word, folder.join(word)));
    let ours = |(word, path): &(&str, PathBuf)| {
        let inside = path.strip_prefix(folder);
        let ours = inside.map_or(!Path::new(word).is_absolute(), |inside| !super::watch::is_ignored(inside));
        ours && path.exists()
    };
    paths.into_iter().find(ours).map(|(_, path)| path)
}

fn folder_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.to_owned() } else { path.parent().unwrap_or(path).to_owned() }
}

fn name_of(path: &Path, folder: &Path) -> Option<String> {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let own = if path.is_dir() { text(path.file_name()) } else { text(path.file_stem()) };
    let above = path.parent().filter(|above| *above != folder).and_then(|above| text(above.file_name()));
    match own {
        Some(own) if COMMON.contains(&own.as_str()) && path.is_file() => above.or(Some(own)),
        own => own,
    }
}

fn program(command: &str) -> String {
    let first = command.split_whitespace().next().unwrap_or("worker");
    Path::new(first).file_name().map_or_else(|| first.to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_says_what_its_worker_is_called_and_what_is_watched() {
        let temp = tempfile::tempdir().unwrap();
        for file in ["agent/worker.py", "a/worker.ts", "tools.py", ".venv/bin/python", "crate/Cargo.toml"] {
            let path = temp.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let commands = [
            "python agent/worker.py",
            ".venv/bin/python a/worker.ts",
            "python 'tools.py'",
            "cd agent && npm start",
            "cargo run --manifest-path=crate/Cargo.toml",
            "/bin/sh -c 'true'",
            "python tools.py --loud",
        ];
        let found = plans(&commands, temp.path());
        let shown: Vec<(&str, String)> = found
            .iter()
            .map(|plan| {
                let inside = plan.watched.strip_prefix(temp.path()).unwrap();
                (plan.name.as_str(), inside.display().to_string())
            })
            .collect();
        let expected = [
            ("agent", "agent"),
            ("a", "a"),
            ("tools", ""),
            ("agent-2", "agent"),
            ("crate", "crate"),
            ("sh", ""),
            ("tools-2", ""),
        ];
        assert_eq!(shown, expected.map(|(name, folder)| (name, folder.to_owned())));
    }
}
