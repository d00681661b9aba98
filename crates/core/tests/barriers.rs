//! Barriers: members, generations, and those that do not fill.
//!
//! For: the rules of barriers through the public interface of the machine. Not for: waiting (the engine does).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, Reply,
    command::{ArriveBarrier, BarrierState},
    view::Coordination,
};
use consort_types::{Code, Result, Span, limits};
use support::{NS, World};

fn look(world: &mut World) -> Coordination<'_> {
    Coordination::of(&mut world.machine)
}

fn arrival(member: &str, parties: u32, generation: Option<u64>) -> ArriveBarrier {
    let (namespace, name, member) = (NS.to_owned(), "b".to_owned(), member.to_owned());
    ArriveBarrier { namespace, name, parties, member, generation, ttl: Span::from_secs(60) }
}

fn arrive(world: &mut World, command: ArriveBarrier) -> Result<BarrierState> {
    match world.apply(&Command::ArriveBarrier(command))? {
        Reply::Barrier(state) => Ok(state),
        other => panic!("{other:?}"),
    }
}

fn state(generation: u64, released: bool, arrived: u32) -> BarrierState {
    BarrierState { generation, released, arrived, parties: 3 }
}

#[test]
fn the_last_member_releases_all_and_the_next_generation_begins() {
    let mut world = World::new();
    for generation in 1..=3 {
        assert_eq!(arrive(&mut world, arrival("a", 3, None)).unwrap(), state(generation, false, 1));
        assert_eq!(arrive(&mut world, arrival("b", 3, None)).unwrap(), state(generation, false, 2));
        assert_eq!(arrive(&mut world, arrival("a", 3, None)).unwrap(), state(generation, false, 2), "it counts once");
        assert_eq!(arrive(&mut world, arrival("c", 3, None)).unwrap(), state(generation, true, 3));
        // A repeat that names its generation comes to no other.
        assert_eq!(arrive(&mut world, arrival("c", 3, Some(generation))).unwrap(), state(generation, true, 3));
        assert!(look(&mut world).barrier_state(NS, "b", generation).unwrap().released);
    }
    let shown = look(&mut world).barrier(NS, "b").unwrap();
    assert_eq!((shown.generation, shown.arrived, shown.members.len(), shown.over.len()), (4, 0, 0, 3));
    world.verify();
}

#[test]
fn a_generation_that_does_not_fill_expires_at_its_time() {
    let mut world = World::new();
    arrive(&mut world, arrival("a", 3, None)).unwrap();
    let error = arrive(&mut world, arrival("b", 2, None)).unwrap_err();
    assert!(error.code == Code::BarrierMismatch && error.message.contains("`3`"), "{error}");
    world.tick(Span::from_secs(59));
    arrive(&mut world, arrival("b", 3, None)).unwrap();
    let shown = look(&mut world).barrier(NS, "b").unwrap();
    assert_eq!((shown.members.len(), shown.generation), (2, 1), "the first member sets the time");
    world.tick(Span::from_secs(2));
    assert_eq!(look(&mut world).barrier_state(NS, "b", 1).unwrap_err().code, Code::BarrierExpired);
    assert_eq!(arrive(&mut world, arrival("a", 3, Some(1))).unwrap_err().code, Code::BarrierExpired);
    assert_eq!(arrive(&mut world, arrival("a", 2, None)).unwrap().generation, 2, "another number from here on");
    assert_eq!(arrive(&mut world, arrival("a", 2, Some(7))).unwrap_err().code, Code::BarrierMismatch);
    assert!(arrive(&mut world, arrival("b", 2, Some(2))).unwrap().released);
    world.tick(Span::from_secs(limits::LOCK_IDLE_SECONDS + 1));
    assert_eq!(look(&mut world).barrier(NS, "b").unwrap_err().code, Code::BarrierNotFound);
    world.verify();
}

#[test]
fn limits_hold_at_their_value_and_not_past_it() {
    let mut world = World::new();
    let most = limits::LOCK_BARRIER_PARTIES_MAX;
    for n in 1..most {
        assert!(!arrive(&mut world, arrival(&format!("{n}\u{10ffff}"), most, None)).unwrap().released);
    }
    assert!(arrive(&mut world, arrival("\u{10ffff}\u{10ffff}", most, None)).unwrap().released);
    assert_eq!(arrive(&mut world, arrival("a", most + 1, None)).unwrap_err().code, Code::LimitReached);
    assert_eq!(arrive(&mut world, arrival("a", 0, None)).unwrap_err().code, Code::BadRequest);
    let long = "m".repeat(limits::LOCK_HOLDER_BYTES_MAX + 1);
    assert_eq!(arrive(&mut world, arrival(&long, 2, None)).unwrap_err().code, Code::LimitReached);
    assert!(arrive(&mut world, arrival(&long[1..], 1, None)).unwrap().released, "one party waits for nobody");
    for generation in 3..40 {
        assert_eq!(arrive(&mut world, arrival("a", 1, None)).unwrap().generation, generation);
    }
    assert_eq!(look(&mut world).barrier(NS, "b").unwrap().over.len(), limits::LOCK_BARRIER_GENERATIONS_KEPT_MAX);
    assert_eq!(look(&mut world).barrier_state(NS, "b", 3).unwrap_err().code, Code::BarrierMismatch);
    let page = look(&mut world).barriers(NS, "", None, 5).unwrap();
    assert_eq!((page.items.len(), page.items[0].name.as_str()), (1, "b"));
    world.verify();
}
