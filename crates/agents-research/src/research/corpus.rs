//! Which files a research run reads.
//!
//! For: walking sources in a fixed order within limits, and naming what was found by a fingerprint.
//! Not for: reading or indexing the files.
//! Invariant: the list is sorted by path and holds each file once, whatever links or repeats the sources have.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use consort_types::{Code, Error, Result};

use super::extract::{EXTRACTOR_VERSION, FILE_BYTES_MAX, Format, Unread};
use super::model::{Skipped, Sources};

/// Paths in one list of sources.
const SOURCES_MAX: usize = 256;
/// Files of one corpus; more are refused, because an answer from a part would look like one from the whole.
pub(crate) const FILES_MAX: usize = 200_000;
/// Folders below a source.
const DEPTH_MAX: usize = 64;

/// A file to read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileEntry {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Times of the last change; only to notice one.
    changed: Changed,
    /// Where it is without links.
    real: PathBuf,
    /// Whether the path is a link to it.
    linked: bool,
}

impl FileEntry {
    fn new(path: &Path, real: PathBuf, about: &Metadata, linked: bool) -> Self {
        Self { path: path.to_owned(), bytes: about.len(), changed: Changed::of(about), real, linked }
    }
}

/// When a file was changed last, in nanoseconds since 1970: by its own word, which programs set back, and by the system's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Changed {
    modified: u128,
    /// Of the inode; 0 where the system has none.
    inode: i128,
}

impl Changed {
    fn of(about: &Metadata) -> Self {
        let modified =
            about.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map_or(0, |d| d.as_nanos());
        #[cfg(unix)]
        let inode = {
            use std::os::unix::fs::MetadataExt as _;
            i128::from(about.ctime()) * 1_000_000_000 + i128::from(about.ctime_nsec())
        };
        #[cfg(not(unix))]
        let inode = 0;
        Self { modified, inode }
    }
}

/// A path as text. What is not UTF-8 in it is written `\xff`, so that [`path_of`] finds the file again.
pub(crate) fn text_of(path: &Path) -> String {
    let mut out = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    out
}

/// The path behind a text of [`text_of`].
pub(crate) fn path_of(text: &str) -> Cow<'_, Path> {
    let plain = Path::new(text);
    if !text.contains("\\x") || plain.exists() {
        return Cow::Borrowed(plain);
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt as _;
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("\\x") {
            bytes.extend(before.as_bytes());
            let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.extend(byte.map_or(&b"\\x"[..], |_| &[]));
            bytes.extend(byte);
            rest = if byte.is_some() { &after[2..] } else { after };
        }
        bytes.extend(rest.as_bytes());
        Cow::Owned(PathBuf::from(std::ffi::OsString::from_vec(bytes)))
    }
    #[cfg(not(unix))]
    Cow::Borrowed(plain)
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
        let entry = self.0.entry(reason.to_owned()).or_insert_with(|| (0, text_of(path)));
        entry.0 += 1;
    }

    /// Counts what was counted elsewhere.
    pub(crate) fn add_all(&mut self, counted: &[Skipped]) {
        for skipped in counted {
            let entry = self.0.entry(skipped.reason.clone()).or_insert_with(|| (0, skipped.example.clone()));
            entry.0 += skipped.files;
        }
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
    // A path that exists wins over a list, so that names with commas and spaces can be used.
    let exists = |path: &str| path_of(path).exists();
    let many: Vec<&str> = match sources {
        Sources::Many(many) => many.iter().map(String::as_str).collect(),
        Sources::One(one) if exists(one) || exists(one.trim()) => vec![one],
        Sources::One(one) => one.split(',').collect(),
    };
    let trimmed = |path: &str| if exists(path) { path.to_owned() } else { path.trim().to_owned() };
    let mut out: Vec<String> = many.into_iter().map(trimmed).filter(|p| !p.is_empty()).collect();
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
    let unreadable = |source: &str, e: std::io::Error| {
        Error::new(Code::SourceNotFound, format!("source `{source}` cannot be read: {e}"))
            .hint("check the path; it is taken from the folder in which Consort runs")
    };
    let mut found = Vec::new();
    for source in &sources {
        let path = path_of(source).into_owned();
        let real = std::fs::canonicalize(&path).map_err(|e| unreadable(source, e))?;
        let about = std::fs::metadata(&real).map_err(|e| unreadable(source, e))?;
        if !about.is_dir() && !about.is_file() {
            return Err(Error::new(
                Code::BadInput,
                format!("source `{source}` is neither a folder nor a regular file"),
            )
            .hint("save what it gives in a file, and name that file"));
        }
        found.push((path, real, about));
    }
    let mut walk = Walk { roots: found.iter().map(|(_, real, _)| real.clone()).collect(), ..Walk::default() };
    for (path, real, about) in &found {
        if about.is_dir() {
            walk.folder(path, 0)?;
        } else {
            walk.file(FileEntry::new(path, real.clone(), about, false), true)?;
        }
    }
    walk.once();
    walk.join_formats(&sources);
    let fingerprint = fingerprint(&walk.files);
    Ok(Listing { sources, files: walk.files, skipped: walk.skipped, fingerprint })
}

