//! The life of workflows: deployed, brought by a start, rolled back, retired, deleted.
//!
//! For: what a name takes, and how long a content is kept, through the public interface of the machine. Not for: how
//! runs proceed.
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, Reply, TABLES,
    command::{CancelRun, DeleteRun, DeleteWorkflow, Deploy, ReplacedRevision, RetireWorkflow, StartRun},
    rows::{DefinitionUse, Meta},
};
use consort_types::{Code, Error, Payload, Result, RunId, limits};
use consort_workflow::CompiledWorkflow;
use support::{NS, World};

const ONE: &str = "workflow: w\nversion: '1'\nsteps:\n  a: { capability: x }\n";
const TWO: &str = "workflow: w\nversion: '2'\nsteps:\n  b: { capability: x }\n";
const PARENT: &str = "workflow: p\nsteps:\n  a: { capability: x }\n  c: { workflow: w, needs: [a] }\n";

fn compiled(source: &str) -> CompiledWorkflow {
    consort_workflow_check::check(source).unwrap().compiled
}

fn deploy(world: &mut World, source: &str) -> (u32, bool, Option<ReplacedRevision>) {
    let deploy = Deploy { namespace: NS.to_owned(), workflow: compiled(source) };
    match world.apply(&Command::Deploy(deploy)).unwrap() {
        Reply::Deployed { revision, new, replaced, .. } => (revision, new, replaced),
        other => panic!("{other:?}"),
    }
}

/// Starts a run of workflows that come with the start.
fn bring(world: &mut World, workflow: &str, sources: &[&str]) -> Result<RunId> {
    let id = RunId([1 + world.runs.len() as u8; 16]);
    let definitions = sources.iter().map(|source| compiled(source)).collect();
    let start = StartRun { definitions, ..StartRun::requested(id, NS, workflow, Payload::inline(&b"{}"[..])) };
    let start = world.machine.prepare_start(start, None)?;
    world.apply(&Command::StartRun(start))?;
    world.runs.push(id);
    Ok(id)
}

fn roll_back(world: &mut World, to: Option<&str>) -> Result<(u32, Option<u32>)> {
    let command = world.machine.deployments().roll_back(NS, "w", to)?;
    match world.apply(&Command::RollBack(command))? {
        Reply::Deployed { revision, new: false, replaced, .. } => {
            Ok((revision, replaced.map(|replaced| replaced.revision)))
        }
        other => panic!("{other:?}"),
    }
}

fn retire(world: &mut World, name: &str) -> Result<Reply> {
    let (namespace, name) = (NS.to_owned(), name.to_owned());
    world.apply(&Command::RetireWorkflow(RetireWorkflow { namespace, name }))
}

fn delete(world: &mut World, name: &str) -> Result<Reply> {
    let (namespace, name) = (NS.to_owned(), name.to_owned());
    world.apply(&Command::DeleteWorkflow(DeleteWorkflow { namespace, name }))
}

/// The text that a start by name would run.
fn taken(world: &mut World, name: &str) -> String {
    world.machine.workflow_source(NS, name, None).unwrap()
}

/// How many contents are kept, and how many counts of their uses.
fn kept(world: &mut World) -> (usize, usize) {
    let rows = world.rows();
    let count = |table: consort_core::TableSpec| rows.keys().filter(|key| table.has(key)).count();
    (count(TABLES.workflows), count(TABLES.definitions))
}

fn refused<T: std::fmt::Debug>(outcome: Result<T>, code: Code) -> Error {
    let error = outcome.unwrap_err();
    assert_eq!(error.code, code, "{error}");
    error
}

#[test]
fn a_run_of_a_file_leaves_what_its_name_takes() {
    let mut world = World::new();
    deploy(&mut world, ONE);
    bring(&mut world, "w", &[TWO]).unwrap();
    assert_eq!(taken(&mut world, "w"), ONE);
    world.start("w", "{}", None).unwrap();
    world.complete("1:b", "1");
    world.complete("2:a", "1");
    assert_eq!(world.show(), "run completed {\"b\":1}\n  b completed\nrun completed {\"a\":1}\n  a completed\n");
    let listed = world.machine.workflows(NS, None, 10).unwrap().items;
    assert_eq!((listed.len(), listed[0].revision, listed[0].newest), (1, 1, 1));
    assert_eq!(world.machine.deployments().revisions(NS, "w", None, 10).unwrap().items.len(), 1);
    world.verify();
}

