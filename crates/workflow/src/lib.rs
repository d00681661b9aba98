//! The workflow language: parse with source positions, check, expressions, graph.
