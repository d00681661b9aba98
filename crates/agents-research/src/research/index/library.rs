//! Open indexes of a process, and their cache on disk.
//!
//! For: building an index once, for the first caller, and keeping it until a file changes. Not for: searching it.
//! Invariant: at most one thread of one process builds a given index; the others wait for it and share it, and stop waiting
//! when they are cancelled. No caller waits for the index of other sources.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError as Held};
use std::time::Duration;

use consort_types::{Code, Error, Result};
use tantivy::Index;

use super::{Corpus, Manifest, build, cache_error, schema};
use crate::research::config::{Observer, ResearchConfig};
use crate::research::corpus::{self, Listing};
use crate::research::extract::PdfReader;
use crate::research::model::{CorpusInfo, Sources};
use crate::research::semantic::Meanings;

/// Indexes that stay open at once.
const OPEN_MAX: usize = 4;
/// Indexes that stay in the cache folder.
const KEPT_MAX: usize = 8;

/// How often a caller that waits for an index looks whether it is there, or not wanted any more.
const LOOK_EVERY: Duration = Duration::from_millis(20);

type Slot = Arc<Mutex<Option<Arc<Corpus>>>>;

/// The indexes that a process has open, by fingerprint.
#[derive(Default)]
pub struct Library {
    config: ResearchConfig,
    pdf: PdfReader,
    meanings: Meanings,
    slots: Mutex<BTreeMap<String, Slot>>,
}

impl Library {
    /// A library with nothing open.
    pub fn new(config: ResearchConfig) -> Self {
        let pdf = PdfReader { executable: config.pdf_executable.clone() };
        let meanings = Meanings::new(config.model.clone());
        Self { config, pdf, meanings, slots: Mutex::default() }
    }

    /// The model to rank with, where one is set.
    pub(crate) fn meanings(&self) -> &Meanings {
        &self.meanings
    }

    /// How PDF files are read.
    pub(crate) fn pdf(&self) -> &PdfReader {
        &self.pdf
    }

    /// The index of the sources (open, from the cache, or built now), and what is to be said of them. Different sources may
    /// have the same files, and so the same index.
    pub(crate) fn corpus(&self, sources: &Sources, observer: &dyn Observer) -> Result<(Arc<Corpus>, CorpusInfo)> {
        let listing = corpus::list(sources)?;
        let corpus = self.index(&listing, observer)?;
        let mut skipped = listing.skipped;
        skipped.add_all(&corpus.manifest.info.skipped);
        let info = CorpusInfo { sources: listing.sources, skipped: skipped.list(), ..corpus.manifest.info.clone() };
        Ok((corpus, info))
    }

    fn index(&self, listing: &Listing, observer: &dyn Observer) -> Result<Arc<Corpus>> {
        let slot = self.slot(&listing.fingerprint);
        let mut held = patient(observer, || match slot.try_lock() {
            Ok(held) => Ok(Some(held)),
            // A thread that panicked while building left the slot empty, which is a valid state.
            Err(Held::Poisoned(held)) => Ok(Some(held.into_inner())),
            Err(Held::WouldBlock) => Ok(None),
        })?;
        if let Some(corpus) = &*held {
            return Ok(corpus.clone());
        }
        let corpus = Arc::new(match &self.config.cache {
            Some(cache) => self.cached(cache, listing, observer)?,
            None => self.in_memory(listing, observer)?,
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

    /// Gives up every index that holds a file in a version that was replaced, open or in the cache.
    pub(crate) fn forget(&self, path: &str, hash: &str) {
        lock(&self.slots).retain(|_, slot| {
            !slot.try_lock().is_ok_and(|held| held.as_ref().is_some_and(|corpus| corpus.manifest.holds(path, hash)))
        });
        let cached = self.config.cache.as_ref().and_then(|cache| std::fs::read_dir(cache).ok());
        for folder in cached.into_iter().flatten().filter_map(|entry| entry.ok().map(|e| e.path())) {
            if manifest(&folder).is_some_and(|manifest| manifest.holds(path, hash)) {
                // What cannot be deleted is found stale again.
                let _ = std::fs::remove_dir_all(folder);
            }
        }
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
        if let Some(corpus) = open(&folder) {
            return Ok(corpus);
        }
        std::fs::create_dir_all(cache).map_err(|e| cache_error(cache, &e))?;
        let _guard = exclusive(&cache.join(format!("{}.lock", listing.fingerprint)), observer)?;
        // Another process may have built it while we waited.
        if let Some(corpus) = open(&folder) {
            return Ok(corpus);
        }
        let building = cache.join(format!("{}.building", listing.fingerprint));
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
        open(&folder).ok_or_else(|| cache_error(&folder, &"it was built and cannot be opened"))
    }
}

/// Name of the manifest in an index's folder; it is written last.
const MANIFEST: &str = "consort.json";

/// What a cached index says of itself.
fn manifest(folder: &Path) -> Option<Manifest> {
    let text = std::fs::read(folder.join(MANIFEST)).ok()?;
    serde_json::from_slice(&text).ok()
}

/// A cached index, if it is whole.
fn open(folder: &Path) -> Option<Corpus> {
    let manifest = manifest(folder)?;
    let index = Index::open_in_dir(folder).ok()?;
    build::register(&index);
    Corpus::open(&index, manifest, schema().1).ok()
}

/// Waits until no other process builds this index.
fn exclusive(path: &Path, observer: &dyn Observer) -> Result<File> {
    let file = File::create(path).map_err(|e| cache_error(path, &e))?;
    let mut told = false;
    patient(observer, || match file.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => {
            if !std::mem::replace(&mut told, true) {
                observer.progress("waiting for another process that builds this index");
            }
            Ok(None)
        }
        Err(TryLockError::Error(e)) => Err(cache_error(path, &e)),
    })?;
    Ok(file)
}

/// Tries until there is something, or the caller is cancelled.
fn patient<T>(observer: &dyn Observer, mut attempt: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    loop {
        if let Some(found) = attempt()? {
            return Ok(found);
        }
        if observer.cancelled() {
            return Err(Error::new(Code::Cancelled, "the search was cancelled while others built its index"));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(cache_error(folder, &e)),
        _ => Ok(()),
    }
}

/// Deletes the oldest indexes beyond the number that is kept, and what builders that died left. What cannot be deleted
/// stays for the next time.
fn forget_old(cache: &Path) {
    let Ok(entries) = std::fs::read_dir(cache) else { return };
    let paths: Vec<PathBuf> = entries.filter_map(std::result::Result::ok).map(|e| e.path()).collect();
    let written = |p: &PathBuf| Some((std::fs::metadata(p.join(MANIFEST)).ok()?.modified().ok()?, p.clone()));
    let whole = |p: &&PathBuf| p.extension().is_none();
    let mut kept: Vec<(std::time::SystemTime, PathBuf)> = paths.iter().filter(whole).filter_map(written).collect();
    kept.sort();
    for (_, folder) in kept.iter().rev().skip(KEPT_MAX) {
        let _ = std::fs::remove_dir_all(folder);
    }
    for path in paths.iter().filter(|p| p.extension().is_some_and(|ending| ending == "lock")) {
        // A lock that can be taken belongs to no process that builds. One that opened it and waits finds the index, or builds it
        // beside another at worst.
        let free = File::open(path).is_ok_and(|file| file.try_lock().is_ok());
        if free && !path.with_extension("").exists() {
            let _ = std::fs::remove_dir_all(path.with_extension("building"));
            let _ = std::fs::remove_file(path);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A thread that panicked while building left the slot empty, which is a valid state.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
