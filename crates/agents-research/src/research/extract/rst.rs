//! reStructuredText into blocks.
//!
//! For: sections, lists, literal blocks, tables and the common directives and roles. Not for: substitutions or includes.
//! Invariant: a line number is the line of the file that the text is on.

use std::collections::BTreeMap;

use super::limited::Stop;
use super::rst_table::{self as table, Table};
use super::{Builder, Document, HEAD_ROW, Kind, TERM_LEVEL};
use crate::research::text::dates;

/// Extracts the blocks of a reStructuredText.
pub(crate) fn extract(text: &str, stop: &Stop) -> Document {
    let lines: Vec<&str> = text.lines().collect();
    let mut walk =
        Walk { lines: &lines, at: 0, out: Builder::default(), levels: BTreeMap::new(), kind: Kind::Paragraph, stop };
    while walk.at < walk.lines.len() && !stop.is_set() {
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
    stop: &'a Stop,
}

/// What a directive is to a reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    /// Nothing that is shown as text.
    Silent,
    /// Its body is code.
    Literal,
    /// Its argument describes a function, an option or the like.
    Described,
    /// Its argument begins its text.
    Joined,
    /// Its argument is no text.
    Body,
    /// Its argument is a title: also of every directive that is not known, since what is not known is not dropped.
    Titled,
}

