//! `SetSpace`: what a space merges, keeps and may hold.
//!
//! For: the command and its rule. Not for: enforcing it (writes do).
//! Invariant: what a space holds stays as it is; settings bind what is written from then on.

use consort_types::{
    Code, Error, Name, Result,
    state::{MergePolicy, SpaceId, SpaceSettings},
};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    key::NamedKey,
    space::{
        rows::{Names, PrefixMerge},
        spaces,
    },
};

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
    /// The expression of each policy that is one.
    #[n(3)]
    #[cbor(default)]
    pub merges: Vec<PrefixMerge>,
}

impl SetSpace {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        Name::check("space", &self.space)?;
        self.settings.check()?;
        let with_one = |prefix: &String| self.merges.iter().filter(|merge| merge.prefix == *prefix).count();
        let policies = &self.settings.policies;
        let wants = |policy: MergePolicy| usize::from(policy == MergePolicy::Expression);
        if let Some(other) = policies.iter().find(|one| with_one(&one.prefix) != wants(one.policy)) {
            let word = other.policy.as_str();
            let message =
                format!("the policy `{word}` of the prefix `{}` has the wrong number of merges", other.prefix);
            return Err(
                Error::new(Code::BadRequest, message).hint("give the policy `expression` a merge, and others none")
            );
        }
        match self.merges.iter().find(|merge| policies.iter().all(|one| one.prefix != merge.prefix)) {
            Some(merge) => {
                let message = format!("the prefix `{}` has a merge and no policy", merge.prefix);
                Err(Error::new(Code::BadRequest, message).hint("give it the policy `expression`"))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let found = spaces::find(ctx.state, &self.namespace, &self.space)?;
        let mut space = match found {
            Some(space) => space,
            None => spaces::new(ctx.state, &self.namespace, SpaceId { seq: ctx.seq, n: 0 }, ctx.now, 0)?,
        };
        space.settings = self.settings.clone();
        space.merges.clone_from(&self.merges);
        let names = || Names { namespace: self.namespace.clone(), space: self.space.clone() };
        space.announced = self.settings.events.then(names);
        ctx.state.tables.spaces.put(NamedKey::of(&self.namespace, &self.space), space);
        Ok(())
    }
}
