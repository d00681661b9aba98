//! The one way in which every format builds its blocks.
//!
//! For: white space, headings and the mapping from text to lines. Not for: any format's syntax.
//! Invariant: every block has text, and its first mark is at byte 0.

use std::sync::Arc;

use super::{Block, Document, Kind};

/// Blocks of one file; the rest is left out.
const BLOCKS_MAX: usize = 100_000;
/// Bytes of one block; a longer one is cut into several.
const BLOCK_BYTES_MAX: usize = 8_000;
/// Bytes of a heading; longer ones are cut.
const HEADING_BYTES_MAX: usize = 200;
/// Levels from here are terms that the text below them defines, not sections.
pub(crate) const TERM_LEVEL: u8 = 7;
/// The level of a table's head row: context of its rows, like a heading below all others.
pub(crate) const HEAD_ROW: u8 = 9;

/// Collects text and turns it into blocks.
#[derive(Default)]
pub(crate) struct Builder {
    document: Document,
    stack: Vec<(u8, String)>,
    headings: Arc<[String]>,
    text: String,
    marks: Vec<(usize, u32)>,
    /// Blocks that were there when the innermost heading was set.
    heading_at: usize,
}

/// What a builder held at some time.
pub(super) struct Held {
    blocks: usize,
    stack: Vec<(u8, String)>,
    heading_at: usize,
    title: String,
    date: Option<String>,
}

impl Builder {
    /// What it holds now; the waiting text must have ended.
    pub(super) fn held(&self) -> Held {
        Held {
            blocks: self.len(),
            stack: self.stack.clone(),
            heading_at: self.heading_at,
            title: self.document.title.clone(),
            date: self.document.date.clone(),
        }
    }

    /// Forgets blocks and headings that came after `held`.
    pub(super) fn take_back(&mut self, held: Held) {
        self.document.blocks.truncate(held.blocks);
        (self.document.title, self.document.date) = (held.title, held.date);
        (self.stack, self.heading_at) = (held.stack, held.heading_at);
        self.refresh();
    }

    /// Whether text is waiting for its block to end.
    pub(crate) fn has_text(&self) -> bool {
        !self.text.trim().is_empty()
    }

    /// Bytes of the waiting text without the space at its end.
    pub(crate) fn waiting(&self) -> usize {
        self.text.trim_end().len()
    }

    /// Number of finished blocks.
    pub(crate) fn len(&self) -> usize {
        self.document.blocks.len()
    }

    /// Adds prose that is on `line` of the file; white space runs become one space.
    pub(crate) fn prose(&mut self, text: &str, line: u32) {
        for c in text.chars() {
            if c.is_whitespace() {
                if !self.text.is_empty() && !self.text.ends_with(' ') {
                    self.text.push(' ');
                }
                continue;
            }
            let full = self.text.len() >= BLOCK_BYTES_MAX;
            if full && (self.text.ends_with(' ') || self.text.len() >= 2 * BLOCK_BYTES_MAX) {
                self.end(Kind::Paragraph);
            }
            self.mark(line);
            self.text.push(c);
        }
    }

    /// Adds preformatted text that begins on `line`, with its line breaks.
    pub(crate) fn raw(&mut self, text: &str, line: u32) {
        let mut at = line;
        for part in text.split_inclusive('\n') {
            if self.text.len() >= BLOCK_BYTES_MAX {
                self.end(Kind::Code);
            }
            self.mark(at);
            self.text.push_str(part);
            if part.ends_with('\n') {
                at += 1;
            }
        }
    }

    /// Opens or closes a code span.
    pub(crate) fn tick(&mut self, line: u32, open: bool) {
        if open && self.text.ends_with('`') {
            // Spans that touch become one.
            self.text.pop();
        } else if !open && self.text.ends_with('`') {
            self.text.pop();
        } else {
            self.mark(line);
            self.text.push('`');
        }
        self.marks.retain(|(at, _)| *at < self.text.len().max(1));
    }

    fn mark(&mut self, line: u32) {
        if self.marks.last().is_none_or(|(_, last)| *last != line) {
            self.marks.push((self.text.len(), line));
        }
    }

    /// Ends the block; blocks without letters or digits are dropped.
    pub(crate) fn end(&mut self, kind: Kind) {
        let (text, mut marks) = (std::mem::take(&mut self.text), std::mem::take(&mut self.marks));
        let text = if kind == Kind::Code { cut_blank_lines(&text, &mut marks) } else { text.trim_end().to_owned() };
        if !text.chars().any(char::is_alphanumeric) || self.document.blocks.len() >= BLOCKS_MAX {
            return;
        }
        if let Some(first) = marks.first_mut() {
            first.0 = 0;
        }
        assert!(!marks.is_empty(), "a block has a line");
        let innermost = self.stack.iter().rev().find(|(level, _)| *level != HEAD_ROW);
        let term = innermost.is_some_and(|(level, _)| (TERM_LEVEL..HEAD_ROW).contains(level));
        self.document.blocks.push(Block { kind, term, headings: self.headings.clone(), text, marks });
    }

