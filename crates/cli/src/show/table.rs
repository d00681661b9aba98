//! Columns of text.
//!
//! For: listings. Not for: trees.
//! Invariant: every cell is one line; a column is as wide as its widest cell, the last one is left ragged.

use super::style::{Paint, Style, clean, cut, terminal_size};

/// Characters below which a cell would show nothing but that it is cut.
const CELL_LEAST: usize = 3;

/// A listing with a heading.
pub(crate) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<(String, Option<Paint>)>>,
}

impl Table {
    pub(crate) fn new(heads: &[&'static str]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; each cell may have a colour.
    pub(crate) fn row(&mut self, cells: Vec<(String, Option<Paint>)>) {
        assert_eq!(cells.len(), self.heads.len(), "a row has a cell for each column");
        self.rows.push(cells.into_iter().map(|(text, paint)| (clean(&text), paint)).collect());
    }

    /// The lines, with a heading for people and without one in a pipe.
    pub(crate) fn render(&self, style: Style) -> String {
        let mut widths: Vec<usize> =
            self.heads.iter().map(|head| if style.terminal { head.len() } else { 0 }).collect();
        for row in &self.rows {
            for (width, (text, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
        let mut out = String::new();
        if style.terminal {
            let heads = self.heads.iter().map(|head| ((*head).to_owned(), Some(Paint::Dim))).collect::<Vec<_>>();
            line(&mut out, style, &widths, &heads);
        }
        for row in &self.rows {
            line(&mut out, style, &widths, row);
        }
        out
    }
}

/// Notes below a table: the subject of each, and its text.
pub(crate) fn below(notes: &[(String, &str)], style: Style) -> String {
    let line = |(about, text): &(String, &str)| {
        let (about, text) = (clean(about), clean(text));
        format!("{}: {}\n", style.paint(Paint::Bold, &about), style.paint(Paint::Yellow, &text))
    };
    let lines: String = notes.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

fn line(out: &mut String, style: Style, widths: &[usize], cells: &[(String, Option<Paint>)]) {
    let mut gap = 0;
    let mut left = if style.terminal { terminal_size().0.max(40) } else { usize::MAX };
    for (width, (text, paint)) in widths.iter().zip(cells) {
        if left < CELL_LEAST {
            break;
        }
        // What does not fit is cut: a line that wraps is harder to read than one that ends.
        let text = &cut(text, left);
        left = left.saturating_sub(width + 2);
        if text.is_empty() {
            gap += width + 2;
            continue;
        }
        out.extend(std::iter::repeat_n(' ', gap));
        match paint {
            Some(paint) => out.push_str(&style.paint(*paint, text)),
            None => out.push_str(text),
        }
        gap = (width + 2).saturating_sub(text.chars().count());
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_do_not_end_in_blanks() {
        let mut table = Table::new(&["A", "B", "C"]);
        table.row(vec![("long".into(), None), (String::new(), None), ("x".into(), None)]);
        table.row(vec![("s".into(), None), ("b\nb".into(), None), (String::new(), None)]);
        let style = Style { color: false, terminal: true };
        assert_eq!(table.render(style), "A     B    C\nlong       x\ns     b b\n");
        assert_eq!(table.render(Style { terminal: false, ..style }), "long       x\ns     b b\n");
    }
}
