//! Whether a sentence has the form that a question requires.
//!
//! For: definitions, numbers, times, reasons, names, places, instructions. Not for: what the sentence is about.
//! Invariant: `support` is 1000 unless the form is wanted and missing, so that it only ever takes away.

mod definition;
mod number;
mod procedure;

use std::collections::BTreeSet;

use super::around::Surroundings;
use crate::research::model::{Hit, Intent, Segment, SegmentKind};
use crate::research::plan::plain;
use crate::research::score::normalise;
use crate::research::text::words::{Term, is_stop};
use definition::definition;
pub(super) use definition::{is_label, is_part};
use number::{duration, numbers, quantity, time};
pub(crate) use procedure::code_behind;
use procedure::procedure;

/// A sentence with its surroundings.
pub(super) struct View<'a> {
    pub(super) hit: &'a Hit,
    pub(super) segment: &'a Segment,
    pub(super) at: usize,
    /// Whether it is the first prose of its passage.
    pub(super) opens: bool,
    pub(super) words: &'a [Term],
    pub(super) terms: &'a BTreeSet<String>,
    pub(super) around: &'a Surroundings,
    pub(super) focus: &'a BTreeSet<String>,
    /// What the question asks about, word for word as [`plain`], unless the innermost heading or the title is just that.
    pub(super) object: Option<&'a str>,
    /// Whether the question names code.
    pub(super) asks_code: bool,
    /// The key word of the question, such as the verb of "how do I list them".
    pub(super) verb: Option<&'a str>,
    /// Whether the innermost heading names nearly all that is asked.
    pub(super) named: bool,
    /// The terms of the question.
    pub(super) asked: &'a [&'a str],
    /// The sub-question in lower case.
    pub(super) question: &'a str,
}

impl View<'_> {
    /// Whether the title or a heading contains a word.
    fn names(&self, word: &str) -> bool {
        self.hit.title.to_lowercase().contains(word)
            || self.hit.headings.iter().any(|h| h.to_lowercase().contains(word))
    }
}

/// How well the form fits.
pub(super) struct Fit {
    /// 0 to 1000.
    pub(super) score: i64,
    /// Factor on strength, 0 to 1000.
    pub(super) support: i64,
}

/// Scores the form of a sentence.
pub(super) fn fit(intent: Intent, view: &View<'_>) -> Fit {
    let lower = format!(" {} ", view.segment.text.to_lowercase());
    // The more a kind of answer can be told by its form, the less the words alone are trusted.
    let leaning = |without: i64, score: i64| Fit { score, support: (without + score).min(1_000) };
    let soft = |score: i64| leaning(400, score);
    match intent {
        Intent::Definition => leaning(100, definition(view, &lower)),
        Intent::Procedure => leaning(250, procedure(view, &lower)),
        Intent::Quantity => bounded(view, &lower, needed_here_or_next(view, &lower, quantity)),
        Intent::Duration => bounded(view, &lower, needed_here_or_next(view, &lower, duration)),
        Intent::Time => time(view, &lower),
        Intent::Reason => soft(reason(view, &lower)),
        Intent::Person => needed(person(view)),
        Intent::Location => soft(location(&view.segment.text, &lower)),
        Intent::YesNo => bounded(view, &lower, soft(if has(&lower, MODALS) { 800 } else { 400 })),
        // A sentence below a term speaks of that one thing.
        Intent::Comparison if view.hit.term && !view.named => soft(comparison(view, &lower) * 7 / 10),
        Intent::Comparison => soft(comparison(view, &lower)),
        Intent::List => leaning(300, list(view)),
        Intent::General => bounded(view, &lower, soft(general(view, &lower))),
    }
}

