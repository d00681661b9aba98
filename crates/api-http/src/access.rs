//! The access rules of every request.
//!
//! For: admitting a request before any of it is read. Not for: permissions of single operations (there is one token,
//! and it may do all).
//! Invariant: a request of unknown origin is refused.

use std::net::SocketAddr;

use axum::http::{HeaderMap, Uri, header, uri::Authority};
use consort_listen::access::{TokenCheck, check_bearer, is_loopback, names_loopback};
use consort_types::{Code, Error, Secret};

/// Where a request comes from; an extension of each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// This process, which owns the engine.
    InProcess,
    /// A connection from this address.
    Address(SocketAddr),
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Refusal {
    /// A token is needed: status 401.
    Unauthenticated(Error),
    /// No token would help: status 403.
    Forbidden(Error),
}

/// Decides whether a request is admitted. With a token the token decides; without one only this machine may.
pub(crate) fn admit(
    peer: Option<Peer>,
    uri: &Uri,
    headers: &HeaderMap,
    token: Option<&Secret>,
    open: bool,
) -> Result<(), Refusal> {
    let address = match peer {
        Some(Peer::InProcess) => return Ok(()),
        Some(Peer::Address(address)) => address,
        None => {
            return Err(forbidden(
                "it is not known where the request comes from",
                "serve with `consort_api_http::serve`",
            ));
        }
    };
    let host = host_of(uri, headers)?;
    check_origin(&host, headers)?;
    match token {
        Some(_) if open => Ok(()),
        Some(token) => check_token(headers, token),
        None => check_loopback(address, &host),
    }
}

fn forbidden(message: impl Into<String>, hint: &str) -> Refusal {
    Refusal::Forbidden(Error::new(Code::Denied, message).hint(hint))
}

/// The one authority that the request names; a request that names several means different things to different readers.
fn host_of(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Refusal> {
    let hint = "send one `Host` header with the address of the server";
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
        _ => None,
    };
    let host = host.ok_or_else(|| forbidden("the request has no `Host` header, or more than one", hint))?;
    match uri.authority() {
        Some(authority) if *authority != host => {
            Err(forbidden("the request's target and its `Host` header differ", hint))
        }
        _ => Ok(host),
    }
}

/// Refuses what a page of another site asks a browser to send.
fn check_origin(host: &Authority, headers: &HeaderMap) -> Result<(), Refusal> {
    for origin in headers.get_all(header::ORIGIN) {
        let uri = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
        let own =
            uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority() == Some(host));
        if !own {
            return Err(forbidden(
                "the request was made by a page of another origin",
                "call the server from a page that it serves itself",
            ));
        }
    }
    Ok(())
}

fn check_token(headers: &HeaderMap, token: &Secret) -> Result<(), Refusal> {
    let refused = |message: &str| {
        let error = Error::new(Code::Denied, message).hint("send the server's token as `Authorization: Bearer TOKEN`");
        Err(Refusal::Unauthenticated(error))
    };
    match check_bearer(headers, token) {
        TokenCheck::Right => Ok(()),
        TokenCheck::Wrong => refused("the token is not the server's"),
        TokenCheck::Nothing => refused("the request has no token"),
    }
}

