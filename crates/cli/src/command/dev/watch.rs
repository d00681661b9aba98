//! Changes of the files below a folder.
//!
//! For: starting a worker again. Not for: what has changed in them.
//! Invariant: what tools write by themselves is no change; several changes in a row are one.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use consort_types::{Code, Error, Result};
use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{MetadataKind, ModifyKind},
};
use tokio::sync::mpsc;

/// Folders of tools, below which nothing counts. Those whose name begins with a dot count neither.
const TOOLS: [&str; 6] = ["target", "node_modules", "__pycache__", "build", "dist", "venv"];
/// Files that programs write while they run.
const WRITTEN: [&str; 8] = ["log", "pyc", "swp", "swx", "tmp", "db", "sqlite", "sqlite3"];
/// How long nothing may change for a row of changes to be over.
const QUIET: Duration = Duration::from_millis(200);
/// Folders that are watched at most: each takes something of the system's.
const FOLDERS_MAX: usize = 4_096;

/// The changes below a folder, as they come.
pub(super) struct Changes {
    root: PathBuf,
    data: PathBuf,
    watcher: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    events: mpsc::UnboundedReceiver<PathBuf>,
}

impl Changes {
    /// Watches what is below `root`; what is below `data` does not count.
    pub(super) fn of(root: &Path, data: &Path) -> Result<Self> {
        let refused = |error: std::io::Error| cannot_watch(root, &error);
        // The system tells whole paths.
        let root = root.canonicalize().map_err(refused)?;
        let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
        let (sender, events) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            for path in event.into_iter().filter(|event| is_change(event.kind)).flat_map(|event| event.paths) {
                // It fails only where nothing listens any more.
                let _ = sender.send(path);
            }
        });
        let watcher = watcher.map_err(|error| cannot_watch(&root, &error))?;
        let mut changes = Self { root, data, watcher, watched: BTreeSet::new(), events };
        changes.look()?;
        Ok(changes)
    }

    /// The path, from the folder, of a file of the next row of changes: the first that is there at its end, because editors
    /// write under another name first.
    pub(super) async fn next(&mut self) -> String {
        let mut changed = Vec::new();
        while changed.is_empty() {
            let Some(path) = self.events.recv().await else { return std::future::pending().await };
            changed.extend(self.counts(&path));
        }
        while let Ok(Some(path)) = tokio::time::timeout(QUIET, self.events.recv()).await {
            changed.extend(self.counts(&path));
        }
        // A folder that cannot be watched was reported when it was there first.
        let _ = self.look();
        let there = changed.iter().position(|shown| self.root.join(shown).exists()).unwrap_or_default();
        changed.swap_remove(there)
    }

    /// Forgets what has changed until now.
    pub(super) fn forget(&mut self) {
        while self.events.try_recv().is_ok() {}
    }

    /// How a path is shown, where a change of it counts.
    fn counts(&self, path: &Path) -> Option<String> {
        let inside = path.strip_prefix(&self.root).ok()?;
        let counts = !path.starts_with(&self.data) && !is_ignored(inside) && !self.watched.contains(path);
        counts.then(|| inside.display().to_string())
    }

    /// Watches the folders that are not watched yet.
    fn look(&mut self) -> Result<()> {
        let mut open = vec![self.root.clone()];
        self.watched.retain(|folder| folder.is_dir());
        while let Some(folder) = open.pop() {
            if !self.watched.contains(&folder) {
                if self.watched.len() >= FOLDERS_MAX {
                    return Err(cannot_watch(&self.root, &format!("it has more than {FOLDERS_MAX} folders")));
                }
                let watching = self.watcher.watch(&folder, RecursiveMode::NonRecursive);
                watching.map_err(|error| cannot_watch(&folder, &error))?;
                self.watched.insert(folder.clone());
            }
            // One that was removed meanwhile has nothing below it.
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                let inside = path.strip_prefix(&self.root).unwrap_or(&path);
                let ours = !is_ignored(inside) && !path.starts_with(&self.data);
                if ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(path);
                }
            }
        }
        Ok(())
    }
}

fn cannot_watch(folder: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::new(Code::Disk, format!("`{}` cannot be watched: {why}", folder.display()))
        .hint("name the file of the worker, so that only its folder is watched; `consort up` watches nothing")
}

/// Whether what happened may have changed the content of a file.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Metadata(kind)) => kind == MetadataKind::WriteTime,
        _ => true,
    }
}

/// Whether tools write this path by themselves. `.env` is written by people.
pub(super) fn is_ignored(inside: &Path) -> bool {
    let of_tool = inside.components().any(|part| {
        let part = part.as_os_str().to_string_lossy();
        (part.starts_with('.') && !matches!(&*part, "." | ".." | ".env")) || TOOLS.contains(&&*part)
    });
    let ending = inside.extension().map(|ending| ending.to_string_lossy().into_owned()).unwrap_or_default();
    of_tool || WRITTEN.contains(&ending.as_str()) || inside.to_string_lossy().ends_with('~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_write_is_no_change() {
        for path in [".git/index", "a/target/x", "node_modules/a/b.js", "a/__pycache__/b.pyc", ".venv/x", "x.log", "a~"]
        {
            assert!(is_ignored(Path::new(path)), "{path}");
        }
        for path in ["worker.py", "src/main.rs", ".env", "a/b/c.toml", "targets/x"] {
            assert!(!is_ignored(Path::new(path)), "{path}");
        }
    }

    #[tokio::test]
    async fn a_change_is_told_also_in_a_folder_that_came_later() {
        let temp = tempfile::tempdir().unwrap();
        let (root, data) = (temp.path().join("agent"), temp.path().join("agent/.consort"));
        std::fs::create_dir_all(root.join(".git")).unwrap();
        let mut changes = Changes::of(&root, &data).unwrap();
        std::fs::write(root.join(".git/index"), "1").unwrap();
        std::fs::write(root.join("a.py"), "1").unwrap();
        assert_eq!(changes.next().await, "a.py");
        std::fs::create_dir(root.join("inner")).unwrap();
        assert_eq!(changes.next().await, "inner");
        std::fs::write(root.join("inner/b.py"), "1").unwrap();
        assert_eq!(changes.next().await, "inner/b.py");
    }
}
