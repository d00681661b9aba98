//! PDF into blocks, without ever taking the process down.
//!
//! For: the text of each page, bounded in pages, bytes and time. Not for: scanned pages, layout or forms.
//! Invariant: a hostile file costs at most the limits below; with an executable it cannot even exhaust this process's stack.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;

use serde::{Deserialize, Serialize};

use super::limited::{Stop, TIME_MAX, limited, wait};
use super::pdf_layout::{HEADING_MARK, page_text};
use super::{Builder, Document, Kind, Unread, plain};
use crate::research::text::dates;

/// Pages of one file that are read.
const PAGES_MAX: usize = 3_000;
/// Bytes of the text of one file.
const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Bytes that one page's content may inflate to.
const PAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Stack of the reading thread: object trees are walked by recursion.
const STACK_BYTES: usize = 128 * 1024 * 1024;
/// What the child process says of a file that needs a password.
const ENCRYPTED: &str = "it is encrypted";

/// Reads PDF files, in a child process where an executable for it is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct PdfReader {
    /// A program that answers `internal-extract-pdf PATH` by calling [`pdf_child_main`]; `None` reads in a thread.
    pub(crate) executable: Option<PathBuf>,
}

/// The text of a file as it travels from the child.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Pages {
    title: String,
    date: Option<String>,
    texts: Vec<String>,
}

impl PdfReader {
    /// Extracts the blocks of a file; places are pages.
    pub(super) fn read(&self, path: &Path, bytes: Vec<u8>, cancelled: &dyn Fn() -> bool) -> Result<Document, Unread> {
        let pages = match &self.executable {
            Some(executable) => in_child(executable, path, cancelled),
            None => in_thread(bytes, cancelled),
        };
        pages.map(|pages| blocks(&pages))
    }
}

/// What the hidden command `internal-extract-pdf PATH` runs: writes the pages of the file as JSON to standard output.
pub fn pdf_child_main(path: &Path) -> ExitCode {
    let bytes = std::fs::read(path).map_err(|e| Unread::Disk(e.to_string()));
    let (text, code) = match bytes.and_then(|bytes| in_thread(bytes, &|| false)) {
        Ok(pages) => (serde_json::to_vec(&pages).unwrap_or_default(), ExitCode::SUCCESS),
        Err(Unread::Pdf(why) | Unread::Disk(why)) => (why.into_bytes(), ExitCode::FAILURE),
        Err(Unread::Encrypted) => (ENCRYPTED.as_bytes().to_vec(), ExitCode::FAILURE),
        Err(other) => (other.reason().as_bytes().to_vec(), ExitCode::FAILURE),
    };
    match std::io::stdout().write_all(&text) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn in_child(executable: &Path, path: &Path, cancelled: &dyn Fn() -> bool) -> Result<Pages, Unread> {
    let mut child = Command::new(executable)
        .arg("internal-extract-pdf")
        .arg(path)
        // It reads a hostile file: no secret of this process's environment is within its reach.
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| Unread::Disk(format!("the reader did not start: {e}")))?;
    let (sender, receiver) = mpsc::channel();
    let stdout = child.stdout.take();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.map(|pipe| pipe.take(4 * TEXT_BYTES_MAX as u64).read_to_end(&mut text));
        // The receiver may have given up by now.
        let _ = sender.send(read.is_some_and(|r| r.is_ok()).then_some(text));
    });
    let answer = wait(&receiver, TIME_MAX, cancelled);
    if answer.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| Unread::Disk(e.to_string()))?;
    let text = answer?.ok_or_else(|| Unread::Pdf("the reader's output was lost".to_owned()))?;
    if !status.success() {
        return Err(refused(String::from_utf8_lossy(&text).chars().take(200).collect()));
    }
    serde_json::from_slice(&text).map_err(|e| Unread::Pdf(e.to_string()))
}

/// What the child process said of a file that it could not read.
fn refused(why: String) -> Unread {
    match why.as_str() {
        ENCRYPTED => Unread::Encrypted,
        "" => Unread::Pdf("the reader died".to_owned()),
        _ => Unread::Pdf(why),
    }
}

