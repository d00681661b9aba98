//! Blocks and the fields that every step may have.
//!
//! For: reading steps. Not for: what they do (see `action`).
//! Invariant: expressions inside a step's `for_each` and `repeat` see `item` and `loop`, those outside do not.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use consort_types::limits;
use consort_workflow::{Action, BlockId, Expression, ForEach, Repeat, Step, cel::Kind};

use super::{
    Reader,
    fields::{Fields, fan_out},
    order,
    scope::{Frame, Place},
    shared::Shared,
};
use crate::yaml::{Entry, NodeKind};

/// The keys of a step, in the order of the reference.
pub(crate) const STEP_KEYS: [&str; 31] = [
    "description",
    "capability",
    "agent",
    "steps",
    "workflow",
    "wait",
    "approve",
    "with",
    "needs",
    "if",
    "for_each",
    "max_parallel",
    "fail_fast",
    "repeat",
    "retry",
    "timeout",
    "deadline",
    "priority",
    "concurrency",
    "route",
    "effect",
    "on_unknown",
    "compensate",
    "continue_on_error",
    "consensus",
    "publish",
    "state",
    "with_lock",
    "reads",
    "assign",
    "expand",
];

impl Reader<'_> {
    /// Reads the steps of a block, and closes it: names, order, cycles.
    pub(super) fn block(&mut self, entry: &Entry, parent: Option<(BlockId, usize)>) -> BlockId {
        let id = self.open_block(parent);
        let NodeKind::Map(entries) = &entry.value.kind else {
            let message = format!("`steps` must be a map from names to steps, found {}", entry.value.kind_name());
            self.report()
                .error("bad-type", entry.value.span.clone(), message)
                .hint("write `NAME: { … }` for each step");
            return id;
        };
        if entries.is_empty() {
            self.report().error("no-steps", entry.value.span.clone(), "there is no step").hint("add at least one");
        }
        let depth = self.values.scope.frames.len();
        if depth >= limits::WORKFLOW_DEPTH_MAX {
            let message = format!("steps are nested deeper than {} levels", limits::WORKFLOW_DEPTH_MAX);
            let found = self.report().error("too-deep", entry.key_span.clone(), message);
            found.hint("make the inner part a workflow of its own");
            return id;
        }
        let names = entries.iter().enumerate().map(|(at, step)| (Arc::from(step.key.as_str()), at)).collect();
        let edges = vec![BTreeSet::new(); entries.len()];
        self.values.scope.frames.push(Frame { names, edges, ..Frame::default() });
        for (at, step) in entries.iter().enumerate() {
            self.steps += 1;
            if self.report().is_full() || self.steps > limits::WORKFLOW_STEPS_MAX {
                self.too_many_steps(step);
                break;
            }
            let read = self.step(step, id, at);
            self.blocks[id.0 as usize].steps.push(read);
        }
        let frame = self.values.scope.frames.pop().unwrap_or_default();
        self.close_block(id, entries, &frame);
        id
    }

    pub(super) fn too_many_steps(&mut self, step: &Entry) {
        if self.steps == limits::WORKFLOW_STEPS_MAX + 1 {
            let message = format!("the workflow has more than {} steps", limits::WORKFLOW_STEPS_MAX);
            let found = self.report().error("too-large", step.key_span.clone(), message);
            found.hint("use `for_each`, or make a part a workflow of its own");
        }
    }

    pub(super) fn close_block(&mut self, id: BlockId, entries: &[Entry], frame: &Frame) {
        let names: Vec<(String, Range<usize>)> =
            entries.iter().map(|entry| (entry.key.clone(), entry.key_span.clone())).collect();
        order::check_cycles(self.report(), &frame.edges, &names);
        let dependents = order::dependents(&frame.edges);
        let steps = &mut self.blocks[id.0 as usize].steps;
        for ((step, needs), dependents) in steps.iter_mut().zip(&frame.edges).zip(dependents) {
            step.needs = needs.iter().copied().collect();
            step.dependents = dependents;
        }
    }

    fn step(&mut self, entry: &Entry, block: BlockId, at: usize) -> Step {
        self.frame().current = Some(at);
        self.step_name(entry);
        let mut step = Step::blank(&entry.key);
        if let Some(mut fields) = self.plain().map(&entry.value, "a step", &STEP_KEYS) {
            fields.place = entry.key_span.clone();
            self.step_fields(&fields, &mut step, block, at);
        }
        let frame = self.frame();
        (frame.current, frame.each, frame.repeats) = (None, false, false);
        (frame.locked, frame.mutex, frame.reads) = (false, None, false);
        step
    }

    pub(super) fn step_name(&mut self, entry: &Entry) {
        if let Err(error) = consort_types::Name::check("step name", &entry.key) {
            let found = self.report().error("bad-name", entry.key_span.clone(), error.message);
            if let Some(hint) = error.hint {
                found.hint(hint);
            }
        }
    }

    fn step_fields(&mut self, fields: &Fields<'_>, step: &mut Step, block: BlockId, at: usize) {
        if let Some(entry) = fields.get("description") {
            self.plain().text(entry);
        }
        if let Some(entry) = fields.get("needs") {
            self.needs(entry);
        }
        step.reads = fields.get("reads").and_then(|entry| Shared(self).reads(entry));
        self.frame().reads = fields.get("reads").is_some();
        step.condition = fields.get("if").and_then(|entry| self.step_condition(entry));
        step.with_lock = fields.get("with_lock").and_then(|entry| Shared(self).with_lock(entry));
        self.frame().locked = fields.get("with_lock").is_some();
        step.for_each = self.for_each(fields);
        self.frame().each = step.for_each.is_some();
        let repeat = fields.get("repeat");
        self.frame().repeats = repeat.is_some();
        if let Some(action) = self.action(fields, block, at) {
            step.action = action;
        }
        self.action_settings(fields, step);
        if let Some(entry) = repeat {
            step.repeat = self.repeat(entry, &step.action);
        }
        step.deadline = fields.get("deadline").and_then(|entry| self.plain().span(entry));
        step.continue_on_error =
            fields.get("continue_on_error").and_then(|entry| self.plain().boolean(entry)).unwrap_or_default();
    }

    fn needs(&mut self, entry: &Entry) {
        let items = match &entry.value.kind {
            NodeKind::List(items) => items.iter().collect(),
            _ => vec![&entry.value],
        };
        for item in items {
            if self.report().is_full() {
                return;
            }
            let Some(name) = self.plain().name("step name", item) else { continue };
            let frame = self.frame();
            let found = frame.names.get(name.as_str()).copied();
            match (found, frame.current) {
                (Some(index), Some(current)) if index == current => {
                    let message = format!("the step `{name}` needs itself");
                    self.report().error("self-reference", item.span.clone(), message).hint("take it out of `needs`");
                }
                (Some(index), Some(current)) => {
                    frame.edges[current].insert(index);
                }
                _ => self.unknown_need(&name, item.span.clone()),
            }
        }
    }

    fn unknown_need(&mut self, name: &str, span: Range<usize>) {
        let outer = self.values.scope.frames.iter().any(|frame| frame.names.contains_key(name));
        if outer {
            let message = format!("`{name}` is a step outside of this group");
            let found = self.report().error("unknown-step", span, message);
            found.hint("`needs` names steps beside this one: put it on the group");
            return;
        }
        let unresolved = self.values.scope.unknown_step(name);
        let found = self.report().error(unresolved.code, span, unresolved.message);
        if unresolved.code == "invisible-step" {
            found.hint("need the group instead: it ends when all of its steps have");
        } else {
            found.hint(unresolved.hint);
        }
    }

    fn step_condition(&mut self, entry: &Entry) -> Option<Expression> {
        let condition = self.values.condition(entry, Place { status: true, ..Place::default() })?;
        if self.values.constant(&condition, entry) == Some(false) {
            let found = self.report().error("unreachable-step", entry.value.span.clone(), "the step can never run");
            found.hint("remove the step, or let the condition depend on something");
        }
        Some(condition)
    }

    fn for_each(&mut self, fields: &Fields<'_>) -> Option<ForEach> {
        let max_parallel = fields.get("max_parallel");
        let fail_fast = fields.get("fail_fast");
        let Some(entry) = fields.get("for_each") else {
            for extra in [max_parallel, fail_fast].into_iter().flatten() {
                let message = format!("`{}` means nothing without `for_each`", extra.key);
                self.report()
                    .error("misplaced-key", extra.key_span.clone(), message)
                    .hint("add `for_each`, or take it out");
            }
            return None;
        };
        let items = self.values.template_of(entry, Kind::List, Place::default());
        if let NodeKind::List(list) = &entry.value.kind
            && list.len() > limits::FAN_OUT_ITEMS_MAX
        {
            let message = format!("`for_each` has {} items, the limit is {}", list.len(), limits::FAN_OUT_ITEMS_MAX);
            self.report().error("too-large", entry.key_span.clone(), message);
        }
        Some(ForEach {
            items,
            max_parallel: max_parallel.and_then(|entry| self.plain().integer(entry, fan_out())),
            fail_fast: fail_fast.and_then(|entry| self.plain().boolean(entry)).unwrap_or(true),
        })
    }

    fn repeat(&mut self, entry: &Entry, action: &Action) -> Option<Repeat> {
        let max = 1..=i64::from(limits::REPEAT_ITERATIONS_MAX);
        let fields = self.plain().map(&entry.value, "`repeat`", &["until", "while", "max", "delay"])?;
        let hint = "say how often at most, so that the loop always ends";
        let max = self.plain().required(&fields, "max", hint).and_then(|entry| self.plain().integer(entry, max));
        let delay = fields.get("delay").and_then(|entry| self.plain().span(entry));
        let group = match action {
            Action::Group(block) => Some(Frame::of(&self.blocks[block.0 as usize])),
            // The voters are not seen from outside: the decision is.
            _ => None,
        };
        let pushed = group.map(|frame| self.values.scope.frames.push(frame)).is_some();
        let place = Place { output: true, ..Place::default() };
        let until = fields.get("until").and_then(|entry| self.values.condition(entry, place));
        let while_true = fields.get("while").and_then(|entry| self.values.condition(entry, place));
        if pushed {
            self.values.scope.frames.pop();
        }
        if let (Some(_), Some(extra)) = (fields.get("until"), fields.get("while")) {
            let message = "`until` and `while` exclude each other";
            self.report().error("contradiction", extra.key_span.clone(), message).hint("`until: a` is `while: !a`");
        }
        Some(Repeat { until, while_true, max: max?, delay })
    }
}
