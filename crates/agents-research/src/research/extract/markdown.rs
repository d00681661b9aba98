//! Markdown into blocks.
//!
//! For: CommonMark with tables, as the parser sees it. Not for: reading embedded HTML, which `html` does.
//! Invariant: a line number is the line of the file that the text is on.

use pulldown_cmark::{Event, HeadingLevel, MetadataBlockKind, Options, Parser, Tag, TagEnd};

use super::super::text::dates;
use super::limited::Stop;
use super::{Builder, Document, HEAD_ROW, Kind};

/// Extracts the blocks of a Markdown text.
pub(crate) fn extract(text: &str, stop: &Stop) -> Document {
    let starts: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(i, _)| i + 1)).collect();
    let line = |byte: usize| starts.partition_point(|s| *s <= byte) as u32;
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS;
    let mut walk =
        Walk { out: Builder::default(), kind: Kind::Paragraph, mode: Mode::Prose, cells: 0, html: Vec::new(), stop };
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        if stop.is_set() {
            break;
        }
        walk.event(event, line(range.start));
    }
    walk.out.finish()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Prose,
    Code,
    Meta,
    Skip,
}

struct Walk<'a> {
    out: Builder,
    kind: Kind,
    mode: Mode,
    cells: usize,
    /// The lines of an HTML block.
    html: Vec<(String, u32)>,
    stop: &'a Stop,
}

impl Walk<'_> {
    fn event(&mut self, event: Event<'_>, line: u32) {
        match event {
            Event::Start(tag) => self.start(&tag, line),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match self.mode {
                Mode::Prose => self.out.prose(&text, line),
                Mode::Code => self.out.raw(&text, line),
                Mode::Meta => self.meta(&text),
                Mode::Skip => {}
            },
            Event::Code(code) => {
                self.out.tick(line, true);
                self.out.prose(&code, line);
                self.out.tick(line, false);
            }
            Event::SoftBreak | Event::HardBreak => self.out.prose(" ", line),
            Event::Html(html) if self.mode == Mode::Skip => self.html.push((html.into_string(), line)),
            Event::InlineHtml(tag) if tag.to_lowercase().starts_with("<br") => self.out.prose(" ", line),
            Event::Rule => self.out.end(self.kind),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>, line: u32) {
        match tag {
            Tag::Item => {
                self.out.end(self.kind);
                self.kind = Kind::Item;
            }
            Tag::TableHead | Tag::TableRow => {
                self.out.end(self.kind);
                (self.kind, self.cells) = (Kind::Row, 0);
            }
            Tag::TableCell => {
                if self.cells > 0 {
                    self.out.prose(" | ", line);
                }
                self.cells += 1;
            }
            Tag::CodeBlock(_) => {
                self.out.end(self.kind);
                self.mode = Mode::Code;
            }
            Tag::MetadataBlock(MetadataBlockKind::YamlStyle | MetadataBlockKind::PlusesStyle) => self.mode = Mode::Meta,
            Tag::HtmlBlock => {
                self.out.end(self.kind);
                self.mode = Mode::Skip;
                self.html.clear();
            }
            Tag::Heading { .. } | Tag::List(_) | Tag::BlockQuote(_) | Tag::Table(_) => self.out.end(self.kind),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph => self.out.end(self.kind),
            TagEnd::Heading(level) => self.out.end_heading(depth(level)),
            TagEnd::Item => {
                self.out.end(self.kind);
                self.kind = Kind::Item;
            }
            TagEnd::List(_) => self.kind = Kind::Paragraph,
            // The head of a table is context of its rows, like a heading below all others.
            TagEnd::TableHead => self.out.end_heading(HEAD_ROW),
            TagEnd::TableRow => self.out.end(Kind::Row),
            TagEnd::Table => {
                self.out.leave(HEAD_ROW);
                self.kind = Kind::Paragraph;
            }
            TagEnd::CodeBlock => {
                self.out.end(Kind::Code);
                self.mode = Mode::Prose;
            }
            TagEnd::HtmlBlock => {
                self.mode = Mode::Prose;
                self.embedded();
            }
            TagEnd::MetadataBlock(_) => self.mode = Mode::Prose,
            _ => {}
        }
    }

    /// The text of an HTML block, as the reader of HTML pages sees it.
    fn embedded(&mut self) {
        let lines = std::mem::take(&mut self.html);
        let Some(first) = lines.first().map(|(_, line)| *line) else { return };
        let text: String = lines.into_iter().map(|(text, _)| text).collect();
        self.out.adopt(super::html::extract(&text, self.stop), first);
    }

    /// Title and date from the front matter.
    fn meta(&mut self, text: &str) {
        for line in text.lines() {
            // Between colons as YAML, between plus signs as TOML.
            let Some((key, value)) = line.split_once([':', '=']) else { continue };
            let value = value.trim().trim_matches(['"', '\'']);
            match key.trim().to_lowercase().as_str() {
                "title" => self.out.title(value),
                "date" | "updated" | "lastmod" | "last_updated" | "modified" => {
                    self.out.date(dates::dates(value).into_iter().next());
                }
                _ => {}
            }
        }
    }
}