#[test]
fn a_file_is_kept_as_long_as_a_run_needs_it() {
    let mut world = World::new();
    let run = bring(&mut world, "w", &[ONE]).unwrap();
    refused(world.start("w", "{}", None), Code::WorkflowNotFound);
    world.refusals.clear();
    world.complete("a", "1");
    assert_eq!(kept(&mut world), (1, 1));
    assert_eq!(world.machine.run_source(NS, run).unwrap(), ONE);
    // A fork has the same content, and outlives the run that it was made from.
    let fork = world.fork(0, Some("a"), None).unwrap();
    world.complete("2:a", "2");
    for (run, left) in [(run, 1), (fork, 0)] {
        world.apply(&Command::DeleteRun(DeleteRun { namespace: NS.to_owned(), run })).unwrap();
        world.go_on();
        assert_eq!(kept(&mut world), (left, left), "{run}");
    }
    world.verify();
}

#[test]
fn what_comes_with_a_start_is_what_its_names_mean() {
    let mut world = World::new();
    deploy(&mut world, ONE);
    bring(&mut world, "p", &[PARENT, TWO]).unwrap();
    bring(&mut world, "p", &[PARENT]).unwrap();
    for run in ["1", "2"] {
        world.complete(&format!("{run}:a"), "1");
    }
    assert_eq!(world.machine.run_source(NS, world.runs[0]).unwrap(), PARENT);
    // The child that came with the run, and the one that is deployed.
    let children: Vec<_> = world.ready.keys().copied().collect();
    let mut sources: Vec<_> = children.iter().map(|task| world.machine.run_source(NS, task.run).unwrap()).collect();
    sources.sort();
    assert_eq!(sources, [ONE, TWO]);
    // A fork takes over what came with the first start.
    for (task, token) in world.ready.clone() {
        world.report(task, token, "1").unwrap();
    }
    world.fork(0, Some("c"), None).unwrap();
    let child = *world.ready.keys().next().unwrap();
    assert_eq!(world.machine.run_source(NS, child.run).unwrap(), TWO);
    world.verify();
}

#[test]
fn a_workflow_that_starts_itself_starts_the_text_that_came() {
    let source = "workflow: w\ninput: { n: { type: integer, default: 1 } }\nsteps:\n  a: { workflow: w, if: '${{ input.n > 0 }}', with: { n: 0 } }\n  b: { capability: x, needs: [a], if: '${{ always() }}' }\n";
    let mut world = World::new();
    deploy(&mut world, ONE);
    let run = bring(&mut world, "w", &[source]).unwrap();
    let (task, token) = world.ready.iter().next().map(|(task, token)| (*task, *token)).unwrap();
    assert_ne!(task.run, run);
    assert_eq!(world.machine.run_source(NS, task.run).unwrap(), source);
    world.report(task, token, "1").unwrap();
    world.complete("1:b", "2");
    assert!(world.show().starts_with("run completed"));
    world.verify();
}

#[test]
fn a_start_must_bring_the_workflow_that_it_names_and_each_once() {
    let mut world = World::new();
    let start = |definitions: &[&str], hash_of: &str| {
        let definitions: Vec<_> = definitions.iter().map(|source| compiled(source)).collect();
        let hash = compiled(hash_of).hash();
        let requested = StartRun::requested(RunId([9; 16]), NS, "w", Payload::inline(&b"{}"[..]));
        Command::StartRun(StartRun { definitions, hash, ..requested })
    };
    for (definitions, hash_of) in [(&[PARENT, ONE][..], PARENT), (&[ONE], TWO), (&[ONE, TWO], ONE)] {
        refused(world.apply(&start(definitions, hash_of)), Code::BadRequest);
    }
    let many = vec![ONE; limits::START_DEFINITIONS_MAX + 1];
    let error = refused(world.apply(&start(&many, ONE)), Code::LimitReached);
    assert!(error.message.contains("65") && error.message.contains("64"), "{error}");
    assert_eq!(kept(&mut world), (0, 0));
    world.refusals.clear();
    world.verify();
}

