//! The access rules: the token, and the restriction to this machine.
//!
//! For: checking the token and the origin of a request or call. Not for: the refusal (each interface words its own).
//! Invariant: a request with several tokens is refused: proxies and servers would disagree on which one counts.

use std::net::IpAddr;

use consort_types::Secret;
use http::{HeaderMap, header};

/// The result of checking a request's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenCheck {
    /// The request has the token.
    Right,
    /// It has another token.
    Wrong,
    /// It has no token, several, or one that cannot be read.
    Nothing,
}

/// Compares `token` with the one field `Authorization: Bearer TOKEN`.
pub fn check_bearer(headers: &HeaderMap, token: &Secret) -> TokenCheck {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let bearer = match (given.next(), given.next()) {
        (Some(value), None) => bearer(value.as_bytes()),
        _ => None,
    };
    match bearer {
        Some(bearer) if token.matches(bearer) => TokenCheck::Right,
        Some(_) => TokenCheck::Wrong,
        None => TokenCheck::Nothing,
    }
}

/// What follows the scheme `Bearer`, whose case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

/// Whether an address is a loopback address, including IPv4-mapped IPv6 addresses.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether a host in a URL is `localhost` or a loopback address. Another name that resolves to a loopback address does
/// not count: pages of that site could then call the server (DNS rebinding).
pub fn names_loopback(host: &str) -> bool {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || literal.parse().is_ok_and(is_loopback)
}
