//! `SetLimit`: how many tasks of a namespace may be in flight, how fast they go out, and how many may wait.
//!
//! For: the command and its rule. Not for: enforcing limits (the dispatcher does).
//! Invariant: an empty limit is not kept.

use consort_types::{
    Code, Error, Name, Result, limits,
    registry::{LimitScope, Rate, TaskLimit},
};
use minicbor::{Decode, Encode};

use crate::{context::ApplyContext, effect::Effect, key::NamedKey, quota::rows::Limit};

/// Sets a limit, in place of the one that the scope had. An empty limit removes it, and is refused where there is none.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct SetLimit {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// What it is about.
    #[n(1)]
    pub scope: LimitScope,
    /// Its values.
    #[n(2)]
    pub limit: TaskLimit,
}

impl SetLimit {
    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<()> {
        let key = NamedKey::of(&self.namespace, &self.scope.to_string());
        let known = ctx.state.tables.limits.get(&key)?.map(|row| row.limit).unwrap_or_default();
        let removes = self.limit == TaskLimit::default();
        if known == self.limit {
            return if removes { Err(not_found(&self.scope)) } else { Ok(()) };
        }
        if removes {
            ctx.state.tables.limits.delete(&key);
        } else {
            if known == TaskLimit::default() {
                check_count(ctx, &self.namespace)?;
            }
            ctx.state.tables.limits.put(key, Limit { limit: self.limit });
        }
        let (namespace, scope) = (self.namespace.clone(), self.scope.clone());
        ctx.effect(Effect::LimitChanged { namespace, scope, limit: self.limit });
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        self.scope.check()?;
        if self.limit.queue.is_some() && matches!(self.scope, LimitScope::Agent(_) | LimitScope::Key(_)) {
            let message = format!("`{}` cannot have a limit on waiting tasks", self.scope);
            return Err(Error::new(Code::BadRequest, message).hint(
                "set `queue` for `namespace` or `capability:NAME`; tasks wait for a capability, not for an agent",
            ));
        }
        self.limit.rate.as_ref().map_or(Ok(()), check_rate)
    }
}

fn not_found(scope: &LimitScope) -> Error {
    Error::new(Code::QuotaNotFound, format!("no quota is set for `{scope}`"))
        .hint("`GET /v1/quotas` and `consort quotas list` show those that are set")
}

fn check_rate(rate: &Rate) -> Result<()> {
    if rate.tasks > 0 && rate.burst > 0 && rate.per.0 > 0 {
        return Ok(());
    }
    let message =
        format!("a rate of `{}` tasks in `{}`, `{}` at once, assigns nothing", rate.tasks, rate.per, rate.burst);
    Err(Error::new(Code::BadRequest, message)
        .hint("all three must be above zero; `concurrency` 0 stops the assignment"))
}

/// Refuses one limit more than a namespace may have.
fn check_count(ctx: &mut ApplyContext<'_>, namespace: &str) -> Result<()> {
    let max = limits::TASK_LIMITS_MAX;
    let key = |name: &str| NamedKey::of(namespace, name);
    let known = ctx.state.tables.limits.count(&key(""), &key("\u{7f}"), max)?;
    if known < max {
        return Ok(());
    }
    Err(Error::new(Code::LimitReached, format!("namespace `{namespace}` has `{known}` limits, the limit is {max}"))
        .hint("remove those that hold nothing back"))
}
