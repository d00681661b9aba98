//! Agents and limits: declarations, settings by operators, and which of them last.
//!
//! For: versions side by side, draining, weights, removal, limits, through the public interface of the machine. Not
//! for: which instance gets a task (the dispatcher decides).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use std::collections::BTreeMap;

use consort_core::{
    Command, Effect, Reply,
    command::{AgentChange, DeleteRun, RegisterAgent, RemoveAgent, SetAgent, SetLimit, SetRetention},
};
use consort_types::{
    Code, EffectClass, Locality, Result, Span, limits,
    registry::{AgentState, LimitScope, Rate, TaskLimit},
    worker::{AgentDeclaration, CapabilityDeclaration},
};
use support::{NS, World};

fn declaration(name: &str, version: &str, effect: EffectClass) -> AgentDeclaration {
    AgentDeclaration {
        name: name.to_owned(),
        version: version.to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
        subscriptions: Vec::new(),
        capabilities: vec![CapabilityDeclaration {
            name: "x".to_owned(),
            description: String::new(),
            effect,
            input_schema: true.into(),
            output_schema: true.into(),
            cost_hint_microdollars: None,
            time_hint: None,
        }],
    }
}

fn register(world: &mut World, declaration: &AgentDeclaration) -> Result<Reply> {
    world.apply(&Command::RegisterAgent(RegisterAgent::new(NS, declaration, Locality::Remote)))
}

fn join(world: &mut World, name: &str, version: &str) {
    register(world, &declaration(name, version, EffectClass::Read)).unwrap();
}

fn set(world: &mut World, name: &str, version: Option<&str>, change: AgentChange) -> Result<Reply> {
    let (namespace, name, version) = (NS.to_owned(), name.to_owned(), version.map(str::to_owned));
    world.apply(&Command::SetAgent(SetAgent { namespace, name, version, change }))
}

fn remove(world: &mut World, name: &str, version: Option<&str>) -> Result<Reply> {
    let (namespace, name, version) = (NS.to_owned(), name.to_owned(), version.map(str::to_owned));
    world.apply(&Command::RemoveAgent(RemoveAgent { namespace, name, version, force: false }))
}

fn limit(world: &mut World, scope: &LimitScope, limit: TaskLimit) -> Result<Reply> {
    world.apply(&Command::SetLimit(SetLimit { namespace: NS.to_owned(), scope: scope.clone(), limit }))
}

/// The settings by operators, in short: `NAME@VERSION weight`, with a star where it drains.
fn states(world: &World) -> Vec<String> {
    let states = world.machine.registry().agent_states().unwrap().into_iter();
    let star = |state: AgentState| if state.draining { "*" } else { "" };
    states.map(|(_, name, version, state)| format!("{name}@{version} {}{}", state.weight, star(state))).collect()
}