/// Where a question requests a limit or a default, a sentence that does not name it is worth less.
fn bounded(view: &View<'_>, lower: &str, fit: Fit) -> Fit {
    let bound = |b: &Bound| {
        view.question.contains(b.asked)
            && !has(lower, b.said)
            && (b.asked == " default " || !b.said.iter().any(|s| view.names(s.trim())))
    };
    // "Can a" and "may a" request a limit only in a question that begins with "how".
    let counts = view.question.starts_with(" how ");
    let asked = |b: &&Bound| counts || !b.asked.starts_with(" can ") && !b.asked.starts_with(" may ");
    // A default under a condition is not the default.
    let condition = view.question.contains(" default ") && lower.starts_with(" if ");
    if condition || BOUNDS.iter().filter(asked).any(bound) {
        Fit { score: fit.score / 2, support: fit.support.min(400 + fit.score / 2) }
    } else {
        fit
    }
}

/// A word of the question and how an answer says the same.
struct Bound {
    asked: &'static str,
    said: &'static [&'static str],
}

const MOST: &[&str] = &[
    "maximum",
    "max_",
    "limit",
    "at most",
    "up to",
    "no more than",
    "less than",
    "shorter than",
    "not exceed",
    "upper",
    "largest",
    "cannot be more",
    "or less",
    "too long",
    "too large",
    "must fit",
];
const BOUNDS: &[Bound] = &[
    Bound { asked: " at most ", said: MOST },
    Bound { asked: " can a ", said: MOST },
    Bound { asked: " may a ", said: MOST },
    Bound { asked: " can an ", said: MOST },
    Bound { asked: " may an ", said: MOST },
    Bound { asked: " maximum ", said: MOST },
    Bound { asked: " default ", said: &["default", "initially", "normally"] },
    Bound { asked: " minimum ", said: &["minimum", "at least", "least", "no less than", "smallest", "lower"] },
    Bound { asked: " at least ", said: &["minimum", "at least", "least", "no less than", "smallest", "lower"] },
];

/// Whether the segment is a row of a table whose first cell names nothing but what the question names.
fn row_of(view: &View<'_>) -> bool {
    let Some((cell, _)) = view.segment.text.split_once(" | ").filter(|_| view.segment.kind == SegmentKind::Row) else {
        return false;
    };
    let terms: Vec<&Term> = view.words.iter().filter(|w| w.end <= cell.len()).collect();
    let asked = |w: &&Term| view.asked.contains(&w.text.as_str()) || view.asked.contains(&normalise(&w.text));
    !terms.is_empty() && terms.iter().all(asked)
}

/// A form without which there is no answer, here or in the next sentence of the same paragraph
/// ("How long a message is kept. The default is 72 hours.").
fn needed_here_or_next(view: &View<'_>, lower: &str, form: impl Fn(&View<'_>, &str) -> i64) -> Fit {
    let own = form(view, lower);
    let next = view.hit.segments.get(view.at + 1).filter(|s| own < 500 && s.block == view.segment.block);
    let follows = next.is_some_and(|s| form(view, &format!(" {} ", s.text.to_lowercase())) >= 850);
    if follows { Fit { score: 600, support: 1_000 } } else { needed(own) }
}

/// A form without which there is no answer.
fn needed(score: i64) -> Fit {
    Fit { score, support: if score >= 500 { 1_000 } else { 550 } }
}

/// A sentence with a reason. Where its cause is what the question asks about, and not its effect, it is the wrong way round:
/// "you cannot change it, because it is immutable" does not say why it is immutable.
fn reason(view: &View<'_>, lower: &str) -> i64 {
    let named = |from: usize, to: usize| {
        let held = |w: &&Term| w.start + 1 >= from && w.end < to && view.asked.contains(&normalise(&w.text));
        view.words.iter().filter(held).map(|w| normalise(&w.text)).collect::<BTreeSet<_>>().len()
    };
    let end = lower.len();
    let cause = [" because ", " since ", " due to ", " owing to ", " thanks to "].iter().find_map(|m| lower.find(m));
    let result = [" therefore ", " so that ", " which is why ", " hence ", " so the ", " so it "]
        .iter()
        .find_map(|m| lower.find(m));
    let backwards = match (cause, result) {
        (Some(at), _) => named(at, end) > named(0, at),
        (None, Some(at)) => named(0, at) > named(at, end),
        (None, None) => false,
    };
    match (has(lower, REASONS), backwards) {
        (_, true) => 350,
        (true, _) => 1_000,
        (false, _) if view.named && view.at <= 4 => 950,
        (false, _) if view.around.is_question => 850,
        (false, _) => 600,
    }
}

