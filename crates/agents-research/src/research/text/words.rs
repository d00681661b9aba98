//! Words into terms: stems for prose, whole tokens for identifiers, options and paths.
//!
//! For: the index, queries and sentence scoring, which must all see the same terms. Not for: display.
//! Invariant: a compound (`std::fs::File`, `--no-color`, `HashMap`) gives its whole and its parts, so that either
//! spelling finds the other.

use std::collections::{BTreeSet, HashMap};

use rust_stemmers::{Algorithm, Stemmer};

use super::fold::Folded;

/// Bytes of one term; longer runs (hashes, base64) are noise and are left out.
const TERM_BYTES_MAX: usize = 64;
/// Stems that one [`Terms`] remembers.
const CACHE_ITEMS_MAX: usize = 200_000;

/// English words that carry no subject of their own, sorted.
const STOP_WORDS: &[&str] = &[
    "a",
    "about",
    "above",
    "after",
    "again",
    "all",
    "also",
    "am",
    "an",
    "and",
    "any",
    "are",
    "as",
    "at",
    "be",
    "because",
    "been",
    "before",
    "being",
    "between",
    "both",
    "but",
    "by",
    "can",
    "cannot",
    "could",
    "did",
    "do",
    "does",
    "doing",
    "done",
    "during",
    "each",
    "either",
    "else",
    "etc",
    "ever",
    "every",
    "for",
    "from",
    "further",
    "get",
    "gets",
    "given",
    "had",
    "has",
    "have",
    "having",
    "he",
    "hence",
    "her",
    "here",
    "him",
    "his",
    "how",
    "however",
    "i",
    "if",
    "in",
    "instead",
    "into",
    "is",
    "it",
    "its",
    "itself",
    "just",
    "let",
    "like",
    "may",
    "me",
    "might",
    "more",
    "most",
    "much",
    "must",
    "my",
    "no",
    "nor",
    "not",
    "of",
    "off",
    "on",
    "once",
    "one",
    "only",
    "or",
    "other",
    "our",
    "out",
    "over",
    "own",
    "per",
    "please",
    "quite",
    "rather",
    "really",
    "s",
    "same",
    "shall",
    "she",
    "should",
    "since",
    "so",
    "some",
    "such",
    "t",
    "tell",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "therefore",
    "these",
    "they",
    "this",
    "those",
    "though",
    "through",
    "thus",
    "to",
    "too",
    "under",
    "until",
    "up",
    "upon",
    "us",
    "very",
    "via",
    "was",
    "we",
    "were",
    "what",
    "when",
    "where",
    "whether",
    "which",
    "while",
    "who",
    "whom",
    "whose",
    "why",
    "will",
    "with",
    "within",
    "without",
    "would",
    "yet",
    "you",
    "your",
];

/// Whether a lower-case word carries no subject of its own.
pub(crate) fn is_stop(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

/// One term of a text with its place in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    /// The stem or the whole compound, lower case.
    pub(crate) text: String,
    /// First byte in the text.
    pub(crate) start: usize,
    /// Byte after the last.
    pub(crate) end: usize,
    /// Ordinal of the chunk (run without white space) that it comes from.
    pub(crate) position: usize,
    /// Whether it is only a piece of a longer word, such as `map` in `HashMap`.
    pub(crate) piece: bool,
}

/// What [`Terms::each`] calls with each term.
type Sink<'a> = dyn FnMut(&str, Span) + 'a;

/// Where in the text a term is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// First byte in the text.
    pub(crate) start: usize,
    /// Byte after the last.
    pub(crate) end: usize,
    /// Ordinal of the chunk.
    pub(crate) position: usize,
    /// Whether the term is only a piece of a longer word.
    pub(crate) piece: bool,
}

/// Turns text into terms and remembers stems.
#[derive(Clone, Default)]
pub(crate) struct Terms {
    cache: HashMap<String, String>,
}

impl Terms {
    /// Calls `sink` with each term and its place. Stop words are left out.
    pub(crate) fn each(&mut self, text: &str, sink: &mut Sink<'_>) {
        let folded = Folded::new(text);
        let mut placed = |term: &str, at: Span| {
            sink(term, Span { start: folded.place(at.start), end: folded.place(at.end), ..at });
        };
        for (position, (start, chunk)) in chunks(&folded.text).enumerate() {
            self.chunk(chunk, start, position, &mut placed);
        }
    }