fn depth(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extract(text: &str) -> Document {
        super::extract(text, &Stop::default())
    }

    #[test]
    fn embedded_html_is_read_with_its_lines() {
        let d = extract("# Pumps\n\n<table>\n<tr><td>P4</td><td>40 litres</td></tr>\n</table>\n\nText.\n");
        let seen: Vec<_> = d.blocks.iter().map(|b| (b.kind, b.text.as_str(), b.lines(0, b.text.len()).0)).collect();
        assert_eq!(seen, [(Kind::Row, "P4 | 40 litres", 4), (Kind::Paragraph, "Text.", 7)]);
        assert_eq!(&*d.blocks[0].headings, ["Pumps"]);
    }

    #[test]
    fn every_kind_of_html_block_is_read_and_a_comment_is_not() {
        for (html, expected) in [
            ("<p align=\"center\">Six persons.</p>", "Six persons."),
            ("<div>\nSix persons.\n</div>", "Six persons."),
            ("<center>Six persons.</center>", "Six persons."),
            ("<ul><li>Six persons.</ul>", "Six persons."),
            ("<blockquote>Six persons.</blockquote>", "Six persons."),
            ("<pre>Six persons.</pre>", "Six persons."),
            ("<details>\n<summary>Six persons.</summary>\n</details>", "Six persons."),
            ("<nav>Carries six persons.</nav>", "Carries six persons."),
        ] {
            let d = extract(&format!("# Boats\n\n{html}\n\nEnd.\n"));
            let seen: Vec<_> = d.blocks.iter().map(|b| b.text.as_str()).collect();
            assert_eq!(seen, [expected, "End."], "{html}");
            assert_eq!(&*d.blocks[0].headings, ["Boats"]);
        }
        assert_eq!(extract("<!-- Six persons. -->\n").blocks.len(), 0);
    }

    #[test]
    fn front_matter_is_read_in_both_forms_and_with_both_line_ends() {
        for text in [
            "---\ntitle: Tariff\ndate: 2025-02-01\n---\n\nText.\n",
            "+++\ntitle = \"Tariff\"\ndate = 2025-02-01\n+++\n\nText.\n",
        ] {
            for text in [text.to_owned(), text.replace('\n', "\r\n")] {
                let d = extract(&text);
                assert_eq!(
                    (d.title.as_str(), d.date.as_deref(), d.blocks.len()),
                    ("Tariff", Some("2025-02-01"), 1),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn blocks_carry_headings_kinds_and_lines() {
        let text = "---\ntitle: Pump\ndate: 2025-02-01\n---\n# Pump P4\n\nThe *pump* has a [valve](x.md)\nof `DN 20`.\n\n- first\n- second\n  more\n\n```sh\nrun --now\n```\n\n| part | size |\n|---|---|\n| seal | 4 mm |\n\n## Next\ntail\n";
        let d = extract(text);
        let seen: Vec<_> = d.blocks.iter().map(|b| (b.kind, b.text.as_str(), b.lines(0, b.text.len()))).collect();
        assert_eq!(
            seen,
            [
                (Kind::Paragraph, "The pump has a valve of `DN 20`.", (7, 8)),
                (Kind::Item, "first", (10, 10)),
                (Kind::Item, "second more", (11, 12)),
                (Kind::Code, "run --now", (15, 15)),
                (Kind::Row, "seal | 4 mm", (20, 20)),
                (Kind::Paragraph, "tail", (23, 23)),
            ]
        );
        assert_eq!(&*d.blocks[4].headings, ["Pump P4", "part | size"]);
        assert_eq!((d.title.as_str(), d.date.as_deref()), ("Pump", Some("2025-02-01")));
    }
}
