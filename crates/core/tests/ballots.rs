//! Ballots: opened, voted on, closed by votes, by time and by hand, repeated, and deleted.
//!
//! For: rounds, deadlines, refusals, secrecy and what is kept, through the public interface of the machine. Not for: how
//! votes are counted (see `ballot_tally`).
//! Invariant: every test ends with the checks of `World::verify`, and every ballot that is shown has the result that its
//! recorded votes give.

#[allow(dead_code, reason = "each test file uses its part of the harness")]
mod support;

use consort_core::{
    Command, Effect,
    command::{CancelBallot, CastVote, CloseBallot, DeleteBallot, OpenBallot},
    rows::{BallotStatus, ClosedBy, Verdict},
    tally::Undecided,
    view::{BallotView, BallotViews},
};
use consort_types::{
    Code, Result, Span,
    ballot::{Answer, BallotSpec, Choice, Rule, Secrecy, Tie, Voter},
    limits,
};
use support::{NS, World};

fn spec(voters: usize) -> BallotSpec {
    let voters = (0..voters).map(|at| Voter { name: format!("v{at:03}"), weight: 1 }).collect();
    BallotSpec::new("Ship it?", vec!["ship".to_owned(), "wait".to_owned()], voters, Rule::Majority)
}

fn open(world: &mut World, name: &str, spec: BallotSpec) -> Result<()> {
    let command = OpenBallot { namespace: NS.to_owned(), name: name.to_owned(), spec };
    world.apply(&Command::OpenBallot(command)).map(drop)
}

fn cast(world: &mut World, voter: usize, round: Option<u32>, choice: Choice, reason: Option<&str>) -> Result<()> {
    let command = CastVote {
        namespace: NS.to_owned(),
        ballot: "b".to_owned(),
        voter: format!("v{voter:03}"),
        round,
        choice,
        reason: reason.map(str::to_owned),
    };
    world.apply(&Command::CastVote(command)).map(drop)
}

fn vote(world: &mut World, voter: usize, option: &str) -> Result<()> {
    cast(world, voter, None, Choice::Option(option.to_owned()), None)
}

/// The ballot, whose recorded result has to be what its votes give.
fn show(world: &mut World) -> BallotView {
    let view = BallotViews::of(&mut world.machine).show(NS, "b").unwrap().into_view();
    assert_eq!(view.verdict, view.recounted, "{view:?}");
    view
}

fn decided(option: &str) -> Verdict {
    Verdict::Decided { answer: Answer::Option(option.to_owned()), by_tie: false }
}

fn refused(result: Result<()>) -> Code {
    result.unwrap_err().code
}

fn close(world: &mut World) -> Result<()> {
    let (namespace, ballot, by) = (NS.to_owned(), "b".to_owned(), "ada".to_owned());
    world.apply(&Command::CloseBallot(CloseBallot { namespace, ballot, by, reason: None })).map(drop)
}

fn cancel(world: &mut World) -> Result<()> {
    let (namespace, ballot, by) = (NS.to_owned(), "b".to_owned(), "ada".to_owned());
    let reason = Some("asked too early".to_owned());
    world.apply(&Command::CancelBallot(CancelBallot { namespace, ballot, by, reason })).map(drop)
}

fn delete(world: &mut World) -> Result<()> {
    let (namespace, ballot) = (NS.to_owned(), "b".to_owned());
    world.apply(&Command::DeleteBallot(DeleteBallot { namespace, ballot })).map(drop)
}

#[test]
fn a_ballot_closes_when_no_further_vote_can_change_it_and_keeps_dissent() {
    let mut world = World::new();
    open(&mut world, "b", spec(5)).unwrap();
    vote(&mut world, 0, "ship").unwrap();
    cast(&mut world, 3, None, Choice::Option("wait".to_owned()), Some("the tests are red")).unwrap();
    vote(&mut world, 1, "ship").unwrap();
    assert_eq!(show(&mut world).status, BallotStatus::Open);
    vote(&mut world, 4, "ship").unwrap();
    let view = show(&mut world);
    assert_eq!((view.status, &view.verdict), (BallotStatus::Decided, &Some(decided("ship"))));
    let round = &view.rounds[0];
    assert_eq!(round.closed.unwrap().1, ClosedBy::Votes);
    assert_eq!((round.voted.len(), round.silent.as_slice()), (4, &["v002".to_owned()][..]));
    let dissent: Vec<_> = round.votes.iter().filter(|vote| vote.dissents).collect();
    assert_eq!(dissent.len(), 1);
    assert_eq!((dissent[0].voter.as_deref(), dissent[0].reason.as_deref()), (Some("v003"), Some("the tests are red")));
    assert_eq!(refused(vote(&mut world, 2, "ship")), Code::BallotClosed);
    world.verify();
}

