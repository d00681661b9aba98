//! The gRPC interface as a door of a listener.
//!
//! For: the access rules, and the limits of what arrives. Not for: connections (`consort-listen` bounds those), or what
//! is asked over them (the services' matter).
//! Invariant: a call that is not admitted reaches no service, and a message that has begun arrives in time.

use consort_listen::{Caller, Door, NoDoor, ServeConfig};
use consort_types::{Code, Error, limits};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tonic::body::Body;
use tower::Service as _;

use crate::{Api, access, arriving::Arriving, status::status};

/// The call whose first message is `Hello`.
const CONNECT: &str = "/consort.v1.WorkerService/Connect";

impl Door for Api {
    type Body = Body;

    // Without a seat the connection closes, which gRPC answers with a pause and another try.
    const FULL: &'static [u8] = b"";

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Response<Body> {
        let mut api = self.clone();
        if let Err(refusal) = access::admit(caller.peer, &request, api.token.as_deref()) {
            return refusal.into_http();
        }
        let hello = request.uri().path() == CONNECT;
        let first_max = hello.then_some(limits::GRPC_HELLO_BYTES_MAX);
        let request =
            request.map(|body| Arriving::new(body, api.budget.clone(), caller.body_timeout).first_within(first_max));
        let Ok(response) = api.routes.call(request).await;
        response
    }

    fn refuse(&self) -> Response<Body> {
        status(Error::new(Code::Overloaded, "too many connections").hint("try again after `1s`")).into_http()
    }
}

/// Serves the interface alone on a listener until `shutdown` ends, and then until the calls in flight have ended, at
/// most [`ServeConfig::drain_timeout`].
pub async fn serve(listener: TcpListener, api: Api, config: ServeConfig, shutdown: impl Future<Output = ()> + Send) {
    consort_listen::serve(listener, None::<NoDoor>, Some(api), config, shutdown).await;
}
