//! The chosen sentences as Markdown with numbered sources.
//!
//! For: layout, citations and the ledger. Not for: choosing what to say.
//! Invariant: sources are numbered in order of first use, without gaps; the writer's own words are in italics or under Limits.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{Chosen, Part, WriteInput, trim_claim};
use crate::research::model::{Contradiction, Fact, Hit, LedgerEntry, Place, SegmentKind, Support};
use crate::research::text::markup::{escape, squeeze};

/// One numbered source.
struct Source {
    file: String,
    /// Title and headings, for people.
    name: String,
    section: String,
    place: Place,
    date: Option<String>,
    outdated: bool,
}

struct Page<'a> {
    input: &'a WriteInput,
    out: String,
    sources: Vec<Source>,
    ledger: Vec<LedgerEntry>,
}

/// The report and its ledger.
pub(super) fn render(input: &WriteInput, parts: &[Part<'_>]) -> (String, Vec<LedgerEntry>) {
    let mut page = Page { input, out: String::new(), sources: Vec::new(), ledger: Vec::new() };
    let question = escape(&input.plan.question);
    page.line(&format!("# {question}\n\n## Answer\n"));
    page.answer(parts);
    if parts.iter().any(|p| !p.findings.is_empty()) {
        page.line("## Findings\n");
        for part in parts.iter().filter(|p| !p.findings.is_empty()) {
            page.findings(part, parts.len() > 1);
        }
    }
    page.contradictions();
    page.limits(parts);
    page.list_sources();
    (format!("{}\n", page.out.trim_end()), page.ledger)
}

impl Page<'_> {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn answer(&mut self, parts: &[Part<'_>]) {
        if parts.iter().all(|p| p.answer.is_empty()) {
            let near = parts.iter().any(|p| !p.findings.is_empty());
            self.line(if !changed(self.input).is_empty() {
                "_Not found in what could be quoted: files changed meanwhile, as stands under Limits._\n"
            } else if near {
                "_Not found in these documents. What comes nearest is under Findings._\n"
            } else {
                "_Not found in these documents._\n"
            });
            return;
        }
        for part in parts {
            if part.answer.is_empty() {
                let sub = escape(&part.sub.text);
                self.line(&format!("_Nothing was found that answers “{sub}”._\n"));
                continue;
            }
            if part.support != Support::Answered {
                self.line(
                    "_A weak answer: nothing in these documents fits better, and this may not be what was asked._\n",
                );
            }
            self.paragraph(part);
        }
    }

    /// Sentences that stand together become one paragraph; code, rows and items get lines of their own.
    fn paragraph(&mut self, part: &Part<'_>) {
        let mut prose = Vec::new();
        for chosen in &part.answer {
            let number = self.cite(chosen, &part.sub.id);
            if chosen.segment.kind == SegmentKind::Code {
                self.flush(&mut prose);
                self.code(chosen, number);
            } else if chosen.label.is_some()
                && (chosen.entry || matches!(chosen.segment.kind, SegmentKind::Row | SegmentKind::Item))
            {
                self.flush(&mut prose);
                self.line(&format!("{}\n", labelled(chosen, number)));
            } else {
                prose.push(format!("{} [{number}]", escape(&chosen.claim)));
            }
        }
        self.flush(&mut prose);
    }

    fn flush(&mut self, prose: &mut Vec<String>) {
        if !prose.is_empty() {
            let text = prose.join(" ");
            self.line(&format!("{text}\n"));
            prose.clear();
        }
    }

    fn code(&mut self, chosen: &Chosen<'_>, number: u32) {
        // A fence longer than any run of backticks in the code.
        let longest = chosen.claim.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        self.line(&format!("_Example from [{number}]:_\n\n{fence}\n{}\n{fence}\n", chosen.claim));
    }

    fn findings(&mut self, part: &Part<'_>, several: bool) {
        if several {
            let text = escape(&part.sub.text);
            self.line(&format!("### {text}\n"));
        }
        for chosen in &part.findings {
            let number = self.cite(chosen, &part.sub.id);
            self.line(&format!("- {}", labelled(chosen, number)));
        }
        self.out.push('\n');
    }

    fn contradictions(&mut self) {
        let changed = changed(self.input);
        let holds = |c: &&Contradiction| ![&c.a.path, &c.b.path].iter().any(|path| changed.contains(path.as_str()));
        let all: Vec<Contradiction> = self.input.analysis.contradictions.iter().filter(holds).cloned().collect();
        if all.is_empty() {
            return;
        }
        self.line("## Contradictions\n");
        for contradiction in &all {
            self.contradiction(contradiction);
        }
        self.out.push('\n');
    }

    fn contradiction(&mut self, c: &Contradiction) {
        let newer = match c.newer.as_deref() {
            Some("a") => "; the first is newer",
            Some("b") => "; the second is newer",
            _ => "",
        };
        let about = escape(&c.about).replace('_', " ");
        self.line(&format!("- _The sources disagree about “{about}”{newer}:_"));
        for fact in [&c.a, &c.b] {
            if let Some(number) = self.cite_fact(fact) {
                self.line(&format!("  - {} [{number}]", escape(&trim_claim(&fact.quote))));
            }
        }
    }

    /// The number of the source of a chosen segment; enters the claim in the ledger.
    fn cite(&mut self, chosen: &Chosen<'_>, sub: &str) -> u32 {
        self.enter(chosen.hit, chosen.segment.place, &chosen.claim, &chosen.segment.text, sub)
    }

    fn cite_fact(&mut self, fact: &Fact) -> Option<u32> {
        let evidence = &self.input.evidence.kept;
        let found = evidence.iter().find(|e| e.hit.path == fact.path && e.hit.place.overlaps(fact.place))?;
        let sub = found.sub_questions.first().cloned().unwrap_or_default();
        let hit = found.hit.clone();
        Some(self.enter(&hit, fact.place, &trim_claim(&fact.quote), &fact.quote, &sub))
    }

    fn enter(&mut self, hit: &Hit, place: Place, claim: &str, quote: &str, sub: &str) -> u32 {
        let section = hit.headings.join(" › ");
        let known = self.sources.iter().position(|s| s.file == hit.path && s.section == section);
        let at = known.unwrap_or_else(|| {
            let name = name(hit);
            let (date, outdated) = (hit.date.clone(), hit.outdated);
            self.sources.push(Source { file: hit.path.clone(), name, section, place, date, outdated });
            self.sources.len() - 1
        });
        self.sources[at].place = self.sources[at].place.with(place);
        let citation = at as u32 + 1;
        let (claim, quote) = (claim.to_owned(), quote.to_owned());
        let entry = LedgerEntry {
            claim,
            quote,
            file: hit.path.clone(),
            place,
            hash: hit.hash.clone(),
            citation,
            sub_question: sub.to_owned(),
        };
        if !self.ledger.contains(&entry) {
            self.ledger.push(entry);
        }
        citation
    }

    fn limits(&mut self, parts: &[Part<'_>]) {
        let corpus = &self.input.evidence.corpus;
        let mut text = String::from("## Limits\n\n");
        let places: Vec<String> = corpus.sources.iter().map(|s| code(s)).collect();
        let _ = writeln!(
            text,
            "- Searched: {} in {}. The report quotes and does not conclude.",
            files(corpus.files),
            places.join(", ")
        );
        for skipped in &corpus.skipped {
            let _ = writeln!(
                text,
                "- {} left out: {} (such as {}).",
                files(skipped.files),
                skipped.reason,
                code(&skipped.example)
            );
        }
        for file in changed(self.input) {
            let _ = writeln!(
                text,
                "- {} has changed since it was read, and is not quoted. The next search reads it again.",
                code(file)
            );
        }
        for part in parts {
            let missing: Vec<String> = part.missing.iter().map(|m| format!("“{}”", escape(m))).collect();
            let sub = escape(&part.sub.text);
            match part.support {
                Support::Answered => {}
                _ if missing.is_empty() => {
                    let _ = writeln!(text, "- No sentence was found that answers “{sub}” directly.");
                }
                _ => {
                    let _ = writeln!(text, "- For “{sub}” no passage that fits has {}.", missing.join(", "));
                }
            }
        }
        let outdated = self
            .sources
            .iter()
            .enumerate()
            .filter(|(_, s)| s.outdated)
            .map(|(i, _)| format!("[{}]", i + 1))
            .collect::<Vec<_>>();
        if !outdated.is_empty() {
            let _ = writeln!(text, "- {} is marked as out of date by its own text.", outdated.join(", "));
        }
        let older = self.input.evidence.dropped.iter().filter(|d| d.reason.starts_with("a newer version")).count();
        if older > 0 {
            let _ = writeln!(text, "- Older versions left out: {older}.");
        }
        self.line(&text);
    }

    fn list_sources(&mut self) {
        if self.sources.is_empty() {
            return;
        }
        let mut text = String::from("## Sources\n\n");
        for (i, source) in self.sources.iter().enumerate() {
            let dated = source.date.as_ref().map(|d| format!(", dated {d}")).unwrap_or_default();
            let _ = writeln!(text, "{}. {}: {}, {}{dated}", i + 1, source.name, code(&source.file), source.place);
        }
        self.line(&text);
    }
}

