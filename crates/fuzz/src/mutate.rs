//! New inputs out of known ones.
//!
//! For: the driver. Not for: knowing what an input means.
//! Invariant: the same chance and the same corpus give the same input.

use crate::chance::Chance;

/// Numbers at the edges of types and limits.
const EDGES: [u64; 10] = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];

/// An input made of the corpus: a few changes to one of its inputs. It has at most `bytes_max` bytes.
pub(crate) fn mutate(corpus: &[Vec<u8>], words: &[&str], bytes_max: usize, chance: &mut Chance) -> Vec<u8> {
    let mut input = match corpus.len() {
        0 => Vec::new(),
        // The newest findings are chosen more often than the rest.
        len if chance.below(3) == 0 => corpus[len - 1 - chance.below(len.min(16))].clone(),
        len => corpus[chance.below(len)].clone(),
    };
    for _ in 0..=chance.below(6) {
        change(&mut input, corpus, words, chance);
        input.truncate(bytes_max);
    }
    input
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[&str], chance: &mut Chance) {
    let place = chance.below(input.len() + 1);
    match chance.below(11) {
        0 | 1 => flip(input, chance),
        2 => {
            let fresh: Vec<u8> = (0..=chance.below(24)).map(|_| chance.byte()).collect();
            input.splice(place..place, fresh);
        }
        3 => drop(input.drain(piece(input, place, chance))),
        4 => {
            let copy = input[piece(input, place, chance)].to_vec();
            let to = chance.below(input.len() + 1);
            input.splice(to..to, copy);
        }
        5 => {
            let wide = EDGES[chance.below(EDGES.len())].to_le_bytes();
            let width = 1 << chance.below(4);
            let end = (place + width).min(input.len());
            input.splice(place..end, wide[..width].iter().copied());
        }
        6 | 7 if !words.is_empty() => {
            let word = words[chance.below(words.len())].bytes();
            let end = (place + chance.below(8)).min(input.len());
            input.splice(place..end, word);
        }
        8 if !corpus.is_empty() => {
            let other = &corpus[chance.below(corpus.len())];
            let from = chance.below(other.len() + 1);
            let taken = &other[piece(other, from, chance)];
            input.splice(place..place, taken.iter().copied());
        }
        9 => {
            let fresh: Vec<u8> = (0..64).map(|_| chance.byte()).collect();
            input.extend(fresh);
        }
        _ => input.truncate(place),
    }
}

fn flip(input: &mut [u8], chance: &mut Chance) {
    if input.is_empty() {
        return;
    }
    let place = chance.below(input.len());
    input[place] = if chance.below(2) == 0 { input[place] ^ 1 << chance.below(8) } else { chance.byte() };
}

/// A range from `place` on.
fn piece(input: &[u8], place: usize, chance: &mut Chance) -> std::ops::Range<usize> {
    let left = input.len() - place;
    let short = chance.below(4) > 0;
    place..place + chance.below(if short { left.min(32) } else { left } + 1)
}
