//! `Transact`: reads and writes keys of the state store together.
//!
//! For: the command and its reply. Not for: what one operation comes to (see `plan`).
//! Invariant: either every operation is done, or none; conditions and reads see the state before it.

use std::collections::BTreeSet;

use consort_types::{
    Code, Error, Name, Payload, Result, Seq, bounds, limits,
    state::{Action, Check, Condition, Operation, Position, WriteOutcome, Writer},
};
use minicbor::{Decode, Encode};

use crate::{
    context::ApplyContext,
    encode::content_hash,
    space::{
        execute::{self, Target},
        plan::{Drafts, Planned, plan},
        spaces,
    },
    state::State,
};

/// Does one list of operations where all conditions hold, and another one where they do not.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub struct Transact {
    /// The namespace.
    #[n(0)]
    pub namespace: String,
    /// The conditions; without one, they hold.
    #[n(1)]
    pub conditions: Vec<Condition>,
    /// What is done where they hold.
    #[n(2)]
    pub then: Vec<Operation>,
    /// What is done where they do not.
    #[n(3)]
    pub otherwise: Vec<Operation>,
    /// Who asks.
    #[n(4)]
    pub by: Writer,
}

/// What became of an operation.
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

/// What became of a transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Transacted {
    /// The record.
    pub seq: Seq,
    /// Whether the conditions held.
    pub succeeded: bool,
    /// What became of each operation, in order. Where some were rejected, of those alone: none was done then.
    pub results: Vec<OperationResult>,
}

impl Transact {
    /// A transaction of one operation.
    pub fn single(namespace: &str, operation: Operation, by: Writer) -> Self {
        Self {
            namespace: namespace.to_owned(),
            conditions: Vec::new(),
            then: vec![operation],
            otherwise: Vec::new(),
            by,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        Name::check("namespace", &self.namespace)?;
        let count = self.conditions.len() + self.then.len() + self.otherwise.len();
        bounds::check_count("conditions and operations", count, limits::STATE_OPERATIONS_MAX)?;
        self.conditions.iter().try_for_each(Condition::check)?;
        self.then.iter().chain(&self.otherwise).try_for_each(Operation::check)?;
        check_once(&self.then)?;
        check_once(&self.otherwise)?;
        self.by.check()
    }

    pub(crate) fn apply(&self, ctx: &mut ApplyContext<'_>) -> Result<Transacted> {
        let mut succeeded = true;
        for condition in &self.conditions {
            succeeded = succeeded && holds(ctx.state, &self.namespace, condition)?;
        }
        let operations = if succeeded { &self.then } else { &self.otherwise };
        let mut drafts = Drafts::default();
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
            ctx.state.tables.spaces.put(spaces::space_key(&self.namespace, &name), space);
        }
        Ok(Transacted { seq: ctx.seq, succeeded, results })
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

/// Refuses a key that is written more than once.
fn check_once(operations: &[Operation]) -> Result<()> {
    let mut written = BTreeSet::new();
    for operation in operations.iter().filter(|operation| operation.action != Action::Get) {
        if !written.insert((&operation.space, &operation.key)) {
            let message = format!("key `{}` of space `{}` is written twice", operation.key, operation.space);
            return Err(Error::new(Code::BadRequest, message).hint("write each key once in a transaction"));
        }
    }
    Ok(())
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
