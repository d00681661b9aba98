//! Files into blocks of text with their place in the original file.
//!
//! For: Markdown, HTML, reStructuredText, plain text and PDF. Not for: choosing files, ranking or quoting.
//! Invariant: the same bytes give the same blocks, so that a quote can be checked later by extracting again.

mod builder;
mod decode;
mod html;
mod limited;
mod markdown;
mod pdf;
mod pdf_layout;
mod plain;
mod rst;
mod rst_table;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use consort_types::{Code, Error};

pub(crate) use builder::{Builder, HEAD_ROW, TERM_LEVEL};
pub(crate) use pdf::PdfReader;
pub use pdf::pdf_child_main;

use super::model::Place;
use limited::{Stop, TIME_MAX, limited};

/// Bytes of one file; larger ones are left out and counted.
pub(crate) const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Part of every index's name: a change of extraction makes a new index.
pub(crate) const EXTRACTOR_VERSION: u32 = 13;

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
        // A name that is not UTF-8 still has an ending.
        let name = path.file_name()?.to_string_lossy().to_lowercase();
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
    /// Whether it is a page that only lists source code, of which nothing is read.
    pub(crate) listing: bool,
    pub(crate) blocks: Vec<Block>,
}

impl Document {
    /// The place of a byte range of a block.
    pub(crate) fn place(&self, block: &Block, start: usize, end: usize) -> Place {
        let (first, last) = block.lines(start, end);
        if self.paged { Place::pages(first, last) } else { Place::lines(first, last) }
    }
}

/// Why a file gave no document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is no text.
    Binary,
    /// It is text in UTF-32.
    Utf32,
    /// Its name has no ending that is known.
    NoFormat,
    /// It is no file that can be read to its end, such as a pipe or a device.
    NotRegular,
    /// It has more bytes than are read.
    TooLarge(u64),
    /// It is a PDF that needs a password.
    Encrypted,
    /// It is a PDF that is damaged, or of a kind that is not known.
    Pdf(String),
    /// It took longer than [`limited::TIME_MAX`].
    Slow,
    /// Its reader has a defect.
    Failed,
    /// Its caller was cancelled.
    Cancelled,
    /// The system refused it.
    Disk(String),
}

impl Unread {
    /// The class for counting, for people.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Binary => "binary",
            Self::Utf32 => "text in UTF-32",
            Self::NoFormat => "no format that can be read",
            Self::NotRegular => "not a regular file",
            Self::TooLarge(_) => "over the limit of 32 MiB",
            Self::Encrypted => "PDF that is encrypted",
            Self::Pdf(_) => "PDF that cannot be read",
            Self::Slow => "it takes longer than 60 s to read",
            Self::Failed => "its reader failed",
            Self::Cancelled => "the search was cancelled",
            Self::Disk(_) => "cannot be read",
        }
    }

    /// The error about this file.
    pub(crate) fn error(self, path: &Path) -> Error {
        let path = path.display();
        let (code, what) = match self {
            Self::Pdf(why) => (Code::BadRequest, format!("could not be read as PDF: {why}")),
            Self::Encrypted => (Code::BadRequest, "could not be read as PDF: it is encrypted".to_owned()),
            Self::TooLarge(bytes) => {
                (Code::LimitReached, format!("has `{bytes}` bytes, the limit is {FILE_BYTES_MAX}"))
            }
            Self::Disk(why) => (Code::SourceNotFound, format!("cannot be read: {why}")),
            Self::Cancelled => return Error::new(Code::Cancelled, "the work was cancelled while files were read"),
            Self::Failed => (Code::Internal, "made its reader fail".to_owned()),
            Self::Slow => {
                (Code::LimitReached, format!("takes longer to read than `{}` s", limited::TIME_MAX.as_secs()))
            }
            Self::Binary | Self::Utf32 | Self::NoFormat | Self::NotRegular => {
                (Code::BadRequest, format!("is left out: {}", self.reason()))
            }
        };
        Error::new(code, format!("`{path}` {what}"))
            .hint("convert it to text in UTF-8 and add that file to the sources")
    }
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Read {
    /// Of its bytes.
    pub(crate) hash: String,
    pub(crate) document: Document,
}

/// Stack of a thread that reads text.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// Reads a file, within limits of bytes and time, until `cancelled` says that the caller needs it no more.
pub(crate) fn read(path: &Path, pdf: &PdfReader, cancelled: &dyn Fn() -> bool) -> Result<Read, Unread> {
    let format = Format::of(path).ok_or(Unread::NoFormat)?;
    let file = path.to_owned();
    let (hash, read) = limited(STACK_BYTES, TIME_MAX, cancelled, move |stop| {
        let bytes = bytes(&file)?;
        let hash = blake3::hash(&bytes).to_hex().to_string();
        // A PDF is read by other means, with limits of its own.
        Ok((hash, if format == Format::Pdf { Err(bytes) } else { Ok(of_text(format, &bytes, stop)?) }))
    })?;
    let mut document = match read {
        Ok(document) => document,
        Err(bytes) => pdf.read(path, bytes, cancelled)?,
    };
    if document.title.is_empty() {
        document.title = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    }
    note_date_and_status(&mut document);
    Ok(Read { hash, document })
}

/// The bytes of a regular file. What is none may have no end, or wait for a writer when it is opened.
fn bytes(path: &Path) -> Result<Vec<u8>, Unread> {
    let refused = |e: std::io::Error| Unread::Disk(e.to_string());
    let about = std::fs::metadata(path).map_err(refused)?;
    if !about.is_file() {
        return Err(Unread::NotRegular);
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(refused)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() as u64 > FILE_BYTES_MAX { Err(Unread::TooLarge(about.len())) } else { Ok(bytes) }
}

/// The blocks of a text; `stop` ends the formats in which a hostile file can cost more time than its size.
fn of_text(format: Format, bytes: &[u8], stop: &Stop) -> Result<Document, Unread> {
    let text = decode::decode(bytes, format == Format::Html)?;
    Ok(match format {
        Format::Markdown => markdown::extract(&text, stop),
        Format::Html => html::extract(&text, stop),
        Format::Rst => rst::extract(&text, stop),
        Format::Plain | Format::Pdf => plain::extract(&text),
    })
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
