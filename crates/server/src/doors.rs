//! The interfaces on this engine, and the listeners that serve them.
//!
//! For: joining `api-http` and `api-grpc` to the settings, on one address or on one each. Not for: routes or services.
//! Invariant: a listener requires the token where one is set; the router for this process never listens.

use std::time::Duration;

use axum::Router;
use consort_api_http::HttpDoor;
use consort_engine::Handle;
use consort_listen::{NoDoor, ServeConfig};
use consort_types::{Result, Secret};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Settings;

/// How long requests may take to end after the engine has stopped: they only have to answer that.
const END: Duration = Duration::from_secs(1);

/// The HTTP interface for peers.
pub(crate) fn http(handle: Handle, settings: &Settings) -> Result<HttpDoor> {
    let token = token(settings)?;
    Ok(HttpDoor::new(consort_api_http::router(handle, consort_api_http::ApiConfig { token })))
}

/// The gRPC interface for peers.
pub(crate) fn grpc(handle: Handle, settings: &Settings) -> Result<consort_api_grpc::Api> {
    let (token, heartbeat_timeout) = (token(settings)?, settings.engine().heartbeat_timeout);
    Ok(consort_api_grpc::api(handle, consort_api_grpc::ApiConfig { token, heartbeat_timeout }))
}

/// The HTTP interface for callers in this process.
pub(crate) fn in_process(handle: Handle) -> Router {
    consort_api_http::in_process(handle)
}

fn token(settings: &Settings) -> Result<Option<Secret>> {
    settings.token().map(|token| Secret::new("token", token)).transpose()
}

/// Serves HTTP, and gRPC where it shares the address, until `stop`, and then until the requests in flight have ended.
pub(crate) async fn serve(
    listener: TcpListener,
    http: HttpDoor,
    grpc: Option<consort_api_grpc::Api>,
    stop: CancellationToken,
) {
    consort_listen::serve(listener, Some(http), grpc, config(), stop.cancelled_owned()).await;
}

/// Serves gRPC alone until `stop`, and then until the calls in flight have ended.
pub(crate) async fn serve_grpc(listener: TcpListener, grpc: consort_api_grpc::Api, stop: CancellationToken) {
    consort_listen::serve(listener, None::<NoDoor>, Some(grpc), config(), stop.cancelled_owned()).await;
}

fn config() -> ServeConfig {
    ServeConfig { drain_timeout: END, ..ServeConfig::default() }
}
