//! The gRPC interface over loopback: the real engine, the real serve loop, and a worker that says what a test says.

mod access;
mod faults;
mod sessions;
mod support;
