//! The deterministic machine: folds records into tables and returns effects.
