//! Where a step instance stands: which step of the definition it is, and which layer of it.
//!
//! For: finding the definition behind a row. Not for: values (see `environment`).
//! Invariant: a step with `for_each` and `repeat` has up to three layers: the step, an item, an iteration.

use std::sync::Arc;

use consort_types::{Code, Error, Result, TaskId};
use consort_workflow::{BlockId, Definition, Step};

use crate::{
    cache::Document,
    fold::Fold,
    keys::ScopeKey,
    rows::{Run, Scope, ScopeKind},
};

/// Which layer of a step an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Step,
    Item,
    Iteration,
}

/// What an instance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is the step itself (or a layer of it).
    Body(Layer),
    /// It is a call out of the journal of the task `caller`, entry `entry`.
    Call { caller: TaskId, entry: u32 },
    /// It compensates the step instance.
    Compensation(TaskId),
    /// It finds out what became of the task's lost attempt.
    Reconcile(TaskId),
}

/// A step instance with its definition.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) run: Arc<Run>,
    pub(crate) definition: Arc<Definition>,
    pub(crate) block: u32,
    pub(crate) index: usize,
    pub(crate) role: Role,
}

impl Place {
    pub(crate) fn step(&self) -> &Step {
        &self.definition.block(BlockId(self.block)).steps[self.index]
    }
}

pub(crate) fn parent_of(task: TaskId, scope: &Scope) -> Option<TaskId> {
    scope.parent.map(|(scope, index)| TaskId { run: task.run, scope, index })
}

pub(crate) fn scope_of(task: TaskId) -> ScopeKey {
    ScopeKey { run: task.run, scope: task.scope }
}

impl Fold<'_> {
    pub(crate) fn place(&mut self, task: TaskId) -> Result<Place> {
        let run = self.run_row(task)?;
        let definition = self.definition(&run)?;
        let (block, index, role) = self.locate(task)?;
        Ok(Place { run, definition, block, index, role })
    }

    fn run_row(&mut self, task: TaskId) -> Result<Arc<Run>> {
        self.machine.tables.runs.look(&task.run)?.ok_or_else(|| crate::fold::missing("run", &task.run))
    }

    /// The block, the position in it, and the role of an instance.
    fn locate(&mut self, task: TaskId) -> Result<(u32, usize, Role)> {
        let scope = self.look_scope(scope_of(task))?;
        let parent = parent_of(task, &scope);
        match (scope.kind, parent) {
            (ScopeKind::Steps { block }, _) => Ok((block, task.index as usize, Role::Body(Layer::Step))),
            (ScopeKind::Compensations, _) => {
                let original = self.compensated(task)?;
                let (block, index, _) = self.locate(original)?;
                Ok((block, index, Role::Compensation(original)))
            }
            (kind, Some(parent)) => {
                let (block, index, _) = self.locate(parent)?;
                let role = match kind {
                    ScopeKind::Items => Role::Body(Layer::Item),
                    ScopeKind::Calls => Role::Call { caller: parent, entry: task.index },
                    ScopeKind::Reconcile => Role::Reconcile(parent),
                    _ => Role::Body(Layer::Iteration),
                };
                Ok((block, index, role))
            }
            (_, None) => Err(crate::fold::missing("scope above", &task)),
        }
    }

    /// The step instance that a compensation undoes.
    fn compensated(&mut self, task: TaskId) -> Result<TaskId> {
        let list = self.items(scope_of(task))?;
        let place = list.get(task.index as usize);
        let part = |at: usize| place.and_then(|pair| pair.get(at)).and_then(serde_json::Value::as_u64);
        match (part(0), part(1)) {
            (Some(scope), Some(index)) => Ok(TaskId { run: task.run, scope: scope as u32, index: index as u32 }),
            _ => Err(Error::new(Code::Damaged, format!("the list of compensations of run `{}` is damaged", task.run))),
        }
    }

    /// The items of a scope, parsed.
    pub(crate) fn items(&mut self, key: ScopeKey) -> Result<Arc<serde_json::Value>> {
        let row = self.machine.tables.items.get(&key)?;
        let row = row.ok_or_else(|| crate::fold::missing("items", &format_args!("{}.{}", key.run, key.scope)))?;
        self.document(Document::Items(key.run, key.scope), &row.list)
    }

    /// The path of an instance for people, such as `improve#2/write` or `gather[3]`.
    pub(crate) fn path(&mut self, task: TaskId) -> Result<String> {
        let scope = self.look_scope(scope_of(task))?;
        let parent = parent_of(task, &scope);
        let above = match parent {
            Some(parent) => self.path(parent)?,
            None => String::new(),
        };
        Ok(match scope.kind {
            ScopeKind::Steps { .. } => {
                let name = self.place(task)?.step().name.clone();
                if above.is_empty() { name } else { format!("{above}/{name}") }
            }
            ScopeKind::Items => format!("{above}[{}]", task.index),
            ScopeKind::Iterations => format!("{above}#{}", task.index + 1),
            ScopeKind::Calls => format!("{above}/call:{}", task.index),
            ScopeKind::Reconcile => format!("{above}/reconcile"),
            ScopeKind::Compensations => {
                let original = self.compensated(task)?;
                format!("compensate/{}", self.path(original)?)
            }
        })
    }
}
