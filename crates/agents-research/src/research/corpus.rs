//! Which files a research run reads.
//!
//! For: walking sources in a fixed order within limits, and naming what was found by a fingerprint.
//! Not for: reading or indexing the files.
//! Invariant: the list is sorted by path and holds each file once, whatever links or repeats the sources have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use consort_types::{Code, Error, Result};

use super::extract::{EXTRACTOR_VERSION, Format};
use super::model::{Skipped, Sources};

/// Paths in one list of sources.
const SOURCES_MAX: usize = 256;
/// Files of one corpus; more are refused, because an answer from a part would look like one from the whole.
pub(crate) const FILES_MAX: usize = 200_000;
/// Bytes of one file; larger ones are left out and counted.
pub(crate) const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Folders below a source.
const DEPTH_MAX: usize = 64;

/// A file to read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileEntry {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Nanoseconds since 1970; only to notice a change.
    modified: u128,
}

/// The files behind a list of sources.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) sources: Vec<String>,
    pub(crate) files: Vec<FileEntry>,
    pub(crate) skipped: SkippedFiles,
    pub(crate) fingerprint: String,
}

/// Counts of files that were left out, by reason, with an example.
#[derive(Clone, Debug, Default)]
pub(crate) struct SkippedFiles(BTreeMap<String, (u64, String)>);

impl SkippedFiles {
    /// Counts one file.
    pub(crate) fn add(&mut self, reason: &str, path: &Path) {
        let entry = self.0.entry(reason.to_owned()).or_insert_with(|| (0, path.display().to_string()));
        entry.0 += 1;
    }

    /// The counts, by reason.
    pub(crate) fn list(&self) -> Vec<Skipped> {
        let one = |(reason, (files, example)): (&String, &(u64, String))| Skipped {
            reason: reason.clone(),
            files: *files,
            example: example.clone(),
        };
        self.0.iter().map(one).collect()
    }
}

/// The paths in `sources`: a list, one path, or several with commas between.
pub(crate) fn paths(sources: &Sources) -> Result<Vec<String>> {
    let many = match sources {
        Sources::Many(many) => many.clone(),
        // A path that exists wins over a list, so that names with commas can be used.
        Sources::One(one) if Path::new(one.trim()).exists() => vec![one.clone()],
        Sources::One(one) => one.split(',').map(str::to_owned).collect(),
    };
    let mut out: Vec<String> = many.iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect();
    out.sort();
    out.dedup();
    if out.is_empty() {
        return Err(
            Error::new(Code::BadInput, "`sources` names no file or folder").hint("give a path, such as `sources=docs`")
        );
    }
    if out.len() > SOURCES_MAX {
        return Err(Error::new(
            Code::LimitReached,
            format!("`sources` has `{}` paths, the limit is {SOURCES_MAX}", out.len()),
        )
        .hint("name a folder that holds them"));
    }
    Ok(out)
}

/// Lists the files behind the sources.
pub(crate) fn list(sources: &Sources) -> Result<Listing> {
    let sources = paths(sources)?;
    let mut walk = Walk::default();
    for source in &sources {
        let path = Path::new(source);
        let about = std::fs::metadata(path).map_err(|e| {
            Error::new(Code::SourceNotFound, format!("source `{source}` cannot be read: {e}"))
                .hint("check the path; it is taken from the folder in which Consort runs")
        })?;
        if about.is_dir() {
            walk.folder(path, 0)?;
        } else {
            walk.file(path, &about, true)?;
        }
    }
    walk.files.sort();
    walk.files.dedup_by(|a, b| a.path == b.path);
    walk.join_formats(&sources);
    let fingerprint = fingerprint(&walk.files);
    Ok(Listing { sources, files: walk.files, skipped: walk.skipped, fingerprint })
}

#[derive(Default)]
struct Walk {
    files: Vec<FileEntry>,
    skipped: SkippedFiles,
    /// Real paths of folders on the way, against loops of links.
    seen: BTreeSet<PathBuf>,
}

