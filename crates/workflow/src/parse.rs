//! From source text to a checked definition.
//!
//! For: `Definition::parse`. Not for: evaluating. Invariant: never panics, bounded for hostile texts.

use crate::{Definition, Diagnostics};

pub(crate) fn parse(_source: &str) -> Result<Definition, Diagnostics> {
    Err(Diagnostics::default())
}
