//! reStructuredText into blocks.
//!
//! For: sections, lists, literal blocks, tables and the common directives and roles. Not for: substitutions or includes.
//! Invariant: a line number is the line of the file that the text is on.

use std::collections::BTreeMap;

use super::{Builder, Document, HEAD_ROW, Kind, TERM_LEVEL};
use crate::research::text::dates;

/// Extracts the blocks of a reStructuredText.
pub(crate) fn extract(text: &str) -> Document {
    let lines: Vec<&str> = text.lines().collect();
    let mut walk =
        Walk { lines: &lines, at: 0, out: Builder::default(), levels: BTreeMap::new(), kind: Kind::Paragraph };
    while walk.at < walk.lines.len() {
        walk.line();
    }
    walk.out.end(walk.kind);
    walk.out.finish()
}

struct Walk<'a> {
    lines: &'a [&'a str],
    at: usize,
    out: Builder,
    /// Level of each (adornment, overlined) in order of first use.
    levels: BTreeMap<(char, bool), u8>,
    kind: Kind,
}

impl<'a> Walk<'a> {
    fn get(&self, at: usize) -> &'a str {
        self.lines.get(at).copied().unwrap_or_default()
    }

    fn number(&self) -> u32 {
        self.at as u32 + 1
    }

    fn line(&mut self) {
        let line = self.get(self.at);
        let text = line.trim();
        if text.is_empty() {
            self.out.end(self.kind);
            self.kind = Kind::Paragraph;
            self.at += 1;
        } else if self.section() || self.table() {
        } else if text.starts_with(".. ") || text == ".." {
            self.directive();
        } else if text == "::" {
            self.at += 1;
            self.literal(indent(line));
        } else {
            self.prose(line);
        }
    }

    /// A title with its underline, and overline if there is one.
    fn section(&mut self) -> bool {
        let line = self.get(self.at).trim_end();
        let over = adornment(line).filter(|_| adornment(self.get(self.at + 2).trim_end()) == adornment(line));
        let (title, mark, used) = match over {
            Some(mark) if !self.get(self.at + 1).trim().is_empty() => (self.get(self.at + 1).trim(), mark, 3),
            _ => match adornment(self.get(self.at + 1).trim_end()) {
                Some(mark) if adornment(line).is_none() && indent(line) == 0 && !self.out.has_text() => {
                    (line.trim(), mark, 2)
                }
                _ => return false,
            },
        };
        self.out.end(self.kind);
        self.kind = Kind::Paragraph;
        let next = self.levels.len() as u8 + 1;
        let level = *self.levels.entry((mark, used == 3)).or_insert(next.min(6));
        self.out.heading(level, &inline(title).replace('`', ""));
        self.at += used;
        true
    }

    /// Simple and grid tables: one block a row.
    fn table(&mut self) -> bool {
        let line = self.get(self.at).trim();
        let grid = line.starts_with("+-") || line.starts_with("+=");
        let simple = line.contains(' ')
            && line.len() >= 5
            && line.bytes().all(|b| b == b'=' || b == b' ')
            && line.starts_with("==");
        if !grid && !simple {
            return false;
        }
        self.out.end(self.kind);
        let head = self.rules(grid) > 2 || grid;
        let mut rules = 0;
        while self.at < self.lines.len() && !self.get(self.at).trim().is_empty() {
            let row = self.get(self.at).trim();
            let rule = row.bytes().all(|b| matches!(b, b'=' | b'-' | b'+' | b' '));
            rules += usize::from(rule && (row.contains('=') || rules == 0));
            if !rule {
                let cells =
                    if grid { row.trim_matches('|').split('|').collect() } else { row.split("  ").collect::<Vec<_>>() };
                let cells: Vec<String> = cells.iter().map(|c| inline(c.trim())).filter(|c| !c.is_empty()).collect();
                self.out.prose(&cells.join(" | "), self.number());
                if head && rules == 1 && self.rules_ahead(grid) {
                    self.out.end_heading(HEAD_ROW);
                } else {
                    self.out.end(Kind::Row);
                }
            }
            self.at += 1;
        }
        self.out.leave(HEAD_ROW);
        true
    }

    fn rules(&self, grid: bool) -> usize {
        self.lines[self.at..].iter().take_while(|l| !l.trim().is_empty()).filter(|l| is_rule(l, grid)).count()
    }

    /// Whether a rule of the head still follows in this table (with one more after it).
    fn rules_ahead(&self, grid: bool) -> bool {
        let ahead = self.lines[self.at + 1..].iter().take_while(|l| !l.trim().is_empty());
        ahead.filter(|l| is_rule(l, grid)).count() >= if grid { 1 } else { 2 }
    }

    fn directive(&mut self) {
        self.out.end(self.kind);
        self.kind = Kind::Paragraph;
        let line = self.get(self.at);
        let depth = indent(line);
        let body = line.trim().trim_start_matches("..").trim();
        self.at += 1;
        let Some((name, argument)) = body.split_once("::") else {
            if self.out.len() == 0 {
                self.out.date(dates::stamp(body));
            }
            self.skip(depth);
            return;
        };
        match name.trim() {
            "code-block" | "code" | "sourcecode" | "highlight" | "parsed-literal" | "prompt" | "doctest" => {
                self.literal(depth);
            }
            "list-table" => self.list_table(depth),
            "note" | "warning" | "tip" | "important" | "caution" | "attention" | "danger" | "hint" | "seealso"
            | "versionadded" | "versionchanged" | "deprecated" | "admonition" | "topic" | "rubric" | "epigraph"
            | "glossary" | "container" => {
                if !argument.trim().is_empty() {
                    self.out.prose(&inline(argument), self.number() - 1);
                    self.out.prose(" ", self.number() - 1);
                }
                self.options();
            }
            "function" | "method" | "class" | "attribute" | "data" | "option" | "module" | "describe" | "exception"
            | "envvar" | "confval" | "program" | "cmdoption" | "py:function" | "py:class" | "py:method"
            | "c:function" => {
                self.options();
                self.out.heading(TERM_LEVEL, argument.trim());
            }
            _ => self.skip(depth),
        }
    }

    /// The rows of a `list-table`: `* - cell` begins a row, `- cell` continues it; `:header-rows:` is the number of rows
    /// at the start that are its head.
    fn list_table(&mut self, depth: usize) {
        let mut heads = 0;
        while self.get(self.at).trim().starts_with(':') {
            let option = self.get(self.at).trim().strip_prefix(":header-rows:");
            heads = option.and_then(|n| n.trim().parse().ok()).unwrap_or(heads);
            self.at += 1;
        }
        let mut rows = 0;
        while self.at < self.lines.len() && (self.get(self.at).trim().is_empty() || indent(self.get(self.at)) > depth) {
            let text = self.get(self.at).trim();
            let number = self.number();
            if let Some(cell) = text.strip_prefix("* -").or_else(|| text.strip_prefix("* *")) {
                self.end_row(rows, heads);
                rows += 1;
                self.out.prose(&inline(cell.trim()), number);
            } else if let Some(cell) = text.strip_prefix("- ") {
                self.out.prose(&format!(" | {}", inline(cell.trim())), number);
            } else if !text.is_empty() {
                self.out.prose(&format!(" {}", inline(text)), number);
            }
            self.at += 1;
        }
        self.end_row(rows, heads);
        self.out.leave(HEAD_ROW);
    }

    fn end_row(&mut self, rows: usize, heads: usize) {
        if rows > 0 && rows <= heads {
            self.out.end_heading(HEAD_ROW);
        } else if self.out.has_text() {
            self.out.end(Kind::Row);
        }
    }

    /// Skips the option lines of a directive.
    fn options(&mut self) {
        while self.get(self.at).trim().starts_with(':') {
            self.at += 1;
        }
    }

    fn skip(&mut self, depth: usize) {
        while self.at < self.lines.len() && (self.get(self.at).trim().is_empty() || indent(self.get(self.at)) > depth) {
            self.at += 1;
        }
    }

    /// An indented block after `::`, deeper than `depth`.
    fn literal(&mut self, depth: usize) {
        self.options();
        let begin = self.at;
        let mut end = begin;
        let mut at = begin;
        while at < self.lines.len() && (self.get(at).trim().is_empty() || indent(self.get(at)) > depth) {
            at += 1;
            if !self.get(at - 1).trim().is_empty() {
                end = at;
            }
        }
        let block = &self.lines[begin..end];
        let margin = block.iter().filter(|l| !l.trim().is_empty()).map(|l| indent(l)).min().unwrap_or(0);
        for (i, line) in block.iter().enumerate() {
            let line = line.get(margin..).unwrap_or_default();
            self.out.raw(&format!("{line}\n"), (begin + i) as u32 + 1);
        }
        self.out.end(Kind::Code);
        self.at = at;
    }

    fn prose(&mut self, line: &str) {
        let text = line.trim();
        let number = self.number();
        if !self.out.has_text() && indent(line) == 0 {
            // Terms and described objects hold for what is indented below them.
            self.out.leave(TERM_LEVEL);
        }
        if !self.out.has_text() && self.definition(line) {
            return;
        }
        if let Some(rest) = field(text).filter(|_| !self.out.has_text()) {
            self.kind = Kind::Item;
            if self.out.len() < 3 {
                self.out.date(dates::stamp(&rest));
            }
            self.out.prose(&inline(&rest), number);
            self.out.end(Kind::Item);
            self.at += 1;
            return;
        }
        let (body, item) = bullet(text);
        if item {
            self.out.end(self.kind);
            self.kind = Kind::Item;
        }
        let literal = body.ends_with("::");
        let body = if literal { body[..body.len() - 1].trim_end_matches(" :") } else { body };
        self.out.prose(&inline(body), number);
        self.out.prose(" ", number);
        self.at += 1;
        if literal && self.get(self.at).trim().is_empty() {
            self.out.end(self.kind);
            self.kind = Kind::Paragraph;
            self.literal(indent(line));
        }
    }

    /// A term with its definition indented below: the term becomes a heading.
    fn definition(&mut self, line: &str) -> bool {
        let next = self.get(self.at + 1);
        let blank_before = self.at == 0 || self.get(self.at - 1).trim().is_empty();
        let is = blank_before
            && !next.trim().is_empty()
            && indent(next) > indent(line)
            && line.len() < 100
            && !bullet(line.trim()).1
            && !line.trim_end().ends_with(['.', ':']);
        if is {
            self.out.heading(TERM_LEVEL + 1, &inline(line.trim()).replace('`', ""));
            self.at += 1;
        }
        is
    }
}

