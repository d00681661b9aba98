//! "Did you mean".
//!
//! For: hints about misspelt names. Not for: accepting them.
//! Invariant: the suggestion is one of the candidates, and depends on nothing but the arguments.

/// The longest name that is compared; longer ones get no suggestion, so hostile names cost nothing.
const COMPARED_BYTES_MAX: usize = 64;

/// Candidates compared at most.
const CANDIDATES_MAX: usize = 500;

/// A hint with the candidate that is nearest to `name`, if one is near.
pub fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|best| format!("did you mean `{best}`?"))
}

fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > COMPARED_BYTES_MAX {
        return None;
    }
    let near = |candidate: &str| {
        let distance = distance(&name.to_lowercase(), &candidate.to_lowercase());
        (distance <= 1 + name.chars().count() / 4 && distance < candidate.chars().count()).then_some(distance)
    };
    let short = candidates.into_iter().filter(|candidate| candidate.len() <= COMPARED_BYTES_MAX);
    short.take(CANDIDATES_MAX).filter_map(|c| near(c).map(|d| (d, c))).min().map(|(_, best)| best)
}

/// Edits (insert, delete, replace, swap neighbours) from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

/// Names in backticks, at most a dozen of them.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN_MAX: usize = 12;
    let names: Vec<&str> = names.into_iter().take(CANDIDATES_MAX).collect();
    let shown: Vec<String> = names.iter().take(SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > SHOWN_MAX { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let names = ["plan", "gather", "review"];
        assert_eq!(did_you_mean("gahter", names).as_deref(), Some("did you mean `gather`?"));
        assert_eq!(did_you_mean("Plan", names).as_deref(), Some("did you mean `plan`?"));
        assert_eq!(did_you_mean("publish", names), None);
        assert_eq!(did_you_mean("x", ["y"]), None);
        assert_eq!(did_you_mean(&"a".repeat(100_000), names), None);
    }
}
