//! Whether a sentence has the form that a question asks for.
//!
//! For: definitions, numbers, times, reasons, names, places, instructions. Not for: what the sentence is about.
//! Invariant: `support` is 1000 unless the form is wanted and missing, so that it only ever takes away.

use std::collections::BTreeSet;

use super::around::Surroundings;
use crate::research::model::{Hit, Intent, Segment, SegmentKind};
use crate::research::score::normalise;
use crate::research::text::dates::dates;
use crate::research::text::words::{Term, is_stop};

/// A sentence with what stands around it.
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
    /// Whether the question names code.
    pub(super) asks_code: bool,
    /// The word that is asked for, such as the verb of "how do I list them".
    pub(super) verb: Option<&'a str>,
    /// Whether the innermost heading names nearly all that is asked.
    pub(super) named: bool,
    /// The terms of the question.
    pub(super) asked: &'a [&'a str],
    /// The sub-question in lower case.
    pub(super) question: &'a str,
}

impl View<'_> {
    /// Whether a word stands in the title or the headings.
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

const TIME_UNITS: &[&str] = &[
    "second",
    "sec",
    "minute",
    "min",
    "hour",
    "hr",
    "day",
    "week",
    "month",
    "year",
    "decade",
    "centur",
    "ms",
    "µs",
    "ns",
    "millisecond",
    "microsecond",
    "night",
    "fortnight",
    "quarter",
    "daily",
    "weekly",
    "monthly",
    "yearly",
    "annual",
    "hourly",
    "season",
];
const NUMBER_WORDS: &[&str] = &[
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "twenty", "thirty", "forty", "fifty", "sixty", "hundred", "thousand", "million", "half",
    "twice", "once", "double", "dozen", "zero", "single", "one",
];

/// Scores the form of a sentence.
pub(super) fn fit(intent: Intent, view: &View<'_>) -> Fit {
    let lower = format!(" {} ", view.segment.text.to_lowercase());
    let soft = |score: i64| Fit { score, support: if score >= 600 { 1_000 } else { 700 + score / 2 } };
    match intent {
        Intent::Definition => soft(definition(view, &lower)),
        Intent::Procedure => soft(procedure(view, &lower)),
        Intent::Quantity => bounded(view, &lower, needed_here_or_next(view, &lower, quantity)),
        Intent::Duration => bounded(view, &lower, needed_here_or_next(view, &lower, duration)),
        Intent::Time => time(view, &lower),
        Intent::Reason => soft(reason(view, &lower)),
        Intent::Person => needed(person(view)),
        Intent::Location => soft(location(&view.segment.text, &lower)),
        Intent::YesNo => bounded(view, &lower, soft(if has(&lower, MODALS) { 800 } else { 400 })),
        Intent::Comparison => soft(comparison(view, &lower)),
        Intent::List => soft(list(view)),
        Intent::General => bounded(view, &lower, soft(general(view, &lower))),
    }
}

