//! The way to an engine: the one client of `consort_api`, over the router in this process or over TCP.
//!
//! For: opening it. Not for: what is asked (each operation is declared in `consort_api`).
//! Invariant: a command does the same whether the engine is in this process or in another one.

use bytes::Bytes;
use consort_api::client::{Body, Tcp, Transport};
pub(crate) use consort_api::client::{Client, Event, Events};
use consort_types::Result;
use futures::future::BoxFuture;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response};
use tower::ServiceExt as _;

/// The engine of this process.
struct Local(axum::Router);

impl Transport for Local {
    fn send(&self, request: Request<Full<Bytes>>) -> BoxFuture<'_, Result<Response<Body>>> {
        let router = self.0.clone();
        Box::pin(async move {
            let answered = router.oneshot(request.map(axum::body::Body::new)).await;
            let response = answered.unwrap_or_else(|never| match never {});
            Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
        })
    }
}

/// A client of the engine in this process.
pub(crate) fn local(router: axum::Router) -> Client {
    Client::new(Local(router))
}

/// A client of the server at `HOST:PORT`.
pub(crate) fn remote(address: &str) -> Result<Client> {
    Ok(Client::new(Tcp::new(address)?))
}
