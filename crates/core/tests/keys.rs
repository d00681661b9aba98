//! The keys of all tables as bytes.
//!
//! For: the order of their bytes, and their length. Not for: what is stored at them.
//! Invariant: bytes sort as keys do.

use consort_core::{
    keys::{
        AgentKey, EntryKey, HistoryKey, InboxKey, LaterKey, LaterRank, ListKey, NamedKey, ScopeKey, SignalKey,
        TimerKey, TimerKind,
    },
    tables::Key,
};
use consort_types::{RunId, Seq, StepInstanceId, Time, limits};

fn check<K: Key + std::fmt::Debug>(smaller: &K, larger: &K) {
    let bytes = |key: &K| {
        let mut out = Vec::new();
        key.encode(&mut out);
        out
    };
    assert!(smaller < larger && bytes(smaller) < bytes(larger), "{smaller:?} {larger:?}");
    assert_eq!(K::decode(&bytes(larger)).as_ref(), Some(larger));
    assert!(K::decode(&[bytes(larger), vec![1]].concat()).is_none());
}

#[test]
fn the_longest_texts_that_are_let_in_make_keys_that_fit() {
    let fits = |key: &dyn Fn(&mut Vec<u8>)| {
        let mut out = vec![b'x'];
        key(&mut out);
        assert!(out.len() <= limits::KEY_ENCODED_BYTES_MAX, "{}", out.len());
    };
    let name = "n".repeat(limits::NAME_BYTES_MAX);
    // Each byte of such a text becomes two.
    let escaped = |bytes: usize| "\u{1}".repeat(bytes);
    let named = |text: String| NamedKey { namespace: name.clone(), name: text, number: 1 };
    fits(&|out| named(escaped(limits::IDEMPOTENCY_KEY_BYTES_MAX)).encode(out));
    fits(&|out| named(format!("key:{}", escaped(limits::KEY_BYTES_MAX))).encode(out));
    let version = escaped(limits::NAME_BYTES_MAX);
    fits(&|out| AgentKey { namespace: name.clone(), name: name.clone(), version: version.clone() }.encode(out));
    fits(&|out| SignalKey { run: RunId([1; 16]), name: name.clone(), seq: Seq(1), n: 1 }.encode(out));
}

#[test]
fn bytes_sort_as_keys_do() {
    let run = RunId([1; 16]);
    let task = |scope, index| StepInstanceId { run, scope, index };
    check(&task(0, 300), &task(1, 2));
    check(&Seq(255), &Seq(256));
    check(&ScopeKey { run, scope: 255 }, &ScopeKey { run, scope: 256 });
    let later = |rank, scope| LaterKey { run, rank, scope, index: 7 };
    check(&later(LaterRank::Stop, 300), &later(LaterRank::Finish, 2));
    check(&later(LaterRank::Scope, 2), &later(LaterRank::Scope, 300));
    check(&EntryKey { task: task(1, 1), entry: 1 }, &EntryKey { task: task(1, 2), entry: 0 });
    let timer = |due, kind| TimerKey { due: Time(due), task: task(0, 0), kind, entry: 0 };
    check(&timer(1, TimerKind::Reap), &timer(2, TimerKind::Timeout));
    check(&timer(2, TimerKind::Timeout), &timer(2, TimerKind::Wake));
    let named = |name: &str, number| NamedKey { namespace: "n".into(), name: name.into(), number };
    check(&named("a", 9), &named("ab", 1));
    check(&named("a", 9), &named("a\0", 1));
    check(&named("a\0b", 9), &named("a\u{1}", 1));
    check(&named("\u{1}", 9), &named("\u{2}", 1));
    let agent =
        |name: &str, version: &str| AgentKey { namespace: "n".into(), name: name.into(), version: version.into() };
    check(&agent("a", "2"), &agent("ab", "1"));
    check(&agent("a", "1"), &agent("a", "1").next());
    check(&agent("a", "1").next(), &agent("a", "1.0"));
    check(&ListKey::of("n", RunId([2; 16])), &ListKey::of("n", RunId([1; 16])));
    let signal = |name: &str, seq| SignalKey { run, name: name.into(), seq: Seq(seq), n: 0 };
    check(&signal("a", 7), &signal("a-b", 1));
    let history = |seq, n| HistoryKey { run, seq: Seq(seq), n };
    check(&history(1, 70_000), &history(2, 0));
    let inbox = |namespace: &str| InboxKey { namespace: namespace.into(), task: task(0, 0) };
    check(&inbox("a"), &inbox("b"));
}
