//! Rows and keys of the store.
//!
//! For: bytes that claim to be a row of the core. Not for: the store's own files (its library checks those).
//! Invariant: bytes that are not a row are refused; what is read is written back to bytes that read the same.

use std::fmt::Debug;

use consort_core::{
    keys::{EntryKey, HistoryKey, InboxKey, ListKey, NamedKey, ScopeKey, SignalKey, TimerKey, VoteKey},
    rows,
    tables::{Key, Row},
};
use consort_types::{BlobHash, RunId, Seq, StepInstanceId};

use super::{record, trace};
use crate::Target;

/// The target. The first byte chooses the table.
pub const TARGET: Target =
    Target { name: "rows", run, seeds, words: &["\u{0}\u{0}\u{0}\u{0}", "default", "w"], bytes_max: 4 * 1024 };

fn run(input: &[u8]) -> u64 {
    let Some((table, bytes)) = input.split_first() else { return 0 };
    let table = table % 30;
    trace((table, row(table, bytes) || key(table, bytes)))
}

fn row(table: u8, bytes: &[u8]) -> bool {
    match table {
        0 => reads::<rows::Meta>(bytes),
        1 => reads::<consort_workflow::CompiledWorkflow>(bytes),
        2 => reads::<rows::WorkflowRevision>(bytes),
        3 => reads::<rows::Run>(bytes),
        4 => reads::<rows::Scope>(bytes),
        5 => reads::<rows::Step>(bytes),
        6 => reads::<rows::Items>(bytes),
        7 => reads::<rows::TaskEntry>(bytes),
        8 => reads::<rows::HistoryEntry>(bytes),
        9 => reads::<rows::InboxItem>(bytes),
        10 => reads::<rows::IdempotencyRecord>(bytes),
        11 => reads::<rows::Signal>(bytes),
        12 => reads::<rows::Waiter>(bytes),
        13 => reads::<rows::Agent>(bytes),
        14 => reads::<rows::Namespace>(bytes),
        15 => reads::<rows::BlobUse>(bytes),
        24 => reads::<rows::Refusal>(bytes),
        26 => reads::<rows::Ballot>(bytes),
        27 => reads::<rows::BallotProgress>(bytes),
        28 => reads::<rows::Vote>(bytes),
        _ => false,
    }
}

fn key(table: u8, bytes: &[u8]) -> bool {
    match table {
        16 => sorts::<ScopeKey>(bytes),
        17 => sorts::<HistoryKey>(bytes),
        18 => sorts::<EntryKey>(bytes),
        19 => sorts::<TimerKey>(bytes),
        20 => sorts::<NamedKey>(bytes),
        21 => sorts::<ListKey>(bytes),
        22 => sorts::<InboxKey>(bytes),
        23 => sorts::<SignalKey>(bytes),
        25 => sorts::<Seq>(bytes),
        29 => sorts::<VoteKey>(bytes),
        _ => false,
    }
}

fn reads<R: Row + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let Ok(row) = minicbor::decode::<R>(bytes) else { return false };
    let written = minicbor::to_vec(&row).expect("what was read can be written");
    assert_eq!(minicbor::decode::<R>(&written).as_ref().ok(), Some(&row), "what was written is read back");
    assert!(row.weight() > 0);
    true
}

fn sorts<K: Key + Debug>(bytes: &[u8]) -> bool {
    let Some(key) = K::decode(bytes) else { return false };
    let mut written = Vec::new();
    key.encode(&mut written);
    assert_eq!(written, bytes, "a key has one form: {key:?}");
    true
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        record::stored_rows().into_iter().flat_map(|(key, row)| with_every_table(&key, &row)).collect();
    let task = StepInstanceId { run: RunId([1; 16]), scope: 0, index: 1 };
    let mut bytes = vec![18];
    EntryKey { task, entry: 3 }.encode(&mut bytes);
    seeds.push(bytes);
    let hash = BlobHash::of(b"x");
    seeds.push(
        [&[10_u8][..], &minicbor::to_vec(rows::IdempotencyRecord { run: task.run, request: hash }).unwrap_or_default()]
            .concat(),
    );
    seeds
}

/// A stored row, as a row of each table and as a key of each.
fn with_every_table(key: &[u8], row: &[u8]) -> Vec<Vec<u8>> {
    let rows = (0..16).chain([24]).map(|table| [&[table], row].concat());
    rows.chain((16..24).chain([25]).map(|table| [&[table], key.get(1..).unwrap_or_default()].concat())).collect()
}
