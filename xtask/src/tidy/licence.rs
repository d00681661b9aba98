//! SPDX licence expressions, judged: may a dependency with this licence be taken?
//!
//! For: the `license` field of a manifest. Not for: reading licence texts.
//! Invariant: what cannot be read is not permissive.

/// Licences under which a dependency may be taken.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "BlueOak-1.0.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether the expression leaves a choice that is permissive in all its parts.
pub(super) fn is_permissive(expression: &str) -> bool {
    // `/` is the old spelling of `OR`.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let good = any_of(&mut words);
    good && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>) -> bool {
    let mut good = all_of(words);
    while words.next_if_eq(&"OR").is_some() {
        good |= all_of(words);
    }
    good
}

fn all_of(words: &mut Words<'_>) -> bool {
    let mut good = one(words);
    while words.next_if_eq(&"AND").is_some() {
        good &= one(words);
    }
    good
}

fn one(words: &mut Words<'_>) -> bool {
    match words.next() {
        Some("(") => {
            let good = any_of(words);
            good & words.next_if_eq(&")").is_some()
        }
        Some(id) => {
            // An exception only permits more.
            if words.next_if_eq(&"WITH").is_some() {
                words.next();
            }
            PERMISSIVE.contains(&id)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_permissive;

    #[test]
    fn one_permissive_choice_is_enough() {
        for expression in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "GPL-3.0 OR MIT",
            "(MIT OR GPL-3.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
        ] {
            assert!(is_permissive(expression), "{expression}");
        }
    }

    #[test]
    fn every_part_of_the_choice_counts() {
        for expression in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", "MIT)", "(MIT", "Own"] {
            assert!(!is_permissive(expression), "{expression}");
        }
    }
}
