//! Shared state: writes, what they saw, policies, conflicts, time to live, watches and quotas.
//!
//! For: the rules of the state store, through the public interface of the machine. Not for: doors, clients or clocks.
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, Effect, Reply,
    command::{
        AcquireLock, Choice, DecideConflict, DeleteSpace, LockClaim, OperationResult, SetSpace, SetTrigger, Transact,
        Transacted,
    },
    rows::{ChangeKind, PrefixMerge, Settlement, TriggerAction, TriggerSettings},
    view::{Changed, Events, SharedState, StateView},
};
use consort_types::{
    Code, EffectClass, Payload, Result, Seq, Span, Time, limits,
    state::{
        Action, Check, Condition, Fence, MergePolicy, Operation, Position, PrefixPolicy, SpaceSettings, Stamp,
        Transaction, WriteOutcome, Writer,
    },
    worker::JournalRequest,
};
use consort_workflow_check::merge_expression;
use support::{NS, World};

const SPACE: &str = "team";

fn payload(value: &str) -> Payload {
    Payload::inline(value.as_bytes())
}

fn put(key: &str, value: &str, saw: Option<Seq>) -> Operation {
    let action = Action::Put { value: payload(value), saw, ttl: None, stamp: None, base: None };
    Operation { space: SPACE.to_owned(), key: key.to_owned(), action }
}

fn put_for(key: &str, value: &str, ttl: Span) -> Operation {
    let action = Action::Put { value: payload(value), saw: None, ttl: Some(ttl), stamp: None, base: None };
    Operation { action, ..put(key, value, None) }
}

fn put_at(key: &str, value: &str, saw: Option<Seq>, stamp: Stamp) -> Operation {
    let action = Action::Put { value: payload(value), saw, ttl: None, stamp: Some(stamp), base: None };
    Operation { action, ..put(key, value, None) }
}

fn delete(key: &str, saw: Option<Seq>) -> Operation {
    Operation { action: Action::Delete { saw }, ..put(key, "", None) }
}

fn get(key: &str) -> Operation {
    Operation { action: Action::Get, ..put(key, "", None) }
}

fn holds(key: &str, check: Check) -> Condition {
    Condition { space: SPACE.to_owned(), key: key.to_owned(), check }
}

/// The state store of a world, and who writes.
trait Store {
    fn transact(
        &mut self,
        conditions: Vec<Condition>,
        then: Vec<Operation>,
        otherwise: Vec<Operation>,
    ) -> Result<Transacted>;
    fn one(&mut self, operation: Operation) -> Result<OperationResult>;
    fn set(&mut self, settings: SpaceSettings);
    /// Every key is merged by an expression.
    fn merge_by(&mut self, text: &str) -> Result<Reply>;
    fn policy(&mut self, policy: MergePolicy);
    fn value(&mut self, key: &str) -> Result<String>;
    fn view(&mut self, key: &str) -> StateView;
    fn changes(&mut self, after: Option<Position>) -> Result<Changed>;
    fn decide(&mut self, conflict: Position, choice: Choice) -> Result<Reply>;
}

/// How often a value was written.
trait Writes {
    fn writes(&self) -> u64;
}

impl Writes for StateView {
    fn writes(&self) -> u64 {
        self.created.map_or(0, |(_, writes)| writes)
    }
}

impl Store for World {
    fn transact(
        &mut self,
        conditions: Vec<Condition>,
        then: Vec<Operation>,
        otherwise: Vec<Operation>,
    ) -> Result<Transacted> {
        let by = Writer::client(Some("ann"));
        let transaction = Transaction { conditions, then, otherwise, ..Transaction::default() };
        let command = Transact { namespace: NS.to_owned(), transaction, by };
        match self.apply(&Command::Transact(command))? {
            Reply::Transacted(done) => Ok(done),
            other => panic!("{other:?}"),
        }
    }

    fn one(&mut self, operation: Operation) -> Result<OperationResult> {
        self.transact(Vec::new(), vec![operation], Vec::new()).map(|mut done| done.results.remove(0))
    }

    fn set(&mut self, settings: SpaceSettings) {
        let (namespace, space) = (NS.to_owned(), SPACE.to_owned());
        self.apply(&Command::SetSpace(SetSpace { namespace, space, settings, merges: Vec::new() })).unwrap();
    }

    fn merge_by(&mut self, text: &str) -> Result<Reply> {
        let (namespace, space) = (NS.to_owned(), SPACE.to_owned());
        let merges = vec![PrefixMerge { prefix: String::new(), expression: merge_expression(text)? }];
        let policies = vec![PrefixPolicy { prefix: String::new(), policy: MergePolicy::Expression }];
        let settings = SpaceSettings { policies, ..SpaceSettings::default() };
        self.apply(&Command::SetSpace(SetSpace { namespace, space, settings, merges }))
    }

    fn policy(&mut self, policy: MergePolicy) {
        let policies = vec![PrefixPolicy { prefix: String::new(), policy }];
        self.set(SpaceSettings { policies, ..SpaceSettings::default() });
    }

