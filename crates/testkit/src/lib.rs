//! Fakes and harness that the tests of all crates share.
//!
//! For: dev-dependencies alone. Not for: product code; no product crate depends on it.
//! Invariant: nothing here waits for a fixed time, uses a fixed port, or leaves files behind.

pub mod agents;
pub mod engine;
pub mod http;
pub mod peers;
pub mod process;
mod wait;

pub use tempfile::TempDir;
pub use wait::wait_until;

/// A fresh folder that is deleted when the value is dropped.
///
/// # Panics Where the machine has no room for temporary files: no test can continue then.
pub fn temp_dir() -> TempDir {
    tempfile::Builder::new().prefix("consort-test-").tempdir().expect("a temporary folder can be made")
}