#[test]
fn votes_that_do_not_count_are_refused_by_codes_of_their_own() {
    let mut world = World::new();
    assert_eq!(refused(vote(&mut world, 0, "ship")), Code::BallotNotFound);
    open(&mut world, "b", BallotSpec { rounds: 2, ..spec(3) }).unwrap();
    assert_eq!(refused(vote(&mut world, 7, "ship")), Code::NotEligible);
    assert_eq!(refused(vote(&mut world, 0, "burn")), Code::UnknownOption);
    assert_eq!(refused(cast(&mut world, 0, None, Choice::Ranking(vec!["ship".to_owned()]), None)), Code::BadVote);
    assert_eq!(refused(cast(&mut world, 0, Some(2), Choice::Abstain, None)), Code::WrongRound);
    let long = "x".repeat(limits::ERROR_MESSAGE_BYTES_MAX + 1);
    assert_eq!(refused(cast(&mut world, 0, None, Choice::Abstain, Some(&long))), Code::LimitReached);
    cast(&mut world, 0, Some(1), Choice::Abstain, None).unwrap();
    assert_eq!(refused(vote(&mut world, 0, "ship")), Code::AlreadyVoted);
    let before = world.rows();
    cast(&mut world, 0, Some(1), Choice::Abstain, None).unwrap();
    assert_eq!(show(&mut world).rounds[0].voted.len(), 1, "the same vote again counts once");
    assert_eq!(world.rows().len(), before.len());
    world.verify();
}

#[test]
fn the_same_vote_again_is_accepted_even_after_it_has_closed_the_ballot() {
    let mut world = World::new();
    open(&mut world, "b", spec(1)).unwrap();
    vote(&mut world, 0, "wait").unwrap();
    assert_eq!(show(&mut world).verdict, Some(decided("wait")));
    vote(&mut world, 0, "wait").unwrap();
    assert_eq!(refused(vote(&mut world, 0, "ship")), Code::BallotClosed);
    open(&mut world, "b", spec(1)).unwrap();
    assert_eq!(refused(open(&mut world, "b", spec(2))), Code::BallotExists);
    world.verify();
}

#[test]
fn a_refusal_names_the_ballot_as_it_is_written() {
    let mut world = World::new();
    open(&mut world, "Release-2", spec(1)).unwrap();
    let cast = |voter: &str, option: &str| {
        let choice = Choice::Option(option.to_owned());
        let (namespace, ballot, voter) = (NS.to_owned(), "Release-2".to_owned(), voter.to_owned());
        Command::CastVote(CastVote { namespace, ballot, voter, round: None, choice, reason: None })
    };
    world.apply(&cast("v000", "ship")).unwrap();
    let refusal = world.apply(&cast("v000", "wait")).unwrap_err();
    assert_eq!(refusal.message, "ballot `Release-2` has ended as `decided`");
    world.verify();
}

#[test]
fn a_vote_may_change_until_everyone_has_voted_where_the_ballot_lets_it() {
    let mut world = World::new();
    open(&mut world, "b", BallotSpec { may_change: true, ..spec(3) }).unwrap();
    vote(&mut world, 0, "ship").unwrap();
    vote(&mut world, 1, "ship").unwrap();
    assert_eq!(show(&mut world).status, BallotStatus::Open, "both may still change their votes");
    vote(&mut world, 1, "wait").unwrap();
    vote(&mut world, 2, "wait").unwrap();
    let view = show(&mut world);
    assert_eq!(view.verdict, Some(decided("wait")));
    assert_eq!(view.rounds[0].votes[1].changes, 1);
    world.verify();
}

#[test]
fn the_deadline_closes_a_round_in_log_time() {
    let mut world = World::new();
    open(&mut world, "b", BallotSpec { deadline: Some(Span::from_secs(60)), quorum: 1, ..spec(3) }).unwrap();
    vote(&mut world, 1, "wait").unwrap();
    world.tick(Span::from_secs(59));
    assert_eq!(show(&mut world).status, BallotStatus::Open);
    world.tick(Span::from_secs(2));
    let view = show(&mut world);
    assert_eq!((view.rounds[0].closed.unwrap().1, &view.verdict), (ClosedBy::Deadline, &Some(decided("wait"))));
    assert_eq!(refused(vote(&mut world, 0, "wait")), Code::BallotClosed);
    world.verify();
}

