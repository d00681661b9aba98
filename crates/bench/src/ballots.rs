//! Ballots, in process.
//!
//! For: whole ballots a second: opened, voted on by three, decided. Not for: large electorates, or what reaching the engine
//! costs.
//! Invariant: every ballot that is counted was looked at, and is decided for what its voters chose.

use std::time::{Duration, Instant};

use consort_engine::{Ballots, CastVote, Handle, view::BallotStatus};
use consort_types::ballot::{BallotSpec, Choice, Rule, Voter};
use tokio::task::JoinSet;

use crate::{
    keys::CLIENTS,
    report::{figure, quantile},
    through_http::Outcome,
};

const TRANSPORT: &str = "in-process";
const NAMESPACE: &str = "default";
const VOTERS: [&str; 3] = ["ann", "bob", "cy"];

/// Ballots of one client, and of 64.
pub(crate) async fn run(handle: &Handle, quick: bool) -> Outcome<()> {
    let span = if quick { Duration::from_millis(100) } else { Duration::from_secs(3) };
    let mut took = repeat(handle.clone(), "alone".to_owned(), span).await?;
    figure("W9", TRANSPORT, "ballot_p50_us", quantile(&mut took, 0.5), "us");
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(repeat(handle.clone(), format!("c{client}"), span));
    }
    let mut all = Vec::new();
    while let Some(ended) = clients.join_next().await {
        all.extend(ended??);
    }
    figure("W9", TRANSPORT, "ballots_per_second", all.len() as f64 / began.elapsed().as_secs_f64(), "1/s");
    figure("W9", TRANSPORT, "ballot_of_64_p99_us", quantile(&mut all, 0.99), "us");
    Ok(())
}

/// One ballot after the other for as long as `span`; the microseconds that each took.
async fn repeat(handle: Handle, client: String, span: Duration) -> Outcome<Vec<f64>> {
    let (mut took, began) = (Vec::new(), Instant::now());
    while began.elapsed() < span || took.is_empty() {
        let (name, opened) = (format!("{client}-{}", took.len()), Instant::now());
        ballot(&handle, &name).await?;
        took.push(opened.elapsed().as_secs_f64() * 1e6);
        // A namespace keeps only so many.
        Ballots::of(&handle).delete(NAMESPACE, &name).await?;
    }
    Ok(took)
}

/// Opens a ballot, votes for three voters, and looks at what was decided.
async fn ballot(handle: &Handle, name: &str) -> Outcome<()> {
    let ballots = Ballots::of(handle);
    let voters = VOTERS.map(|name| Voter { name: name.to_owned(), weight: 1 }).to_vec();
    let options = vec!["ship".to_owned(), "wait".to_owned()];
    ballots.open(NAMESPACE, name, BallotSpec::new("Ship it?", options, voters, Rule::Unanimous)).await?;
    for voter in VOTERS {
        let vote = CastVote {
            namespace: NAMESPACE.to_owned(),
            ballot: name.to_owned(),
            voter: voter.to_owned(),
            round: None,
            choice: Choice::Option("ship".to_owned()),
            reason: None,
        };
        ballots.cast(vote).await?;
    }
    let status = ballots.show(NAMESPACE, name).await?.status;
    if status == BallotStatus::Decided { Ok(()) } else { Err(format!("ballot `{name}` is {status:?}").into()) }
}
