//! The surroundings of the sentences of a passage.
//!
//! For: headings, titles, lead-ins and neighbours, which say what a sentence is about when it does not say so itself.
//! Not for: judging the sentence.
//! Invariant: a term is credited once, at the best place that has it.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Scorer, is_prose, normalise, term_set};
use crate::research::model::{Hit, SegmentKind};
use crate::research::plan::plain;
use crate::research::text::words::{Term, Terms};

/// What a term is worth by the place that has it, in thousandths.
pub(super) struct Credits {
    /// In the sentence.
    pub(super) own: i64,
    /// In the innermost heading, the first cell of the row, or the head of the table.
    pub(super) inner: i64,
    /// In the sentence that introduces the list.
    pub(super) lead: i64,
    /// In the sentence before, in the same paragraph.
    pub(super) before: i64,
    /// In the sentence behind, or in the paragraph before.
    pub(super) beside: i64,
    /// In the title or another heading.
    pub(super) outer: i64,
    /// Somewhere in the passage.
    pub(super) passage: i64,
}

/// The terms around the segments of a hit.
pub(super) struct Surroundings {
    /// Terms of title and headings.
    pub(super) head: BTreeSet<String>,
    /// The innermost heading, and the title, as names that are compared word for word.
    pub(super) name: String,
    pub(super) page_name: String,
    /// Whether the innermost heading is a question, as in lists of frequent questions.
    pub(super) is_question: bool,
    /// Terms of the title and of the file's name.
    pub(super) title: BTreeSet<String>,
    /// Terms of the title alone.
    pub(super) page: BTreeSet<String>,
    /// Terms of the last heading above a table's head, or of the title where there is none.
    pub(super) inner: BTreeSet<String>,
    /// The same in order.
    pub(super) order: Vec<String>,
    /// Terms of the heading above the last.
    pub(super) parent: BTreeSet<String>,
    /// Terms of a table's head.
    columns: BTreeSet<String>,
    /// Terms that are only pieces of words of each segment.
    pieces: Vec<BTreeSet<String>>,
    /// Whole terms of each segment, and all terms in order.
    pub(super) sets: Vec<BTreeSet<String>>,
    pub(super) lists: Vec<Vec<Term>>,
    /// For each segment the one that introduces its list.
    leads: Vec<Option<usize>>,
    /// For each segment whether the one before is of the same paragraph, and whether it is near.
    blocks: Vec<u32>,
    /// Terms of the whole passage.
    all: BTreeSet<String>,
    /// For each segment that introduces a list the terms of its members.
    members: Vec<BTreeSet<String>>,
    /// The first prose of a section.
    first: Option<usize>,
}

impl Surroundings {
    pub(super) fn new(terms: &mut Terms, hit: &Hit) -> Self {
        let stem = Path::new(&hit.path).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let title = term_set(terms, &format!("{} {stem}", hit.title));
        let page = term_set(terms, &hit.title);
        let mut head = term_set(terms, &hit.headings.join(" "));
        head.extend(title.iter().cloned());
        let columns = hit.headings.last().filter(|h| h.contains(" | ")).map(|h| term_set(terms, h)).unwrap_or_default();
        let inner = hit.headings.iter().rev().find(|h| !h.contains(" | ")).unwrap_or(&hit.title);
        let name = plain(inner);
        let page_name = plain(&hit.title);
        let is_question = inner.trim_end().ends_with('?');
        let inner = bare(inner);
        let order = terms.list(&inner).into_iter().map(|t| normalise(&t.text).to_owned()).collect();
        let inner = term_set(terms, &inner);
        let parent = hit.headings.iter().rev().filter(|h| !h.contains(" | ")).nth(1);
        let parent = parent.map(|h| term_set(terms, &bare(h))).unwrap_or_default();
        let lists: Vec<Vec<Term>> = hit.segments.iter().map(|s| terms.list(&s.text)).collect();
        let pick = |piece: bool| {
            let one =
                |l: &Vec<Term>| l.iter().filter(|t| t.piece == piece).map(|t| normalise(&t.text).to_owned()).collect();
            lists.iter().map(one).collect::<Vec<BTreeSet<String>>>()
        };
        let (sets, pieces) = (pick(false), pick(true));
        let all = sets.iter().flatten().cloned().collect();
        let first = hit.segments.iter().position(is_prose).filter(|_| hit.lead);
        let blocks = hit.segments.iter().map(|s| s.block).collect();
        let leads = leads(hit);
        let mut members = vec![BTreeSet::new(); sets.len()];
        for (at, lead) in leads.iter().enumerate() {
            if let Some(lead) = lead {
                members[*lead].extend(sets[at].iter().cloned());
            }
        }
        Self {
            head,
            name,
            page_name,
            is_question,
            title,
            page,
            inner,
            order,
            parent,
            columns,
            pieces,
            sets,
            lists,
            leads,
            blocks,
            all,
            members,
            first,
        }
    }