impl Directive {
    fn of(name: &str) -> Self {
        let (domain, plain) = name.rsplit_once(':').unwrap_or(("", name));
        match plain {
            "image"
            | "include"
            | "toctree"
            | "math"
            | "meta"
            | "index"
            | "role"
            | "default-role"
            | "contents"
            | "sectnum"
            | "section-numbering"
            | "target-notes"
            | "currentmodule"
            | "default-domain"
            | "literalinclude"
            | "replace"
            | "unicode"
            | "date"
            | "graphviz"
            | "digraph"
            | "graph"
            | "inheritance-diagram"
            | "uml"
            | "plantuml"
            | "mermaid"
            | "tabularcolumns"
            | "bibliography"
            | "raw" => Self::Silent,
            "code-block" | "code" | "sourcecode" | "highlight" | "parsed-literal" | "prompt" | "doctest"
            | "testcode" | "testoutput" | "productionlist" | "code-cell" | "ipython" | "jupyter-execute"
            | "command-output" | "console" => Self::Literal,
            "note" | "warning" | "tip" | "important" | "caution" | "attention" | "danger" | "hint" | "error"
            | "seealso" | "versionadded" | "versionchanged" | "deprecated" | "versionremoved" | "admonition"
            | "topic" | "rubric" | "centered" | "todo" => Self::Joined,
            "figure" | "only" | "ifconfig" | "container" | "compound" | "epigraph" | "highlights" | "pull-quote"
            | "glossary" | "hlist" | "tabs" | "tab-set" | "grid" | "cssclass" | "rst-class" | "line-block" => {
                Self::Body
            }
            "function" | "method" | "class" | "attribute" | "data" | "option" | "module" | "describe" | "exception"
            | "envvar" | "confval" | "program" | "cmdoption" | "decorator" | "classmethod" | "staticmethod" => {
                Self::Described
            }
            _ if !domain.is_empty() => Self::Described,
            _ => Self::Titled,
        }
    }
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
            self.explicit();
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
        let lines = self.lines;
        let ahead = &lines[self.at..];
        let grid = table::grid_height(ahead);
        let height = if grid > 0 { grid } else { table::simple_height(ahead) };
        if height < 2 {
            return false;
        }
        self.out.end(self.kind);
        let read = if grid > 0 { table::grid } else { table::simple };
        let found = read(&ahead[..height], self.number());
        self.add_table(found);
        self.at += height;
        true
    }

    fn add_table(&mut self, table: Table) {
        for (at, row) in table.rows.into_iter().enumerate() {
            // The cells stand beside each other, so a later cell may begin on an earlier line.
            let mut line = 0;
            for (column, cell) in row.into_iter().enumerate() {
                if column > 0 {
                    self.out.prose(" | ", line.max(1));
                }
                for (number, text) in cell {
                    line = line.max(number);
                    self.out.prose(&inline(&text), line);
                    self.out.prose(" ", line);
                }
            }
            if at < table.heads {
                self.out.end_heading(HEAD_ROW);
            } else {
                self.out.end(Kind::Row);
            }
        }
        self.out.leave(HEAD_ROW);
    }

    /// What begins with two dots: a footnote, a target, a directive or a comment.
    fn explicit(&mut self) {
        self.out.end(self.kind);
        self.kind = Kind::Paragraph;
        let line = self.get(self.at);
        let depth = indent(line);
        let body = line.trim().trim_start_matches("..").trim();
        self.at += 1;
        if let Some((_, note)) = body.strip_prefix('[').and_then(|b| b.split_once(']')) {
            let number = self.number() - 1;
            self.out.prose(&inline(note.trim()), number);
            self.out.prose(" ", number);
        } else if let Some((name, argument)) = directive(body) {
            self.directive(name, argument, depth);
        } else {
            if self.out.len() == 0 {
                self.out.date(dates::stamp(body));
            }
            self.skip(depth);
        }
    }

    fn directive(&mut self, name: &str, argument: &str, depth: usize) {
        let number = self.number() - 1;
        match name {
            "list-table" | "csv-table" => {
                self.out.prose(&inline(argument), number);
                self.out.end(Kind::Paragraph);
                return self.directive_table(name == "csv-table", depth);
            }
            "raw" if argument.split_whitespace().any(|format| format == "html") => return self.html(depth),
            _ => {}
        }
        match Directive::of(name) {
            Directive::Silent => self.skip(depth),
            Directive::Literal => self.literal(depth),
            Directive::Described => {
                self.options(depth);
                self.out.heading(TERM_LEVEL, argument);
            }
            Directive::Body => self.options(depth),
            Directive::Joined => {
                self.out.prose(&inline(argument), number);
                self.out.prose(" ", number);
                self.options(depth);
            }
            Directive::Titled => {
                self.out.prose(&inline(argument), number);
                self.out.end(Kind::Paragraph);
                self.options(depth);
            }
        }
    }

    /// The rows of a `list-table` or `csv-table`.
    fn directive_table(&mut self, csv: bool, depth: usize) {
        let number = self.number();
        let mut head: Option<(u32, &str)> = None;
        let mut heads = 0;
        let mut delimiter = ',';
        while let Some((name, value)) = self.option(depth) {
            match name {
                "header-rows" => heads = value.parse().unwrap_or(0),
                "header" => head = Some((self.number() - 1, value)),
                "delim" if value == "tab" => delimiter = '\t',
                "delim" if value == "space" => delimiter = ' ',
                "delim" => delimiter = value.chars().next().unwrap_or(','),
                _ => {}
            }
        }
        let (from, first) = (self.at, self.number().max(number));
        self.skip(depth);
        let lines = self.lines;
        let body = &lines[from..self.at];
        if !csv {
            return self.add_table(table::list(body, first, heads));
        }
        let mut rows = table::csv(body, first, delimiter);
        if let Some((line, text)) = head {
            let header = table::csv(&[text], line, delimiter);
            heads += header.len();
            rows.splice(0..0, header);
        }
        self.add_table(Table { rows, heads });
    }

    /// The body of `raw:: html`, as the reader of HTML pages sees it.
    fn html(&mut self, depth: usize) {
        while self.option(depth).is_some() {}
        let (from, first) = (self.at, self.number());
        self.skip(depth);
        let text = self.lines[from..self.at].join("\n");
        self.out.adopt(super::html::extract(&text, self.stop), first);
    }

    /// The option at this line of a directive that is indented by `depth`.
    fn option(&mut self, depth: usize) -> Option<(&'a str, &'a str)> {
        let line = self.get(self.at);
        let found = line.trim().strip_prefix(':').and_then(|l| l.split_once(':')).filter(|_| indent(line) > depth)?;
        self.at += 1;
        Some((found.0, found.1.trim()))
    }

    /// Reads the option lines of a directive: a caption is text, the others are not.
    fn options(&mut self, depth: usize) {
        while let Some((name, value)) = self.option(depth) {
            if matches!(name, "caption" | "title") {
                self.out.prose(&inline(value), self.number() - 1);
                self.out.end(Kind::Paragraph);
            }
        }
    }

    fn skip(&mut self, depth: usize) {
        while self.at < self.lines.len() && (self.get(self.at).trim().is_empty() || indent(self.get(self.at)) > depth) {
            self.at += 1;
        }
    }

    /// An indented block after `::`, deeper than `depth`.
    fn literal(&mut self, depth: usize) {
        self.options(depth);
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

/// The name and argument of a directive; none where the line is a comment or a target.
fn directive(body: &str) -> Option<(&str, &str)> {
    let (name, argument) = body.split_once("::")?;
    let ends = argument.is_empty() || argument.starts_with(char::is_whitespace);
    // A substitution is a part of other text, and is not carried out.
    let name = if name.starts_with('|') { "replace" } else { name.trim() };
    let named = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'+' | b':' | b'.'));
    (ends && named).then(|| (name, argument.trim()))
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

    fn extract(text: &str) -> Document {
        super::extract(text, &Stop::default())
    }

    fn texts(text: &str) -> Vec<String> {
        extract(text).blocks.into_iter().map(|b| b.text).collect()
    }

    #[test]
    fn the_body_of_every_directive_is_read_but_for_those_without_text() {
        for name in [
            "only:: html",
            "ifconfig:: x",
            "figure:: a.png",
            "tabs::",
            "tab-item:: Linux",
            "dropdown:: More",
            "sidebar:: Aside",
            "pull-quote::",
            "highlights::",
            "compound::",
            "todo::",
            "hlist::",
            "note::",
            "made-up::",
            "table:: Sizes",
            "ext:thing:: x",
            "figure:: a.png\n   :alt: x",
        ] {
            let found = texts(&format!(".. {name}\n\n   The swap is 4 GB.\n\nEnd.\n"));
            assert!(found.iter().any(|t| t == "The swap is 4 GB."), "{name}: {found:?}");
        }
        for name in [
            "image:: a.png",
            "toctree::",
            "math::",
            "raw:: latex",
            "_target: x",
            "A comment with a::b",
            "|x| replace:: y",
        ] {
            assert_eq!(texts(&format!(".. {name}\n\n   hidden words\n\nEnd.\n")), ["End."], "{name}");
        }
        assert_eq!(texts(".. raw:: html\n\n   <p>Shown.</p>\n"), ["Shown."]);
        assert_eq!(texts(".. tab-item:: Linux\n\n   Text.\n"), ["Linux", "Text."]);
        assert_eq!(texts(".. centered:: Licence of 1998\n"), ["Licence of 1998"]);
        assert_eq!(texts(".. code-block:: sh\n   :caption: Start it\n\n   run\n"), ["Start it", "run"]);
    }

    #[test]
    fn footnotes_and_citations_are_paragraphs() {
        let text =
            "Text [#a]_.\n\n.. [#a] The port is 9100\n   on every host.\n.. [1] See a::b.\n.. [CIT2002] Holm, 2002.\n";
        assert_eq!(texts(text), ["Text [#a]_.", "The port is 9100 on every host.", "See a::b.", "Holm, 2002."]);
        let d = extract(text);
        assert_eq!(d.blocks[1].lines(0, d.blocks[1].text.len()), (3, 4));
    }

    #[test]
    fn tables_keep_their_cells_under_their_heads() {
        let grid = "+-------+-----+-----+\n| what  | min | max |\n+=======+=====+=====+\n| cache |     | 512 |\n| of it |     | MB  |\n+-------+-----+-----+\n\nEnd.\n";
        let simple = "======== === ======\nwhat     min max\n======== === ======\ncache of     512 MB\nit\n======== === ======\n\nEnd.\n";
        let csv = ".. csv-table:: Limits\n   :header: \"what\", min, max\n\n   cache of it, , 512 MB\n\nEnd.\n";
        let list = ".. list-table:: Limits\n   :header-rows: 1\n\n   * - what\n     - min\n     - max\n   * - cache of it\n     -\n     - 512 MB\n\nEnd.\n";
        for text in [grid, csv, list] {
            let d = extract(text);
            let row = d.blocks.iter().find(|b| b.kind == Kind::Row).expect("a row");
            assert_eq!(
                (row.text.as_str(), &*row.headings),
                ("cache of it | | 512 MB", &["what | min | max".to_owned()][..]),
                "{text}"
            );
            assert_eq!(d.blocks.last().map(|b| (b.text.as_str(), b.headings.len())), Some(("End.", 0)));
        }
        assert_eq!(texts(simple)[0], "cache of | | 512 MB");
        assert_eq!(extract(grid).blocks[0].lines(0, 10), (4, 5));
        let long = format!("+---+\n{}", "| x |\n".repeat(200_000));
        assert!(!extract(&long).blocks.is_empty());
    }

    #[test]
    fn a_list_table_has_rows_with_their_head() {
        let text = "Sizes\n=====\n\n.. list-table:: Caps\n   :header-rows: 1\n\n   * - name\n     - size\n   * - cap\n     - 4 mm\n       wide\n\nEnd.\n";
        let d = extract(text);
        let seen: Vec<_> = d.blocks.iter().map(|b| (b.kind, b.text.as_str())).collect();
        let expected = [(Kind::Paragraph, "Caps"), (Kind::Row, "cap | 4 mm wide"), (Kind::Paragraph, "End.")];
        assert_eq!(seen, expected);
        assert_eq!(&*d.blocks[1].headings, ["Sizes", "name | size"]);
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
