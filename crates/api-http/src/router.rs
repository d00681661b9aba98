//! From the table of routes to a router.
//!
//! For: putting the access rules, the refusals and the handlers together. Not for: any one route.
//! Invariant: every answer passes through here, so that none is without its headers and no panic ends a connection.

use std::{panic::AssertUnwindSafe, sync::LazyLock};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Response, header},
    middleware::{self, Next},
    routing::{MethodFilter, MethodRouter, on},
};
use consort_api::Method;
use consort_engine::Handle;
use consort_types::{Code, Error};
use futures::FutureExt as _;

use crate::{
    access::{self, Peer},
    problem::Problem,
    route::{Answer, Route},
    routes,
    state::{Api, ApiConfig},
};

/// The table, with handlers.
pub(crate) static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(routes::all);

/// The probes answer without a token, so that a monitor needs none.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// The interface behind the access rules. Each request must carry a [`Peer`]; [`crate::serve()`] sees to that.
pub fn router(handle: Handle, config: ApiConfig) -> Router {
    let api = Api::new(handle, config);
    let mut router: Router<Api> = Router::new();
    for route in ROUTES.iter() {
        router = router.route(route.entry.spec.path, method(route));
    }
    router
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(api.clone(), guard))
        .with_state(api)
}

/// The same for a caller in this process. Never put it on a listener: no request needs a token.
pub fn in_process(handle: Handle) -> Router {
    router(handle, ApiConfig::default()).layer(Extension(Peer::InProcess))
}

fn method(route: &'static Route) -> MethodRouter<Api> {
    let filter = match route.entry.spec.method {
        Method::Get => MethodFilter::GET,
        Method::Post => MethodFilter::POST,
        Method::Put => MethodFilter::PUT,
        Method::Delete => MethodFilter::DELETE,
    };
    on(filter, move |State(api): State<Api>, request: Request| dispatch(route, api, request))
}

async fn dispatch(route: &'static Route, api: Api, request: Request) -> Response<Body> {
    let answer = (route.handle)(route.entry, api, request);
    let answer: Answer = AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
        let message = format!("`{}` met a defect", route.entry.spec.id);
        Err(Error::new(Code::Internal, message).hint("please report it with the request").into())
    });
    answer.unwrap_or_else(Problem::into_response)
}

async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response<Body> {
    let peer = request.extensions().get::<Peer>().copied();
    let open = OPEN.contains(&request.uri().path());
    let mut response = match access::admit(peer, request.uri(), request.headers(), api.token(), open) {
        Ok(()) => next.run(request).await,
        Err(refusal) => Problem::from(refusal).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn no_route(request: Request) -> Response<Body> {
    let message = format!("there is nothing at `{}`", request.uri().path());
    Problem::from(Error::new(Code::RouteNotFound, message).hint("`GET /v1/openapi.json` lists every path"))
        .into_response()
}

async fn no_method(request: Request) -> Response<Body> {
    let path = request.uri().path();
    let message = format!("`{}` is not a method of `{path}`", request.method());
    let hint = "the `Allow` header names those that it takes";
    Problem::from(Error::new(Code::MethodNotAllowed, message).hint(hint)).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_of_the_table_has_a_handler_and_nothing_else_has() {
        let handled: BTreeSet<_> = ROUTES.iter().map(|route| route.entry.spec.id).collect();
        let declared: BTreeSet<_> = consort_api::operations().iter().map(|entry| entry.spec.id).collect();
        assert_eq!(handled, declared);
        assert_eq!(handled.len(), ROUTES.len(), "no operation is handled twice");
    }
}
