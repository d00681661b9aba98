//! Ballots.
//!
//! For: opening, voting, looking, following and ending. Not for: counting (the machine does).
//! Invariant: an answer to a change is sent after its command is durable.

use consort_api::ballots::{
    BallotEvent, CancelBallot, CastVote, CloseBallot, DeleteBallot, ListBallots, OpenBallot, ShowBallot, WatchBallot,
};
use consort_engine::view::BallotStatus;
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
    let page = request.engine().ballots(&request.namespace, status, params.cursor.clone(), params.limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, convert::ballot_summary)))
}

async fn open(request: RequestContext<OpenBallot>) -> Handled<OpenBallot> {
    let (engine, namespace, name) = (request.engine(), &request.namespace, &request.params.ballot);
    engine.open_ballot(namespace, name, request.body.clone().try_into()?).await?;
    Ok(ResponseBody::Reply(convert::ballot(engine.ballot(namespace, name).await?)))
}

async fn show(request: RequestContext<ShowBallot>) -> Handled<ShowBallot> {
    let ballot = request.engine().ballot(&request.namespace, &request.params.ballot).await?;
    Ok(ResponseBody::Reply(convert::ballot(ballot)))
}

async fn watch(request: RequestContext<WatchBallot>) -> Handled<WatchBallot> {
    let watch = request.engine().watch_ballot(&request.namespace, &request.params.ballot).await?;
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
    request.engine().cast_vote(vote).await?;
    Ok(ResponseBody::Reply(()))
}

async fn close(request: RequestContext<CloseBallot>) -> Handled<CloseBallot> {
    let (ballot, by, reason) = (&request.params.ballot, &request.body.by, request.body.reason.clone());
    request.engine().close_ballot(&request.namespace, ballot, by, reason).await?;
    Ok(ResponseBody::Reply(()))
}

async fn cancel(request: RequestContext<CancelBallot>) -> Handled<CancelBallot> {
    let (ballot, by, reason) = (&request.params.ballot, &request.body.by, request.body.reason.clone());
    request.engine().cancel_ballot(&request.namespace, ballot, by, reason).await?;
    Ok(ResponseBody::Reply(()))
}

async fn delete(request: RequestContext<DeleteBallot>) -> Handled<DeleteBallot> {
    request.engine().delete_ballot(&request.namespace, &request.params.ballot).await?;
    Ok(ResponseBody::Reply(()))
}