#[test]
fn voters_without_a_quorum_decide_nothing_not_even_that_all_stays_as_it_is() {
    let mut world = World::new();
    let tie = Tie::StatusQuo("wait".to_owned());
    open(&mut world, "b", BallotSpec { deadline: Some(Span::from_secs(1)), tie, ..spec(4) }).unwrap();
    vote(&mut world, 0, "ship").unwrap();
    world.tick(Span::from_secs(1));
    let view = show(&mut world);
    assert_eq!(view.status, BallotStatus::Undecided);
    assert_eq!(view.verdict, Some(Verdict::Undecided(Undecided::NoQuorum)));
    world.verify();
}

#[test]
fn rounds_go_on_until_votes_agree_and_show_what_was_said_before() {
    let mut world = World::new();
    open(&mut world, "b", BallotSpec { rounds: 3, secrecy: Secrecy::UntilClosed, ..spec(2) }).unwrap();
    cast(&mut world, 0, None, Choice::Option("ship".to_owned()), Some("users wait")).unwrap();
    let view = show(&mut world);
    assert!(view.rounds[0].votes.is_empty() && view.rounds[0].tally.is_none(), "votes of an open round are hidden");
    assert_eq!(view.rounds[0].voted, ["v000"]);
    cast(&mut world, 1, None, Choice::Option("wait".to_owned()), Some("it is Friday")).unwrap();
    let view = show(&mut world);
    assert_eq!((view.status, view.rounds.len()), (BallotStatus::Open, 2));
    let said: Vec<_> = view.rounds[0].votes.iter().filter_map(|vote| vote.reason.as_deref()).collect();
    assert_eq!(said, ["users wait", "it is Friday"]);
    assert_eq!(refused(cast(&mut world, 0, Some(1), Choice::Abstain, None)), Code::WrongRound);
    cast(&mut world, 0, Some(2), Choice::Option("wait".to_owned()), Some("convinced")).unwrap();
    cast(&mut world, 1, Some(2), Choice::Option("wait".to_owned()), None).unwrap();
    let view = show(&mut world);
    assert_eq!((view.rounds.len(), &view.verdict), (2, &Some(decided("wait"))));
    world.verify();
}

#[test]
fn rounds_end_when_no_one_changes_a_vote() {
    let mut world = World::new();
    open(&mut world, "b", BallotSpec { rounds: 9, ..spec(2) }).unwrap();
    for round in 1..=2 {
        cast(&mut world, 0, Some(round), Choice::Option("ship".to_owned()), None).unwrap();
        cast(&mut world, 1, Some(round), Choice::Option("wait".to_owned()), None).unwrap();
    }
    let view = show(&mut world);
    assert_eq!((view.rounds.len(), &view.verdict), (2, &Some(Verdict::Undecided(Undecided::Tie))));
    world.verify();
}

#[test]
fn an_operator_closes_with_the_votes_that_are_there_or_cancels_without_a_decision() {
    let mut world = World::new();
    open(&mut world, "b", BallotSpec { quorum: 1, rounds: 3, ..spec(5) }).unwrap();
    vote(&mut world, 0, "ship").unwrap();
    close(&mut world).unwrap();
    let view = show(&mut world);
    assert_eq!((&view.verdict, view.by_hand.unwrap().by.as_str()), (&Some(decided("ship")), "ada"));
    assert_eq!(refused(close(&mut world)), Code::BallotClosed);
    assert_eq!(refused(cancel(&mut world)), Code::BallotClosed);
    delete(&mut world).unwrap();
    open(&mut world, "b", BallotSpec { deadline: Some(Span::from_secs(1)), ..spec(2) }).unwrap();
    vote(&mut world, 0, "ship").unwrap();
    cancel(&mut world).unwrap();
    world.tick(Span::from_secs(5));
    let view = show(&mut world);
    assert_eq!((view.status, &view.verdict), (BallotStatus::Cancelled, &None));
    assert_eq!(view.rounds[0].voted, ["v000"], "its votes are kept");
    world.verify();
}