const REASONS: &[&str] = &[
    ", as ",
    " because ",
    " since ",
    " due to ",
    " so that ",
    " in order to ",
    " reason",
    " therefore ",
    " prevent",
    " avoid",
    " ensure",
    " otherwise ",
    " caused by ",
    " causes ",
    " to keep ",
    " to protect ",
    " to reduce ",
    " which is why ",
    " thanks to ",
    " so the ",
    " so it ",
    " owing to ",
];
const MODALS: &[&str] = &[
    " can ",
    " cannot ",
    " can't ",
    " not ",
    " must ",
    " may ",
    " supports ",
    " support ",
    " allowed ",
    " never ",
    " always ",
    " is ",
    " are ",
    " does ",
    " do ",
    " should ",
    " yes",
    " no ",
];

pub(super) fn has(lower: &str, marks: &[&str]) -> bool {
    marks.iter().any(|m| lower.contains(m))
}

/// A sentence that introduces a list, a member of one that fits, or several names in a row.
fn list(view: &View<'_>) -> i64 {
    let text = view.segment.text.trim_end();
    let next = view.hit.segments.get(view.at + 1);
    let introduces = text.ends_with(':') && next.is_some_and(|s| s.kind == SegmentKind::Item);
    let members = enumerated(view);
    match () {
        () if introduces && (view.named || view.verb.is_some_and(|v| view.terms.contains(v))) => 1_000,
        () if introduces => 500,
        () if members >= 2 => 1_000,
        () if view.around.lead(view.at).is_some() => 800,
        () if text.matches(", ").count() >= 2 && (text.contains(" and ") || text.contains(" or ")) => 650,
        () => 450,
    }
}

/// How many members a sentence counts up of what the question requests: "there are three modes: one, two and three".
fn enumerated(view: &View<'_>) -> usize {
    let text = view.segment.text.as_str();
    let marks = [": ", " are ", " such as ", " is one of ", " include ", " supports "];
    let start = marks.iter().filter_map(|m| text.find(m).map(|at| at + m.len())).max().unwrap_or(0);
    let asked = |w: &&Term| Some(normalise(&w.text)) == view.verb;
    let words = view.words.iter().filter(|w| w.end <= start).collect::<Vec<_>>();
    let lead =
        view.around.lead(view.at).is_some_and(|lead| view.verb.is_some_and(|v| view.around.sets[lead].contains(v)));
    let near = lead || words.iter().rev().take(5).any(asked);
    let rest = text[start..].split(['.', ';']).next().unwrap_or_default();
    let joined = rest.contains(" and ") || rest.contains(" or ");
    if near && joined { rest.matches(", ").count() + 1 } else { 0 }
}

/// Whether a sentence denies something.
pub(super) fn denies(text: &str) -> bool {
    has(
        &format!(" {} ", text.to_lowercase()),
        &[" not ", " no ", " never ", " without ", " cannot ", "n't ", "n’t ", " lacks ", " none "],
    )
}

