//! Whether a sentence has the form that a question asks for.
//!
//! For: definitions, numbers, times, reasons, names, places, instructions. Not for: what the sentence is about.
//! Invariant: `support` is 1000 unless the form is wanted and missing, so that it only ever takes away.

use std::collections::BTreeSet;

use crate::research::model::{Hit, Intent, Segment, SegmentKind};
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
    /// Terms of the last heading.
    pub(super) last: &'a BTreeSet<String>,
    pub(super) focus: &'a BTreeSet<String>,
    /// Whether the question names code.
    pub(super) asks_code: bool,
    /// The sub-question in lower case.
    pub(super) question: &'a str,
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
    "twice", "once", "double", "dozen", "zero", "single", "one", "pair", "both",
];

/// Scores the form of a sentence.
pub(super) fn fit(intent: Intent, view: &View<'_>) -> Fit {
    let lower = format!(" {} ", view.segment.text.to_lowercase());
    let soft = |score| Fit { score, support: 1_000 };
    match intent {
        Intent::Definition => soft(definition(view, &lower)),
        Intent::Procedure => soft(procedure(view, &lower)),
        Intent::Quantity => needed_here_or_next(view, &lower, quantity),
        Intent::Duration => needed_here_or_next(view, &lower, duration),
        Intent::Time => time(view, &lower),
        Intent::Reason => soft(if has(&lower, REASONS) { 1_000 } else { 650 }),
        Intent::Person => needed(person(view)),
        Intent::Location => soft(location(&view.segment.text, &lower)),
        Intent::YesNo => soft(if has(&lower, MODALS) { 800 } else { 400 }),
        Intent::Comparison => soft(comparison(view, &lower)),
        Intent::General => soft(general(view, &lower)),
    }
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
    let head = head_fits(view);
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
    ]
    .iter()
    .filter_map(|v| lower.find(v))
    .min();
    // The focus must come before the verb, early, and with little else: "The `str` type, also called a slice, is".
    let subject = verb.and_then(|at| {
        let before: Vec<&Term> = view.words.iter().filter(|w| w.start < at).collect();
        let found = view.focus.iter().all(|f| before.iter().any(|w| w.text == *f));
        let early = before.iter().find(|w| view.focus.contains(&w.text)).is_some_and(|w| w.position <= 2);
        (found && early && !view.focus.is_empty())
            .then(|| lower[..at].split_whitespace().count().saturating_sub(view.focus.len()))
    });
    let article = has(
        &lower[verb.unwrap_or(0)..],
        &[" is a ", " is an ", " is the ", " means ", " refers to ", " stands for ", " was a "],
    );
    let second = view.at > 0 && view.hit.segments[view.at - 1].block == view.segment.block;
    // Reference pages open with a phrase: "A growable array".
    let phrase =
        has(lower, &[" is ", " are ", " provides "]) || [" a ", " an ", " the "].iter().any(|m| lower.starts_with(m));
    match (subject, head) {
        (Some(0..=3), _) if article => 1_000,
        (Some(0..=8), _) if article => 940,
        (Some(0..=3), _) => 850,
        // The lead of a document or section of that name.
        (_, true) if view.opens && view.segment.block <= LEAD_BLOCKS && phrase => 1_000,
        (_, true) if view.opens => 880,
        (_, true) if second && view.at <= 2 => 650,
        (_, true) => 450,
        _ => 200,
    }
}

/// Blocks at the beginning of a file that may introduce it.
const LEAD_BLOCKS: u32 = 4;

/// Whether the last heading is about the focus and little else.
fn head_fits(view: &View<'_>) -> bool {
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
    ];
    let heading = view.hit.headings.last().unwrap_or(&view.hit.title);
    let others = view.last.difference(view.focus).filter(|t| !KINDS.contains(&t.as_str())).count();
    !view.focus.is_empty() && view.focus.is_subset(view.last) && others <= 1 && !heading.contains('(')
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
    let next_is_code = view.hit.segments.get(view.at + 1).is_some_and(|s| s.kind == SegmentKind::Code);
    let first = lower.split_whitespace().next().unwrap_or_default().trim_matches(|c: char| !c.is_alphanumeric());
    let imperative = IMPERATIVES.split(' ').any(|w| w == first);
    let guided = has(lower, GUIDES);
    let mut score = match (imperative, guided) {
        (true, true) => 900,
        (true, false) => 800,
        (false, true) => 700,
        _ => 300,
    };
    score += if view.segment.text.contains('`') { 100 } else { 0 };
    score += if next_is_code && view.segment.text.trim_end().ends_with([':', '.']) { 100 } else { 0 };
    score += if view.segment.kind == SegmentKind::Item { 50 } else { 0 };
    // What is not done is seldom how to do it.
    if denies(&view.segment.text) && !denies(view.question) {
        score -= 250;
    }
    if view.segment.kind == SegmentKind::Code { 450 } else { score.min(1_000) }
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
    let near = words.iter().enumerate().any(|(i, w)| {
        w.starts_with(noun.as_str())
            && (1..=3).any(|back| i.checked_sub(back).is_some_and(|j| numbers(&format!(" {} ", words[j]))))
    });
    if near { 1_000 } else { 650 }
}

fn duration(view: &View<'_>, lower: &str) -> i64 {
    if has_unit_number(lower) {
        return 1_000;
    }
    let long = view.question.contains("how long is ")
        || view.question.contains("how long are ")
        || view.question.contains("how long was ");
    // "How long is the bridge" may ask for metres.
    match () {
        () if long && numbers(lower) && has(lower, &[" length", " long"]) => 1_000,
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
    let contrast = has(
        lower,
        &[
            " whereas ",
            " unlike ",
            " while ",
            " than ",
            " differ",
            " instead ",
            " rather ",
            " but ",
            " both ",
            " however",
            " in contrast",
            " on the other hand",
            " only ",
            " same ",
            " similar",
            " except ",
        ],
    );
    match (both, contrast) {
        (true, true) => 1_000,
        (true, false) => 750,
        (false, true) => 600,
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
    match (value, numbers(lower)) {
        (true, true) => 900,
        (true, false) => 400,
        _ => 550,
    }
}