#[derive(Default)]
struct Walk {
    files: Vec<FileEntry>,
    skipped: SkippedFiles,
    /// The sources without links: what is in none of them was not named.
    roots: Vec<PathBuf>,
    /// Real paths of folders on the way, against loops of links.
    seen: BTreeSet<PathBuf>,
}

impl Walk {
    fn folder(&mut self, folder: &Path, depth: usize) -> Result<()> {
        let Ok(real) = std::fs::canonicalize(folder) else {
            self.skipped.add("folder cannot be read", folder);
            return Ok(());
        };
        if !self.seen.insert(real.clone()) {
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
            self.entry(&entry, real.join(&name), depth)?;
        }
        Ok(())
    }

    /// One entry of a folder. A link to a file or folder of the sources counts as what it points to.
    fn entry(&mut self, entry: &std::fs::DirEntry, mut real: PathBuf, depth: usize) -> Result<()> {
        let path = entry.path();
        let linked = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if linked {
            let Ok(target) = std::fs::canonicalize(&path) else {
                self.skipped.add("a link that leads nowhere", &path);
                return Ok(());
            };
            if !self.roots.iter().any(|root| target.starts_with(root)) {
                self.skipped.add("a link that leads out of the sources", &path);
                return Ok(());
            }
            real = target;
        }
        match std::fs::metadata(&real) {
            Ok(about) if about.is_dir() => self.folder(&path, depth + 1),
            Ok(about) if about.is_file() => self.file(FileEntry::new(&path, real, &about, linked), false),
            Ok(_) => {
                self.skipped.add(Unread::NotRegular.reason(), &path);
                Ok(())
            }
            Err(e) => {
                self.skipped.add(Unread::Disk(e.to_string()).reason(), &path);
                Ok(())
            }
        }
    }

    /// Sorts by path and keeps each file once, under its own name rather than that of a link to it.
    fn once(&mut self) {
        self.files.sort_by(|a, b| (&a.real, a.linked, &a.path).cmp(&(&b.real, b.linked, &b.path)));
        self.files.dedup_by(|a, b| a.real == b.real);
        self.files.sort();
    }

    /// Leaves out what is another page once more: its source, or the same text as PDF. A file that a source names stays.
    fn join_formats(&mut self, sources: &[String]) {
        let all: BTreeSet<PathBuf> = self.files.iter().map(|f| f.path.clone()).collect();
        let skipped = &mut self.skipped;
        self.files.retain(|file| {
            let named = sources.iter().any(|s| path_of(s) == file.path);
            let twin = !named && page_of(&file.path).is_some_and(|page| all.contains(&page));
            if twin {
                skipped.add("the same page is there as HTML", &file.path);
            }
            !twin
        });
    }

