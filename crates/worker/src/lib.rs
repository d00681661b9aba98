//! The Rust agent SDK: the Agent trait, the task context and the worker loop.
