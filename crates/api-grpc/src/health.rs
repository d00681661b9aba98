//! The standard health service.
//!
//! For: probes of orchestrators and load balancers. Not for: the health of agents.
//! Invariant: the answer is the engine's state at that moment.

use std::time::Duration;

use consort_engine::Handle;
use consort_proto::v1::worker_service_server;
use consort_types::{Code, Error};
use futures::{StreamExt as _, stream, stream::BoxStream};
use tonic::{Request, Response, Status};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server};

use crate::status::status;

/// How often a watched state is polled.
const LOOK: Duration = Duration::from_secs(1);
/// What can be asked about; the empty name is the whole server.
const SERVICES: [&str; 2] = ["", worker_service_server::SERVICE_NAME];

/// The service.
pub(crate) struct Health {
    engine: Handle,
}

impl Health {
    pub(crate) fn new(engine: Handle) -> Self {
        Self { engine }
    }
}

async fn serving(engine: &Handle) -> ServingStatus {
    if engine.ready().await.is_ok() { ServingStatus::Serving } else { ServingStatus::NotServing }
}

fn answer(serving: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: serving.into() }
}

#[async_trait::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !SERVICES.contains(&service.as_str()) {
            let error = Error::new(Code::RouteNotFound, format!("there is no service `{service}`"));
            return Err(status(error.hint("ask reflection for the services")));
        }
        Ok(Response::new(answer(serving(&self.engine).await)))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    /// The state at once, and again whenever it has changed.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let known = SERVICES.contains(&request.into_inner().service.as_str());
        let states = stream::unfold((self.engine.clone(), None), move |(engine, last)| async move {
            let mut now = if known { serving(&engine).await } else { ServingStatus::ServiceUnknown };
            while Some(now) == last {
                tokio::time::sleep(LOOK).await;
                now = if known { serving(&engine).await } else { ServingStatus::ServiceUnknown };
            }
            Some((Ok(answer(now)), (engine, Some(now))))
        });
        Ok(Response::new(states.boxed()))
    }
}
