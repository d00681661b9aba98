//! A route: an operation of the table with the function that handles it.
//!
//! For: joining `consort_api`'s types with handlers. Not for: handlers.
//! Invariant: a handler gets parameters and body of its operation's types, read as the specification defines, and its
//! reply is written as the specification defines; so the description cannot be wrong.

use axum::{body::Body, extract::Request, http::Response};
use consort_api::{Entry, Operation, operations};
use futures::future::BoxFuture;

use crate::{answer::ResponseBody, problem::Problem, request::RequestContext, state::Api};

/// The outcome of a request.
pub(crate) type Answer = Result<Response<Body>, Problem>;

/// What a handler of an operation gives.
pub(crate) type Handled<O> = Result<ResponseBody<<O as Operation>::Reply>, Problem>;

/// Handles a request for an operation.
type Handle = Box<dyn Fn(&'static Entry, Api, Request) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A route.
pub(crate) struct Route {
    pub(crate) entry: &'static Entry,
    pub(crate) handle: Handle,
}

/// The route of an operation.
///
/// # Panics
/// Where the operation is not in the table.
pub(crate) fn route<O, F>(handler: fn(RequestContext<O>) -> F) -> Route
where
    O: Operation,
    F: Future<Output = Handled<O>> + Send + 'static,
{
    let entry = operations().iter().find(|entry| entry.spec.id == O::SPEC.id);
    let entry = entry.expect("an operation that is handled is in the table");
    let handle: Handle = Box::new(move |entry, api, request| {
        Box::pin(async move {
            let request = RequestContext::<O>::read(entry, api, request).await?;
            let namespace = request.namespace.clone();
            Ok(handler(request).await?.into_response(&entry.spec, &namespace)?)
        })
    });
    Route { entry, handle }
}
