//! The tables of reStructuredText as rows of cells.
//!
//! For: grid and simple tables, `list-table` and `csv-table`. Not for: what a cell's text means, or nested tables.
//! Invariant: a row has a cell for each of its columns, also where it is empty, so that a value stays under its head.

use unicode_width::UnicodeWidthChar as _;

/// The text of a cell, by line of the file.
pub(super) type Cell = Vec<(u32, String)>;

/// A table: its first `heads` rows are its head.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Vec<Cell>>,
    pub(super) heads: usize,
}

/// Number of lines of the grid table at the start of `lines`; none where there is no table.
pub(super) fn grid_height(lines: &[&str]) -> usize {
    let begins = lines.first().is_some_and(|l| l.trim().starts_with("+-") || l.trim().starts_with("+="));
    if begins { lines.iter().take_while(|l| l.trim().starts_with(['+', '|'])).count() } else { 0 }
}

/// Number of lines of the simple table at the start of `lines`: to its last rule, or to a blank line where that is missing.
pub(super) fn simple_height(lines: &[&str]) -> usize {
    let rule = |l: &str| l.trim().len() >= 2 && l.trim().bytes().all(|b| b == b'=' || b == b' ');
    let first = lines.first().map_or("", |l| l.trim());
    if !rule(first) || !first.contains(' ') || !first.starts_with("==") {
        return 0;
    }
    let mut to_blank = None;
    let mut rules = 0;
    for (at, line) in lines.iter().enumerate().skip(1) {
        let blank_next = lines.get(at + 1).is_none_or(|l| l.trim().is_empty());
        // One sign alone may underline a title.
        if rule(line) && line.trim().contains(' ') {
            rules += 1;
            if blank_next || rules == 2 {
                return at + 1;
            }
        }
        if line.trim().is_empty() {
            to_blank = to_blank.or(Some(at));
            // A section's title may be next; no row begins with white space before its first column.
            if lines.get(at + 1).is_some_and(|l| l.trim().is_empty()) {
                break;
            }
        }
    }
    to_blank.unwrap_or(lines.len())
}

/// The byte at which each column of the screen begins, up to `until`; wide characters take two.
fn bytes_of_columns(line: &str, until: usize) -> Vec<usize> {
    let mut out = Vec::with_capacity(until + 1);
    for (at, c) in line.char_indices() {
        out.extend(std::iter::repeat_n(at, c.width().unwrap_or(0)));
        if out.len() > until {
            break;
        }
    }
    while out.len() <= until {
        out.push(line.len());
    }
    out
}

/// A simple table; its columns stand below the signs of its first rule.
pub(super) fn simple(lines: &[&str], first: u32) -> Table {
    let rule = lines[0].as_bytes();
    let starts: Vec<usize> =
        (0..rule.len()).filter(|i| rule[*i] == b'=' && (*i == 0 || rule[*i - 1] != b'=')).collect();
    let rules =
        lines.iter().filter(|l| !l.trim().is_empty() && l.trim().bytes().all(|b| b == b'=' || b == b' ')).count();
    let mut table = Table::default();
    let mut rules_seen = 0;
    for (at, line) in lines.iter().enumerate() {
        let text = line.trim();
        if text.is_empty() {
            continue;
        }
        if text.bytes().all(|b| matches!(b, b'=' | b'-' | b' ')) {
            rules_seen += usize::from(text.contains('='));
            // Three rules: the head is between the first two.
            if rules >= 3 && rules_seen == 2 && table.heads == 0 {
                table.heads = table.rows.len();
            }
            continue;
        }
        let cells = cut(line, &starts);
        let number = first + at as u32;
        let goes_on = cells.first().is_some_and(|c| c.is_empty()) && table.rows.len() > table.heads;
        match table.rows.last_mut().filter(|_| goes_on) {
            Some(row) => row.iter_mut().zip(cells).for_each(|(cell, text)| add(cell, number, text)),
            None => table.rows.push(cells.into_iter().map(|text| cell(number, text)).collect()),
        }
    }
    table
}

