//! The real program under `kill -9`.
//!
//! For: driving the binary from outside, ending it at the worst moments, and judging what is left. Not for: power
//! cuts and bad disks (the simulator has those: a killed process loses no page that it wrote).
//! Invariant: the judge sees only what any client can see: HTTP, the command line and the folder.

mod ask;
pub mod binary;
mod chance;
pub mod driver;
pub mod ending;
pub mod oracle;
pub mod sharer;
pub mod workload;

pub use chance::{Chance, number, seed};
