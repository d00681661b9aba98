//! Steps under a lock, and steps that read shared state before they begin.
//!
//! For: `with_lock` (one holder at a time, runs and programs in one queue, the end of a claim) and `reads`. Not for: locks
//! and shared state themselves (see `locks` and `state`).
//! Invariant: every test ends with the checks of `World::verify`.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, Reply,
    command::{AcquireLock, BreakLock, LockClaim, ReleaseLock, Transact},
    view::{Coordination, RunStatus},
};
use consort_types::{
    Code, EffectClass, Error, Payload, Result, Span, Token, limits,
    state::{Action, Fence, Operation, Transaction, Writer},
};
use serde_json::{Value, json};
use support::{NS, World, check};

const DEPLOY: &str = "workflow: w
input: { n: integer }
steps:
  deploy:
    with_lock: deploy
    capability: deploy
    with: { n: '${{ input.n }}', token: '${{ lock.token }}', lock: '${{ lock.name }}' }
    retry: { attempts: 2 }
";

fn world(flow: &str, runs: usize) -> World {
    let mut world = World::new();
    world.deploy(flow);
    for n in 1..=runs {
        world.start("w", &format!(r#"{{"n":{n}}}"#), None).unwrap();
    }
    world
}

fn acquire(world: &mut World, holder: &str) -> Result<LockClaim> {
    let (namespace, name, holder) = (NS.to_owned(), "deploy".to_owned(), holder.to_owned());
    let (ttl, wait) = (Span::from_secs(600), Span::from_secs(600));
    match world.apply(&Command::AcquireLock(AcquireLock {
        namespace,
        name,
        holder,
        permits: 1,
        ttl,
        wait,
        value: None,
    }))? {
        Reply::Lock(claim) => Ok(claim),
        other => panic!("{other:?}"),
    }
}

fn release(world: &mut World, holder: &str) -> Result<Reply> {
    let (namespace, name, holder) = (NS.to_owned(), "deploy".to_owned(), holder.to_owned());
    world.apply(&Command::ReleaseLock(ReleaseLock { namespace, name, holder, token: None }))
}

fn break_lock(world: &mut World, holder: Option<String>) {
    let (by, reason) = ("ann".to_owned(), "it hangs".to_owned());
    let command = BreakLock { namespace: NS.to_owned(), name: "deploy".to_owned(), holder, by, reason };
    world.apply(&Command::BreakLock(command)).unwrap();
}

/// How many hold the lock, and how many wait.
fn claims(world: &mut World) -> (u32, u32) {
    let lock = Coordination::of(&mut world.machine).lock(NS, "deploy").unwrap();
    (lock.held, lock.waiting)
}

fn states(world: &mut World, path: &str, runs: usize) -> Vec<&'static str> {
    (0..runs).map(|run| world.task_state(run, path)).collect()
}

fn run_error(world: &mut World, run: usize) -> Error {
    world.machine.run_view(NS, world.runs[run]).unwrap().summary.error.expect("the run has an error")
}

fn status(world: &mut World, run: usize) -> RunStatus {
    world.machine.run_view(NS, world.runs[run]).unwrap().summary.status
}

fn input(world: &mut World, path: &str) -> Value {
    let (task, _) = world.find(path);
    let input = world.machine.offer(task).unwrap().unwrap().input;
    serde_json::from_slice(input.bytes().unwrap()).unwrap()
}

#[test]
fn one_step_at_a_time_holds_the_lock_in_the_order_of_the_queue() {
    let mut world = world(DEPLOY, 3);
    assert_eq!(states(&mut world, "deploy", 3), ["queued", "waiting", "waiting"]);
    let tree = world.machine.run_tree(NS, world.runs[1]).unwrap();
    let shown = &tree[0].waits_for[0];
    assert_eq!((shown.kind, shown.name.as_deref()), ("lock", Some("deploy")));
    let lock = Coordination::of(&mut world.machine).lock(NS, "deploy").unwrap();
    let holder = &lock.holders[0];
    assert_eq!(
        (holder.holder.as_str(), holder.value.as_deref()),
        (&*format!("step:{}", world.task(0, "deploy")), Some("w/deploy"))
    );
    let first = input(&mut world, "1:deploy");
    assert_eq!((&first["n"], &first["lock"]), (&json!(1), &json!("deploy")));
    world.reopen();
    // The lock is held through the attempts of a step.
    world.taken("1:deploy", EffectClass::Idempotent);
    world.fail("1:deploy", true);
    assert_eq!(states(&mut world, "deploy", 3), ["backoff", "waiting", "waiting"]);
    world.tick(Span::from_secs(5));
    world.complete("1:deploy", "null");
    assert_eq!(states(&mut world, "deploy", 3), ["completed", "queued", "waiting"]);
    let second = input(&mut world, "2:deploy");
    assert!(second["token"].as_u64() > first["token"].as_u64(), "{first} {second}");
    world.fail("2:deploy", false);
    world.complete("3:deploy", "null");
    assert_eq!(states(&mut world, "deploy", 3), ["completed", "failed", "completed"]);
    assert_eq!(claims(&mut world), (0, 0));
    world.verify();
}

#[test]
fn runs_and_programs_wait_in_one_queue() {
    let mut world = world(DEPLOY, 0);
    assert!(matches!(acquire(&mut world, "program").unwrap(), LockClaim::Held { .. }));
    world.start("w", r#"{"n":1}"#, None).unwrap();
    assert!(matches!(acquire(&mut world, "other").unwrap(), LockClaim::Waiting { .. }));
    assert_eq!(world.task_state(0, "deploy"), "waiting");
    release(&mut world, "program").unwrap();
    assert_eq!((world.task_state(0, "deploy"), claims(&mut world)), ("queued", (1, 1)));
    world.complete("deploy", "null");
    assert_eq!(claims(&mut world), (1, 0));
    world.verify();
}

#[test]
fn a_claim_is_kept_for_as_long_as_its_step_is_active() {
    let mut world = world(DEPLOY, 2);
    for _ in 0..5 {
        world.tick(Span::from_secs(limits::STEP_LOCK_RENEWAL_SECONDS));
        assert_eq!((states(&mut world, "deploy", 2), claims(&mut world)), (vec!["queued", "waiting"], (1, 1)));
    }
    world.complete("1:deploy", "null");
    world.complete("2:deploy", "null");
    assert_eq!(claims(&mut world), (0, 0));
    world.verify();
}

#[test]
fn a_step_whose_run_is_cancelled_leaves_the_lock_and_the_queue() {
    let mut world = world(DEPLOY, 3);
    let cancel = |world: &mut World, run: usize| {
        let run = world.runs[run];
        let (namespace, reason) = (NS.to_owned(), "test".to_owned());
        world
            .apply(&Command::CancelRun(consort_core::command::CancelRun { namespace, run, reason, force: false }))
            .unwrap();
    };
    cancel(&mut world, 1);
    assert_eq!(claims(&mut world), (1, 1));
    cancel(&mut world, 0);
    assert_eq!(states(&mut world, "deploy", 3), ["cancelled", "cancelled", "queued"]);
    assert_eq!(claims(&mut world), (1, 0));
    cancel(&mut world, 2);
    assert_eq!(claims(&mut world), (0, 0));
    world.verify();
}

#[test]
fn a_wait_for_a_lock_is_limited_by_its_own_time_and_by_the_deadline() {
    let flow = DEPLOY.replace("with_lock: deploy", "with_lock: { name: deploy, wait: 10m }");
    let mut world = world(&flow, 2);
    world.tick(Span::from_secs(600));
    let error = run_error(&mut world, 1);
    assert!(error.code == Code::LockHeld && error.message.contains("`deploy` within its `wait`"), "{error}");
    assert_eq!(claims(&mut world), (1, 0));
    world.verify();
    let mut world = self::world(&flow.replace("capability: deploy", "deadline: 1m\n    capability: deploy"), 2);
    world.tick(Span::from_secs(60));
    assert_eq!(
        (run_error(&mut world, 0).code, run_error(&mut world, 1).code),
        (Code::DeadlinePassed, Code::DeadlinePassed)
    );
    assert_eq!(claims(&mut world), (0, 0));
    world.verify();
}

#[test]
fn a_group_holds_its_lock_until_all_below_it_has_ended() {
    let flow = "workflow: w
input: { n: integer }
steps:
  all:
    with_lock: { name: 'deploy', permits: 2 }
    steps:
      each: { for_each: [1, 2], capability: work, with: { item: '${{ item }}', token: '${{ lock.token }}' } }
      last: { wait: 1s, needs: each }
";
    let mut world = world(flow, 3);
    assert_eq!(states(&mut world, "all", 3), ["running", "running", "waiting"]);
    let token = input(&mut world, "1:all/each[1]")["token"].clone();
    assert_eq!(token, input(&mut world, "1:all/each[0]")["token"]);
    for item in 0..2 {
        world.complete(&format!("1:all/each[{item}]"), "null");
    }
    assert_eq!(claims(&mut world), (2, 1));
    world.tick(Span::from_secs(1));
    assert_eq!(status(&mut world, 0), RunStatus::Completed);
    assert_eq!((claims(&mut world), world.task_state(2, "all")), ((2, 0), "running"));
    world.verify();
}

#[test]
fn no_program_can_act_for_a_step_and_an_operator_can_end_its_claim() {
    let mut world = world(DEPLOY, 3);
    let holder = |world: &mut World, run: usize| format!("step:{}", world.task(run, "deploy"));
    let first = holder(&mut world, 0);
    assert_eq!(acquire(&mut world, &first).unwrap_err().code, Code::BadRequest);
    assert_eq!(release(&mut world, &first).unwrap_err().code, Code::BadRequest);
    // The place in the queue is taken from the second, and the permit from the first.
    let second = holder(&mut world, 1);
    break_lock(&mut world, Some(second));
    assert_eq!((run_error(&mut world, 1).code, claims(&mut world)), (Code::LeaseLost, (1, 1)));
    let token = Token(input(&mut world, "1:deploy")["token"].as_u64().unwrap());
    break_lock(&mut world, None);
    assert_eq!(states(&mut world, "deploy", 3), ["queued", "failed", "queued"]);
    // What the first writes under its token is refused, and its end takes nothing from the next.
    let put = Action::Put { value: Payload::null(), saw: None, ttl: None, stamp: None, base: None };
    let then = vec![Operation { space: "s".to_owned(), key: "k".to_owned(), action: put }];
    let fences = vec![Fence { lock: "deploy".to_owned(), token }];
    let transaction = Transaction { then, fences, ..Transaction::default() };
    let write = Transact { namespace: NS.to_owned(), transaction, by: Writer::default() };
    assert_eq!(world.apply(&Command::Transact(write)).unwrap_err().code, Code::LeaseLost);
    world.complete("1:deploy", "null");
    assert_eq!(claims(&mut world), (1, 0));
    world.complete("3:deploy", "null");
    world.verify();
}

#[test]
fn a_lock_that_cannot_be_acquired_fails_the_step() {
    let flow = "workflow: w
input: { n: integer }
steps:
  a: { with_lock: 'no lock ${{ input.n }}', capability: c, continue_on_error: true }
  b: { with_lock: { name: deploy, permits: 3 }, capability: c }
";
    let mut world = world(flow, 0);
    acquire(&mut world, "program").unwrap();
    world.start("w", r#"{"n":1}"#, None).unwrap();
    assert_eq!(run_error(&mut world, 0).code, Code::LockPermits);
    let page = world.machine.steps(NS, world.runs[0], None, 10).unwrap();
    let error = page.items[0].error.clone().unwrap();
    assert!(error.code == Code::BadName && error.message.starts_with("in `with_lock`: "), "{error}");
    world.verify();
}

#[test]
fn locks_work_the_same_however_little_a_record_does() {
    let flow = "workflow: w
input: { n: { type: integer, default: 0 } }
steps:
  a: { with_lock: one, steps: { x: { capability: c }, y: { wait: 1s, needs: x } } }
  b: { with_lock: one, capability: c, for_each: [1, 2] }
  c: { with_lock: one, publish: { type: t }, if: '${{ always() }}', needs: [a, b] }
  d: { with_lock: one, wait: 2s }
output: ${{ [steps.a.output, steps.b.output, steps.c.status, steps.d.status] }}
";
    check(
        flow,
        &["start", "done a/x", "tick 1s", "done b[0]", "done b[1]", "tick 2s"],
        "
        run completed [{\"x\":null,\"y\":null},[null,null],\"completed\",\"completed\"]
          a completed
          b completed
          c completed
          d completed
          a/x completed
          a/y completed
          b[0] completed
          b[1] completed
        ",
    );
}

const READS: &str = "workflow: w
input: { team: string }
steps:
  first: { capability: first }
  spend:
    needs: first
    reads:
      budget: { space: budgets, key: 'team/${{ input.team }}' }
      other: { space: budgets, key: nothing }
    if: ${{ reads.other.value == null }}
    steps:
      work: { capability: spend, with: { all: '${{ reads }}' }, retry: { attempts: 3 } }
output: ${{ steps.spend.output }}
";

fn put(world: &mut World, key: &str, value: &str) {
    let action =
        Action::Put { value: Payload::inline(value.as_bytes()), saw: None, ttl: None, stamp: None, base: None };
    let transaction = Transaction::single(Operation { space: "budgets".to_owned(), key: key.to_owned(), action });
    let write = Transact { namespace: NS.to_owned(), transaction, by: Writer::default() };
    world.apply(&Command::Transact(write)).unwrap();
}

#[test]
fn what_a_step_reads_is_recorded_before_its_condition() {
    let mut world = World::new();
    world.deploy(READS);
    put(&mut world, "team/a", "10");
    let version = world.machine.applied().0;
    world.start("w", r#"{"team":"a"}"#, None).unwrap();
    world.complete("first", "null");
    let expected = json!({"budget": {"value": 10, "version": version}, "other": {"value": null, "version": 0}});
    assert_eq!(input(&mut world, "spend/work"), json!({"all": expected}));
    // Another value, another attempt, another process: the step sees what it has read.
    put(&mut world, "team/a", "20");
    put(&mut world, "nothing", "1");
    world.taken("spend/work", EffectClass::Idempotent);
    world.fail("spend/work", true);
    world.reopen();
    world.tick(Span::from_secs(5));
    assert_eq!(input(&mut world, "spend/work"), json!({"all": expected}));
    world.complete("spend/work", "null");
    assert_eq!(status(&mut world, 0), RunStatus::Completed);
    // A later run sees what is there then.
    world.start("w", r#"{"team":"a"}"#, None).unwrap();
    world.complete("first", "null");
    assert_eq!(world.task_state(1, "spend"), "skipped");
    world.act("delete");
    world.go_on();
    world.verify();
}

#[test]
fn large_values_that_were_read_go_with_their_run() {
    let mut world = World::new();
    world.deploy(READS);
    let large = format!("\"{}\"", "x".repeat(limits::INLINE_BYTES_MAX));
    put(&mut world, "team/a", &large);
    world.start("w", r#"{"team":"a"}"#, None).unwrap();
    world.complete("first", "null");
    world.complete("spend/work", "null");
    world.act("delete");
    world.go_on();
    assert!(!world.rows().keys().any(|key| consort_core::TABLES.step_reads.has(key)));
    world.verify();
}

#[test]
fn a_key_that_cannot_be_read_fails_the_step() {
    let mut world = World::new();
    world.deploy(READS);
    world.start("w", &format!(r#"{{"team":"{}"}}"#, "x".repeat(limits::STATE_KEY_BYTES_MAX)), None).unwrap();
    world.complete("first", "null");
    let error = run_error(&mut world, 0);
    assert!(error.code == Code::BadName && error.message.starts_with("in `reads`: "), "{error}");
    world.verify();
}
