//! Columns of text.
//!
//! For: listings. Not for: trees.
//! Invariant: every cell is one line; a column is as wide as its widest cell, the last one is left ragged. In a pipe every
//! row has a word in each column, below a head.

use super::style::{Paint, Style, clean, cut, terminal_size, width};

/// Columns of the screen below which a cell would show nothing but that it is cut.
const CELL_LEAST: usize = 8;
/// Columns of the screen that the last column, which mostly holds words for people, should have.
const LAST_LEAST: usize = 24;
/// The text of an empty cell in a pipe, where columns are counted.
const NOTHING: &str = "-";

/// A listing with a heading.
pub(crate) struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<(String, Option<Paint>)>>,
    /// Columns that a narrow terminal can do without, the least useful last.
    spare: &'static [&'static str],
}

impl Table {
    pub(crate) fn new(heads: &[&'static str]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new(), spare: &[] }
    }

    /// With columns that are left out where the terminal is too narrow, from the end of this list on.
    pub(crate) fn spare(mut self, heads: &'static [&'static str]) -> Self {
        self.spare = heads;
        self
    }

    /// Adds a row; each cell may have a colour.
    pub(crate) fn row(&mut self, cells: Vec<(String, Option<Paint>)>) {
        assert_eq!(cells.len(), self.heads.len(), "a row has a cell for each column");
        self.rows.push(cells.into_iter().map(|(text, paint)| (clean(&text), paint)).collect());
    }

    /// The lines, below a heading; in a pipe nothing, where there are no rows.
    pub(crate) fn render(&self, style: Style) -> String {
        self.render_within(style, if style.terminal { terminal_size().0 } else { usize::MAX })
    }

    fn render_within(&self, style: Style, room: usize) -> String {
        if self.rows.is_empty() && !style.terminal {
            return String::new();
        }
        let cell = |row: usize, column: usize| -> &str {
            let text = &self.rows[row][column].0;
            if text.is_empty() && !style.terminal { NOTHING } else { text }
        };
        let widest = |column: usize| {
            (0..self.rows.len())
                .map(|row| width(cell(row, column)))
                .chain([self.heads[column].len()])
                .max()
                .unwrap_or(0)
        };
        let mut columns: Vec<(usize, usize)> = (0..self.heads.len()).map(|column| (column, widest(column))).collect();
        let left_out = self.drop_spare(&mut columns, room);
        shrink(&mut columns, room);
        let mut out = String::new();
        let heads = columns.iter().map(|(column, _)| (self.heads[*column], Some(Paint::Dim)));
        line(&mut out, style, &columns, heads);
        for row in 0..self.rows.len() {
            line(&mut out, style, &columns, columns.iter().map(|(at, _)| (cell(row, *at), self.rows[row][*at].1)));
        }
        if !left_out.is_empty() && !self.rows.is_empty() {
            let note = format!("not shown, for want of room: {}", left_out.join(", "));
            out.extend([style.paint(Paint::Dim, &cut(&note, room)), "\n".to_owned()]);
        }
        out
    }

    /// Takes away spare columns, the least useful first, until the others fit.
    fn drop_spare(&self, columns: &mut Vec<(usize, usize)>, room: usize) -> Vec<&'static str> {
        let needed = |columns: &[(usize, usize)]| {
            let last = columns.last().map_or(0, |(_, width)| width.saturating_sub(LAST_LEAST));
            total(columns).saturating_sub(last)
        };
        let mut left_out = Vec::new();
        for head in self.spare.iter().rev() {
            if needed(columns) <= room {
                break;
            }
            let before = columns.len();
            columns.retain(|(column, _)| self.heads[*column] != *head);
            left_out.extend((columns.len() < before).then_some(*head));
        }
        left_out.reverse();
        left_out
    }
}

/// Columns of the screen that a line takes.
fn total(columns: &[(usize, usize)]) -> usize {
    columns.iter().map(|(_, width)| width + GAP).sum::<usize>().saturating_sub(GAP)
}

