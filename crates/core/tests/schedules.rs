//! Schedules, through the public interface of the machine: plans, overlaps, the catch-up window, and what people request.
//!
//! For: the outcome of each instant. Not for: cron expressions and time zones (the engine's calendar has its own tests):
//! here a small planner answers for equal distances.
//! Invariant: every test ends with the checks of `World::verify`, so each is a test of replay too.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, Effect, Reply,
    command::{BackfillSchedule, CancelRun, DeleteSchedule, PauseSchedule, PlanSchedule, SetSchedule, TriggerSchedule},
    rows::{Overlap, RunStatus, ScheduleAction, ScheduleSettings, Times},
    view::{Events, InstantOutcome, PlanRequest, RunFilter, RunSummary, ScheduleView, Schedules, Triggered},
};
use consort_types::{Code, Payload, Result, Span, Time, event::Position, limits};
use support::{NS, World};

const SECOND: u64 = 1_000_000;
/// A run takes 25 seconds, and the schedules have an instant each 10.
const SLOW: &str = "workflow: slow\ninput: { n: { type: integer, default: 7 } }\nsteps:\n  a: { wait: 25s }\n";

fn seconds(count: u64) -> Span {
    Span(count * SECOND)
}

fn at(second: u64) -> Time {
    Time(second * SECOND)
}

fn starts(workflow: &str) -> ScheduleAction {
    ScheduleAction::Start { workflow: workflow.to_owned(), version: None, input: Payload::inline(*b"{}") }
}

fn every(distance: u64, action: ScheduleAction) -> ScheduleSettings {
    ScheduleSettings::new(Times::Every { every: seconds(distance), phase: Span::ZERO }, action)
}

fn slow(overlap: Overlap) -> ScheduleSettings {
    ScheduleSettings { overlap, ..every(10, starts("slow")) }
}

fn set(world: &mut World, settings: ScheduleSettings) -> Result<Reply> {
    let command = SetSchedule { namespace: NS.to_owned(), name: "s".to_owned(), settings, paused: false };
    let reply = world.apply(&Command::SetSchedule(command));
    answer(world);
    reply
}

fn pause(world: &mut World, paused: bool) {
    let command = PauseSchedule { namespace: NS.to_owned(), name: "s".to_owned(), paused };
    world.apply(&Command::PauseSchedule(command)).unwrap();
    answer(world);
}

fn trigger(world: &mut World, overlap: Option<Overlap>) -> Result<Triggered> {
    let command = TriggerSchedule { namespace: NS.to_owned(), name: "s".to_owned(), overlap };
    match world.apply(&Command::TriggerSchedule(command))? {
        Reply::Triggered(triggered) => Ok(triggered),
        other => panic!("{other:?}"),
    }
}

fn backfill(world: &mut World, instants: &[u64], overlap: Overlap) -> Result<Reply> {
    let revision = show(world).revision;
    let instants = instants.iter().map(|second| at(*second)).collect();
    let command = BackfillSchedule { namespace: NS.to_owned(), name: "s".to_owned(), revision, instants, overlap };
    world.apply(&Command::BackfillSchedule(command))
}

fn show(world: &mut World) -> ScheduleView {
    Schedules::of(&mut world.machine).show(NS, "s").unwrap()
}

/// The plan for equal distances.
fn planned(request: PlanRequest) -> PlanSchedule {
    let Times::Every { every, .. } = request.times else { panic!("{request:?}") };
    let next = |after: Time| Time((after.0 / every.0 + 1) * every.0);
    let (mut missed, mut through) = (0, request.after);
    while next(through) < request.too_old {
        (missed, through) = (missed + 1, next(through));
    }
    let all = std::iter::successors(Some(next(through)), |last| Some(next(*last)));
    let instants: Vec<Time> =
        all.take_while(|instant| request.until.is_none_or(|until| *instant <= until)).take(request.max).collect();
    let PlanRequest { namespace, name, revision, after, max, .. } = request;
    let ends = instants.len() < max;
    PlanSchedule { namespace, name, revision, after, missed, through, instants, ends, problem: None }
}

