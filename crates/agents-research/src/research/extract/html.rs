//! HTML into blocks: the main content without navigation, scripts and page furniture.
//!
//! For: documentation pages as they are, also when tags are left open. Not for: rendering, styles or scripts.
//! Invariant: a line number is the line of the original file that the text is on.

use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

use super::super::text::dates;
use super::{Builder, Document, HEAD_ROW, Kind, TERM_LEVEL};

/// Open elements that are tracked; deeper ones are read without structure.
const DEPTH_MAX: usize = 512;
/// Letters that the main content must have for the rest of the page to be dropped.
const MAIN_BYTES_MIN: usize = 120;
/// The level of a paragraph that is bold as a whole: below all real headings.
const BOLD_LEVEL: u8 = 6;
/// Bytes of a bold paragraph that may be a heading.
const BOLD_BYTES_MAX: usize = 180;

const VOID: &[&str] =
    &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr", "param"];
const SKIPPED: &[&str] = &[
    "script",
    "style",
    "noscript",
    "template",
    "svg",
    "nav",
    "footer",
    "button",
    "select",
    "iframe",
    "object",
    "canvas",
    "dialog",
    "rustdoc-topbar",
    "rustdoc-toolbar",
];
const BLOCKS: &[&str] = &[
    "p",
    "div",
    "section",
    "article",
    "main",
    "header",
    "body",
    "ul",
    "ol",
    "li",
    "dl",
    "dt",
    "dd",
    "table",
    "thead",
    "tbody",
    "tr",
    "pre",
    "blockquote",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "details",
    "summary",
    "figure",
    "figcaption",
    "address",
    "caption",
    "aside",
    "center",
];
/// Class and id words of page furniture.
const FURNITURE: &[&str] = &[
    "nav",
    "navbar",
    "navigation",
    "nav-wrapper",
    "nav-wide-wrapper",
    "sidebar",
    "side-bar",
    "sphinxsidebar",
    "sphinxsidebarwrapper",
    "toc",
    "table-of-contents",
    "localtoc",
    "breadcrumb",
    "breadcrumbs",
    "menu",
    "menu-bar",
    "footer",
    "page-footer",
    "site-footer",
    "headerlink",
    "header-link",
    "skip-link",
    "skip-main-content",
    "pagination",
    "pager",
    "related",
    "searchbox",
    "cookie-banner",
    "cookie",
    "advert",
    "ads",
    "social",
    "share",
    "boring",
    "rightside",
    "since",
    "tooltip",
    "doc-anchor",
    "sr-only",
    "visually-hidden",
    "navheader",
    "navfooter",
    "out-of-band",
    "sub-heading",
    "buttons",
    "version",
    "linenos",
    "reference-links",
    "index-toc",
];

/// Extracts the blocks of a page.
pub(crate) fn extract(text: &str) -> Document {
    let sink = Sink { page: RefCell::new(Page::default()) };
    let tokenizer = Tokenizer::new(sink, TokenizerOpts::default());
    let input = BufferQueue::default();
    input.push_back(StrTendril::from_slice(text));
    let _ = tokenizer.feed(&input);
    tokenizer.end();
    tokenizer.sink.page.into_inner().finish()
}

