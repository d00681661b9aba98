//! Building the index of a corpus.
//!
//! For: reading files on several threads and adding their passages in the order of their paths. Not for: caching.
//! Invariant: the same files give the same passages in the same order, however many threads read.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use consort_types::{Code, Error, Result};
use tantivy::indexer::NoMergePolicy;
use tantivy::{Index, IndexWriter, TantivyDocument};

use super::{Fields, FileInfo, Manifest, TOKENIZER, broken, passages, schema, tokens::TermTokenizer};
use crate::research::config::Observer;
use crate::research::corpus::{FileEntry, Listing, SkippedFiles, text_of};
use crate::research::extract::{self, Kind, PdfReader, Read, Unread};
use crate::research::index::Passage;
use crate::research::model::CorpusInfo;

/// Bytes that the writer may collect before it writes a part of the index.
const WRITER_BYTES: usize = 96 * 1024 * 1024;
/// Files that are read before their passages are added.
const CHUNK_FILES: usize = 256;
/// How often the same block is kept; a block that more pages repeat is furniture (licence lines, inherited methods).
const REPEATS_MAX: u8 = 6;
/// Threads that read files.
const READERS_MAX: usize = 8;

/// Adds our tokenizer to an index.
pub(super) fn register(index: &Index) {
    index.tokenizers().register(TOKENIZER, tantivy::tokenizer::TextAnalyzer::from(TermTokenizer::default()));
}

/// Fills `index` from the files of a listing. What the listing itself left out is for its caller to count: the same files
/// may be listed with others beside them.
pub(super) fn fill(index: &Index, listing: &Listing, pdf: &PdfReader, observer: &dyn Observer) -> Result<Manifest> {
    let (_, fields) = schema();
    let mut writer: IndexWriter = index.writer_with_num_threads(1, WRITER_BYTES).map_err(|e| broken(&e))?;
    writer.set_merge_policy(Box::new(NoMergePolicy));
    let mut adder = Adder { writer: &writer, fields, repeats: HashMap::new(), files: Vec::new(), passages: 0 };
    let mut skipped = SkippedFiles::default();
    for (done, chunk) in listing.files.chunks(CHUNK_FILES).enumerate() {
        let cancelled = || observer.cancelled();
        let read = read_all(chunk, pdf, &cancelled);
        if observer.cancelled() {
            return Err(Error::new(Code::Cancelled, "the search was cancelled while its index was built"));
        }
        for (file, read) in chunk.iter().zip(read) {
            match read {
                Ok(read) if read.document.blocks.is_empty() => {
                    skipped.add(if read.document.listing { "a listing of source code" } else { "no text" }, &file.path);
                }
                Ok(read) => adder.add(&file.path, read)?,
                Err(why) => skipped.add(why.reason(), &file.path),
            }
        }
        let count = (done * CHUNK_FILES + chunk.len()).min(listing.files.len());
        observer.progress(&format!("read {count} of {} files", listing.files.len()));
    }
    let (files, passages) = (adder.files, adder.passages);
    writer.commit().map_err(|e| broken(&e))?;
    let parts = index.searchable_segment_ids().map_err(|e| broken(&e))?;
    if parts.len() > 1 {
        observer.progress("putting the index together");
        writer.merge(&parts).wait().map_err(|e| broken(&e))?;
    }
    writer.wait_merging_threads().map_err(|e| broken(&e))?;
    let info = CorpusInfo {
        fingerprint: listing.fingerprint.clone(),
        sources: listing.sources.clone(),
        files: files.len() as u64,
        passages,
        skipped: skipped.list(),
    };
    Ok(Manifest { files, info })
}

/// Reads a chunk of files, in order, on several threads.
fn read_all(chunk: &[FileEntry], pdf: &PdfReader, cancelled: &(dyn Fn() -> bool + Sync)) -> Vec<Result<Read, Unread>> {
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(READERS_MAX);
    let mut out: Vec<Option<Result<Read, Unread>>> = chunk.iter().map(|_| None).collect();
    let parts: Vec<Vec<(usize, Result<Read, Unread>)>> = std::thread::scope(|scope| {
        let work = || {
            let mut mine = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(file) = chunk.get(at).filter(|_| !cancelled()) else { return mine };
                mine.push((at, extract::read(&file.path, pdf, cancelled)));
            }
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().filter_map(|h| h.join().ok()).collect()
    });
    for (at, read) in parts.into_iter().flatten() {
        out[at] = Some(read);
    }
    out.into_iter().map(|read| read.unwrap_or(Err(Unread::Failed))).collect()
}

struct Adder<'a> {
    writer: &'a IndexWriter,
    fields: Fields,
    /// How often each block was seen; only looked up, never walked.
    repeats: HashMap<u64, u8>,
    files: Vec<FileInfo>,
    passages: u64,
}

impl Adder<'_> {
    fn add(&mut self, path: &Path, read: Read) -> Result<()> {
        let file = self.files.len() as u32;
        let fresh: Vec<bool> =
            read.document.blocks.iter().map(|b| b.kind == Kind::Code || self.is_fresh(&b.text)).collect();
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        for piece in passages(&read.document, &|ordinal| fresh[ordinal]) {
            let mut document = TantivyDocument::default();
            let body: Vec<&str> = piece.segments.iter().map(|s| s.text.as_str()).collect();
            document.add_text(self.fields.body, body.join("\n"));
            document.add_text(self.fields.head, format!("{} {} {stem}", read.document.title, piece.headings.join(" ")));
            let passage = Passage {
                file,
                headings: piece.headings,
                term: piece.term,
                lead: piece.lead,
                segments: piece.segments,
            };
            let data = serde_json::to_vec(&passage).map_err(|e| broken(&e))?;
            document.add_bytes(self.fields.data, &data);
            self.writer.add_document(document).map_err(|e| broken(&e))?;
            self.passages += 1;
        }
        self.files.push(FileInfo {
            path: text_of(path),
            hash: read.hash,
            title: read.document.title,
            date: read.document.date,
            outdated: read.document.outdated,
        });
        Ok(())
    }

    fn is_fresh(&mut self, text: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let count = self.repeats.entry(hasher.finish()).or_default();
        *count = count.saturating_add(1);
        *count <= REPEATS_MAX
    }
}
