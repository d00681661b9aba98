//! `SetRetention`: how long a namespace keeps ended runs.
//!
//! For: the command and its rule. Not for: deleting (see `run::delete`).
//! Invariant: it counts for every ended run, whenever it has ended: what is set last decides.

use consort_types::{Name, Result, Span};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    quota::{namespace, retain, rows::Namespace},
};

/// Sets the retention of a namespace.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SetRetention {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// How long ended runs are kept; `None` keeps them.
    #[n(1)]
    pub keep: Option<Span>,
}

impl SetRetention {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let row = namespace::namespace(ctx.state, &self.namespace)?;
        if row.retention == self.keep {
            return Ok(());
        }
        namespace::put_namespace(ctx, &self.namespace, Namespace { retention: self.keep, ..row });
        if self.keep.is_some() {
            return retain::begin(ctx, &self.namespace);
        }
        retain::end(ctx, &self.namespace);
        Ok(())
    }
}
