//! The modules that a file names.
//!
//! For: paths that begin with `crate`, `self` or `super`, in `use` and in code. Not for: names without a path, which
//! come from one of these.
//! Invariant: a path is resolved from the crate's root, however it was written.

use super::{is_path_mark, word};
use crate::rust::Token;

/// The paths in these tokens, of a file that is this module.
pub(super) fn used(tokens: &[Token], own: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    // Inside an inline module, `super` is one step nearer.
    let mut inner: Vec<usize> = Vec::new();
    let mut depth = 0_usize;
    while at < tokens.len() {
        if tokens[at].is_mark('{') {
            depth += 1;
            if at >= 2 && tokens[at - 2].is_word("mod") {
                inner.push(depth);
            }
        } else if tokens[at].is_mark('}') {
            if inner.last() == Some(&depth) {
                inner.pop();
            }
            depth = depth.saturating_sub(1);
        }
        let begins = at == 0 || !tokens[at - 1].is_mark(':');
        if begins && let Some((base, next)) = root(tokens, at, own, inner.len()) {
            at = tree(tokens, next, base, &mut found);
        } else {
            at += 1;
        }
    }
    found
}

/// Where a path that begins here is resolved from, and its next part.
fn root(tokens: &[Token], at: usize, own: &[String], inner: usize) -> Option<(Vec<String>, usize)> {
    let mut base = own.to_vec();
    let mut at = at;
    match word(tokens, at)? {
        "crate" => base.clear(),
        "self" => {}
        "super" => {
            let mut steps = 0;
            while word(tokens, at) == Some("super") && is_path_mark(tokens, at + 1) {
                steps += 1;
                at += 3;
            }
            (inner..steps).for_each(|_| drop(base.pop()));
            return (steps > 0).then_some((base, at));
        }
        _ => return None,
    }
    is_path_mark(tokens, at + 1).then_some((base, at + 3))
}

/// Reads the rest of a path, with its branches in braces; gives the place behind it.
fn tree(tokens: &[Token], at: usize, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    let mut at = at;
    loop {
        if tokens.get(at).is_some_and(|token| token.is_mark('{')) {
            return branches(tokens, at + 1, &path, found);
        }
        let Some(part) = word(tokens, at) else {
            found.push(path);
            return at;
        };
        if part != "self" {
            path.push(part.to_owned());
        }
        at += 1;
        if !is_path_mark(tokens, at) {
            found.push(path);
            return at;
        }
        at += 2;
    }
}

fn branches(tokens: &[Token], at: usize, path: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut at = at;
    while let Some(token) = tokens.get(at) {
        if token.is_mark('}') {
            return at + 1;
        }
        at = match word(tokens, at) {
            // Another name, which leads nowhere new.
            Some("as") => at + 2,
            Some(_) => tree(tokens, at, path.to_vec(), found),
            None => at + 1,
        };
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rust;

    fn paths(text: &str) -> Vec<String> {
        let own = ["run".to_owned(), "step".to_owned()];
        used(&rust::tokens(text), &own).into_iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn paths_are_told_from_the_root() {
        assert_eq!(
            paths("use super::{Place, scope::{self, Scope as S}, wait};"),
            ["run::Place", "run::scope", "run::scope::Scope", "run::wait"]
        );
        assert_eq!(
            paths("fn f() { crate::fold::missing(); super::super::cache::get() }"),
            ["fold::missing", "cache::get"]
        );
        assert_eq!(paths("use self::inner::X; use std::super_::y; let a = b::crate_();"), ["run::step::inner::X"]);
        assert_eq!(paths("mod tests { use super::*; use super::super::Place; }"), ["run::step", "run::Place"]);
    }
}
