//! The HTTP interface on this engine.
//!
//! For: joining `api-http` to the settings. Not for: routes.
//! Invariant: what listens asks for the token where one is set; the router for this process never listens.

use axum::Router;
use consort_api_http::{ApiConfig, ServeConfig};
use consort_engine::Handle;
use consort_types::{Result, Secret};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Settings;

/// The interface for whoever connects.
pub(crate) fn for_peers(handle: Handle, settings: &Settings) -> Result<Router> {
    let token = settings.token().map(|token| Secret::new("token", token)).transpose()?;
    Ok(consort_api_http::router(handle, ApiConfig { token }))
}

/// The interface for callers in this process.
pub(crate) fn for_this_process(handle: Handle) -> Router {
    consort_api_http::in_process(handle)
}

/// Serves until `stop`, and then until the requests in flight have ended.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    if let Err(error) = consort_api_http::serve(listener, router, ServeConfig::default(), stop.cancelled_owned()).await
    {
        tracing::error!("the listener has stopped: {error}");
    }
}