fn is_rule(line: &str, grid: bool) -> bool {
    let line = line.trim();
    let ok = |b: u8| matches!(b, b'=' | b' ') || (grid && matches!(b, b'+' | b'='));
    line.contains('=') && line.bytes().all(ok)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The character of a line that adorns a title.
fn adornment(line: &str) -> Option<char> {
    let first = line.chars().next()?;
    (line.len() >= 3
        && first.is_ascii_punctuation()
        && line.chars().all(|c| c == first)
        && !matches!(first, '|' | '(' | ')' | '[' | ']'))
    .then_some(first)
}

/// `:name: value` as `name: value`.
fn field(text: &str) -> Option<String> {
    let (name, value) = text.strip_prefix(':')?.split_once(": ")?;
    (!name.contains('`') && name.len() < 40).then(|| format!("{name}: {}", value.trim()))
}

fn bullet(text: &str) -> (&str, bool) {
    for mark in ["- ", "* ", "+ ", "• ", "#. "] {
        if let Some(rest) = text.strip_prefix(mark) {
            return (rest.trim_start(), true);
        }
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if (1..=3).contains(&digits) && (text[digits..].starts_with(". ") || text[digits..].starts_with(") ")) {
        return (text[digits + 2..].trim_start(), true);
    }
    (text, false)
}

/// Inline markup as plain text with code in single backticks.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('`') {
        let (before, after) = rest.split_at(at);
        let role = before.rfind(|c: char| c.is_whitespace() || c == '(').map_or(0, |i| i + 1);
        let has_role = before.len() > role + 1 && before[role..].starts_with(':') && before.ends_with(':');
        out.push_str(if has_role { &before[..role] } else { before });
        let double = after.starts_with("``");
        let fence = if double { "``" } else { "`" };
        let body = &after[fence.len()..];
        let Some(end) = body.find(fence) else {
            out.push_str(after);
            return out.replace("**", "");
        };
        let code = double || has_role;
        let content = if double { &body[..end] } else { target(&body[..end]) };
        if code {
            out.push('`');
        }
        out.push_str(content);
        if code {
            out.push('`');
        }
        rest = body[end + fence.len()..].trim_start_matches('_');
    }
    out.push_str(rest);
    out.replace("**", "")
}

