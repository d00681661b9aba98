//! Built-in agents, each on the worker SDK alone.