fn wanted(world: &mut World) -> Vec<PlanRequest> {
    let effects = std::mem::take(&mut world.effects);
    let wanted = effects.into_iter().filter_map(|effect| match effect {
        Effect::PlanWanted(request) => Some(*request),
        _ => None,
    });
    wanted.collect()
}

/// Answers what the machine has requested.
fn answer(world: &mut World) {
    loop {
        let wanted = wanted(world);
        if wanted.is_empty() {
            return;
        }
        for request in wanted {
            world.apply(&Command::PlanSchedule(planned(request))).unwrap();
        }
    }
}

/// Time passes until a second, and what is due is done.
fn pass(world: &mut World, second: u64) {
    while let Some(due) = world.machine.next_timer().unwrap().filter(|due| *due <= at(second)) {
        world.advance_to(due);
        world.tick_once();
        answer(world);
    }
    world.advance_to(at(second));
}

/// Time leaps: whatever is due comes late.
fn leap(world: &mut World, second: u64) {
    world.advance_to(at(second));
    pass(world, second + 1);
}

fn runs(world: &mut World) -> Vec<RunSummary> {
    let mut items = world.machine.list_runs(NS, &RunFilter::default(), None, 500).unwrap().items;
    items.reverse();
    items
}

/// The seconds of the instants whose runs were started, in order.
fn started(world: &mut World) -> Vec<u64> {
    let second = |run: &RunSummary| Time::parse_rfc3339(&run.labels["scheduled_at"]).unwrap().0 / SECOND;
    let mut seconds: Vec<u64> = runs(world).iter().map(second).collect();
    seconds.sort_unstable();
    seconds
}

/// Every instant is accounted for.
fn verify(world: &mut World) {
    let shown = show(world);
    let Times::Every { every, .. } = shown.settings.times else { panic!() };
    let since = shown.created.0 / every.0;
    let grid = shown.planned_through.0 / every.0 - since;
    let counts = shown.counts;
    let decided = counts.done + counts.skipped + counts.missed + counts.failed;
    let open = (shown.planned.len() + shown.waiting.len() + shown.backfilling) as u64;
    assert_eq!(grid + counts.by_hand, decided + open, "{shown:?}");
    world.verify();
}

fn world(settings: ScheduleSettings) -> World {
    let mut world = World::new();
    world.deploy(SLOW);
    set(&mut world, settings).unwrap();
    world
}

#[test]
fn each_instant_starts_one_run_that_names_it() {
    let mut world = world(slow(Overlap::Allow));
    pass(&mut world, 1_035);
    assert_eq!(started(&mut world), [1_010, 1_020, 1_030]);
    let runs = runs(&mut world);
    assert_eq!(runs[0].labels["schedule"], "s");
    assert_eq!(runs[0].labels["scheduled_at"], "1970-01-01T00:16:50.000Z");
    let again = world.start("slow", "{}", Some("schedule:s:1970-01-01T00:16:50.000Z")).unwrap_err();
    assert_eq!(again.code, Code::IdempotencyMismatch, "the key is taken");
    let shown = show(&mut world);
    assert_eq!((shown.counts.done, shown.running.len(), shown.acted.len()), (3, 3, 3));
    assert_eq!(shown.acted[0].status, Some(RunStatus::Running));
    pass(&mut world, 1_046);
    assert_eq!(show(&mut world).acted[0].status, Some(RunStatus::Completed));
    verify(&mut world);
}

#[test]
fn overlaps_are_decided_as_the_policy_says() {
    // A run takes 25 seconds: at 1020 and 1030 the first one is active.
    for (overlap, expected, skipped) in [
        (Overlap::Skip, vec![1_010, 1_040, 1_070], 4),
        (Overlap::BufferOne, vec![1_010, 1_020, 1_040], 3),
        (Overlap::BufferAll, vec![1_010, 1_020, 1_030], 0),
        (Overlap::Allow, vec![1_010, 1_020, 1_030, 1_040, 1_050, 1_060, 1_070], 0),
        (Overlap::CancelOther, vec![1_010, 1_020, 1_030, 1_040, 1_050, 1_060, 1_070], 0),
    ] {
        let mut world = world(slow(overlap));
        pass(&mut world, 1_075);
        assert_eq!(started(&mut world), expected, "{overlap:?}");
        assert_eq!(show(&mut world).counts.skipped, skipped, "{overlap:?}");
        let active = |run: &&RunSummary| !run.status.is_terminal();
        let active = runs(&mut world).iter().filter(active).count();
        assert_eq!(active, if overlap == Overlap::Allow { 3 } else { 1 }, "{overlap:?}");
        verify(&mut world);
    }
}

