//! The secrets of webhooks, and what is signed with them.
//!
//! For: reading the file of a secret, and the signatures of Standard Webhooks. Not for: keeping secrets (the operator
//! does, in a folder).
//! Invariant: no message has a byte of a secret, or says more of a file than that it does not fit.

use std::{fmt, io::Read as _, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use consort_types::{Name, limits};
use ring::hmac;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The secrets of one webhook: several while one is being replaced by another.
pub struct Keys(Vec<hmac::Key>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// Reads the secrets in a text: one a line.
    ///
    /// # Errors
    /// What is wrong, without a part of the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let bytes = line.trim().strip_prefix(PREFIX).and_then(|secret| STANDARD.decode(secret).ok());
            let Some(bytes) = bytes.filter(|bytes| BYTES.contains(&bytes.len())) else {
                return Err(format!("line {} is not `{PREFIX}` with 24 to 64 bytes in base64", at + 1));
            };
            keys.push(hmac::Key::new(hmac::HMAC_SHA256, &bytes));
        }
        if keys.is_empty() { Err("it has no secret in it".to_owned()) } else { Ok(Self(keys)) }
    }

    /// Reads the file of a name in a folder. It waits for the disk.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(crate) fn read(folder: Option<&Path>, name: &str) -> Result<Self, String> {
        let Some(folder) = folder else {
            return Err("the server has no folder of secrets; its operator sets `webhook-secrets`".to_owned());
        };
        // A name was checked when it was recorded; what is read here is checked again, whatever recorded it.
        Name::check("secret", name).map_err(|error| error.message)?;
        let text = read_bounded(&folder.join(name)).map_err(|why| format!("secret `{name}` cannot be read: {why}"))?;
        Self::parse(&text).map_err(|why| format!("secret `{name}` does not fit: {why}"))
    }

    /// The value of `webhook-signature`: a signature for each secret.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> String {
        let head = format!("{id}.{timestamp}.");
        let sign = |key: &hmac::Key| {
            let mut context = hmac::Context::with_key(key);
            context.update(head.as_bytes());
            context.update(body);
            format!("v1,{}", STANDARD.encode(context.sign()))
        };
        self.0.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

/// A regular file of bounded size: a pipe would never end.
fn read_bounded(path: &Path) -> Result<String, String> {
    let kind = |error: std::io::Error| error.kind().to_string();
    if !std::fs::metadata(path).map_err(kind)?.is_file() {
        return Err("it is no file".to_owned());
    }
    let max = limits::WEBHOOK_SECRET_FILE_BYTES_MAX;
    let mut text = String::new();
    std::fs::File::open(path).map_err(kind)?.take(max + 1).read_to_string(&mut text).map_err(kind)?;
    if text.len() as u64 > max { Err(format!("it has more than {max} bytes, which is the limit")) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_as_the_specification_shows() {
        let keys = Keys::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let signature = keys.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_give_two_signatures() {
        let (old, new) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", format!("whsec_{}", STANDARD.encode([7; 64])));
        let signed = Keys::parse(&format!("{new}\n\n{old}\n")).unwrap().sign("m", 1, b"{}");
        let each = [&new, old].map(|secret| Keys::parse(secret).unwrap().sign("m", 1, b"{}"));
        assert_eq!(signed, each.join(" "));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_shown() {
        let (short, long) = (STANDARD.encode([7; 23]), STANDARD.encode([7; 65]));
        for (text, said) in [
            (String::new(), "no secret"),
            ("\n \n".to_owned(), "no secret"),
            ("c2VzYW1lIG9wZW4gc2VzYW1lIG9wZW4h".to_owned(), "line 1"),
            (format!("\nwhsec_{short}"), "line 2"),
            (format!("whsec_{long}"), "line 1"),
            ("whsec_no base64, sesame".to_owned(), "line 1"),
        ] {
            let why = Keys::parse(&text).unwrap_err();
            assert!(why.contains(said) && !why.contains("sesame") && !why.contains(&short), "{why}");
        }
    }

    #[test]
    fn a_file_is_read_from_its_folder_and_from_nowhere_else() {
        let folder = consort_testkit::temp_dir();
        let path = folder.path().join("secrets");
        std::fs::create_dir_all(path.join("sub")).unwrap();
        std::fs::write(folder.path().join("outside"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        std::fs::write(path.join("good"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        std::fs::write(path.join("large"), "x".repeat(5_000)).unwrap();
        Keys::read(Some(&path), "good").unwrap();
        assert!(Keys::read(None, "good").unwrap_err().contains("webhook-secrets"));
        for name in ["missing", "sub", "large", "../outside", "..", "sub/../good", ""] {
            let why = Keys::read(Some(&path), name).unwrap_err();
            assert!(!why.contains("whsec") && !why.contains(&*path.to_string_lossy()), "{why}");
        }
    }
}