/// The cells of a line whose columns begin at `starts`; text that crosses into the next column belongs to the first.
fn cut<'a>(line: &'a str, starts: &[usize]) -> Vec<&'a str> {
    let bytes = bytes_of_columns(line, starts.last().copied().unwrap_or_default());
    let begin = |column: usize| starts.get(column).map_or(line.len(), |start| bytes[*start]);
    let crosses = |column: usize| {
        column < starts.len()
            && begin(column) < line.len()
            && line[..begin(column)].ends_with(|c: char| !c.is_whitespace())
    };
    let mut out = vec![""; starts.len()];
    let mut column = 0;
    while column < starts.len() {
        let mut next = column + 1;
        while crosses(next) {
            next += 1;
        }
        out[column] = line[begin(column)..begin(next)].trim();
        column = next;
    }
    out
}

fn cell(line: u32, text: &str) -> Cell {
    let mut cell = Cell::new();
    add(&mut cell, line, text);
    cell
}

fn add(cell: &mut Cell, line: u32, text: &str) {
    // A lone backslash is how an empty first cell is written.
    if !text.is_empty() && text != "\\" {
        cell.push((line, text.to_owned()));
    }
}

/// A grid table.
pub(super) fn grid(lines: &[&str], first: u32) -> Table {
    let mut bounds: Vec<usize> = lines
        .iter()
        .filter(|l| l.trim().starts_with('+'))
        .flat_map(|l| l.bytes().enumerate().filter(|(_, b)| *b == b'+').map(|(i, _)| i).collect::<Vec<_>>())
        .collect();
    bounds.sort_unstable();
    bounds.dedup();
    let columns = bounds.len().saturating_sub(1);
    let mut table = Table::default();
    let mut row: Vec<Cell> = vec![Cell::new(); columns];
    for (at, line) in lines.iter().enumerate() {
        let parts = segments(line, &bounds);
        let ruled = |part: &str| !part.is_empty() && part.bytes().all(|b| matches!(b, b'-' | b'=' | b'+'));
        if parts.iter().any(|(_, _, part)| ruled(part)) {
            if row.iter().any(|cell| !cell.is_empty()) {
                table.rows.push(row.clone());
            }
            if line.contains("+=") && table.heads == 0 {
                table.heads = table.rows.len();
            }
        }
        for (from, to, part) in parts {
            if ruled(part) {
                row[from..to].iter_mut().for_each(Cell::clear);
            } else {
                add(&mut row[from], first + at as u32, part);
            }
        }
    }
    if row.iter().any(|cell| !cell.is_empty()) {
        table.rows.push(row);
    }
    table
}

/// The parts of a line of a grid: first column, column after the last, text.
fn segments<'a>(line: &'a str, bounds: &[usize]) -> Vec<(usize, usize, &'a str)> {
    let bytes = bytes_of_columns(line, bounds.last().copied().unwrap_or_default());
    let at = |i: usize| bytes[bounds[i]];
    let mut out = Vec::new();
    let mut from = 0;
    for to in 1..bounds.len() {
        let last = to + 1 == bounds.len();
        if last || line[at(to)..].starts_with(['|', '+']) {
            let begin = at(from) + usize::from(at(from) < line.len());
            let text = line.get(begin..at(to).max(begin)).unwrap_or_default();
            out.push((from, to, text.trim()));
            from = to;
        }
    }
    out
}

/// The body of a `list-table`: `* - cell` begins a row, `- cell` at the same place continues it.
pub(super) fn list(lines: &[&str], first: u32, heads: usize) -> Table {
    let mut table = Table { rows: Vec::new(), heads };
    let mut column = 0;
    for (at, line) in lines.iter().enumerate() {
        let number = first + at as u32;
        let text = line.trim_start();
        let indent = line.len() - text.len();
        let mark = text.strip_prefix("* ").or_else(|| text.strip_prefix("*\t")).map(str::trim_start);
        let opens = mark.and_then(|rest| rest.strip_prefix(['-', '*']).map(|cell| (rest, cell)));
        if let Some((rest, text)) = opens.filter(|_| table.rows.is_empty() || indent < column) {
            column = line.len() - rest.len();
            table.rows.push(vec![cell(number, text.trim())]);
            continue;
        }
        let Some(row) = table.rows.last_mut() else { continue };
        match text
            .strip_prefix(['-', '*'])
            .filter(|rest| indent == column && (rest.is_empty() || rest.starts_with(' ')))
        {
            Some(text) => row.push(cell(number, text.trim())),
            None => row.iter_mut().next_back().into_iter().for_each(|cell| add(cell, number, text.trim())),
        }
    }
    table
}