    fn file(&mut self, file: FileEntry, named: bool) -> Result<()> {
        let path = file.path.as_path();
        if Format::of(path).is_none() {
            if named {
                return Err(Error::new(
                    Code::BadInput,
                    format!("source `{}` has no format that can be read", path.display()),
                )
                .hint("use Markdown, text, HTML, reStructuredText or PDF files"));
            }
            self.skipped.add(Unread::NoFormat.reason(), path);
        } else if !named && repeats_others(path) {
            self.skipped.add("index or print version of other pages", path);
        } else if file.bytes > FILE_BYTES_MAX {
            self.skipped.add(Unread::TooLarge(file.bytes).reason(), path);
        } else if self.files.len() >= FILES_MAX {
            return Err(Error::new(
                Code::LimitReached,
                format!("the sources hold more than `{FILES_MAX}` files, the limit"),
            )
            .hint("name the folders that matter"));
        } else {
            self.files.push(file);
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
        let path = file.path.as_os_str().as_encoded_bytes();
        hasher.update(&(path.len() as u64).to_le_bytes());
        hasher.update(path);
        hasher.update(&file.bytes.to_le_bytes());
        hasher.update(&file.changed.modified.to_le_bytes());
        hasher.update(&file.changed.inode.to_le_bytes());
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

    #[cfg(unix)]
    #[test]
    fn links_and_special_files_are_counted_and_a_file_is_read_once() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().expect("temp dir");
        let outside = tempfile::tempdir().expect("temp dir");
        std::fs::write(outside.path().join("secret.md"), "text").expect("write");
        std::fs::write(dir.path().join("b.md"), "text").expect("write");
        symlink(dir.path().join("b.md"), dir.path().join("a.md")).expect("link");
        symlink(outside.path().join("secret.md"), dir.path().join("c.md")).expect("link");
        symlink(outside.path(), dir.path().join("folder")).expect("link");
        symlink("gone.md", dir.path().join("d.md")).expect("link");
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("e.md")).expect("socket");
        let root = dir.path().display().to_string();
        let listing = list(&Sources::One(root.clone())).expect("listing");
        assert_eq!(listing.files.len(), 1);
        let counted: Vec<(String, u64)> = listing.skipped.list().into_iter().map(|s| (s.reason, s.files)).collect();
        let expected =
            [("a link that leads nowhere", 1), ("a link that leads out of the sources", 2), ("not a regular file", 1)];
        assert_eq!(counted, expected.map(|(reason, files)| (reason.to_owned(), files)));
        let refused = list(&Sources::One(format!("{root}/e.md"))).expect_err("a socket");
        assert!(refused.code == Code::BadInput && refused.message.contains("e.md"), "{refused}");
    }

    #[cfg(unix)]
    #[test]
    fn a_change_that_keeps_size_and_time_is_seen() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("a.md");
        let root = Sources::One(dir.path().display().to_string());
        let then = UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        let save = |text: &str| {
            std::fs::write(&path, text).expect("write");
            std::fs::File::options().write(true).open(&path).and_then(|f| f.set_modified(then)).expect("time");
            Changed::of(&std::fs::metadata(&path).expect("metadata"))
        };
        let first = save("40 requests");
        let fingerprint = list(&root).expect("listing").fingerprint;
        // The system's clock for files has coarse ticks.
        while save("90 requests") == first {}
        assert_eq!(save("90 requests").modified, first.modified);
        assert_ne!(list(&root).expect("listing").fingerprint, fingerprint);
    }

    #[cfg(unix)]
    #[test]
    fn every_name_can_be_written_down_and_found_again() {
        use std::os::unix::ffi::OsStrExt as _;
        let dir = tempfile::tempdir().expect("temp dir");
        for name in [&b"name-\xff.md"[..], b"a, b.md", b" led.md", b"line\nbreak.md", b"a\\xb.md"] {
            let path = dir.path().join(std::ffi::OsStr::from_bytes(name));
            std::fs::write(&path, "text").expect("write");
            assert_eq!(path_of(&text_of(&path)), path);
            let named = list(&Sources::One(text_of(&path))).expect("listing");
            assert_eq!(named.files.len(), 1, "{path:?}");
        }
        assert_eq!(list(&Sources::One(dir.path().display().to_string())).expect("listing").files.len(), 5);
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
