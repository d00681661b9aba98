//! Characters that only look different, made the same: ligatures, full-width forms, composed and decomposed letters.
//!
//! For: comparing. Not for: quotes, which keep the characters of their file.
//! Invariant: every byte of the folded text has its place in the original.

use std::borrow::Cow;

use unicode_normalization::char::{canonical_combining_class, decompose_compatible};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfkc_quick};

/// A text under NFKC, and where its bytes come from.
pub(crate) struct Folded<'a> {
    pub(crate) text: Cow<'a, str>,
    /// (byte in the folded text, byte in the original) at the start of each character that changed, and behind it.
    places: Vec<(usize, usize)>,
}

/// The text as it is compared.
pub(crate) fn fold(text: &str) -> Cow<'_, str> {
    Folded::new(text).text
}

impl<'a> Folded<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        if text.is_ascii() || is_nfkc_quick(text.chars()) == IsNormalized::Yes {
            return Self { text: Cow::Borrowed(text), places: Vec::new() };
        }
        let mut out = String::with_capacity(text.len());
        let mut places = Vec::new();
        let mut at = 0;
        for cluster in clusters(text) {
            let changed = !cluster.is_ascii() && !cluster.starts_with(stays);
            if changed {
                places.push((out.len(), at));
                out.extend(cluster.nfkc());
                places.push((out.len(), at + cluster.len()));
            } else {
                out.push_str(cluster);
            }
            at += cluster.len();
        }
        Self { text: Cow::Owned(out), places }
    }

    /// The byte of the original behind a byte of the folded text; inside a character that became several, its start.
    pub(crate) fn place(&self, byte: usize) -> usize {
        let after = self.places.partition_point(|(folded, _)| *folded <= byte);
        let Some((folded, original)) = after.checked_sub(1).map(|i| self.places[i]) else { return byte };
        // Even entries open a changed character, odd ones end it.
        if after % 2 == 1 { original } else { original + byte - folded }
    }
}

/// Whether a character is beside digits as a power, an index or a fraction: as plain digits it would make another
/// number of them.
fn stays(c: char) -> bool {
    let mut digits = false;
    decompose_compatible(c, |part| digits |= part.is_ascii_digit());
    let full_width = matches!(c, '\u{ff10}'..='\u{ff19}');
    digits && !full_width
}

/// Characters with the marks and vowels that belong to them.
fn clusters(text: &str) -> impl Iterator<Item = &str> {
    let joins = |c: char| canonical_combining_class(c) != 0 || matches!(c, '\u{1160}'..='\u{11ff}');
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = rest[first.len_utf8()..].find(|c| !joins(c)).map_or(rest.len(), |i| i + first.len_utf8());
        let (cluster, after) = rest.split_at(end);
        rest = after;
        Some(cluster)
    })
}