    /// Whether a segment is the first prose below its headings.
    pub(super) fn opens(&self, at: usize) -> bool {
        self.first == Some(at)
    }

    /// The segment that introduces the list that a segment is a member of.
    pub(super) fn lead(&self, at: usize) -> Option<usize> {
        self.leads[at]
    }

    /// What a term is worth for a segment. `about` is how far the innermost heading is about the question, 0 to 1000: one
    /// that is about little else is as good as the sentence itself.
    pub(super) fn credit(&self, at: usize, term: &str, credits: &Credits, about: i64) -> i64 {
        let has = |i: Option<usize>| i.and_then(|i| self.sets.get(i)).is_some_and(|s| s.contains(term));
        let block = self.blocks[at];
        let before = at.checked_sub(1);
        let same = |i: usize| self.blocks.get(i).is_some_and(|b| *b == block);
        let close = |i: usize| self.blocks.get(i).is_some_and(|b| b.abs_diff(block) <= 1);
        match () {
            () if self.sets[at].contains(term) => credits.own,
            () if self.inner.contains(term) => credits.inner + (credits.own - credits.inner).max(0) * about / 1_000,
            () if self.columns.contains(term) => credits.inner,
            () if self.members[at].contains(term) => credits.lead,
            () if has(self.leads[at]) => credits.lead,
            () if self.pieces[at].contains(term) => credits.lead,
            () if before.is_some_and(same) && has(before) => credits.before.max(self.outer(term, credits)),
            () if self.head.contains(term) => credits.outer,
            () if (before.is_some_and(close) && has(before)) || (close(at + 1) && has(Some(at + 1))) => credits.beside,
            () if self.all.contains(term) => credits.passage,
            () => 0,
        }
    }

    fn outer(&self, term: &str, credits: &Credits) -> i64 {
        if self.head.contains(term) { credits.outer } else { 0 }
    }

    /// How much the passage as a whole is about the question: the mean share of its sentences, 0 to 1000.
    pub(super) fn density(&self, scorer: &Scorer) -> i64 {
        let sum: i64 = self.sets.iter().map(|s| scorer.share(s)).sum();
        sum / i64::try_from(self.sets.len().max(3)).unwrap_or(i64::MAX)
    }
}

/// A heading without the arguments of its signature: `partial(func, /, *args)` is `partial`.
fn bare(heading: &str) -> String {
    let mut out = String::new();
    let mut depth = 0_usize;
    for c in heading.chars() {
        match c {
            '(' if depth > 0 || out.ends_with(|p: char| p.is_alphanumeric() || p == '_') => depth += 1,
            ')' if depth > 0 => depth -= 1,
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// Words of a heading that runs into its paragraph.
const RUN_IN_WORDS_MAX: usize = 3;

/// For each item the sentence that introduces its list: the last one before it that is no item and ends with a colon.
fn leads(hit: &Hit) -> Vec<Option<usize>> {
    let mut lead = None;
    let mut out = Vec::with_capacity(hit.segments.len());
    for (at, segment) in hit.segments.iter().enumerate() {
        let listed = matches!(segment.kind, SegmentKind::Item | SegmentKind::Row);
        // "**Formats.** Markdown and HTML": a word that runs into its paragraph introduces it.
        let run_in = hit.segments[..at].iter().rposition(|s| s.block != segment.block).map_or(0, |i| i + 1);
        let first = &hit.segments[run_in].text;
        if run_in < at && !listed && first.ends_with(['.', ':']) && first.split_whitespace().count() <= RUN_IN_WORDS_MAX
        {
            out.push(Some(run_in));
            continue;
        }
        out.push(lead.filter(|_| listed || segment.kind == SegmentKind::Code));
        if !listed {
            lead = segment
                .text
                .trim_end()
                .ends_with(':')
                .then_some(at)
                .or(lead.filter(|_| segment.kind == SegmentKind::Code));
        }
    }
    out
}