    /// Adds the blocks of an embedded document whose first line is `line` of this one, below the headings that hold here.
    pub(crate) fn adopt(&mut self, embedded: Document, line: u32) {
        self.end(Kind::Paragraph);
        for mut block in embedded.blocks {
            block.marks.iter_mut().for_each(|(_, at)| *at += line - 1);
            block.headings = self.headings.iter().chain(block.headings.iter()).cloned().collect();
            if self.document.blocks.len() < BLOCKS_MAX {
                self.document.blocks.push(block);
            }
        }
    }

    /// Ends the waiting text as a heading of `level`, 1 being the outermost.
    pub(crate) fn end_heading(&mut self, level: u8) {
        let text = std::mem::take(&mut self.text).replace('`', "");
        self.marks.clear();
        self.heading(level, text.trim());
    }

    /// Sets a heading of `level`.
    pub(crate) fn heading(&mut self, level: u8, text: &str) {
        let text = text.trim_end_matches(['¶', '§', '#', ' ']).trim_start_matches(['§', ' ']);
        if !text.chars().any(char::is_alphanumeric) {
            return;
        }
        let mut cut = text.len().min(HEADING_BYTES_MAX);
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        let mut text = text[..cut].to_owned();
        // Several terms of one definition, such as the spellings of an option, stand together.
        let beside = self.stack.last().filter(|(above, _)| *above == level && self.heading_at == self.len());
        if let Some((_, above)) = beside.filter(|(_, above)| {
            (TERM_LEVEL..HEAD_ROW).contains(&level) && above.len() + text.len() < HEADING_BYTES_MAX
        }) {
            text = format!("{above}, {text}");
        }
        self.leave(level);
        self.stack.push((level, text.clone()));
        self.heading_at = self.len();
        self.refresh();
        if self.document.title.is_empty() && level == 1 {
            self.document.title = text;
        }
    }

    /// Forgets headings of `level` and below.
    pub(crate) fn leave(&mut self, level: u8) {
        while self.stack.last().is_some_and(|(l, _)| *l >= level) {
            self.stack.pop();
        }
        self.refresh();
    }

    fn refresh(&mut self) {
        self.headings = self.stack.iter().map(|(_, text)| text.clone()).collect();
    }

    /// Sets the title if there is none yet.
    pub(crate) fn title(&mut self, text: &str) {
        if self.document.title.is_empty() {
            self.document.title = super::super::text::markup::squeeze(text);
        }
    }

    /// Sets the document's own date.
    pub(crate) fn date(&mut self, date: Option<String>) {
        if self.document.date.is_none() {
            self.document.date = date;
        }
    }

    /// The document. Text that still waits becomes a paragraph.
    pub(crate) fn finish(mut self) -> Document {
        self.end(Kind::Paragraph);
        self.document
    }
}

/// Drops blank lines at both ends and keeps the marks right.
fn cut_blank_lines(text: &str, marks: &mut Vec<(usize, u32)>) -> String {
    let lead = text.len() - text.trim_start_matches(['\n', '\r']).len();
    let kept = text[lead..].trim_end().to_owned();
    let first = marks.partition_point(|(at, _)| *at <= lead).max(1) - 1;
    marks.drain(..first);
    for mark in marks.iter_mut() {
        mark.0 = mark.0.saturating_sub(lead);
    }
    marks.retain(|(at, _)| *at < kept.len().max(1));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_again() {
        let mut b = Builder::default();
        b.prose("one two\n", 3);
        b.prose("three", 4);
        b.end(Kind::Paragraph);
        b.raw("\n\nlet a;\nlet b;\n\n", 7);
        b.end(Kind::Code);
        let d = b.finish();
        assert_eq!(d.blocks[0].text, "one two three");
        assert_eq!(
            (d.blocks[0].lines(0, 3), d.blocks[0].lines(8, 13), d.blocks[0].lines(4, 13)),
            ((3, 3), (4, 4), (3, 4))
        );
        assert_eq!((d.blocks[1].text.as_str(), d.blocks[1].lines(0, 13)), ("let a;\nlet b;", (9, 10)));
    }

    #[test]
    fn headings_nest_and_leave() {
        let mut b = Builder::default();
        for (level, text) in [(1, "A"), (2, "B"), (3, "C"), (2, "D")] {
            b.heading(level, text);
        }
        b.prose("x", 1);
        let d = b.finish();
        assert_eq!(&*d.blocks[0].headings, ["A", "D"]);
    }
}
