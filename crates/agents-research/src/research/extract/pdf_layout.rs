//! The text of a PDF page with its lines, gaps and headings.
//!
//! For: telling paragraphs and headings apart by position and size. Not for: columns, tables or rotated text.
//! Invariant: text comes in the order in which the page draws it; nothing is invented but spaces and line breaks.

use std::collections::BTreeMap;

use lopdf::content::{Content, Operation};
use lopdf::{Document, Encoding, Object, ObjectId};

/// Begins a line that is set in a larger size than the text.
pub(super) const HEADING_MARK: char = '\u{1}';
/// Operations of one page that are read.
const OPERATIONS_MAX: usize = 400_000;

/// The text of a page; `None` where it cannot be read.
pub(super) fn page_text(document: &Document, page: ObjectId, bytes_max: usize) -> Option<String> {
    let data = document.get_page_content_with_limit(page, bytes_max).ok()?;
    let content = Content::decode(&data).ok()?;
    let fonts = document.get_page_fonts(page).ok()?;
    let encodings: BTreeMap<Vec<u8>, Encoding<'_>> = fonts
        .into_iter()
        .filter_map(|(name, font)| Some((name, font.get_font_encoding_with_limit(document, bytes_max).ok()?)))
        .collect();
    let mut pen = Pen {
        encodings: &encodings,
        font: None,
        size: 1.0,
        scale: 1.0,
        leading: 0.0,
        start: (0.0, 0.0),
        moved: true,
        lines: Vec::new(),
    };
    for operation in content.operations.iter().take(OPERATIONS_MAX) {
        pen.operation(operation);
    }
    Some(lay_out(&pen.lines))
}

/// A line of text with its size and height on the page.
struct Line {
    text: String,
    y: f32,
    size: f32,
}

struct Pen<'a> {
    encodings: &'a BTreeMap<Vec<u8>, Encoding<'a>>,
    font: Option<&'a Encoding<'a>>,
    size: f32,
    scale: f32,
    leading: f32,
    /// Where the current line of the text object starts.
    start: (f32, f32),
    /// Whether the pen was moved since the last text.
    moved: bool,
    lines: Vec<Line>,
}

impl Pen<'_> {
    fn operation(&mut self, operation: &Operation) {
        let number = |i: usize| operation.operands.get(i).and_then(|o| o.as_float().ok()).unwrap_or_default();
        match operation.operator.as_str() {
            "BT" => {
                (self.start, self.scale, self.moved) = ((0.0, 0.0), 1.0, true);
            }
            "Tf" => {
                let name = operation.operands.first().and_then(|o| o.as_name().ok()).unwrap_or_default();
                (self.font, self.size) = (self.encodings.get(name), number(1));
            }
            "TL" => self.leading = number(0),
            "Tm" => {
                (self.start, self.scale, self.moved) = ((number(4), number(5)), number(3).abs(), true);
            }
            "Td" => self.shift(number(0), number(1)),
            "TD" => {
                self.leading = -number(1);
                self.shift(number(0), number(1));
            }
            "T*" => self.shift(0.0, -self.leading),
            "Tj" | "TJ" => self.show(&operation.operands),
            "'" | "\"" => {
                self.shift(0.0, -self.leading);
                self.show(operation.operands.last().map(std::slice::from_ref).unwrap_or_default());
            }
            _ => {}
        }
    }

    fn shift(&mut self, x: f32, y: f32) {
        self.start = (self.start.0 + x * self.scale, self.start.1 + y * self.scale);
        self.moved = true;
    }

    fn show(&mut self, operands: &[Object]) {
        let Some(font) = self.font else { return };
        let mut text = String::new();
        collect(font, operands, &mut text);
        if text.trim().is_empty() {
            self.moved |= !text.is_empty();
            return;
        }
        let size = (self.size * self.scale).abs().max(1.0);
        match self.lines.last_mut() {
            Some(line) if (line.y - self.start.1).abs() < 0.4 * size.max(line.size) => {
                if self.moved && !line.text.ends_with(' ') && !text.starts_with([' ', '.', ',', ')', ';', ':']) {
                    line.text.push(' ');
                }
                line.text.push_str(&text);
                line.size = line.size.max(size);
            }
            _ => self.lines.push(Line { text, y: self.start.1, size }),
        }
        self.moved = false;
    }
}

/// Strings and, for wide gaps between them, spaces.
fn collect(font: &Encoding<'_>, operands: &[Object], out: &mut String) {
    const GAP: f32 = -180.0;
    for operand in operands {
        match operand {
            Object::String(bytes, _) => out.push_str(&Document::decode_text(font, bytes).unwrap_or_default()),
            Object::Array(parts) => collect(font, parts, out),
            number => {
                if number.as_float().is_ok_and(|n| n < GAP) && !out.ends_with(' ') {
                    out.push(' ');
                }
            }
        }
    }
}

/// Lines with blank ones where the page has a gap, and marks where it has a heading.
fn lay_out(lines: &[Line]) -> String {
    let body = body_size(lines);
    let mut out = String::new();
    let mut before: Option<&Line> = None;
    for line in lines {
        let heading = line.size > body * 1.12 && line.text.chars().count() <= 120;
        if let Some(last) = before {
            let gap = last.y - line.y;
            let other_size = (last.size - line.size).abs() > 0.12 * body;
            // A jump upwards begins another column or box.
            if gap > 1.55 * last.size.max(line.size) || gap < -0.5 * body || (other_size && gap.abs() > 0.4 * body) {
                out.push('\n');
            }
        }
        if heading {
            out.push(HEADING_MARK);
        }
        out.push_str(line.text.trim());
        out.push('\n');
        before = Some(line);
    }
    out
}

/// The size in which most letters are set.
fn body_size(lines: &[Line]) -> f32 {
    let mut letters: BTreeMap<i32, usize> = BTreeMap::new();
    for line in lines {
        *letters.entry((line.size * 10.0) as i32).or_default() += line.text.len();
    }
    let most = letters.into_iter().max_by_key(|(size, count)| (*count, *size));
    most.map_or(1.0, |(size, _)| size as f32 / 10.0)
}
