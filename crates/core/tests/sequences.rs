//! The policies `text` and `list`: writes of several writers, in any order, and what is refused.
//!
//! For: the laws of merging sequences, through the public interface of the machine. Not for: other policies (see `state`).
//! Invariant: the order in which writes arrive changes neither what a reader of a version sees, nor what is in its bytes.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use std::{cell::RefCell, collections::BTreeMap};

use consort_core::{
    Command, Reply,
    command::{Choice, DecideConflict, OperationResult, SetSpace, Transact},
    rows::{ChangeKind, Settlement},
    view::SharedState,
};
use consort_types::{
    Code, Payload, Result, Seq, Span, Time, limits,
    state::{
        Action, Check, Condition, MergePolicy, Operation, PrefixPolicy, SpaceSettings, Stamp, Transaction,
        WriteOutcome, Writer,
    },
};
use proptest::{collection::vec, prelude::*, sample::Index};
use support::{NS, World};

const SPACE: &str = "team";
const KEY: &str = "k";

/// A shared document.
struct Shared {
    world: World,
}

/// A write, as its writer sends it.
#[derive(Clone, Debug)]
struct Write {
    value: String,
    saw: Option<Seq>,
    stamp: Option<Stamp>,
}

impl Shared {
    fn new(policy: MergePolicy) -> Self {
        let mut shared = Self { world: World::new() };
        shared.set(policy);
        shared
    }

    fn set(&mut self, policy: MergePolicy) {
        let policies = vec![PrefixPolicy { prefix: String::new(), policy }];
        let settings = SpaceSettings { policies, ..SpaceSettings::default() };
        let (namespace, space) = (NS.to_owned(), SPACE.to_owned());
        self.world.apply(&Command::SetSpace(SetSpace { namespace, space, settings, merges: Vec::new() })).unwrap();
    }

    fn act(&mut self, action: Action) -> Result<OperationResult> {
        let operation = Operation { space: SPACE.to_owned(), key: KEY.to_owned(), action };
        self.transact(Transaction::single(operation))
    }

    fn transact(&mut self, transaction: Transaction) -> Result<OperationResult> {
        let command = Transact { namespace: NS.to_owned(), transaction, by: Writer::client(Some("ann")) };
        match self.world.apply(&Command::Transact(command))? {
            Reply::Transacted(mut done) => Ok(done.results.remove(0)),
            other => panic!("{other:?}"),
        }
    }

    fn write(&mut self, write: &Write) -> Result<OperationResult> {
        let value = Payload::inline(write.value.as_bytes());
        self.act(Action::Put { value, saw: write.saw, ttl: None, stamp: write.stamp, base: None })
    }

    /// Writes a text or a list, as JSON; answers the version.
    fn put(&mut self, value: &str, saw: Option<Seq>) -> Seq {
        self.write(&Write { value: value.to_owned(), saw, stamp: None }).unwrap().version
    }

    fn refused(&mut self, value: &str, saw: Option<Seq>) -> Code {
        let error = self.write(&Write { value: value.to_owned(), saw, stamp: None }).unwrap_err();
        assert!(!error.hint.unwrap_or_default().is_empty());
        error.code
    }

    fn bytes(&mut self) -> Vec<u8> {
        let view = SharedState::of(&mut self.world.machine).get(NS, SPACE, KEY, None).unwrap();
        self.world.machine.payload_bytes(&view.value).unwrap().to_vec()
    }