    fn value(&mut self, key: &str) -> Result<String> {
        let view = SharedState::of(&mut self.machine).get(NS, SPACE, key, None)?;
        let bytes = self.machine.payload_bytes(&view.value)?;
        Ok(String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn view(&mut self, key: &str) -> StateView {
        SharedState::of(&mut self.machine).get(NS, SPACE, key, None).unwrap()
    }

    fn changes(&mut self, after: Option<Position>) -> Result<Changed> {
        SharedState::of(&mut self.machine).changes(NS, SPACE, "", after, 1_000)
    }

    fn decide(&mut self, conflict: Position, choice: Choice) -> Result<Reply> {
        self.apply(&Command::DecideConflict(DecideConflict {
            namespace: NS.to_owned(),
            space: SPACE.to_owned(),
            conflict,
            choice,
            by: Writer::client(Some("bob")),
            comment: Some("read both".to_owned()),
        }))
    }
}

#[test]
fn a_key_has_the_value_that_was_written_last_and_its_earlier_ones() {
    let mut world = World::new();
    assert_eq!(world.value("k").unwrap_err().code, Code::SpaceNotFound);
    assert_eq!(world.one(get("k")).unwrap().outcome, WriteOutcome::Read, "a read makes no space");
    assert_eq!(world.one(delete("k", None)).unwrap().outcome, WriteOutcome::Absent);
    assert_eq!(world.value("k").unwrap_err().code, Code::SpaceNotFound);
    let first = world.one(put("k", "1", None)).unwrap();
    let second = world.one(put("k", "2", Some(first.version))).unwrap();
    assert_eq!((second.outcome, second.value), (WriteOutcome::Written, None));
    let view = world.view("k");
    assert_eq!((view.version, view.created), (second.version, Some((first.version, 2))));
    assert_eq!(view.by, Writer::client(Some("ann")));
    let gone = world.one(delete("k", Some(second.version))).unwrap();
    assert_eq!((gone.outcome, gone.version), (WriteOutcome::Deleted, Seq::ZERO));
    assert_eq!(world.value("k").unwrap_err().code, Code::KeyNotFound);
    let at = |world: &mut World, version| SharedState::of(&mut world.machine).get(NS, SPACE, "k", Some(version));
    assert_eq!(at(&mut world, first.version).unwrap().value, payload("1"));
    assert_eq!(at(&mut world, Seq(second.version.0)).unwrap().value, payload("2"));
    assert_eq!(at(&mut world, Seq(second.version.0 + 1)).unwrap_err().code, Code::KeyNotFound);
    let history = SharedState::of(&mut world.machine).history(NS, SPACE, "k", None, 2).unwrap();
    let kinds: Vec<_> = history.items.iter().map(|item| item.change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Deleted, ChangeKind::Put]);
    let rest = SharedState::of(&mut world.machine).history(NS, SPACE, "k", history.next.as_deref(), 2).unwrap();
    assert_eq!((rest.items[0].change.value.clone(), rest.next), (Some(payload("1")), None));
    world.verify();
}

#[test]
fn a_write_that_did_not_see_the_latest_value_is_rejected_and_both_values_are_kept() {
    let mut world = World::new();
    let first = world.one(put("k", "1", Some(Seq::ZERO))).unwrap();
    world.one(put("k", "2", Some(first.version))).unwrap();
    let stale = world.one(put("k", "3", Some(first.version))).unwrap();
    assert_eq!((stale.outcome, stale.value), (WriteOutcome::Rejected, Some(payload("2"))));
    assert_eq!(world.value("k").unwrap(), "2");
    assert_eq!(world.one(put("k", "4", Some(Seq::ZERO))).unwrap().outcome, WriteOutcome::Rejected);
    assert_eq!(world.one(delete("k", Some(first.version))).unwrap().outcome, WriteOutcome::Rejected);
    let conflicts = SharedState::of(&mut world.machine).conflicts(NS, SPACE, false, None, 10).unwrap().items;
    assert_eq!(conflicts.len(), 3);
    let seen: Vec<_> = conflicts[0].conflict.candidates.iter().map(|one| one.value.clone()).collect();
    assert_eq!(seen, [Some(payload("2")), Some(payload("3"))]);
    assert_eq!(
        (&conflicts[0].conflict.settled, conflicts[0].conflict.policy),
        (&Settlement::Rejected, MergePolicy::Reject)
    );
    // Decided again: the value that was rejected.
    world.decide(stale.conflict.unwrap(), Choice::Candidate(1)).unwrap();
    assert_eq!(world.value("k").unwrap(), "3");
    let error = world.decide(stale.conflict.unwrap(), Choice::Candidate(2)).unwrap_err();
    assert_eq!(error.code, Code::BadRequest);
    world.verify();
}

#[test]
fn a_transaction_is_done_whole_or_not_at_all() {
    let mut world = World::new();
    let both = || vec![put("a", "1", None), put("b", "1", None)];
    let done = world.transact(vec![holds("a", Check::Absent)], both(), vec![get("a")]).unwrap();
    assert!(done.succeeded && done.results.iter().all(|result| result.version == done.seq));
    let other = world.transact(vec![holds("a", Check::Absent)], both(), vec![get("a"), get("none")]).unwrap();
    assert!(!other.succeeded);
    assert_eq!((other.results[0].version, other.results[0].value.clone()), (done.seq, Some(payload("1"))));
    assert_eq!((other.results[1].version, other.results[1].value.clone()), (Seq::ZERO, None));
    let checks = [Check::Exists, Check::Version(done.seq), Check::Equals(payload(" 1 "))];
    let all = checks.into_iter().map(|check| holds("b", check)).collect();
    assert!(world.transact(all, vec![put("b", "2", None)], Vec::new()).unwrap().succeeded);
    // One that is rejected takes the other with it.
    let mixed = vec![put("a", "9", None), put("b", "9", Some(done.seq)), put("c", "9", None)];
    let rejected = world.transact(Vec::new(), mixed, Vec::new()).unwrap();
    assert_eq!((rejected.results.len(), rejected.results[0].key.as_str()), (1, "b"));
    assert_eq!((world.value("a").unwrap(), world.value("b").unwrap()), ("1".to_owned(), "2".to_owned()));
    assert_eq!(world.value("c").unwrap_err().code, Code::KeyNotFound);
    let twice = world.transact(Vec::new(), vec![put("a", "1", None), delete("a", None)], Vec::new());
    assert_eq!(twice.unwrap_err().code, Code::BadRequest);
    let many = (0..=limits::STATE_OPERATIONS_MAX).map(|i| put(&format!("k{i}"), "1", None)).collect();
    assert_eq!(world.transact(Vec::new(), many, Vec::new()).unwrap_err().code, Code::LimitReached);
    world.verify();
}

/// Every order of `items`.
fn orders<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let Some((last, rest)) = items.split_last() else { return vec![Vec::new()] };
    let mut all = Vec::new();
    for order in orders(rest) {
        for place in 0..=order.len() {
            let mut longer = order.clone();
            longer.insert(place, last.clone());
            all.push(longer);
        }
    }
    all
}