fn check_loopback(peer: SocketAddr, host: &Authority) -> Result<(), Refusal> {
    let hint = "give the server a token, and send it with each request";
    if !is_loopback(peer.ip()) {
        return Err(forbidden("without a token the server answers only the machine that it runs on", hint));
    }
    if !names_loopback(host.host()) {
        return Err(forbidden(
            "the `Host` header does not name this machine",
            "use `127.0.0.1`, `[::1]` or `localhost`",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "127.0.0.1:4000";

    /// The status of the refusal; empty where there is none.
    fn check(peer: &str, target: &str, fields: &[(&'static str, &str)], token: Option<&str>) -> &'static str {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let token = token.map(|token| Secret::new("token", token).unwrap());
        let peer = Peer::Address(peer.parse().unwrap());
        match admit(Some(peer), &target.parse().unwrap(), &headers, token.as_ref(), false) {
            Ok(()) => "",
            Err(Refusal::Unauthenticated(_)) => "401",
            Err(Refusal::Forbidden(_)) => "403",
        }
    }

    #[test]
    fn without_a_token_only_this_machine_comes_in() {
        for (peer, host, expected) in [
            (HERE, "127.0.0.1:8080", ""),
            (HERE, "localhost", ""),
            (HERE, "LocalHost:1", ""),
            ("[::1]:4000", "[::1]:8080", ""),
            ("[::ffff:127.0.0.1]:4000", "127.0.0.1", ""),
            ("127.8.9.1:1", "127.8.9.1", ""),
            ("192.0.2.7:4000", "127.0.0.1", "403"),
            ("[2001:db8::1]:4000", "localhost", "403"),
            ("[::ffff:192.0.2.7]:4000", "localhost", "403"),
            (HERE, "evil.example", "403"),
            (HERE, "localhost.evil.example", "403"),
            (HERE, "127.0.0.1.evil.example:80", "403"),
            (HERE, "127.0.0.1@evil.example", "403"),
            (HERE, "192.0.2.7", "403"),
        ] {
            assert_eq!(check(peer, "/", &[("host", host)], None), expected, "{peer} {host}");
        }
    }

    #[test]
    fn a_token_is_asked_for_from_everywhere() {
        for (authorization, expected) in [
            ("Bearer sesame", ""),
            ("bearer  sesame", ""),
            ("Bearer sesam", "401"),
            ("Bearer sesame2", "401"),
            ("Bearer ", "401"),
            ("Bearer", "401"),
            ("Basic sesame", "401"),
            ("sesame", "401"),
        ] {
            for peer in [HERE, "192.0.2.7:4000"] {
                let fields = [("host", "a.example"), ("authorization", authorization)];
                assert_eq!(check(peer, "/", &fields, Some("sesame")), expected, "{authorization}");
            }
        }
        let two = [("host", "a"), ("authorization", "Bearer sesame"), ("authorization", "Bearer x")];
        assert_eq!(check(HERE, "/", &two, Some("sesame")), "401");
        assert_eq!(check(HERE, "/", &[("host", "127.0.0.1")], Some("sesame")), "401");
    }

    #[test]
    fn other_origins_are_refused() {
        for (host, origin, expected) in [
            ("127.0.0.1:80", "http://127.0.0.1:80", ""),
            ("127.0.0.1:80", "http://127.0.0.1:81", "403"),
            ("127.0.0.1:80", "null", "403"),
            ("127.0.0.1:80", "https://evil.example", "403"),
            ("127.0.0.1", "file://127.0.0.1", "403"),
        ] {
            assert_eq!(check(HERE, "/", &[("host", host), ("origin", origin)], None), expected, "{origin}");
        }
        let stolen = [("host", "a"), ("authorization", "Bearer sesame"), ("origin", "https://evil.example")];
        assert_eq!(check(HERE, "/", &stolen, Some("sesame")), "403");
    }

    #[test]
    fn unclear_hosts_are_refused() {
        let host = ("host", "127.0.0.1");
        assert_eq!(check(HERE, "/", &[], None), "403");
        assert_eq!(check(HERE, "/", &[host, host], None), "403");
        assert_eq!(check(HERE, "http://evil.example/", &[host], None), "403");
        assert_eq!(check(HERE, "http://127.0.0.1/", &[host], None), "");
    }

    #[test]
    fn an_unknown_peer_is_refused_and_the_own_process_is_not() {
        let (uri, headers) = (Uri::from_static("/"), HeaderMap::new());
        assert!(admit(None, &uri, &headers, None, false).is_err());
        assert_eq!(admit(Some(Peer::InProcess), &uri, &headers, None, false), Ok(()));
    }
}
