//! `SetRetention`: how long a namespace keeps ended runs. It counts for runs that end from now on.

use consort_types::{Name, Result, Span};
use minicbor::{Decode, Encode};

use super::Reply;
use crate::{fold::Fold, rows::Namespace};

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
    pub(crate) fn apply(&self, fold: &mut Fold<'_>) -> Result<Reply> {
        Name::check("namespace", &self.namespace)?;
        let row = Namespace { retention: self.keep, ..fold.namespace(&self.namespace)? };
        fold.put_namespace(&self.namespace, row);
        Ok(Reply::Done)
    }
}