fn in_thread(bytes: Vec<u8>, cancelled: &dyn Fn() -> bool) -> Result<Pages, Unread> {
    limited(STACK_BYTES, TIME_MAX, cancelled, move |stop| pages(&bytes, stop)).map_err(|why| match why {
        Unread::Failed => Unread::Pdf("the file is malformed".to_owned()),
        why => why,
    })
}

fn pages(bytes: &[u8], stop: &Stop) -> Result<Pages, Unread> {
    let document = lopdf::Document::load_mem(bytes).map_err(|e| match e {
        lopdf::Error::InvalidPassword | lopdf::Error::Decryption(_) => Unread::Encrypted,
        e => Unread::Pdf(e.to_string()),
    })?;
    if document.is_encrypted() {
        return Err(Unread::Encrypted);
    }
    let (title, date) = about(&document);
    let mut out = Pages { title, date, texts: Vec::new() };
    let mut total = 0;
    for page in document.get_pages().into_values().take(PAGES_MAX) {
        if stop.is_set() || total > TEXT_BYTES_MAX {
            break;
        }
        // A page that cannot be read stays empty, so that page numbers hold.
        let text = catch_unwind(AssertUnwindSafe(|| page_text(&document, page, PAGE_BYTES_MAX))).ok().flatten();
        let text = text.unwrap_or_default();
        total += text.len();
        out.texts.push(text);
    }
    Ok(out)
}

/// Title and date from the file's own information.
fn about(document: &lopdf::Document) -> (String, Option<String>) {
    let info =
        document.trailer.get(b"Info").and_then(lopdf::Object::as_reference).and_then(|id| document.get_dictionary(id));
    let Ok(info) = info else { return (String::new(), None) };
    let field = |key: &[u8]| info.get(key).ok().and_then(|o| lopdf::decode_text_string(o).ok()).unwrap_or_default();
    let stamp = if field(b"ModDate").is_empty() { field(b"CreationDate") } else { field(b"ModDate") };
    let digits: String = stamp.chars().filter(char::is_ascii_digit).take(8).collect();
    let iso = (digits.len() == 8).then(|| format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]));
    (field(b"Title"), iso.and_then(|d| dates::dates(&d).into_iter().next()))
}

fn blocks(pages: &Pages) -> Document {
    let furniture = furniture(&pages.texts);
    let mut out = Builder::default();
    out.title(&pages.title);
    out.date(pages.date.clone());
    for (i, page) in pages.texts.iter().enumerate() {
        let lines: Vec<&str> = page.lines().filter(|l| !furniture.contains_key(&outline(l))).collect();
        let joined = mend_hyphens(&lines);
        let lines: Vec<&str> = joined.iter().map(String::as_str).collect();
        add_page(&lines, i as u32 + 1, &mut out);
    }
    let mut document = out.finish();
    document.paged = true;
    document
}

/// Adds the lines of a page; lines with a mark are headings, and marked lines that follow each other are one.
fn add_page(lines: &[&str], page: u32, out: &mut Builder) {
    let mut from = 0;
    let mut at = 0;
    while at < lines.len() {
        if !lines[at].starts_with(HEADING_MARK) {
            at += 1;
            continue;
        }
        plain::paragraphs(&lines[from..at], 1, out, page);
        let end = lines[at..].iter().position(|l| !l.starts_with(HEADING_MARK)).map_or(lines.len(), |n| at + n);
        let text: Vec<&str> = lines[at..end].iter().map(|l| l.trim_start_matches(HEADING_MARK)).collect();
        out.end(Kind::Paragraph);
        out.heading(2, &text.join(" "));
        (from, at) = (end, end);
    }
    plain::paragraphs(&lines[from..], 1, out, page);
}

/// A line without its digits: page numbers differ from page to page.
fn outline(line: &str) -> String {
    line.chars().filter(|c| !c.is_ascii_digit()).collect::<String>().trim().to_lowercase()
}

