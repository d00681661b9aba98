//! The replay rule at the machine's door: which requests get the recorded answer, and which diverge.
//!
//! For: that the machine follows the shared rule, wherever documents are kept. Not for: the rule itself (the tests of
//! `consort-types`).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;
#[path = "../../types/tests/replay/vectors.rs"]
mod vectors;

use consort_types::{BlobHash, Code, EffectClass, Payload, limits, worker::JournalRequest};
use support::World;

const ONE: &str = "workflow: w\nsteps:\n  it: { capability: x }\n";

/// A world in which the task `it` has this entry, and its first attempt was lost.
fn recorded(world: &mut World, request: JournalRequest) {
    world.deploy(ONE);
    world.act("start {}");
    world.taken("it", EffectClass::Idempotent);
    let result = matches!(request, JournalRequest::Run { .. }).then_some("1");
    world.record("it", 0, request, result).unwrap();
    world.lose("it", None);
}

/// Whether the machine accepts the next attempt's request for the same entry.
fn asked(world: &mut World, request: JournalRequest) -> bool {
    let result = matches!(request, JournalRequest::Run { .. }).then_some("1");
    match world.record("it", 0, request, result) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.code, Code::JournalDiverged, "{error}");
            false
        }
    }
}

/// The request with its input in the blob store.
fn by_reference(world: &World, request: JournalRequest) -> JournalRequest {
    match request {
        JournalRequest::Call { capability, input, options } => {
            JournalRequest::Call { capability, input: world.put_blob(input.bytes().unwrap()), options }
        }
        other => other,
    }
}

#[test]
fn the_machine_follows_the_vectors_wherever_an_input_is_kept() {
    for vector in vectors::all() {
        for (first, second) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut world = World::new();
            let place = |world: &World, request, blob| if blob { by_reference(world, request) } else { request };
            let request = place(&world, vector.recorded(), first);
            recorded(&mut world, request);
            let request = place(&world, vector.asked(), second);
            let same = asked(&mut world, request);
            assert_eq!(same, vector.same, "{} (by reference: {first}, {second})", vector.name);
            world.verify();
        }
    }
}

#[test]
fn the_detail_of_an_approval_may_grow_into_the_blob_store() {
    let approval = |detail| JournalRequest::Approval { prompt: "ship it?".to_owned(), detail };
    let mut world = World::new();
    recorded(&mut world, approval(Payload::null()));
    let large = format!("\"{}\"", "x".repeat(limits::INLINE_BYTES_MAX));
    let large = world.put_blob(large.as_bytes());
    assert!(asked(&mut world, approval(large)));
    world.verify();
}

#[test]
fn an_input_whose_blob_is_gone_is_another_input_and_no_reason_to_halt() {
    let call = |input| JournalRequest::Call { capability: "y".to_owned(), input, options: None };
    let mut world = World::new();
    recorded(&mut world, call(Payload::inline(b"1".as_slice())));
    assert!(!asked(&mut world, call(Payload::Blob { hash: BlobHash::of(b" 1"), len: 2 })));
    assert!(asked(&mut world, call(Payload::Blob { hash: BlobHash::of(b"1"), len: 1 })), "the hash is enough");
    world.verify();
}
