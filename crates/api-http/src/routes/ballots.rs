//! Ballots.
//!
//! For: opening, voting, looking, following and ending. Not for: counting (the machine does).
//! Invariant: an answer to a change is sent after its command is durable.

use consort_api::ballots::{
    BallotEvent, CancelBallot, CastVote, CloseBallot, DeleteBallot, ListBallots, OpenBallot, ShowBallot, WatchBallot,
};
use consort_engine::{Ballots, view::BallotStatus};
use futures::{StreamExt as _, stream};

use super::events;
use crate::{
    answer::ResponseBody,
    convert,
    problem::Problem,
    request::RequestContext,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<ListBallots, _>(list),
        route::<OpenBallot, _>(open),
        route::<ShowBallot, _>(show),
        route::<WatchBallot, _>(watch),
        route::<CastVote, _>(cast),
        route::<CloseBallot, _>(close),
        route::<CancelBallot, _>(cancel),
        route::<DeleteBallot, _>(delete),
    ]
}

async fn list(request: RequestContext<ListBallots>) -> Handled<ListBallots> {
    let params = &request.params;
    let status = params.status.map(convert::ballot_status);
    let page =
        Ballots::of(request.engine()).list(&request.namespace, status, params.cursor.clone(), params.limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, convert::ballot_summary)))
}

async fn open(request: RequestContext<OpenBallot>) -> Handled<OpenBallot> {
    let (ballots, namespace, name) = (Ballots::of(request.engine()), &request.namespace, &request.params.ballot);
    ballots.open(namespace, name, request.body.clone().try_into()?).await?;
    Ok(ResponseBody::Reply(convert::ballot(ballots.show(namespace, name).await?)))
}

async fn show(request: RequestContext<ShowBallot>) -> Handled<ShowBallot> {
    let ballot = Ballots::of(request.engine()).show(&request.namespace, &request.params.ballot).await?;
    Ok(ResponseBody::Reply(convert::ballot(ballot)))
}

async fn watch(request: RequestContext<WatchBallot>) -> Handled<WatchBallot> {
    let watch = Ballots::of(request.engine()).watch(&request.namespace, &request.params.ballot).await?;
    let ballots = stream::unfold(watch, |mut watch| async move { watch.next().await.map(|found| (found, watch)) });
    let events = ballots.map(|found| match found {
        Ok(found) if found.status == BallotStatus::Open => BallotEvent::Ballot(Box::new(convert::ballot(found))),
        Ok(found) => BallotEvent::End(Box::new(convert::ballot(found))),
        Err(error) => BallotEvent::Error(Problem::from(error).document()),
    });
    Ok(ResponseBody::Raw(events::stream(events.map(|event| (event, None)), request.closing)))
}

async fn cast(request: RequestContext<CastVote>) -> Handled<CastVote> {
    let vote = consort_engine::CastVote {
        namespace: request.namespace.clone(),
        ballot: request.params.ballot.clone(),
        voter: request.body.voter.clone(),
        round: request.body.round,
        choice: request.body.what()?,
        reason: request.body.reason.clone(),
    };
    Ballots::of(request.engine()).cast(vote).await?;
    Ok(ResponseBody::Reply(()))
}

async fn close(request: RequestContext<CloseBallot>) -> Handled<CloseBallot> {
    let (ballot, by, reason) = (&request.params.ballot, &request.body.by, request.body.reason.clone());
    Ballots::of(request.engine()).close(&request.namespace, ballot, by, reason).await?;
    Ok(ResponseBody::Reply(()))
}

async fn cancel(request: RequestContext<CancelBallot>) -> Handled<CancelBallot> {
    let (ballot, by, reason) = (&request.params.ballot, &request.body.by, request.body.reason.clone());
    Ballots::of(request.engine()).cancel(&request.namespace, ballot, by, reason).await?;
    Ok(ResponseBody::Reply(()))
}

async fn delete(request: RequestContext<DeleteBallot>) -> Handled<DeleteBallot> {
    Ballots::of(request.engine()).delete(&request.namespace, &request.params.ballot).await?;
    Ok(ResponseBody::Reply(()))
}