impl Walk {
    fn folder(&mut self, folder: &Path, depth: usize) -> Result<()> {
        let fresh = std::fs::canonicalize(folder).is_ok_and(|real| self.seen.insert(real));
        if !fresh {
            return Ok(());
        }
        if depth > DEPTH_MAX {
            self.skipped.add("folder is too deep", folder);
            return Ok(());
        }
        let Ok(entries) = std::fs::read_dir(folder) else {
            self.skipped.add("folder cannot be read", folder);
            return Ok(());
        };
        let mut entries: Vec<_> = entries.filter_map(std::result::Result::ok).collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let hidden = name.to_string_lossy().starts_with('.');
            if hidden || matches!(name.to_str(), Some("node_modules" | "target" | "__pycache__")) {
                continue;
            }
            // Follows links, so that a link to a file or folder counts as what it points to.
            let path = entry.path();
            match std::fs::metadata(&path) {
                Ok(about) if about.is_dir() => self.folder(&path, depth + 1)?,
                Ok(about) if about.is_file() => self.file(&path, &about, false)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Leaves out what is another page once more: its source, or the same text as PDF. A file that a source names stays.
    fn join_formats(&mut self, sources: &[String]) {
        let all: BTreeSet<PathBuf> = self.files.iter().map(|f| f.path.clone()).collect();
        let skipped = &mut self.skipped;
        self.files.retain(|file| {
            let named = sources.iter().any(|s| Path::new(s) == file.path);
            let twin = !named && page_of(&file.path).is_some_and(|page| all.contains(&page));
            if twin {
                skipped.add("the same page is there as HTML", &file.path);
            }
            !twin
        });
    }

    fn file(&mut self, path: &Path, about: &std::fs::Metadata, named: bool) -> Result<()> {
        if Format::of(path).is_none() {
            if named {
                return Err(Error::new(
                    Code::BadInput,
                    format!("source `{}` has no format that can be read", path.display()),
                )
                .hint("use Markdown, text, HTML, reStructuredText or PDF files"));
            }
            self.skipped.add("no format that can be read", path);
        } else if !named && repeats_others(path) {
            self.skipped.add("index or print version of other pages", path);
        } else if about.len() > FILE_BYTES_MAX {
            self.skipped.add("over the limit of 32 MiB", path);
        } else if self.files.len() >= FILES_MAX {
            return Err(Error::new(
                Code::LimitReached,
                format!("the sources hold more than `{FILES_MAX}` files, the limit"),
            )
            .hint("name the folders that matter"));
        } else {
            let modified =
                about.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_nanos());
            self.files.push(FileEntry { path: path.to_owned(), bytes: about.len(), modified });
        }
        Ok(())
    }
}

/// Whether a page repeats others: the print version of book generators, the general index of documentation generators.
fn repeats_others(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    matches!(name, "print.html" | "bookindex.html") || name.starts_with("genindex")
}

/// The HTML page that would be made of a file: beside it, or beside the folder `_sources`.
fn page_of(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let (stem, ending) = name.rsplit_once('.')?;
    if !matches!(ending, "txt" | "md" | "rst" | "pdf" | "adoc") {
        return None;
    }
    let stem = stem.trim_end_matches(".rst").trim_end_matches(".md");
    let shown: PathBuf = path.parent()?.components().filter(|c| c.as_os_str() != "_sources").collect();
    Some(shown.join(format!("{stem}.html")))
}

/// Changes with the name, size or time of any file, and with the extraction.
fn fingerprint(files: &[FileEntry]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&EXTRACTOR_VERSION.to_le_bytes());
    for file in files {
        let path = file.path.to_string_lossy();
        hasher.update(&(path.len() as u64).to_le_bytes());
        hasher.update(path.as_bytes());
        hasher.update(&file.bytes.to_le_bytes());
        hasher.update(&file.modified.to_le_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_readable_files_once_in_order() {
        let dir = tempfile::tempdir().expect("temp dir");
        let write = |name: &str| std::fs::write(dir.path().join(name), "text").expect("write");
        std::fs::create_dir_all(dir.path().join("b/.hidden")).expect("folder");
        for name in ["z.md", "a.txt", "b/c.rst", "b/.hidden/x.md", "photo.png"] {
            write(name);
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(dir.path(), dir.path().join("b/loop")).expect("link");
        let root = dir.path().display().to_string();
        let listing = list(&Sources::One(format!("{root},{root}/a.txt"))).expect("listing");
        let names: Vec<_> = listing
            .files
            .iter()
            .map(|f| f.path.strip_prefix(dir.path()).expect("below").display().to_string())
            .collect();
        assert_eq!(names, ["a.txt", "b/c.rst", "z.md"]);
        assert_eq!(listing.skipped.list()[0].files, 1);
        write("new.md");
        assert_ne!(list(&Sources::One(root)).expect("listing").fingerprint, listing.fingerprint);
    }

    #[test]
    fn the_source_of_a_page_is_not_read_beside_it() {
        let dir = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir_all(dir.path().join("_sources/lib")).expect("folder");
        std::fs::create_dir_all(dir.path().join("lib")).expect("folder");
        for name in
            ["lib/json.html", "_sources/lib/json.rst.txt", "guide.pdf", "guide.html", "only.txt", "genindex.html"]
        {
            std::fs::write(dir.path().join(name), "text").expect("write");
        }
        let root = dir.path().display().to_string();
        let names = |sources: &str| -> Vec<String> {
            let listing = list(&Sources::One(sources.to_owned())).expect("listing");
            let name = |f: &FileEntry| f.path.strip_prefix(dir.path()).expect("below").display().to_string();
            listing.files.iter().map(name).collect()
        };
        assert_eq!(names(&root), ["guide.html", "lib/json.html", "only.txt"]);
        assert_eq!(names(&format!("{root}/guide.pdf")), ["guide.pdf"], "what is named is read");
    }

    #[test]
    fn a_missing_source_is_an_error_with_a_hint() {
        let error = list(&Sources::One("no-such-folder".into())).expect_err("missing");
        assert_eq!(error.code, Code::SourceNotFound);
        assert!(error.hint.is_some());
        assert_eq!(list(&Sources::Many(vec![" ".into()])).expect_err("empty").code, Code::BadInput);
    }
}
