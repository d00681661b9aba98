//! Plain text into blocks.
//!
//! For: paragraphs, lists and headings as people type them. Not for: any markup.
//! Invariant: every line of the file with letters is in a block or a heading.

use super::{Builder, Document, Kind};

/// Extracts the blocks of a plain text.
pub(crate) fn extract(text: &str) -> Document {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = Builder::default();
    paragraphs(&lines, 1, &mut out, 0);
    out.finish()
}

/// Adds the paragraphs of `lines`, the first of which is line `first` of the file (or, with `page`, all on that page).
pub(super) fn paragraphs(lines: &[&str], first: u32, out: &mut Builder, page: u32) {
    let mut kind = Kind::Paragraph;
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at];
        let number = if page > 0 { page } else { first + at as u32 };
        if line.trim().is_empty() || is_directive(line) {
            out.end(kind);
            kind = Kind::Paragraph;
        } else if let Some((level, used)) = heading(lines, at).or_else(|| opening(lines, at, page > 0)) {
            out.end(kind);
            kind = Kind::Paragraph;
            out.heading(level, line.trim());
            at += used;
            continue;
        } else {
            if is_item(line) {
                out.end(kind);
                kind = Kind::Item;
            }
            out.prose(line.trim_start().trim_start_matches(['*', '•']).trim_start_matches("- "), number);
            out.prose(" ", number);
        }
        at += 1;
    }
    out.end(kind);
}

/// Level and number of lines of the heading that begins at `at`.
fn heading(lines: &[&str], at: usize) -> Option<(u8, usize)> {
    let line = lines[at].trim_end();
    let text = line.trim();
    let blank = |i: Option<usize>| i.and_then(|i| lines.get(i)).is_none_or(|l| l.trim().is_empty());
    let before = at == 0 || blank(at.checked_sub(1));
    if let Some(under) = lines.get(at + 1).map(|l| l.trim()) {
        let width = text.chars().count();
        let ruled = |c: char| under.chars().count() + 2 >= width && under.len() >= 3 && under.chars().all(|u| u == c);
        if before && width < 100 && ruled('=') {
            return Some((1, 2));
        }
        if before && width < 100 && (ruled('-') || ruled('~')) {
            return Some((2, 2));
        }
    }
    if !before || !blank(Some(at + 1)) || text.len() > 80 || text.ends_with(['.', ',', ';', '!', ')', '"']) {
        return None;
    }
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    if letters >= 3 && !text.chars().any(char::is_lowercase) {
        return Some((2, 1));
    }
    numbered(text).or_else(|| (text.ends_with(':') && text.split_whitespace().count() <= 5).then_some((4, 1)))
}

/// A line in capitals is a heading also without a blank line behind it: at the top of a file, and anywhere in a PDF,
/// where blank lines are lost.
fn opening(lines: &[&str], at: usize, paged: bool) -> Option<(u8, usize)> {
    let text = lines[at].trim();
    let first = lines[..at].iter().all(|l| l.trim().is_empty());
    let capitals = text.chars().filter(|c| c.is_alphabetic()).count() >= 4 && !text.chars().any(char::is_lowercase);
    (capitals && text.len() <= 80 && !text.ends_with(['.', ',']) && (first || paged))
        .then_some((if first && !paged { 1 } else { 2 }, 1))
}

/// The level of `2.3 Some title`, by its number.
fn numbered(text: &str) -> Option<(u8, usize)> {
    let (number, rest) = text.split_once(char::is_whitespace)?;
    let fields: Vec<&str> = number.trim_end_matches(['.', ')']).split('.').collect();
    let digits = fields.iter().all(|f| !f.is_empty() && f.len() <= 3 && f.bytes().all(|b| b.is_ascii_digit()));
    let titled = rest.trim().starts_with(char::is_uppercase) && rest.split_whitespace().count() <= 10;
    (digits && titled).then(|| ((1 + fields.len()).min(6) as u8, 1))
}

/// Whether a line only steers AsciiDoc: a condition, an inclusion, or the mark that joins blocks.
fn is_directive(line: &str) -> bool {
    let line = line.trim_end();
    line == "+" || ["ifdef::", "ifndef::", "ifeval::", "endif::", "include::"].iter().any(|d| line.starts_with(d))
}

fn is_item(line: &str) -> bool {
    let text = line.trim_start();
    let bullet = ["- ", "* ", "• ", "+ ", "o "].iter().any(|b| text.starts_with(b));
    let option =
        text.starts_with("--") || (text.starts_with('-') && text[1..].starts_with(|c: char| c.is_ascii_alphabetic()));
    let number = text.find(['.', ')']).is_some_and(|i| {
        (1..=3).contains(&i) && text[..i].bytes().all(|b| b.is_ascii_digit()) && text[i + 1..].starts_with(' ')
    });
    bullet || number || option
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_headings_and_items() {
        let d = extract(
            "MANUAL OF P4\n\nThe pump runs\nat 40 Hz.\n\nSetup\n=====\n\n - plug it in\n - switch\n   on\n\n2.1 Daily care\n\nWipe it.\n",
        );
        let seen: Vec<_> = d
            .blocks
            .iter()
            .map(|b| (b.kind, b.text.as_str(), b.lines(0, b.text.len()), b.headings.last().map(String::as_str)))
            .collect();
        assert_eq!(
            seen,
            [
                (Kind::Paragraph, "The pump runs at 40 Hz.", (3, 4), Some("MANUAL OF P4")),
                (Kind::Item, "plug it in", (9, 9), Some("Setup")),
                (Kind::Item, "switch on", (10, 11), Some("Setup")),
                (Kind::Paragraph, "Wipe it.", (15, 15), Some("2.1 Daily care")),
            ]
        );
    }
}
