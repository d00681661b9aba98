//! Words that mean the same in a question.
//!
//! For: folding safe synonyms and question forms ("how heavy", "weight") into one term. Not for: a thesaurus.
//! Invariant: only words that are interchangeable in questions about facts; each stem is in one group.

/// Groups of stems; the first of a group is the term for all of them.
const GROUPS: &[&[&str]] = &[
    &["cost", "price", "fee", "expens"],
    &["author", "written", "wrote", "writer"],
    &["begin", "start", "began", "begun"],
    &["delet", "remov", "eras"],
    &["allow", "permit"],
    &["advantag", "benefit"],
    &["disadvantag", "drawback"],
    &["maximum", "max", "limit", "largest", "longest", "highest", "biggest"],
    &["minimum", "min", "smallest", "shortest", "lowest", "least"],
    &["larg", "big", "size"],
    &["buy", "purchas", "bought"],
    &["weight", "heavi", "weigh"],
    &["height", "tall", "high"],
    &["width", "wide"],
    &["depth", "deep"],
    &["length", "long"],
    &["distanc", "far"],
    &["speed", "fast", "quick"],
    &["locat", "situat"],
    &["directori", "folder"],
    &["temperatur", "hot", "cold"],
    &["build", "built"],
    &["choos", "chosen", "chose"],
    &["argument", "paramet", "param"],
    &["repair", "fix", "mend"],
    &["annual", "year", "yearli"],
    &["fail", "failur"],
    &["stop", "halt"],
    &["thick", "thickness"],
    &["run", "ran"],
    &["keep", "kept"],
    &["send", "sent"],
    &["think", "thought"],
    &["make", "made"],
    &["find", "found"],
    &["hold", "held"],
    &["pay", "paid", "payment"],
    &["sell", "sold"],
    &["grow", "grown", "grew"],
    &["vari", "variabl"],
];

/// The term for a stem's group, or the stem itself.
pub(crate) fn normalise(stem: &str) -> &str {
    GROUPS.iter().find(|g| g.contains(&stem)).map_or(stem, |g| g[0])
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_stem_stands_in_one_group() {
        let mut all: Vec<&str> = super::GROUPS.iter().flat_map(|g| g.iter().copied()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
