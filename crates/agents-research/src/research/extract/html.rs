//! HTML into blocks: the main content without navigation, scripts and page furniture.
//!
//! For: documentation pages as they are, also when tags are left open. Not for: rendering, styles or scripts.
//! Invariant: a line number is the line of the original file that the text is on.

use std::borrow::Cow;
use std::cell::RefCell;

use html5ever::tendril::StrTendril;
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

use super::super::text::dates;
use super::builder::Held;
use super::limited::Stop;
use super::{Builder, Document, HEAD_ROW, Kind, TERM_LEVEL};

/// Open elements that are tracked; deeper ones are read without structure.
const DEPTH_MAX: usize = 512;
/// Letters that the main content must have for the rest of the page to be dropped.
const MAIN_BYTES_MIN: usize = 120;
/// The level of a paragraph that is bold as a whole: below all real headings.
const BOLD_LEVEL: u8 = 6;
/// Bytes of a bold paragraph that may be a heading.
const BOLD_BYTES_MAX: usize = 180;

/// Bytes that are read before the reader looks whether to stop.
const PIECE_BYTES: usize = 64 * 1024;
/// Attributes of one tag; the rest is left out, because the tokenizer compares each with all others.
const ATTRIBUTES_MAX: usize = 1_000;
/// What a control counts beside text, in bytes.
const CONTROL_BYTES: usize = 30;
/// Bytes of text, outside of links and controls, from which furniture such as a footer is part of the content.
const CONTENT_BYTES_MIN: usize = 120;
/// Bytes of a page below which next to nothing was read of it.
const LITTLE_BYTES: usize = 200;
/// Bytes of text from which what was left out may be all that a page has.
const SKIPPED_BYTES_MIN: usize = 20;

const VOID: &[&str] =
    &["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr", "param"];
/// Elements that never hold text for a reader.
const SKIPPED: &[&str] =
    &["script", "style", "svg", "button", "select", "iframe", "object", "canvas", "rustdoc-topbar", "rustdoc-toolbar"];
/// Elements that mostly hold links and controls, and sometimes the whole page.
const UNCONFIRMED: &[&str] = &["form", "header", "footer", "nav", "noscript", "template", "dialog"];
/// Elements whose text names what can be clicked or filled in.
const LINKS: &[&str] = &["a", "button", "select", "option", "label", "textarea"];
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
    "form",
    "fieldset",
    "footer",
    "nav",
    "noscript",
    "template",
    "dialog",
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

/// Extracts the blocks of a page. Where the rules for page furniture leave next to nothing of it, they do not fit it, and
/// it is read without them.
pub(crate) fn extract(text: &str, stop: &Stop) -> Document {
    let text = few_attributes(text);
    let (strict, skipped) = read(&text, Page::default(), stop);
    let kept: usize = strict.blocks.iter().map(|b| b.text.len()).sum();
    if kept >= LITTLE_BYTES || skipped < SKIPPED_BYTES_MIN.max(2 * kept) {
        return strict;
    }
    read(&text, Page { lenient: true, ..Page::default() }, stop).0
}

/// The blocks of a page, and the bytes of its text that were left out as furniture.
fn read(text: &str, page: Page, stop: &Stop) -> (Document, usize) {
    let tokenizer = Tokenizer::new(Sink { page: RefCell::new(page) }, TokenizerOpts::default());
    let input = BufferQueue::default();
    let mut rest = text;
    while !rest.is_empty() && !stop.is_set() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        input.push_back(StrTendril::from_slice(piece));
        let _ = tokenizer.feed(&input);
        rest = after;
    }
    tokenizer.end();
    tokenizer.sink.page.into_inner().finish()
}