#[test]
fn what_waits_is_bounded() {
    let mut world = world(ScheduleSettings { overlap: Overlap::BufferAll, ..every(1, starts("slow")) });
    pass(&mut world, 1_000 + 20 + limits::SCHEDULE_WAITING_MAX as u64 + 40);
    let shown = show(&mut world);
    assert_eq!(shown.waiting.len(), limits::SCHEDULE_WAITING_MAX);
    assert!(shown.counts.skipped > 0);
    verify(&mut world);
}

#[test]
fn late_instants_are_acted_on_within_the_window_and_older_ones_are_missed() {
    let mut world = world(ScheduleSettings { catch_up: seconds(35), ..slow(Overlap::Allow) });
    leap(&mut world, 1_000_000);
    assert_eq!(started(&mut world), [999_970, 999_980, 999_990, 1_000_000]);
    let counts = show(&mut world).counts;
    assert_eq!((counts.done, counts.missed), (4, 99_896));
    // A leap that ends within the window loses nothing, and the same time again gives nothing twice.
    leap(&mut world, 1_000_031);
    pass(&mut world, 1_000_035);
    assert_eq!(started(&mut world)[4..], [1_000_010, 1_000_020, 1_000_030]);
    verify(&mut world);
}

#[test]
fn a_paused_schedule_starts_nothing_and_catches_up_within_its_window() {
    let mut world = world(ScheduleSettings { catch_up: seconds(20), ..slow(Overlap::Allow) });
    pass(&mut world, 1_015);
    pause(&mut world, true);
    pass(&mut world, 1_995);
    assert_eq!(started(&mut world), [1_010]);
    assert!(
        matches!(trigger(&mut world, None).unwrap().decided, InstantOutcome::Started(_)),
        "by hand it acts all the same"
    );
    pause(&mut world, false);
    pass(&mut world, 1_996);
    assert_eq!(started(&mut world), [1_010, 1_980, 1_990, 1_995], "the last one by hand");
    assert_eq!(show(&mut world).counts.missed, 96);
    verify(&mut world);
}

#[test]
fn a_schedule_ends_by_its_limit_or_its_end() {
    let mut limited = world(ScheduleSettings { limit: Some(2), ..slow(Overlap::Allow) });
    pass(&mut limited, 1_100);
    assert_eq!(started(&mut limited), [1_010, 1_020]);
    let shown = show(&mut limited);
    assert!(shown.finished && !shown.goes_on && shown.planned.is_empty());
    verify(&mut limited);
    let mut ended = world(ScheduleSettings { until: Some(at(1_030)), ..slow(Overlap::Allow) });
    pass(&mut ended, 1_100);
    assert_eq!(started(&mut ended), [1_010, 1_020, 1_030]);
    assert!(show(&mut ended).finished);
    assert_eq!(ended.machine.next_timer().unwrap(), None, "nothing of it is armed any more");
    // With a later end it continues.
    set(&mut ended, slow(Overlap::Allow)).unwrap();
    pass(&mut ended, 1_115);
    assert_eq!(started(&mut ended)[3..], [1_110]);
    ended.verify();
}

#[test]
fn jitter_delays_each_instant_by_what_follows_from_it() {
    let settings = ScheduleSettings { jitter: seconds(9), ..slow(Overlap::Allow) };
    let delays = |world: &mut World| -> Vec<u64> {
        pass(world, 1_100);
        show(world).acted.iter().map(|one| one.acted.at.since(one.acted.instant).0 / 1_000).collect()
    };
    let (mut one, mut other) = (world(settings.clone()), world(settings));
    other.deploy("workflow: other\nsteps:\n  a: { wait: 1s }\n");
    let (first, second) = (delays(&mut one), delays(&mut other));
    assert_eq!(first, second, "it is drawn from the name and the instant");
    assert!(first.len() >= 8 && first.iter().all(|delay| *delay <= 9_000), "{first:?}");
    assert!(first.iter().max() > first.iter().min(), "{first:?}");
    verify(&mut one);
}

