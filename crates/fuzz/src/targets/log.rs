//! The log reader: files as a crash, a bad disk or a forger may leave them.
//!
//! For: recovery and reading of `consort-log-file`. Not for: the content of the records.
//! Invariant: that of `fuzz_read`: no panic, and no record that was not written.

use consort_log::{Record, frame};
use consort_log_file::fuzz_read;
use consort_types::{Seq, Time};

use super::trace;
use crate::{Choices, Target};

/// The target. The first byte chooses: even, the rest is a file; odd, it is a list of decisions about frames whose
/// checksums are right, which no blind change would ever find.
pub const TARGET: Target =
    Target { name: "log", run, seeds, words: &["CFr1", "\0\0\0\0\0\0\0\0"], bytes_max: 24 * 1024 };

/// The key of the segment into which `fuzz_read` puts frames.
fn key() -> frame::Key {
    frame::Key::new([7; 16], 1, 1)
}

fn run(input: &[u8]) -> u64 {
    let Some((mode, rest)) = input.split_first() else { return 0 };
    if mode % 2 == 0 {
        fuzz_read(rest);
        return trace((0, rest.len().checked_ilog2(), rest.get(..4) == Some(&frame::MAGIC)));
    }
    let (file, seen) = frames(&mut Choices::new(rest));
    fuzz_read(&file);
    trace((1, seen))
}

/// Frames that hang together, or nearly so; with what kind each one is.
fn frames(choices: &mut Choices<'_>) -> (Vec<u8>, Vec<u8>) {
    let (mut file, mut seen, mut expected, mut chain) = (Vec::new(), Vec::new(), 1_u64, 0);
    while !choices.is_done() && seen.len() < 12 {
        let kind = choices.byte() % 8;
        let first = if kind == 1 { choices.number() } else { expected };
        let behind = if kind == 2 { choices.byte().into() } else { chain };
        if kind == 3 {
            chain = forged(&mut file, first, behind, choices);
        } else {
            let group = group(choices);
            let header = frame::encode(&mut file, key(), Seq(first), behind, &group);
            chain = header.check;
            expected = first.wrapping_add(group.len() as u64);
        }
        if kind == 4 {
            // Torn, as by a power cut.
            let kept = file.len().saturating_sub(usize::from(choices.byte()));
            file[kept..].fill(0);
        }
        seen.push(kind);
    }
    (file, seen)
}

fn group(choices: &mut Choices<'_>) -> Vec<Record> {
    let count = 1 + choices.below(4);
    (0..count).map(|_| Record::new(Time(choices.number()), vec![choices.byte(); choices.below(200)])).collect()
}

/// A frame of any body and any count of records, under checksums that are right. Gives its link for the chain.
fn forged(file: &mut Vec<u8>, first: u64, chain: u32, choices: &mut Choices<'_>) -> u32 {
    let body: Vec<u8> = (0..choices.below(64)).map(|_| choices.byte()).collect();
    let length = if choices.once_in(8) { choices.number() as u32 } else { body.len() as u32 };
    let mut header = frame::MAGIC.to_vec();
    header.extend(length.to_le_bytes());
    header.extend(first.to_le_bytes());
    header.extend((choices.number() as u32).to_le_bytes());
    header.extend(chain.to_le_bytes());
    header.extend(crc32c::crc32c(&body).to_le_bytes());
    let check = key().check(&header);
    header.extend(check.to_le_bytes());
    file.extend(header);
    file.extend(body);
    file.resize(file.len().next_multiple_of(frame::ALIGN), 0);
    check
}

fn seeds() -> Vec<Vec<u8>> {
    let good = [0, 0, 0, 1, 2, 7, 30, 0, 1, 1, 2, 8, 60];
    let (file, _) = frames(&mut Choices::new(&good));
    let as_file = [&[0][..], &file].concat();
    let decisions = [&[1][..], &good].concat();
    let edits = vec![0, 0, 64, 1, 40, 64, 8];
    vec![as_file, decisions, edits, vec![1, 3, 5, 0, 0, 0, 0, 9, 9], vec![1, 0, 1, 4, 4, 2, 4, 9]]
}
