//! Blocks into passages: what a search finds.
//!
//! For: pieces of one section that are short enough to judge and long enough to answer. Not for: ranking.
//! Invariant: every segment's text is a part of its block's text, with the place of exactly that part.

use crate::research::extract::{Block, Document, Kind};
use crate::research::model::{Segment, SegmentKind};
use crate::research::text::sentence::sentences;

/// Bytes after which a passage ends with its block.
const PASSAGE_BYTES: usize = 1_400;
/// Segments of a passage.
const SEGMENTS_MAX: usize = 16;
/// Bytes of a code segment; longer code is cut at a line.
const CODE_BYTES_MAX: usize = 1_500;

/// Segments of one section that belong together.
pub(crate) struct Piece {
    pub(crate) headings: Vec<String>,
    pub(crate) term: bool,
    pub(crate) lead: bool,
    pub(crate) segments: Vec<Segment>,
}

/// The passages of a document; blocks for which `keep` (by ordinal) does not hold are left out.
pub(crate) fn passages(document: &Document, keep: &dyn Fn(usize) -> bool) -> Vec<Piece> {
    let mut out: Vec<Piece> = Vec::new();
    let mut bytes = 0;
    for (ordinal, block) in document.blocks.iter().enumerate() {
        if !keep(ordinal) {
            continue;
        }
        for segment in segments(document, block, ordinal as u32) {
            let starts_block = out.last().is_none_or(|p| p.segments.last().is_none_or(|s| s.block != segment.block));
            let full = bytes >= PASSAGE_BYTES && starts_block;
            let fresh = out.last().is_none_or(|p| {
                full || p.segments.len() >= SEGMENTS_MAX
                    || p.headings[..] != block.headings[..]
                    || bytes >= 2 * PASSAGE_BYTES
            });
            if fresh {
                let lead = out.last().is_none_or(|p| p.headings[..] != block.headings[..]);
                out.push(Piece { headings: block.headings.to_vec(), term: block.term, lead, segments: Vec::new() });
                bytes = 0;
            }
            bytes += segment.text.len();
            if let Some(piece) = out.last_mut() {
                piece.segments.push(segment);
            }
        }
    }
    out
}

/// The sentences of a block, or its one row or piece of code.
fn segments(document: &Document, block: &Block, ordinal: u32) -> Vec<Segment> {
    let kind = match block.kind {
        Kind::Paragraph => SegmentKind::Sentence,
        Kind::Item => SegmentKind::Item,
        Kind::Row => SegmentKind::Row,
        Kind::Code => SegmentKind::Code,
    };
    let ranges = match block.kind {
        Kind::Row => std::iter::once(0..floor(&block.text, CODE_BYTES_MAX)).collect(),
        Kind::Code => std::iter::once(0..cut_code(&block.text)).collect(),
        Kind::Paragraph | Kind::Item => sentences(&block.text),
    };
    let one = |range: std::ops::Range<usize>| Segment {
        kind,
        text: block.text[range.clone()].to_owned(),
        place: document.place(block, range.start, range.end),
        block: ordinal,
    };
    ranges.into_iter().map(one).collect()
}

fn cut_code(text: &str) -> usize {
    if text.len() <= CODE_BYTES_MAX {
        return text.len();
    }
    let cut = floor(text, CODE_BYTES_MAX);
    text[..cut].rfind('\n').unwrap_or(cut)
}

fn floor(text: &str, mut at: usize) -> usize {
    if at >= text.len() {
        return text.len();
    }
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
