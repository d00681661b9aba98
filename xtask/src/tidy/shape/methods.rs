//! The methods that each type has of its own.
//!
//! For: counting functions in inherent `impl` blocks. Not for: traits, whose size is the trait's matter.
//! Invariant: only functions right in the block count, not those inside other functions.

use super::word;
use crate::rust::{Kind, Token};

/// The types with inherent `impl` blocks in these tokens, each with the functions of one block.
pub(super) fn of(tokens: &[Token]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        if tokens[at].is_word("impl")
            && begins_item(tokens, at)
            && let Some((name, open)) = inherent(tokens, at + 1)
        {
            found.push((name, functions_in(tokens, open)));
        }
    }
    found
}

/// Whether an `impl` opens a block, rather than standing in a type.
fn begins_item(tokens: &[Token], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|at| &tokens[at]) else { return true };
    ['}', ';', ']', '{'].iter().any(|mark| before.is_mark(*mark))
}

/// The name of the type and the opening brace, unless a trait is implemented.
fn inherent(tokens: &[Token], start: usize) -> Option<(String, usize)> {
    let (mut at, mut angles, mut name) = (start, 0_usize, None);
    loop {
        match &tokens.get(at)?.kind {
            Kind::Mark('{') => return name.map(|name| (name, at)),
            Kind::Mark('<') => angles += 1,
            // `->` in the bound of a type parameter closes nothing.
            Kind::Mark('>') if !tokens[at - 1].is_mark('-') => angles = angles.saturating_sub(1),
            Kind::Word(word) if angles == 0 && word == "for" => return None,
            Kind::Word(found) if angles == 0 && found == "where" => {
                let open = (at..tokens.len()).find(|at| tokens[*at].is_mark('{'))?;
                return name.map(|name| (name, open));
            }
            Kind::Word(_) if angles == 0 => name = word(tokens, at).map(str::to_owned),
            _ => {}
        }
        at += 1;
    }
}

fn functions_in(tokens: &[Token], open: usize) -> usize {
    let (mut depth, mut functions) = (0_usize, 0);
    for at in open..tokens.len() {
        match &tokens[at].kind {
            Kind::Mark('{') => depth += 1,
            Kind::Mark('}') if depth == 1 => break,
            Kind::Mark('}') => depth -= 1,
            Kind::Word(name) if name == "fn" && depth == 1 && word(tokens, at + 1).is_some() => functions += 1,
            _ => {}
        }
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rust;

    #[test]
    fn only_inherent_blocks_count_and_only_their_own_functions() {
        let text = "impl<K: Key, F: Fn(u8) -> u8> Table<K> where K: Ord { fn a() { fn inner() {} } fn b(f: fn()) {} }\n\
                    impl Clone for Other { fn clone() {} }\n\
                    fn f(x: impl Fn()) -> impl Iterator { }\n\
                    #[cfg(test)] impl super::Third<'_> { const fn c() {} }";
        let found = of(&rust::tokens(text));
        assert_eq!(found, [("Table".to_owned(), 2), ("Third".to_owned(), 1)]);
    }
}
