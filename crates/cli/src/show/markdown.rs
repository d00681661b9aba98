//! A Markdown text on a terminal.
//!
//! For: reading a report where it was made. Not for: rendering; the text stays what it is, but headings and code are
//! set off and long lines are broken between words.
//! Invariant: in a pipe the text is printed unchanged but for control characters.

use super::style::{Paint, Style, clean_lines, terminal_size, wrap};

/// Lines that are longer are hard to read.
const COLUMNS_MAX: usize = 100;

/// The text as it is printed.
pub(crate) fn render(text: &str, style: Style) -> String {
    let width = if style.terminal { terminal_size().0.min(COLUMNS_MAX) } else { usize::MAX };
    render_within(text, style, width)
}

fn render_within(text: &str, style: Style, width: usize) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    let mut fenced = false;
    for line in clean_lines(text).lines() {
        let fence = line.trim_start().starts_with("```");
        if fence || fenced {
            out.push_str(&style.paint(Paint::Dim, line));
        } else if line.starts_with('#') {
            out.push_str(&style.paint(Paint::Bold, line));
        } else {
            out.push_str(&wrap_item(line, width));
        }
        fenced ^= fence;
        out.push('\n');
    }
    out
}

/// Breaks a line between words; what belongs to a list item stays below its text.
fn wrap_item(line: &str, columns: usize) -> String {
    let text = line.trim_start();
    let mut indent = line.len() - text.len();
    let mark = text.split(' ').next().unwrap_or_default();
    if matches!(mark, "-" | "*") || mark.strip_suffix('.').is_some_and(|number| number.parse::<u32>().is_ok()) {
        indent += mark.len() + 1;
    }
    wrap(line, columns, indent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        let text = "# A\n\nb `c` [1]\n```\n# no heading\n```\n";
        assert_eq!(render(text, Style { color: false, terminal: false }), text);
        let colored = render(text, Style { color: true, terminal: true });
        assert!(colored.starts_with("\x1b[1m# A\x1b[0m\n") && colored.contains("\x1b[2m# no heading"));
    }

    #[test]
    fn long_lines_are_broken_between_words_and_items_stay_together() {
        let style = Style { color: false, terminal: true };
        let text = "- one two three four\n\n10. one two\n";
        assert_eq!(render_within(text, style, 12), "- one two\n  three four\n\n10. one two\n");
        assert_eq!(render_within("漢字 漢字 漢字\n", style, 9), "漢字 漢字\n漢字\n");
        assert_eq!(render_within("unbreakable", style, 4), "unbreakable\n");
    }
}