#[test]
fn what_cannot_be_started_is_counted_and_shown() {
    let mut world = World::new();
    set(&mut world, every(10, starts("none"))).unwrap();
    pass(&mut world, 1_000 + 10 * (limits::SCHEDULE_FAILURES_MAX as u64 + 2) + 5);
    let shown = show(&mut world);
    assert_eq!(shown.counts.failed, limits::SCHEDULE_FAILURES_MAX as u64 + 2);
    assert_eq!(
        (shown.failures.len(), shown.failures[0].error.code),
        (limits::SCHEDULE_FAILURES_MAX, Code::WorkflowNotFound)
    );
    assert_eq!(shown.failures.last().unwrap().instant, at(1_180));
    let refused = trigger(&mut world, None).unwrap_err();
    assert_eq!(refused.code, Code::WorkflowNotFound, "whoever asks is told");
    assert_eq!(show(&mut world).counts, shown.counts);
    world.deploy(SLOW);
    let bad =
        ScheduleAction::Start { workflow: "slow".to_owned(), version: None, input: Payload::inline(*br#"{"n":"x"}"#) };
    set(&mut world, every(10, bad)).unwrap();
    pass(&mut world, 1_195);
    assert_eq!(show(&mut world).failures.last().unwrap().error.code, Code::BadInput);
    verify(&mut world);
}

#[test]
fn runs_of_one_schedule_that_overlap_are_bounded() {
    let mut world = World::new();
    world.deploy("workflow: long\nsteps:\n  a: { wait: 1d }\n");
    set(&mut world, ScheduleSettings { overlap: Overlap::Allow, ..every(1, starts("long")) }).unwrap();
    pass(&mut world, 1_000 + limits::SCHEDULE_RUNNING_MAX as u64 + 3);
    let shown = show(&mut world);
    assert_eq!((shown.running.len(), shown.counts.failed), (limits::SCHEDULE_RUNNING_MAX, 3));
    assert_eq!(shown.failures[0].error.code, Code::LimitReached);
    verify(&mut world);
}

#[test]
fn acting_now_has_an_instant_of_its_own() {
    let mut world = world(ScheduleSettings { overlap: Overlap::Skip, ..every(10, starts("slow")) });
    let (first, second) = (trigger(&mut world, None).unwrap(), trigger(&mut world, Some(Overlap::Allow)).unwrap());
    assert!(matches!((first.decided, second.decided), (InstantOutcome::Started(_), InstantOutcome::Started(_))));
    assert!(first.instant < second.instant && first.instant.0 % SECOND != 0);
    assert_eq!(trigger(&mut world, None).unwrap().decided, InstantOutcome::Skipped);
    assert_eq!(trigger(&mut world, Some(Overlap::BufferOne)).unwrap().decided, InstantOutcome::Waits);
    pass(&mut world, 1_060);
    let shown = show(&mut world);
    assert_eq!((shown.counts.by_hand, shown.waiting.len()), (4, 0));
    assert_eq!(shown.counts.done, 4, "two at once, the one that waited, and that of 1060: {shown:?}");
    verify(&mut world);
}

#[test]
fn a_backfill_acts_on_past_instants_once_each() {
    let mut world = world(ScheduleSettings { overlap: Overlap::Skip, ..every(10, starts("slow")) });
    pass(&mut world, 1_015);
    backfill(&mut world, &[900, 910, 1_010], Overlap::Allow).unwrap();
    assert_eq!(started(&mut world), [900, 910, 1_010], "1010 has its run");
    backfill(&mut world, &[920, 930], Overlap::BufferAll).unwrap();
    assert_eq!(show(&mut world).backfilling, 2, "one after the other");
    pass(&mut world, 1_100);
    assert!(started(&mut world).contains(&920) && started(&mut world).contains(&930));
    let revision = show(&mut world).revision;
    set(&mut world, every(20, starts("slow"))).unwrap();
    let stale = BackfillSchedule {
        namespace: NS.to_owned(),
        name: "s".to_owned(),
        revision,
        instants: vec![at(1_000)],
        overlap: Overlap::Skip,
    };
    assert_eq!(world.apply(&Command::BackfillSchedule(stale)).unwrap_err().code, Code::ScheduleChanged);
    let many: Vec<u64> = (1..=limits::SCHEDULE_BACKFILL_MAX as u64).collect();
    backfill(&mut world, &many, Overlap::BufferAll).unwrap();
    assert_eq!(backfill(&mut world, &[5], Overlap::BufferAll).unwrap_err().code, Code::LimitReached);
    assert_eq!(backfill(&mut world, &[7, 6], Overlap::Skip).unwrap_err().code, Code::BadRequest);
    world.verify();
}

#[test]
fn a_lost_answer_is_asked_for_again_and_a_second_one_changes_nothing() {
    let mut world = World::new();
    world.deploy(SLOW);
    let settings = slow(Overlap::Allow);
    let command = SetSchedule { namespace: NS.to_owned(), name: "s".to_owned(), settings, paused: false };
    world.apply(&Command::SetSchedule(command)).unwrap();
    let lost = wanted(&mut world);
    assert_eq!(lost.len(), 1);
    world.reopen();
    pass(&mut world, 1_015);
    assert_eq!(started(&mut world), [1_010], "it was requested again");
    let before = show(&mut world);
    world.apply(&Command::PlanSchedule(planned(lost[0].clone()))).unwrap();
    assert_eq!(show(&mut world), before, "the late answer is stale");
    let mut early = planned(PlanRequest { after: before.planned_through, ..lost[0].clone() });
    (early.missed, early.through) = (1, early.instants.remove(0));
    let refused = world.apply(&Command::PlanSchedule(early)).unwrap_err();
    assert_eq!(refused.code, Code::BadRequest, "no instant is passed over that does not come too late");
    verify(&mut world);
}

#[test]
fn times_that_cannot_be_planned_any_more_end_the_schedule_and_say_why() {
    let mut world = World::new();
    let command =
        SetSchedule { namespace: NS.to_owned(), name: "s".to_owned(), settings: slow(Overlap::Allow), paused: false };
    world.apply(&Command::SetSchedule(command)).unwrap();
    let request = wanted(&mut world).remove(0);
    let problem = Some(consort_types::Error::new(Code::BadSchedule, "there is no time zone `X`"));
    let answer = PlanSchedule { instants: Vec::new(), ends: true, problem, ..planned(request) };
    world.apply(&Command::PlanSchedule(answer)).unwrap();
    let shown = show(&mut world);
    assert!(shown.finished && shown.failures[0].error.code == Code::BadSchedule && shown.counts.failed == 0);
    world.verify();
}

#[test]
fn an_event_is_published_at_each_instant() {
    let mut world = World::new();
    let action = ScheduleAction::Publish {
        kind: "clock.struck".to_owned(),
        topic: "clock".to_owned(),
        subject: None,
        data: Some(Payload::inline(*br#"{"bell":1}"#)),
    };
    for name in ["a", "b"] {
        let settings = every(10, action.clone());
        let command = SetSchedule { namespace: NS.to_owned(), name: name.to_owned(), settings, paused: false };
        world.apply(&Command::SetSchedule(command)).unwrap();
    }
    answer(&mut world);
    pass(&mut world, 1_025);
    let page = Events::of(&mut world.machine).list(NS, Some("clock"), Position::ZERO, 100).unwrap();
    let seen: Vec<(&str, &str)> =
        page.events.iter().map(|event| (event.attributes.source.as_str(), event.attributes.id.as_str())).collect();
    let id = |name: &str, clock: &str| format!("schedule:{name}:1970-01-01T00:{clock}.000Z");
    let expected = [("a", "16:50"), ("b", "16:50"), ("a", "17:00"), ("b", "17:00")];
    let expected: Vec<(String, String)> =
        expected.iter().map(|(name, clock)| (format!("/schedules/{name}"), id(name, clock))).collect();
    assert_eq!(seen, expected.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect::<Vec<_>>());
    world.verify();
}

#[test]
fn much_that_is_due_at_once_goes_over_many_records() {
    let mut world = World::limited(6, limits::EXPRESSION_COST_MAX);
    world.deploy(SLOW);
    set(&mut world, slow(Overlap::Allow)).unwrap();
    leap(&mut world, 1_501);
    let expected: Vec<u64> = (101..=150).map(|n| n * 10).collect();
    assert_eq!(started(&mut world), expected);
    verify(&mut world);
}

#[test]
fn what_is_set_again_keeps_its_plan_and_what_is_deleted_is_gone() {
    let mut world = world(slow(Overlap::BufferAll));
    pass(&mut world, 1_035);
    let before = show(&mut world);
    set(&mut world, slow(Overlap::BufferAll)).unwrap();
    assert_eq!(show(&mut world), before);
    set(&mut world, slow(Overlap::Skip)).unwrap();
    let changed = show(&mut world);
    assert_eq!((changed.planned, changed.waiting, changed.revision), (before.planned, before.waiting, before.revision));
    verify(&mut world);
    let command = DeleteSchedule { namespace: NS.to_owned(), name: "s".to_owned() };
    world.apply(&Command::DeleteSchedule(command.clone())).unwrap();
    assert_eq!(world.apply(&Command::DeleteSchedule(command)).unwrap_err().code, Code::ScheduleNotFound);
    let runs_before = runs(&mut world).len();
    let run = runs(&mut world)[0].run;
    let cancel = CancelRun { namespace: NS.to_owned(), run, reason: "test".to_owned(), force: false };
    world.apply(&Command::CancelRun(cancel)).unwrap();
    pass(&mut world, 1_200);
    assert_eq!(runs(&mut world).len(), runs_before, "its run goes on to its end, and starts nothing");
    assert_eq!(world.machine.next_timer().unwrap(), None);
    world.verify();
}

#[test]
fn settings_out_of_bounds_are_refused() {
    let right = slow(Overlap::Skip);
    let large = Payload::inline(format!("\"{}\"", "x".repeat(limits::SCHEDULE_INPUT_BYTES_MAX - 1)).into_bytes());
    let fits = Payload::inline(format!("\"{}\"", "x".repeat(limits::SCHEDULE_INPUT_BYTES_MAX - 2)).into_bytes());
    let of = |input: Payload| ScheduleAction::Start { workflow: "slow".to_owned(), version: None, input };
    ScheduleSettings { action: of(fits), ..right.clone() }.check().unwrap();
    let times = |every, phase| Times::Every { every, phase };
    let event = |kind: &str, topic: &str| ScheduleAction::Publish {
        kind: kind.to_owned(),
        topic: topic.to_owned(),
        subject: None,
        data: None,
    };
    let longest = seconds(limits::SCHEDULE_SPAN_SECONDS_MAX);
    for (settings, code) in [
        (ScheduleSettings { action: of(large), ..right.clone() }, Code::PayloadTooLarge),
        (ScheduleSettings { times: times(Span(1_500_000), Span::ZERO), ..right.clone() }, Code::BadSchedule),
        (ScheduleSettings { times: times(Span::ZERO, Span::ZERO), ..right.clone() }, Code::BadSchedule),
        (ScheduleSettings { times: times(seconds(10), seconds(10)), ..right.clone() }, Code::BadSchedule),
        (ScheduleSettings { times: times(Span(longest.0 + SECOND), Span::ZERO), ..right.clone() }, Code::BadSchedule),
        (ScheduleSettings { catch_up: Span::ZERO, ..right.clone() }, Code::BadSchedule),
        (
            ScheduleSettings { jitter: seconds(limits::SCHEDULE_JITTER_SECONDS_MAX + 1), ..right.clone() },
            Code::BadSchedule,
        ),
        (ScheduleSettings { limit: Some(0), ..right.clone() }, Code::BadSchedule),
        (ScheduleSettings { action: starts(" "), ..right.clone() }, Code::BadName),
        (ScheduleSettings { action: event("t", "a.*"), ..right.clone() }, Code::BadTopic),
        (ScheduleSettings { action: event("", "a"), ..right.clone() }, Code::BadEvent),
    ] {
        assert_eq!(settings.check().unwrap_err().code, code, "{settings:?}");
    }
    ScheduleSettings { times: times(longest, Span::ZERO), catch_up: longest, ..right }.check().unwrap();
}
