//! The HTTP interface as a door of a listener.
//!
//! For: the peer address of a request, and the time that its body may take. Not for: connections (`consort-listen`
//! bounds those), or what is asked (the router's matter).
//! Invariant: a body arrives in time or the request ends, and a request knows its peer and when the server stops.

mod body;

use axum::{Router, body::Body};
pub(crate) use consort_listen::Closing;
use consort_listen::{Caller, Door, NoDoor, ServeConfig};
use consort_types::{Code, Error, limits};
use hyper::{Request, Response, StatusCode, body::Incoming, header};
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

    fn unreadable(status: u16) -> Option<Vec<u8>> {
        let status = StatusCode::from_u16(status).ok()?;
        let body = serde_json::to_string(&Problem::unreadable(status).document()).ok()?;
        let reason = status.canonical_reason().unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {} {reason}\r\ncontent-type: application/problem+json\r\nconnection: close\r\ncontent-length: {}",
            status.as_u16(),
            body.len()
        );
        Some(format!("{head}\r\n\r\n{body}").into_bytes())
    }

    async fn answer(&self, request: Request<Incoming>, caller: Caller) -> Response<Body> {
        // The protocol's library reads a little more than its buffer.
        if head_bytes(&request) > limits::HTTP_HEAD_BYTES_MAX {
            return Problem::unreadable(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).into_response();
        }
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

/// The bytes of the head of a request, as HTTP/1.1 has it.
fn head_bytes<B>(request: &Request<B>) -> usize {
    const LINE: usize = " HTTP/1.1\r\n".len() + 1;
    const FIELD: usize = ": \r\n".len();
    let uri = request.uri();
    let target = uri.path().len() + uri.query().map_or(0, |query| query.len() + 1);
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD);
    request.method().as_str().len() + target + LINE + fields.sum::<usize>() + "\r\n".len()
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
    fn what_cannot_be_read_is_refused_in_whole_answers() {
        for status in [400, 414, 431] {
            let text = String::from_utf8(HttpDoor::unreadable(status).unwrap()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")) && head.contains("problem+json"), "{head}");
            assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head}");
            let problem: consort_api::Problem = serde_json::from_str(body).unwrap();
            assert!(problem.status == status && problem.hint.is_some(), "{body}");
        }
    }

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