/// The text with at most [`ATTRIBUTES_MAX`] attributes in each tag; line breaks stay, so that places hold.
fn few_attributes(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut copied = 0;
    let mut at = 0;
    while let Some(tag) = text[at..].find('<').map(|i| at + i) {
        let (cut, end) = tag_end(text.as_bytes(), tag + 1);
        if let Some(cut) = cut {
            out.push_str(&text[copied..cut]);
            out.extend(text[cut..end].matches('\n'));
            copied = end;
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// The end of the tag whose name begins at `from`, and where its surplus attributes begin.
fn tag_end(bytes: &[u8], from: usize) -> (Option<usize>, usize) {
    if !bytes.get(from).is_some_and(u8::is_ascii_alphabetic) {
        return (None, from);
    }
    let (mut attributes, mut cut, mut quote, mut before) = (0, None, None, b'<');
    for (at, byte) in bytes.iter().copied().enumerate().skip(from) {
        match (quote, byte) {
            (Some(open), _) => quote = quote.filter(|_| open != byte),
            (None, b'<' | b'>') => return (cut, at),
            (None, b'"' | b'\'') if before == b'=' => quote = Some(byte),
            (None, _) if before.is_ascii_whitespace() && !byte.is_ascii_whitespace() => {
                attributes += 1;
                cut = cut.or((attributes > ATTRIBUTES_MAX).then_some(at));
            }
            (None, _) => {}
        }
        // White space around the sign of an assignment is no end of an attribute.
        if !(before == b'=' && byte.is_ascii_whitespace()) {
            before = byte;
        }
    }
    (cut, bytes.len())
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
    /// Skipped by a rule that every page keeps.
    never: bool,
    /// Text that can be clicked, or names a control.
    link: bool,
    main: bool,
    pre: bool,
    item: bool,
    row: bool,
    /// Set off from the text: bold, italic or code.
    strong: bool,
    lists: u8,
}

/// An open element of [`UNCONFIRMED`] kind: its text is read, and kept or dropped when the element ends.
struct Unconfirmed {
    /// Elements that were open around it.
    depth: usize,
    before: Held,
    /// Bytes of text that need no other: for a form none, since whole pages stand in one.
    least: usize,
    plain: usize,
    linked: usize,
}

impl Unconfirmed {
    /// Whether its text is more than names of links and controls.
    fn is_content(&self) -> bool {
        self.plain >= self.least && self.plain > self.linked
    }
}

#[expect(clippy::struct_excessive_bools, reason = "each is one independent state of the reader")]
#[derive(Default)]
struct Page {
    out: Builder,
    /// Reads page furniture too.
    lenient: bool,
    unconfirmed: Vec<Unconfirmed>,
    /// Bytes of text that were left out as furniture.
    skipped: usize,
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
        if !self.in_title {
            self.count(text.trim().len(), inside);
        }
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

    /// Counts text for the decision whether an element is furniture.
    fn count(&mut self, bytes: usize, inside: Inside) {
        let found = self.unconfirmed.last_mut().filter(|_| !inside.skip);
        match found {
            Some(found) if inside.link => found.linked += bytes,
            Some(found) => found.plain += bytes,
            None if inside.skip && !inside.never && !inside.link => self.skipped += bytes,
            None => {}
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
            "input" | "textarea" | "select" | "button" if attribute(tag, "type") != Some("hidden") => {
                self.count(CONTROL_BYTES, Inside { link: true, ..inside });
            }
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
        self.enter_furniture(tag, inside);
        inside.link |= LINKS.contains(&name);
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

    /// Whether the element that opens is left out, or first read and then judged.
    fn enter_furniture(&mut self, tag: &Tag, inside: &mut Inside) {
        let name = &*tag.name;
        inside.never |= SKIPPED.contains(&name) || attribute(tag, "hidden").is_some();
        inside.skip |= inside.never || (!self.lenient && is_furniture(tag));
        let unconfirmed = is_unconfirmed(tag) && !(name == "header" && inside.main);
        if inside.skip || self.lenient || !unconfirmed {
            return;
        }
        if inside.row {
            // In the middle of a row nothing can be taken back.
            inside.skip = name != "form";
            return;
        }
        self.boundary("div", *inside);
        let least = if name == "form" { 0 } else { CONTENT_BYTES_MIN };
        let found = Unconfirmed { depth: self.open.len(), before: self.out.held(), least, plain: 0, linked: 0 };
        self.unconfirmed.push(found);
    }

    /// Ends the elements from the `depth`-th on. What turns out to be furniture is taken back.
    fn leave(&mut self, depth: usize) {
        while let Some(found) = self.unconfirmed.pop_if(|found| found.depth >= depth) {
            self.end_block(if self.inside().item { Kind::Item } else { Kind::Paragraph });
            if !found.is_content() {
                self.skipped += found.plain;
                self.out.take_back(found.before);
                self.in_main.truncate(self.out.len());
            } else if let Some(around) = self.unconfirmed.last_mut() {
                around.plain += found.plain;
                around.linked += found.linked;
            }
        }
        self.open.truncate(depth);
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
            self.leave(at);
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
                self.leave(at);
                return;
            }
        }
    }

    fn finish(mut self) -> (Document, usize) {
        self.end_block(Kind::Paragraph);
        self.leave(0);
        let mut document = self.out.finish();
        self.in_main.resize(document.blocks.len(), false);
        let main: usize =
            document.blocks.iter().zip(&self.in_main).filter(|(_, m)| **m).map(|(b, _)| b.text.len()).sum();
        if main >= MAIN_BYTES_MIN {
            let mut keep = self.in_main.iter();
            document.blocks.retain(|_| *keep.next().unwrap_or(&false));
        }
        document.listing = self.listing;
        (document, self.skipped)
    }
}

/// The level of a term among headings: below all real ones.
fn term_level(inside: Inside) -> u8 {
    TERM_LEVEL - 1 + inside.lists.clamp(1, 2)
}

fn attribute<'a>(tag: &'a Tag, key: &str) -> Option<&'a str> {
    tag.attrs.iter().find(|a| &*a.name.local == key).map(|a| &*a.value)
}

/// Whether an element mostly holds links and controls.
fn is_unconfirmed(tag: &Tag) -> bool {
    let role = attribute(tag, "role").unwrap_or_default();
    let by_role = matches!(role, "navigation" | "search" | "banner" | "contentinfo" | "menu");
    UNCONFIRMED.contains(&&*tag.name) || (by_role && !matches!(&*tag.name, "body" | "html" | "main"))
}

/// Whether class or id say that an element is no part of the content.
fn is_furniture(tag: &Tag) -> bool {
    if matches!(&*tag.name, "body" | "html" | "main" | "article" | "h1" | "h2" | "p" | "dl" | "table") {
        return false;
    }
    let words = |key| attribute(tag, key).unwrap_or_default().split_whitespace();
    words("class").chain(words("id")).any(|word| FURNITURE.contains(&word.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extract(text: &str) -> Document {
        super::extract(text, &Stop::default())
    }

    fn texts(text: &str) -> Vec<String> {
        extract(text).blocks.into_iter().map(|b| b.text).collect()
    }

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
    fn a_page_that_stands_in_one_element_is_read() {
        let text = "The depot in Bremen holds 1,240 pallets.";
        for tag in [
            "form id=aspnetForm",
            "header",
            "footer",
            "nav",
            "noscript",
            "template",
            "dialog open",
            "div role=navigation",
            "div class=sidebar",
        ] {
            let end = tag.split(' ').next().expect("a name");
            assert_eq!(texts(&format!("<body><{tag}><p>{text}</p></{end}></body>")), [text], "{tag}");
            assert_eq!(texts(&format!("<body><{tag}><p>{text}</p>")), [text], "{tag} that is not closed");
        }
        assert!(texts(&format!("<script>var a = '{text}';</script><p hidden>{text}</p>")).is_empty());
    }

    #[test]
    fn furniture_goes_where_it_is_links_and_controls_and_stays_where_it_is_text() {
        let rest = "<p>The crane lifts 40 tons and stands at the northern pier of the harbour since the spring of 1987, where \
            it loads ships with timber, and at times with stone from the quarry that lies behind the town, as it always did.</p>";
        let furniture = "<nav><ul><li><a href=x>Home</a><li><a href=y>Depots and sheds</a></ul></nav>\
            <form><label>Search the site</label><input name=q><input type=submit></form>\
            <header><h2>Harbour</h2><p>Since 1900</p></header><footer>Made in Bremen, <a href=z>imprint</a></footer>";
        assert_eq!(texts(&format!("{furniture}{rest}")).len(), 1);
        let notice = "The depot in Bremen holds 1,240 pallets, of which a third is cooled, and it is open from six in the morning \
            until ten at night on every day of the week.";
        for tag in ["header", "footer", "dialog", "noscript"] {
            let page = format!("{rest}<{tag}><p>{notice}</p><a href=x>more</a></{tag}>");
            assert!(texts(&page).iter().any(|text| text == notice), "{tag}");
        }
        let form = format!("<form><nav><a href=x>Home</a></nav>{rest}<input type=hidden value=x><input name=q></form>");
        assert_eq!(texts(&form).len(), 1);
        let heading = extract(&format!("<h1>Cranes</h1><nav><h2>Contents</h2><a href=x>Home</a></nav>{rest}"));
        assert_eq!(&*heading.blocks[0].headings, ["Cranes"]);
    }

    #[test]
    fn a_tag_with_very_many_attributes_costs_no_more_than_its_size() {
        use std::fmt::Write as _;
        let mut page = String::from("<p>Before.</p>\n<div");
        for i in 0..500_000 {
            let _ = writeln!(page, " a{i}='>'");
        }
        page.push_str("><p>After.</p></div>");
        let d = extract(&page);
        let seen: Vec<_> = d.blocks.iter().map(|b| (b.text.as_str(), b.lines(0, 1).0)).collect();
        assert_eq!(seen, [("Before.", 1), ("After.", 500_002)]);
        let few = "<a href = 'x>y' title=z>1 < 2</a> <!-- < -->";
        assert!(matches!(few_attributes(few), Cow::Borrowed(text) if text == few));
    }

    #[test]
    fn hostile_pages_end() {
        extract(&"<div>".repeat(100_000));
        extract(&"<table><tr><td><b".repeat(5_000));
        assert!(extract("<p").blocks.is_empty());
    }
}
