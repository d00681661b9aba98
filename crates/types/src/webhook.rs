//! The address of a webhook.
//!
//! For: reading one, in the same way where it is set, where it is used and where a receiver redirects to. Not for:
//! resolving a host, or deciding which addresses may be reached.
//! Invariant: what was read names one host and one port, and has no user, password or fragment in it.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use crate::{Code, Error, Result, bounds::check_text, limits};

/// The address of a webhook: `http` or `https`, a host, a port and what is requested of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl {
    /// Whether it is `https`.
    pub tls: bool,
    /// The host in lower case: a name, or an address (one of IPv6 without its brackets).
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path with the query, from the first `/` on.
    pub target: String,
}

/// Bytes of a name in the DNS.
const HOST_BYTES_MAX: usize = 253;

/// What is wrong with an address. It is not shown: receivers put keys into their addresses.
fn bad(what: &str) -> Error {
    Error::new(Code::BadWebhook, format!("the address of the webhook {what}"))
        .hint("give it as `https://HOST[:PORT]/PATH`, in ASCII")
}

impl FromStr for WebhookUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        check_text("address of the webhook", text, limits::WEBHOOK_URL_BYTES_MAX)?;
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte)) {
            return Err(bad("has characters that no address has"));
        }
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| bad("begins with neither `http://` nor `https://`"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(bad("begins with neither `http://` nor `https://`")),
        };
        if rest.contains('#') {
            return Err(bad("has a fragment, which is never sent"));
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(bad("has a user or a password in it"));
        }
        let (host, port) = host_and_port(authority, if tls { 443 } else { 80 })?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { tls, host, port, target: format!("{slash}{target}") })
    }
}

fn host_and_port(authority: &str, default: u16) -> Result<(String, u16)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(|| bad("has no `]` behind its host"))?;
        host.parse::<Ipv6Addr>().map_err(|_| bad("has no address of IPv6 between `[` and `]`"))?;
        (host, port)
    } else {
        let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if host.is_empty() || host.len() > HOST_BYTES_MAX || !host.bytes().all(fits) {
            return Err(bad("has no host, or one that cannot be"));
        }
        (host, port)
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port > 0).ok_or_else(|| bad("has no port from 1 to 65535"))?
        }
        _ => return Err(bad("has no port behind its host")),
    };
    Ok((host.to_ascii_lowercase(), port))
}

impl WebhookUrl {
    /// The address that a receiver redirects to: a whole one, or a path that begins with `/`.
    ///
    /// # Errors
    /// [`Code::BadWebhook`] where it is neither.
    pub fn redirected(&self, location: &str) -> Result<Self> {
        let scheme = if self.tls { "https" } else { "http" };
        let location = location.split('#').next().unwrap_or_default();
        match location {
            _ if location.starts_with("//") => format!("{scheme}:{location}").parse(),
            _ if location.starts_with('/') => format!("{scheme}://{}{location}", self.authority()).parse(),
            _ => location.parse(),
        }
    }

    /// Host and port as in an address; without the port where it is that of the scheme.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> WebhookUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn an_address_is_read_in_its_parts() {
        for (text, tls, host, port, target) in [
            ("https://Example.org/in?x=1", true, "example.org", 443, "/in?x=1"),
            ("HTTP://a.b:8080", false, "a.b", 8080, "/"),
            ("http://[::1]:81?q", false, "::1", 81, "/?q"),
            ("https://10.0.0.1/a/b%20c", true, "10.0.0.1", 443, "/a/b%20c"),
        ] {
            let url = WebhookUrl { tls, host: host.into(), port, target: target.into() };
            assert_eq!(read(text), url);
            assert_eq!(read(&url.to_string()), url);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_shown() {
        let long = format!("https://a/{}", "x".repeat(limits::WEBHOOK_URL_BYTES_MAX));
        for text in [
            "",
            "a.b",
            "ftp://a",
            "https://",
            "https:///x",
            "https://u:sesame@a/",
            "https://sesame@a",
            "https://a#sesame",
            "https://a b",
            "https://a:0",
            "https://a:65536",
            "https://a:",
            "https://a:+1",
            "https://a:1:2",
            "https://[::1",
            "https://[1.2.3.4]",
            "https://[fe80::1%25eth0]/",
            "https://[::1]x",
            "https://é",
            "https://a\\@b",
            "https://a/\n",
            "//a",
            &long,
        ] {
            let error = text.parse::<WebhookUrl>().unwrap_err();
            assert!(
                matches!(error.code, Code::BadWebhook | Code::LimitReached) && error.hint.is_some(),
                "{text}: {error}"
            );
            assert!(!error.message.contains("sesame"), "{error}");
        }
    }

    #[test]
    fn a_redirect_is_read_from_where_it_came() {
        let from = read("https://a.b:444/in?x=1");
        for (location, to) in [
            ("/there?y", "https://a.b:444/there?y"),
            ("//c.d/e", "https://c.d/e"),
            ("http://127.0.0.1:1/#f", "http://127.0.0.1:1/"),
        ] {
            assert_eq!(from.redirected(location).unwrap().to_string(), to);
        }
        for bad in ["", "there", "mailto:a@b", "https://u@a/"] {
            assert_eq!(from.redirected(bad).unwrap_err().code, Code::BadWebhook, "{bad}");
        }
    }
}
