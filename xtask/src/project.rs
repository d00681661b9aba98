//! The workspace as files on disk and as `cargo metadata` sees it.
//!
//! For: finding the root, listing the text files, starting cargo. Not for: judging what is found.
//! Invariant: paths are relative to the root, with `/`, in sorted order, so that reports are the same everywhere.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Folders that hold no source of ours, wherever they are.
const SKIPPED_FOLDERS: [&str; 7] = [".git", ".consort", ".venv", "build", "dist", "node_modules", "target"];

/// Cargo marks every folder of build output with this file, whatever the folder is called.
const BUILD_OUTPUT_MARK: &str = "CACHEDIR.TAG";

/// The workspace.
pub(crate) struct Project {
    root: PathBuf,
}

/// A text file of the workspace.
pub(crate) struct TextFile {
    /// Where it is, from the root.
    pub(crate) path: String,
    /// What is in it.
    pub(crate) text: String,
}

impl TextFile {
    /// Whether the name ends in `.extension`.
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }
}

impl Project {
    /// The workspace that this program was built from.
    pub(crate) fn find() -> Result<Self, String> {
        let manifest =
            std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        let root = manifest.parent().ok_or("xtask has no parent folder")?.to_path_buf();
        if root.join("Cargo.toml").is_file() {
            Ok(Self { root })
        } else {
            Err(format!("`{}` is not the workspace: run `cargo xtask` from inside it", root.display()))
        }
    }

    /// The folder of the workspace.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A command that runs at the root, without standard input.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(Stdio::null());
        command
    }

    /// The cargo that started us, or the one on the path.
    pub(crate) fn cargo(&self) -> Command {
        self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// The output of `cargo metadata`, dependencies resolved for this machine (others would have to be downloaded
    /// first).
    pub(crate) fn metadata(&self) -> Result<Value, String> {
        let version = self.output(&["-vV"])?;
        let version = String::from_utf8_lossy(&version);
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("`cargo -vV` names no host")?;
        self.read_metadata(&["--filter-platform", host])
    }

    /// The folder of build output, wherever it was put.
    pub(crate) fn target_folder(&self) -> Result<PathBuf, String> {
        let metadata = self.read_metadata(&["--no-deps"])?;
        let folder = metadata["target_directory"].as_str().ok_or("`cargo metadata` names no target folder")?;
        Ok(PathBuf::from(folder))
    }

    fn read_metadata(&self, flags: &[&str]) -> Result<Value, String> {
        let output = self.output(&[&["metadata", "--format-version", "1"], flags].concat())?;
        serde_json::from_slice(&output).map_err(|e| format!("cannot read `cargo metadata`: {e}"))
    }

    /// What cargo prints with these arguments.
    fn output(&self, args: &[&str]) -> Result<Vec<u8>, String> {
        let output = self.cargo().args(args).stderr(Stdio::inherit()).output();
        let output = output.map_err(|e| format!("cannot run cargo: {e}"))?;
        if output.status.success() { Ok(output.stdout) } else { Err(format!("`cargo {}` failed", args.join(" "))) }
    }

    /// Every text file: valid UTF-8 without a NUL. Links are not followed.
    pub(crate) fn text_files(&self) -> Result<Vec<TextFile>, String> {
        let mut files = Vec::new();
        self.collect(&self.root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    fn collect(&self, folder: &Path, files: &mut Vec<TextFile>) -> Result<(), String> {
        let unreadable = |e: std::io::Error| format!("cannot list `{}`: {e}", folder.display());
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let kind = entry.file_type().map_err(unreadable)?;
            let path = entry.path();
            if kind.is_dir() {
                let skipped = SKIPPED_FOLDERS.iter().any(|name| entry.file_name() == *name);
                if !skipped && !path.join(BUILD_OUTPUT_MARK).exists() {
                    self.collect(&path, files)?;
                }
            } else if kind.is_file()
                && let Some(text) = read_text(&path)
            {
                files.push(TextFile { path: self.relative(&path), text });
            }
        }
        Ok(())
    }

    /// The path from the root, with `/`.
    fn relative(&self, path: &Path) -> String {
        let path = path.strip_prefix(&self.root).unwrap_or(path);
        path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
    }
}

/// A file that vanished between listing and reading (the tree is being edited) counts as no text.
fn read_text(path: &Path) -> Option<String> {
    let text = String::from_utf8(std::fs::read(path).ok()?).ok()?;
    (!text.contains('\0')).then_some(text)
}
