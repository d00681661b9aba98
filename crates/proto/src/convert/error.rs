//! Errors.
//!
//! For: the code, the message and the hint of an error, there and back. Not for: gRPC's status codes (api-grpc).
//! Invariant: an error that a newer side sends is understood as far as it can be: its code's text is kept.

use consort_types::{Code, Error};

use super::field;
use crate::v1;

/// An error as it travels.
pub fn error_to_wire(error: Error) -> v1::Error {
    v1::Error { code: error.code.to_string(), message: error.message, hint: field::text(error.hint) }
}

/// An error that came. A code that is not known becomes [`Code::Internal`], with the code's text in the message.
pub fn error_from_wire(error: v1::Error) -> Error {
    let v1::Error { code, message, hint } = error;
    let known = code.strip_prefix('C').and_then(|number| number.parse().ok()).and_then(Code::from_number);
    let hint = field::some(hint);
    match known {
        Some(known) => Error { code: known, message, hint },
        None if code.is_empty() => Error { code: Code::Internal, message, hint },
        None => Error { code: Code::Internal, message: format!("{message} (`{code}`)"), hint },
    }
}
