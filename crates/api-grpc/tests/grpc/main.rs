//! The gRPC interface over loopback: the real engine, the real serve loop, and a worker whose messages a test chooses.

mod access;
mod faults;
mod sessions;
mod support;