/// Writes that did not see each other, in every order and with one of them twice: each order gives the same bytes.
fn converges(policy: MergePolicy, base: Option<&str>, writes: &[&str], expected: &str) {
    let mut results = Vec::new();
    for order in orders(&writes.iter().enumerate().collect::<Vec<_>>()) {
        let mut world = World::new();
        world.policy(policy);
        let saw = base.map(|base| {
            let first = put_at("k", base, None, Stamp { time: Time(1), count: 0 });
            world.one(first).unwrap().version
        });
        for (i, write) in &order {
            let stamp = Stamp { time: Time(100 + *i as u64), count: 0 };
            world.one(put_at("k", write, saw, stamp)).unwrap();
        }
        if policy != MergePolicy::Counter {
            let (i, write) = order[0];
            world.one(put_at("k", write, saw, Stamp { time: Time(100 + i as u64), count: 0 })).unwrap();
        }
        results.push(world.value("k").unwrap());
        world.verify();
    }
    for result in results {
        assert_eq!(result, expected, "{policy:?}");
    }
}

#[test]
fn writes_that_did_not_see_each_other_give_equal_bytes_in_any_order() {
    converges(MergePolicy::LastWriterWins, Some("0"), &["1", "2", "3"], "3");
    converges(MergePolicy::LastWriterWins, None, &["\"z\"", "\"a\""], "\"a\"");
    converges(MergePolicy::Max, Some("5"), &["7", "7.0", "6.5", "-1"], "7");
    converges(MergePolicy::Max, None, &["9007199254740993", "9007199254740992.0"], "9007199254740993");
    converges(MergePolicy::Min, Some("5"), &["7", "-2", "-1.5"], "-2");
    converges(MergePolicy::Counter, Some("10"), &["11", "7", "15"], "13");
    converges(MergePolicy::Counter, None, &["1", "2", "-5"], "-2");
    converges(MergePolicy::Set, Some("[1,2,3]"), &["[1,2]", "[1,2,3,4]", "[2,3,4]", "[2,3,5]"], "[2,4,5]");
    converges(MergePolicy::Set, None, &["[\"a\"]", "[{\"x\":1}]", "[\"a\",\"b\",\"b\"]"], r#"["a","b",{"x":1}]"#);
    converges(
        MergePolicy::Map,
        Some(r#"{"a":1,"b":1,"c":1}"#),
        &[r#"{"a":2,"b":1,"c":1}"#, r#"{"b":1,"c":1}"#, r#"{"a":1,"b":3,"c":1,"d":4}"#, r#"{"a":1,"c":2}"#],
        r#"{"a":2,"b":3,"c":2,"d":4}"#,
    );
    converges(MergePolicy::Map, None, &[r#"{"a":1}"#, r#"{"a":2,"b":1}"#, "{}"], r#"{"a":2,"b":1}"#);
    converges(MergePolicy::Text, Some("\"a b c\""), &["\"a 1 c\"", "\"a b c.\"", "\"so a b c\""], "\"so a 1 c.\"");
    converges(MergePolicy::List, Some("[1,2,3]"), &["[1,3]", "[1,2,4,3]", "[1,2,5,3]", "[1,2]"], "[1,4,5]");
    converges(MergePolicy::List, None, &["[2]", "[1,1]", "[3]"], "[2,1,1,3]");
}

#[test]
fn what_was_added_stays_unless_a_write_that_saw_it_removes_it() {
    let mut world = World::new();
    world.policy(MergePolicy::Set);
    let first = world.one(put("k", "[1]", None)).unwrap().version;
    let both = world.one(put("k", "[1,2]", Some(first))).unwrap().version;
    // It adds `2` too and did not see that it is there: a removal that saw only the first addition leaves it.
    world.one(put("k", "[1,2]", Some(first))).unwrap();
    let merged = world.one(put("k", "[1]", Some(both))).unwrap();
    assert_eq!((merged.outcome, merged.value), (WriteOutcome::Merged, Some(payload("[1,2]"))));
    let latest = world.view("k").version;
    world.one(put("k", "[1]", Some(latest))).unwrap();
    assert_eq!(world.value("k").unwrap(), "[1]");
    // A removal of the key that did not see the latest value removes nothing.
    let kept = world.one(delete("k", Some(first))).unwrap();
    assert_eq!((kept.outcome, kept.value), (WriteOutcome::Superseded, Some(payload("[1]"))));
    world.verify();
}

#[test]
fn values_that_do_not_fit_the_policy_are_refused_and_change_nothing() {
    let cases = [
        (MergePolicy::Counter, "1.5"),
        (MergePolicy::Counter, "\"1\""),
        (MergePolicy::Max, "[]"),
        (MergePolicy::Set, "{}"),
        (MergePolicy::Map, "[]"),
        (MergePolicy::Text, "[]"),
        (MergePolicy::List, "\"a\""),
    ];
    for (policy, value) in cases {
        let mut world = World::new();
        world.policy(policy);
        assert_eq!(world.one(put("k", value, None)).unwrap_err().code, Code::NotMergeable, "{policy:?}");
        world.verify();
    }
    let mut world = World::new();
    world.policy(MergePolicy::Counter);
    world.one(put("k", &i64::MAX.to_string(), None)).unwrap();
    assert_eq!(world.one(put("k", "1", None)).unwrap_err().code, Code::NotMergeable);
    let long = format!("\"{}\"", "x".repeat(limits::STATE_MERGE_BYTES_MAX as usize));
    world.policy(MergePolicy::LastWriterWins);
    assert_eq!(world.one(put("k", &long, None)).unwrap_err().code, Code::PayloadTooLarge);
    let ahead = world.machine.now().after(Span::from_secs(2 * limits::STATE_STAMP_AHEAD_SECONDS_MAX));
    let early = put_at("k", "1", None, Stamp { time: ahead, count: 0 });
    assert_eq!(world.one(early).unwrap_err().code, Code::BadRequest);
    world.verify();
}

#[test]
fn an_expression_makes_one_value_of_two_and_fails_without_a_trace() {
    let better = "write.incoming.score > write.current.score ? write.incoming : write.current";
    for (first, second, expected, outcome) in [
        (r#"{"by":"a","score":1}"#, r#"{"by":"b","score":2}"#, r#"{"by":"b","score":2}"#, WriteOutcome::Written),
        (r#"{"by":"b","score":2}"#, r#"{"by":"a","score":1}"#, r#"{"by":"b","score":2}"#, WriteOutcome::Superseded),
    ] {
        let mut world = World::new();
        world.merge_by(better).unwrap();
        world.one(put("best", first, Some(Seq::ZERO))).unwrap();
        let told = world.one(put("best", second, Some(Seq::ZERO))).unwrap();
        assert_eq!((told.outcome, told.conflict.is_some()), (outcome, true));
        assert_eq!(world.value("best").unwrap(), expected);
        // A writer that saw what is there is not merged.
        let version = world.view("best").version;
        world.one(put("best", first, Some(version))).unwrap();
        assert_eq!(world.value("best").unwrap(), first);
        // What the expression cannot read is refused, and nothing changes.
        let error = world.one(put("best", "7", None)).unwrap_err();
        assert!(error.code == Code::NotMergeable && error.message.contains(better), "{error:?}");
        assert_eq!(world.value("best").unwrap(), first);
        world.verify();
    }
    let mut world = World::new();
    world.merge_by("{'sum': write.current.sum + write.incoming.sum, 'base': write.base}").unwrap();
    let first = world.one(put("x", r#"{"sum":1}"#, None)).unwrap();
    world.one(put("x", r#"{"sum":2}"#, Some(first.version))).unwrap();
    let told = world.one(put("x", r#"{"sum":5}"#, Some(first.version))).unwrap();
    assert_eq!(told.outcome, WriteOutcome::Merged);
    assert_eq!(world.value("x").unwrap(), r#"{"base":{"sum":1},"sum":7}"#);
    world.verify();
}

#[test]
fn the_changes_and_conflicts_of_a_space_are_events_where_it_is_set_so() {
    let mut world = World::new();
    let policies = vec![PrefixPolicy { prefix: "ask/".to_owned(), policy: MergePolicy::Agent }];
    world.one(put("before", "0", None)).unwrap();
    world.set(SpaceSettings { policies, events: true, ..SpaceSettings::default() });
    let first = world.one(put("k", r#"{"n":1}"#, None)).unwrap();
    let rejected = world.one(put("k", "2", Some(Seq::ZERO))).unwrap();
    world.one(delete("k", Some(first.version))).unwrap();
    world.one(put_for("brief", "1", Span::from_secs(5))).unwrap();
    world.tick(Span::from_secs(5));
    world.one(put("ask/x", "1", None)).unwrap();
    let undecided = world.one(put("ask/x", "2", Some(Seq::ZERO))).unwrap();
    world.decide(undecided.conflict.unwrap(), Choice::Candidate(1)).unwrap();
    world.set(SpaceSettings::default());
    world.one(put("after", "0", None)).unwrap();

    let all = Events::of(&mut world.machine).list(NS, None, Position::ZERO, 100).unwrap().events;
    let told: Vec<(String, String, serde_json::Value)> = all
        .iter()
        .map(|event| {
            let data = event.data.as_ref().and_then(Payload::bytes).expect("the data is kept with the event");
            let data: serde_json::Value = serde_json::from_slice(data).unwrap();
            assert_eq!((&data["space"], &event.attributes.source), (&SPACE.into(), &format!("/v1/spaces/{SPACE}")));
            assert_eq!(Some(&data["key"]), event.attributes.subject.clone().map(Into::into).as_ref());
            let what = data.get("change").or(data.get("settled")).unwrap_or(&data["value"]).to_string();
            (event.attributes.topic.clone(), format!("{} {what}", data["key"].as_str().unwrap()), data)
        })
        .collect();
    let brief: Vec<(&str, &str)> = told.iter().map(|(topic, what, _)| (topic.as_str(), what.as_str())).collect();
    assert_eq!(
        brief,
        [
            ("state.team.changed", r#"k "put""#),
            ("state.team.conflict", r#"k "rejected""#),
            ("state.team.changed", r#"k "deleted""#),
            ("state.team.changed", r#"brief "put""#),
            ("state.team.changed", r#"brief "expired""#),
            ("state.team.changed", r#"ask/x "put""#),
            ("state.team.conflict", r#"ask/x "undecided""#),
            ("state.team.changed", r#"ask/x "undecided""#),
            ("state.team.decided", "ask/x 2"),
            ("state.team.changed", r#"ask/x "decided""#),
        ]
    );
    assert_eq!(told[0].2["value"], serde_json::json!({ "n": 1 }));
    assert_eq!(told[0].2["version"], first.version.0);
    assert_eq!(told[1].2["conflict"], rejected.conflict.unwrap().to_string());
    assert_eq!(told[1].2["values"][1]["value"], 2);
    world.verify();
}

#[test]
fn a_trigger_acts_on_what_is_written_and_the_run_may_write_again() {
    let mut world = World::new();
    world.deploy("workflow: noted\nsteps:\n  note: { state: { space: notes, put: last, value: 1 } }\n");
    world.set(SpaceSettings { events: true, ..SpaceSettings::default() });
    let action = TriggerAction::Start { workflow: "noted".to_owned(), version: None, input: None };
    let settings = TriggerSettings { pattern: "state.team.changed".to_owned(), filter: None, action };
    let set = SetTrigger { namespace: NS.to_owned(), name: "note".to_owned(), settings };
    world.apply(&Command::SetTrigger(set)).unwrap();
    world.transact(Vec::new(), vec![put("a", "1", None), put("b", "2", None)], Vec::new()).unwrap();
    let trigger = Events::of(&mut world.machine).trigger(NS, "note").unwrap();
    assert_eq!((trigger.fired, trigger.failed), (2, 0), "{trigger:?}");
    // A key is written once in a record: the second run writes in the next one.
    world.tick(Span::from_secs(1));
    let notes = SharedState::of(&mut world.machine).get(NS, "notes", "last", None).unwrap();
    assert_eq!(notes.created.map(|(_, writes)| writes), Some(2));
    world.verify();
}

#[test]
fn the_policy_expression_has_an_expression_and_others_have_none() {
    let mut world = World::new();
    let mut set = |policy, merge: Option<&str>| {
        let of = |text| PrefixMerge { prefix: "a".to_owned(), expression: merge_expression(text).unwrap() };
        let merges = merge.map(of).into_iter().collect();
        let policies = vec![PrefixPolicy { prefix: "a".to_owned(), policy }];
        let settings = SpaceSettings { policies, ..SpaceSettings::default() };
        let (namespace, space) = (NS.to_owned(), SPACE.to_owned());
        world.apply(&Command::SetSpace(SetSpace { namespace, space, settings, merges })).map_err(|error| error.code)
    };
    assert_eq!(set(MergePolicy::Expression, None), Err(Code::BadRequest));
    assert_eq!(set(MergePolicy::Max, Some("write.current")), Err(Code::BadRequest));
    assert_eq!(set(MergePolicy::Expression, Some("write.current")), Ok(Reply::Done));
}

#[test]
fn siblings_are_kept_until_somebody_decides() {
    let mut world = World::new();
    world.policy(MergePolicy::Agent);
    let first = world.one(put("k", "1", None)).unwrap().version;
    world.one(put("k", "2", Some(first))).unwrap();
    let stale = world.one(put("k", "3", Some(first))).unwrap();
    assert_eq!(stale.outcome, WriteOutcome::Undecided);
    world.one(put("k", "4", None)).unwrap();
    let view = world.view("k");
    let siblings: Vec<_> = view.siblings.iter().map(|sibling| sibling.value.clone()).collect();
    assert_eq!((view.value, siblings), (payload("2"), vec![Some(payload("3")), Some(payload("4"))]));
    assert_eq!(SharedState::of(&mut world.machine).space(NS, SPACE).unwrap().space.undecided, 1);
    world.decide(stale.conflict.unwrap(), Choice::Value(payload("5"))).unwrap();
    assert_eq!(world.value("k").unwrap(), "5");
    assert!(world.view("k").siblings.is_empty());
    assert_eq!(SharedState::of(&mut world.machine).space(NS, SPACE).unwrap().space.undecided, 0);
    // A write that saw both decides, too.
    let again = world.one(put("k", "6", None)).unwrap();
    let version = world.view("k").version;
    world.one(put("k", "7", Some(version))).unwrap();
    let conflict = SharedState::of(&mut world.machine).conflict(NS, SPACE, again.conflict.unwrap()).unwrap().conflict;
    let Settlement::Decided(decided) = conflict.settled else { panic!("{conflict:?}") };
    assert_eq!((decided.value, decided.by.by.as_deref()), (Some(payload("7")), Some("ann")));
    for i in 0..limits::STATE_SIBLINGS_MAX {
        let sibling = world.one(put("many", &i.to_string(), None)).unwrap();
        assert_eq!(sibling.outcome == WriteOutcome::Undecided, i > 0);
    }
    assert_eq!(world.one(put("many", "99", None)).unwrap_err().code, Code::LimitReached);
    world.verify();
}

#[test]
fn a_value_expires_when_its_time_is_over_and_not_before() {
    let mut world = World::new();
    world.one(put_for("k", "1", Span::from_secs(10))).unwrap();
    world.one(put_for("renewed", "1", Span::from_secs(10))).unwrap();
    world.one(put_for("stays", "1", Span::from_secs(10))).unwrap();
    world.tick(Span::from_secs(9));
    assert_eq!(world.value("k").unwrap(), "1");
    world.one(put_for("renewed", "2", Span::from_secs(10))).unwrap();
    world.one(put("stays", "2", None)).unwrap();
    world.tick(Span::from_secs(2));
    assert_eq!(world.value("k").unwrap_err().code, Code::KeyNotFound);
    assert_eq!((world.value("renewed").unwrap(), world.value("stays").unwrap()), ("2".to_owned(), "2".to_owned()));
    let last = world.changes(Some(Position::default())).unwrap().items.pop().unwrap();
    assert_eq!((last.change.kind, last.change.key.as_str()), (ChangeKind::Expired, "k"));
    world.tick(Span::from_secs(60));
    assert_eq!(world.value("renewed").unwrap_err().code, Code::KeyNotFound);
    assert_eq!(world.value("stays").unwrap(), "2");
    let space = SharedState::of(&mut world.machine).space(NS, SPACE).unwrap().space;
    assert_eq!((space.keys, space.bytes), (1, 6));
    world.verify();
}

#[test]
fn a_watch_sees_each_change_once_in_order_and_says_when_some_are_gone() {
    let mut world = World::new();
    let settings = SpaceSettings { keep_changes: limits::STATE_CHANGES_MIN, ..SpaceSettings::default() };
    world.set(settings);
    let start = world.changes(None).unwrap().seen;
    for i in 0..250 {
        world.one(put(&format!("k{}", i % 3), &i.to_string(), None)).unwrap();
        if i == 50 {
            let page = SharedState::of(&mut world.machine).changes(NS, SPACE, "k1", Some(start), 20).unwrap();
            assert!(page.more && page.items.iter().all(|item| item.change.key == "k1"));
            let values: Vec<_> =
                world.changes(Some(start)).unwrap().items.into_iter().map(|item| item.change.value).collect();
            assert_eq!(values, (0..=50).map(|i| Some(payload(&i.to_string()))).collect::<Vec<_>>());
        }
    }
    assert_eq!(world.changes(Some(start)).unwrap_err().code, Code::VersionGone);
    let space = SharedState::of(&mut world.machine).space(NS, SPACE).unwrap().space;
    assert_eq!(space.changes, u64::from(limits::STATE_CHANGES_MIN));
    let kept = world.changes(Some(space.trimmed)).unwrap();
    assert_eq!(kept.items.len(), 100);
    assert_eq!(kept.items[0].change.value, Some(payload("150")));
    assert!(
        world.effects.iter().any(|effect| matches!(effect, Effect::SpaceChanged { space: id, .. } if *id == space.id))
    );
    // What a merge needs and is not kept is refused, by name.
    world.policy(MergePolicy::Counter);
    assert_eq!(world.one(put("k0", "5", Some(start.seq))).unwrap_err().code, Code::VersionGone);
    world.verify();
}

/// A key has had two values, and neither is kept any more but as the one that it has now. Answers the version of the first.
fn long_ago(world: &mut World, policy: MergePolicy, first: &str, since: &str) -> Seq {
    let policies = vec![PrefixPolicy { prefix: "k".to_owned(), policy }];
    let settings = SpaceSettings { policies, keep_changes: limits::STATE_CHANGES_MIN, ..SpaceSettings::default() };
    let sum = "write.current + write.incoming - (write.base == null ? 0 : write.base)";
    let merge = || PrefixMerge { prefix: "k".to_owned(), expression: merge_expression(sum).unwrap() };
    let merges = if policy == MergePolicy::Expression { vec![merge()] } else { Vec::new() };
    let (namespace, space) = (NS.to_owned(), SPACE.to_owned());
    world.apply(&Command::SetSpace(SetSpace { namespace, space, settings, merges })).unwrap();
    let saw = world.one(put("k", first, Some(Seq::ZERO))).unwrap().version;
    world.one(put("k", since, Some(saw))).unwrap();
    for _ in 0..=limits::STATE_CHANGES_MIN {
        world.one(put("other", "1", None)).unwrap();
    }
    saw
}

fn put_from(value: &str, saw: Seq, base: &str) -> Operation {
    let (saw, base) = (Some(saw), Some(payload(base)));
    let action = Action::Put { value: payload(value), saw, ttl: None, stamp: None, base };
    Operation { action, ..put("k", value, None) }
}

#[test]
fn a_writer_whose_version_is_gone_is_merged_by_the_value_that_it_saw() {
    for (policy, first, since, value, merged) in [
        (MergePolicy::Counter, "10", "15", "12", "17"),
        (MergePolicy::Expression, "10", "15", "12", "17"),
        (MergePolicy::Set, "[1,2]", "[1,2,3]", "[1,4]", "[1,3,4]"),
        (MergePolicy::Map, r#"{"a":1,"b":1}"#, r#"{"a":2,"b":1}"#, r#"{"b":3,"c":1}"#, r#"{"a":2,"b":3,"c":1}"#),
        (MergePolicy::Text, r#""On Fri""#, r#""On Fri at 9""#, r#""Ship on Fri""#, r#""Ship on Fri at 9""#),
        (MergePolicy::List, "[1,2,3]", "[0,1,2,3]", "[1,3,4]", "[0,1,3,4]"),
        (MergePolicy::Max, "1", "5", "3", "5"),
    ] {
        let mut world = World::new();
        let saw = long_ago(&mut world, policy, first, since);
        if policy != MergePolicy::Max {
            assert_eq!(world.one(put("k", value, Some(saw))).unwrap_err().code, Code::VersionGone, "{policy:?}");
        }
        let done = world.one(put_from(value, saw, first)).unwrap();
        assert_eq!((world.value("k").unwrap().as_str(), done.conflict.is_some()), (merged, true), "{policy:?}");
        // Writers that saw what came of it are merged as ever.
        if policy == MergePolicy::Text {
            world.one(put("k", r#""Ship on Fri at 9, done""#, Some(done.version))).unwrap();
            world.one(put("k", r#""Ship it on Fri at 9""#, Some(done.version))).unwrap();
            assert_eq!(world.value("k").unwrap(), r#""Ship it on Fri at 9, done""#);
        }
        world.verify();
    }
}

#[test]
fn what_a_writer_says_that_it_saw_counts_only_where_the_space_does_not_know() {
    let mut world = World::new();
    world.policy(MergePolicy::Counter);
    let saw = world.one(put("k", "10", Some(Seq::ZERO))).unwrap().version;
    world.one(put("k", "11", Some(saw))).unwrap();
    world.one(put_from("12", saw, "0")).unwrap();
    assert_eq!(world.value("k").unwrap(), "13");
    assert_eq!(world.one(put_from("12", Seq::ZERO, "0")).unwrap_err().code, Code::BadRequest);
    // Of a text that is not there any more, a change alone would be a fragment.
    let mut world = World::new();
    let saw = long_ago(&mut world, MergePolicy::Text, r#""one""#, r#""one two""#);
    let long = format!("\"{}\"", "x".repeat(limits::STATE_MERGE_BYTES_MAX as usize));
    assert_eq!(world.one(put_from(r#""one""#, saw, &long)).unwrap_err().code, Code::PayloadTooLarge);
    assert_eq!(world.one(put_from(r#""one""#, saw, "[]")).unwrap_err().code, Code::NotMergeable);
    assert_eq!(world.value("k").unwrap(), r#""one two""#, "a refusal changes nothing");
    world.one(delete("k", None)).unwrap();
    world.one(put_from(r#""one more""#, saw, r#""one""#)).unwrap();
    assert_eq!(world.value("k").unwrap(), r#""one more""#);
    world.verify();
}

#[test]
fn a_space_holds_no_more_than_it_may() {
    let mut world = World::new();
    world.set(SpaceSettings { max_keys: Some(2), max_bytes: Some(20), ..SpaceSettings::default() });
    world.one(put("a", "1", None)).unwrap();
    world.one(put("b", "1", None)).unwrap();
    assert_eq!(world.one(put("c", "1", None)).unwrap_err().code, Code::SpaceFull);
    assert_eq!(world.one(put("a", "12345678901234567890", None)).unwrap_err().code, Code::SpaceFull);
    let moved = world.transact(Vec::new(), vec![delete("a", None), put("c", "1", None)], Vec::new()).unwrap();
    assert!(moved.succeeded);
    // What is there already may shrink, also below a limit that is lower than it.
    world.set(SpaceSettings { max_keys: Some(1), max_bytes: Some(1), ..SpaceSettings::default() });
    world.one(put("b", "0", None)).unwrap();
    world.one(delete("b", None)).unwrap();
    world.verify();
}

#[test]
fn a_deleted_space_is_gone_at_once_and_its_rows_go_piece_by_piece() {
    let mut world = World::limited(64, limits::EXPRESSION_COST_MAX);
    world.policy(MergePolicy::Set);
    let long = format!("[\"{}\"]", "x".repeat(40_000));
    world.one(put("large", &long, None)).unwrap();
    world.policy(MergePolicy::Agent);
    world.one(put("large", "1", None)).unwrap();
    world.one(put_for("due", "1", Span::from_secs(5))).unwrap();
    for i in 0..200 {
        world.one(put(&format!("k{i}"), "1", None)).unwrap();
    }
    let gone = DeleteSpace { namespace: NS.to_owned(), space: SPACE.to_owned() };
    world.apply(&Command::DeleteSpace(gone.clone())).unwrap();
    assert_eq!(world.value("k1").unwrap_err().code, Code::SpaceNotFound);
    assert_eq!(world.apply(&Command::DeleteSpace(gone)).unwrap_err().code, Code::SpaceNotFound);
    world.one(put("k1", "2", None)).unwrap();
    assert!(world.go_on() >= 3, "a record removes some of the rows");
    world.tick(Span::from_secs(60));
    assert_eq!(world.value("k1").unwrap(), "2");
    let list = SharedState::of(&mut world.machine).list(NS, SPACE, "", None, 10).unwrap();
    assert_eq!(list.items.len(), 1);
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::BlobUnused(_))));
    let rows = world.rows();
    let left = rows.keys().filter(|key| b"SPQHCXU".contains(&key[0])).count();
    assert_eq!(left, 4, "a space, a value, a change and its place in the history");
    world.verify();
}

#[test]
fn keys_are_listed_by_prefix_and_page() {
    let mut world = World::new();
    for key in ["a/1", "a/2", "a/3", "b/1"] {
        world.one(put(key, "1", None)).unwrap();
    }
    let mut list = |prefix: &str, cursor: Option<&str>| {
        let page = SharedState::of(&mut world.machine).list(NS, SPACE, prefix, cursor, 2).unwrap();
        (page.items.into_iter().map(|item| item.key).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(list("a/", None), (vec!["a/1".to_owned(), "a/2".to_owned()], Some("a/3".to_owned())));
    assert_eq!(list("a/", Some("a/3")), (vec!["a/3".to_owned()], None));
    assert_eq!(list("b", Some("a/3")).0, ["b/1"]);
    assert_eq!(list("c", None).0, Vec::<String>::new());
    world.verify();
}

#[test]
fn settled_conflicts_are_forgotten_and_others_are_not() {
    let mut world = World::new();
    let policies = vec![PrefixPolicy { prefix: "ask/".to_owned(), policy: MergePolicy::Agent }];
    world.set(SpaceSettings { policies, ..SpaceSettings::default() });
    world.one(put("ask/1", "1", None)).unwrap();
    let waits = world.one(put("ask/1", "2", None)).unwrap().conflict.unwrap();
    let first = world.one(put("k", "1", None)).unwrap().version;
    world.one(put("k", "2", None)).unwrap();
    for i in 0..limits::STATE_CONFLICTS_MAX + 50 {
        let stale = world.one(put("k", &i.to_string(), Some(first))).unwrap();
        assert_eq!(stale.outcome, WriteOutcome::Rejected);
    }
    let space = SharedState::of(&mut world.machine).space(NS, SPACE).unwrap().space;
    assert_eq!((space.conflicts, space.undecided), (limits::STATE_CONFLICTS_MAX, 1));
    assert_eq!(space.conflicts_total, u64::from(limits::STATE_CONFLICTS_MAX) + 51);
    let open = SharedState::of(&mut world.machine).conflicts(NS, SPACE, true, None, 10).unwrap().items;
    assert_eq!(open.iter().map(|item| item.id).collect::<Vec<_>>(), [waits]);
    world.decide(waits, Choice::Candidate(0)).unwrap();
    world.one(put("k", "0", Some(first))).unwrap();
    assert_eq!(
        SharedState::of(&mut world.machine).conflict(NS, SPACE, waits).unwrap_err().code,
        Code::ConflictNotFound
    );
    world.verify();
}

/// The answer to an entry, as the instance that holds the task is told.
fn answer(world: &World, index: u32) -> Result<serde_json::Value> {
    let told = world.effects.iter().rev().find_map(|effect| match effect {
        Effect::Recorded { index: at, entry, .. } if *at == index => entry.result.clone(),
        _ => None,
    });
    told.unwrap().map(|payload| serde_json::from_slice(payload.bytes().unwrap()).unwrap())
}

#[test]
fn a_task_writes_and_reads_with_its_journal_and_never_twice() {
    let mut world = World::new();
    world.deploy("workflow: w\nsteps:\n  a: { capability: x }\n");
    world.start("w", "{}", None).unwrap();
    world.taken("a", EffectClass::Idempotent);
    let state = |text: &str| JournalRequest::State { transaction: payload(text) };
    let add = state(r#"{"do": [{"op": "put", "space": "team", "key": "k", "value": 1, "version": 0}]}"#);
    world.record("a", 0, add.clone(), None).unwrap();
    let first = answer(&world, 0).unwrap();
    assert_eq!((&first["succeeded"], &first["results"][0]["outcome"]), (&true.into(), &"written".into()));
    let view = world.view("k");
    assert_eq!((view.by.by.as_deref(), view.by.step.as_deref()), (Some("a"), Some("a")));
    assert_eq!((view.by.run, view.version.0.into()), (Some(world.runs[0]), first["version"].clone()));
    // The same entry again has the same answer, and writes nothing.
    world.record("a", 0, add, None).unwrap();
    assert_eq!((answer(&world, 0).unwrap(), world.view("k").writes()), (first, 1));
    let read =
        state(r#"{"do": [{"op": "get", "space": "team", "key": "k"}, {"op": "get", "space": "none", "key": "k"}]}"#);
    world.record("a", 1, read, None).unwrap();
    let read = answer(&world, 1).unwrap();
    assert_eq!((&read["results"][0]["value"], read["results"][1].get("value")), (&1.into(), None));
    let refused = [
        (r#"{"do": [{"op": "put", "space": "team", "key": "k", "value": 2, "version": 0}]}"#, Code::StateConflict),
        (r#"{"do": [{"op": "put", "space": "team", "key": "k"}]}"#, Code::BadRequest),
        (r#"{"do": [{"op": "get", "space": "no space", "key": "k"}]}"#, Code::BadName),
    ];
    for (i, (text, code)) in refused.into_iter().enumerate() {
        let index = i as u32 + 2;
        world.record("a", index, state(text), None).unwrap();
        assert_eq!(answer(&world, index).unwrap_err().code, code);
    }
    assert_eq!(world.value("k").unwrap(), "1");
    world.complete("a", "null");
    world.verify();
}

#[test]
fn a_write_of_a_holder_that_has_lost_its_lock_is_refused_by_its_token() {
    let mut world = World::new();
    let acquire = |world: &mut World, holder: &str| {
        let command = AcquireLock {
            namespace: NS.to_owned(),
            name: "leader".to_owned(),
            holder: holder.to_owned(),
            permits: 1,
            ttl: Span::from_secs(10),
            wait: Span(0),
            value: None,
        };
        match world.apply(&Command::AcquireLock(command)).unwrap() {
            Reply::Lock(LockClaim::Held { token, .. }) => token,
            other => panic!("{other:?}"),
        }
    };
    let first = acquire(&mut world, "a");
    let fenced = |token, value: &str| Transact {
        namespace: NS.to_owned(),
        transaction: Transaction {
            fences: vec![Fence { lock: "leader".to_owned(), token }],
            ..Transaction::single(put("plan", value, None))
        },
        by: Writer::default(),
    };
    world.apply(&Command::Transact(fenced(first, "1"))).unwrap();
    // The leader is silent until its lease has ended, and the stand-by takes over.
    world.tick(Span::from_secs(11));
    let second = acquire(&mut world, "b");
    let stale = world.apply(&Command::Transact(fenced(first, "2"))).unwrap_err();
    assert_eq!((stale.code, world.value("plan").unwrap()), (Code::LeaseLost, "1".to_owned()));
    world.apply(&Command::Transact(fenced(second, "3"))).unwrap();
    assert_eq!(world.value("plan").unwrap(), "3");
    world.verify();
}
