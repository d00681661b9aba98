//! Colour and width of what is printed.
//!
//! For: one decision a stream, made at the start. Not for: layout.
//! Invariant: without colour no escape sequence is printed; text from elsewhere never carries control characters.

use std::io::IsTerminal as _;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};
use unicode_width::UnicodeWidthChar as _;

use crate::args::ColorChoice;

/// How a stream is written to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Whether colour may be used.
    pub(crate) color: bool,
    /// Whether it is a terminal.
    pub(crate) terminal: bool,
}

/// A colour or weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Blue,
    Magenta,
    Cyan,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Blue => "34",
            Self::Magenta => "35",
            Self::Cyan => "36",
        }
    }
}

impl Style {
    /// For standard output.
    pub(crate) fn stdout(choice: ColorChoice) -> Self {
        Self::of(choice, std::io::stdout().is_terminal())
    }

    /// For standard error.
    pub(crate) fn stderr(choice: ColorChoice) -> Self {
        Self::of(choice, std::io::stderr().is_terminal())
    }

    fn of(choice: ColorChoice, terminal: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let terminal = terminal && !dumb;
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let color = match choice {
            ColorChoice::Auto => terminal && wanted,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        Self { color, terminal }
    }

    /// The text in this colour.
    pub(crate) fn paint(self, paint: Paint, text: &str) -> String {
        if self.color { format!("\x1b[{}m{text}\x1b[0m", paint.code()) } else { text.to_owned() }
    }
}

/// Columns and rows of the terminal behind standard error.
pub(crate) fn terminal_size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
    let size = size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
    size.filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or((80, 24))
}

/// Columns that a text takes on a terminal. Where terminals differ the larger number is taken: a line that is too short is
/// better than one that wraps.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// Columns of one character. The mark that makes an emoji of a sign adds the second column; a tab counts as one.
fn columns(c: char) -> usize {
    if c == '\u{fe0f}' { 1 } else { c.width().unwrap_or(1) }
}

/// Whether a terminal may obey a character instead of showing it, or not show it at all: control characters, those of
/// format (which turn the direction of what follows, or are invisible), and the separators that other programs take for
/// line breaks.
fn is_obeyed(c: char) -> bool {
    let category = || c.general_category();
    c.is_control()
        || (!c.is_ascii()
            && matches!(
                category(),
                GeneralCategory::Format | GeneralCategory::LineSeparator | GeneralCategory::ParagraphSeparator
            ))
}

/// One line without characters that a terminal might obey.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { ' ' } else { c }).collect()
}

