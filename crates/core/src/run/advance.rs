//! Advancing: starts what may start in a scope of items, iterations or compensations, or closes it.
//!
//! For: choosing the rule by what the scope holds. Not for: the rules.
//! Invariant: a scope whose opener has ended starts nothing.

use consort_types::{Result, StepInstanceId};

use crate::{
    context::ApplyContext,
    run::{
        auction, compensate, fan_out, iterate,
        keys::ScopeKey,
        locate::parent_of,
        rows::step::{ScopeKind, StepState},
    },
};

/// Starts what may start now, or closes the scope.
pub(crate) fn advance(ctx: &mut ApplyContext<'_>, key: ScopeKey) -> Result<()> {
    let scope = ctx.state.scope(key)?;
    let opener = parent_of(StepInstanceId { run: key.run, scope: key.scope, index: 0 }, &scope);
    if scope.closed {
        return Ok(());
    }
    let Some(opener) = opener else { return compensate::advance_compensations(ctx, key, scope) };
    let step = ctx.state.known_step(opener)?;
    if step.state != StepState::Open {
        return Ok(());
    }
    match scope.kind {
        ScopeKind::Auction { .. } => auction::advance(ctx, key, &scope, opener),
        ScopeKind::Items => fan_out::advance_items(ctx, key, scope, opener),
        ScopeKind::Iterations if step.wake_at.is_none() => iterate::advance_iterations(ctx, key, scope, opener, step),
        _ => Ok(()),
    }
}