struct Sink {
    page: RefCell<Page>,
}

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, line_number: u64) -> TokenSinkResult<()> {
        let mut page = self.page.borrow_mut();
        let line = u32::try_from(line_number).unwrap_or(u32::MAX);
        match token {
            Token::CharacterTokens(text) => page.text(&text, line),
            Token::TagToken(tag) if tag.kind == TagKind::EndTag => page.close(&tag.name, line),
            Token::TagToken(tag) => {
                page.open(&tag, line);
                return match &*tag.name {
                    "script" => TokenSinkResult::RawData(RawKind::ScriptData),
                    "style" => TokenSinkResult::RawData(RawKind::Rawtext),
                    "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
                    _ => TokenSinkResult::Continue,
                };
            }
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// What is true inside an open element.
#[expect(clippy::struct_excessive_bools, reason = "each is one independent property of the place")]
#[derive(Clone, Copy, Default)]
struct Inside {
    skip: bool,
    main: bool,
    pre: bool,
    item: bool,
    row: bool,
    /// Set off from the text: bold, italic or code.
    strong: bool,
    lists: u8,
}

#[expect(clippy::struct_excessive_bools, reason = "each is one independent state of the reader")]
#[derive(Default)]
struct Page {
    out: Builder,
    open: Vec<(String, Inside)>,
    /// For each finished block whether it belongs to the main content.
    in_main: Vec<bool>,
    title: String,
    in_title: bool,
    /// The row has blocks of its own: the table lays out the page.
    layout: bool,
    cells: usize,
    head_cells: usize,
    /// Whether the waiting text began bold and has had nothing plain since; a whole paragraph of that kind is a heading.
    bold: bool,
    /// How many lists were open at the last bold heading inside a list.
    bold_list: Option<usize>,
    listing: bool,
}

impl Page {
    fn inside(&self) -> Inside {
        self.open.last().map(|(_, inside)| *inside).unwrap_or_default()
    }

    fn text(&mut self, text: &str, line: u32) {
        // The tokenizer reports the line on which a run of text ends.
        let mut line = line.saturating_sub(text.matches('\n').count() as u32).max(1);
        let inside = self.inside();
        if self.in_title {
            self.title.push_str(text);
        } else if inside.skip || self.listing {
        } else if inside.pre {
            self.out.raw(text, line);
        } else {
            self.bold &= inside.strong || text.trim().is_empty();
            for part in text.split_inclusive('\n') {
                self.out.prose(part, line);
                line += 1;
            }
        }
    }

    fn open(&mut self, tag: &Tag, line: u32) {
        let name = &*tag.name;
        if name == "title" {
            self.in_title = self.title.is_empty();
            return;
        }
        self.note(tag);
        let mut inside = self.inside();
        let open_term = self.open.last().is_some_and(|(open, _)| open == "dt") && !inside.skip;
        if open_term && matches!(name, "dd" | "dt") {
            // The end tag of a term may be left out.
            self.out.end_heading(term_level(inside));
        } else if BLOCKS.contains(&name) {
            self.boundary(name, inside);
        }
        match name {
            "br" if inside.pre => self.out.raw("\n", line),
            "br" => self.out.prose(" ", line),
            "code" | "tt" | "kbd" | "samp" if !inside.pre && !inside.skip => self.out.tick(line, true),
            "b" | "strong" if !self.out.has_text() => self.bold = true,
            "hr" if !inside.skip => self.out.leave(BOLD_LEVEL),
            "td" | "th" if !inside.skip => self.cell(name, line),
            _ => {}
        }
        if VOID.contains(&name) || tag.self_closing || self.open.len() >= DEPTH_MAX {
            return;
        }
        self.close_implied(name);
        inside = self.inside();
        self.enter(tag, &mut inside);
        self.open.push((name.to_owned(), inside));
    }

    /// What holds inside the element that opens.
    fn enter(&mut self, tag: &Tag, inside: &mut Inside) {
        let name = &*tag.name;
        let main = name == "main"
            || name == "article"
            || attribute(tag, "role") == Some("main")
            || matches!(attribute(tag, "id"), Some("main-content" | "content" | "bodyContent"));
        if main && !inside.main && !inside.skip {
            inside.main = true;
            self.out.leave(1);
        }
        inside.skip |= SKIPPED.contains(&name) || (name == "header" && !inside.main) || is_furniture(tag);
        match name {
            "pre" => inside.pre = true,
            "li" | "dd" => inside.item = true,
            "b" | "strong" | "i" | "em" | "code" | "tt" => inside.strong = true,
            "dl" => inside.lists = inside.lists.saturating_add(1),
            "tr" => {
                inside.row = true;
                (self.cells, self.head_cells, self.layout) = (0, 0, false);
            }
            "table" => (inside.item, inside.row) = (false, false),
            _ => {}
        }
    }

    /// Facts in the tags themselves: dates, and pages that only list source code.
    fn note(&mut self, tag: &Tag) {
        let value = |key| attribute(tag, key).unwrap_or_default();
        match &*tag.name {
            "meta" => {
                let key = if value("name").is_empty() { value("property") } else { value("name") };
                if matches!(
                    key.to_lowercase().as_str(),
                    "date" | "last-modified" | "dcterms.modified" | "article:modified_time"
                ) {
                    self.out.date(dates::dates(value("content")).into_iter().next());
                }
            }
            "body" => {
                let class = value("class");
                self.listing = class.split_whitespace().any(|c| c == "src") && class.contains("rustdoc");
            }
            _ => {}
        }
    }

    fn cell(&mut self, name: &str, line: u32) {
        if self.cells > 0 && !self.layout {
            self.out.prose(" | ", line);
        }
        self.cells += 1;
        self.head_cells += usize::from(name == "th");
    }

    fn close(&mut self, name: &str, line: u32) {
        if name == "title" {
            self.in_title = false;
            self.out.title(&self.title);
            return;
        }
        let inside = self.inside();
        match name {
            "code" | "tt" | "kbd" | "samp"
                if !inside.pre && !inside.skip && self.open.iter().any(|(n, _)| n == name) =>
            {
                self.out.tick(line, false);
            }
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" if !inside.skip => {
                let level = name.as_bytes()[1] - b'0';
                self.out.end_heading(level);
            }
            "dt" if !inside.skip => self.out.end_heading(term_level(inside)),
            "p" if !inside.skip && !inside.row && self.is_bold() => {
                self.bold_list = inside.item.then(|| self.open_lists());
                self.out.end_heading(BOLD_LEVEL);
            }
            "ul" | "ol" if self.bold_list == Some(self.open_lists()) => {
                self.boundary(name, inside);
                self.bold_list = None;
                self.out.leave(BOLD_LEVEL);
            }
            "tr" if !inside.skip => self.end_row(),
            _ if BLOCKS.contains(&name) => self.boundary(name, inside),
            _ => {}
        }
        match name {
            "dl" if !inside.skip => self.out.leave(term_level(inside)),
            "table" if !inside.skip => self.out.leave(HEAD_ROW),
            _ => {}
        }
        if let Some(at) = self.open.iter().rposition(|(n, _)| n == name) {
            self.open.truncate(at);
        }
    }

    fn end_row(&mut self) {
        if self.cells > 0 && self.cells == self.head_cells && !self.layout {
            self.out.end_heading(HEAD_ROW);
        } else {
            self.end_block(if self.layout { Kind::Paragraph } else { Kind::Row });
        }
    }

    /// A block-level tag ends the block before it, except inside the cells of a real table.
    fn boundary(&mut self, name: &str, inside: Inside) {
        if inside.skip {
            return;
        }
        if inside.row && name != "tr" {
            if !matches!(name, "pre" | "ul" | "ol" | "table" | "h1" | "h2" | "h3" | "h4" | "dl") {
                self.out.prose(" ", 0);
                return;
            }
            self.layout = true;
        }
        let kind = match inside {
            Inside { pre: true, .. } => Kind::Code,
            Inside { item: true, .. } => Kind::Item,
            _ => Kind::Paragraph,
        };
        self.end_block(kind);
    }

    fn open_lists(&self) -> usize {
        self.open.iter().filter(|(name, _)| matches!(name.as_str(), "ul" | "ol")).count()
    }

    /// Whether all of the waiting text is bold and could be a heading.
    fn is_bold(&self) -> bool {
        self.bold && (1..=BOLD_BYTES_MAX).contains(&self.out.waiting())
    }

    fn end_block(&mut self, kind: Kind) {
        self.bold = false;
        self.out.end(kind);
        let main = self.inside().main;
        self.in_main.resize(self.out.len(), main);
    }

    /// Closes elements that HTML lets stay open.
    fn close_implied(&mut self, name: &str) {
        let (closes, stops): (&[&str], &[&str]) = match name {
            "li" => (&["li"], &["ul", "ol"]),
            "dt" | "dd" => (&["dt", "dd"], &["dl"]),
            "tr" => (&["tr"], &["table"]),
            "td" | "th" => (&["td", "th"], &["table", "tr"]),
            "p" => (&["p"], &["div", "td", "li", "dd", "section", "body", "blockquote", "article"]),
            _ => return,
        };
        for at in (0..self.open.len()).rev() {
            let open = self.open[at].0.as_str();
            if stops.contains(&open) {
                return;
            }
            if closes.contains(&open) {
                self.open.truncate(at);
                return;
            }
        }
    }

    fn finish(mut self) -> Document {
        self.end_block(Kind::Paragraph);
        let mut document = self.out.finish();
        self.in_main.resize(document.blocks.len(), false);
        let main: usize =
            document.blocks.iter().zip(&self.in_main).filter(|(_, m)| **m).map(|(b, _)| b.text.len()).sum();
        if main >= MAIN_BYTES_MIN {
            let mut keep = self.in_main.iter();
            document.blocks.retain(|_| *keep.next().unwrap_or(&false));
        }
        document
    }
}

/// The level of a term among headings: below all real ones.
fn term_level(inside: Inside) -> u8 {
    TERM_LEVEL - 1 + inside.lists.clamp(1, 2)
}

fn attribute<'a>(tag: &'a Tag, key: &str) -> Option<&'a str> {
    tag.attrs.iter().find(|a| &*a.name.local == key).map(|a| &*a.value)
}