#[test]
fn secret_voters_are_never_named_with_their_votes() {
    let mut world = World::new();
    open(&mut world, "b", BallotSpec { secrecy: Secrecy::SecretVoters, ..spec(3) }).unwrap();
    for (voter, option) in [(0, "wait"), (1, "ship"), (2, "wait")] {
        vote(&mut world, voter, option).unwrap();
    }
    let view = show(&mut world);
    let votes = &view.rounds[0].votes;
    assert!(votes.iter().all(|vote| vote.voter.is_none() && vote.time.is_none()));
    let said: Vec<_> = votes.iter().map(|vote| &vote.choice).collect();
    let (ship, wait) = (Choice::Option("ship".to_owned()), Choice::Option("wait".to_owned()));
    assert_eq!(said, [&ship, &wait, &wait], "in the order of what they say, not of who says it");
    world.verify();
}

#[test]
fn an_ended_ballot_is_kept_for_its_time_and_deleted_in_pieces() {
    let mut world = World::limited(8, limits::EXPRESSION_COST_MAX);
    assert_eq!(refused(delete(&mut world)), Code::BallotNotFound);
    let keep = Span::from_secs(3_600);
    open(&mut world, "b", BallotSpec { keep, may_change: true, ..spec(40) }).unwrap();
    assert_eq!(refused(delete(&mut world)), Code::BallotOpen);
    for voter in 0..40 {
        vote(&mut world, voter, "ship").unwrap();
    }
    assert_eq!(show(&mut world).status, BallotStatus::Decided);
    world.tick(Span::from_secs(3_599));
    show(&mut world);
    world.tick(Span::from_secs(10));
    assert_eq!(BallotViews::of(&mut world.machine).show(NS, "b").unwrap_err().code, Code::BallotNotFound);
    // The name is free while rows of the old ballot are still removed, and nothing is left of it in the end.
    open(&mut world, "b", spec(1)).unwrap();
    vote(&mut world, 0, "ship").unwrap();
    delete(&mut world).unwrap();
    world.tick(keep);
    let left: Vec<_> = world.rows().into_keys().filter(|key| matches!(key[0], b'V' | b'Y' | b'Z' | b't')).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(world.machine.namespaces(None, 10).unwrap().items.len(), 0);
    world.verify();
}

#[test]
fn ballots_are_listed_by_name_with_their_status_and_watchers_are_woken() {
    let mut world = World::new();
    for name in ["c", "a", "b"] {
        open(&mut world, name, spec(1)).unwrap();
    }
    vote(&mut world, 0, "ship").unwrap();
    let woken = world.effects.iter().filter(|effect| matches!(effect, Effect::BallotChanged { .. })).count();
    assert_eq!(woken, 1, "a ballot that is opened has no watcher yet");
    let page = BallotViews::of(&mut world.machine).list(NS, None, None, 2).unwrap();
    let names: Vec<_> = page.items.iter().map(|ballot| ballot.name.as_str()).collect();
    assert_eq!((names.as_slice(), page.next.as_deref()), (&["a", "b"][..], Some("c")));
    assert_eq!((page.items[1].voted, page.items[1].voters, &page.items[1].verdict), (1, 1, &Some(decided("ship"))));
    let open = BallotViews::of(&mut world.machine).list(NS, Some(BallotStatus::Open), page.next.as_deref(), 2).unwrap();
    assert_eq!((open.items.len(), open.next), (1, None));
    assert_eq!(world.machine.namespaces(None, 10).unwrap().items[0].ballots, 3);
    world.verify();
}

#[test]
fn the_largest_ballot_of_rankings_is_counted_within_the_work_of_one_record() {
    let mut world = World::new();
    let options: Vec<String> = (0..limits::BALLOT_OPTIONS_MAX).map(|at| format!("o{at:02}")).collect();
    let voters = (0..limits::BALLOT_VOTERS_MAX).map(|at| Voter { name: format!("v{at:03}"), weight: 1 }).collect();
    open(&mut world, "b", BallotSpec::new("Q?", options.clone(), voters, Rule::Ranked)).unwrap();
    for voter in 0..limits::BALLOT_VOTERS_MAX {
        let mut ranking = options.clone();
        ranking.rotate_left(voter % 3);
        cast(&mut world, voter, None, Choice::Ranking(ranking), None).unwrap();
    }
    assert!((1_000..limits::WORK_PER_RECORD_MAX).contains(&world.units), "{}", world.units);
    assert_eq!(show(&mut world).status, BallotStatus::Decided);
    world.verify();
}