    /// All terms in order.
    pub(crate) fn list(&mut self, text: &str) -> Vec<Term> {
        let mut out = Vec::new();
        self.each(text, &mut |term, at| {
            let Span { start, end, position, piece } = at;
            out.push(Term { text: term.to_owned(), start, end, position, piece });
        });
        out
    }

    /// The different terms.
    pub(crate) fn set(&mut self, text: &str) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        self.each(text, &mut |term, _| {
            out.insert(term.to_owned());
        });
        out
    }

    fn chunk(&mut self, chunk: &str, start: usize, position: usize, sink: &mut Sink<'_>) {
        let end = start + chunk.len();
        if let Some(whole) = compound(chunk) {
            sink(&whole, Span { start, end, position, piece: false });
            // `functools.lru_cache` is also `lru_cache`.
            for name in whole.split(['.', ':']).filter(|n| n.contains('_') && n.len() < whole.len()) {
                sink(name, Span { start, end, position, piece: false });
            }
        }
        for (from, part) in parts(chunk) {
            self.part(part, start + from, position, sink);
        }
    }

    fn part(&mut self, part: &str, start: usize, position: usize, sink: &mut Sink<'_>) {
        let pieces = humps(part);
        self.word(part, Span { start, end: start + part.len(), position, piece: false }, sink);
        for (from, piece) in pieces.iter().filter(|_| pieces.len() > 1) {
            let at = start + from;
            self.word(piece, Span { start: at, end: at + piece.len(), position, piece: true }, sink);
        }
    }

    fn word(&mut self, word: &str, at: Span, sink: &mut Sink<'_>) {
        let word = word.to_lowercase();
        if !word.is_empty() && word.len() <= TERM_BYTES_MAX && !is_stop(&word) {
            sink(self.stem(&word), at);
        }
    }

    /// The stem of a lower-case word.
    fn stem<'a>(&'a mut self, word: &'a str) -> &'a str {
        if !word.bytes().all(|b| b.is_ascii_lowercase()) || word.len() < 4 {
            return if word.len() == 3 && word.ends_with('s') && word.is_ascii() { short_plural(word) } else { word };
        }
        if self.cache.len() >= CACHE_ITEMS_MAX {
            self.cache.clear();
        }
        if !self.cache.contains_key(word) {
            let mut stem = Stemmer::create(Algorithm::English).stem(word).into_owned();
            if stem.len() == 2 && word.len() > 4 {
                // "added" belongs to "add".
                word[..3].clone_into(&mut stem);
            }
            self.cache.insert(word.to_owned(), stem);
        }
        &self.cache[word]
    }
}

/// `ids` and `pcs` are plurals, `gas` and `bus` are not: only what ends in a consonant before the `s`.
fn short_plural(word: &str) -> &str {
    match word.as_bytes()[1] {
        b'd' | b'c' | b'm' | b'p' | b'r' | b'k' | b'l' => &word[..2],
        _ => word,
    }
}

/// Runs without white space and table bars, with their first byte, freed of surrounding punctuation.
fn chunks(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = &text[at..];
            let skip = rest.find(|c: char| !c.is_whitespace())?;
            let from = at + skip;
            let len = text[from..].find(char::is_whitespace).unwrap_or(text.len() - from);
            at = from + len;
            let raw = &text[from..from + len];
            let trimmed = raw.trim_end_matches(|c: char| !c.is_alphanumeric() && c != '_');
            let lead = trimmed.find(|c: char| c.is_alphanumeric() || c == '_' || c == '-').unwrap_or(trimmed.len());
            if lead < trimmed.len() {
                return Some((from + lead, &trimmed[lead..]));
            }
        }
    })
}