#[test]
fn a_deployment_says_what_it_replaces_and_a_rollback_too() {
    let mut world = World::new();
    assert_eq!(deploy(&mut world, ONE), (1, true, None));
    let (revision, new, replaced) = deploy(&mut world, TWO);
    let replaced = replaced.unwrap();
    assert_eq!((revision, new), (2, true));
    assert_eq!((replaced.revision, replaced.hash), (1, compiled(ONE).hash()));
    assert_eq!((replaced.version.as_deref(), replaced.deployed < world.machine.now()), (Some("1"), true));
    assert_eq!(deploy(&mut world, TWO), (2, false, None));

    assert_eq!(roll_back(&mut world, None).unwrap(), (1, Some(2)));
    assert_eq!(taken(&mut world, "w"), ONE);
    assert_eq!(roll_back(&mut world, Some("1")).unwrap(), (1, None), "it is current already");
    let listed = world.machine.workflows(NS, None, 10).unwrap().items.remove(0);
    assert_eq!((listed.revision, listed.newest), (1, 2));
    let error = refused(roll_back(&mut world, None), Code::WorkflowNotFound);
    assert_eq!(error.message, "workflow `w` has no revision before `1`");
    world.start("w", "{}", None).unwrap();
    assert_eq!(world.machine.run_source(NS, world.runs[0]).unwrap(), ONE);
    // What is deployed next is a revision of its own, and any of them can be named.
    let hash = compiled(TWO).hash().to_string();
    assert_eq!(roll_back(&mut world, Some(&hash[..8])).unwrap(), (2, Some(1)));
    assert_eq!(roll_back(&mut world, Some("1")).unwrap(), (1, Some(2)));
    let (revision, _, replaced) = deploy(&mut world, &ONE.replace("a:", "z:"));
    assert_eq!((revision, replaced.unwrap().revision), (3, 1));
    refused(roll_back(&mut world, Some("7")), Code::WorkflowNotFound);
    refused(roll_back(&mut world, Some(&hash[..7])), Code::WorkflowNotFound);
    world.complete("1:a", "1");
    world.verify();
}

#[test]
fn the_revisions_are_listed_with_the_runs_that_use_them() {
    let mut world = World::new();
    deploy(&mut world, ONE);
    world.start("w", "{}", None).unwrap();
    world.start("w", "{}", None).unwrap();
    deploy(&mut world, TWO);
    bring(&mut world, "w", &[TWO]).unwrap();
    world.complete("2:a", "1");
    roll_back(&mut world, None).unwrap();
    let first = world.machine.deployments().revisions(NS, "w", None, 1).unwrap();
    let cursor = first.next.as_deref().map(|cursor| cursor.parse().unwrap());
    let second = world.machine.deployments().revisions(NS, "w", cursor, 1).unwrap();
    assert_eq!(second.next, None);
    let shown: Vec<_> = first.items.iter().chain(&second.items).collect();
    let shown: Vec<_> = shown.iter().map(|row| (row.revision, row.current, row.runs_active)).collect();
    assert_eq!(shown, [(2, false, 1), (1, true, 1)], "newest first");
    refused(world.machine.deployments().revisions(NS, "v", None, 1), Code::WorkflowNotFound);
    world.complete("1:a", "1");
    world.complete("3:b", "1");
    world.verify();
}

