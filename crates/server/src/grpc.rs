//! The gRPC interface on this engine.
//!
//! For: joining `api-grpc` to the settings. Not for: services.
//! Invariant: what listens asks for the token where one is set.

use std::time::Duration;

use consort_api_grpc::{Api, ApiConfig, ServeConfig};
use consort_engine::Handle;
use consort_types::{Result, Secret};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Settings;

/// How long calls may take to end after the engine has stopped: they only have to say so.
const END: Duration = Duration::from_secs(1);

/// The interface for whoever connects.
pub(crate) fn for_peers(handle: Handle, settings: &Settings) -> Result<Api> {
    let token = settings.token().map(|token| Secret::new("token", token)).transpose()?;
    let heartbeat_timeout = settings.engine().heartbeat_timeout;
    Ok(consort_api_grpc::api(handle, ApiConfig { token, heartbeat_timeout }))
}

/// Serves until `stop`, and then until the calls in flight have ended.
pub(crate) async fn serve(listener: TcpListener, api: Api, stop: CancellationToken) {
    let config = ServeConfig { drain_timeout: END, ..ServeConfig::default() };
    consort_api_grpc::serve(listener, api, config, stop.cancelled_owned()).await;
}
