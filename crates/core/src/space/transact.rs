//! `Transact`: reads and writes keys of the state store together.
//!
//! For: the command and its reply. Not for: what one operation comes to (see `plan`).
//! Invariant: either every operation is done, or none; conditions and reads see the state before it.

use consort_types::{
    Code, Error, Name, Payload, Result, Seq,
    state::{Check, Condition, Fence, Position, Transaction, WriteOutcome, Writer},
};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    coordination::is_current,
    encode::content_hash,
    key::NamedKey,
    space::{
        execute,
        plan::{Drafts, Planned, plan},
        spaces::{self, Target},
    },
    state::State,
};

/// Does one list of operations where all conditions hold, and another one where they do not.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Transact {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// What is done.
    #[n(1)]
    pub transaction: Transaction,
    /// Who asks.
    #[n(2)]
    pub by: Writer,
}

/// The outcome of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationResult {
    /// The space.
    pub space: String,
    /// The key.
    pub key: String,
    /// What was done.
    pub outcome: WriteOutcome,
    /// The version that the key has now; zero where it has no value.
    pub version: Seq,
    /// Of a read: the value. Of a write: the value that the key has, where that is another one than was written.
    pub value: Option<Payload>,
    /// The conflict, where it was one.
    pub conflict: Option<Position>,
}

/// The outcome of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Transacted {
    /// The record.
    pub seq: Seq,
    /// Whether the conditions held.
    pub succeeded: bool,
    /// The outcome of each operation, in order. Where some were rejected, of those alone: none was done then.
    pub results: Vec<OperationResult>,
}

impl Transacted {
    /// The refusal of a write that had not seen the latest value, where there is one.
    pub fn rejection(&self) -> Option<Error> {
        let rejected = self.results.iter().find(|result| result.outcome == WriteOutcome::Rejected)?;
        let OperationResult { space, key, version, .. } = rejected;
        let stands =
            if *version == Seq::ZERO { "it has none".to_owned() } else { format!("it has version `{version}`") };
        let message = format!("the write of key `{key}` in space `{space}` did not see its latest value: {stands}");
        let error = Error::new(Code::StateConflict, message);
        Some(error.hint("read the key, and write again with the version that was read"))
    }
}

impl Transact {
    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        self.transaction.check()?;
        self.by.check()
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<Transacted> {
        self.check_fences(ctx.state)?;
        let mut succeeded = true;
        for condition in &self.transaction.conditions {
            succeeded = succeeded && holds(ctx.state, &self.namespace, condition)?;
        }
        let Transaction { then, otherwise, .. } = &self.transaction;
        let operations = if succeeded { then } else { otherwise };
        let mut drafts = Drafts::behind(ctx.ordinals());
        let mut planned = Vec::with_capacity(operations.len());
        for operation in operations {
            planned.push(plan(ctx.state, &mut drafts, &self.namespace, operation, (ctx.seq, ctx.now))?);
        }
        let rejected = planned.iter().any(|planned| planned.outcome == WriteOutcome::Rejected);
        if rejected {
            planned.retain(|planned| planned.outcome == WriteOutcome::Rejected);
            // The counts of the drafts are those of a transaction that is not done.
            drafts = Drafts::default();
        }
        let mut results = Vec::with_capacity(planned.len());
        for planned in planned {
            results.push(self.execute(ctx, &mut drafts, planned)?);
        }
        for (name, space) in drafts.spaces {
            ctx.state.tables.spaces.put(NamedKey::of(&self.namespace, &name), space);
        }
        Ok(Transacted { seq: ctx.seq, succeeded, results })
    }

    /// Refuses a transaction whose grants are not current: another holder may have the lock by now.
    fn check_fences(&self, state: &mut State) -> Result<()> {
        for Fence { lock, token } in &self.transaction.fences {
            if !is_current(state, &self.namespace, lock, *token)? {
                let message =
                    format!("token `{token}` is not that of a current grant of lock `{lock}`; nothing was written");
                return Err(Error::new(Code::LeaseLost, message)
                    .hint("stop what the lock protects; acquire it again before continuing"));
            }
        }
        Ok(())
    }

    fn execute(&self, ctx: &mut ApplyContext<'_>, drafts: &mut Drafts, planned: Planned) -> Result<OperationResult> {
        ctx.charge(1);
        let (outcome, name, key) = (planned.outcome, planned.space.clone(), planned.key.clone());
        let old = planned.old.as_ref().map_or((Seq::ZERO, None), |old| (old.version, Some(old.value.clone())));
        if outcome == WriteOutcome::Read || (outcome == WriteOutcome::Absent && planned.conflict.is_none()) {
            return Ok(OperationResult { space: name, key, outcome, version: old.0, value: old.1, conflict: None });
        }
        if !drafts.spaces.contains_key(&name) {
            drafts.spaces.insert(name.clone(), spaces::known(ctx.state, &self.namespace, &name)?);
        }
        let Some(space) = drafts.spaces.get_mut(&name) else {
            return Err(Error::new(Code::Internal, format!("space `{name}` was planned and is not there")));
        };
        let mut target = Target { namespace: &self.namespace, name: &name, space, by: &self.by };
        let (conflict, value) = execute::execute(ctx, &mut target, planned)?;
        let version = match outcome {
            WriteOutcome::Deleted => Seq::ZERO,
            WriteOutcome::Superseded | WriteOutcome::Rejected => old.0,
            _ => ctx.seq,
        };
        let value = if outcome == WriteOutcome::Rejected { old.1 } else { value };
        Ok(OperationResult { space: name, key, outcome, version, value, conflict })
    }
}

fn holds(state: &mut State, namespace: &str, condition: &Condition) -> Result<bool> {
    let space = spaces::find(state, namespace, &condition.space)?;
    let entry = match space {
        Some(space) => spaces::entry(state, space.id, &condition.key)?,
        None => None,
    };
    Ok(match &condition.check {
        Check::Exists => entry.is_some(),
        Check::Absent => entry.is_none(),
        Check::Version(version) => entry.map_or(Seq::ZERO, |entry| entry.version) == *version,
        Check::Equals(value) => entry.is_some_and(|entry| content_hash(&entry.value) == content_hash(value)),
    })
}