/// The changes of agents since it was last asked.
fn changes(world: &mut World) -> Vec<String> {
    let effects = std::mem::take(&mut world.effects);
    let told = effects.into_iter().filter_map(|effect| match effect {
        Effect::AgentChanged { name, version, state: Some(state), .. } => {
            Some(format!("{name}@{version} {} {}", state.weight, state.draining))
        }
        Effect::AgentChanged { name, version, state: None, .. } => Some(format!("{name}@{version} gone")),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_step_need_not_name_the_capability_of_an_agent_that_has_one() {
    let mut world = World::new();
    join(&mut world, "solo", "1.0.0");
    world.deploy("workflow: w\nsteps: { a: { agent: solo } }\n");
    world.start("w", "{}", None).unwrap();
    let task = world.task(0, "a");
    let offered = |world: &mut World| world.machine.offer(task).unwrap().unwrap().capability;
    assert_eq!(offered(&mut world), "x");
    let mut other = declaration("solo", "2.0.0", EffectClass::Read);
    "y".clone_into(&mut other.capabilities[0].name);
    register(&mut world, &other).unwrap();
    assert_eq!(offered(&mut world), "", "its versions have two");
    world.verify();
}

#[test]
fn versions_stand_side_by_side_and_are_paged_through() {
    let mut world = World::new();
    for (name, version) in [("b", "1"), ("a", "2"), ("a", "10"), ("a", "2")] {
        join(&mut world, name, version);
    }
    assert_eq!(changes(&mut world), ["b@1 100 false", "a@2 100 false", "a@10 100 false"], "the same again is nothing");
    let first = world.machine.registry().agents(NS, None, 2).unwrap();
    let second = world.machine.registry().agents(NS, first.next.as_deref(), 2).unwrap();
    let shown = first.items.iter().chain(&second.items);
    let shown: Vec<_> = shown.map(|view| format!("{}@{}", view.declaration.name, view.declaration.version)).collect();
    assert_eq!((shown.as_slice(), second.next), (["a@10", "a@2", "b@1"].map(str::to_owned).as_slice(), None));
    assert!(world.machine.registry().agents("other", None, 9).unwrap().items.is_empty());
    assert_eq!(world.machine.registry().agent(NS, "a", "2").unwrap().unwrap().version, "2");
    assert!(world.machine.registry().agent(NS, "a", "3").unwrap().is_none());
    let known = declaration("a", "10", EffectClass::Read);
    assert!(world.machine.registry().knows_agent(NS, &known, false).unwrap());
    assert!(!world.machine.registry().knows_agent(NS, &known, true).unwrap(), "it is not built in");
    assert!(!world.machine.registry().knows_agent("other", &known, false).unwrap());
    world.verify();
}

#[test]
fn the_most_careful_class_of_all_versions_counts() {
    let mut world = World::new();
    for (name, version, effect) in [
        ("a", "1", EffectClass::Write),
        ("a", "2", EffectClass::Read),
        ("ab", "1", EffectClass::Idempotent),
        ("b", "1", EffectClass::Read),
    ] {
        register(&mut world, &declaration(name, version, effect)).unwrap();
    }
    let class = |world: &World, agent| world.machine.registry().capability_effect(NS, "x", agent).unwrap();
    assert_eq!(class(&world, None), EffectClass::Write);
    assert_eq!(class(&world, Some("a")), EffectClass::Write, "an instance of version 1 could take it");
    assert_eq!(class(&world, Some("ab")), EffectClass::Idempotent, "an agent is not one whose name begins like it");
    assert_eq!(class(&world, Some("b")), EffectClass::Read);
    let any = world.machine.registry().capability_effect(NS, "", Some("a")).unwrap();
    assert_eq!(any, EffectClass::Write, "a call of an agent that names no capability may be any of them");
    remove(&mut world, "a", Some("1")).unwrap();
    assert_eq!(class(&world, Some("a")), EffectClass::Read);
    assert_eq!(class(&world, None), EffectClass::Idempotent);
    world.verify();
}

#[test]
fn what_operators_say_outlives_declarations() {
    let mut world = World::new();
    join(&mut world, "a", "1");
    join(&mut world, "a", "2");
    set(&mut world, "a", None, AgentChange::Drain).unwrap();
    set(&mut world, "a", Some("2"), AgentChange::Weight(5)).unwrap();
    set(&mut world, "a", Some("2"), AgentChange::Resume).unwrap();
    assert_eq!(states(&world), ["a@1 100*", "a@2 5"]);
    changes(&mut world);
    set(&mut world, "a", Some("1"), AgentChange::Drain).unwrap();
    assert!(changes(&mut world).is_empty(), "repeating a setting changes nothing");
    register(&mut world, &declaration("a", "1", EffectClass::Write)).unwrap();
    assert_eq!(changes(&mut world), ["a@1 100 true"], "another declaration of the same version");
    join(&mut world, "a", "3");
    assert_eq!(states(&world), ["a@1 100*", "a@2 5", "a@3 100"], "a new version is not drained");
    remove(&mut world, "a", Some("1")).unwrap();
    assert_eq!(changes(&mut world), ["a@3 100 false", "a@1 gone"]);
    join(&mut world, "a", "1");
    assert_eq!(states(&world), ["a@1 100", "a@2 5", "a@3 100"], "removed means forgotten");
    remove(&mut world, "a", None).unwrap();
    assert!(states(&world).is_empty());
    world.verify();
}

#[test]
fn unknown_agents_are_refused_with_what_is_near() {
    let mut world = World::new();
    join(&mut world, "writer", "1");
    join(&mut world, "writer", "2");
    let error = set(&mut world, "writter", None, AgentChange::Drain).unwrap_err();
    assert_eq!((error.code, error.hint.as_deref()), (Code::AgentNotFound, Some("did you mean `writer`?")));
    let error = remove(&mut world, "writer", Some("3")).unwrap_err();
    assert_eq!((error.code, error.hint.as_deref()), (Code::AgentNotFound, Some("it has `2`, `1`")));
    let error = remove(&mut world, "unknown", Some("3")).unwrap_err();
    assert_eq!(error.message, "there is no agent `unknown` in namespace `default`");
    let error = set(&mut world, "writer", Some("1"), AgentChange::Weight(limits::AGENT_WEIGHT_MAX + 1)).unwrap_err();
    assert_eq!(error.code, Code::LimitReached);
    assert_eq!(states(&world), ["writer@1 100", "writer@2 100"]);
    world.verify();
}

#[test]
fn declarations_are_bounded() {
    let mut world = World::new();
    let with = |change: fn(&mut AgentDeclaration)| {
        let mut declared = declaration("a", "1", EffectClass::Read);
        change(&mut declared);
        declared
    };
    for (change, code) in [
        ((|d| d.version = "v".repeat(129)) as fn(&mut AgentDeclaration), Code::LimitReached),
        (|d| d.labels = (0..33).map(|n| (format!("l{n}"), String::new())).collect(), Code::LimitReached),
        (|d| d.labels = [("region".to_owned(), "x".repeat(129))].into(), Code::LimitReached),
        (|d| d.labels = [("not a name".to_owned(), "x".to_owned())].into(), Code::BadName),
        (|d| d.name = "not a name".to_owned(), Code::BadName),
    ] {
        assert_eq!(register(&mut world, &with(change)).unwrap_err().code, code);
    }
    register(&mut world, &with(|d| d.labels = (0..32).map(|n| (format!("l{n}"), "x".to_owned())).collect())).unwrap();
    for version in 2..=limits::AGENT_VERSIONS_MAX {
        join(&mut world, "a", &version.to_string());
    }
    let error = register(&mut world, &declaration("a", "one more", EffectClass::Read)).unwrap_err();
    assert_eq!(error.code, Code::LimitReached);
    join(&mut world, "b", "1");
    remove(&mut world, "a", Some("7")).unwrap();
    join(&mut world, "a", "one more");
    assert_eq!(world.machine.registry().agent_states().unwrap().len(), limits::AGENT_VERSIONS_MAX + 1, "page by page");
    assert_eq!(world.machine.registry().capability_effect(NS, "x", Some("b")).unwrap(), EffectClass::Read);
}

#[test]
fn limits_are_set_changed_and_removed() {
    let mut world = World::new();
    let key = LimitScope::Key("tenant 7:x".to_owned());
    let two = TaskLimit { concurrency: Some(2), ..TaskLimit::default() };
    let rate = Some(Rate { tasks: 10, per: Span::from_secs(1), burst: 1 });
    let slow = TaskLimit { rate, ..TaskLimit::default() };
    let short = TaskLimit { queue: Some(0), ..slow };
    limit(&mut world, &LimitScope::Namespace, two).unwrap();
    limit(&mut world, &key, slow).unwrap();
    limit(&mut world, &key, slow).unwrap();
    limit(&mut world, &LimitScope::Agent("a".to_owned()), slow).unwrap();
    limit(&mut world, &LimitScope::Namespace, short).unwrap();
    for scope in [LimitScope::Agent("a".to_owned()), key.clone()] {
        let refused = limit(&mut world, &scope, short).unwrap_err();
        assert!(refused.code == Code::BadRequest && refused.message.contains("waiting tasks"), "{refused}");
    }
    limit(&mut world, &LimitScope::Agent("a".to_owned()), TaskLimit::default()).unwrap();
    let gone = limit(&mut world, &LimitScope::Capability("x".to_owned()), TaskLimit::default()).unwrap_err();
    assert_eq!(gone.code, Code::QuotaNotFound, "only a limit that is set is removed");
    let told = world.effects.iter().filter_map(|effect| match effect {
        Effect::LimitChanged { scope, limit, .. } => Some((scope.to_string(), *limit)),
        _ => None,
    });
    let none = TaskLimit::default();
    let expected =
        [("namespace", two), ("key:tenant 7:x", slow), ("agent:a", slow), ("namespace", short), ("agent:a", none)];
    assert_eq!(told.collect::<Vec<_>>(), expected.map(|(scope, limit)| (scope.to_owned(), limit)));
    let known = world.machine.registry().limits().unwrap();
    assert_eq!(known, [(NS.to_owned(), key, slow), (NS.to_owned(), LimitScope::Namespace, short)]);
    world.verify();
}

#[test]
fn limits_that_mean_nothing_are_refused() {
    let mut world = World::new();
    let two = TaskLimit { concurrency: Some(2), ..TaskLimit::default() };
    let rate = |tasks, per, burst| TaskLimit { rate: Some(Rate { tasks, per: Span(per), burst }), ..two };
    for (scope, said, code) in [
        (LimitScope::Agent("a b".to_owned()), two, Code::BadName),
        (LimitScope::Capability(String::new()), two, Code::BadName),
        (LimitScope::Key(String::new()), two, Code::LimitReached),
        (LimitScope::Key("k".repeat(257)), two, Code::LimitReached),
        (LimitScope::Namespace, rate(0, 1, 1), Code::BadRequest),
        (LimitScope::Namespace, rate(1, 0, 1), Code::BadRequest),
        (LimitScope::Namespace, rate(1, 1, 0), Code::BadRequest),
    ] {
        assert_eq!(limit(&mut world, &scope, said).unwrap_err().code, code, "{scope}");
    }
    for n in 0..limits::TASK_LIMITS_MAX {
        limit(&mut world, &LimitScope::Key(n.to_string()), two).unwrap();
    }
    assert_eq!(limit(&mut world, &LimitScope::Namespace, two).unwrap_err().code, Code::LimitReached);
    limit(&mut world, &LimitScope::Key("7".to_owned()), rate(1, 1, 1)).unwrap();
    limit(&mut world, &LimitScope::Key("7".to_owned()), TaskLimit::default()).unwrap();
    limit(&mut world, &LimitScope::Namespace, two).unwrap();
    assert_eq!(world.machine.registry().limits().unwrap().len(), limits::TASK_LIMITS_MAX);
}

#[test]
fn the_name_of_a_built_in_agent_is_reserved_until_it_is_removed() {
    let mut world = World::new();
    let apply = |world: &mut World, version: &str, locality| {
        let declared = declaration("a", version, EffectClass::Read);
        world.apply(&Command::RegisterAgent(RegisterAgent::new(NS, &declared, locality)))
    };
    apply(&mut world, "1", Locality::Local).unwrap();
    for version in ["1", "2"] {
        let error = apply(&mut world, version, Locality::Remote).unwrap_err();
        assert!(error.code == Code::AgentReserved && error.hint.is_some(), "{error:?}");
    }
    assert!(
        world.machine.registry().is_built_in(NS, "a").unwrap()
            && !world.machine.registry().is_built_in("other", "a").unwrap()
    );
    let elsewhere = RegisterAgent::new("other", &declaration("a", "1", EffectClass::Read), Locality::Remote);
    world.apply(&Command::RegisterAgent(elsewhere)).unwrap();
    remove(&mut world, "a", None).unwrap();
    apply(&mut world, "1", Locality::Remote).unwrap();
    // A server that has it built in again takes the name over.
    apply(&mut world, "1", Locality::Local).unwrap();
    assert_eq!(apply(&mut world, "1", Locality::Remote).unwrap_err().code, Code::AgentReserved);
    world.verify();
}

#[test]
fn a_capability_is_declared_once() {
    let mut world = World::new();
    let mut twice = declaration("a", "1", EffectClass::Read);
    twice.capabilities.push(twice.capabilities[0].clone());
    let error = register(&mut world, &twice).unwrap_err();
    assert!(error.code == Code::BadRequest && error.message.contains("twice"), "{error}");
}

#[test]
fn what_a_namespace_holds_is_counted() {
    let mut world = World::new();
    assert!(
        world.machine.namespaces(None, 9).unwrap().items.is_empty(),
        "a namespace is listed while it holds something"
    );
    world.deploy("workflow: w\nsteps:\n  a: { capability: x }\noutput: ${{ steps.a.output }}\n");
    world.deploy("workflow: w\nsteps:\n  b: { capability: x }\noutput: 12\n");
    for (name, version) in [("b", "1"), ("a", "2"), ("a", "10"), ("a", "2")] {
        join(&mut world, name, version);
    }
    world.start("w", r#"{"n":1}"#, None).unwrap();
    let ended = world.start("w", "{}", None).unwrap();
    world.complete("2:b", "\"done\"");
    let of = |world: &mut World| {
        let found = world.machine.namespaces(None, 9).unwrap().items.pop().unwrap();
        assert_eq!(found.name, NS);
        (found.runs, found.runs_active, found.agents, found.workflows, found.bytes)
    };
    assert_eq!(of(&mut world), (2, 1, 3, 1, 7 + 2 + 2), "bytes of two inputs and an output");
    remove(&mut world, "a", None).unwrap();
    world.apply(&Command::DeleteRun(DeleteRun { namespace: NS.to_owned(), run: ended })).unwrap();
    assert_eq!(of(&mut world), (1, 1, 1, 1, 7));
    world
        .apply(&Command::SetRetention(SetRetention { namespace: "b".into(), keep: Some(Span::from_secs(9)) }))
        .unwrap();
    let first = world.machine.namespaces(None, 1).unwrap();
    let second = world.machine.namespaces(first.next.as_deref(), 1).unwrap();
    let shown: Vec<_> = first.items.iter().chain(&second.items).map(|found| (&*found.name, found.retention)).collect();
    assert_eq!((shown.as_slice(), second.next), ([("b", Some(Span::from_secs(9))), (NS, None)].as_slice(), None));
    world.verify();
}
