//! The gRPC interface: translate, authenticate, call the engine.
//!
//! For: workers in any language. Not for: clients, which speak HTTP; rules of any kind, which are the engine's,
//! whatever the door.
//! Invariant: a call that is refused ends with a status and, in `consort-error-bin`, the error with its stable code;
//! one worker's fault ends its own stream and no other.

mod access;
mod arriving;
mod health;
mod serve;
mod status;
mod worker;

use std::sync::Arc;

use consort_engine::Handle;
use consort_proto::{DESCRIPTORS, v1::worker_service_server::WorkerServiceServer};
use consort_types::{Secret, Span, limits};
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

pub use consort_listen::ServeConfig;
pub use serve::serve;

/// What the interface needs to know beside the engine.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// The token that every call must bring; without one only this machine may call.
    pub token: Option<Secret>,
    /// How long a worker may be silent before it counts as lost: the setting of the engine.
    pub heartbeat_timeout: Span,
}

/// The interface, ready to be served. Clones are the same.
#[derive(Clone)]
pub struct Api {
    routes: Routes,
    token: Option<Arc<Secret>>,
    budget: arriving::Budget,
}

/// The interface to an engine.
pub fn api(engine: Handle, config: ApiConfig) -> Api {
    let max = limits::GRPC_BATCH_BYTES_MAX;
    let workers = worker::Workers::new(engine.clone(), config.heartbeat_timeout);
    let routes = Routes::new(WorkerServiceServer::new(workers).max_decoding_message_size(max))
        .add_service(HealthServer::new(health::Health::new(engine)));
    let routes = match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes.add_service(v1).add_service(v1alpha),
        // The descriptors are part of the program; a test reads them.
        (v1, v1alpha) => panic!("the built-in descriptors: {:?} {:?}", v1.err(), v1alpha.err()),
    };
    Api { routes: routes.prepare(), token: config.token.map(Arc::new), budget: arriving::Budget::default() }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
