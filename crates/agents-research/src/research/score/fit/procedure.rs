//! Instructions: what to do, with the command or the code that does it.
//!
//! For: telling how something is done from a sentence that only mentions it. Not for: what is to be done.
//! Invariant: code belongs to a sentence only where the paragraph of the sentence leads to it.

use super::{View, denies, has};
use crate::research::model::{Segment, SegmentKind};
use crate::research::score::normalise;

/// Words with which an instruction begins.
const IMPERATIVES: &str = "use run call set add open press click type create install turn remove select enter make put \
    start stop hold check pass write choose enable disable place wait clean wash soak mix cut drain \
    fill replace unplug switch lift loosen tighten apply specify define configure build download \
    edit copy move first then to finally export import";
/// Words with which a document guides its reader.
const GUIDES: &[&str] = &[
    " you can ",
    " you must ",
    " you should ",
    " we can ",
    " can be ",
    " by using ",
    " by calling ",
    " by running ",
    " use the ",
    " using ",
    " must be ",
    " should be ",
    " is done ",
    " in order to ",
    " need to ",
    " needs to ",
    " works by ",
    " by ",
];

pub(super) fn procedure(view: &View<'_>, lower: &str) -> i64 {
    let text = view.segment.text.trim_end();
    let next_is_code = code_behind(&view.hit.segments, view.at).is_some();
    let first = lower.split_whitespace().next().unwrap_or_default().trim_matches(|c: char| !c.is_alphanumeric());
    // "List the stash entries" below an option or a command says what that does.
    let verb = view.words.first().is_some_and(|w| w.position == 0 && Some(normalise(&w.text)) == view.verb);
    let imperative = IMPERATIVES.split(' ').any(|w| w == first);
    let purpose = lower.starts_with(" to ") || has(lower, &[", use ", ", run ", " you can use ", " you can type "]);
    let score = match () {
        () if view.segment.kind == SegmentKind::Row && names_verb(view) => 850,
        () if verb && view.hit.term => 950,
        () if verb => 900,
        () if purpose => 850,
        () if imperative => 750,
        () if has(lower, GUIDES) => 650,
        () if next_is_code => 600,
        () => 300,
    };
    let code = i64::from(text.contains('`')) * 100;
    let shown = if next_is_code { if text.ends_with(':') { 250 } else { 150 } } else { 0 };
    // What is not done is seldom how to do it.
    let denied = if denies(text) && !denies(view.question) { 250 } else { 0 };
    let item = if view.segment.kind == SegmentKind::Item { 30 } else { 0 };
    if view.segment.kind == SegmentKind::Code { 450 } else { (score + code + shown + item - denied).min(1_100) }
}

/// Whether a row of a reference says early what the question asks to do: "`cancel(id)` Cancels the query".
fn names_verb(view: &View<'_>) -> bool {
    view.words.iter().any(|w| w.position <= ROW_HEAD_WORDS && Some(normalise(&w.text)) == view.verb)
}

/// Words of a row that may stand before its statement: a signature.
const ROW_HEAD_WORDS: usize = 14;

/// The code that the paragraph of a sentence leads to: right behind it, or behind its last sentence that ends in a colon.
pub(crate) fn code_behind(segments: &[Segment], at: usize) -> Option<usize> {
    let own = segments.get(at).filter(|s| s.kind != SegmentKind::Code)?;
    let code = (at + 1..segments.len().min(at + 4)).find(|i| segments[*i].kind == SegmentKind::Code)?;
    let same = segments[at + 1..code].iter().all(|s| s.block == own.block);
    let leads = code == at + 1 || segments[code - 1].text.trim_end().ends_with(':');
    (same && leads && segments[code].block <= own.block + 1).then_some(code)
}