/// Where a question asks for a limit, a sentence that names none is worth less.
fn bounded(view: &View<'_>, lower: &str, fit: Fit) -> Fit {
    let bound = |b: &Bound| {
        view.question.contains(b.asked) && !has(lower, b.said) && !b.said.iter().any(|s| view.names(s.trim()))
    };
    // "How many may it have" asks for a number of anything only where it counts.
    let counts = view.question.starts_with(" how ");
    let asked = |b: &&Bound| counts || !b.asked.starts_with(" can ") && !b.asked.starts_with(" may ");
    if BOUNDS.iter().filter(asked).any(bound) { Fit { score: fit.score * 6 / 10, ..fit } } else { fit }
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
        let held = |w: &&Term| w.start + 1 >= from && w.end + 1 <= to && view.asked.contains(&normalise(&w.text));
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

fn definition(view: &View<'_>, lower: &str) -> i64 {
    let head = is_about(&view.around.inner, Some(&view.around.head), view.focus);
    let verb = [
        " is ",
        " are ",
        " means ",
        " refers to ",
        " stands for ",
        " denotes ",
        " describes ",
        " provides ",
        " represents ",
        " consists of ",
        " was ",
        " defines ",
        " allow ",
        " allows ",
    ]
    .iter()
    .filter_map(|v| lower.find(v))
    .min();
    let other = verb.and_then(|at| other_words(view, lower, at));
    let says = [
        " is a ",
        " is an ",
        " is the ",
        " are ",
        " means ",
        " refers to ",
        " stands for ",
        " was a ",
        " allow",
        " represents ",
        " consists of ",
        " denotes ",
        " is used ",
        " describes ",
        " is when ",
        " is one ",
        " is any ",
        " is simply ",
    ];
    let article = verb.is_some_and(|at| says.iter().any(|s| lower[at..].starts_with(s)));
    let second = view.at > 0 && view.hit.segments[view.at - 1].block == view.segment.block;
    // Reference pages open with a phrase: "A growable array".
    let phrase = has(lower, &[" is ", " are ", " provides ", " allows "])
        || [" a ", " an ", " the "].iter().any(|m| lower.starts_with(m))
        || lower.split_whitespace().next().is_some_and(|w| w.len() > 3 && w.ends_with('s'));
    let title = is_about(&view.around.title, None, view.focus) && view.segment.block <= LEAD_BLOCKS;
    let condition = [" if ", " when ", " for ", " in order ", " to "].iter().any(|m| lower.starts_with(m));
    let score = match (other, head) {
        (_, true) if view.hit.term && view.opens => 1_000,
        (Some(0), _) if article => 960,
        (_, true) if view.opens && phrase => 880,
        (_, true) if view.opens && condition => 600,
        (_, true) if view.opens => 800,
        _ if title && view.opens => 880,
        (Some(0), _) => 800,
        (Some(1..=3), _) if article => 700,
        (Some(1..=6), _) => 550,
        (_, true) if second && view.at <= 2 => 600,
        (_, true) => 400,
        _ => 200,
    };
    // What something is not, is no definition, and nor is what it may be used for in one place.
    let denied = denies(&view.segment.text) && !view.hit.term;
    let glossary = view.hit.title.to_lowercase().contains("glossary")
        || view.hit.headings.iter().any(|h| h.to_lowercase().contains("glossary"));
    let score = if denied { score * 7 / 10 } else { score };
    if glossary && head { (score + 150).min(1_150) } else { score }
}

/// How many words but the focus and articles stand before the verb, where the focus stands there and early: "The `str`
/// type, also called a slice, is".
fn other_words(view: &View<'_>, lower: &str, verb: usize) -> Option<usize> {
    // The lower text has a space before it.
    let before: Vec<&Term> = view.words.iter().filter(|w| w.start + 1 < verb && !w.piece).collect();
    // A part of a longer name is another thing: `tablespace_name` is no tablespace.
    let alone =
        |w: &Term| before.iter().filter(|o| o.position == w.position).all(|o| view.focus.contains(normalise(&o.text)));
    let named: Vec<&&Term> = before.iter().filter(|w| view.focus.contains(normalise(&w.text)) && alone(w)).collect();
    let has = |focus: &String| named.iter().any(|w| normalise(&w.text) == focus);
    let early = named.first().is_some_and(|w| w.position <= 2);
    let positions: BTreeSet<usize> = named.iter().map(|w| w.position).collect();
    let words = lower[..verb].split_whitespace().filter(|w| !matches!(*w, "a" | "an" | "the" | "in" | "to")).count();
    (!view.focus.is_empty() && view.focus.iter().all(has) && early).then(|| words.saturating_sub(positions.len()))
}

/// Blocks at the beginning of a file that may introduce it.
const LEAD_BLOCKS: u32 = 6;

/// Stems of words that only say what kind of thing a heading names.
const KINDS: &[&str] = &[
    "struct",
    "enum",
    "trait",
    "modul",
    "function",
    "macro",
    "keyword",
    "type",
    "overview",
    "introduct",
    "crate",
    "command",
    "integ",
    "string",
    "boolean",
    "relat",
    "server",
    "process",
    "option",
    "object",
];

/// Whether a term of a heading is only its number or its kind.
pub(super) fn is_label(term: &str) -> bool {
    KINDS.contains(&term) || term.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// Whether a term is only a part of a longer one: `e` of `-e`.
pub(super) fn is_part(term: &str, whole: &str) -> bool {
    term.len() < whole.len() && whole.split(['-', '_', '.', ':']).any(|p| p == term)
}

/// Whether a heading is about the focus and little else. What qualifies the focus may stand above: "-x" under the
/// title "git-cherry-pick".
fn is_about(heading: &BTreeSet<String>, above: Option<&BTreeSet<String>>, focus: &BTreeSet<String>) -> bool {
    let words = || heading.iter().filter(|t| !is_label(t));
    let part = |t: &String| focus.iter().any(|f| is_part(t, f));
    let others = words().filter(|t| !focus.contains(*t) && !part(t)).count();
    let held = focus.iter().all(|f| heading.contains(f) || above.is_some_and(|a| a.contains(f)));
    let named = words().count() > others || focus.iter().any(|f| heading.contains(f));
    !focus.is_empty() && named && held && others * 2 < focus.len().max(1)
}

/// A sentence that introduces a list, a member of one that fits, or several names in a row.
fn list(view: &View<'_>) -> i64 {
    let text = view.segment.text.trim_end();
    let next = view.hit.segments.get(view.at + 1);
    let introduces = text.ends_with(':') && next.is_some_and(|s| s.kind == SegmentKind::Item);
    let members = enumerated(view);
    match () {
        () if introduces => 1_000,
        () if members >= 2 => 1_000,
        () if view.around.lead(view.at).is_some() => 800,
        () if text.matches(", ").count() >= 2 && (text.contains(" and ") || text.contains(" or ")) => 650,
        () => 450,
    }
}

/// How many members a sentence counts up of what is asked for: "there are three modes: one, two and three".
fn enumerated(view: &View<'_>) -> usize {
    let text = view.segment.text.as_str();
    let start = [": ", " are ", " such as ", " is one of ", " include ", " supports "]
        .iter()
        .filter_map(|m| text.find(m).map(|at| at + m.len()))
        .max();
    let Some(start) = start else { return 0 };
    let asked = |w: &&Term| Some(normalise(&w.text)) == view.verb;
    let words = view.words.iter().filter(|w| w.end <= start).collect::<Vec<_>>();
    let near = words.iter().rev().take(5).any(|w| asked(w));
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

/// Words with which an instruction begins.
const IMPERATIVES: &str = "use run call set add open press click type create install turn remove select enter make put \
    start stop hold check pass write choose enable disable place wait clean wash soak mix cut drain \
    fill replace unplug switch lift loosen tighten apply specify define configure build download \
    edit copy move first then to finally export import";
/// Words that guide somebody.
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

fn procedure(view: &View<'_>, lower: &str) -> i64 {
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

fn numbers(lower: &str) -> bool {
    lower.split(|c: char| !c.is_alphanumeric() && c != '.' && c != ',').any(|w| {
        let w = w.trim_end_matches(['.', ',']);
        w.starts_with(|c: char| c.is_ascii_digit()) || NUMBER_WORDS.contains(&w)
    }) || lower.contains(['½', '¼', '¾'])
}

fn quantity(view: &View<'_>, lower: &str) -> i64 {
    if !numbers(lower) {
        return 100;
    }
    // "How many pumps": the number stands right before what is counted.
    let counted = view.question.split_once(" many ").or_else(|| view.question.split_once(" much "));
    let noun = counted.and_then(|(_, rest)| rest.split_whitespace().next()).map(|n| n.trim_end_matches('s').to_owned());
    let Some(noun) = noun.filter(|n| n.len() > 2) else { return 850 };
    let words: Vec<&str> = lower.split_whitespace().collect();
    let near = |digits: bool| {
        let value = |w: &str| numbers(&format!(" {w} ")) && (!digits || w.contains(|c: char| c.is_ascii_digit()));
        words.iter().enumerate().any(|(i, w)| {
            w.starts_with(noun.as_str()) && (1..=3).any(|back| i.checked_sub(back).is_some_and(|j| value(words[j])))
        })
    };
    // "Another column", "one column or more" count nothing.
    match () {
        () if row_of(view) || near(true) => 1_000,
        () if lower.contains(|c: char| c.is_ascii_digit()) => 680,
        () if near(false) => 700,
        () => 500,
    }
}

fn duration(view: &View<'_>, lower: &str) -> i64 {
    if has_unit_number(lower) {
        return 1_000;
    }
    let long = view.question.trim_end().ends_with(" be")
        || view.question.contains("how long is ")
        || view.question.contains("how long are ")
        || view.question.contains("how long was ");
    // "How long is the bridge" may ask for metres.
    match () {
        () if long && numbers(lower) && (row_of(view) || has(lower, &[" length", " long"])) => 1_000,
        () if long && numbers(lower) => 700,
        () if has(
            lower,
            &[
                " until ",
                " every ",
                " each ",
                " once ",
                " twice ",
                " forever",
                " as long as ",
                " never ",
                " permanently ",
                " indefinitely",
            ],
        ) =>
        {
            600
        }
        () => 100,
    }
}

/// Whether a number with a unit of time stands in the text.
fn has_unit_number(lower: &str) -> bool {
    let words: Vec<&str> = lower.split(|c: char| c.is_whitespace() || c == '-' || c == '–').collect();
    words.iter().enumerate().any(|(i, w)| {
        let bare = w.trim_matches(|c: char| !c.is_alphanumeric());
        let letters = bare.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let unit = TIME_UNITS
            .iter()
            .any(|u| letters == *u || (letters.len() <= u.len() + 3 && letters.starts_with(u) && u.len() > 2))
            || matches!(letters, "s" | "h" | "d" | "m") && letters.len() < bare.len();
        let alone = matches!(bare, "daily" | "weekly" | "monthly" | "yearly" | "annually" | "hourly");
        unit && (alone
            || letters.len() < bare.len()
            || (1..=2).any(|b| {
                i.checked_sub(b).is_some_and(|j| {
                    numbers(&format!(" {} ", words[j])) || matches!(words[j], "a" | "an" | "every" | "each")
                })
            }))
    })
}

fn time(view: &View<'_>, lower: &str) -> Fit {
    let dated = !dates(&view.segment.text).is_empty()
        || lower.split(|c: char| !c.is_ascii_digit()).any(|w| w.len() == 4 && matches!(&w[..1], "1" | "2"));
    let clock = has(
        lower,
        &[
            " am ",
            " pm ",
            " a.m",
            " p.m",
            "o'clock",
            " monday",
            " tuesday",
            " wednesday",
            " thursday",
            " friday",
            " saturday",
            " sunday",
            " noon",
            " midnight",
            " january",
            " february",
            " march",
            " april",
            " june",
            " july",
            " august",
            " september",
            " october",
            " november",
            " december",
            " spring",
            " summer",
            " autumn",
            " winter",
        ],
    ) || lower
        .split_whitespace()
        .any(|w| w.len() >= 4 && w.contains(':') && w.starts_with(|c: char| c.is_ascii_digit()));
    let clause = has(
        lower,
        &[
            " when ",
            " whenever ",
            " if ",
            " after ",
            " before ",
            " once ",
            " as soon as ",
            " until ",
            " only ",
            " during ",
            " while ",
        ],
    );
    let asks_usage = view.question.contains(" use");
    let usage = asks_usage && lower.contains(" use");
    // "When was" asks for a date; "when should" and "when does" for a condition.
    let past = has(
        view.question,
        &["when was", "when were", "when did", "what year", "which year", "what date", "which date", "since when"],
    );
    match (past, dated || clock, clause) {
        (_, true, _) => Fit { score: 1_000, support: 1_000 },
        (true, false, _) => Fit { score: 100, support: 550 },
        (false, false, true) if asks_usage && !usage => Fit { score: 350, support: 850 },
        (false, false, true) => Fit { score: if usage { 1_000 } else { 800 }, support: 1_000 },
        (false, false, false) => Fit { score: 250, support: 850 },
    }
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
    let both = !view.focus.is_empty()
        && view.focus.iter().filter(|f| view.terms.contains(*f)).count() * 3 >= view.focus.len() * 2;
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
