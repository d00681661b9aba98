//! `SetSpace`: what a space merges, keeps and may hold.
//!
//! For: the command and its rule. Not for: enforcing it (writes do).
//! Invariant: what a space holds stays as it is; settings bind what is written from then on.

use consort_types::{
    Name, Result,
    state::{SpaceId, SpaceSettings},
};
use minicbor::{Decode, Encode};

use crate::{context::ApplyContext, key::NamedKey, space::spaces};

/// Sets what a space is to do, in place of what was set before; makes the space where it is not there.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SetSpace {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The space.
    #[n(1)]
    pub space: String,
    /// What is set.
    #[n(2)]
    pub settings: SpaceSettings,
}

impl SetSpace {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check("space", &self.space)?;
        self.settings.check()
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let found = spaces::find(ctx.state, &self.namespace, &self.space)?;
        let mut space = match found {
            Some(space) => space,
            None => spaces::new(ctx.state, &self.namespace, SpaceId { seq: ctx.seq, n: 0 }, ctx.now, 0)?,
        };
        space.settings = self.settings.clone();
        ctx.state.tables.spaces.put(NamedKey::of(&self.namespace, &self.space), space);
        Ok(())
    }
}
