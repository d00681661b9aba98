//! The full-text index of a corpus: built once, kept on disk, shared by all searches of a process.
//!
//! For: finding candidate passages among tens of thousands of files. Not for: the final order, which `search` decides.
//! Invariant: an index is a cache; deleting it costs time and nothing else.

mod build;
mod library;
mod passage;
mod tokens;

use std::path::Path;

use consort_types::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, BoostQuery, Occur, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions, Value};
use tantivy::{Index, Searcher, TantivyDocument, Term};

use super::model::{CorpusInfo, Segment, TermWeight};

pub use library::Library;
pub(crate) use passage::passages;

/// Name of our tokenizer inside the index.
const TOKENIZER: &str = "consort";
/// How much a term in title or headings counts beside one in the text.
const HEAD_BOOST: f32 = 0.8;

/// What an index keeps of a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FileInfo {
    pub(crate) path: String,
    pub(crate) hash: String,
    pub(crate) title: String,
    pub(crate) date: Option<String>,
    pub(crate) outdated: bool,
}

/// What an index keeps of a passage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Passage {
    /// Ordinal of its file.
    pub(crate) file: u32,
    pub(crate) headings: Vec<String>,
    /// Whether the last heading (but that of a table) is a term that the passage defines.
    pub(crate) term: bool,
    /// Whether it is the first below its headings.
    pub(crate) lead: bool,
    pub(crate) segments: Vec<Segment>,
}

/// The file beside an index that tells what is in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) files: Vec<FileInfo>,
    pub(crate) info: CorpusInfo,
}

impl Manifest {
    /// Whether it has a file in this version.
    fn holds(&self, path: &str, hash: &str) -> bool {
        self.files.iter().any(|file| file.path == path && file.hash == hash)
    }
}

/// The fields of an index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    body: Field,
    head: Field,
    data: Field,
}

/// The schema of every index.
fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let indexing = TextFieldIndexing::default().set_tokenizer(TOKENIZER).set_index_option(IndexRecordOption::WithFreqs);
    let text = TextOptions::default().set_indexing_options(indexing);
    let body = builder.add_text_field("body", text.clone());
    let head = builder.add_text_field("head", text);
    let data = builder.add_bytes_field("data", tantivy::schema::STORED);
    (builder.build(), Fields { body, head, data })
}

/// An open index.
pub(crate) struct Corpus {
    pub(crate) manifest: Manifest,
    searcher: Searcher,
    fields: Fields,
}

impl Corpus {
    fn open(index: &Index, manifest: Manifest, fields: Fields) -> Result<Self> {
        let reader = index.reader().map_err(|e| broken(&e))?;
        Ok(Self { manifest, searcher: reader.searcher(), fields })
    }

    /// Weight of a term: rare terms tell more; between 1000 and about 7000.
    pub(crate) fn weight(&self, term: &str) -> Result<TermWeight> {
        let count = |field| self.searcher.doc_freq(&Term::from_field_text(field, term)).map_err(|e| broken(&e));
        let passages = count(self.fields.body)?.max(count(self.fields.head)?);
        let all = self.searcher.num_docs().max(1);
        let weight = 1_000 + 3 * log2_milli((all + 1) / (passages + 1)).min(20_000) / 10;
        Ok(TermWeight { term: term.to_owned(), weight, passages })
    }

    /// The best `count` passages for the terms, with the index's own score in thousandths.
    pub(crate) fn candidates(&self, terms: &[TermWeight], count: usize) -> Result<Vec<(i64, Passage)>> {
        if terms.is_empty() {
            return Ok(Vec::new());
        }
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        for term in terms {
            let query = |field| TermQuery::new(Term::from_field_text(field, &term.term), IndexRecordOption::WithFreqs);
            clauses.push((Occur::Should, Box::new(query(self.fields.body))));
            clauses.push((Occur::Should, Box::new(BoostQuery::new(Box::new(query(self.fields.head)), HEAD_BOOST))));
        }
        let found = self
            .searcher
            .search(&BooleanQuery::new(clauses), &TopDocs::with_limit(count).order_by_score())
            .map_err(|e| broken(&e))?;
        let mut out = Vec::with_capacity(found.len());
        for (score, address) in found {
            let document: TantivyDocument = self.searcher.doc(address).map_err(|e| broken(&e))?;
            let data = document.get_first(self.fields.data).and_then(|v| v.as_bytes()).unwrap_or_default();
            let passage = serde_json::from_slice(data).map_err(|e| broken(&e))?;
            out.push(((f64::from(score) * 1_000.0) as i64, passage));
        }
        Ok(out)
    }
}

/// An error of the index itself: it is a cache, so the hint is to delete it.
fn broken(error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::Disk, format!("the search index cannot be used: {error}"))
        .hint("delete the folder `.consort/cache` and try again")
}

/// An error while a file of the cache is written or read.
fn cache_error(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::new(Code::Disk, format!("cache `{}` cannot be used: {error}", path.display()))
        .hint("check that the folder can be written and has room, or delete it")
}

/// Logarithm to base 2 in thousandths, by whole numbers alone.
fn log2_milli(value: u64) -> i64 {
    let value = value.max(1);
    let whole = value.ilog2();
    // Between two powers of two a straight line is near enough for a weight.
    let part = (u128::from(value) << 20 >> whole) - (1 << 20);
    i64::from(whole) * 1_000 + ((part * 1_000) >> 20) as i64
}

#[cfg(test)]
mod tests {
    #[test]
    fn logarithms_grow_without_steps() {
        let all: Vec<_> = (1..200).map(super::log2_milli).collect();
        assert!(all.is_sorted());
        assert_eq!((all[0], all[1], all[3], super::log2_milli(1 << 40)), (0, 1_000, 2_000, 40_000));
    }
}
