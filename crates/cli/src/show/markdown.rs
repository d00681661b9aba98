//! A Markdown text on a terminal.
//!
//! For: reading a report where it was made. Not for: rendering; the text stays what it is, only headings and code
//! are set off. Invariant: without colour the text is printed unchanged but for control characters.

use super::style::{Paint, Style, clean_lines};

/// The text as it is printed.
pub(crate) fn render(text: &str, style: Style) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    let mut fenced = false;
    for line in clean_lines(text).lines() {
        let fence = line.trim_start().starts_with("```");
        if fence || fenced {
            out.push_str(&style.paint(Paint::Dim, line));
        } else if line.starts_with('#') {
            out.push_str(&style.paint(Paint::Bold, line));
        } else {
            out.push_str(line);
        }
        fenced ^= fence;
        out.push('\n');
    }
    out
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
}
