//! The composition root: configuration, adapters, built-in agents, listeners.