fn is_furniture(tag: &Tag) -> bool {
    if matches!(&*tag.name, "body" | "html" | "main" | "article" | "h1" | "h2" | "p" | "dl" | "table") {
        return false;
    }
    let role = attribute(tag, "role").unwrap_or_default();
    if matches!(role, "navigation" | "search" | "banner" | "contentinfo" | "menu") || attribute(tag, "hidden").is_some()
    {
        return true;
    }
    let words = |key| attribute(tag, key).unwrap_or_default().split_whitespace();
    words("class").chain(words("id")).any(|word| FURNITURE.contains(&word.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_main_content_with_its_lines() {
        let page = "<html><head><title>T &amp; U</title><script>var a = '<p>no</p>';</script></head>\n<body><nav><ul><li>menu</ul></nav>\n<div class=\"sidebar toc\"><p>side</p></div>\n<main><h1>Valves</h1>\n<p>A <code>ball valve</code> closes\nin a quarter turn.\n<ul><li>one<li>two</ul>\n<pre>let x;\nlet y;</pre>\n<table><tr><th>a<th>b</tr><tr><td>1<td>2</tr></table>\n<dl><dt>--flag<dd>Does it.</dl></main><footer>foot</footer>".replace("quarter turn.", "quarter turn. It is the most common kind of valve in the houses of this city, and it has been so for many years and decades.");
        let d = extract(&page);
        let seen: Vec<_> = d.blocks.iter().map(|b| (b.kind, b.text.as_str(), b.lines(0, b.text.len()))).collect();
        assert!(seen[0].1.starts_with("A `ball valve` closes in a quarter turn."), "{seen:?}");
        assert_eq!(seen[0].2, (5, 6));
        assert_eq!(
            seen[1..],
            [
                (Kind::Item, "one", (7, 7)),
                (Kind::Item, "two", (7, 7)),
                (Kind::Code, "let x;\nlet y;", (8, 9)),
                (Kind::Row, "1 | 2", (10, 10)),
                (Kind::Item, "Does it.", (11, 11)),
            ]
        );
        assert_eq!(&*d.blocks[4].headings, ["Valves", "a | b"]);
        assert_eq!(&*d.blocks[5].headings, ["Valves", "--flag"]);
        assert_eq!(d.title, "T & U");
    }

    #[test]
    fn terms_that_stand_together_and_bold_paragraphs_are_headings() {
        let d = extract(
            "<form><dl><dt>-x<dt>--trace<dd>Shows commands.</dl><p><b>Why is it <i>slow</i>?</b></p><p>A <b>disk</b> turns.</p></form>",
        );
        let seen: Vec<_> = d.blocks.iter().map(|b| (b.text.as_str(), b.term, b.headings.join("/"))).collect();
        assert_eq!(
            seen,
            [
                ("Shows commands.", true, "-x, --trace".to_owned()),
                ("A disk turns.", false, "Why is it slow?".to_owned())
            ]
        );
    }

    #[test]
    fn hostile_pages_end() {
        extract(&"<div>".repeat(100_000));
        extract(&"<table><tr><td><b".repeat(5_000));
        assert!(extract("<p").blocks.is_empty());
    }
}