fn labelled(chosen: &Chosen<'_>, number: u32) -> String {
    let label = chosen.label.as_ref().map(|l| format!("**{}:** ", shown(l))).unwrap_or_default();
    format!("{label}{} [{number}]", escape(&chosen.claim))
}

/// The files that a review found changed.
fn changed(input: &WriteInput) -> BTreeSet<&str> {
    let problems = input.feedback.as_ref().map(|f| f.problems.as_slice()).unwrap_or_default();
    problems.iter().filter_map(|p| p.file.as_deref()).collect()
}

/// A path as code. What would end the line, or the code, is written as in a string of a program.
fn code(path: &str) -> String {
    let clean = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    let path: String = path.chars().map(clean).collect();
    format!("`{}`", path.replace('`', "\\u{60}"))
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

/// Title and section of a source, each once.
fn name(hit: &Hit) -> String {
    let mut out = shown(&hit.title);
    for heading in hit.headings.iter().rev().take(2).rev() {
        if !hit.title.contains(heading.as_str()) && heading.len() <= 120 {
            out.push_str(" › ");
            out.push_str(&shown(heading));
        }
    }
    out
}

/// A heading as Markdown: signatures and paths as code.
fn shown(heading: &str) -> String {
    let heading = squeeze(heading);
    let signature = ["pub ", "fn ", "const ", "unsafe ", "impl"].iter().any(|s| heading.starts_with(s));
    let code = signature
        || heading.contains(['<', '{', '&'])
        || heading.contains("::") && !heading.contains(' ')
        || heading.starts_with("--");
    if code && !heading.contains('`') { format!("`{heading}`") } else { escape(&heading) }
}
