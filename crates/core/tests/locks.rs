//! Locks: grants and tokens, queues, leases, and what operators break.
//!
//! For: the rules of locks through the public interface of the machine. Not for: waiting for a grant (the engine does).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, Coordinated, Effect, Reply,
    command::{AcquireLock, BreakLock, LockClaim, ReleaseLock, RenewLock},
    rows::LockChangeKind,
    view::{Coordination, LockNews, LockView},
};
use consort_types::{Code, Position, Result, Span, Token, limits};
use support::{NS, World};

fn look(world: &mut World) -> Coordination<'_> {
    Coordination::of(&mut world.machine)
}

const MINUTE: Span = Span::from_secs(60);

fn acquire(name: &str, holder: &str) -> AcquireLock {
    AcquireLock {
        namespace: NS.to_owned(),
        name: name.to_owned(),
        holder: holder.to_owned(),
        permits: 1,
        ttl: MINUTE,
        wait: Span(0),
        value: None,
    }
}

/// Acquires lock `l`, waiting for as long as a test may take.
fn queue(world: &mut World, holder: &str) -> LockClaim {
    claim(world, AcquireLock { wait: Span::from_secs(3_600), ..acquire("l", holder) }).unwrap()
}

fn claim(world: &mut World, command: AcquireLock) -> Result<LockClaim> {
    match world.apply(&Command::AcquireLock(command))? {
        Reply::Lock(claim) => Ok(claim),
        other => panic!("{other:?}"),
    }
}

fn renew(world: &mut World, holder: &str, token: Token) -> Result<Reply> {
    let (namespace, name, holder) = (NS.to_owned(), "l".to_owned(), holder.to_owned());
    world.apply(&Command::RenewLock(RenewLock { namespace, name, holder, token, ttl: None, value: None }))
}

fn release(world: &mut World, holder: &str, token: Option<Token>) -> Result<Reply> {
    let (namespace, name, holder) = (NS.to_owned(), "l".to_owned(), holder.to_owned());
    world.apply(&Command::ReleaseLock(ReleaseLock { namespace, name, holder, token }))
}

fn break_lock(world: &mut World, name: &str, holder: Option<&str>) -> Result<Reply> {
    let (namespace, name, holder) = (NS.to_owned(), name.to_owned(), holder.map(str::to_owned));
    let (by, reason) = ("ann".to_owned(), "it hangs".to_owned());
    world.apply(&Command::BreakLock(BreakLock { namespace, name, holder, by, reason }))
}

fn token(claim: LockClaim) -> Token {
    match claim {
        LockClaim::Held { token, .. } => token,
        LockClaim::Waiting { .. } => panic!("it waits"),
    }
}

fn is_current(world: &mut World, token: Token) -> bool {
    look(world).is_current(NS, "l", token).unwrap()
}

/// Holders by token, and waiters in order.
fn shown(world: &mut World) -> (Vec<(String, Token)>, Vec<String>) {
    let LockView { holders, waiters, held, waiting, .. } = look(world).lock(NS, "l").unwrap();
    assert!(held as usize == holders.len() && waiting as usize >= waiters.len());
    let holders = holders.into_iter().map(|holder| (holder.holder, token(holder.claim))).collect();
    (holders, waiters.into_iter().map(|waiter| waiter.holder).collect())
}