/// Rows of comma-separated values. White space behind a comma is no part of the next cell, as its users write it.
pub(super) fn csv(lines: &[&str], first: u32, delimiter: char) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    let mut row: Vec<Cell> = Vec::new();
    let mut text = String::new();
    let mut quoted = false;
    for (at, line) in lines.iter().enumerate() {
        let number = first + at as u32;
        let mut chars = line.trim().chars().peekable();
        if !quoted && chars.peek().is_none() {
            continue;
        }
        if !quoted {
            row.push(Cell::new());
        }
        while let Some(c) = chars.next() {
            match c {
                '"' if quoted && chars.next_if_eq(&'"').is_some() => text.push('"'),
                '"' if quoted => quoted = false,
                '"' if text.trim().is_empty() => quoted = true,
                c if c == delimiter && !quoted => {
                    finish(&mut row, number, &mut text);
                    row.push(Cell::new());
                }
                c => text.push(c),
            }
        }
        finish(&mut row, number, &mut text);
        if !quoted {
            rows.push(std::mem::take(&mut row));
        }
    }
    if !row.is_empty() {
        rows.push(row);
    }
    rows
}

/// Ends the text of the last cell on this line.
fn finish(row: &mut [Cell], line: u32, text: &mut String) {
    if let Some(cell) = row.last_mut() {
        add(cell, line, text.trim());
    }
    text.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rows: &[Vec<Cell>]) -> Vec<String> {
        let text = |cell: &Cell| cell.iter().map(|(_, t)| t.as_str()).collect::<Vec<_>>().join(" ");
        rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join("|")).collect()
    }

    #[test]
    fn grids_join_the_lines_of_a_row_and_know_spans() {
        let text = "+------+-------+------+\n| a    | b     | c    |\n+======+=======+======+\n| one  | two   | tall |\n| more |       |      |\n+------+-------+      |\n| wide         | end  |\n+--------------+------+";
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(grid_height(&lines), 8);
        let table = grid(&lines, 1);
        assert_eq!(shown(&table.rows), ["a|b|c", "one more|two|tall", "wide||tall end"]);
        assert_eq!(table.heads, 1);
        let wide = ["+------+----+", "| 日本 | b  |", "+------+----+"];
        assert_eq!(shown(&grid(&wide, 1).rows), ["日本|b"]);
    }

    #[test]
    fn simple_tables_keep_empty_cells_and_go_on() {
        let text = "====  ====  ====\nname  min   max\n====  ====  ====\ncap         4 mm\nrope  1 m   2 m\n            long\nspannin two 5\n====  ====  ====\n\nEnd.";
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(simple_height(&lines), 8);
        let table = simple(&lines[..8], 1);
        assert_eq!(shown(&table.rows), ["name|min|max", "cap||4 mm", "rope|1 m|2 m long", "spannin two||5"]);
        assert_eq!(table.heads, 1);
    }

    #[test]
    fn lists_and_comma_separated_values_keep_their_cells() {
        let lines = ["* - a", "  - b", "* -", "  - - one", "    - two", "* - last"];
        assert_eq!(shown(&list(&lines, 1, 1).rows), ["a|b", "|- one - two", "last"]);
        let lines = ["\"a, b\", \"c \"\"d\"\"\"", "", ",x", "\"one", "two\",3"];
        assert_eq!(shown(&csv(&lines, 1, ',')), ["a, b|c \"d\"", "|x", "one two|3"]);
    }
}
