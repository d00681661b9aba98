//! Shared state: keys, transactions, spaces, conflicts and watches.
//!
//! For: the state store of a namespace. Not for: what a write comes to (the machine decides).
//! Invariant: an answer to a write is sent after its command is durable.

use consort_api::{
    spaces::{
        DecideConflict, DecidedVersion, DeleteSpace, ListConflicts, ListSpaces, SetSpace, ShowConflict, ShowSpace,
    },
    state::{DeleteState, GetState, ListState, PutState, StateEvent, StateHistory, TransactState, WatchState},
};
use consort_engine::{Choice, StateStore};
use consort_types::{
    Code, Error, Result, Seq,
    state::{Action, Position, Writer},
};
use futures::StreamExt as _;

use super::events;
use crate::{
    answer::ResponseBody,
    convert::{self, state as shown},
    problem::Problem,
    request::RequestContext,
    route::{Handled, Route, route},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        route::<ListSpaces, _>(spaces),
        route::<ShowSpace, _>(space),
        route::<SetSpace, _>(set_space),
        route::<DeleteSpace, _>(delete_space),
        route::<ListState, _>(list),
        route::<GetState, _>(get),
        route::<PutState, _>(put),
        route::<DeleteState, _>(delete),
        route::<StateHistory, _>(history),
        route::<TransactState, _>(transact),
        route::<WatchState, _>(watch),
        route::<ListConflicts, _>(conflicts),
        route::<ShowConflict, _>(conflict),
        route::<DecideConflict, _>(decide),
    ]
}

fn store<O: consort_api::Operation>(request: &RequestContext<O>) -> Result<StateStore> {
    StateStore::of(request.engine(), &request.namespace)
}

async fn spaces(request: RequestContext<ListSpaces>) -> Handled<ListSpaces> {
    let page = store(&request)?.spaces(request.params.cursor.clone(), request.params.limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, shown::space)))
}

async fn space(request: RequestContext<ShowSpace>) -> Handled<ShowSpace> {
    Ok(ResponseBody::Reply(shown::space(store(&request)?.space(&request.params.space).await?)))
}

async fn set_space(request: RequestContext<SetSpace>) -> Handled<SetSpace> {
    let (settings, merges) = (request.body.clone().into(), request.body.merges());
    store(&request)?.set_space(&request.params.space, settings, merges).await?;
    Ok(ResponseBody::Reply(()))
}

async fn delete_space(request: RequestContext<DeleteSpace>) -> Handled<DeleteSpace> {
    store(&request)?.delete_space(&request.params.space).await?;
    Ok(ResponseBody::Reply(()))
}

async fn list(request: RequestContext<ListState>) -> Handled<ListState> {
    let asked = &request.params;
    let prefix = asked.prefix.as_deref().unwrap_or("");
    let page = store(&request)?.list(&asked.space, prefix, asked.cursor.clone(), asked.limit).await?;
    Ok(ResponseBody::Reply(shown::list(page)))
}

async fn get(request: RequestContext<GetState>) -> Handled<GetState> {
    let asked = &request.params;
    let value = store(&request)?.get(&asked.space, &asked.key, asked.version.map(Seq)).await?;
    Ok(ResponseBody::Reply(shown::value(value)))
}

async fn put(request: RequestContext<PutState>) -> Handled<PutState> {
    let (asked, body) = (&request.params, request.body.clone());
    let action = Action::Put {
        value: body.value.into(),
        saw: body.version.map(Seq),
        ttl: body.ttl,
        stamp: body.stamp.map(Into::into),
        base: body.base.map(Into::into),
    };
    let (fences, by) = (body.fence.into_iter().map(Into::into).collect(), Writer::client(body.by.as_deref()));
    let written = store(&request)?.write(&asked.space, &asked.key, action, fences, by).await?;
    Ok(ResponseBody::Reply(shown::result(written)))
}

async fn delete(request: RequestContext<DeleteState>) -> Handled<DeleteState> {
    let asked = &request.params;
    let (action, by) = (Action::Delete { saw: asked.version.map(Seq) }, Writer::client(asked.by.as_deref()));
    let written = store(&request)?.write(&asked.space, &asked.key, action, Vec::new(), by).await?;
    Ok(ResponseBody::Reply(shown::result(written)))
}

async fn history(request: RequestContext<StateHistory>) -> Handled<StateHistory> {
    let asked = &request.params;
    let page = store(&request)?.history(&asked.space, &asked.key, asked.cursor.clone(), asked.limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, shown::change)))
}

async fn transact(request: RequestContext<TransactState>) -> Handled<TransactState> {
    let (transaction, by) = shown::transaction(&request.body)?;
    Ok(ResponseBody::Reply(shown::transacted(store(&request)?.transact(transaction, by).await?)))
}

async fn watch(request: RequestContext<WatchState>) -> Handled<WatchState> {
    let asked = &request.params;
    let last = asked.last_event_id.as_deref().filter(|last| !last.is_empty());
    let after = last.or(asked.after.as_deref()).map(str::parse::<Position>).transpose()?;
    let watch = store(&request)?.watch(&asked.space, asked.prefix.as_deref().unwrap_or(""), after).await?;
    let events = watch.into_stream().map(|change| match change {
        Ok(change) => {
            let id = change.at.to_string();
            (StateEvent::Change(Box::new(shown::change(change))), Some(id))
        }
        Err(error) => (StateEvent::Error(Problem::from(error).document()), None),
    });
    Ok(ResponseBody::Raw(events::stream(events, request.closing)))
}

async fn conflicts(request: RequestContext<ListConflicts>) -> Handled<ListConflicts> {
    let asked = &request.params;
    let page = store(&request)?.conflicts(&asked.space, asked.undecided, asked.cursor.clone(), asked.limit).await?;
    Ok(ResponseBody::Reply(convert::page(page, shown::conflict)))
}

async fn conflict(request: RequestContext<ShowConflict>) -> Handled<ShowConflict> {
    let conflict = store(&request)?.conflict(&request.params.space, request.params.conflict).await?;
    Ok(ResponseBody::Reply(shown::conflict(conflict)))
}

async fn decide(request: RequestContext<DecideConflict>) -> Handled<DecideConflict> {
    let (asked, body) = (&request.params, request.body.clone());
    let choice = match (body.candidate, body.value) {
        (Some(place), None) => Choice::Candidate(place),
        (None, Some(value)) => Choice::Value(value.into()),
        _ => {
            return Err(Error::new(Code::BadRequest, "the decision names none or both of `candidate` and `value`")
                .hint("give exactly one of them")
                .into());
        }
    };
    let by = Writer::client(Some(&body.by));
    let version = store(&request)?.decide(&asked.space, asked.conflict, choice, by, body.comment).await?;
    Ok(ResponseBody::Reply(DecidedVersion { version: version.0 }))
}
