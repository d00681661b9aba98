//! Blocks into sentences.
//!
//! For: byte ranges of sentences in normalised block text. Not for: judging whether a sentence is worth quoting.
//! Invariant: the ranges are in order, do not overlap, and hold every character that is not white space.

use std::ops::Range;

/// Abbreviations after which a full stop does not end a sentence.
const ABBREVIATIONS: &[&str] = &[
    "e.g", "i.e", "etc", "vs", "cf", "mr", "mrs", "ms", "dr", "prof", "st", "no", "nos", "fig", "figs", "eq", "sec",
    "ch", "approx", "ca", "resp", "inc", "ltd", "co", "corp", "dept", "est", "al", "jan", "feb", "mar", "apr", "jun",
    "jul", "aug", "sep", "sept", "oct", "nov", "dec", "a.k.a", "vol", "pp", "p", "rev", "ed", "eds", "min", "max",
    "incl",
];

/// Bytes of one sentence; a longer run without a full stop is cut at a space.
pub(crate) const SENTENCE_BYTES_MAX: usize = 1_000;

/// The sentences of a block's text as byte ranges.
pub(crate) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut in_code = false;
    for (i, c) in text.char_indices() {
        match c {
            '`' => in_code = !in_code,
            '.' | '!' | '?' | '…' if !in_code => {
                if let Some(end) = boundary(text, start, i, c) {
                    push(text, start..end, &mut out);
                    start = end;
                }
            }
            _ => {}
        }
    }
    push(text, start..text.len(), &mut out);
    out
}

/// Where the sentence that began at `start` ends, if the mark at `at` ends it.
fn boundary(text: &str, start: usize, at: usize, mark: char) -> Option<usize> {
    let mut end = at + mark.len_utf8();
    for c in text[end..].chars() {
        if !matches!(c, ')' | ']' | '"' | '”' | '’' | '\'' | '*') {
            break;
        }
        end += c.len_utf8();
    }
    let rest = &text[end..];
    let next = rest.trim_start();
    if next.is_empty() || next.len() == rest.len() || (mark == '.' && is_abbreviation(&text[start..at])) {
        return None;
    }
    let first = next.chars().next()?;
    let begins = first.is_uppercase()
        || first.is_numeric()
        || matches!(first, '`' | '"' | '“' | '‘' | '(' | '[' | '\'' | '-' | '*');
    // Scripts without case (and identifiers in lower case after `!` or `?`) still begin sentences.
    (begins || (first.is_alphabetic() && !first.is_lowercase())).then_some(end)
}

fn is_abbreviation(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    let word = word.trim_start_matches(|c: char| !c.is_alphanumeric());
    let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    let numbering =
        !word.is_empty() && word.len() == before.trim().len() && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    initial || numbering || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

/// Adds the range without surrounding white space, cut at the limit.
fn push(text: &str, range: Range<usize>, out: &mut Vec<Range<usize>>) {
    let (mut from, to) = trim(text, range);
    while to - from > SENTENCE_BYTES_MAX {
        let mut cut = from + SENTENCE_BYTES_MAX;
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        cut = text[from..cut].rfind(' ').map_or(cut, |space| from + space);
        out.push(from..cut);
        from = trim(text, cut..to).0;
    }
    if from < to {
        out.push(from..to);
    }
}

fn trim(text: &str, range: Range<usize>) -> (usize, usize) {
    let part = &text[range.clone()];
    let lead = part.len() - part.trim_start().len();
    (range.start + lead, range.start + lead + part.trim().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn splits_at_ends_and_not_at_abbreviations() {
        assert_eq!(split("It is 3.5 m long. Use e.g. Rust! Done?"), ["It is 3.5 m long.", "Use e.g. Rust!", "Done?"]);
        assert_eq!(split("See J. R. Smith (Fig. 3). Next."), ["See J. R. Smith (Fig. 3).", "Next."]);
    }

    #[test]
    fn code_and_lower_case_do_not_end_a_sentence() {
        assert_eq!(
            split("Call `a. B` now. then go on. `Arc` is next."),
            ["Call `a. B` now. then go on.", "`Arc` is next."]
        );
    }

    #[test]
    fn a_run_without_end_is_cut() {
        let text = "word ".repeat(500);
        assert!(split(&text).iter().all(|s| s.len() <= SENTENCE_BYTES_MAX && !s.is_empty()));
    }
}
