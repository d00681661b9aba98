//! The rules of who may come in: the token, and this machine.
//!
//! For: judging what a request or call brings along. Not for: what is answered (each interface has its own words).
//! Invariant: one token at most is looked at: what names several means different things to different readers.

use std::net::IpAddr;

use consort_types::Secret;
use http::{HeaderMap, header};

/// What was brought along where a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenCheck {
    /// The token.
    Right,
    /// Another one.
    Wrong,
    /// None, several, or none that can be read.
    Nothing,
}

/// Looks for `token` in the one field `Authorization: Bearer TOKEN`.
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

/// Whether an address is this machine's own, an IPv4 address in IPv6 clothes included.
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether a host's name, as a URL writes it, is one of this machine alone. A name of another site that resolves to
/// this machine is none: it would bring that site's pages along.
pub fn names_loopback(host: &str) -> bool {
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || literal.parse().is_ok_and(is_loopback)
}
