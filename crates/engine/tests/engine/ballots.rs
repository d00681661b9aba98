//! Ballots through the handle.
//!
//! For: that an answered vote survives a crash, and that followers see each change. Not for: rules of counting.
//! Invariant: every wait in here ends with an event, not with a clock.

use crate::support::{NS, parts};
use consort_engine::{Ballots, CastVote, Config, Handle, view::BallotStatus};
use consort_log::MemoryLogDisk;
use consort_store::MemoryStore;
use consort_types::{
    Code,
    ballot::{BallotSpec, Choice, Rule, Voter},
};

fn spec() -> BallotSpec {
    let voters = ["ann", "bob", "cy"].map(|name| Voter { name: name.to_owned(), weight: 1 }).to_vec();
    BallotSpec::new("Ship it?", vec!["ship".to_owned(), "wait".to_owned()], voters, Rule::Unanimous)
}

fn vote(voter: &str, option: &str) -> CastVote {
    CastVote {
        namespace: NS.to_owned(),
        ballot: "b".to_owned(),
        voter: voter.to_owned(),
        round: None,
        choice: Choice::Option(option.to_owned()),
        reason: None,
    }
}

#[tokio::test]
async fn an_answered_vote_survives_a_crash() {
    let (disk, store) = (MemoryLogDisk::new(), MemoryStore::new());
    let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
    Ballots::of(&handle).open(NS, "b", spec()).await.unwrap();
    Ballots::of(&handle).cast(vote("ann", "ship")).await.unwrap();
    Ballots::of(&handle).cast(vote("bob", "ship")).await.unwrap();
    handle.stop_now().await;
    disk.crash(false);
    store.crash(0);
    let handle = Handle::open(parts(&disk, &store), Config::default()).await.unwrap();
    let view = Ballots::of(&handle).show(NS, "b").await.unwrap();
    assert_eq!((view.status, view.rounds[0].voted.len()), (BallotStatus::Open, 2));
    Ballots::of(&handle).cast(vote("ann", "ship")).await.unwrap();
    Ballots::of(&handle).cast(vote("cy", "ship")).await.unwrap();
    let view = Ballots::of(&handle).show(NS, "b").await.unwrap();
    assert_eq!((view.status, &view.verdict), (BallotStatus::Decided, &view.recounted));
    assert_eq!(Ballots::of(&handle).list(NS, Some(BallotStatus::Decided), None, 10).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_follower_sees_a_ballot_change_and_end_or_go() {
    let handle = Handle::open(parts(&MemoryLogDisk::new(), &MemoryStore::new()), Config::default()).await.unwrap();
    assert_eq!(Ballots::of(&handle).watch(NS, "b").await.err().unwrap().code, Code::BallotNotFound);
    Ballots::of(&handle).open(NS, "b", spec()).await.unwrap();
    let mut watch = Ballots::of(&handle).watch(NS, "b").await.unwrap();
    assert!(watch.next().await.unwrap().unwrap().rounds[0].voted.is_empty());
    Ballots::of(&handle).cast(vote("ann", "ship")).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().rounds[0].voted, ["ann"]);
    Ballots::of(&handle).cancel(NS, "b", "ann", None).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().status, BallotStatus::Cancelled);
    assert!(watch.next().await.is_none(), "it has ended");
    assert_eq!(Ballots::of(&handle).close(NS, "b", "ann", None).await.unwrap_err().code, Code::BallotClosed);
    Ballots::of(&handle).delete(NS, "b").await.unwrap();
    assert_eq!(Ballots::of(&handle).show(NS, "b").await.unwrap_err().code, Code::BallotNotFound);
}
