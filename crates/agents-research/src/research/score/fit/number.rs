//! Numbers, lengths of time and points in time.
//!
//! For: whether a sentence has the kind of value that a question requires. Not for: what the value is of.
//! Invariant: words that only look like numbers ("another", "a pair of") do not count.

use super::{Fit, View, has, row_of};
use crate::research::model::SegmentKind;
use crate::research::text::dates::dates;

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

pub(super) fn numbers(lower: &str) -> bool {
    lower.split(|c: char| !c.is_alphanumeric() && c != '.' && c != ',').any(|w| {
        let w = w.trim_end_matches(['.', ',']);
        w.starts_with(|c: char| c.is_ascii_digit()) || NUMBER_WORDS.contains(&w)
    }) || lower.contains(['½', '¼', '¾'])
}

pub(super) fn quantity(view: &View<'_>, lower: &str) -> i64 {
    let unlimited = has(lower, &[" unlimited ", " no limit ", " without limit "]);
    if unlimited && row_of(view) {
        return 1_000;
    }
    if !numbers(lower) {
        return if unlimited { 800 } else { 100 };
    }
    let digits = lower.contains(|c: char| c.is_ascii_digit());
    if view.named && digits {
        // In the section of that very question the statement, not the condition.
        return match () {
            () if lower.starts_with(" if ") => 600,
            () if has(lower, &[" default", " is ", " are "]) => 950,
            () => 800,
        };
    }
    // "How many pumps": the number is right before the noun that is counted.
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
        () => 400,
    }
}

pub(super) fn duration(view: &View<'_>, lower: &str) -> i64 {
    if has_unit_number(lower) {
        return 1_000;
    }
    if view.segment.kind == SegmentKind::Row && lower.contains("how long ") {
        return 800;
    }
    let long = view.question.trim_end().ends_with(" be")
        || view.question.contains("how long is ")
        || view.question.contains("how long are ")
        || view.question.contains("how long was ");
    // "How long is the bridge" may request metres.
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

/// Whether the text has a number with a unit of time.
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

pub(super) fn time(view: &View<'_>, lower: &str) -> Fit {
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
    // "When was" requests a date; "when should" and "when does" request a condition.
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
