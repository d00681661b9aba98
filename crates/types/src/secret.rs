//! Words that must not be seen: tokens, keys, passwords.
//!
//! For: carrying a secret from where it is configured to where it is used. Not for: keeping it safe in memory
//! against a reader of the process.
//! Invariant: no formatting and no encoding of a secret shows it; only [`Secret::expose`] gives it away (law 12).

use std::fmt;

use crate::{Code, Error, Result};

/// A secret text. It has no `Display` and no `Serialize`, and its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keeps a text secret; `what` names it in the error.
    ///
    /// # Errors Where the text is empty: an empty secret would match requests without one.
    pub fn new(what: &str, text: impl Into<Box<str>>) -> Result<Self> {
        let text = text.into();
        if text.is_empty() {
            return Err(Error::new(Code::BadRequest, format!("the {what} is empty"))
                .hint("set it to a long random text, or do not set it at all"));
        }
        Ok(Self(text))
    }

    /// Whether a text is the secret. The comparison takes constant time.
    pub fn matches(&self, text: &[u8]) -> bool {
        // Hashes are compared in constant time, and hide the length too.
        blake3::hash(self.0.as_bytes()) == blake3::hash(text)
    }

    /// The secret itself, for the moment in which it is sent.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_matches_itself_alone_and_is_not_shown() {
        let secret = Secret::new("token", "open sesame").unwrap();
        assert!(secret.matches(b"open sesame"));
        for other in ["", "open", "open sesame ", "open sesamf"] {
            assert!(!secret.matches(other.as_bytes()), "{other}");
        }
        assert!(!format!("{secret:?}").contains("sesame"));
        assert_eq!(secret.expose(), "open sesame");
    }

    #[test]
    fn an_empty_secret_is_refused() {
        assert_eq!(Secret::new("token", "").unwrap_err().code, Code::BadRequest);
    }
}
