//! SIGINT and SIGTERM.
//!
//! For: stopping gracefully at the first, at once at the second. Not for: what stopping means.
//! Invariant: once installed, a signal never ends the process by itself.

use consort_types::{Code, Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;

/// Both signals, as they come.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn install() -> Result<Self> {
        let install = |kind| {
            signal(kind).map_err(|error| Error::new(Code::Internal, format!("signals cannot be received: {error}")))
        };
        Ok(Self { interrupt: install(SignalKind::interrupt())?, terminate: install(SignalKind::terminate())? })
    }

    /// The next signal, as the way the process will end.
    pub(crate) async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
}
