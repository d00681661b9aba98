//! Colour and width of what is printed.
//!
//! For: one decision a stream, made at the start. Not for: layout.
//! Invariant: without colour no escape sequence is printed; text from elsewhere never carries control characters.

use std::io::IsTerminal as _;

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

/// Whether a terminal may obey a character instead of showing it: C0 and C1 control characters, and those that change
/// the direction of what follows, so that a text would read other than it is.
fn is_obeyed(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// One line without characters that a terminal might obey.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { ' ' } else { c }).collect()
}

/// Several lines without control characters other than line feeds and tabs.
pub(crate) fn clean_lines(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

/// The text in at most `width` columns; wide and joined characters are counted as one.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// The end of the text in at most `width` columns.
pub(crate) fn cut_front(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width {
        return text.to_owned();
    }
    ['…'].into_iter().chain(text.chars().skip(count - width.saturating_sub(1))).take(width).collect()
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
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
        assert_eq!(cut_front("abcdef", 4), "…def");
        assert_eq!(
            (cut_front("abcd", 4), cut_front("ab", 1), cut_front("ab", 0)),
            ("abcd".into(), "…".into(), String::new())
        );
    }
}