#[test]
fn a_retired_workflow_takes_no_starts_and_what_is_in_flight_goes_on() {
    let mut world = World::new();
    deploy(&mut world, ONE);
    deploy(&mut world, PARENT);
    world.start("w", "{}", None).unwrap();
    world.start("p", "{}", None).unwrap();
    let logged =
        world.machine.prepare_start(StartRun::requested(RunId([9; 16]), NS, "w", Payload::inline(&b"{}"[..])), None);
    retire(&mut world, "w").unwrap();
    retire(&mut world, "w").unwrap();
    let error = refused(world.start("w", "{}", None), Code::WorkflowRetired);
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("consort workflows deploy")), "{error}");
    // Also a start that was accepted before the retirement, and is recorded after it.
    refused(world.apply(&Command::StartRun(logged.unwrap())), Code::WorkflowRetired);
    refused(roll_back(&mut world, Some("1")), Code::WorkflowRetired);
    // A later run cannot start it; an earlier one can.
    world.start("p", "{}", None).unwrap();
    world.complete("3:a", "1");
    world.complete("2:a", "1");
    world.complete("1:a", "1");
    let (task, token) = world.ready.iter().next().map(|(task, token)| (*task, *token)).unwrap();
    world.report(task, token, "1").unwrap();
    let shown = world.show();
    assert!(shown.contains("run completed {\"a\":1}"), "{shown}");
    assert!(shown.contains("run failed C0107"), "{shown}");
    assert!(world.machine.workflows(NS, None, 10).unwrap().items[1].retired.is_some());
    // The same text deployed again ends the retirement, and makes no revision.
    assert_eq!(deploy(&mut world, ONE), (1, false, None));
    world.start("w", "{}", None).unwrap();
    world.complete("4:a", "1");
    world.refusals.clear();
    world.verify();
}

#[test]
fn only_a_retired_workflow_without_active_runs_is_deleted() {
    let mut world = World::new();
    deploy(&mut world, ONE);
    world.start("w", "{}", None).unwrap();
    deploy(&mut world, TWO);
    let error = refused(delete(&mut world, "w"), Code::WorkflowInUse);
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("consort workflows retire w")), "{error}");
    retire(&mut world, "w").unwrap();
    let error = refused(delete(&mut world, "w"), Code::WorkflowInUse);
    assert_eq!(error.message, "runs of workflow `w` have not ended: `1` of revision `1`");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("runs list --workflow w")), "{error}");
    let run = world.runs[0];
    let cancel = CancelRun { namespace: NS.to_owned(), run, reason: "test".to_owned(), force: false };
    world.apply(&Command::CancelRun(cancel)).unwrap();
    delete(&mut world, "w").unwrap();
    refused(world.machine.deployments().revisions(NS, "w", None, 1), Code::WorkflowNotFound);
    refused(delete(&mut world, "w"), Code::WorkflowNotFound);
    assert_eq!(world.machine.run_source(NS, run).unwrap(), ONE, "the ended run keeps its own");
    assert_eq!(kept(&mut world), (1, 1));
    assert_eq!(world.machine.namespaces(None, 10).unwrap().items[0].workflows, 0);
    // Deployed again, it begins again.
    assert_eq!(deploy(&mut world, TWO), (1, true, None));
    world.refusals.clear();
    world.verify();
}

#[test]
fn a_folder_of_before_counts_what_uses_its_workflows() {
    let mut world = World::new();
    deploy(&mut world, ONE);
    world.start("w", "{}", None).unwrap();
    world.start("w", "{}", None).unwrap();
    world.complete("1:a", "1");
    let rows = world.rows();
    let uses = rows.iter().find(|(key, _)| TABLES.definitions.has(key)).unwrap();
    let uses: DefinitionUse = minicbor::decode(uses.1).unwrap();
    assert_eq!(uses, DefinitionUse { revisions: 1, runs: 2, active: 1 });
    world.reopen_with(|rows| {
        rows.retain(|key, _| !TABLES.definitions.has(key));
        let meta = rows.iter_mut().find(|(key, _)| TABLES.meta.has(key)).unwrap().1;
        let before: Meta = minicbor::decode(meta).unwrap();
        *meta = minicbor::to_vec(Meta { definitions_counted: false, ..before }).unwrap();
    });
    assert!(world.rows() == rows, "the same rows as with the counting in place from the beginning");
    world.complete("2:a", "1");
    world.verify();
}

#[test]
fn records_and_rows_of_before_are_read() {
    // A start by name, as it was recorded when none could bring its workflow: an array of twelve.
    let mut start = StartRun::requested(RunId([1; 16]), NS, "w", Payload::inline(&b"{}"[..]));
    start.revision = 1;
    let bytes = Command::StartRun(start.clone()).encode();
    let at = bytes.iter().position(|byte| *byte == 0x8d).unwrap();
    let mut old = bytes[..bytes.len() - 1].to_vec();
    old[at] = 0x8c;
    assert_eq!(bytes.last(), Some(&0x80), "no definitions");
    assert_eq!(Command::decode(&old).unwrap(), Command::StartRun(start));
}