/// Several lines without characters that a terminal might obey, other than line feeds and tabs.
pub(crate) fn clean_lines(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// JSON in which such characters are escaped: the same document, which shows what it holds. Outside of texts JSON has none
/// but line feeds.
pub(crate) fn clean_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_obeyed(c) && c != '\n' {
            out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// The text in at most `room` columns.
pub(crate) fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut left = room.saturating_sub(1);
    let fits = |c: &char| {
        let fits = columns(*c) <= left;
        left = left.saturating_sub(columns(*c));
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}

/// The end of the text in at most `room` columns.
pub(crate) fn cut_front(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    if room == 0 {
        return String::new();
    }
    let mut left = room - 1;
    let mut end: Vec<char> = Vec::new();
    for c in text.chars().rev() {
        if columns(c) > left {
            break;
        }
        left -= columns(c);
        end.push(c);
    }
    end.push('…');
    end.into_iter().rev().collect()
}

/// A painted line in at most `room` columns; its colours take none, and end with it.
pub(crate) fn cut_painted(line: &str, room: usize) -> String {
    let mut out = String::with_capacity(line.len());
    let (mut used, mut end, mut painted) = (0, 0, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            painted = true;
            out.push(c);
            for c in chars.by_ref() {
                out.push(c);
                if c == 'm' {
                    break;
                }
            }
            continue;
        }
        used += columns(c);
        if used > room {
            out.truncate(end);
            out.push('…');
            out.push_str(if painted { "\x1b[0m" } else { "" });
            return out;
        }
        out.push(c);
        if used < room {
            end = out.len();
        }
    }
    out
}

/// Breaks a line between words, so that it fits into `room` columns; what continues is indented by `indent`. A word that is
/// wider than a line stays whole.
pub(crate) fn wrap(line: &str, room: usize, indent: usize) -> String {
    let mut out = String::with_capacity(line.len());
    let mut column = 0;
    for (at, word) in line.split(' ').enumerate() {
        let length = width(word);
        if at > 0 && column > indent && column + 1 + length > room {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if at > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out
}

/// Cleaned text behind `before` columns of its first line, broken between words where a terminal would break it anywhere.
pub(crate) fn wrapped(text: &str, before: usize, style: Style) -> String {
    let text = clean_lines(text);
    if !style.terminal {
        return text;
    }
    let room = terminal_size().0;
    let lines: Vec<String> = text
        .lines()
        .enumerate()
        .map(|(at, line)| {
            // The first line is wrapped with what is before it in its place.
            let before = if at == 0 { before } else { 0 };
            wrap(&format!("{}{line}", "_".repeat(before)), room, 2).split_off(before)
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_used_where_it_is_wanted_alone() {
        let plain = Style::of(ColorChoice::Never, true);
        assert_eq!(plain.paint(Paint::Red, "no"), "no");
        let forced = Style::of(ColorChoice::Always, false);
        assert_eq!(forced.paint(Paint::Red, "no"), "\x1b[31mno\x1b[0m");
        assert!(!Style::of(ColorChoice::Auto, false).color);
    }

    #[test]
    fn foreign_text_cannot_command_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\nc"), "a [2Jb c");
        assert_eq!(clean_lines("a\x1b\nb\t"), "a\u{fffd}\nb\t");
        assert_eq!(clean("a\u{202e}b\u{2066}c\u{200b}d\u{2028}e"), "a b c d e");
        assert_eq!(clean_lines("a\u{2029}b\u{ad}\n"), "a\u{fffd}b\u{fffd}\n");
        let json = clean_json("{\n  \"a\": \"x\u{202e}\u{9b}\u{e0001}é\"\n}");
        assert_eq!(json, "{\n  \"a\": \"x\\u202e\\u009b\\udb40\\udc01é\"\n}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["a"], "x\u{202e}\u{9b}\u{e0001}é");
    }

    #[test]
    fn what_is_cut_fits_its_columns_whatever_its_letters_are() {
        assert_eq!((width("漢字"), width("e\u{301}"), width("❤\u{fe0f}"), width("a\tb")), (4, 1, 2, 3));
        for text in ["漢字漢字漢字", "plain text", "e\u{301}e\u{301}e\u{301}e\u{301}", "👍🏽👍🏽", "a漢b字"]
        {
            for room in 0..12 {
                assert!(width(&cut(text, room)) <= room.max(1), "{text} {room}");
                assert!(width(&cut_front(text, room)) <= room, "{text} {room}");
                let painted = format!("\x1b[1m{text}\x1b[0m  \x1b[2m{text}\x1b[0m");
                let line = cut_painted(&painted, room.max(1)).replace("\x1b[1m", "").replace("\x1b[2m", "");
                assert!(width(&line.replace("\x1b[0m", "")) <= room.max(1), "{text} {room}: {line:?}");
            }
        }
        assert_eq!(cut_painted("\x1b[1mabc\x1b[0m def", 5), "\x1b[1mabc\x1b[0m …\x1b[0m");
        assert_eq!(cut_painted("\x1b[1mabc\x1b[0m", 3), "\x1b[1mabc\x1b[0m");
        assert_eq!(wrap("one two three four", 9, 2), "one two\n  three\n  four");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut_front("abcdef", 4), "…def");
        assert_eq!(
            (cut_front("abcd", 4), cut_front("ab", 1), cut_front("ab", 0)),
            ("abcd".into(), "…".into(), String::new())
        );
    }
}