/// Names that the question does not have, best two words together; or a role, where the question asks who does something.
fn person(view: &View<'_>) -> i64 {
    let words: Vec<&str> =
        view.segment.text.split_whitespace().map(|w| w.trim_matches(|c: char| !c.is_alphanumeric())).collect();
    let fresh = |w: &str| !view.question.contains(&w.to_lowercase()) && !is_stop(&w.to_lowercase());
    let name = |w: &&str| {
        w.chars().next().is_some_and(char::is_uppercase) && w.chars().skip(1).any(char::is_lowercase) && fresh(w)
    };
    let pair = words.windows(2).any(|w| name(&w[0]) && name(&w[1]));
    let inner = words.iter().skip(1).any(name);
    let lower = format!(" {} ", view.segment.text.to_lowercase());
    let roles = [
        "team",
        "officer",
        "manager",
        "department",
        "group",
        "committee",
        "engineer",
        "owner",
        "company",
        "administrator",
        "operator",
        "maintainer",
        "user",
        "staff",
        "warden",
        "secretary",
        "treasurer",
        "lead",
        "tenant",
        "landlord",
        "cooperative",
        "employee",
        "employer",
        "doctor",
        "office",
        "president",
        "member",
        "customer",
        "client",
        "author",
        "server",
        "project",
        "foundation",
    ];
    let identity = has(view.question, &["who is the ", "who was the ", "who are the "]);
    let named =
        |r: &str| lower.split(|c: char| !c.is_alphanumeric()).any(|w| w.strip_suffix('s').unwrap_or(w) == r || w == r);
    let role = !identity && roles.iter().any(|r| named(r) && !view.question.contains(r));
    match (pair, inner, role) {
        (true, _, _) => 1_000,
        (_, true, true) => 900,
        (_, true, false) | (_, false, true) => 650,
        _ => 100,
    }
}

fn location(text: &str, lower: &str) -> i64 {
    let path = text.split_whitespace().any(|w| w.trim_matches('`').len() > 3 && w.contains('/') && !w.contains("://"));
    let stored = has(
        lower,
        &[
            " located ",
            " stored ",
            " kept ",
            " found in ",
            " lives in ",
            " situated ",
            " placed ",
            " lies ",
            " stands ",
            " written to ",
            " default location",
            " under the ",
            " next to ",
            " behind ",
            " beside ",
            " north of",
            " south of",
        ],
    );
    let inside = has(lower, &[" in ", " at ", " under ", " on ", " near "]);
    let address = text
        .split('`')
        .skip(1)
        .step_by(2)
        .any(|code| code.contains(|c: char| c.is_ascii_digit()) && code.contains([':', '.']));
    let path = path || address;
    match (path, stored, inside) {
        (true, true, _) => 1_000,
        (true, _, _) => 850,
        (_, true, _) => 900,
        (_, _, true) => 550,
        _ => 250,
    }
}

fn comparison(view: &View<'_>, lower: &str) -> i64 {
    // The sentence has all that the question names: both things, and what kind of things they are.
    let held = view.asked.iter().filter(|t| view.terms.contains(**t)).count();
    let both = held >= 2 && held * 10 >= view.asked.len() * 9;
    let strong =
        [" whereas ", " unlike ", " while ", " differ", " in contrast", " instead of ", " followed by ", " but runs "];
    let weak = [
        " than ",
        " instead ",
        " rather ",
        " but ",
        " however",
        " on the other hand",
        " same ",
        " similar",
        " except ",
    ];
    match (both, has(lower, &strong), has(lower, &weak)) {
        (true, true, _) => 1_000,
        (true, _, true) => 800,
        (true, ..) => 600,
        (false, true, _) => 550,
        (false, _, true) => 400,
        _ => 250,
    }
}

/// "What is the maximum size" wants a value; other questions want any statement.
fn general(view: &View<'_>, lower: &str) -> i64 {
    let value = has(
        view.question,
        &[
            " maximum",
            " largest",
            " longest",
            " minimum",
            " limit",
            " number of",
            " rate",
            " percentage",
            " temperature",
            " speed",
            " size",
            " price",
            " cost",
            " default",
            " weight",
            " length",
            " height",
            " port",
            " version",
            " capacity",
            " dose",
            " voltage",
            " pressure",
        ],
    );
    match (value, numbers(lower) || (lower.contains(" default") && view.segment.text.contains('`'))) {
        (true, true) if row_of(view) => 1_000,
        (true, true) => 900,
        (true, false) => 250,
        _ => 550,
    }
}