/// Blanks between two columns.
const GAP: usize = 2;

/// Makes columns narrower until they fit: the last one, then those between, and only then the first, which names the row.
fn shrink(columns: &mut [(usize, usize)], room: usize) {
    let mut over = total(columns).saturating_sub(room);
    let last = columns.len().saturating_sub(1);
    for (part, least) in [
        (last..=last, LAST_LEAST),
        (1..=last.saturating_sub(1), CELL_LEAST),
        (last..=last, CELL_LEAST),
        (0..=0, CELL_LEAST),
    ] {
        while over > 0 {
            let part = columns.get_mut(part.clone()).unwrap_or_default();
            let Some((_, widest)) = part.iter_mut().max_by_key(|(_, width)| *width).filter(|c| c.1 > least) else {
                break;
            };
            *widest -= 1;
            over -= 1;
        }
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

fn line<'a>(
    out: &mut String,
    style: Style,
    columns: &[(usize, usize)],
    cells: impl Iterator<Item = (&'a str, Option<Paint>)>,
) {
    let mut gap = 0;
    for ((_, columns), (text, paint)) in columns.iter().zip(cells) {
        // What does not fit is cut: a line that wraps is harder to read than one that ends.
        let text = &cut(text, *columns);
        if text.is_empty() {
            gap += columns + GAP;
            continue;
        }
        out.extend(std::iter::repeat_n(' ', gap));
        match paint {
            Some(paint) => out.push_str(&style.paint(paint, text)),
            None => out.push_str(text),
        }
        gap = (columns + GAP).saturating_sub(width(text));
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
        assert_eq!(table.render(Style { terminal: false, ..style }), "A     B    C\nlong  -    x\ns     b b  -\n");
        assert_eq!(Table::new(&["A"]).render(Style { terminal: false, ..style }), "");
    }

    #[test]
    fn a_narrow_terminal_loses_what_it_can_do_without_and_is_told() {
        let style = Style { color: false, terminal: true };
        let mut table = Table::new(&["RUN", "STATUS", "STARTED", "TOOK", "ABOUT"]).spare(&["TOOK", "STARTED"]);
        let cells = [
            "01M8FJEWKQ6J",
            "failed",
            "2m ago",
            "1.2s",
            "the payment was refused by the bank, which is closed on Sundays",
        ];
        table.row(cells.map(|text| (text.to_owned(), None)).to_vec());
        let lines = |room| table.render_within(style, room).lines().map(str::to_owned).collect::<Vec<_>>();
        assert!(lines(120)[1].ends_with("closed on Sundays"));
        let middle = lines(60);
        assert!(middle[0].contains("TOOK") && !middle[0].contains("STARTED"), "{middle:#?}");
        assert!(middle[1].contains("the payment was refused"), "{middle:#?}");
        assert_eq!(middle[2], "not shown, for want of room: STARTED");
        let narrow = lines(50);
        assert!(!narrow[0].contains("TOOK") && narrow[0].contains("ABOUT"), "{narrow:#?}");
        assert_eq!(narrow[2], "not shown, for want of room: TOOK, STARTED");
        assert!(lines(40)[1].starts_with("01M8FJEWKQ6J  failed"), "the name of a row stays: {:#?}", lines(40));
        for room in 36..130 {
            assert!(lines(room).iter().all(|line| width(line) <= room), "{room}: {:#?}", lines(room));
        }
    }

    #[test]
    fn wide_letters_line_up() {
        let mut table = Table::new(&["A", "B"]);
        table.row(vec![("漢字".into(), None), ("x".into(), None)]);
        table.row(vec![("abcd".into(), None), ("y".into(), None)]);
        assert_eq!(table.render(Style { color: false, terminal: false }), "A     B\n漢字  x\nabcd  y\n");
    }
}
