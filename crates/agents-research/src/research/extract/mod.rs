//! Files into blocks of text with their place in the original file.
//!
//! For: Markdown, HTML, reStructuredText, plain text and PDF. Not for: choosing files, ranking or quoting.
//! Invariant: the same bytes give the same blocks, so that a quote can be checked later by extracting again.

mod builder;
mod decode;
mod html;
mod markdown;
mod pdf;
mod pdf_layout;
mod plain;
mod rst;

use std::path::Path;
use std::sync::Arc;

use consort_types::{Code, Error, Result};

pub(crate) use builder::{Builder, HEAD_ROW, TERM_LEVEL};
pub(crate) use pdf::PdfReader;
pub use pdf::pdf_child_main;

use super::model::Place;

/// Part of every index's name: a change of extraction makes a new index.
pub(crate) const EXTRACTOR_VERSION: u32 = 12;

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Markdown,
    Html,
    Rst,
    Plain,
    Pdf,
}

impl Format {
    /// The format by the file's name; `None` where it is none that can be read.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_lowercase();
        if name.ends_with(".rst.txt") {
            return Some(Self::Rst);
        }
        let Some((_, ext)) = name.rsplit_once('.') else {
            let plain = [
                "readme",
                "changelog",
                "changes",
                "news",
                "authors",
                "todo",
                "faq",
                "install",
                "hacking",
                "copying",
                "license",
                "copyright",
                "thanks",
                "contributing",
                "notes",
                "history",
            ];
            return plain.contains(&name.as_str()).then_some(Self::Plain);
        };
        match ext {
            "md" | "markdown" | "mdown" | "mkd" => Some(Self::Markdown),
            "html" | "htm" | "xhtml" => Some(Self::Html),
            "rst" | "rest" => Some(Self::Rst),
            "txt" | "text" | "adoc" | "asciidoc" | "org" | "debian" => Some(Self::Plain),
            "pdf" => Some(Self::Pdf),
            _ => None,
        }
    }
}

/// What a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Running text.
    Paragraph,
    /// An item of a list.
    Item,
    /// A row of a table, cells separated by ` | `.
    Row,
    /// Code or preformatted text, with its line breaks.
    Code,
}

/// One block of text.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) kind: Kind,
    /// Whether the innermost heading is a term that the block defines.
    pub(crate) term: bool,
    /// Headings above it, outermost first.
    pub(crate) headings: Arc<[String]>,
    /// Text with single spaces; code keeps its lines.
    pub(crate) text: String,
    /// (byte in `text`, line or page in the file) wherever the line or page changes; the first is at byte 0.
    marks: Vec<(usize, u32)>,
}

impl Block {
    /// The lines (or pages) of the file that a byte range of the text comes from.
    pub(crate) fn lines(&self, start: usize, end: usize) -> (u32, u32) {
        let at = |byte: usize| {
            let after = self.marks.partition_point(|(from, _)| *from <= byte);
            self.marks[after.max(1) - 1].1
        };
        (at(start), at(end.saturating_sub(1).max(start)))
    }
}

/// A file as blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    /// The title, or empty.
    pub(crate) title: String,
    /// The date that the document states about itself, ISO 8601.
    pub(crate) date: Option<String>,
    /// Whether the document says of itself that it is out of date.
    pub(crate) outdated: bool,
    /// Whether places are pages.
    pub(crate) paged: bool,
    pub(crate) blocks: Vec<Block>,
}

impl Document {
    /// The place of a byte range of a block.
    pub(crate) fn place(&self, block: &Block, start: usize, end: usize) -> Place {
        let (first, last) = block.lines(start, end);
        if self.paged { Place::pages(first, last) } else { Place::lines(first, last) }
    }
}

/// Extracts the blocks of a file's bytes.
pub(crate) fn extract(path: &Path, bytes: &[u8], pdf: &PdfReader) -> Result<Document> {
    let unreadable = |what: &str| Error::new(Code::BadRequest, format!("`{}` {what}", path.display()));
    let format = Format::of(path).ok_or_else(|| unreadable("has no format that can be read"))?;
    let mut document = if format == Format::Pdf {
        pdf.read(path, bytes)?
    } else {
        let text = decode::decode(bytes).ok_or_else(|| unreadable("is binary"))?;
        match format {
            Format::Markdown => markdown::extract(&text),
            Format::Html => html::extract(&text),
            Format::Rst => rst::extract(&text),
            Format::Plain | Format::Pdf => plain::extract(&text),
        }
    };
    if document.title.is_empty() {
        document.title = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    }
    note_date_and_status(&mut document);
    Ok(document)
}

/// What the first blocks say about the document's own date and whether it still holds.
fn note_date_and_status(document: &mut Document) {
    use super::text::dates;
    const FIRST_BLOCKS: usize = 8;
    let mut outdated = says_outdated(&document.title);
    let mut date = document.date.take();
    for block in document.blocks.iter().take(FIRST_BLOCKS).filter(|b| b.text.len() < 600) {
        for line in block.text.split(['\n', '|', ';']).flat_map(|l| l.split(". ")) {
            date = date.or_else(|| dates::stamp(line));
            outdated |= says_outdated(line);
        }
    }
    document.date = date;
    document.outdated = outdated;
}

fn says_outdated(line: &str) -> bool {
    let line = line.to_lowercase();
    let line = line.trim_start_matches(|c: char| !c.is_alphanumeric());
    let starts = [
        "status: superseded",
        "status: archived",
        "status: obsolete",
        "status: deprecated",
        "status: withdrawn",
        "superseded by",
        "archived",
        "obsolete",
        "outdated",
        "this document is obsolete",
        "this document is outdated",
        "this document has been superseded",
        "this page is outdated",
        "this page has been superseded",
        "this document is superseded",
        "this version is superseded",
    ];
    starts.iter().any(|s| line.starts_with(s)) || (line.contains("superseded by") && line.len() < 120)
}
