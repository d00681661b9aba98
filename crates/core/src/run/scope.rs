//! Scopes: blocks of steps, items of a fan-out, iterations of a loop.
//!
//! For: opening them, starting what may start, closing them. Not for: what a single step does.
//! Invariant: a scope closes once, when everything in it has ended and nothing more will start.

use consort_types::{Code, Error, Payload, Result, RunId, TaskId, limits};
use consort_workflow::{BlockId, ForEach, Repeat};
use serde_json::Value;

use super::{
    Place,
    place::parent_of,
    soft,
    step::{LIGHT_PER_UNIT, in_expression},
};
use crate::{
    cache::Document,
    fold::{Fold, Outcome, Work},
    keys::{ScopeKey, TimerKind},
    rows::{Items, RunStatus, Scope, ScopeKind, Step, StepState},
};

impl Fold<'_> {
    /// Opens a block: every step gets its row; those that need nothing are considered at once.
    pub(crate) fn open_block(&mut self, run: RunId, parent: Option<TaskId>, block: BlockId) -> Result<ScopeKey> {
        let row = self.run(run)?;
        let definition = self.definition(&row)?;
        let steps = &definition.block(block).steps;
        let total = steps.len() as u32;
        self.count_instances(run, total)?;
        self.charge(steps.len());
        let key = self.new_scope(run, parent, ScopeKind::Steps { block: block.0 }, total)?;
        for (index, step) in steps.iter().enumerate() {
            let task = TaskId { run, scope: key.scope, index: index as u32 };
            let waiting = step.needs.len() as u32;
            self.machine.tables.steps.insert_new(task, Step { waiting, ..Step::default() });
            if waiting == 0 {
                self.work(Work::Consider(task));
            }
        }
        Ok(key)
    }

    pub(crate) fn begin_items(&mut self, place: &Place, task: TaskId, step: Step, for_each: &ForEach) -> Result<()> {
        let list = self.evaluate(place, task, &for_each.items).map_err(|error| in_expression("for_each", error))?;
        let Value::Array(items) = &list else {
            let message = format!("`for_each` needs a list, but got {}", kind_of(&list));
            return Err(Error::new(Code::Expression, message).hint("check what the expression refers to"));
        };
        if items.len() > limits::FAN_OUT_ITEMS_MAX {
            let message = format!("`for_each` has {} items, the limit is {}", items.len(), limits::FAN_OUT_ITEMS_MAX);
            return Err(Error::new(Code::LimitReached, message).hint("work on batches, or use child workflows"));
        }
        let total = items.len() as u32;
        self.count_instances(task.run, total)?;
        let payload = self.keep("list of items", serde_json::to_vec(&list).unwrap_or_default())?;
        let key = self.new_scope(task.run, Some(task), ScopeKind::Items, total)?;
        self.machine.tables.items.insert_new(key, Items { list: payload });
        self.open(place, task, step, Some(key.scope));
        self.work(Work::Advance(key));
        Ok(())
    }

    pub(crate) fn begin_iterations(&mut self, task: TaskId, step: Step, repeat: &Repeat) -> Result<()> {
        let key = self.new_scope(task.run, Some(task), ScopeKind::Iterations, repeat.max)?;
        let place = self.place(task)?;
        self.open(&place, task, step, Some(key.scope));
        self.work(Work::Advance(key));
        Ok(())
    }

    /// Starts what may start now, or closes the scope.
    pub(crate) fn advance(&mut self, key: ScopeKey) -> Result<()> {
        let scope = self.scope(key)?;
        let opener = parent_of(TaskId { run: key.run, scope: key.scope, index: 0 }, &scope);
        if scope.closed {
            return Ok(());
        }
        let Some(opener) = opener else { return self.advance_compensations(key, scope) };
        let step = self.known_step(opener)?;
        if step.state != StepState::Open {
            return Ok(());
        }
        match scope.kind {
            ScopeKind::Items => self.advance_items(key, scope, opener),
            ScopeKind::Iterations if step.wake_at.is_none() => self.advance_iterations(key, scope, opener, step),
            _ => Ok(()),
        }
    }

    fn advance_items(&mut self, key: ScopeKey, mut scope: Scope, opener: TaskId) -> Result<()> {
        let place = self.place(opener)?;
        let Some(for_each) = &place.step().for_each else { return Ok(()) };
        let cancelling = place.run.status == RunStatus::Cancelling;
        let stop = cancelling || (scope.failed > 0 && for_each.fail_fast);
        let parallel = for_each.max_parallel.unwrap_or(limits::FAN_OUT_PARALLEL_DEFAULT_MAX).max(1);
        let parallel = if stop { 0 } else { parallel.min(self.descendants_left(key.run, &place)?) };
        // One that was to begin may still wait for a later record.
        let mut room = self.room().min(limits::PAGE_ITEMS_MAX);
        while scope.started < scope.total && scope.started - scope.ended < parallel {
            if room == 0 {
                self.work(Work::Advance(key));
                break;
            }
            self.start_instance(key, scope.started);
            scope.started += 1;
            room -= 1;
        }
        let over = scope.started == scope.ended && (stop || scope.started == scope.total);
        self.put_scope(key, scope.clone());
        if !over {
            return Ok(());
        }
        let outcome = match (cancelling && scope.started < scope.total, scope.error) {
            (_, Some(error)) => failed_as(error),
            (true, None) => Outcome::Cancelled(Error::new(Code::Cancelled, "the run was cancelled")),
            (false, None) => self.output_outcome(Self::list_output, key, scope.total)?,
        };
        self.close(key, opener, outcome)
    }

    fn advance_iterations(&mut self, key: ScopeKey, scope: Scope, opener: TaskId, mut step: Step) -> Result<()> {
        if scope.started > scope.ended {
            return Ok(());
        }
        let place = self.place(opener)?;
        let Some(repeat) = place.step().repeat.clone() else { return Ok(()) };
        if let Some(error) = scope.error {
            return self.close(key, opener, failed_as(error));
        }
        if place.run.status == RunStatus::Cancelling {
            let error = Error::new(Code::Cancelled, "the run was cancelled");
            return self.close(key, opener, Outcome::Cancelled(error));
        }
        let Some(last) = scope.ended.checked_sub(1) else { return self.next_iteration(key, opener) };
        let last = TaskId { run: key.run, scope: key.scope, index: last };
        let ends = soft(self.loop_ends(&place, last, &repeat))?;
        match ends {
            Err(error) => self.close(key, opener, Outcome::Failed(in_expression("repeat", error))),
            Ok(ends) if ends || scope.ended == scope.total => {
                let output = self.known_step(last)?.output.unwrap_or_default();
                self.retain(&output)?;
                self.close(key, opener, Outcome::Completed(output))
            }
            Ok(_) => match repeat.delay {
                Some(delay) => {
                    let due = self.now.after(delay);
                    step.wake_at = Some(due);
                    self.arm(due, opener, TimerKind::Wake, 0);
                    self.put_step(opener, step);
                    Ok(())
                }
                None => self.next_iteration(key, opener),
            },
        }
    }

    pub(crate) fn next_iteration(&mut self, key: ScopeKey, opener: TaskId) -> Result<()> {
        if let Err(error) = soft(self.count_instances(key.run, 1))? {
            return self.close(key, opener, Outcome::Failed(error));
        }
        let mut scope = self.scope(key)?;
        self.start_instance(key, scope.started);
        scope.started += 1;
        self.put_scope(key, scope);
        Ok(())
    }

    pub(crate) fn start_instance(&mut self, key: ScopeKey, index: u32) {
        let task = TaskId { run: key.run, scope: key.scope, index };
        self.machine.tables.steps.insert_new(task, Step::default());
        self.work(Work::Begin(task));
    }

    /// Whether the loop ends after its iteration `last`, as seen from inside that iteration.
    fn loop_ends(&mut self, place: &Place, last: TaskId, repeat: &Repeat) -> Result<bool> {
        let Some(condition) = repeat.until.as_ref().or(repeat.while_true.as_ref()) else { return Ok(false) };
        let row = self.known_step(last)?;
        let inside = row.child.map_or(last, |scope| TaskId { scope, index: 0, ..last });
        let mut environment = self.environment(place, inside, condition.references())?;
        environment.output = match &row.output {
            Some(output) => Some(self.document(Document::Output(last), output)?),
            None => None,
        };
        let ends = repeat.ends(&environment);
        self.charge_cost(environment.meter.cost());
        ends
    }

    /// A block has nothing more to do.
    pub(crate) fn close_block(&mut self, key: ScopeKey) -> Result<()> {
        let mut scope = self.scope(key)?;
        let ScopeKind::Steps { block } = scope.kind else { return Ok(()) };
        let opener = parent_of(TaskId { run: key.run, scope: key.scope, index: 0 }, &scope);
        let Some(opener) = opener else {
            scope.closed = true;
            self.put_scope(key, scope);
            return self.root_closed(key);
        };
        let outcome = match scope.error {
            Some(error) => failed_as(error),
            None => self.output_outcome(|fold, key, block| fold.block_output(key, BlockId(block)), key, block)?,
        };
        self.close(key, opener, outcome)
    }

    /// Closes a scope and ends the instance that opened it.
    fn close(&mut self, key: ScopeKey, opener: TaskId, outcome: Outcome) -> Result<()> {
        let mut scope = self.scope(key)?;
        assert!(!scope.closed, "scope {}.{} closes once", key.run, key.scope);
        scope.closed = true;
        self.put_scope(key, scope);
        self.work(Work::Finish(opener, outcome));
        Ok(())
    }

    fn output_outcome(
        &mut self,
        output: impl Fn(&mut Self, ScopeKey, u32) -> Result<Payload>,
        key: ScopeKey,
        argument: u32,
    ) -> Result<Outcome> {
        Ok(match soft(output(self, key, argument))? {
            Ok(payload) => Outcome::Completed(payload),
            Err(error) => Outcome::Failed(error),
        })
    }

    /// The output of a block: an object of step name to output, names in order.
    pub(crate) fn block_output(&mut self, key: ScopeKey, block: BlockId) -> Result<Payload> {
        let row = self.run(key.run)?;
        let definition = self.definition(&row)?;
        let names = definition.block(block).steps.iter().map(|step| step.name.as_str());
        let mut order: Vec<(&str, u32)> = names.zip(0..).collect();
        order.sort_unstable();
        let mut bytes = vec![b'{'];
        for (name, index) in order {
            if bytes.len() > 1 {
                bytes.push(b',');
            }
            bytes.extend(serde_json::to_vec(name).unwrap_or_default());
            bytes.push(b':');
            self.append_output(TaskId { run: key.run, scope: key.scope, index }, &mut bytes)?;
        }
        bytes.push(b'}');
        self.keep("output of a block", bytes)
    }

    /// The output of a fan-out: the list of outputs in item order.
    fn list_output(&mut self, key: ScopeKey, total: u32) -> Result<Payload> {
        let mut bytes = vec![b'['];
        for index in 0..total {
            if index > 0 {
                bytes.push(b',');
            }
            self.append_output(TaskId { run: key.run, scope: key.scope, index }, &mut bytes)?;
        }
        bytes.push(b']');
        self.keep("output of a fan-out", bytes)
    }

    fn append_output(&mut self, task: TaskId, bytes: &mut Vec<u8>) -> Result<()> {
        if (task.index as usize).is_multiple_of(LIGHT_PER_UNIT) {
            self.charge(1);
        }
        let output = self.step(task)?.and_then(|step| step.output).unwrap_or_default();
        let found = self.machine.payload_bytes(&output)?;
        // Stop early: the check in `keep` would come after the memory was taken.
        if bytes.len() + found.len() > limits::PAYLOAD_BYTES_MAX {
            let message = format!("the outputs together have more than {} bytes", limits::PAYLOAD_BYTES_MAX);
            return Err(Error::new(Code::PayloadTooLarge, message).hint("let the steps return references"));
        }
        bytes.extend(&*found);
        Ok(())
    }
}

/// The end of an instance whose scope has this first error.
pub(super) fn failed_as(error: Error) -> Outcome {
    if error.code == Code::Cancelled { Outcome::Cancelled(error) } else { Outcome::Failed(error) }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
