//! Dates in text, as ISO 8601.
//!
//! For: the date of a document and dates in sentences. Not for: arithmetic on instants or time zones.
//! Invariant: what comes out is `YYYY`, `YYYY-MM` or `YYYY-MM-DD`, so that text order is time order.

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// All dates in a text, in order of appearance: `2024-03-01`, `1 March 2024`, `March 2024`, `March 1, 2024`.
pub(crate) fn dates(text: &str) -> Vec<String> {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | ';' | '"' | '*' | '`' | '|'))
        .map(|w| w.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|w| !w.is_empty())
        .collect();
    let mut out = Vec::new();
    for (i, word) in words.iter().enumerate() {
        if let Some(date) = iso(word) {
            out.push(date);
        } else if let Some(month) = month(word) {
            out.extend(around(&words, i, month));
        }
    }
    out
}

/// The date near the words "updated", "date" and the like in the first lines of a document.
pub(crate) fn stamp(line: &str) -> Option<String> {
    let lower = line.trim_start_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let labelled = [
        "last updated",
        "last modified",
        "last changed",
        "updated",
        "date",
        "revised",
        "effective",
        "published",
        "as of",
        "valid from",
        "version of",
        "issued",
        "last reviewed",
        "reviewed",
    ]
    .iter()
    .any(|label| lower.starts_with(label));
    let within = ["effective ", "valid from ", "last updated", "as of ", "updated: ", "revised on "]
        .iter()
        .any(|l| lower.contains(l));
    (labelled || (within && line.len() < 120)).then(|| dates(line).into_iter().next()).flatten()
}

fn iso(word: &str) -> Option<String> {
    let date = word.split('T').next()?;
    let mut fields = date.split('-');
    let (year, month, day) = (fields.next()?, fields.next()?, fields.next());
    if fields.next().is_some() || year.len() != 4 || month.len() != 2 {
        return None;
    }
    let (y, m): (u32, u32) = (year.parse().ok()?, month.parse().ok()?);
    if !(1000..=2999).contains(&y) || !(1..=12).contains(&m) {
        return None;
    }
    match day {
        None => Some(format!("{y:04}-{m:02}")),
        Some(day) => {
            let d: u32 = day.parse().ok()?;
            (day.len() == 2 && (1..=31).contains(&d)).then(|| format!("{y:04}-{m:02}-{d:02}"))
        }
    }
}

fn month(word: &str) -> Option<usize> {
    let lower = word.to_lowercase();
    let known = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "sept",
    ];
    if lower.len() != 3 && !known.contains(&lower.as_str()) {
        return None;
    }
    word.starts_with(char::is_uppercase)
        .then(|| MONTHS.iter().position(|m| lower.starts_with(m)).map(|i| i + 1))
        .flatten()
}

/// The date around a month's name: day before or after, year after.
fn around(words: &[&str], at: usize, month: usize) -> Option<String> {
    let day = |word: Option<&&str>| {
        let digits = word?.trim_end_matches(|c: char| c.is_alphabetic());
        digits.parse::<u32>().ok().filter(|d| (1..=31).contains(d) && digits.len() <= 2)
    };
    let year = |word: Option<&&str>| word?.parse::<u32>().ok().filter(|y| (1000..=2999).contains(y));
    let before = at.checked_sub(1).and_then(|i| day(words.get(i)));
    if let Some(y) = year(words.get(at + 1)) {
        return Some(before.map_or(format!("{y:04}-{month:02}"), |d| format!("{y:04}-{month:02}-{d:02}")));
    }
    let (d, y) = (day(words.get(at + 1))?, year(words.get(at + 2))?);
    Some(format!("{y:04}-{month:02}-{d:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_dates_in_their_usual_forms() {
        assert_eq!(
            dates("From 2024-03-01 to 5 May 2024, then March 2025 and June 7th, 2026."),
            ["2024-03-01", "2024-05-05", "2025-03", "2026-06-07"]
        );
        assert!(dates("you may 12 march 2 sections 1-2").is_empty());
    }

    #[test]
    fn a_stamp_needs_its_label() {
        assert_eq!(stamp("Last updated: 3 May 2024").as_deref(), Some("2024-05-03"));
        assert_eq!(stamp("The bridge opened on 3 May 2024"), None);
    }
}