fn changes(world: &mut World) -> Vec<(LockChangeKind, String)> {
    match look(world).lock_news(NS, "l", Some(Position::default()), 1_000).unwrap() {
        LockNews::Changes { changes, .. } => {
            changes.into_iter().map(|(_, change)| (change.kind, change.holder)).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn waiters_are_served_in_the_order_in_which_they_came() {
    let mut world = World::new();
    let first = token(claim(&mut world, acquire("l", "a")).unwrap());
    for waiter in ["d", "b", "c"] {
        assert!(matches!(queue(&mut world, waiter), LockClaim::Waiting { .. }));
    }
    assert_eq!(shown(&mut world), (vec![("a".into(), first)], ["d", "b", "c"].map(String::from).to_vec()));
    assert_eq!(claim(&mut world, acquire("l", "e")).unwrap_err().code, Code::LockHeld);
    let mut tokens = vec![first];
    for (holder, next) in [("a", "d"), ("d", "b"), ("b", "c")] {
        release(&mut world, holder, Some(*tokens.last().unwrap())).unwrap();
        let (holders, _) = shown(&mut world);
        assert_eq!(holders.len(), 1);
        assert_eq!(holders[0].0, next);
        tokens.push(holders[0].1);
    }
    assert!(tokens.windows(2).all(|pair| pair[0] < pair[1]), "tokens only grow: {tokens:?}");
    assert!(is_current(&mut world, tokens[3]) && !is_current(&mut world, tokens[2]));
    assert!(
        world.effects.iter().any(
            |effect| matches!(effect, Effect::Coordinated { of: Coordinated::Lock { name, .. }, .. } if name == "l")
        )
    );
    world.verify();
}

#[test]
fn asking_again_joins_the_same_grant_and_the_same_place() {
    let mut world = World::new();
    let LockClaim::Held { token: first, since, until } = claim(&mut world, acquire("l", "a")).unwrap() else {
        panic!()
    };
    world.tick(Span::from_secs(30));
    let again = AcquireLock { value: Some("http://a".into()), ..acquire("l", "a") };
    let LockClaim::Held { token: second, since: then, until: later } = claim(&mut world, again).unwrap() else {
        panic!()
    };
    assert!((first, since) == (second, then) && later > until, "the same grant, renewed");
    queue(&mut world, "b");
    let LockClaim::Waiting { since, until } = queue(&mut world, "c") else { panic!() };
    world.tick(Span::from_secs(1));
    let patient = AcquireLock { wait: Span::from_secs(7_200), ..acquire("l", "c") };
    let LockClaim::Waiting { since: then, until: later } = claim(&mut world, patient).unwrap() else { panic!() };
    assert!(since == then && later > until, "the same place, for longer");
    // A repeat that does not wait finds its place, and takes nothing from it.
    let LockClaim::Waiting { until, .. } = claim(&mut world, acquire("l", "c")).unwrap() else { panic!() };
    assert_eq!(until, later);
    assert_eq!(shown(&mut world).1, ["b", "c"]);
    assert_eq!(changes(&mut world), [(LockChangeKind::Granted, "a".into()), (LockChangeKind::ValueSet, "a".into())]);
    world.verify();
}

#[test]
fn a_lease_ends_at_its_time_and_not_before_and_a_renewal_moves_it() {
    let mut world = World::new();
    let LockClaim::Held { token: first, until, .. } = claim(&mut world, acquire("l", "a")).unwrap() else { panic!() };
    queue(&mut world, "b");
    world.advance_to(until);
    assert!(is_current(&mut world, first), "nothing has fired yet");
    let Reply::Lock(LockClaim::Held { token: same, until: moved, .. }) = renew(&mut world, "a", first).unwrap() else {
        panic!()
    };
    assert!(same == first && moved > until);
    world.tick_once();
    assert!(is_current(&mut world, first), "the lease was renewed");
    world.tick(MINUTE);
    let (holders, waiters) = shown(&mut world);
    assert!(holders[0].0 == "b" && holders[0].1 > first && waiters.is_empty());
    assert!(!is_current(&mut world, first));
    for refused in [renew(&mut world, "a", first), release(&mut world, "a", Some(first)), renew(&mut world, "b", first)]
    {
        assert_eq!(refused.unwrap_err().code, Code::LeaseLost);
    }
    assert_eq!(shown(&mut world).0, holders, "a refusal changes nothing");
    world.tick(MINUTE);
    assert_eq!(shown(&mut world), (vec![], vec![]));
    let kinds: Vec<LockChangeKind> = changes(&mut world).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(
        kinds,
        [LockChangeKind::Granted, LockChangeKind::Expired, LockChangeKind::Granted, LockChangeKind::Expired]
    );
    world.verify();
}

#[test]
fn a_waiter_leaves_at_its_deadline_or_by_its_own_wish() {
    let mut world = World::new();
    let held = token(claim(&mut world, acquire("l", "a")).unwrap());
    claim(&mut world, AcquireLock { wait: Span::from_secs(10), ..acquire("l", "b") }).unwrap();
    queue(&mut world, "c");
    queue(&mut world, "d");
    world.tick(Span::from_secs(11));
    assert_eq!(look(&mut world).lock_claim(NS, "l", "b").unwrap(), None);
    release(&mut world, "c", None).unwrap();
    assert_eq!(release(&mut world, "c", None).unwrap_err().code, Code::LeaseLost);
    assert_eq!(shown(&mut world).1, ["d"]);
    release(&mut world, "a", Some(held)).unwrap();
    assert_eq!(shown(&mut world).0[0].0, "d");
    world.verify();
}

#[test]
fn a_semaphore_has_as_many_holders_as_permits_and_their_tokens_differ() {
    let mut world = World::new();
    let of = |holder: String| AcquireLock { permits: 3, wait: Span::from_secs(3_600), ..acquire("l", &holder) };
    for n in 0..8 {
        claim(&mut world, of(format!("h{n}"))).unwrap();
    }
    let error = claim(&mut world, AcquireLock { permits: 2, ..acquire("l", "x") }).unwrap_err();
    assert!(error.code == Code::LockPermits && error.message.contains("`3`"), "{error}");
    let (before, waiters) = shown(&mut world);
    assert_eq!((before.len(), waiters.len()), (3, 5));
    break_lock(&mut world, "l", None).unwrap();
    let (after, waiters) = shown(&mut world);
    assert_eq!((after.len(), waiters), (3, vec!["h6".to_owned(), "h7".to_owned()]));
    let all: Vec<Token> = before.iter().chain(&after).map(|(_, token)| *token).collect();
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "one record granted three permits: {all:?}");
    world.tick(Span::from_secs(100));
    world.tick(Span::from_secs(100));
    assert_eq!(shown(&mut world), (vec![], vec![]));
    claim(&mut world, acquire("l", "x")).unwrap();
    assert_eq!(look(&mut world).lock(NS, "l").unwrap().permits, 1, "an idle lock takes another number");
    world.verify();
}

#[test]
fn tokens_grow_over_the_life_of_a_lock_that_is_forgotten() {
    let mut world = World::new();
    for n in 0..40 {
        let wait = Span::from_secs(3_600);
        claim(&mut world, AcquireLock { permits: 20, wait, ..acquire("l", &format!("h{n}")) }).unwrap();
    }
    break_lock(&mut world, "l", None).unwrap();
    let last = shown(&mut world).0.last().unwrap().1;
    assert!(last.0 > world.machine.applied().0, "a record granted more permits than records have followed");
    break_lock(&mut world, "l", None).unwrap();
    let mut hours = 0;
    while look(&mut world).lock(NS, "l").is_ok() {
        world.tick(Span::from_secs(limits::LOCK_IDLE_SECONDS + 1));
        hours += 1;
        assert!(hours < 100, "an idle lock is forgotten");
    }
    assert!(token(claim(&mut world, acquire("l", "a")).unwrap()) > last);
    assert!(!is_current(&mut world, last));
    world.verify();
}

#[test]
fn an_operator_breaks_a_lock_with_name_and_reason() {
    let mut world = World::new();
    assert_eq!(break_lock(&mut world, "l", None).unwrap_err().code, Code::LockNotFound);
    let held = token(claim(&mut world, acquire("l", "a")).unwrap());
    queue(&mut world, "b");
    assert_eq!(break_lock(&mut world, "l", Some("z")).unwrap_err().code, Code::LeaseLost);
    break_lock(&mut world, "l", Some("a")).unwrap();
    assert_eq!(shown(&mut world).0[0].0, "b");
    assert_eq!(renew(&mut world, "a", held).unwrap_err().code, Code::LeaseLost);
    let next = shown(&mut world).0[0].1;
    release(&mut world, "b", Some(next)).unwrap();
    let LockNews::Changes { changes, .. } = look(&mut world).lock_news(NS, "l", Some(Position::default()), 9).unwrap()
    else {
        panic!()
    };
    let broken = &changes[1].1;
    assert_eq!(
        (broken.kind, broken.by.as_deref(), broken.reason.as_deref()),
        (LockChangeKind::Broken, Some("ann"), Some("it hangs"))
    );
    assert_eq!(look(&mut world).lock(NS, "l").unwrap().last.unwrap().kind, LockChangeKind::Released);
    world.verify();
}

#[test]
fn very_many_leases_and_waits_that_end_at_once_go_over_bounded_records() {
    let mut world = World::limited(64, limits::EXPRESSION_COST_MAX);
    for n in 0..1_500 {
        let wait = MINUTE;
        claim(&mut world, AcquireLock { permits: 500, wait, ..acquire("l", &format!("h{n}")) }).unwrap();
    }
    let (held, waiting) = (shown(&mut world).0.len(), look(&mut world).lock(NS, "l").unwrap().waiting);
    assert_eq!((held, waiting), (500, 1_000));
    world.advance_to(world.machine.now().after(Span::from_secs(61)));
    let mut records = 0;
    while world.go_on_once() > 0 {
        records += 1;
        assert!(world.units <= 2 * 64, "one record did {} units of work", world.units);
        assert!(look(&mut world).lock(NS, "l").unwrap().held <= 500);
    }
    assert!(records > 20, "{records} records");
    world.tick(Span::from_secs(61));
    assert_eq!(look(&mut world).lock(NS, "l").unwrap().held, 0, "whoever was served had its lease, and it has ended");
    world.verify();
}

#[test]
fn changes_are_kept_for_watchers_up_to_their_limit() {
    let mut world = World::new();
    let rounds = u64::from(limits::LOCK_CHANGES_KEPT_MAX);
    assert_eq!(look(&mut world).lock_news(NS, "l", None, 9).unwrap(), LockNews::Unknown);
    let mut cursor = Position::default();
    for round in 0..rounds {
        let held = token(claim(&mut world, acquire("l", &format!("h{round}"))).unwrap());
        release(&mut world, &format!("h{round}"), Some(held)).unwrap();
        let LockNews::Changes { anew, changes } = look(&mut world).lock_news(NS, "l", Some(cursor), 1_000).unwrap()
        else {
            panic!()
        };
        assert_eq!((anew, changes.len()), (round == 0, 2), "a watcher that follows sees each change once");
        cursor = changes[1].0;
    }
    assert!(matches!(look(&mut world).lock_news(NS, "l", Some(Position::default()), 9).unwrap(), LockNews::Lock(_)));
    assert_eq!(cursor.to_string().parse::<Position>().unwrap(), cursor);
    assert_eq!("x-1".parse::<Position>().unwrap_err().code, Code::BadCursor);
    world.verify();
}

#[test]
fn limits_hold_at_their_value_and_not_past_it() {
    let long = |bytes: usize| "x".repeat(bytes);
    let check = |command: AcquireLock| Command::AcquireLock(command).check();
    let (name, holder, value) = (limits::NAME_BYTES_MAX, limits::LOCK_HOLDER_BYTES_MAX, limits::LOCK_VALUE_BYTES_MAX);
    let (ttl, wait) = (Span::from_secs(limits::LOCK_TTL_SECONDS_MAX), Span::from_secs(limits::LOCK_WAIT_SECONDS_MAX));
    let largest = AcquireLock {
        permits: limits::LOCK_PERMITS_MAX,
        ttl,
        wait,
        value: Some(long(value)),
        ..acquire(&long(name), &long(holder))
    };
    check(largest.clone()).unwrap();
    check(AcquireLock { ttl: Span::from_secs(limits::LOCK_TTL_SECONDS_MIN), ..acquire("l", "a") }).unwrap();
    let past = [
        (AcquireLock { permits: limits::LOCK_PERMITS_MAX + 1, ..acquire("l", "a") }, Code::LimitReached),
        (AcquireLock { permits: 0, ..acquire("l", "a") }, Code::BadRequest),
        (AcquireLock { ttl: Span(ttl.0 + 1), ..acquire("l", "a") }, Code::LimitReached),
        (AcquireLock { ttl: Span(999_999), ..acquire("l", "a") }, Code::LimitReached),
        (AcquireLock { wait: Span(wait.0 + 1), ..acquire("l", "a") }, Code::LimitReached),
        (AcquireLock { value: Some(long(value + 1)), ..acquire("l", "a") }, Code::LimitReached),
        (acquire("l", &long(holder + 1)), Code::LimitReached),
        (acquire("l", ""), Code::BadRequest),
        (acquire(&long(name + 1), "a"), Code::BadName),
        (acquire("a b", "a"), Code::BadName),
    ];
    let mut world = World::new();
    for (command, code) in past {
        assert_eq!(check(command.clone()).unwrap_err().code, code, "{command:?}");
        assert_eq!(claim(&mut world, command).unwrap_err().code, code, "a record of the kind is refused too");
    }
    // The largest texts, and texts whose bytes are escaped in keys, make keys that fit.
    claim(&mut world, largest).unwrap();
    claim(&mut world, acquire("l", &"\0".repeat(holder))).unwrap();
    claim(&mut world, AcquireLock { wait, ..acquire("l", &"\u{10ffff}".repeat(holder / 4)) }).unwrap();
    world.verify();
}

#[test]
fn a_queue_and_a_namespace_take_as_many_as_their_limits_say() {
    let mut world = World::new();
    queue(&mut world, "holder");
    for n in 0..limits::LOCK_WAITERS_MAX {
        queue(&mut world, &format!("w{n}"));
    }
    let error = claim(&mut world, AcquireLock { wait: MINUTE, ..acquire("l", "late") }).unwrap_err();
    assert!(
        error.code == Code::LimitReached && error.message.contains(&limits::LOCK_WAITERS_MAX.to_string()),
        "{error}"
    );
    assert_eq!(shown(&mut world).1.len(), limits::LOCK_WAITERS_SHOWN_MAX);
}

#[test]
fn locks_are_listed_by_name_and_prefix_and_page() {
    let mut world = World::new();
    for name in ["b.1", "a", "b.3", "b.2", "c"] {
        claim(&mut world, AcquireLock { value: Some(name.into()), ..acquire(name, "h") }).unwrap();
    }
    let page = look(&mut world).locks(NS, "b.", None, 2).unwrap();
    let names = |page: &consort_core::view::Page<LockView>| -> Vec<String> {
        page.items.iter().map(|lock| lock.name.clone()).collect()
    };
    assert_eq!((names(&page), page.next.as_deref()), (vec!["b.1".to_owned(), "b.2".to_owned()], Some("b.3")));
    assert_eq!(page.items[0].holders[0].value.as_deref(), Some("b.1"));
    let page = look(&mut world).locks(NS, "b.", Some("b.3"), 2).unwrap();
    assert_eq!((names(&page), page.next), (vec!["b.3".to_owned()], None));
    assert_eq!(names(&look(&mut world).locks(NS, "", None, 100).unwrap()).len(), 5);
    assert!(look(&mut world).locks("other", "", None, 100).unwrap().items.is_empty());
    assert_eq!(look(&mut world).lock("other", "a").unwrap_err().code, Code::LockNotFound);
    world.verify();
}
