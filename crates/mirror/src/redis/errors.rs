//! Errors of Redis as errors of Consort.
//!
//! For: telling what passes from what does not. Not for: reconnecting.
//! Invariant: what a restart, a failover or a full memory answers is tried again; what a wrong setting answers is not.

use consort_types::{Code, Error};
use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The error of Consort that an error of Redis is.
pub(super) fn explain(error: &RedisError) -> Error {
    let passes = match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::Client => false,
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::ClusterDown
        ),
        ErrorKind::Extension => matches!(error.code(), Some("OOM" | "MISCONF" | "BUSY" | "NOREPLICAS" | "UNKILLABLE")),
        _ => true,
    };
    let message = error.to_string();
    if passes || message.contains("OOM") {
        Error::new(Code::PeerUnreachable, format!("Redis cannot be reached: {message}")).hint("is it running?")
    } else {
        Error::new(Code::PeerRefused, format!("Redis refuses: {message}"))
            .hint("are the address, the user and its rights right? it needs EVAL, SCAN, HSCAN, INFO and PSUBSCRIBE")
    }
}
