//! Errors as gRPC shows them.
//!
//! For: the status code for each kind of error, and the error itself in the trailing metadata. Not for: making errors.
//! Invariant: whatever is refused has its stable code with it; what is sent stays within what clients take as header
//! fields.

use consort_proto::{convert, v1};
use consort_types::{Error, ErrorKind, text::shortened};
use prost::Message as _;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

/// The trailing metadata that has the encoded `consort.v1.Error`.
const ERROR: &str = "consort-error-bin";
/// Bytes of the status message: it is escaped, and clients take 8 KiB of header fields in all.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Bytes of message and of hint in the metadata.
const DETAIL_BYTES_MAX: usize = 1536;

/// The status that a refused call ends with.
pub(crate) fn status(error: Error) -> Status {
    with_code(code(error.kind()), error)
}

/// The status of a call that has no valid token.
pub(crate) fn unauthenticated(error: Error) -> Status {
    with_code(Code::Unauthenticated, error)
}

/// The error inside a status of this server.
pub(crate) fn error_in(status: &Status) -> Option<Error> {
    let bytes = status.metadata().get_bin(ERROR)?.to_bytes().ok()?;
    v1::Error::decode(bytes).ok().map(convert::error_from_wire)
}

fn with_code(code: Code, error: Error) -> Status {
    let mut wire = convert::error_to_wire(error);
    let message = shortened(&wire.message, MESSAGE_BYTES_MAX);
    wire.message = shortened(&wire.message, DETAIL_BYTES_MAX);
    wire.hint = shortened(&wire.hint, DETAIL_BYTES_MAX);
    let mut metadata = MetadataMap::new();
    metadata.insert_bin(ERROR, MetadataValue::from_bytes(&wire.encode_to_vec()));
    Status::with_metadata(code, message, metadata)
}

fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Rejected => Code::InvalidArgument,
        ErrorKind::Conflict => Code::FailedPrecondition,
        ErrorKind::Fenced | ErrorKind::Failed => Code::Aborted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::TooLarge => Code::ResourceExhausted,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Denied => Code::PermissionDenied,
        ErrorKind::Corrupt => Code::DataLoss,
        ErrorKind::OutcomeUnknown => Code::Unknown,
        ErrorKind::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_travels_with_its_error() {
        for code in consort_types::Code::ALL {
            let error = Error::new(*code, "no").hint("do");
            let status = status(error.clone());
            assert!(status.code() != Code::Ok && status.message() == "no", "{status:?}");
            assert_eq!(error_in(&status), Some(error));
        }
        let busy = status(Error::new(consort_types::Code::Stopping, "s"));
        assert_eq!(busy.code(), Code::Unavailable);
    }

    #[test]
    fn long_texts_are_cut() {
        let status = status(Error::new(consort_types::Code::BadWorkflow, "ü".repeat(100_000)));
        let detail = error_in(&status).unwrap();
        assert!(status.message().len() < 1100 && detail.message.len() < 1600, "{}", detail.message.len());
        assert!(detail.message.ends_with('…'));
    }
}
