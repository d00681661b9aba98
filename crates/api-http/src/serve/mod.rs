//! The HTTP interface as a door of a listener.
//!
//! For: the peer address of a request, and the time that its body may take. Not for: connections (`consort-listen`
//! bounds those), or what is asked (the router's matter).
//! Invariant: a body arrives in time or the request ends, and a request knows its peer and when the server stops.

mod body;

use axum::{Router, body::Body};
pub(crate) use consort_listen::Closing;
use consort_listen::{Caller, Door, NoDoor, ServeConfig};
use consort_types::{Code, Error};
use hyper::{Request, Response, body::Incoming, header};
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use crate::{access::Peer, problem::Problem};
use body::TimedBody;

/// The interface behind a listener.
#[derive(Clone)]
pub struct HttpDoor(Router);

impl HttpDoor {
    /// A door for a router.
    pub fn new(router: Router) -> Self {
        Self(router)
    }
}

impl Door for HttpDoor {
    type Body = Body;

    // It was not read from the connection what would be asked, so the answer is the same for all.
    const FULL: &'static [u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
retry-after: 1\r\nconnection: close\r\ncontent-length: 138\r\n\r\n\
{\"type\":\"/v1/errors/C0401\",\"title\":\"overloaded\",\"status\":503,\"detail\":\"too many connections\",\"code\":\"C0401\",\"hint\":\"try again after `1s`\"}";

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Response<Body> {
        let mut request = request.map(|body| Body::new(TimedBody::new(body, caller.body_timeout)));
        request.extensions_mut().insert(Peer::Address(caller.peer));
        request.extensions_mut().insert(caller.closing);
        let Ok(response) = self.0.clone().oneshot(request).await;
        response
    }

    fn refuse(&self) -> Response<Body> {
        let error = Error::new(Code::Overloaded, "too many connections").hint("try again after `1s`");
        let mut response = Problem::from(error).into_response();
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
        response
    }
}

/// Serves a router alone on a listener until `shutdown` ends, and then until the requests in flight have ended, at most
/// [`ServeConfig::drain_timeout`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: ServeConfig,
    shutdown: impl Future<Output = ()> + Send,
) {
    consort_listen::serve(listener, Some(HttpDoor(router)), None::<NoDoor>, config, shutdown).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_is_a_whole_answer() {
        let text = std::str::from_utf8(HttpDoor::FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        let problem: consort_api::Problem = serde_json::from_str(body).unwrap();
        let code = consort_types::Code::Overloaded;
        assert_eq!((problem.code, problem.title.as_str()), (code.to_string(), code.title()));
    }
}