    fn value(&mut self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    fn text(&mut self) -> String {
        serde_json::from_slice(&self.bytes()).unwrap()
    }

    fn version(&mut self) -> Seq {
        SharedState::of(&mut self.world.machine).get(NS, SPACE, KEY, None).map_or(Seq::ZERO, |view| view.version)
    }

    fn delete(&mut self) {
        let gone = self.act(Action::Delete { saw: None }).unwrap();
        assert_eq!(gone.outcome, WriteOutcome::Deleted);
    }
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn two_writers_of_one_text_have_both_changes_and_a_conflict_tells_of_it() {
    let mut shared = Shared::new(MergePolicy::Text);
    let base = shared.put(&json("Buy milk.\nCall Bob.\n"), Some(Seq::ZERO));
    shared.put(&json("Buy oat milk.\nCall Bob.\n"), Some(base));
    let late = json("Buy milk.\nCall Bob at noon.\nPay the rent.\n");
    let told = shared.write(&Write { value: late, saw: Some(base), stamp: None }).unwrap();
    let merged = "Buy oat milk.\nCall Bob at noon.\nPay the rent.\n";
    assert_eq!(shared.text(), merged);
    assert_eq!((told.outcome, told.value), (WriteOutcome::Merged, Some(Payload::inline(json(merged).as_bytes()))));
    let state = SharedState::of(&mut shared.world.machine).conflict(NS, SPACE, told.conflict.unwrap()).unwrap();
    assert_eq!(state.conflict.policy, MergePolicy::Text);
    assert_eq!(state.conflict.settled, Settlement::Merged(Payload::inline(json(merged).as_bytes())));
    let history = SharedState::of(&mut shared.world.machine).history(NS, SPACE, KEY, None, 9).unwrap();
    let kinds: Vec<_> = history.items.iter().map(|item| item.change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Merged, ChangeKind::Put, ChangeKind::Put]);
    // A condition sees the merged value.
    let check = Check::Equals(Payload::inline(json(merged).as_bytes()));
    let condition = Condition { space: SPACE.to_owned(), key: KEY.to_owned(), check };
    let action = Action::Put {
        value: Payload::inline(&b"\"\""[..]),
        saw: Some(told.version),
        ttl: None,
        stamp: None,
        base: None,
    };
    let then = vec![Operation { space: SPACE.to_owned(), key: KEY.to_owned(), action }];
    shared.transact(Transaction { conditions: vec![condition], then, ..Transaction::default() }).unwrap();
    assert_eq!(shared.text(), "");
    shared.world.verify();
}

#[test]
fn two_writers_of_one_list_keep_its_order_and_both_changes() {
    let mut shared = Shared::new(MergePolicy::List);
    let base = shared.put(r#"["a", {"n": 1, "m": 2}, "c", "c"]"#, Some(Seq::ZERO));
    assert_eq!(shared.value(), r#"["a",{"m":2,"n":1},"c","c"]"#);
    shared.put(r#"["a","x",{"m":2,"n":1},"c","c","d"]"#, Some(base));
    shared.put(r#"["a",{"n":1,"m":2},"c"]"#, Some(base));
    assert_eq!(shared.value(), r#"["a","x",{"m":2,"n":1},"c","d"]"#);
    shared.world.verify();
}

#[test]
fn a_writer_that_names_no_version_removes_nothing() {
    let mut shared = Shared::new(MergePolicy::List);
    for value in ["[2]", "[1]", "[3,4]", "[1]", "[]"] {
        shared.put(value, None);
    }
    assert_eq!(shared.value(), "[1,2,3,4]", "in the order of what they are, and the same one once");
    let latest = shared.version();
    shared.put("[4,3]", Some(latest));
    assert_eq!(shared.value(), "[4,3]");
    shared.world.verify();
}

#[test]
fn stamps_order_what_is_inserted_in_one_place() {
    let stamp = |time| Some(Stamp { time: Time(time), count: 0 });
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let mut shared = Shared::new(MergePolicy::Text);
        let base = Some(shared.put("\"()\"", None));
        let writes = [("\"(late)\"", 30), ("\"(early)\"", 10), ("\"(between)\"", 20)];
        for i in order {
            let (value, time) = writes[i];
            shared.write(&Write { value: value.to_owned(), saw: base, stamp: stamp(time) }).unwrap();
        }
        assert_eq!(shared.text(), "(earlybetweenlate)");
    }
}

#[test]
fn a_version_of_another_life_of_the_key_or_of_none_is_refused() {
    let mut shared = Shared::new(MergePolicy::Text);
    let first = shared.put("\"one\"", None);
    assert_eq!(shared.refused("\"x\"", Some(Seq(first.0 + 1))), Code::VersionGone);
    shared.delete();
    assert_eq!(shared.refused("\"one two\"", Some(first)), Code::VersionGone);
    let again = shared.put("\"new\"", Some(Seq::ZERO));
    assert_eq!(shared.refused("\"one two\"", Some(first)), Code::VersionGone);
    // One that saw no value is merged with the value that came since.
    shared.put("\"er\"", Some(Seq::ZERO));
    assert_eq!(shared.text(), "ernew");
    shared.put("\"newest\"", Some(again));
    assert_eq!(shared.text(), "ernewest");
    assert_eq!(shared.refused("[1]", Some(again)), Code::NotMergeable);
    shared.world.verify();
}

#[test]
fn a_value_of_another_policy_or_of_a_decision_begins_a_history() {
    let mut shared = Shared::new(MergePolicy::Reject);
    let first = shared.put("\"one\"", None);
    let second = shared.put("\"one two\"", Some(first));
    shared.set(MergePolicy::Text);
    assert_eq!(shared.refused("\"zero one\"", Some(first)), Code::VersionGone);
    shared.put("\"one two three\"", Some(second));
    let told = shared.write(&Write { value: "\"zero one two\"".to_owned(), saw: Some(second), stamp: None }).unwrap();
    assert_eq!(shared.text(), "zero one two three");
    let decision = DecideConflict {
        namespace: NS.to_owned(),
        space: SPACE.to_owned(),
        conflict: told.conflict.unwrap(),
        choice: Choice::Candidate(0),
        by: Writer::client(Some("bob")),
        comment: None,
    };
    shared.world.apply(&Command::DecideConflict(decision)).unwrap();
    assert_eq!(shared.text(), "one two three");
    assert_eq!(shared.refused("\"x\"", Some(told.version)), Code::VersionGone);
    let latest = shared.version();
    shared.put("\"one two three four\"", Some(latest));
    shared.put("\"one 2 three\"", Some(latest));
    assert_eq!(shared.text(), "one 2 three four");
    shared.set(MergePolicy::List);
    let latest = shared.version();
    assert_eq!(shared.refused("[1]", Some(latest)), Code::NotMergeable);
    shared.world.verify();
}

#[test]
fn a_value_expires_with_its_history() {
    let mut shared = Shared::new(MergePolicy::Text);
    let value = Payload::inline(&b"\"brief\""[..]);
    let put = Action::Put { value, saw: None, ttl: Some(Span::from_secs(5)), stamp: None, base: None };
    let first = shared.act(put).unwrap().version;
    shared.world.tick(Span::from_secs(5));
    assert_eq!(shared.version(), Seq::ZERO);
    assert_eq!(shared.refused("\"briefly\"", Some(first)), Code::VersionGone);
    shared.put("\"again\"", None);
    assert_eq!(shared.text(), "again");
    shared.world.verify();
}

#[test]
fn old_history_is_forgotten_and_a_writer_that_saw_only_that_is_told() {
    let mut shared = Shared::new(MergePolicy::Text);
    let first = shared.put("\"|\"", None);
    let mut versions = vec![first];
    for i in 0..limits::STATE_SEQUENCE_BYTES_MAX / 32 {
        let text = shared.text();
        let (before, behind) = text.split_at(i * 7 % text.len());
        let latest = *versions.last().unwrap();
        versions.push(shared.put(&json(&format!("{before}{}{behind}", i % 10)), Some(latest)));
    }
    assert_eq!(shared.refused("\"|late\"", Some(first)), Code::VersionGone);
    assert_eq!(shared.refused("\"late\"", Some(Seq::ZERO)), Code::VersionGone);
    // One that was away for a hundred writes is merged.
    let seen = versions[versions.len() - 100];
    let view = SharedState::of(&mut shared.world.machine).get(NS, SPACE, KEY, Some(seen)).unwrap();
    let seen_text: String = serde_json::from_slice(&shared.world.machine.payload_bytes(&view.value).unwrap()).unwrap();
    let text = shared.text();
    shared.put(&json(&format!("{seen_text} THE END")), Some(seen));
    assert_eq!(shared.text(), format!("{text} THE END"));
    // One that names no version adds.
    shared.put("\" P.S.\"", None);
    assert!(shared.text().contains(" P.S."));
    shared.world.verify();
}

#[test]
fn what_comes_of_a_merge_is_no_longer_than_what_can_be_merged() {
    let mut shared = Shared::new(MergePolicy::Text);
    let half = |c: &str| json(&c.repeat(limits::STATE_MERGE_BYTES_MAX as usize / 2 - 8));
    shared.put(&half("a"), None);
    shared.put(&half("b"), None);
    assert_eq!(shared.refused(&half("c"), None), Code::PayloadTooLarge);
    let latest = shared.version();
    shared.put("\"\"", Some(latest));
    shared.put(&half("c"), None);
    shared.world.verify();
}

/// What one writer does to what it saw.
#[derive(Clone, Debug)]
struct Act {
    /// How many rounds ago it read.
    lag: usize,
    edits: Vec<(Index, usize, String)>,
    stamp: Option<u64>,
    names_none: bool,
}

fn act() -> impl Strategy<Value = Act> {
    let edit = (any::<Index>(), 0_usize..6, "[a-c \n]{0,5}");
    (0_usize..3, vec(edit, 1..4), proptest::option::of(0_u64..3), prop::bool::weighted(0.1))
        .prop_map(|(lag, edits, stamp, names_none)| Act { lag, edits, stamp, names_none })
}

/// Rounds of writes, and for each round an order in which they arrive, and which comes twice.
fn rounds() -> impl Strategy<Value = Vec<(Vec<Act>, Vec<Index>, Index)>> {
    vec((vec(act(), 1..5), vec(any::<Index>(), 4), any::<Index>()), 1..5)
}

/// How a text is the value of a policy.
fn document(policy: MergePolicy, text: &str) -> String {
    if policy == MergePolicy::Text {
        return json(text);
    }
    serde_json::to_string(&text.chars().map(String::from).collect::<Vec<_>>()).unwrap()
}

fn text_of(policy: MergePolicy, value: &[u8]) -> String {
    if policy == MergePolicy::Text {
        return serde_json::from_slice(value).unwrap();
    }
    serde_json::from_slice::<Vec<String>>(value).unwrap().concat()
}

fn edited(text: &str, edits: &[(Index, usize, String)]) -> String {
    let mut text: Vec<char> = text.chars().collect();
    for (at, removed, added) in edits {
        let at = at.index(text.len() + 1);
        let end = (at + removed).min(text.len());
        text.splice(at..end, added.chars());
    }
    text.into_iter().collect()
}

/// The writes of each round (each with the round after which its writer has read) in the order in which they come first.
fn written(policy: MergePolicy, rounds: &[(Vec<Act>, Vec<Index>, Index)]) -> Vec<Vec<(Option<usize>, Write)>> {
    let mut shared = Shared::new(policy);
    let mut read: Vec<(Seq, String)> = vec![(Seq::ZERO, String::new())];
    let mut all = Vec::new();
    for (acts, ..) in rounds {
        let of = |act: &Act| {
            let after = (read.len() - 1).saturating_sub(act.lag);
            let value = document(policy, &edited(&read[after].1, &act.edits));
            let stamp = act.stamp.map(|time| Stamp { time: Time(time), count: 0 });
            let saw = (!act.names_none).then_some(after);
            (saw, Write { value, saw: saw.map(|saw| read[saw].0), stamp })
        };
        let writes: Vec<_> = acts.iter().map(of).collect();
        for (_, write) in &writes {
            shared.write(write).unwrap();
        }
        read.push((shared.version(), text_of(policy, &shared.bytes())));
        all.push(writes);
    }
    all
}

/// What readers see after each round, where the writes of a round come in this order.
fn seen(
    policy: MergePolicy,
    rounds: &[Vec<(Option<usize>, Write)>],
    order: impl Fn(usize, &mut Vec<(Option<usize>, Write)>),
) -> Vec<Vec<u8>> {
    let mut shared = Shared::new(policy);
    let (mut read, mut seen) = (vec![Seq::ZERO], Vec::new());
    for (i, writes) in rounds.iter().enumerate() {
        let mut writes = writes.clone();
        order(i, &mut writes);
        for (after, write) in writes {
            shared.write(&Write { saw: after.map(|after| read[after]), ..write }).unwrap();
        }
        read.push(shared.version());
        seen.push(shared.bytes());
    }
    if rounds.len() > 3 {
        shared.world.verify();
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// Commutative, associative, idempotent: writes that did not see each other come in any order, and some of them twice.
    #[test]
    fn equal_writes_give_equal_bytes_in_whatever_order_they_come(rounds in rounds(), list in any::<bool>()) {
        let policy = if list { MergePolicy::List } else { MergePolicy::Text };
        let all = written(policy, &rounds);
        let first = seen(policy, &all, |_, _| {});
        let shuffled = seen(policy, &all, |round, writes| {
            for (i, at) in rounds[round].1.iter().enumerate().take(writes.len()) {
                let len = writes.len();
                writes.swap(i, at.index(len));
            }
            let twice = writes[rounds[round].2.index(writes.len())].clone();
            writes.push(twice);
        });
        prop_assert_eq!(&first, &shuffled);
        let reversed = seen(policy, &all, |_, writes| writes.reverse());
        prop_assert_eq!(first, reversed);
    }

    /// Of writers that did not see each other, nothing that one inserts is lost or torn, and what stays is what none removed.
    #[test]
    fn nothing_is_lost_and_an_insertion_stays_together(
        len in 0_usize..20,
        acts in vec((any::<Index>(), 0_usize..5, 0_usize..6), 1..7),
    ) {
        let base: String = ('一'..).take(len).collect();
        let mut shared = Shared::new(MergePolicy::Text);
        let saw = shared.put(&json(&base), None);
        let mut removed = vec![false; len];
        let mut inserted = Vec::new();
        for (i, (at, count, added)) in acts.iter().enumerate() {
            let at = at.index(len + 1);
            let end = (at + count).min(len);
            let added: String = "abcdefg"[..*added].chars().flat_map(|c| [c, char::from(b'0' + i as u8)]).collect();
            let chars: Vec<char> = base.chars().collect();
            let new: String = chars[..at].iter().copied().chain(added.chars()).chain(chars[end..].iter().copied()).collect();
            shared.put(&json(&new), Some(saw));
            removed[at..end].fill(true);
            inserted.push(added);
        }
        let text = shared.text();
        let kept: String = text.chars().filter(|c| !c.is_ascii()).collect();
        let expected: String = base.chars().zip(&removed).filter(|(_, gone)| !**gone).map(|(c, _)| c).collect();
        prop_assert_eq!(kept, expected, "{}", text);
        for added in inserted {
            prop_assert!(text.contains(&added), "`{}` of `{}`", added, text);
        }
    }
}

/// A naive model of one text: each character alone, with every write of which it is part.
#[derive(Default)]
struct Model {
    /// Character, the write that inserted it, and the writes that removed it.
    characters: Vec<(char, u64, Vec<u64>)>,
}

impl Model {
    /// What a reader saw who had seen these writes.
    fn seen(&self, writes: impl Fn(u64) -> bool) -> String {
        let seen = self.characters.iter().filter(|(_, by, gone)| writes(*by) && !gone.iter().any(|by| writes(*by)));
        seen.map(|(c, ..)| *c).collect()
    }
}

/// Many writers at a time, each behind by some writes, over a long history: what a reader of any version sees is what the
/// writers of that version have left, by a model that follows each character.
#[test]
fn a_long_history_of_late_writers_loses_nothing() {
    let noise = RefCell::new(7_u64);
    let below = |n: u64| {
        let mut x = noise.borrow_mut();
        *x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*x >> 33) % n
    };
    let mut shared = Shared::new(MergePolicy::Text);
    let mut versions: Vec<(Seq, String)> = vec![(shared.put("\"\"", None), String::new())];
    let mut model = Model::default();
    let mut next = '一';
    let mut counts = BTreeMap::new();
    for n in 1..=700_u64 {
        let lag = below(4) as usize;
        let at = versions.len() - 1 - lag.min(versions.len() - 1);
        let (saw, base) = versions[at].clone();
        let mut chars: Vec<char> = base.chars().collect();
        let place = below(chars.len() as u64 + 1) as usize;
        let gone: Vec<char> = chars.drain(place..(place + below(3) as usize).min(chars.len())).collect();
        let added: Vec<char> = (0..below(4)).map(|i| char::from_u32(next as u32 + i as u32).unwrap()).collect();
        next = char::from_u32(next as u32 + 4).unwrap();
        chars.splice(place..place, added.iter().copied());
        let new: String = chars.into_iter().collect();
        let version = shared.put(&json(&new), Some(saw));
        let text = shared.text();
        // The model knows nothing of places: only which characters there are.
        for (c, _, by) in &mut model.characters {
            if gone.contains(c) {
                by.push(n);
            }
        }
        model.characters.extend(added.iter().map(|c| (*c, n, Vec::new())));
        let mut expected: Vec<char> = model.seen(|_| true).chars().collect();
        let mut found: Vec<char> = text.chars().collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "after write `{n}`");
        assert!(added.is_empty() || text.contains(&added.iter().collect::<String>()), "write `{n}` is torn");
        // What the writer saw keeps its order, with what it wrote.
        let kept: Vec<char> = text.chars().filter(|c| new.contains(*c)).collect();
        let wanted: Vec<char> = new.chars().filter(|c| text.contains(*c)).collect();
        assert_eq!(kept, wanted, "after write `{n}`");
        *counts.entry(lag).or_insert(0) += 1;
        versions.push((version, text));
    }
    assert_eq!(counts.len(), 4);
    shared.world.verify();
}