/// First and last lines that stand on a third of the pages.
fn furniture(pages: &[String]) -> BTreeMap<String, usize> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for page in pages {
        let lines: Vec<&str> = page.lines().filter(|l| !l.trim().is_empty()).collect();
        let mut edges: Vec<String> =
            lines.iter().take(2).chain(lines.iter().rev().take(2)).map(|l| outline(l)).collect();
        edges.sort_unstable();
        edges.dedup();
        for edge in edges {
            *seen.entry(edge).or_default() += 1;
        }
    }
    seen.retain(|_, n| *n >= 3 && *n * 3 >= pages.len());
    seen
}

/// Joins words that were divided at the end of a line.
fn mend_hyphens(lines: &[&str]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for line in lines {
        let line = line.replace('\u{ad}', "");
        let divided = out.last().is_some_and(|l| {
            let mut end = l.trim_end().chars().rev();
            end.next() == Some('-') && end.next().is_some_and(char::is_lowercase)
        });
        match out.last_mut() {
            Some(last) if divided && line.trim_start().starts_with(char::is_lowercase) => {
                last.truncate(last.trim_end().len() - 1);
                last.push_str(line.trim_start());
            }
            _ => out.push(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pdf_is_refused_with_a_reason() {
        for bytes in [&b""[..], b"%PDF-1.4\n%%EOF", b"plain"] {
            let why = PdfReader::default().read(Path::new("x.pdf"), bytes.to_vec(), &|| false).expect_err("not a PDF");
            let error = why.error(Path::new("x.pdf"));
            assert!(error.message.contains("could not be read as PDF"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_process_that_reads_a_file_has_nothing_of_the_environment() {
        use std::os::unix::fs::PermissionsExt as _;
        let temp = tempfile::tempdir().expect("a folder");
        let reader = temp.path().join("reader");
        std::fs::write(&reader, "#!/bin/sh\nexport -p\nexit 1\n").expect("a script");
        std::fs::set_permissions(&reader, std::fs::Permissions::from_mode(0o700)).expect("its permissions");
        assert!(std::env::var_os("PATH").is_some());
        // While another thread starts a process, that one has the script open, and the system does not run it.
        let mut tries = (0..1_000).map(|_| in_child(&reader, Path::new("x.pdf"), &|| false).expect_err("no text"));
        let why = tries.find_map(|why| if let Unread::Pdf(why) = why { Some(why) } else { None }).expect("it runs");
        assert!(why.contains("PWD") && !why.contains("HOME=") && !why.contains("CARGO"), "{why}");
    }

    #[test]
    fn a_file_that_needs_a_password_says_so() {
        use lopdf::{Document, Object, dictionary};
        let mut pdf = Document::with_version("1.5");
        let pages = pdf.add_object(dictionary! { "Type" => "Pages", "Kids" => Vec::<Object>::new(), "Count" => 0 });
        let catalog = pdf.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages });
        let text = || Object::string_literal("0123456789abcdef0123456789abcdef");
        let encrypt = pdf.add_object(dictionary! {
            "Filter" => "Standard", "V" => 1, "R" => 2, "O" => text(), "U" => text(), "P" => -4,
        });
        pdf.trailer.set("Root", catalog);
        pdf.trailer.set("Encrypt", encrypt);
        pdf.trailer.set("ID", vec![text(), text()]);
        let mut bytes = Vec::new();
        pdf.save_to(&mut bytes).expect("bytes");
        let why = PdfReader::default().read(Path::new("x.pdf"), bytes, &|| false).expect_err("locked");
        assert_eq!((why.reason(), refused(ENCRYPTED.to_owned())), ("PDF that is encrypted", Unread::Encrypted));
        assert!(why.error(Path::new("x.pdf")).message.ends_with("it is encrypted"));
    }

    #[test]
    fn furniture_goes_and_divided_words_are_joined() {
        let pages = Pages {
            texts: ["wind", "sun", "rain", "snow"]
                .iter()
                .map(|w| format!("The Manual\n{w} num-\nber runs well.\nmax-\nMin {w}\nPage 4\n"))
                .collect(),
            ..Pages::default()
        };
        let d = blocks(&pages);
        assert!(d.paged);
        assert_eq!(d.blocks[0].text, "wind number runs well. max- Min wind");
        assert_eq!(d.blocks[3].lines(0, 4), (4, 4));
    }
}