/// The whole of an option, path or identifier in lower case, where the chunk is one.
fn compound(chunk: &str) -> Option<String> {
    if chunk.len() > TERM_BYTES_MAX || chunk.len() < 2 {
        return None;
    }
    let chunk = chunk.split(['=', '(', '<', '`', ',', '[', '|']).next().unwrap_or_default();
    let option = chunk.len() > 1
        && chunk.starts_with('-')
        && chunk.trim_start_matches('-').starts_with(|c: char| c.is_ascii_alphanumeric())
        && !chunk.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit());
    let inner = chunk.contains("::") || chunk.contains('_') || chunk.trim_matches('.').contains('.');
    let plain = chunk.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '.'));
    (plain && chunk.chars().any(char::is_alphanumeric) && (option || inner)).then(|| chunk.to_lowercase())
}

/// Runs of letters and digits in a chunk; a possessive `'s` is cut, decimals and grouped digits stay together.
fn parts(chunk: &str) -> Vec<(usize, &str)> {
    let bytes = chunk.as_bytes();
    let digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
    let mut out = Vec::new();
    let mut start = None;
    for (i, c) in chunk.char_indices() {
        let joins = c.is_alphanumeric() || (matches!(c, '.') && i > 0 && digit(i - 1) && digit(i + 1));
        match (joins, start) {
            (true, None) => start = Some(i),
            (false, Some(from)) => {
                out.push((from, &chunk[from..i]));
                start = None;
            }
            _ => {}
        }
    }
    if let Some(from) = start {
        out.push((from, &chunk[from..]));
    }
    out.retain(|(from, part)| !(matches!(*part, "s" | "t" | "re" | "ll" | "ve") && after_apostrophe(chunk, *from)));
    out
}

fn after_apostrophe(chunk: &str, at: usize) -> bool {
    chunk[..at].ends_with(['\'', '’'])
}

/// The pieces of `HashMap`, `500ms` or `utf8`; one piece where there is no seam.
fn humps(part: &str) -> Vec<(usize, &str)> {
    let mut out = Vec::new();
    let mut from = 0;
    let mut previous: Option<char> = None;
    for (i, c) in part.char_indices() {
        let seam = previous.is_some_and(|p| {
            (p.is_lowercase() && c.is_uppercase())
                || (p.is_ascii_digit() && c.is_alphabetic())
                || (p.is_alphabetic() && c.is_ascii_digit())
        });
        if seam {
            out.push((from, &part[from..i]));
            from = i;
        }
        previous = Some(c);
    }
    out.push((from, &part[from..]));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        Terms::default().list(text).into_iter().map(|t| t.text).collect()
    }

    #[test]
    fn stop_words_are_sorted() {
        assert!(STOP_WORDS.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn prose_is_stemmed_and_stop_words_go() {
        assert_eq!(terms("The owners are sharing values."), ["owner", "share", "valu"]);
        assert_eq!(terms("Ferris's keys don't"), ["ferri", "key", "don"]);
    }

    #[test]
    fn compounds_give_whole_and_parts() {
        assert_eq!(terms("`std::fs::File`"), ["std::fs::file", "std", "fs", "file"]);
        assert_eq!(terms("use --no-color=auto"), ["use", "--no-color", "color", "auto"]);
        assert_eq!(terms("O_DIRECT"), ["o_direct", "o", "direct"]);
        assert_eq!(terms("HashMap"), ["hashmap", "hash", "map"]);
        assert_eq!(terms("500ms, 3.5 and 1.2.3"), ["500ms", "500", "ms", "3.5", "3.5", "1.2.3", "1.2.3"]);
    }

    #[test]
    fn characters_that_only_look_different_give_the_same_terms_at_their_own_places() {
        assert_eq!(terms("ﬁnal ﬂow"), terms("final flow"));
        assert_eq!(terms("ｗｉｄｅ ７７"), ["wide", "77"]);
        assert_eq!(terms("cafe\u{301} Mu\u{308}hle"), terms("café Mühle"));
        assert_eq!(terms("\u{1112}\u{1161}\u{11ab}"), terms("한"));
        assert_eq!(terms("word¹ 10² 2½"), ["word¹", "10²", "2½"]);
        let text = "A ﬁnal oﬃce.";
        let spans: Vec<&str> = Terms::default().list(text).iter().map(|t| &text[t.start..t.end]).collect();
        assert_eq!(spans, ["ﬁnal", "oﬃce"]);
    }

    #[test]
    fn long_noise_is_left_out() {
        assert!(terms(&"a".repeat(65)).is_empty());
    }
}
