//! The store trait (ordered byte keys), its conformance suite and a memory implementation.
