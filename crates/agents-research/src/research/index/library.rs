//! Open indexes of a process, and their cache on disk.
//!
//! For: building an index once, for the first caller, and keeping it until a file changes. Not for: searching it.
//! Invariant: at most one thread of one process builds a given index; the others wait and share it.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use consort_types::{Code, Error, Result};
use tantivy::Index;

use super::{Corpus, Manifest, build, cache_error, schema};
use crate::research::config::{Observer, ResearchConfig};
use crate::research::corpus::{self, Listing};
use crate::research::extract::PdfReader;
use crate::research::model::Sources;

/// Indexes that stay open at once.
const OPEN_MAX: usize = 4;
/// Indexes that stay in the cache folder.
const KEPT_MAX: usize = 8;

type Slot = Arc<Mutex<Option<Arc<Corpus>>>>;

/// The indexes that a process has open, by fingerprint.
#[derive(Default)]
pub struct Library {
    config: ResearchConfig,
    pdf: PdfReader,
    slots: Mutex<BTreeMap<String, Slot>>,
}

impl Library {
    /// A library with nothing open.
    pub fn new(config: ResearchConfig) -> Self {
        let pdf = PdfReader { executable: config.pdf_executable.clone() };
        Self { config, pdf, slots: Mutex::default() }
    }

    /// How PDF files are read.
    pub(crate) fn pdf(&self) -> &PdfReader {
        &self.pdf
    }

    /// The index of the sources: open, from the cache, or built now.
    pub(crate) fn corpus(&self, sources: &Sources, observer: &dyn Observer) -> Result<Arc<Corpus>> {
        let listing = corpus::list(sources)?;
        let slot = self.slot(&listing.fingerprint);
        let mut held = lock(&slot);
        if let Some(corpus) = &*held {
            return Ok(corpus.clone());
        }
        let corpus = Arc::new(match &self.config.cache {
            Some(cache) => self.cached(cache, &listing, observer)?,
            None => self.in_memory(&listing, observer)?,
        });
        *held = Some(corpus.clone());
        Ok(corpus)
    }

    fn slot(&self, fingerprint: &str) -> Slot {
        let mut slots = lock(&self.slots);
        if slots.len() >= OPEN_MAX && !slots.contains_key(fingerprint) {
            // A caller that still uses an index keeps it alive by its own reference.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(fingerprint.to_owned()).or_default().clone()
    }

    fn in_memory(&self, listing: &Listing, observer: &dyn Observer) -> Result<Corpus> {
        let (schema, fields) = schema();
        let index = Index::create_in_ram(schema);
        build::register(&index);
        let manifest = build::fill(&index, listing, &self.pdf, observer)?;
        Corpus::open(&index, manifest, fields)
    }

    fn cached(&self, cache: &Path, listing: &Listing, observer: &dyn Observer) -> Result<Corpus> {
        let folder = cache.join(&listing.fingerprint);
        if let Some(corpus) = open(&folder, listing) {
            return Ok(corpus);
        }
        std::fs::create_dir_all(cache).map_err(|e| cache_error(cache, &e))?;
        let _guard = exclusive(cache, observer)?;
        // Another process may have built it while we waited.
        if let Some(corpus) = open(&folder, listing) {
            return Ok(corpus);
        }
        let building = cache.join("building");
        remove(&building)?;
        remove(&folder)?;
        std::fs::create_dir_all(&building).map_err(|e| cache_error(&building, &e))?;
        let index = Index::create_in_dir(&building, schema().0).map_err(|e| cache_error(&building, &e))?;
        build::register(&index);
        let manifest = build::fill(&index, listing, &self.pdf, observer)?;
        drop(index);
        let text = serde_json::to_vec(&manifest).map_err(|e| cache_error(&building, &e))?;
        std::fs::write(building.join(MANIFEST), text).map_err(|e| cache_error(&building, &e))?;
        std::fs::rename(&building, &folder).map_err(|e| cache_error(&folder, &e))?;
        forget_old(cache);
        open(&folder, listing).ok_or_else(|| cache_error(&folder, &"it was built and cannot be opened"))
    }
}

/// Name of the manifest in an index's folder; it is written last.
const MANIFEST: &str = "consort.json";

/// A cached index, if it is whole.
fn open(folder: &Path, listing: &Listing) -> Option<Corpus> {
    let text = std::fs::read(folder.join(MANIFEST)).ok()?;
    let mut manifest: Manifest = serde_json::from_slice(&text).ok()?;
    let index = Index::open_in_dir(folder).ok()?;
    build::register(&index);
    manifest.info.sources.clone_from(&listing.sources);
    Corpus::open(&index, manifest, schema().1).ok()
}

/// Waits until no other process builds in this cache.
fn exclusive(cache: &Path, observer: &dyn Observer) -> Result<File> {
    let path = cache.join("lock");
    let file = File::create(&path).map_err(|e| cache_error(&path, &e))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => observer.progress("waiting for another process that builds an index"),
        Err(TryLockError::Error(e)) => return Err(cache_error(&path, &e)),
    }
    if observer.cancelled() {
        return Err(Error::new(Code::Cancelled, "the search was cancelled while another process built an index"));
    }
    file.lock().map_err(|e| cache_error(&path, &e))?;
    Ok(file)
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(cache_error(folder, &e)),
        _ => Ok(()),
    }
}

/// Deletes the oldest indexes beyond the number that is kept. What cannot be deleted stays for the next time.
fn forget_old(cache: &Path) {
    let Ok(entries) = std::fs::read_dir(cache) else { return };
    let mut kept: Vec<(std::time::SystemTime, PathBuf)> = entries
        .filter_map(std::result::Result::ok)
        .map(|e| e.path())
        .filter_map(|p| Some((std::fs::metadata(p.join(MANIFEST)).ok()?.modified().ok()?, p)))
        .collect();
    kept.sort();
    for (_, folder) in kept.iter().rev().skip(KEPT_MAX) {
        let _ = std::fs::remove_dir_all(folder);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while building left the slot empty, which is a valid state.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
