//! The access rules of every call.
//!
//! For: admitting a call before any of it is read, by the same rules as over HTTP. Not for: permissions of single calls
//! (there is one token, and it may do all).
//! Invariant: with a token the token decides; without one only this machine may call.

use std::net::SocketAddr;

use consort_listen::access::{TokenCheck, check_bearer, is_loopback, names_loopback};
use consort_types::{Code, Error, Secret};
use http::{HeaderMap, Request, header, uri::Authority};
use tonic::Status;

use crate::status::{status, unauthenticated};

/// The service that needs no token: it reveals nothing but that the server is there.
const OPEN: &str = "/grpc.health.v1.Health/";

/// Decides whether a call is admitted.
pub(crate) fn admit<B>(peer: SocketAddr, request: &Request<B>, token: Option<&Secret>) -> Result<(), Status> {
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) {
        return Err(denied("the call was made by a page in a browser", "call from a program"));
    }
    match token {
        Some(_) if request.uri().path().starts_with(OPEN) => Ok(()),
        Some(token) => check_token(headers, token),
        None => check_loopback(peer, authority_of(request).as_ref()),
    }
}

fn denied(message: &str, hint: &str) -> Status {
    status(Error::new(Code::Denied, message).hint(hint))
}

/// The server that the call names.
fn authority_of<B>(request: &Request<B>) -> Option<Authority> {
    let host = || request.headers().get(header::HOST)?.to_str().ok()?.parse().ok();
    request.uri().authority().cloned().or_else(host)
}

fn check_token(headers: &HeaderMap, token: &Secret) -> Result<(), Status> {
    let refused = |message: &str| {
        let error = Error::new(Code::Denied, message);
        Err(unauthenticated(error.hint("send the server's token as `authorization: Bearer TOKEN`")))
    };
    match check_bearer(headers, token) {
        TokenCheck::Right => Ok(()),
        TokenCheck::Wrong => refused("the token is not the server's"),
        TokenCheck::Nothing => refused("the call has no token"),
    }
}

fn check_loopback(peer: SocketAddr, authority: Option<&Authority>) -> Result<(), Status> {
    let hint = "give the server a token, and send it with each call";
    if !is_loopback(peer.ip()) {
        return Err(denied("without a token the server answers only the machine that it runs on", hint));
    }
    if !authority.is_some_and(|authority| names_loopback(authority.host())) {
        return Err(denied("the call does not name this machine", "use `127.0.0.1`, `[::1]` or `localhost`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tonic::Code::{PermissionDenied, Unauthenticated};

    use super::*;

    const HERE: &str = "127.0.0.1:4000";

    fn check(peer: &str, target: &str, fields: &[(&str, &str)], token: Option<&str>) -> Option<tonic::Code> {
        let mut request = Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let token = token.map(|token| Secret::new("token", token).unwrap());
        let request = request.body(()).unwrap();
        admit(peer.parse().unwrap(), &request, token.as_ref()).err().map(|status| status.code())
    }

    #[test]
    fn without_a_token_only_this_machine_comes_in() {
        for (peer, authority, expected) in [
            (HERE, "127.0.0.1:7878", None),
            (HERE, "LocalHost:1", None),
            ("[::1]:4000", "[::1]:7878", None),
            ("[::ffff:127.0.0.1]:4000", "127.0.0.1", None),
            ("192.0.2.7:4000", "127.0.0.1", Some(PermissionDenied)),
            ("[::ffff:192.0.2.7]:4000", "localhost", Some(PermissionDenied)),
            (HERE, "evil.example", Some(PermissionDenied)),
            (HERE, "127.0.0.1.evil.example:80", Some(PermissionDenied)),
            (HERE, "192.0.2.7", Some(PermissionDenied)),
        ] {
            let target = format!("http://{authority}/consort.v1.WorkerService/Connect");
            assert_eq!(check(peer, &target, &[], None), expected, "{peer} {authority}");
        }
        assert_eq!(check(HERE, "/a.B/C", &[], None), Some(PermissionDenied), "a call that names no server");
        assert_eq!(check(HERE, "/a.B/C", &[("host", "localhost:1")], None), None);
    }

    #[test]
    fn a_token_is_asked_for_from_everywhere_but_for_health() {
        for (authorization, expected) in [
            ("Bearer sesame", None),
            ("bearer  sesame", None),
            ("Bearer sesam", Some(Unauthenticated)),
            ("Bearer ", Some(Unauthenticated)),
            ("Bearer", Some(Unauthenticated)),
            ("Basic sesame", Some(Unauthenticated)),
        ] {
            for peer in [HERE, "192.0.2.7:4000"] {
                let fields = [("authorization", authorization)];
                let target = "http://a.example/consort.v1.WorkerService/Connect";
                assert_eq!(check(peer, target, &fields, Some("sesame")), expected, "{authorization}");
            }
        }
        let reflection = "http://a.example/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        assert_eq!(check(HERE, reflection, &[], Some("sesame")), Some(Unauthenticated));
        let two = [("authorization", "Bearer sesame"), ("authorization", "Bearer x")];
        assert_eq!(check(HERE, reflection, &two, Some("sesame")), Some(Unauthenticated));
        let health = "http://a.example/grpc.health.v1.Health/Check";
        assert_eq!(check("192.0.2.7:1", health, &[], Some("sesame")), None);
        assert_eq!(check("192.0.2.7:1", health, &[], None), Some(PermissionDenied));
    }

    #[test]
    fn pages_in_browsers_are_refused() {
        let fields = [("origin", "http://127.0.0.1:7878"), ("authorization", "Bearer sesame")];
        for token in [None, Some("sesame")] {
            assert_eq!(check(HERE, "http://127.0.0.1:7878/a.B/C", &fields, token), Some(PermissionDenied));
        }
    }
}