/// The shown text of `text <target>`, `~a.b.c` and `!x`.
fn target(text: &str) -> &str {
    let shown = text.split_once(" <").map_or(text, |(shown, _)| shown);
    match shown.strip_prefix('~') {
        Some(path) => path.rsplit('.').next().unwrap_or(path),
        None => shown.trim_start_matches('!'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_table_has_rows_with_their_head() {
        let text = "Sizes\n=====\n\n.. list-table:: Caps\n   :header-rows: 1\n\n   * - name\n     - size\n   * - cap\n     - 4 mm\n       wide\n\nEnd.\n";
        let d = extract(text);
        let seen: Vec<_> = d.blocks.iter().map(|b| (b.kind, b.text.as_str())).collect();
        assert_eq!(seen, [(Kind::Row, "cap | 4 mm wide"), (Kind::Paragraph, "End.")]);
        assert_eq!(&*d.blocks[0].headings, ["Sizes", "name | size"]);
    }

    #[test]
    fn sections_roles_literals_and_tables() {
        let text = "=====\nPumps\n=====\n\nUse :func:`os.run` and ``x``\nas `shown <u>`_ here::\n\n    code one\n    code two\n\n.. comment\n\n.. note::\n\n   Mind *this*.\n\nParts\n-----\n\n- one\n- two\n  more\n\nseal\n  A ring.\n\n=====  ====\nname   size\n=====  ====\ncap    4 mm\n=====  ====\n";
        let d = extract(text);
        let seen: Vec<_> = d.blocks.iter().map(|b| (b.kind, b.text.as_str(), b.lines(0, b.text.len()))).collect();
        assert_eq!(
            seen,
            [
                (Kind::Paragraph, "Use `os.run` and `x` as shown here:", (5, 6)),
                (Kind::Code, "code one\ncode two", (8, 9)),
                (Kind::Paragraph, "Mind *this*.", (15, 15)),
                (Kind::Item, "one", (20, 20)),
                (Kind::Item, "two more", (21, 22)),
                (Kind::Paragraph, "A ring.", (25, 25)),
                (Kind::Row, "cap | 4 mm", (30, 30)),
            ]
        );
        assert_eq!(&*d.blocks[6].headings, ["Pumps", "Parts", "seal", "name | size"]);
    }
}
