//! Addresses that may have a user.
//!
//! For: the part of a URL behind its scheme. Not for: which schemes there are (each kind of peer knows its own).
//! Invariant: what is shown of an address has no password.

/// A host with its port, and the user and the password before it.
pub type Authority = (String, Option<(String, String)>);

/// Reads `[USER:PASSWORD@]HOST:PORT[/]`; `None` where the user has no password.
pub fn authority(text: &str) -> Option<Authority> {
    let text = text.trim_end_matches('/');
    let Some((user, host)) = text.rsplit_once('@') else { return Some((text.to_owned(), None)) };
    let (name, password) = user.split_once(':')?;
    Some((host.to_owned(), Some((name.to_owned(), password.to_owned()))))
}

/// What is shown of the part behind the scheme: without the user.
pub fn without_user(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}
